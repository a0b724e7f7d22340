"""What the columns of a table seem to be, before anything is learned of them."""

__all__ = ["Look", "look", "separator_of"]

import json
from collections.abc import Sequence
from dataclasses import dataclass, replace
from math import ceil
from pathlib import Path

import numpy as np

from symmetry.data import Array, Table
from symmetry.kinds import Kind, kind_of
from symmetry.sheets import (
    Fault,
    Values,
    far_values,
    read_names,
    read_pieces,
    text_columns,
    unusable_columns,
)

SEPARATORS = ",;\t|"
SHOWN = 6  # values of a category
MOST_MISSING = 0.1  # of a column that may be left out


@dataclass(frozen=True)
class Look:
    """Holds what the columns of a table seem to be.

    Arguments:
        kinds: The kind of each column that can be used, with some words.
        left: Why others cannot be used.
        table: How these columns can be read: without rows that have bad cells, if there are any.
        bad: What is wrong with cells of such rows, in words.
        bad_rows: How many such rows there are.
        far: Which values are far from all others of their column, in words.
    """

    kinds: dict[str, tuple[Kind, str]]
    left: dict[str, str]
    table: Table
    bad: list[str]
    bad_rows: int
    far: list[str]


def separator_of(path: Path) -> str:
    """Finds the separator that cuts the header of a table into most columns."""
    if path.suffix.lower() == ".parquet":
        return ","

    def columns(sign: str) -> int:
        try:
            return len(read_names(path, Table(sign)))
        except ValueError:  # as of a quoted first name, after which another sign must stand
            return 0

    return max(SEPARATORS, key=columns)


def look(path: Path, table: Table, x: Sequence[str] | None, y: Sequence[str]) -> Look:
    """Finds the kinds of columns, and why others cannot be used.

    Arguments:
        path: The table.
        table: How it is read, but for rows with bad cells.
        x: Columns that must be used; if left out, all but y that can be, and have no more than a
            tenth of bad cells.
        y: Columns that must be used, too.

    Raises:
        ValueError: If there is no such column, one that must be used cannot, or all rows are bad.
    """
    names = read_names(path, table)
    if twice := [name for place, name in enumerate(y) if name in y[:place]]:
        raise ValueError(f"y names {', '.join(map(repr, twice))} twice")
    absent = [name for name in [*y, *(x or [])] if name not in names]
    if absent:
        raise ValueError(
            f"{path} has no column {', '.join(map(repr, absent))}; it has "
            + ", ".join(map(repr, names))
        )
    left = {}
    if not x:
        x_names = [name for name in names if name not in y]
        left = unusable_columns(path, x_names, table)
    chosen = [*(x or [name for name in x_names if name not in left]), *y]
    values = {name: Values() for name in text_columns(path, chosen, table)}
    faults: dict[str, Fault] = {}
    pieces = read_pieces(path, [], table, optional=chosen, categories=values, faults=faults)
    numbers = np.concatenate([piece.numbers for piece in pieces])
    bad = np.isnan(numbers)
    found = {}
    for column, name in enumerate(chosen):
        try:
            share = bad[:, column].mean()
            if share == 1 or (share > MOST_MISSING and not (x or name in y)):
                raise ValueError(_useless(name, faults[name], table))
            found[name] = _found(name, numbers[~bad[:, column], column], values.get(name))
        except ValueError as error:
            if x or name in y:
                raise ValueError(f"{path}: {error}") from None
            left[name] = str(error)
    used = [column for column, name in enumerate(chosen) if name in found]
    good = np.flatnonzero(~bad[:, used].any(1))
    constant = [column for column in used if len(good) and np.ptp(numbers[good, column]) == 0]
    for name in (chosen[column] for column in constant):
        reason = f"column {name!r} is constant where no other cells are bad"
        if x or name in y:
            raise ValueError(f"{path}: {reason}")
        left[name] = reason
        del found[name]
    if not set(found) - set(y):
        raise ValueError(f"{path} has no column of x that can be used: {left}")
    # Rows that were bad in those columns alone come back; by more rows none turns constant.
    used = [column for column in used if column not in constant]
    good = np.flatnonzero(~bad[:, used].any(1))
    words = [faults[name].words(name, table) for name in found if name in faults]
    if not len(good):
        raise ValueError(f"{path} has {len(bad)} rows, all with bad cells: {'; '.join(words)}")
    if dropped := len(bad) - len(good):
        most = max(table.most_dropped, ceil(100 * dropped / len(bad)) / 100)
        table = replace(table, bad_rows="drop", most_dropped=most)
    far = [
        values_beyond.words(chosen[column], good)
        for column in used
        if chosen[column] not in values
        if (values_beyond := far_values(numbers[good, column]))
    ]
    return Look(found, left, table, words, dropped, far)


def _useless(name: str, fault: Fault, table: Table) -> str:
    advice = "; if these are names, add it to x and say that it is a category"
    return fault.words(name, table) + advice * fault.has_words(table)


def _found(name: str, numbers: Array, values: Values | None) -> tuple[Kind, str]:
    if numbers.min() == numbers.max():
        raise ValueError(f"column {name!r} is constant")
    kind = kind_of(name, numbers, None, None if values is None else values.known)
    if kind.is_category:
        shown = [json.dumps(text, ensure_ascii=False) for text in map(str, kind.members[:SHOWN])]
        more = ", …" if len(kind.members) > SHOWN else ""
        return kind, f"{len(kind.members)} values: {', '.join(shown)}{more}"
    return kind, f"{numbers.min():g} to {numbers.max():g}"
