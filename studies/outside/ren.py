"""The sine waves and the arm of Ren et al., measured by how near the tries at an y come to it.

References:
    Benchmarking Deep Inverse Models over Time, and the Neural-Adjoint Method, Ren et al., 2020,
    https://arxiv.org/abs/2009.12919
"""

__all__ = ["best_of", "measure"]

from numpy.random import default_rng

from studies.outside import Rows, Settings, figures, learned, task_of
from studies.peers import Array
from symmetry.tasks.base import orbit_coverage


def best_of(errors: Array, tries: int) -> float:
    """Returns the mean of the least error among the first tries, of shape (≥ tries, n)."""
    return float(errors[:tries].min(0).mean())


def measure(settings: Settings) -> Rows:
    r"""Fits the learner to rows of a formula and measures its partners by this formula.

    An error is the mean square of :math:`f(x') - y` over the columns of y, in their units:
    ``mean`` that of all partners, ``best_of_50`` of the best of so many tries, as the authors take
    it, and ``forward`` that of the learner's ŷ. ``coverage`` and ``coverage_floor`` are
    :func:`~symmetry.tasks.base.orbit_coverage`, which the best of many tries says nothing of.

    Arguments:
        settings: ``name``, ``method``, ``law``, ``rows``, ``seed``, and ``test_rows``, ``tries``,
            ``covered_rows`` and ``covering_partners`` of outside.yaml.
    """
    task = task_of(settings)
    parts = dict(task.parts())
    train, test = parts["train"], parts["test"]
    level, tries = task.truth.level(test.x), settings["tries"]
    fitted = learned(train.x, train.y, settings)
    partners = fitted.partners(test.x, level, tries)
    errors = ((task.truth.level(partners) - level) ** 2).mean(-1)
    few = settings["covered_rows"]
    covering = fitted.partners(test.x[:few], level[:few], settings["covering_partners"])
    covered = orbit_coverage(task.truth, covering, test.x, default_rng(settings["seed"]))
    found = {
        "mean": float(errors.mean()),
        f"best_of_{tries}": best_of(errors, tries),
        "coverage": float(covered.reading),
        "coverage_floor": covered.floor,
    }
    if fitted.predict is not None:
        y_hat = fitted.predict(test.x).reshape(level.shape)
        found["forward"] = float(((y_hat - level) ** 2).mean())
    return figures(settings, found)
