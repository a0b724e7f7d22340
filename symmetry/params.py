"""A typed and validated view of params.yaml."""

__all__ = [
    "EvaluateParams",
    "ModelParams",
    "ModelsParams",
    "Params",
    "ParamsError",
    "TrainParams",
    "parse",
]

import re
from collections.abc import Iterable
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

    steps: Steps
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

    def turn_steps(self) -> list[int]:
        """Returns the steps of each turn of the training."""
        return [self.steps]


class LatentParams(ModelParams):
    """Holds the hyperparameters of the models whose Z0 is drawn to a normal one by a KL term."""

    kl_weight_start: Positive
    kl_weight: Positive
    kl_warmup: Share
    x_weight: NotNegative
    bias_scale: NotNegative
    invariant_size: Size

    weighted: ClassVar[tuple[str, ...]] = ("kl", "x")
    sized: ClassVar[tuple[str, ...]] = ("hidden", "invariant")


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

    weighted: ClassVar[tuple[str, ...]] = (
        *PredictorParams.weighted,
        "dependence",
        "injectivity",
        "target_kl",
    )
    sized: ClassVar[tuple[str, ...]] = ("hidden", "invariant", "target", "critic", "memory")


class StibFlowParams(ModelParams):
    """Holds the hyperparameters of STIB_FLOW; the defaults serve any table."""

    steps: Steps = 4000
    batch_size: BatchSize | None = None
    learning_rate: NotNegative = 1e-2
    learning_rate_end: NotNegative = 0.0
    hidden_size: Size = 128
    predictor_steps: Steps = 3000
    predictor_learning_rate: NotNegative = 5e-3
    target_size: Size | None = None
    noise: NotNegative = 0.03
    averaging: Annotated[Number, Field(ge=0, lt=1)] = 0.995

    def weights(self) -> dict[str, float]:
        """Returns the weights of the loss terms: each term is a player's own, so none is."""
        return {"y": 1.0, "flow": 1.0}

    def sizes(self) -> dict[str, Any]:
        """Returns the sizes of the networks, besides those that the data give."""
        return {"hidden": self.hidden_size, "target": self.target_size or 0, "noise": self.noise}

    def turn_steps(self) -> list[int]:
        """Returns the steps of the predictor and those of the flow."""
        return [self.predictor_steps, self.steps]


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
        faults = "\n".join(f"  {_fault(dict(fault))}" for fault in error.errors())
        raise ParamsError(f"params.yaml is not valid:\n{faults}") from None
    if params.model not in params.models.given():
        allowed = ", ".join(params.models.given()) or "none, models is empty"
        raise ParamsError(
            f"params.yaml is not valid:\n  model: found {params.model!r}, which has no block under"
            f" models; allowed: {allowed}"
        )
    return params


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
