"""Reads columns from csv and Parquet files and names whatever is wrong with them; writes such.

It opens the files itself: :mod:`~symmetry.artifacts` reads whole files that this package wrote,
while a table comes from anywhere, may be larger than memory, and is read in pieces.
"""

__all__ = [
    "Far",
    "Fault",
    "Sheet",
    "Values",
    "far_values",
    "read_names",
    "read_pieces",
    "read_sheet",
    "text_columns",
    "unusable_columns",
    "usual_separator",
    "values_of",
    "write_pieces",
]

import csv
import re
import warnings
from collections import Counter
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, field
from itertools import chain
from pathlib import Path
from types import MappingProxyType
from typing import TYPE_CHECKING, Any

import numpy as np
from numpy.typing import NDArray

from symmetry.artifacts import replacing
from symmetry.data import Array, Table, Units
from symmetry.kinds import look_like_numbers

if TYPE_CHECKING:
    from pandas import DataFrame, Series

MOST_COLUMNS = 10_000
CHUNK = 2_000_000  # cells that are text at a time
TEXT = (".csv", ".tsv", ".txt")
MISSING = ("", "na", "n/a", "nan", "null", "none", "-", "?")
EXAMPLES = 100  # different cells of a piece that are looked at for the likely cause
SHOWN = 4  # columns with bad cells
MISSES = "nothing"  # what is said of a blank cell
EXACT = 2**53  # beyond it float64 has not all whole numbers
GAP = 20  # how far out a value is that is far, in widths of what lies between

# Numbers in groups of three digits, and numbers with decimals. "1,137" is both.
_GROUPS = re.compile(r"[+-]?\d{1,3}([,.'’ \u00a0\u202f])\d{3}(?:\1\d{3})*(?:[.,]\d*)?")
_DECIMALS = re.compile(r"[+-]?\d*([.,])\d+(?:[eE][+-]?\d+)?")

Say = Callable[[str], None]
NO_CATEGORIES: Mapping[str, "Values"] = MappingProxyType({})


@dataclass
class Values:
    """Holds the texts that a category has: all that it may have, or those met so far.

    Arguments:
        known: The texts.
        closed: Whether it may have no others.
    """

    known: list[str] = field(default_factory=list)
    closed: bool = False

    def places(self, cells: "Series[Any]", table: Table) -> Array:
        """Looks up the place of each cell; NaN for what is missing or may not be."""
        import pandas as pd

        codes, distinct = pd.factorize(cells.astype(object))
        own = ["" if pd.isna(text) else str(text).strip() for text in distinct]
        places = {text: float(place) for place, text in enumerate(self.known)}
        for text in own:
            if text and not self.closed and text not in places and not _is_missing(text, table):
                places[text] = float(len(self.known))
                self.known.append(text)
        return np.array([*(places.get(text, np.nan) for text in own), np.nan])[codes]


def values_of(units: Units | None) -> dict[str, Values]:
    """Lists the values that categories of x, and a class, may have, by the name of the column."""
    if units is None:
        return {}
    kinds = zip(units.x.names, units.x.kinds, strict=False)
    members = {name: kind.members for name, kind in kinds if kind.is_category}
    if units.target is not None:
        members[units.target.name] = units.target.classes
    return {name: Values(list(map(str, own)), closed=True) for name, own in members.items()}


@dataclass(frozen=True)
class Sheet:
    """Holds rows of the columns of a file that were asked for.

    Arguments:
        numbers: The cells, with shape (n, columns).
        labels: The text of each column of labels, with shape (n,).
        rows: The number that each row has in the file, from 0, with shape (n,).
        read: The share of the file that was read by then.
    """

    numbers: Array
    labels: Mapping[str, NDArray[np.str_]]
    rows: NDArray[np.intp]
    read: float = 1.0


