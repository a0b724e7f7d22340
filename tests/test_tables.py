"""The table's cells, the published numbers, and the curves for the plots."""

import io

import numpy as np
import pandas as pd
import pytest

from symmetry.models import MODELS
from symmetry.tables import (
    comparison,
    history_frame,
    markdown,
    shortcomings,
    spread,
    training_curves,
)
from symmetry.tasks.spiral import Spiral

PUBLISHED = Spiral.published

STIB = {
    "x_mae": 0.0284,
    "x_mae_std": 0.0021,
    "y_mae": 0.4496,
    "y_mae_std": 0.004,
    "mi_z0_y": 0.0312,
    "mi_z0_y_std": 0.0099,
    "mi_z0_y_sampled": 0.0126,
    "mi_z0_y_sampled_std": 0.0014,
    "symmetry_error": 0.0271,
    "symmetry_error_std": 0.0005,
    "objective": 1.0,
    "objective_std": 0.1,
}
CVAE = {
    "x_mae": 0.47,
    "x_mae_std": None,
    "y_mae": None,
    "y_mae_std": None,
    "mi_z0_y": 1.8,
    "mi_z0_y_std": None,
    "mi_z0_y_sampled": 1.5,
    "mi_z0_y_sampled_std": None,
}
OURS = {**STIB, "x_mae": 0.0211}
BAYES = {"x_mae": None, "y_mae": 0.4351, "mi_z0_y": None}
METRICS = {"stib": STIB, "cvae": CVAE, "own": OURS}


def table():
    return comparison(METRICS, {"Bayes-optimal y": BAYES}, PUBLISHED)


def rows_of(text):
    """Splits a text into its markdown tables, each a list of rows of cells."""
    tables, rows = [], []
    for line in [*text.splitlines(), ""]:
        if line.startswith("|"):
            rows.append([cell.strip() for cell in line.strip("|").split("|")])
        elif rows:
            tables.append([rows[0], *rows[2:]])
            rows = []
    return tables


def test_the_published_numbers_are_those_of_the_paper():
    paper = """
        model         x_mae  y_mae  mi_z0_y
        vae           0.21   0.49   3.89
        stib_wo_reg   0.01   0.65   3.19
        cvae          0.33   –      2.57
        cvib          0.67   –      2.45
        stib          0.04   0.47   0.25
    """
    frame = pd.read_csv(io.StringIO(paper), sep=r"\s+", na_values="–", index_col="model")
    assert list(PUBLISHED) == list(frame.index)
    assert set(PUBLISHED) == set(MODELS)
    for key, metrics in PUBLISHED.items():
        for metric, value in frame.loc[key].items():
            assert metrics[metric] == (None if np.isnan(value) else value)


def test_ours_stand_beside_the_published_numbers_and_the_references_below():
    frame = table()
    assert list(frame["model"]) == [
        "STIB",
        "CVAE",
        "OWN (ours, not the paper's)",
        "Bayes-optimal y",
    ]
    stib, cvae, ours, bayes = frame.to_dict("records")
    assert [stib[f"x_mae{part}"] for part in ("", "_std", "_published")] == [0.0284, 0.0021, 0.04]
    assert [stib[f"mi_z0_y{part}"] for part in ("", "_std", "_published")] == [
        *(0.0312, 0.0099, 0.25)
    ]
    assert stib["symmetry_error"] == 0.0271
    assert cvae["mi_z0_y_published"] == 2.57
    for absent in (
        cvae["y_mae"],
        cvae["y_mae_published"],
        cvae["x_mae_std"],
        cvae["symmetry_error"],
        ours["x_mae_published"],
        bayes["x_mae"],
        bayes["y_mae_published"],
    ):
        assert pd.isna(absent)
    assert bayes["y_mae"] == 0.4351


def test_a_cell_reads_mean_spread_and_published_value():
    paper, symmetry = rows_of(markdown(table(), (-0.01, 0.02)))
    assert paper == [
        ["Model", "X MAE", "Y MAE", "MI(Z0, Y) [bits]"],
        ["STIB", "0.028 ± 0.002 (0.04)", "0.450 ± 0.004 (0.47)", "0.031 ± 0.010 (0.25)"],
        ["CVAE", "0.470 (0.33)", "–", "1.800 (2.57)"],
        [
            "OWN (ours, not the paper's)",
            "0.021 ± 0.002",
            "0.450 ± 0.004",
            "0.031 ± 0.010",
        ],
        ["Bayes-optimal y", "–", "0.435", "–"],
    ]
    assert [row[0] for row in symmetry[1:]] == [row[0] for row in paper[1:4]]
    column = symmetry[0].index("symmetry error")
    assert [row[column] for row in symmetry[1:]] == ["0.027 ± 0.001", "–", "0.027 ± 0.001"]
    assert symmetry[1][1] == "0.013 ± 0.001"


def test_the_markdown_states_what_no_dependence_reads():
    text = markdown(table(), (-0.0123, 0.0187))
    assert "[-0.012, 0.019] bits" in text
    assert text.endswith("\n")


def test_the_markdown_needs_no_references():
    paper, _ = rows_of(markdown(comparison({"stib": STIB}, {}, PUBLISHED), (0.0, 0.0)))
    assert [row[0] for row in paper] == ["Model", "STIB"]


# ---- Curves ------------------------------------------------------------------------------------


