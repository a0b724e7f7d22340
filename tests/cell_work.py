"""The work of the cells that the tests run; a module, so that workers can import it."""

import os
import signal
import time
from pathlib import Path

import numpy as np


def draw(settings):
    """Sums random numbers in products whose bits depend on the threads."""
    seed = settings["seed"]
    a = np.random.default_rng(seed).standard_normal((64, 64))
    for _ in range(20):
        a = np.tanh(a @ a.T / 8)
    return [{"seed": seed, "part": part, "sum": float(a[part].sum())} for part in (0, 1)]


def marked(settings):
    """Draws, and leaves a line in a file for each time that it has begun."""
    with open(settings["log"], "a") as log:
        log.write(f"{settings['seed']} {os.getpid()}\n")
    time.sleep(settings.get("seconds", 0))
    return draw(settings)


def faulty(settings):
    """Draws, but fails with one of the seeds."""
    if settings["seed"] == settings["bad"]:
        raise ArithmeticError("no such number")
    return draw(settings)


def deadly(settings):
    """Draws, but with one of the seeds its process is killed: always, or the first time alone."""
    if settings["seed"] == settings["bad"]:
        mark = Path(settings["log"])
        if settings["always"] or not mark.exists():
            mark.touch()
            os.kill(os.getpid(), signal.SIGKILL)
    return draw(settings)


def threads(settings):
    """Tells how many threads PyTorch takes."""
    import torch  # which takes seconds to load

    return [{"seed": settings["seed"], "threads": torch.get_num_threads()}]
