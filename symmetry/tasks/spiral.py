"""The paper's artificial task: a noisy spiral over a level of the point x in a square."""

__all__ = ["Spiral", "bayes_prediction", "invariant", "level", "outside", "spiral"]

from collections.abc import Mapping
from typing import ClassVar, Literal

import numpy as np
from numpy.random import Generator
from numpy.typing import NDArray

from symmetry.data import Array, Dataset
from symmetry.tasks.base import Drawn, Plane, Truth

HALF_WIDTH = 4.0  # x lies in the square [-4, 4]²
LEVEL_NOISE = 0.1
Y_NOISE = 0.2
TURN = 0.55  # how fast the spiral's radius grows with its angle


def spiral(rows: int, generator: Generator) -> Dataset:
    r"""Draws the paper's task: a noisy spiral y over the level t of a point x in a square.

    .. math:: x \sim U[-4, 4]^2, \quad t = 2x_1 + x_2 + 0.1\,\epsilon_0, \quad
        y = 0.55\,t\,(\cos t, \sin t) + 0.2\,(\epsilon_1, \epsilon_2)

    Arguments:
        rows: The number of rows n.
        generator: The source of randomness.

    References:
        Inverse Learning of Symmetries (Wieser et al., 2020), https://arxiv.org/abs/2002.02782
    """
    x = generator.uniform(-HALF_WIDTH, HALF_WIDTH, (rows, 2))
    t = level(x) + LEVEL_NOISE * generator.standard_normal(rows)
    noise = Y_NOISE * generator.standard_normal((rows, 2))
    y = TURN * t[:, None] * np.stack([np.cos(t), np.sin(t)], -1) + noise
    return Dataset(x, y, t)


def level(x: Array) -> Array:
    r"""Computes :math:`m = 2x_1 + x_2`, all that y depends on, from shape (..., 2) to (...)."""
    m: Array = 2 * x[..., 0] + x[..., 1]
    return m


def invariant(x: Array) -> Array:
    r"""Computes the exact invariant u, uniform on [0, 1] whatever the level m is.

    .. math:: u = \frac{x_2 - l}{h - l}, \quad l = \max(-4, m - 8), \quad h = \min(4, m + 8)

    Together (m, u) determine x. At the two corners, where the level line is one point, u = ½.

    Arguments:
        x: Points in the square, with shape (..., 2).

    Returns:
        The invariant, with shape (...).
    """
    m = level(x)
    low = np.maximum(-HALF_WIDTH, m - 2 * HALF_WIDTH)
    length = np.minimum(HALF_WIDTH, m + 2 * HALF_WIDTH) - low
    point = length <= 0
    return np.where(point, 0.5, (x[..., 1] - low) / np.where(point, 1.0, length))


def bayes_prediction(x: Array) -> Array:
    r"""Computes the best mean-square prediction of y, from shape (..., 2) to (..., 2).

    .. math:: E[y|x] = 0.55\,e^{-s^2/2}\,
        (m\cos m - s^2 \sin m,\; m\sin m + s^2\cos m), \quad s = 0.1
    """
    m = level(x)
    variance = LEVEL_NOISE**2
    mean = np.stack(
        [m * np.cos(m) - variance * np.sin(m), m * np.sin(m) + variance * np.cos(m)], -1
    )
    best: Array = TURN * np.exp(-variance / 2) * mean
    return best


def outside(x: Array, margin: float = 0.1) -> NDArray[np.bool_]:
    """Tells which points lie outside the square, from shape (..., 2) to (...)."""
    beyond: NDArray[np.bool_] = np.any(np.abs(x) > HALF_WIDTH + margin, -1)
    return beyond


class Spiral(Drawn):
    """Is the paper's task; models see its columns as they are, as the paper's did.

    References:
        Inverse Learning of Symmetries (Wieser et al., 2020), https://arxiv.org/abs/2002.02782
    """

    task: Literal["spiral"]

    standardised: ClassVar[bool] = False
    truth: ClassVar[Truth] = Truth(
        level=lambda x: level(x)[..., None],
        outside=outside,
        bayes_prediction=bayes_prediction,
        position=invariant,
        invariants={"Linear invariant x1 - 2 x2": lambda x: x[..., 0] - 2 * x[..., 1]},
    )
    published: ClassVar[Mapping[str, Mapping[str, float | None]]] = {
        "vae": {"x_mae": 0.21, "y_mae": 0.49, "mi_z0_y": 3.89},
        "stib_wo_reg": {"x_mae": 0.01, "y_mae": 0.65, "mi_z0_y": 3.19},
        "cvae": {"x_mae": 0.33, "y_mae": None, "mi_z0_y": 2.57},
        "cvib": {"x_mae": 0.67, "y_mae": None, "mi_z0_y": 2.45},
        "stib": {"x_mae": 0.04, "y_mae": 0.47, "mi_z0_y": 0.25},
    }

    def draw(self, rows: int, generator: Generator) -> Dataset:
        """Draws so many rows by :func:`spiral`."""
        return spiral(rows, generator)

    @property
    def plane(self) -> Plane:
        """The plane of x with the level lines 2x₁ + x₂ = const."""
        straight = tuple(((m / 2, 0.0), -2.0) for m in range(-11, 12, 2))
        return Plane(straight=straight, limits=((-4.6, 4.6), (-4.6, 4.6)))
