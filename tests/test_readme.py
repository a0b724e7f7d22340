"""README.md and the pages of docs/ tell the truth: their tables, links, code and commands."""

import doctest
import os
import re
import shlex
import subprocess
import sys
from functools import cache
from pathlib import Path

import pandas as pd
import pytest
import yaml
from dvc.cli import DvcParserError, parse_args

from docs.fill import TABLES, filled, pages
from symmetry.__main__ import _parser as symmetry_parser
from symmetry.params import parse

ROOT = Path(__file__).parents[1]
README = (ROOT / "README.md").read_text()
PAGES = {str(path.relative_to(ROOT)): path.read_text() for path in pages()}
MORE = ("CONTRIBUTING.md", "CHANGELOG.md", "data/README.md")
TEXTS = PAGES | {name: (ROOT / name).read_text() for name in MORE}


def blocks(text, language):
    return re.findall(rf"^```{language}\n(.*?)^```$", text, re.MULTILINE | re.DOTALL)


# ---- Text --------------------------------------------------------------------------------------


def test_the_readme_is_short():
    assert len(README) <= 9000


def test_the_methods_that_err_least_are_those_of_the_laws():
    laws = pd.read_csv(ROOT / "metrics" / "laws.csv")
    own = laws[(laws["method"] != "nearest") & ~laws["law"].isin(["all_of_x", "pure_noise"])]
    best, cases = {}, {}
    for noise, some in own.groupby("noise"):
        errors = some.pivot_table(values="error", index=["law", "rows", "seed"], columns="method")
        errors = errors[errors.notna().sum(axis=1) > 1]  # where there is another
        cases[noise] = len(errors)
        best[noise] = errors.idxmin(axis=1).value_counts().to_dict()
    little, much = best[0.05], best[0.5]
    assert cases[0.05] >= 32
    assert f"errs least in {little.pop('stib_flow')} of {cases[0.05]} cases" in README
    assert f"a walk on a level set in {little.pop('walk')}. At 50 % noise" in README
    assert not little
    others = f"the walk {much.pop('walk')}, STIB {much.pop('stib')}:"
    assert f"it is {much.pop('stib_flow')} of {cases[0.5]}, {others}" in README
    assert not much


def test_the_tables_are_those_of_the_committed_metrics():
    assert [name for name, text in PAGES.items() if filled(text) != text] == []
    used = [name for text in PAGES.values() for name in re.findall(r"<!-- fill (\w+) -->", text)]
    assert sorted(used) == sorted(TABLES)


def test_a_changed_number_is_found_and_an_unknown_table_is_refused():
    number = re.search(r"\d\.\d{3} ± ", README)[0]
    changed = README.replace(number, "9.999 ± ", 1)
    assert filled(changed) == README
    with pytest.raises(ValueError, match="there is no table 'papers'; allowed: paper, "):
        filled("<!-- fill papers -->\n<!-- end -->")


def anchors(text):
    """The anchors of a page's headings, as GitHub and MkDocs make them."""
    headings = re.findall(r"^#+ (.*)$", re.sub(r"```.*?```", "", text, flags=re.DOTALL), re.M)
    return {re.sub(r"[^\w\- ]", "", heading.lower()).replace(" ", "-") for heading in headings}


@pytest.mark.parametrize("name", TEXTS)
def test_every_link_leads_to_a_file_of_the_repository_and_a_heading(name):
    tracked = set(
        subprocess.run(
            ["git", "ls-files", "--cached", "--others", "--exclude-standard"],
            cwd=ROOT,
            check=True,
            capture_output=True,
            text=True,
        ).stdout.split("\n")
    )
    for link in re.findall(r"\]\((?!https?:)([^)]+)\)", TEXTS[name]):
        path, _, anchor = link.partition("#")
        target = os.path.normpath(Path(name).parent / path) if path else name
        assert target in tracked, link
        assert not anchor or anchor in anchors((ROOT / target).read_text()), link


