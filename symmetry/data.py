"""Data sets of inputs x and targets y, their units, and how a table is read and split."""

__all__ = [
    "MOST_HELD_OUT",
    "Array",
    "Columns",
    "Dataset",
    "Table",
    "Target",
    "Units",
    "copies_of",
    "cut",
    "joined",
]

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from math import isfinite
from typing import Any

import numpy as np
from numpy.typing import NDArray

from symmetry.kinds import Kind, Value, array_of, codes_of

Array = NDArray[np.float64]

RESOLUTION = 1e-5  # the least standard deviation, as a share of the mean, that float32 can tell
MOST_HELD_OUT = 20_000  # rows of validation and of test each: more cost time and tell no more
SMALLEST, LARGEST = 1e-30, 1e30  # of standard deviations and values, with room for their squares


@dataclass(frozen=True)
class Table:
    """Declares how a table is read: once, so that rows to come are read as the training rows were.

    Arguments:
        separator: What separates the cells of a csv file.
        decimal: What stands before the decimals of a number, "." or ",".
        thousands: What stands between groups of three digits, or None for nothing.
        missing: Numbers and texts that stand for "missing", besides cells that are blank.
        bad_rows: Whether rows with cells that are missing or no finite numbers are an error
            ("refuse") or left out ("drop").
        most_dropped: The largest share of the rows that may be left out.

    Raises:
        ValueError: If one of them is none of these, or two are the same sign.
    """

    separator: str = ","
    decimal: str = "."
    thousands: str | None = None
    missing: tuple[float | str, ...] = ()
    bad_rows: str = "refuse"
    most_dropped: float = 0.05

    def __post_init__(self) -> None:
        if not _is_sign(self.separator):
            raise ValueError(f"separator is {self.separator!r}; allowed: one sign")
        if self.decimal not in (".", ","):
            raise ValueError(f"decimal is {self.decimal!r}; allowed: '.' or ','")
        if self.thousands is not None and (
            not _is_sign(self.thousands)
            or self.thousands.isalnum()
            or self.thousands in ("+", "-", self.decimal)
        ):
            raise ValueError(
                f"thousands is {self.thousands!r}; allowed: one sign that is no letter, digit, "
                f"plus or minus, and not the decimal sign {self.decimal!r}"
            )
        for value in self.missing:
            if not (isinstance(value, str) or (type(value) in (int, float) and isfinite(value))):
                raise ValueError(f"missing has {value!r}; allowed: finite numbers and texts")
        if self.bad_rows not in ("refuse", "drop"):
            raise ValueError(f"bad_rows is {self.bad_rows!r}; allowed: 'refuse' or 'drop'")
        if type(self.most_dropped) not in (int, float) or not 0 <= self.most_dropped <= 1:
            raise ValueError(f"most_dropped is {self.most_dropped!r}; allowed: a share, 0 to 1")

    @classmethod
    def from_json(cls, content: Any) -> "Table":
        """Rebuilds the declarations from what json keeps of them.

        Raises:
            ValueError: If the content is not that of declarations.
        """
        try:
            return cls(**{**content, "missing": tuple(content["missing"])})
        except (KeyError, TypeError) as error:
            raise ValueError(f"the table lacks something or holds what is none: {error}") from None


def _is_sign(value: Any) -> bool:
    return isinstance(value, str) and len(value) == 1


