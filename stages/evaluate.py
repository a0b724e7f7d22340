"""Measures a trained model on the test set into metrics/<model>.json and evaluations/."""

from argparse import ArgumentParser

import torch

from stages import plain_errors, read_params
from symmetry.artifacts import read_dataset, write_arrays, write_json
from symmetry.checkpoints import load
from symmetry.evaluation import evaluate, summarize
from symmetry.models import MODELS


def main() -> None:
    parser = ArgumentParser(description=__doc__)
    parser.add_argument("model", choices=MODELS)
    key = parser.parse_args().model
    params = read_params().evaluate
    evaluation = evaluate(
        load(f"models/{key}/weights.safetensors"),
        read_dataset("data/test.npz"),
        neighbours=params.neighbours,
        critic_steps=params.critic_steps,
        generator=torch.Generator().manual_seed(params.seed),
    )
    metrics = summarize(evaluation.metrics)
    write_arrays(f"evaluations/{key}.npz", evaluation.arrays)
    write_json(f"metrics/{key}.json", metrics)
    print(f"metrics/{key}.json:", metrics)


if __name__ == "__main__":
    with plain_errors():
        main()
