"""Exports the isomers of C₇O₂H₁₀ in QM9 from qm9pack to isomers.csv and geometries.npz.

The data are those of Ramakrishnan et al. 2014, https://doi.org/10.1038/sdata.2014.22.
"""

import ast
from importlib.util import find_spec
from pathlib import Path

import numpy as np
import pandas as pd
from chemistry import bag_of_bonds, skeleton
from rdkit import Chem

EV = 27.211386  # in a hartree
COLUMNS = ["SMILES", "Stoichiometry", "Elements", "XYZ_Ang"]
PROPERTIES = ["HOMO_LUMO_gap_au", "Polarizability_bohr3"]
# The files are read as they are: the package's own reader needs an old setuptools.
FOLDER = Path(find_spec("qm9pack").submodule_search_locations[0], "data")

pieces = [
    pd.read_csv(path, usecols=[*COLUMNS, *PROPERTIES])
    for path in sorted(FOLDER.glob("qm9_part*.csv"))
]
everything = pd.concat(pieces, ignore_index=True)
ours = everything[everything["Stoichiometry"] == "[10,7,0,2,0]"]  # of H, C, N, O and F
number = Chem.GetPeriodicTable().GetAtomicNumber
numbers = np.array([[number(sign) for sign in ast.literal_eval(row)] for row in ours["Elements"]])
xyz = np.array([ast.literal_eval(row) for row in ours["XYZ_Ang"]])
bags = np.array([bag_of_bonds(*one) for one in zip(numbers, xyz, strict=True)])
table = pd.DataFrame(
    {
        "smiles": ours["SMILES"].to_numpy(),
        "skeleton": [skeleton(smiles) for smiles in ours["SMILES"]],
        "gap": ours["HOMO_LUMO_gap_au"].to_numpy() * EV,
        "polarisability": ours["Polarizability_bohr3"].to_numpy(),
    }
)
names = [f"b{column + 1}" for column in range(bags.shape[1])]
table = pd.concat([table, pd.DataFrame(bags, columns=names)], axis=1)
table.to_csv("isomers.csv", index=False, float_format="%.6g")
np.savez("geometries.npz", numbers=numbers, xyz=xyz)
print(f"isomers.csv: {len(table)} molecules of {table['skeleton'].nunique()} skeletons")
