"""The command line, from a table to partners, without DVC."""

import re
import shlex

import numpy as np
import pandas as pd
import pytest

from symmetry import SymmetryLearner, __version__
from symmetry.__main__ import main

FEW = ["-S", "steps=4", "-S", "predictor_steps=100", "-S", "hidden_size=8"]


@pytest.fixture(scope="module")
def table():
    """Force is mass times acceleration."""
    mass, acceleration = np.random.default_rng(0).uniform(1, 3, (2, 600))
    return pd.DataFrame(
        {"mass": mass, "acceleration": acceleration, "force": mass * acceleration}
    ).round(6)


@pytest.fixture(scope="module")
def fitted(table, tmp_path_factory):
    """A table as a file, and the learner that was fitted to it."""
    folder = tmp_path_factory.mktemp("fitted")
    table.to_csv(folder / "table.csv", index=False)
    fit(folder / "table.csv", folder / "learner.safetensors")
    return folder / "table.csv", folder / "learner.safetensors"


def fit(table, output, *more):
    main(["fit", str(table), "--y", "force", "-o", str(output), *FEW, *more])


def partners(learner, table, output, *more):
    main(["partners", str(learner), str(table), "-o", str(output), *more])


def refusal(command, *arguments):
    """What a command that must be refused says."""
    with pytest.raises(SystemExit) as ending:
        command(*arguments)
    return str(ending.value.code)


def test_on_a_terminal_a_fit_shows_how_far_it_is_and_in_a_log_nothing(
    fitted, tmp_path, capsys, monkeypatch
):
    fit(fitted[0], tmp_path / "silent.safetensors")
    assert capsys.readouterr().err == ""
    monkeypatch.setattr("sys.stderr.isatty", lambda: True)
    fit(fitted[0], tmp_path / "shown.safetensors")
    shown = capsys.readouterr().err
    assert [doing in shown for doing in ("learns: 100%", "is judged: 100%")] == [True, True]
    assert (tmp_path / "shown.safetensors").read_bytes() == fitted[1].read_bytes()


def test_from_a_table_to_partners_with_the_rows_beside_them(fitted, table, tmp_path, capsys):
    partners(fitted[1], fitted[0], tmp_path / "partners.csv", "-n", "7")
    assert "partners.csv: 4200 partners of 600 rows" in capsys.readouterr().out
    found = pd.read_csv(tmp_path / "partners.csv")
    assert list(found) == [
        *("row", "partner", "mass", "acceleration", "force_hat", "astray"),
        *("own_mass", "own_acceleration", "own_force", "own_force_hat"),
    ]
    assert found["row"].tolist() == [row for row in range(600) for _ in range(7)]
    assert found["partner"].tolist() == [*range(7)] * 600
    own = found[["own_mass", "own_acceleration", "own_force"]].to_numpy()
    np.testing.assert_allclose(own, table.to_numpy().repeat(7, 0), rtol=1e-7)
    # Refined partners keep what the model predicts; they are other rows.
    change = np.abs(found["force_hat"] - found["own_force_hat"]) / table["force"].std()
    assert np.median(change) < 1e-3
    assert (change[found["astray"]] > 0.019).all()
    assert (change[~found["astray"]] < 0.021).all()
    assert (found["mass"] - found["own_mass"]).abs().mean() > 0.1


def test_parquet_and_csv_hold_the_same_partners(fitted, tmp_path):
    for name in ("partners.csv", "partners.parquet"):
        partners(fitted[1], fitted[0], tmp_path / name, "-n", "2")
    csv, parquet = (
        pd.read_csv(tmp_path / "partners.csv"),
        pd.read_parquet(tmp_path / "partners.parquet"),
    )
    pd.testing.assert_frame_equal(csv, parquet, rtol=1e-8)


def test_other_tables_are_read_as_the_one_that_was_learned_from(table, tmp_path):
    path, learner = tmp_path / "german.csv", tmp_path / "learner.safetensors"
    table.iloc[:, ::-1].to_csv(path, index=False, sep=";", decimal=",")
    path.write_text(path.read_text() + "9,0;n. a.;1,5\n")
    signs = "--separator", ";", "--decimal", ",", "--missing", "n. a.,-9999"
    fit(path, learner, *signs, "--bad-rows", "drop", "--x", "mass,acceleration")
    partners(learner, path, tmp_path / "partners.csv", "-n", "1")
    found = pd.read_csv(tmp_path / "partners.csv")
    assert len(found) == 600
    np.testing.assert_allclose(found["own_mass"], table["mass"], rtol=1e-7)


