"""Kinds of columns: what is found, what partners hold, what is held, and a class as y."""

import json
from dataclasses import asdict

import numpy as np
import pandas as pd
import pytest
import torch
from numpy.random import default_rng

from symmetry.checkpoints import load, save
from symmetry.data import Columns, Dataset, Target, Units
from symmetry.kinds import Kind, codes_of, kind_of, ordered_by, possible, texts_of
from symmetry.learner import SymmetryLearner
from symmetry.models import Sizes, StibFlow
from symmetry.params import StibFlowParams
from symmetry.realism import nearest_distance, new_combinations
from symmetry.scales import Discrete, White
from symmetry.symmetries import partners, path

PARAMS = {"steps": 300, "predictor_steps": 400, "hidden_size": 48}
CUTS = ("Fair", "Good", "Ideal")


def table(rows=1200, seed=0):
    """Draws a table of all kinds; y is what it is whatever the order of the texts."""
    draw = default_rng(seed)
    frame = pd.DataFrame(
        {
            "mass": draw.uniform(1, 3, rows),
            "doors": draw.integers(2, 6, rows),
            "cut": draw.choice(CUTS, rows, p=[0.5, 0.3, 0.2]),
            "new": draw.random(rows) < 0.4,
            "humidity": draw.uniform(0, 100, rows),
        }
    )
    # No Fair thing is new: a combination that never occurs.
    frame["new"] &= frame["cut"] != "Fair"
    worth = frame["cut"].map(dict(zip(CUTS, (2, 5, 0), strict=True)))
    y = frame["mass"] * frame["doors"] + worth + 2 * frame["new"] + 0.03 * frame["humidity"]
    return frame, (y + 0.1 * draw.normal(size=rows)).rename("price")


FRAME, Y = table()


def learner(**settings):
    return SymmetryLearner(**{"params": PARAMS, "random_state": 0, **settings})


@pytest.fixture(scope="module")
def mixed():
    params = {"steps": 1200, "predictor_steps": 600, "hidden_size": 64}
    return learner(params=params, columns={"humidity": (0, 100)}).fit(FRAME, Y)


# ---- What is found -----------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("column", "declared", "kind", "members"),
    [
        ([0.5, 1, 2, 3] * 25, None, "number", 0),
        ([1, 2, 3, 4] * 25, None, "integer", 4),
        ([1, 2, 3, 4] * 9, None, "integer", 0),  # a tenth of the rows would be 3
        ([1, 2, 3, 4] * 25, "number", "number", 0),
        ([1, 2, 3, 4], "integer", "integer", 4),
        (list(range(51)) * 50, None, "number", 0),
        (list(range(51)) * 50, "integer", "integer", 0),
        (list(range(50)) * 50, None, "integer", 50),
        ([0.0, 50.5, 100.0], (0, 100), "number", 0),
    ],
)
def test_the_kind_of_a_column_of_numbers(column, declared, kind, members):
    found = kind_of("a", np.array(column, float), declared)
    if kind == "integer" and len(column) == 36:
        kind = "number"
    assert (found.kind, len(found.members)) == (kind, members)


@pytest.mark.parametrize(
    ("column", "declared", "message"),
    [
        ([1.5, 2], "integer", "'a' is declared an integer; 1 values are no whole numbers.*1.5"),
        ([-1, 50], (0, 100), "'a' is declared to lie from 0 to 100; 1 values do not, such as -1"),
        ([1, 2], (3, 3), "'a' is declared as .*allowed: number, integer, category, or the two en"),
        ([1, 2], (3,), "'a' is declared as"),
    ],
)
def test_a_column_that_is_not_as_declared_is_refused(column, declared, message):
    with pytest.raises(ValueError, match=message):
        kind_of("a", np.array(column, float), declared)


