"""What all tasks promise, held against draws of each, and the registry that knows them."""

import re
from pathlib import Path

import numpy as np
import pytest
from numpy.random import default_rng
from scipy.stats import kstest

from symmetry.estimators import mutual_information_bits, whiten
from symmetry.tasks import TASKS, ellipse, steam, triatomic

ROOT = Path(__file__).parents[1]
DRAWN = [key for key in TASKS if key != "file"]
OWN = {  # keys that a task cannot do without
    "formula": {
        "x": {"a": [-1, 2], "b": {"normal": [1, 0.5]}, "c": {"integer": [1, 6]}},
        "y": {"area": "a*b", "length": "sqrt(a**2 + b**2) + c"},
        "noise": 0.3,
    }
}


def build(key, **changes):
    keys = {"train_rows": 500, "validation_rows": 50, "test_rows": 100, "seed": 0, **changes}
    return TASKS[key](task=key, **OWN.get(key, {}), **keys)


PLACED = [key for key in DRAWN if build(key).truth.position is not None]


@pytest.fixture(scope="module")
def draws():
    return {key: build(key).draw(20_000, default_rng(0)) for key in DRAWN}


# ---- The registry ------------------------------------------------------------------------------


def test_each_task_is_known_by_the_one_name_that_its_key_allows():
    assert list(TASKS) == ["spiral", "ellipse", "triatomic", "steam", "formula", "file"]
    for key in DRAWN:
        assert build(key).task == key


def test_each_task_has_a_module_of_its_own():
    modules = {path.stem for path in (ROOT / "symmetry" / "tasks").glob("*.py")}
    assert modules == {"__init__", "base", "expressions", *TASKS}


def test_no_code_outside_the_registry_asks_which_task_it_is():
    paths = [*ROOT.glob("symmetry/**/*.py"), *ROOT.glob("stages/*.py")]
    asked = re.compile(r"\btask\s*(==|!=|\bin\b\s*[(\[{])|isinstance\([^)]*(\.data|task)\b")
    assert len(paths) > 30
    assert [path.name for path in paths if asked.search(path.read_text())] == []


# ---- Data sets ---------------------------------------------------------------------------------


@pytest.mark.parametrize("key", DRAWN)
def test_parts_have_the_rows_asked_for_and_streams_of_their_own(key):
    parts = dict(build(key).parts())
    assert {name: len(part) for name, part in parts.items()} == {
        "train": 500,
        "validation": 50,
        "test": 100,
    }
    more = dict(build(key, train_rows=600).parts())
    np.testing.assert_array_equal(more["test"].x, parts["test"].x)
    np.testing.assert_array_equal(more["test"].y, parts["test"].y)
    assert not np.isin(parts["train"].x[:50, 0], parts["validation"].x[:, 0]).any()
    other = dict(build(key, seed=1).parts())
    assert not np.isin(parts["test"].x, other["test"].x).all()


@pytest.mark.parametrize("key", DRAWN)
def test_all_parts_have_the_units_of_the_training_rows_or_none(key):
    task = build(key)
    parts = dict(task.parts())
    units = parts["train"].units
    assert (units is None) == (not task.standardised) == (key == "spiral")
    assert all(part.units == units for part in parts.values())
    if units is not None:
        for columns, rows in ((units.x, parts["train"].x), (units.y, parts["train"].y)):
            assert len(columns.names) == len(set(columns.names)) == rows.shape[1]
            np.testing.assert_allclose(columns.mean, rows.mean(0), atol=1e-12)
            np.testing.assert_allclose(columns.std, rows.std(0))


# ---- Truth -------------------------------------------------------------------------------------


@pytest.mark.parametrize("key", DRAWN)
def test_no_drawn_point_is_outside_and_points_far_away_are(key, draws):
    x, outside = draws[key].x, build(key).truth.outside
    assert not outside(x).any()
    assert outside(3 * x + 50).all()


@pytest.mark.parametrize("key", PLACED)
def test_the_position_is_uniform_whatever_the_level(key, draws):
    data, truth = draws[key], build(key).truth
    for level in truth.level(data.x).T:
        in_order = truth.position(data.x)[np.argsort(level)]
        for part in np.array_split(in_order, 10):
            assert kstest(part, "uniform").pvalue > 1e-4


@pytest.mark.parametrize("key", PLACED)
def test_the_position_knows_nothing_of_y(key, draws):
    data, truth = draws[key], build(key).truth
    assert abs(mutual_information_bits(truth.position(data.x), whiten(data.y))) < 0.03


@pytest.mark.parametrize("key", DRAWN)
def test_what_the_bayes_prediction_leaves_has_mean_zero_at_every_level(key, draws):
    data, truth = draws[key], build(key).truth
    left = (data.y - truth.bayes_prediction(data.x))[np.argsort(truth.level(data.x)[:, 0])]
    for part in np.array_split(left, 20):
        assert (np.abs(part.mean(0)) < 4.5 * part.std(0) / np.sqrt(len(part))).all()


