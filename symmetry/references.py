"""What is known of a task in closed form, to hold the models against."""

__all__ = ["reference_rows"]

import numpy as np

from symmetry.data import Array, Columns, Dataset
from symmetry.estimators import mutual_information_bits
from symmetry.tasks import Truth


def reference_rows(
    dataset: Dataset, truth: Truth | None, neighbours: int
) -> dict[str, dict[str, float | None]]:
    """Computes the paper's metrics of a constant prediction and of what is known of the task.

    As in :func:`~symmetry.evaluation.evaluate`, errors are in standard deviations where the data
    have units.

    Arguments:
        dataset: The test set.
        truth: What is known of its task, or None.
        neighbours: The number of neighbours of the estimator.

    Returns:
        ``x_mae``, ``y_mae`` and ``mi_z0_y`` by the name of the reference; None where one says
        nothing.
    """
    x, y, units = dataset.x, dataset.y, dataset.units
    x_columns, y_columns = (None, None) if units is None else (units.x, units.y)
    rows: dict[str, dict[str, float | None]] = {
        "Constant prediction": {
            "x_mae": _absolute_error(np.median(x, 0), x, x_columns),
            "y_mae": _absolute_error(np.median(y, 0), y, y_columns),
            "mi_z0_y": None,
        }
    }
    if truth is None:
        return rows
    seen = y if y_columns is None else (y - y_columns.mean) / y_columns.std
    invariants = dict(truth.invariants)
    if truth.position is not None:
        invariants["Exact invariant (oracle)"] = truth.position
    for name, invariant in invariants.items():
        information = mutual_information_bits(invariant(x), seen, neighbours)
        rows[name] = {"x_mae": None, "y_mae": None, "mi_z0_y": information}
    y_mae = _absolute_error(truth.bayes_prediction(x), y, y_columns)
    rows["Bayes-optimal y"] = {"x_mae": None, "y_mae": y_mae, "mi_z0_y": None}
    return rows


def _absolute_error(estimate: Array, truth: Array, columns: Columns | None) -> float:
    scale = 1.0 if columns is None else np.array(columns.std)
    return float(np.abs((estimate - truth) / scale).sum(-1).mean())