def test_rows_with_bad_cells_get_no_partners_and_are_not_drawn_if_asked(fitted, tmp_path):
    path = tmp_path / "gaps.csv"
    path.write_text(fitted[0].read_text() + "9,,1.5\n" * 100)
    said = refusal(main, ["partners", str(fitted[1]), str(path), "-o", str(tmp_path / "p.csv")])
    assert "(data.bad_rows: drop leaves such rows out)" in said
    partners(fitted[1], path, tmp_path / "p.csv", "-n", "1", "--bad-rows", "drop")
    assert len(pd.read_csv(tmp_path / "p.csv")) == len(pd.read_csv(fitted[0]))
    report = "report", str(fitted[1]), str(path), "-o", str(tmp_path / "page.html")
    assert "(data.bad_rows: drop leaves such rows out)" in refusal(main, report)
    main([*report, "--bad-rows", "drop"])
    assert (tmp_path / "page.html").is_file()


def test_names_with_commas_and_tables_with_tabs_go_from_new_to_partners(table, tmp_path, capsys):
    names = {"mass": "mass, net", "acceleration": 'so called "a"', "force": "force, gross"}
    quoted = table.rename(columns=names)  # the first name has quotes in the file
    path = tmp_path / "tabs.tsv"
    table.rename(columns=names).assign(same=1).to_csv(path, index=False, sep="\t")
    main(["new", str(path), "--y", '"force, gross"'])
    (typed,) = re.findall(r"  (symmetry fit .*)", capsys.readouterr().out)
    words = shlex.split(typed)[1:]
    assert "--separator" not in words
    words[words.index("-o") + 1] = str(tmp_path / "l.safetensors")
    steps = "-S", "steps=2", "-S", "predictor_steps=2"
    main([*words, *steps, "--hold", '"mass, net"'])
    learned = SymmetryLearner.load(tmp_path / "l.safetensors").units_
    assert learned.x.names == ("mass, net", 'so called "a"')
    assert learned.held == ("mass, net",)
    quoted.to_csv(tmp_path / "same.csv", index=False)
    for name, sign in (("tabs.tsv", "\t"), ("same.csv", ",")):  # each by its own separator
        partners(tmp_path / "l.safetensors", tmp_path / name, tmp_path / f"p_{name}", "-n", "1")
        found = pd.read_csv(tmp_path / f"p_{name}", sep=sign)
        np.testing.assert_array_equal(found["mass, net"], found["own_mass, net"])
    main(["new", str(tmp_path / "same.csv"), "--y", '"force, gross"'])
    assert "--separator" not in capsys.readouterr().out


def test_what_new_is_told_of_the_notation_it_passes_on(table, tmp_path, capsys):
    path = tmp_path / "german.csv"
    table.to_csv(path, index=False, sep=";", decimal=",")
    path.write_text(path.read_text() + "9,0;n. a.;1,5\n")
    told = "--decimal", ",", "--missing", "n. a.", "--bad-rows", "drop"
    main(["new", str(path), "--y", "force", *told])
    (typed,) = re.findall(r"  (symmetry fit .*)", capsys.readouterr().out)
    words = shlex.split(typed)
    assert words[words.index("--separator") :][:8] == ["--separator", ";", *told]
    said = refusal(main, ["new", str(path), "--y", "force,force", *told])
    assert said == "error: y names 'force' twice"


def test_partners_of_what_was_not_found_say_so(fitted, tmp_path, capsys):
    partners(fitted[1], fitted[0], tmp_path / "p.csv", "-n", "1")
    verdict = str(SymmetryLearner.load(fitted[1]).summary_["verdict"])
    assert "found in part" in verdict  # after four steps
    assert f"learner.safetensors: {verdict}" in capsys.readouterr().out


def test_a_column_may_be_quoted_and_needs_a_kind(fitted, tmp_path, capsys):
    fit(fitted[0], tmp_path / "l.safetensors", "--column", '"mass"=0:9')
    with pytest.raises(SystemExit, match="2"):
        fit(fitted[0], tmp_path / "l.safetensors", "--column", "mass")
    assert "found 'mass'; allowed: NAME=KIND or NAME=LOW:HIGH" in capsys.readouterr().err


