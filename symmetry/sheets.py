"""Reads columns of numbers from csv and Parquet files, and names whatever is wrong with them."""

__all__ = ["Sheet", "read_sheet"]

import csv
import warnings
from collections import Counter
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np
from numpy.typing import NDArray

from symmetry.data import Array

if TYPE_CHECKING:
    from pandas import DataFrame, Series

MOST_COLUMNS = 10_000
CHUNK = 2_000_000  # cells that are text at a time
TEXT = (".csv", ".tsv", ".txt")
MISSING = ("", "na", "n/a", "nan", "null", "none", "-", "?")


@dataclass(frozen=True)
class Sheet:
    """Holds the columns of a file that were asked for.

    Arguments:
        numbers: The cells, with shape (n, columns).
        labels: The text of the label column, with shape (n,), where one was asked for.
        dropped: What was left out, in words; nothing if all rows are there.
    """

    numbers: Array
    labels: NDArray[np.str_] | None
    dropped: list[str]


def read_sheet(
    path: str | Path, names: Sequence[str], *, label: str | None, separator: str, drop: bool
) -> Sheet:
    """Reads named columns of a csv file (.csv, .tsv, .txt; UTF-8, with a header) or of .parquet.

    Arguments:
        path: The file.
        names: The columns of numbers to read.
        label: A column of text to read too, or None.
        separator: What separates the cells of a csv file.
        drop: Whether rows with cells that are missing or no finite numbers are left out; otherwise
            they are an error.

    Raises:
        ValueError: If the file is no such file, has no rows, or lacks a column or has it twice, or
            if there are bad rows and they are not to be dropped. It says how many and where.
        OSError: If the file cannot be read.
    """
    path = Path(path)
    wanted = [*names, *([] if label is None else [label])]
    if path.suffix == ".parquet":
        chunks = _parquet_chunks(path, wanted)
    elif path.suffix in TEXT:
        chunks = _csv_chunks(path, wanted, separator)
    else:
        raise ValueError(f"{path} is no table; allowed: {', '.join(TEXT)}, .parquet")
    table, labels = np.empty((0, len(names))), []
    faults: dict[str, _Fault] = {}
    bad_rows = start = 0
    for chunk in chunks:
        numbers = np.empty((len(chunk), len(names)))
        for column, name in enumerate(names):
            numbers[:, column] = _numbers(chunk[name])
        bad = ~np.isfinite(numbers)
        for row, column in _firsts(bad):
            cell, count = chunk[names[column]].iloc[row], int(bad[:, column].sum())
            faults.setdefault(names[column], _Fault(start + row + 1, cell)).count += count
        good = ~bad.any(1)
        if label is not None:
            labels.append(chunk[label].astype(str).to_numpy(str)[good])
        start += len(chunk)
        bad_rows += int(len(chunk) - good.sum())
        old = len(table)  # it grows where it is: chunks put together at the end would be a copy
        table.resize((old + int(good.sum()), len(names)), refcheck=False)
        table[old:] = numbers if good.all() else numbers[good]
    said = [
        f"{fault.count} cells of column {name!r} are no finite numbers, the first in row "
        f"{fault.row}: {_shown(fault.cell)}"
        for name, fault in faults.items()
    ]
    if said and not drop:
        raise ValueError(f"{path}: {'; '.join(said)} (data.bad_rows: drop leaves such rows out)")
    if start == bad_rows:
        raise ValueError(f"{path} has {start} rows" + (", all with bad cells" if start else ""))
    if said:
        said = [f"{path}: dropped {bad_rows} of {start} rows: {'; '.join(said)}"]
    return Sheet(table, np.concatenate(labels) if label is not None else None, said)


@dataclass
class _Fault:
    row: int
    cell: Any
    count: int = 0


def _firsts(bad: NDArray[np.bool_]) -> Iterator[tuple[int, int]]:
    # The first bad row of each column that has one.
    for column in np.flatnonzero(bad.any(0)):
        yield int(bad[:, column].argmax()), int(column)


def _shown(cell: Any) -> str:
    if cell is None or str(cell).strip().lower() in MISSING:
        return (
            "nothing" if not str(cell).strip() or cell is None else f"{cell!r}, which is missing"
        )
    return repr(cell if len(str(cell)) <= 40 else f"{str(cell)[:40]}…")


def _numbers(cells: "Series[Any]") -> Array:
    import pandas as pd  # a second, for this task alone

    if cells.dtype.kind in "iuf":
        return cells.to_numpy(np.float64)
    return pd.to_numeric(cells, errors="coerce").to_numpy(np.float64, na_value=np.nan)


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


def _csv_chunks(path: Path, wanted: Sequence[str], separator: str) -> Iterator["DataFrame"]:
    import pandas as pd

    header = _csv_header(path, separator)
    _check_header(path, header, wanted)
    try:
        with warnings.catch_warnings():
            warnings.simplefilter("error", pd.errors.ParserWarning)
            reader = pd.read_csv(
                path,
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
                    yield chosen.set_axis(list(wanted), axis=1)
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


def _not_utf8(path: Path, error: UnicodeDecodeError) -> ValueError:
    return ValueError(
        f"{path} is not UTF-8 text: byte 0x{error.object[error.start]:02x} ({error.reason}); "
        "save it as UTF-8"
    )


def _parquet_chunks(path: Path, wanted: Sequence[str]) -> Iterator["DataFrame"]:
    try:
        import pyarrow as pa
        import pyarrow.parquet as pq
    except ImportError:
        raise ValueError(
            f"{path}: Parquet needs pyarrow, which is not installed: pip install '.[parquet]'"
        ) from None
    with path.open("rb") as stream:
        try:
            file = pq.ParquetFile(stream)
            schema = file.schema_arrow
            _check_header(path, schema.names, wanted)
            for name in wanted:
                kind = schema.field(name).type
                text = pa.types.is_string(kind) or pa.types.is_large_string(kind)
                if not (text or pa.types.is_integer(kind) or pa.types.is_floating(kind)):
                    raise ValueError(f"{path}: column {name!r} is of type {kind}; give numbers")
            for batch in file.iter_batches(max(1, CHUNK // len(wanted)), columns=list(wanted)):
                yield batch.to_pandas()
        except (pa.ArrowException, OSError) as error:
            raise ValueError(f"{path} is not a whole Parquet file: {error}") from None
