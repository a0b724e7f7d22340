"""Trains a model's seeds together into models/<model>/weights.safetensors and history.csv."""

import sys
from argparse import ArgumentParser
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from time import monotonic
from typing import NoReturn

import torch
from tqdm import tqdm

from stages import plain_errors, read_params
from symmetry.artifacts import claim, digest, read_dataset, write_csv
from symmetry.checkpoints import History, load_state, save, save_state
from symmetry.fitting import device_of, fit, history_rows
from symmetry.models import MODELS, Model
from symmetry.params import Params
from symmetry.training import Progress

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

        def report(progress: Progress) -> None:
            nonlocal written, cost
            check_claim()
            history.extend(history_rows(progress))
            start = monotonic()
            if start - written >= WORTH * cost:
                save_state(checkpoint, progress.state(), history, fingerprint)
                written = monotonic()
                cost = written - start
            show(bar, key, progress)

        try:
            resume, history = load_state(checkpoint, fingerprint)
            print(f"{key}: goes on after step {int(resume['step'])}", flush=True)
        except FileNotFoundError:
            resume, history = None, []
        except ValueError as error:
            print(f"{key}: starts anew, since {error}", flush=True)
            resume, history = None, []
        done = int(resume["step"]) if resume else 0
        hidden = not sys.stderr.isatty()
        with tqdm(
            total=sum(own.turn_steps(len(training))), initial=done, desc=key, disable=hidden
        ) as bar:
            model = fit(
                key,
                params,
                training,
                validation,
                report=report,
                resume=resume,
                threads=shared.threads,
            )
        check_claim()
        yield model, history
        checkpoint.unlink(missing_ok=True)


def show(bar: "tqdm[NoReturn]", key: str, progress: Progress) -> None:
    """Shows how far a training is and its means over seeds: on a bar, or without one in a line."""
    means = "  ".join(f"{name} {of.mean():.3f}" for name, of in progress.validation.items())
    bar.set_postfix_str(means)
    bar.update(progress.step - bar.n)
    if bar.disable:
        print(f"{key} step {progress.step} of {bar.total}  {means}", flush=True)


if __name__ == "__main__":
    with plain_errors():
        main()
