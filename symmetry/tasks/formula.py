"""A task that params.yaml spells out: y as formulas of columns whose ranges are known.

SymPy takes a quarter of a second to load, and all commands load this module: where a formula is
read it is imported, and not before.
"""

__all__ = ["Column", "Formula", "Law"]

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from functools import cached_property, lru_cache
from keyword import iskeyword
from typing import Annotated, Any, Literal
from unicodedata import normalize

import numpy as np
import scipy
from numpy.random import Generator, default_rng
from numpy.typing import NDArray
from pydantic import (
    AfterValidator,
    BeforeValidator,
    Field,
    TypeAdapter,
    ValidationError,
    ValidationInfo,
)
from pydantic_core import PydanticCustomError

from symmetry.blocks import NotNegative, Number, refusal
from symmetry.data import RESOLUTION, Array, Dataset
from symmetry.tasks.base import Drawn, Orbits, Plane, Truth

Kind = Literal["uniform", "normal", "integer"]

POOL = 400_000  # rows from which orbits are sampled; a fixed draw, the same for all seeds
NEAR = 100  # one in so many of them at most is taken for one orbit: the others lie too far
PROBES = 10_000  # rows on which a formula is tried
REACH = 5.0  # standard deviations of a normal column that count as its range
MARGIN = 0.0125  # by how much partners may leave a range, a share of it
VALUES = 1e30  # the largest x and y, which models see in float32,
WHOLE = 1e15  # and the largest integer


@dataclass(frozen=True)
class Column:
    """Says how a column of x is drawn.

    Arguments:
        kind: Its distribution; integer is uniform over whole numbers.
        numbers: The two ends, which integers reach both; of a normal column its mean and standard
            deviation.
    """

    kind: Kind
    numbers: tuple[float, float]

    @property
    def limits(self) -> tuple[float, float]:
        """The range; of a normal column all within five standard deviations."""
        first, second = self.numbers
        if self.kind == "normal":
            return first - REACH * second, first + REACH * second
        return first, second

    def draw(self, rows: int, generator: Generator) -> Array:
        """Draws so many values."""
        first, second = self.numbers
        if self.kind == "integer":
            return generator.integers(int(first), int(second), rows, endpoint=True).astype(float)
        if self.kind == "normal":
            return generator.normal(first, second, rows)
        return generator.uniform(first, second, rows)


class Law:
    """Is what formulas of columns make known: levels, ranges, and samples of the orbits.

    Arguments:
        columns: The columns of x by name.
        formulas: The formula of each y, free of faults.
    """

    def __init__(self, columns: Mapping[str, Column], formulas: Sequence[str]) -> None:
        from symmetry.tasks.expressions import formula_of

        self.names, self.columns = [*columns], [*columns.values()]
        self.formulas = [formula_of(text, self.names) for text in formulas]
        self.low, self.high = np.array([column.limits for column in self.columns]).T

    def draw(self, rows: int, generator: Generator) -> Array:
        """Draws so many rows of x, to shape (rows, dim x)."""
        return np.stack([column.draw(rows, generator) for column in self.columns], -1)

    def level(self, x: Array) -> Array:
        """Computes the formulas, from shape (..., dim x) to (..., dim y).

        Outside the ranges, where one may be infinite or no number, all are taken at the nearest
        point within them then.
        """
        from symmetry.tasks.expressions import values

        found = values(self.formulas, self.names, x)
        known = np.isfinite(found).all(-1, keepdims=True)
        if known.all():
            return found
        nearest = x.clip(self.low, self.high)
        return np.where(known, found, values(self.formulas, self.names, nearest))

    def outside(self, x: Array) -> NDArray[np.bool_]:
        """Tells which points leave the ranges by a margin, from shape (..., dim x) to (...)."""
        reach = MARGIN * (self.high - self.low)
        beyond: NDArray[np.bool_] = ((x < self.low - reach) | (x > self.high + reach)).any(-1)
        return beyond

    def orbit(self, levels: Array, count: int, generator: Generator) -> Orbits:
        r"""Draws from :math:`p(x\,|\,y_0)` the rows of a large draw that lie nearest to the level.

        So many of 400,000 rows are taken, without replacement: each orbit has its own, and two
        rows of one level the same. Several y are each divided by their standard deviations.

        Arguments:
            levels: The levels of n rows, with shape (n, dim y).
            count: How many samples of each orbit are wanted.
            generator: The source of their order.

        Raises:
            ValueError: If more than a hundredth of the draw is wanted.
        """
        if not 1 <= count <= POOL // NEAR:
            raise ValueError(
                f"{count} samples of an orbit are wanted; allowed: 1 to {POOL // NEAR}, as rows "
                "farther away lie on other levels"
            )
        nearest = range(1, count + 1)
        distance, order = map(np.asarray, self._tree.query(levels / self.y_std, nearest))
        return Orbits(self._pool[generator.permuted(order, axis=1).T], distance[:, -1])

    @cached_property
    def y_std(self) -> Array:
        """The standard deviation of each formula, with shape (dim y,)."""
        std: Array = self.level(self._pool).std(0)
        return std

    @cached_property
    def _pool(self) -> Array:
        return self.draw(POOL, default_rng(0))

    @cached_property
    def _tree(self) -> "scipy.spatial.KDTree":
        return scipy.spatial.KDTree(self.level(self._pool) / self.y_std)


