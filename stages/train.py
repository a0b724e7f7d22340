"""Trains a model's seeds together into models/<model>/weights.safetensors and history.csv."""

import sys
from argparse import ArgumentParser
from collections.abc import Callable

import torch
from tqdm import tqdm

from stages import plain_errors, read_params
from symmetry.artifacts import claim, read_dataset, write_csv
from symmetry.checkpoints import save
from symmetry.data import Dataset
from symmetry.models import MODELS, Model, Sizes
from symmetry.params import ModelParams, Params, StibParams, TrainParams
from symmetry.training import Progress, Schedule, cosine, geometric, train

History = list[dict[str, float]]


def main() -> None:
    parser = ArgumentParser(description=__doc__)
    parser.add_argument("model", choices=MODELS)
    key = parser.parse_args().model
    params = read_params()
    training, validation = (read_dataset(f"data/{part}.npz") for part in ("train", "validation"))
    with claim(f"models/{key}") as check_claim:
        model, history = fit(key, params, training, validation, check_claim)
        check_claim()
        save(f"models/{key}/weights.safetensors", model)
        write_csv(f"models/{key}/history.csv", history)


def fit(
    key: str,
    params: Params,
    training: Dataset,
    validation: Dataset,
    on_report: Callable[[], None] = lambda: None,
) -> tuple[Model, History]:
    """Trains one model as params.yaml says and shows how far it is."""
    shared, own = params.train, params.models.block(key)
    if shared.threads:
        torch.set_num_threads(shared.threads)
    sizes = Sizes(shared.seeds, training.x.shape[1], training.y.shape[1], **own.sizes())
    model = MODELS[key](sizes, own.weights(), training.units).to(device_of(shared))
    history: History = []
    bar = tqdm(total=own.steps, desc=key, disable=not sys.stderr.isatty())

    def report(progress: Progress) -> None:
        on_report()
        terms = {name: values.tolist() for name, values in progress.validation.items()}
        for seed in range(shared.seeds):
            row = {name: float(f"{values[seed]:.6g}") for name, values in terms.items()}
            history.append({"step": progress.step, "seed": seed, **row})
        means = "  ".join(f"{name} {sum(of) / len(of):.3f}" for name, of in terms.items())
        bar.set_postfix_str(means)
        bar.update(progress.step - bar.n)
        if bar.disable:
            print(f"{key} step {progress.step} of {own.steps}  {means}", flush=True)

    train(
        model,
        training,
        validation,
        seeds=range(shared.seeds),
        bias_scale=own.bias_scale,
        steps=own.steps,
        batch_size=own.batch_size or shared.batch_size,
        learning_rates=learning_rates(own),
        kl_weight=geometric(own.kl_weight_start, own.kl_weight, own.kl_warmup),
        validate_every=shared.validate_every,
        report=report,
    )
    bar.close()
    return model, history


def device_of(params: TrainParams) -> str:
    """Chooses the device, "auto" being CUDA where there is one."""
    if params.device == "auto":
        return "cuda" if torch.cuda.is_available() else "cpu"
    if params.device == "cuda" and not torch.cuda.is_available():
        raise ValueError("train.device is cuda, but PyTorch finds no CUDA device; allowed: cpu")
    return params.device


def learning_rates(params: ModelParams) -> dict[str, Schedule]:
    """Makes the schedule of each player's learning rate."""
    rates = {"model": cosine(params.learning_rate, params.learning_rate_end)}
    if isinstance(params, StibParams):
        rates["adversary"] = cosine(
            params.adversary_learning_rate, params.adversary_learning_rate_end
        )
    return rates


if __name__ == "__main__":
    with plain_errors():
        main()
