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


LIKE_NUMBERS = {
    "numbers": lambda values: [f"{value:.4f}" for value in values],
    "money": lambda values: [f"${value:,.0f}" for value in 1000 * values],
    "euros": lambda values: [f"€ {value:.0f}" for value in 1000 * values],
    "percentages": lambda values: [f"-{value:.1f}%" for value in values],
    "quantities": lambda values: [f"{value:.2f} kg" for value in values],
    "dates": lambda values: [f"Sep {value:.0f}" for value in 1000 + 100 * values],
}


@pytest.mark.parametrize("name", LIKE_NUMBERS)
@pytest.mark.parametrize("place", ["x", "y", "y, an array"])
def test_texts_that_look_like_numbers_are_refused_unless_they_are_declared(name, place):
    # As classes or categories they were learned, without a word.
    a, b = default_rng(0).uniform(1, 3, (2, 400))
    texts = pd.Series(LIKE_NUMBERS[name](a * b), name="price")
    x = pd.DataFrame({"a": a, "b": b})
    x, y = (x.assign(price=texts), a) if place == "x" else (x, texts)
    y = y.to_numpy(str) if place == "y, an array" else y
    with pytest.raises(ValueError, match=r"holds texts that look like numbers or dates, such as"):
        learner().fit(x, y)


def test_texts_that_look_like_numbers_are_a_category_if_declared_so():
    a, b = default_rng(0).uniform(1, 3, (2, 400))
    table = pd.DataFrame({"a": a, "b": b, "street": [f"{value:.0f}th" for value in 20 * a]})
    fitted = learner(columns={"street": "category"}).fit(table, a * b)
    assert set(fitted.partners(table[:50], 5)["street"]) <= set(table["street"])


def test_more_names_than_classes_can_be_are_refused():
    x = default_rng(0).normal(size=(400, 2))
    with pytest.raises(ValueError, match="column 'y1' has 400 different values in 400 rows"):
        learner().fit(x, np.array([f"stone no. {i}" for i in range(400)]))


@pytest.mark.parametrize("said", ["Integer", "categry", "01", "", "real"])
def test_a_kind_that_is_none_is_named(said):
    table = pd.DataFrame(default_rng(0).normal(size=(200, 2)), columns=["a", "b"])
    with pytest.raises(ValueError, match=f"column 'a' is declared as '{said}'; allowed"):
        learner(columns={"a": said}).fit(table, table["b"])


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


# ---- Nothing is silently other than it is told -------------------------------------------------


@pytest.mark.parametrize("free", [True, False])
def test_the_verdict_sees_whole_numbers_as_they_are_given(free):
    # Rounded after refinement, a declared integer of many values once left its level unseen.
    draw = default_rng(0)
    table = pd.DataFrame({"a": draw.integers(0, 80, 1500), "b": draw.integers(9_000, 9_090, 1500)})
    if free:
        table["b"] = table["b"] / 7
    y = table["a"] + 0.5 * table["b"]
    params = {"steps": 200, "predictor_steps": 400, "hidden_size": 32}
    declared = {name: "integer" for name in table if table[name].dtype.kind == "i"}
    fitted = SymmetryLearner(params=params, columns=declared, random_state=0).fit(table, y)
    for moved in (fitted.partners(table[:100], 10), fitted.orbit(table[:20], 12)):
        assert moved.dtypes.to_dict() == table.dtypes.to_dict()
        own = table.loc[moved.index.get_level_values("row")]
        change = np.abs(fitted.predict(moved) - fitted.predict(own)) / y.std()
        if "partner" in moved.index.names:
            assert (change > 0.02).mean() == pytest.approx(
                fitted.summary_["strayed_share"], abs=0.01
            )
        assert (change > 0.02).mean() < (0.02 if free else 0.5)
        assert moved["a"].between(table["a"].min(), table["a"].max()).all()
        assert moved["a"].nunique() > 10


BIG = 2**53 + 1 + 2 * np.arange(300)  # float64 has none of them


