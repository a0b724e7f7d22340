"""The task of your own data: columns of a csv or Parquet file."""

__all__ = ["File"]

from collections.abc import Iterator
from typing import Annotated, ClassVar, Literal

import numpy as np
from numpy.random import default_rng
from numpy.typing import NDArray
from pydantic import Field

from symmetry.blocks import Share
from symmetry.data import Columns, Dataset, Units
from symmetry.sheets import read_sheet
from symmetry.tasks.base import Plane, TaskBase

PARTS = ("train", "validation", "test")
FEWEST = {"train": 200, "validation": 20, "test": 100}  # rows, for metrics that mean something
MOST_HELD_OUT = 20_000  # rows of validation and of test each: more cost time and tell no more

Names = Annotated[list[str], Field(min_length=1)]


class File(TaskBase):
    """Is a file of the user's, whose columns are named in params.yaml.

    Arguments:
        path: The csv or Parquet file.
        x: The names of the columns of x.
        y: The names of the columns of y.
        separator: What separates the cells of a csv file.
        bad_rows: Whether rows with cells that are missing or no finite numbers are refused or
            dropped.
        validation_share: The share of the rows for validation, chosen by the seed; at most 20,000.
        test_share: The share of the rows for the test, likewise.
        split_column: The column that says of each row whether it is of "train", "validation" or
            "test"; the shares have no meaning then.
    """

    task: Literal["file"]
    path: str
    x: Names
    y: Names
    separator: Annotated[str, Field(min_length=1, max_length=1)] = ","
    bad_rows: Literal["refuse", "drop"] = "refuse"
    validation_share: Share = 0.1
    test_share: Share = 0.1
    split_column: str | None = None

    finite: ClassVar[bool] = True

    def parts(self) -> Iterator[tuple[str, Dataset]]:
        """Yields the data sets by name: first train, then validation, then test.

        Raises:
            ValueError: If the file cannot be read, a column is missing, named twice, or constant,
                x and y share one, bad rows are to be refused, or a part has too few rows.
        """
        self._check_names()
        sheet = read_sheet(
            self.path,
            [*self.x, *self.y],
            label=self.split_column,
            separator=self.separator,
            drop=self.bad_rows == "drop",
        )
        for warning in sheet.dropped:
            print(warning)
        rows_of = self._split(len(sheet.numbers), sheet.labels)
        units = None
        for part, rows in rows_of.items():
            x, y = sheet.numbers[rows, : len(self.x)], sheet.numbers[rows, len(self.x) :]
            if units is None:
                try:
                    units = Units(Columns.of(x, self.x), Columns.of(y, self.y))
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

    def _split(self, count: int, labels: NDArray[np.str_] | None) -> dict[str, NDArray[np.intp]]:
        order = default_rng(self.seed).permutation(count)
        if labels is None:
            held = [
                min(round(share * count), MOST_HELD_OUT)
                for share in (self.validation_share, self.test_share)
            ]
            validation, test, train = np.split(order, np.cumsum(held))
        else:
            unknown = sorted(set(np.unique(labels).tolist()) - set(PARTS))
            if unknown:
                raise ValueError(
                    f"{self.path}: column {self.split_column!r} holds {unknown[0]!r}; allowed: "
                    + ", ".join(PARTS)
                )
            train, validation, test = (order[labels[order] == part] for part in PARTS)
            validation, test = validation[:MOST_HELD_OUT], test[:MOST_HELD_OUT]
        parts = {"train": np.sort(train), "validation": validation, "test": test}
        for part, rows in parts.items():
            if len(rows) < FEWEST[part]:
                raise ValueError(
                    f"{self.path}: {len(rows)} of its {count} rows are for {part}; at least "
                    f"{FEWEST[part]} are needed"
                )
        return parts
