"""What trades against what: how much of one column makes up for how much of another."""

__all__ = ["Predict", "Rates", "rates", "slopes"]

from collections.abc import Callable
from typing import NamedTuple

import numpy as np
from numpy.typing import NDArray

Array = NDArray[np.float64]
Predict = Callable[[Array], Array]

DIFFERENCE = 1e-3  # of the scale of a column, over which slopes are taken
ALIKE = 0.1  # the share of a change of f that a change in return may leave
WEAK = 0.02  # the share of all slopes below which one is put down to chance


class Rates(NamedTuple):
    """Holds what makes up for one more of each column; NaN for nothing, and for itself.

    Arguments:
        alone: The change of column j alone for one more of column i, with shape (n, d, d).
        together: The least change of all columns but i together, likewise.
    """

    alone: Array
    together: Array


def slopes(predict: Predict, rows: Array, scale: Array) -> Array:
    r"""Computes how steep a prediction is in each column, by central differences.

    .. math:: \frac{\partial f}{\partial x_j} \approx
        \frac{f(x + h e_j) - f(x - h e_j)}{2 h}, \quad h = \frac{\mathrm{scale}_j}{1000}

    Arguments:
        predict: f, from shape (n, d) to (n, k), in float64.
        rows: The rows x, with shape (n, d).
        scale: How far each column ranges, such as its standard deviation, with shape (d,).

    Returns:
        The slopes, with shape (n, k, d).
    """
    columns = []
    for step in np.diag(DIFFERENCE * scale):
        rise = predict(rows + step) - predict(rows - step)
        columns.append(rise / (2 * step.sum() or 1))  # 0 of a column that never varies
    return np.stack(columns, -1)


def rates(slopes: Array) -> Rates:
    r"""Computes what makes up for one more of a column, so that f stays.

    .. math:: \delta_j = -\frac{\partial f / \partial x_i}{\partial f / \partial x_j}

    is what column j does alone. Where f has several columns it is their least-squares change, and
    NaN unless it brings them all back. All other columns share the change out among them by the
    least sum of squares, :math:`\delta = -J_{\setminus i}^{+} J_i`.

    Arguments:
        slopes: J, as :func:`slopes` gives it, with shape (n, k, d), but in standard deviations of
            f and x, by which they can be compared.

    Returns:
        The rates of each row, in standard deviations of x.
    """
    n, _, d = slopes.shape
    size = np.linalg.norm(slopes, axis=1)  # (n, d)
    allowed = ALIKE * size + WEAK * ALIKE * np.linalg.norm(size, axis=1, keepdims=True)
    inner = np.einsum("nki,nkj->nij", slopes, slopes)
    square = np.where(size > 0, size**2, np.nan)[:, None, :]
    alone = -inner / square
    left = np.sqrt(np.clip(size[:, :, None] ** 2 - inner**2 / square, 0, None))
    alone = np.where(left <= allowed[:, :, None], alone, np.nan)
    together = np.full((n, d, d), np.nan)
    for column in range(d if d > 1 else 0):
        others = np.arange(d) != column
        rest, own = slopes[:, :, others], slopes[:, :, column, None]
        change = -np.linalg.pinv(rest, rcond=WEAK) @ own  # (n, d - 1, 1)
        left = np.linalg.norm(rest @ change + own, axis=1)
        together[:, column, others] = np.where(
            left <= allowed[:, [column]], change[..., 0], np.nan
        )
    alone[:, np.arange(d), np.arange(d)] = np.nan
    return Rates(alone, together)
