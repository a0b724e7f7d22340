"""What comes from elsewhere: pinned, asked nothing at run time, and never unpickled."""

import ast
import configparser
import subprocess
import sys
import tomllib
from pathlib import Path

import pytest
import requirements

ROOT = Path(__file__).parents[1]
PINS = (ROOT / "requirements.txt").read_text()
PYPROJECT = tomllib.loads((ROOT / "pyproject.toml").read_text())


# ---- Pins --------------------------------------------------------------------------------------


def test_the_pins_are_those_that_the_project_needs():
    assert requirements.faults(PYPROJECT, PINS) == []


def without(name):
    return "".join(line for line in PINS.splitlines(True) if not line.startswith(f"{name}=="))


@pytest.mark.parametrize(
    ("text", "fault"),
    [
        (without("numpy"), "numpy: not pinned; pyproject.toml needs numpy>=2.0"),
        (without("sortedcontainers"), "sortedcontainers: not pinned; hypothesis needs"),
        (without("setuptools"), "setuptools: not pinned; torch needs"),
        (f"{PINS}left-pad==1.0\n", "left-pad==1.0: nothing needs it"),
        (f"{PINS}numpy==2.0\n", "numpy==2.0: numpy is pinned twice"),
        (f"{without('numpy')}numpy==1.26.4\n", "numpy==1.26.4: pyproject.toml needs numpy>=2.0"),
        (f"{without('numpy')}numpy>=2.0\n", "numpy>=2.0: is no pin"),
        (f"{without('numpy')}numpy==2.*\n", "numpy==2.*: is no pin"),
        (f"{without('numpy')}numpy\n", "numpy: is no pin"),
        (f"{without('tqdm')}tqdm==4.66.1\n", "tqdm==4.66.1: 4.70.1 is installed"),
        (f"{PINS}-r others.txt\n", "-r others.txt: "),
        (f"{PINS}https://example.org/a.whl\n", "https://example.org/a.whl: "),
    ],
)
def test_a_pin_that_is_missing_wrong_or_idle_is_named(text, fault):
    assert any(found.startswith(fault) for found in requirements.faults(PYPROJECT, text))


def test_a_new_requirement_of_the_project_must_be_pinned():
    project = {**PYPROJECT["project"], "dependencies": ["left-pad>=1"]}
    found = requirements.faults({"project": project}, PINS)
    assert "left-pad: not pinned; pyproject.toml needs left-pad>=1" in found


def test_the_check_ends_with_zero_when_all_is_well():
    command = [sys.executable, ROOT / "tests" / "requirements.py"]
    process = subprocess.run(command, capture_output=True, text=True)
    assert (process.returncode, process.stdout, process.stderr) == (0, "", "")


# ---- Code --------------------------------------------------------------------------------------

CODE = sorted(
    path for part in ("symmetry", "stages", "studies") for path in ROOT.glob(f"{part}/**/*.py")
)
UNPICKLERS = {"pickle", "cloudpickle", "dill", "marshal", "shelve"}
NETWORK = {"socket", "ssl", "http", "urllib", "requests", "aiohttp", "ftplib", "smtplib"}
RUNNERS = {"subprocess", "ctypes", "runpy", "code"}
FORBIDDEN_CALLS = {
    *("eval", "exec", "compile", "__import__", "os.system", "os.popen", "torch.load", "np.load"),
    *("numpy.load", "np.loadtxt", "pd.read_pickle", "pandas.read_pickle", "torch.hub.load"),
    *("joblib", "joblib.load", "joblib.Memory"),  # its processes alone are used, no file of it
    *("yaml.unsafe_load", "yaml.full_load", "yaml.load_all", "yaml.unsafe_load_all"),
}


def faults(source):
    """Yields what in a module could run what a file holds, or reach another machine."""
    for node in ast.walk(ast.parse(source)):
        names = []
        if isinstance(node, ast.Import):
            names = [alias.name for alias in node.names]
        elif isinstance(node, ast.ImportFrom):
            names = [f"{node.module}.{alias.name}" for alias in node.names]
        for name in names:
            if name.split(".")[0] in UNPICKLERS | NETWORK | RUNNERS or name in FORBIDDEN_CALLS:
                yield f"imports {name}"
        if isinstance(node, ast.Call):
            name, options = ast.unparse(node.func), [ast.unparse(word) for word in node.keywords]
            # The one loader is the safe one, with less in it.
            if name in FORBIDDEN_CALLS or (
                name == "yaml.load" and [ast.unparse(x) for x in node.args[1:]] != ["_YamlLoader"]
            ):
                yield f"calls {name}"
            if "pickle" in " ".join(options) and "allow_pickle=False" not in options:
                yield f"calls {ast.unparse(node)}"
            if name.endswith("read_array") and "allow_pickle=False" not in options:
                yield f"calls {ast.unparse(node)}"


@pytest.mark.parametrize("path", CODE, ids=lambda path: f"{path.parent.name}/{path.stem}")
def test_no_module_unpickles_runs_text_or_reaches_the_network(path):
    assert list(faults(path.read_text())) == []


@pytest.mark.parametrize(
    "source",
    [
        "import pickle",
        "from pickle import loads",
        "import joblib",
        "from joblib import load",
        "from torch import load",
        "import urllib.request",
        "torch.load(path)",
        "torch.load(path, weights_only=True)",
        "np.load(path)",
        "np.load(path, allow_pickle=True)",
        "np.lib.format.read_array(stream)",
        "np.lib.format.read_array(stream, allow_pickle=True)",
        "np.savez(stream, allow_pickle=True)",
        "yaml.load(stream)",
        "yaml.load(stream, yaml.Loader)",
        "yaml.load(stream, Loader=yaml.UnsafeLoader)",
        "yaml.unsafe_load(stream)",
        "eval(text)",
        "os.system(command)",
    ],
)
def test_the_walk_finds_what_it_is_for(source):
    assert list(faults(source))


# ---- DVC ---------------------------------------------------------------------------------------


def test_dvc_reports_to_nobody_and_looks_for_no_newer_self():
    config = configparser.ConfigParser()
    config.read_string("\n".join(map(str.strip, (ROOT / ".dvc/config").read_text().splitlines())))
    assert config["core"]["analytics"] == "false"
    assert config["core"]["check_update"] == "false"
    remotes = [section for section in config.sections() if section.startswith("'remote")]
    assert remotes
    for remote in remotes:
        assert config[remote]["url"].startswith("../")  # a folder of the repository itself
