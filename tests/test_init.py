"""What importing the package does, in processes of its own."""

import os
import subprocess
import sys

import pytest

READ_BY_OPENMP = ("GOMP_SPINCOUNT", "OMP_WAIT_POLICY")


@pytest.mark.parametrize(
    ("chosen", "found"),
    [
        ({}, "3000 None"),
        ({"GOMP_SPINCOUNT": "7"}, "7 None"),
        ({"OMP_WAIT_POLICY": "ACTIVE"}, "None ACTIVE"),
        ({"GOMP_SPINCOUNT": "7", "OMP_WAIT_POLICY": "PASSIVE"}, "7 PASSIVE"),
    ],
)
def test_waiting_threads_soon_sleep_unless_the_user_chose_before_pytorch_loads(chosen, found):
    others = {name: value for name, value in os.environ.items() if name not in READ_BY_OPENMP}
    code = (
        "import os, sys, symmetry\n"
        f"print(*map(os.environ.get, {READ_BY_OPENMP}), 'torch' in sys.modules)"
    )
    command = [sys.executable, "-c", code]
    process = subprocess.run(
        command, env=others | chosen, check=True, capture_output=True, text=True
    )
    assert process.stdout == f"{found} False\n"
