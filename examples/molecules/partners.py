"""Finds other isomers of C₇O₂H₁₀ with the gap and polarisability of a molecule."""

from argparse import ArgumentParser
from pathlib import Path

import numpy as np
import pandas as pd
from chemistry import bag_of_bonds, embedded, features, read_xyz, skeleton
from judge import (
    PROPERTIES,
    nearest,
    partners_of,
    predicted,
    read_isomers,
    supported,
    usual_distance,
)
from represent import represented

from stages import plain_errors
from symmetry.artifacts import read_arrays, write_bytes
from symmetry.checkpoints import load

DRAWN = 30  # times as many partners as are asked for, of which the third with most support


def main() -> None:
    parser = ArgumentParser(
        description=__doc__,
        epilog="Of each isomer stand there its SMILES, its distance to the partner that led to "
        "it, 1 being the median distance of unseen molecules to those learned from; its "
        "properties by DFT, and their change from the molecule's. Of a SMILES in the data these "
        "are by DFT too, of other molecules predicted, and a SMILES gets a geometry by ETKDG and "
        "MMFF94.",
    )
    parser.add_argument("molecule", help="a SMILES, or an xyz file with a geometry in Å")
    parser.add_argument("--count", type=int, default=6, help="how many isomers [6]")
    parser.add_argument("-o", "--output", type=Path, help="csv to write, besides what is printed")
    arguments = parser.parse_args()
    if arguments.count < 1:
        raise ValueError(f"--count is {arguments.count}; allowed: 1 or more")
    given = Path(arguments.molecule)
    isomers = read_isomers()
    if given.suffix == ".xyz":
        smiles, numbers, xyz = read_xyz(given)
    else:
        smiles = skeleton(arguments.molecule)
        numbers = xyz = None
    same = np.flatnonzero(isomers.smiles == smiles)[:1]
    model = load("models/stib_flow/weights.safetensors").alone(0)
    if len(same) and xyz is None:
        x, y, source = isomers.x[same], isomers.y[same], "DFT"
    else:
        numbers, xyz = embedded(smiles) if xyz is None else (numbers, xyz)
        seen = features(bag_of_bonds(numbers, xyz)[None])
        x = represented(seen, **read_arrays("representation.npz", ["mean", "weights"]))
        y, source = predicted(model, x), "predicted"
    everything = np.arange(len(isomers.x))
    drawn = partners_of(model, isomers, x, y, DRAWN * arguments.count)
    chosen = supported(drawn, isomers, DRAWN * arguments.count // 3)
    row = same if len(same) else np.array([-1])
    found, far = nearest(chosen, isomers, everything, row)
    table = pd.DataFrame({"at": found[:, 0], "distance": far[:, 0] / usual_distance(isomers)})
    table = table.sort_values("distance").drop_duplicates("at").head(arguments.count)
    at = table.pop("at").to_numpy()
    table.insert(0, "smiles", isomers.smiles[at])
    for column, name in enumerate(PROPERTIES):
        table[name] = isomers.y[at, column]
        table[f"{name}_change"] = isomers.y[at, column] - y[0, column]
    words = ", ".join(f"{name} {value:.2f}" for name, value in zip(PROPERTIES, y[0], strict=True))
    print(f"{smiles}: {words} ({source})")
    print(table.to_string(index=False, float_format="%.2f"))
    if arguments.output is not None:
        write_bytes(arguments.output, table.to_csv(index=False, float_format="%.6g").encode())


if __name__ == "__main__":
    with plain_errors():
        main()
