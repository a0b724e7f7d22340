"""A referee of partners: arrays in, figures out, blind to how the partners came about.

A model that brings its partners back to their level by its own prediction cannot judge them. Here
a regressor judges that was fitted to rows the model never saw.
"""

__all__ = ["Referee"]

import numpy as np
from numpy.random import Generator
from numpy.typing import ArrayLike, NDArray
from scipy.spatial.distance import cdist
from sklearn.ensemble import HistGradientBoostingRegressor
from sklearn.model_selection import KFold
from threadpoolctl import threadpool_limits

from symmetry.coverage import FEWEST_ROWS, deviations, partners_of, table_of
from symmetry.verdicts import Estimate

Array = NDArray[np.float64]

MANY_ROWS = 2000  # from here on half of them are enough to learn from
FOLDS = 5  # below: of a hundred rows a regressor needs the most it can get
LANDMARKS = 300  # of the kernel: more hardly help, and cost their square
TUNING_ROWS = 1000  # enough to tell the widths of the kernel apart
WIDTHS = (0.01, 0.03, 0.1, 0.3, 1.0)  # γ: from almost a polynomial to three bends a column
RIDGES = np.logspace(-6, 2, 9)
CHUNK = 10_000  # points predicted at once: 24 MB


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
        self.rows, self.y = table_of("rows", rows), table_of("y", y)
        n = len(self.rows)
        if n < FEWEST_ROWS:
            raise ValueError(f"rows has {n} rows; a referee needs at least {FEWEST_ROWS}")
        if len(self.y) != n:
            raise ValueError(f"y has {len(self.y)} rows and rows has {n}; they must be as many")
        self.sd = deviations(self.y)
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
        points = partners_of(partners, self.rows)
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
        guess = table_of("y_hat", y_hat)
        if guess.shape != self.y.shape:
            raise ValueError(f"y_hat has shape {guess.shape}; expected that of y, {self.y.shape}")
        errors: Array = (np.abs(guess - self.y) / self.sd).mean(1)
        return errors


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
        self.centre, self.scale, self.mean = x.mean(0), deviations(x), y.mean(0)
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
