"""How well a symmetry was found, and why not better: figures in, a grade and reasons out."""

__all__ = ["Coverage", "Estimate", "Reason", "Verdict", "verdict"]

from collections.abc import Mapping
from dataclasses import asdict, dataclass
from typing import Any, Literal, NamedTuple

import numpy as np
from numpy.typing import ArrayLike, NDArray

Array = NDArray[np.float64]
Grade = Literal["found", "found in part", "not found"]


class Estimate(NamedTuple):
    """Holds a mean over rows and its standard error."""

    mean: float
    error: float

    @classmethod
    def of(cls, values: Array, independent: float | None = None) -> "Estimate":
        """Averages values, with shape (n,), of which so many are independent (all, if None)."""
        count = len(values) if independent is None else independent
        return cls(float(values.mean()), float(values.std(ddof=1) / np.sqrt(count)))


class Coverage(NamedTuple):
    """Holds how far partners are from covering their orbits, 0 for perfectly.

    Arguments:
        reading: The mean distance of partners from the rows around them.
        floor: What the rows that are nearer still read: as much as exact partners.
        excess: The mean of their difference, with its standard error.
    """

    reading: float
    floor: float
    excess: Estimate


@dataclass(frozen=True)
class Reason:
    """Holds one thing that is wrong: what was measured, what it may be, and what to do."""

    name: str
    figure: float
    limit: float
    remedy: str

    def __str__(self) -> str:
        sign = ">" if self.figure > self.limit else "≤"
        return f"{self.name} {self.figure:.3f} {sign} {self.limit:.3f}: {self.remedy}"


@dataclass(frozen=True)
class Verdict:
    """Holds how well a symmetry was found, and why not better."""

    grade: Grade
    reasons: tuple[Reason, ...]

    def to_json(self) -> dict[str, Any]:
        """Returns what json keeps of it, figures to nine digits.

        The digits beyond depend on how many threads add up.
        """
        reasons = [asdict(reason) for reason in self.reasons]
        for reason in reasons:
            for part in ("figure", "limit"):
                reason[part] = float(f"{reason[part]:.9g}")
        return {"grade": self.grade, "reasons": reasons}

    @classmethod
    def from_json(cls, content: Any) -> "Verdict":
        """Rebuilds a verdict from what json keeps of it.

        Raises:
            KeyError: If something is missing.
            TypeError: If something is of the wrong type.
        """
        return cls(content["grade"], tuple(Reason(**reason) for reason in content["reasons"]))

    def __str__(self) -> str:
        """Says it in a sentence."""
        because = "; ".join(str(reason) for reason in self.reasons)
        return f"Symmetry {self.grade}" + (f": {because}." if because else ".")


# The limits of the verdict. Shares of what random rows read as partners:
NOT_KEPT = 2 / 3  # above it y is hardly kept at all
KEPT = 1 / 3  # below it y is kept as far as noise lets one see in real tables
WORSE_THAN_NEAREST = 1.25  # times what the nearest rows read, which cost nothing,
EXACT = 0.03  # sd of y: nobody needs it better
WORSE_THAN_REGRESSION = 1.25  # times the plain regression's error
STILL = 0.05  # sd of a column: nothing moves
UNCOVERED = 0.08  # above the floor: half a ring reads 0.10 to 0.15 with 20 partners
LEAK = 0.05  # R²
LOST = 0.05  # share of partners that did not come back to their level
MIXED = 0.1  # share of partners whose categories stand together in no row, above that of rows
MOST = 0.5  # of the partners are lost: there are none to speak of
PROOF = 3.0  # standard errors for a prediction to be better than a constant
CHANCE = 2.0  # standard errors that are put down to chance


def verdict(
    figures: Mapping[str, Estimate],
    coverage: Coverage | None,
    spread: ArrayLike,
    leak_r2: float | None = None,
    lost_share: float = 0.0,
    mixed: Estimate | None = None,
) -> Verdict:
    """Grades a learned symmetry and says what stands in its way.

    It is not found unless x predicts y, the model does too, partners keep y clearly better than
    random rows do, and something moves. Found, it is so in part where partners keep y worse
    than could be, cover only part of their orbits, or mix categories as no row does, or Z0 knows
    of y. Figures with standard errors must show by 2 of them, a prediction by 3, that they are on
    their side of a limit.

    Arguments:
        figures: ``referee_error``, ``random_rows``, ``nearest_rows``, ``plain_regression`` and
            ``regression_gain``, and of a model that predicts y ``prediction_error`` and
            ``prediction_gain``: what the methods of :class:`Referee` give, by their names, with
            :meth:`Referee.error` of partners, :func:`random_rows` and :func:`nearest_rows`.
        coverage: What :func:`partner_coverage` gives, or None where y is not predicted.
        spread: What :func:`column_spread` gives, with shape (d,).
        leak_r2: What :func:`~symmetry.probes.leak_r2` gives, or None.
        lost_share: The share of partners that did not come back to their level.
        mixed: By how much more partners than other rows have categories that stand together in no
            training row, see :func:`~symmetry.realism.new_combinations`; None without categories.

    Raises:
        ValueError: If a figure is missing or is not finite.
    """
    needed = ["referee_error", "random_rows", "nearest_rows", "plain_regression"]
    for name in [*needed, "regression_gain"]:
        if name not in figures:
            raise ValueError(f"figures lacks {name!r}; it has {', '.join(figures) or 'none'}")
    for name, figure in figures.items():
        if not np.isfinite(figure).all():
            raise ValueError(f"figure {name!r} is {figure}; it must be finite")
    fatal = _fatal(figures, float(np.max(spread)), lost_share)
    partial = _partial(figures, coverage, leak_r2, lost_share, mixed)
    if fatal:
        return Verdict("not found", tuple(fatal))
    return Verdict("found in part" if partial else "found", tuple(partial))


