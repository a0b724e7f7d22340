"""Methods that give partners, each a module with a function ``fit``, and what measures them.

``fit(x, y, seed, **settings)`` takes rows x, with shape (n, d), and their y, with shape (n, k),
and returns what it made of them as :class:`Fitted`.
"""

__all__ = ["Array", "Fitted", "Scale"]

from collections.abc import Callable
from typing import NamedTuple

import numpy as np
from numpy.typing import NDArray

Array = NDArray[np.float64]


class Fitted(NamedTuple):
    """Holds what a method has learned.

    Arguments:
        partners: Draws as many partners as are asked for of rows x, with shape (m, d), whose y,
            with shape (m, k), a method may take that starts from y; to shape (count, m, d).
        predict: Predicts y, from shape (m, d) to (m, k); None where the method does not.
        verdict: What the method itself says of the symmetry; empty where it says nothing.
    """

    partners: Callable[[Array, Array, int], Array]
    predict: Callable[[Array], Array] | None = None
    verdict: str = ""


class Scale(NamedTuple):
    """Holds how columns are standardised."""

    mean: Array
    std: Array

    @classmethod
    def of(cls, rows: Array) -> "Scale":
        """Takes means and standard deviations of the columns of rows."""
        return cls(rows.mean(0), rows.std(0))

    def standardise(self, rows: Array) -> Array:
        """Standardises rows, with shape (..., d)."""
        return (rows - self.mean) / self.std

    def restore(self, rows: Array) -> Array:
        """Takes standardised rows back to their units."""
        return rows * self.std + self.mean
