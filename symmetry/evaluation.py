"""Measures a trained model on a test set."""

__all__ = ["Evaluation", "coverage", "evaluate", "generalisation_gap", "summarize"]

from collections.abc import Mapping
from dataclasses import dataclass

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

from symmetry.data import Columns, Dataset
from symmetry.estimators import mutual_information_bits, whiten
from symmetry.models import Critics, Model, Sizes
from symmetry.probes import fresh_critic_nats, leak_r2
from symmetry.symmetries import partners, path
from symmetry.tasks import Truth

COVERED = 100  # rows whose orbits are compared with the true ones,
COVERING = 1000  # by so many partners each
ORBITS = 40  # how many are kept to be drawn
ORBIT_POINTS = 60

Array = NDArray[np.float64]
Metrics = dict[str, Array | None]


@dataclass(frozen=True)
class Evaluation:
    """Holds what the evaluation of a model gives.

    Arguments:
        metrics: The metrics by name, each with shape (S,), or None where a model lacks one.
        arrays: Of the first copy, for the figures: ``invariant`` and ``target`` (the means of
            Z0 and Z1), ``signal_to_noise`` of Z0, ``x_hat`` and, where there is one, ``y_hat``,
            each with shape (n, ·), and of the first rows ``orbits``, along one latent, and
            ``partners``, along all of Z0, with shape (points, rows, dim x).
    """

    metrics: Metrics
    arrays: dict[str, NDArray[np.float32]]


