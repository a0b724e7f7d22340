"""What users type, tried with the real DVC in throw-away clones on tiny params."""

import ast
import csv
import io
import json
import os
import re
import shutil
import signal
import subprocess
import sys
import sysconfig
from pathlib import Path

import pytest
import yaml
from clones import MADE, MODELS, ROOT, TINY, Clone, copy_working_tree, wait_until

from stages.headline import PICKED

PIPELINES = sorted(
    str(path.relative_to(ROOT)) for path in (*ROOT.glob("dvc.yaml"), *ROOT.glob("*/dvc.yaml"))
)
STAGES = sorted(
    path.stem for path in ROOT.glob("stages/*.py") if path.stem not in ("__init__", "cells")
)
AFTER_STIB = {"train@stib", "evaluate@stib", "show@stib", "tabulate", "plot", "headline", "report"}


def stages_run(printed):
    return set(re.findall(r"Running stage '(.+?)'", printed))


def stages_restored(printed):
    return set(re.findall(r"Stage '(.+?)' is cached - skipping run", printed))


def trainings(stages):
    return {stage for stage in stages if stage.startswith("train@")}


def digests(clone, *folders):
    """Returns the time of the last change of each file in some folders."""
    paths = [path for folder in folders for path in (clone.folder / folder).rglob("*")]
    return {str(path): path.stat().st_mtime_ns for path in paths if path.is_file()}


def identify(clone):
    """Gives a clone what `make setup` would."""
    clone.git("config", "user.name", "a")
    clone.git("config", "user.email", "a@localhost")


@pytest.fixture(scope="module")
def machine(tmp_path_factory):
    """A bare machine: no git identity, nothing activated, and other Pythons first on PATH."""
    home, wrong = tmp_path_factory.mktemp("home"), tmp_path_factory.mktemp("wrong")
    for name in ("python", "python3", "dvc"):
        (wrong / name).write_text(f"#!/bin/sh\necho the wrong {name}\nexit 1\n")
        (wrong / name).chmod(0o755)
    path = [f for f in os.environ["PATH"].split(os.pathsep) if not (Path(f) / "dvc").exists()]
    return {
        "PATH": os.pathsep.join([str(wrong), *path]),
        "HOME": str(home),
        "GIT_CONFIG_NOSYSTEM": "1",
        "DVC_SITE_CACHE_DIR": str(home / "dvc"),
        "OMP_NUM_THREADS": "1",
    }


@pytest.fixture(scope="module")
def set_up(machine, tmp_path_factory):
    """The folder where `make setup` made an environment of no packages."""
    folder = tmp_path_factory.mktemp("environment")
    shutil.copy2(ROOT / "Makefile", folder)
    (folder / "requirements.txt").touch()
    subprocess.run(["git", "init", "-q"], cwd=folder, env=machine, check=True)
    command = ["make", "setup", f"PYTHON={sys.executable}"]
    subprocess.run(command, cwd=folder, env=machine, check=True, capture_output=True)
    return folder


@pytest.fixture(scope="module")
def tools(set_up):
    """The bin folder of that environment, which borrows the packages of the tests' own."""
    paths = {"base": set_up / ".venv", "platbase": set_up / ".venv"}
    site = Path(sysconfig.get_path("purelib", "venv", paths))
    own = {sysconfig.get_path("purelib"), sysconfig.get_path("platlib")}
    (site / "borrowed.pth").write_text("".join(f"{folder}\n" for folder in own))
    tools = set_up / ".venv" / "bin"
    (tools / "dvc").write_text(
        f"#!{tools}/python\nimport sys\nfrom dvc.cli import main\nsys.exit(main())\n"
    )
    (tools / "dvc").chmod(0o755)
    return tools


@pytest.fixture(scope="module")
def first_repro(machine, tools, tmp_path_factory):
    """A clone with tiny params after its first reproduction, and what that printed."""
    clone = Clone(tmp_path_factory.mktemp("clone"), tools, machine)
    copy_working_tree(clone.folder, leave_out=MADE)
    clone.set_params(TINY)
    clone.git("init", "-q", "--initial-branch=main")
    clone.commit()
    printed = side_by_side(clone)
    clone.commit()
    return clone, printed


