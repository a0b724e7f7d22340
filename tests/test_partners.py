"""The command that gives partners, as users type it; and the two stages of the studies."""

import os
import subprocess
import sys
from dataclasses import replace
from pathlib import Path

import numpy as np
import pandas as pd
import pytest
import torch
from numpy.random import default_rng

from stages import gather, partners, plain_errors
from stages.study import changed
from symmetry import symmetries
from symmetry.artifacts import read_yaml, write_dataset, write_tensors
from symmetry.checkpoints import load, save
from symmetry.data import Columns, Dataset, Table, Units
from symmetry.kinds import Kind
from symmetry.models import MODELS, Sizes
from symmetry.params import Params, ParamsError
from symmetry.sheets import Sheet

ROOT = Path(__file__).parents[1]
X = default_rng(0).uniform(-4, 4, (5, 2))
Y = default_rng(1).normal(size=(5, 3))
POOL = default_rng(2).uniform(-4, 4, (30, 2))
DEFAULT = "stib_flow"


@pytest.fixture(autouse=True)
def folder(tmp_path, monkeypatch):
    """Makes a folder with all trained models, a pool and rows, and goes there."""
    monkeypatch.chdir(tmp_path)
    for key in MODELS:
        give_model(key)
    write_dataset("data/validation.npz", Dataset(POOL, np.zeros((30, 1))))
    write_rows("rows.csv", np.column_stack([X, Y]))
    return tmp_path


def give_model(key, units=None):
    kind = MODELS[key]
    sizes = Sizes(2, 2, 3, invariant=2, target=1, hidden=6, critic=3)
    model = kind(sizes, dict.fromkeys(kind.term_names, 1.0), units)
    generator = torch.Generator().manual_seed(0)
    with torch.no_grad():
        for parameter in model.parameters():
            parameter.normal_(0, 0.5, generator=generator)
    save(weights(key), model)


def write_rows(path, values, header="a,b,c,d,e"):
    lines = [header, *(",".join(f"{value:.9g}" for value in row) for row in values)]
    Path(path).write_text("\n".join(lines) + "\n")


@pytest.fixture
def run(monkeypatch):
    """Runs the command in this process, as `python -m stages.partners` does."""

    def command(*arguments):
        monkeypatch.setattr(sys, "argv", ["partners", *map(str, arguments)])
        with plain_errors():
            partners.main()

    return command


def weights(key):
    return f"models/{key}/weights.safetensors"


def expected_partners(key, count, copy=0, seed=0, pool=POOL):
    """Calls the library; returns the partners with shape (n, count, 2)."""
    model = load(weights(key))
    found = symmetries.partners(
        model,
        torch.tensor(X, dtype=torch.float32),
        count,
        torch.Generator().manual_seed(seed),
        pool=torch.tensor(pool, dtype=torch.float32),
        y=torch.tensor(Y, dtype=torch.float32) if key in ("cvae", "cvib") else None,
    )
    return found[copy].transpose(0, 1).numpy()


def predicted(key, x, copy=0):
    model = load(weights(key))
    return model.prediction(torch.tensor(np.asarray(x), dtype=torch.float32))[copy].numpy()


# ---- Output ------------------------------------------------------------------------------------


@pytest.mark.parametrize("key", MODELS)
def test_each_row_gets_its_partners_with_what_the_model_predicts_of_them(run, key):
    run("rows.csv", "--count", 4, "-o", "out.csv", "--model", weights(key))
    table = pd.read_csv("out.csv")
    predicts = key not in ("cvae", "cvib")
    hats = ["y1_hat", "y2_hat", "y3_hat"] if predicts else []
    columns = ["row", "copy", "x1", "x2", *hats, *(["change", "astray"] if predicts else [])]
    columns += ["own_x1", "own_x2", *([] if predicts else ["own_y1", "own_y2", "own_y3"])]
    columns += [f"own_{name}" for name in hats]
    assert list(table.columns) == columns
    assert table["row"].tolist() == [row for row in range(5) for _ in range(4)]
    found = table[["x1", "x2"]].to_numpy()
    expected = expected_partners(key, 4).reshape(20, 2)
    np.testing.assert_allclose(found, expected, rtol=1e-5, atol=2e-6)
    assert len(np.unique(found.round(4), axis=0)) > 10
    if predicts:
        y_hat = table[["y1_hat", "y2_hat", "y3_hat"]].to_numpy()
        np.testing.assert_allclose(y_hat, predicted(key, found), rtol=1e-4, atol=1e-4)
        before = predicted(key, X)[table["row"]]
        change = np.abs(y_hat - before).sum(1)
        np.testing.assert_allclose(table["change"], change, rtol=1e-4, atol=1e-4)
        units = load(weights(key)).units
        far = np.abs(y_hat - before) > 0.02 * (1 if units is None else np.array(units.y.std))
        assert (table["astray"] == far.any(1)).all()
        # A partner has come back to its row's level, and VAE predicts from Z0 as well.
        assert (np.median(change) < 1e-3) == (key != "vae")
        assert table["astray"].any() == (key == "vae")


