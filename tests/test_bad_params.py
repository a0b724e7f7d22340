"""Wrong params.yaml files, as they are typed: the check says what is wrong and touches nothing."""

import os
import re
import subprocess
import sys
from pathlib import Path

import pytest
import yaml
from dvc.utils.serialize import parse_yaml
from hypothesis import example, given
from hypothesis import strategies as st

from stages import check, plain_errors, read_params
from symmetry.artifacts import read_yaml
from symmetry.models import MODELS

ROOT = Path(__file__).parents[1]
TEXT = (ROOT / "params.yaml").read_text()
HOSTILE = [
    "../x",
    "/tmp/x",
    "a;touch pwned",
    "$(touch pwned)",
    "`touch pwned`",
    "a b",
    "a|b",
    "-h",
]


def line(key, written):
    """Returns params.yaml with the first line of that key written otherwise."""
    text, count = re.subn(rf"(?m)^( *){key}:.*$", lambda found: found[1] + written, TEXT, count=1)
    assert count == 1
    return text


def value(key, written):
    return line(key, f"{key}: {written}")


def block(key, written):
    """Returns params.yaml with a top-level block written otherwise."""
    text, count = re.subn(rf"(?m)^{key}:.*\n(?:^[ ]+.*\n|^\n)*", lambda _: written + "\n", TEXT)
    assert count == 1
    return text


def model_block(name):
    return f"{TEXT}  {name!r}:\n    steps: 1\n"