@torch.no_grad()
def evaluate(
    model: Model,
    dataset: Dataset,
    truth: Truth | None,
    *,
    neighbours: int,
    critic_steps: int,
    generator: torch.Generator,
) -> Evaluation:
    r"""Computes the metrics of each copy of a model.

    The paper's, with the latent mean in place of a sample: ``x_mae`` and ``y_mae`` are
    :math:`\overline{\sum_j |\hat a_j - a_j|}`; ``mi_z0_y`` is I(Z0; Y) in bits by
    :func:`~symmetry.estimators.mutual_information_bits` (of all latents for VAE). Of a model with
    units x and y are standardised for all metrics but those of the truth; ``x_mae.<name>`` and
    ``y_mae.<name>`` are then the error of each column in the unit that it came in.

    With sampled latents: ``objective`` is the model's own loss; ``mi_z0_y_sampled`` is I(Z0; Y)
    in bits with both sides whitened, so that no leak hides in a small scale; ``leak_r2`` and
    ``fresh_critic_nats`` are what the observers of :mod:`~symmetry.probes` find.

    Of the learned symmetry, x′ being a partner of x by :func:`~symmetry.symmetries.partners`:
    ``reencode_error`` is :math:`\overline{\sum_j |\hat y_j(x') - \hat y_j(x)|}`. Where the truth
    is known, ``symmetry_error`` is :math:`\overline{|m(x') - m(x)|}`, averaged over the levels m
    too, ``symmetry_coverage`` is :func:`coverage` and ``outside_share`` is the share of x′ that
    have left the domain.

    Arguments:
        model: The model, on any device.
        dataset: The test set.
        truth: What is known of its task, or None.
        neighbours: The number of neighbours of the estimator.
        critic_steps: How long the fresh critic is trained.
        generator: The source of all randomness.

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
    rows = torch.as_tensor(dataset.x, dtype=torch.float32, device=device)
    x = rows.expand(stack, -1, -1)
    y = torch.as_tensor(dataset.y, dtype=torch.float32, device=device).expand(stack, -1, -1)
    code = model.encode(x)
    x_hat = model.decode(code.invariant, model.decoder_target(code.target, y))
    y_hat = model.predict(code.invariant, code.target)
    noise = torch.randn(stack, len(dataset), model.latent_size, generator=generator).to(device)
    seen_x, seen_y = model.standardised(x, "x"), model.standardised(y, "y")
    objective = model.objective(model.terms(seen_x, seen_y, noise))
    measured = slice(0, model.measured_size)
    means = _numpy(code.mean[..., measured])
    samples = (code.mean + code.std * noise)[..., measured]
    moved = partners(model, rows, 1, generator, y=y)[:, 0]
    target = _numpy(seen_y[0]) if model.units else dataset.y  # as exact as it came
    whitened_y = whiten(target)
    metrics: Metrics = {
        "x_mae": _numpy(model.absolute_error(x_hat, x, "x")),
        "y_mae": None if y_hat is None else _numpy(model.absolute_error(y_hat, y, "y")),
        "mi_z0_y": np.array([mutual_information_bits(z0, target, neighbours) for z0 in means]),
        "objective": _numpy(objective),
        "mi_z0_y_sampled": np.array(
            [mutual_information_bits(whiten(z0), whitened_y, neighbours) for z0 in _numpy(samples)]
        ),
        "leak_r2": np.array([leak_r2(z0, target) for z0 in _numpy(samples)]),
        "fresh_critic_nats": _fresh_critic_nats(samples, seen_y, critic_steps, generator),
        "reencode_error": _reencode_error(model, moved, y_hat),
        "symmetry_error": None,
        "symmetry_coverage": None,
        "outside_share": None,
    }
    if truth is not None:
        points = _numpy(moved)
        m = truth.level(dataset.x)
        metrics["symmetry_error"] = np.abs(truth.level(points) - m).mean((-2, -1))
        if truth.position is not None:
            covering = partners(
                model, rows[:COVERED], COVERING, generator, pool=rows, y=y[:, :COVERED]
            )
            metrics["symmetry_coverage"] = coverage(truth.position(_numpy(covering)))
        metrics["outside_share"] = truth.outside(points).mean(-1)
    if model.units is not None:
        metrics |= _errors_of_columns("x_mae", model.units.x, x_hat - x)
        if y_hat is not None:
            metrics |= _errors_of_columns("y_mae", model.units.y, y_hat - y)
    arrays = {
        "invariant": code.invariant,
        "target": code.target,
        "signal_to_noise": code.signal_to_noise[:, : code.invariant_size],
        "x_hat": x_hat,
        "y_hat": y_hat,
        "orbits": path(model, rows[:ORBITS], ORBIT_POINTS, pool=rows, y=y[:, :ORBITS]),
        "partners": partners(
            model, rows[:ORBITS], ORBIT_POINTS, generator, pool=rows, y=y[:, :ORBITS]
        ),
    }
    return Evaluation(
        metrics,
        {name: array[0].cpu().numpy() for name, array in arrays.items() if array is not None},
    )


def coverage(u: Array) -> Array:
    r"""Computes how far partners are from filling the true orbits, 0 for all of them evenly.

    .. math:: \overline{\sup_v |F_i(v) - v|}

    On a true orbit the position u is uniform on [0, 1]. F_i is the distribution of the positions
    of row i's partners; the mean is over rows. Of n partners that are spread evenly by chance it
    reads about :math:`0.87 / \sqrt n`.

    Arguments:
        u: The positions of the partners on their orbits, with shape (..., partners, rows).

    Returns:
        The mean Kolmogorov–Smirnov distance, with shape (...).
    """
    ordered = np.sort(u.clip(0, 1), -2)
    shares = np.linspace(0, 1, u.shape[-2] + 1)[:, None]
    distances = np.maximum(shares[1:] - ordered, ordered - shares[:-1]).max(-2)
    mean: Array = distances.mean(-1)
    return mean


@torch.no_grad()
def generalisation_gap(
    model: Model, training: Dataset, validation: Dataset, generator: torch.Generator
) -> Array:
    """Computes by how much the objective is higher on validation rows than on training rows.

    It is 0 but for chance where nothing was learned by heart. Both sides are as many rows, with
    the same noise.

    Arguments:
        model: A trained model, on any device.
        training: The rows that it was trained on.
        validation: Rows that it was not.
        generator: The source of the noise and of the choice of rows.

    Returns:
        The gap of each copy, with shape (S,).
    """
    device = next(model.parameters()).device
    count = min(len(training), len(validation))
    noise = torch.randn(model.sizes.stack, count, model.latent_size, generator=generator)
    objectives = []
    for dataset in (training, validation):
        rows = torch.randperm(len(dataset), generator=generator)[:count].numpy()
        x, y = (
            torch.as_tensor(side[rows], dtype=torch.float32, device=device).expand(
                model.sizes.stack, -1, -1
            )
            for side in (dataset.x, dataset.y)
        )
        seen_x, seen_y = model.standardised(x, "x"), model.standardised(y, "y")
        objectives.append(model.objective(model.terms(seen_x, seen_y, noise.to(device))))
    return _numpy(objectives[1] - objectives[0])


def summarize(metrics: Mapping[str, Array | None]) -> dict[str, float | None]:
    """Reduces metrics with shape (S,) to means and, under ``_std``, standard deviations.

    Both are rounded, below the noise of any of them: to four decimals, or to four digits where
    the error is that of a column, after whose name it is called, which may be in any unit. The
    standard deviation is the sample's, with S − 1; of one copy it is None.
    """
    summary: dict[str, float | None] = {}
    for name, values in metrics.items():
        mean = spread = None
        if values is not None:
            rounded = _to_digits if "." in name else _to_decimals
            mean = rounded(values.mean())
            spread = rounded(values.std(ddof=1)) if len(values) > 1 else None
        summary[name], summary[f"{name}_std"] = mean, spread
    return summary


def _to_decimals(value: float) -> float:
    return round(float(value), 4)


def _to_digits(value: float) -> float:
    return float(f"{value:.4g}")


def _errors_of_columns(metric: str, columns: Columns, errors: Tensor) -> Metrics:
    means = _numpy(errors.abs().mean(1))  # (S, columns)
    names = enumerate(columns.names)
    return {f"{metric}.{name}": means[:, column] for column, name in names}


def _fresh_critic_nats(z0: Tensor, y: Tensor, steps: int, generator: torch.Generator) -> Array:
    sizes = Sizes(z0.shape[0], 0, y.shape[2], invariant=z0.shape[2], hidden=128, memory=10)
    with torch.enable_grad():
        dependence = fresh_critic_nats(
            Critics(sizes).to(z0.device),
            z0,
            y,
            steps=steps,
            batch_size=256,
            learning_rate=1e-3,
            injectivity_weight=0.01,
            generator=generator,
        )
    return _numpy(dependence)


def _reencode_error(model: Model, moved: Tensor, y_hat: Tensor | None) -> Array | None:
    if y_hat is None:
        return None
    code = model.encode(moved)
    again = model.predict(code.invariant, code.target)
    return None if again is None else _numpy(model.absolute_error(again, y_hat, "y"))


def _numpy(tensor: Tensor) -> Array:
    return tensor.detach().cpu().double().numpy()
