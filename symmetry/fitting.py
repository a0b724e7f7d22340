"""Fits a model to data as params say."""

__all__ = ["device_of", "fit", "history_rows", "learning_rates", "scheduled_weight"]

from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager

import torch

from symmetry.data import Dataset
from symmetry.models import MODELS, Model, Sizes
from symmetry.params import (
    LatentParams,
    ModelParams,
    Params,
    StibFlowParams,
    StibParams,
    TrainParams,
)
from symmetry.training import Progress, Schedule, State, cosine, geometric, train

ALIGNING = 0.3  # the share of its turn in which a bottleneck comes to learn y
WARMUP = 0.03  # the share of a turn of STIB_FLOW in which its learning rate rises
LARGEST = 31 * 2**20  # bytes: of larger blocks glibc learns nothing


def fit(
    key: str,
    params: Params,
    training: Dataset,
    validation: Dataset,
    *,
    seed: int = 0,
    report: Callable[[Progress], None] = lambda progress: None,
    resume: State | None = None,
    threads: int | None = None,
    watched: Dataset | None = None,
    until: Sequence[int] | None = None,
) -> Model:
    """Builds one model of the sizes of the data and trains all its seeds as params say.

    Arguments:
        key: The name of the model in :data:`~symmetry.models.MODELS`.
        params: The params, of which it takes ``train`` and the model's own block.
        training: The rows to train on, and the units.
        validation: The rows that select the weights.
        seed: The seed of the first copy; those of the others follow.
        report: Called with the progress after each validation.
        resume: The state of a training with the same arguments to go on from.
        threads: How many threads PyTorch takes from now on; as many as before if left out.
        watched: Other rows, whose objective is reported, and which select nothing.
        until: The step at which each turn ends, short of its schedule; see
            :func:`~symmetry.training.train`.

    Returns:
        The trained model, on the device that params choose.

    Raises:
        ParamsError: If params have no block for the model.
        ValueError: If there is no CUDA device where one is asked for.
        FloatingPointError: If a loss term is not finite.
    """
    shared, own = params.train, params.models.block(key)
    if threads is not None:
        torch.set_num_threads(threads)
    # glibc gives free memory back to the system and takes it anew, hundreds of pages a step, until
    # a block as large as a step's memory was freed once: a million rows, or this one, not written.
    torch.empty(LARGEST, dtype=torch.uint8)
    device = device_of(shared)
    sizes = Sizes(shared.seeds, training.x.shape[1], training.y.shape[1], **own.sizes())
    with _without_denormals():
        model = MODELS[key](sizes, own.weights(), training.units).to(device)
        train(
            model,
            training,
            validation,
            seeds=range(seed, seed + shared.seeds),
            bias_scale=own.bias_scale if isinstance(own, LatentParams) else 2.0,
            steps=own.turn_steps(len(training)),
            batch_size=min(own.batch_size or shared.batch_size, len(training)),
            learning_rates=learning_rates(own),
            scheduled_weight=scheduled_weight(own),
            averaging=own.averaging if isinstance(own, StibFlowParams) else 0.0,
            validate_every=shared.validate_every,
            report=report,
            resume=resume,
            watched=watched,
            until=until,
        )
    return model


@contextmanager
def _without_denormals() -> Iterator[None]:
    # Numbers below 1e-38, as softplus and the moments of Adam bring them late in a training, count
    # as 0: on some processors they made a step of STIB six times as long. PyTorch's other threads
    # take this over from the one that starts them, hence before the first product.
    torch.set_flush_denormal(True)
    try:
        yield
    finally:
        torch.set_flush_denormal(False)


def history_rows(progress: Progress) -> list[dict[str, float]]:
    """Lists what was measured at a validation, to six digits: a row a seed, with its step."""
    terms = {name: values.tolist() for name, values in progress.validation.items()}
    seeds = zip(*terms.values(), strict=True)
    return [
        {"step": progress.step, "seed": seed}
        | {name: float(f"{value:.6g}") for name, value in zip(terms, values, strict=True)}
        for seed, values in enumerate(seeds)
    ]


def device_of(params: TrainParams) -> str:
    """Chooses the device, "auto" being CUDA where there is one.

    Raises:
        ValueError: If CUDA is asked for and there is none.
    """
    if params.device == "auto":
        return "cuda" if torch.cuda.is_available() else "cpu"
    if params.device == "cuda" and not torch.cuda.is_available():
        raise ValueError("train.device is cuda, but PyTorch finds no CUDA device; allowed: cpu")
    return params.device


def learning_rates(params: ModelParams) -> dict[str, Schedule]:
    """Makes the schedule of each player's learning rate."""
    if isinstance(params, StibFlowParams):
        rate = cosine(params.learning_rate, params.learning_rate_end, WARMUP)
        players = ["predictor", *(["bottleneck"] if params.target_size else []), "flow"]
        return dict.fromkeys(players, rate)
    rates = {"model": cosine(params.learning_rate, params.learning_rate_end)}
    if isinstance(params, StibParams):
        rates["adversary"] = cosine(
            params.adversary_learning_rate, params.adversary_learning_rate_end
        )
    return rates


def scheduled_weight(params: ModelParams) -> Schedule:
    """Makes the schedule of the weight of the KL term, or of STIB_FLOW's bottleneck."""
    if isinstance(params, LatentParams):
        return geometric(params.kl_weight_start, params.kl_weight, params.kl_warmup)
    return lambda done: min(1.0, done / ALIGNING)
