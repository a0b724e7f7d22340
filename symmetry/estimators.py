"""Estimators of mutual information from samples, in bits, and what makes them comparable."""

__all__ = ["mutual_information_bits", "permutation_null", "whiten"]

import numpy as np
from numpy.random import Generator
from numpy.typing import ArrayLike, NDArray
from scipy.spatial import KDTree
from scipy.special import digamma


def mutual_information_bits(x: ArrayLike, y: ArrayLike, neighbours: int = 20) -> float:
    r"""Estimates I(X; Y) in bits by the first estimator of Kraskov, Stögbauer and Grassberger.

    .. math:: I = \frac{\psi(k) + \psi(n) - \overline{\psi(n_x + 1) + \psi(n_y + 1)}}{\log 2}

    With :math:`\epsilon_i` the distance from row i to its k-th neighbour in the joint space,
    :math:`n_x` counts the other rows of x nearer than :math:`\epsilon_i`, and :math:`n_y` those
    of y; all distances are maximum norms. Nothing is standardised, and the estimate is not
    clipped at 0, around which it scatters for independent samples. Where k + 1 rows coincide,
    :math:`\epsilon_i` is 0 and :math:`n_x, n_y` count the coincident rows instead of none; the
    estimator is meant for continuous samples, which have no such rows.

    Arguments:
        x: The first sample, with shape (n,) or (n, d_x).
        y: The second sample, with shape (n,) or (n, d_y).
        neighbours: The number of neighbours k.

    Raises:
        ValueError: If the rows of x and y differ in number, are too few for k, or hold a value
            that is not finite.

    References:
        Estimating mutual information (Kraskov, Stögbauer and Grassberger, 2004),
        https://doi.org/10.1103/PhysRevE.69.066138, equation 8
    """
    x, y = _rows("x", x), _rows("y", y)
    if len(x) != len(y):
        raise ValueError(f"x has {len(x)} rows and y has {len(y)}; they must be as many")
    if not 1 <= neighbours < len(x):
        raise ValueError(f"neighbours is {neighbours}; allowed is 1 to {len(x) - 1}, rows - 1")
    joint = np.concatenate([x, y], 1)
    distances = np.asarray(KDTree(joint).query(joint, [neighbours + 1], p=np.inf, workers=-1)[0])
    # The next smaller float makes the tree's "at most" a "nearer than".
    radius = np.nextafter(distances[:, 0], 0)
    # A count holds the row itself, so it is n_x + 1 already.
    counts = [
        KDTree(sample).query_ball_point(sample, radius, p=np.inf, return_length=True, workers=-1)
        for sample in (x, y)
    ]
    marginal = np.mean(digamma(counts[0]) + digamma(counts[1]))
    return float((digamma(neighbours) + digamma(len(x)) - marginal) / np.log(2))


def whiten(sample: ArrayLike) -> NDArray[np.float64]:
    r"""Turns and scales a sample so that its covariance is the identity.

    .. math:: w = (x - \bar x)\, V \Lambda^{-1/2}, \quad \mathrm{Cov}[x] = V \Lambda V^\top

    A nearest-neighbour estimator sees what varies little as well as what varies much, then.
    Directions without variance become zero.

    Arguments:
        sample: The sample, with shape (n,) or (n, d).
    """
    rows = _rows("sample", sample)
    rows = rows - rows.mean(0)
    variances, directions = np.linalg.eigh(rows.T @ rows / len(rows))
    flat = variances <= 1e-12 * variances.max()
    scales = np.where(flat, 0, 1 / np.sqrt(np.where(flat, 1, variances)))
    whitened: NDArray[np.float64] = rows @ directions * scales
    return whitened


def permutation_null(
    x: ArrayLike, y: ArrayLike, generator: Generator, repeats: int = 40, neighbours: int = 20
) -> tuple[float, float]:
    """Estimates where 95 % of the estimates of I(X; Y) lie, in bits, when there is no dependence.

    The rows of x are permuted against those of y, which breaks every dependence and keeps both
    distributions.

    Arguments:
        x: The first sample, with shape (n,) or (n, d_x).
        y: The second sample, with shape (n,) or (n, d_y).
        generator: The source of the permutations.
        repeats: The number of permutations.
        neighbours: The number of neighbours of the estimator.

    Returns:
        The lower and the upper bound, mean ∓ 1.96 standard deviations.
    """
    rows = _rows("x", x)
    nulls = [
        mutual_information_bits(generator.permutation(rows), y, neighbours) for _ in range(repeats)
    ]
    mean, spread = float(np.mean(nulls)), 1.96 * float(np.std(nulls, ddof=1))
    return mean - spread, mean + spread


def _rows(name: str, sample: ArrayLike) -> NDArray[np.float64]:
    rows = np.asarray(sample, dtype=np.float64)
    if rows.ndim == 0 or rows.size == 0:
        raise ValueError(f"{name} has shape {rows.shape}; expected (n,) or (n, columns)")
    rows = rows.reshape(len(rows), -1)
    if not np.isfinite(rows).all():
        raise ValueError(f"{name} has values that are not finite (NaN or infinite)")
    return rows
