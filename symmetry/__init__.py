"""Learns symmetries from data with the symmetry-transformation information bottleneck.

``SymmetryLearner`` learns from arrays, ``load`` reads a trained model, and
``mutual_information_bits`` measures any two samples; the other names live in the modules. All are
imported at first use, since PyTorch takes a second to load.
"""

__all__ = ["SymmetryLearner", "__version__", "load", "mutual_information_bits"]

import os
from importlib import import_module
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from symmetry.checkpoints import load
    from symmetry.estimators import mutual_information_bits
    from symmetry.learner import SymmetryLearner

__version__ = "0.1.0"

# Read once, when PyTorch loads. Waiting threads of OpenMP else spin: two trainings at once on two
# cores then take ninety times as long as one. With 3,000 rounds they take as long as one after the
# other; 1,000 make one alone slower by a tenth to a fifth. What the user has set wins.
if not {"GOMP_SPINCOUNT", "OMP_WAIT_POLICY"} & set(os.environ):
    os.environ["GOMP_SPINCOUNT"] = "3000"

_HOME = {
    "SymmetryLearner": "symmetry.learner",
    "load": "symmetry.checkpoints",
    "mutual_information_bits": "symmetry.estimators",
}


def __getattr__(name: str) -> Any:
    if name in _HOME:
        return getattr(import_module(_HOME[name]), name)
    raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
