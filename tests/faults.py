"""Kills the pipeline and damages DVC's files: `make repro` must end with an unbroken run's bits.

`make faults` kills it 40 times after a random time and twice at each moment that it aims at, those
where the least is whole; `make test` once at each of them. What a failure leaves is kept.
"""

import json
import os
import random
import re
import shutil
import signal
import sys
import tempfile
import time
from argparse import ArgumentParser
from collections import Counter
from concurrent.futures import ProcessPoolExecutor
from dataclasses import dataclass, replace
from functools import partial
from itertools import cycle
from pathlib import Path

import pytest
import yaml
from clones import MADE, TINY, Clone, copy_working_tree, wait_until

# Long enough for a training to be killed between two checkpoints, and small.
SMALL = {"steps": 600, "hidden_size": 16, "batch_size": None}
KEYS = ["vae"]  # a pipeline of all models only takes longer
HOW = {  # the signal, and whether the whole process group gets it
    "kill -9 of all": ("SIGKILL", True),
    "kill -9 of one": ("SIGKILL", False),
    "Ctrl-C": ("SIGINT", True),
}
COMMANDS = {
    "dvc repro": ("repro", "--force", "--single-item"),
    "dvc exp run": ("exp", "run", "--force", "--single-item"),
    "dvc queue": ("exp", "run", "--queue", "--force"),
}
EXPERIMENTS = ("dvc exp run",)
STAGES = "check", "generate", "train@vae", "evaluate@vae", "plot", "headline"
QUEUED = ("train@vae",)  # with what comes before it: a queued run has nothing but what is in git
CACHED = "check", "train@vae", "evaluate@vae"
NOTED = "check", "train@vae"  # DVC notes no run of a stage that has an output which is not cached
OUTPUT = r"(data|models|evaluations|metrics|plots)/(\w+/)?\w+\.\w+$"
OBJECT = r"/\.dvc/cache/files/md5/[0-9a-f]{2}/"


@dataclass(frozen=True)
class Moment:
    """An event on a path that Python tells of, of DVC or of a stage; see aim/sitecustomize.py."""

    event: str
    path: str
    in_stage: bool = False
    skips: range = range(1)  # how many such events before it are let pass
    writes: int = 0  # to the file that is opened, of which one is drawn; 0: before the event
    stages: tuple[str, ...] = STAGES
    runs: int = 1  # of so many stages, one after the other
    commands: tuple[str, ...] = tuple(COMMANDS)
    uncached: bool = False  # what is in the cache is not written


MOMENTS = {
    "DVC notes who reads and writes": Moment("open", r"/rwlock$", skips=range(12), writes=3),
    "DVC deletes an output": Moment(
        "os.remove", OUTPUT, skips=range(3), stages=("train@vae", "plot")
    ),
    "DVC starts a stage": Moment("subprocess.Popen", r"python -m stages\."),
    "DVC starts a second stage": Moment(
        "subprocess.Popen", r"python -m stages\.", skips=range(1, 2), runs=2
    ),
    "a stage writes a file": Moment("open", r"\.part$", True, skips=range(3), writes=1),
    "a stage names a file": Moment("os.rename", OUTPUT, True, skips=range(2)),
    "a stage deletes its checkpoint": Moment(
        "os.remove",
        r"/\.(checkpoint\.safetensors|owner)$",
        True,
        range(2),
        stages=("train@vae",),
    ),
    "DVC copies to its cache": Moment(
        "open", rf"{OBJECT}\..*tmp$", False, range(1), 1, stages=CACHED, uncached=True
    ),
    "DVC names a file in its cache": Moment(
        "os.rename", rf"{OBJECT}[0-9a-f]{{30}}$", False, range(1), stages=CACHED, uncached=True
    ),
    "DVC notes a run in its cache": Moment(
        "open", r"/\.dvc/cache/runs/", writes=200, stages=NOTED, uncached=True
    ),
    "DVC links an output back": Moment("os.rename", OUTPUT, stages=CACHED),
    "DVC writes dvc.lock": Moment("open", r"/dvc\.lock$", writes=6000),
    "DVC notes what an experiment writes": Moment(
        "open", r"/exps/rwlock$", skips=range(3), writes=3, commands=EXPERIMENTS
    ),
    "DVC locks git": Moment(
        "open",
        r"/\.git/(index|HEAD|refs/.*)\.lock$",
        skips=range(12),
        writes=1,
        commands=EXPERIMENTS,
    ),
    "DVC packs an experiment": Moment(
        "open", r"/\.dvc/tmp/repro\.dat$", writes=2, commands=EXPERIMENTS
    ),
}


