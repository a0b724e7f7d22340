"""Data sets of inputs x and targets y, and the units of their columns."""

__all__ = ["Array", "Columns", "Dataset", "Units"]

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray

Array = NDArray[np.float64]

RESOLUTION = 1e-5  # the least standard deviation, as a share of the mean, that float32 can tell


@dataclass(frozen=True)
class Columns:
    r"""Names columns and says how they are standardised: :math:`(a - \text{mean}) / \text{std}`.

    Arguments:
        names: The name of each column.
        mean: The mean of each column, in its own unit.
        std: The standard deviation of each column, in its own unit.
    """

    names: tuple[str, ...]
    mean: tuple[float, ...]
    std: tuple[float, ...]

    @classmethod
    def of(cls, rows: Array, names: Sequence[str]) -> "Columns":
        """Takes the statistics of rows, with shape (n, columns).

        Raises:
            ValueError: If a column is constant, or varies too little about its mean for float32.
        """
        columns = [rows[:, column] for column in range(rows.shape[1])]  # one at a time in memory
        mean, std = [float(one.mean()) for one in columns], [float(one.std()) for one in columns]
        for name, one, centre, spread in zip(names, columns, mean, std, strict=True):
            if spread <= RESOLUTION * abs(centre):
                constant = one.min() == one.max()
                fault = "is constant" if constant else "varies too little to be told apart"
                raise ValueError(
                    f"column {name!r} {fault} in the training rows (mean {centre:.9g}, standard "
                    f"deviation {spread:.3g}); leave it out or subtract its mean"
                )
        return cls(tuple(names), tuple(mean), tuple(std))


@dataclass(frozen=True)
class Units:
    """Holds the columns of x and of y, with the statistics of the training rows."""

    x: Columns
    y: Columns

    @classmethod
    def from_json(cls, content: Any) -> "Units":
        """Rebuilds the units from what json keeps of them.

        Raises:
            ValueError: If the content is not that of units.
        """
        try:
            x, y = (
                Columns(*(tuple(content[side][part]) for part in ("names", "mean", "std")))
                for side in ("x", "y")
            )
        except (KeyError, TypeError) as error:
            raise ValueError(f"the units lack something or hold what is none: {error}") from None
        return cls(x, y)


@dataclass(frozen=True)
class Dataset:
    """Holds n rows of inputs and targets.

    Arguments:
        x: The inputs, with shape (n, dim x).
        y: The targets, with shape (n, dim y).
        t: The quantity that generated y, with shape (n,), where it is known; it colours the
            figures and no model sees it.
        units: The names of the columns and how models standardise them; None for neither.

    Raises:
        ValueError: If an array holds no real numbers, has the wrong shape, no rows, or a value
            that is not finite.
    """

    x: Array
    y: Array
    t: Array | None = None
    units: Units | None = None

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
