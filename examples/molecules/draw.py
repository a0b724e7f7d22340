"""Draws molecules beside the real ones nearest to their partners, and the latent space."""

import io

import numpy as np
from chemistry import Array, read_smiles
from judge import DRAWN, Isomers, nearest, partners_of, read_isomers, supported
from matplotlib.figure import Figure
from matplotlib.image import imread
from matplotlib.patches import Rectangle
from numpy.typing import NDArray
from rdkit.Chem.Draw import rdMolDraw2D

from stages import plain_errors, read_params
from symmetry.artifacts import read_arrays, read_dataset, write_bytes
from symmetry.checkpoints import load
from symmetry.models import Model

ROWS = (0.1, 0.5, 0.9)  # molecules whose gap is greater than that of so many
BESIDE = 6  # molecules
SIZE = 460, 360  # pixels of a molecule,
BOND = 60  # and of its bonds, unless it is too large


def main() -> None:
    key = read_params().model
    isomers = read_isomers()
    model = load(f"models/{key}/weights.safetensors").alone(0)
    write_figure("plots/molecules.png", molecules(isomers, *chosen(model, isomers)))
    evaluated = read_arrays(f"evaluations/{key}.npz", ["along", "target"])
    y = read_dataset("data/test.npz").y
    figure = properties(evaluated["along"], evaluated["target"], y)
    write_figure("plots/properties.png", figure)


def chosen(model: Model, isomers: Isomers) -> tuple[NDArray[np.intp], list[list[int]]]:
    """Chooses held-out molecules, and for each the held-out ones nearest to its partners."""
    test = isomers.of("test")
    ordered = test[np.argsort(isomers.y[test, 0])]
    rows = np.array([ordered[round(share * len(test))] for share in ROWS])
    drawn = partners_of(model, isomers, isomers.x[rows], isomers.y[rows], 5 * DRAWN)
    found, far = nearest(supported(drawn, isomers, 3 * DRAWN), isomers, test, rows)
    others = [
        list(dict.fromkeys(found[np.argsort(far[:, place]), place].tolist()))[:BESIDE]
        for place in range(len(rows))
    ]
    return rows, others


def molecules(isomers: Isomers, rows: NDArray[np.intp], others: list[list[int]]) -> Figure:
    """Draws molecules, framed, and right of each those with its properties."""
    figure = Figure(figsize=(2 * (1 + BESIDE), 1.9 * len(rows)), layout="constrained")
    grid = figure.subplots(len(rows), 1 + BESIDE, squeeze=False)
    for axes in grid.flat:
        axes.axis("off")
    for line, row, beside in zip(grid, rows, others, strict=True):
        for axes, one in zip(line, [row, *beside], strict=False):
            gap, polarisability = isomers.y[one]
            axes.imshow(picture(isomers.smiles[one]))
            axes.set_title(f"{gap:.2f} eV, {polarisability:.1f} bohr³", y=-0.22, fontsize=10)
        frame = {"fill": False, "ec": "C0", "lw": 2, "transform": line[0].transAxes}
        line[0].add_patch(Rectangle((0, 0), 1, 1, clip_on=False, **frame))
    return figure


def picture(smiles: str) -> NDArray[np.float32]:
    """Draws a molecule, with shape (height, width, colours)."""
    canvas = rdMolDraw2D.MolDraw2DCairo(*SIZE)
    canvas.drawOptions().fixedBondLength = BOND
    canvas.DrawMolecule(read_smiles(smiles))
    canvas.FinishDrawing()
    return imread(io.BytesIO(canvas.GetDrawingText()))


def write_figure(path: str, figure: Figure) -> None:
    buffer = io.BytesIO()
    figure.savefig(buffer, format="png", dpi=120, metadata={"Software": None})
    write_bytes(path, buffer.getvalue())


def properties(along: Array, target: Array, y: Array) -> Figure:
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
