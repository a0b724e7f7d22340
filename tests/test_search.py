"""The search of settings: it mends bad ones, leaves good ones, and goes on where it was killed."""

import os
import re
import signal
import subprocess
import sys
from pathlib import Path

import optuna
import pytest
import yaml

from stages import search
from stages.search import Worth, is_better, write
from symmetry.params import parse

ROOT = Path(__file__).parents[1]
# The learning rate is a thirtieth of what it should be.
PARAMS = """\
# Mine.
model: stib_flow  # the only one

data:
  task: formula
  x: {a: [-1, 1], b: [-1, 1]}
  y: a*b + a
  noise: 0.05
  train_rows: 2000
  validation_rows: 400
  test_rows: 100
  seed: 0
train: {seeds: 1, batch_size: 64, validate_every: 50, device: cpu, threads: 1}
evaluate: {neighbours: 20, critic_steps: 10, refine: 10, seed: 0}
models:
  stib_flow:
    predictor_steps: 150  # few
    steps: 150
    batch_size: null
    learning_rate: 3.0e-4
    learning_rate_end: 0.0
    averaging: 0.9
    noise: 0.03
    hidden_size: 16
    target_size: null
"""


@pytest.fixture
def folder(tmp_path):
    (tmp_path / "params.yaml").write_text(PARAMS)
    return tmp_path


def begin(folder, *words):
    return subprocess.Popen(
        [sys.executable, "-W", "ignore", "-m", "stages.search", folder, *words],
        env={**os.environ, "PYTHONPATH": str(ROOT), "OMP_NUM_THREADS": "1"},
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        text=True,
    )


def trials(folder):
    """The trials of the one study that the file holds."""
    if not (folder / "search.db").exists():
        return []
    found = optuna.get_all_study_names(f"sqlite:///{folder}/search.db")
    if not found:
        return []
    (name,) = found
    study = optuna.load_study(study_name=name, storage=f"sqlite:///{folder}/search.db")
    return [trial for trial in study.trials if trial.state.is_finished()]


def test_bad_settings_get_better_by_half_though_the_search_was_killed(folder):
    process = begin(folder, "--trials", "10")
    assert any("trial 2 of 10" in line for line in process.stdout)
    process.send_signal(signal.SIGKILL)
    process.communicate()
    before = [(trial.number, trial.values) for trial in trials(folder)]
    assert 2 <= len(before) < 10
    said, error = begin(folder, "--trials", "10").communicate()
    assert error == ""
    after = trials(folder)
    assert [(trial.number, trial.values) for trial in after][: len(before)] == before
    assert len(after) == 10
    assert "trial 10 of 10" in said
    given = sum(after[0].values)
    best = min(sum(trial.values) for trial in after)
    assert best < given / 2
    written = (folder / "params.yaml").read_text()
    figure = r"referee error [\d.]+, coverage above its floor [\d.]+"
    assert re.search(
        rf"stib_flow:\n    # From a search of 10 trials: {figure}; before: {figure}\.", written
    )
    assert written.startswith("# Mine.\nmodel: stib_flow  # the only one\n")
    block = parse(yaml.safe_load(written)).models.block("stib_flow")
    chosen = min(after, key=lambda trial: sum(trial.values))
    assert block.steps == chosen.params["steps"]
    assert block.learning_rate == pytest.approx(chosen.params["learning_rate"], rel=0.01)


def test_what_nothing_beats_stays(folder, monkeypatch, capsys):
    settings = []

    def same(params, training, validation):
        settings.append(params.models.block("stib_flow").learning_rate)
        assert len(validation) == 400
        return Worth(0.2, 0.01, 0.005, 0.005)

    monkeypatch.setattr(search, "worth", same)
    monkeypatch.setattr(sys, "argv", ["search", str(folder), "--trials", "3"])
    monkeypatch.chdir(folder)
    search.main()
    assert "Nothing is better than params.yaml" in capsys.readouterr().out
    assert (folder / "params.yaml").read_text() == PARAMS
    assert settings[0] == 3e-4  # those of params.yaml are tried first
    assert len(set(settings)) == 3
    monkeypatch.setattr(sys, "argv", ["search", str(folder), "--trials", "4"])
    search.main()
    assert len(settings) == 4


