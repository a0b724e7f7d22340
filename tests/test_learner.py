"""SymmetryLearner keeps scikit-learn's conventions, and its partners keep y."""

import json
import pickle
import re

import joblib
import numpy as np
import pandas as pd
import pytest
import torch
from numpy.random import RandomState, default_rng
from sklearn.base import clone
from sklearn.model_selection import GridSearchCV
from sklearn.pipeline import make_pipeline
from sklearn.preprocessing import StandardScaler
from sklearn.utils.estimator_checks import parametrize_with_checks

import symmetry
from symmetry import learner as module
from symmetry.artifacts import read_tensors, write_tensors
from symmetry.checkpoints import save
from symmetry.learner import SymmetryLearner
from symmetry.models import MODELS
from symmetry.training import Progress

SHORT = {"steps": 20, "predictor_steps": 60, "hidden_size": 16}
WITHOUT_Y = ("cvae", "cvib")


def table(rows, seed=0):
    a, b = default_rng(seed).uniform(1, 3, (2, rows))
    return np.column_stack([a, b]), a * b


X, Y = table(1500)


def framed(rows):
    return pd.DataFrame(rows, columns=["mass", "acceleration"])


FRAME = framed(X)


def short(model="stib_flow", **settings):
    params = {
        name: SHORT[name] for name in SHORT if model == "stib_flow" or name != "predictor_steps"
    }
    return SymmetryLearner(model, params=params, random_state=0, **settings)


@pytest.fixture(scope="module")
def trained():
    """Learns y = a · b, under names, long enough to find it."""
    params = {"steps": 600, "predictor_steps": 800, "hidden_size": 64}
    return SymmetryLearner(params=params, random_state=0).fit(FRAME, pd.Series(Y, name="force"))


@pytest.fixture(scope="module")
def tried():
    return short(test_share=0).fit(X[:200], Y[:200])


checked = SymmetryLearner(
    params={"steps": 10, "predictor_steps": 150, "hidden_size": 16}, test_share=0.05
)


@parametrize_with_checks([checked], xfail_strict=True)
def test_it_is_an_estimator_of_scikit_learn(estimator, check):
    check(estimator)


# ---- What it learns ----------------------------------------------------------------------------


def test_partners_and_orbits_of_a_product_keep_it(trained):
    rows, y = table(100, seed=1)
    for moved in (trained.partners(framed(rows), 20), trained.orbit(framed(rows), 60)):
        points = moved.to_numpy().reshape(100, -1, 2)
        assert np.abs(points.prod(-1) - y[:, None]).mean() < 0.02 * Y.std()
        assert points[..., 0].std(1).mean() > 0.2 * X[:, 0].std()  # and go somewhere


def test_partners_stay_in_the_range_of_the_table_to_the_bit(trained):
    moved = trained.partners(FRAME, 5).to_numpy()
    assert (X.min(0) <= moved).all()
    assert (moved <= X.max(0)).all()


def test_it_predicts_and_z0_knows_nothing_of_y(trained):
    rows, y = table(500, seed=2)
    assert trained.score(framed(rows), y) > 0.99
    z0 = trained.transform(framed(rows))
    assert z0.shape == (500, 2)
    assert abs(np.corrcoef(z0.T, y)[-1, :-1]).max() < 0.15


