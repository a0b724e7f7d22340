"""Draws plots/*.png and plots/training.csv from the evaluations and the training histories."""

import io
from argparse import ArgumentParser

from matplotlib.figure import Figure

from stages import plain_errors
from symmetry.artifacts import read_arrays, read_csv, read_dataset, write_bytes
from symmetry.figures import latent_space, reconstruction, strongest_latent, training
from symmetry.params import ModelsParams
from symmetry.tables import training_curves

CURVES = {"objective": "objective (validation)", "x": "squared error of x", "y": "... of y"}


def main() -> None:
    ArgumentParser(description=__doc__).parse_args()
    keys = list(ModelsParams.model_fields)
    test = read_dataset("data/test.npz")
    colour = test.y[:, 0] if test.t is None else test.t
    evaluations = {key: read_arrays(f"evaluations/{key}.npz") for key in keys}
    for key, arrays in evaluations.items():
        figure = reconstruction(
            key.upper(), test.x, test.y, arrays["x_hat"], arrays.get("y_hat"), colour
        )
        write_figure(f"plots/reconstruction_{key}.png", figure)
    codes = {"VAE (first two latents)": tuple(evaluations["vae"]["mean"].T[:2])}
    for key in ("stib_wo_reg", "stib"):
        mean, std = evaluations[key]["mean"], evaluations[key]["std"]
        invariant = strongest_latent(mean[:, :-1], std[:, :-1])
        codes[key.upper()] = mean[:, invariant], mean[:, -1]
    write_figure("plots/latent_space.png", latent_space(codes, colour))
    histories = {key.upper(): read_csv(f"models/{key}/history.csv") for key in keys}
    curves = training_curves(histories, list(CURVES))
    write_bytes("plots/training.csv", curves.to_csv(index=False).encode())
    write_figure("plots/training.png", training(curves, CURVES))


def write_figure(path: str, figure: Figure) -> None:
    buffer = io.BytesIO()
    figure.savefig(buffer, format="png", dpi=120, metadata={"Software": None})
    write_bytes(path, buffer.getvalue())


if __name__ == "__main__":
    with plain_errors():
        main()
