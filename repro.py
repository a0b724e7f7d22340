"""Reproduces the pipeline as `dvc repro` does, but trains and evaluates its models side by side.

DVC runs one stage after the other. No model needs another, and two of them on one core each are
done in two thirds of the time that both cores take for one after the other.
"""

import os
import signal
import subprocess
import sys
from argparse import ArgumentParser
from concurrent.futures import ThreadPoolExecutor
from contextlib import suppress
from queue import SimpleQueue
from types import FrameType

import psutil  # type: ignore[import-untyped]
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
    signal.signal(signal.SIGTERM, interrupt)
    lines: SimpleQueue[int] = SimpleQueue()  # of the terminal, for a progress bar each
    for line in range(jobs):
        lines.put(line)
    failed: list[str] = []

    def reproduce(key: str) -> None:
        if failed:
            return
        line = lines.get()
        # Each stage by itself: for what is upstream of both, one would bar the other.
        code = run_dvc(
            *("--single-item", f"train@{key}", f"evaluate@{key}"),
            TQDM_POSITION=str(line),
            OMP_NUM_THREADS=str(max(1, cores // jobs)),
        )
        lines.put(line)
        if code:
            failed.append(f"{key} (killed by signal {-code})" if code < 0 else key)

    # In threads, since Ctrl-C in the main one would kill DVC amid its writing.
    with ThreadPoolExecutor(jobs) as pool:
        if jobs > 1:
            if code := pool.submit(run_dvc, "generate").result():
                raise SystemExit(code)
            # The last ones take longest. They begin, so that no core waits for them at the end.
            list(pool.map(reproduce, reversed(keys)))
            if failed:
                raise SystemExit(f"error: not reproduced: {', '.join(failed)}; see above")
        raise SystemExit(pool.submit(run_dvc).result())


def run_dvc(*arguments: str, **defaults: str) -> int:
    """Runs `dvc repro` and returns how it ended; what the user has set in the environment wins."""
    command = [sys.executable, "-m", "dvc", "--wait-for-lock", "repro", *arguments]
    return subprocess.run(command, env={**defaults, **os.environ}, check=False).returncode


def interrupt(number: int, frame: FrameType | None) -> None:
    """Ends all that runs as Ctrl-C does, which reaches it without us."""
    for process in psutil.Process().children(recursive=True):
        with suppress(psutil.NoSuchProcess):
            process.send_signal(signal.SIGINT)
    raise KeyboardInterrupt


if __name__ == "__main__":
    with plain_errors():
        main()
