"""The models of the paper in one shape: encode, decode, predict, and the terms of a loss."""

__all__ = [
    "CVAE",
    "CVIB",
    "MODELS",
    "STIB",
    "VAE",
    "Code",
    "Critics",
    "Model",
    "Sizes",
    "StibFlow",
    "StibWithoutRegularizer",
    "Turn",
]

from symmetry.models.base import Code, Model, Sizes, Turn
from symmetry.models.cvae import CVAE, CVIB
from symmetry.models.flow import StibFlow
from symmetry.models.stib import STIB, Critics, StibWithoutRegularizer
from symmetry.models.vae import VAE

MODELS: dict[str, type[Model]] = {
    model.key: model for model in (VAE, StibWithoutRegularizer, CVAE, CVIB, STIB, StibFlow)
}
