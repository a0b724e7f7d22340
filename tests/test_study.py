"""Studies are cells: each seed trains on data that it draws itself, the same wherever it runs."""

import os
import subprocess
import sys
from argparse import ArgumentParser
from pathlib import Path

import pandas as pd
import pytest
import yaml

from stages.cells import add_arguments, engine_of, run
from stages.study import cells, changed
from symmetry.artifacts import read_yaml

ROOT = Path(__file__).parents[1]
TINY = {
    "data.train_rows": 300,
    "data.validation_rows": 60,
    "data.test_rows": 120,
    "train.seeds": 2,
    "train.batch_size": 16,
    "train.device": "cpu",
    "train.threads": 1,
    "evaluate.critic_steps": 5,
    "models.stib.steps": 6,
    "models.stib.hidden_size": 8,
    "models.stib.critic_size": 2,
}


@pytest.fixture
def engine():
    def choose(*words):
        parser = ArgumentParser()
        add_arguments(parser)
        return engine_of(parser.parse_args(words))

    return choose


def listed(**changes):
    return list(cells("tiny", changed(read_yaml(ROOT / "params.yaml"), {**TINY, **changes})))


def test_seeds_run_at_once_as_in_sequence_and_those_done_are_kept(tmp_path, engine):
    one, two = tmp_path / "one.csv", tmp_path / "two.csv"
    assert run(listed(), one, engine()) == {}
    assert run(listed(), two, engine("--jobs", "2")) == {}
    assert one.read_bytes() == two.read_bytes()
    table = pd.read_csv(one)
    assert table["seed"].tolist() == [0, 1]
    assert {"x_mae", "y_mae", "mi_z0_y"} <= set(table.columns)
    assert table["x_mae"].nunique() == 2

    def never(waiting):
        assert not waiting
        yield from ()

    assert run(listed(), one, never) == {}
    assert one.read_bytes() == two.read_bytes()


def test_what_other_models_are_given_has_no_part_in_a_study():
    digests = [cell.digest for cell in listed()]
    assert [cell.digest for cell in listed(**{"models.vae.steps": 3})] == digests
    assert not {*digests} & {cell.digest for cell in listed(**{"models.stib.steps": 7})}
    more = listed(**{"train.seeds": 3})
    assert [cell.digest for cell in more][:2] == digests  # a seed is itself however many there are


def test_the_command_runs_the_seeds_of_a_study_once(tmp_path):
    content = changed(read_yaml(ROOT / "params.yaml"), TINY).model_dump(mode="json")
    (tmp_path / "params.yaml").write_text(yaml.safe_dump(content))
    (tmp_path / "studies/results").mkdir(parents=True)
    (tmp_path / "studies/params.yaml").write_text("studies: {tiny: {models.stib.x_weight: 2.0}}")
    command = [sys.executable, "-m", "stages.study", "tiny", "--jobs", "2"]
    environment = os.environ | {"PYTHONPATH": str(ROOT)}
    path, texts = tmp_path / "studies/results/tiny.csv", []
    for _ in range(2):
        subprocess.run(command, cwd=tmp_path, env=environment, check=True)
        texts.append(path.read_bytes())
    digests = [cell.digest for cell in listed(**{"models.stib.x_weight": 2.0})]
    assert pd.read_csv(path)["digest"].tolist() == digests
    assert texts[0] == texts[1]