def test_the_verdict_is_said_and_the_same_seed_gives_the_same_file(fitted, tmp_path, capsys):
    fit(fitted[0], tmp_path / "again.safetensors")
    assert "again.safetensors: Symmetry" in capsys.readouterr().out
    assert (tmp_path / "again.safetensors").read_bytes() == fitted[1].read_bytes()
    fit(fitted[0], tmp_path / "other.safetensors", "--random-state", "1")
    assert (tmp_path / "other.safetensors").read_bytes() != fitted[1].read_bytes()


@pytest.mark.parametrize(
    ("more", "said"),
    [
        (["--y", "price"], "has no column 'price'; it has 'mass', 'acceleration', 'force'"),
        (["--x", "mass,force"], "'force' twice; a column of y among x"),
        (["--separator", ";"], "is data.separator right?"),
        (["--decimal", "x"], "decimal is 'x'; allowed: '.' or ','"),
        (["--seeds", "0"], "train.seeds: found 0"),
        (["-S", "stepps=3"], "stepps: unknown key (value 3); allowed: "),
        (["-S", "steps=-1"], "steps: found -1"),
        (["-o", "learner.pkl"], "--output is learner.pkl; allowed: a file, NAME.safetensors"),
    ],
)
def test_a_wrong_word_is_named_before_anything_is_written(fitted, tmp_path, more, said):
    output = tmp_path / "learner.safetensors"
    assert said in refusal(fit, fitted[0], output, *more)
    assert not list(tmp_path.iterdir())


def test_a_setting_that_is_no_number_is_refused(fitted, tmp_path, capsys):
    assert refusal(fit, fitted[0], tmp_path / "learner.safetensors", "-S", "steps") == "2"
    assert "-S: found 'steps'; allowed: KEY=NUMBER" in capsys.readouterr().err


def test_what_cannot_have_partners_is_refused_and_nothing_written(fitted, table, tmp_path):
    path, output = tmp_path / "table.csv", tmp_path / "partners.csv"
    table.rename(columns={"mass": "weight"}).to_csv(path, index=False)
    assert "no column 'mass'" in refusal(partners, fitted[1], path, output)
    assert "count is 0" in refusal(partners, fitted[1], fitted[0], output, "-n", "0")
    assert "is no table" in refusal(partners, fitted[1], fitted[0], tmp_path / "partners.xls")
    assert "not a safetensors file" in refusal(partners, path, fitted[0], output)
    assert list(tmp_path.iterdir()) == [path]


def test_partners_hold_values_of_the_table_and_keep_the_columns_that_are_held(table, tmp_path):
    path, learner = tmp_path / "table.csv", tmp_path / "learner.safetensors"
    roads = np.random.default_rng(1).choice(["dry", "wet", "NA"], len(table))
    steps = np.random.default_rng(2).integers(1, 6, len(table))
    wide = table.assign(road=roads, step=steps, share=100 * (table["mass"] - 1) / 2)
    wide.to_csv(path, index=False)
    kinds = "--column", "share=0:100", "--column", "step=category", "--hold", "mass,road"
    fit(path, learner, *kinds)
    partners(learner, path, tmp_path / "partners.csv", "-n", "3")
    found = pd.read_csv(tmp_path / "partners.csv", keep_default_na=False)
    assert found["road"].tolist() == found["own_road"].tolist() == [*roads.repeat(3)]
    np.testing.assert_allclose(found["mass"], table["mass"].repeat(3), rtol=1e-6)
    assert set(found["step"]) == {1, 2, 3, 4, 5}
    assert found["share"].between(0, 100).all()
    assert found["acceleration"].nunique() > 1000
    for words, said in (
        (("--hold", "force"), "'force'"),
        (("--column", "mass=price"), "'price'"),
        (("--column", "share=0:50"), "declared to lie from 0 to 50"),
    ):
        assert said in refusal(fit, path, tmp_path / "other.safetensors", *words)
    assert not (tmp_path / "other.safetensors").exists()


