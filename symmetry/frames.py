"""Arrays and DataFrames of any kinds of columns as arrays of numbers, and back."""

__all__ = [
    "Named",
    "as_declared",
    "beside",
    "check_names",
    "class_in",
    "in_numbers",
    "in_values",
    "in_words",
    "kinds_in",
    "kinds_of",
    "names_of",
    "outside",
    "said_of",
    "texts_in",
    "words_of",
]

from collections.abc import Iterable, Mapping, Sequence
from typing import Any

import numpy as np
import pandas as pd
from numpy.typing import ArrayLike, NDArray

from symmetry.data import Target, Units
from symmetry.kinds import (
    Array,
    Declared,
    Kind,
    Value,
    check_category,
    codes_of,
    kind_of,
    look_like_numbers,
    ordered_by,
    texts_of,
)

Named = Mapping[str, tuple[Value, ...]]
"""The values of columns that are categories, by the name of the column."""
OUTSIDE = 0.1  # of the width of the training rows' range: so far out no model saw a row


def names_of(rows: Any, side: str, columns: int) -> list[str]:
    """Names columns as a DataFrame or a Series does, or else x1, x2, … or y1, y2, …."""
    if isinstance(rows, pd.DataFrame) and all(isinstance(name, str) for name in rows.columns):
        return list(rows.columns)
    if isinstance(rows, pd.Series) and isinstance(rows.name, str):
        return [rows.name]
    return [f"{side}{number + 1}" for number in range(columns)]


def texts_in(rows: Any, declared: Mapping[str, Declared]) -> Named:
    """Finds the categories of a table: columns of texts or booleans, and those declared so.

    Arguments:
        rows: An array or a DataFrame, with shape (n, d).
        declared: What columns are said to be, by name.

    Raises:
        ValueError: If a column of texts is declared as numbers, or looks like numbers or dates and
            is not declared, or one holds other things.
    """
    if isinstance(rows, pd.DataFrame):
        _check_frame(rows)
        columns = dict(zip(names_of(rows, "x", rows.shape[1]), rows.items(), strict=True))
        cells = {name: column for name, (_, column) in columns.items()}
        found = [name for name, column in cells.items() if _is_text(column)]
        wrong = [name for name in found if declared.get(name, "category") != "category"]
        if wrong:
            raise ValueError(
                f"column {wrong[0]!r} holds texts or booleans; columns says "
                f"{declared[wrong[0]]!r}; allowed: 'category'"
            )
        for name in found:
            if name not in declared:
                _check_texts(name, cells[name])
    elif "category" in declared.values():
        array = np.asarray(rows)
        cells = {
            name: pd.Series(column)
            for name, column in zip(names_of(rows, "x", array.shape[1]), array.T, strict=True)
        }
        found = []
    else:
        return {}
    chosen = [name for name in cells if name in found or declared.get(name) == "category"]
    return {name: codes_of(name, cells[name])[1] for name in chosen}


def _check_frame(rows: pd.DataFrame) -> None:
    twice = rows.columns[rows.columns.duplicated()]
    if len(twice):
        raise ValueError(f"column {twice[0]!r} is there twice; give each column a name of its own")
    for name, column in rows.items():
        if column.dtype.kind in "mM":
            raise ValueError(
                f"column {name!r} holds dates or times; allowed: numbers, texts and booleans; "
                "turn it into a number, such as days since the first"
            )
        if column.dtype == object and not _is_text(column):
            numbers = pd.to_numeric(column, errors="coerce")
            wrong = column[numbers.isna() & column.notna()]
            if len(wrong):
                raise ValueError(
                    f"column {name!r} holds numbers and also {wrong.iloc[0]!r}; allowed: numbers "
                    "alone, or texts alone for a category"
                )