def read_sheet(
    path: str | Path,
    names: Sequence[str],
    table: Table,
    *,
    labels: Sequence[str] = (),
    exact: Sequence[str] = (),
    categories: Mapping[str, Values] = NO_CATEGORIES,
    say: Say = print,
) -> Sheet:
    """Reads named columns of a csv file (.csv, .tsv, .txt; UTF-8, with a header) or of .parquet.

    Arguments:
        path: The file.
        names: The columns of numbers to read.
        table: How the file is to be read.
        labels: Columns of text to read too.
        exact: Those of the columns of which no digit may be lost, as float64 does beyond 2^53.
        categories: Those of the columns that are texts, of which the places among their values
            are read.
        say: Is told, in words, which rows were left out.

    Raises:
        ValueError: If the file is no such file, has no rows, has a row with more or fewer cells
            than the header, or lacks a column or has it twice; if there are bad rows and they are
            not to be dropped, or too many are, or their cells look like numbers in a notation
            that was not declared; or if digits would be lost. It says how many and where.
        OSError: If the file cannot be read.
    """
    numbers, rows = np.empty((0, len(names))), [np.empty(0, np.intp)]
    texts: dict[str, list[NDArray[np.str_]]] = {label: [np.empty(0, str)] for label in labels}
    for piece in read_pieces(
        path, names, table, labels=labels, exact=exact, categories=categories, say=say
    ):
        old = len(numbers)  # it grows where it is: pieces put together at the end would be a copy
        numbers.resize((old + len(piece.numbers), len(names)), refcheck=False)
        numbers[old:] = piece.numbers
        rows.append(piece.rows)
        for label in labels:
            texts[label].append(piece.labels[label])
    joined = {label: np.concatenate(parts) for label, parts in texts.items()}
    return Sheet(numbers, joined, np.concatenate(rows))


def read_pieces(
    path: str | Path,
    names: Sequence[str],
    table: Table,
    *,
    optional: Sequence[str] = (),
    labels: Sequence[str] = (),
    exact: Sequence[str] = (),
    categories: Mapping[str, Values] = NO_CATEGORIES,
    say: Say = print,
    faults: dict[str, "Fault"] | None = None,
) -> Iterator[Sheet]:
    """Reads a file as :func:`read_sheet` does, in pieces, so that it may be larger than memory.

    What is wrong with its rows is known, and raised, when all have been read.

    Arguments:
        path: The file.
        names: The columns of numbers to read.
        table: How the file is to be read.
        optional: Further columns of numbers, after those; what is no number there is NaN.
        labels: Columns of text to read too.
        exact: As in :func:`read_sheet`.
        categories: As in :func:`read_sheet`.
        say: Is told, in words, which rows were left out.
        faults: Comes to hold what is wrong with columns, by their names.

    Raises:
        ValueError: As :func:`read_sheet`; also if an optional column looks like numbers in a
            notation that was not declared.
        OSError: If the file cannot be read.
    """
    path = Path(path)
    numeric = [*names, *optional]
    others = [label for label in labels if label not in numeric]
    faults = {} if faults is None else faults
    needed = [*names, *others]
    grouped = {name: _Groups(table.decimal) for name in numeric if name not in categories}
    bad_rows = start = 0
    texts = [*labels, *(name for name in numeric if name in categories)]
    for chunk, read in _chunks(path, numeric, texts, table, exact):
        numbers = np.empty((len(chunk), len(numeric)))
        for column, name in enumerate(numeric):
            if name in categories:
                numbers[:, column] = categories[name].places(chunk[name], table)
                continue
            numbers[:, column] = _numbers(chunk[name], table)
            if name in exact:
                _check_digits(path, name, chunk[name], numbers[:, column])
            grouped[name].look(chunk[name], ~np.isnan(numbers[:, column]))
        numbers[~np.isfinite(numbers)] = np.nan
        blank = (_is_blank(chunk[label]) for label in others)
        bad = np.column_stack([*np.isnan(numbers).T, *blank])
        for name, one in zip([*numeric, *others], bad.T, strict=True):
            found = np.flatnonzero(one)
            if not len(found):
                continue
            fault = faults.setdefault(
                name, Fault(start + int(found[0]) + 1, is_text=name in categories)
            )
            fault.count += len(found)
            fault.cells += chunk[name].iloc[found].drop_duplicates()[:EXAMPLES].tolist()
        bad = np.delete(bad, range(len(names), len(numeric)), 1)  # all but the optional ones
        good = np.flatnonzero(~bad.any(1))
        bad_rows += len(chunk) - len(good)
        refused = bad_rows and table.bad_rows == "refuse"
        if len(good) and not refused:  # what will be refused is but counted
            yield Sheet(
                numbers if len(good) == len(numbers) else numbers[good],
                {name: chunk[name].astype(str).to_numpy(str)[good] for name in labels},
                start + good,
                read,
            )
        start += len(chunk)
    if start == 0:
        raise ValueError(f"{path} has 0 rows")
    for name, groups in grouped.items():
        if groups.found:
            raise ValueError(
                f"{path}: column {name!r} holds whole numbers, those above 999 with a "
                f"{table.decimal!r}, such as {groups.found}; declare data.thousands: "
                f"{table.decimal!r} and data.decimal: {_other(table.decimal)!r}, or write out "
                "the decimals of all numbers"
            )
    # Dropped, numbers in another notation would be the large ones or those with decimals.
    for name, fault in faults.items():
        if notation := fault.notation(table):
            raise ValueError(f"{path}: {fault.words(name, table)}; {notation}")
    if bad_rows:
        theirs = {name: faults[name] for name in needed if name in faults}
        say(_judged(path, table, theirs, bad_rows, start))


