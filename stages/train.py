"""Trains a model's seeds together into models/<model>/weights.safetensors and history.csv."""

import sys
from argparse import ArgumentParser
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path
from time import monotonic

import torch
from tqdm import tqdm

from stages import plain_errors, read_params
from symmetry.artifacts import claim, digest, read_dataset, write_csv
from symmetry.checkpoints import History, load_state, save, save_state
from symmetry.data import Dataset
from symmetry.models import MODELS, Model, Sizes
from symmetry.params import ModelParams, Params, StibParams, TrainParams
from symmetry.training import Progress, Schedule, State, cosine, geometric, train

CODE = Path(__file__).parent, Path(__file__).parents[1] / "symmetry"
DATA = "data/train.npz", "data/validation.npz"
WORTH = 50  # a checkpoint is written when training took so many times as long as the last: 2 %


def main() -> None:
    parser = ArgumentParser(description=__doc__)
    parser.add_argument("model", choices=MODELS)
    key = parser.parse_args().model
    with trained(key, read_params(), f"models/{key}") as (model, history):
        save(f"models/{key}/weights.safetensors", model)
        write_csv(f"models/{key}/history.csv", history)


@contextmanager
def trained(key: str, params: Params, folder: str) -> Iterator[tuple[Model, History]]:
    """Trains one model on the data, and goes on where a killed run with the same input stopped.

    Its checkpoint lies in the folder, which it claims, and is deleted once the caller has written
    what it makes of the model.
    """
    training, validation = map(read_dataset, DATA)
    checkpoint = Path(folder, ".checkpoint.safetensors")
    shared, own = params.train, params.models.block(key)
    words = (key, shared.model_dump_json(), own.model_dump_json(), device_of(shared))
    fingerprint = digest((*CODE, *DATA), (*words, torch.__version__))
    written, cost = 0.0, 0.0

    with claim(folder) as check_claim:

        def on_report(progress: Progress, history: History) -> None:
            nonlocal written, cost
            check_claim()
            start = monotonic()
            if start - written >= WORTH * cost:
                save_state(checkpoint, progress.state(), history, fingerprint)
                written = monotonic()
                cost = written - start

        try:
            resume, history = load_state(checkpoint, fingerprint)
            print(f"{key}: goes on after step {int(resume['step'])}", flush=True)
        except FileNotFoundError:
            resume, history = None, []
        except ValueError as error:
            print(f"{key}: starts anew, since {error}", flush=True)
            resume, history = None, []
        model = fit(key, params, training, validation, history, on_report, resume)
        check_claim()
        yield model, history
        checkpoint.unlink(missing_ok=True)


def fit(
    key: str,
    params: Params,
    training: Dataset,
    validation: Dataset,
    history: History,
    on_report: Callable[[Progress, History], None] = lambda progress, history: None,
    resume: State | None = None,
) -> Model:
    """Trains one model as params say, shows how far it is, and appends to its history."""
    shared, own = params.train, params.models.block(key)
    if shared.threads:
        torch.set_num_threads(shared.threads)
    sizes = Sizes(shared.seeds, training.x.shape[1], training.y.shape[1], **own.sizes())
    model = MODELS[key](sizes, own.weights(), training.units).to(device_of(shared))
    done = int(resume["step"]) if resume else 0
    bar = tqdm(total=own.steps, initial=done, desc=key, disable=not sys.stderr.isatty())

    def report(progress: Progress) -> None:
        terms = {name: values.tolist() for name, values in progress.validation.items()}
        for seed in range(shared.seeds):
            row = {name: float(f"{values[seed]:.6g}") for name, values in terms.items()}
            history.append({"step": progress.step, "seed": seed, **row})
        on_report(progress, history)
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
        resume=resume,
    )
    bar.close()
    return model


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
