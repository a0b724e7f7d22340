"""What all tasks share: their params, their data sets, and the truth where it is known."""

__all__ = [
    "Drawn",
    "OrbitCoverage",
    "Orbits",
    "Plane",
    "TaskBase",
    "Truth",
    "column_distance",
    "orbit_coverage",
]

from abc import ABC, abstractmethod
from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass, field, replace
from typing import Annotated, ClassVar, NamedTuple

import numpy as np
from numpy.random import Generator, SeedSequence, default_rng
from numpy.typing import ArrayLike, NDArray
from pydantic import Field

from symmetry.blocks import Block, Seed
from symmetry.data import Array, Columns, Dataset, Units

Limits = tuple[tuple[float, float], tuple[float, float]]

ALIKE = 0.02  # standard deviations of a column, below which two values count as the same


class Orbits(NamedTuple):
    """Holds samples of true orbits.

    Arguments:
        x: The samples, in random order, with shape (samples, n, dim x).
        resolution: How far the farthest sample of each orbit lies from its level, in standard
            deviations of y, with shape (n,).
    """

    x: Array
    resolution: Array


@dataclass(frozen=True)
class Truth:
    r"""Holds what a task knows of itself in closed form.

    Arguments:
        level: All that y depends on, from x with shape (..., dim x) to shape (..., levels); an
            orbit of the true symmetry is where it is constant.
        outside: Whether a point has left the domain of x, from shape (..., dim x) to (...).
        position: Where on its orbit a point lies, from shape (..., dim x) to (...), uniform on
            [0, 1] whatever the level; None where it is not known.
        bayes_prediction: The best mean-square prediction :math:`E[y|x]`, from (..., dim x) to
            (..., dim y).
        invariants: Other functions of x, to shape (...), whose MI with y is a row of the table
            beside that of the position, by the name to print.
        orbit: Draws as many samples as are asked for, none twice, from the orbit at each level,
            with shape (n, levels); None where it is not known.
    """

    level: Callable[[Array], Array]
    outside: Callable[[Array], NDArray[np.bool_]]
    bayes_prediction: Callable[[Array], Array]
    position: Callable[[Array], Array] | None = None
    invariants: Mapping[str, Callable[[Array], Array]] = field(default_factory=dict)
    orbit: Callable[[Array, int, Generator], Orbits] | None = None


class OrbitCoverage(NamedTuple):
    """Holds how far partners are from filling the true orbits, 0 for all of them evenly.

    Arguments:
        reading: The mean distance of partners from samples of their orbits, with shape (...).
        floor: What as many other samples of the same orbits read.
        resolution: How far the samples lie from the level at most, in standard deviations of y,
            as a mean over rows.
    """

    reading: Array
    floor: float
    resolution: float


def orbit_coverage(
    truth: Truth, partners: Array, rows: Array, generator: Generator
) -> OrbitCoverage:
    r"""Computes how far partners are from filling the true orbits, by samples of these.

    Of each orbit 2 P samples are drawn: half of them stand for the orbit, half for exact partners,
    whose :func:`column_distance` is the floor: about :math:`0.87 \sqrt{2 / P}`, less what the
    tolerance forgives. Values of a column count as the same within 0.02 of its standard
    deviation, or within the samples' resolution where that is coarser.

    Arguments:
        truth: What is known of the task; its orbit must be.
        partners: P partners of each of the first m rows, with shape (..., P, m, dim x).
        rows: The rows, with shape (n, dim x), n ≥ m; from all of them come the deviations.
        generator: The source of the samples.

    Raises:
        ValueError: If no orbit is known, there are fewer rows than partners are of, or P is more
            than the task can draw.
    """
    if truth.orbit is None:
        raise ValueError("the true orbits of this task are not known")
    count, of = partners.shape[-3:-1]
    if of > len(rows):
        raise ValueError(f"there are partners of {of} rows, but only {len(rows)} rows")
    samples, resolution = truth.orbit(truth.level(rows[:of]), 2 * count, generator)
    tolerance = np.maximum(ALIKE, resolution)[:, None] * rows.std(0)
    reading = column_distance(partners, samples[:count], tolerance)
    floor = float(column_distance(samples[count:], samples[:count], tolerance))
    return OrbitCoverage(reading, floor, float(resolution.mean()))