@dataclass(frozen=True)
class Kill:
    """A kill of a run of one or two stages: at a moment, or after a while."""

    stages: tuple[str, ...]
    command: str
    how: str
    cached: bool  # whether DVC has the outputs in its cache, from an earlier run
    moment: str = ""
    skip: int = 0
    writes: int = 0
    patience: float = 0.0  # [s]

    def __str__(self):
        when = f"after {self.patience:.2f} s"
        if self.moment:
            when = f"when {self.moment} (time {self.skip + 1}, write {self.writes})"
        cached = "" if self.cached else ", whose outputs are not cached"
        return f"{self.how} {when}, in {self.command} of {' and '.join(self.stages)}{cached}"

    def earlier(self):
        """Returns the kill to try when a run has ended before this one."""
        skip, writes = self.skip // 2, self.writes * 2 // 3
        return replace(self, skip=skip, writes=writes, patience=self.patience * 0.7)


@dataclass(frozen=True)
class Done:
    """What was done to a clone, its kind, and which stages have to run again."""

    what: str
    kind: str
    undone: set[str]


Case = partial[Done]  # of a clone


def main() -> None:
    parser = ArgumentParser(description=__doc__)
    parser.add_argument("--kills", type=int, default=40, help="after a random time")
    parser.add_argument(
        "--aimed", type=int, default=2 * len(MOMENTS), help="at one moment after the other"
    )
    parser.add_argument("--seeds", type=int, nargs="+", default=[0], help="of what is drawn")
    parser.add_argument("--jobs", type=int, default=1, help="side by side")
    parser.add_argument(
        "--plain",
        action="store_true",
        help="try `dvc repro` alone, too, where something is mended",
    )
    asked = parser.parse_args()
    folder = Path(tempfile.mkdtemp(prefix="faults-"))
    start = time.monotonic()
    unbroken = prepare(folder / "unbroken")
    took = time.monotonic() - start
    cases: list[Case] = []
    for seed in asked.seeds:
        chance = random.Random(seed)
        kills = [unaimed(chance, took) for _ in range(asked.kills)]
        kills += [aimed(chance, moment) for moment, _ in zip(cycle(MOMENTS), range(asked.aimed))]
        cases += [partial(strike, kill=kill) for kill in kills]
        cases += [partial(harm, damage=damage, seed=seed) for damage in DAMAGES]
    tally: Counter[str] = Counter()
    with ProcessPoolExecutor(asked.jobs) as pool:
        tried = [
            pool.submit(attempt, case, unbroken, folder / f"case-{number}", asked.plain)
            for number, case in enumerate(cases, 1)
        ]
        for number, each in enumerate(tried, 1):
            what, kind, seen, faults = each.result()
            print(f"{number}: {what}", *seen, sep="\n   ")
            if faults:
                print(f"   FAILED, and {folder}/case-{number} is kept:", *faults, sep="\n   ")
                tally["FAILED"] += 1
            tally.update(shortened(line) for line in (kind, *seen))
            sys.stdout.flush()
    print(*(f"{times} × {what}" for what, times in sorted(tally.items())), sep="\n")
    ended = len(cases) - tally["FAILED"]
    print(f"{ended} of {len(cases)} times `make repro` ended with the same bits")
    if tally["FAILED"]:
        sys.exit(1)
    shutil.rmtree(folder)