def test_texts_that_hardly_ever_come_again_are_no_category():
    with pytest.raises(ValueError, match="'name' has 30 different values in 40 rows"):
        kind_of("name", np.zeros(40), None, [str(i) for i in range(30)])
    with pytest.raises(ValueError, match=r"'name' has 501 different values.*at most 500"):
        kind_of("name", np.zeros(5000), None, [str(i) for i in range(501)])


def test_values_come_back_from_their_places_in_the_order_of_y():
    codes, values = codes_of("cut", pd.Series(["b", "a", "c", "b", None]))
    assert values == ("a", "b", "c")
    np.testing.assert_array_equal(codes, [1, 0, 2, 1, np.nan])
    places, ordered = ordered_by(codes[:4], (*values, "d"), np.array([5.0, 9, 1, 7]))
    assert ordered == ("c", "b", "a")
    np.testing.assert_array_equal(places, [2, 1, 0, np.nan])
    kind = Kind("category", ordered)
    assert texts_of(places[codes[:4].astype(int)], kind).tolist() == ["b", "a", "c", "b"]


def test_kinds_and_a_class_come_back_from_json_with_their_units():
    kinds = (Kind("category", ("a", True, 3), held=True), Kind("integer", (1.0, 2.0), 0.0, 9.5))
    units = Units(
        Columns(("u", "v"), (0.0, 1.0), (1.0, 2.0), kinds),
        Target("t", ("no", "yes")).columns(),
        target=Target("t", ("no", "yes")),
    )
    assert Units.from_json(json.loads(json.dumps(asdict(units)))) == units
    content = asdict(units)
    content["x"]["kinds"] = content["x"]["kinds"][:1]
    with pytest.raises(ValueError, match="1 kinds of 2 columns"):
        Units.from_json(content)
    for change in ({"kind": "date"}, {"members": [float("nan")]}, {"low": "a"}, {"held": 1}):
        content = json.loads(json.dumps(asdict(units)))
        content["x"]["kinds"][1] |= change
        with pytest.raises(ValueError, match=r"allowed|which no integer is"):
            Units.from_json(content)


def test_a_table_of_numbers_alone_has_no_kinds():
    draw = default_rng(0).normal(size=(300, 2))
    fitted = learner(test_share=0).fit(draw, draw[:, 0] ** 2)
    assert fitted.units_.x.kinds == ()
    assert fitted.model_.discrete is None
    assert fitted.model_.fixed is None


# ---- Scales ------------------------------------------------------------------------------------


def test_places_are_those_of_the_values_and_rounding_takes_noise_away():
    scale = Discrete([(), (1.0, 2.0, 4.0), (-0.5, 0.5)], [2])
    rows = torch.tensor([[[0.3, 4.0, -0.5], [9.0, 2.0, 0.5]]])
    noise = torch.rand(1, 2, 3, generator=torch.Generator().manual_seed(0))
    assert scale(rows).tolist() == [[[pytest.approx(0.3), 2.0, 0.0], [9.0, 1.0, 1.0]]]
    assert (scale(rows, noise) - scale(rows)).abs().max() <= 0.5
    torch.testing.assert_close(scale.inverse(scale(rows, noise)), rows)
    assert [code.tolist() for code in scale.one_hot(rows, [2])] == [[[[1, 0], [0, 1]]]]


def test_places_are_spread_as_evenly_as_noise_does():
    scale = Discrete([(0.0, 1.0)], [])
    spread = scale.spread(torch.tensor([[0.0]] * 30 + [[1.0]] * 10))[:, 0].sort()[0]
    steps = torch.cat([(torch.arange(30) + 0.5) / 30 - 0.5, (torch.arange(10) + 0.5) / 10 + 0.5])
    torch.testing.assert_close(spread, steps)


