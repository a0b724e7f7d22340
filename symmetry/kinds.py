"""Kinds of columns: what values each may hold, how a model sees them, and which are held."""

__all__ = [
    "Declared",
    "Kind",
    "Value",
    "array_of",
    "check_category",
    "codes_of",
    "kind_of",
    "look_like_numbers",
    "ordered_by",
    "possible",
    "texts_of",
]

import re
from collections.abc import Collection, Sequence
from dataclasses import dataclass, replace
from math import isfinite
from typing import TYPE_CHECKING, Any, Literal

import numpy as np
from numpy.typing import NDArray

if TYPE_CHECKING:
    from pandas import Series

Array = NDArray[np.float64]
Value = str | float | bool
Declared = Literal["number", "integer", "category"] | Sequence[float]
"""What a column is said to be; two numbers are the ends of a closed range."""

KINDS = ("number", "integer", "category")
FEW = 50  # different whole numbers, and a tenth of the rows at most: counts, grades, codes, flags
FEW_TEXTS = 20  # that look like numbers, as "3rd": more are quantities with units, or dates
MOST_VALUES = 500  # of a category: beyond, texts are names or notes, of which no value comes again


# "$1,200", "-83%", "12 kg", "2020-09-01", "Sep 2020".
_LIKE_NUMBER = re.compile(
    r"[^\w\s]*\s*\d|(?:jan|feb|mar|apr|may|jun|jul|aug|sep|oct|nov|dec)[a-z]*\W*\d", re.IGNORECASE
)


@dataclass(frozen=True)
class Kind:
    """Says what a column may hold, and whether partners keep it.

    A model sees a category as the place of its value among ``members``.

    Arguments:
        kind: "number", "integer" or "category".
        members: The values that occur, of a category or of an integer of few values; partners hold
            no others. Empty for a number, and for an integer of many values.
        low: The lower end of a closed range, or None.
        high: Its upper end, or None.
        held: Whether partners keep the column exactly.

    Raises:
        ValueError: If one of them is none of these.
    """

    kind: str = "number"
    members: tuple[Value, ...] = ()
    low: float | None = None
    high: float | None = None
    held: bool = False

    def __post_init__(self) -> None:
        if self.kind not in KINDS:
            raise ValueError(f"the kind of a column is {self.kind!r}; allowed: {', '.join(KINDS)}")
        types = (str, float, int, bool) if self.kind == "category" else (float, int)
        for value in self.members:
            if type(value) not in types or (type(value) is float and not isfinite(value)):
                raise ValueError(f"a value of a column is {value!r}, which no {self.kind} is")
        for end in (self.low, self.high):
            if end is not None and not (type(end) in (int, float) and isfinite(end)):
                raise ValueError(f"an end of a range is {end!r}; allowed: a finite number or none")
        if type(self.held) is not bool:
            raise ValueError(f"held is {self.held!r}; allowed: true or false")

    @property
    def is_category(self) -> bool:
        """Whether it is a category."""
        return self.kind == "category"

    @property
    def levels(self) -> tuple[float, ...]:
        """The numbers by which a model sees the values, ascending; empty where any may stand."""
        if self.is_category:
            return tuple(map(float, range(len(self.members))))
        return tuple(float(value) for value in self.members)

    @classmethod
    def from_json(cls, content: Any) -> "Kind":
        """Rebuilds a kind from what json keeps of it.

        Raises:
            ValueError: If the content is not that of a kind.
        """
        try:
            return cls(**{**content, "members": tuple(content["members"])})
        except (KeyError, TypeError) as error:
            raise ValueError(f"a kind lacks something or holds what is none: {error}") from None


def kind_of(
    name: str,
    column: Array,
    declared: Declared | None,
    values: Sequence[Value] | None = None,
    *,
    held: bool = False,
) -> Kind:
    """Finds the kind of a column: what is declared, or else what its values look like.

    A column of texts is a category. Whole numbers are integers if at most 50 of them differ, and
    at most a tenth of the rows; else they are numbers, unless declared as integers.

    Arguments:
        name: The name of the column, for errors.
        column: Its numbers, or of a category the places of its values, with shape (n,).
        declared: What it is said to be, or None.
        values: The values of a category, or None for a column of numbers.
        held: Whether partners shall keep it.

    Raises:
        ValueError: If the column is not as declared, or a category has too many values.
    """
    if values is not None:
        check_category(name, len(values), len(column))
        return Kind("category", tuple(values), held=held)
    if declared is not None and not (isinstance(declared, str) and declared in KINDS):
        low, high = _range(name, declared)
        outside = (column < low) | (column > high)
        if outside.any():
            raise ValueError(
                f"column {name!r} is declared to lie from {low:g} to {high:g}; "
                f"{np.count_nonzero(outside)} values do not, such as {column[outside][0]:g}"
            )
        return replace(kind_of(name, column, None), low=low, high=high, held=held)
    if declared == "number":
        return Kind(held=held)
    whole = column == np.round(column)
    if declared == "integer" and not whole.all():
        raise ValueError(
            f"column {name!r} is declared an integer; {np.count_nonzero(~whole)} values are no "
            f"whole numbers, such as {column[~whole][0]:g}"
        )
    if not whole.all():
        return Kind(held=held)
    distinct = np.unique(column)
    few = len(distinct) <= FEW and (declared == "integer" or len(distinct) <= len(column) / 10)
    if not few:
        return Kind("integer" if declared == "integer" else "number", held=held)
    return Kind("integer", tuple(float(value) + 0.0 for value in distinct), held=held)