def side_by_side(clone, fails=False):
    """Runs what `make repro` runs, two models at once."""
    return clone.run(clone.tools / "python", "repro.py", "--jobs", "2", fails=fails)


@pytest.fixture(scope="module")
def after_stib(first_repro, tmp_path_factory):
    """That clone after an experiment with STIB's learning rate, and what it printed."""
    clone = first_repro[0].copy(tmp_path_factory.mktemp("changed") / "clone")
    printed = clone.dvc("exp", "run", "-S", "models.stib.learning_rate=0.00001")
    clone.commit()
    return clone, printed


@pytest.fixture
def clone(first_repro, tmp_path):
    return first_repro[0].copy(tmp_path / "clone")


@pytest.fixture
def killed_clone(clone):
    """A clone where a long training lives on after `kill -9` of its `dvc repro`."""
    clone.set_params({"models": {"stib": {"steps": 1_000_000}}})
    log = clone.folder.parent / "log"
    with clone.start(clone.tools / "dvc", "repro", "train@stib", log=log) as repro:
        try:
            wait_until(lambda: "step 4 " in log.read_text() or repro.poll() is not None)
            repro.send_signal(signal.SIGKILL)
            repro.wait()
            assert clone.processes(), log.read_text()
            yield clone
        finally:
            clone.kill_all()


# Set-up


def test_set_up_when_current_does_nothing(set_up, machine):
    command = ["make", "setup"]
    again = subprocess.run(command, cwd=set_up, env=machine, capture_output=True, text=True)
    assert again.returncode == 0
    assert "Nothing to be done" in again.stdout


def test_set_up_gives_a_clone_a_git_identity_where_there_is_none(set_up, machine):
    # Without one `dvc exp run` cannot stash, nor queue.
    for key in ("user.name", "user.email"):
        command = ["git", "config", "--local", key]
        found = subprocess.run(command, cwd=set_up, env=machine, capture_output=True, text=True)
        assert found.stdout.strip()


def test_each_python_of_the_environment_finds_its_own_python_first(tools, machine):
    command = [tools / "python", "-c", "import shutil; print(shutil.which('python'))"]
    found = subprocess.run(command, env=machine, check=True, capture_output=True, text=True)
    assert Path(found.stdout.strip()) == tools / "python"


# 1. dvc repro


def test_repro_makes_all_outputs(first_repro):
    clone, printed = first_repro
    made = [out for stage in clone_lock(clone).values() for out in stage["outs"]]
    assert stages_run(printed) == set(clone_lock(clone))
    assert trainings(stages_run(printed)) == {f"train@{key}" for key in MODELS}
    assert {out["path"] for out in made} >= {
        *(f"metrics/{key}.json" for key in MODELS),
        *("metrics/table.md", "metrics/headline.json", "plots/latent_space.png"),
    }
    assert all((clone.folder / out["path"]).is_file() for out in made)
    assert clone.json("metrics/headline.json") == {"model": "stib", **picked(clone, "stib")}


def picked(clone, key):
    """Returns the metrics by which a model is compared."""
    metrics = clone.json(f"metrics/{key}.json")
    return {name: metrics[name] for name in PICKED}


def clone_lock(clone):
    return yaml.safe_load(clone.text("dvc.lock"))["stages"]


def test_a_second_repro_runs_nothing(clone):
    printed = clone.dvc("repro")
    assert not stages_run(printed) | stages_restored(printed)
    assert "Data and pipelines are up to date." in printed
    assert not clone.changed_files()


# 2. A change in one model


def test_a_change_in_one_model_reruns_what_comes_after_it_alone(after_stib):
    assert stages_run(after_stib[1]) == {"check", *AFTER_STIB}


def test_a_value_that_dvc_writes_as_text_is_a_number(after_stib):
    assert "learning_rate: 1e-05" in after_stib[0].text("params.yaml")