def column_distance(partners: Array, orbits: Array, tolerance: ArrayLike = 0.0) -> Array:
    r"""Computes by how much the columns of partners and of true orbits are spread differently.

    .. math:: \overline{\sup_v \max\bigl(F(v) - G(v + \delta),\; G(v) - F(v + \delta)\bigr)}

    F is the distribution of a column among a row's partners, G that on its orbit; the mean is over
    rows and columns. With :math:`\delta = 0` it is the Kolmogorov–Smirnov distance, which reads 1
    of a column that the level fixes, however little partners are off; so a tolerance δ is needed.

    Arguments:
        partners: The partners, with shape (..., P, n, d).
        orbits: Samples of the orbits, with shape (Q, n, d).
        tolerance: δ, in the units of the columns, of a shape that broadcasts to (n, d).

    Returns:
        The mean distance, with shape (...).
    """
    own, true = np.sort(partners, -3), np.sort(orbits, -3)
    delta = np.broadcast_to(tolerance, true.shape[1:])
    distances = np.empty((*own.shape[:-3], *own.shape[-2:]))
    for place in np.ndindex(distances.shape):
        *copy, row, column = place
        one, other = own[*copy, :, row, column], true[:, row, column]
        reach = float(delta[row, column])
        distances[place] = max(_beyond(one, other, reach), _beyond(other, one, reach))
    mean: Array = distances.mean((-2, -1))
    return mean


def _beyond(one: Array, other: Array, reach: float) -> float:
    # The most by which F of one exceeds G of the other, moved by the reach; both are sorted.
    below = np.searchsorted(other, one + reach, "right") / len(other)
    return float((np.arange(1, len(one) + 1) / len(one) - below).max())


def first_two(x: Array) -> Array:
    """Takes the first two columns, or the only one twice, from (..., dim x) to (..., 2)."""
    return x[..., [0, min(1, x.shape[-1] - 1)]]


@dataclass(frozen=True)
class Plane:
    """Holds the plane in which orbits are drawn, and what is known in it.

    Arguments:
        project: From x with shape (..., dim x) to the plane, with shape (..., 2).
        labels: What stands at the axes.
        lines: True orbits, each with shape (points, 2).
        straight: True orbits that are straight, each by a point on it and its slope.
        limits: The limits of the two axes; None for those of what is drawn.
        equal: Whether both axes have one scale.
        dots: Whether an orbit takes more than one latent, so that it is drawn as points.
    """

    project: Callable[[Array], Array] = first_two
    labels: tuple[str, str] = ("$x_1$", "$x_2$")
    lines: tuple[Array, ...] = ()
    straight: tuple[tuple[tuple[float, float], float], ...] = ()
    limits: Limits | None = None
    equal: bool = True
    dots: bool = False


class TaskBase(Block, ABC):
    """Is what all tasks share; the fields of a task are its keys under ``data`` in params.yaml.

    A task names itself by the one value that its field ``task`` allows. What is known of it stands
    in its class: :attr:`truth`, the metrics that a paper published, by model and metric, and
    whether its rows are few (:attr:`finite`), so that how far they are learned by heart matters.
    """

    published: ClassVar[Mapping[str, Mapping[str, float | None]]] = {}
    finite: ClassVar[bool] = False

    seed: Seed

    @abstractmethod
    def parts(self) -> Iterator[tuple[str, Dataset]]:
        """Yields the data sets by name: first train, then validation, then test."""

    @property
    def truth(self) -> Truth | None:
        """What is known of the task in closed form, if anything is."""
        return None

    @property
    def plane(self) -> Plane:
        """The plane in which orbits are drawn."""
        return Plane()


class Drawn(TaskBase):
    """Is a task whose rows are drawn, as many as are asked for."""

    standardised: ClassVar[bool] = True

    train_rows: Annotated[int, Field(ge=1, le=10**8)]
    validation_rows: Annotated[int, Field(ge=2, le=10**7)]
    test_rows: Annotated[int, Field(ge=100, le=10**7)]

    @property
    def x_names(self) -> tuple[str, ...]:
        """The names of the columns of x; none where the task is not standardised."""
        return ()

    @property
    def y_names(self) -> tuple[str, ...]:
        """The names of the columns of y, likewise."""
        return ()

    @abstractmethod
    def draw(self, rows: int, generator: Generator) -> Dataset:
        """Draws so many rows of x, y and t."""

    def parts(self) -> Iterator[tuple[str, Dataset]]:
        """Yields the data sets by name: first train, then validation, then test."""
        rows = {
            "train": self.train_rows,
            "validation": self.validation_rows,
            "test": self.test_rows,
        }
        units = None
        # A stream for each set: more training rows do not change the test set.
        streams = SeedSequence(self.seed).spawn(3)
        for (name, count), stream in zip(rows.items(), streams, strict=True):
            drawn = self.draw(count, default_rng(stream))
            if self.standardised and units is None:
                x, y = Columns.of(drawn.x, self.x_names), Columns.of(drawn.y, self.y_names)
                units = Units(x, y)
            yield name, replace(drawn, units=units)