def shortened(line: str) -> str:
    """Returns a line of the tally, without what is another each time."""
    return re.sub(r"\S*/\S{20,}|\d+ of its|\d+\.\d+ s", "…", line)[:90]


def unaimed(chance: random.Random, took: float) -> Kill:
    """Draws a kill within the time of one stage, as part of what the whole pipeline took."""
    command = drawn_command(chance, tuple(COMMANDS))
    return Kill(
        stages=(chance.choice(STAGES),) if command != "dvc queue" else QUEUED,
        command=command,
        how=chance.choice(list(HOW)),
        cached=chance.random() < 0.5,
        patience=took * chance.uniform(0.03, 0.25),
    )


def aimed(chance: random.Random, name: str) -> Kill:
    moment = MOMENTS[name]
    command = drawn_command(chance, moment.commands)
    stages = tuple(chance.sample(moment.stages, moment.runs))
    return Kill(
        stages=stages if command != "dvc queue" else QUEUED,
        command=command,
        how=chance.choice(list(HOW)),
        cached=chance.random() < 0.5 and not moment.uncached,
        moment=name,
        skip=chance.choice(moment.skips),
        writes=chance.randint(1, moment.writes) if moment.writes else 0,
    )


def drawn_command(chance: random.Random, of: tuple[str, ...]) -> str:
    return chance.choices(of, weights=[4 if command == "dvc repro" else 1 for command in of])[0]


def prepare(folder: Path) -> Clone:
    """Makes a clone with a small model whose pipeline has run once, unbroken."""
    environ = {
        **os.environ,
        "DVC_SITE_CACHE_DIR": f"{folder.parent}/dvc",
        "OMP_NUM_THREADS": "1",
        "PATH": os.pathsep.join([str(Path(sys.executable).parent), os.environ["PATH"]]),
    }
    clone = Clone(folder, Path(sys.executable).parent, environ)
    copy_working_tree(folder, leave_out=(*MADE, "examples/", "studies/"))
    clone.keep_models(KEYS)
    clone.set_params({**TINY, "models": dict.fromkeys(KEYS, SMALL)})
    clone.set_params({"train": {"validate_every": 20}})
    clone.git("init", "-q")
    clone.git("config", "user.name", "a")
    clone.git("config", "user.email", "a@localhost")
    clone.commit()
    clone.dvc("repro")
    clone.dvc("push")
    clone.commit()
    with (folder / "README.md").open("a") as file:
        file.write("not committed\n")  # which an experiment puts aside for a while
    return clone


def attempt(
    case: Case, unbroken: Clone, folder: Path, plain: bool
) -> tuple[str, str, list[str], list[str]]:
    """Breaks a copy of the unbroken clone, and lets `make repro` and perhaps `dvc repro` go on.

    Returns:
        What was done, for the tally its kind and what was seen, and what is not as it should be.
    """
    start = time.monotonic()
    clone = unbroken.copy(folder / "clone")
    try:
        done = case(clone)
    except AssertionError as error:
        return f"{case.keywords}", "not broken", [], [str(error)]
    copy = clone.copy(folder / "plain")
    try:
        seen, faults = go_on(unbroken, clone, done)
    except (AssertionError, pytest.fail.Exception) as error:
        return done.what, done.kind, [], [str(error)]
    if plain and any(line.startswith("mended: ") for line in seen):
        code, printed = copy.ended(copy.tools / "dvc", "repro")
        ended = [f"ends with {code}: {last_line(printed)}"] if code else []
        try:
            found = ended or differences(unbroken, copy) or ["ends with the same bits"]
        except AssertionError as error:
            found = [f"leaves git broken: {error}"]
        seen.append(f"plain `dvc repro` {'; '.join(found)}")
    if not faults:
        shutil.rmtree(folder)
    return f"{done.what} [{time.monotonic() - start:.0f} s]", done.kind, seen, faults


