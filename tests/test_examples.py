"""The examples with the real DVC on tiny params, and the two commands of one's own csv."""

import csv
import re
import sys
from pathlib import Path

import pytest
import yaml
from test_pipeline import Clone, copy_working_tree, identify, machine, set_up, tools  # noqa: F401

from symmetry.params import parse
from symmetry.tasks import TASKS

ROOT = Path(__file__).parents[1]
# Molecules have a pipeline of their own; see test_molecules.py.
EXAMPLES = sorted(
    {path.parent.name for path in ROOT.glob("examples/*/params.yaml")} - {"molecules"}
)
OWN_DATA = (ROOT / "docs" / "own_data.md").read_text()
MADE = tuple(
    f"examples/{name}/{part}" for name in EXAMPLES for part in ("metrics", "plots", "dvc.lock")
)


def params_of(name):
    return yaml.safe_load((ROOT / "examples" / name / "params.yaml").read_text())


def pipeline_of(name):
    return yaml.safe_load((ROOT / "examples" / name / "dvc.yaml").read_text())["stages"]


def test_each_task_has_an_example_or_is_the_papers():
    tasks = {params_of(name)["data"]["task"] for name in EXAMPLES}
    assert tasks | {"spiral", "formula"} == set(TASKS)


@pytest.mark.parametrize("name", EXAMPLES)
def test_the_params_of_an_example_are_valid(name):
    params = parse(params_of(name))
    assert params.train.seeds == 3
    assert params.models.given() == [params.model]


@pytest.mark.parametrize("name", EXAMPLES)
def test_the_pipelines_of_the_examples_differ_in_where_their_data_come_from_alone(name):
    stages, first = pipeline_of(name), pipeline_of("ellipse")
    stages.pop("fetch", None)
    if params_of(name)["data"]["task"] == "file":
        stages["generate"]["deps"].remove("${data.path}")
    assert stages == first


@pytest.fixture(scope="module")
def clone(machine, tools, tmp_path_factory):  # noqa: F811
    """A clone whose examples all have tiny params."""
    clone = Clone(tmp_path_factory.mktemp("clone"), tools, machine)
    copy_working_tree(clone.folder, leave_out=(*MADE, "dvc.lock", "metrics/", "pretrained/"))
    for name in EXAMPLES:
        content = params_of(name)
        if content["data"]["task"] != "file":
            content["data"] |= {"train_rows": 64, "validation_rows": 16, "test_rows": 100}
        content["train"] |= {"seeds": 2, "batch_size": 8, "validate_every": 2, "threads": 1}
        content["evaluate"] |= {"critic_steps": 2, "refine": 2}
        content["models"]["stib_flow"] |= {"predictor_steps": 4, "steps": 4, "hidden_size": 4}
        text = yaml.safe_dump(content, sort_keys=False)
        (clone.folder / "examples" / name / "params.yaml").write_text(text)
    clone.git("init", "-q", "--initial-branch=main")
    clone.commit()
    return clone


def make_csv(clone):
    """Runs the README's own lines that make a csv."""
    (code,) = re.findall(r"python - <<'END'\n(.*?)END\n", OWN_DATA, re.DOTALL)
    assert len(code.splitlines()) <= 10
    clone.run(sys.executable, "-c", code)


@pytest.mark.parametrize("name", ["ellipse", "triatomic", "steam"])
def test_one_command_reproduces_an_example(clone, name):
    printed = clone.dvc("repro", f"examples/{name}/dvc.yaml")
    for stage in ("check", "generate", "train", "evaluate", "tabulate", "plot", "report"):
        assert f"Running stage 'examples/{name}/dvc.yaml:{stage}'" in printed
    metrics = clone.json(f"examples/{name}/metrics/stib_flow.json")
    known = "symmetry_error", "symmetry_error_decoded", "symmetry_coverage", "referee_error"
    assert all(metrics[key] is not None for key in known)
    table = clone.text(f"examples/{name}/metrics/table.md")
    assert "Exact invariant (oracle)" in table
    assert "published" not in table
    verdict = clone.json(f"examples/{name}/evaluations/stib_flow.json")
    assert f"**STIB_FLOW: Symmetry {verdict['grade']}: " in table  # after four steps
    assert verdict["reasons"]
    assert "Running stage" not in clone.dvc("repro", f"examples/{name}/dvc.yaml")
    folder = clone.folder / "examples" / name
    assert (folder / "plots" / "orbits.png").stat().st_size > 5000
    assert f"<h1>{name}</h1>" in (folder / "report.html").read_text()
    listed = set(clone.git("status", "--short", "--untracked-files=all", folder).split())
    assert not [path for path in listed if re.search("models|data/|report", path)]