def test_the_picture_of_the_folders_names_every_module():
    (tree,) = (
        block
        for block in re.findall(r"^```\n(.*?)^```$", PAGES["docs/pipeline.md"], re.M | re.DOTALL)
        if "params.yaml    all" in block
    )
    modules = {path.stem for path in (ROOT / "symmetry").glob("[a-z]*.py")} - {"fitting"}
    assert [name for name in modules if not re.search(rf"\b{name}\b", tree)] == []


def test_every_page_is_reached_from_the_readme():
    linked = set(re.findall(r"\]\((docs/\w+\.\w+)\)", README))
    there = {f"docs/{path.name}" for path in (ROOT / "docs").glob("*.md")} - {"docs/api.md"}
    assert linked == there | {"docs/first_steps.ipynb"}


# ---- Python ------------------------------------------------------------------------------------


def test_the_example_runs_with_the_pretrained_model(tmp_path, monkeypatch):
    text = PAGES["docs/pipeline.md"]
    subprocess.run(["git", "clone", "--quiet", ROOT, tmp_path / "clone"], check=True)
    monkeypatch.chdir(tmp_path / "clone")
    (weights,) = re.findall(r'symmetry\.load\("(models/\w+/weights\.safetensors)"\)', text)
    subprocess.run([sys.executable, "-m", "dvc", "pull", "--quiet", weights], check=True)
    example = doctest.DocTestParser().get_doctest(text, {}, "pipeline.md", "pipeline.md", 0)
    assert len(example.examples) >= 8
    assert doctest.DocTestRunner().run(example).failed == 0


@pytest.fixture
def own_table(tmp_path, monkeypatch):
    """A folder where the pages' own lines have made the csv."""
    monkeypatch.chdir(tmp_path)
    (tmp_path / "examples" / "own").mkdir(parents=True)
    (code,) = re.findall(r"python - <<'END'\n(.*?)END\n", PAGES["docs/own_data.md"], re.DOTALL)
    assert len(code.splitlines()) <= 10
    exec(code, {})
    return tmp_path


def test_the_lines_of_python_run_as_they_stand_but_for_few_steps(own_table):
    few = "SymmetryLearner(params={'steps': 4, 'predictor_steps': 100, 'hidden_size': 8}, "
    for text in PAGES.values():
        codes = [code for code in blocks(text, "python") if ">>>" not in code]
        names = {}
        for code in codes:  # of a page, one after the other
            exec(code.replace("SymmetryLearner(", few), names)
        assert not codes or names["learner"].summary_["verdict"].startswith("Symmetry ")
    assert (own_table / "report.html").stat().st_size > 1_000_000
    assert len([line for line in blocks(README, "python")[0].splitlines() if line]) <= 6


# ---- Commands ----------------------------------------------------------------------------------


def commands():
    """All commands of the pages' shell blocks, without comments and here-documents."""
    for name, text in TEXTS.items():
        for block in blocks(text, "sh"):
            block = re.sub(r"^python - <<'END'\n.*?^END\n", "", block, flags=re.M | re.DOTALL)
            for line in block.splitlines():
                for command in line.split("&&"):
                    if words := shlex.split(command, comments=True):
                        yield pytest.param(words, id=f"{name}: {' '.join(words)}")


TARGETS = re.findall(r"^(\w+):", (ROOT / "Makefile").read_text(), re.MULTILINE)
STAGES = yaml.safe_load((ROOT / "dvc.yaml").read_text())["stages"]


def of_own(path):
    """Where what is written of the folder that `stages.new` makes can be looked up."""
    return path.replace("examples/cars/", "examples/own/")


def check_dvc(words):
    arguments = parse_args(words)  # DVC's own parser, which ends the process at a wrong option
    for target in getattr(arguments, "targets", None) or []:
        target = of_own(target)
        path, _, stage = target.rpartition(":")
        if target.endswith((".yaml", ".json")):
            path, stage = target, ""
        if path:
            assert (ROOT / path).is_file() or path.startswith("examples/own/metrics")
        if stage:
            pipeline = yaml.safe_load((ROOT / (path or "dvc.yaml")).read_text())["stages"]
            name, _, key = stage.partition("@")
            assert name in pipeline
            if key:
                assert (ROOT / "studies" / "results" / f"{key}.csv").is_file() or key in content()[
                    "models"
                ]
    changed = content()
    for change in getattr(arguments, "set_param", None) or []:
        key, _, value = change.partition("=")
        if ":" in key:
            path, _, key = key.partition(":")
            changed = content(of_own(path))
        *blocks_, last = key.split(".")
        block = changed
        for part in blocks_:
            block = block[part]
        assert last in block
        block[last] = yaml.safe_load(value)
    parse(changed)