def in_numbers(rows: Any, categories: Named) -> Any:
    """Puts the places of their values for the values of categories; the rest stays as it is.

    Arguments:
        rows: An array or a DataFrame, with shape (n, d).
        categories: The categories and their values.

    Raises:
        ValueError: If a cell of a category is empty or holds none of its values.
    """
    if not categories:
        return rows
    if not isinstance(rows, pd.DataFrame):
        table = np.array(rows, dtype=np.float64)
        for column, name in enumerate(names_of(rows, "x", table.shape[1])):
            if name in categories:
                table[:, column] = _codes(name, pd.Series(table[:, column]), categories[name])
        return table
    names = names_of(rows, "x", rows.shape[1])
    return pd.concat(
        [
            pd.Series(_codes(name, column, categories[name]), rows.index, name=label)
            if name in categories
            else column
            for name, (label, column) in zip(names, rows.items(), strict=True)
        ],
        axis=1,
    )


def class_in(y: Any, declared: Mapping[str, Declared]) -> tuple[Target, Array] | None:
    """Finds the class that y is, and the place of each row's class; None if it is of numbers.

    Raises:
        ValueError: If one of several columns is a class, a cell is empty, or the texts look like
            numbers or dates, or are too many for classes.
    """
    frame = isinstance(y, pd.DataFrame)
    if frame and y.shape[1] == 1:
        y = y.iloc[:, 0]
        frame = False
    if frame:
        classes = [str(name) for name, column in y.items() if _is_text(column)]
        classes += [str(name) for name in y.columns if declared.get(str(name)) == "category"]
        if classes:
            raise ValueError(
                f"column {classes[0]!r} of y is a class; allowed: one class alone, or columns of "
                "numbers"
            )
        return None
    cells = y if isinstance(y, pd.Series) else None
    if cells is None:
        array = np.asarray(y)
        if array.ndim == 2 and array.shape[1] == 1:
            array = array[:, 0]
        if array.ndim != 1 or array.dtype.kind not in "OUSbfiu":
            return None
        cells = pd.Series(array)
    (name,) = names_of(cells, "y", 1)
    if declared.get(name, "category") != "category" or not (
        _is_text(cells) or declared.get(name) == "category"
    ):
        return None
    if name not in declared:
        _check_texts(name, cells)
    codes, values = codes_of(name, cells)
    check_category(name, len(values), len(cells))
    if np.isnan(codes).any():
        raise ValueError(f"column {name!r} of y has {np.isnan(codes).sum()} cells without a class")
    return Target(name, values), codes


def kinds_in(
    names: Sequence[str],
    table: Array,
    y: Array,
    train: NDArray[np.intp],
    categories: Named,
    declared: Mapping[str, Declared],
    hold: Sequence[str],
) -> list[Kind]:
    """Finds the kinds of columns, and puts the places of categories in the order of y.

    Arguments:
        names: The names of the columns.
        table: The numbers, with shape (n, d), of which those of categories are changed; what no
            training row has becomes NaN.
        y: The targets, with shape (n,).
        train: The training rows.
        categories: The categories and their values.
        declared: What columns are said to be, by name.
        hold: The columns to hold.

    Raises:
        ValueError: As :func:`~symmetry.kinds.kind_of`.
    """
    kinds = []
    for column, name in enumerate(names):
        values, said = None, declared.get(name)
        if name in categories:
            codes = table[:, column].astype(int)
            places, values = ordered_by(codes[train], categories[name], y[train])
            table[:, column] = places[codes]
        kinds.append(kind_of(name, table[:, column], said, values, held=name in hold))
    return kinds


def in_values(
    points: Array, kinds: Sequence[Kind], like: Any, index: pd.MultiIndex | None
) -> NDArray[Any] | pd.DataFrame:
    """Gives points the form of a table: an array, or a DataFrame with the values of categories.

    Arguments:
        points: The points, with shape (n, count, d).
        kinds: The kind of each column; none if all are numbers.
        like: The table, with the n rows whose held columns come back as they are, and the types
            of the columns, which are kept where they can hold the values.
        index: The rows of a DataFrame; None for an array.

    Raises:
        ValueError: If an array would have to hold texts, or whole numbers that it cannot.
    """
    held = [column for column, kind in enumerate(kinds) if kind.held]
    if index is None:
        points[..., held] = _exactly(like, held)[:, None]
        for column, kind in enumerate(kinds):
            if kind.is_category and not kind.held:
                points[..., column] = texts_of(points[..., column], kind).astype(np.float64)
        return points
    frame = pd.DataFrame(points.reshape(-1, points.shape[-1]), index, like.columns)
    columns: list[pd.Series[Any]] = []
    for column, dtype in enumerate(like.dtypes):
        own, kind = frame.iloc[:, column], kinds[column] if kinds else Kind()
        if kind.held:  # to the last digit, which float64 has not of each whole number
            own = like.iloc[:, column].repeat(points.shape[1]).set_axis(index)
        elif kind.is_category:
            texts = texts_of(own.to_numpy(), kind)
            own = _as_type(pd.Series(texts, index, name=own.name), dtype)
        elif kind.kind == "integer" and dtype.kind in "iu":
            own = _as_type(_as_type(own, np.dtype(np.int64)), dtype)
        elif dtype.kind == "f":
            own = own.astype(dtype)
        columns.append(own)
    return pd.concat(columns, axis=1)


