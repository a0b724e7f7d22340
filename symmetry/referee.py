"""A referee of partners: arrays in, figures out, blind to how the partners came about.

A model that brings its partners back to their level by its own prediction cannot judge them. Here
a regressor judges that was fitted to rows the model never saw, and held-out rows show how far the
partners should spread.
"""

__all__ = [
    "Coverage",
    "Estimate",
    "Reason",
    "Referee",
    "Verdict",
    "column_spread",
    "nearest_rows",
    "partner_coverage",
    "random_rows",
    "verdict",
]

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any, Literal, NamedTuple

import numpy as np
from numpy.random import Generator
from numpy.typing import ArrayLike, NDArray
from scipy.spatial import KDTree
from scipy.spatial.distance import cdist
from sklearn.ensemble import HistGradientBoostingRegressor
from sklearn.model_selection import KFold
from threadpoolctl import threadpool_limits

Array = NDArray[np.float64]
Grade = Literal["found", "found in part", "not found"]

FEWEST_ROWS = 40
MANY_ROWS = 2000  # from here on half of them are enough to learn from
FOLDS = 5  # below: of a hundred rows a regressor needs the most it can get
LANDMARKS = 300  # of the kernel: more hardly help, and cost their square
TUNING_ROWS = 1000  # enough to tell the widths of the kernel apart
WIDTHS = (0.01, 0.03, 0.1, 0.3, 1.0)  # γ: from almost a polynomial to three bends a column
RIDGES = np.logspace(-6, 2, 9)
CHUNK = 10_000  # points predicted at once: 24 MB


class Estimate(NamedTuple):
    """Holds a mean over rows and its standard error."""

    mean: float
    error: float

    @classmethod
    def of(cls, values: Array, independent: float | None = None) -> "Estimate":
        """Averages values, with shape (n,), of which so many are independent (all, if None)."""
        count = len(values) if independent is None else independent
        return cls(float(values.mean()), float(values.std(ddof=1) / np.sqrt(count)))