def test_back_at_the_old_value_nothing_is_trained(after_stib, tmp_path):
    clone = after_stib[0].copy(tmp_path / "clone")
    clone.git("checkout", "-q", "HEAD~1", "params.yaml")
    printed = clone.dvc("repro")
    assert not trainings(stages_run(printed))
    assert stages_restored(printed) >= {"train@stib"}
    assert stages_run(printed) | stages_restored(printed) == {"check", *AFTER_STIB}
    assert clone.git("diff", "--name-only", "HEAD~1") == ""


# 3. Another model in the headline


def test_another_model_in_the_headline_runs_headline_and_report_alone(clone):
    printed = clone.dvc("exp", "run", "-S", "model=cvae")
    assert stages_run(printed) == {"check", "headline", "report"}
    assert clone.json("metrics/headline.json")["model"] == "cvae"
    assert '<p class="muted">Model CVAE,' in clone.text("report.html")
    assert clone.changed_files() == {"dvc.lock", "metrics/headline.json", "params.yaml"}


def test_the_headline_of_one_model_trains_it_alone_in_a_clone_without_cache(first_repro, tmp_path):
    clone = first_repro[0].bare(tmp_path / "clone")
    printed = clone.dvc("exp", "run", "-S", "model=stib", "headline")
    assert trainings(stages_run(printed)) == {"train@stib"}
    assert stages_run(printed) <= {"check", "generate", "train@stib", "evaluate@stib", "headline"}
    # It trains the same bits; -S writes params.yaml anew even where it changes nothing.
    assert clone.changed_files() <= {"dvc.lock", "params.yaml"}


# 4. Wrong params


def assert_nothing_is_lost(clone, printed, before):
    assert stages_run(printed) <= {"check"}
    assert clone.changed_files() <= {"params.yaml"}
    assert digests(clone, "models", "evaluations", "metrics", "plots") == before


@pytest.mark.parametrize(
    ("override", "said"),
    [
        ("model=foo", ["model: found 'foo'", *(repr(key) for key in MODELS)]),
        ("train.batch_size=-1", ["train.batch_size: found -1", "greater than or equal to 2"]),
        ("models.stib.learning_rate=abc", ["models.stib.learning_rate: found 'abc'", "number"]),
        # Here DVC itself is first, and knows no more than that there is no such key.
        ("modle=vae", ["modle=vae", "Key 'modle' is not in struct"]),
        ("train.batchsize=3", ["train.batchsize=3", "Key 'batchsize' is not in struct"]),
        ("models.stib.lr=0.1", ["models.stib.lr=0.1", "Key 'lr' is not in struct"]),
        # To its advice to append the key, the answer is ours.
        ("+modle=vae", ["modle: unknown key (value 'vae')", "model, data, train"]),
    ],
)
def test_a_wrong_override_is_named_and_nothing_is_lost(clone, override, said):
    before = digests(clone, "models", "evaluations", "metrics", "plots")
    printed = clone.dvc("exp", "run", "-S", override, fails=True)
    assert not [part for part in said if part not in printed], printed
    assert_nothing_is_lost(clone, printed, before)


def test_misspelt_keys_in_the_file_are_all_named_and_nothing_is_lost(clone):
    before = digests(clone, "models", "evaluations", "metrics", "plots")
    content = yaml.safe_load(clone.text("params.yaml"))
    content["modle"] = content.pop("model")
    content["train"]["batchsize"] = 3
    content["models"]["stib"]["lr"] = 0.1
    (clone.folder / "params.yaml").write_text(yaml.safe_dump(content))
    # Without `model`, DVC does not know what `headline` depends on.
    printed = clone.dvc("repro", fails=True)
    assert "model" in printed
    assert_nothing_is_lost(clone, printed, before)
    content["model"] = content.pop("modle")
    content["modle"] = "vae"
    (clone.folder / "params.yaml").write_text(yaml.safe_dump(content))
    printed = clone.dvc("repro", fails=True)
    assert "modle: unknown key (value 'vae'); allowed: model, data, train" in printed
    assert "train.batchsize: unknown key (value 3); allowed: seeds, batch_size" in printed
    assert "models.stib.lr: unknown key (value 0.1); allowed: batch_size, learning_rate" in printed
    assert_nothing_is_lost(clone, printed, before)