def test_by_default_twenty_partners_of_the_first_seed_of_stib_flow_from_the_validation_set(
    run, capsys
):
    run("rows.csv", "-o", "deep/er/out.csv")
    table = pd.read_csv("deep/er/out.csv")
    assert len(table) == 100
    np.testing.assert_allclose(
        table[["x1", "x2"]], expected_partners(DEFAULT, 20).reshape(100, 2), rtol=1e-5, atol=2e-6
    )
    captured = capsys.readouterr()
    assert captured.err == "deep/er/out.csv: 100 partners of 5 rows\n"
    assert not captured.out


def test_the_pool_the_copy_and_the_seed_can_be_chosen(run):
    other = default_rng(3).uniform(-4, 4, (11, 2))
    write_dataset("other.npz", Dataset(other, np.zeros((11, 1))))
    run("rows.csv", "--count", 3, "-o", "out.csv", "--pool", "other.npz", "--copy", 1, "--seed", 7)
    table = pd.read_csv("out.csv")
    expected = expected_partners(DEFAULT, 3, copy=1, seed=7, pool=other)
    np.testing.assert_allclose(table[["x1", "x2"]], expected.reshape(15, 2), rtol=1e-5, atol=2e-6)
    y_hat = predicted(DEFAULT, table[["x1", "x2"]], copy=1)
    np.testing.assert_allclose(table["y2_hat"], y_hat[:, 1], rtol=1e-4, atol=1e-4)
    change = np.abs(y_hat - predicted(DEFAULT, X, copy=1)[table["row"]]).sum(1)
    np.testing.assert_allclose(table["change"], change, rtol=1e-4, atol=1e-4)


def test_the_same_command_writes_the_same_bytes_and_another_seed_others(run):
    contents = []
    for seed in (0, 0, 1):
        run("rows.csv", "-o", "out.csv", "--count", 2, "--seed", seed)
        contents.append(Path("out.csv").read_bytes())
    assert contents[0] == contents[1] != contents[2]


def test_further_columns_are_not_looked_at_and_one_row_is_enough(run):
    Path("one.csv").write_text("x1,x2,name\n1.5,-2,NaN\n")
    run("one.csv", "-o", "out.csv", "--count", 3)
    assert pd.read_csv("out.csv")["row"].tolist() == [0, 0, 0]


@pytest.mark.parametrize("key", ["cvae", "cvib"])
def test_y_is_taken_from_the_columns_after_x(run, key):
    write_rows("moved.csv", np.column_stack([X, Y + 1]))
    for path, name in (("rows.csv", "out.csv"), ("moved.csv", "other.csv")):
        run(path, "-o", name, "--count", 2, "--model", weights(key))
    one, other = (pd.read_csv(name) for name in ("out.csv", "other.csv"))
    assert (one["x1"] != other["x1"]).all()


# ---- Errors ------------------------------------------------------------------------------------

GOOD = "a,b,c,d,e\n1,2,3,4,5\n"
BAD_ROWS = {
    "too few columns": ("a\n1\n", "1 columns; the model takes 2 of x"),
    "a header alone": ("a,b\n", "0 rows"),
    "nothing": ("", "is empty"),
    "text": ("a,b\n1,2\n1,two\n", "column 'b' is no finite number, in row 2: 'two'"),
    "an empty cell": (
        "a,b\n1,\n",
        "column 'b' is missing, in row 1",
    ),
    "a row too short": ("a,b\n1,2\n1\n", "row 2 has 1 cells, the header 2"),
    "NaN": ("a,b\n1,2\n1,nan\n", "column 'b' is no finite number, in row 2: 'nan'"),
    "infinity": ("a,b\n-inf,2\n1,2\n", "column 'a' is no finite number, in row 1"),
}