@pytest.mark.parametrize("key", DRAWN)
@pytest.mark.parametrize("shape", [(), (7,), (2, 3)])
def test_closed_forms_keep_the_leading_shape(key, shape, draws):
    data, truth = draws[key], build(key).truth
    x = np.broadcast_to(data.x[0], (*shape, data.x.shape[1]))
    assert truth.level(x).shape[:-1] == shape
    assert truth.bayes_prediction(x).shape == (*shape, data.y.shape[1])
    assert truth.outside(x).shape == shape
    assert key not in PLACED or truth.position(x).shape == shape


@pytest.mark.parametrize("key", PLACED)
def test_lines_in_the_plane_are_true_orbits_where_they_are_inside(key, draws):
    plane = build(key).plane
    assert len(plane.lines) + len(plane.straight) >= 5
    assert plane.project(draws[key].x).shape == (20_000, 2)
    assert plane.project(draws[key].x.reshape(100, 200, -1)).shape == (100, 200, 2)


# ---- Each task ---------------------------------------------------------------------------------


def test_the_ellipse_has_the_law_of_its_paper(draws):
    data = draws["ellipse"]
    turned = [ellipse.X_TURN, ellipse.Y_TURN]
    for turn in turned:
        np.testing.assert_allclose(turn.T @ turn, np.eye(len(turn)), atol=1e-12)
        assert np.linalg.det(turn) == pytest.approx(1)
    x, y = data.x @ ellipse.X_TURN, data.y @ ellipse.Y_TURN
    for coordinate in x[:, :2].T:
        assert kstest(coordinate, "uniform", (-1, 2)).pvalue > 0.01
    y0 = (x[:, 0] + x[:, 1]) ** 2 / 8 + (x[:, 0] - x[:, 1]) ** 2 / 4
    assert y0.std() == pytest.approx(0.18, abs=0.005)
    for noise, scale in ((y[:, 0] - y0, 0.2), (x[:, 3], 0.01), (y[:, 2], 0.01)):
        assert kstest(noise / scale, "norm").pvalue > 0.01


def test_points_along_an_ellipse_keep_the_level_and_their_positions_grow():
    angle = np.linspace(0, 2 * np.pi, 100, endpoint=False)
    a, b = 0.4 * np.cos(angle), 0.4 * np.sin(angle)  # wholly inside
    point = np.stack([np.sqrt(2) * a + b, np.sqrt(2) * a - b, 0 * a, 0 * a, 0 * a], -1)
    x = point @ ellipse.X_TURN.T
    np.testing.assert_allclose(ellipse.level(x), 0.16)
    np.testing.assert_allclose(ellipse.position(x), angle / (2 * np.pi), atol=1e-9)


def test_turned_and_mirrored_molecules_keep_their_distances(draws):
    x = draws["triatomic"].x[:500]
    angles = default_rng(1).uniform(0, 2 * np.pi, 500)
    cos, sin = np.cos(angles), np.sin(angles)
    turn = np.moveaxis(np.array([[cos, -sin], [sin, cos]]), -1, 0)
    turned = np.einsum("nij,naj->nai", turn, x.reshape(-1, 3, 2)).reshape(-1, 6)
    mirrored = turned * np.tile([1, -1], 3)
    for moved in (turned, mirrored):
        np.testing.assert_allclose(triatomic.distances(moved), triatomic.distances(x))
        assert not triatomic.outside(moved).any()
    by = (triatomic.position(turned) - triatomic.position(x)) % 1
    np.testing.assert_allclose(by, angles / (2 * np.pi), atol=1e-9)
    stretched = x * np.tile([1.5, 1.0], 3)
    assert np.abs(triatomic.distances(stretched) - triatomic.distances(x)).mean() > 0.1


def test_distances_are_those_of_the_pairs_with_the_noise_stated(draws):
    data = draws["triatomic"]
    atoms = data.x.reshape(-1, 3, 2)
    np.testing.assert_allclose(atoms.mean(1), 0, atol=1e-12)
    for column, (one, other) in enumerate([(0, 1), (0, 2), (1, 2)]):
        noise = data.y[:, column] - np.linalg.norm(atoms[:, one] - atoms[:, other], axis=-1)
        assert kstest(noise / 0.02, "norm").pvalue > 0.01


def test_the_enthalpy_of_steam_is_that_of_the_formulations_own_tables():
    # IAPWS R7-97, tables 15 and 33: kJ/kg at K and MPa.
    x = np.array([[700, 30], [650, 25.5837018], [750, 78.3095639]])
    expected = [2631.49474, 1863.43019, 2258.68845]
    np.testing.assert_allclose(steam.enthalpy(x)[:, 0], expected, rtol=2e-6)


def test_steam_along_its_drawn_lines_keeps_its_enthalpy():
    for line in build("steam").plane.lines:
        inside = line[np.isfinite(line[:, 0])]
        h = steam.enthalpy(inside)
        assert np.ptp(h) < 8  # of a range of 2,150, near the critical point


def test_without_coolprop_steam_says_how_to_get_it(monkeypatch):
    monkeypatch.setitem(__import__("sys").modules, "CoolProp.CoolProp", None)
    with pytest.raises(ValueError, match=r"needs CoolProp.*pip install '\.\[steam\]'"):
        build("steam").draw(3, default_rng(0))
