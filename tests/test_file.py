"""The task of one's own file: its split, its units, and what is refused."""

import csv
from contextlib import redirect_stdout
from io import StringIO
from pathlib import Path

import numpy as np
import pandas as pd
import pytest
from hypothesis import given
from hypothesis import strategies as st
from numpy.random import default_rng

from symmetry.artifacts import read_dataset, read_yaml, write_dataset
from symmetry.data import Table
from symmetry.tasks import TASKS

File = TASKS["file"]


def table(rows=1000, **columns):
    generator = default_rng(0)
    values = {name: generator.normal(5, 2, rows) for name in ("a", "b", "c")}
    return pd.DataFrame({"row": range(rows), **values, **columns})


def build(**changes):
    keys = {"task": "file", "path": "mine.csv", "x": ["a", "b"], "y": ["c"], "seed": 0}
    return File(**{**keys, **changes})


@pytest.fixture(autouse=True)
def folder(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    table().to_csv("mine.csv", index=False)


def rows_of(**changes):
    """Returns which rows of the file are in which part."""
    parts = dict(build(x=["row", "a"], **changes).parts())
    return {name: part.x[:, 0].astype(int).tolist() for name, part in parts.items()}


def test_each_row_is_in_one_part_and_shares_are_those_asked_for():
    rows = rows_of(validation_share=0.2, test_share=0.3)
    assert {name: len(of) for name, of in rows.items()} == {
        "train": 500,
        "validation": 200,
        "test": 300,
    }
    assert sorted(row for part in rows.values() for row in part) == list(range(1000))
    assert rows_of(validation_share=0.2, test_share=0.3) == rows
    other = rows_of(validation_share=0.2, test_share=0.3, seed=1)
    assert set(other["test"]) != set(rows["test"])


def test_held_out_rows_are_not_too_many_and_the_rest_train(monkeypatch):
    monkeypatch.setattr("symmetry.tasks.file.MOST_HELD_OUT", 150)
    rows = rows_of(validation_share=0.2, test_share=0.3)
    assert [len(rows[part]) for part in ("train", "validation", "test")] == [700, 150, 150]


def test_columns_are_those_named_with_the_training_rows_units():
    parts = dict(build(x=["c", "a"], y=["b"]).parts())
    frame = pd.read_csv("mine.csv")
    units = parts["train"].units
    assert (units.x.names, units.y.names) == (("c", "a"), ("b",))
    np.testing.assert_allclose(units.x.mean, parts["train"].x.mean(0))
    np.testing.assert_allclose(units.y.std, parts["train"].y.std(0))
    assert all(part.units == units and part.t is None for part in parts.values())
    found = parts["test"].x[0]
    (row,) = np.flatnonzero(np.isclose(frame["c"], found[0]))
    np.testing.assert_allclose([*found, *parts["test"].y[0]], frame.loc[row, ["c", "a", "b"]])


def test_the_whole_is_all_rows_in_their_order_however_few(capsys):
    frame = table(rows=7).assign(kind=["v", "u", "u", "v", "u", "v", "w"])
    frame.to_csv("mine.csv", index=False)
    whole = build(x=["a", "kind"], y=["b"]).whole()
    np.testing.assert_array_equal(whole.x[:, 0], frame["a"])
    np.testing.assert_array_equal(whole.y[:, 0], frame["b"])
    kind = whole.units.x.kinds[1]
    assert [kind.members[int(place)] for place in whole.x[:, 1]] == [*frame["kind"]]
    frame.iloc[[0, 0, *range(7)]].to_csv("mine.csv", index=False)
    assert len(build(x=["a", "kind"], y=["b"]).whole()) == 9
    assert "3 of 9 rows stand there more than once" in capsys.readouterr().out


def test_a_category_whose_values_are_all_of_one_part_is_refused_by_name():
    kinds = np.repeat([*"abcdefghij"], 100)
    table(kind=kinds).to_csv("mine.csv", index=False)
    message = r"mine\.csv: 0 rows of validation .*at least 20 are needed; leave such.* data\.group"
    with pytest.raises(ValueError, match=message):
        dict(build(x=["a", "kind"], y=["b"], group="kind").parts())
    assert len(dict(build(x=["a", "c"], y=["b"], group="kind").parts())) == 3


def test_a_column_may_say_which_row_is_of_which_part():
    said = np.array(["train"] * 600 + ["test"] * 300 + ["validation"] * 100)
    table(part=said).to_csv("mine.csv", index=False)
    rows = rows_of(split_column="part")
    assert rows["train"] == list(range(600))
    assert sorted(rows["test"]) == list(range(600, 900))
    assert sorted(rows["validation"]) == list(range(900, 1000))


def test_dropped_rows_are_counted_and_said(capsys):
    frame = table()
    frame.loc[[3, 7], "a"] = np.nan
    frame.to_csv("mine.csv", index=False)
    assert sum(len(part) for _, part in build(bad_rows="drop").parts()) == 998
    assert "mine.csv: dropped 2 of 1000 rows: 2 cells of column 'a'" in capsys.readouterr().out
    with pytest.raises(ValueError, match=r"2 cells of column 'a'.*row 4.*data\.bad_rows: drop"):
        dict(build().parts())


@pytest.mark.parametrize(
    ("columns", "changes", "said"),
    [
        ({}, {"y": ["a"]}, "name 'a' twice; a column of y among x would be the answer itself"),
        ({}, {"x": ["a", "b", "a"]}, "data.x, data.y and data.split_column name 'a' twice"),
        ({}, {"split_column": "b"}, "name 'b' twice"),
        ({}, {"x": ["a", "z"]}, "mine.csv has no column 'z'"),
        ({}, {"split_column": "z"}, "mine.csv has no column 'z'"),
        ({"a": 3.5}, {}, "mine.csv: column 'a' is constant in the training rows"),
        ({"c": 0.1}, {}, "mine.csv: column 'c' is constant in the training rows"),
        ({"a": 1e9 + np.arange(1000)}, {}, "column 'a' varies too little to be told apart"),
        ({"part": "train"}, {"split_column": "part"}, "0 of its 1000 rows are for validation"),
        ({"part": "dev"}, {"split_column": "part"}, "'part' holds 'dev'; allowed: train, val"),
        ({}, {"test_share": 0.05}, "50 of its 1000 rows are for test; at least 100 are needed"),
        ({}, {"validation_share": 0.0}, "0 of its 1000 rows are for validation; at least 20"),
        ({}, {"test_share": 0.85, "validation_share": 0.1}, "50 of its 1000 rows are for train"),
        ({}, {"test_share": 0.9, "validation_share": 0.9}, "0 of its 1000 rows are for train"),
        ({}, {"separator": ";"}, "one column: is data.separator right"),
        ({}, {"path": "your.csv"}, "your.csv"),
    ],
)
def test_what_cannot_be_used_is_refused_and_named(columns, changes, said):
    table(**columns).to_csv("mine.csv", index=False)
    with pytest.raises((ValueError, OSError), match=said) as raised:
        dict(build(**changes).parts())
    assert "\n" not in str(raised.value)


def test_its_plane_is_named_by_its_columns():
    assert build().plane.labels == ("a", "b")
    assert build(x=["a"]).plane.labels == ("a", "a")


# ---- What must not be torn apart ---------------------------------------------------------------


def parts_of(**changes):
    """Returns the part of each row of the file, by its number in the column `row`."""
    parts = dict(build(x=["a", "b"], y=["c", "row"], **changes).parts())
    return {int(row): name for name, part in parts.items() for row in part.y[:, 1]}


def test_where_no_row_stands_twice_the_split_is_the_random_one(capsys):
    order = default_rng(3).permutation(1000)
    parts = parts_of(seed=3)
    expected = ["validation"] * 100 + ["test"] * 100 + ["train"] * 800
    assert [parts[row] for row in order] == expected
    assert not capsys.readouterr().out


@given(seed=st.integers(0, 1000), distinct=st.integers(10, 900))
def test_copies_of_a_row_are_of_the_same_part(seed, distinct):
    rows = default_rng(seed).integers(0, distinct, 1000)
    values = default_rng(seed + 1).normal(size=(distinct, 3))
    values[:5, 0] = [0.0, -0.0, 0.0, -0.0, 1.0]
    values[:5, 1:] = 1.0  # zero is zero, whatever its sign
    pd.DataFrame(values[rows], columns=["a", "b", "c"]).to_csv("mine.csv", index=False)
    with redirect_stdout(StringIO()) as out:
        parts = dict(build().parts())
    tables = {name: np.column_stack([part.x, part.y]) for name, part in parts.items()}
    distinct_rows = [{tuple(row) for row in part.tolist()} for part in tables.values()]
    assert sum(map(len, tables.values())) == 1000
    assert sum(map(len, distinct_rows)) == len(set().union(*distinct_rows))
    keys, counts = np.unique(np.concatenate(list(tables.values())), axis=0, return_counts=True)
    several = counts[counts > 1].sum()
    assert f"{several} of 1000 rows stand there more than once" in out.getvalue()
    assert len(tables["validation"]) <= 100 + counts.max()
    assert len(keys) == len(set().union(*distinct_rows))


@given(seed=st.integers(0, 1000), groups=st.integers(60, 400))
def test_rows_of_a_group_are_of_the_same_part_and_so_are_copies_across_groups(seed, groups):
    generator = default_rng(seed)
    frame = table(site=[f"s{number}" for number in generator.integers(0, groups, 1000)])
    frame.loc[500:509, ["a", "b", "c"]] = frame.loc[0:9, ["a", "b", "c"]].to_numpy()
    frame.to_csv("mine.csv", index=False)
    with redirect_stdout(StringIO()):
        parts = dict(build(group="site", validation_share=0.2, test_share=0.3).parts())
    part_of = {
        tuple(row): name
        for name, part in parts.items()
        for row in np.column_stack([part.x, part.y]).tolist()
    }
    found = [part_of[tuple(row)] for row in frame[["a", "b", "c"]].to_numpy().tolist()]
    assert sum(map(len, parts.values())) == 1000
    assert frame.assign(part=found).groupby("site")["part"].nunique().max() == 1
    assert found[:10] == found[500:510]


@pytest.mark.parametrize(
    "times",
    [
        default_rng(0).permutation(1000) - 500.5,
        pd.to_datetime(default_rng(0).permutation(1000) * 13, unit="h").astype(str),
        pd.to_datetime(default_rng(0).permutation(1000) * 40 - 20_000, unit="D").astype(str),
    ],
    ids=["numbers", "times", "dates"],
)
def test_in_order_of_time_the_first_rows_train_and_the_last_test(times):
    table(when=times).to_csv("mine.csv", index=False)
    parts = parts_of(order="when", validation_share=0.2, test_share=0.3)
    order = default_rng(0).permutation(1000)
    by_time = [parts[row] for row in np.argsort(order)]
    assert by_time == ["train"] * 500 + ["validation"] * 200 + ["test"] * 300


def test_a_column_of_time_may_be_one_of_x_and_must_be_of_times():
    table().to_csv("mine.csv", index=False)
    parts = dict(build(x=["row", "a"], order="row").parts())
    assert parts["train"].x[:, 0].max() < parts["test"].x[:, 0].min()
    table(when=["2020-01-01"] * 999 + ["soon"]).to_csv("mine.csv", index=False)
    with pytest.raises(ValueError, match=r"column 'when' of data\.order holds 'soon'; allowed:"):
        dict(build(order="when").parts())


def test_copies_that_a_split_column_tears_apart_are_counted(capsys):
    frame = table(part=["train"] * 600 + ["validation"] * 100 + ["test"] * 300)
    frame.loc[700:719, ["a", "b", "c"]] = frame.loc[0:19, ["a", "b", "c"]].to_numpy()
    frame.to_csv("mine.csv", index=False)
    dict(build(split_column="part").parts())
    said = "20 of the 300 rows that column 'part' takes for test are copies of training rows"
    assert said in capsys.readouterr().out
    with pytest.raises(ValueError, match=r"neither data\.group nor data\.order"):
        dict(build(split_column="part", group="row").parts())


def test_too_few_groups_are_said():
    table(site=default_rng(0).integers(0, 2, 1000)).to_csv("mine.csv", index=False)
    with pytest.raises(ValueError, match=r"are for train.*\(groups of 'site' stay whole\)"):
        dict(build(group="site").parts())


# ---- What must be declared ---------------------------------------------------------------------


@pytest.mark.parametrize("rows", [[7], list(range(0, 1000, 100)), list(range(0, 1000, 3))])
@pytest.mark.parametrize("value", [-9999, 6e5])
@pytest.mark.parametrize("name", ["a", "c"])
def test_values_far_from_all_others_are_named_before_training(capsys, rows, value, name):
    frame = table()
    frame.loc[rows, name] = value
    frame.to_csv("mine.csv", index=False)
    words = (
        rf"column '{name}' is {value:g} in {len(rows)} rows, the first being row {rows[0] + 1},"
    )
    with pytest.raises(ValueError, match=rf"{words}.*data\.missing.*data\.far_values: keep"):
        dict(build().parts())
    kept = dict(build(far_values="keep").parts())
    assert sum(map(len, kept.values())) == 1000
    assert words in capsys.readouterr().out
    declared = {"missing": [value], "bad_rows": "drop", "most_dropped": 0.5, "test_share": 0.2}
    parts = dict(build(**declared).parts())
    assert sum(map(len, parts.values())) == 1000 - len(rows)
    assert not any((np.column_stack([part.x, part.y]) == value).any() for part in parts.values())


def test_heavy_tails_that_are_meant_work(capsys):
    table(a=default_rng(1).lognormal(0, 2, 1000)).to_csv("mine.csv", index=False)
    dict(build().parts())
    assert not capsys.readouterr().out


def test_thousands_are_refused_until_they_are_declared():
    frame = table(b=[f"{value:,.1f}" for value in default_rng(1).uniform(500, 1500, 1000)])
    frame.to_csv("mine.csv", index=False)
    with pytest.raises(ValueError, match=r"declare data\.thousands: ','"):
        dict(build(bad_rows="drop").parts())
    found = np.concatenate([part.x for _, part in build(thousands=",").parts()])
    assert 500 <= found[:, 1].min() < found[:, 1].max() <= 1500


def test_how_the_table_was_read_travels_with_the_units(tmp_path):
    table().to_csv("mine.csv", index=False, sep=";", decimal=",")
    keys = {"separator": ";", "decimal": ",", "missing": [-9999, "?"], "bad_rows": "drop"}
    parts = dict(build(**keys).parts())
    expected = Table(";", ",", None, (-9999, "?"), "drop", 0.05)
    write_dataset(tmp_path / "d.npz", parts["train"])
    for found in (parts["test"], read_dataset(tmp_path / "d.npz")):
        assert found.units.table == expected


@pytest.mark.parametrize("name", [False, 3, None, 1.5])
def test_a_name_that_yaml_takes_for_something_else_is_to_be_quoted(name):
    with pytest.raises(ValueError, match=rf"YAML takes {name!r} for something else.*in quotes"):
        build(x=["a", name])


@pytest.mark.parametrize("scale", [1e40, 1e31, 1e-31, 1e-50, 1e300, 1e-300])
@pytest.mark.parametrize("name", ["a", "c"])
def test_a_unit_that_no_model_can_take_is_refused_by_column(scale, name):
    table(**{name: default_rng(1).normal(5, 2, 1000) * scale}).to_csv("mine.csv", index=False)
    with pytest.raises(ValueError, match=f"column '{name}' has a standard.*give it in another un"):
        dict(build().parts())


@pytest.mark.parametrize("scale", [1e28, 1e-28])
def test_units_within_them_are_taken(scale):
    values = default_rng(1).normal(5, 2, 1000)
    table(a=values * scale).to_csv("mine.csv", index=False)
    units = dict(build().parts())["train"].units
    np.testing.assert_allclose([units.x.mean[0], units.x.std[0]], [5 * scale, 2 * scale], rtol=0.1)


# ---- The same table in any form ----------------------------------------------------------------


@given(
    separator=st.sampled_from(",;\t|"),
    notation=st.sampled_from([(".", None), (",", None), (".", ","), (",", "."), (".", " ")]),
    newline=st.sampled_from(["\n", "\r\n", "\r"]),
    mark=st.sampled_from(["", "\ufeff"]),
    quoted=st.booleans(),
    missing=st.sampled_from([None, -9999, "unknown"]),
    index=st.sampled_from([None, "a", "c"]),
    parquet=st.booleans(),
)
def test_a_table_is_the_same_in_any_form(
    separator, notation, newline, mark, quoted, missing, index, parquet
):
    frame = (table()[["a", "b", "c"]] * 1000).round(2)
    frame.to_csv("clean.csv", index=False)
    expected = dict(build(path="clean.csv").parts())
    declared = {}
    if missing is not None:
        extra = pd.DataFrame({"a": [missing], "b": [1], "c": [missing]})
        declared = {"missing": [missing], "bad_rows": "drop"}
    if parquet:
        whole = frame if missing is None else pd.concat([frame, extra])
        if isinstance(missing, str):
            whole = whole.astype(str)
        (whole if index is None else whole.set_index(index)).to_parquet("mine.parquet")
        declared["path"] = "mine.parquet"
    else:
        decimal, thousands = notation
        signs = str.maketrans({",": thousands or "", ".": decimal})
        text = frame.map(lambda value: f"{value:,.2f}".translate(signs))
        if missing is not None:
            text = pd.concat([text, extra.astype(str)])
        quoting = csv.QUOTE_ALL if quoted else csv.QUOTE_MINIMAL
        content = text.to_csv(sep=separator, index=False, quoting=quoting, lineterminator=newline)
        Path("mine.csv").write_bytes((mark + content).encode())
        declared |= {"separator": separator, "decimal": decimal, "thousands": thousands}
    with redirect_stdout(StringIO()):
        found = dict(build(**declared).parts())
    assert list(found) == list(expected)
    for name, part in found.items():
        np.testing.assert_array_equal(part.x, expected[name].x)
        np.testing.assert_array_equal(part.y, expected[name].y)


def test_columns_may_have_the_names_of_gases():
    frame = table()[["a", "b", "c"]].set_axis(["NO", "O3", "y"], axis=1)
    frame.to_csv("mine.csv", index=False)
    Path("params.yaml").write_text("{x: [NO, O3], y: [y]}")
    names = read_yaml("params.yaml")
    assert dict(build(**names).parts())["train"].units.x.names == ("NO", "O3")
