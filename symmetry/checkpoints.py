"""Models, and trainings under way, as files that carry all that rebuilds them."""

__all__ = ["History", "described", "load", "load_state", "rebuilt", "save", "save_state"]

import json
import math
import reprlib
import textwrap
from collections.abc import Mapping
from dataclasses import asdict
from pathlib import Path
from typing import Any

import torch
from torch import Tensor

from symmetry.artifacts import Arrays, read_tensors, write_tensors
from symmetry.data import Units
from symmetry.models import MODELS, Model, Sizes

History = list[dict[str, float]]
"""What was measured at each validation of each seed."""


def save(path: str | Path, model: Model) -> None:
    """Saves a model as :func:`described`."""
    write_tensors(path, *described(model))


def load(path: str | Path) -> Model:
    """Loads a model that :func:`save` wrote, on the CPU.

    Raises:
        ValueError: As :func:`rebuilt`, or if it is not a safetensors file.
    """
    return rebuilt(path, *read_tensors(path))


def described(model: Model) -> tuple[Arrays, dict[str, str]]:
    """Lists a model's tensors and, as metadata, its key, sizes, weights, units and range."""
    tensors = {name: value.cpu().numpy() for name, value in model.state_dict().items()}
    metadata = {
        "model": model.key,
        "sizes": json.dumps(asdict(model.sizes)),
        "weights": json.dumps(model.weights),
        "range": json.dumps([model.low.tolist(), model.high.tolist()]),
    }
    if model.units is not None:
        metadata["units"] = json.dumps(asdict(model.units))
    return tensors, metadata


def rebuilt(path: str | Path, tensors: Arrays, metadata: Mapping[str, str]) -> Model:
    """Rebuilds a model, on the CPU, from what :func:`described` lists and a file held.

    Raises:
        ValueError: If the file is not one of a model, or its tensors do not fit its sizes, are of
            another type or not finite.
    """
    if metadata.get("model") not in MODELS:
        raise ValueError(
            f"{path} holds the model {metadata.get('model')!r}; known are {', '.join(MODELS)}"
        )
    try:
        sizes = Sizes(**json.loads(metadata["sizes"]))
        weights = json.loads(metadata["weights"])
        units = Units.from_json(json.loads(metadata["units"])) if "units" in metadata else None
        # No tensor has a side of 2³¹; a weight may be any number that params.yaml may hold.
        _check_numbers({"noise": sizes.noise}, (int, float), below=math.inf)
        _check_numbers({"target_from_y": sizes.target_from_y}, (bool,), below=2)
        whole = {k: v for k, v in asdict(sizes).items() if k not in ("noise", "target_from_y")}
        _check_numbers(whole, (int,), below=2**31)
        _check_numbers(weights, (int, float), below=math.inf)
        state = {name: torch.from_numpy(array) for name, array in tensors.items()}
        # What the file claims costs no memory on this device until the tensors bear it out.
        with torch.device("meta"):
            claimed = MODELS[metadata["model"]](sizes, weights, units)
        _check_tensors(state, claimed)
        model = MODELS[metadata["model"]](sizes, weights, units)
        model.load_state_dict(state)
        _restore_range(model, json.loads(metadata["range"]))
    except Exception as error:  # whichever part of the building it breaks
        reason = textwrap.shorten(str(error), 300)
        raise ValueError(f"{path} does not describe a model: {reason}") from None
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


def _check_numbers(values: Mapping[str, Any], types: tuple[type, ...], below: float) -> None:
    for name, value in values.items():
        if type(value) not in types or not 0 <= value < below:  # the type of true is bool
            allowed = " or ".join(kind.__name__ for kind in types)
            raise ValueError(
                f"{name} is {reprlib.repr(value)}; allowed: {allowed} from 0 to below {below}"
            )


def _restore_range(model: Model, ends: Any) -> None:
    low, high = (torch.tensor(end, dtype=model.low.dtype) for end in ends)
    if not (low.isfinite().all() and high.isfinite().all() and (low <= high).all()):
        raise ValueError(f"its range of x is {reprlib.repr(ends)}; allowed: finite, low to high")
    model.low.copy_(low)
    model.high.copy_(high)


def _check_tensors(state: Mapping[str, Tensor], claimed: Model) -> None:
    claimed.load_state_dict(state, assign=True)  # names and shapes
    for name, tensor in state.items():
        if tensor.dtype != torch.float32:
            raise ValueError(f"{name} is of {tensor.dtype}; allowed: torch.float32")
        if not tensor.isfinite().all():
            raise ValueError(f"{name} is not finite (NaN or infinite)")
