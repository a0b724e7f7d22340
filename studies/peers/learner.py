"""Models of this package by SymmetryLearner, at its defaults: STIB_FLOW, STIB, CVAE and CVIB."""

__all__ = ["fit"]

from collections.abc import Mapping
from typing import Any

import numpy as np

from studies.peers import Array, Fitted
from symmetry.learner import SymmetryLearner


def fit(
    x: Array, y: Array, seed: int, *, model: str, params: Mapping[str, Any] | None = None
) -> Fitted:
    """Fits a learner; a fifth of the rows it holds out, for its verdict."""
    learner = SymmetryLearner(model, params=params, device="cpu", random_state=seed).fit(x, y)
    decodes = learner.model_.decodes_from_y

    def partners(x: Array, y: Array, count: int) -> Array:
        found = learner.partners(x, count, y if decodes else None)
        return np.asarray(found, dtype=float).transpose(1, 0, 2)

    def predict(x: Array) -> Array:
        return learner.predict(x)

    grade = learner.summary_["verdict"].partition(":")[0].removeprefix("Symmetry ").rstrip(".")
    return Fitted(partners, None if decodes else predict, grade)
