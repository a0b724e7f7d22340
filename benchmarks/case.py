"""Measures one training, in a process of its own, and prints what it saw as a line of json."""

import json
import resource
import sys
from argparse import ArgumentParser
from collections import defaultdict
from collections.abc import Sequence
from itertools import pairwise
from statistics import median
from time import perf_counter

import numpy as np
import torch
from torch.profiler import profile

from stages import read_params
from stages.study import changed
from symmetry.artifacts import read_yaml
from symmetry.fitting import fit
from symmetry.models import MODELS, Model
from symmetry.tasks.spiral import spiral
from symmetry.training import Progress

PRODUCTS = "aten::mm", "aten::bmm", "aten::baddbmm"


def main() -> None:
    parser = ArgumentParser(description=__doc__)
    parser.add_argument("model", choices=MODELS)
    parser.add_argument("--seeds", type=int, required=True)
    parser.add_argument(
        "--batch", type=int, help="rows of a batch; that of params.yaml if left out"
    )
    parser.add_argument("--device", choices=("cpu", "cuda"), default="cpu")
    parser.add_argument("--rows", type=int, default=100_000)
    parser.add_argument("--validation-rows", type=int, default=256)
    parser.add_argument("--chunk", type=int, default=20, help="steps between validations")
    parser.add_argument("--chunks", type=int, default=7, help="how many times are taken")
    asked = parser.parse_args()

    # Validations are frequent at first: a chunk is whole after four of them.
    length = (asked.chunks + 5) * asked.chunk
    changes = {
        "train.seeds": asked.seeds,
        "train.device": asked.device,
        "train.validate_every": asked.chunk,
        f"models.{asked.model}.steps": length,
    }
    if asked.model == "stib_flow":
        changes["models.stib_flow.predictor_steps"] = length
    if asked.batch:
        changes[f"models.{asked.model}.batch_size"] = asked.batch
    params = changed(read_yaml("params.yaml"), changes)
    generator = np.random.default_rng(0)
    training, validation = (spiral(n, generator) for n in (asked.rows, asked.validation_rows))
    seen: list[tuple[int, float]] = []

    def report(progress: Progress) -> None:
        _wait(asked.device)
        seen.append((progress.step, perf_counter()))

    peaks = [matmul_peak(asked.device)]
    threads = params.train.threads
    model = fit(asked.model, params, training, validation, report=report, threads=threads)
    peaks.append(matmul_peak(asked.device))
    # A turn counts by its share of the steps of a whole training.
    turns = read_params().models.block(asked.model).turn_steps(asked.rows)
    step = np.average(seconds_a_step(seen, asked.chunk, length), weights=turns)
    batch = params.models.block(asked.model).batch_size or params.train.batch_size
    memory = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss
    print(
        json.dumps(
            {
                "model": asked.model,
                "device": "cpu" if asked.device == "cpu" else torch.cuda.get_device_name(),
                "seeds": asked.seeds,
                "batch": batch,
                "rows": asked.rows,
                "ms_per_step": 1e3 * step,
                "ms_per_step_and_seed": 1e3 * step / asked.seeds,
                "gflop_per_step": np.average(flops(model, batch), weights=turns) / 1e9,
                "peak_gflops": max(peaks) / 1e9,
                "peak_mb": memory / (2**20 if sys.platform == "darwin" else 2**10),
            }
        )
    )


def seconds_a_step(seen: Sequence[tuple[int, float]], chunk: int, length: int) -> list[float]:
    """Computes what a step takes in each turn, as the median over the whole chunks.

    Arguments:
        seen: The step and the time at the end of each validation.
        chunk: The steps between two validations, once they are not more frequent.
        length: The steps of a turn.
    """
    turns: dict[int, list[float]] = defaultdict(list)
    for (before, start), (after, end) in pairwise(seen):
        if after - before == chunk:
            turns[(after - 1) // length].append((end - start) / chunk)
    return [median(turns[turn]) for turn in sorted(turns)]


def matmul_peak(device: str = "cpu", seconds: float = 1.0) -> float:
    """Measures how fast a device, with all threads, multiplies float32 matrices, in FLOP/s."""
    rows = 1024 * torch.get_num_threads() if device == "cpu" else 2**18
    a, b = torch.randn(rows, 256, device=device), torch.randn(256, 256, device=device)
    c = torch.empty(rows, 256, device=device)
    best, end = 0.0, perf_counter() + seconds
    while (start := perf_counter()) < end:
        for _ in range(10):
            torch.mm(a, b, out=c)
        _wait(device)
        best = max(best, 10 * 2 * rows * 256 * 256 / (perf_counter() - start))
    return best


def _wait(device: str) -> None:
    # A CUDA device works on while Python goes on.
    if device == "cuda":
        torch.cuda.synchronize()


def flops(model: Model, batch: int) -> list[int]:
    """Counts the operations in the matrix products of one training step, of each turn."""
    sizes, device = model.sizes, next(model.parameters()).device
    model.train()
    counts = []
    for turn in model.turns():
        with profile(with_flops=True) as counter:
            terms = model.terms(
                torch.randn(sizes.stack, batch, sizes.x, device=device),
                torch.randn(sizes.stack, batch, sizes.y, device=device),
                torch.randn(sizes.stack, batch, model.noise_size, device=device),
                turn.terms,
            )
            model.loss(terms, 1.0).sum().backward()  # type: ignore[no-untyped-call]
        counts.append(sum(e.flops for e in counter.key_averages() if e.key in PRODUCTS))
    return counts


if __name__ == "__main__":
    main()
