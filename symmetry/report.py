"""The report: what a run has found, as one page that opens anywhere; arrays in, html out."""

__all__ = ["SLOPED", "Run", "content", "of_learner", "render"]

import json
import re
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from functools import cache
from hashlib import sha256
from importlib import resources
from importlib.metadata import version
from itertools import combinations
from platform import python_version
from typing import TYPE_CHECKING, Any

import numpy as np
import pandas as pd
from jinja2 import Environment, StrictUndefined
from markupsafe import Markup
from numpy.typing import ArrayLike, NDArray
from pandas.api.types import is_numeric_dtype
from plotly.offline import get_plotlyjs

from symmetry import __version__
from symmetry.coverage import column_spread
from symmetry.frames import in_numbers, in_words
from symmetry.kinds import codes_of
from symmetry.rates import Predict, rates, slopes
from symmetry.symmetries import ASTRAY
from symmetry.verdicts import (
    EXACT,
    KEPT,
    LEAK,
    LOST,
    STILL,
    UNCOVERED,
    WORSE_THAN_NEAREST,
    WORSE_THAN_REGRESSION,
    Reason,
    Verdict,
)

if TYPE_CHECKING:
    from symmetry.learner import SymmetryLearner

Array = NDArray[np.float64]

MOST_COLUMNS = 20  # of x that are shown: those that move most
MOST_TARGETS = 5  # columns of y that stand beside them
PICKED = 40  # rows that a reader may pick,
PARTNERS = 20  # with so many partners each in the table
SLOPED = 400  # rows by which a rate of exchange is summed up
DOTS = 1500  # rows in a picture: enough to see, few enough to draw at once
CURVE_POINTS = 200  # of a training curve, likewise
TRADES = 6  # that are told in words
WEAK = 0.02  # the share of the steepest slope below which a column is told of in no trade
PACKAGES = ("torch", "numpy", "pandas", "scikit-learn", "scipy", "plotly")

CURVES = {"objective": "objective", "x_mae": "X MAE", "y_mae": "Y MAE"}
AT_LEAST = (
    "largest column spread",
    "gain of plain regression",
    "gain of the model's prediction",
)
MEANINGS = {
    "referee error": "how far y changes from a row to its partners, in standard deviations of y, "
    "by a regression that never saw the model; random rows stand at three times the limit",
    "referee error beside nearest rows": "the same, beside what the rows nearest in predicted y "
    "give for nothing",
    "error of the model's prediction": "how far the model's ŷ is from y, beside a plain "
    "regression, in standard deviations of y",
    "coverage above its floor": "how much less evenly partners are spread than rows of the same "
    "predicted y (Kolmogorov–Smirnov)",
    "leak R²": "how much of y a fresh regression restores from Z0, which should not know it",
    "share of lost partners": "partners whose predicted y is not that of their row",
    "new combinations above those of rows": "how many more partners than other rows have "
    "categories that stand together in no training row",
    "largest column spread": "how far the column that moves most does so at one y: 0 not at all, "
    "1 as far as in the data",
    "gain of plain regression": "how much better than a constant x predicts y",
    "gain of the model's prediction": "how much better than a constant the model predicts y",
}
WORDS = ((0.75, "moves freely"), (0.35, "moves"), (STILL, "moves a little"), (-1, "stays"))