def _judged(
    path: Path, table: Table, faults: Mapping[str, "Fault"], bad_rows: int, rows: int
) -> str:
    # What is said of bad rows that may be dropped; an error if they may not.
    words = "; ".join(fault.words(name, table) for name, fault in list(faults.items())[:SHOWN])
    if len(faults) > SHOWN:
        words += f"; and so in {len(faults) - SHOWN} more columns"
    if table.bad_rows == "refuse":
        # What a learned model knows as a category, it cannot do without.
        whole = [
            repr(name)
            for name, fault in faults.items()
            if fault.count == rows and not fault.is_text
        ]
        way = "data.bad_rows: drop leaves such rows out"
        if whole:
            way = f"choose columns without {', '.join(whole)}"
        raise ValueError(f"{path}: {words} ({way})")
    if bad_rows == rows:
        raise ValueError(f"{path} has {rows} rows, all with bad cells: {words}")
    if bad_rows > table.most_dropped * rows:
        raise ValueError(
            f"{path}: {bad_rows} of {rows} rows would be dropped, which is more than the share "
            f"of {table.most_dropped:g} that data.most_dropped allows: {words}"
        )
    return f"{path}: dropped {bad_rows} of {rows} rows: {words}"


def text_columns(path: str | Path, names: Sequence[str], table: Table) -> list[str]:
    """Finds columns of texts, or of true and false, by the first rows of a file.

    None of its cells is a number, nor looks like one in another notation or with a unit, nor like
    a date; at least one holds something.

    Raises:
        ValueError: If the file is no csv or Parquet file, or lacks a column.
        OSError: If the file cannot be read.
    """
    found = _without_numbers(path, names, table)
    return [name for name, texts in found.items() if not look_like_numbers(texts)]


def unusable_columns(path: str | Path, names: Sequence[str], table: Table) -> dict[str, str]:
    """Finds columns of dates, or of numbers with units, by the first rows of a file, and those of
    Parquet whose type is neither that of numbers nor of texts.

    Returns:
        Why each cannot be used, by the column's name.

    Raises:
        ValueError: If the file is no csv or Parquet file, or lacks a column.
        OSError: If the file cannot be read.
    """
    found = {
        name: f"it holds dates, or numbers with units: {texts[0]!r}"
        for name, texts in _without_numbers(path, names, table).items()
        if look_like_numbers(texts)
    }
    if _is_text(path := Path(path)):
        return found
    with _parquet(path) as file:
        types = {name: file.schema_arrow.field(name).type for name in names}
    for name, kind in types.items():
        if not (_may_be_texts(kind) or _is_number(kind)):
            found[name] = f"it is of type {kind}"
    return found