def test_whitened_rows_are_uncorrelated_and_come_back():
    mixed = torch.randn(5000, 3, generator=torch.Generator().manual_seed(0))
    rows = mixed @ torch.tensor([[1.0, 0.9, 0.0], [0.0, 0.1, 0.3], [0.0, 0.0, 2.0]])
    white = White(3)
    white.adapt(rows)
    torch.testing.assert_close(torch.cov(white(rows).T), torch.eye(3), atol=2e-3, rtol=0)
    torch.testing.assert_close(white.inverse(white(rows)), rows, atol=1e-4, rtol=1e-4)


# ---- Partners ----------------------------------------------------------------------------------


def test_partners_hold_what_could_stand_in_each_column(mixed):
    moved = mixed.partners(FRAME[:200], 10)
    assert moved.dtypes.to_dict() == FRAME.dtypes.to_dict()
    assert set(moved["cut"]) == set(CUTS)
    assert set(moved["new"]) == {False, True}
    assert set(moved["doors"]) == {2, 3, 4, 5}
    assert moved["humidity"].between(0, 100).all()
    assert moved["mass"].between(FRAME["mass"].min(), FRAME["mass"].max()).all()
    assert ((moved["cut"] == "Fair") & moved["new"]).mean() < 0.08  # of 0.2 by chance


def test_partners_keep_y_by_the_law_itself(mixed):
    moved, y = table(200, seed=1)[0], table(200, seed=1)[1]
    found = mixed.partners(moved, 10)
    worth = found["cut"].map(dict(zip(CUTS, (2, 5, 0), strict=True)))
    law = found["mass"] * found["doors"] + worth + 2 * found["new"] + 0.03 * found["humidity"]
    change = np.abs(law.to_numpy().reshape(200, 10) - y.to_numpy()[:, None])
    assert change.mean() < 0.15 * Y.std()
    assert mixed.summary_["strayed_share"] < 0.02
    assert mixed.summary_["referee_error"] < mixed.summary_["nearest_rows_error"]
    assert mixed.summary_["new_combinations_share"] < 0.08
    assert mixed.summary_["row_distance"] < 2 * mixed.summary_["row_distance_of_rows"]


def test_orbits_move_numbers_alone(mixed):
    lines = mixed.orbit(FRAME[:20], 12)
    own = FRAME.loc[lines.index.get_level_values("row")].set_index(lines.index)
    for name in ("cut", "new", "doors"):
        assert (lines[name] == own[name]).all()
    assert lines["mass"].groupby("row").std().mean() > 0.1


def test_a_fitted_learner_comes_back_with_its_kinds(mixed, tmp_path):
    mixed.save(tmp_path / "mixed.safetensors")
    loaded = SymmetryLearner.load(tmp_path / "mixed.safetensors")
    assert loaded.units_ == mixed.units_
    pd.testing.assert_frame_equal(loaded.partners(FRAME[:9], 3), mixed.partners(FRAME[:9], 3))


@pytest.mark.parametrize(
    ("cell", "said"), [("Superb", "'Superb'"), (None, "nothing"), (float("nan"), "nothing")]
)
def test_a_value_that_the_fit_never_saw_is_refused_by_name(mixed, cell, said):
    rows = FRAME[:5].assign(cut=["Fair", "Good", cell, "Ideal", cell])
    with pytest.raises(ValueError, match=f"2 cells of column 'cut' .* row 2: {said}; allowed: '"):
        mixed.partners(rows)


def test_where_no_number_is_free_the_nearest_draw_is_taken():
    frame = FRAME[["doors", "cut", "new"]]
    y = frame["doors"] + frame["cut"].map(dict(zip(CUTS, (0, 1, 2), strict=True)))
    fitted = learner().fit(frame, y + 0.01 * default_rng(0).normal(size=len(y)))
    moved = fitted.partners(frame[:100], 5)
    law = moved["doors"] + moved["cut"].map(dict(zip(CUTS, (0, 1, 2), strict=True)))
    assert (law.to_numpy().reshape(100, 5) == y[:100].to_numpy()[:, None]).mean() > 0.9
    pd.testing.assert_frame_equal(
        fitted.orbit(frame[:2], 3).reset_index(drop=True),
        frame[:2].loc[[0, 0, 0, 1, 1, 1]].reset_index(drop=True),
    )


