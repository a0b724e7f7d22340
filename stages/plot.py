"""Draws plots/*.png and plots/training.csv from the evaluations and the training histories."""

import io
from argparse import ArgumentParser

import numpy as np
from matplotlib.figure import Figure

from stages import plain_errors, read_params
from symmetry.artifacts import read_arrays, read_csv, read_dataset, read_metrics, write_bytes
from symmetry.figures import (
    information,
    latent_space,
    most_moving,
    orbits,
    plane_of,
    reconstruction,
    training,
)
from symmetry.tables import history_frame, training_curves

CURVES = {"objective": "objective", "x_mae": "X MAE", "y_mae": "Y MAE"}
OURS = {"stib_flow": "flow", "stib": "dependence"}  # make Z0 independent, each by a term
SPLIT = ("stib_wo_reg", "stib", "stib_flow")  # beside VAE, whose first two latents are drawn
LEAK = "mi_z0_y_sampled"
ARRAYS = ("invariant", "target", "along", "x_hat", "orbits")
COLUMNS = ("step", "seed", "objective", "x_mae")


def main() -> None:
    ArgumentParser(description=__doc__).parse_args()
    params = read_params()
    keys = params.models.given()
    test = read_dataset("data/test.npz")
    colour = test.y[:, 0] if test.t is None else test.t
    evaluations = {key: read_arrays(f"evaluations/{key}.npz", ARRAYS) for key in keys}
    names = test.units.x.names if test.units else ()
    spreads = [f"spread.{name}" for name in names]
    metrics = {key: read_metrics(f"metrics/{key}.json", [LEAK, *spreads]) for key in keys}
    histories = {
        key: history_frame(
            read_csv(
                f"models/{key}/history.csv",
                [*COLUMNS, *((OURS[key], "y_mae") if key in OURS else ())],
            )
        )
        for key in keys
    }
    ours = [key for key in OURS if key in keys]
    plane, columns = params.data.plane, list(range(test.x.shape[1]))[:2]
    if params.data.truth is None and names:  # no plane is known to show the symmetry best
        moves = [metrics[(ours or keys)[0]][spread] for spread in spreads]
        categories = [kind.is_category for kind in test.units.x.kinds] if test.units else []
        for column in np.flatnonzero(categories):  # their values have no order along an axis
            moves[column] = 0.0
        columns = most_moving(moves)
        plane = plane_of(names, columns)
    for key, arrays in evaluations.items():
        x, x_hat = test.x[:, columns], arrays["x_hat"][:, columns]
        shown = [names[column] for column in columns] if names else []
        figure = reconstruction(key.upper(), x, test.y, x_hat, arrays.get("y_hat"), colour, shown)
        write_figure(f"plots/reconstruction_{key}.png", figure)
    codes = {}
    for key in keys:
        invariant, target = evaluations[key]["invariant"], evaluations[key]["target"]
        if key == "vae":
            first, second = np.column_stack([invariant, target]).T[:2]
            codes["VAE (first two latents)"] = first, second
        elif key in SPLIT:
            codes[key.upper()] = evaluations[key]["along"], target[:, 0]
    write_figure("plots/latent_space.png", latent_space(codes, colour))
    baselines = sorted(set(keys) - set(OURS), key=lambda key: metrics[key][LEAK])[:1]
    drawn = [*ours, *baselines]
    kind = "partners" if plane.dots else "orbits"
    named = {key.upper(): evaluations[key][kind] for key in drawn}
    write_figure("plots/orbits.png", orbits(named, plane))
    watched = {key.upper(): (OURS[key], histories[key]) for key in ours}
    write_figure("plots/information.png", information(watched))
    curves = training_curves({k.upper(): one for k, one in histories.items()}, list(CURVES))
    write_bytes("plots/training.csv", curves.to_csv(index=False).encode())
    write_figure("plots/training.png", training(curves, CURVES))


def write_figure(path: str, figure: Figure) -> None:
    buffer = io.BytesIO()
    figure.savefig(buffer, format="png", dpi=120, metadata={"Software": None})
    write_bytes(path, buffer.getvalue())


if __name__ == "__main__":
    with plain_errors():
        main()
