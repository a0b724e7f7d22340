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
    Columns,
    Dataset,
    Table,
    Units,
    copies_of,
    cut,
    joined,
)
from symmetry.sheets import Sheet, far_values, read_sheet
from symmetry.tasks.base import Plane, TaskBase

PARTS = ("train", "validation", "test")
FEWEST = {"train": 200, "validation": 20, "test": 100}  # rows, for metrics that mean something


def _name(value: Any) -> Any:
    if not isinstance(value, str):
        raise ValueError(f"a name; YAML takes {value!r} for something else, so put it in quotes")
    return value


Name = Annotated[str, BeforeValidator(_name)]
Names = Annotated[list[Name], Field(min_length=1)]
Sign = Annotated[str, Field(min_length=1, max_length=1)]


class File(TaskBase):
    """Is a file of the user's, whose columns are named in params.yaml.

    Arguments:
        path: The csv or Parquet file.
        x: The names of the columns of x.
        y: The names of the columns of y.
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
        self._check_names()
        names = [*self.x, *self.y]
        table = self.table
        labels = [name for name in (self.split_column, self.group, self.order) if name is not None]
        sheet = read_sheet(self.path, names, table, labels=labels)
        self._check_far(sheet)
        rows_of = self._split(sheet)
        units = None
        for part, rows in rows_of.items():
            x, y = sheet.numbers[rows, : len(self.x)], sheet.numbers[rows, len(self.x) :]
            if units is None:
                try:
                    units = Units(Columns.of(x, self.x), Columns.of(y, self.y), table)
                except ValueError as error:
                    raise ValueError(f"{self.path}: {error}") from None
            yield part, Dataset(x, y, units=units)

    @property
    def plane(self) -> Plane:
        """The plane of the first two columns of x."""
        return Plane(labels=(self.x[0], self.x[min(1, len(self.x) - 1)]), equal=False, dots=True)

    def _check_names(self) -> None:
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

    def _check_far(self, sheet: Sheet) -> None:
        words = []
        for column, name in enumerate([*self.x, *self.y]):
            far = far_values(sheet.numbers[:, column])
            if far is not None:
                shown = ", ".join(f"{value:.6g}" for value in far.values[:5])
                more = ", …" if len(far.values) > 5 else ""
                words.append(
                    f"column {name!r} is {shown}{more} in {len(far.rows)} rows, the first being "
                    f"row {sheet.rows[far.rows[0]] + 1}, and from {far.lowest:.6g} to "
                    f"{far.highest:.6g} in all others"
                )
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
            several = count - np.count_nonzero(np.bincount(copies)[copies] == 1)
            if several:
                print(
                    f"{self.path}: {several} of {count} rows stand there more than once; copies "
                    "are of the same part"
                )
        for part in PARTS:
            if len(parts[part]) < FEWEST[part]:
                advice = "" if self.group is None else f" (groups of {self.group!r} stay whole)"
                raise ValueError(
                    f"{self.path}: {len(parts[part])} of its {count} rows are for {part}; at "
                    f"least {FEWEST[part]} are needed{advice}"
                )
        parts["train"].sort()  # as they lie in memory
        return {part: parts[part] for part in PARTS}

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
