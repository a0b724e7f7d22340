"""Tables as people have them, generated: each is read for what it is, or refused by name."""

from contextlib import redirect_stdout
from io import StringIO

import numpy as np
import pandas as pd
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from numpy.random import default_rng

from symmetry.evaluation import summarize
from symmetry.frames import in_words
from symmetry.tasks import TASKS

File = TASKS["file"]
ROWS = 400
FORMS = ["csv", "csv ;", "parquet"]


@pytest.fixture(autouse=True)
def folder(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)


def flags(draw, words):
    return draw.choice(words, ROWS)


# What a column may be: its cells, what is declared of it, and the kind that is right.
GOOD = {
    "numbers": (lambda draw: draw.normal(5, 2, ROWS), None, "number"),
    "numbers of any size": (lambda draw: draw.normal(5, 2, ROWS) * 1e-9, None, "number"),
    "counts": (lambda draw: draw.integers(0, 9, ROWS), None, "integer"),
    "years": (lambda draw: draw.integers(1900, 2026, ROWS), None, "number"),
    "years, whole": (lambda draw: draw.integers(1900, 2026, ROWS), "integer", "integer"),
    "zeros and ones": (lambda draw: draw.integers(0, 2, ROWS), None, "integer"),
    "yes and no": (lambda draw: flags(draw, ["yes", "no"]), None, "category"),
    "true and false": (lambda draw: draw.random(ROWS) < 0.3, None, "category"),
    "texts": (lambda draw: flags(draw, ["Ideal", "Very Good", "größe", "a, b"]), None, "category"),
    "sizes": (lambda draw: flags(draw, ["3rd", "2nd", "1st"]), None, "category"),
    "codes": (lambda draw: flags(draw, [11, 12, 40]), "category", "category"),
    "a percentage": (lambda draw: draw.uniform(0, 100, ROWS), (0, 100), "number"),
    "few numbers said to be any": (lambda draw: draw.integers(0, 4, ROWS), "number", "number"),
}
# What is no such column, and what is said of it.
BAD = {
    "a word among numbers": (
        lambda draw: np.where(draw.random(ROWS) < 0.03, "many", "1.5").astype(object),
        None,
        "are no finite numbers, the first in row",
    ),
    "names": (lambda draw: [f"stone no. {i}" for i in range(ROWS)], None, "has .* different val"),
    "dates": (
        lambda draw: pd.date_range("2024-01-01", periods=ROWS).strftime("%Y-%m-%d"),
        None,
        "are no finite numbers",
    ),
    "units": (lambda draw: [f"{i / 7:.3f} kg" for i in range(ROWS)], None, "are no finite numb"),
    "money": (
        lambda draw: flags(draw, [f"${i},200" for i in range(99)]),
        None,
        "are no finite nu",
    ),
    "euros": (lambda draw: flags(draw, [f"€ {i}" for i in range(99)]), None, "are no finite nu"),
    "falls in percent": (
        lambda draw: flags(draw, [f"-{i}%" for i in range(99)]),
        None,
        "no finite",
    ),
    "months": (
        lambda draw: flags(draw, [f"{m} {1990 + i}" for m in ("Sep", "March") for i in range(30)]),
        None,
        "are no finite numbers",
    ),
    "decimal commas": (lambda draw: [f"{i},5" for i in range(ROWS)], None, "declare data.decimal"),
    "gaps in texts": (
        lambda draw: np.where(draw.random(ROWS) < 0.1, "", "a").astype(object),
        None,
        "are none of its values, the first in row .*nothing|cells of column",
    ),
    "texts said to be numbers": (lambda draw: flags(draw, ["a", "b"]), "number", "holds texts"),
    "halves said to be whole": (lambda draw: draw.random(ROWS), "integer", "declared an integer"),
    "a percentage of 101": (
        lambda draw: np.append(draw.uniform(0, 100, ROWS - 1), 101.0),
        (0, 100),
        "declared to lie from 0 to 100",
    ),
    "one text": (lambda draw: ["a"] * ROWS, None, "is constant"),
    "one number": (lambda draw: [7.0] * ROWS, None, "is constant"),
    "a number for missing": (
        lambda draw: np.where(draw.random(ROWS) < 0.02, -9999.0, draw.normal(5, 1, ROWS)),
        None,
        "-9999 in",
    ),
}


def table_of(kinds, seed, bad=None):
    """Draws a table with a column of each kind, and y; and what is declared of its columns."""
    draw = default_rng(seed)
    columns, declared = {"base": draw.normal(size=ROWS)}, {}
    for number, kind in enumerate([*kinds, *([bad] if bad else [])]):
        name = f"column {number}"
        cells, said, _ = (GOOD | BAD)[kind]
        columns[name] = cells(draw)
        if said is not None:
            declared[name] = list(said) if isinstance(said, tuple) else said
    return pd.DataFrame(columns).assign(y=draw.normal(size=ROWS)), declared