def test_the_summary_tells_of_rows_that_it_held_out(trained, monkeypatch):
    summary = trained.summary_
    assert summary["verdict"] == "Symmetry found."
    assert summary["referee_error"] < 0.05 < summary["random_rows_error"]
    assert summary["strayed_share"] < 0.01
    figures = ("x_mae.mass", "y_mae.force", "spread.mass", "spread.acceleration", "leak_r2")
    assert all(isinstance(summary[name], float) for name in figures)
    # In the unit of y, beside the same in standard deviations of y.
    assert summary["y_mae.force"] == pytest.approx(summary["y_mae"] * Y.std(), rel=0.05)

    seen = spied(monkeypatch)
    x = np.repeat(X[:300], 2, 0)  # each row twice
    learner = short().fit(x, np.repeat(Y[:300], 2))
    judged, evaluated, kept = seen
    parts = [*judged[2:4], evaluated[1]]
    assert sum(map(len, parts)) == 600
    rows = [set(map(tuple, part.x.tolist())) for part in parts]
    assert sum(map(len, rows)) == len(set.union(*rows)) == 300

    # Then it learns from the rows of the verdict, too; those of validation it never sees.
    assert len(kept[2]) == len(judged[2]) + len(evaluated[1])
    assert len(kept[3]) == len(judged[3])
    learned, unseen = (set(map(tuple, part.x.tolist())) for part in kept[2:4])
    assert len(learned | unseen) == len(learned) + len(unseen) == 300
    assert (learner.range_ == [X[:300].min(0), X[:300].max(0)]).sum() >= 3


def spied(monkeypatch):
    """Notes what a learner's trainings and evaluations are called with, in their order."""
    seen = []
    for name in ("fit", "evaluate"):
        call = getattr(module, name)

        def calling(*arguments, call=call, **keywords):
            seen.append(arguments)
            return call(*arguments, **keywords)

        monkeypatch.setattr(module, name, calling)
    return seen


def test_few_rows_are_learned_from_again_for_as_many_epochs_as_those_held_out_advised(monkeypatch):
    calls = []

    def watched(*arguments, until=None, **keywords):
        calls.append((arguments[1], keywords["seed"], until))
        return fit_model(*arguments, until=until, **keywords)

    fit_model = module.fit
    monkeypatch.setattr(module, "fit", watched)
    rows, y = table(400, seed=4)
    noisy = y + 3 * y.std() * default_rng(0).normal(size=400)  # soon learned by heart
    params = {"steps": 300, "predictor_steps": 400, "hidden_size": 32}
    learner = SymmetryLearner(params=params, seeds=2, random_state=0).fit(rows, noisy)
    (first, seed, none), (second, own_seed, until) = calls
    assert none is None
    assert (first.train.seeds, second.train.seeds) == (2, 1)
    assert own_seed - seed in (0, 1)
    assert 0 < until[0] < 200, "a regression on noise is best after few steps"
    assert until[1] <= 300
    assert learner.model_.sizes.stack == 1

    calls.clear()
    monkeypatch.setattr(module, "SCARCE", 399)
    judged_alone = SymmetryLearner(params=params, seeds=2, random_state=0).fit(rows, noisy)
    assert len(calls) == 1, "many rows are learned from once"
    assert judged_alone.summary_ == learner.summary_
    assert not np.array_equal(judged_alone.predict(rows), learner.predict(rows))

    calls.clear()
    monkeypatch.setattr(module, "SCARCE", 400)
    short("vae").fit(rows, y)
    short(test_share=0).fit(rows, y)
    assert len(calls) == 2, "other models once, and where no row was held out for the verdict"


def test_a_fit_shows_how_far_it_is_only_where_asked(capsys, tmp_path):
    silent = short().fit(X, Y)
    assert capsys.readouterr().err == ""
    shown = short(verbose=True).fit(X, Y)
    bars = re.split(r"[\r\n]+", capsys.readouterr().err)
    for doing in ("learns", "is judged", "learns once more"):
        assert any(bar.startswith(f"stib_flow {doing}: 100%") for bar in bars), doing
    for learner, name in ((silent, "silent"), (shown, "shown")):
        learner.save(tmp_path / name)
    assert (tmp_path / "silent").read_bytes() == (tmp_path / "shown").read_bytes()