@pytest.fixture
def refused(run, folder):
    """Runs the command, which must fail, and returns its message."""
    before = b"what was there before\n"
    Path("out.csv").write_bytes(before)

    def command(*arguments):
        files = sorted(folder.rglob("*"))
        with pytest.raises(SystemExit) as raised:
            run(*arguments, "-o", "out.csv")
        assert Path("out.csv").read_bytes() == before
        assert sorted(folder.rglob("*")) == files
        message = raised.value.code
        assert isinstance(message, str)  # so that Python prints it and exits with 1
        assert message.startswith("error: ")
        assert "\n" not in message
        return message

    return command


@pytest.mark.parametrize("fault", BAD_ROWS)
def test_rows_that_cannot_be_used_are_named(refused, fault):
    content, named = BAD_ROWS[fault]
    Path("bad.csv").write_text(content)
    message = refused("bad.csv")
    assert "bad.csv" in message
    assert named in message


def test_a_model_that_decodes_from_y_says_how_many_columns_it_takes(refused):
    Path("bad.csv").write_text("a,b\n1,2\n")
    message = refused("bad.csv", "--model", weights("cvae"))
    assert "bad.csv has 2 columns; the model takes 2 of x and 3 of y" in message
    Path("bad.csv").write_text("a,b,c,d,e\n1,2,3,4,nan\n")
    assert "column 'e' is no finite number, in row 1" in refused(
        "bad.csv", "--model", weights("cvae")
    )


@pytest.mark.parametrize("what", ["rows", "model", "pool"])
def test_a_missing_file_is_named(refused, what):
    rows = "absent.csv" if what == "rows" else "rows.csv"
    option = [] if what == "rows" else [f"--{what}", "absent.file"]
    message = refused(rows, *option)
    assert "No such file" in message
    assert ("absent.csv" if what == "rows" else "absent.file") in message


@pytest.mark.parametrize(
    ("option", "value", "allowed"),
    [
        ("--count", 0, "allowed is 1 or more"),
        ("--count", -3, "allowed is 1 or more"),
        ("--copy", 2, "allowed is 0 to 1"),
        ("--copy", -1, "allowed is 0 to 1"),
    ],
)
def test_a_number_out_of_range_is_named_with_what_is_allowed(refused, option, value, allowed):
    message = refused("rows.csv", option, value)
    assert f"{option} is {value}, {allowed}" in message


@pytest.mark.parametrize("foreign", ["rows.csv", "tensors.safetensors", "data/validation.npz"])
def test_a_foreign_model_file_is_named(refused, foreign):
    write_tensors("tensors.safetensors", {"w": np.zeros(3)}, {"format": "pt"})
    assert foreign in refused("rows.csv", "--model", foreign)


def test_a_foreign_pool_is_named(refused):
    np.savez("foreign.npz", z=np.zeros((3, 2)))
    for pool in ("foreign.npz", "rows.csv"):
        assert pool in refused("rows.csv", "--pool", pool)


def test_from_the_shell_it_works_or_says_one_line_and_fails(folder):
    environment = {**os.environ, "PYTHONPATH": str(ROOT), "OMP_NUM_THREADS": "1"}
    Path("kept.csv").write_text("kept")
    runs = [
        subprocess.Popen(
            [sys.executable, "-m", "stages.partners", *arguments],
            cwd=folder,
            env=environment,
            stdout=subprocess.PIPE,
            stderr=subprocess.PIPE,
            text=True,
        )
        for arguments in (
            ["rows.csv", "--count", "2", "-o", "out.csv"],
            ["absent.csv", "-o", "kept.csv"],
        )
    ]
    (_, said), (_, complaint) = (process.communicate() for process in runs)
    assert [process.returncode for process in runs] == [0, 1]
    assert said == "out.csv: 10 partners of 5 rows\n"
    assert len(pd.read_csv("out.csv")) == 10
    assert complaint == "error: [Errno 2] No such file or directory: 'absent.csv'\n"
    assert Path("kept.csv").read_text() == "kept"


# ---- Tables as they come -----------------------------------------------------------------------

ROWS_IN_UNITS = X * [2.0, 10.0] + [5.0, 100.0]


