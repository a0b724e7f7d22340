"""Measures a step on a CUDA device with few and many seeds, into benchmarks/gpu.csv; 5 minutes."""

import sys
from argparse import ArgumentParser

import torch
from tqdm import tqdm

from benchmarks.bench import case
from stages import plain_errors
from symmetry.artifacts import write_csv
from symmetry.models import MODELS

STACKS = 1, 4, 32


def main() -> None:
    ArgumentParser(description=__doc__).parse_args()
    if not torch.cuda.is_available():
        raise ValueError("PyTorch finds no CUDA device to measure")
    cases = [(model, seeds) for model in MODELS for seeds in STACKS]
    rows = []
    for model, seeds in tqdm(cases, disable=not sys.stderr.isatty()):
        found = case("benchmarks.case", model, "--device=cuda", seeds=seeds, chunk=50)
        kept = {key: found[key] for key in ("model", "device", "seeds", "batch")}
        step = round(found["ms_per_step"], 3)
        rows.append(kept | {"ms_per_step": step, "torch": torch.__version__})
    write_csv("benchmarks/gpu.csv", rows)


if __name__ == "__main__":
    with plain_errors():
        main()