def test_the_best_step_of_a_turn_is_that_of_all_rows_held_out():
    def progress(step, turn, own, watched):
        return Progress(step, turn, {}, {}, torch.tensor(own), torch.tensor(watched), dict)

    reports = [
        progress(10, 0, [3.0, 1.0], [3.0, 1.0]),
        progress(20, 0, [2.0, 2.0], [2.0, 2.0]),
        progress(30, 0, [1.0, 3.0], [2.4, 3.0]),  # one row of validation, two that are watched
        progress(40, 1, [9.0, 9.0], [9.0, 9.0]),
        progress(50, 1, [9.5, 8.5], [9.5, 8.5]),
    ]
    assert module._best_steps(reports, 0, [30, 20], validation=1, test=2) == [30, 10]
    assert module._best_steps(reports, 0, [30, 20], validation=1, test=3) == [20, 10]
    assert module._best_steps(reports, 1, [30, 20], validation=1, test=2) == [10, 20]


@pytest.mark.parametrize(("rows", "test_share"), [(190, 0.2), (20, 0.2), (100, 0)])
def test_without_enough_rows_held_out_it_says_so(rows, test_share):
    summary = short(test_share=test_share).fit(X[:rows], Y[:rows]).summary_
    assert list(summary) == ["verdict"]
    held = round(test_share * rows)
    assert re.match(rf"Not judged: {held} rows were held out, of 40", summary["verdict"])


def test_a_column_may_be_far_from_0_and_another_tiny():
    # In float32, 10⁸ and 10⁸ + 1 are the same.
    far = np.column_stack([X[:, 0] + 1e8, X[:, 1] * 1e-25])
    plain, moved = (short(test_share=0).fit(rows, Y) for rows in (X, far))
    np.testing.assert_allclose(plain.predict(X), moved.predict(far), atol=1e-3)
    partners = moved.partners(far[:50], 10) - [1e8, 0]
    np.testing.assert_allclose(plain.partners(X[:50], 10), partners / [1, 1e-25], atol=1e-2)


# ---- Forms in and out --------------------------------------------------------------------------


def test_a_frame_comes_back_as_a_frame_by_row_and_partner(trained):
    rows = FRAME.set_index(pd.date_range("2026", periods=len(FRAME)))[:3]
    moved, line = trained.partners(rows, 4), trained.orbit(rows, 5)
    for found, level, count in ((moved, "partner", 4), (line, "point", 5)):
        assert list(found.columns) == ["mass", "acceleration"]
        assert list(found.index.names) == ["row", level]
        assert list(found.index) == [(row, one) for row in rows.index for one in range(count)]
    trained.set_output(transform="pandas")
    assert list(trained.transform(rows).index) == list(rows.index)
    trained.set_output(transform="default")


def test_an_array_comes_back_as_an_array_and_holds_the_same_as_a_frame(tried):
    bare = tried.partners(X[:3], 4), tried.orbit(X[:3], 4)
    frame = short(test_share=0).fit(FRAME[:200], Y[:200])
    for found, same in zip(
        bare, (frame.partners(FRAME[:3], 4), frame.orbit(FRAME[:3], 4)), strict=True
    ):
        assert found.shape == (3, 4, 2)
        assert found.dtype == np.float64
        np.testing.assert_array_equal(same.to_numpy(), found.reshape(12, 2))
        np.testing.assert_array_equal(same.loc[1].to_numpy(), found[1])


def test_rows_of_an_index_with_levels_are_named_by_tuples(trained):
    index = pd.MultiIndex.from_tuples([("a", 1), ("a", 2), ("b", 1)])
    moved = trained.partners(FRAME[:3].set_index(index), 2)
    assert list(moved.index.get_level_values("row").unique()) == list(index)


def test_what_comes_of_y_has_the_form_of_y(tried):
    assert tried.predict(X[:7]).shape == (7,)
    column = short(test_share=0).fit(X[:200], Y[:200, None])
    np.testing.assert_array_equal(column.predict(X[:7])[:, 0], tried.predict(X[:7]))
    both = short(test_share=0).fit(X[:200], np.column_stack([Y, X[:, 0]])[:200])
    assert both.predict(X[:7]).shape == (7, 2)


def test_names_are_those_of_the_fit(trained):
    with pytest.raises(ValueError, match="same order"):
        trained.partners(FRAME[["acceleration", "mass"]])
    with pytest.raises(ValueError, match="unseen at fit time"):
        trained.orbit(FRAME.assign(time=0.0))