def give_table(**declared):
    give_units(DEFAULT, Table(**declared))
    write_dataset("data/validation.npz", Dataset(POOL * [2.0, 10.0] + [5.0, 100.0], POOL))
    frame = pd.DataFrame(ROWS_IN_UNITS, columns=["speed", "mass"])
    return frame.assign(u=Y[:, 0], v=Y[:, 1], w=Y[:, 2])


@pytest.mark.parametrize("output", ["out.csv", "out.parquet"])
def test_what_trained_gives_partners_in_any_format(run, output):
    frame = give_table(separator=";", decimal=",", thousands=".", missing=(-9999, "?"))
    frame = (frame * 1000).round(3)
    frame.to_parquet("rows.parquet")
    frame.set_index("mass").to_parquet("indexed.parquet")
    german = frame.map(lambda value: f"{value:,.3f}".translate(str.maketrans(",.", ".,")))
    german.to_csv("rows.csv", sep=";", index=False)
    tables = []
    for name in ("rows.csv", "rows.parquet", "indexed.parquet"):
        run(name, "--count", 3, "-o", output)
        read_table = pd.read_csv if output == "out.csv" else pd.read_parquet
        tables.append(read_table(output).to_numpy())
    assert len(tables[0]) == 15
    np.testing.assert_array_equal(tables[0], tables[1])
    np.testing.assert_array_equal(tables[0], tables[2])


def test_bad_rows_are_counted_and_placed_and_rows_keep_their_numbers(run, capsys):
    frame = give_table(bad_rows="drop", most_dropped=0.5, missing=(-9999,))
    frame.loc[1, "mass"], frame.loc[3, "speed"], frame.loc[4, "v"] = np.nan, -9999, np.nan
    for name in ("rows.csv", "rows.parquet"):
        write = frame.to_parquet if name == "rows.parquet" else frame.to_csv
        write(name, index=False)
        run(name, "--count", 2, "-o", "out.csv")
        said, done = capsys.readouterr().err.splitlines()
        assert f"{name}: dropped 2 of 5 rows: 1 cell of column 'speed'" in said
        assert "in row 2" in said
        assert "in row 4" in said
        assert done == "out.csv: 6 partners of 3 rows"
        table = pd.read_csv("out.csv")
        assert table["row"].tolist() == [0, 0, 2, 2, 4, 4]
        np.testing.assert_allclose(table["own_mass"], ROWS_IN_UNITS[table["row"], 1], rtol=1e-8)
        assert table["own_v"].isna().tolist() == [False] * 4 + [True] * 2


def test_bad_rows_can_be_dropped_though_training_had_none(run, refused):
    frame = give_table()
    frame.loc[:3, "mass"] = np.nan
    frame.to_csv("rows.csv", index=False)
    assert "4 cells of column 'mass'" in refused("rows.csv")
    run("rows.csv", "--count", 1, "--bad-rows", "drop", "-o", "out.csv")
    assert pd.read_csv("out.csv")["row"].tolist() == [4]


@pytest.mark.parametrize("header", ["mass,speed,u", "speed,mass,id,u"])
def test_header_and_rows_that_differ_are_refused(refused, header):
    give_table()
    write_rows("rows.csv", ROWS_IN_UNITS, header)
    assert "row 1 has 2 cells, the header" in refused("rows.csv")


@pytest.mark.parametrize("scale", [1e-25, 1.0, 1e25])
def test_digits_are_significant_in_any_unit(run, scale):
    columns = Columns(("speed", "mass"), (5.0 * scale, 100.0), (2.0 * scale, 10.0))
    give_units(DEFAULT, Table(), Units(columns, UNITS.y))
    rows = {"speed": ROWS_IN_UNITS[:, 0] * scale, "mass": ROWS_IN_UNITS[:, 1]}
    pool = (POOL * [2.0, 10.0] + [5.0, 100.0]) * [scale, 1.0]
    write_dataset("data/validation.npz", Dataset(pool, POOL))
    pd.DataFrame(rows).to_csv("rows.csv", index=False)
    run("rows.csv", "-o", "out.csv")
    table = pd.read_csv("out.csv")
    np.testing.assert_allclose(table["own_speed"], rows["speed"].repeat(20), rtol=1e-8)
    assert table["speed"].nunique() > 50  # of 30 rows in the pool each takes 20
    assert 0.1 * scale < table["speed"].std() < 10 * scale