@pytest.mark.parametrize(
    "ids",
    [
        BIG,
        BIG.astype("uint64") + np.uint64(2**63),
        pd.array(BIG, dtype="Int64"),
        default_rng(0).normal(size=300).astype("float32"),
        1_234_567_890_123 + 1000 * np.arange(300),
        np.arange(300) / 7 + 1e6,
    ],
    ids=["int64", "uint64", "Int64", "float32", "int64 of float64", "float64"],
)
def test_a_held_column_comes_back_to_the_last_digit(ids):
    draw = default_rng(1)
    table = pd.DataFrame({"a": draw.uniform(1, 3, 300), "id": draw.permutation(300), "b": 1.0})
    table["id"], table["b"] = ids, draw.normal(size=300)
    if float(np.max(ids)) - float(np.min(ids)) < 1e-10 * float(np.max(ids)):
        table.loc[0, "id"] = 1  # so that it is told apart at all
    fitted = learner(hold=["id"]).fit(table, table["a"] * 2)
    moved = fitted.partners(table[:20], 3)
    assert moved["id"].dtype == table["id"].dtype
    assert moved["id"].tolist() == table["id"][:20].repeat(3).tolist()


def test_an_array_that_cannot_hold_what_is_held_says_so():
    table = np.column_stack([np.arange(300), BIG])
    table[0, 1] = 0
    fitted = learner(hold=["x2"]).fit(table, table[:, 0] * 2)
    with pytest.raises(ValueError, match=r"held has whole numbers beyond 2\^53.*give a DataFrame"):
        fitted.partners(table[5:9])


@pytest.mark.parametrize(
    ("dtype", "values"),
    [
        ("float32", [0.1, 2.5]),
        ("Float32", [0.5, 2.5]),
        ("Float64", [0.1, 2.5]),
        ("float64", [0.1, 2.5]),
        ("int64", [0.1, 2.5]),  # partners of numbers are no whole numbers: float64
        ("Int64", [0.1, 2.5]),
    ],
)
def test_numbers_come_back_in_the_type_that_the_frame_had(dtype, values):
    for kind in ([Kind()], []):
        like = pd.DataFrame({"a": pd.Series([], dtype=dtype)})
        index = pd.MultiIndex.from_arrays([[0, 0], [0, 1]])
        found = in_values(np.reshape(values, (1, -1, 1)), kind, like, index)["a"]
        np.testing.assert_allclose(found.to_numpy(float), values, rtol=1e-6)
        assert str(found.dtype) == (dtype if "loat" in dtype else "float64")


@pytest.mark.parametrize(
    ("dtype", "points", "back"),
    [
        ("Int64", [0, 70], "Int64"),
        ("UInt8", [-1, 70], "int64"),
        ("int8", [0, 70], "int8"),
        ("int8", [0, 700], "int64"),
        ("float32", [0, 70], "float32"),
    ],
)
def test_whole_numbers_come_back_in_the_type_that_the_frame_had(dtype, points, back):
    found = moved(Kind("integer"), points, dtype)
    assert found.tolist() == points
    assert found.dtype == back


def test_classes_of_several_types_stay_what_they_are():
    draw = default_rng(0)
    x = draw.normal(size=(300, 2))
    y = pd.Series([1 if value > 0 else "one" for value in x[:, 0]], name="y", dtype=object)
    fitted = learner(columns={"y": "category"}).fit(x, y)
    assert set(fitted.classes_) == {1, "one"}
    assert set(fitted.predict(x)) == {1, "one"}


@pytest.mark.parametrize("method", ["partners", "orbit"])
def test_rows_that_are_like_no_training_row_are_told_by_column_and_number(method):
    draw = default_rng(0)
    table = pd.DataFrame({"mass": draw.uniform(1, 3, 300), "size": draw.uniform(0, 9, 300)})
    fitted = learner().fit(table, table["mass"] * table["size"])
    ask = getattr(fitted, method)
    ask(table[:5], 2)  # without a word
    table.loc[[1, 3], "mass"] = [2500.0, 3.5]
    with pytest.warns(UserWarning, match=r"^2 of 5 rows are outside.*'mass' \(2, training .* 1.0"):
        ask(table[:5], 2)


@pytest.mark.parametrize("rows", [6, 12, 40])
def test_a_rare_value_of_a_tiny_table_is_named_with_what_to_do(rows):
    draw = default_rng(0)
    table = pd.DataFrame({"a": draw.normal(size=rows), "name": [f"n{i}" for i in range(rows)]})
    with pytest.raises(ValueError, match=r"'name' has .*leave it out"):
        learner().fit(table, table["a"])
