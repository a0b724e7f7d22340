"""What all tasks share: their params, their data sets, and the truth where it is known."""

__all__ = ["Drawn", "Plane", "TaskBase", "Truth"]

from abc import ABC, abstractmethod
from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass, field, replace
from typing import Annotated, ClassVar

import numpy as np
from numpy.random import Generator, SeedSequence, default_rng
from numpy.typing import NDArray
from pydantic import Field

from symmetry.blocks import Block, Seed
from symmetry.data import Array, Columns, Dataset, Units

Limits = tuple[tuple[float, float], tuple[float, float]]


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
    """

    level: Callable[[Array], Array]
    outside: Callable[[Array], NDArray[np.bool_]]
    bayes_prediction: Callable[[Array], Array]
    position: Callable[[Array], Array] | None = None
    invariants: Mapping[str, Callable[[Array], Array]] = field(default_factory=dict)


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

    truth: ClassVar[Truth | None] = None
    published: ClassVar[Mapping[str, Mapping[str, float | None]]] = {}
    finite: ClassVar[bool] = False

    seed: Seed

    @abstractmethod
    def parts(self) -> Iterator[tuple[str, Dataset]]:
        """Yields the data sets by name: first train, then validation, then test."""

    @property
    def plane(self) -> Plane:
        """The plane in which orbits are drawn."""
        return Plane()


class Drawn(TaskBase):
    """Is a task whose rows are drawn, as many as are asked for."""

    standardised: ClassVar[bool] = True
    x_names: ClassVar[tuple[str, ...]]
    y_names: ClassVar[tuple[str, ...]]

    train_rows: Annotated[int, Field(ge=1, le=10**8)]
    validation_rows: Annotated[int, Field(ge=2, le=10**7)]
    test_rows: Annotated[int, Field(ge=100, le=10**7)]

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