class Referee:
    r"""Judges partners by regressors g, each fitted to all rows but those that it judges.

    .. math:: \mathrm{error} = \overline{|g(x') - g(x)|} \,/\, \mathrm{sd}(y)

    The rows are cut in two halves, or in five parts below 2,000 rows; a row and its partners are
    judged by the regressor that has not seen the row's part. Means are over rows, partners and
    columns of y; every error is in standard deviations of y. Of a column of y that never varies
    the standard deviation counts as 1.

    g is, for each column of y, a mean of a kernel ridge regression, good at smooth laws, and of
    gradient-boosted trees, good at steps and categories, weighted by what each predicts of rows
    it was not fitted to.

    Arguments:
        rows: Rows x that the model never saw, with shape (n, d).
        y: Their y, with shape (n,) or (n, k).
        generator: The source of the parts and of the regressors' randomness.

    Raises:
        ValueError: If there are fewer than 40 rows, as many of y as of x are not given, or a
            value is not finite.
    """

    def __init__(self, rows: ArrayLike, y: ArrayLike, generator: Generator) -> None:
        self.rows, self.y = _table("rows", rows), _table("y", y)
        n = len(self.rows)
        if n < FEWEST_ROWS:
            raise ValueError(f"rows has {n} rows; a referee needs at least {FEWEST_ROWS}")
        if len(self.y) != n:
            raise ValueError(f"y has {len(self.y)} rows and rows has {n}; they must be as many")
        self.sd = _sd(self.y)
        folds = 2 if n >= MANY_ROWS else FOLDS
        self.fold = generator.permutation(n) % folds
        scaled = self.y / self.sd
        self._regressors = []
        self._constant_errors = np.empty(n)
        for fold in range(folds):
            seen = self.fold != fold
            self._regressors.append(_Regressor(self.rows[seen], scaled[seen], generator))
            apart = np.abs(scaled[~seen] - scaled[seen].mean(0))
            self._constant_errors[~seen] = apart.mean(1)
        self._of_rows = np.stack([g.predict(self.rows) for g in self._regressors])
        self._of_own = self._of_rows[self.fold, np.arange(n)]  # (n, k)
        self._regression_errors = np.abs(self._of_own - scaled).mean(1)

    def error(self, partners: ArrayLike) -> Estimate:
        """Computes by how much g differs between rows and their partners, in sd of y.

        Arguments:
            partners: The partners of the first m rows, with shape (partners, m, d), m ≤ n.

        Raises:
            ValueError: If the shape does not fit the rows or a value is not finite.
        """
        points = _partners(partners, self.rows)
        m = points.shape[1]
        errors = np.empty(m)
        for fold, g in enumerate(self._regressors):
            own = np.flatnonzero(self.fold[:m] == fold)
            chosen = points[:, own]
            values = g.predict(chosen.reshape(-1, points.shape[2]))
            values = values.reshape(*chosen.shape[:2], -1)
            errors[own] = np.abs(values - self._of_own[own]).mean((0, 2))
        return Estimate.of(errors)

    def error_of_rows(self, indices: NDArray[np.int64]) -> Estimate:
        """Computes the same for other rows as partners, to hold :meth:`error` against.

        Only those of a row's own part count: g has learned the noise of the others.

        Arguments:
            indices: The rows that stand in for partners, with shape (partners, n), such as
                :func:`nearest_rows` or :func:`random_rows` gives.

        Raises:
            ValueError: If there is not a column of indices for each row.
        """
        n = len(self.rows)
        if indices.ndim != 2 or indices.shape[1] != n:
            raise ValueError(f"indices has shape {indices.shape}; expected (partners, {n})")
        differences = np.abs(self._of_rows[self.fold, indices] - self._of_own).mean(2)
        own = self.fold[indices] == self.fold
        counts = own.sum(0)
        sums = np.where(own, differences, 0).sum(0)
        return Estimate.of(sums[counts > 0] / counts[counts > 0])

    def plain_regression(self) -> Estimate:
        """Computes the error of g itself against y, in sd of y."""
        return Estimate.of(self._regression_errors)

    def constant(self) -> Estimate:
        """Computes the error of predicting the mean of the other parts, in sd of y."""
        return Estimate.of(self._constant_errors)

    def regression_gain(self) -> Estimate:
        """Computes by how much g errs less than a constant, in sd of y."""
        return Estimate.of(self._constant_errors - self._regression_errors)

    def prediction_error(self, y_hat: ArrayLike) -> Estimate:
        """Computes the error of a model's own prediction of the rows, in sd of y.

        Arguments:
            y_hat: The prediction, with the shape of y.
        """
        return Estimate.of(self._prediction_errors(y_hat))

    def prediction_gain(self, y_hat: ArrayLike) -> Estimate:
        """Computes by how much the model's prediction errs less than a constant, in sd of y.

        Arguments:
            y_hat: The prediction, with the shape of y.
        """
        return Estimate.of(self._constant_errors - self._prediction_errors(y_hat))

    def _prediction_errors(self, y_hat: ArrayLike) -> Array:
        guess = _table("y_hat", y_hat)
        if guess.shape != self.y.shape:
            raise ValueError(f"y_hat has shape {guess.shape}; expected that of y, {self.y.shape}")
        errors: Array = (np.abs(guess - self.y) / self.sd).mean(1)
        return errors


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


def nearest_rows(y_hat: ArrayLike, count: int, generator: Generator) -> NDArray[np.int64]:
    """Finds the rows nearest to each row in predicted y, nearest first, without itself.

    Each column of y is divided by its standard deviation; equally near ones come in random order.

    Arguments:
        y_hat: The predicted y, with shape (n,) or (n, k).
        count: How many rows are wanted.
        generator: The source of the order of ties.

    Returns:
        Indices of rows, with shape (count, n).

    Raises:
        ValueError: If the count is not between 1 and n − 1 or a value is not finite.
    """
    seen = _table("y_hat", y_hat)
    n = len(seen)
    if not 1 <= count < n:
        raise ValueError(f"count is {count}; allowed is 1 to {n - 1}, rows - 1")
    seen = seen / _sd(seen)
    # Far below what any prediction resolves. Ties, in the order of the table, would favour rows
    # that happen to stand together in it.
    seen = seen + 1e-9 * generator.normal(size=seen.shape)
    order = np.asarray(KDTree(seen).query(seen, count + 1)[1])
    nearest: NDArray[np.int64] = order[:, 1:].T.astype(np.int64)
    return nearest


