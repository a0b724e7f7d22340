"""What is known in closed form on the paper's task, to hold the models against."""

__all__ = ["reference_rows"]

import numpy as np
from numpy.typing import NDArray

from symmetry.data import Dataset, bayes_prediction, invariant
from symmetry.estimators import mutual_information_bits


def reference_rows(dataset: Dataset, neighbours: int) -> dict[str, dict[str, float | None]]:
    """Computes the paper's metrics of what is known in closed form on its task.

    Arguments:
        dataset: The test set of the paper's task.
        neighbours: The number of neighbours of the estimator.

    Returns:
        ``x_mae``, ``y_mae`` and ``mi_z0_y`` by the name of the reference; None where one says
        nothing.
    """
    x, y = dataset.x, dataset.y
    y_mae = _absolute_error(bayes_prediction(x), y)
    return {
        "Constant prediction": {
            "x_mae": _absolute_error(np.median(x, 0), x),
            "y_mae": _absolute_error(np.median(y, 0), y),
            "mi_z0_y": None,
        },
        "Linear invariant x1 - 2 x2": {
            "x_mae": None,
            "y_mae": None,
            "mi_z0_y": mutual_information_bits(x[:, 0] - 2 * x[:, 1], y, neighbours),
        },
        "Exact invariant (oracle)": {
            "x_mae": None,
            "y_mae": None,
            "mi_z0_y": mutual_information_bits(invariant(x), y, neighbours),
        },
        "Bayes-optimal y": {"x_mae": None, "y_mae": y_mae, "mi_z0_y": None},
    }


def _absolute_error(estimate: NDArray[np.float64], truth: NDArray[np.float64]) -> float:
    return float(np.abs(estimate - truth).sum(-1).mean())
