"""Models as weight files that carry all that rebuilds them."""

__all__ = ["load", "save"]

import json
from dataclasses import asdict
from pathlib import Path

import torch

from symmetry.artifacts import read_tensors, write_tensors
from symmetry.data import Units
from symmetry.models import MODELS, Model, Sizes


def save(path: str | Path, model: Model) -> None:
    """Saves a model: its tensors; its key, sizes, loss weights and units as metadata."""
    tensors = {name: value.cpu().numpy() for name, value in model.state_dict().items()}
    metadata = {
        "model": model.key,
        "sizes": json.dumps(asdict(model.sizes)),
        "weights": json.dumps(model.weights),
    }
    if model.units is not None:
        metadata["units"] = json.dumps(asdict(model.units))
    write_tensors(path, tensors, metadata)


def load(path: str | Path) -> Model:
    """Loads a model that :func:`save` wrote, on the CPU.

    Raises:
        ValueError: If the file is not one of a model, or its tensors do not fit its sizes.
    """
    tensors, metadata = read_tensors(path)
    if metadata.get("model") not in MODELS:
        raise ValueError(
            f"{path} holds the model {metadata.get('model')!r}; known are {', '.join(MODELS)}"
        )
    try:
        sizes = Sizes(**json.loads(metadata["sizes"]))
        units = Units.from_json(json.loads(metadata["units"])) if "units" in metadata else None
        model = MODELS[metadata["model"]](sizes, json.loads(metadata["weights"]), units)
        model.load_state_dict({name: torch.from_numpy(array) for name, array in tensors.items()})
    except (KeyError, TypeError, ValueError, RuntimeError) as error:
        raise ValueError(f"{path} does not describe a model: {error}") from None
    return model.requires_grad_(False).eval()
