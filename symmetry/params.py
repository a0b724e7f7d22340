"""A typed and validated view of params.yaml."""

__all__ = [
    "EvaluateParams",
    "ModelParams",
    "ModelsParams",
    "Params",
    "ParamsError",
    "TrainParams",
    "for_table",
    "parse",
]

import re
from abc import abstractmethod
from collections.abc import Iterable, Mapping
from reprlib import Repr
from typing import Annotated, Any, ClassVar, Literal, get_args

from pydantic import Field, ValidationError

from symmetry.blocks import (
    BatchSize,
    Block,
    NotNegative,
    Number,
    Positive,
    Seed,
    Share,
    Size,
    Steps,
)
from symmetry.tasks import TASKS, Task

_SHORT = Repr()  # of a value that may be the whole file
_SHORT.maxstring = _SHORT.maxother = 100
_SHORT.maxlevel = 2


class ParamsError(ValueError):
    """Says which parameter is wrong, what was found and what is allowed."""


class TrainParams(Block):
    """Holds what all trainings share."""

    seeds: Annotated[int, Field(ge=1, le=1000)]
    batch_size: BatchSize
    validate_every: Steps
    device: Literal["auto", "cpu", "cuda"]
    threads: Annotated[int, Field(ge=1, le=1024)] | None


class EvaluateParams(Block):
    """Holds how the metrics are estimated."""

    neighbours: Annotated[int, Field(ge=1, lt=100)]
    critic_steps: Steps
    refine: Annotated[int, Field(ge=0, le=1000)]
    seed: Seed


class ModelParams(Block):
    """Holds the hyperparameters that every model has."""

    batch_size: BatchSize | None
    learning_rate: NotNegative
    learning_rate_end: NotNegative
    hidden_size: Size

    weighted: ClassVar[tuple[str, ...]]
    sized: ClassVar[tuple[str, ...]]

    def weights(self) -> dict[str, float]:
        """Returns the weights of the loss terms at the end of training."""
        return {term: getattr(self, f"{term}_weight") for term in self.weighted}

    def sizes(self) -> dict[str, Any]:
        """Returns the sizes of the networks, besides those that the data give."""
        return {part: getattr(self, f"{part}_size") for part in self.sized}

    @abstractmethod
    def turn_steps(self, rows: int) -> list[int]:
        """Returns the steps of each turn of a training on so many rows."""


class LatentParams(ModelParams):
    """Holds the hyperparameters of the models whose Z0 is drawn to a normal one by a KL term."""

    steps: Steps
    kl_weight_start: Positive
    kl_weight: Positive
    kl_warmup: Share
    x_weight: NotNegative
    bias_scale: NotNegative
    invariant_size: Size

    weighted: ClassVar[tuple[str, ...]] = ("kl", "x")
    sized: ClassVar[tuple[str, ...]] = ("hidden", "invariant")

    def turn_steps(self, rows: int) -> list[int]:
        """Returns the steps of the one turn, however many rows there are."""
        return [self.steps]


class PredictorParams(LatentParams):
    """Holds the hyperparameters of VAE and STIB_WO_REG, which predict y."""

    y_weight: NotNegative
    target_size: Size

    weighted: ClassVar[tuple[str, ...]] = ("kl", "x", "y")
    sized: ClassVar[tuple[str, ...]] = ("hidden", "invariant", "target")


class CvibParams(LatentParams):
    """Holds the hyperparameters of CVIB."""

    pairwise_weight: NotNegative

    weighted: ClassVar[tuple[str, ...]] = ("kl", "x", "pairwise")


class StibParams(PredictorParams):
    """Holds the hyperparameters of STIB."""

    adversary_learning_rate: NotNegative
    adversary_learning_rate_end: NotNegative
    dependence_weight: NotNegative
    injectivity_weight: NotNegative
    target_kl_weight: NotNegative
    critic_size: Size
    memory_size: Size
    target_from_y: bool = False

    weighted: ClassVar[tuple[str, ...]] = (
        *PredictorParams.weighted,
        "dependence",
        "injectivity",
        "target_kl",
    )
    sized: ClassVar[tuple[str, ...]] = ("hidden", "invariant", "target", "critic", "memory")

    def sizes(self) -> dict[str, Any]:
        """Returns the sizes of the networks, besides those that the data give."""
        return {**super().sizes(), "target_from_y": self.target_from_y}