@pytest.mark.parametrize("suffix", ["csv", "parquet"])
def test_what_is_held_comes_back_to_the_last_digit(table, tmp_path, suffix):
    def write(frame, name):
        path = tmp_path / f"{name}.{suffix}"
        frame.to_csv(path, index=False) if suffix == "csv" else frame.to_parquet(path)
        return path

    def read(path):
        exact = {"place": float, "own_place": float}  # as not every pandas reads numbers
        return pd.read_csv(path, converters=exact) if suffix == "csv" else pd.read_parquet(path)

    draw = np.random.default_rng(3)
    wide = table.assign(
        id=draw.integers(10**11, 10**13, len(table)),
        place=1e6 + draw.normal(size=len(table)) * 1e5,
    )
    learner, output = tmp_path / "learner.safetensors", tmp_path / f"partners.{suffix}"
    fit(write(wide, "table"), learner, "--hold", "id,place")
    partners(learner, write(wide, "table"), output, "-n", "2")
    found = read(output)
    for name in ("id", "place"):
        assert (found[name] == wide[name].repeat(2).to_numpy()).all()
        assert (found[f"own_{name}"] == found[name]).all()

    wide["id"] = 2**53 + 1 + 2 * draw.integers(0, 2**53, len(table))
    said = "'id' is to be kept exactly, but holds .* of which a float64 has not all digits"
    for command in (
        (fit, write(wide, "large"), tmp_path / "other.safetensors", "--hold", "id,place"),
        (partners, learner, write(wide, "large"), tmp_path / f"other.{suffix}"),
    ):
        assert re.search(said, refusal(*command))
    fit(write(wide, "large"), tmp_path / "other.safetensors", "--hold", "place")


def test_rows_that_are_like_no_training_row_are_told(fitted, table, tmp_path, capsys):
    table.assign(mass=table["mass"].where(table.index > 1, -9999)).to_csv(tmp_path / "far.csv")
    partners(fitted[1], tmp_path / "far.csv", tmp_path / "partners.csv", "-n", "300")
    printed = capsys.readouterr().out
    assert "far.csv: 2 of 600 rows are outside what was seen in training" in printed
    assert "'mass' (2, training had 1.0" in printed


def test_a_report_of_a_learner_is_one_file_with_the_tables_rows(fitted, table, tmp_path):
    main(["report", str(fitted[1]), str(fitted[0]), "-o", str(tmp_path / "report.html")])
    page = (tmp_path / "report.html").read_text()
    assert page.lower().startswith("<!doctype html>")
    assert "acceleration" in page
    without = tmp_path / "without.csv"
    table[["mass", "acceleration"]].to_csv(without, index=False)
    command = "report", str(fitted[1]), str(without), "-o", str(tmp_path / "other.html")
    assert "no column 'force'" in refusal(main, command)
    command = "report", str(fitted[1]), str(fitted[0]), "-o", str(tmp_path / "report.pdf")
    assert "allowed: a file, NAME.html" in refusal(main, command)
    assert sorted(path.name for path in tmp_path.iterdir()) == ["report.html", "without.csv"]


def test_a_class_of_texts_keeps_its_name_from_fit_to_the_report(table, tmp_path):
    heavy = np.where(table["force"] > table["force"].median(), "heavy", "light")
    table.assign(force=heavy).to_csv(tmp_path / "table.csv", index=False)
    csv, learner = tmp_path / "table.csv", tmp_path / "learner.safetensors"
    fit(csv, learner)
    partners(learner, csv, tmp_path / "partners.csv", "-n", "2")
    found = pd.read_csv(tmp_path / "partners.csv")
    assert found["own_force"].tolist() == heavy.repeat(2).tolist()
    assert {"force=light_hat", "own_force=light_hat"} < set(found)
    main(["report", str(learner), str(csv), "-o", str(tmp_path / "report.html")])
    page = (tmp_path / "report.html").read_text()
    assert "<h1>force</h1>" in page
    assert "rows that it never saw" not in page  # it was fitted to them


def test_a_class_that_looks_like_dates_is_one_if_declared(table, tmp_path):
    bands = pd.qcut(table["force"], 6, labels=[f"{1990 + year}-09" for year in range(6)])
    table.assign(force=bands.astype(str)).to_csv(tmp_path / "table.csv", index=False)
    fit(tmp_path / "table.csv", tmp_path / "learner.safetensors", "--column", "force=category")
    learner = SymmetryLearner.load(tmp_path / "learner.safetensors")
    assert sorted(learner.classes_) == sorted(bands.unique())


def test_the_version_is_the_packages(capsys):
    with pytest.raises(SystemExit, match="0"):
        main(["--version"])
    assert capsys.readouterr().out == f"{__version__}\n"