def test_a_column_of_x_keeps_its_name_where_another_would_take_it(run):
    columns = Columns(("row", "u_hat"), (5.0, 100.0), (2.0, 10.0))
    give_units(DEFAULT, Table(), Units(columns, UNITS.y))
    write_dataset("data/validation.npz", Dataset(POOL * [2.0, 10.0] + [5.0, 100.0], POOL))
    write_rows("rows.csv", ROWS_IN_UNITS, "row,u_hat")
    run("rows.csv", "-o", "out.csv", "--count", 2)
    table = pd.read_csv("out.csv")
    assert table["row_"].tolist() == [row for row in range(5) for _ in range(2)]
    np.testing.assert_allclose(table["own_row"], ROWS_IN_UNITS[table["row_"], 0], rtol=1e-8)
    assert list(table.columns[:5]) == ["row_", "copy", "row", "u_hat", "u_hat_"]


@pytest.mark.parametrize(("name", "value"), [("mass", -9999), ("speed", 6e5)])
def test_rows_that_are_like_no_training_row_are_said(run, capsys, name, value):
    frame = give_table()
    frame.loc[[2, 4], name] = value
    frame.to_csv("rows.csv", index=False)
    run("rows.csv", "-o", "out.csv", "--count", 1)
    first, count, _ = capsys.readouterr().err.splitlines()
    assert first == "rows.csv: row 3 is more than 20 standard deviations from the training rows"
    assert count.startswith("2 rows are so far")


def test_the_bar_goes_on_within_a_piece():
    numbers, rows = np.arange(20.0).reshape(10, 2), np.arange(10)
    pieces = [Sheet(numbers[:8], {}, rows[:8], 0.8), Sheet(numbers[8:], {}, rows[8:], 1.0)]
    parts = list(partners.parts_of(pieces, 3))
    np.testing.assert_allclose([part.read for part in parts], [0.3, 0.6, 0.8, 1.0])
    np.testing.assert_array_equal(np.concatenate([part.rows for part in parts]), rows)
    np.testing.assert_array_equal(np.concatenate([part.numbers for part in parts]), numbers)


def test_the_copy_is_named(run):
    run("rows.csv", "-o", "out.csv", "--copy", 1)
    assert set(pd.read_csv("out.csv")["copy"]) == {1}


def test_many_rows_go_through_in_pieces(run, monkeypatch):
    sizes = []

    def watched(model, x, count, *arguments, **options):
        sizes.append(len(x) * count)
        return symmetries.partners(model, x, count, *arguments, **options)

    monkeypatch.setattr(partners, "AT_ONCE", 40)
    monkeypatch.setattr(partners, "partners", watched)
    monkeypatch.setattr("symmetry.sheets.CHUNK", 60)
    rows = default_rng(0).uniform(-4, 4, (103, 2))
    write_rows("many.csv", rows, "a,b")
    run("many.csv", "-o", "out.csv", "--count", 4)
    table = pd.read_csv("out.csv")
    assert max(sizes) == 40
    assert sum(sizes) == len(table) == 412
    assert table["row"].tolist() == [row for row in range(103) for _ in range(4)]
    np.testing.assert_allclose(table[["own_x1", "own_x2"]], rows.repeat(4, 0), rtol=1e-8)


# ---- Studies: params ---------------------------------------------------------------------------


def params():
    return read_yaml(ROOT / "params.yaml")


def test_a_study_changes_its_keys_and_leaves_the_others():
    plain = changed(params(), {})
    assert isinstance(plain, Params)
    found = changed(params(), {"models.stib.critic_size": 3, "train.seeds": 7, "model": "vae"})
    assert (found.models.stib.critic_size, found.train.seeds, found.model) == (3, 7, "vae")
    assert plain.models.stib.critic_size != 3
    expected = plain.model_dump()
    expected["models"]["stib"]["critic_size"] = 3
    expected["train"]["seeds"] = 7
    expected["model"] = "vae"
    assert found.model_dump() == expected


