"""The table of all models, the published one beside it, and the known truth below."""

__all__ = ["comparison", "history_frame", "markdown", "shortcomings", "spread", "training_curves"]

from collections.abc import Mapping, Sequence

import numpy as np
import pandas as pd

Metrics = Mapping[str, float | None]

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


def comparison(
    metrics: Mapping[str, Metrics],
    references: Mapping[str, Metrics],
    published: Mapping[str, Metrics],
) -> pd.DataFrame:
    """Sets our metrics beside the published ones, and below them the reference rows.

    Arguments:
        metrics: Each model's metrics with their ``_std``, by model key.
        references: The paper's metrics of what is known in closed form, by the name to print.
        published: The metrics that a paper published of the task, by model key; empty for most.

    Returns:
        One row a model or reference: ``model``, and for each metric its mean, its ``_std`` and,
        for the paper's metrics of a task with published ones, ``_published``. A model that the
        paper has not is then marked so.
    """
    rows = []
    for key, ours in metrics.items():
        note = " (ours, not the paper's)" if published and key not in published else ""
        theirs = published.get(key, {}) if published else None
        rows.append({"model": f"{key.upper()}{note}", **_cells(ours, theirs)})
    theirs = {} if published else None
    rows += [{"model": name, **_cells(known, theirs)} for name, known in references.items()]
    return pd.DataFrame(rows)


def _cells(ours: Metrics, published: Metrics | None) -> dict[str, float | None]:
    cells: dict[str, float | None] = {}
    for metric in {**PAPER_COLUMNS, **SYMMETRY_COLUMNS}:
        cells[metric] = ours.get(metric)
        cells[f"{metric}_std"] = ours.get(f"{metric}_std")
        if metric in PAPER_COLUMNS and published is not None:
            cells[f"{metric}_published"] = published.get(metric)
    return cells


def shortcomings(
    metrics: Metrics,
    constant: Metrics,
    null_bits: tuple[float, float],
    tolerance: float = 0.05,
) -> list[str]:
    """Says in words why a model has found no symmetry; nothing where it seems to have found one.

    A symmetry keeps y, so Z0 must not know of y: ``leak_r2`` may be up to the tolerance, and
    ``mi_z0_y_sampled`` up to the tolerance in bits above what no dependence reads. Moving Z0
    must change the predicted y by less than y is predicted wrongly anyway: ``reencode_error`` may
    be up to ``y_mae``. And there must be something to keep and to move: ``y_mae`` and ``x_mae``
    may be up to 95 % of those of a constant prediction.

    Arguments:
        metrics: The metrics of a model.
        constant: ``x_mae`` and ``y_mae`` of a constant prediction.
        null_bits: Where 95 % of the sampled estimates lie without any dependence.
        tolerance: What leaks may read.
    """
    limits = {
        "leak R²": (metrics.get("leak_r2"), tolerance),
        "sampled MI": (metrics.get("mi_z0_y_sampled"), null_bits[1] + tolerance),
        "re-encode error": (metrics.get("reencode_error"), metrics.get("y_mae")),
        "Y MAE": (metrics.get("y_mae"), _share(constant.get("y_mae"))),
        "X MAE": (metrics.get("x_mae"), _share(constant.get("x_mae"))),
    }
    return [
        f"{name} {found:.3f} > {limit:.3f}"
        for name, (found, limit) in limits.items()
        if found is not None and limit is not None and found > limit
    ]


def _share(error: float | None, share: float = 0.95) -> float | None:
    return None if error is None else share * error


def markdown(
    table: pd.DataFrame,
    null_bits: tuple[float, float],
    standardised: bool = False,
    warnings: Mapping[str, Sequence[str]] | None = None,
) -> str:
    """Renders a comparison as two markdown tables of "mean ± standard deviation (published)".

    Columns that no model has are left out.

    Arguments:
        table: What :func:`comparison` returned.
        null_bits: Where 95 % of the sampled estimates lie without any dependence, for the note.
        standardised: Whether errors are in standard deviations of the columns, for the note.
        warnings: The :func:`shortcomings` of models, by the name to print.
    """
    measured = table[table["mi_z0_y_sampled"].notna()]
    beside = " (published value)" if "x_mae_published" in table else ""
    unit = "; errors are in standard deviations, added up over columns" if standardised else ""
    lines = [
        f"Warning: {name} has found no symmetry: {'; '.join(reasons)}."
        for name, reasons in (warnings or {}).items()
        if reasons
    ]
    return (
        f"{_render(table, PAPER_COLUMNS)}\n\n"
        f"Mean ± standard deviation over seeds{beside}{unit}.\n\n"
        f"{_render(measured, SYMMETRY_COLUMNS)}\n\n"
        f"Without any dependence, 95 % of the sampled estimates lie in "
        f"[{null_bits[0]:.3f}, {null_bits[1]:.3f}] bits.\n"
    ) + "".join(f"\n{line}\n" for line in lines)


def _render(table: pd.DataFrame, columns: Mapping[str, str]) -> str:
    shown = {"Model": table["model"].tolist()}
    for metric, title in columns.items():
        if metric not in table or table[metric].isna().all():
            continue
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