PWNED = "x;touch pwned #"
WRONG = {
    "a name for the shell": lambda content: content["models"].update({PWNED: {"steps": 1}}),
    "a name for a path": lambda content: content["models"].update({"../x": {"steps": 1}}),
    "names for DVC": lambda content: content.update(model_keys=[PWNED]),
    "a model for the shell": lambda content: content.update(model=PWNED),
    "a model that is a path": lambda content: content.update(model="../metrics/stib"),
    "no models": lambda content: content.update(models=None),
    "empty models": lambda content: content.update(models={}),
    "a missing model": lambda content: content["models"].pop("stib"),
    "10⁹ seeds": lambda content: content["train"].update(seeds=10**9),
    "NaN": lambda content: content["models"]["stib"].update(learning_rate=float("nan")),
}


@pytest.fixture(scope="module")
def own_data(first_repro, tmp_path_factory):
    """A clone whose data are the user's own, as the README says: nothing is drawn."""
    clone = first_repro[0].copy(tmp_path_factory.mktemp("own") / "clone")
    clone.dvc("freeze", "generate")
    clone.commit()
    return clone


def refuse(clone, change, *arguments):
    """Runs `dvc repro` on changed params, which must stop at the check and touch nothing."""
    clone.git("checkout", "-q", "params.yaml")
    content = yaml.safe_load(clone.text("params.yaml"))
    change(content)
    (clone.folder / "params.yaml").write_text(yaml.safe_dump(content, sort_keys=False))
    before = digests(clone, ".")
    printed = clone.dvc("repro", *arguments, fails=True)
    assert stages_run(printed) <= {"check"}
    assert "Traceback" not in printed
    # DVC itself takes away what the check left, before it runs it.
    assert differing(before, digests(clone, ".")) <= {clone.folder / "data" / "params.checked"}


@pytest.mark.parametrize("wrong", WRONG)
def test_wrong_params_stop_all_though_dvc_is_told_to_keep_going(own_data, refused, wrong):
    refuse(own_data, WRONG[wrong], "--keep-going")
    refused["params files"] += 1


@pytest.mark.parametrize("target", [None, "train@stib", f"train@{PWNED}", "train@../x"])
def test_wrong_params_stop_the_training_of_one_model(own_data, target):
    refuse(own_data, WRONG["a name for the shell"], *filter(None, [target]))


def differing(before, after):
    """Returns the files that came, went or changed, but for those of git and DVC themselves."""
    paths = {Path(path) for path, _ in before.items() ^ after.items()}
    return {path for path in paths if not {".git", ".dvc", "__pycache__"} & {*path.parts}}


# DVC's own parser is the first to read what is no YAML, and it names the file and the line.
@pytest.mark.parametrize("text", ["seeds: 3\nseeds: 4\n", "a: [1\n", "a:\n\t- b\n"], ids=repr)
def test_what_is_no_yaml_is_refused_by_dvc_itself(own_data, refused, text):
    (own_data.folder / "params.yaml").write_text(text)
    before = digests(own_data, ".")
    printed = own_data.dvc("repro", fails=True)
    assert "params.yaml" in printed
    assert "line" in printed
    assert not stages_run(printed)
    assert not differing(before, digests(own_data, "."))
    refused["params files"] += 1


# 5. What changed


def test_metrics_show_has_a_row_for_each_model_and_no_more_columns_than_fit(first_repro):
    clone = first_repro[0]
    header, _, *lines = clone.dvc("metrics", "show", "--md").strip().splitlines()
    shown = {line.split("|")[1].strip() for line in lines}
    assert shown == {"metrics/headline.json", *(f"metrics/table/{key}.json" for key in MODELS)}
    for key in MODELS:
        (row,) = (line for line in lines if line.startswith(f"| metrics/table/{key}.json "))
        assert f" {clone.json(f'metrics/{key}.json')['objective']} " in row
    assert header.count("|") - 1 <= 20
    assert not clone.dvc("metrics", "diff").strip()  # none is missing that a pipeline names