@dataclass(frozen=True)
class Run:
    """Holds what a report tells: a model, rows, and what it made of them.

    Arguments:
        title: What the data are called.
        model: What the model is called.
        verdict: What the referee says; None where it had too few rows to judge by.
        x: The rows, with a column of numbers or texts each, n in all.
        y: Their targets, likewise.
        y_hat: What the model predicts of them, with the shape of y; None where it predicts none.
        partners: The partners of the first m rows, with shape (partners, m, dim x).
        partners_y_hat: What it predicts of these, with shape (partners, m, dim y), or None.
        orbits: Lines through the first m rows, with shape (points, m, dim x).
        slopes: What :func:`~symmetry.rates.slopes` gives of the first rows, m or more; or None.
        metrics: The figures with their ``_std``, as :func:`~symmetry.evaluation.summarize` has
            them.
        history: The training, with the columns ``step``, ``seed`` and one a metric; or None.
        params: All settings, in nested mappings.
        facts: What else there is to know, by its name: where the data come from, their digest.
        judged_here: Whether the verdict is of these rows, which the model then never saw.
    """

    title: str
    model: str
    verdict: Verdict | None
    x: pd.DataFrame
    y: pd.DataFrame
    y_hat: Array | None
    partners: NDArray[Any]
    partners_y_hat: Array | None
    orbits: NDArray[Any]
    slopes: Array | None
    metrics: Mapping[str, float | None]
    history: pd.DataFrame | None = None
    params: Mapping[str, Any] = field(default_factory=dict)
    facts: Mapping[str, str] = field(default_factory=dict)
    judged_here: bool = True

    def __post_init__(self) -> None:
        n, d = self.x.shape
        for name, array in (("partners", self.partners), ("orbits", self.orbits)):
            if array.ndim != 3 or array.shape[2] != d or not 0 < array.shape[1] <= n:
                raise ValueError(
                    f"{name} has shape {array.shape}; expected (points, m, {d}) with m up to {n}"
                )


def content(run: Run) -> dict[str, Any]:
    """Gathers what the page holds, as json does: numbers of five digits, texts and None."""
    spread = _spread(run)
    shown = np.argsort(-spread, kind="stable")[:MOST_COLUMNS]
    count = min(PICKED, run.partners.shape[1], run.orbits.shape[1])
    names = [str(name) for name in run.x.columns[shown]]
    targets = [str(name) for name in run.y.columns[:MOST_TARGETS]]
    cells = run.x.iloc[:, shown]
    texts = np.array([not is_numeric_dtype(dtype) for dtype in cells.dtypes])
    partners, orbits = (
        _worded(points[..., shown], texts) for points in (run.partners, run.orbits)
    )
    cells = pd.DataFrame(
        {
            name: column.map(_text) if text else column
            for (name, column), text in zip(cells.items(), texts, strict=True)
        }
    )
    y = run.y.iloc[:, :MOST_TARGETS]
    predicted = None if run.y_hat is None else run.y_hat[:, :MOST_TARGETS]
    columns = [_column(cells.iloc[:, place], spread[at]) for place, at in enumerate(shown)]
    exchange, trades = _trades(run, shown, columns, count)
    guessed = run.partners_y_hat
    return {
        "title": run.title,
        "model": run.model,
        "grade": "not judged" if run.verdict is None else run.verdict.grade,
        "reasons": [] if run.verdict is None else [str(one) for one in run.verdict.reasons],
        "summary": _summary(run),
        "rows_in_all": len(run.x),
        "judged_here": run.judged_here,
        "columns": columns,
        "left_out": len(spread) - len(shown),
        "movers": _movers(columns),
        "targets": targets,
        "level": _and(targets),
        "kept": f"{_and(targets)} {'stays' if len(targets) == 1 else 'stay'}",
        "trades": trades,
        "rates": exchange,
        "rows": {
            "x": _cells(cells[:count]),
            "y": _cells(y[:count]),
            "y_hat": None if predicted is None else _cells(predicted[:count]),
        },
        "partners": _cells(partners[:PARTNERS, :count].swapaxes(0, 1)),
        "astray": _astray(run)[:PARTNERS, :count].T.tolist(),
        "partners_y_hat": None
        if guessed is None
        else _cells(guessed[:PARTNERS, :count, :MOST_TARGETS].swapaxes(0, 1)),
        "orbits": _cells(orbits[:, :count].swapaxes(0, 1)),
        "cloud": _cells(cells[:DOTS]),
        "prediction": None
        if predicted is None
        else {"y": _cells(y[:DOTS]), "y_hat": _cells(predicted[:DOTS])},
        "curves": _curves(run.history),
        "health": list(_health(run.metrics, run.verdict, float(spread.max()))),
        "figures": [
            {"name": name, "figure": _figure(run.metrics, name)}
            for name, value in run.metrics.items()
            if value is not None and not name.endswith("_std")
        ],
        "params": dict(_flat(run.params)),
        "facts": {**run.facts, **_versions()},
        "names": names,
    }


