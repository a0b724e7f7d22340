"""The figures: arrays in, a matplotlib Figure out."""

__all__ = [
    "ablation",
    "information",
    "latent_space",
    "most_moving",
    "orbits",
    "plane_of",
    "reconstruction",
    "training",
]

from collections.abc import Mapping, Sequence

import numpy as np
import pandas as pd
from matplotlib.axes import Axes
from matplotlib.figure import Figure
from matplotlib.ticker import LogLocator, NullFormatter
from numpy.typing import NDArray

from symmetry.tasks import Plane

Array = NDArray[np.floating]

BINS = 10
TERMS = {"dependence": "dependence of $Z_0$ and y", "flow": "error of the flow's velocity"}
DOTTED = 6  # orbits, when they are drawn as points
POINTS = 4000  # enough to see the structure, few enough not to cover it
LABEL = 40  # signs of a name that stand at an axis


def most_moving(spread: Sequence[float]) -> list[int]:
    """Chooses the two columns that move most, or the only one, by what a column spread says."""
    order: list[int] = np.argsort(-np.asarray(spread), kind="stable")[:2].tolist()
    return order


def plane_of(names: Sequence[str], columns: Sequence[int]) -> Plane:
    """Creates the plane of two columns, or of the only one, with their names at the axes."""
    first, last = columns[0], columns[-1]
    labels = _label(names[first]), _label(names[last])
    return Plane(lambda x: x[..., [first, last]], labels, equal=False, dots=True)


def latent_space(codes: Mapping[str, tuple[Array, Array]], t: Array) -> Figure:
    """Draws codes coloured by what y depends on: stripes along Z0 mean a symmetry was found.

    Arguments:
        codes: By the name to print, the latents to draw from left to right and from bottom to
            top, each with shape (n,).
        t: The quantity that generated y, with shape (n,), coloured in 10 bins of equal width.
    """
    figure = Figure(figsize=(4 * max(1, len(codes)), 4.2), layout="constrained")
    panels = figure.subplots(1, max(1, len(codes)), squeeze=False)[0][: len(codes)]
    for axes, (name, (across, up)) in zip(panels, codes.items(), strict=True):
        _scatter(axes, np.stack([across, up], -1), t)
        axes.set(title=name, xlabel="$Z_0$", ylabel="$Z_1$")
        axes.annotate(
            "",
            xy=(0.97, 0.06),
            xytext=(0.55, 0.06),
            xycoords="axes fraction",
            arrowprops={"arrowstyle": "-|>", "color": "black", "lw": 2},
        )
        axes.annotate("invariant direction", (0.55, 0.08), xycoords="axes fraction", fontsize=8)
    return figure


def reconstruction(
    name: str,
    x: Array,
    y: Array,
    x_hat: Array,
    y_hat: Array | None,
    t: Array,
    x_names: Sequence[str] = (),
) -> Figure:
    """Draws inputs and targets beside what a model makes of them.

    Arguments:
        name: The name to print.
        x: The inputs, with shape (n, dim x), of which the first two columns are drawn; if it is
            one column, its reconstruction is drawn against it.
        y: The targets, with shape (n, dim y), likewise.
        x_hat: The reconstructed inputs.
        y_hat: The predicted targets, or None where there are none.
        t: The quantity that generated y, with shape (n,), which colours the points.
        x_names: The names of the columns of x that are drawn, where they have any.
    """
    sides = {"x": _panels("x", x, x_hat), "y": _panels("y", y, y_hat)}
    count = sum(map(len, sides.values()))
    figure = Figure(figsize=(3.6 * count, 3.9), layout="constrained")
    figure.suptitle(name)
    axes_of = iter(figure.subplots(1, count, squeeze=False)[0])
    for side, panels in sides.items():
        pair = []
        for (title, points), axes in zip(panels.items(), axes_of, strict=False):
            _scatter(axes, points, t)
            axes.set_title(title)
            pair.append(axes)
            if "against" in title:
                axes.axline(2 * [points[:, 0].mean()], slope=1, color="0.6", lw=1, zorder=0)
            elif side == "x" and len(x_names) > 1:
                axes.set(xlabel=_label(x_names[0]), ylabel=_label(x_names[1]))
        # A pair shares its scale, so that errors show.
        for dimension in ("x", "y"):
            limits = [getattr(axes, f"get_{dimension}lim")() for axes in pair]
            for axes in pair:
                widest = min(low for low, _ in limits), max(high for _, high in limits)
                axes.set(**{f"{dimension}lim": widest})
    return figure


def _panels(side: str, truth: Array, estimate: Array | None) -> dict[str, Array]:
    # Of one column a panel would be a line, whatever the model does: its estimate stands against
    # it instead.
    hat = rf"\hat {side}"
    if truth.shape[1] == 1:
        if estimate is None:
            return {}
        return {f"${hat}$ against ${side}$": np.concatenate([truth, estimate], 1)}
    return {f"${side}$": truth} | ({} if estimate is None else {f"${hat}$": estimate})