def history(steps, scale=1.0, **columns):
    """Makes the history of two copies, as text: the first reads step, the second 3 · step."""
    return history_frame(
        [
            {
                "step": str(step),
                "seed": str(seed),
                "objective": str(scale * step * (1 + 2 * seed)),
                **{name: str(value) for name, value in columns.items()},
            }
            for step in steps
            for seed in range(2)
        ]
    )


def test_a_history_of_text_becomes_numbers():
    frame = history([1, 2], y=0.5)
    assert frame["step"].tolist() == [1, 1, 2, 2]
    assert frame["objective"].tolist() == [1, 3, 2, 6]
    assert frame["y"].dtype == np.float64


def test_a_curve_is_the_mean_over_the_copies_one_model_after_the_other():
    histories = {"VAE": history([10, 20, 30], y=0.5), "CVAE": history([10, 20], scale=0.1)}
    curves = training_curves(histories, ["objective", "y"])
    assert list(curves.columns) == ["model", "step", "objective", "y"]
    assert curves["model"].tolist() == ["VAE"] * 3 + ["CVAE"] * 2
    assert curves["step"].tolist() == [10, 20, 30, 10, 20]
    assert curves["objective"].tolist() == [20, 40, 60, 2, 4]
    assert curves["y"].tolist()[:3] == [0.5] * 3
    assert curves["y"].isna().tolist() == [False] * 3 + [True] * 2


@pytest.mark.parametrize("rows", [1, 199, 200, 201, 1000])
def test_a_curve_has_at_most_200_rows_evenly_kept_from_first_to_last(rows):
    steps = np.arange(1, rows + 1) * 10
    kept = training_curves({"VAE": history(steps)}, ["objective"])["step"].to_numpy()
    assert len(kept) == min(rows, 200)
    assert kept[0] == 10
    assert kept[-1] == 10 * rows
    if rows > 1:
        gaps = np.diff(kept)
        assert gaps.min() >= 10
        assert gaps.max() - gaps.min() <= 10


def test_curves_are_rounded_so_that_differences_can_be_read():
    curves = training_curves({"VAE": history([1], scale=1 / 3)}, ["objective"])
    assert curves["objective"].tolist() == [0.6667]


# ---- Studies -----------------------------------------------------------------------------------


def test_seeds_are_summarised_as_mean_sd_and_worst_which_is_the_highest():
    seeds = pd.DataFrame({"seed": [0, 1, 2], "x_mae": [1.0, 2.0, 6.0], "y_mae": [0.5, 0.25, 0.0]})
    summary = spread(seeds)
    assert list(summary.columns) == ["seed", "x_mae", "y_mae"]
    assert summary["seed"].tolist() == ["mean", "sd", "worst"]
    assert summary["x_mae"].tolist() == pytest.approx([3, 7**0.5, 6])
    assert summary["y_mae"].tolist() == pytest.approx([0.25, 0.25, 0.5])


# ---- Tasks of one's own ------------------------------------------------------------------------

CONSTANT = {"x_mae": 4.0, "y_mae": 3.0, "mi_z0_y": None}
FOUND = {"x_mae": 0.1, "y_mae": 0.5, "mi_z0_y_sampled": 0.02, "leak_r2": 0.01}
FOUND |= {"reencode_error": 0.1, "mi_z0_y": 0.3}


def test_a_task_without_published_numbers_has_neither_them_nor_what_it_cannot_tell():
    frame = comparison({"stib": FOUND, "own": FOUND}, {"Constant": CONSTANT}, {})
    assert not [column for column in frame if column.endswith("_published")]
    text = markdown(frame, (-0.01, 0.02), standardised=True)
    paper, symmetry = rows_of(text)
    assert paper[1:] == [
        ["STIB", "0.100", "0.500", "0.300"],
        ["OWN", "0.100", "0.500", "0.300"],
        ["Constant", "4.000", "3.000", "–"],
    ]
    assert symmetry[0] == [
        *("Model", "MI, sampled and whitened [bits]", "leak R²", "re-encode error")
    ]
    assert "published" not in text
    assert "paper" not in text
    assert "errors are in standard deviations" in text
    assert "Warning" not in text


def test_a_model_that_found_a_symmetry_has_no_shortcomings():
    assert shortcomings(FOUND, CONSTANT, (-0.01, 0.02)) == []


@pytest.mark.parametrize(
    ("metrics", "said"),
    [
        ({"leak_r2": 0.06}, "leak R² 0.060 > 0.050"),
        ({"mi_z0_y_sampled": 0.08}, "sampled MI 0.080 > 0.070"),
        ({"reencode_error": 0.6}, "re-encode error 0.600 > 0.500"),
        ({"y_mae": 2.9}, "Y MAE 2.900 > 2.850"),
        ({"x_mae": 3.9}, "X MAE 3.900 > 3.800"),
    ],
)
def test_each_shortcoming_is_said_with_its_limit_and_warned_of(metrics, said):
    metrics = {**FOUND, **metrics}
    found = shortcomings(metrics, CONSTANT, (-0.01, 0.02))
    assert found == [said]
    frame = comparison({"stib": metrics}, {"Constant": CONSTANT}, {})
    text = markdown(frame, (-0.01, 0.02), warnings={"STIB": found, "VAE": []})
    assert text.endswith(f"\nWarning: STIB has found no symmetry: {said}.\n")
    assert text.count("Warning") == 1


def test_what_a_model_lacks_is_no_shortcoming():
    metrics = {**FOUND, "y_mae": None, "reencode_error": None}
    assert shortcomings(metrics, CONSTANT, (-0.01, 0.02)) == []
