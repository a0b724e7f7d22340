"""Data sets of inputs x and targets y, and the paper's task, whose truth is known."""

__all__ = ["Dataset", "bayes_prediction", "invariant", "level", "spiral"]

from dataclasses import dataclass

import numpy as np
from numpy.random import Generator
from numpy.typing import NDArray

Array = NDArray[np.float64]

HALF_WIDTH = 4.0  # x lies in the square [-4, 4]²
LEVEL_NOISE = 0.1
Y_NOISE = 0.2
TURN = 0.55  # how fast the spiral's radius grows with its angle


@dataclass(frozen=True)
class Dataset:
    """Holds n rows of inputs and targets.

    Arguments:
        x: The inputs, with shape (n, dim x).
        y: The targets, with shape (n, dim y).
        t: The quantity that generated y, with shape (n,), where it is known; it colours the
            figures and no model sees it.

    Raises:
        ValueError: If an array holds no real numbers, has the wrong shape, no rows, or a value
            that is not finite.
    """

    x: Array
    y: Array
    t: Array | None = None

    def __post_init__(self) -> None:
        for name, array, ndim in (("x", self.x, 2), ("y", self.y, 2), ("t", self.t, 1)):
            if array is None:
                continue
            if array.dtype.kind not in "fiu" or array.dtype.itemsize > 8:
                raise ValueError(
                    f"{name} has the type {array.dtype}; allowed: real numbers of up to 64 bits"
                )
            if array.ndim != ndim or array.shape[0] != self.x.shape[0] or array.size == 0:
                expected = "(n, columns)" if ndim == 2 else "(n,)"
                raise ValueError(
                    f"{name} has shape {array.shape}; expected {expected} with the rows of x, "
                    f"which has shape {self.x.shape}, and at least one of them"
                )
            bad = int(np.count_nonzero(~np.isfinite(array)))
            if bad:
                raise ValueError(f"{name} has {bad} values that are not finite (NaN or infinite)")

    def __len__(self) -> int:
        return len(self.x)


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
