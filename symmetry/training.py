"""One training loop for all models: schedules, validation, selection, progress."""

__all__ = ["Progress", "Schedule", "cosine", "geometric", "train"]

from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from math import cos, pi

import torch
from torch import Tensor

from symmetry.data import Dataset
from symmetry.models import Model
from symmetry.networks import initialise

Schedule = Callable[[float], float]
"""A hyperparameter as a function of the share of the training that is done, in [0, 1]."""


def geometric(start: float, end: float, share: float) -> Schedule:
    r"""Returns a schedule that goes from a to b in a share of the training and stays there.

    .. math:: a^{1-r} b^r, \quad r = \min(1, p / \text{share})
    """

    def value(done: float) -> float:
        ratio = min(1.0, done / share) if share > 0 else 1.0
        return float(start ** (1 - ratio) * end**ratio)

    return value


def cosine(start: float, end: float) -> Schedule:
    r"""Returns a schedule :math:`b + (a - b)(1 + \cos \pi p) / 2` that falls from a to b."""
    return lambda done: end + (start - end) * (1 + cos(pi * done)) / 2


@dataclass(frozen=True)
class Progress:
    """Reports where a training is.

    Arguments:
        step: The number of steps done.
        train: The batch's loss terms, each with shape (S,).
        validation: The validation set's loss terms, objective, and mean absolute errors, each
            with shape (S,).
    """

    step: int
    train: Mapping[str, Tensor]
    validation: Mapping[str, Tensor]


def train(
    model: Model,
    training: Dataset,
    validation: Dataset,
    *,
    seeds: Sequence[int],
    bias_scale: float,
    steps: int,
    batch_size: int,
    learning_rates: Mapping[str, Schedule],
    kl_weight: Schedule,
    validate_every: int,
    report: Callable[[Progress], None] = lambda progress: None,
) -> None:
    """Trains a model in place from scratch and leaves it with its best validated weights.

    All copies take a step at once, and all players with it. Every ``validate_every`` steps and
    at the end the objective is computed on the validation set, with noise that stays the same;
    each copy keeps the weights with which its own was lowest.

    Arguments:
        model: The model, on the device to train on.
        training: The rows to draw batches from, each epoch in a new order.
        validation: The rows that select the weights.
        seeds: One seed a copy, for its weights, its batches and its noise.
        bias_scale: The scale of the biases at the start; see
            :func:`~symmetry.networks.initialise`.
        steps: The number of steps.
        batch_size: The number of rows in a batch of one copy.
        learning_rates: The learning rate of each of the model's players.
        kl_weight: The weight of the KL term.
        validate_every: The number of steps between validations.
        report: Called with the progress after each validation.

    Raises:
        ValueError: If there are fewer training rows than a batch takes, or the learning rates
            are not those of the model's players.
        FloatingPointError: If a loss is not finite.
    """
    if len(training) < batch_size:
        raise ValueError(
            f"a batch takes {batch_size} rows; the training set has only {len(training)}"
        )
    generators = [torch.Generator().manual_seed(seed) for seed in seeds]
    initialise(model, generators, bias_scale)
    model.train()
    device = next(model.parameters()).device
    x, y = _to(device, training)
    validation_batch = (
        *(rows.expand(len(seeds), -1, -1) for rows in _to(device, validation)),
        torch.stack(
            [
                torch.randn(len(validation), model.latent_size, generator=generator)
                for generator in generators
            ]
        ).to(device),
    )
    players = model.players()
    if set(learning_rates) != set(players):
        raise ValueError(
            f"learning rates are given for {', '.join(learning_rates)}; the players of "
            f"{model.key} are {', '.join(players)}"
        )
    optimizer = torch.optim.Adam(
        [{"params": players[name], "lr": rate(0.0)} for name, rate in learning_rates.items()],
        fused=True,
    )
    best = {name: value.clone() for name, value in model.state_dict().items()}
    lowest = torch.full((len(seeds),), torch.inf, device=device)
    draws = zip(
        *(
            _draws(generator, len(training), batch_size, model.latent_size)
            for generator in generators
        ),
        strict=True,
    )
    for step in range(steps):
        done = step / steps
        for group, rate in zip(optimizer.param_groups, learning_rates.values(), strict=True):
            group["lr"] = rate(done)
        rows, noise = (torch.stack(drawn).to(device) for drawn in zip(*next(draws), strict=True))
        terms = model.terms(x[rows], y[rows], noise)
        optimizer.zero_grad()
        model.loss(terms, kl_weight(done)).sum().backward()  # type: ignore[no-untyped-call]
        optimizer.step()
        if (step + 1) % validate_every == 0 or step + 1 == steps:
            model.eval()
            with torch.no_grad():
                validated = model.terms(*validation_batch)
                errors = model.mean_absolute_errors(*validation_batch[:2])
                objective = model.objective(validated)
            model.train()
            if not torch.isfinite(objective).all():
                raise FloatingPointError(
                    f"the validation objective of {model.key} is {objective.tolist()} after "
                    f"{step + 1} steps; a lower learning rate may help"
                )
            better = objective < lowest
            lowest = torch.where(better, objective, lowest)
            for name, value in model.state_dict().items():
                best[name][better] = value[better]
            report(
                Progress(
                    step + 1,
                    {name: value.detach() for name, value in terms.items()},
                    {**validated, "objective": objective, **errors},
                )
            )
    model.load_state_dict(best)
    model.eval()


def _to(device: torch.device, dataset: Dataset) -> tuple[Tensor, Tensor]:
    return (
        torch.as_tensor(dataset.x, dtype=torch.float32, device=device),
        torch.as_tensor(dataset.y, dtype=torch.float32, device=device),
    )


def _draws(
    generator: torch.Generator, rows: int, batch_size: int, latent_size: int
) -> Iterator[tuple[Tensor, Tensor]]:
    # One copy's endless batches: the row numbers and the noise of each step.
    while True:
        order = torch.randperm(rows, generator=generator)
        for start in range(0, rows - batch_size + 1, batch_size):
            batch = order[start : start + batch_size]
            yield batch, torch.randn(batch_size, latent_size, generator=generator)
