"""The paper's table, ours beside it, and the known truth below."""

__all__ = ["PUBLISHED", "comparison", "history_frame", "markdown", "spread", "training_curves"]

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

PAPER_COLUMNS = {"x_mae": "X MAE", "y_mae": "Y MAE", "mi_z0_y": "MI(Z0, Y) [bits]"}
SYMMETRY_COLUMNS = {
    "mi_z0_y_sampled": "MI, sampled and whitened [bits]",
    "leak_r2": "leak R²",
    "symmetry_error": "symmetry error",
    "reencode_error": "re-encode error",
    "symmetry_coverage": "coverage (KS)",
    "outside_share": "share outside",
}
MAX_ROWS = 200  # of a curve: more make `dvc plots show` slow and look no better


def comparison(metrics: Mapping[str, Metrics], references: Mapping[str, Metrics]) -> pd.DataFrame:
    """Sets our metrics beside the published ones, and below them the reference rows.

    Arguments:
        metrics: Each model's metrics with their ``_std``, by model key.
        references: The paper's metrics of what is known in closed form, by the name to print.

    Returns:
        One row a model or reference: ``model``, and for each metric its mean, its ``_std`` and,
        for the paper's metrics, ``_published``. A model that the paper has not is marked so.
    """
    named = {
        key.upper() if key in PUBLISHED else f"{key.upper()} (ours, not the paper's)": key
        for key in metrics
    }
    rows = [
        {"model": name, **_cells(metrics[key], PUBLISHED.get(key, {}))}
        for name, key in named.items()
    ]
    rows += [{"model": name, **_cells(known, {})} for name, known in references.items()]
    return pd.DataFrame(rows)


def _cells(ours: Metrics, published: Metrics) -> dict[str, float | None]:
    cells: dict[str, float | None] = {}
    for metric in {**PAPER_COLUMNS, **SYMMETRY_COLUMNS}:
        cells[metric] = ours.get(metric)
        cells[f"{metric}_std"] = ours.get(f"{metric}_std")
        if metric in PAPER_COLUMNS:
            cells[f"{metric}_published"] = published.get(metric)
    return cells


def markdown(table: pd.DataFrame, null_bits: tuple[float, float]) -> str:
    """Renders a comparison as two markdown tables of "mean ± standard deviation (published)".

    Arguments:
        table: What :func:`comparison` returned.
        null_bits: Where 95 % of the sampled estimates lie without any dependence, for the note.
    """
    measured = table[table["mi_z0_y_sampled"].notna()]
    return (
        f"{_render(table, PAPER_COLUMNS)}\n\n"
        "Mean ± standard deviation over seeds (published value).\n\n"
        f"{_render(measured, SYMMETRY_COLUMNS)}\n\n"
        f"Without any dependence, 95 % of the sampled estimates lie in "
        f"[{null_bits[0]:.3f}, {null_bits[1]:.3f}] bits.\n"
    )


def _render(table: pd.DataFrame, columns: Mapping[str, str]) -> str:
    shown = {"Model": table["model"].tolist()}
    for metric, title in columns.items():
        parts = [
            table[column].astype(float) if column in table else [float("nan")] * len(table)
            for column in (metric, f"{metric}_std", f"{metric}_published")
        ]
        shown[title] = [_cell(*cell) for cell in zip(*parts, strict=True)]
    return pd.DataFrame(shown).to_markdown(index=False, disable_numparse=True)


def _cell(mean: float, std: float, published: float) -> str:
    if pd.isna(mean):
        return "–"
    spread = "" if pd.isna(std) else f" ± {std:.3f}"
    theirs = "" if pd.isna(published) else f" ({published:.2f})"
    return f"{round(mean, 3) + 0.0:.3f}{spread}{theirs}"  # no "-0.000"


def history_frame(rows: Sequence[Mapping[str, str]]) -> pd.DataFrame:
    """Gives the rows of a training history numbers for text."""
    history: pd.DataFrame = pd.DataFrame(rows).apply(pd.to_numeric)
    return history


def spread(seeds: pd.DataFrame) -> pd.DataFrame:
    """Summarises one row a seed as three rows, whose ``seed`` is mean, sd and worst.

    All metrics are better the lower they are, so the worst is the highest.
    """
    values = seeds.drop(columns="seed")
    rows = {"mean": values.mean(), "sd": values.std(), "worst": values.max()}
    summary: pd.DataFrame = pd.DataFrame(rows).T.rename_axis("seed").reset_index()
    return summary


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
