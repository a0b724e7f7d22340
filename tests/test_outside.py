"""The benchmarks of others: their problems and metrics on known truth, and the stage."""

import csv
import re
import sys
from pathlib import Path

import numpy as np
import pytest
import yaml
from numpy.random import default_rng
from scipy.integrate import solve_ivp
from scipy.stats import ks_2samp

from docs import fill
from stages import outside
from studies.outside import kruse, ren, shaw, task_of
from studies.outside.kruse import PROBLEMS, arm, flight, mmd
from studies.peers import Fitted, learner

ROOT = Path(__file__).parents[1]
CONTENT = yaml.safe_load((ROOT / "studies/outside/outside.yaml").read_text())
SMALL = {
    "test_rows": 100,
    "samples": 50,
    "pool": 50_000,
    "tries": 5,
    "covered_rows": 10,
    "covering_partners": 20,
}
METRICS = {
    "kruse": {"mmd", "resim", "resim_median", "failed"},
    "ren": {"mean", "best_of_50", "coverage", "coverage_floor", "forward"},
    "shaw": {"cosine", "cosine_range"},
}


def settings(benchmark, **changes):
    name = {"benchmark": benchmark, "method": "exact"}
    known = {**CONTENT["benchmarks"][benchmark], **SMALL, "method": {}}
    return {**known, "name": name, "rows": 200, "seed": 0, **changes}


def measured(monkeypatch, work, benchmark, partners, predict=None, **changes):
    """The figures of partners that are made without a learner."""
    monkeypatch.setattr(learner, "fit", lambda x, y, seed: Fitted(partners, predict))
    rows = work.measure(settings(benchmark, **changes))
    return {row["metric"]: float(row["value"]) for row in rows}


# ---- Inverse kinematics and ballistics ---------------------------------------------------------


def test_an_arm_ends_where_its_angles_say():
    right = np.pi / 2
    angles = np.array([[0, 0, 0], [right, 0, 0], [right, -right, 0], [0, right, right]])
    expected = [[2, 0], [0, 2], [1.5, 0.5], [-0.5, 0.5]]
    np.testing.assert_allclose(arm(angles), expected, atol=1e-12)
    x = np.array([[0.3, 0, 0, 0]])
    np.testing.assert_allclose(PROBLEMS["arm"].level(x), [[2, 0.3]])


def test_the_other_arm_is_the_same_one_with_other_angles():
    task = task_of(settings("arm_ren"))
    h, a, b, c = x = default_rng(0).normal(0, 0.5, (4, 50))
    same = np.stack([h, a, b - 2 * a, c - 2 * b], -1)
    np.testing.assert_allclose(task.truth.level(x.T), PROBLEMS["arm"].level(same))


def test_a_throw_lands_where_the_equation_of_its_motion_says():
    throws = PROBLEMS["ballistics"].others(20, default_rng(0))

    def motion(time, state):
        speed = state[2:]
        return [*speed, *(-kruse.DRAG / kruse.MASS * speed - [0, kruse.GRAVITY])]

    def height(time, state):
        return state[1]

    height.terminal, height.direction = True, -1
    for throw, distance in zip(throws, flight(throws), strict=True):
        up, angle, speed = throw
        start = [0, up, speed * np.cos(angle), speed * np.sin(angle)]
        flown = solve_ivp(motion, (0, 50), start, events=height, rtol=1e-10, atol=1e-12)
        np.testing.assert_allclose(flown.y_events[0][0, 0], distance[0], rtol=1e-6)


def test_a_throw_from_too_far_below_never_lands():
    found = flight(np.array([[-100.0, 1, 15], [-1, 1, 15], [1, 1, 0]]))[:, 0]
    assert np.isnan(found[0])
    assert found[1] > 0
    assert found[2] == pytest.approx(0)


@pytest.mark.parametrize("name", PROBLEMS)
def test_the_true_posterior_is_the_one_of_plain_rejection(name):
    problem, generator = PROBLEMS[name], default_rng(0)
    level = problem.level(problem.draw(1, generator))
    (found,) = problem.posteriors(level, 2000, 400_000, generator)
    assert len(found) > 1000
    off = ((problem.level(found) - level) ** 2).sum(-1)
    assert off.mean() == pytest.approx(level.shape[1] * problem.width**2, rel=0.15)
    drawn = problem.draw(3_000_000, generator)
    apart = ((problem.level(drawn) - level) ** 2).sum(-1)
    plain = drawn[generator.random(len(drawn)) < np.exp(-apart / (2 * problem.width**2))]
    assert len(plain) > 300
    for one, other in zip(found.T, plain.T, strict=True):
        assert ks_2samp(one, other).pvalue > 1e-3


