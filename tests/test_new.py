"""The command that makes a pipeline of a table: what it finds, writes and refuses."""

import shutil
import sys
from pathlib import Path

import numpy as np
import pandas as pd
import pytest
from numpy.random import default_rng

from stages import new, plain_errors
from symmetry.artifacts import read_yaml
from symmetry.params import parse

ROOT = Path(__file__).parents[1]


def table(rows=600):
    draw = default_rng(0)
    frame = pd.DataFrame(
        {
            "id": [f"stone {number}" for number in range(rows)],
            "carat": draw.uniform(0.2, 3, rows).round(2),
            "cut": draw.choice(["Fair", "Good: so", "Ideal"], rows),
            "NO": draw.integers(0, 5, rows),
            "same": 7,
        }
    )
    return frame.assign(price=(1000 * frame["carat"] + 50 * frame["NO"]).round(1))


@pytest.fixture(autouse=True)
def folder(tmp_path, monkeypatch):
    shutil.copytree(ROOT / "examples" / "own", tmp_path / "examples" / "own")
    monkeypatch.chdir(tmp_path)
    table().to_csv("stones.csv", index=False)
    even = [number if number % 2 else None for number in range(10)]
    empty = pd.DataFrame({"a": even[::-1], "b": None, "c": even})
    empty.to_csv("empty.csv", index=False)


@pytest.fixture
def run(monkeypatch):
    def command(*arguments):
        monkeypatch.setattr(sys, "argv", ["new", *arguments])
        with plain_errors():
            new.main()

    return command


def parts_of(name, monkeypatch):
    content = read_yaml(f"examples/{name}/params.yaml")
    monkeypatch.chdir(f"examples/{name}")
    return dict(parse(content).data.parts())


def test_a_table_becomes_a_pipeline_that_says_what_it_found(run, monkeypatch, capsys):
    run("stones", "stones.csv", "--y", "price", "--hold", "cut")
    printed = capsys.readouterr().out
    assert "left out: id, since column 'id' has 600 different values" in printed
    assert "left out: same, since column 'same' is constant" in printed
    assert "dvc repro examples/stones/dvc.yaml" in printed
    text = Path("examples/stones/params.yaml").read_text()
    assert '"cut": category  # 3 values: ' in text
    assert '"NO": integer  # 0 to 4' in text
    assert '"carat": number  # 0.2' in text
    made, own = (read_yaml(f"examples/{name}/dvc.yaml") for name in ("stones", "own"))
    assert made.pop("metrics") == ["metrics/headline.json"]
    assert made["stages"].pop("headline")["deps"][0] == "metrics/stib_flow.json"
    assert made == own
    parts = parts_of("stones", monkeypatch)
    kinds = dict(zip(parts["train"].units.x.names, parts["train"].units.x.kinds, strict=True))
    assert {name: kind.kind for name, kind in kinds.items()} == {
        "carat": "number",
        "cut": "category",
        "NO": "integer",
    }
    assert [name for name, kind in kinds.items() if kind.held] == ["cut"]
    assert sum(map(len, parts.values())) == 600


def test_several_tables_lie_side_by_side_and_none_is_overwritten(run):
    run("first", "stones.csv", "--y", "price")
    run("second", "stones.csv", "--y", "price", "--x", "carat", "cut")
    first = Path("examples/first/params.yaml").read_bytes()
    with pytest.raises(SystemExit, match="examples/first is there already"):
        run("first", "stones.csv", "--y", "carat")
    assert Path("examples/first/params.yaml").read_bytes() == first
    assert read_yaml("examples/second/params.yaml")["data"]["x"] == ["carat", "cut"]


@pytest.mark.parametrize("suffix", ["csv", "parquet"])
def test_any_form_is_looked_up_and_a_class_is_found(run, suffix, monkeypatch):
    frame = table()[["carat", "NO", "cut"]]
    if suffix == "csv":
        frame.to_csv("mine.csv", index=False, sep=";", decimal=",")
    else:
        frame.to_parquet("mine.parquet")
    run("mine", f"mine.{suffix}", "--y", "cut", *(["--decimal", ","] * (suffix == "csv")))
    parts = parts_of("mine", monkeypatch)
    assert parts["train"].units.target.classes == ("Fair", "Good: so", "Ideal")
    assert set(np.unique(parts["train"].y)) == {0, 1}


