"""Measures one training, in a process of its own, and prints what it saw as a line of json."""

import json
import resource
import sys
from argparse import ArgumentParser
from statistics import median
from time import perf_counter

import numpy as np
import torch
from torch.utils.flop_counter import FlopCounterMode

from stages.study import changed
from symmetry.artifacts import read_yaml
from symmetry.fitting import fit
from symmetry.models import MODELS, Model
from symmetry.tasks.spiral import spiral


def main() -> None:
    parser = ArgumentParser(description=__doc__)
    parser.add_argument("model", choices=MODELS)
    parser.add_argument("--seeds", type=int, required=True)
    parser.add_argument(
        "--batch", type=int, help="rows of a batch; that of params.yaml if left out"
    )
    parser.add_argument("--rows", type=int, default=100_000)
    parser.add_argument("--validation-rows", type=int, default=256)
    parser.add_argument("--chunk", type=int, default=20, help="steps from one time to the next")
    parser.add_argument("--chunks", type=int, default=7, help="how many times are taken")
    asked = parser.parse_args()

    changes = {
        "train.seeds": asked.seeds,
        "train.validate_every": asked.chunk,
        f"models.{asked.model}.steps": (asked.chunks + 1) * asked.chunk,
    }
    if asked.batch:
        changes[f"models.{asked.model}.batch_size"] = asked.batch
    params = changed(read_yaml("params.yaml"), changes)
    generator = np.random.default_rng(0)
    training, validation = (spiral(n, generator) for n in (asked.rows, asked.validation_rows))
    times: list[float] = []
    peaks = [matmul_peak()]
    model = fit(
        asked.model,
        params,
        training,
        validation,
        report=lambda _: times.append(perf_counter()),
        threads=params.train.threads,
    )
    peaks.append(matmul_peak())
    step = median(np.diff(times)) / asked.chunk
    batch = params.models.block(asked.model).batch_size or params.train.batch_size
    memory = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss
    print(
        json.dumps(
            {
                "model": asked.model,
                "seeds": asked.seeds,
                "batch": batch,
                "rows": asked.rows,
                "ms_per_step": 1e3 * step,
                "ms_per_step_and_seed": 1e3 * step / asked.seeds,
                "gflop_per_step": flops(model, batch) / 1e9,
                "peak_gflops": max(peaks) / 1e9,
                "peak_mb": memory / (2**20 if sys.platform == "darwin" else 2**10),
            }
        )
    )


def matmul_peak(seconds: float = 1.0) -> float:
    """Measures how fast all threads together multiply float32 matrices at best, in FLOP/s."""
    rows = 1024 * torch.get_num_threads()
    a, b = torch.randn(rows, 256), torch.randn(256, 256)
    c = torch.empty(rows, 256)
    best, end = 0.0, perf_counter() + seconds
    while (start := perf_counter()) < end:
        for _ in range(10):
            torch.mm(a, b, out=c)
        best = max(best, 10 * 2 * rows * 256 * 256 / (perf_counter() - start))
    return best


def flops(model: Model, batch: int) -> int:
    """Counts the operations in the matrix products of one training step."""
    sizes = model.sizes
    model.train()
    with FlopCounterMode(display=False) as counter:
        terms = model.terms(
            torch.randn(sizes.stack, batch, sizes.x),
            torch.randn(sizes.stack, batch, sizes.y),
            torch.randn(sizes.stack, batch, model.latent_size),
        )
        model.loss(terms, 1.0).sum().backward()  # type: ignore[no-untyped-call]
    return int(counter.get_total_flops())


if __name__ == "__main__":
    main()
