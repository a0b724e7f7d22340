"""Models, and trainings under way, as files that carry all that rebuilds them."""

__all__ = ["History", "load", "load_state", "save", "save_state"]

import json
from collections.abc import Mapping
from dataclasses import asdict
from pathlib import Path

import torch
from torch import Tensor

from symmetry.artifacts import read_tensors, write_tensors
from symmetry.data import Units
from symmetry.models import MODELS, Model, Sizes

History = list[dict[str, float]]
"""What was measured at each validation of each seed."""


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
        units = Units.of(json.loads(metadata["units"])) if "units" in metadata else None
        model = MODELS[metadata["model"]](sizes, json.loads(metadata["weights"]), units)
        model.load_state_dict({name: torch.from_numpy(array) for name, array in tensors.items()})
    except (KeyError, TypeError, ValueError, RuntimeError) as error:
        raise ValueError(f"{path} does not describe a model: {error}") from None
    return model.requires_grad_(False).eval()


def save_state(
    path: str | Path, state: Mapping[str, Tensor], history: History, fingerprint: str
) -> None:
    """Saves a training under way.

    Arguments:
        path: The file to write.
        state: What the training goes on from.
        history: What was measured so far.
        fingerprint: Of all that the training depends on: code, params, data.
    """
    tensors = {name: value.detach().cpu().numpy() for name, value in state.items()}
    write_tensors(path, tensors, {"fingerprint": fingerprint, "history": json.dumps(history)})


def load_state(path: str | Path, fingerprint: str) -> tuple[dict[str, Tensor], History]:
    """Loads a training under way that :func:`save_state` wrote.

    Raises:
        FileNotFoundError: If there is none.
        ValueError: If the file is damaged, or is of other code, params or data.
    """
    tensors, metadata = read_tensors(path)
    if metadata.get("fingerprint") != fingerprint or "history" not in metadata:
        raise ValueError(f"{path} is of other code, params or data")
    state = {name: torch.from_numpy(array) for name, array in tensors.items()}
    return state, json.loads(metadata["history"])