def test_what_is_compared_of_a_model_are_some_of_its_metrics(first_repro):
    clone = first_repro[0]
    for key in MODELS:
        assert clone.json(f"metrics/table/{key}.json") == picked(clone, key)


def test_metrics_diff_shows_the_change_between_two_commits(after_stib):
    clone, _ = after_stib
    old, new = (
        json.loads(clone.git("show", f"{revision}:metrics/table/stib.json"))
        for revision in ("HEAD~1", "HEAD")
    )
    changed = {name for name in new if new[name] != old[name]}
    assert "objective" in changed
    rows = [
        [cell.strip() for cell in line.split("|")[1:-1]]
        for line in clone.dvc("metrics", "diff", "HEAD~1", "--md").splitlines()
        if line.startswith("| metrics/")
    ]
    assert {(path, name) for path, name, *_ in rows} == {
        (f"metrics/{file}.json", name) for file in ("table/stib", "headline") for name in changed
    }
    assert {
        (float(before), float(after)) for _, name, before, after, _ in rows if name == "objective"
    } == {(old["objective"], new["objective"])}


def test_exp_show_shows_the_change_between_two_experiments(clone):
    identify(clone)
    for key in ("cvae", "vae"):
        clone.dvc("exp", "run", "-n", f"of-{key}", "-S", f"model={key}", "headline")
    table = clone.dvc("exp", "show", "--csv")
    rows = {row["Experiment"]: row for row in csv.DictReader(io.StringIO(table))}
    for key in ("cvae", "vae"):
        row, metrics = rows[f"of-{key}"], clone.json(f"metrics/{key}.json")
        assert row["params.yaml:model"] == key
        assert float(row["metrics/headline.json:objective"]) == metrics["objective"]
    printed = clone.dvc("exp", "show", "--md")
    assert all(f"[of-{key}]" in printed for key in ("cvae", "vae"))
    # Our own command has an experiment a column: the paper's metrics, and what differs.
    header, _, *lines = clone.run(clone.tools / "python", "-m", "stages.compare").splitlines()
    names = [name.strip() for name in header.split("|")[1:-1]]
    shown = {
        label: dict(zip(names[1:], cells, strict=True))
        for label, *cells in ([cell.strip() for cell in line.split("|")[1:-1]] for line in lines)
    }
    assert set(names) == {"", "workspace", "main", "of-cvae", "of-vae"}
    papers = [f"{key} {name}" for key in MODELS for name in ("x_mae", "y_mae", "mi_z0_y")]
    assert {"cvae y_mae", "cvib y_mae"} == set(papers) - set(shown)
    for key in ("cvae", "vae"):
        assert shown["params.yaml:model"][f"of-{key}"] == key
        objective = clone.json(f"metrics/{key}.json")["objective"]
        assert float(shown["metrics/headline.json:objective"][f"of-{key}"]) == pytest.approx(
            objective, rel=1e-3
        )
    headline = {f"metrics/headline.json:{name}" for name in ("model", *PICKED)}
    assert set(shown) <= {*papers, *headline, "params.yaml:model"}


# 6. The queue


def test_queued_experiments_run_their_own_code_and_params(clone):
    identify(clone)
    headline = clone.folder / "stages" / "headline.py"
    code = headline.read_text()
    changed_code = code.replace('{"model": key', '{"code": "changed", "model": key')
    assert changed_code != code
    clone.dvc("exp", "run", "--queue", "-n", "first", "-S", "model=cvae")
    headline.write_text(changed_code)
    clone.dvc("exp", "run", "--queue", "-n", "second", "-S", "model=vae")
    headline.write_text(code)
    try:
        clone.dvc("queue", "start")
        wait_until(lambda: not re.search("Queued|Running", clone.dvc("queue", "status")))
        assert clone.dvc("queue", "status").count("Success") == 2, clone.dvc("queue", "status")
        clone.dvc("queue", "stop")
        wait_until(lambda: not clone.processes())
    finally:
        clone.kill_all()
    assert clone.git("diff", "HEAD") == ""
    shown = {}
    for name in ("first", "second"):
        clone.dvc("exp", "apply", name)
        shown[name] = clone.json("metrics/headline.json")
    assert shown == {
        "first": {"model": "cvae", **picked(clone, "cvae")},
        "second": {"code": "changed", "model": "vae", **picked(clone, "vae")},
    }