@dataclass(frozen=True)
class Columns:
    r"""Names columns and says how they are standardised: :math:`(a - \text{mean}) / \text{std}`.

    Arguments:
        names: The name of each column.
        mean: The mean of each column, in its own unit.
        std: The standard deviation of each column, in its own unit.
        kinds: The kind of each column; none if all are numbers and none is held.
    """

    names: tuple[str, ...]
    mean: tuple[float, ...]
    std: tuple[float, ...]
    kinds: tuple[Kind, ...] = ()

    @classmethod
    def of(
        cls,
        rows: Array,
        names: Sequence[str],
        kinds: Sequence[Kind] = (),
        *,
        resolution: float = RESOLUTION,
    ) -> "Columns":
        """Takes the statistics of rows, with shape (n, columns).

        Arguments:
            rows: The rows.
            names: The name of each column.
            kinds: The kind of each column, if any is more than a number.
            resolution: The least standard deviation, as a share of the mean; that of float32 by
                default, in which models standardise.

        Raises:
            ValueError: If a column is constant, varies too little about its mean, or is in a unit
                in which its numbers are too large or too small for float32.
        """
        columns = [rows[:, column] for column in range(rows.shape[1])]  # one at a time in memory
        mean, std = zip(*map(_moments, columns), strict=True)
        for name, one, centre, spread in zip(names, columns, mean, std, strict=True):
            constant = one.min() == one.max()
            if constant or spread <= resolution * abs(centre):
                fault = "is constant" if constant else "varies too little to be told apart"
                raise ValueError(
                    f"column {name!r} {fault} in the training rows (mean {centre:.9g}, standard "
                    f"deviation {spread:.3g}); leave it out or subtract its mean"
                )
            furthest = max(abs(one.min()), abs(one.max()))
            if spread < SMALLEST or furthest > LARGEST:
                raise ValueError(
                    f"column {name!r} has a standard deviation of {spread:.3g} and values of up "
                    f"to ±{furthest:.3g}; allowed: at least {SMALLEST:g} and at most {LARGEST:g}; "
                    "give it in another unit"
                )
        plain = all(kind == Kind() for kind in kinds)
        return cls(tuple(names), mean, std, () if plain else tuple(kinds))

    @classmethod
    def from_json(cls, content: Any) -> "Columns":
        """Rebuilds columns from what json keeps of them.

        Raises:
            KeyError: If something is missing.
            TypeError: If something is of the wrong type.
            ValueError: If a kind is none, or there are not as many as columns.
        """
        names, mean, std = (tuple(content[part]) for part in ("names", "mean", "std"))
        kinds = tuple(map(Kind.from_json, content.get("kinds", ())))  # older ones lack them
        if len(kinds) not in (0, len(names)):
            raise ValueError(f"the units have {len(kinds)} kinds of {len(names)} columns")
        return cls(names, mean, std, kinds)


def _moments(column: Array) -> tuple[float, float]:
    # The mean and the standard deviation, in a unit in which squares are neither 0 nor infinite; a
    # power of two, which changes no bit of them.
    unit = np.frexp(np.abs(column).max())[1]
    column = np.ldexp(column, -unit)
    return float(np.ldexp(column.mean(), unit)), float(np.ldexp(column.std(), unit))


@dataclass(frozen=True)
class Target:
    """Names a class that is to be predicted.

    Arguments:
        name: The name of its column in the table.
        classes: Its values; at least two.

    Raises:
        ValueError: If there are fewer.
    """

    name: str
    classes: tuple[Value, ...]

    def __post_init__(self) -> None:
        if len(self.classes) < 2:
            raise ValueError(
                f"column {self.name!r} of y has one class, {self.classes}; at least 2 are needed"
            )

    @classmethod
    def from_json(cls, content: Any) -> "Target":
        """Rebuilds it from what json keeps of it.

        Raises:
            KeyError: If something is missing.
            TypeError: If something is of the wrong type.
        """
        return cls(str(content["name"]), tuple(content["classes"]))

    def columns(self) -> Columns:
        """Names the columns of y that stand for the class; they are not standardised."""
        names = tuple(f"{self.name}={value}" for value in self.classes[1:])
        return Columns(names, (0.0,) * len(names), (1.0,) * len(names))

    def indicators(self, codes: Array) -> Array:
        """Spreads the places of the classes, with shape (n,), to shape (n, classes - 1)."""
        indicators: Array = (codes[:, None] == np.arange(1, len(self.classes))) * 1.0
        return indicators

    def indicators_of(self, y: Any) -> Array:
        """Spreads the classes of rows, an array or a column of a table, likewise.

        Raises:
            ValueError: If a row is of none of the classes.
        """
        import pandas as pd  # a second, for those alone who have classes

        codes, _ = codes_of(self.name, pd.Series(np.ravel(np.asarray(y))), self.classes)
        if np.isnan(codes).any():
            raise ValueError(
                f"y holds what is none of the classes {', '.join(map(repr, self.classes))}"
            )
        return self.indicators(codes)

    def of(self, indicators: Array) -> NDArray[Any]:
        """Names the class of each row of indicators, or the likeliest by probabilities."""
        chances = np.column_stack([1 - indicators.sum(1), indicators])
        return np.asarray(array_of(self.classes)[chances.argmax(1)])