def test_codes_of_numbers_are_categories_if_declared():
    rows = np.column_stack([FRAME["mass"], default_rng(0).choice([10.0, 2.5, 7.0], len(FRAME))])
    y = rows[:, 0] + (rows[:, 1] == 2.5)
    plain, said = (
        learner(test_share=0, **declared).fit(rows, y)
        for declared in ({}, {"columns": {"x2": "category"}})
    )
    assert plain.units_.x.kinds == ()
    assert said.units_.x.kinds[1].is_category
    assert set(np.unique(said.partners(rows[:50], 5)[..., 1])) <= {2.5, 7.0, 10.0}


# ---- Held columns ------------------------------------------------------------------------------


@pytest.mark.parametrize("hold", [["cut"], ["mass", "new"], ["doors", "humidity"]])
def test_what_is_held_stays_to_the_bit_and_the_rest_moves(hold):
    fitted = learner(hold=hold).fit(FRAME, Y)
    moved = fitted.partners(FRAME[:100], 8)
    own = FRAME.loc[moved.index.get_level_values("row")].set_index(moved.index)
    for name in FRAME:
        if name in hold:
            assert (moved[name] == own[name]).all()
            assert fitted.summary_[f"spread.{name}"] == 0
        else:
            assert (moved[name] != own[name]).mean() > 0.1
    assert fitted.summary_["referee_error"] < 0.1
    assert "partner_coverage" not in fitted.summary_
    lines = fitted.orbit(FRAME[:10], 7)
    own = FRAME.loc[lines.index.get_level_values("row")].set_index(lines.index)
    assert (lines[hold] == own[hold]).all(axis=None)


def test_the_rest_follows_what_is_held():
    draw = default_rng(0)
    a, noise = draw.normal(size=(2, 3000))
    rows = np.column_stack([a, a + 0.1 * noise, draw.normal(size=3000)])
    fitted = learner(hold=["x1"], test_share=0).fit(rows, rows[:, 2])
    moved = fitted.partners(rows[:300], 5)
    assert np.abs(moved[..., 1] - rows[:300, None, 0]).mean() < 0.25


@pytest.mark.parametrize(
    ("settings", "message"),
    [
        ({"hold": ["colour"]}, "hold names 'colour'; allowed: 'mass'"),
        ({"hold": list(FRAME)}, "hold names all columns of x"),
        ({"hold": "cut"}, "hold is 'cut'; allowed: a list"),
        ({"columns": {"colour": "category"}}, "columns names 'colour'; allowed: 'mass'"),
        ({"columns": {"cut": "number"}}, "'cut' holds texts or booleans; columns says 'number'"),
        ({"columns": {"mass": "integer"}}, "'mass' is declared an integer; 1200 values are no"),
        ({"columns": {"humidity": (10, 100)}}, "'humidity' is declared to lie from 10 to 100"),
        ({"columns": {"price": "integer"}}, "columns says 'integer' of 'price'; allowed"),
        ({"columns": ["cut"]}, "columns is .*allowed: a mapping"),
        ({"model": "stib", "params": {}, "hold": ["cut"]}, r"stib cannot hold columns \('cut'\)"),
    ],
)
def test_declarations_that_cannot_be_are_refused_by_name(settings, message):
    with pytest.raises(ValueError, match=message):
        SymmetryLearner(**{"params": PARAMS, "random_state": 0, **settings}).fit(FRAME, Y)


# ---- Classes -----------------------------------------------------------------------------------


def classed(rows, seed=0):
    draw = default_rng(seed)
    x = draw.uniform(-1, 1, (rows, 2))
    radius = np.hypot(*x.T) + 0.05 * draw.normal(size=rows)
    return x, np.array(["in", "mid", "out"])[np.digitize(radius, [0.5, 0.9])]


