"""Reproduces the pipeline as `dvc repro` does, but trains and evaluates its models side by side.

DVC runs one stage after the other. No model needs another, and two of them on one core each are
done in two thirds of the time that both cores take for one after the other.
"""

import os
import subprocess
import sys
from argparse import ArgumentParser
from concurrent.futures import ThreadPoolExecutor
from queue import SimpleQueue

from joblib import cpu_count

from stages import plain_errors
from symmetry.artifacts import read_yaml


def main() -> None:
    parser = ArgumentParser(description=__doc__)
    parser.add_argument("--jobs", type=int, help="models at once [as many as cores]")
    arguments = parser.parse_args()
    (variables,) = read_yaml("dvc.yaml")["vars"]
    keys = variables["model_keys"]
    cores = cpu_count()
    jobs = min(len(keys), cores) if arguments.jobs is None else arguments.jobs
    if jobs < 1:
        raise ValueError(f"--jobs is {jobs}; allowed: 1 or more")
    lines: SimpleQueue[int] = SimpleQueue()  # of the terminal, for a progress bar each
    for line in range(jobs):
        lines.put(line)

    def reproduce(key: str) -> None:
        line = lines.get()
        try:
            # Each stage by itself: for what is upstream of both, one would bar the other.
            run_dvc(
                *("--single-item", f"train@{key}", f"evaluate@{key}"),
                TQDM_POSITION=str(line),
                OMP_NUM_THREADS=str(max(1, cores // jobs)),
            )
        finally:
            lines.put(line)

    if jobs > 1:
        run_dvc("generate")
        with ThreadPoolExecutor(jobs) as pool:
            # The last ones take longest. They begin, so that no core waits for them at the end.
            list(pool.map(reproduce, reversed(keys)))
    run_dvc()


def run_dvc(*arguments: str, **defaults: str) -> None:
    """Runs `dvc repro`; ends this program where it fails, which has said why.

    Of the environment, what the user has set wins.
    """
    command = [sys.executable, "-m", "dvc", "--wait-for-lock", "repro", *arguments]
    code = subprocess.run(command, env={**defaults, **os.environ}, check=False).returncode
    if code:
        raise SystemExit(code)


if __name__ == "__main__":
    with plain_errors():
        main()
