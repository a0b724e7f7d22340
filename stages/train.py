"""Trains a model's seeds together into models/<model>/weights.safetensors and history.csv."""

import sys
from argparse import ArgumentParser

import torch
from tqdm import tqdm

from stages import plain_errors, read_params
from symmetry.artifacts import claim, read_dataset, write_csv
from symmetry.checkpoints import save
from symmetry.models import MODELS, Sizes
from symmetry.params import ModelParams, StibParams, TrainParams
from symmetry.training import Progress, Schedule, cosine, geometric, train


def main() -> None:
    parser = ArgumentParser(description=__doc__)
    parser.add_argument("model", choices=MODELS)
    key = parser.parse_args().model
    params = read_params()
    shared, own = params.train, getattr(params.models, key)
    training, validation = (read_dataset(f"data/{part}.npz") for part in ("train", "validation"))
    sizes = Sizes(shared.seeds, training.x.shape[1], training.y.shape[1], **own.sizes())
    model = MODELS[key](sizes, own.weights()).to(device_of(shared))
    if shared.threads:
        torch.set_num_threads(shared.threads)
    history: list[dict[str, float]] = []
    with claim(f"models/{key}") as check_claim:

        def report(progress: Progress) -> None:
            check_claim()
            terms = {name: values.tolist() for name, values in progress.validation.items()}
            for seed in range(shared.seeds):
                row = {name: float(f"{values[seed]:.6g}") for name, values in terms.items()}
                history.append({"step": progress.step, "seed": seed, **row})
            means = {name: f"{sum(values) / len(values):.3f}" for name, values in terms.items()}
            bar.set_postfix(means)
            if bar.disable:
                print(f"{key} step {progress.step}/{own.steps}", means, flush=True)

        bar = tqdm(range(own.steps), desc=key, disable=not sys.stderr.isatty())
        train(
            model,
            training,
            validation,
            seeds=range(shared.seeds),
            steps=own.steps,
            batch_size=shared.batch_size,
            learning_rates=learning_rates(own),
            kl_weight=geometric(own.kl_weight_start, own.kl_weight, own.kl_warmup),
            validate_every=shared.validate_every,
            report=report,
            track=lambda steps: bar,
        )
        check_claim()
        save(f"models/{key}/weights.safetensors", model)
        write_csv(f"models/{key}/history.csv", history)


def device_of(params: TrainParams) -> str:
    if params.device == "auto":
        return "cuda" if torch.cuda.is_available() else "cpu"
    if params.device == "cuda" and not torch.cuda.is_available():
        raise ValueError("train.device is cuda, and PyTorch finds no CUDA device; allowed: cpu")
    return params.device


def learning_rates(params: ModelParams) -> dict[str, Schedule]:
    rates = {"model": cosine(params.learning_rate, params.learning_rate_end)}
    if isinstance(params, StibParams):
        rates["adversary"] = cosine(
            params.adversary_learning_rate, params.adversary_learning_rate_end
        )
    return rates


if __name__ == "__main__":
    with plain_errors():
        main()