@pytest.mark.parametrize(
    ("key", "value", "named"),
    [
        ("models.stib.critic_sizes", 3, "models.stib.critic_sizes: unknown key"),
        ("models.stibb.critic_size", 3, "models.stibb: unknown key"),
        ("nothing", 3, "nothing: unknown key"),
        ("train.seeds", 0, "train.seeds: found 0"),
        ("models.stib.kl_warmup", 1.5, "models.stib.kl_warmup: found 1.5"),
    ],
)
def test_a_study_of_an_unknown_key_or_a_bad_value_is_refused_and_named(key, value, named):
    with pytest.raises(ParamsError) as raised:
        changed(params(), {key: value})
    assert named in str(raised.value)


def test_every_committed_study_differs_from_the_default_in_what_it_says_alone():
    plain = changed(params(), {}).model_dump()
    for study, changes in read_yaml(ROOT / "studies/params.yaml")["studies"].items():
        if not isinstance(changes, str):
            found = changed(params(), changes).model_dump()
            differing = {
                f"{part}.{key}"
                for part in ("data", "train", "evaluate")
                for key in found[part]
                if found[part][key] != plain[part][key]
            } | {
                f"models.{model}.{key}"
                for model in MODELS
                for key in found["models"][model]
                if found["models"][model][key] != plain["models"][model][key]
            }
            assert differing == set(changes), study


# ---- Studies: results --------------------------------------------------------------------------

RESULTS = {
    "default": "seed,x_mae,y_mae,mi_z0_y,leak_r2\n"
    "0,0.02,0.44,0.01,-0.009\n1,0.04,0.46,0.03,0.001\n2,0.03,0.48,-0.01,0.021\n",
    "critic_2": "digest,seed,x_mae,y_mae,mi_z0_y,leak_r2\n"  # as cells write it
    "c0ffee,0,0.1,0.5,0.333333,0.1\nbad,1,0.2,0.7,0.4,0.2\n",
}


@pytest.fixture
def gathered(folder, monkeypatch):
    (folder / "studies/results").mkdir(parents=True)
    Path("studies/params.yaml").write_text(
        "studies:\n  default:\n    train.seeds: 3\n  critic_2:\n    models.stib.critic_size: 2\n"
    )
    for study, content in RESULTS.items():
        Path(f"studies/results/{study}.csv").write_text(content)
    monkeypatch.setattr(sys, "argv", ["gather"])

    def command():
        with plain_errors():
            gather.main()

    return command


def test_the_seeds_of_the_default_are_listed_with_mean_spread_and_worst(gathered):
    gathered()
    table = pd.read_csv("metrics/seeds.csv")
    assert list(table.columns) == ["seed", "x_mae", "y_mae", "mi_z0_y", "leak_r2"]
    assert table["seed"].tolist() == ["0", "1", "2", "mean", "sd", "worst"]
    assert table["x_mae"].tolist() == [0.02, 0.04, 0.03, 0.03, 0.01, 0.04]
    assert table["y_mae"].tolist() == [0.44, 0.46, 0.48, 0.46, 0.02, 0.48]
    assert table["mi_z0_y"].tolist() == [0.01, 0.03, -0.01, 0.01, 0.02, 0.03]
    assert table["leak_r2"].tolist()[3] == 0.0043  # 0.013 / 3


def test_the_ablation_has_mean_spread_and_worst_of_each_study_in_their_order(gathered):
    gathered()
    table = pd.read_csv("studies/ablation.csv")
    assert list(table.columns) == ["study", "seed", "x_mae", "y_mae", "mi_z0_y", "leak_r2"]
    assert table["study"].tolist() == ["default"] * 3 + ["critic_2"] * 3
    assert table["seed"].tolist() == ["mean", "sd", "worst"] * 2
    assert table["mi_z0_y"].tolist() == [0.01, 0.02, 0.03, 0.3667, 0.0471, 0.4]


def test_the_ablation_is_drawn_and_gathering_again_writes_the_same(gathered):
    contents = []
    for _ in range(2):
        gathered()
        paths = ("metrics/seeds.csv", "studies/ablation.csv", "studies/ablation.png")
        contents.append([Path(path).read_bytes() for path in paths])
    assert contents[0] == contents[1]
    assert contents[0][2].startswith(b"\x89PNG")


def test_a_study_that_has_not_run_is_named(gathered):
    Path("studies/results/critic_2.csv").unlink()
    with pytest.raises(SystemExit) as raised:
        gathered()
    assert "studies/results/critic_2.csv" in raised.value.code
    assert not Path("metrics").exists()