@pytest.fixture(scope="module")
def classifier():
    return learner().fit(*classed(2500))


def test_a_class_is_predicted_with_its_probabilities(classifier):
    x, y = classed(1000, seed=1)
    chances = classifier.predict_proba(x)
    assert classifier.classes_.tolist() == ["in", "mid", "out"]
    np.testing.assert_allclose(chances.sum(1), 1, atol=1e-6)
    assert classifier.score(x, y) == (classifier.predict(x) == y).mean() > 0.85
    # Of rows to which a probability is given, such a share is of the class.
    likely = chances[:, 0] > 0.5
    assert chances[likely, 0].mean() == pytest.approx((y[likely] == "in").mean(), abs=0.06)
    assert classifier.summary_["log_loss"] < 0.45
    assert classifier.summary_["accuracy"] > 0.85


def test_partners_of_a_class_keep_its_probabilities(classifier):
    x, _ = classed(300, seed=2)
    moved = classifier.partners(x, 10)
    assert np.abs(np.hypot(moved[..., 0], moved[..., 1]) - np.hypot(*x.T)[:, None]).mean() < 0.1
    assert moved.std(1).mean() > 0.3
    assert classifier.summary_["referee_error"] < classifier.summary_["random_rows_error"] / 3


def test_a_class_of_numbers_or_booleans_is_one_if_said_or_seen(tmp_path):
    x, y = classed(600)
    codes = pd.Series(np.where(y == "in", 4, 7), name="kind")
    said = learner(columns={"kind": "category"}, test_share=0).fit(x, codes)
    seen = learner(test_share=0).fit(x, y == "in")
    assert set(said.predict(x[:50])) == {4, 7}
    assert set(seen.predict(x[:50])) == {False, True}
    assert not hasattr(learner(test_share=0).fit(x, codes), "predict_proba")
    said.save(tmp_path / "said.safetensors")
    loaded = SymmetryLearner.load(tmp_path / "said.safetensors")
    np.testing.assert_array_equal(loaded.predict(x), said.predict(x))


def test_a_class_beside_other_targets_or_alone_is_refused():
    x, y = classed(100)
    with pytest.raises(ValueError, match="column 'b' of y is a class; allowed: one class alone"):
        learner().fit(x, pd.DataFrame({"a": x[:, 0], "b": y}))
    with pytest.raises(ValueError, match="has one class"):
        learner().fit(x, np.array(["a"] * 100))


# ---- Models ------------------------------------------------------------------------------------


KINDS = (Kind(), Kind("category", ("u", "v", "w")), Kind("integer", (1.0, 5.0)), Kind(held=True))


def build(kinds=KINDS, stack=2):
    names = tuple("abcd"[: len(kinds)])
    columns = Columns(names, (1.0, 1.0, 2.0, -3.0), (2.0, 0.8, 1.5, 0.5), kinds)
    units = Units(columns, Columns(("y",), (5.0,), (2.0,)))
    model = StibFlow(Sizes(stack, 4, 1, target=0, hidden=8), StibFlowParams().weights(), units)
    draw = default_rng(0)
    rows = np.column_stack(
        [
            draw.normal(1, 2, 400),
            draw.integers(0, 3, 400),
            draw.choice([1, 5], 400),
            draw.normal(-3, 0.5, 400),
        ]
    )
    x = torch.tensor(rows, dtype=torch.float32)
    generator = torch.Generator().manual_seed(0)
    with torch.no_grad():
        for parameter in model.parameters():
            parameter.normal_(0, 0.3, generator=generator)
    y = x[:, :1]
    for turn in model.turns():
        model.prepare(turn, x, x, y)
    return model.requires_grad_(False).eval(), x


