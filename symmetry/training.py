"""One training loop for all models: schedules, validation, selection, progress."""

__all__ = ["Progress", "Schedule", "State", "cosine", "geometric", "train"]

from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from itertools import accumulate
from math import cos, isfinite, pi

import torch
from torch import Tensor

from symmetry.adam import Adam
from symmetry.data import Dataset
from symmetry.models import Model
from symmetry.networks import initialise

SOONEST = 10  # steps between the first validations

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


def cosine(start: float, end: float, warmup: float = 0.0) -> Schedule:
    r"""Returns a schedule :math:`b + (a - b)(1 + \cos \pi p) / 2` that falls from a to b.

    In a first share of the training, the warm-up, it is less in proportion.
    """

    def value(done: float) -> float:
        falling = end + (start - end) * (1 + cos(pi * done)) / 2
        return falling * min(1.0, (done + 1e-3) / warmup) if warmup > 0 else falling

    return value


@dataclass(frozen=True)
class Progress:
    """Reports where a training is.

    Arguments:
        step: The number of steps done.
        turn: The number of the turn, from 0.
        train: The batch's loss terms, each with shape (S,).
        validation: The validation set's loss terms, objective, and mean absolute errors, each
            with shape (S,).
        own: The objective of the turn's own terms on the validation set, with shape (S,).
        watched: The same on the rows that are watched, if any are.
        state: Gathers what the training can be resumed from; good until the next step.
    """

    step: int
    turn: int
    train: Mapping[str, Tensor]
    validation: Mapping[str, Tensor]
    own: Tensor
    watched: Tensor | None
    state: Callable[[], State]