def render(page: Mapping[str, Any]) -> str:
    """Renders what :func:`content` gives as one html file that asks for no other."""
    environment = Environment(autoescape=True, undefined=StrictUndefined, trim_blocks=True)
    # What stands in a script ends where the text says so, whatever the names of columns hold.
    data = json.dumps(page, allow_nan=False, ensure_ascii=False, separators=(",", ":"))
    for sign in "<>&\u2028\u2029":
        data = data.replace(sign, f"\\u{ord(sign):04x}")
    parts = {
        "style": Markup(_part("report.css")),
        "script": Markup(_part("report.js")),
        "plotly": Markup(get_plotlyjs()),
        "data": Markup(data),
    }
    return environment.from_string(_part("report.html")).render(**page, **parts)


def of_learner(learner: "SymmetryLearner", rows: pd.DataFrame | ArrayLike, y: ArrayLike) -> str:
    """Renders the report of a fitted learner on rows, best of them such as it never saw.

    Arguments:
        learner: The learner.
        rows: The inputs x, with shape (n, d), or a DataFrame, as in the fit; the first forty are
            those that a reader may pick.
        y: Their targets, with shape (n,) or (n, k).

    Raises:
        ValueError: If the rows are not as in the fit, or y has not as many.
    """
    units, named = learner.units_, hasattr(learner, "feature_names_in_")
    names, kinds, target = units.x.names, units.x.kinds, units.target
    categories = {
        n: kind.members for n, kind in zip(names, kinds, strict=False) if kind.is_category
    }
    table, labels = np.asarray(in_numbers(rows, categories), dtype=np.float64), np.asarray(y)
    if len(labels) != len(table):
        raise ValueError(f"y has {len(labels)} rows and the inputs {len(table)}; as many are due")
    if target is None:
        truth = labels.astype(np.float64).reshape(len(table), -1)
    else:
        codes, _ = codes_of(target.name, pd.Series(labels.ravel()), target.classes)
        truth = target.indicators(codes)

    def as_given(numbers: Array) -> Any:
        frame = in_words(numbers, names, kinds)
        return frame if named else frame.to_numpy(np.float64)

    def predicted(given: Any) -> Array:
        y_hat = learner.predict(given) if target is None else learner.predict_proba(given)[:, 1:]
        return np.asarray(y_hat, dtype=np.float64).reshape(len(given), -1)

    def points(method: Callable[..., Any], number: int) -> NDArray[Any]:
        own = labels[:PICKED] if learner.model_.decodes_from_y else None
        moved = np.asarray(method(as_given(table[:PICKED]), number, own))
        return moved.reshape(-1, number, len(names)).swapaxes(0, 1)

    partners, steep, y_hat, guessed = points(learner.partners, PARTNERS), None, None, None
    if not learner.model_.decodes_from_y:
        # A step along a category is none, since no value lies so near to another.
        predict: Predict = lambda x: predicted(as_given(x))  # noqa: E731
        steep = slopes(predict, table[:SLOPED], np.array(units.x.std))
        steep[..., [kind.held for kind in units.x.kinds] or []] = 0  # it trades for nothing
        y_hat = predict(table)
        flat = pd.DataFrame(partners.reshape(-1, len(names)), columns=names).infer_objects()
        guessed = predicted(flat if named else flat.to_numpy(np.float64))
        guessed = guessed.reshape(*partners.shape[:2], -1)
    return render(
        content(
            Run(
                title=", ".join(units.target_names),
                model=learner.model.upper(),
                verdict=_read(str(learner.summary_["verdict"])),
                x=in_words(table, names, kinds),
                y=pd.DataFrame(truth, columns=units.y.names),
                y_hat=y_hat,
                partners=partners,
                partners_y_hat=guessed,
                orbits=points(learner.orbit, 60),
                slopes=steep,
                metrics={
                    name: value
                    for name, value in learner.summary_.items()
                    if isinstance(value, int | float)
                },
                params={
                    k: v
                    for k, v in learner.get_params().items()
                    if k not in ("random_state", "verbose")
                },
                facts={
                    "seed": str(learner.seed_),
                    "rows shown": str(len(table)),
                    "SHA-256 of these rows": sha256(table.tobytes() + truth.tobytes()).hexdigest(),
                },
                judged_here=False,
            )
        )
    )