def _without_numbers(path: str | Path, names: Sequence[str], table: Table) -> dict[str, list[str]]:
    # The different cells of each column without any number in any notation.
    path = Path(path)
    if not _is_text(path):
        with _parquet(path) as file:
            _check_header(path, file.schema_arrow.names, names)
            names = [name for name in names if _may_be_texts(file.schema_arrow.field(name).type)]
        if not names:
            return {}
        chunks = _parquet_chunks(path, [], names)
    else:
        chunks = _csv_chunks(path, names, table.separator)
    chunk = next(chunks, (None, 0.0))[0]
    if chunk is None:
        return {}
    found = {name: _texts(chunk[name], table) for name in names}
    return {name: texts for name, texts in found.items() if texts}


def _texts(cells: "Series[Any]", table: Table) -> list[str]:
    # The different texts of a column, none if there is a number among them.
    texts = [str(cell).strip() for cell in cells.dropna().unique()]
    texts = [
        text for text in texts if text.lower() not in MISSING and not _is_missing(text, table)
    ]
    import pandas as pd

    if not texts or not np.isnan(_numbers(pd.Series(texts, dtype=str), table)).all():
        return []
    return [] if Fault(0, cells=texts).notation(table) else texts


def _may_be_texts(kind: Any) -> bool:
    import pyarrow as pa

    kind = kind.value_type if pa.types.is_dictionary(kind) else kind
    tests = (pa.types.is_string, pa.types.is_large_string, pa.types.is_string_view)
    return pa.types.is_boolean(kind) or any(test(kind) for test in tests)


def _is_number(kind: Any) -> bool:
    import pyarrow as pa

    kind = kind.value_type if pa.types.is_dictionary(kind) else kind
    tests = (pa.types.is_integer, pa.types.is_floating, pa.types.is_decimal)
    return any(test(kind) for test in tests)


def read_names(path: str | Path, table: Table) -> list[str]:
    """Reads the names of a file's columns.

    Raises:
        ValueError: If the file is no csv or Parquet file, or names no columns.
        OSError: If the file cannot be read.
    """
    path = Path(path)
    if _is_text(path):
        return _csv_header(path, table.separator)
    with _parquet(path) as file:
        return list(file.schema_arrow.names)


def write_pieces(path: str | Path, pieces: Iterable[Mapping[str, NDArray[Any]]]) -> None:
    """Writes named columns, piece by piece, to a csv file or, if its name ends so, to .parquet.

    In csv, numbers have as many digits as they need to come back to the bit, float32 at most nine.

    Raises:
        ValueError: If the name is that of no table, there are no rows, or Parquet cannot be
            written here.
        OSError: If the file cannot be written; an old one stays as it was.
    """
    path, pieces = Path(path), iter(pieces)
    is_text = _is_text(path)
    first = next(pieces, None)
    if first is None:
        raise ValueError(f"{path}: there are no rows to write")
    whole = chain([first], pieces)
    if is_text:
        import pandas as pd

        form: Any = {"sep": usual_separator(path), "index": False, "lineterminator": "\n"}
        with replacing(path) as file:
            for piece in whole:
                frame = pd.DataFrame({name: _short(one) for name, one in piece.items()})
                frame.to_csv(file, header=piece is first, **form)
        return
    pa, pq = _pyarrow(path)
    with replacing(path) as file, pq.ParquetWriter(file, pa.table(dict(first)).schema) as writer:
        for piece in whole:
            writer.write_table(pa.table(dict(piece)))


def _short(numbers: NDArray[Any]) -> NDArray[Any]:
    # Whole numbers without decimals: as they mostly stood in the table.
    if numbers.dtype.kind != "f" or not (np.abs(numbers) < EXACT).all():
        return numbers
    whole = numbers.astype(np.int64)
    return whole if (whole == numbers).all() else numbers


# ---- Cells -------------------------------------------------------------------------------------


