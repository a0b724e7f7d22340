r"""Inverse kinematics and ballistics, as Kruse et al. draw them and measure posteriors.

The constants are those of kinematics.py and ballistics.py of
https://github.com/vislearn/inn_toy_data at commit 2589a27. The paper does not name the kernel of
its MMD, how near a rejection sample must be, or how many there are; these are taken from a
replication, docs/metrics.md of https://github.com/eminesu/invertible-architectures-benchmark at
commit 554d96f, so that its figures compare.

References:
    Benchmarking Invertible Architectures on Inverse Problems, Kruse et al., 2021,
    https://arxiv.org/abs/2101.10763
"""

__all__ = ["PROBLEMS", "Problem", "arm", "flight", "measure", "mmd"]

from collections.abc import Callable, Iterator
from dataclasses import dataclass

import numpy as np
from numpy.random import Generator, SeedSequence, default_rng
from scipy.spatial.distance import cdist
from scipy.special import lambertw

from studies.outside import Rows, Settings, figures, learned
from studies.peers import Array

BANDWIDTHS = (0.05, 0.2, 0.9)  # of the kernel, in the units of x
FAR = 5  # standard deviations of the likelihood beyond which no row is looked at
CHUNK = 100  # test rows that get partners at once

LENGTHS = (0.5, 0.5, 1.0)
GRAVITY, DRAG, MASS = 9.81, 0.25, 0.2
FALL = GRAVITY * MASS / DRAG  # the speed to which a fall tends,
TIME = MASS / DRAG  # and how long that takes


@dataclass(frozen=True)
class Problem:
    r"""Is an inverse problem whose x₁ is normal and adds to the last y.

    .. math:: f(x) = b(x_2, \ldots) + x_1 e_k, \quad x_1 \sim N(0, s^2)

    Arguments:
        spread: s.
        width: σ, the standard deviation of :math:`y\,|\,x \sim N(f(x), \sigma^2)`, which makes
            the true posterior one that can be sampled.
        others: Draws so many rows of the other columns.
        base: b, from shape (..., dim x - 1) to (..., dim y).
    """

    spread: float
    width: float
    others: Callable[[int, Generator], Array]
    base: Callable[[Array], Array]

    def draw(self, rows: int, generator: Generator) -> Array:
        """Draws so many rows of x from the prior."""
        first = generator.normal(0, self.spread, rows)
        return np.column_stack([first, self.others(rows, generator)])

    def level(self, x: Array) -> Array:
        """Computes y, from shape (..., dim x) to (..., dim y); no number where there is none."""
        y = self.base(x[..., 1:])
        y[..., -1] += x[..., 0]
        return y

    def posteriors(
        self, levels: Array, count: int, pool: int, generator: Generator
    ) -> Iterator[Array]:
        r"""Samples the true posteriors by rejection.

        x₁ is integrated out: of the other columns rows of the prior are accepted by
        :math:`p(y\,|\,x_2, \ldots)`, and x₁ is then drawn from its normal law given y and these.

        Arguments:
            levels: The y of each posterior, with shape (n, dim y).
            count: How many samples are wanted; far out fewer are found.
            pool: From how many rows of the prior.
            generator: The source of randomness.

        Yields:
            For each level its samples, with shape (≤ count, dim x).
        """
        rest = self.others(pool, generator)
        base = self.base(rest)
        order = base[:, 0].argsort()
        rest, base = rest[order], base[order]
        widths = np.full(base.shape[1], self.width)
        widths[-1] = np.hypot(self.spread, self.width)
        kept = (self.spread / widths[-1]) ** 2
        for level in levels:
            ends = level[0] + FAR * widths[0] * np.array([-1, 1])
            low, high = np.searchsorted(base[:, 0], ends)
            missed = (level - base[low:high]) / widths
            chance = np.exp(-(missed**2).sum(-1) / 2)
            found = low + np.flatnonzero(generator.random(len(chance)) < chance)
            found = generator.permutation(found)[:count]
            first = kept * (level[-1] - base[found, -1])
            first += np.sqrt(kept) * self.width * generator.standard_normal(len(found))
            yield np.column_stack([first, rest[found]])


def arm(angles: Array) -> Array:
    r"""Computes where an arm of three parts ends that begins at height 0.

    .. math:: b = \sum_i l_i \left(\cos \sum_{j \le i} a_j,\ \sin \sum_{j \le i} a_j\right)

    Arguments:
        angles: The angle of each part against the one before, with shape (..., 3).

    Returns:
        The place, with shape (..., 2).
    """
    turned = angles.cumsum(-1)
    return np.stack([np.cos(turned) @ LENGTHS, np.sin(turned) @ LENGTHS], -1)


