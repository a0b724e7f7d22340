"""DataFrames as people have them: their types come back where they can hold what partners hold."""

import numpy as np
import pandas as pd
import pytest
from numpy.random import default_rng

from symmetry import SymmetryLearner
from symmetry.frames import in_values
from symmetry.kinds import Kind

SHORT = {"steps": 20, "predictor_steps": 60, "hidden_size": 16}


def learner(**changes):
    return SymmetryLearner(params=SHORT, random_state=0, test_share=0, **changes)


def moved(kind, points, dtype):
    like = pd.DataFrame({"a": pd.Series([], dtype=dtype)})
    points = np.reshape(np.asarray(points, float), (1, -1, 1))
    index = pd.MultiIndex.from_arrays([[0] * points.shape[1], range(points.shape[1])])
    return in_values(points, [kind], like, index)["a"]


@pytest.mark.parametrize(
    ("kind", "points", "dtype", "values"),
    [
        (Kind("integer", (0.0, 300.0)), [0, 300], "int8", [0, 300]),
        (Kind("integer", (0.0, 3.0)), [0, 3], "int8", [0, 3]),
        (Kind("integer", (-1.0, 3.0)), [-1, 3], "uint8", [-1, 3]),
        (Kind("category", (0, 1, 2)), [0, 2], "bool", [0, 2]),
        (Kind("category", (False, True)), [0, 1], "bool", [False, True]),
        (Kind("category", ("a", "b")), [0, 1], pd.CategoricalDtype(["a"]), ["a", "b"]),
        (Kind("category", ("a", "b")), [1, 1], pd.CategoricalDtype(["b", "a"], True), ["b", "b"]),
    ],
)
def test_a_type_that_cannot_hold_all_values_gives_way(kind, points, dtype, values):
    assert moved(kind, points, dtype).tolist() == values


def test_categories_that_the_rows_asked_about_lack_are_added():
    draw = default_rng(0)
    table = pd.DataFrame({"a": draw.uniform(1, 3, 300), "c": draw.choice(["u", "v", "w"], 300)})
    table["c"] = table["c"].astype("category")
    y = table["a"] * table["c"].map({"u": 1.0, "v": 2.0, "w": 3.0}).astype(float)
    some = table[table["c"] == "u"].head(10).copy()
    some["c"] = some["c"].cat.remove_unused_categories()
    partners = learner().fit(table, y).partners(some, 10)
    assert partners["c"].notna().all()
    assert len(set(partners["c"])) > 1


@pytest.mark.parametrize("first", [20_180_131, 1_600_000_000, 2**33])
def test_whole_numbers_far_from_0_keep_to_those_that_occur(first):
    draw = default_rng(0)
    days = first + draw.integers(0, 20, 400) * 3
    table = pd.DataFrame({"a": draw.uniform(1, 3, 400), "day": days})
    partners = learner().fit(table, table["a"] * (days - first)).partners(table.head(30), 10)
    assert set(partners["day"]) <= set(days)
    assert partners["day"].nunique() > 5


@pytest.mark.parametrize(
    ("columns", "said"),
    [
        ({"a": [1.0] * 40, "b": pd.date_range("2020", periods=40)}, "column 'b' holds dates"),
        ({"a": [1.0] * 40, "b": [1, "x"] * 20}, "column 'b' holds numbers and also 'x'"),
    ],
)
def test_a_column_that_cannot_be_read_is_named(columns, said):
    with pytest.raises(ValueError, match=said):
        learner().fit(pd.DataFrame(columns), np.arange(40.0))


def test_two_columns_of_one_name_are_refused_by_it():
    table = pd.DataFrame(default_rng(0).normal(size=(40, 3)), columns=["a", "b", "a"])
    with pytest.raises(ValueError, match="column 'a' is there twice"):
        learner().fit(table, table["b"])


def test_one_column_of_classes_is_a_class_in_any_shape():
    draw = default_rng(0)
    x = draw.normal(size=(200, 2))
    fitted = learner().fit(x, (x[:, :1] > 0))
    assert fitted.predict_proba(x).shape == (200, 2)


def test_settings_of_numpy_are_saved(tmp_path):
    draw = default_rng(0)
    table = pd.DataFrame({"a": draw.uniform(1, 3, 200), "b": draw.uniform(0, 9, 200)})
    settings = {"hold": np.array(["a"]), "columns": {"b": [np.int64(0), np.float64(9)]}}
    fitted = learner(**settings).fit(table, table["a"] * table["b"])
    fitted.save(tmp_path / "learner.safetensors")
    loaded = SymmetryLearner.load(tmp_path / "learner.safetensors")
    pd.testing.assert_frame_equal(loaded.partners(table[:5], 3), fitted.partners(table[:5], 3))
