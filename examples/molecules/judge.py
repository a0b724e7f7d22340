"""Holds partners of held-out molecules against real ones, into metrics/isomers.json.

The properties of a partner are taken for those of the nearest real molecule that no model has
seen, by DFT. Row and partner are compared by GFN2-xTB as well, each with its own geometry.
"""

__all__ = [
    "Isomers",
    "nearest",
    "partners_of",
    "predicted",
    "read_isomers",
    "supported",
    "usual_distance",
]

from collections.abc import Callable
from dataclasses import dataclass

import numpy as np
import pandas as pd
import torch
from chemistry import Array, bag_of_bonds, embedded, features
from numpy.typing import NDArray
from represent import represented
from scipy.spatial.distance import cdist
from xtb import gap_and_polarisability

from stages import plain_errors, read_params
from symmetry.artifacts import read_arrays, write_json
from symmetry.checkpoints import load
from symmetry.evaluation import summarize
from symmetry.models import Model
from symmetry.symmetries import partners

JUDGED = 300  # held-out molecules,
COUNT = 6  # with so many partners each,
DRAWN = 12  # or as many of so many, those nearest to a molecule that the model learned from
BY_XTB = 100  # molecules that GFN2-xTB looks at, with their first partner,
REBUILT = 100  # molecules that are predicted from a geometry by RDKit too
PROPERTIES = ("gap", "polarisability")


@dataclass(frozen=True)
class Isomers:
    """Holds all molecules: SMILES without stereo, the part of the data, x, and properties y."""

    smiles: NDArray[np.str_]
    part: NDArray[np.str_]
    x: Array
    y: Array

    def of(self, part: str) -> NDArray[np.intp]:
        """Returns the molecules of a part, in an order that tells nothing."""
        return np.random.default_rng(0).permutation(np.flatnonzero(self.part == part))


def main() -> None:
    isomers = read_isomers()
    params = read_params()
    metrics = {}
    for key in params.models.given():
        for name, values in of_copies(key, lambda model: judged(model, isomers)).items():
            metrics[f"{key}.{name}"] = values
    test = isomers.of("test")[:JUDGED]
    pairs = np.abs(isomers.y[test] - isomers.y[np.roll(test, 1)]).mean(0)
    metrics |= {name: [value] for name, value in named("random_pairs", pairs).items()}
    for measure in (nearest_in_prediction, by_xtb, from_smiles):
        metrics |= of_copies(params.model, lambda model: measure(model, isomers))  # noqa: B023
    write_json("metrics/isomers.json", summarize({k: np.array(v) for k, v in metrics.items()}))


def of_copies(key: str, measure: Callable[[Model], dict[str, float]]) -> dict[str, list[float]]:
    """Measures each copy of a model."""
    model = load(f"models/{key}/weights.safetensors")
    copies = [measure(model.alone(copy)) for copy in range(model.sizes.stack)]
    return {name: [of[name] for of in copies] for name in copies[0]}


def read_isomers() -> Isomers:
    """Reads x.csv."""
    table = pd.read_csv("x.csv")
    return Isomers(
        table["skeleton"].to_numpy(str),
        table["part"].to_numpy(str),
        table.filter(regex=r"^x\d+$").to_numpy(),
        table[[*PROPERTIES]].to_numpy(),
    )


def partners_of(model: Model, isomers: Isomers, x: Array, y: Array, count: int) -> Array:
    """Draws partners of x, with shape (count, n, columns)."""
    rows = [torch.as_tensor(of, dtype=torch.float32) for of in (x, y)]
    pool = torch.as_tensor(isomers.x[isomers.of("validation")], dtype=torch.float32)
    generator = torch.Generator().manual_seed(0)
    found = partners(model, rows[0], count, generator, pool=pool, y=rows[1])
    return found[0].double().numpy()


def supported(drawn: Array, isomers: Isomers, count: int) -> Array:
    """Chooses of each row's partners those nearest to a molecule that the model learned from."""
    known = isomers.x[isomers.part == "train"]
    far = np.stack([cdist(some, known).min(1) for some in drawn])
    order = np.argsort(far, axis=0)[:count]
    return np.take_along_axis(drawn, order[..., None], 0)