def strike(clone: Clone, kill: Kill) -> Done:
    """Kills a run."""
    while not killed(clone, kill):
        if kill == kill.earlier():
            raise AssertionError(f"the moment never comes: {kill}")
        kill = kill.earlier()
    kind = f"{kill.moment or 'after a while'}: {kill.how} in {kill.command}"
    return Done(str(kill), kind, set() if kill.cached else set(kill.stages))


def harm(clone: Clone, damage: str, seed: int) -> Done:
    """Damages a file of DVC's own, as a loss of power may."""
    DAMAGES[damage](clone, random.Random(seed))
    return Done(damage, damage, set())


def go_on(unbroken: Clone, clone: Clone, done: Done) -> tuple[list[str], list[str]]:
    """Lets `make repro` go on; tells what is seen and what is wrong."""
    code, printed = clone.ended("make", "--old-file=.venv/installed", "repro")
    (clone.folder.parent / "make-repro.log").write_text(printed)
    wait_until(lambda: not clone.processes())  # an orphan has stopped as well
    seen, faults = re.findall("^mended: .*", printed, re.MULTILINE), differences(unbroken, clone)
    if code:
        faults.append(f"`make repro` ends with {code}: {last_line(printed)}")
    run = set(re.findall(r"Running stage '(.+?)'", printed))
    if again := {stage for stage in run - done.undone if stage.startswith("train@")}:
        faults.append(f"trained again, though cached: {', '.join(again)}")
    faults += left_over(clone, run)
    if "goes on after step" in printed:
        seen.append("gone on from a checkpoint")
    return seen, faults


def cut(path: Path, size: int) -> None:
    mode = path.stat().st_mode
    content = path.read_bytes()[:size]
    path.unlink()
    path.write_bytes(content)
    path.chmod(mode)


def cut_all(clone: Clone, chance: random.Random) -> None:
    cut_cached(clone, chance)
    cut(clone.folder / "dvc.lock", chance.randrange(len(clone.text("dvc.lock"))))
    cut(clone.folder / ".dvc/tmp/rwlock", 1)


def cut_the_only(clone: Clone, chance: random.Random) -> None:
    cut_cached(clone, chance)
    (clone.folder / "models/vae/weights.safetensors").unlink()
    cut(clone.folder / "dvc.lock", 0)


def cut_cached(clone: Clone, chance: random.Random) -> None:
    path = cached_paths(clone, "train@vae")[-1]
    cut(path, chance.randrange(path.stat().st_size))


def note_others(clone: Clone, chance: random.Random) -> None:
    info = {"pid": os.getpid(), "cmd": "dvc repro"}
    path = clone.folder / ".dvc/tmp/rwlock"
    path.write_text(json.dumps({"write": {str(clone.folder.parent): info}}))
    os.utime(path, (1e9, 1e9))
    (clone.folder / ".dvc/tmp/lock").write_text("1\n")


DAMAGES = {
    "dvc.lock, the rwlock and a cached file are cut": cut_all,
    "dvc.lock is empty, and a cached file is cut that is whole in the remote alone": cut_the_only,
    "the rwlock and the lock name processes whose numbers are others'": note_others,
}


def killed(clone: Clone, kill: Kill) -> bool:
    """Runs stages anew and kills them in the midst; tells whether they were still running."""
    if not kill.cached:
        for stage in kill.stages:
            forget(clone, stage)
    command = (clone.tools / "dvc", *COMMANDS[kill.command], *kill.stages)
    queued = kill.command == "dvc queue"
    if queued:
        clone.run(*command)
        command = (clone.tools / "dvc", "queue", "start")
    hit, log = clone.folder.parent / "hit", clone.folder.parent / "kill.log"
    hit.unlink(missing_ok=True)
    aiming = replace(clone, environ={**clone.environ, **aim(kill, hit)}) if kill.moment else clone
    with aiming.start(*command, log=log, start_new_session=True) as run:
        if queued:  # in a process of its own
            until = time.monotonic() + (kill.patience or 60)
            while time.monotonic() < until and not hit.exists():
                time.sleep(0.05)
        elif not kill.moment:
            time.sleep(kill.patience)
            if run.poll() is None:
                signal_name, of_all = HOW[kill.how]
                (os.killpg if of_all else os.kill)(run.pid, getattr(signal, signal_name))
                hit.touch()
        run.wait()
    if queued:
        clone.kill_all()
        return hit.exists() or not kill.moment
    if kill.how != "kill -9 of one":
        wait_until(lambda: not clone.processes())
    assert hit.exists() or run.returncode == 0, log.read_text()
    return hit.exists() and run.returncode != 0