def random_rows(rows: int, count: int, generator: Generator) -> NDArray[np.int64]:
    """Draws other rows for each row, with equal chances.

    Returns:
        Indices of rows, with shape (count, rows).
    """
    away = generator.integers(1, rows, (count, rows))
    return (np.arange(rows) + away) % rows


def partner_coverage(
    partners: ArrayLike, rows: ArrayLike, y_hat: ArrayLike, generator: Generator
) -> Coverage:
    r"""Computes how far partners are from being spread as the rows around them in predicted y.

    .. math:: \overline{\sup_v |F_{ij}(v) - G_{ij}(v)|}

    F is the distribution of column j among row i's partners, G that among rows with nearly the
    same predicted y; the mean is over rows and columns. Two small samples of the same law differ
    too, and rows nearby are not quite on the row's level. So the P rows that are nearest stand in
    for exact partners and give the floor, and the 2 P rows around them give G for both.

    Arguments:
        partners: The partners of the first m rows, with shape (partners, m, d); the first P
            of them are used. More partners lower the floor.
        rows: Rows that the model never saw, with shape (n, d).
        y_hat: The model's prediction for them, with shape (n,) or (n, k).
        generator: The source of the order of ties.

    Raises:
        ValueError: If shapes do not fit, there are fewer than 40 rows, or a value is not finite.

    References:
        The two-sample test of Kolmogorov and Smirnov, with ties:
        https://doi.org/10.1214/aoms/1177730256
    """
    table, guess = _table("rows", rows), _table("y_hat", y_hat)
    points = _partners(partners, table)
    n, m = len(table), points.shape[1]
    if n < FEWEST_ROWS:
        raise ValueError(f"rows has {n} rows; coverage needs at least {FEWEST_ROWS}")
    if len(guess) != n:
        raise ValueError(f"y_hat has {len(guess)} rows and rows has {n}; they must be as many")
    # Chance alone reads about 0.87 · sqrt(1.5 / P), so P should be large; but 3 P rows must lie
    # near in y. A twentieth of the rows keeps them within an eighth of the range around the
    # row, yet 6 are needed to see half an orbit in the smallest tables.
    inner = min(len(points), max(6, n // 20))
    around = nearest_rows(guess, 3 * inner, generator)[:, :m]
    sd = _sd(table)
    found = np.zeros((2, m))
    for column in range(table.shape[1]):
        values = table[:, column] / sd[column]
        near = values[around].T  # (m, 3 P)
        own = points[:inner, :, column].T / sd[column]
        found[0] += _distance(own, near[:, inner:])
        found[1] += _distance(near[:, :inner], near[:, inner:])
    found /= table.shape[1]
    # Rows of one neighbourhood share their neighbours: only as many differ as find room.
    independent = min(m, n / (3 * inner))
    excess = Estimate.of(found[0] - found[1], independent)
    return Coverage(float(found[0].mean()), float(found[1].mean()), excess)


def column_spread(partners: ArrayLike, rows: ArrayLike) -> Array:
    r"""Computes how far each column moves: 0 if not at all, about 1 if over its whole range.

    .. math:: \sqrt{\overline{\mathrm{var}_p(x'_{pij})}} \,/\, \mathrm{sd}_i(x_{ij})

    The variance is over the partners p, the mean over rows i. A column that is the same in all
    rows gets 0.

    Arguments:
        partners: The partners of the first m rows, with shape (partners, m, d).
        rows: The rows, with shape (n, d).

    Returns:
        The spread of each column, with shape (d,).

    Raises:
        ValueError: If there are fewer than 2 partners, shapes do not fit, or a value is not
            finite.
    """
    table = _table("rows", rows)
    points = _partners(partners, table)
    if len(points) < 2:
        raise ValueError(f"partners has {len(points)} a row; a spread needs at least 2")
    moved = np.sqrt(points.var(0, ddof=1).mean(0))
    spread: Array = np.where(_varies(table), moved / _sd(table), 0)
    return spread


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
MOST = 0.5  # of the partners are lost: there are none to speak of
PROOF = 3.0  # standard errors for a prediction to be better than a constant
CHANCE = 2.0  # standard errors that are put down to chance


def verdict(
    figures: Mapping[str, Estimate],
    coverage: Coverage | None,
    spread: ArrayLike,
    leak_r2: float | None = None,
    lost_share: float = 0.0,
) -> Verdict:
    """Grades a learned symmetry and says what stands in its way.

    It is not found unless x predicts y, the model does too, partners keep y clearly better than
    random rows do, and something moves. Found, it is so in part where partners keep y worse
    than could be, cover only part of their orbits, or Z0 knows of y. Figures with standard
    errors must show by 2 of them, a prediction by 3, that they are on their side of a limit.

    Arguments:
        figures: ``referee_error``, ``random_rows``, ``nearest_rows``, ``plain_regression`` and
            ``regression_gain``, and of a model that predicts y ``prediction_error`` and
            ``prediction_gain``: what the methods of :class:`Referee` give, by their names, with
            :meth:`Referee.error` of partners, :func:`random_rows` and :func:`nearest_rows`.
        coverage: What :func:`partner_coverage` gives, or None where y is not predicted.
        spread: What :func:`column_spread` gives, with shape (d,).
        leak_r2: What :func:`~symmetry.probes.leak_r2` gives, or None.
        lost_share: The share of partners that did not come back to their level.

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
    partial = _partial(figures, coverage, leak_r2, lost_share)
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
    return reasons


class _Regressor:
    """Predicts y, with shape (n, k), from x, with shape (n, d)."""

    def __init__(self, x: Array, y: Array, generator: Generator) -> None:
        self.kernel = _KernelRidge(x, y, generator)
        seed = int(generator.integers(2**31))
        folds = list(KFold(3, shuffle=True, random_state=seed).split(x))
        self.trees, self.weights = [], np.empty(y.shape[1])
        for column, target in enumerate(y.T):
            unseen = np.empty(len(x))
            for fit, held in folds:
                unseen[held] = _trees(x[fit], target[fit], seed).predict(x[held])
            self.trees.append(_trees(x, target, seed))
            smooth = self.kernel.unseen[:, column]
            # The weight of least squares: y ≈ w · smooth + (1 − w) · unseen.
            apart = smooth - unseen
            weight = apart @ (target - unseen) / max(apart @ apart, 1e-300)
            self.weights[column] = np.clip(weight, 0, 1)

    def predict(self, x: Array) -> Array:
        trees = np.column_stack([tree.predict(x) for tree in self.trees])
        values: Array = self.weights * self.kernel.predict(x) + (1 - self.weights) * trees
        return values


def _trees(x: Array, y: Array, seed: int) -> HistGradientBoostingRegressor:
    # Without early stopping: its few held-out rows stop small tables by chance.
    trees = HistGradientBoostingRegressor(
        learning_rate=0.1, min_samples_leaf=10, early_stopping=False, random_state=seed
    )
    # So few rows take half as long on one thread, and a tenth where others want the cores.
    with threadpool_limits(1, "openmp"):
        return trees.fit(x, y)


class _KernelRidge:
    """Fits ridge regression on a Gaussian kernel's landmarks, tuned by leaving one row out.

    ``unseen`` holds the prediction of each row by all others, with shape (n, k).
    """

    def __init__(self, x: Array, y: Array, generator: Generator) -> None:
        self.centre, self.scale, self.mean = x.mean(0), _sd(x), y.mean(0)
        seen, target = (x - self.centre) / self.scale, y - self.mean
        order = generator.permutation(len(x))
        self.landmarks = seen[order[:LANDMARKS]]
        tuning = order[:TUNING_ROWS]
        errors = [
            ((self._fit(seen[tuning], target[tuning], width)[1] - target[tuning]) ** 2).sum()
            for width in WIDTHS
        ]
        self.width = WIDTHS[int(np.argmin(errors))]
        self.weights, unseen = self._fit(seen, target, self.width)
        self.unseen = unseen + self.mean

    def _fit(self, x: Array, y: Array, width: float) -> tuple[Array, Array]:
        variances, axes = np.linalg.eigh(_gaussian(self.landmarks, self.landmarks, width))
        kept = variances > 1e-10 * variances[-1]
        whitening = axes[:, kept] / np.sqrt(variances[kept])
        features = _gaussian(x, self.landmarks, width) @ whitening
        strengths, turn = np.linalg.eigh(features.T @ features)
        features = features @ turn
        along = features.T @ y
        best_error = np.full(y.shape[1], np.inf)
        weights, unseen = np.zeros((len(whitening), y.shape[1])), np.zeros_like(y)
        for ridge in RIDGES:
            shrunk = 1 / (strengths.clip(0) + ridge)
            residual = y - features @ (along * shrunk[:, None])
            # Leaving row i out makes its residual 1 / (1 − h_i) times as large.
            left_out = residual / (1 - (features**2 @ shrunk)).clip(1e-6)[:, None]
            error = (left_out**2).sum(0)
            better = error < best_error
            best_error[better] = error[better]
            unseen[:, better] = (y - left_out)[:, better]
            weights[:, better] = (whitening @ turn @ (along * shrunk[:, None]))[:, better]
        return weights, unseen

    def predict(self, x: Array) -> Array:
        values = [
            _gaussian((part - self.centre) / self.scale, self.landmarks, self.width) @ self.weights
            for part in np.array_split(x, max(1, len(x) // CHUNK))
        ]
        joined: Array = np.concatenate(values) + self.mean
        return joined


def _gaussian(x: Array, landmarks: Array, width: float) -> Array:
    values: Array = np.exp(-width * cdist(x, landmarks, "sqeuclidean"))
    return values


def _distance(first: Array, second: Array) -> Array:
    """Computes the Kolmogorov–Smirnov distance of samples with shapes (m, a) and (m, b)."""
    both = np.concatenate([first, second], 1)
    steps = np.repeat(
        [1 / first.shape[1], -1 / second.shape[1]], [first.shape[1], second.shape[1]]
    )
    order = both.argsort(1)
    ahead = np.abs(steps[order].cumsum(1))
    # Within a tie the order is no one's: the distributions are compared after it. What a float32
    # cannot tell apart is a tie too, or a decoded 2.0000001 would differ from the 2 of a row.
    tied = np.diff(np.take_along_axis(both, order, 1), axis=1) < 1e-6
    ahead[:, :-1][tied] = 0
    distances: Array = ahead.max(1)
    return distances


def _sd(table: Array) -> Array:
    """Computes the standard deviation of each column; 1 where it never varies."""
    sd: Array = np.where(_varies(table), table.std(0), 1)
    return sd


def _varies(table: Array) -> NDArray[np.bool_]:
    varies: NDArray[np.bool_] = table.std(0) > 1e-12 * np.abs(table).max(0)
    return varies


def _table(name: str, values: ArrayLike) -> Array:
    table = np.asarray(values, dtype=np.float64)
    if table.ndim == 1:
        table = table[:, None]
    if table.ndim != 2 or table.size == 0:
        raise ValueError(f"{name} has shape {table.shape}; expected (n,) or (n, columns)")
    return _finite(name, table)


def _partners(values: ArrayLike, rows: Array) -> Array:
    partners = np.asarray(values, dtype=np.float64)
    n, d = rows.shape
    fits = partners.ndim == 3 and partners.shape[2] == d and 0 < partners.shape[1] <= n
    if not fits or partners.size == 0:
        raise ValueError(
            f"partners has shape {partners.shape}; expected (partners, m, {d}) with m up to {n}"
        )
    return _finite("partners", partners)


def _finite(name: str, values: Array) -> Array:
    if not np.isfinite(values).all():
        raise ValueError(f"{name} has values that are not finite (NaN or infinite)")
    return values