# 7. Pretrained models


def test_after_a_pull_a_bare_clone_has_the_models_and_repro_trains_nothing(clone, tmp_path):
    clone.dvc("push")
    clone.commit()
    remote = clone.folder / "pretrained"
    pushed = {path.parent.name + path.name for path in remote.glob("files/md5/*/*")}
    outs = {out["path"]: out["md5"] for s in clone_lock(clone).values() for out in s["outs"]}
    large = {f"data/{part}.npz" for part in ("train", "validation", "test")} | {"report.html"}
    assert not pushed & {outs[path] for path in large}
    assert pushed >= {outs[f"models/{key}/weights.safetensors"] for key in MODELS}
    assert [path.name for path in remote.iterdir()] == ["files"]  # and no run cache
    bare = clone.bare(tmp_path / "bare")
    bare.dvc("pull")
    for key in MODELS:
        weights = Path("models") / key / "weights.safetensors"
        assert (bare.folder / weights).read_bytes() == (clone.folder / weights).read_bytes()
    # The data are drawn and the report is written again, the same.
    assert stages_run(bare.dvc("repro")) == {"generate", "report"}
    assert not bare.changed_files()


def test_a_bare_clone_has_nothing_to_run(first_repro, tmp_path):
    clone = first_repro[0].bare(tmp_path / "bare")
    assert not stages_run(clone.dvc("repro", "--dry", "--allow-missing"))


@pytest.mark.parametrize("pipeline", ["dvc.yaml", "studies/dvc.yaml"])
def test_the_committed_lock_is_current(pipeline, machine, tools, tmp_path):
    clone = Clone(tmp_path, tools, machine)
    copy_working_tree(tmp_path)
    clone.git("init", "-q")
    clone.commit()
    assert not stages_run(clone.dvc("repro", "--dry", "--allow-missing", pipeline))


# Kills


def test_a_terminated_reproduction_takes_its_trainings_with_it(clone):
    # The two that begin: while they train, no other can be begun.
    clone.set_params({"models": {key: {"steps": 1_000_000} for key in ("stib", "stib_flow")}})
    log = clone.folder.parent / "log"
    command = clone.tools / "python", "repro.py", "--jobs", "2"
    with clone.start(*command, log=log) as repro:
        try:
            wait_until(lambda: " 4 " in log.read_text() or repro.poll() is not None)
            repro.terminate()
            repro.wait()
            assert "interrupted" in log.read_text()
            assert "train@cvib" not in log.read_text()
            assert not clone.processes()
        finally:
            clone.kill_all()


# Trainings that outlive a killed DVC


def test_an_orphaned_training_gives_way_to_a_later_one(killed_clone):
    killed_clone.set_params({"models": {"stib": {"steps": 6}}})
    assert trainings(stages_run(killed_clone.dvc("repro", "train@stib"))) == {"train@stib"}
    wait_until(lambda: not killed_clone.processes())
    assert not stages_run(killed_clone.dvc("repro", "--dry", "train@stib"))


def test_an_orphaned_training_gives_way_to_files_restored_from_the_cache(killed_clone):
    killed_clone.git("checkout", "-q", "params.yaml")
    assert "train@stib" in stages_restored(killed_clone.dvc("repro", "train@stib"))
    wait_until(lambda: not killed_clone.processes())
    assert not stages_run(killed_clone.dvc("repro", "--dry", "train@stib"))


def test_of_two_repros_at_once_the_second_names_the_first(killed_clone):
    # A killed one's training lives as well; it gives way to the first, which goes on from there.
    log = killed_clone.folder.parent / "log"
    command = killed_clone.tools / "dvc", "repro", "train@stib"
    with killed_clone.start(*command, log=log) as first:
        try:
            wait_until(lambda: "goes on after step" in log.read_text() or first.poll() is not None)
            printed = killed_clone.dvc("repro", "train@stib", fails=True)
            assert "is busy, it is being blocked by" in printed
            assert f"(PID {first.pid}): {killed_clone.tools}/dvc repro train@stib" in printed
            assert first.poll() is None
        finally:
            first.kill()


