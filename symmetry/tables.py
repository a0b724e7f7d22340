"""The table of all models, the published one beside it, and the known truth below."""

__all__ = ["comparison", "history_frame", "markdown", "spread", "training_curves"]

from collections.abc import Mapping, Sequence

import numpy as np
import pandas as pd

Metrics = Mapping[str, float | None]

PAPER_COLUMNS = {"x_mae": "X MAE", "y_mae": "Y MAE", "mi_z0_y": "MI(Z0, Y) [bits]"}
SYMMETRY_COLUMNS = {
    "mi_z0_y_sampled": "MI, sampled and whitened [bits]",
    "leak_r2": "leak R²",
    "symmetry_error": "symmetry error",
    "symmetry_error_decoded": "as decoded",
    "symmetry_coverage": "coverage (KS)",
    "outside_share": "share outside",
}
WORTH_ROWS = {
    "referee_error": "partners",
    "nearest_rows_error": "nearest rows in predicted y",
    "random_rows_error": "random rows",
    "plain_regression_error": "error of a plain regression",
    "prediction_error": "error of the model's ŷ",
    "partner_coverage": "coverage of partners (KS)",
    "partner_coverage_floor": "its floor, by chance",
    "strayed_share": "share astray",
}
MOST_COLUMNS = 20  # of x whose spread is shown
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
    for metric in {**PAPER_COLUMNS, **SYMMETRY_COLUMNS, **WORTH_ROWS}:
        cells[metric] = ours.get(metric)
        cells[f"{metric}_std"] = ours.get(f"{metric}_std")
        if metric in PAPER_COLUMNS and published is not None:
            cells[f"{metric}_published"] = published.get(metric)
    return cells


def markdown(
    table: pd.DataFrame,
    null_bits: tuple[float, float],
    standardised: bool = False,
    verdicts: Mapping[str, str] | None = None,
    spreads: Mapping[str, Mapping[str, float]] | None = None,
) -> str:
    """Renders a comparison as markdown tables of "mean ± standard deviation (published)".

    First come the verdicts, then the paper's metrics, those of the symmetry, what the referee
    says, and how far each column of x moves. Columns that no model has are left out.

    Arguments:
        table: What :func:`comparison` returned.
        null_bits: Where 95 % of the sampled estimates lie without any dependence, for the note.
        standardised: Whether errors are in standard deviations of the columns, for the note.
        verdicts: What is said of each model's symmetry, by the name to print.
        spreads: How far each column moves among the partners of a model, by its name.
    """
    measured = table[table["mi_z0_y_sampled"].notna()]
    beside = " (published value)" if "x_mae_published" in table else ""
    unit = "; errors are in standard deviations, added up over columns" if standardised else ""
    said = "".join(f"- **{name}: {words}**\n" for name, words in (verdicts or {}).items())
    parts = [
        f"Is a symmetry found?\n\n{said}" if said else "",
        _render(table, PAPER_COLUMNS),
        f"Mean ± standard deviation over seeds{beside}{unit}.",
        _render(measured, SYMMETRY_COLUMNS),
        f"Without any dependence, 95 % of the sampled estimates lie in "
        f"[{null_bits[0]:.3f}, {null_bits[1]:.3f}] bits.",
        _worth(measured),
        "How far y changes from a row to its partners, by a regressor that never saw the model, "
        "in standard deviations of y; and what rows of the data give in their place.",
        _spreads(spreads or {}),
    ]
    return "\n\n".join(part.rstrip() for part in parts if part) + "\n"


def _worth(table: pd.DataFrame) -> str:
    shown: dict[str, list[str]] = {"": list(WORTH_ROWS.values())}
    for _, row in table.iterrows():
        shown[str(row["model"])] = [
            _cell(row[metric], row[f"{metric}_std"], float("nan")) for metric in WORTH_ROWS
        ]
    return pd.DataFrame(shown).to_markdown(index=False, disable_numparse=True)


def _spreads(spreads: Mapping[str, Mapping[str, float]]) -> str:
    if not any(spreads.values()):
        return ""
    table = pd.DataFrame(spreads)
    table = table.loc[table.max(axis=1).sort_values(ascending=False, kind="stable").index]
    more = len(table) - MOST_COLUMNS
    shown = table[:MOST_COLUMNS].map("{:.2f}".format).rename_axis("column").reset_index()
    return (
        f"{shown.to_markdown(index=False, disable_numparse=True)}\n\n"
        "How far each column moves among the partners of a row, as a share of its standard "
        "deviation" + (f"; {more} more columns move less" if more > 0 else "") + "."
    )


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


def _cell(mean: float | None, std: float | None, published: float) -> str:
    if mean is None or pd.isna(mean):
        return "–"
    spread = "" if std is None or pd.isna(std) else f" ± {std:.3f}"
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
