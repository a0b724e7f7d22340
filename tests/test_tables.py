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
    assert set(PUBLISHED) == set(MODELS) - {"stib_flow"}
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
    paper, symmetry, _ = rows_of(markdown(table(), (-0.01, 0.02)))
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
    paper, *_ = rows_of(markdown(comparison({"stib": STIB}, {}, PUBLISHED), (0.0, 0.0)))
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
FOUND = {"x_mae": 0.1, "y_mae": 0.5, "mi_z0_y_sampled": 0.02, "leak_r2": 0.01, "mi_z0_y": 0.3}
FOUND |= {"referee_error": 0.04, "referee_error_std": 0.01, "random_rows_error": 1.1}
FOUND |= {"nearest_rows_error": 0.06, "plain_regression_error": 0.08, "prediction_error": 0.07}
FOUND |= {"partner_coverage": 0.2, "partner_coverage_floor": 0.19, "strayed_share": 0.0}


def test_a_task_without_published_numbers_has_neither_them_nor_what_it_cannot_tell():
    frame = comparison({"stib": FOUND, "own": FOUND}, {"Constant": CONSTANT}, {})
    assert not [column for column in frame if column.endswith("_published")]
    text = markdown(frame, (-0.01, 0.02), standardised=True)
    paper, symmetry, _ = rows_of(text)
    assert paper[1:] == [
        ["STIB", "0.100", "0.500", "0.300"],
        ["OWN", "0.100", "0.500", "0.300"],
        ["Constant", "4.000", "3.000", "–"],
    ]
    assert symmetry[0] == ["Model", "MI, sampled and whitened [bits]", "leak R²"]
    assert "published" not in text
    assert "paper" not in text
    assert "errors are in standard deviations" in text
    assert "symmetry found" not in text


# ---- What the referee says ---------------------------------------------------------------------


def test_what_partners_are_worth_stands_beside_what_costs_nothing():
    lost = {**FOUND, "prediction_error": None, "partner_coverage": None}
    frame = comparison({"stib": FOUND, "own": lost}, {"Constant": CONSTANT}, {})
    *_, worth = rows_of(markdown(frame, (0.0, 0.0)))
    assert worth[0] == ["", "STIB", "OWN"]  # no reference has partners
    cells = {name: (stib, own) for name, stib, own in worth[1:]}
    assert cells["partners"] == ("0.040 ± 0.010", "0.040 ± 0.010")
    assert cells["random rows"] == ("1.100", "1.100")
    assert cells["nearest rows in predicted y"] == ("0.060", "0.060")
    assert cells["error of a plain regression"] == ("0.080", "0.080")
    assert cells["error of the model's ŷ"] == ("0.070", "–")
    assert cells["coverage of partners (KS)"] == ("0.200", "–")
    assert cells["its floor, by chance"] == ("0.190", "0.190")
    assert cells["share astray"] == ("0.000", "0.000")


def test_the_verdict_on_each_model_comes_first():
    frame = comparison({"stib": FOUND, "own": FOUND}, {}, {})
    verdicts = {"STIB": "Symmetry found.", "OWN": "Symmetry not found: nothing moves."}
    text = markdown(frame, (0.0, 0.0), verdicts=verdicts)
    assert text.startswith(
        "Is a symmetry found?\n\n- **STIB: Symmetry found.**\n"
        "- **OWN: Symmetry not found: nothing moves.**\n\n|"
    )


def test_columns_of_x_stand_by_how_far_they_move_and_no_more_than_twenty():
    frame = comparison({"stib": FOUND, "own": FOUND}, {}, {})
    few = {"STIB": {"a": 0.1, "b": 0.5}, "OWN": {"a": 0.9, "b": 0.25}}
    text = markdown(frame, (0.0, 0.0), spreads=few)
    *_, spreads = rows_of(text)
    assert spreads == [["column", "STIB", "OWN"], ["a", "0.10", "0.90"], ["b", "0.50", "0.25"]]
    assert "more columns" not in text
    many = {"STIB": {f"c{number}": number / 100 for number in range(120)}}
    text = markdown(frame, (0.0, 0.0), spreads=many)
    *_, spreads = rows_of(text)
    assert [row[0] for row in spreads[1:]] == [f"c{number}" for number in range(119, 99, -1)]
    assert "100 more columns move less" in text


def test_without_named_columns_there_is_no_table_of_them():
    frame = comparison({"stib": FOUND}, {}, {})
    assert len(rows_of(markdown(frame, (0.0, 0.0), spreads={"STIB": {}}))) == 3