def _spread(run: Run) -> Array:
    # As the table has it, or else of the partners at hand; of texts the share that changes.
    spread = []
    for place, name in enumerate(run.x.columns):
        known = run.metrics.get(f"spread.{name}")
        column, moved = run.x.iloc[:, place], run.partners[:, :, place]
        if known is None and is_numeric_dtype(column):
            points = moved.astype(np.float64)[..., None]
            known = float(column_spread(points, column.to_numpy(np.float64))[0])
        elif known is None:
            known = float((moved != column.to_numpy()[: moved.shape[1]]).mean())
        spread.append(known)
    return np.array(spread)


def _column(values: pd.Series, spread: float) -> dict[str, Any]:
    numeric = is_numeric_dtype(values)
    deviation = float(values.std(ddof=0)) if numeric else 0.0
    return {
        "name": str(values.name),
        "text": not numeric,
        "low": _rounded(values.min()) if numeric else None,
        "high": _rounded(values.max()) if numeric else None,
        "values": None if numeric else sorted(values.unique()),
        "deviation": deviation,
        "step": _round_number(deviation / 4),
        "spread": _rounded(spread),
        "word": next(word for least, word in WORDS if spread > least),
    }


def _summary(run: Run) -> str | None:
    error, random = (run.metrics.get(f"{name}_error") for name in ("referee", "random_rows"))
    if error is None or random is None:
        return None
    targets = [str(name) for name in run.y.columns[:MOST_TARGETS]]
    level = _and(targets)
    return (
        f"From a row to its partners {level} change{'s' if len(targets) == 1 else ''} "
        f"by {_said(error)} standard deviations, from a row to any other by {_said(random)}, says "
        "a regression that never saw the model."
    )


def _movers(columns: Sequence[Mapping[str, Any]]) -> list[str]:
    # One sentence a word, from what moves freely to what stays.
    return [
        f"{_and(names)} {word if len(names) == 1 else _plural(word)}"
        for _, word in WORDS
        if (names := [column["name"] for column in columns if column["word"] == word])
    ]


def _and(names: Sequence[str]) -> str:
    return " and ".join([", ".join(names[:-1]), names[-1]] if len(names) > 1 else names)


def _plural(word: str) -> str:
    first, *rest = word.split()
    return " ".join([first.removesuffix("s"), *rest])


