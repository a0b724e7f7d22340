"""Draws molecules beside the real ones nearest to their partners, and the latent space."""

import io

import numpy as np
from chemistry import read_smiles
from judge import DRAWN, Isomers, nearest, partners_of, read_isomers, supported
from matplotlib.figure import Figure
from rdkit.Chem.Draw import rdMolDraw2D

from stages import plain_errors, read_params
from symmetry.artifacts import read_arrays, read_dataset, write_bytes
from symmetry.checkpoints import load
from symmetry.models import Model

ROWS = (0.1, 0.5, 0.9)  # molecules whose gap is greater than that of so many
BESIDE = 6  # molecules
SIZE = 230, 200  # pixels of a molecule


def main() -> None:
    key = read_params().model
    isomers = read_isomers()
    model = load(f"models/{key}/weights.safetensors").alone(0)
    write_bytes("plots/molecules.png", molecules(model, isomers))
    evaluated = read_arrays(f"evaluations/{key}.npz", ["along", "target"])
    y = read_dataset("data/test.npz").y
    buffer = io.BytesIO()
    figure = properties(evaluated["along"], evaluated["target"], y)
    figure.savefig(buffer, format="png", dpi=120, metadata={"Software": None})
    write_bytes("plots/properties.png", buffer.getvalue())


def molecules(model: Model, isomers: Isomers) -> bytes:
    """Draws held-out molecules, each with the real held-out ones nearest to its partners."""
    test = isomers.of("test")
    ordered = test[np.argsort(isomers.y[test, 0])]
    rows = np.array([ordered[round(share * len(test))] for share in ROWS])
    drawn = partners_of(model, isomers, isomers.x[rows], isomers.y[rows], 5 * DRAWN)
    found, far = nearest(supported(drawn, isomers, 3 * DRAWN), isomers, test, rows)
    pictures, words = [], []
    for place, row in enumerate(rows):
        others = list(dict.fromkeys(found[np.argsort(far[:, place]), place].tolist()))[:BESIDE]
        for one in [row, *others]:
            pictures.append(read_smiles(isomers.smiles[one]))
            gap, polarisability = isomers.y[one]
            words.append(f"{gap:.2f} eV, {polarisability:.1f} bohr³")
    columns = 1 + BESIDE
    canvas = rdMolDraw2D.MolDraw2DCairo(SIZE[0] * columns, SIZE[1] * len(rows), *SIZE)
    options = canvas.drawOptions()
    options.includeMetadata = False
    options.legendFontSize = 20
    canvas.DrawMolecules(pictures, legends=words, highlightAtoms=None)
    canvas.FinishDrawing()
    return canvas.GetDrawingText()


def properties(along: np.ndarray, target: np.ndarray, y: np.ndarray) -> Figure:
    """Draws Z0 and Z1 coloured by each property; along Z0 none of them changes."""
    figure = Figure(figsize=(9.5, 4.2), layout="constrained")
    titles = "gap [eV]", "polarisability [bohr³]"
    for column, (axes, title) in enumerate(zip(figure.subplots(1, 2), titles, strict=True)):
        # The direction of Z1 that this property follows.
        slope = np.linalg.lstsq(target - target.mean(0), y[:, column] - y[:, column].mean())[0]
        up = (target - target.mean(0)) @ (slope / np.linalg.norm(slope))
        dots = axes.scatter(along, up, c=y[:, column], s=8, lw=0, cmap="viridis")
        figure.colorbar(dots, ax=axes, label=title)
        axes.set(xlabel="$Z_0$, first component", ylabel=f"$Z_1$, along the {title.split()[0]}")
        arrow = {"arrowstyle": "-|>", "color": "black", "lw": 2}
        axes.annotate("", (0.97, 0.06), (0.55, 0.06), xycoords="axes fraction", arrowprops=arrow)
        axes.annotate("invariant direction", (0.55, 0.08), xycoords="axes fraction", fontsize=8)
    return figure


if __name__ == "__main__":
    with plain_errors():
        main()
