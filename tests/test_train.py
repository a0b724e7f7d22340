"""The training stage: a killed run goes on from its checkpoint, if nothing else has changed."""

import pytest
import torch
import yaml
from clones import MODELS, ROOT, TINY, merge
from numpy.random import default_rng

from stages import train as stage
from symmetry.artifacts import read_tensors, write_dataset, write_tensors
from symmetry.params import parse
from symmetry.tasks.spiral import spiral
from symmetry.training import Progress

every_model = pytest.mark.parametrize("key", MODELS)


def read_params(changes=None):
    content = yaml.safe_load((ROOT / "params.yaml").read_text())
    merge(content, TINY)
    merge(content, {"models": {key: {"steps": 12} for key in MODELS}})
    merge(content, changes or {})
    return parse(content)


@pytest.fixture(autouse=True)
def folder(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    for part, rows in (("train", 64), ("validation", 16)):
        write_dataset(f"data/{part}.npz", spiral(rows, default_rng(rows)))
    return tmp_path


@pytest.fixture(autouse=True)
def always_worth_it(monkeypatch):
    """Writes a checkpoint at each validation, however quick the training is."""
    monkeypatch.setattr(stage, "WORTH", 0)


def run(key, params=None):
    """Trains to the end and returns the weights, the history and what was printed first."""
    with stage.trained(key, params or read_params(), f"models/{key}") as (model, history):
        return {name: value.clone() for name, value in model.state_dict().items()}, list(history)


def break_off(key, monkeypatch, after=3):
    """Trains until so many checkpoints are written, and dies."""
    written = []

    def save_and_die(*arguments):
        save_state(*arguments)
        written.append(arguments)
        if len(written) == after:
            raise KeyboardInterrupt

    save_state = stage.save_state
    with monkeypatch.context() as patch:
        patch.setattr(stage, "save_state", save_and_die)
        with pytest.raises(KeyboardInterrupt):
            run(key)


def assert_same(one, other):
    assert one[1] == other[1]
    for name, value in one[0].items():
        assert torch.equal(value, other[0][name]), name


@every_model
def test_a_broken_off_training_goes_on_with_the_same_bits_and_history(key, monkeypatch, capfd):
    unbroken = run(key)
    break_off(key, monkeypatch)
    capfd.readouterr()
    assert_same(run(key), unbroken)
    assert f"{key}: goes on after step 6" in capfd.readouterr().out


def test_it_can_break_off_again_and_again(monkeypatch, capfd):
    unbroken = run("stib")
    for _ in range(3):
        break_off("stib", monkeypatch, after=1)
    capfd.readouterr()
    assert_same(run("stib"), unbroken)
    assert "goes on after step 6" in capfd.readouterr().out


def test_a_training_that_ended_but_was_not_written_is_there_at_once(folder, monkeypatch):
    unbroken = run("cvae")
    with (
        pytest.raises(ZeroDivisionError),
        stage.trained("cvae", read_params(), "models/cvae") as (_, _),
    ):
        raise ZeroDivisionError
    assert list(folder.glob("models/cvae/.checkpoint*"))
    assert_same(run("cvae"), unbroken)


def test_a_finished_training_leaves_nothing_behind(folder, monkeypatch):
    break_off("stib", monkeypatch)
    assert [path.name for path in folder.glob("models/stib/*")] == [".checkpoint.safetensors"]
    run("stib")
    assert not list(folder.glob("models/stib/*"))


CHANGES = {
    "its own params": {"models": {"stib": {"learning_rate": 1e-4}}},
    "the shared params": {"train": {"batch_size": 16}},
    "the number of seeds": {"train": {"seeds": 3}},
    "the number of steps": {"models": {"stib": {"steps": 14}}},
}


@pytest.mark.parametrize("changes", CHANGES.values(), ids=CHANGES)
def test_a_checkpoint_of_other_params_is_not_used(changes, monkeypatch, capfd):
    params = read_params(changes)
    fresh = run("stib", params)
    break_off("stib", monkeypatch)
    assert_same(run("stib", params), fresh)
    assert "starts anew" in capfd.readouterr().out


def test_a_checkpoint_of_other_data_is_not_used(monkeypatch, capfd):
    break_off("stib", monkeypatch)
    write_dataset("data/train.npz", spiral(64, default_rng(5)))
    after = run("stib")
    assert "starts anew" in capfd.readouterr().out
    assert_same(run("stib"), after)


def test_a_checkpoint_of_other_code_is_not_used(folder, monkeypatch, capfd):
    code = folder / "code"
    code.mkdir()
    (code / "a.py").write_text("one = 1\n")
    monkeypatch.setattr(stage, "CODE", (code,))
    break_off("stib", monkeypatch)
    (code / "a.py").write_text("one = 2\n")
    run("stib")
    assert "starts anew" in capfd.readouterr().out


def test_params_of_other_models_do_not_matter(monkeypatch, capfd):
    break_off("stib", monkeypatch)
    run("stib", read_params({"models": {"vae": {"learning_rate": 1e-4}}}))
    assert "goes on after step 6" in capfd.readouterr().out


def truncated(path):
    path.write_bytes(path.read_bytes()[:1000])


def empty(path):
    path.write_bytes(b"")


def foreign(path):
    path.write_bytes(b"PK" * 1000)


def without_a_history(path):
    tensors, metadata = read_tensors(path)
    del metadata["history"]
    write_tensors(path, tensors, metadata)


@pytest.mark.parametrize("damage", [truncated, empty, foreign, without_a_history])
def test_a_damaged_checkpoint_is_not_used(damage, folder, monkeypatch, capfd):
    fresh = run("stib")
    break_off("stib", monkeypatch)
    damage(folder / "models/stib/.checkpoint.safetensors")
    assert_same(run("stib"), fresh)
    assert "starts anew" in capfd.readouterr().out


def test_a_model_that_diverges_leaves_no_checkpoint_to_go_on_from(folder, monkeypatch):
    params = read_params({"models": {"stib": {"learning_rate": 1e30, "steps": 12}}})
    with pytest.raises(FloatingPointError, match=r"stib: the .* term .* seed 0.* after 2 steps"):
        run("stib", params)
    assert not list(folder.glob("models/stib/*"))


def test_writing_checkpoints_takes_a_fiftieth_of_the_time(monkeypatch):
    # A clock of our own: a validation comes every second, and to write takes two seconds.
    now, written = [0.0], []

    def save_state(*arguments):
        now[0] += 2
        written.append(now[0])

    def fit(*_, report, **__):
        for step in range(10_000):
            now[0] += 1
            report(Progress(step, 0, {}, {}, torch.ones(1), None, dict))

    monkeypatch.setattr(stage, "WORTH", 50)
    monkeypatch.setattr(stage, "monotonic", lambda: now[0])
    monkeypatch.setattr(stage, "save_state", save_state)
    monkeypatch.setattr(stage, "fit", fit)
    with stage.trained("stib", read_params(), "models/stib"):
        assert 0.018 < 2 * len(written) / now[0] < 0.0205