@dataclass
class Fault:
    """Holds what is wrong with a column.

    Arguments:
        row: The number of the first bad row, from 1.
        count: How many are bad.
        cells: Some of these cells.
        is_text: Whether the column is a category.
    """

    row: int
    count: int = 0
    cells: list[Any] = field(default_factory=list)
    is_text: bool = False

    def words(self, name: str, table: Table) -> str:
        """Says how many cells are bad and where the first one is."""
        several = self.count > 1
        what = "no finite numbers" if several else "no finite number"
        shown = f": {_shown(self.cells[0], table)}"
        if self.is_text:
            what = "none of its values"
        if all(_shown(cell, table) == MISSES for cell in self.cells):
            what, shown = "missing", ""
        who, place = ("cells", "the first in row") if several else ("cell", "in row")
        verb = "are" if several else "is"
        return f"{self.count} {who} of column {name!r} {verb} {what}, {place} {self.row}{shown}"

    def has_words(self, table: Table) -> bool:
        """Tells whether some of these cells hold something that does not stand for "missing"."""
        return any(
            not (_is_missing(cell, table) or cell != cell or str(cell).strip().lower() in MISSING)
            for cell in self.cells
            if cell is not None
        )

    def notation(self, table: Table) -> str:
        """Says in which notation the cells are; nothing if they do not look like numbers."""
        if self.is_text:
            return ""
        cells = [str(cell).strip() for cell in self.cells if not _is_missing(cell, table)]
        other = _other(table.decimal)
        groups = [
            match
            for cell in cells
            if (match := _GROUPS.fullmatch(cell)) and match[1] != table.thousands
        ]
        grouped = {match[0] for match in groups}
        decimals = {
            cell for cell in cells if (match := _DECIMALS.fullmatch(cell)) and match[1] == other
        }
        if decimals - grouped:
            way = f"data.decimal: {other!r}"
        elif not groups:
            return ""
        elif (sign := groups[0][1]) == table.decimal:
            way = f"data.thousands: {sign!r} and data.decimal: {other!r}"
        elif grouped <= decimals:
            way = f"data.thousands: {sign!r} or data.decimal: {other!r}, whichever it is"
        else:
            way = f"data.thousands: {sign!r}"
        return f"they look like numbers in another notation; declare {way}"


class _Groups:
    # Whether a column of text is all "973" and "1.137": these are thousands, which as decimals
    # would be read without a word. Of decimals some would end in 0 and not be three; where but
    # one number has any, it is likely the mean that stands for what was missing.

    def __init__(self, decimal: str) -> None:
        self.pattern = rf"\s*[+-]?(?:0|[1-9]\d{{0,2}}(?:{re.escape(decimal)}\d{{3}})?)\s*"
        self.decimal = decimal
        self.possible, self.small = True, False
        self.large: set[str] = set()

    @property
    def found(self) -> str:
        """A number with a sign between thousands, if there are such."""
        several = self.possible and self.small and len(self.large) > 1
        return max(self.large) if several else ""

    def look(self, cells: "Series[Any]", numeric: NDArray[np.bool_]) -> None:
        if not self.possible or cells.dtype.kind in "iuf":
            return
        cells = cells[numeric]
        for some in (cells[:EXAMPLES], cells):  # most columns are none of these, at a glance
            if not some.str.fullmatch(self.pattern).all():
                self.possible = False
                return
        with_sign = cells.str.contains(self.decimal, regex=False)
        self.small |= not with_sign.all()
        if len(self.large) < 2:
            self.large |= set(cells[with_sign].str.strip().unique()[:2])


def _other(decimal: str) -> str:
    return "," if decimal == "." else "."


def _is_missing(cell: Any, table: Table) -> bool:
    text = str(cell).strip()
    try:
        return text in table.missing or float(text) in table.missing
    except ValueError:
        return False


def _shown(cell: Any, table: Table) -> str:
    if cell is None or cell != cell or not str(cell).strip():  # NaN as Parquet's numbers have it
        return MISSES
    if _is_missing(cell, table):
        return f"{cell!r}, declared as missing"
    if str(cell).strip().lower() in MISSING:
        return f"{cell!r}, which is missing"
    return repr(cell if len(str(cell)) <= 40 else f"{str(cell)[:40]}…")


