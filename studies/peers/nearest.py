"""The rows nearest in predicted y, by a plain regression."""

__all__ = ["fit"]

import numpy as np
from numpy.random import default_rng
from scipy.spatial import KDTree
from sklearn.ensemble import HistGradientBoostingRegressor

from studies.peers import Array, Fitted, Scale

TIES = 1e-9  # standard deviations of y; trees predict many rows alike


def fit(x: Array, y: Array, seed: int) -> Fitted:
    """Fits scikit-learn's gradient-boosted trees at their defaults, for each column of y."""
    trees = [HistGradientBoostingRegressor(random_state=seed).fit(x, column) for column in y.T]
    scale, generator = Scale.of(y), default_rng(seed)

    def predict(x: Array) -> Array:
        return np.column_stack([tree.predict(x) for tree in trees])

    def places(x: Array) -> Array:
        seen = scale.standardise(predict(x))
        return seen + TIES * generator.standard_normal(seen.shape)

    found = KDTree(places(x))

    def partners(rows: Array, y: Array, count: int) -> Array:
        nearest = found.query(places(rows), range(1, count + 1))[1]
        return x[np.asarray(nearest).T]

    return Fitted(partners, predict)