def test_columns_of_x_keep_their_names_where_the_partners_own_would_take_them(tmp_path):
    draw = np.random.default_rng(0)
    names = ["row", "astray", "y_hat", "own_row"]
    table = pd.DataFrame(draw.uniform(1, 3, (600, 4)), columns=names)
    table["y"] = table["row"] * table["astray"] + table["y_hat"]
    table.to_csv(tmp_path / "table.csv", index=False)
    fit = ["fit", str(tmp_path / "table.csv"), "--y", "y", "-o", str(tmp_path / "l.safetensors")]
    main([*fit, "-S", "steps=20", "-S", "predictor_steps=60"])
    found = tmp_path / "partners.csv"
    main(["partners", str(tmp_path / "l.safetensors"), fit[1], "-n", "3", "-o", str(found)])
    partners = pd.read_csv(found)
    assert list(partners) == [
        *("row_", "partner", *names, "y_hat_", "astray_"),
        *("own_row_", "own_astray", "own_y_hat", "own_own_row", "own_y", "own_y_hat_"),
    ]
    assert ((partners[names] >= 1) & (partners[names] <= 3)).all(axis=None)
    np.testing.assert_allclose(partners["own_row_"][::3], table["row"], rtol=1e-6)


def test_a_table_is_looked_at_and_the_command_to_type_works(tmp_path, capsys):
    draw = np.random.default_rng(0)
    rows = pd.DataFrame(
        {
            "id": [f"stone {number}" for number in range(600)],
            "carat": draw.uniform(0.2, 3, 600).round(2),
            "cut": draw.choice(["Fair", "Ideal"], 600),
            "same": 7,
            "sold": pd.date_range("2020-01-01", periods=600).strftime("%d.%m.%Y"),
            "weight": [f"{number / 8} kg" for number in range(600)],
        }
    )
    rows["price"] = 1000 * rows["carat"]
    path = tmp_path / "my stones.CSV"
    rows.to_csv(path, index=False, sep=";")
    main(["new", str(path), "--y", "price"])
    printed = capsys.readouterr().out
    assert re.search(r'cut +category +2 values: "(Fair|Ideal)", "(Fair|Ideal)"', printed)
    assert re.search(r"carat +number +0\.2\d* to (3|2\.9\d*)", printed)
    assert "price (y)" in printed
    assert "left out: id, since column 'id' has 600 different values" in printed
    assert "left out: same, since column 'same' is constant" in printed
    for name, cell in (("sold", "01.01.2020"), ("weight", "0.0 kg")):
        assert (
            f"left out: {name}, since it holds dates, or numbers with units: '{cell}'" in printed
        )
    (typed,) = re.findall(r"  (symmetry fit .*)", printed)
    words = shlex.split(typed)[1:]
    assert words[words.index("--x") + 1] == "carat,cut"
    assert words[words.index("--separator") + 1] == ";"
    words[words.index("-o") + 1] = str(tmp_path / "l.safetensors")
    main([*words, "-S", "steps=2", "-S", "predictor_steps=2"])
    assert SymmetryLearner.load(tmp_path / "l.safetensors").units_.x.names == ("carat", "cut")


def test_columns_of_parquet_that_hold_neither_numbers_nor_texts_are_left_out(tmp_path, capsys):
    draw = np.random.default_rng(0)
    rows = pd.DataFrame({"mass": draw.uniform(1, 3, 300), "material": ["iron", "zinc"] * 150})
    when = pd.date_range("2020-01-01", periods=300)
    others = {
        "timestamp": when,
        "duration": when - when[0],
        "date32": when.date,
        "binary": [b"a", b"b"] * 150,
        "list": [[1, 2]] * 300,
    }
    rows["force"] = 2 * rows["mass"]
    path = tmp_path / "table.parquet"
    rows.assign(**others).to_parquet(path)
    main(["new", str(path), "--y", "force"])
    printed = capsys.readouterr().out
    for name in others:
        assert re.search(rf"left out: {name}, since it is of type {name}", printed)
    assert "--x mass,material -o" in printed
    # One that is asked for is no column to leave out.
    said = refusal(main, ["new", str(path), "--y", "timestamp"])
    assert "column 'timestamp' is of type timestamp" in said


def test_a_table_without_the_y_that_is_named_is_refused_with_its_columns(fitted):
    said = refusal(main, ["new", str(fitted[0]), "--y", "q"])
    assert "has no column 'q'; it has 'mass', 'acceleration', 'force'" in said