# What the file holds, and what the message must name: the key, what was found, what is allowed.
FAULTS = {
    # types
    "a text for a count": (value("seeds", "three"), ["train.seeds", "'three'", "integer"]),
    "a quoted count": (value("seeds", "'3'"), ["train.seeds", "'3'", "integer"]),
    "a fraction for a count": (value("steps", "0.5"), ["models.vae.steps", "0.5", "integer"]),
    "a float for a count": (value("train_rows", "1e6"), ["data.train_rows", "1000000.0"]),
    "a list for a count": (value("batch_size", "[1, 2]"), ["train.batch_size", "[1, 2]"]),
    "a truth for a count": (value("seeds", "true"), ["train.seeds", "True", "integer"]),
    "a truth for a float": (
        value("kl_weight", "true"),
        ["models.vae.kl_weight", "True"],
    ),
    "nothing for a count": (value("neighbours", ""), ["evaluate.neighbours", "None", "integer"]),
    "a text for a float": (value("x_weight", "abc"), ["models.vae.x_weight", "'abc'", "number"]),
    "a date": (value("seed", "2020-01-01"), ["data.seed", "2020", "integer"]),
    "a time": (value("seeds", "1:30"), ["train.seeds", "'1:30'", "integer"]),
    "a time for a float": (value("kl_weight", "1:30.5"), ["models.vae.kl_weight", "'1:30.5'"]),
    "an octal": (value("seeds", "010"), ["train.seeds", "'010'", "integer"]),
    "a hexadecimal": (value("seeds", "0x10"), ["train.seeds", "'0x10'", "integer"]),
    "a binary": (value("seeds", "0b11"), ["train.seeds", "'0b11'", "integer"]),
    "underscores": (value("train_rows", "1_000_000"), ["data.train_rows", "'1_000_000'"]),
    "a comma": (
        value("learning_rate", "0,003"),
        ["models.vae.learning_rate", "'0,003'"],
    ),
    "a percentage": (value("kl_warmup", "40%"), ["models.vae.kl_warmup", "'40%'", "number"]),
    "a word for null": (value("threads", "none"), ["train.threads", "'none'", "integer"]),
    "a python expression": (value("steps", "4 * 4000"), ["models.vae.steps", "'4 * 4000'"]),
    # ranges
    "NaN": (value("learning_rate", ".nan"), ["models.vae.learning_rate", "nan", "finite"]),
    "NaN as text": (value("learning_rate", "nan"), ["models.vae.learning_rate", "nan", "finite"]),
    "infinity": (value("kl_weight", ".inf"), ["models.vae.kl_weight", "inf", "finite"]),
    "infinity as text": (value("kl_weight", "-inf"), ["models.vae.kl_weight", "inf", "finite"]),
    "beyond all floats": (value("kl_weight", "1e999"), ["models.vae.kl_weight", "inf", "finite"]),
    "no seeds": (value("seeds", "0"), ["train.seeds", "found 0", "greater than or equal to 1"]),
    "10⁹ seeds": (value("seeds", "1000000000"), ["train.seeds", "1000000000", "equal to 1000"]),
    "a seed below zero": (value("seed", "-1"), ["data.seed", "-1", "greater than or equal to 0"]),
    "a seed too large": (value("seed", "4294967296"), ["data.seed", "less than 4294967296"]),
    "a seed of 5,000 digits": (value("seed", "9" * 5000), ["params.yaml", "digits"]),
    "10¹² rows": (value("train_rows", "1000000000000"), ["data.train_rows", "100000000"]),
    "10¹² steps": (value("steps", "1000000000000"), ["models.vae.steps", "equal to 100000000"]),
    "10⁹ hidden units": (value("hidden_size", "1000000000"), ["vae.hidden_size", "10000"]),
    "10⁹ rows a batch": (value("batch_size", "1000000000"), ["train.batch_size", "1000000"]),
    "10⁶ threads": (value("threads", "1000000"), ["train.threads", "equal to 1024"]),
    "too few test rows": (value("test_rows", "10"), ["data.test_rows", "10", "equal to 100"]),
    "too many neighbours": (value("neighbours", "100"), ["evaluate.neighbours", "less than 100"]),
    "a share above one": (
        value("kl_warmup", "1.5"),
        ["models.vae.kl_warmup", "equal to 1"],
    ),
    "a negative rate": (
        value("learning_rate", "-1e-3"),
        ["learning_rate", "-0.001", "to 0"],
    ),
    "an unknown device": (value("device", "tpu"), ["train.device", "'tpu'", "'cuda'"]),
    # keys
    "a misspelt key": (
        line("seeds", "sedes: 3"),
        ["seeds: missing", "train.sedes: unknown"],
    ),
    "a key in capitals": (line("seeds", "Seeds: 3"), ["train.seeds: missing", "Seeds: unknown"]),
    "a missing key": (line("seeds", ""), ["train.seeds: missing"]),
    "a key of another model": (
        TEXT.replace("  cvib:\n", "  cvib:\n    critic_size: 2\n"),
        ["models.cvib.critic_size: unknown"],
    ),
    "a key that is a number": (f"{TEXT}1: 2\n", ["params.yaml", "1", "string"]),
    "a key twice": (line("seeds", "seeds: 3\n  seeds: 4"), ["the key seeds stands twice", "line"]),
    "a block twice": (f"{TEXT}train:\n  seeds: 3\n", ["the key train stands twice", "line"]),
    "a missing block": (block("data", ""), ["data: missing"]),
    "no model": (block("models", "models:"), ["models: found None", "vae, stib_wo_reg"]),
    "empty models": (block("models", "models: {}"), ["model: found 'stib'", "models is empty"]),
    "a list of models": (block("models", "models: [stib]"), ["models: found ['stib']"]),
    "one model": (block("models", "models:\n  stib: {}"), ["models.stib.steps: missing"]),
    "a block for a value": (block("model", "model: {stib: 1}"), ["model: found {'stib': 1}"]),
    "a value for a block": (block("data", "data: 3"), ["data: found 3", "train_rows"]),
    # names of models
    "an unknown model": (value("model", "gan"), ["model: found 'gan'", "'stib'"]),
    "a model in capitals": (value("model", "STIB"), ["model: found 'STIB'", "'stib'"]),
    "no name": (value("model", "''"), ["model: found ''", "'stib'"]),
    "no": (value("model", "no"), ["model: found 'no'", "'stib'"]),
    "an interpolation": (value("model", "${data.seed}"), ["model: found '${data.seed}'"]),
    **{
        f"the model {name}": (value("model", f"'{name}'"), [f"model: found {name!r}", "'stib'"])
        for name in HOSTILE
    },
    **{
        f"a block {name}": (model_block(name), [f"models.{name!r}: unknown key", "vae, stib_wo"])
        for name in HOSTILE
    },
    # YAML
    "nothing": ("", ["params.yaml: found None", "model, data, train"]),
    "a text": ("stib", ["params.yaml: found 'stib'", "model, data, train"]),
    "a list": ("- model: stib\n", ["params.yaml: found [{'model': 'stib'}]"]),
    "a tab": (line("seeds", "\tseeds: 3"), ["params.yaml", "'\\t'"]),
    "an open bracket": (value("seeds", "[3"), ["params.yaml", "line"]),
    "an open quote": (value("model", "'stib"), ["params.yaml", "line"]),
    "a missing space": (line("seeds", "seeds:3"), ["params.yaml", "line"]),
    "a wrong indent": (line("batch_size", "   batch_size: 2"), ["params.yaml", "line"]),
    "two documents": (f"{TEXT}---\nmodel: vae\n", ["params.yaml", "document"]),
    "a merge conflict": (f"<<<<<<< HEAD\n{TEXT}=======\n", ["params.yaml", "line"]),
    "an unknown anchor": (value("seeds", "*seeds"), ["params.yaml", "undefined alias"]),
    "a tag of python": (value("model", "!!python/name:os.system"), ["params.yaml", "constructor"]),
    "code": (value("model", "!!python/object/apply:os.mkdir [pwned]"), ["params.yaml", "python"]),
    "a bomb": (
        "a: &a [x, x, x, x, x, x, x, x, x, x]\n"
        + "".join(
            f"{new}: &{new} [{', '.join([f'*{old}'] * 10)}]\n"
            for old, new in zip("abcdefgh", "bcdefghi", strict=True)
        )
        + TEXT,
        ["a: unknown key", "i: unknown key"],
    ),
    "a circle": (f"{TEXT}circle: &circle [*circle]\n", ["circle: unknown key"]),
    "an abyss": ("[" * 5000, ["params.yaml"]),
    "zeros": ("model: \0\n", ["params.yaml", "special characters"]),
}