def _exactly(rows: Any, columns: Sequence[int]) -> Array:
    # Some columns of an array, as they came.
    own = np.asarray(rows)[:, columns]
    numbers: Array = own.astype(np.float64)
    if own.dtype.kind in "iu" and (numbers.astype(own.dtype) != own).any():
        raise ValueError(
            "a column that is held has whole numbers beyond 2^53, of which an array of float64 "
            "keeps not all digits; give a DataFrame"
        )
    return numbers


def _as_type(column: "pd.Series[Any]", dtype: Any) -> "pd.Series[Any]":
    # The column in the type of the rows that partners are of, if that can hold all its values.
    if isinstance(dtype, pd.CategoricalDtype):
        more = [value for value in column.unique() if value not in dtype.categories]
        dtype = pd.CategoricalDtype([*dtype.categories, *more], dtype.ordered and not more)
    try:
        with np.errstate(invalid="ignore"):
            cast = column.astype(dtype)
    except (TypeError, ValueError):  # pandas' own types refuse where NumPy's wrap around
        return column
    same = (cast.astype(object) == column.astype(object)).all()
    return cast if same else column


def in_words(numbers: Array, names: Sequence[str], kinds: Sequence[Kind]) -> pd.DataFrame:
    """Gives rows of numbers, with shape (n, d), the names and the values of a table.

    Arguments:
        numbers: The rows, with the places of the values of categories, or NaN.
        names: The names of the columns.
        kinds: The kinds of the first columns, or none.
    """
    frame = pd.DataFrame(numbers, columns=list(names))
    for name, kind in zip(names, kinds, strict=False):
        if kind.is_category:
            places = np.nan_to_num(frame[name].to_numpy(), nan=len(kind.members))
            unknown = Kind("category", (*kind.members, ""))
            frame[name] = texts_of(places, unknown)
    return frame


def kinds_of(units: Units) -> list[Kind]:
    """Lists the kinds of the columns of a table: those of x, and then those of y."""
    kinds = list(units.x.kinds or [Kind()] * len(units.x.names))
    if units.target is not None:
        return [*kinds, Kind("category", units.target.classes)]
    return [*kinds, *[Kind()] * len(units.y.names)]


def beside(
    before: Iterable[tuple[str, NDArray[Any]]],
    x: Mapping[str, NDArray[Any]],
    after: Iterable[tuple[str, NDArray[Any]]],
) -> dict[str, NDArray[Any]]:
    """Sets columns before and after those of x, by name; a name that is taken ends in _."""
    taken = set(x)

    def free(columns: Iterable[tuple[str, NDArray[Any]]]) -> dict[str, NDArray[Any]]:
        named = {}
        for name, values in columns:
            while name in taken:
                name += "_"
            taken.add(name)
            named[name] = values
        return named

    return {**free(before), **x, **free(after)}


def outside(table: Array, span: Array) -> NDArray[np.bool_]:
    """Tells which cells are far from all values that their column had in training.

    Arguments:
        table: The rows, with shape (n, d).
        span: The lowest and the highest of those values, with shape (2, d).

    Returns:
        Whether a cell is beyond them by more than a tenth of their distance, with shape (n, d).
    """
    room = OUTSIDE * (span[1] - span[0])
    return np.asarray((table < span[0] - room) | (table > span[1] + room))


