"""A task of three atoms in a plane: their distances do not tell how they are turned."""

__all__ = ["Triatomic", "distances", "draw", "outside", "position"]

from typing import ClassVar, Literal

import numpy as np
from numpy.random import Generator
from numpy.typing import NDArray

from symmetry.data import Array, Dataset
from symmetry.tasks.base import Drawn, Plane, Truth

Y_NOISE = 0.02
BONDS = (0.8, 1.2)
ANGLES = (np.pi / 3, 5 * np.pi / 6)  # between the bonds


def draw(rows: int, generator: Generator) -> Dataset:
    r"""Draws molecules of three atoms in random shape and orientation, and their distances.

    .. math:: a_1 = 0, \quad a_2 = r_2\,e(\theta), \quad a_3 = r_3\,e(\theta \pm \alpha), \quad
        r \sim U[0.8, 1.2]^2, \quad \alpha \sim U[60°, 150°], \quad \theta \sim U[0, 360°]

    x holds the coordinates less their mean and y the distances of the pairs (1, 2), (1, 3) and
    (2, 3) with noise of standard deviation 0.02. Neither hand is preferred, and y knows of none:
    the orbits are turned and mirrored molecules.

    Arguments:
        rows: The number of rows n.
        generator: The source of randomness.

    References:
        Inverse Learning of Symmetries (Wieser et al., 2020), figure 1a,
        https://arxiv.org/abs/2002.02782
    """
    bonds = generator.uniform(*BONDS, (rows, 2))
    between = generator.uniform(*ANGLES, rows) * generator.choice([-1, 1], rows)
    turned = generator.uniform(0, 2 * np.pi, rows)
    angles = np.stack([turned, turned + between], -1)
    atoms = np.zeros((rows, 3, 2))
    atoms[:, 1:] = bonds[..., None] * np.stack([np.cos(angles), np.sin(angles)], -1)
    atoms -= atoms.mean(1, keepdims=True)
    x = atoms.reshape(rows, 6)
    truth = distances(x)
    y = truth + Y_NOISE * generator.standard_normal((rows, 3))
    return Dataset(x, y, truth[:, 2])


def distances(x: Array) -> Array:
    """Computes the distances of the three pairs of atoms, from shape (..., 6) to (..., 3)."""
    atoms = x.reshape(*x.shape[:-1], 3, 2)
    pairs = atoms[..., [0, 0, 1], :] - atoms[..., [1, 2, 2], :]
    lengths: Array = np.linalg.norm(pairs, axis=-1)
    return lengths


def position(x: Array) -> Array:
    """Computes the direction of the first bond as a share of a turn, from (..., 6) to (...)."""
    bond = x[..., 2:4] - x[..., 0:2]
    share: Array = np.arctan2(bond[..., 1], bond[..., 0]) / (2 * np.pi) % 1
    return share


def outside(x: Array, margin: float = 0.1) -> NDArray[np.bool_]:
    """Tells which molecules no draw could give: a bond or the angle out of range, or a drift.

    A molecule has drifted if the mean of its atoms has a coordinate beyond the margin.

    Arguments:
        x: The coordinates, with shape (..., 6).
        margin: By how much lengths, angle (in radians) and mean may exceed their range.
    """
    first, second, third = np.moveaxis(distances(x), -1, 0)
    cosine = (first**2 + second**2 - third**2) / np.maximum(2 * first * second, 1e-12)
    angle = np.arccos(np.clip(cosine, -1, 1))
    drift = np.abs(x.reshape(*x.shape[:-1], 3, 2).mean(-2)).max(-1)
    ranges = ((first, BONDS), (second, BONDS), (angle, ANGLES), (drift, (0.0, 0.0)))
    beyond = [(of < low - margin) | (of > high + margin) for of, (low, high) in ranges]
    bad: NDArray[np.bool_] = np.logical_or.reduce(beyond)
    return bad


class Triatomic(Drawn):
    """Is the task of :func:`draw`."""

    task: Literal["triatomic"]

    x_names: ClassVar[tuple[str, ...]] = ("a1_x", "a1_y", "a2_x", "a2_y", "a3_x", "a3_y")
    y_names: ClassVar[tuple[str, ...]] = ("d12", "d13", "d23")
    truth: ClassVar[Truth] = Truth(
        level=distances,
        outside=outside,
        bayes_prediction=distances,
        position=position,
    )

    def draw(self, rows: int, generator: Generator) -> Dataset:
        """Draws so many rows by :func:`draw`."""
        return draw(rows, generator)

    @property
    def plane(self) -> Plane:
        """The plane of the second atom, on which it turns in circles about the centre."""
        angles = np.linspace(0, 2 * np.pi, 200)
        circle = np.stack([np.cos(angles), np.sin(angles)], -1)
        return Plane(
            lambda x: x[..., 2:4],
            ("second atom, $x$", "$y$"),
            tuple(radius * circle for radius in (0.5, 0.6, 0.7, 0.8, 0.9)),
            limits=((-1.15, 1.15), (-1.15, 1.15)),
            dots=True,
        )