def test_the_discrepancy_of_single_distances_is_as_by_hand():
    one, other = np.array([[0.0], [1.0]]), np.array([[0.0], [2.0]])

    def kernel(square):
        return sum(h**2 / (h**2 + square) for h in (0.05, 0.2, 0.9))

    across = (kernel(0) + kernel(4) + kernel(1) + kernel(1)) / 4
    assert mmd(one, other) == pytest.approx(kernel(1) + kernel(4) - 2 * across)
    assert np.isnan(mmd(one, other[:1]))


def test_the_discrepancy_of_one_law_is_nought_on_average_and_of_two_is_not():
    generator = default_rng(0)
    same = [mmd(*generator.normal(size=(2, 50, 3))) for _ in range(200)]
    assert abs(np.mean(same)) < 4 * np.std(same) / np.sqrt(200)
    one, other = generator.normal(size=(2, 200, 3))
    assert mmd(one, other + 1) > 0.1


@pytest.mark.parametrize(("name", "published"), [("arm", 0.242), ("ballistics", 0.105)])
def test_rows_of_the_prior_are_as_far_from_the_posterior_as_others_found(name, published):
    # In docs/metrics.md of the replication, with 1000 rows of 1000 samples.
    problem, generator = PROBLEMS[name], default_rng(0)
    levels = problem.level(problem.draw(300, generator))
    posteriors = problem.posteriors(levels, 100, 200_000, generator)
    apart = [mmd(problem.draw(100, generator), posterior) for posterior in posteriors]
    assert np.nanmean(apart) == pytest.approx(published, abs=4 * np.nanstd(apart) / np.sqrt(300))


@pytest.mark.parametrize("name", PROBLEMS)
def test_partners_from_the_true_posterior_have_no_discrepancy(name, monkeypatch):
    problem, generator = PROBLEMS[name], default_rng(1)

    def partners(x, y, count):
        found = list(problem.posteriors(y, count, 400_000, generator))
        return np.stack([np.resize(one, (count, 4)) for one in found], 1)

    found = measured(monkeypatch, kruse, name, partners)
    assert found.keys() == METRICS["kruse"]
    assert abs(found["mmd"]) < 0.01
    expected = problem.base(np.zeros(3)).size * problem.width**2
    assert found["resim"] == pytest.approx(expected, rel=0.2)
    assert found["failed"] == 0


def test_partners_without_an_y_are_counted_and_left_out(monkeypatch):
    def partners(x, y, count):
        found = np.repeat(x[None], count, 0)
        found[::5, :, 1] = -100
        return found

    found = measured(monkeypatch, kruse, "ballistics", partners)
    assert found["failed"] == pytest.approx(0.2)
    assert found["resim"] == 0


# ---- Sine waves, and fields --------------------------------------------------------------------


def test_the_best_of_many_tries_is_less_than_their_mean():
    errors = np.array([[4.0, 1], [2, 3], [0, 0]])
    assert ren.best_of(errors, 1) == 2.5
    assert ren.best_of(errors, 2) == 1.5
    assert ren.best_of(errors, 3) == 0


def test_errors_are_mean_squares_of_the_formula(monkeypatch):
    task = task_of(settings("sine"))

    def partners(x, y, count):
        moved = np.repeat(x[None], count, 0)
        moved[1:] = 0.4  # the first try alone has the same y
        return moved

    found = measured(monkeypatch, ren, "sine", partners, lambda x: task.truth.level(x) + 0.1)
    assert found["best_of_5"] == 0
    y = task.truth.level(dict(task.parts())["test"].x)
    off = (task.truth.level(np.array([0.4, 0.4])) - y) ** 2
    assert found["mean"] == pytest.approx(0.8 * off.mean())
    assert found["forward"] == pytest.approx(0.01)
    assert found["coverage"] > 2 * found["coverage_floor"]


def test_fields_are_along_the_level_whatever_their_length():
    x = default_rng(0).normal(size=(100, 2))
    step = np.array([1e-4, 1e-4])
    found = shaw.field(lambda x: x[:, 0] ** 3 - x[:, 1] ** 2, x, step)
    true = np.stack([2 * x[:, 1], 3 * x[:, 0] ** 2], -1)
    np.testing.assert_allclose(found, true, atol=1e-6)
    assert shaw.cosine(found, -3 * true) == pytest.approx(1)
    assert shaw.cosine(true, true[:, ::-1] * [1, -1]) == pytest.approx(0)