# ---- Every model -------------------------------------------------------------------------------


@pytest.mark.parametrize("key", MODELS)
def test_every_model_can_be_chosen_and_the_best_of_its_copies_is_kept(key, monkeypatch):
    kept = {}

    def keeping(*arguments, **keywords):
        kept["copies"], kept["validation"] = fit(*arguments, **keywords), arguments[3]
        kept["seed"] = keywords["seed"]
        return kept["copies"]

    fit = module.fit
    monkeypatch.setattr(module, "fit", keeping)
    y = np.column_stack([Y, Y**2])[:200]
    learner = short(key, seeds=3, test_share=0).fit(X[:200], y)
    assert kept["seed"] == learner.seed_
    stack, rows = kept["copies"], torch.from_numpy(kept["validation"].x).float()
    given = {"y": y[:5]} if key in WITHOUT_Y else {}
    assert learner.partners(X[:5], 4, **given).shape == (5, 4, 2)
    assert learner.orbit(X[:5], 6, **given).shape == (5, 6, 2)
    codes = stack.encode(rows).invariant.detach()
    own = learner.model_.encode(rows).invariant
    apart = (codes - own).abs().amax((1, 2))
    copy = int(apart.argmin())
    assert apart[copy] < 1e-4 < apart.sort()[0][1]
    targets = torch.from_numpy(kept["validation"].y).float().expand(3, -1, -1)
    drawn = torch.Generator().manual_seed(learner.seed_)
    noise = torch.randn(3, len(rows), stack.noise_size, generator=drawn)
    with torch.no_grad():
        objective = stack.objective(stack.terms(rows.expand(3, -1, -1), targets, noise))
    assert copy == objective.argmin()
    if key in WITHOUT_Y:
        with pytest.raises(ValueError, match=f"{key} predicts no y"):
            learner.predict(X)
        with pytest.raises(ValueError, match=f"{key} decodes from y; give the y"):
            learner.partners(X[:5])
        with pytest.raises(ValueError, match=re.escape("y has shape (5, 1); expected (5, 2)")):
            learner.partners(X[:5], y=Y[:5])
    else:
        assert learner.predict(X[:5]).shape == (5, 2)


# ---- Among the tools of scikit-learn -----------------------------------------------------------


def test_it_stands_in_a_pipeline_and_can_be_searched():
    pipeline = make_pipeline(StandardScaler(), short(test_share=0))
    grid = {"symmetrylearner__params": [{**SHORT, "steps": np.int64(5)}, SHORT]}
    search = GridSearchCV(pipeline, grid, cv=2).fit(X[:200], Y[:200])
    assert np.isfinite(search.cv_results_["mean_test_score"]).all()
    best = search.best_estimator_
    assert best[-1].partners(best[:-1].transform(X[:3]), 2).shape == (3, 2, 2)
    assert best.transform(X[:3]).shape == (3, 2)


def partners_of(learner):
    return learner.fit(X[:200], Y[:200]).partners(X[:10], 3)


def test_the_same_seed_gives_the_same_bits_in_other_processes_and_another_seed_others():
    learners = [short(test_share=0).set_params(random_state=seed) for seed in (0, 1, 0)]
    here = [partners_of(clone(learner)) for learner in learners]
    np.testing.assert_array_equal(here[0], here[2])
    assert not np.array_equal(here[0], here[1])
    state = torch.get_rng_state(), np.random.get_state()[1].copy()  # noqa: NPY002
    threads = torch.get_num_threads()
    with joblib.parallel_config("loky", inner_max_num_threads=1):
        there = joblib.Parallel(n_jobs=2)(joblib.delayed(partners_of)(one) for one in learners)
    for one, other in zip(here, there, strict=True):
        np.testing.assert_array_equal(one, other)
    partners_of(learners[0])
    assert torch.equal(state[0], torch.get_rng_state())
    np.testing.assert_array_equal(state[1], np.random.get_state()[1])  # noqa: NPY002
    assert torch.get_num_threads() == threads


