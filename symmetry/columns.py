"""What the columns of a table seem to be, before anything is learned of them."""

__all__ = ["look", "separator_of"]

import json
from collections.abc import Sequence
from pathlib import Path

from symmetry.data import Array, Table
from symmetry.kinds import Kind, kind_of
from symmetry.sheets import Values, read_names, read_sheet, text_columns, unusable_columns

SEPARATORS = ",;\t|"
SHOWN = 6  # values of a category


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


def look(
    path: Path, table: Table, x: Sequence[str] | None, y: Sequence[str]
) -> tuple[dict[str, tuple[Kind, str]], dict[str, str]]:
    """Finds the kinds of columns, each with some words; and why others cannot be used.

    Arguments:
        path: The table.
        table: How it is read.
        x: Columns that must be used; if left out, all but y that can be.
        y: Columns that must be used, too.

    Raises:
        ValueError: If there is no such column, or one that must be used cannot.
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
    sheet = read_sheet(path, chosen, table, categories=values)
    found = {}
    for column, name in enumerate(chosen):
        try:
            found[name] = _found(name, sheet.numbers[:, column], values.get(name))
        except ValueError as error:
            if x or name in y:
                raise ValueError(f"{path}: {error}") from None
            left[name] = str(error)
    if not set(found) - set(y):
        raise ValueError(f"{path} has no column of x that can be used: {left}")
    return found, left


def _found(name: str, numbers: Array, values: Values | None) -> tuple[Kind, str]:
    if numbers.min() == numbers.max():
        raise ValueError(f"column {name!r} is constant")
    kind = kind_of(name, numbers, None, None if values is None else values.known)
    if kind.is_category:
        shown = [json.dumps(text, ensure_ascii=False) for text in map(str, kind.members[:SHOWN])]
        more = ", …" if len(kind.members) > SHOWN else ""
        return kind, f"{len(kind.members)} values: {', '.join(shown)}{more}"
    return kind, f"{numbers.min():g} to {numbers.max():g}"