def _is_blank(cells: "Series[Any]") -> NDArray[np.bool_]:
    return (cells.isna() | (cells.astype(str).str.strip() == "")).to_numpy(bool)


def _numbers(cells: "Series[Any]", table: Table) -> Array:
    import pandas as pd  # a second, for this task alone

    if cells.dtype.kind in "iuf":
        numbers = cells.to_numpy(np.float64, copy=True)
    else:
        texts = [value for value in table.missing if isinstance(value, str)]
        if texts:
            cells = cells.mask(cells.str.strip().isin(texts))
        if table.thousands is not None:
            sign = re.escape(table.thousands)
            grouped = cells.str.contains(table.thousands, regex=False, na=False)
            rest = rf"(?:{re.escape(table.decimal)}\d*)?(?:[eE][+-]?\d+)?"
            well = cells.str.fullmatch(rf"\s*[+-]?\d{{1,3}}(?:{sign}\d{{3}})+{rest}\s*", na=False)
            cells = cells.mask(grouped & ~well).str.replace(table.thousands, "", regex=False)
        if table.decimal != ".":
            pointed = cells.str.contains(".", regex=False, na=False)
            cells = cells.mask(pointed).str.replace(table.decimal, ".", regex=False)
        numbers = pd.to_numeric(cells, errors="coerce").to_numpy(np.float64, na_value=np.nan)
        numbers = np.array(numbers)
    for value in table.missing:
        if not isinstance(value, str):
            numbers[numbers == value] = np.nan
    return numbers


def _check_digits(path: Path, name: str, cells: "Series[Any]", numbers: Array) -> None:
    for row in np.flatnonzero(np.abs(numbers) > EXACT):
        cell = str(cells.iloc[row]).strip()
        if cell.lstrip("+-").isdecimal() and int(cell) != int(numbers[row]):
            raise _lost_digits(path, name, cell)


def _lost_digits(path: Path, name: str, what: str) -> ValueError:
    return ValueError(
        f"{path}: column {name!r} is to be kept exactly, but holds {what}, of which a float64 has "
        "not all digits; leave it out of data.hold and data.x, or declare it a category"
    )


# ---- Values that are far from the others -------------------------------------------------------


@dataclass(frozen=True)
class Far:
    """Holds what is far from the other values of a column.

    Arguments:
        values: The values that are far, each once.
        rows: Which rows have them, with shape (n,).
        lowest: The lowest of the other values.
        highest: The highest of the other values.
    """

    values: Array
    rows: NDArray[np.intp]
    lowest: float
    highest: float

    def words(self, name: str, rows: NDArray[np.intp]) -> str:
        """Says which values are far, and in which of the rows, by their numbers from 0."""
        shown = ", ".join(f"{value:.6g}" for value in self.values[:5])
        more = ", …" if len(self.values) > 5 else ""
        return (
            f"column {name!r} is {shown}{more} in {len(self.rows)} rows, the first being row "
            f"{rows[self.rows[0]] + 1}, and from {self.lowest:.6g} to {self.highest:.6g} in all "
            "others"
        )


def far_values(column: Array) -> Far | None:
    r"""Finds values beyond a gap, such as a slip of the keyboard or a number for "missing".

    With the distinct values :math:`u_1 < … < u_m`, all from :math:`u_{k+1}` on are far if

    .. math:: u_{k+1} - u_k > 20 (u_k - u_l), \quad l = m / 10, \quad k \geq 9 m / 10,

    and likewise below. Distinct values are looked at since -9999 may fill a third of a column. The
    next value of a tail is rarely so much further out: never of an exponential one, and in 0.2 %
    of columns if it is so heavy that there is no variance (:math:`P(x) \sim x^{-2}`).

    Arguments:
        column: The values, with shape (n,).

    Returns:
        The far values; None if there are none, or if they are most of the column.
    """
    distinct = np.unique(column)
    above = _far_above(distinct)
    below = _far_above(-distinct[::-1])
    kept = distinct[below : len(distinct) - above]
    if len(kept) == len(distinct):
        return None
    rows = np.flatnonzero((column < kept[0]) | (column > kept[-1]))
    if 2 * len(rows) > len(column):
        return None
    values = np.concatenate([distinct[:below], distinct[len(distinct) - above :]])
    return Far(values, rows, float(kept[0]), float(kept[-1]))


