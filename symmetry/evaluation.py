"""Measures a trained model, and the known truth of the paper's task, on a test set."""

__all__ = ["Evaluation", "evaluate", "summarize"]

from collections.abc import Mapping
from dataclasses import dataclass

import numpy as np
import torch
from numpy.typing import NDArray

from symmetry.data import Dataset
from symmetry.estimators import mutual_information_bits
from symmetry.models import Model


@dataclass(frozen=True)
class Evaluation:
    """Holds what the evaluation of a model gives.

    Arguments:
        metrics: The metrics by name, each with shape (S,), or None where a model lacks one.
        arrays: The first copy's ``mean``, ``std``, ``x_hat`` and, where there is one, ``y_hat``,
            with shape (n, ·), for the figures.
    """

    metrics: dict[str, NDArray[np.float64] | None]
    arrays: dict[str, NDArray[np.float32]]


@torch.no_grad()
def evaluate(
    model: Model, dataset: Dataset, *, neighbours: int, generator: torch.Generator
) -> Evaluation:
    r"""Computes the paper's metrics of each copy of a model.

    With the latent mean in place of a sample: ``x_mae`` and ``y_mae`` are
    :math:`\overline{\sum_j |\hat a_j - a_j|}`; ``mi_z0_y`` is I(Z0; Y) in bits by
    :func:`~symmetry.estimators.mutual_information_bits`, for VAE of all its latents. With sampled
    latents: ``objective`` is the model's own loss.

    Arguments:
        model: The model, on any device.
        dataset: The test set.
        neighbours: The number of neighbours of the estimator.
        generator: The source of the noise of the sampled latents.

    Raises:
        ValueError: If the sizes of the data are not those of the model.
    """
    found = (dataset.x.shape[1], dataset.y.shape[1])
    if found != (model.sizes.x, model.sizes.y):
        raise ValueError(
            f"the data have {found[0]} columns of x and {found[1]} of y; the model was trained "
            f"on {model.sizes.x} and {model.sizes.y}"
        )
    device = next(model.parameters()).device
    stack = model.sizes.stack
    x = torch.as_tensor(dataset.x, dtype=torch.float32, device=device).expand(stack, -1, -1)
    y = torch.as_tensor(dataset.y, dtype=torch.float32, device=device).expand(stack, -1, -1)
    code = model.encode(x)
    x_hat = model.decode(code.invariant, model.decoder_target(code.target, y))
    y_hat = model.predict(code.invariant, code.target)
    noise = torch.randn(stack, len(dataset), model.latent_size, generator=generator).to(device)
    objective = model.objective(model.terms(x, y, noise))
    measured = code.mean[..., : model.measured_size].cpu().numpy()
    arrays = {"mean": code.mean, "std": code.std, "x_hat": x_hat, "y_hat": y_hat}
    return Evaluation(
        metrics={
            "x_mae": _mean_absolute_error(x_hat, dataset.x),
            "y_mae": None if y_hat is None else _mean_absolute_error(y_hat, dataset.y),
            "mi_z0_y": np.array(
                [mutual_information_bits(z0, dataset.y, neighbours) for z0 in measured]
            ),
            "objective": objective.double().cpu().numpy(),
        },
        arrays={
            name: array[0].cpu().numpy() for name, array in arrays.items() if array is not None
        },
    )


def summarize(metrics: Mapping[str, NDArray[np.float64] | None]) -> dict[str, float | None]:
    """Reduces metrics with shape (S,) to means and, under ``_std``, standard deviations.

    Both are rounded to four decimals, below the noise of any of them. The standard deviation is
    the sample's, with S − 1; of one copy it is None.
    """
    summary: dict[str, float | None] = {}
    for name, values in metrics.items():
        summary[name] = None if values is None else round(float(values.mean()), 4)
        spread = values is not None and len(values) > 1
        summary[f"{name}_std"] = round(float(values.std(ddof=1)), 4) if spread else None  # type: ignore[union-attr]
    return summary


def _mean_absolute_error(
    estimate: torch.Tensor, truth: NDArray[np.float64]
) -> NDArray[np.float64]:
    errors: NDArray[np.float64] = np.abs(estimate.cpu().numpy() - truth).sum(-1).mean(-1)
    return errors