def test_codes_lead_back_to_each_row_of_any_kinds():
    model, x = build()
    code = model.encode(x)
    assert code.invariant.shape == (2, 400, 3)
    assert code.target.shape == (2, 400, 2)  # ŷ, and what is held
    x_hat = model.decode(code.invariant, code.target)
    torch.testing.assert_close(x_hat, x.expand(2, -1, -1), atol=0.1, rtol=0)
    torch.testing.assert_close(x_hat[..., 1:3], x[:, 1:3].expand(2, -1, -1))


def test_each_copy_of_the_noise_leads_back_to_its_values():
    model, x = build()
    noise = torch.randn(2, 400, model.noise_size, generator=torch.Generator().manual_seed(1))
    z = model.sample(x, noise)
    x_hat = model.decode(z[..., :3], z[..., 3:])
    assert (x_hat[..., 1:3] == x[:, 1:3]).float().mean() > 0.9
    assert z[..., 1].std() > 0.5  # a category takes a whole interval


def test_a_model_of_kinds_comes_back_from_its_file(tmp_path):
    model, x = build()
    save(tmp_path / "model.safetensors", model)
    loaded = load(tmp_path / "model.safetensors")
    found, same = (
        partners(one, x[:20], 4, torch.Generator().manual_seed(3)) for one in (model, loaded)
    )
    torch.testing.assert_close(found, same, atol=0, rtol=0)
    assert torch.equal(found[..., 3], x[:20, 3].expand(2, 4, -1))
    lines = path(model, x[:5], 6, pool=x)
    assert torch.equal(lines[..., 1:], x[:5, 1:].expand(2, 6, -1, -1))


# ---- What is measured --------------------------------------------------------------------------


def test_what_is_new_and_how_far_it_lies_from_any_row():
    kinds = [Kind("category", ("a", "b")), Kind("category", ("c", "d")), Kind()]
    rows = np.array([[0, 0, 0.0], [1, 1, 10.0]])
    points = np.array([[[0, 0, 1.0], [0, 1, 1.0], [1, 1, 5.0], [1, 0, 10.0]]])
    np.testing.assert_array_equal(new_combinations(points, rows, kinds), [[0, 1, 0, 1]])
    distances = nearest_distance(points[0], rows, kinds)
    np.testing.assert_allclose(distances, np.array([0.1, 1.1, 0.5, 1]) / 3, rtol=1e-5)


def test_what_must_be_whole_is_and_a_range_is_kept_to_the_bit():
    kinds = [Kind("integer"), Kind(low=0.0, high=100.0), Kind()]
    points = np.array([[2.0000001, 100.0000001, 2.5], [2.9999999, -1e-9, 2.5]])
    assert possible(points, kinds).tolist() == [[2, 100, 2.5], [3, 0, 2.5]]
    assert possible(points, ()) is points
    data = Dataset(points, points[:, :1])
    assert len(data) == 2


def test_partners_that_mix_what_never_stands_together_are_found_in_part_alone():
    # A hundred rows tell too little of which of thirty models is of which of ten makers.
    draw = np.random.default_rng(0)
    model = draw.integers(0, 30, 300)
    power = draw.uniform(1, 3, 300)
    frame = pd.DataFrame(
        {
            "model": [f"model {number}" for number in model],
            "maker": [f"maker {number % 10}" for number in model],
            "power": power,
            "weight": draw.uniform(1, 3, 300),
        }
    )
    y = frame["power"] * frame["weight"]
    few = {"steps": 200, "predictor_steps": 300}
    learned = SymmetryLearner(params=few, random_state=0).fit(frame, y)
    share, of_rows = (learned.summary_[f"new_combinations_share{end}"] for end in ("", "_of_rows"))
    assert share > of_rows + 0.3
    assert "partners mix categories as no row does" in learned.summary_["verdict"]
    plain = SymmetryLearner(params=few, random_state=0).fit(frame.drop(columns="maker"), y)
    assert "mix categories" not in plain.summary_["verdict"]
