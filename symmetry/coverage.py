"""Where partners lie among held-out rows: arrays in, figures out."""

__all__ = [
    "FEWEST_ROWS",
    "column_spread",
    "deviations",
    "nearest_rows",
    "partner_coverage",
    "partners_of",
    "random_rows",
    "table_of",
]

import numpy as np
from numpy.random import Generator
from numpy.typing import ArrayLike, NDArray
from scipy.spatial import KDTree

from symmetry.verdicts import Coverage, Estimate

Array = NDArray[np.float64]

FEWEST_ROWS = 40


def nearest_rows(y_hat: ArrayLike, count: int, generator: Generator) -> NDArray[np.int64]:
    """Finds the rows nearest to each row in predicted y, nearest first, without itself.

    Each column of y is divided by its standard deviation; equally near ones come in random order.

    Arguments:
        y_hat: The predicted y, with shape (n,) or (n, k).
        count: How many rows are wanted.
        generator: The source of the order of ties.

    Returns:
        Indices of rows, with shape (count, n).

    Raises:
        ValueError: If the count is not between 1 and n − 1 or a value is not finite.
    """
    seen = table_of("y_hat", y_hat)
    n = len(seen)
    if not 1 <= count < n:
        raise ValueError(f"count is {count}; allowed is 1 to {n - 1}, rows - 1")
    seen = seen / deviations(seen)
    # Far below what any prediction resolves. Ties, in the order of the table, would favour rows
    # that happen to stand together in it.
    seen = seen + 1e-9 * generator.normal(size=seen.shape)
    order = np.asarray(KDTree(seen).query(seen, count + 1)[1])
    nearest: NDArray[np.int64] = order[:, 1:].T.astype(np.int64)
    return nearest


def random_rows(rows: int, count: int, generator: Generator) -> NDArray[np.int64]:
    """Draws other rows for each row, with equal chances.

    Returns:
        Indices of rows, with shape (count, rows).
    """
    away = generator.integers(1, rows, (count, rows))
    return (np.arange(rows) + away) % rows