def content(path="params.yaml"):
    return yaml.safe_load((ROOT / path).read_text())


@cache
def help_of(module):
    command = [sys.executable, "-m", module, "--help"]
    return subprocess.run(command, cwd=ROOT, check=True, capture_output=True, text=True).stdout


def check_python(words):
    if words[1:] == ["mend.py"]:
        assert (ROOT / "mend.py").is_file()
        return
    assert words[1] == "-m"
    if words[2].startswith("stages."):
        options = [word for word in words[3:] if word.startswith("-")]
        assert set(options) <= set(re.findall(r"(?<![\w-])--?\w[\w-]*", help_of(words[2])))
    else:
        assert words[2:] in (["docs.fill"], ["symmetry"])


def check_that(holds):
    assert holds


def check_script(words):
    assert words[1] == "python"
    assert (ROOT / "examples" / "molecules" / words[2]).is_file()


CHECKS = {
    ".": lambda words: check_that(words[1:] == [".venv/bin/activate"]),
    "cd": lambda words: check_that((ROOT / words[1]).is_dir()),
    "PYTHONPATH=../..": check_script,
    "cp": lambda words: check_that((ROOT / words[1]).is_file()),
    "dvc": lambda words: check_dvc(words[1:]),
    "git": lambda words: check_that(words[1:] == ["add", "examples/cars"] or words[1] == "commit"),
    "make": lambda words: check_that(words[1] in TARGETS),
    "pip": lambda words: check_that(words[1:] == ["install", "."]),
    "python": check_python,
    "symmetry": lambda words: "--help" in words or symmetry_parser().parse_args(words[1:]),
}


@pytest.mark.parametrize("words", list(commands()))
def test_every_command_is_one_that_its_program_takes(words):
    CHECKS[words[0]](words)


@pytest.mark.parametrize(
    "command",
    [
        "dvc exp run -S models.stib.stepps=3",
        "dvc exp run -S model=stip headline",
        "dvc exp run -S examples/cars/params.yaml:models.stib_flow.stepps=3",
        "dvc repro examples/elipse/dvc.yaml",
        "dvc repro headlines",
        "dvc metrics show --column",
        "make tests",
        "python -m stages.partners rows.csv --counts 2",
        "symmetry fit table.csv -o learner.safetensors",
        "rm -rf .",
    ],
)
def test_a_command_that_does_not_exist_is_found(command, capsys):
    words = shlex.split(command)
    wrong = AssertionError, KeyError, ValueError, SystemExit, DvcParserError
    with pytest.raises(wrong):
        CHECKS[words[0]](words)


def test_every_extra_that_is_named_exists():
    named = {
        name for text in TEXTS.values() for name in re.findall(r"pip install '\.\[(\w+)\]'", text)
    }
    pyproject = (ROOT / "pyproject.toml").read_text()
    assert named
    assert [name for name in named if not re.search(rf"^{name} = \[", pyproject, re.M)] == []


def test_the_symmetry_commands_of_the_pages_lead_to_partners(own_table):
    from symmetry.__main__ import main

    lines = [
        line for block in blocks(PAGES["docs/own_data.md"], "sh") for line in block.splitlines()
    ]
    new, fit, partners, report = (
        shlex.split(line, comments=True)[1:] for line in lines if line[:9] == "symmetry "
    )
    main(new)
    main([*fit, *shlex.split("-S steps=4 -S predictor_steps=4 -S hidden_size=4")])
    main(partners)
    main(report)
    assert (own_table / "partners.csv").read_text().count("\n") == 1 + 20 * 2000
    assert (own_table / "report.html").is_file()
