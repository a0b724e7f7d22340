"""Methods on laws whose symmetries are known: the cells, the figures, and what is made of them."""

import csv
import sys
import time
from pathlib import Path
from types import ModuleType

import numpy as np
import pytest
import yaml
from numpy.random import default_rng

from stages import gather_laws, laws
from studies.peers import Fitted, Scale, learner, nearest, walk
from studies.peers.measure import FIGURES, measure
from symmetry.tasks.formula import Formula

ROOT = Path(__file__).parents[1]
LAWS = yaml.safe_load((ROOT / "studies/laws/laws.yaml").read_text())
RING = {"x": {"a": [-1, 1], "b": [-1, 1]}, "y": "a**2 + b**2"}
SMALL = {
    "limit": 300,
    "test_rows": 100,
    "partners": 4,
    "covered_rows": 20,
    "covering_partners": 50,
}


def settings(peer, **changes):
    known = {"name": {"law": "ring", "method": peer}, "law": RING, "method": {"peer": peer}}
    return {**known, "rows": 300, "noise": 0.05, "seed": 0, **SMALL, **changes}


def add_peer(monkeypatch, fit):
    module = ModuleType("studies.peers.made_up")
    module.fit = fit
    monkeypatch.setitem(sys.modules, module.__name__, module)


def rows_of_ring(count=400):
    x = default_rng(0).uniform(-1, 1, (count, 2))
    return x, (x**2).sum(1, keepdims=True)


# ---- The benchmark -----------------------------------------------------------------------------


@pytest.mark.parametrize("law", LAWS["laws"])
def test_each_law_is_a_task_and_each_method_a_module(law):
    content = {"task": "formula", "noise": 0.05, **LAWS["laws"][law], "seed": 0}
    counts = dict.fromkeys(("train_rows", "validation_rows", "test_rows"), 100)
    assert dict(Formula(**content, **counts).parts()).keys() == {"train", "validation", "test"}


def test_each_method_has_a_stage_that_depends_on_all_that_its_cells_do():
    pipeline = yaml.safe_load((ROOT / "studies/laws/dvc.yaml").read_text())
    assert pipeline["vars"][0]["method_keys"] == [*LAWS["methods"]]
    for method in LAWS["methods"].values():
        assert (ROOT / f"studies/peers/{method['peer']}.py").is_file()
    stage = pipeline["stages"]["laws"]["do"]
    named = {name.partition(".")[0] for name in stage["params"][0]["studies/laws/laws.yaml"]}
    assert named == LAWS.keys()
    assert set(stage["deps"]) == {"stages", "studies/peers", "symmetry"}


# ---- The figures -------------------------------------------------------------------------------


def test_of_exact_partners_the_figures_are_right(monkeypatch):
    def fit(x, y, seed):
        generator = default_rng(seed)

        def partners(x, y, count):
            # As they lie on the arcs of a circle within the square.
            radius = np.hypot(*x.T)
            angle = generator.uniform(0, 2 * np.pi, (50 * count, len(x)))
            points = radius[:, None] * np.stack([np.cos(angle), np.sin(angle)], -1)
            inside = (np.abs(points) <= 1).all(-1)
            chosen = np.argsort(~inside, 0, kind="stable")[:count]
            return np.take_along_axis(points, chosen[..., None], 0)

        return Fitted(partners, lambda x: (x**2).sum(1, keepdims=True) + 0.1, "found")

    add_peer(monkeypatch, fit)
    (row,) = measure(settings("made_up"))
    std = dict(_ring().parts())["test"].x
    unit = (std**2).sum(1).std()
    assert row["error"] < 1e-9
    assert row["predictor_error"] == pytest.approx(0.1 / unit, rel=1e-3)
    assert abs(row["coverage"] - row["coverage_floor"]) < 0.03
    assert row["outside"] == 0
    assert 0.7 < row["distance"] < 1.3
    assert row["verdict"] == "found"
    assert [row[name] for name in ("law", "method", "rows", "noise", "seed")] == [
        *("ring", "made_up", 300, 0.05, 0)
    ]


def _ring():
    counts = {"train_rows": 300, "validation_rows": 2, "test_rows": 100}
    return Formula(task="formula", noise=0.05, seed=0, **RING, **counts)


def test_partners_off_their_level_and_off_the_data_show(monkeypatch):
    def fit(x, y, seed):
        return Fitted(lambda x, y, count: np.full((count, *x.shape), 1.5))

    add_peer(monkeypatch, fit)
    (row,) = measure(settings("made_up"))
    assert row["error"] > 5
    assert row["outside"] == 1
    assert row["distance"] > 10
    assert row["coverage"] > 0.9
    assert row["predictor_error"] is None


def test_the_peak_is_what_the_method_itself_takes(monkeypatch):
    def fit(x, y, seed):
        held = np.ones(60 * 2**17)  # 60 MB
        return Fitted(lambda x, y, count: held[0] * np.broadcast_to(x, (count, *x.shape)))

    add_peer(monkeypatch, fit)
    (row,) = measure(settings("made_up"))
    if Path("/proc/self/clear_refs").exists():
        assert 55 < row["peak_megabytes"] < 90
    else:
        assert row["peak_megabytes"] is None


def test_a_method_that_takes_too_long_is_stopped(monkeypatch):
    add_peer(monkeypatch, lambda x, y, seed: time.sleep(60))
    start = time.monotonic()
    (row,) = measure(settings("made_up", limit=0.3))
    assert time.monotonic() - start < 30
    assert row["verdict"] == "over the limit"
    assert {row[name] for name in FIGURES} == {None}