def partner_coverage(
    partners: ArrayLike, rows: ArrayLike, y_hat: ArrayLike, generator: Generator
) -> Coverage:
    r"""Computes how far partners are from being spread as the rows around them in predicted y.

    .. math:: \overline{\sup_v |F_{ij}(v) - G_{ij}(v)|}

    F is the distribution of column j among row i's partners, G that among rows with nearly the
    same predicted y; the mean is over rows and columns. Two small samples of the same law differ
    too, and rows nearby are not quite on the row's level. So the P rows that are nearest stand in
    for exact partners and give the floor, and the 2 P rows around them give G for both.

    Arguments:
        partners: The partners of the first m rows, with shape (partners, m, d); the first P
            of them are used. More partners lower the floor.
        rows: Rows that the model never saw, with shape (n, d).
        y_hat: The model's prediction for them, with shape (n,) or (n, k).
        generator: The source of the order of ties.

    Raises:
        ValueError: If shapes do not fit, there are fewer than 40 rows, or a value is not finite.

    References:
        The two-sample test of Kolmogorov and Smirnov, with ties:
        https://doi.org/10.1214/aoms/1177730256
    """
    table, guess = table_of("rows", rows), table_of("y_hat", y_hat)
    points = partners_of(partners, table)
    n, m = len(table), points.shape[1]
    if n < FEWEST_ROWS:
        raise ValueError(f"rows has {n} rows; coverage needs at least {FEWEST_ROWS}")
    if len(guess) != n:
        raise ValueError(f"y_hat has {len(guess)} rows and rows has {n}; they must be as many")
    # Chance alone reads about 0.87 · sqrt(1.5 / P), so P should be large; but 3 P rows must lie
    # near in y. A twentieth of the rows keeps them within an eighth of the range around the
    # row, yet 6 are needed to see half an orbit in the smallest tables.
    inner = min(len(points), max(6, n // 20))
    around = nearest_rows(guess, 3 * inner, generator)[:, :m]
    sd = deviations(table)
    found = np.zeros((2, m))
    for column in range(table.shape[1]):
        values = table[:, column] / sd[column]
        near = values[around].T  # (m, 3 P)
        own = points[:inner, :, column].T / sd[column]
        found[0] += _distance(own, near[:, inner:])
        found[1] += _distance(near[:, :inner], near[:, inner:])
    found /= table.shape[1]
    # Rows of one neighbourhood share their neighbours: only as many differ as find room.
    independent = min(m, n / (3 * inner))
    excess = Estimate.of(found[0] - found[1], independent)
    return Coverage(float(found[0].mean()), float(found[1].mean()), excess)


def column_spread(partners: ArrayLike, rows: ArrayLike) -> Array:
    r"""Computes how far each column moves: 0 if not at all, about 1 if over its whole range.

    .. math:: \sqrt{\overline{\mathrm{var}_p(x'_{pij})}} \,/\, \mathrm{sd}_i(x_{ij})

    The variance is over the partners p, the mean over rows i. A column that is the same in all
    rows gets 0.

    Arguments:
        partners: The partners of the first m rows, with shape (partners, m, d).
        rows: The rows, with shape (n, d).

    Returns:
        The spread of each column, with shape (d,).

    Raises:
        ValueError: If there are fewer than 2 partners, shapes do not fit, or a value is not
            finite.
    """
    table = table_of("rows", rows)
    points = partners_of(partners, table)
    if len(points) < 2:
        raise ValueError(f"partners has {len(points)} a row; a spread needs at least 2")
    moved = np.sqrt(points.var(0, ddof=1).mean(0))
    spread: Array = np.where(_varies(table), moved / deviations(table), 0)
    return spread


def _distance(first: Array, second: Array) -> Array:
    """Computes the Kolmogorov–Smirnov distance of samples with shapes (m, a) and (m, b)."""
    both = np.concatenate([first, second], 1)
    steps = np.repeat(
        [1 / first.shape[1], -1 / second.shape[1]], [first.shape[1], second.shape[1]]
    )
    order = both.argsort(1)
    ahead = np.abs(steps[order].cumsum(1))
    # Within a tie the order is no one's: the distributions are compared after it. What a float32
    # cannot tell apart is a tie too, or a decoded 2.0000001 would differ from the 2 of a row.
    tied = np.diff(np.take_along_axis(both, order, 1), axis=1) < 1e-6
    ahead[:, :-1][tied] = 0
    distances: Array = ahead.max(1)
    return distances


def deviations(table: Array) -> Array:
    """Computes the standard deviation of each column; 1 where it never varies."""
    sd: Array = np.where(_varies(table), table.std(0), 1)
    return sd


def _varies(table: Array) -> NDArray[np.bool_]:
    varies: NDArray[np.bool_] = table.std(0) > 1e-12 * np.abs(table).max(0)
    return varies


def table_of(name: str, values: ArrayLike) -> Array:
    table = np.asarray(values, dtype=np.float64)
    if table.ndim == 1:
        table = table[:, None]
    if table.ndim != 2 or table.size == 0:
        raise ValueError(f"{name} has shape {table.shape}; expected (n,) or (n, columns)")
    return _finite(name, table)


def partners_of(values: ArrayLike, rows: Array) -> Array:
    partners = np.asarray(values, dtype=np.float64)
    n, d = rows.shape
    fits = partners.ndim == 3 and partners.shape[2] == d and 0 < partners.shape[1] <= n
    if not fits or partners.size == 0:
        raise ValueError(
            f"partners has shape {partners.shape}; expected (partners, m, {d}) with m up to {n}"
        )
    return _finite("partners", partners)


def _finite(name: str, values: Array) -> Array:
    if not np.isfinite(values).all():
        raise ValueError(f"{name} has values that are not finite (NaN or infinite)")
    return values