_PAIR = TypeAdapter(Annotated[list[Number], Field(min_length=2, max_length=2)])


def _column(value: Any) -> Column:
    kind: Kind = "uniform"
    numbers = value
    match value:
        case Column():
            return value
        case {"normal": of} if len(value) == 1:
            kind, numbers = "normal", of
        case {"integer": of} if len(value) == 1:
            kind, numbers = "integer", of
    try:
        first, second = _PAIR.validate_python(numbers, strict=True)
    except ValidationError:
        first = second = np.nan
    column = Column(kind, (first, second))
    ordered = second > 0 if kind == "normal" else first < second
    whole = kind != "integer" or (first % 1 == second % 1 == 0)
    largest = WHOLE if kind == "integer" else VALUES
    if not (ordered and whole and max(map(abs, column.limits)) <= largest):
        raise refusal(
            "[low, high], {normal: [mean, standard deviation]} or {integer: [low, high]}, low "
            f"below high, the standard deviation above 0, all within {VALUES:g}, integers whole "
            f"and within {WHOLE:g}"
        )
    return column


def _named(block: dict[str, Any]) -> dict[str, Any]:
    from symmetry.tasks.expressions import FUNCTIONS

    for name in block:
        plain = name.isidentifier() and not iskeyword(name) and name == normalize("NFKC", name)
        if not plain or name in (*FUNCTIONS, "pi"):
            raise refusal(
                "names of letters, digits and _ that mean nothing else in a formula or in Python, "
                f"not {name!r}"
            )
    return block


def _apart(block: dict[str, str], info: ValidationInfo) -> dict[str, str]:
    for name in sorted(block.keys() & info.data.get("x", {}).keys()):
        raise refusal(f"names that no column of x has, not {name!r}")
    return block


