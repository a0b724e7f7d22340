"""One training loop for all models: schedules, validation, selection, progress."""

__all__ = ["Progress", "Schedule", "State", "cosine", "geometric", "train"]

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from math import cos, isfinite, pi

import torch
from torch import Tensor

from symmetry.data import Dataset
from symmetry.models import Model
from symmetry.networks import initialise

State = dict[str, Tensor]
"""All that a training goes on from, as named tensors."""

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
        state: Gathers what the training can be resumed from; good until the next step.
    """

    step: int
    train: Mapping[str, Tensor]
    validation: Mapping[str, Tensor]
    state: Callable[[], State]


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
    resume: State | None = None,
) -> None:
    """Trains a model in place and leaves it with its best validated weights.

    All copies take a step at once, and all players with it. Every ``validate_every`` steps and
    at the end the objective is computed on the validation set, with noise that stays the same;
    each copy keeps the weights with which its own was lowest.

    Arguments:
        model: The model, on the device to train on.
        training: The rows to draw batches from, each epoch in a new order.
        validation: The rows that select the weights.
        seeds: One seed a copy, for its weights, its batches and its noise.
        bias_scale: The scale of the decoders' biases at the start; see
            :func:`~symmetry.networks.initialise`.
        steps: The number of steps.
        batch_size: The number of rows in a batch of one copy.
        learning_rates: The learning rate of each of the model's players.
        kl_weight: The weight of the KL term.
        validate_every: The number of steps between validations.
        report: Called with the progress after each validation.
        resume: The state of a training with the same arguments to go on from, with the same bits
            as if it had never stopped; from scratch if left out.

    Raises:
        ValueError: If there are fewer training rows than a batch takes, or the learning rates
            are not those of the model's players.
        FloatingPointError: If a loss term is not finite, on a batch or in validation.
    """
    if len(training) < batch_size:
        raise ValueError(
            f"a batch takes {batch_size} rows; the training set has only {len(training)}"
        )
    generators = [torch.Generator().manual_seed(seed) for seed in seeds]
    initialise(model, generators, model.decoders(), bias_scale)
    model.train()
    device = next(model.parameters()).device
    x, y = _to(device, training)
    validation_batch = (
        *(
            rows.expand(len(seeds), -1, -1)
            for rows in _standardised(model, *_to(device, validation))
        ),
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
    copies = [
        _Batches(generator, len(training), batch_size, model.latent_size)
        for generator in generators
    ]

    def state() -> State:
        return {
            **{f"model.{name}": value for name, value in _tensors(model).items()},
            **{f"best.{name}": value for name, value in best.items()},
            **_moments(optimizer),
            "lowest": lowest,
            "step": torch.tensor(step + 1),
            "epoch": torch.stack([batches.epoch for batches in copies]),
            "taken": torch.tensor(copies[0].taken),
        }

    first = 0
    if resume is not None:
        first = int(resume["step"])
        _restore(resume, model, best, optimizer)
        lowest = resume["lowest"].to(device)
        for batches, epoch in zip(copies, resume["epoch"], strict=True):
            batches.go_to(epoch, int(resume["taken"]))
    for step in range(first, steps):
        done = step / steps
        for group, rate in zip(optimizer.param_groups, learning_rates.values(), strict=True):
            group["lr"] = rate(done)
        rows, noise = (
            torch.stack(drawn).to(device) for drawn in zip(*map(next, copies), strict=True)
        )
        # Batch by batch: of many rows there is no second copy in memory.
        terms = model.terms(*_standardised(model, x[rows], y[rows]), noise)
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
            _check_finite(model.key, step + 1, seeds, {"training": terms, "validation": validated})
            better = objective < lowest
            lowest = torch.where(better, objective, lowest)
            for name, value in model.state_dict().items():
                best[name][better] = value[better]
            report(
                Progress(
                    step + 1,
                    {name: value.detach() for name, value in terms.items()},
                    {**validated, "objective": objective, **errors},
                    state,
                )
            )
    model.load_state_dict(best)
    model.eval()


def _to(device: torch.device, dataset: Dataset) -> tuple[Tensor, Tensor]:
    return (
        torch.as_tensor(dataset.x, dtype=torch.float32, device=device),
        torch.as_tensor(dataset.y, dtype=torch.float32, device=device),
    )


def _standardised(model: Model, x: Tensor, y: Tensor) -> tuple[Tensor, Tensor]:
    return model.standardised(x, "x"), model.standardised(y, "y")


def _check_finite(
    key: str, step: int, seeds: Sequence[int], terms_of: Mapping[str, Mapping[str, Tensor]]
) -> None:
    for part, terms in terms_of.items():
        for term, values in terms.items():
            bad = [
                f"{value} with seed {seed}"
                for seed, value in zip(seeds, values.tolist(), strict=True)
                if not isfinite(value)
            ]
            if bad:
                raise FloatingPointError(
                    f"{key}: the {part} term {term} is {', '.join(bad)} after {step} steps; "
                    f"a lower learning rate may help"
                )


class _Batches:
    # One copy's endless batches, each epoch in a new order: row numbers and noise of each step.

    def __init__(
        self, generator: torch.Generator, rows: int, batch_size: int, latent_size: int
    ) -> None:
        self.generator = generator
        self.rows, self.batch_size, self.latent_size = rows, batch_size, latent_size
        self._begin_epoch()

    def __next__(self) -> tuple[Tensor, Tensor]:
        if (self.taken + 1) * self.batch_size > self.rows:
            self._begin_epoch()
        start = self.taken * self.batch_size
        self.taken += 1
        rows = self.order[start : start + self.batch_size]
        return rows, torch.randn(self.batch_size, self.latent_size, generator=self.generator)

    def go_to(self, epoch: Tensor, taken: int) -> None:
        # The state of the generator when the epoch began, and the batches taken of it.
        # Cloned, since PyTorch reads a view from where its storage begins.
        self.generator.set_state(epoch.clone())
        self._begin_epoch()
        for _ in range(taken):
            next(self)

    def _begin_epoch(self) -> None:
        self.epoch = self.generator.get_state()
        self.order = torch.randperm(self.rows, generator=self.generator)
        self.taken = 0


def _tensors(model: Model) -> State:
    # With the buffers that a weight file does not hold, such as an average over batches.
    return {**dict(model.named_parameters()), **dict(model.named_buffers())}


def _moments(optimizer: torch.optim.Adam) -> State:
    return {
        f"adam.{number}.{name}": value
        for number, moments in optimizer.state_dict()["state"].items()
        for name, value in moments.items()
    }


@torch.no_grad()
def _restore(state: State, model: Model, best: State, optimizer: torch.optim.Adam) -> None:
    for prefix, tensors in (("model", _tensors(model)), ("best", best)):
        for name, value in tensors.items():
            value.copy_(state[f"{prefix}.{name}"])
    moments: dict[int, State] = {}
    for name, value in state.items():
        if name.startswith("adam."):
            _, number, moment = name.split(".")
            moments.setdefault(int(number), {})[moment] = value.clone()
    groups = optimizer.state_dict()["param_groups"]
    optimizer.load_state_dict({"state": moments, "param_groups": groups})