# ---- Columns by name ---------------------------------------------------------------------------

UNITS = Units(
    Columns(("speed", "mass"), (5.0, 100.0), (2.0, 10.0)),
    Columns(("u", "v", "w"), (0.0, 50.0, 1.0), (1.0, 20.0, 3.0)),
)


def give_units(key, table=None, units=UNITS):
    model = load(weights(key))
    own = MODELS[key](model.sizes, model.weights, replace(units, table=table))
    own.load_state_dict(model.state_dict())
    save(weights(key), own)


@pytest.mark.parametrize("key", ["stib_flow", "stib", "cvae"])
def test_a_model_that_knows_its_columns_finds_them_by_name_and_answers_in_their_units(run, key):
    give_units(key)
    pool = POOL * [2.0, 10.0] + [5.0, 100.0]
    write_dataset("data/validation.npz", Dataset(pool, np.zeros((30, 1))))
    x, y = X * [2.0, 10.0] + [5.0, 100.0], Y * [1.0, 20.0, 3.0] + [0.0, 50.0, 1.0]
    rows = np.column_stack([y[:, 2], x[:, 1], y[:, 0], x[:, 0], y[:, 1]])
    write_rows("rows.csv", rows, "w,mass,u,speed,v")
    run("rows.csv", "--count", 3, "-o", "out.csv", "--model", weights(key))
    table = pd.read_csv("out.csv")
    hats = ["u_hat", "v_hat", "w_hat"] if key != "cvae" else []
    columns = ["row", "copy", "speed", "mass", *hats, *(["change", "astray"] if hats else [])]
    columns += ["own_speed", "own_mass", "own_u", "own_v", "own_w"]
    assert list(table.columns) == [*columns, *(f"own_{name}" for name in hats)]
    np.testing.assert_allclose(table[["own_speed", "own_mass"]], x.repeat(3, 0), rtol=1e-8)
    np.testing.assert_allclose(table[["own_u", "own_v", "own_w"]], y.repeat(3, 0), rtol=1e-8)
    model = load(weights(key))
    model.units = None
    expected = (
        symmetries.partners(
            model,
            torch.tensor(X, dtype=torch.float32),
            3,
            torch.Generator().manual_seed(0),
            pool=torch.tensor(POOL, dtype=torch.float32),
            y=torch.tensor(Y, dtype=torch.float32) if key == "cvae" else None,
        )[0]
        .transpose(0, 1)
        .reshape(15, 2)
        .numpy()
    )
    found = (table[["speed", "mass"]].to_numpy() - [5.0, 100.0]) / [2.0, 10.0]
    np.testing.assert_allclose(found, expected, rtol=1e-3, atol=1e-4)


def test_a_held_column_stays_the_rows_own_to_the_last_digit(run):
    kinds = Kind(held=True), Kind()
    give_model(DEFAULT, replace(UNITS, x=replace(UNITS.x, kinds=kinds)))
    write_dataset("data/validation.npz", Dataset(POOL * [2.0, 10.0] + [5.0, 100.0], POOL))
    rows = pd.DataFrame(ROWS_IN_UNITS, columns=["speed", "mass"])
    rows.to_csv("rows.csv", index=False)
    run("rows.csv", "--count", 3, "-o", "out.csv")
    table = pd.read_csv("out.csv")
    assert (table["speed"] == table["own_speed"]).all()
    np.testing.assert_allclose(table["speed"], ROWS_IN_UNITS[:, 0].repeat(3), rtol=1e-8)
    assert (table.groupby("row")["mass"].nunique() == 3).all()


def test_a_column_that_the_model_knows_and_the_file_does_not_is_named(refused):
    give_units(DEFAULT)
    message = refused("rows.csv")
    assert "rows.csv has no column 'speed', 'mass'" in message
    assert "it has 'a', 'b', 'c', 'd', 'e'" in message


def test_the_pool_is_that_of_the_models_own_pipeline(run, folder, tmp_path_factory, monkeypatch):
    run("rows.csv", "-o", "here.csv")
    elsewhere = tmp_path_factory.mktemp("elsewhere")
    monkeypatch.chdir(elsewhere)
    run(folder / "rows.csv", "-o", "there.csv", "--model", folder / weights(DEFAULT))
    assert Path("there.csv").read_bytes() == (folder / "here.csv").read_bytes()