def nearest(
    points: Array, isomers: Isomers, among: NDArray[np.intp], rows: NDArray[np.intp]
) -> tuple[NDArray[np.intp], Array]:
    """Finds the molecule nearest to each point, but for the point's own row, and how far it is.

    Distances are those in x, whose columns are scaled by how much the properties change.

    Arguments:
        points: The points, with shape (count, rows, columns).
        isomers: All molecules.
        among: Those to choose from.
        rows: The molecule of each row.
    """
    apart = np.stack([cdist(some, isomers.x[among]) for some in points])
    apart[:, rows[:, None] == among] = np.inf
    place = apart.argmin(-1)
    return among[place], np.take_along_axis(apart, place[..., None], -1)[..., 0]


def usual_distance(isomers: Isomers) -> float:
    """Returns the median distance of held-out molecules to the nearest of those learned from."""
    known = isomers.x[isomers.part == "train"]
    return float(np.median(cdist(isomers.x[isomers.part == "test"], known).min(1)))


def judged(model: Model, isomers: Isomers) -> dict[str, float]:
    """Measures partners as they are drawn, and those with support."""
    test = isomers.of("test")
    rows = test[:JUDGED]
    drawn = partners_of(model, isomers, isomers.x[rows], isomers.y[rows], DRAWN)
    measured = {}
    for name, points in (
        ("drawn", drawn[:COUNT]),
        ("supported", supported(drawn, isomers, COUNT)),
    ):
        found, _ = nearest(points, isomers, test, rows)
        change = np.abs(isomers.y[found] - isomers.y[rows]).mean((0, 1))
        measured |= named(name, change)
        _, far = nearest(points, isomers, np.arange(len(isomers.x)), rows)
        measured[f"{name}.near_share"] = (far <= usual_distance(isomers)).mean()
        measured[f"{name}.different"] = np.mean([len(set(of)) for of in found.T])
    return measured


def nearest_in_prediction(model: Model, isomers: Isomers) -> dict[str, float]:
    """Measures the held-out molecules with the nearest prediction in the place of partners."""
    test = isomers.of("test")
    told = predicted(model, isomers.x[test]) / isomers.y.std(0)
    apart = cdist(told[:JUDGED], told)
    np.fill_diagonal(apart, np.inf)
    found = test[apart.argmin(1)]
    return named("nearest_in_y", np.abs(isomers.y[found] - isomers.y[test[:JUDGED]]).mean(0))


@torch.no_grad()
def predicted(model: Model, x: Array) -> Array:
    """Predicts the properties of x, with shape (n, 2)."""
    y_hat = model.prediction(torch.as_tensor(x, dtype=torch.float32))
    if y_hat is None:
        raise ValueError(f"{model.key} predicts no y")
    return y_hat[0].double().numpy()


def by_xtb(model: Model, isomers: Isomers) -> dict[str, float]:
    """Compares rows and their first partner by GFN2-xTB, and random pairs."""
    numbers, xyz = read_arrays("geometries.npz", ["numbers", "xyz"]).values()
    test = isomers.of("test")
    rows = test[:BY_XTB]
    drawn = partners_of(model, isomers, isomers.x[rows], isomers.y[rows], DRAWN)
    found, _ = nearest(supported(drawn, isomers, 1), isomers, test, rows)
    own, there = (
        np.array([gap_and_polarisability(numbers[one], xyz[one]) for one in some])
        for some in (rows, found[0])
    )
    return named("gfn2", np.abs(there - own).mean(0)) | named(
        "gfn2_random_pairs", np.abs(own - np.roll(own, 1, 0)).mean(0)
    )


def from_smiles(model: Model, isomers: Isomers) -> dict[str, float]:
    """Compares the error from the geometry of the data with that from one that RDKit builds."""
    representation = read_arrays("representation.npz", ["mean", "weights"])
    rows, bags = [], []
    for one in isomers.of("test")[:REBUILT]:
        try:
            bags.append(bag_of_bonds(*embedded(isomers.smiles[one])))
            rows.append(one)
        except ValueError:  # a cage that RDKit cannot build
            continue
    x = represented(features(np.array(bags)), **representation)
    errors = (
        np.abs(predicted(model, of) - isomers.y[rows]).mean(0) for of in (isomers.x[rows], x)
    )
    names = "error_from_data", "error_from_smiles"
    found = {}
    for name, error in zip(names, errors, strict=True):
        found |= named(name, error)
    return found | {"rebuilt_share": len(rows) / REBUILT}


def named(name: str, values: Array) -> dict[str, float]:
    """Names the figures of both properties."""
    return {f"{name}.{of}": float(one) for of, one in zip(PROPERTIES, values, strict=True)}


if __name__ == "__main__":
    with plain_errors():
        main()