def _far_above(distinct: Array) -> int:
    # How many of the largest values are far.
    count = len(distinct)
    if count < 3:
        return 0
    low, high = int(0.1 * (count - 1)), int(0.9 * (count - 1))
    scale = np.abs(distinct).max()  # so that no difference is infinite
    tail = distinct[high:] / scale
    gaps = np.flatnonzero(np.diff(tail) > GAP * (tail[:-1] - distinct[low] / scale))
    return len(tail) - 1 - int(gaps[0]) if len(gaps) else 0


# ---- Files -------------------------------------------------------------------------------------


def usual_separator(path: Path) -> str:
    """Returns what separates the cells of a file of that name: a tab in .tsv, else a comma."""
    return "\t" if path.suffix.lower() == ".tsv" else ","


def _is_text(path: Path) -> bool:
    if path.suffix.lower() not in (*TEXT, ".parquet"):
        raise ValueError(f"{path} is no table; allowed: {', '.join(TEXT)}, .parquet")
    return path.suffix.lower() in TEXT


def _chunks(
    path: Path,
    numeric: Sequence[str],
    labels: Sequence[str],
    table: Table,
    exact: Sequence[str],
) -> Iterator[tuple["DataFrame", float]]:
    if _is_text(path):
        return _csv_chunks(path, list(dict.fromkeys([*numeric, *labels])), table.separator)
    return _parquet_chunks(path, numeric, labels, exact)


def _check_header(path: Path, header: Sequence[str], wanted: Sequence[str]) -> None:
    if len(header) > MOST_COLUMNS:
        raise ValueError(f"{path} has {len(header)} columns; at most {MOST_COLUMNS} are allowed")
    counts = Counter(header)
    absent = [name for name in wanted if name not in counts]
    if absent:
        shown = ", ".join(map(repr, header[:20])) + (", …" if len(header) > 20 else "")
        advice = "" if len(header) > 1 else " (one column: is data.separator right?)"
        raise ValueError(
            f"{path} has no column {', '.join(map(repr, absent))}; it has {shown}{advice}"
        )
    twice = [name for name in dict.fromkeys(wanted) if counts[name] > 1]
    if twice:
        raise ValueError(f"{path} has {counts[twice[0]]} columns named {twice[0]!r}; rename them")