def _trades(
    run: Run, shown: NDArray[np.intp], columns: Sequence[Mapping[str, Any]], count: int
) -> tuple[dict[str, Any] | None, list[str]]:
    # The rates of exchange in the units of the columns, for one more of each; and some in words.
    if run.slopes is None or len(columns) < 2:
        return None, []
    x_scale = np.array([column["deviation"] for column in columns])
    y_scale = run.y.to_numpy(np.float64).std(0)
    gradients = run.slopes[..., shown] * x_scale / np.where(y_scale > 0, y_scale, 1)[:, None]
    gradients = np.nan_to_num(gradients)  # along texts there is none
    found = rates(gradients)
    ratio = x_scale / np.where(x_scale > 0, x_scale, 1)[:, None]
    alone, together = (rate * ratio for rate in found)
    common = np.isfinite(alone).mean(0) > 0.5
    middle = np.where(
        common, np.nanquantile(np.where(common, alone, 0), (0.25, 0.5, 0.75), 0), np.nan
    )
    pull = np.median(np.linalg.norm(gradients, axis=1), 0)
    pairs = [
        (min(pull[i], pull[j]), i, j)
        for i, j in combinations(range(len(columns)), 2)
        if middle[0, i, j] * middle[2, i, j] > 0 and min(pull[i], pull[j]) > WEAK * pull.max()
    ]
    pairs = sorted(pairs, key=lambda pair: -pair[0])[:TRADES]
    told = [_trade(columns[i], columns[j], middle[:, i, j]) for _, i, j in pairs]
    said = {"alone": alone[:count], "together": together[:count], "middle": middle}
    first = int(pairs[0][1]) if pairs else int(np.argmax(pull))
    return {"first": first, **{name: _cells(rate) for name, rate in said.items()}}, told


def _trade(one: Mapping[str, Any], other: Mapping[str, Any], middle: Array) -> str:
    low, centre, high = sorted(np.abs(middle) * one["step"])
    ends = f"{_said(low)} to {_said(high)}" if _said(low) != _said(high) else "the same"
    return (
        f"{_said(one['step'])} more {one['name']} goes with {_said(centre)} "
        f"{'less' if middle[1] < 0 else 'more'} {other['name']} ({ends} in the middle half of the "
        "rows)"
    )


def _said(value: float) -> str:
    return f"{abs(value):.2g}"


def _astray(run: Run) -> NDArray[np.bool_]:
    # Which partners, with shape (partners, m), have another prediction than their row.
    if run.partners_y_hat is None or run.y_hat is None:
        return np.zeros(run.partners.shape[:2], bool)
    change = np.abs(run.partners_y_hat - run.y_hat[: run.partners.shape[1]])
    astray: NDArray[np.bool_] = (change > ASTRAY * run.y.to_numpy(np.float64).std(0)).any(-1)
    return astray


def _curves(history: pd.DataFrame | None) -> dict[str, Any] | None:
    if history is None:
        return None
    own = [str(name) for name in history.columns if name not in {"step", "seed", *CURVES}]
    metrics = [*(name for name in CURVES if name in history), *own]
    seeds = {}
    for seed, copy in history.groupby("seed"):
        kept = np.linspace(0, len(copy) - 1, min(len(copy), CURVE_POINTS)).round().astype(int)
        seeds[str(seed)] = {name: _cells(copy[name].iloc[kept]) for name in ("step", *metrics)}
    return {"metrics": {name: CURVES.get(name, name) for name in metrics}, "seeds": seeds}


def _health(
    metrics: Mapping[str, float | None], verdict: Verdict | None, moved: float
) -> Iterator[dict[str, str]]:
    # Each figure with its limit, as the verdict has it, or else without its allowance for chance.
    reasons = {reason.name: reason for reason in (verdict.reasons if verdict else ())}
    get = metrics.get
    random, nearest = get("random_rows_error"), get("nearest_rows_error")
    plain, floor = get("plain_regression_error"), get("partner_coverage_floor")
    covered = get("partner_coverage")
    figures = {
        "referee error": (get("referee_error"), random and KEPT * random),
        "referee error beside nearest rows": (
            get("referee_error"),
            nearest and WORSE_THAN_NEAREST * nearest + EXACT,
        ),
        "error of the model's prediction": (
            get("prediction_error"),
            plain and WORSE_THAN_REGRESSION * plain + EXACT,
        ),
        "coverage above its floor": (
            None if covered is None or floor is None else covered - floor,
            UNCOVERED,
        ),
        "leak R²": (get("leak_r2"), LEAK),
        "share of lost partners": (get("strayed_share"), LOST),
        "largest column spread": (moved, STILL),
    }
    for name, (figure, limit) in figures.items():
        reason = reasons.pop(name, None)
        if reason is not None:
            yield _check(name, reason.figure, reason.limit, "fails")
        elif figure is not None and limit is not None and verdict is not None:
            beyond = figure <= limit if name in AT_LEAST else figure > limit
            yield _check(name, figure, limit, "chance" if beyond else "good")
    for name, reason in reasons.items():
        yield _check(name, reason.figure, reason.limit, "fails")


