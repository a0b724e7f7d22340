"""The wheel and the source distribution, built and used where there is no clone."""

import os
import re
import subprocess
import sys
import sysconfig
import tarfile
import tomllib
import zipfile
from pathlib import Path

import numpy as np
import pandas as pd
import pytest
import yaml
from clones import copy_working_tree

import symmetry

ROOT = Path(__file__).parents[1]
PROJECT = tomllib.loads((ROOT / "pyproject.toml").read_text())["project"]
FILE = f"{PROJECT['name'].replace('-', '_')}-{symmetry.__version__}"


def run(*command, folder, **more):
    """Runs a command in a folder, with no word of this repository in its environment."""
    environ = {name: value for name, value in os.environ.items() if name != "PYTHONPATH"}
    process = subprocess.run(
        [*map(str, command)], cwd=folder, env=environ | more, capture_output=True, text=True
    )
    assert process.returncode == 0, process.stdout + process.stderr
    return process.stdout


def build(source, kind, folder):
    code = f"from setuptools import build_meta; build_meta.build_{kind}({str(folder)!r})"
    run(sys.executable, "-c", code, folder=source)


@pytest.fixture(scope="module")
def built(tmp_path_factory):
    """A folder with the wheel and the source distribution of the working tree."""
    source, folder = tmp_path_factory.mktemp("source"), tmp_path_factory.mktemp("built")
    copy_working_tree(source)
    build(source, "sdist", folder)
    build(source, "wheel", folder)
    return folder


@pytest.fixture(scope="module")
def bare(built, tmp_path_factory):
    """An environment with the wheel alone, which borrows what it requires from the tests' own."""
    folder = tmp_path_factory.mktemp("bare")
    run(sys.executable, "-m", "venv", "--without-pip", folder, folder=folder)
    paths = {"base": str(folder), "platbase": str(folder)}
    site = Path(sysconfig.get_path("purelib", "venv", paths))
    own = {sysconfig.get_path("purelib"), sysconfig.get_path("platlib")}
    (site / "borrowed.pth").write_text("".join(f"{path}\n" for path in own))
    install = "install", "--quiet", "--no-deps", "--no-index", "--disable-pip-version-check"
    pip = sys.executable, "-m", "pip", "--python", folder / "bin" / "python"
    run(*pip, *install, built / f"{FILE}-py3-none-any.whl", folder=folder)
    return folder / "bin"


def wheel_names(wheel):
    with zipfile.ZipFile(wheel) as file:
        return set(file.namelist())


def test_the_wheel_holds_the_library_its_types_and_the_licence_and_nothing_else(built):
    names = wheel_names(built / f"{FILE}-py3-none-any.whl")
    command = ["git", "ls-files", "--cached", "--others", "--exclude-standard", "symmetry"]
    ours = subprocess.run(command, cwd=ROOT, check=True, capture_output=True, text=True).stdout
    about = {name for name in names if name.startswith(f"{FILE}.dist-info/")}
    assert names - about == set(ours.split())
    assert f"{FILE}.dist-info/licenses/LICENSE" in about


def test_the_source_distribution_builds_the_same_wheel(built, tmp_path):
    with tarfile.open(built / f"{FILE}.tar.gz") as file:
        file.extractall(tmp_path, filter="data")
    build(tmp_path / FILE, "wheel", tmp_path)
    name = f"{FILE}-py3-none-any.whl"
    assert wheel_names(tmp_path / name) == wheel_names(built / name)


def test_three_commands_lead_from_a_wheel_to_partners_and_a_report(bare, tmp_path):
    mass, acceleration = np.random.default_rng(0).uniform(1, 3, (2, 600))
    table = {"mass": mass, "acceleration": acceleration, "force": mass * acceleration}
    pd.DataFrame(table).to_csv(tmp_path / "table.csv", index=False)
    where = run(
        bare / "python", "-c", "import symmetry; print(symmetry.__file__)", folder=tmp_path
    )
    assert where.startswith(str(bare.parent))
    few = "-S", "steps=4", "-S", "predictor_steps=4", "-S", "hidden_size=4"
    fit = "fit", "table.csv", "--y", "force", "-o", "learner.safetensors"
    said = run(bare / "symmetry", *fit, *few, folder=tmp_path, OMP_NUM_THREADS="1")
    assert said.startswith("learner.safetensors: Symmetry ")
    partners = "partners", "learner.safetensors", "table.csv", "-n", "3", "-o", "partners.csv"
    run(bare / "python", "-m", "symmetry", *partners, folder=tmp_path)
    assert len(pd.read_csv(tmp_path / "partners.csv")) == 1800
    report = "report", "learner.safetensors", "table.csv", "-o", "report.html"
    run(bare / "symmetry", *report, folder=tmp_path)
    assert (tmp_path / "report.html").stat().st_size > 1_000_000  # with what draws it


def test_the_library_and_its_commands_load_without_dvc(bare, tmp_path):
    code = (
        "import sys; sys.modules['dvc'] = None\n"
        "import symmetry.__main__, symmetry.figures, symmetry.learner, symmetry.evaluation\n"
    )
    run(bare / "python", "-c", code, folder=tmp_path)
    assert not [need for need in PROJECT["dependencies"] if need.startswith("dvc")]


def test_the_papers_that_go_with_it_name_this_version_and_licence():
    citation = yaml.safe_load((ROOT / "CITATION.cff").read_text())
    assert citation["version"] == symmetry.__version__
    assert citation["license"] == PROJECT["license"] == "MIT"
    assert citation["title"].startswith(PROJECT["name"])
    assert (ROOT / "LICENSE").read_text().startswith("MIT License")
    released = re.findall(r"^## (\S+)", (ROOT / "CHANGELOG.md").read_text(), re.MULTILINE)
    assert released[0] == symmetry.__version__
