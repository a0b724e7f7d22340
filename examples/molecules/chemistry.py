"""The isomers of C₇O₂H₁₀ as numbers and as pictures: geometries in, arrays and drawings out."""

from collections import Counter
from pathlib import Path

import numpy as np
from numpy.typing import NDArray
from rdkit import Chem
from rdkit.Chem import AllChem, rdDetermineBonds, rdMolDescriptors

Array = NDArray[np.float64]

FORMULA = "C7H10O2"
ATOMS = {1: 10, 6: 7, 8: 2}  # how many there are of each element, by its number
PAIRS = ((1, 1), (1, 6), (1, 8), (6, 6), (6, 8), (8, 8))
PLACES = np.geomspace(0.9, 9.0, 34)  # Å: of the smeared distances, each a fifteenth further
CONFORMERS = 20  # of which the one of lowest energy is taken
SEED = 0  # of RDKit's embedding, so that a SMILES has one geometry


def bag_of_bonds(numbers: Array, xyz: Array) -> Array:
    r"""Computes the sorted pair terms of a molecule, bag by bag, with shape (171,).

    .. math:: \frac{Z_i Z_j}{|r_i - r_j|}

    Arguments:
        numbers: The atomic numbers Z, with shape (atoms,).
        xyz: The positions r [Å], with shape (atoms, 3).

    Raises:
        ValueError: If the molecule is no isomer of C₇O₂H₁₀.

    References:
        Machine Learning Predictions of Molecular Properties: Accurate Many-Body Potentials and
        Nonlocality in Chemical Space (Hansen et al., 2015),
        https://doi.org/10.1021/acs.jpclett.5b00831
    """
    found = Counter(map(int, numbers))
    if found != ATOMS:
        signs = Chem.GetPeriodicTable().GetElementSymbol
        words = "".join(f"{signs(z)}{count}" for z, count in sorted(found.items()))
        raise ValueError(
            f"the molecule is {words}; allowed: isomers of {FORMULA}, which the model learned from"
        )
    first, second = np.triu_indices(len(numbers), 1)
    low = np.minimum(numbers[first], numbers[second])
    high = np.maximum(numbers[first], numbers[second])
    terms = low * high / np.linalg.norm(xyz[first] - xyz[second], axis=1)
    bags = [np.sort(terms[(low == a) & (high == b)])[::-1] for a, b in PAIRS]
    return np.concatenate(bags)


def features(bags: Array) -> Array:
    r"""Computes what the representation is linear in: the bags, and their smeared distances.

    .. math:: \sum_{r \in \mathrm{bag}} \exp\Bigl(-\frac{(\ln r - \ln p)^2}{2 \delta^2}\Bigr)

    p are the places, δ is their distance in ln r. A sum over a bag tells how many double bonds
    there are; a sorted term does so by a jump.

    Arguments:
        bags: Bags of bonds, with shape (n, 171).

    Returns:
        The features, with shape (n, 171 + 6 · places).
    """
    places = np.log(PLACES)
    width = places[1] - places[0]
    sums, start = [], 0
    for a, b in PAIRS:
        size = ATOMS[a] * (ATOMS[a] - 1) // 2 if a == b else ATOMS[a] * ATOMS[b]
        apart = np.log(a * b / bags[:, start : start + size])
        sums.append(np.exp(-(((apart[..., None] - places) / width) ** 2) / 2).sum(1))
        start += size
    return np.concatenate([bags, *sums], 1)


def skeleton(smiles: str) -> str:
    """Writes a SMILES in RDKit's canonical way and without stereo, one for all stereo-isomers.

    Raises:
        ValueError: If RDKit cannot read it.
    """
    return Chem.MolToSmiles(read_smiles(smiles), isomericSmiles=False)


def read_smiles(smiles: str) -> Chem.Mol:
    """Reads a SMILES.

    Raises:
        ValueError: If RDKit cannot read it.
    """
    molecule = Chem.MolFromSmiles(smiles)
    if molecule is None:
        raise ValueError(f"{smiles!r} is no SMILES that RDKit can read")
    return molecule


def embedded(smiles: str) -> tuple[Array, Array]:
    """Builds a geometry: of twenty conformers by ETKDG the lowest after MMFF94.

    Returns:
        The atomic numbers, with shape (atoms,), and the positions [Å], with shape (atoms, 3).

    Raises:
        ValueError: If RDKit cannot read the SMILES, or finds no geometry.
    """
    molecule = Chem.AddHs(read_smiles(smiles))
    formula = rdMolDescriptors.CalcMolFormula(molecule)
    if formula != FORMULA:
        raise ValueError(
            f"{smiles} is {formula}; allowed: isomers of {FORMULA}, which the model learned from"
        )
    settings = AllChem.ETKDGv3()
    settings.randomSeed = SEED
    found = list(AllChem.EmbedMultipleConfs(molecule, CONFORMERS, settings))
    if not found:
        raise ValueError(f"RDKit finds no geometry of {smiles}; give one, as an xyz file")
    energies = [energy for _, energy in AllChem.MMFFOptimizeMoleculeConfs(molecule, maxIters=2000)]
    lowest = molecule.GetConformer(found[int(np.argmin(energies))])
    numbers = np.array([atom.GetAtomicNum() for atom in molecule.GetAtoms()], float)
    return numbers, np.asarray(lowest.GetPositions())


def read_xyz(path: str | Path) -> tuple[str, Array, Array]:
    """Reads the SMILES, by RDKit's perception of bonds, and the geometry of an xyz file.

    Raises:
        OSError: If there is no such file.
        ValueError: If the file is no xyz, or its atoms form no neutral molecule.
    """
    text = Path(path).read_text()
    try:
        if (molecule := Chem.MolFromXYZBlock(text)) is None:
            raise ValueError("not so many lines of a sign and three numbers as its first one says")
        rdDetermineBonds.DetermineBonds(molecule, charge=0)
    except (RuntimeError, ValueError) as error:
        raise ValueError(f"{path} holds no xyz of a neutral molecule: {error}") from None
    numbers = np.array([atom.GetAtomicNum() for atom in molecule.GetAtoms()], float)
    smiles = Chem.MolToSmiles(Chem.RemoveHs(molecule), isomericSmiles=False)
    return smiles, numbers, np.asarray(molecule.GetConformer().GetPositions())
