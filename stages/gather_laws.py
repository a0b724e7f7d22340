"""Gathers the methods' figures: metrics/laws.csv, and a table and a figure in studies/laws/."""

from argparse import ArgumentParser
from collections.abc import Sequence
from pathlib import Path

import numpy as np
import pandas as pd
from matplotlib.figure import Figure

from stages import plain_errors
from stages.cells import DIGEST
from stages.laws import FOLDER, NAMES
from stages.plot import write_figure
from symmetry.artifacts import read_csv, read_yaml, write_bytes

SETTING = ["rows", "noise"]
CELL = ["law", *SETTING, "seed"]
COLUMNS = [
    *("law", "method", "rows", "noise", "seed"),
    *("error", "coverage", "coverage_floor", "outside", "fit_seconds", "draw_seconds"),
    *("predictor_error", "nearest_rows_error", "distance", "peak_megabytes", "verdict"),
]
MARKERS = "osD^vPX*"
NEAREST = "nearest"  # the method that makes no rows of its own, but gives those of the data


def main() -> None:
    ArgumentParser(description=__doc__).parse_args()
    content = read_yaml(FOLDER / "laws.yaml")
    paths = [FOLDER / "results" / f"{method}.csv" for method in content["methods"]]
    cells = gathered([path for path in paths if path.exists()])
    write_bytes("metrics/laws.csv", cells.to_csv(index=False).encode())
    write_bytes(FOLDER / "table.md", table(cells, content["controls"]).encode())
    kept = cells[~cells["law"].isin(content["controls"])]
    write_figure(str(FOLDER / "laws.png"), figure(kept))


def gathered(paths: Sequence[Path]) -> pd.DataFrame:
    """Joins the cells of all methods, beside each what the nearest rows err by in its place.

    Raises:
        ValueError: If there are none, or one lacks a column.
    """
    found = [pd.DataFrame(read_csv(path)).drop(columns=DIGEST) for path in paths]
    if not found:
        raise ValueError("no method has been measured; run python -m stages.laws METHOD first")
    cells = pd.concat(found, ignore_index=True)
    for column in cells.columns.difference([*NAMES]):
        cells[column] = pd.to_numeric(cells[column].replace("", np.nan))
    nearest = cells[cells["method"] == NEAREST].set_index(CELL)["error"]
    cells = cells.join(nearest.rename("nearest_rows_error"), on=CELL)
    return cells[COLUMNS]


def table(cells: pd.DataFrame, controls: Sequence[str]) -> str:
    """Renders errors and, in brackets, coverage above its floor, as means over the seeds.

    There is a table for each number of rows and noise, with a row a law and a column a method;
    what has not been measured or took too long is a dash. Below each stands how often a method
    has the smallest error of those that make rows of their own, on a law with a seed, and what was
    said of the controls.
    """
    parts = []
    for (rows, noise), some in cells.groupby(SETTING):
        measured = some.assign(excess=some["coverage"] - some["coverage_floor"])
        error, excess = (
            measured.pivot_table(values=one, index="law", columns="method", dropna=False)
            .reindex(index=some["law"].unique(), columns=some["method"].unique())
            .rename_axis(index="law", columns=None)
            for one in ("error", "excess")
        )
        shown = error.copy().astype(object)
        for method in shown:
            shown[method] = [*map(_cell, zip(error[method], excess[method], strict=True))]
        parts += [
            f"{rows:,} rows, noise {noise:g}",
            shown.reset_index().to_markdown(index=False, disable_numparse=True),
            f"Smallest error: {_winners(some[~some['law'].isin(controls)])}.",
            _said(some[some["law"].isin(controls)]),
        ]
    return "\n\n".join(part for part in parts if part) + "\n"


def figure(cells: pd.DataFrame) -> Figure:
    """Draws errors above and coverage above its floor below, at the least noise, a point a law."""
    settings = list(cells[cells["noise"] == cells["noise"].min()].groupby(SETTING))
    laws, methods = (list(cells[column].unique()) for column in ("law", "method"))
    legend = {}
    drawn = Figure(figsize=(5 * len(settings), 2 * (1 + 0.2 * len(laws))), layout="constrained")
    panels = drawn.subplots(2, len(settings), sharey=True, squeeze=False)
    for column, ((rows, noise), some) in zip(panels.T, settings, strict=True):
        for method, own in some.groupby("method", sort=False):
            means = own.groupby("law", sort=False)[["error", "coverage", "coverage_floor"]].mean()
            places = [laws.index(law) for law in means.index]
            number = methods.index(method)  # the same in all panels
            colour, marker = f"C{number}", MARKERS[number % len(MARKERS)]
            error = means["error"].clip(lower=1e-4)
            excess = means["coverage"] - means["coverage_floor"]
            for axes, values in zip(column, (error, excess), strict=True):
                (legend[method],) = axes.plot(values, places, marker, color=colour, alpha=0.7)
        column[0].set(
            title=f"{rows:,} rows, noise {noise:g}", xlabel="error [sd of y]", xscale="log"
        )
        column[1].set(xlabel="coverage above its floor")
        for axes in column:
            axes.grid(alpha=0.3)
    for axes in panels[:, 0]:
        axes.set_yticks(range(len(laws)), labels=laws)
        axes.set_ylim(len(laws) - 0.5, -0.5)
    drawn.legend([*legend.values()], [*map(str, legend)], loc="outside upper center", ncols=4)
    return drawn


def _cell(found: Sequence[float]) -> str:
    error, excess = found
    return "–" if np.isnan(found).any() else f"{error:.3f} ({excess:+.2f})"


def _said(of_controls: pd.DataFrame) -> str:
    words = of_controls[of_controls["verdict"] != ""]
    said = [
        f"{method} on {law} {', '.join(sorted(some['verdict'].unique()))}"
        for (method, law), some in words.groupby(["method", "law"], sort=False)
    ]
    return f"Where there is nothing to find: {'; '.join(said)}." if said else ""


def _winners(some: pd.DataFrame) -> str:
    # Seed by seed, where there is another to be compared with.
    makers = some[some["method"] != NEAREST]
    error = makers.pivot_table(values="error", index=["law", "seed"], columns="method")
    error = error[error.notna().sum(axis=1) >= min(2, error.shape[1])]
    counts = error.idxmin(axis=1).value_counts()
    return ", ".join(f"{method} {count}" for method, count in counts.items()) or "none"


if __name__ == "__main__":
    with plain_errors():
        main()
