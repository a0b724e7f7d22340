"""The paper's table: our figures beside the published ones and the known truth."""

__all__ = ["PUBLISHED", "comparison", "history_frame", "markdown", "training_curves"]

from collections.abc import Mapping, Sequence

import numpy as np
import pandas as pd

Metrics = Mapping[str, float | None]

PUBLISHED: dict[str, Metrics] = {
    "vae": {"x_mae": 0.21, "y_mae": 0.49, "mi_z0_y": 3.89},
    "stib_wo_reg": {"x_mae": 0.01, "y_mae": 0.65, "mi_z0_y": 3.19},
    "cvae": {"x_mae": 0.33, "y_mae": None, "mi_z0_y": 2.57},
    "cvib": {"x_mae": 0.67, "y_mae": None, "mi_z0_y": 2.45},
    "stib": {"x_mae": 0.04, "y_mae": 0.47, "mi_z0_y": 0.25},
}
"""The artificial experiment's table in Wieser et al. (2020), by model key."""

MAX_ROWS = 200  # of a curve: more make `dvc plots show` slow and look no better

COLUMNS = {"x_mae": "X MAE", "y_mae": "Y MAE", "mi_z0_y": "MI(Z0, Y) [bits]"}


def comparison(metrics: Mapping[str, Metrics], references: Mapping[str, Metrics]) -> pd.DataFrame:
    """Sets our metrics beside the published ones, and below them the reference rows.

    Arguments:
        metrics: Each model's metrics with their ``_std``, by model key.
        references: The metrics of what is known in closed form, by the name to print.

    Returns:
        One row a model or reference: ``model``, and for each metric its mean, ``_std`` and
        ``_published``.
    """
    rows = [
        {"model": key.upper(), **_cells(ours, PUBLISHED.get(key, {}))}
        for key, ours in metrics.items()
    ]
    rows += [{"model": name, **_cells(known, {})} for name, known in references.items()]
    return pd.DataFrame(rows)


def _cells(ours: Metrics, published: Metrics) -> dict[str, float | None]:
    cells: dict[str, float | None] = {}
    for metric in COLUMNS:
        cells[metric] = ours[metric]
        cells[f"{metric}_std"] = ours.get(f"{metric}_std")
        cells[f"{metric}_published"] = published.get(metric)
    return cells


def markdown(table: pd.DataFrame) -> str:
    """Renders a comparison as a markdown table of "mean ± standard deviation (published)"."""
    shown = {"Model": table["model"]}
    for metric, title in COLUMNS.items():
        columns = [metric, f"{metric}_std", f"{metric}_published"]
        cells = table[columns].astype(float).itertuples(index=False)
        shown[title] = pd.Series([_cell(*cell) for cell in cells])
    return pd.DataFrame(shown).to_markdown(index=False, disable_numparse=True) + "\n"


def _cell(mean: float, std: float, published: float) -> str:
    if pd.isna(mean):
        return "–"
    spread = "" if pd.isna(std) else f" ± {std:.3f}"
    theirs = "" if pd.isna(published) else f" ({published:.2f})"
    return f"{mean:.3f}{spread}{theirs}"


def history_frame(rows: Sequence[Mapping[str, str]]) -> pd.DataFrame:
    """Gives the rows of a training history numbers for text."""
    history: pd.DataFrame = pd.DataFrame(rows).apply(pd.to_numeric)
    return history


def training_curves(histories: Mapping[str, pd.DataFrame], metrics: Sequence[str]) -> pd.DataFrame:
    """Averages the copies' histories into one long table of at most 200 rows a model.

    Arguments:
        histories: Each model's history, by the name to print.
        metrics: The columns to keep.

    Returns:
        The columns ``model`` and ``step``, and the mean over the copies of each metric.
    """
    curves = []
    for name, history in histories.items():
        curve = history.groupby("step", as_index=False).mean().assign(model=name)
        kept = np.linspace(0, len(curve) - 1, min(len(curve), MAX_ROWS)).round().astype(int)
        curves.append(curve.iloc[kept])
    table: pd.DataFrame = pd.concat(curves)[["model", "step", *metrics]]
    return table.round(4)
