"""The task of one's own file: its split, its units, and what is refused."""

import numpy as np
import pandas as pd
import pytest
from numpy.random import default_rng

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