def train(
    model: Model,
    training: Dataset,
    validation: Dataset,
    *,
    seeds: Sequence[int],
    bias_scale: float,
    steps: Sequence[int],
    batch_size: int,
    learning_rates: Mapping[str, Schedule],
    scheduled_weight: Schedule,
    averaging: float = 0.0,
    validate_every: int,
    report: Callable[[Progress], None] = lambda progress: None,
    resume: State | None = None,
    watched: Dataset | None = None,
    until: Sequence[int] | None = None,
) -> None:
    """Trains a model in place and leaves it with its best validated weights.

    A model's turns follow each other. In a turn all copies take a step at once, and all players
    with it. Every ``validate_every`` steps, more often at first, and at its end the objective of
    its terms is computed on the validation set, with noise that stays the same; each copy keeps
    the weights with which its own was lowest, and the next turn goes on from these.

    Arguments:
        model: The model, on the device to train on.
        training: The rows to draw batches from, each epoch in a new order.
        validation: The rows that select the weights.
        seeds: One seed a copy, for its weights, its batches and its noise.
        bias_scale: The scale of the decoders' biases at the start; see
            :func:`~symmetry.networks.initialise`.
        steps: The number of steps of each of the model's turns.
        batch_size: The number of rows in a batch of one copy.
        learning_rates: The learning rate of each of the model's players, over its turn.
        scheduled_weight: The weight of the KL term, or of a bottleneck, over its turn.
        averaging: The share that an exponential moving average of the weights keeps at a step;
            the average is what is validated and kept. With 0 these are the weights themselves.
        validate_every: The number of steps between validations, at most.
        report: Called with the progress after each validation.
        resume: The state of a training with the same arguments to go on from, with the same bits
            as if it had never stopped; from scratch if left out.
        watched: Other rows, whose objective is reported, and which select nothing.
        until: The step at which each turn ends, short of its schedule, with the weights that
            then stand; if left out each goes on to its end and validation selects.

    Raises:
        ValueError: If there are fewer training rows than a batch takes, or the steps or the
            learning rates are not those of the model's turns and players.
        FloatingPointError: If a loss term is not finite, on a batch or in validation.
    """
    if len(training) < batch_size:
        raise ValueError(
            f"a batch takes {batch_size} rows; the training set has only {len(training)}"
        )
    turns, players = model.turns(), model.players()
    if len(steps) != len(turns):
        raise ValueError(f"{model.key} trains in {len(turns)} turns; found {len(steps)} of steps")
    if set(learning_rates) != set(players):
        raise ValueError(
            f"learning rates are given for {', '.join(learning_rates)}; the players of "
            f"{model.key} are {', '.join(players)}"
        )
    generators = [torch.Generator().manual_seed(seed) for seed in seeds]
    initialise(model, generators, model.decoders(), bias_scale)
    model.train()
    parameters = list(model.parameters())
    device = parameters[0].device
    x, y = _to(device, training)
    held = _to(device, validation)
    validation_batch = _batch(model, held, generators)
    # Noise of their own, so that nothing else changes where rows are watched.
    aside = [torch.Generator().manual_seed(seed) for seed in seeds]
    watched_batch = None if watched is None else _batch(model, _to(device, watched), aside)
    copies = [
        _Batches(generator, len(training), batch_size, model.noise_size)
        for generator in generators
    ]
    best = _parameters(model)
    first = 0 if resume is None else int(resume["step"])
    if resume is not None:
        _restore(resume, "model", _tensors(model))
        _restore(resume, "best", best)
        for batches, epoch in zip(copies, resume["epoch"], strict=True):
            batches.go_to(epoch, int(resume["taken"]))

    for number, (turn, begin, length) in enumerate(
        zip(turns, accumulate(steps, initial=0), steps, strict=False)
    ):
        end = begin + (length if until is None else until[number])
        if first >= end:
            continue
        _fill(model, best)
        model.prepare(turn, x, *held)
        rates = {name: learning_rates[name] for name in turn.players}
        optimizers = {name: Adam(players[name]) for name in rates}
        average = _Average([p for name in rates for p in players[name]], averaging)
        stops = set(_stops(length, validate_every) if until is None else [until[number]])
        lowest = torch.full((len(seeds),), torch.inf, device=device)
        if resume is not None and first > begin:
            _restore(resume, "model", _tensors(model))
            _restore(resume, "average", average.named())
            for name, optimizer in optimizers.items():
                _restore(resume, f"adam.{name}", optimizer.named())
            lowest = resume["lowest"].to(device)

        for step in range(max(first, begin), end):
            done = (step - begin) / length
            rows, noise = (
                torch.stack(drawn).to(device) for drawn in zip(*map(next, copies), strict=True)
            )
            # Batch by batch: of many rows there is no second copy in memory.
            terms = model.terms(*_standardised(model, x[rows], y[rows]), noise, turn.terms)
            for parameter in parameters:
                parameter.grad = None
            model.loss(terms, scheduled_weight(done)).sum().backward()  # type: ignore[no-untyped-call]
            for name, optimizer in optimizers.items():
                optimizer.step(rates[name](done))
            average.take_in(step - begin)
            if step + 1 - begin in stops:
                model.eval()
                with torch.no_grad(), average.in_place():
                    validated = model.terms(*validation_batch)
                    errors = model.mean_absolute_errors(*validation_batch[:2])
                    objective = model.objective(validated)
                    own = model.objective({name: validated[name] for name in turn.terms})
                    beside = (
                        None
                        if watched_batch is None
                        else model.objective(model.terms(*watched_batch, turn.terms))
                    )
                    better = own < lowest
                    lowest = torch.where(better, own, lowest)
                    for name, value in model.named_parameters():
                        best[name][better] = value[better]
                model.train()
                _check_finite(
                    model.key, step + 1, seeds, {"training": terms, "validation": validated}
                )

                def state(
                    step: int = step,
                    lowest: Tensor = lowest,
                    optimizers: Mapping[str, Adam] = optimizers,
                    average: _Average = average,
                ) -> State:
                    moments = {
                        f"{name}.{moment}": value
                        for name, optimizer in optimizers.items()
                        for moment, value in optimizer.named().items()
                    }
                    return {
                        **_named("model", _tensors(model)),
                        **_named("best", best),
                        **_named("average", average.named()),
                        **_named("adam", moments),
                        "lowest": lowest,
                        "step": torch.tensor(step + 1),
                        "epoch": torch.stack([batches.epoch for batches in copies]),
                        "taken": torch.tensor(copies[0].taken),
                    }

                report(
                    Progress(
                        step + 1,
                        number,
                        {name: value.detach() for name, value in terms.items()},
                        {**validated, "objective": objective, **errors},
                        own,
                        beside,
                        state,
                    )
                )
    _fill(model, best)
    model.eval()