def task_of(frame, declared, form, **more):
    path = f"table.{form.split()[0]}"
    separator = ";" if form == "csv ;" else ","
    if path.endswith("parquet"):
        frame.to_parquet(path)
    else:
        frame.to_csv(path, index=False, sep=separator)
    names = [name for name in frame if name != "y"]
    keys = {"task": "file", "path": path, "x": names, "y": ["y"], "seed": 0, "test_share": 0.3}
    return File(**{**keys, "columns": declared, "separator": separator, **more})


def read(task):
    with redirect_stdout(StringIO()):
        return dict(task.parts())


@settings(max_examples=60)
@given(
    kinds=st.lists(st.sampled_from(sorted(GOOD)), min_size=1, max_size=5),
    form=st.sampled_from(FORMS),
    seed=st.integers(0, 10**6),
    target=st.sampled_from(["numbers", "yes and no", "texts"]),
)
def test_a_table_of_any_kinds_is_read_for_what_it_is(kinds, form, seed, target):
    frame, declared = table_of(kinds, seed)
    frame["y"] = GOOD[target][0](default_rng(seed + 1))
    parts = read(task_of(frame, declared, form))
    units = parts["train"].units
    found = units.x.kinds or (None,) * (len(kinds) + 1)
    for kind, of_column in zip(kinds, found[1:], strict=True):
        assert (of_column.kind if of_column else "number") == GOOD[kind][2]
    rows = np.concatenate([part.x for part in parts.values()])
    back = in_words(rows, units.x.names, units.x.kinds)
    assert len(back) == ROWS
    for number, kind in enumerate(kinds):
        own = frame[f"column {number}"]
        read_back = back[f"column {number}"]
        if GOOD[kind][2] == "category":
            texts = own.astype(str)
            texts = texts.str.lower() if form == "parquet" and own.dtype == bool else texts
            assert sorted(read_back) == sorted(texts)
        else:
            np.testing.assert_allclose(np.sort(read_back), np.sort(own), rtol=1e-9)
    y = np.concatenate([part.y for part in parts.values()])
    if target == "numbers":
        assert units.target is None
        np.testing.assert_allclose(np.sort(y[:, 0]), np.sort(frame["y"]), rtol=1e-9)
    else:
        assert sorted(units.target.of(y)) == sorted(frame["y"])


@settings(max_examples=60)
@given(
    kinds=st.lists(st.sampled_from(sorted(GOOD)), max_size=3),
    bad=st.sampled_from(sorted(BAD)),
    form=st.sampled_from(FORMS),
    seed=st.integers(0, 10**6),
)
def test_a_column_that_is_no_such_thing_is_refused_by_its_name(kinds, bad, form, seed):
    frame, declared = table_of(kinds, seed, bad)
    task = task_of(frame, declared, form)
    with pytest.raises(ValueError, match=BAD[bad][2]) as refusal:
        read(task)
    assert f"column {len(kinds)}" in str(refusal.value)


def test_what_is_held_must_be_there_and_leave_something_free():
    frame, declared = table_of(["texts"], 0)
    held = read(task_of(frame, declared, "csv", hold=["column 0"]))["train"].units.x.kinds
    assert [kind.held for kind in held] == [False, True]
    for hold, message in ((["colour"], "data.hold names 'colour'"), (["base", "column 0"], "all")):
        with pytest.raises(ValueError, match=message):
            read(task_of(frame, declared, "csv", hold=hold))
    with pytest.raises(ValueError, match=r"data.columns names 'colour'; allowed: 'base'"):
        read(task_of(frame, {"colour": "category"}, "csv"))
    with pytest.raises(ValueError, match=r"data.columns says 'integer' of 'y'; allowed"):
        read(task_of(frame, {"y": "integer"}, "csv"))


def test_a_value_that_is_new_in_the_test_rows_leaves_them_out(capsys):
    frame, declared = table_of(["texts"], 0)
    frame["part"] = ["train"] * 250 + ["validation"] * 40 + ["test"] * 110
    frame.loc[395:, "column 0"] = "new"
    task = task_of(frame, declared, "csv", x=["base", "column 0"], split_column="part")
    parts = dict(task.parts())
    assert "left out 5 rows of test, with values of categories that no training row" in (
        capsys.readouterr().out
    )
    assert len(parts["test"]) == 105
    assert "new" not in parts["train"].units.x.kinds[1].members


def test_of_many_columns_the_figures_of_all_come_first():
    # Case 22: a hundred columns once stood before what matters.
    columns = {f"x_mae.{number}": np.ones(1) for number in range(120)}
    metrics = summarize({"x_mae": np.ones(1), **columns, "referee_error": np.zeros(1)})
    assert list(metrics)[:4] == ["x_mae", "x_mae_std", "referee_error", "referee_error_std"]
