"""Measures STIB's step against the very same in JAX, in turns, and prints a line of json."""

import json
from argparse import ArgumentParser
from statistics import median
from time import perf_counter

import numpy as np
import torch

from benchmarks.case import flops, matmul_peak
from benchmarks.jax_step import Training
from stages import read_params
from symmetry.models import STIB, Sizes
from symmetry.networks import initialise

STEPS = 30
TURNS = 9
RATES = 2e-3, 1e-3


def main() -> None:
    parser = ArgumentParser(description=__doc__)
    parser.add_argument("--seeds", type=int, required=True)
    seeds = parser.parse_args().seeds
    params = read_params()
    own = params.models.stib
    batch = own.batch_size or params.train.batch_size
    sizes = Sizes(seeds, 2, 2, **own.sizes())
    model = STIB(sizes, own.weights())
    generators = [torch.Generator().manual_seed(seed) for seed in range(seeds)]
    initialise(model, generators, model.decoders(), own.bias_scale)
    model.train()
    optimizer = torch.optim.Adam(
        [{"params": p, "lr": lr} for p, lr in zip(model.players().values(), RATES, strict=True)],
        fused=True,
    )
    theirs = Training(
        {name: value.detach().numpy().copy() for name, value in model.named_parameters()},
        sizes,
        own.weights(),
        RATES,
    )

    def ours(x: np.ndarray, y: np.ndarray, noise: np.ndarray) -> list[np.ndarray]:
        errors = []
        for of in zip(*map(torch.as_tensor, (x, y, noise)), strict=True):
            terms = model.terms(*of)
            optimizer.zero_grad()
            model.loss(terms, own.kl_weight).sum().backward()  # type: ignore[no-untyped-call]
            optimizer.step()
            errors.append(terms["x"].detach().numpy())
        return errors

    generator = np.random.default_rng(0)

    def batches() -> list[np.ndarray]:
        shape = STEPS, seeds, batch
        x = generator.uniform(-4, 4, (*shape, 2))
        noise = generator.standard_normal((*shape, model.latent_size))
        return [of.astype(np.float32) for of in (x, np.sin(2 * x), noise)]

    first = batches()
    # The same losses step by step: it is the same training. Rounding makes them part in the end.
    np.testing.assert_allclose(ours(*first)[:10], theirs.run(*first)[:10], rtol=1e-3)
    times: dict[str, list[float]] = {"ours": [], "jax": []}
    peaks = [matmul_peak()]
    for _ in range(TURNS):
        drawn = batches()
        for name, run in (("ours", ours), ("jax", theirs.run)):
            start = perf_counter()
            run(*drawn)
            times[name].append((perf_counter() - start) / STEPS * 1e3)
    peaks.append(matmul_peak())
    step = median(times["ours"])
    print(
        json.dumps(
            {
                "model": "stib",
                "seeds": seeds,
                "batch": batch,
                "ms_per_step": step,
                "ms_per_step_and_seed": step / seeds,
                "jax_ms_per_step_and_seed": median(times["jax"]) / seeds,
                "gflop_per_step": flops(model, batch)[0] / 1e9,
                "peak_gflops": max(peaks) / 1e9,
            }
        )
    )


if __name__ == "__main__":
    main()