def holey(rows):
    """A table as people have them: cells are missing, some stand for it, one has a slip."""
    draw = np.random.default_rng(1)
    frame = pd.DataFrame(
        {
            "mass": draw.uniform(1, 3, rows).round(3),
            "cut": draw.choice(["Fair", "Ideal"], rows),
            "code": [str(number) for number in draw.integers(100, 300, rows)],
            "budget": draw.uniform(1, 3, rows),
            "drive": draw.choice(["f", "r", "4"], rows),
            "note": pd.Series("", index=range(rows), dtype=object),
            "income": draw.uniform(1, 3, rows).round(3),
        }
    )
    frame["price"] = (frame["mass"] * frame["income"]).round(3)
    frame.loc[: rows // 2, "budget"] = np.nan
    frame.loc[3, "note"] = "sold"
    frame.loc[rows // 4 :: 20, "cut"] = None
    frame.loc[5, "code"] = "136A"
    frame.loc[1::25, "price"] = np.nan
    return frame


@pytest.mark.parametrize("kind", ["csv", "parquet"])
def test_what_new_says_to_type_leaves_out_what_is_missing(tmp_path, capsys, kind):
    path, rows = tmp_path / f"holey.{kind}", holey(400)
    getattr(rows, f"to_{kind}")(path, index=False)
    main(["new", str(path), "--y", "price"])
    printed = capsys.readouterr().out
    assert "left out: budget, since 201 cells of column 'budget' are missing" in printed
    assert re.search(
        r"left out: drive, since \d+ cells .* '[fr]'; if these are names, add", printed
    )
    assert "left out: note, since 399 cells of column 'note' are missing" in printed
    assert "15 cells of column 'cut' are missing, the first in row 101" in printed
    assert "16 cells of column 'price' are missing, the first in row 2" in printed
    assert "1 cell of column 'code' is no finite number, in row 6: '136A'" in printed
    used = ["mass", "cut", "code", "income"]
    good = rows.replace("136A", np.nan)[[*used, "price"]].dropna()
    assert f"{400 - len(good)} rows have such cells; --bad-rows drop leaves them out" in printed
    (typed,) = re.findall(r"  (symmetry fit .*)", printed)
    words = shlex.split(typed)[1:]
    assert words[words.index("--x") + 1].split(",") == used
    assert words[words.index("--bad-rows") + 1] == "drop"
    assert float(words[words.index("--most-dropped") + 1]) == 0.08
    words[words.index("-o") + 1] = str(tmp_path / "l.safetensors")
    main([*words, *FEW])
    assert f"dropped {400 - len(good)} of 400 rows" in capsys.readouterr().out
    said = refusal(main, [word for word in words if word not in ("--most-dropped", "0.08")])
    assert "more than the share of 0.05 that data.most_dropped allows" in said


def test_new_says_which_values_fit_would_refuse(table, tmp_path, capsys):
    path = tmp_path / "coded.csv"
    table.assign(mass=table["mass"].where(table.index % 12 > 0, -9999)).to_csv(path, index=False)
    main(["new", str(path), "--y", "force"])
    printed = capsys.readouterr().out
    assert "column 'mass' is -9999 in 50 rows, the first being row 1" in printed
    assert "--far-values keep" in printed
    (typed,) = re.findall(r"  symmetry (fit .*)", printed)
    words = shlex.split(typed)
    words[words.index("-o") + 1] = str(tmp_path / "l.safetensors")
    assert "column 'mass' is -9999 in 50 rows" in refusal(main, words)
    main(["new", str(path), "--y", "force", "--missing", "-9999"])
    printed = capsys.readouterr().out
    assert "50 rows have such cells" in printed
    assert "--far-values" not in printed
    assert "--missing -9999 --bad-rows drop --most-dropped 0.09" in printed


@pytest.mark.parametrize("rows", [5, 60, 250])
def test_few_rows_are_fitted_and_the_verdict_says_if_they_are_too_few(
    table, tmp_path, capsys, rows
):
    path = tmp_path / "few.csv"
    table[:rows].to_csv(path, index=False)
    fit(path, tmp_path / "l.safetensors")
    said = capsys.readouterr().out
    held = round(0.2 * rows)
    assert ("Not judged" in said) == (held < 40)
    assert SymmetryLearner.load(tmp_path / "l.safetensors").model_ is not None
    table[:4].to_csv(path, index=False)
    assert "minimum of 5 is required" in refusal(fit, path, tmp_path / "l.safetensors")


@pytest.mark.parametrize("share", ["2", "-0.1", "nan", "half"])
def test_what_is_no_share_is_refused(fitted, share, capsys):
    with pytest.raises(SystemExit, match="2"):
        main(["new", str(fitted[0]), "--y", "force", f"--most-dropped={share}"])
    assert f"found '{share}'; allowed: a share, 0 to 1" in capsys.readouterr().err