@pytest.fixture
def folder(tmp_path, monkeypatch):
    """A folder with what earlier runs made, in which the stage runs."""
    for name in ("models/stib/weights.safetensors", "metrics/stib.json", "data/train.npz"):
        (tmp_path / name).parent.mkdir(parents=True)
        (tmp_path / name).write_text("of an earlier run")
    monkeypatch.chdir(tmp_path)
    monkeypatch.setattr(sys, "argv", ["check"])
    return tmp_path


def snapshot(folder):
    """Returns all that is in a folder, with content and times."""
    return {
        str(path): (path.stat().st_mtime_ns, path.read_bytes() if path.is_file() else None)
        for path in folder.rglob("*")
    }


def message_of(run):
    with pytest.raises(SystemExit) as raised, plain_errors():
        run()
    assert isinstance(raised.value.code, str)  # which Python prints, to end with 1
    return raised.value.code


@pytest.mark.parametrize("fault", FAULTS)
def test_a_wrong_file_is_refused_in_words_and_nothing_is_touched(folder, refused, fault):
    text, named = FAULTS[fault]
    (folder / "params.yaml").write_text(text)
    before = snapshot(folder)
    message = message_of(check.main)
    assert not [part for part in named if part not in message], message
    assert message.startswith("error: params.yaml")
    assert len(message) < 8000
    assert snapshot(folder) == before
    refused["params files"] += 1


def test_a_file_that_is_not_text_or_not_there_is_refused(folder, refused):
    (folder / "params.yaml").write_bytes("model: stüb".encode("latin-1"))
    assert "params.yaml is not a yaml file" in message_of(check.main)
    (folder / "params.yaml").unlink()
    assert "No such file or directory: 'params.yaml'" in message_of(check.main)
    (folder / "params.yaml").mkdir()
    assert "Is a directory: 'params.yaml'" in message_of(check.main)
    refused["params files"] += 3