def _stops(length: int, every: int) -> Iterator[int]:
    # The steps of a turn after which it is validated, often while little is learned: a few hundred
    # noisy rows are learned by heart within a few hundred steps.
    stop = 0
    while stop < length:
        stop = min(length, stop + min(every, max(SOONEST, stop // 4)))
        yield stop


def _to(device: torch.device, dataset: Dataset) -> tuple[Tensor, Tensor]:
    return (
        torch.as_tensor(dataset.x, dtype=torch.float32, device=device),
        torch.as_tensor(dataset.y, dtype=torch.float32, device=device),
    )


def _batch(
    model: Model, held: tuple[Tensor, Tensor], generators: Sequence[torch.Generator]
) -> tuple[Tensor, Tensor, Tensor]:
    # Rows that are held out as one batch of all copies, with noise that stays the same.
    x, y = (rows.expand(len(generators), -1, -1) for rows in _standardised(model, *held))
    noise = [
        torch.randn(len(held[0]), model.noise_size, generator=generator)
        for generator in generators
    ]
    return x, y, torch.stack(noise).to(x.device)


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
        self, generator: torch.Generator, rows: int, batch_size: int, noise_size: int
    ) -> None:
        self.generator = generator
        self.rows, self.batch_size, self.noise_size = rows, batch_size, noise_size
        self._begin_epoch()

    def __next__(self) -> tuple[Tensor, Tensor]:
        if (self.taken + 1) * self.batch_size > self.rows:
            self._begin_epoch()
        start = self.taken * self.batch_size
        self.taken += 1
        rows = self.order[start : start + self.batch_size]
        return rows, torch.randn(self.batch_size, self.noise_size, generator=self.generator)

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


class _Average:
    # An exponential moving average of parameters, of the last few steps while there are few.

    def __init__(self, parameters: Iterable[Tensor], keeps: float) -> None:
        self.parameters, self.keeps = list(parameters), keeps
        self.values = [value.detach().clone() for value in self.parameters] if keeps else []

    @torch.no_grad()
    def take_in(self, steps: int) -> None:
        if self.values:
            share = 1 - min(self.keeps, (steps + 1) / (steps + 10))
            torch._foreach_lerp_(self.values, self.parameters, share)

    @contextmanager
    def in_place(self) -> Iterator[None]:
        # The average stands in the model's place.
        own = [value.detach().clone() for value in self.parameters]
        for parameter, value in zip(self.parameters, self.values, strict=False):
            parameter.data.copy_(value)
        yield
        for parameter, value in zip(self.parameters, own, strict=True):
            parameter.data.copy_(value)

    def named(self) -> State:
        return {str(number): value for number, value in enumerate(self.values)}


def _tensors(model: Model) -> State:
    # With the buffers that a weight file does not hold, such as an average over batches.
    return {**dict(model.named_parameters()), **dict(model.named_buffers())}


def _parameters(model: Model) -> State:
    return {name: value.detach().clone() for name, value in model.named_parameters()}


@torch.no_grad()
def _fill(model: Model, values: State) -> None:
    for name, parameter in model.named_parameters():
        parameter.copy_(values[name])


def _named(prefix: str, tensors: State) -> State:
    return {f"{prefix}.{name}": value for name, value in tensors.items()}


@torch.no_grad()
def _restore(state: State, prefix: str, tensors: State) -> None:
    for name, value in tensors.items():
        value.copy_(state[f"{prefix}.{name}"])
