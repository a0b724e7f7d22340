"""A short form of `make faults`."""

import subprocess
import sys

from clones import ROOT
from faults import DAMAGES, MOMENTS

SEED = "88131"  # most of whose kills are quick; one falls in an experiment that is queued


def test_after_each_kind_of_kill_and_damage_make_repro_ends_with_the_same_bits():
    counts = ["--kills", "1", "--aimed", str(len(MOMENTS)), "--seeds", SEED, "--jobs", "2"]
    command = [sys.executable, "tests/faults.py", *counts]
    ended = subprocess.run(command, cwd=ROOT, capture_output=True, text=True)
    assert ended.returncode == 0, ended.stdout + ended.stderr
    assert all(f"when {moment} (" in ended.stdout for moment in MOMENTS)
    assert all(f"in {run} of " in ended.stdout for run in ("dvc exp run", "dvc queue"))
    cases = 1 + len(MOMENTS) + len(DAMAGES)
    assert f"{cases} of {cases} times" in ended.stdout
