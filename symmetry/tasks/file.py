"""The task of your own data: columns of a csv or Parquet file."""

__all__ = ["File"]

from collections.abc import Iterator
from typing import Annotated, Any, ClassVar, Literal

import numpy as np
from numpy.random import default_rng
from numpy.typing import NDArray
from pydantic import BeforeValidator, Field

from symmetry.blocks import Number, Share
from symmetry.data import (
    MOST_HELD_OUT,
    Array,
    Columns,
    Dataset,
    Table,
    Target,
    Units,
    copies_of,
    cut,
    joined,
)
from symmetry.kinds import Kind, kind_of, ordered_by
from symmetry.sheets import Sheet, Values, far_values, read_sheet, text_columns
from symmetry.tasks.base import Plane, TaskBase

OF_Y = ("number", "category")
PARTS = ("train", "validation", "test")
FEWEST = {"train": 200, "validation": 20, "test": 100}  # rows, for metrics that mean something


def _name(value: Any) -> Any:
    if not isinstance(value, str):
        raise ValueError(f"a name; YAML takes {value!r} for something else, so put it in quotes")
    return value


Name = Annotated[str, BeforeValidator(_name)]
Names = Annotated[list[Name], Field(min_length=1)]
Sign = Annotated[str, Field(min_length=1, max_length=1)]
Range = Annotated[list[Number], Field(min_length=2, max_length=2)]
Said = Literal["number", "integer", "category"] | Range