def _fatal(figures: Mapping[str, Estimate], moved: float, lost_share: float) -> list[Reason]:
    error, random = figures["referee_error"], figures["random_rows"]
    gain = figures["regression_gain"]
    reasons = []
    if gain.mean <= (limit := PROOF * gain.error):
        remedy = "x does not predict y, even by plain regression; measure other columns, more rows"
        return [Reason("gain of plain regression", gain.mean, limit, remedy)]
    own = figures.get("prediction_gain")
    if own is not None and own.mean <= (limit := PROOF * own.error):
        remedy = "the model predicts y no better than a constant; train longer, on more rows"
        reasons.append(Reason("gain of the model's prediction", own.mean, limit, remedy))
    limit = NOT_KEPT * random.mean - CHANCE * float(np.hypot(error.error, NOT_KEPT * random.error))
    if error.mean > limit:
        remedy = "partners keep y hardly better than random rows; train longer, on more rows"
        if error.mean <= KEPT * random.mean:  # chance alone stands against it
            remedy = "too few rows tell, or few far out make y's spread; take more, or log y"
        reasons.append(Reason("referee error", error.mean, max(limit, 0.0), remedy))
    if moved <= STILL:
        remedy = "no column moves: y may determine x; measure columns that can vary at one y"
        reasons.append(Reason("largest column spread", moved, STILL, remedy))
    if lost_share > MOST:
        remedy = "most partners did not come back to their level; train longer"
        reasons.append(Reason("share of lost partners", lost_share, MOST, remedy))
    return reasons


def _partial(
    figures: Mapping[str, Estimate],
    coverage: Coverage | None,
    leak_r2: float | None,
    lost_share: float,
    mixed: Estimate | None,
) -> list[Reason]:
    error, random = figures["referee_error"], figures["random_rows"]
    reasons = []
    limit = KEPT * random.mean + CHANCE * float(np.hypot(error.error, KEPT * random.error))
    if error.mean > limit:
        remedy = "partners keep y only roughly; more rows or longer training sharpen them"
        reasons.append(Reason("referee error", error.mean, limit, remedy))
    near = figures["nearest_rows"]
    limit = (
        WORSE_THAN_NEAREST * near.mean + EXACT + CHANCE * float(np.hypot(error.error, near.error))
    )
    if error.mean > limit:
        remedy = "the nearest rows keep y better; declare categories and whole numbers as such"
        reasons.append(Reason("referee error beside nearest rows", error.mean, limit, remedy))
    plain, own = figures["plain_regression"], figures.get("prediction_error")
    if own is not None:
        limit = WORSE_THAN_REGRESSION * plain.mean + EXACT
        limit += CHANCE * float(np.hypot(own.error, plain.error))
        if own.mean > limit:
            remedy = "plain regression predicts y better: the model under-fits or learned by heart"
            reasons.append(Reason("error of the model's prediction", own.mean, limit, remedy))
    if coverage is not None:
        # Without a fault the excess is 0, whose chance alone counts.
        limit = max(UNCOVERED, CHANCE * coverage.excess.error)
        if coverage.excess.mean > limit:
            remedy = "partners miss part of the rows with their y, or leave the data; train longer"
            reasons.append(Reason("coverage above its floor", coverage.excess.mean, limit, remedy))
    if leak_r2 is not None and leak_r2 > LEAK:
        remedy = "Z0 still tells of y; train longer, or give independence more weight"
        reasons.append(Reason("leak R²", leak_r2, LEAK, remedy))
    if lost_share > LOST:
        remedy = "partners did not come back to their level; leave them out, or train longer"
        reasons.append(Reason("share of lost partners", lost_share, LOST, remedy))
    if mixed is not None and mixed.mean > (limit := max(MIXED, CHANCE * mixed.error)):
        remedy = "partners mix categories as no row does; more rows, or fewer such columns"
        reasons.append(Reason("new combinations above those of rows", mixed.mean, limit, remedy))
    return reasons
