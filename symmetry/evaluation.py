"""Measures a trained model on a test set."""

__all__ = ["Evaluation", "coverage", "evaluate", "generalisation_gap", "summarize"]

from collections.abc import Mapping, Sequence
from dataclasses import dataclass

import numpy as np
import torch
from numpy.random import default_rng
from numpy.typing import NDArray
from torch import Tensor

from symmetry.coverage import column_spread, nearest_rows, partner_coverage, random_rows
from symmetry.data import Columns, Dataset
from symmetry.estimators import mutual_information_bits, whiten
from symmetry.kinds import Kind
from symmetry.models import Critics, Model, Sizes
from symmetry.probes import fresh_critic_nats, leak_r2
from symmetry.realism import nearest_distance, new_combinations
from symmetry.referee import Referee
from symmetry.symmetries import REFINE, partners, path, strayed
from symmetry.tasks import Truth
from symmetry.tasks.base import orbit_coverage
from symmetry.verdicts import Coverage, Estimate, Verdict, verdict

COVERED = 100  # rows whose orbits are compared with the true ones,
COVERING = 1000  # by so many partners each
ALONG_ORBITS = 200  # by so many where the true orbits are samples, of several y coarse ones
JUDGED = 2000  # rows whose partners the referee judges,
JUDGING = 20  # so many each
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
            Z0 and Z1), ``along`` (the first principal component of Z0, with shape (n,)),
            ``x_hat`` and, where there is one, ``y_hat``, each with shape (n, ·), and of the first
            rows ``orbits``, lines on which Z1 stays, and ``partners``, with shape
            (points, rows, dim x).
        verdict: What the referee says of the mean over the copies.
    """

    metrics: Metrics
    arrays: dict[str, NDArray[np.float32]]
    verdict: Verdict


@torch.no_grad()
def evaluate(
    model: Model,
    dataset: Dataset,
    truth: Truth | None,
    *,
    neighbours: int,
    critic_steps: int,
    generator: torch.Generator,
    refine: int = REFINE,
    drawn: bool = True,
    training: Dataset | None = None,
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

    Of the learned symmetry, x′ being a partner of x by :func:`~symmetry.symmetries.partners`, by a
    referee that never saw the model, see :mod:`~symmetry.referee`: ``referee_error`` is
    :math:`\overline{|g(x') - g(x)|}` in standard deviations of y, and in the same unit
    ``random_rows_error`` and ``nearest_rows_error`` are what rows give in the place of partners,
    ``plain_regression_error`` is g's own error and ``prediction_error`` the model's.
    ``partner_coverage`` is how partners differ from the rows nearest in predicted y, with
    ``partner_coverage_floor`` for chance; ``strayed_share`` is the share of partners whose
    predicted y is not their row's; ``spread.<name>`` is how far a column moves among partners,
    as a share of its standard deviation. Where columns are held there is no coverage, since the
    rows around differ in these.

    Where y is a class, ``log_loss`` in nats and ``accuracy`` are those of the prediction. Where
    columns hold few values, ``new_combinations_share`` is the share of partners whose categories
    together stand in no training row, and ``row_distance`` their distance to the nearest one, see
    :mod:`~symmetry.realism`; with ``_of_rows`` the same of the test rows.

    Where the truth is known, ``symmetry_error`` is :math:`\overline{|m(x') - m(x)|}`, averaged
    over the levels m too, and ``symmetry_error_decoded`` the same before refinement;
    ``symmetry_coverage`` is :func:`coverage`, or where the true orbits are samples
    :func:`~symmetry.tasks.base.orbit_coverage`, which has a floor; and ``outside_share`` is the
    share of x′ that have left the domain.

    Arguments:
        model: The model, on any device.
        dataset: The test set.
        truth: What is known of its task, or None.
        neighbours: The number of neighbours of the estimator.
        critic_steps: How long the fresh critic is trained.
        generator: The source of all randomness.
        refine: The steps by which partners are refined; 0 for none.
        drawn: Whether figures will be drawn; if not, there are no arrays, which take a third of
            the time.
        training: The training rows, beside which partners with categories are held.

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
    noise = torch.randn(stack, len(dataset), model.noise_size, generator=generator).to(device)
    seen_x, seen_y = model.standardised(x, "x"), model.standardised(y, "y")
    objective = model.objective(model.terms(seen_x, seen_y, noise))
    measured = slice(0, model.measured_size)
    means = _numpy(code.mean[..., measured])
    samples = model.sample(x, noise)[..., measured]
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
        "symmetry_error": None,
        "symmetry_error_decoded": None,
        "symmetry_coverage": None,
        "symmetry_coverage_floor": None,
        "outside_share": None,
    }

    given = y[0]

    def partners_of(first: int, count: int, steps: int = refine) -> Tensor:
        return partners(
            model, rows[:first], count, generator, pool=rows, y=given[:first], refine=steps
        )

    if truth is not None:
        points = _numpy(partners_of(len(rows), 1)[:, 0])
        decoded = _numpy(partners_of(JUDGED, 1, 0)[:, 0])
        m = truth.level(dataset.x)
        metrics["symmetry_error"] = np.abs(truth.level(points) - m).mean((-2, -1))
        strays = np.abs(truth.level(decoded) - m[:JUDGED])
        metrics["symmetry_error_decoded"] = strays.mean((-2, -1))
        if truth.position is not None:
            covering = partners_of(COVERED, COVERING)
            metrics["symmetry_coverage"] = coverage(truth.position(_numpy(covering)))
        elif truth.orbit is not None:
            draw = default_rng(int(torch.randint(2**31, (), generator=generator)))
            covering = partners_of(COVERED, ALONG_ORBITS)
            found_orbits = orbit_coverage(truth, _numpy(covering), dataset.x, draw)
            metrics["symmetry_coverage"] = found_orbits.reading
            metrics["symmetry_coverage_floor"] = np.full(stack, found_orbits.floor)
        metrics["outside_share"] = truth.outside(points).mean(-1)
    moved = partners_of(JUDGED, JUDGING)
    lost = None if y_hat is None else _numpy(strayed(model, rows[:JUDGED], moved)).mean((1, 2))
    realism: Metrics = {}
    mixed = None
    if training is not None and model.discrete is not None and model.units is not None:
        kinds = model.units.x.kinds
        realism, mixed = _realism(_numpy(moved), dataset.x[:JUDGED], training.x, kinds)
    judged, said = _judged(
        dataset, _numpy(moved), y_hat, lost, metrics["leak_r2"], mixed, generator, bool(model.held)
    )
    metrics |= judged
    if model.predicts_class and y_hat is not None:
        metrics |= _class_errors(y_hat, y)
    metrics |= realism
    if model.units is not None:
        metrics |= _errors_of_columns("x_mae", model.units.x, x_hat - x)
        if y_hat is not None:
            metrics |= _errors_of_columns("y_mae", model.units.y, y_hat - y)
        spread = np.array([column_spread(one, dataset.x[:JUDGED]) for one in _numpy(moved)])
        names = model.units.x.names
        metrics |= {f"spread.{name}": spread[:, column] for column, name in enumerate(names)}
    if not drawn:
        return Evaluation(metrics, {}, said)
    arrays = {
        "invariant": code.invariant,
        "target": code.target,
        "along": _first_component(code.invariant),
        "x_hat": x_hat,
        "y_hat": y_hat,
        "orbits": path(model, rows[:ORBITS], ORBIT_POINTS, pool=rows, y=given[:ORBITS]),
        "partners": partners_of(ORBITS, ORBIT_POINTS),
    }
    return Evaluation(
        metrics,
        {name: array[0].cpu().numpy() for name, array in arrays.items() if array is not None},
        said,
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
    noise = torch.randn(model.sizes.stack, count, model.noise_size, generator=generator)
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
    for name, values in sorted(metrics.items(), key=lambda of: "." in of[0]):  # columns last
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


def _class_errors(y_hat: Tensor, y: Tensor) -> Metrics:
    chances, truth = (torch.cat([1 - of.sum(-1, keepdim=True), of], -1) for of in (y_hat, y))
    true = truth.argmax(-1, keepdim=True)
    loss = -chances.gather(-1, true).clamp_min(1e-7).log()
    hits = chances.argmax(-1, keepdim=True) == true
    return {"log_loss": _numpy(loss.mean((1, 2))), "accuracy": _numpy(hits.double().mean((1, 2)))}


def _realism(
    moved: Array, rows: Array, training: Array, kinds: Sequence[Kind]
) -> tuple[Metrics, Estimate | None]:
    # Of partners with shape (S, count, m, d), of which one a row is enough for the distance; and
    # by how much new combinations are more of them than of the rows.
    mixed = None
    metrics: Metrics = {
        "row_distance": np.array(
            [nearest_distance(copy[0], training, kinds).mean() for copy in moved]
        ),
        "row_distance_of_rows": nearest_distance(rows, training, kinds).mean().repeat(len(moved)),
    }
    if any(kind.is_category for kind in kinds):
        new, of_rows = (new_combinations(points, training, kinds) for points in (moved, rows))
        metrics["new_combinations_share"] = new.mean((1, 2))
        metrics["new_combinations_share_of_rows"] = of_rows.mean().repeat(len(moved))
        mixed = Estimate.of(new.mean((0, 1)) - of_rows)
    return metrics, mixed


def _judged(
    dataset: Dataset,
    moved: Array,
    y_hat: Tensor | None,
    lost: Array | None,
    leak: Array | None,
    mixed: Estimate | None,
    generator: torch.Generator,
    held: bool,
) -> tuple[Metrics, Verdict]:
    # What the referee finds of the partners of each copy, with shape (S, count, rows, dim x), and
    # its verdict on their mean.
    draw = default_rng(int(torch.randint(2**31, (), generator=generator)))
    referee = Referee(dataset.x, dataset.y, draw)
    # A model that predicts no y decodes from it: to it y itself is what is to be kept.
    levels = [dataset.y] * len(moved) if y_hat is None else list(_numpy(y_hat))
    copies = []
    for points, level in zip(moved, levels, strict=True):
        figures = {
            "referee_error": referee.error(points),
            "random_rows": referee.error_of_rows(random_rows(len(dataset), JUDGING, draw)),
            "nearest_rows": referee.error_of_rows(nearest_rows(level, JUDGING, draw)),
            "plain_regression": referee.plain_regression(),
            "regression_gain": referee.regression_gain(),
        }
        if y_hat is not None:
            figures["prediction_error"] = referee.prediction_error(level)
            figures["prediction_gain"] = referee.prediction_gain(level)
        copies.append((figures, partner_coverage(points, dataset.x, level, draw)))
    metrics: Metrics = {
        _METRICS[name]: np.array([figures[name].mean for figures, _ in copies])
        for name in copies[0][0]
        if name in _METRICS
    }
    if y_hat is None:
        metrics["prediction_error"] = None
    metrics["partner_coverage"] = np.array([covered.reading for _, covered in copies])
    metrics["partner_coverage_floor"] = np.array([covered.floor for _, covered in copies])
    metrics["strayed_share"] = lost
    readings, floors, excesses = zip(*(covered for _, covered in copies), strict=True)
    if held:  # the rows around differ in what is held, and so do not show how far to spread
        metrics |= {"partner_coverage": None, "partner_coverage_floor": None}
    said = verdict(
        {name: _mean([figures[name] for figures, _ in copies]) for name in copies[0][0]},
        None
        if held
        else Coverage(float(np.mean(readings)), float(np.mean(floors)), _mean(excesses)),
        np.mean([column_spread(points, dataset.x[: points.shape[1]]) for points in moved], 0),
        None if leak is None else float(leak.mean()),
        0.0 if lost is None else float(lost.mean()),
        mixed,
    )
    return metrics, said


_METRICS = {
    "referee_error": "referee_error",
    "random_rows": "random_rows_error",
    "nearest_rows": "nearest_rows_error",
    "plain_regression": "plain_regression_error",
    "prediction_error": "prediction_error",
}


def _mean(estimates: Sequence[Estimate]) -> Estimate:
    # Of copies judged on the same rows, whose standard errors do not average out.
    means, errors = zip(*estimates, strict=True)
    return Estimate(float(np.mean(means)), float(np.mean(errors)))


def _first_component(z0: Tensor) -> Tensor:
    centred = z0 - z0.mean(1, keepdim=True)
    direction = torch.linalg.eigh(centred.mT @ centred).eigenvectors[..., -1:]
    along: Tensor = (centred @ direction)[..., 0]
    return along


def _numpy(tensor: Tensor) -> Array:
    return tensor.detach().cpu().double().numpy()