def test_of_the_true_function_the_cosine_is_one_and_of_a_tilted_one_less(monkeypatch):
    task = task_of(settings("ellipse"))

    def none(x, y, count):
        raise AssertionError("no partners are asked for")

    found = measured(monkeypatch, shaw, "ellipse", none, task.truth.level)
    assert found == {"cosine": pytest.approx(1), "cosine_range": pytest.approx(1)}
    tilted = measured(
        monkeypatch, shaw, "ellipse", none, lambda x: task.truth.level(x) + 5 * x[:, :1]
    )
    assert tilted["cosine"] < 0.99
    with pytest.raises(ValueError, match="exact predicts no y"):
        measured(monkeypatch, shaw, "ellipse", none)


# ---- The stage ---------------------------------------------------------------------------------


def test_what_is_published_belongs_to_a_figure_and_has_a_source():
    for one in CONTENT["published"]:
        benchmark = CONTENT["benchmarks"][one["benchmark"]]
        assert one["metric"] in METRICS[benchmark["of"]], one
        assert one.get("rows", benchmark["rows"][0]) in benchmark["rows"], one
    assert {one["source"] for one in CONTENT["published"]} == CONTENT["sources"].keys()
    assert {one["of"] for one in CONTENT["benchmarks"].values()} == outside.WORK.keys()


def test_the_pipeline_depends_on_all_modules_of_the_folder():
    stage = yaml.safe_load((ROOT / "studies/outside/dvc.yaml").read_text())["stages"]["outside"]
    files = {f"studies/outside/{path.name}" for path in (ROOT / "studies/outside").glob("*.py")}
    others = {"stages", "studies/peers", "symmetry", "studies/outside/outside.yaml"}
    assert set(stage["deps"]) == files | others


def test_small_benchmarks_go_through_the_stage(tmp_path, monkeypatch):
    few = {"model": "stib_flow", "params": {"steps": 20, "predictor_steps": 20}}
    there = {"source": "there"}
    content = {
        "seeds": 2,
        "methods": {"stib_flow": few},
        "benchmarks": {
            name: {**settings(name, rows=[200]), "of": CONTENT["benchmarks"][name]["of"]}
            for name in ("arm", "sine", "ellipse")
        },
        "published": [
            {"benchmark": "arm", "metric": "mmd", "value": 0.5, "who": "them", **there},
            {"benchmark": "arm", "metric": "mmd", "value": 0.4, "who": "others", **there},
            {"benchmark": "sine", "metric": "mean", "value": 0.4, "who": "x", "rows": 7, **there},
        ],
        "sources": {"there": "https://example.org"},
    }
    for one in content["benchmarks"].values():
        for key in ("name", "seed", "method"):
            del one[key]
    (tmp_path / "studies/outside").mkdir(parents=True)
    (tmp_path / "studies/outside/outside.yaml").write_text(yaml.safe_dump(content))
    monkeypatch.chdir(tmp_path)

    def call(*words):
        monkeypatch.setattr(sys, "argv", ["stage", *words])
        outside.main()

    call("--benchmark", "arm")
    call("--seed", "0")
    before = (tmp_path / "studies/outside/results.csv").read_text()
    call("--seed", "0")
    assert (tmp_path / "studies/outside/results.csv").read_text() == before
    with open(tmp_path / "metrics/outside.csv") as file:
        found = list(csv.DictReader(file))
    assert list(found[0]) == outside.COLUMNS
    both, sine = (
        [row for row in found if (row["benchmark"], row["metric"]) == which]
        for which in (("arm", "mmd"), ("sine", "mean"))
    )
    assert [(row["published"], row["who"], row["seeds"]) for row in both] == [
        ("0.5", "them", "2"),
        ("0.4", "others", "2"),
    ]
    assert both[0]["source"] == "https://example.org"
    assert [(row["published"], row["seeds"]) for row in sine] == [("", "1")]  # not of as many rows


def test_the_table_of_the_pages_has_a_row_a_figure(tmp_path, monkeypatch):
    (tmp_path / "metrics").mkdir()
    rows = ["benchmark,method,rows,metric,ours,deviation,seeds,published,who,source"]
    rows += [f"arm,stib_flow,10000,mmd,0.00123,0.0001,3,0.00{n},them,https://a.b" for n in (7, 8)]
    rows += ["arm,stib_flow,10000,failed,0.0,0.0,3,,,"]
    (tmp_path / "metrics/outside.csv").write_text("\n".join(rows) + "\n")
    monkeypatch.setattr(fill, "ROOT", tmp_path)
    table = fill.outside()
    assert re.search(r"arm +\| MMD.* 10,000 +\| 0\.00123 ± 0\.0001 +\| 0\.007 \(them\)", table)
    assert "0.008 (them)" in table
    assert "failed" not in table
