"""A short form of `make faults`."""

import subprocess
import sys

from clones import ROOT
from faults import MOMENTS


def test_after_a_kill_at_each_moment_make_repro_ends_with_the_same_bits():
    command = [sys.executable, "tests/faults.py", "--kills", "1", "--aimed", str(len(MOMENTS))]
    ended = subprocess.run(command, cwd=ROOT, capture_output=True, text=True)
    assert ended.returncode == 0, ended.stdout + ended.stderr
    assert all(f"when {moment}" in ended.stdout for moment in MOMENTS)
    assert f"{1 + len(MOMENTS)} of {1 + len(MOMENTS)} kills" in ended.stdout
