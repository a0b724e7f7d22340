"""Measures a trained model on the test set into metrics/<model>.json and evaluations/<model>.*."""

from argparse import ArgumentParser

import torch

from stages import plain_errors, read_params
from symmetry.artifacts import read_dataset, write_arrays, write_json
from symmetry.checkpoints import load
from symmetry.evaluation import evaluate, generalisation_gap, summarize
from symmetry.models import MODELS


def main() -> None:
    parser = ArgumentParser(description=__doc__)
    parser.add_argument("model", choices=MODELS)
    key = parser.parse_args().model
    params = read_params()
    if params.train.threads is not None:
        torch.set_num_threads(params.train.threads)
    model = load(f"models/{key}/weights.safetensors")
    generator = torch.Generator().manual_seed(params.evaluate.seed)
    training = read_dataset("data/train.npz") if params.data.finite else None
    evaluation = evaluate(
        model,
        read_dataset("data/test.npz"),
        params.data.truth,
        neighbours=params.evaluate.neighbours,
        critic_steps=params.evaluate.critic_steps,
        generator=generator,
        refine=params.evaluate.refine,
        training=training,
    )
    known = evaluation.metrics
    if training is not None:
        validation = read_dataset("data/validation.npz")
        gap = generalisation_gap(model, training, validation, generator)
        known = {**known, "generalisation_gap": gap}
    metrics = summarize(known)
    write_arrays(f"evaluations/{key}.npz", evaluation.arrays)
    write_json(f"evaluations/{key}.json", evaluation.verdict.to_json())
    write_json(f"metrics/{key}.json", metrics)
    print(f"metrics/{key}.json: {len(metrics)} figures. {evaluation.verdict}")


if __name__ == "__main__":
    with plain_errors():
        main()