def test_a_call_gives_the_same_partners_again_and_so_does_a_pickled_learner(tried):
    first = tried.partners(X[:10], 3)
    np.testing.assert_array_equal(tried.partners(X[:10], 3), first)
    np.testing.assert_array_equal(pickle.loads(pickle.dumps(tried)).partners(X[:10], 3), first)
    drawn = short(test_share=0).set_params(random_state=RandomState(0))
    assert not np.array_equal(partners_of(drawn), partners_of(drawn))  # it goes on


# ---- Files -------------------------------------------------------------------------------------


def test_a_saved_learner_comes_back_the_same(tmp_path, trained):
    path = tmp_path / "learner.safetensors"
    trained.save(path)
    loaded = symmetry.SymmetryLearner.load(str(path))
    assert loaded.get_params() == trained.get_params()
    assert loaded.summary_ == trained.summary_
    assert list(loaded.feature_names_in_) == list(FRAME)
    assert loaded.n_features_in_ == 2
    for name in ("partners", "orbit", "transform", "predict"):
        found, expected = (getattr(one, name)(FRAME[:20]) for one in (loaded, trained))
        np.testing.assert_array_equal(found, expected)
    loaded.save(tmp_path / "again.safetensors")
    assert (tmp_path / "again.safetensors").read_bytes() == path.read_bytes()


def test_numbers_and_states_of_numpy_are_saved(tmp_path):
    learner = short(test_share=0).set_params(
        random_state=RandomState(0), seeds=np.int64(1), params={**SHORT, "steps": np.int64(7)}
    )
    learner.fit(X[:100], Y[:100]).save(tmp_path / "learner.safetensors")
    loaded = SymmetryLearner.load(tmp_path / "learner.safetensors")
    assert loaded.get_params() == {**learner.get_params(), "random_state": None}
    assert not hasattr(loaded, "feature_names_in_")


DAMAGE = {
    "no learner": lambda tensors, content: content.clear(),
    "no pool": lambda tensors, content: tensors.pop("pool"),
    "a pool of other columns": lambda tensors, content: tensors.update(
        pool=np.zeros((5, 3), np.float32)
    ),
    "no units": lambda tensors, content: content.pop("units"),
    "units of other columns": lambda tensors, content: content["units"].update(
        x={"names": ["a"], "mean": [0.0], "std": [1.0]}
    ),
    "an unknown parameter": lambda tensors, content: content["params"].update(depth=3),
    "a range of other columns": lambda tensors, content: content.update(range=[[0.0], [1.0]]),
    "a tensor missing": lambda tensors, content: tensors.popitem(),
}


@pytest.mark.parametrize("damage", DAMAGE)
def test_a_damaged_file_is_refused_by_its_name(tmp_path, tried, damage):
    path = tmp_path / "learner.safetensors"
    tried.save(path)
    tensors, metadata = read_tensors(path)
    content = json.loads(metadata.pop("learner"))
    DAMAGE[damage](tensors, content)
    if content:
        metadata["learner"] = json.dumps(content)
    write_tensors(path, tensors, metadata)
    with pytest.raises(ValueError, match=re.escape(str(path))):
        SymmetryLearner.load(path)


def test_a_foreign_file_is_refused_by_its_name(tmp_path, tried):
    save(tmp_path / "model.safetensors", tried.model_)
    with pytest.raises(ValueError, match=r"model\.safetensors holds no SymmetryLearner"):
        SymmetryLearner.load(tmp_path / "model.safetensors")
    (tmp_path / "text.safetensors").write_text("no tensors")
    with pytest.raises(ValueError, match=r"text\.safetensors is not a safetensors file"):
        SymmetryLearner.load(tmp_path / "text.safetensors")
    tried.save(tmp_path / "learner.safetensors")
    with pytest.raises(ValueError, match=r"learner\.safetensors does not describe a model"):
        symmetry.load(tmp_path / "learner.safetensors")