def flight(throws: Array) -> Array:
    r"""Computes how far a throw with linear drag flies until it lands at height 0.

    With the time :math:`\tau = m / k` and the speed of fall :math:`u = g \tau` it lands at s τ,

    .. math:: \frac{h}{u \tau} + \left(1 + \frac{v_y}{u}\right) \left(1 - e^{-s}\right) - s = 0

    which Lambert's function solves.

    Arguments:
        throws: Height, angle in radians and speed, with shape (..., 3).

    Returns:
        The distance, with shape (..., 1); not a number where it never is at height 0.
    """
    height, angle, speed = np.moveaxis(throws, -1, 0)
    steep = 1 + speed * np.sin(angle) / FALL
    high = height / (FALL * TIME) + steep
    product = -steep * np.exp(-high)
    lands = product >= -np.exp(-1)
    until = high + np.real(lambertw(product.astype(complex)))
    distance: Array = speed * np.cos(angle) * TIME * -np.expm1(-until)
    return np.where(lands, distance, np.nan)[..., None]


def _angles(rows: int, generator: Generator) -> Array:
    return generator.normal(0, 0.5, (rows, 3))


def _throws(rows: int, generator: Generator) -> Array:
    height = generator.normal(1.5, 0.5, rows).clip(0)
    angle = generator.uniform(0.1, 0.9, rows) * np.pi / 2
    speed = generator.poisson(15, rows)
    return np.column_stack([height, angle, speed])


PROBLEMS = {
    "arm": Problem(spread=0.25, width=0.01, others=_angles, base=arm),
    "ballistics": Problem(spread=0.5, width=0.02, others=_throws, base=flight),
}


def mmd(one: Array, other: Array) -> float:
    r"""Estimates the squared maximum mean discrepancy of two samples, without bias.

    .. math:: E\,k(a, a') - 2 E\,k(a, b) + E\,k(b, b'), \quad
        k(a, b) = \sum_h \frac{h^2}{h^2 + \lVert a - b \rVert^2}

    Arguments:
        one: A sample, with shape (n, d).
        other: Another, with shape (m, d).

    Returns:
        The estimate; not a number where a sample has fewer than two rows.
    """
    if min(len(one), len(other)) < 2:
        return float("nan")
    return _alike(one) + _alike(other) - 2 * float(_kernel(one, other).mean())


def _alike(rows: Array) -> float:
    # Between different rows only: each is as near to itself as can be.
    count = len(rows)
    return float((_kernel(rows, rows).sum() - count * len(BANDWIDTHS)) / (count * (count - 1)))


def _kernel(one: Array, other: Array) -> Array:
    square = cdist(one, other, "sqeuclidean")
    found: Array = np.sum([h**2 / (h**2 + square) for h in BANDWIDTHS], 0)
    return found


def measure(settings: Settings) -> Rows:
    r"""Fits the learner to rows of a problem and compares partners with true posteriors.

    ``mmd`` is the mean over test rows of :func:`mmd` between partners of a row and samples of the
    true posterior given its y; ``resim`` the mean of :math:`\lVert f(x') - y \rVert^2` and
    ``resim_median`` its median over rows; ``failed`` the share of partners that have no y.

    Arguments:
        settings: ``name`` with the benchmark, ``method``, ``rows``, ``seed``, and ``test_rows``,
            ``samples`` and ``pool`` of outside.yaml.
    """
    problem = PROBLEMS[settings["name"]["benchmark"]]
    count = settings["samples"]
    train, test, truth = map(default_rng, SeedSequence(settings["seed"]).spawn(3))
    x = problem.draw(settings["rows"], train)
    fitted = learned(x, problem.level(x), settings)
    rows = problem.draw(settings["test_rows"], test)
    levels = problem.level(rows)
    posteriors = problem.posteriors(levels, count, settings["pool"], truth)
    apart, missed, failed = [], [], []
    for start in range(0, len(rows), CHUNK):
        some = slice(start, start + CHUNK)
        partners = fitted.partners(rows[some], levels[some], count)
        off = ((problem.level(partners) - levels[some]) ** 2).sum(-1)
        missed += [*np.nanmean(off, 0)]
        failed += [*np.isnan(off).mean(0)]
        apart += [mmd(own, next(posteriors)) for own in partners.swapaxes(0, 1)]
    return figures(
        settings,
        {
            "mmd": float(np.nanmean(apart)),
            "resim": float(np.nanmean(missed)),
            "resim_median": float(np.nanmedian(missed)),
            "failed": float(np.mean(failed)),
        },
    )
