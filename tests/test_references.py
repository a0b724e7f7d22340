"""The reference rows of the table on drawn data, whose truth is known."""

import numpy as np
import pytest
from numpy.random import default_rng

from symmetry.references import reference_rows
from symmetry.tasks.spiral import Spiral, spiral


@pytest.fixture(scope="module")
def rows():
    return reference_rows(spiral(10_000, default_rng(0)), Spiral.truth, neighbours=20)


def row_about(rows, word):
    """Finds the row whose printed name holds a word."""
    (row,) = (row for name, row in rows.items() if word in name.lower())
    return row


def test_every_row_has_the_papers_metrics(rows):
    assert {tuple(row) for row in rows.values()} == {("x_mae", "y_mae", "mi_z0_y")}


def test_constant_predictions_read_what_ignorance_costs(rows):
    row = row_about(rows, "constant")
    assert row["x_mae"] == pytest.approx(4.0, abs=0.06)
    assert row["y_mae"] == pytest.approx(3.05, abs=0.06)
    assert row["mi_z0_y"] is None


def test_the_linear_invariant_still_knows_of_y(rows):
    assert 0.26 < row_about(rows, "linear")["mi_z0_y"] < 0.30


def test_the_exact_invariant_knows_nothing_of_y(rows):
    assert abs(row_about(rows, "exact")["mi_z0_y"]) < 0.02


def test_the_bayes_row_is_the_best_possible_prediction_of_y(rows):
    row = row_about(rows, "bayes")
    assert row["y_mae"] == pytest.approx(0.434, abs=0.01)
    assert row["x_mae"] is row["mi_z0_y"] is None


def test_the_neighbours_reach_the_estimator():
    data = spiral(500, default_rng(1))
    few, many = (
        row_about(reference_rows(data, Spiral.truth, k), "linear")["mi_z0_y"] for k in (3, 20)
    )
    assert few != many
    assert np.isfinite([few, many]).all()