def test_workers_share_the_trials(folder):
    said, error = begin(folder, "--trials", "4", "--jobs", "2").communicate()
    assert error == ""
    assert len(trials(folder)) in (4, 5)  # each ends the trial that it has begun
    assert "params.yaml, trial 1: referee error" in said
    given = [trial.params["learning_rate"] for trial in trials(folder)]
    assert given.count(3e-4) == 1
    assert len(set(given)) == len(given)


@pytest.mark.parametrize(
    ("found", "better"),
    [
        (Worth(0.4, 0.1, 0.0, 0.0), True),
        (Worth(0.8, 0.2, 0.0, 0.0), False),
        (Worth(0.7, 0.2, 0.1, 0.0), False),  # as it may be by chance of the referee
        (Worth(0.8, 0.1, 0.0, 0.1), False),  # or of coverage
        (Worth(0.81, 0.1, 0.0, 0.0), False),  # partners change y more
        (Worth(0.81, 0.1, 0.01, 0.0), True),  # or may do so by chance
    ],
)
def test_better_means_by_more_than_chance_and_no_worse_by_the_referee(found, better):
    assert is_better(found, Worth(0.8, 0.2, 0.0, 0.0)) == better


def test_settings_are_written_beside_what_else_stands_there(folder):
    path = folder / "params.yaml"
    write(str(path), "stib_flow", {"steps": 400, "learning_rate": 0.0012}, "Better.")
    assert path.read_text() == PARAMS.replace("steps: 150\n", "steps: 400\n").replace(
        "3.0e-4", "0.0012"
    ).replace("  stib_flow:\n", "  stib_flow:\n    # Better.\n")


def test_the_comment_of_an_earlier_search_is_replaced(folder):
    path = folder / "params.yaml"
    write(str(path), "stib_flow", {"steps": 400}, "From a search of 3 trials: a.")
    write(str(path), "stib_flow", {"steps": 500}, "From a search of 9 trials: b.")
    assert path.read_text() == PARAMS.replace("steps: 150\n", "steps: 500\n").replace(
        "  stib_flow:\n", "  stib_flow:\n    # From a search of 9 trials: b.\n"
    )


def test_a_trial_that_is_broken_off_is_none(folder, monkeypatch, capsys):
    begun = []

    def broken_off_twice(params, training, validation):
        begun.append(params)
        if len(begun) <= 2:
            raise KeyboardInterrupt
        return Worth(0.2, 0.01, 0.005, 0.005)

    monkeypatch.setattr(search, "worth", broken_off_twice)
    monkeypatch.setattr(sys, "argv", ["search", str(folder), "--trials", "2"])
    monkeypatch.chdir(folder)
    for _ in range(2):
        with pytest.raises(KeyboardInterrupt):
            search.main()
    search.main()
    assert len(begun) == 4
    assert "trial 2 of 2" in capsys.readouterr().out


def test_a_file_that_is_no_database_and_a_folder_without_params_are_named(folder, tmp_path):
    (folder / "search.db").write_text("garbage" * 9)
    error = begin(folder, "--trials", "2").communicate()[1]
    said = r"error: .*/search.db cannot be read: .*; move it away to begin anew\n"
    assert re.fullmatch(said, error)
    (tmp_path / "empty").mkdir()
    error = begin(tmp_path / "empty").communicate()[1]
    assert re.fullmatch(r"error: .*/empty holds no params.yaml; name a folder that does\n", error)


@pytest.mark.parametrize("words", [["--trials", "1"], ["--jobs", "0"]])
def test_wrong_numbers_are_refused_before_anything_is_written(folder, words):
    process = begin(folder, *words)
    error = process.communicate()[1]
    assert process.returncode == 1
    assert re.fullmatch(rf"error: {words[0]} is {words[1]}; allowed: [12] or more\n", error)
    assert [path.name for path in folder.iterdir()] == ["params.yaml"]


def test_a_search_has_no_engine_to_choose(folder):
    process = begin(folder, "--engine", "joblib")
    assert "unrecognized arguments: --engine" in process.communicate()[1]
    assert process.returncode == 2
