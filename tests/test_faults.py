"""A short form of `make faults`."""

import subprocess
import sys

from clones import ROOT


def test_after_random_kills_repro_ends_with_the_same_bits():
    command = [sys.executable, "tests/faults.py", "--kills", "2", "--seed", "1"]
    ended = subprocess.run(command, cwd=ROOT, capture_output=True, text=True)
    assert ended.returncode == 0, ended.stdout + ended.stderr
    assert "2 of 2 kills" in ended.stdout