def test_a_csv_of_ones_own_goes_to_its_partners_in_the_readmes_two_commands(clone):
    make_csv(clone)
    repro, partners = re.findall(
        r"^(dvc repro examples/own.*|python -m stages\.partners examples/own.*)$", OWN_DATA, re.M
    )[:2]
    clone.dvc(*repro.split()[1:])
    clone.run(clone.tools / "python", *partners.split("  #")[0].split()[1:])
    table = list(csv.DictReader(clone.text("partners.csv").splitlines()))
    assert len(table) == 20 * 2000
    own = ["own_mass", "own_acceleration", "own_force", "own_force_hat"]
    assert list(table[0]) == [
        *("row", "copy", "mass", "acceleration", "force_hat", "change", "astray"),
        *own,
    ]
    assert "Running stage" not in clone.dvc("repro", "examples/own/dvc.yaml:generate")
    table = clone.folder / "examples" / "own" / "mine.csv"
    table.write_text(table.read_text() + "1.5,2.5,3.75\n")
    changed = clone.dvc("repro", "examples/own/dvc.yaml:generate")
    assert "Running stage 'examples/own/dvc.yaml:generate'" in changed
    metrics = clone.json("examples/own/metrics/stib_flow.json")
    assert metrics["generalisation_gap"] is not None
    assert metrics["y_mae.force"] > 0
    assert metrics["symmetry_error"] is None
    text = clone.text("examples/own/metrics/table.md")
    assert "**STIB_FLOW: Symmetry not found: " in text  # after four steps
    assert "symmetry error" not in text
    assert '<th scope="row">acceleration</th>' in clone.text("examples/own/report.html")
    assert {"mass", "acceleration"} == set(re.findall(r"^\| (mass|acceleration) ", text, re.M))


def test_a_csv_that_cannot_be_used_stops_before_anything_is_trained(clone):
    make_csv(clone)
    path = clone.folder / "examples" / "own" / "mine.csv"
    path.write_text(path.read_text().replace(",", ";"))
    printed = clone.dvc("repro", "examples/own/dvc.yaml", fails=True)
    assert "error: mine.csv has no column 'mass', 'acceleration', 'force'" in printed
    assert "stages.train" not in printed


def test_experiments_on_a_table_of_ones_own_are_compared_as_the_docs_say(clone):
    # Cases 16 to 19; up to the figures that are compared, since what comes after is the same.
    make_csv(clone)
    identify(clone)
    python = clone.tools / "python"
    (clone.folder / "cars.csv").write_text(clone.text("examples/own/mine.csv"))
    clone.run(python, "-m", "stages.new", "cars", "cars.csv", "--y", "force")
    clone.git("add", "examples/cars")
    clone.git("commit", "-qm", "Learn from cars")
    assert "cars.csv" not in clone.git("ls-files", "examples")
    root, own = clone.text("params.yaml"), "examples/cars/params.yaml"
    before = clone.text(own)
    runs = re.findall(r"^dvc (exp run .*examples/cars/dvc\.yaml .*)$", OWN_DATA, re.M)
    assert len(runs) == 3
    runs = [run.replace("dvc.yaml ", "dvc.yaml:headline ").split() for run in runs]
    shown = {}
    for run in runs[:2]:
        clone.dvc(*run)
        shown[run[run.index("-n") + 1]] = clone.json("examples/cars/metrics/headline.json")
    assert clone.text("params.yaml") == root
    assert clone.text(own) != before
    clone.dvc(*runs[2])
    clone.dvc("exp", "run", "--run-all")  # as `dvc queue start`, but here

    table = csv.DictReader(clone.dvc("exp", "show", "--only-changed", "--csv").splitlines())
    assert len(table.fieldnames) <= 30
    rows = {row["Experiment"]: row for row in table}
    size = f"{own}:models.stib_flow.hidden_size"
    assert {rows[name][size] for name in ("narrow", "wide", "slim")} == {"64", "256", "32"}
    # Without the file, which stands before it where other files have such a figure too.
    (objective,) = (name for name in table.fieldnames if name.endswith("objective"))
    for name, metrics in shown.items():
        assert float(rows[name][objective]) == metrics["objective"]
    assert float(rows["slim"][objective]) > 0
    compared = clone.run(python, "-m", "stages.compare")
    assert all(f" {objective} " in compared and f" {name} " in compared for name in rows if name)

    for diff in re.findall(r"^dvc (metrics diff narrow wide.*?)(?:  .*)?$", OWN_DATA, re.M):
        printed = clone.dvc(*diff.split())
        (line,) = (one for one in printed.splitlines() if " objective " in one)
        assert line.split()[2:4] == [str(one["objective"]) for one in shown.values()]

    bare = clone.bare(clone.folder.parent / "bare")
    header = bare.dvc("exp", "show", "--only-changed", "--csv").splitlines()[0]
    assert len(header.split(",")) <= 20


def test_a_table_in_the_root_is_refused_since_its_changes_would_go_unnoticed(clone, tmp_path):
    # Case 7.
    root = clone.bare(tmp_path / "root")
    content = yaml.safe_load(root.text("params.yaml")) | {"data": params_of("own")["data"]}
    (root.folder / "params.yaml").write_text(yaml.safe_dump(content))
    (root.folder / "mine.csv").write_text(clone.text("examples/own/mine.csv"))
    printed = root.dvc("repro", fails=True)
    assert "a change of it would go unnoticed; make a pipeline for it with `python -m" in printed
    assert "Running stage 'generate'" not in printed


def test_diamonds_are_fetched_from_the_package_that_has_them(clone):
    clone.dvc("repro", "examples/diamonds/dvc.yaml:generate")
    metrics = clone.text("examples/diamonds/diamonds.csv").splitlines()
    assert metrics[0] == "carat,cut,color,clarity,depth,table,price,x,y,z"
    assert len(metrics) == 53_917 + 1