def aim(kill: Kill, hit: Path) -> dict[str, str]:
    """Returns the environment in which a Python kills itself; see aim/sitecustomize.py."""
    moment = MOMENTS[kill.moment]
    signal_name, group = HOW[kill.how]
    told = {
        "in_stage": moment.in_stage,
        "event": moment.event,
        "path": moment.path,
        "skip": kill.skip,
        "writes": kill.writes,
        "signal_name": signal_name,
        "group": group,
        "hit": str(hit),
    }
    return {"AIM": json.dumps(told), "PYTHONPATH": str(Path(__file__).parent / "aim")}


def forget(clone: Clone, stage: str) -> None:
    """Deletes what DVC's cache has of a stage and of its run, so that it has to be run again."""
    for path in cached_paths(clone, stage):
        path.unlink(missing_ok=True)
    command = yaml.safe_load(clone.text("dvc.lock"))["stages"][stage]["cmd"]
    for run in (clone.folder / ".dvc/cache/runs").glob("??/*/*"):
        if f"cmd: {command}\n" in run.read_text():
            run.unlink()


def cached_paths(clone: Clone, stage: str) -> list[Path]:
    outs = yaml.safe_load(clone.text("dvc.lock"))["stages"][stage]["outs"]
    cache = clone.folder / ".dvc/cache/files/md5"
    return [cache / out["md5"][:2] / out["md5"][2:] for out in outs]


def differences(unbroken: Clone, clone: Clone) -> list[str]:
    """Tells in which files and where a clone differs from the unbroken one."""
    lock = yaml.safe_load(unbroken.text("dvc.lock"))
    outs = [out["path"] for stage in lock["stages"].values() for out in stage["outs"]]
    found = []
    for path in ["README.md", "dvc.lock", *outs]:
        if not (clone.folder / path).exists():
            found.append(f"{path} is not there")
        elif difference := first_difference(
            *((each.folder / path).read_bytes() for each in (unbroken, clone))
        ):
            found.append(f"{path} differs {difference}")
    git = [each.git("status", "--short", "--branch").splitlines() for each in (unbroken, clone)]
    if git[0] != git[1]:
        found.append(f"git status has {git[1]}")
    return found


def first_difference(one: bytes, other: bytes) -> str:
    if one == other:
        return ""
    pairs = enumerate(zip(one, other, strict=False))
    common = next((at for at, (a, b) in pairs if a != b), min(len(one), len(other)))
    line = 1 + one.count(b"\n", 0, common)
    parts = [each[max(common - 30, 0) : common + 30] for each in (one, other)]
    return f"from byte {common}, line {line}: {parts[0]!r} became {parts[1]!r}"


def left_over(clone: Clone, run: set[str]) -> list[str]:
    """Tells of temporary files of stages that ran again; those of others wait for their next."""
    stages = yaml.safe_load(clone.text("dvc.lock"))["stages"].items()
    writer = {out["path"]: stage for stage, entry in stages for out in entry["outs"]}
    left = []
    for path in sorted([*clone.folder.glob("*/**/.*.part"), *clone.folder.glob("models/*/.*")]):
        inside = path.relative_to(clone.folder)
        name = re.sub(r"^\.|\.\w+\.part$", "", path.name)
        if {f"train@{path.parent.name}", writer.get(str(inside.parent / name))} & run:
            left.append(f"{inside} is left")
    return left


def last_line(printed: str) -> str:
    return " ".join(printed.split("\n\n")[-1].split())[-300:]


if __name__ == "__main__":
    main()