# ---- What it refuses ---------------------------------------------------------------------------


def fit(x=X, y=Y, **settings):
    return short(**settings).fit(x, y)


REFUSED = {
    "NaN": (lambda: fit(np.where(X > 2.9, np.nan, X)), "X contains NaN"),
    "an infinity in y": (lambda: fit(y=np.where(Y > 8, np.inf, Y)), "y contains infinity"),
    "a constant column": (
        lambda: fit(FRAME.assign(mass=3.0)),
        "column 'mass' is constant in the training rows",
    ),
    "a constant y": (
        lambda: fit(y=pd.Series(0 * Y, name="force")),
        "column 'force' is constant in the training rows",
    ),
    "other lengths": (lambda: fit(y=Y[:-1]), "[1500, 1499]"),
    "four rows": (lambda: fit(X[:4], Y[:4]), "4 sample"),
    "copies of two rows": (
        lambda: fit(X[:2].repeat(9, 0), Y[:2].repeat(9)),
        "0 of 18 rows are left to train on",
    ),
    "values that occur once each": (
        lambda: fit(FRAME[:300].assign(name=[f"no {row}" for row in range(300)]), Y[:300]),
        "column 'name' has values so rare that none of 300 rows is left to validate on",
    ),
    "an unknown model": (lambda: fit(model="gan"), "model is 'gan'; allowed: vae, "),
    "an unknown param": (
        lambda: SymmetryLearner(params={"depth": 3}).fit(X, Y),
        "models.stib_flow.depth: unknown key (value 3)",
    ),
    "a param out of range": (
        lambda: SymmetryLearner(params={"steps": 0}).fit(X, Y),
        "models.stib_flow.steps: found 0; allowed: greater than or equal to 1",
    ),
    "params that are no mapping": (
        lambda: SymmetryLearner(params=[3]).fit(X, Y),
        "params is [3]; allowed: a mapping",
    ),
    "no copies": (lambda: fit(seeds=0), "train.seeds: found 0"),
    "an unknown device": (lambda: fit(device="gpu"), "train.device: found 'gpu'"),
    "no validation": (lambda: fit(validation_share=0), "validation_share is 0 and"),
    "nothing to train on": (lambda: fit(test_share=0.9), "test_share 0.9"),
    "no share": (lambda: fit(test_share=float("nan")), "test_share nan"),
    "half a step": (lambda: fit(refine=0.5), "refine is 0.5"),
}


@pytest.mark.parametrize("fault", REFUSED)
def test_what_cannot_be_is_refused_by_its_name(fault):
    call, said = REFUSED[fault]
    with pytest.raises(ValueError, match=re.escape(said)):
        call()


@pytest.mark.parametrize("count", [0, -1, 2.5, True])
def test_a_count_is_a_whole_number_above_0(tried, count):
    with pytest.raises(ValueError, match=f"count is {count}; allowed"):
        tried.partners(X[:3], count)
    with pytest.raises(ValueError, match=f"points is {count}; allowed"):
        tried.orbit(X[:3], count)


def test_of_rows_with_many_copies_each_half_of_a_part_is_like_the_other():
    draw = np.random.default_rng(0)
    x = draw.integers(0, 3, (900, 2)).astype(float)  # nine rows, a hundred times each
    y = (x.sum(1) > 1).astype(int)
    learner = SymmetryLearner(params={"steps": 5, "predictor_steps": 5}, random_state=0)
    learner.seed_ = 0
    parts = learner._split(np.column_stack([x, y]))
    assert sorted(np.concatenate([*parts.values()])) == [*range(900)]
    for own in parts.values():
        halves = [{*map(tuple, x[half])} for half in np.array_split(own, 2)]
        assert halves[0] == halves[1]
    few = np.r_[np.ones(3), np.zeros(897)]  # a class so rare that half of the test lacks it
    learner.fit(np.column_stack([x[:, 0] + draw.normal(size=900), x]), few)
    assert learner.summary_["verdict"]