def test_a_training_that_diverges_says_where_and_caches_nothing(clone):
    before = clone.text("dvc.lock")
    clone.set_params({"models": {"vae": {"learning_rate": 1e30}}})
    printed = side_by_side(clone, fails=True)
    assert re.search(r"error: vae: the \w+ term \w+ is \w+ with seed 0.* after 2 steps", printed)
    assert "Traceback" not in printed
    assert stages_run(printed) == {"check", "train@vae"}
    assert "error: not reproduced: vae; see above" in printed
    assert clone_lock(clone)["train@vae"] == yaml.safe_load(before)["stages"]["train@vae"]
    assert not list(clone.folder.glob("models/vae/.*"))


# The stages' code


def imported_files(path):
    """Returns a module and all of this repository that it imports when it starts."""
    found, waiting = set(), [path]
    while waiting:
        path = waiting.pop()
        if path in found or not (ROOT / path).is_file():
            continue
        found.add(path)
        for name in imported_names(ast.parse((ROOT / path).read_text())):
            parts = name.split(".")
            for depth in range(1, len(parts) + 1):
                module = "/".join(parts[:depth])
                waiting += [f"{module}.py", f"{module}/__init__.py"]
    return found


def imported_names(tree):
    """Yields the names that a module imports, leaving out what is for the type checker alone."""
    for node in ast.iter_child_nodes(tree):
        if isinstance(node, ast.If) and ast.unparse(node.test) == "TYPE_CHECKING":
            continue
        if isinstance(node, ast.Import):
            yield from (alias.name for alias in node.names)
        elif isinstance(node, ast.ImportFrom):
            assert node.level == 0, "imports are absolute"
            yield from (f"{node.module}.{alias.name}" for alias in node.names)
        yield from imported_names(node)


DEFINITIONS = {
    f"{pipeline}:{name}": stage.get("do", stage)
    for pipeline in PIPELINES
    for name, stage in yaml.safe_load((ROOT / pipeline).read_text())["stages"].items()
}


@pytest.mark.parametrize("definition", DEFINITIONS.values(), ids=DEFINITIONS)
def test_a_stage_depends_on_the_very_code_that_it_imports(definition):
    module = re.match(r"python -m stages\.(\w+)", definition["cmd"])[1]
    code = {path for path in definition["deps"] if path.endswith(".py")}
    # A folder stands for all its modules, so that a new task needs no line here.
    folders = [
        ROOT / path for path in definition["deps"] if (ROOT / path / "__init__.py").exists()
    ]
    code |= {str(path.relative_to(ROOT)) for folder in folders for path in folder.glob("*.py")}
    assert code == {"stages/__init__.py", *imported_files(f"stages/{module}.py")}


HEAVY = {"torch", "pandas", "matplotlib", "sklearn"}
UNUSED = {
    "check": HEAVY,
    "headline": HEAVY,
    "train": {"sklearn"},
    "tabulate": {"torch", "sklearn"},
    "plot": {"torch", "sklearn"},
    "report": {"sklearn"},
}


@pytest.mark.parametrize("stage", STAGES)
def test_a_stage_explains_itself_and_imports_nothing_that_it_does_not_use(stage):
    command = [sys.executable, "-X", "importtime", "-m", f"stages.{stage}", "--help"]
    process = subprocess.run(command, cwd=ROOT, check=True, capture_output=True, text=True)
    assert f"usage: {stage}.py" in process.stdout or f"stages.{stage}" in process.stdout
    imported = set(re.findall(r"^import time:.*\| +([\w]+)$", process.stderr, re.MULTILINE))
    assert "argparse" in imported
    # SymPy is for a formula alone, and loads longer than most of these do.
    assert not imported & {"sympy", *UNUSED.get(stage, set())}
