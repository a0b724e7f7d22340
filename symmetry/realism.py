"""How real points of a table look: combinations of categories, and the distance to real rows."""

__all__ = ["nearest_distance", "new_combinations"]

from collections.abc import Sequence

import numpy as np
from numpy.typing import NDArray

from symmetry.kinds import Array, Kind

PIECE = 50  # points that are compared with all rows at once
MOST_ROWS = 50_000  # that points are compared with


def new_combinations(points: Array, rows: Array, kinds: Sequence[Kind]) -> NDArray[np.bool_]:
    """Tells of which points the categories together stand in no row.

    Arguments:
        points: The points, with shape (..., d).
        rows: The rows, with shape (n, d).
        kinds: The kind of each column.

    Returns:
        Whether each is new, with shape (...).
    """
    columns = [column for column, kind in enumerate(kinds) if kind.is_category]
    real = {tuple(row) for row in np.round(rows[:, columns]).astype(int).tolist()}
    own, places = np.unique(
        np.round(points[..., columns]).astype(int).reshape(-1, len(columns)),
        axis=0,
        return_inverse=True,
    )
    new = np.array([tuple(row) not in real for row in own.tolist()])
    return new[places].reshape(points.shape[:-1])


def nearest_distance(points: Array, rows: Array, kinds: Sequence[Kind]) -> Array:
    r"""Computes Gower's distance of each point to the nearest row.

    .. math:: \min_i \frac{1}{d} \sum_j \delta_{ij}, \quad
        \delta_{ij} = \frac{|x_j - r_{ij}|}{\max_i r_{ij} - \min_i r_{ij}}

    and of a category :math:`\delta_{ij} = 1` where the values differ, else 0.

    Arguments:
        points: The points, with shape (m, d).
        rows: The rows, with shape (n, d); at most 50,000 of them are looked at.
        kinds: The kind of each column; none if all are numbers.

    Returns:
        The distances, with shape (m,).

    References:
        A general coefficient of similarity and some of its properties (Gower, 1971),
        https://doi.org/10.2307/2528823
    """
    rows = rows[:: -(-len(rows) // MOST_ROWS)].astype(np.float32)
    points = points.astype(np.float32)
    width = np.ptp(rows, axis=0)
    kinds = kinds or [Kind()] * rows.shape[1]
    nearest = []
    for start in range(0, len(points), PIECE):
        some = points[start : start + PIECE]
        total: NDArray[np.float32] = np.zeros((len(some), len(rows)), np.float32)
        for column, kind in enumerate(kinds):
            apart = np.abs(some[:, column, None] - rows[:, column])
            total += apart > 0.5 if kind.is_category else apart / max(width[column], 1e-30)
        nearest.append(total.min(1) / rows.shape[1])
    return np.concatenate(nearest).astype(np.float64)