def training(curves: pd.DataFrame, metrics: Mapping[str, str]) -> Figure:
    """Draws training curves, one panel a metric that any model has, and one line a model.

    Arguments:
        curves: The columns ``model``, ``step`` and one a metric.
        metrics: The title of each metric, by its column.
    """
    metrics = {metric: title for metric, title in metrics.items() if curves[metric].notna().any()}
    figure = Figure(figsize=(4.2 * len(metrics), 3.6), layout="constrained")
    panels = figure.subplots(1, len(metrics), squeeze=False)[0]
    for axes, (metric, title) in zip(panels, metrics.items(), strict=True):
        for place, (name, curve) in enumerate(curves.groupby("model", sort=False)):
            if curve[metric].notna().any():
                axes.plot(curve["step"], curve[metric], label=name, color=f"C{place}", lw=1.5)
        axes.set(title=title, xlabel="step", yscale="log")
        axes.locator_params(axis="x", nbins=5)  # so that long numbers do not touch
        axes.grid(alpha=0.3)
    # Beside the panels, where it covers no curve; all models have the first metric.
    handles, names = panels[0].get_legend_handles_labels()
    figure.legend(handles, names, loc="outside right upper", fontsize=8)
    return figure


def orbits(named: Mapping[str, Array], plane: Plane) -> Figure:
    """Draws learned orbits in a plane of x; a symmetry's lie along the true ones.

    Of one column there is no plane: each row has a line of its own, on which its orbit lies.

    Arguments:
        named: The orbits by the name to print, each with shape (points, rows, dim x).
        plane: Where they are drawn, and the true orbits to draw beneath.
    """
    figure = Figure(figsize=(4.6 * len(named), 4.8), layout="constrained")
    panels = figure.subplots(1, len(named), squeeze=False)[0]
    for axes, (name, curves) in zip(panels, named.items(), strict=True):
        for point, slope in plane.straight:
            axes.axline(point, slope=slope, color="0.8", lw=1, zorder=0)
        for line in plane.lines:
            axes.plot(*line.T, color="0.8", lw=1, zorder=0)
        if plane.limits is not None:
            axes.set(xlim=plane.limits[0], ylim=plane.limits[1])
        drawn = plane.project(curves.astype(np.float64))
        alone = curves.shape[-1] == 1
        if alone:
            drawn[..., 1] = np.arange(drawn.shape[1])
        if plane.dots or alone:
            axes.plot(drawn[:, :DOTTED, 0], drawn[:, :DOTTED, 1], ".", ms=4)
        else:
            axes.plot(drawn[:, :, 0], drawn[:, :, 1], lw=1.8)
        axes.set(title=name, xlabel=plane.labels[0], ylabel="row" if alone else plane.labels[1])
        axes.set_aspect("equal" if plane.equal and not alone else "auto")
    return figure


def information(histories: Mapping[str, tuple[str, pd.DataFrame]]) -> Figure:
    """Draws how a model's own term and its errors fall along training, one line a copy.

    Arguments:
        histories: By the name to print, the term that makes Z0 independent, and a history with
            the columns ``step``, ``seed``, that term, ``x_mae`` and ``y_mae``.
    """
    figure = Figure(figsize=(13, 3.6 * max(1, len(histories))), layout="constrained")
    grid = figure.subplots(max(1, len(histories)), 3, squeeze=False)[: len(histories)]
    for row, (name, (term, history)) in zip(grid, histories.items(), strict=True):
        titles = {term: TERMS.get(term, term), "x_mae": "X MAE", "y_mae": "Y MAE"}
        for axes, (metric, title) in zip(row, titles.items(), strict=True):
            for seed, copy in history.groupby("seed"):
                # An unbiased estimate of none may be below zero, where a log scale has no place.
                axes.plot(copy["step"], copy[metric].clip(lower=1e-4), label=f"seed {seed}")
            axes.set(title=f"{name}: {title}", xlabel="step", yscale="log")
            axes.grid(alpha=0.3)
    if histories:
        grid[0, 0].legend(fontsize=8)
    return figure


def ablation(results: Mapping[str, pd.DataFrame], metrics: Mapping[str, str]) -> Figure:
    """Draws each study's seeds as points on a line of its own, one panel a metric.

    Arguments:
        results: By the name of the study, one row a seed and one column a metric.
        metrics: The title of each metric, by its column.
    """
    figure = Figure(figsize=(4 * len(metrics), 0.9 + 0.35 * len(results)), layout="constrained")
    panels = figure.subplots(1, len(metrics), sharey=True, squeeze=False)[0]
    for axes, (metric, title) in zip(panels, metrics.items(), strict=True):
        for place, result in enumerate(results.values()):
            # Zero leak may be estimated a little below zero, where a log scale has no place.
            axes.plot(result[metric].clip(lower=1e-3), [place] * len(result), "o", alpha=0.7)
        axes.set(title=title, xscale="log")
        # Matplotlib's own labels run into each other within a power of ten or two.
        low, high = axes.get_xlim()
        axes.xaxis.set_major_locator(LogLocator(subs=(1, 2, 5) if high < 100 * low else (1,)))
        axes.xaxis.set_major_formatter("{x:g}")
        axes.xaxis.set_minor_formatter(NullFormatter())
        axes.grid(alpha=0.3)
    panels[0].set_yticks(range(len(results)), labels=list(map(_label, results)))
    panels[0].invert_yaxis()
    return figure


def _label(name: str) -> str:
    # A user's name as it is: to matplotlib, a pair of $ begins and ends a formula.
    short = " ".join(name.split())
    short = short if len(short) <= LABEL else f"{short[: LABEL - 1]}…"
    return short.replace("$", r"\$")


def _scatter(axes: Axes, points: Array, t: Array) -> None:
    shown = slice(0, POINTS)
    edges = np.linspace(t.min(), t.max(), BINS + 1)[1:-1]
    axes.scatter(
        points[shown, 0],
        points[shown, 1],
        c=np.digitize(t[shown], edges),
        cmap="tab10",
        vmin=0,
        vmax=BINS - 1,
        s=3,
        lw=0,
    )
