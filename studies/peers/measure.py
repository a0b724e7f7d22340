"""Measures a method on a law: one cell, from its settings to a row of figures."""

__all__ = ["FIGURES", "measure"]

import signal
import time
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from importlib import import_module
from pathlib import Path
from types import FrameType
from typing import Any

import numpy as np
from numpy.random import Generator, default_rng
from pydantic import ValidationError
from scipy.spatial import KDTree

from studies.peers import Array, Fitted
from symmetry.tasks.base import orbit_coverage
from symmetry.tasks.formula import Formula

FIGURES = (
    "error",
    "predictor_error",
    "coverage",
    "coverage_floor",
    "outside",
    "distance",
    "fit_seconds",
    "draw_seconds",
    "peak_megabytes",
)
REFERENCE = 10_000  # fresh rows, from which distances are taken
HELD = 2  # rows of a validation set, which the methods take from theirs
COPIES = 10  # partners of each row whose distances are taken
STATUS, PEAK = Path("/proc/self/status"), Path("/proc/self/clear_refs")


def measure(settings: Mapping[str, Any]) -> list[dict[str, Any]]:
    r"""Fits a method to rows of a law and measures its partners by the law itself.

    In standard deviations of the formula are ``error``, the mean :math:`|f(x') - f(x)|` over
    partners, and ``predictor_error``, the mean :math:`|g(x) - f(x)|` of the method's own
    regression g, on the same test rows. ``coverage`` and its floor are
    :func:`~symmetry.tasks.base.orbit_coverage`; ``outside`` is the share of partners out of the
    ranges; ``distance`` is how far partners lie from fresh rows of the law, as a share of how far
    other fresh rows do; ``peak_megabytes`` is the most memory that was taken besides what the
    process held before. A method that starts from y is given the row's y without its noise.

    A method that has not come to an end within the limit leaves all figures empty, with
    ``over the limit`` in the place of its verdict.

    Arguments:
        settings: ``law``, ``method`` and ``name`` of each, ``rows``, ``noise``, ``seed``, and the
            numbers of laws.yaml.

    Returns:
        The figures, with the verdict, as one row.

    Raises:
        ValueError: If the law is not allowed.
    """
    task = _task(settings)
    parts = dict(task.parts())
    train, test = parts["train"], parts["test"]
    truth, seed = task.truth, settings["seed"]
    method = dict(settings["method"])
    fit = import_module(f"studies.peers.{method.pop('peer')}").fit
    level = truth.level(test.x)
    few, count = settings["covered_rows"], settings["covering_partners"]
    before = _forget_peak()
    found: dict[str, float | None] = dict.fromkeys(FIGURES)
    try:
        with _limit(settings["limit"]):
            start = time.perf_counter()
            fitted: Fitted = fit(train.x, train.y, seed, **method)
            between = time.perf_counter()
            partners = fitted.partners(test.x, level, settings["partners"])
            end = time.perf_counter()
            covering = fitted.partners(test.x[:few], level[:few], count)
            peak = None if before is None else _megabytes("VmHWM") - before
    except TimeoutError:
        return [_row(settings, found, "over the limit")]
    generator = default_rng(seed)
    unit = level.std(0)
    covered = orbit_coverage(truth, covering, test.x, generator)
    found |= {
        "error": float((np.abs(truth.level(partners) - level) / unit).mean()),
        "coverage": float(covered.reading),
        "coverage_floor": covered.floor,
        "outside": float(truth.outside(partners).mean()),
        "distance": _distance(task, partners[:COPIES], generator),
        "fit_seconds": between - start,
        "draw_seconds": end - between,
        "peak_megabytes": peak,
    }
    if fitted.predict is not None:
        y_hat = fitted.predict(test.x).reshape(level.shape)
        found["predictor_error"] = float((np.abs(y_hat - level) / unit).mean())
    return [_row(settings, found, fitted.verdict)]


def _task(settings: Mapping[str, Any]) -> Formula:
    content = {
        "task": "formula",
        "noise": settings["noise"],
        **settings["law"],
        "train_rows": settings["rows"],
        "validation_rows": HELD,
        "test_rows": settings["test_rows"],
        "seed": settings["seed"],
    }
    try:
        return Formula.model_validate(content)
    except ValidationError as error:
        raise ValueError(f"the law {settings['name']['law']} is not allowed: {error}") from None


def _row(
    settings: Mapping[str, Any], found: Mapping[str, float | None], verdict: str
) -> dict[str, Any]:
    names = settings["name"]
    known = {name: settings[name] for name in ("rows", "noise", "seed")}
    figures = {name: None if v is None else float(f"{v:.4g}") for name, v in found.items()}
    return {**names, **known, **figures, "verdict": verdict}


def _distance(task: Formula, partners: Array, generator: Generator) -> float:
    fresh, others = (task.draw(REFERENCE, generator).x for _ in range(2))
    std = fresh.std(0)
    near = KDTree(fresh / std)
    flat = partners.reshape(-1, fresh.shape[1])
    theirs, usual = (np.mean(near.query(some / std)[0]) for some in (flat, others))
    return float(theirs / usual)


@contextmanager
def _limit(seconds: float) -> Iterator[None]:
    def late(number: int, frame: FrameType | None) -> None:
        raise TimeoutError(f"it took more than {seconds} seconds")

    before = signal.signal(signal.SIGALRM, late)
    signal.setitimer(signal.ITIMER_REAL, seconds)
    try:
        yield
    finally:
        signal.setitimer(signal.ITIMER_REAL, 0)
        signal.signal(signal.SIGALRM, before)


def _forget_peak() -> float | None:
    # Linux alone keeps a peak that can be set back; elsewhere the figure stays empty.
    if not PEAK.exists():
        return None
    PEAK.write_text("5")
    return _megabytes("VmRSS")


def _megabytes(name: str) -> float:
    lines = dict(line.split(":", 1) for line in STATUS.read_text().splitlines())
    return int(lines[name].split()[0]) / 1024