class StibFlowParams(ModelParams):
    r"""Holds the hyperparameters of STIB_FLOW; the defaults serve any table.

    Steps that are not given follow the n training rows: a few thousand rows have told all that
    they know when a million still teach. The predictor takes :math:`2500 \sqrt[4]{n / 800}`, at
    most 5,000, and the flow :math:`\max(2000 \sqrt[4]{n / 800}, n / 8)`, at most 24,000; neither
    takes less than 800 rows do.
    """

    steps: Steps | None = None
    batch_size: BatchSize | None = None
    learning_rate: NotNegative = 1e-2
    learning_rate_end: NotNegative = 0.0
    hidden_size: Size = 128
    predictor_steps: Steps | None = None
    target_size: Size | None = None
    noise: NotNegative = 0.03
    averaging: Annotated[Number, Field(ge=0, lt=1)] = 0.995

    def weights(self) -> dict[str, float]:
        """Returns the weights of the loss terms, which need no choice: few share a turn."""
        return {"y": 1.0, "flow": 1.0, "bottleneck": 1.0, "alignment": 10.0}

    def sizes(self) -> dict[str, Any]:
        """Returns the sizes of the networks, besides those that the data give."""
        return {"hidden": self.hidden_size, "target": self.target_size or 0, "noise": self.noise}

    def turn_steps(self, rows: int) -> list[int]:
        """Returns the steps of the predictor, as many of a bottleneck, and those of the flow."""
        worth = max(1.0, rows / 800) ** 0.25
        predictor = self.predictor_steps or min(5000, round(2500 * worth))
        flow = self.steps or min(24_000, max(round(2000 * worth), rows // 8))
        return [*[predictor] * (2 if self.target_size else 1), flow]


# Null in the file is no block, so the annotations do not allow None: it stands for no key at all.
_NO_BLOCK: Any = Field(default=None)


class ModelsParams(Block):
    """Holds one block of hyperparameters a model; a model without a block is not trained."""

    vae: PredictorParams = _NO_BLOCK
    stib_wo_reg: PredictorParams = _NO_BLOCK
    cvae: LatentParams = _NO_BLOCK
    cvib: CvibParams = _NO_BLOCK
    stib: StibParams = _NO_BLOCK
    stib_flow: StibFlowParams = _NO_BLOCK

    def block(self, key: str) -> ModelParams:
        """Returns the block of a model.

        Raises:
            ParamsError: If the model has none.
        """
        block: ModelParams | None = getattr(self, key)
        if block is None:
            raise ParamsError(
                f"params.yaml has no block models.{key}; it has {', '.join(self.given())}"
            )
        return block

    def given(self) -> list[str]:
        """Returns the names of the models that have a block, in the order of the table."""
        return [key for key in type(self).model_fields if getattr(self, key) is not None]


class Params(Block):
    """Holds all of params.yaml."""

    model: Literal["vae", "stib_wo_reg", "cvae", "cvib", "stib", "stib_flow"]
    data: Task
    train: TrainParams
    evaluate: EvaluateParams
    models: ModelsParams


def parse(content: Any) -> Params:
    """Checks the content of params.yaml and gives it types.

    Arguments:
        content: What YAML made of the file.

    Raises:
        ParamsError: If a key is unknown or missing, or a value has the wrong type or is out of
            range; all such faults are named, each with what was found and what is allowed.
    """
    try:
        params = Params.model_validate(content)
    except ValidationError as error:
        raise _refusal("params.yaml is not valid", error.errors()) from None
    if params.model not in params.models.given():
        allowed = ", ".join(params.models.given()) or "none, models is empty"
        raise ParamsError(
            f"params.yaml is not valid:\n  model: found {params.model!r}, which has no block under"
            f" models; allowed: {allowed}"
        )
    return params


# What the paper's models take of a table, in the spirit of params.yaml; STIB_FLOW's own defaults
# stand in its class, since its block may leave them out.
_SHARED = {
    "steps": 6000,
    "batch_size": None,
    "learning_rate": 3e-3,
    "learning_rate_end": 0.0,
    "kl_warmup": 0.5,
    "x_weight": 1.0,
    "bias_scale": 0.0,
    "hidden_size": 128,
}
_PREDICTING = {**_SHARED, "learning_rate": 2e-3, "kl_weight_start": 1.0, "kl_weight": 1e-4}
_DEFAULTS: Mapping[str, Mapping[str, Any]] = {
    "vae": {**_SHARED, "kl_weight_start": 0.1, "kl_weight": 1.0, "y_weight": 3.0},
    "stib_wo_reg": {**_PREDICTING, "y_weight": 1.0},
    "cvae": {**_SHARED, "kl_weight_start": 0.01, "kl_weight": 1.0},
    "cvib": {
        **_SHARED,
        "kl_weight_start": 0.001,
        "kl_weight": 0.1,
        "x_weight": 2.0,
        "pairwise_weight": 1.0,
    },
    "stib": {
        **_PREDICTING,
        "x_weight": 3.0,
        "y_weight": 3.0,
        "adversary_learning_rate": 1e-3,
        "adversary_learning_rate_end": 1e-3,
        "dependence_weight": 1.0,
        "injectivity_weight": 0.01,
        "target_kl_weight": 0.0,
        "bias_scale": 2.0,
        "critic_size": 16,
        "memory_size": 20,
    },
    "stib_flow": {},
}


def for_table(
    key: str,
    x_size: int,
    y_size: int,
    *,
    seeds: int = 1,
    device: str = "auto",
    changes: Mapping[str, Any] | None = None,
) -> Params:
    """Returns what :func:`~symmetry.fitting.fit` takes of params, for a table without a file.

    Z1 has as many dimensions as y and Z0 those that x has besides, at least one.

    Arguments:
        key: The name of the model.
        x_size: The number of columns of x.
        y_size: The number of columns of y.
        seeds: How many copies are trained at once.
        device: "auto", "cpu" or "cuda".
        changes: What shall be other than by default in the model's block.

    Raises:
        ParamsError: If there is no such model, or as :func:`parse`.
    """
    if key not in _DEFAULTS:
        raise ParamsError(f"model is {key!r}; allowed: {', '.join(_DEFAULTS)}")
    kind = ModelsParams.__annotations__[key]
    block = {**_DEFAULTS[key], **(changes or {})}
    if issubclass(kind, LatentParams):
        block.setdefault("invariant_size", max(1, x_size - y_size))
    if issubclass(kind, PredictorParams):
        block.setdefault("target_size", y_size)
    shared = {"seeds": seeds, "batch_size": 256, "validate_every": 250, "device": device}
    contents = {"train": {**shared, "threads": None}, "models": {key: block}}
    blocks, faults = {}, []
    for name, content in contents.items():
        try:
            blocks[name] = Params.__annotations__[name].model_validate(content)
        except ValidationError as error:
            faults += [{**fault, "loc": (name, *fault["loc"])} for fault in error.errors()]
    if faults:
        raise _refusal("params are not valid", faults)
    return Params.model_construct(**blocks)  # the rest is of no use to a fit


def _refusal(said: str, faults: Iterable[Mapping[str, Any]]) -> ParamsError:
    return ParamsError("\n".join([f"{said}:", *(f"  {_fault(dict(fault))}" for fault in faults)]))


def _fault(fault: dict[str, Any]) -> str:
    place = list(fault["loc"])
    block: Any = Params
    within = place
    if place[:1] == ["data"] and len(place) > 1:  # pydantic puts the name of the task in between
        block = TASKS[place.pop(1)]
        within = place[1:]
    key = ".".join(map(_shown, place)) or "params.yaml"
    found = _SHORT.repr(fault["input"])
    if fault["type"] == "union_tag_invalid":
        named = _SHORT.repr(fault["input"]["task"])
        return f"{key}.task: found {named}; allowed: {fault['ctx']['expected_tags']}"
    if fault["type"] == "extra_forbidden":
        return f"{key}: unknown key (value {found}); allowed: {_keys(block, within[:-1])}"
    if fault["type"] == "missing":
        return f"{key}: missing"
    if fault["type"] in ("model_type", "model_attributes_type"):
        return f"{key}: found {found}; allowed: a block of the keys {_keys(block, within)}"
    allowed = fault["msg"].removeprefix("Input should be ")
    return f"{key}: found {found}; allowed: {allowed}"


def _keys(block: Any, location: Iterable[Any]) -> str:
    for name in location:
        annotation = block.model_fields[name].annotation
        block = next(iter(get_args(annotation)), annotation)  # of one that may be left out
    return ", ".join(block.model_fields)


def _shown(part: Any) -> str:
    """Shows a key as it stands in the file, or quoted where it could be taken for more."""
    return str(part) if re.fullmatch(r"[\w.]+", str(part)) else _SHORT.repr(part)