def said_of(
    counts: NDArray[np.intp], strangers: int, rows: int, names: Sequence[str], span: Array
) -> str:
    """Says that rows are :func:`outside`, and in which columns; nothing if none is.

    Arguments:
        counts: How many cells of each column are outside, with shape (d,).
        strangers: How many rows have such a cell.
        rows: Of how many.
        names: The names of the columns.
        span: The lowest and the highest values in training, with shape (2, d).
    """
    columns = [
        f"{name!r} ({count}, training had {low:g} to {high:g})"
        for name, count, low, high in zip(names, counts, *span, strict=True)
        if count
    ]
    if not columns:
        return ""
    return (
        f"{strangers} of {rows} rows are outside what was seen in training, so that their "
        f"partners may mean nothing: column {', '.join(columns)}"
    )


def words_of(points: Array, kinds: Sequence[Kind]) -> NDArray[Any]:
    """Gives points, with shape (..., d), the values of categories; numbers stay as they are."""
    if not any(kind.is_category for kind in kinds):
        return points
    words: NDArray[Any] = points.astype(object)
    for column, kind in enumerate(kinds):
        if kind.is_category:
            words[..., column] = texts_of(points[..., column], kind)
    return words


def _codes(name: str, cells: "pd.Series[Any]", values: Sequence[Value]) -> Array:
    codes, _ = codes_of(name, cells, values)
    wrong = np.flatnonzero(np.isnan(codes))
    if len(wrong):
        cell = cells.iloc[int(wrong[0])]
        said = "nothing" if pd.isna(cell) else repr(cell)
        shown = ", ".join(map(repr, values[:10])) + (", …" if len(values) > 10 else "")
        raise ValueError(
            f"{len(wrong)} cells of column {name!r} are no values of its, the first in row "
            f"{wrong[0]}: {said}; allowed: {shown}"
        )
    return codes


def _check_texts(name: str, cells: "pd.Series[Any]") -> None:
    # Whoever makes a column a pandas category, or declares it, means one.
    if isinstance(cells.dtype, pd.CategoricalDtype):
        return
    texts = [value for value in cells.dropna().unique() if isinstance(value, str)]
    if look_like_numbers(texts):
        raise ValueError(
            f"column {name!r} holds texts that look like numbers or dates, such as {texts[0]!r}; "
            "turn them into numbers, or, if they name a category, say columns="
            f"{{{name!r}: 'category'}}"
        )


def _is_text(column: "pd.Series[Any]") -> bool:
    if isinstance(column.dtype, pd.CategoricalDtype) or pd.api.types.is_bool_dtype(column):
        return True
    if column.dtype.kind in "iufcmM":
        return False
    return pd.api.types.infer_dtype(column, skipna=True) in ("string", "boolean")


def as_declared(columns: Any) -> dict[str, Declared]:
    """Checks what columns are said to be, and lists it by name.

    Raises:
        ValueError: If it is no mapping from names.
    """
    if columns is None:
        return {}
    if not isinstance(columns, Mapping) or not all(isinstance(name, str) for name in columns):
        raise ValueError(f"columns is {columns!r}; allowed: a mapping from names, or None")
    return dict(columns)


def check_names(
    names: ArrayLike, y_names: Sequence[str], declared: Mapping[str, Declared], hold: Any
) -> None:
    """Checks that what is declared and held is there.

    Raises:
        ValueError: If a name is none of a column, or all columns are held.
    """
    known = list(map(str, np.asarray(names)))
    if isinstance(hold, str) or not all(isinstance(name, str) for name in hold):
        raise ValueError(f"hold is {hold!r}; allowed: a list of names of columns")
    for key, named, allowed in (("columns", declared, [*known, *y_names]), ("hold", hold, known)):
        unknown = [name for name in named if name not in allowed]
        if unknown:
            raise ValueError(
                f"{key} names {', '.join(map(repr, unknown))}; allowed: "
                + ", ".join(map(repr, allowed[:20]))
            )
    if set(hold) == set(known):
        raise ValueError("hold names all columns of x; at least one must be free to move")
    for name in y_names:
        if name in declared and declared[name] not in ("number", "category"):
            raise ValueError(
                f"columns says {declared[name]!r} of {name!r}; allowed for a column of y: "
                "'number' or 'category'"
            )