@pytest.mark.parametrize(
    ("words", "message"),
    [
        (("a/b", "stones.csv", "--y", "price"), "NAME is 'a/b'; allowed: letters"),
        (("own", "stones.csv", "--y", "price"), "examples/own is there already"),
        (("new", "stones.csv", "--y", "cost"), "stones.csv has no column 'cost'; it has 'id'"),
        (("new", "stones.csv", "--y", "id"), "column 'id' has 600 different values"),
        (("new", "stones.csv", "--y", "price", "--x", "same"), "column 'same' is constant"),
        (("new", "stones.csv", "--y", "price", "--hold", "id"), "--hold names 'id'; allowed: 'c"),
        (("new", "none.csv", "--y", "price"), "none.csv"),
        (("new", "empty.csv", "--y", "a", "--x", "b"), "10 cells of column 'b' are missing"),
        (("new", "empty.csv", "--y", "b"), "10 cells of column 'b' are missing"),
        (("new", "empty.csv", "--y", "a", "--x", "c"), "has 10 rows, all with bad cells: 5 cell"),
    ],
)
def test_what_cannot_be_used_is_refused_before_anything_is_written(run, words, message):
    with pytest.raises(SystemExit, match=message):
        run(*words)
    assert [path.name for path in Path("examples").iterdir()] == ["own"]


def test_rows_with_missing_cells_are_dropped_as_params_say(run, monkeypatch, capsys):
    frame = table()
    frame.loc[::10, "carat"] = np.nan
    frame.loc[:60, "NO"] = np.nan
    frame.loc[7, "price"] = 10**9
    frame.to_csv("holey.csv", index=False)
    run("holey", "holey.csv", "--y", "price")
    printed = capsys.readouterr().out
    assert "left out: NO, since 61 cells of column 'NO' are missing" in printed
    assert "60 cells of column 'carat' are missing, the first in row 1" in printed
    assert "bad_rows: drop leaves out the 60 rows that have such cells" in printed
    assert "column 'price' is 1e+09 in 1 rows, the first being row 8" in printed
    data = read_yaml("examples/holey/params.yaml")["data"]
    assert (data["bad_rows"], data["most_dropped"]) == ("drop", 0.1)
    with pytest.raises(ValueError, match=r"data\.far_values: keep"):
        parts_of("holey", monkeypatch)


def test_a_column_that_is_constant_once_rows_are_dropped_is_left_out(run, capsys):
    frame = table()
    frame.loc[:49, "carat"] = np.nan
    frame["same"] = np.where(frame.index == 7, "yes", "no").astype(object)
    frame.to_csv("holey.csv", index=False)
    run("holey", "holey.csv", "--y", "price")
    assert "column 'same' is constant where no other cells are bad" in capsys.readouterr().out
    assert "same" not in read_yaml("examples/holey/params.yaml")["data"]["x"]
    frame.loc[50:54, "same"] = None  # which count no more once it is left out
    frame[["carat", "same", "price"]].to_csv("holey.csv", index=False)
    run("again", "holey.csv", "--y", "price")
    assert "leaves out the 50 rows that have such cells" in capsys.readouterr().out
    both = pd.DataFrame({"a": [1, 1, 1, 2], "y": [1.0, 2.0, 3.0, None]})
    pd.concat([both] * 20, ignore_index=True).to_csv("none.csv", index=False)
    with pytest.raises(SystemExit, match=r"no column of x that can be used.*constant where"):
        run("none", "none.csv", "--y", "y")


def test_a_column_that_is_asked_for_is_used_however_much_it_misses(run, monkeypatch):
    frame = table()
    frame.loc[:249, "carat"] = np.nan
    frame.to_csv("holey.csv", index=False)
    run("holey", "holey.csv", "--y", "price", "--x", "carat", "cut")
    assert sum(map(len, parts_of("holey", monkeypatch).values())) == 350
