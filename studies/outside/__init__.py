"""Benchmarks of others with known answers, each in its authors' metrics, a module an author."""

__all__ = ["Rows", "Settings", "figures", "learned", "task_of"]

import warnings
from collections.abc import Mapping
from typing import Any

from studies.peers import Array, Fitted, learner
from symmetry.tasks.formula import Formula

Settings = Mapping[str, Any]
Rows = list[dict[str, Any]]

HELD = 2  # rows of a validation set, which learners take from theirs


def figures(settings: Settings, found: Mapping[str, float]) -> Rows:
    """Writes figures by name as rows, each with the benchmark, method, rows and seed."""
    known = {**settings["name"], "rows": settings["rows"], "seed": settings["seed"]}
    return [{**known, "metric": name, "value": f"{value:.8g}"} for name, value in found.items()]


def learned(x: Array, y: Array, settings: Settings) -> Fitted:
    """Fits the learner; rows out of the range of x get partners too, as these authors ask."""
    fitted = learner.fit(x, y, settings["seed"], **settings["method"])

    def partners(x: Array, y: Array, count: int) -> Array:
        with warnings.catch_warnings():
            warnings.filterwarnings("ignore", ".* outside what was seen in training", UserWarning)
            return fitted.partners(x, y, count)

    return fitted._replace(partners=partners)


def task_of(settings: Settings) -> Formula:
    """Returns the benchmark's formula as a task without noise, as these authors draw it."""
    return Formula(
        task="formula",
        noise=0,
        train_rows=settings["rows"],
        validation_rows=HELD,
        test_rows=settings["test_rows"],
        seed=settings["seed"],
        **settings["law"],
    )