def test_a_law_that_is_not_allowed_is_named():
    with pytest.raises(ValueError, match="the law ring is not allowed"):
        measure(settings("nearest", law={**RING, "y": "a**2 + q"}))


# ---- The peers ---------------------------------------------------------------------------------


def test_the_nearest_rows_are_rows_whose_y_is_close():
    x, y = rows_of_ring()
    fitted = nearest.fit(x, y, 0)
    found = fitted.partners(x[:30], y[:30], 5)
    assert found.shape == (5, 30, 2)
    assert all((row == x).all(1).any() for row in found.reshape(-1, 2))
    assert np.abs((found**2).sum(-1) - y[:30, 0]).mean() < 0.1
    assert np.abs(fitted.predict(x) - y).mean() < 0.1


def test_a_walk_stays_on_its_level_and_leaves_its_row():
    x, y = rows_of_ring()
    fitted = walk.fit(x, y, 0, epochs=20)
    found = fitted.partners(x[:30], y[:30], 5)
    levels = fitted.predict(found.reshape(-1, 2)).reshape(5, 30)
    assert np.abs(levels - fitted.predict(x[:30])[:, 0]).max() < 0.02
    assert np.linalg.norm(found - x[:30], axis=-1).mean() > 0.2
    assert (found >= x.min(0) - 1e-6).all()
    assert (found <= x.max(0) + 1e-6).all()


@pytest.mark.parametrize("peer", ["nsf", "npe"])
def test_a_flow_of_a_library_learns_where_the_rows_of_a_level_lie(peer):
    pytest.importorskip({"nsf": "zuko", "npe": "sbi"}[peer])
    module = __import__(f"studies.peers.{peer}", fromlist=["fit"])
    x = default_rng(0).uniform(-1, 1, (2000, 2))
    y = x[:, :1] + 10
    found = module.fit(x, y, 0, epochs=20).partners(x[:20], y[:20], 50)
    assert found.shape == (50, 20, 2)
    assert np.abs(found[..., 0] - x[:20, 0]).mean() < 0.3
    assert found[..., 1].std() > 0.4


def test_the_learner_is_given_its_settings_and_says_its_verdict():
    x, y = rows_of_ring()
    few = {"steps": 20}
    fitted = learner.fit(x, y, 0, model="cvae", params=few)
    assert fitted.predict is None
    assert fitted.verdict in ("not found", "found in part", "found")
    assert fitted.partners(x[:7], y[:7], 3).shape == (3, 7, 2)


def test_a_scale_goes_there_and_back():
    x = default_rng(0).normal(5, 3, (50, 2))
    scale = Scale.of(x)
    np.testing.assert_allclose(scale.standardise(x).std(0), 1)
    np.testing.assert_allclose(scale.restore(scale.standardise(x)), x)


# ---- The stages --------------------------------------------------------------------------------


@pytest.fixture
def folder(tmp_path, monkeypatch):
    """A folder with two small laws and two methods."""
    content = {
        **SMALL,
        "rows": [300, 400],
        "noise": [0.05],
        "seeds": 1,
        "methods": {
            "flow": {
                "peer": "learner",
                "model": "stib_flow",
                "params": {"steps": 20, "predictor_steps": 20},
            },
            "nearest": {"peer": "nearest"},
        },
        "laws": {"ring": RING, "product": {"x": {"m": [1, 3], "v": [1, 3]}, "y": "m*v"}},
    }
    (tmp_path / "studies/laws").mkdir(parents=True)
    (tmp_path / "studies/laws/laws.yaml").write_text(yaml.safe_dump(content, sort_keys=False))
    monkeypatch.chdir(tmp_path)
    return tmp_path


def call(monkeypatch, stage, *words):
    monkeypatch.setattr(sys, "argv", ["stage", *words])
    stage.main()


def test_two_small_laws_go_through_all_stages(folder, monkeypatch):
    call(monkeypatch, laws, "nearest")
    call(monkeypatch, laws, "flow", "--rows", "300")
    path = folder / "studies/laws/results/flow.csv"
    before = path.read_text()
    call(monkeypatch, laws, "flow", "--law", "ring", "--rows", "300")
    assert path.read_text() == before  # its seconds too: nothing was run again
    call(monkeypatch, gather_laws)
    with open(folder / "metrics/laws.csv") as file:
        found = list(csv.DictReader(file))
    assert [(row["law"], row["method"], row["rows"]) for row in found] == [
        *[("ring", "flow", "300"), ("product", "flow", "300")],
        *[(law, "nearest", rows) for law in ("ring", "product") for rows in ("300", "400")],
    ]
    assert list(found[0]) == gather_laws.COLUMNS
    assert found[0]["nearest_rows_error"] == found[2]["error"]
    table = (folder / "studies/laws/table.md").read_text()
    assert "300 rows, noise 0.05" in table
    assert "| law     | flow" in table
    assert "Smallest error: flow 2." in table
    assert (folder / "studies/laws/laws.png").read_bytes().startswith(b"\x89PNG")


def test_without_any_cells_nothing_is_gathered(folder, monkeypatch):
    with pytest.raises(ValueError, match="no method has been measured"):
        call(monkeypatch, gather_laws)
    assert not (folder / "metrics").exists()
