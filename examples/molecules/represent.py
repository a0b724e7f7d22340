"""Learns from training molecules in which directions the properties change: isomers.csv to x.csv.

Writes x.csv, with a molecule's part of the data, and representation.npz, which holds the way from
bags of bonds to x.
"""

__all__ = ["parts_of", "represented", "sensitive_directions"]

import numpy as np
import pandas as pd
from chemistry import Array, features
from numpy.typing import NDArray
from scipy.spatial.distance import cdist

LEAST = 0.02  # standard deviation: a feature that varies less among training molecules tells none
COLUMNS = 12  # of x: chosen, as all constants here, by the error of validation molecules
ROUNDS = 2
WIDTH = 6.0  # of the kernel, in median distances
RIDGE = 1e-4
LOOKED_AT = 2000  # molecules whose gradients are taken
SHARES = {"validation": 0.15, "test": 0.15}
SEED = 0  # of the split


def main() -> None:
    table = pd.read_csv("isomers.csv")
    seen = features(table.filter(regex=r"^b\d+$").to_numpy())
    y = table[["gap", "polarisability"]].to_numpy()
    part = parts_of(table["skeleton"])
    training = part == "train"
    mean, scale = seen[training].mean(0), seen[training].std(0).clip(LEAST)
    standard = (seen - mean) / scale
    goal = (y[training] - y[training].mean(0)) / y[training].std(0)
    weights = sensitive_directions(standard[training], goal, COLUMNS) / scale[:, None]
    x = represented(seen, mean, weights)
    np.savez("representation.npz", mean=mean, weights=weights)
    named = pd.DataFrame(x, columns=[f"x{column + 1}" for column in range(COLUMNS)])
    whole = pd.concat([table[["skeleton", "gap", "polarisability"]], named], axis=1)
    whole.insert(1, "part", part)
    whole.to_csv("x.csv", index=False, float_format="%.9g")
    counts = ", ".join(f"{count} {name}" for name, count in whole["part"].value_counts().items())
    print(f"x.csv: {counts}")


def represented(seen: Array, mean: Array, weights: Array) -> Array:
    """Returns x of features, with shape (n, columns)."""
    x: Array = (seen - mean) @ weights
    return x


def parts_of(skeletons: "pd.Series[str]") -> NDArray[np.str_]:
    """Splits molecules into train, validation and test, all of a skeleton into one."""
    groups, own = np.unique(skeletons, return_inverse=True)
    place = np.random.default_rng(SEED).permutation(len(groups))[own] / len(groups)
    validation, test = SHARES["validation"], SHARES["test"]
    late = np.where(place < validation, "validation", "test")
    return np.where(place < validation + test, late, "train")


def sensitive_directions(seen: Array, y: Array, count: int) -> Array:
    r"""Finds the directions in which y changes, the strongest first, scaled by how much it does.

    A kernel ridge regression f learns y from distances in a metric M, at first the identity, and
    M becomes what its gradients span, ``ROUNDS`` times:

    .. math:: k(a, b) = \exp(-\|a - b\|_M / w), \quad M = \overline{\nabla f\, \nabla f^\top}

    Arguments:
        seen: Standardised features of training rows, with shape (n, d).
        y: Their standardised targets, with shape (n, k).
        count: How many directions to keep.

    Returns:
        The leading eigenvectors of M times the square roots of their eigenvalues, with shape
        (d, count).

    References:
        Mechanism for feature learning in neural networks and backpropagation-free machine learning
        models (Radhakrishnan et al., 2024), https://doi.org/10.1126/science.adi5639
    """
    metric, few = np.eye(seen.shape[1]), slice(0, LOOKED_AT)
    for _ in range(ROUNDS):
        root = _root(metric)
        moved = seen @ root
        apart = cdist(moved, moved)
        width = WIDTH * np.median(apart[few])
        kernel = np.exp(-apart / width)
        told = np.linalg.solve(kernel + RIDGE * np.eye(len(seen)), y)
        # A row has no slope towards itself, where the kernel has its tip.
        slope = kernel[few] / (width * np.maximum(apart[few], 1e-9))
        slope[apart[few] < 1e-9] = 0
        spanned = np.zeros_like(metric)
        for own in told.T:
            pull = slope * own
            gradient = (pull @ moved - pull.sum(1)[:, None] * moved[few]) @ root.T
            spanned += gradient.T @ gradient
        metric = spanned / np.trace(spanned)
    root = _root(metric)[:, :count]
    scaled: Array = root / (seen @ root[:, :1]).std()  # the first column varies by 1
    return scaled


def _root(metric: Array) -> Array:
    values, vectors = np.linalg.eigh(metric)
    root: Array = (vectors * np.sqrt(values.clip(0)))[:, ::-1]
    return root


if __name__ == "__main__":
    main()
