"""Learns symmetries from data with the symmetry-transformation information bottleneck.

``SymmetryLearner`` learns from arrays, ``load`` reads a trained model, and
``mutual_information_bits`` measures any two samples; the other names live in the modules. All are
imported at first use, since PyTorch takes a second to load.
"""

__all__ = ["SymmetryLearner", "load", "mutual_information_bits"]

from importlib import import_module
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from symmetry.checkpoints import load
    from symmetry.estimators import mutual_information_bits
    from symmetry.learner import SymmetryLearner

_HOME = {
    "SymmetryLearner": "symmetry.learner",
    "load": "symmetry.checkpoints",
    "mutual_information_bits": "symmetry.estimators",
}


def __getattr__(name: str) -> Any:
    if name in _HOME:
        return getattr(import_module(_HOME[name]), name)
    raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