def _checked(text: str, info: ValidationInfo) -> str:
    # Tries a formula all over the ranges: in their middle, at their ends and at 0, where most
    # formulas fail that do.
    from symmetry.tasks.expressions import Reader, values

    columns: dict[str, Column] = info.data.get("x", {})
    if not columns:
        return text  # what is wrong with x is said there
    names = [*columns]
    reader = Reader(text, names)
    law = Law(columns, [text])
    generator = default_rng(0)
    drawn = law.draw(PROBES, generator).clip(law.low, law.high)
    zero = np.zeros_like(drawn).clip(law.low, law.high)
    low, high = (np.broadcast_to(end, drawn.shape) for end in (law.low, law.high))
    edges = np.choose(generator.integers(0, 4, drawn.shape), [drawn, low, high, zero])
    rows = np.concatenate([drawn, edges])

    def fault(source: str, row: Array) -> PydanticCustomError:
        place = ", ".join(f"{name} = {v:.4g}" for name, v in zip(names, row, strict=True))
        return refusal(f"formulas finite all over the ranges; {source} is not near {place}")

    # A continuous base has a zero between two rows where its signs differ. Integers stay, as
    # nothing lies between them.
    moved = np.where([c.kind == "integer" for c in law.columns], rows, rows[::-1])
    for source, *parts in reader.powers:
        (base, exponent), (other, also) = (values(parts, names, x).T for x in (rows, moved))
        crossed = (np.sign(base) * np.sign(other) <= 0) & (exponent < 0) & (also < 0)
        if crossed.any():
            raise fault(source, rows[crossed][np.abs(base[crossed]).argmin()])
    for source, term in reader.terms:
        failed = ~np.isfinite(values([term], names, rows)[:, 0])
        if failed.any():
            raise fault(source, rows[failed][0])
    y = law.level(rows)
    if not (np.abs(y).max() <= VALUES and (np.ptp(y) == 0 or np.ptp(y) >= 1 / VALUES)):
        raise refusal(f"values within {VALUES:g} that vary by {1 / VALUES:g} or more")
    if np.ptp(y) <= RESOLUTION * np.abs(y).max():
        raise refusal(f"formulas that vary on the ranges; here y is {y.mean():.6g} all over them")
    return text


def _as_mapping(value: Any) -> Any:
    return {"y": value} if isinstance(value, str) else value


class Formula(Drawn):
    r"""Is a law of the user's: x is drawn, column by column, and y follows from it but for noise.

    .. math:: y_j = f_j(x) + s\,\mathrm{sd}(f_j(x))\,\epsilon_j

    Arguments:
        x: The columns by name: ``[low, high]``, ``{normal: [mean, standard deviation]}`` or
            ``{integer: [low, high]}``.
        y: The formula f, or one for each y by name; see
            :func:`~symmetry.tasks.expressions.formula_of`. It must be finite all over the
            ranges, of which a normal column has five standard deviations either way.
        noise: s, the standard deviation of the noise as a share of that of y.

    Example:
        >>> task = Formula(task="formula", x={"m": [1, 5], "v": [1, 5]}, y="m*v**2/2", noise=0.05,
        ...     train_rows=1000, validation_rows=100, test_rows=100, seed=0)
        >>> task.truth.level(np.array([[2.0, 3.0], [4.5, 2.0]])).tolist()
        [[9.0], [9.0]]
    """

    task: Literal["formula"]
    x: Annotated[
        dict[str, Annotated[Column, BeforeValidator(_column)]],
        Field(min_length=1, max_length=100),
        AfterValidator(_named),
    ]
    y: Annotated[
        dict[str, Annotated[str, AfterValidator(_checked)]],
        Field(min_length=1, max_length=100),
        AfterValidator(_named),
        AfterValidator(_apart),
        BeforeValidator(_as_mapping),
    ]
    noise: NotNegative

    @property
    def x_names(self) -> tuple[str, ...]:
        """The names of the columns of x."""
        return tuple(self.x)

    @property
    def y_names(self) -> tuple[str, ...]:
        """The names of the formulas."""
        return tuple(self.y)

    @property
    def truth(self) -> Truth:
        """The levels, the ranges and the orbits of the formulas."""
        law = self._law
        return Truth(law.level, law.outside, bayes_prediction=law.level, orbit=law.orbit)

    @property
    def plane(self) -> Plane:
        """The plane of the first two columns of x."""
        first, second = self.x_names[0], self.x_names[min(1, len(self.x) - 1)]
        return Plane(labels=(first, second), equal=False, dots=True)

    def draw(self, rows: int, generator: Generator) -> Dataset:
        """Draws so many rows of x, y and the first formula's value t."""
        x = self._law.draw(rows, generator)
        level = self._law.level(x)
        noise = self.noise * self._law.y_std * generator.standard_normal(level.shape)
        return Dataset(x, level + noise, level[:, 0])

    @property
    def _law(self) -> Law:
        return _law(tuple(self.x.items()), tuple(self.y.values()))


@lru_cache(maxsize=4)  # laws hold large draws, and no task needs another's for long
def _law(columns: tuple[tuple[str, Column], ...], formulas: tuple[str, ...]) -> Law:
    return Law(dict(columns), formulas)