@dataclass(frozen=True)
class Units:
    """Holds the columns of x and of y, with the statistics of the training rows.

    Arguments:
        x: The columns of x.
        y: The columns of y.
        table: How the table was read that had them; None if they were drawn.
        target: The class that y is, whose columns are then 1 for rows of a class and else 0,
            without the first class; None if y is of numbers.
    """

    x: Columns
    y: Columns
    table: Table | None = None
    target: Target | None = None

    @property
    def target_names(self) -> tuple[str, ...]:
        """The names of the columns of y in a table: those of the numbers, or that of a class."""
        return self.y.names if self.target is None else (self.target.name,)

    @property
    def held(self) -> tuple[str, ...]:
        """The names of the columns of x that partners keep exactly."""
        kinds = zip(self.x.names, self.x.kinds, strict=False)
        return tuple(name for name, kind in kinds if kind.held)

    @classmethod
    def from_json(cls, content: Any) -> "Units":
        """Rebuilds the units from what json keeps of them.

        Raises:
            ValueError: If the content is not that of units.
        """
        try:
            x, y = (Columns.from_json(content[side]) for side in ("x", "y"))
            table = content.get("table")  # units written before there were tables lack it
            target = content.get("target")
        except (KeyError, TypeError) as error:
            raise ValueError(f"the units lack something or hold what is none: {error}") from None
        return cls(
            x,
            y,
            None if table is None else Table.from_json(table),
            None if target is None else Target.from_json(target),
        )


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


def copies_of(rows: Array) -> NDArray[np.intp]:
    """Numbers rows, with shape (n, columns), so that copies of a row have the same number.

    Of 10⁷ different rows, two get the same number, and so go to the same part, once in 400,000
    tables.
    """
    import pandas as pd  # a second, for those alone who split rows

    # Adding 0 makes -0 the same.
    keys = sum(
        pd.util.hash_array(column + 0.0, categorize=False) * np.uint64(2 * number + 1)
        for number, column in enumerate(rows.T)
    )
    return np.unique(keys, return_inverse=True)[1]


def joined(copies: NDArray[np.intp], labels: NDArray[np.str_]) -> NDArray[np.intp]:
    """Numbers rows so that all that copies and groups, in turn, hold together have one number."""
    from scipy.sparse import coo_array
    from scipy.sparse.csgraph import connected_components

    names, group = np.unique(labels, return_inverse=True)
    size = len(names) + int(copies.max()) + 1
    edges = coo_array((np.ones(len(group), bool), (group, len(names) + copies)), (size, size))
    blocks = connected_components(edges, directed=False)[1].astype(np.intp)
    return blocks[group]


def cut(
    order: NDArray[np.intp], blocks: NDArray[np.intp], counts: Mapping[str, int], last: str
) -> dict[str, NDArray[np.intp]]:
    """Cuts rows into parts, one after the other, of so many rows or, as blocks stay whole, more.

    Arguments:
        order: The rows in the order in which they are dealt out.
        blocks: The number of each row's block, as :func:`copies_of` or :func:`joined` gives it.
        counts: How many rows each part takes.
        last: The name of the part that takes the rest.

    Returns:
        The rows of each part.
    """
    _, first, member = np.unique(blocks[order], return_index=True, return_inverse=True)
    together = np.argsort(first[member], kind="stable")  # a block stands where its first row did
    starts = np.sort(first[member])  # where the block of each row begins, by the rows before it
    rows = order[together]
    begins = np.searchsorted(starts, starts)
    parts, start = {}, 0
    for part, count in counts.items():
        end = int(np.searchsorted(begins, start + count))
        parts[part] = rows[start:end]
        start = end
    return {**parts, last: rows[start:]}
