"""Kills the pipeline at random moments: the next `dvc repro` must end with the same bits.

`make faults` runs thirty kills over all stages; `make test` a few.
"""

import hashlib
import os
import random
import shutil
import signal
import sys
import tempfile
import time
from argparse import ArgumentParser
from collections import Counter
from pathlib import Path

import yaml
from clones import MADE, MODELS, TINY, Clone, copy_working_tree, wait_until

# Long enough for a training to be killed between two checkpoints, and small.
SMALL = {"steps": 600, "hidden_size": 16, "batch_size": None}
HOW = {
    "kill -9 of all": (os.killpg, signal.SIGKILL),
    "kill -9 of DVC": (os.kill, signal.SIGKILL),
    "Ctrl-C": (os.killpg, signal.SIGINT),
}


def main() -> None:
    parser = ArgumentParser(description=__doc__)
    parser.add_argument("--kills", type=int, default=30)
    parser.add_argument("--seed", type=int, default=0)
    asked = parser.parse_args()
    with tempfile.TemporaryDirectory() as folder:
        environ = {**os.environ, "DVC_SITE_CACHE_DIR": f"{folder}/dvc", "OMP_NUM_THREADS": "1"}
        clone = Clone(Path(folder, "clone"), Path(sys.executable).parent, environ)
        prepare(clone)
        tally = survive(clone, asked.kills, random.Random(asked.seed))
    print(*(f"{count} × {what}" for what, count in sorted(tally.items())), sep="\n")
    print(f"{asked.kills} of {asked.kills} kills: the next `dvc repro` ended with the same bits")


def prepare(clone: Clone) -> None:
    """Makes a clone with small params whose pipeline has run once, unbroken."""
    copy_working_tree(clone.folder, leave_out=MADE)
    clone.set_params({**TINY, "models": dict.fromkeys(MODELS, SMALL)})
    clone.set_params({"train": {"validate_every": 20}})
    clone.git("init", "-q")
    clone.commit()
    clone.dvc("repro")
    clone.commit()
    shutil.rmtree(clone.folder / ".dvc/cache")  # from which DVC would restore what is killed


def survive(clone: Clone, kills: int, chance: random.Random) -> Counter[str]:
    """Kills so many runs of single stages and goes on after each; returns what was killed.

    Arguments:
        clone: A clone that :func:`prepare` made.
        kills: The number of kills.
        chance: Which stage is killed, how, and when.

    Raises:
        AssertionError: If a run after a kill fails, or does not end with the same bits.
    """
    unbroken = bits(clone)
    stages = list(yaml.safe_load(clone.text("dvc.lock"))["stages"])
    trainings = [stage for stage in stages if stage.startswith("train@")]
    tally: Counter[str] = Counter()
    for kill in range(kills):
        stage = chance.choice(trainings if kill % 2 else stages)
        how = chance.choice(list(HOW))
        patience = chance.uniform(1.0, 8.0)
        while not killed(clone, stage, how, patience):
            patience *= chance.uniform(0.3, 0.9)  # it had ended by then
            assert patience > 0.01, f"{how} in {stage} kills nothing"
        printed = clone.dvc("repro")
        wait_until(lambda: not clone.processes())  # an orphan has stopped as well
        assert bits(clone) == unbroken, f"after {how} in {stage}:\n{printed}"
        assert not clone.changed_files()
        left = [*clone.folder.glob("models/*/.*"), *clone.folder.glob("*/.*.part")]
        if f"Running stage '{stage}'" not in printed:
            # Killed when its outputs were whole but its checkpoint was not yet deleted: DVC finds
            # nothing to run, and the next training of this model deletes it.
            left = [path for path in left if not path.name.startswith((".checkpoint", ".owner"))]
        assert not left, f"after {how} in {stage} there is still {left}"
        shutil.rmtree(clone.folder / ".dvc/cache")
        tally[how] += 1
        tally[stage.split("@")[0]] += 1
        tally["gone on from a checkpoint"] += "goes on after step" in printed
        print(f"{kill + 1}: {how} in {stage} after {patience:.1f} s", flush=True)
    return tally


def killed(clone: Clone, stage: str, how: str, patience: float) -> bool:
    """Runs a stage anew and kills it in the midst; tells whether it was still running."""
    kill, number = HOW[how]
    log = clone.folder.parent / "log"
    command = clone.tools / "dvc", "repro", "--force", "--single-item", stage
    with clone.start(*command, log=log, start_new_session=True) as repro:
        time.sleep(patience)
        if repro.poll() is not None:
            assert repro.returncode == 0, log.read_text()
            return False
        kill(repro.pid, number)
        repro.wait()
    if how != "kill -9 of DVC":
        wait_until(lambda: not clone.processes())
    return repro.returncode != 0


def bits(clone: Clone) -> dict[str, str]:
    """Returns the digest of dvc.lock and of each output that it names."""
    lock = yaml.safe_load(clone.text("dvc.lock"))
    outs = [out["path"] for stage in lock["stages"].values() for out in stage["outs"]]
    return {
        path: hashlib.sha256((clone.folder / path).read_bytes()).hexdigest()
        for path in ["dvc.lock", *outs]
    }


if __name__ == "__main__":
    main()