def test_the_right_file_is_accepted(folder):
    for text in (TEXT, value("learning_rate", "1e-05"), value("learning_rate", "'1e-05'")):
        (folder / "params.yaml").write_text(text)
        check.main()
        assert (folder / "data" / "params.checked").is_file()
    assert read_params().models.vae.learning_rate == 1e-5


@pytest.mark.parametrize("fault", ["a misspelt key", "a key twice", "a tab", "the model ../x"])
def test_from_the_shell_a_wrong_file_is_said_without_a_traceback(folder, fault):
    text, named = FAULTS[fault]
    (folder / "params.yaml").write_text(text)
    before = snapshot(folder)
    for stage in ("check", "generate"):
        process = subprocess.run(
            [sys.executable, "-m", f"stages.{stage}"],
            env={**os.environ, "PYTHONPATH": str(ROOT)},
            capture_output=True,
            text=True,
        )
        assert process.returncode == 1
        assert process.stderr.startswith("error: params.yaml")
        assert not [part for part in named if part not in process.stderr]
    assert snapshot(folder) == before


# ---- YAML as DVC reads it ----------------------------------------------------------------------

NUMBERS = st.from_regex(r"[-+]?[0-9_.:xob]{1,6}([eE][-+]?[0-9]{1,2})?", fullmatch=True)


@given(written=NUMBERS)
def test_no_number_is_another_to_dvc(tmp_path_factory, written):
    path = tmp_path_factory.getbasetemp() / "number.yaml"
    path.write_text(f"number: {written}\n")
    try:
        ours = read_yaml(path)["number"]
    except ValueError:
        return
    if isinstance(ours, int | float):  # to DVC .0E0 is a text, but of the same number
        assert float(parse_yaml(path.read_text(), path)["number"]) == ours


@given(written=st.text("aeflnorstuyAEFLNORSTUY0123", min_size=1, max_size=5))
@example("NO")
@example("on")
@example("y")
@example("O3")
@example("True")
@example("~")
def test_a_name_is_what_it_is_to_dvc(tmp_path_factory, written):
    path = tmp_path_factory.getbasetemp() / "name.yaml"
    path.write_text(f"names: [{written}]\n")
    assert read_yaml(path) == parse_yaml(path.read_text(), path)


@pytest.mark.parametrize("number", [0, -3, 10**9, 0.0, 1.5, 1e-5, -2.5e300, 3e-3, 1e22])
def test_numbers_are_read_as_they_are_written(tmp_path, number):
    for write in (yaml.safe_dump, repr):
        (tmp_path / "number.yaml").write_text(write(number).removesuffix("...\n"))
        assert read_yaml(tmp_path / "number.yaml") == number


# ---- No name of a params file reaches the shell ------------------------------------------------


@pytest.mark.parametrize("pipeline", ["dvc.yaml", "studies/dvc.yaml"])
def test_what_a_stage_runs_is_written_in_dvc_yaml_alone(pipeline):
    content = yaml.safe_load((ROOT / pipeline).read_text())
    own = {f"${{{name}}}": names for part in content["vars"] for name, names in part.items()}
    for stage in content["stages"].values():
        for name in own[stage["foreach"]] if "foreach" in stage else []:
            assert re.fullmatch("[a-z0-9_]+", name)
        command = stage.get("do", stage)["cmd"]
        assert re.fullmatch(r"python -m stages\.\w+( \$\{item\})?", command)
        if "foreach" not in stage:
            assert "$" not in command


def test_the_names_in_dvc_yaml_are_those_of_the_models_and_studies():
    (names,) = yaml.safe_load((ROOT / "dvc.yaml").read_text())["vars"]
    assert names == {"model_keys": list(MODELS)}
    frozen, trials = yaml.safe_load((ROOT / "studies" / "dvc.yaml").read_text())["vars"]
    studies = yaml.safe_load((ROOT / "studies" / "params.yaml").read_text())["studies"]
    assert [*frozen["study_keys"], *trials["trial_keys"]] == list(studies)
