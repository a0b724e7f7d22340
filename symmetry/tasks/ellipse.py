"""A task whose orbits are ellipses, turned in five dimensions."""

__all__ = ["Ellipse", "draw", "level", "outside", "position", "rotation"]

from typing import ClassVar, Literal

import numpy as np
from numpy.random import Generator, default_rng
from numpy.typing import NDArray

from symmetry.data import Array, Dataset
from symmetry.tasks.base import Drawn, Plane, Truth

PADDING = 0.01  # standard deviation of the columns that say nothing
Y_NOISE = 0.2


def rotation(size: int, generator: Generator) -> Array:
    """Draws a rotation matrix uniformly, by the factors of a matrix of normal draws."""
    q, r = np.linalg.qr(generator.standard_normal((size, size)))
    q *= np.sign(np.diag(r))
    q[:, 0] *= np.sign(np.linalg.det(q))
    turn: Array = q
    return turn


X_TURN, Y_TURN = rotation(5, default_rng(0)), rotation(3, default_rng(1))


def draw(rows: int, generator: Generator) -> Dataset:
    r"""Draws points of a square and, with noise, the level of the ellipse on which each lies.

    .. math:: x \sim U[-1, 1]^2, \quad y_0 = \frac{(x_1 + x_2)^2}{8} + \frac{(x_1 - x_2)^2}{4},
        \quad y = y_0 + 0.2\,\epsilon

    x is padded to five columns and y to three with normal ones of standard deviation 0.01, and
    each is turned by a fixed rotation, so that no column is any of these.

    Arguments:
        rows: The number of rows n.
        generator: The source of randomness.

    References:
        Learning Conditional Invariance through Cycle Consistency (Samarin et al., 2021),
        https://arxiv.org/abs/2111.13185
    """
    point = generator.uniform(-1, 1, (rows, 2))
    t = _level(point)
    y = t + Y_NOISE * generator.standard_normal(rows)
    x_padding, y_padding = (PADDING * generator.standard_normal((rows, d)) for d in (3, 2))
    x = np.concatenate([point, x_padding], 1) @ X_TURN.T
    return Dataset(x, np.concatenate([y[:, None], y_padding], 1) @ Y_TURN.T, t)


def plane(x: Array) -> Array:
    """Turns x back and takes the point in the square, from shape (..., 5) to (..., 2)."""
    point: Array = (x @ X_TURN)[..., :2]
    return point


def level(x: Array) -> Array:
    """Computes y₀, from shape (..., 5) to (..., 1)."""
    return _level(plane(x))[..., None]


def position(x: Array) -> Array:
    r"""Computes the angle's place on the ellipse, uniform on [0, 1] whatever the level.

    With :math:`a = (x_1 + x_2)/\sqrt8` and :math:`b = (x_1 - x_2)/2` the ellipse is a circle of
    radius :math:`r = \sqrt{y_0}`, and the square a rhombus with the sides
    :math:`\sqrt2|a| + |b| = 1`, which cuts from each quarter of the circle the angles within
    :math:`\delta` of :math:`\varphi`, the direction of the nearest point of the side:

    .. math:: \varphi = \arctan\frac{1}{\sqrt2}, \quad \delta = \arccos\frac{1}{\sqrt3\,r}

    The angle is uniform over what is left, since x is uniform over the square.

    Arguments:
        x: The inputs, with shape (..., 5).

    Returns:
        The position, with shape (...).
    """
    x1, x2 = np.moveaxis(plane(x), -1, 0)
    a, b = (x1 + x2) / np.sqrt(8), (x1 - x2) / 2
    radius = np.maximum(np.hypot(a, b), 1e-12)
    middle = np.arctan(1 / np.sqrt(2))
    cut = np.arccos(np.minimum(1, 1 / (np.sqrt(3) * radius)))
    low, high = np.maximum(0, middle - cut), np.minimum(np.pi / 2, middle + cut)
    left = np.maximum(low + np.pi / 2 - high, 1e-12)
    turned = np.arctan2(b, a) % (2 * np.pi)
    quarter = np.minimum(np.floor(turned / (np.pi / 2)), 3)
    within = turned - quarter * np.pi / 2
    mirrored = quarter % 2 == 1  # the quarters mirror each other
    angle = np.where(mirrored, np.pi / 2 - within, within)
    share = (np.minimum(angle, low) + np.maximum(angle - high, 0)) / left
    place: Array = (quarter + np.where(mirrored, 1 - share, share)) / 4
    return place


def outside(x: Array, margin: float = 0.025) -> NDArray[np.bool_]:
    """Tells which points lie outside the square, from shape (..., 5) to (...)."""
    beyond: NDArray[np.bool_] = np.any(np.abs(plane(x)) > 1 + margin, -1)
    return beyond


def bayes_prediction(x: Array) -> Array:
    """Computes E[y|x], from shape (..., 5) to (..., 3)."""
    best: Array = level(x) * Y_TURN[:, 0]
    return best


class Ellipse(Drawn):
    """Is the task of :func:`draw`."""

    task: Literal["ellipse"]

    x_names: ClassVar[tuple[str, ...]] = ("x1", "x2", "x3", "x4", "x5")
    y_names: ClassVar[tuple[str, ...]] = ("y1", "y2", "y3")
    truth: ClassVar[Truth] = Truth(
        level=level,
        outside=outside,
        bayes_prediction=bayes_prediction,
        position=position,
    )

    def draw(self, rows: int, generator: Generator) -> Dataset:
        """Draws so many rows by :func:`draw`."""
        return draw(rows, generator)

    @property
    def plane(self) -> Plane:
        """The square with ellipses of constant y₀."""
        angles = np.linspace(0, 2 * np.pi, 200)
        circle = np.stack([np.cos(angles), np.sin(angles)], -1)
        back = np.array([[np.sqrt(2), np.sqrt(2)], [1, -1]])  # x = (a, b) @ back
        lines = tuple(np.sqrt(y0) * circle @ back for y0 in np.linspace(0.05, 0.95, 10))
        limits = ((-1.15, 1.15), (-1.15, 1.15))
        return Plane(plane, ("turned back $x_1$", "$x_2$"), lines, limits=limits, dots=True)


def _level(point: Array) -> Array:
    one, other = point[..., 0] + point[..., 1], point[..., 0] - point[..., 1]
    y0: Array = one**2 / 8 + other**2 / 4
    return y0