def _csv_chunks(
    path: Path, wanted: Sequence[str], separator: str
) -> Iterator[tuple["DataFrame", float]]:
    import pandas as pd

    header = _csv_header(path, separator)
    _check_header(path, header, wanted)
    _check_widths(path, header, separator)
    size = path.stat().st_size
    try:
        with warnings.catch_warnings(), path.open("rb") as stream:
            warnings.simplefilter("error", pd.errors.ParserWarning)
            reader = pd.read_csv(
                stream,
                sep=separator,
                header=0,
                names=list(range(len(header))),
                index_col=False,
                dtype=str,
                keep_default_na=False,
                encoding="utf-8-sig",
                chunksize=max(1, CHUNK // len(header)),
            )
            with reader:
                for chunk in reader:
                    chosen = chunk[[header.index(name) for name in wanted]]
                    yield chosen.set_axis(list(wanted), axis=1), stream.tell() / size
    except UnicodeDecodeError as error:
        raise _not_utf8(path, error) from None
    except (pd.errors.ParserError, pd.errors.ParserWarning) as error:
        message = str(error).strip().replace("Error tokenizing data. C error: ", "")
        raise ValueError(f"{path} is not a whole csv file: {message}") from None


def _csv_header(path: Path, separator: str) -> list[str]:
    try:
        with path.open(newline="", encoding="utf-8-sig") as file:
            header = next(csv.reader(file, delimiter=separator, strict=True), None)
    except UnicodeDecodeError as error:
        raise _not_utf8(path, error) from None
    except csv.Error as error:
        raise ValueError(f"{path} has no readable header: {error}") from None
    if not header or not any(name.strip() for name in header):
        raise ValueError(f"{path} is empty: its first line must name the columns")
    if any("\0" in name for name in header):
        raise ValueError(f"{path} is not text: its first line has zero bytes")
    return header


def _check_widths(path: Path, header: Sequence[str], separator: str) -> None:
    # pandas fills a row that is too short, so that a column would take the values of another.
    try:
        with path.open(newline="", encoding="utf-8-sig") as file:
            lines = csv.reader(file, delimiter=separator)
            next(lines)
            rows = (row for row in lines if len(row) > 1 or "".join(row).strip())
            for number, row in enumerate(rows, 1):
                if len(row) == len(header):
                    continue
                advice = ""
                if len(row) == len(header) + 1 and not row[-1].strip():
                    advice = f"; it ends in {separator!r}: let the header end so too, or no row"
                elif header[0] == "#" and len(row) == len(header) - 1:
                    advice = "; delete the '#' before the header"
                raise ValueError(
                    f"{path}: header and rows differ: row {number} has {len(row)} cells, the "
                    f"header {len(header)}{advice}"
                )
    except UnicodeDecodeError as error:
        raise _not_utf8(path, error) from None
    except csv.Error as error:
        raise ValueError(f"{path} is not a whole csv file: {error}") from None


def _not_utf8(path: Path, error: UnicodeDecodeError) -> ValueError:
    return ValueError(
        f"{path} is not UTF-8 text: byte 0x{error.object[error.start]:02x} ({error.reason}); "
        "save it as UTF-8"
    )


def _pyarrow(path: Path) -> tuple[Any, Any]:
    try:
        import pyarrow as pa
        import pyarrow.parquet as pq
    except ImportError:
        raise ValueError(
            f"{path}: Parquet needs pyarrow, which is not installed: pip install '.[parquet]'"
        ) from None
    return pa, pq


@contextmanager
def _parquet(path: Path) -> Iterator[Any]:
    pa, pq = _pyarrow(path)
    with path.open("rb") as stream:
        try:
            yield pq.ParquetFile(stream)
        except (pa.ArrowException, OSError) as error:
            raise ValueError(f"{path} is not a whole Parquet file: {error}") from None


def _parquet_chunks(
    path: Path, numeric: Sequence[str], labels: Sequence[str], exact: Sequence[str] = ()
) -> Iterator[tuple["DataFrame", float]]:
    import pandas as pd

    wanted = list(dict.fromkeys([*numeric, *labels]))
    with _parquet(path) as file:
        _check_header(path, file.schema_arrow.names, wanted)
        types = {
            name: _arrow_type(path, file.schema_arrow.field(name), name in labels)
            for name in wanted
        }
        done = 0
        for batch in file.iter_batches(max(1, CHUNK // len(wanted)), columns=wanted):
            done += batch.num_rows
            # By name: what pandas took for an index or a category is a column like the others.
            columns = {name: batch.column(name).cast(types[name], safe=False) for name in wanted}
            for name in (name for name in exact if name not in labels):
                own = batch.column(name)
                if not columns[name].cast(own.type, safe=False).equals(own):
                    raise _lost_digits(path, name, f"numbers of type {own.type}")
            cells = {name: column.to_pandas() for name, column in columns.items()}
            yield pd.DataFrame(cells), done / file.metadata.num_rows
    _pyarrow(path)[0].default_memory_pool().release_unused()  # as much as a table's numbers


def _arrow_type(path: Path, column: Any, label: bool) -> Any:
    # As which type a column is read.
    import pyarrow as pa

    kind = column.type.value_type if pa.types.is_dictionary(column.type) else column.type
    if label and not pa.types.is_nested(kind):
        return pa.string()
    if pa.types.is_string(kind) or pa.types.is_large_string(kind) or pa.types.is_string_view(kind):
        return pa.string()
    if _is_number(kind):
        return pa.float64()
    raise ValueError(f"{path}: column {column.name!r} is of type {column.type}; give numbers")