class File(TaskBase):
    """Is a file of the user's, whose columns are named in params.yaml.

    Arguments:
        path: The csv or Parquet file.
        x: The names of the columns of x.
        y: The names of the columns of y.
        columns: What columns are, where it is not what they look like: number, integer, category,
            or the two ends of a closed range; see :func:`~symmetry.kinds.kind_of`. A category of y
            is a class to predict.
        hold: The columns of x that partners keep exactly.
        separator: What separates the cells of a csv file.
        decimal: What stands before the decimals of a number in a csv file.
        thousands: What stands between groups of three digits there, if anything does.
        missing: Numbers and texts that stand for "missing", besides cells that are blank.
        bad_rows: Whether rows with cells that are missing or no finite numbers are refused or
            dropped.
        most_dropped: The largest share of the rows that may be dropped.
        far_values: Whether values that lie far from all others of their column, such as a number
            for "missing" or a slip of the keyboard, are refused or kept.
        validation_share: The share of the rows for validation, chosen by the seed; at most 20,000.
        test_share: The share of the rows for the test, likewise.
        split_column: The column that says of each row whether it is of "train", "validation" or
            "test"; the shares have no meaning then.
        group: A column; rows with the same value there are of the same part. Copies of a row
            always are.
        order: A column of numbers or of dates and times (ISO 8601): the first rows are for
            training and the last for the test, as far as groups and copies allow, each of which
            stands where its first row does.
    """

    task: Literal["file"]
    path: str
    x: Names
    y: Names
    columns: Annotated[dict[Name, Said], Field(default_factory=dict)]
    hold: Annotated[list[Name], Field(default_factory=list)]
    separator: Sign = ","
    decimal: Literal[".", ","] = "."
    thousands: Sign | None = None
    missing: Annotated[list[Number | str], Field(default_factory=list)]
    bad_rows: Literal["refuse", "drop"] = "refuse"
    most_dropped: Share = 0.05
    far_values: Literal["refuse", "keep"] = "refuse"
    validation_share: Share = 0.1
    test_share: Share = 0.1
    split_column: Name | None = None
    group: Name | None = None
    order: Name | None = None

    finite: ClassVar[bool] = True

    @property
    def table(self) -> Table:
        """How the file is read.

        Raises:
            ValueError: If two signs are the same.
        """
        return Table(
            self.separator,
            self.decimal,
            self.thousands,
            tuple(self.missing),
            self.bad_rows,
            self.most_dropped,
        )

    def parts(self) -> Iterator[tuple[str, Dataset]]:
        """Yields the data sets by name: first train, then validation, then test.

        Raises:
            ValueError: If the file cannot be read, a column is missing, named twice, or constant,
                x and y share one, bad rows or far values are to be refused, or a part has too few
                rows.
        """
        sheet, values = self._sheet()
        rows_of = self._split(sheet)
        units = self._units(sheet.numbers, values, rows_of["train"])
        for part, rows in rows_of.items():
            yield part, self._dataset(sheet.numbers, units, self._known(part, rows, sheet.numbers))

    def whole(self) -> Dataset:
        """Reads all rows as one data set, in their order, however few they are.

        Raises:
            ValueError: As :meth:`parts`, but for parts with too few rows.
        """
        sheet, values = self._sheet()
        self._tell_copies(copies_of(sheet.numbers))
        rows = np.arange(len(sheet.numbers))
        units = self._units(sheet.numbers, values, rows)
        return self._dataset(sheet.numbers, units, rows)

    @property
    def plane(self) -> Plane:
        """The plane of the first two columns of x."""
        return Plane(labels=(self.x[0], self.x[min(1, len(self.x) - 1)]), equal=False, dots=True)

    def _sheet(self) -> tuple[Sheet, dict[str, Values]]:
        # The cells, x before y, with the values of categories.
        self._check_names()
        names = [*self.x, *self.y]
        labels = [name for name in (self.split_column, self.group, self.order) if name is not None]
        values = {name: Values() for name in self._texts(names, self.table)}
        sheet = read_sheet(
            self.path, names, self.table, labels=labels, exact=self.hold, categories=values
        )
        self._check_far(sheet, values)
        return sheet, values

    def _units(self, numbers: Array, values: dict[str, Values], train: NDArray[np.intp]) -> Units:
        try:
            kinds, target = self._kinds(numbers, values, train)
            x, y = (side[train] for side in np.split(numbers, [len(self.x)], 1))
            of_y = target.columns() if target else Columns.of(y, self.y)
            return Units(Columns.of(x, self.x, kinds), of_y, self.table, target)
        except ValueError as error:
            raise ValueError(f"{self.path}: {error}") from None

    def _dataset(self, numbers: Array, units: Units, rows: NDArray[np.intp]) -> Dataset:
        x, y = (side[rows] for side in np.split(numbers, [len(self.x)], 1))
        target = units.target
        return Dataset(x, target.indicators(y[:, 0]) if target else y, units=units)

    def _check_names(self) -> None:
        for key, named, allowed in (
            ("columns", list(self.columns), [*self.x, *self.y]),
            ("hold", self.hold, self.x),
        ):
            unknown = [name for name in named if name not in allowed]
            if unknown:
                raise ValueError(
                    f"data.{key} names {', '.join(map(repr, unknown))}; allowed: "
                    + ", ".join(map(repr, allowed))
                )
        if set(self.hold) == set(self.x):
            raise ValueError("data.hold names all columns of x; at least one must be free to move")
        numbers = [name for name in self.y if self.columns.get(name) not in (None, *OF_Y)]
        if numbers:
            raise ValueError(
                f"data.columns says {self.columns[numbers[0]]!r} of {numbers[0]!r}; allowed for a "
                f"column of y: {' or '.join(OF_Y)}"
            )
        split = [] if self.split_column is None else [self.split_column]
        names = [*self.x, *self.y, *split]
        twice = sorted({name for name in names if names.count(name) > 1})
        if twice:
            shared = sorted(set(self.x) & set(self.y))
            raise ValueError(
                f"data.x, data.y and data.split_column name {', '.join(map(repr, twice))} twice"
                + ("; a column of y among x would be the answer itself" if shared else "")
            )
        if split and (self.group or self.order):
            raise ValueError(
                "data.split_column says of each row which part it is of; allowed beside it: "
                "neither data.group nor data.order"
            )

    def _texts(self, names: list[str], table: Table) -> list[str]:
        # The columns that are categories.
        found = text_columns(self.path, names, table)
        said = {name: self.columns.get(name) for name in names}
        wrong = [name for name in found if said[name] not in (None, "category")]
        if wrong:
            raise ValueError(
                f"{self.path}: column {wrong[0]!r} holds texts; data.columns says "
                f"{said[wrong[0]]!r}; allowed: category"
            )
        texts = [name for name in names if name in found or said[name] == "category"]
        if len(self.y) > 1 and set(texts) & set(self.y):
            raise ValueError(
                f"{self.path}: of data.y {', '.join(map(repr, set(texts) & set(self.y)))} is a "
                "class; allowed: one class alone, or columns of numbers"
            )
        return texts

    def _kinds(
        self, numbers: Array, values: dict[str, Values], train: NDArray[np.intp]
    ) -> tuple[list[Kind], Target | None]:
        # The kinds of the columns of x, and the class that y is. Categories get their values in
        # the order of y, in place; what no training row has becomes NaN.
        target = None
        y = numbers[:, len(self.x)]
        for column, name in [*enumerate(self.x), (len(self.x), self.y[0])][::-1]:
            if name not in values:
                continue
            codes = numbers[:, column]
            known = values[name].known
            alphabet = np.argsort(np.argsort(known))  # of a class; of x the order of y
            by = alphabet[codes[train].astype(int)] if column == len(self.x) else y[train]
            places, ordered = ordered_by(codes[train], known, by)
            kind = kind_of(name, codes[train], None, ordered)
            values[name].known = list(map(str, kind.members))
            numbers[:, column] = places[codes.astype(int)]
            if column == len(self.x):
                target = Target(name, kind.members)
        kinds = []
        for column, name in enumerate(self.x):
            own = values[name].known if name in values else None
            said = None if name in values else self.columns.get(name)
            held = name in self.hold
            kinds.append(kind_of(name, numbers[:, column], said, own, held=held))
        return kinds, target

    def _known(self, part: str, rows: NDArray[np.intp], numbers: Array) -> NDArray[np.intp]:
        # The rows whose categories training rows have too.
        unknown = np.isnan(numbers[rows]).any(1)
        if unknown.any():
            print(
                f"{self.path}: left out {np.count_nonzero(unknown)} rows of {part}, with values "
                "of categories that no training row has"
            )
            rows = rows[~unknown]
        if len(rows) < FEWEST[part]:
            raise ValueError(
                f"{self.path}: {len(rows)} rows of {part} have but values of categories that a "
                f"training row has, too; at least {FEWEST[part]} are needed; leave such columns "
                "out of data.x, as that of data.group"
            )
        return rows

    def _check_far(self, sheet: Sheet, values: dict[str, Values]) -> None:
        words = []
        for column, name in enumerate([*self.x, *self.y]):
            if name in values:
                continue
            if far := far_values(sheet.numbers[:, column]):
                words.append(far.words(name, sheet.rows))
        if not words:
            return
        said = f"{self.path}: {'; '.join(words)}"
        if self.far_values == "refuse":
            raise ValueError(
                f'{said}. Numbers that stand for "missing" can be named in data.missing, and '
                "data.far_values: keep takes the rest as they are"
            )
        print(said)

    def _split(self, sheet: Sheet) -> dict[str, NDArray[np.intp]]:
        count = len(sheet.numbers)
        random = default_rng(self.seed).permutation(count)
        copies = copies_of(sheet.numbers)
        if self.split_column is not None:
            parts = self._said(random, sheet.labels[self.split_column], copies)
        else:
            blocks = copies
            if self.group is not None:
                blocks = joined(copies, sheet.labels[self.group])
            validation, test = (
                min(round(share * count), MOST_HELD_OUT)
                for share in (self.validation_share, self.test_share)
            )
            if self.order is None:
                held = {"validation": validation, "test": test}
                parts = cut(random, blocks, held, "train")
            else:
                order = np.argsort(self._times(sheet.labels[self.order]), kind="stable")
                earlier = {"train": max(count - validation - test, 0), "validation": validation}
                parts = cut(order, blocks, earlier, "test")
            self._tell_copies(copies)
        for part in PARTS:
            if len(parts[part]) < FEWEST[part]:
                advice = "" if self.group is None else f" (groups of {self.group!r} stay whole)"
                raise ValueError(
                    f"{self.path}: {len(parts[part])} of its {count} rows are for {part}; at "
                    f"least {FEWEST[part]} are needed{advice}; `symmetry fit` takes fewer"
                )
        parts["train"].sort()  # as they lie in memory
        return {part: parts[part] for part in PARTS}

    def _tell_copies(self, copies: NDArray[np.intp]) -> None:
        several = len(copies) - np.count_nonzero(np.bincount(copies)[copies] == 1)
        if several:
            print(
                f"{self.path}: {several} of {len(copies)} rows stand there more than once; copies "
                "are of the same part"
            )

    def _said(
        self, order: NDArray[np.intp], labels: NDArray[np.str_], copies: NDArray[np.intp]
    ) -> dict[str, NDArray[np.intp]]:
        # The parts that the split column names.
        unknown = sorted(set(np.unique(labels).tolist()) - set(PARTS))
        if unknown:
            raise ValueError(
                f"{self.path}: column {self.split_column!r} holds {unknown[0]!r}; allowed: "
                + ", ".join(PARTS)
            )
        parts = {part: order[labels[order] == part] for part in PARTS}
        for part in PARTS[1:]:
            parts[part] = parts[part][:MOST_HELD_OUT]
            torn = np.count_nonzero(np.isin(copies[parts[part]], copies[parts["train"]]))
            if torn:
                print(
                    f"{self.path}: {torn} of the {len(parts[part])} rows that column "
                    f"{self.split_column!r} takes for {part} are copies of training rows"
                )
        return parts

    def _times(self, labels: NDArray[np.str_]) -> NDArray[Any]:
        # Numbers, or dates and times, by which rows can be sorted.
        import pandas as pd  # a second, for this task alone

        numbers = pd.to_numeric(pd.Series(labels), errors="coerce")
        if not numbers.isna().any():
            return numbers.to_numpy()
        times = pd.to_datetime(pd.Series(labels), errors="coerce", format="ISO8601", utc=True)
        if times.isna().any():
            cell = labels[int(times.isna().argmax())]
            raise ValueError(
                f"{self.path}: column {self.order!r} of data.order holds {str(cell)!r}; allowed: "
                "numbers alone, or dates and times as in 2026-11-25 or 2026-11-25T12:30"
            )
        return times.to_numpy()