def _range(name: str, declared: Declared) -> tuple[float, float]:
    try:
        low, high = (float(end) for end in ([] if isinstance(declared, str) else declared))
    except (TypeError, ValueError):
        low = high = np.nan
    if not low < high:
        raise ValueError(
            f"column {name!r} is declared as {declared!r}; allowed: {', '.join(KINDS)}, or the "
            "two ends of a closed range, the lower one first"
        )
    return low, high


def look_like_numbers(texts: Collection[str]) -> bool:
    """Tells whether different texts are numbers with units, or dates, and no values of a category.

    They are where there are more than 20, and more than half of them begin like one.
    """
    alike = sum(bool(_LIKE_NUMBER.match(text)) for text in texts)
    return len(texts) > FEW_TEXTS and 2 * alike > len(texts)


def check_category(name: str, values: int, rows: int) -> None:
    """Checks that a category has few values beside its rows.

    Raises:
        ValueError: If they are more than 500, or more than 20 and half as many as rows.
    """
    if values > MOST_VALUES or (values > 20 and 2 * values > rows):
        raise ValueError(
            f"column {name!r} has {values} different values in {rows} rows; a category has at "
            f"most {MOST_VALUES}, and half as many as rows: leave it out, or group its values"
        )


def codes_of(
    name: str, cells: "Series[Any]", values: Sequence[Value] | None = None
) -> tuple[Array, tuple[Value, ...]]:
    """Looks up the place of each cell among the values of a category.

    Arguments:
        name: The name of the column, for errors.
        cells: The cells.
        values: The values; those that the cells hold if None.

    Returns:
        The places, with shape (n,), NaN for cells that hold nothing or none of the values; and the
        values.
    """
    import pandas as pd  # a second, for those alone who have categories

    codes, distinct = pd.factorize(cells.astype(object), use_na_sentinel=True)
    own = [value.item() if isinstance(value, np.generic) else value for value in distinct]
    for value in own:
        if not isinstance(value, str | float | int):
            raise ValueError(
                f"column {name!r} holds {value!r}; a category is of texts, numbers or booleans"
            )
    if values is None:
        values = sorted(own, key=lambda value: (isinstance(value, str), value))
    places = {value: place for place, value in enumerate(values)}
    table = np.array([*(places.get(value, np.nan) for value in own), np.nan])
    return table[codes], tuple(values)


def array_of(values: Sequence[Value]) -> NDArray[Any]:
    """Makes an array of values, of objects where they are of several types."""
    return np.array(values, dtype=None if len(set(map(type, values))) == 1 else object)


def texts_of(column: Array, kind: Kind) -> NDArray[Any]:
    """Gives the places of a category, with any shape, their values back."""
    texts: NDArray[Any] = np.empty(len(kind.members), dtype=object)
    texts[:] = kind.members
    return np.asarray(texts[np.round(column).astype(int)])


def ordered_by(
    column: Array, values: Sequence[Value], y: Array
) -> tuple[Array, tuple[Value, ...]]:
    """Puts the values of a category in the order of the mean y of their rows.

    Alike values then stand side by side, which a flow learns with fewer rows than any other order.

    Arguments:
        column: The places of the values, with shape (n,).
        values: The values.
        y: The targets of the rows, with shape (n,).

    Returns:
        The new place of each old one, NaN for values that no row has; and the values left.
    """
    counts = np.bincount(column.astype(int), minlength=len(values))
    sums = np.bincount(column.astype(int), y, minlength=len(values))
    means = np.where(counts > 0, sums / np.maximum(counts, 1), np.inf)
    order = np.argsort(means, kind="stable")[: np.count_nonzero(counts)]
    places = np.full(len(values), np.nan)
    places[order] = np.arange(len(order))
    return places, tuple(values[place] for place in order)


def possible(points: Array, kinds: Sequence[Kind]) -> Array:
    """Rounds what must be whole, and keeps closed ranges: what rounding of a machine may break.

    Arguments:
        points: The points, in the units of the table, with shape (..., d).
        kinds: The kind of each column; none if all are numbers.
    """
    if not kinds:
        return points
    points = points.copy()
    for column, kind in enumerate(kinds):
        if kind.kind != "number":
            points[..., column] = np.round(points[..., column])
        if kind.low is not None or kind.high is not None:
            low, high = (-np.inf if kind.low is None else kind.low), kind.high
            points[..., column] = points[..., column].clip(low, np.inf if high is None else high)
    return points