def _check(name: str, figure: float, limit: float, state: str) -> dict[str, str]:
    side = ">" if name in AT_LEAST else "≤"
    return {
        "name": name,
        "figure": f"{figure:.3f}".replace("-", "−"),
        "limit": f"{side} {limit:.3f}",
        "state": state,
        "meaning": MEANINGS[name],
    }


def _figure(metrics: Mapping[str, float | None], name: str) -> str:
    value, spread = metrics[name], metrics.get(f"{name}_std")
    return f"{value:.4g}" + ("" if spread is None else f" ± {spread:.2g}")


def _read(said: str) -> Verdict | None:
    # What str(Verdict) wrote; a learner that held out too few rows was not judged.
    grade = re.match(r"Symmetry (found in part|found|not found)\b", said)
    if grade is None:
        return None
    pattern = r"(?:: |; )([^:;]+?) (-?[\d.]+) [>≤] (-?[\d.]+): (.+?)(?=; [^:;]+ -?[\d.]+ [>≤]|\.$)"
    reasons = [
        Reason(name, float(figure), float(limit), remedy)
        for name, figure, limit, remedy in re.findall(pattern, said)
    ]
    return Verdict(grade[1], tuple(reasons))  # type: ignore[arg-type]


def _flat(params: Mapping[str, Any], before: str = "") -> Iterator[tuple[str, str]]:
    # By the names that `-S` takes.
    for name, value in params.items():
        if isinstance(value, Mapping):
            yield from _flat(value, f"{before}{name}.")
        else:
            yield f"{before}{name}", json.dumps(value, ensure_ascii=False, default=str)


@cache
def _versions() -> dict[str, str]:
    others = {name: version(name) for name in PACKAGES}
    return {"symmetry": __version__, "python": python_version(), **others}


def _cells(values: Any) -> Any:
    # Nested lists for json.
    if isinstance(values, pd.DataFrame):
        values = values.to_numpy(object)
    if isinstance(values, (np.ndarray, pd.Series)):
        values = values.tolist()
    if isinstance(values, list):
        return [_cells(value) for value in values]
    return _rounded(values)


def _worded(points: NDArray[Any], texts: NDArray[np.bool_]) -> NDArray[Any]:
    # Points whose texts, in some columns, may be numbers or truths.
    if not texts.any():
        return points
    points = points.astype(object)
    points[..., texts] = np.vectorize(_text, otypes=[object])(points[..., texts])
    return points


def _text(value: Any) -> str:
    return f"{value:g}" if isinstance(value, float) else str(value)


def _rounded(value: Any) -> Any:
    if isinstance(value, str) or value is None:
        return value
    number = float(value)
    if not np.isfinite(number):
        return None
    short = float(f"{number:.5g}")
    return int(short) if short.is_integer() and abs(short) < 1e15 else short


def _round_number(value: float) -> float:
    # The nearest of 1, 2 and 5 times a power of ten, below.
    if value <= 0:
        return 0.0
    power = 10.0 ** np.floor(np.log10(value))
    first = max(one for one in (1, 2, 5) if one * power <= value * (1 + 1e-9) or one == 1)
    return float(f"{first * power:.1g}")


def _part(name: str) -> str:
    return resources.files("symmetry").joinpath(name).read_text("utf-8")
