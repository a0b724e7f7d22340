"""A typed and validated view of params.yaml."""

__all__ = [
    "DataParams",
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
from typing import Annotated, Any, ClassVar, Literal

from pydantic import BaseModel, BeforeValidator, ConfigDict, Field, ValidationError


def _number(value: Any) -> Any:
    # DVC's `-S` writes 0.00001 as 1e-05, which YAML 1.1 takes for a string.
    if isinstance(value, str):
        try:
            return float(value)
        except ValueError:
            return value
    return value


Number = Annotated[float, BeforeValidator(_number), Field(allow_inf_nan=False)]
Positive = Annotated[Number, Field(gt=0)]
NotNegative = Annotated[Number, Field(ge=0)]
Share = Annotated[Number, Field(ge=0, le=1)]
# Beyond the upper bounds lie slips of the keyboard, which would fill memory or run for years.
Size = Annotated[int, Field(ge=1, le=10_000)]  # of a layer, a stack or a memory
Steps = Annotated[int, Field(ge=1, le=10**8)]
BatchSize = Annotated[int, Field(ge=2, le=10**6)]
Seed = Annotated[int, Field(ge=0, lt=2**32)]


_SHORT = Repr()  # of a value that may be the whole file
_SHORT.maxstring = _SHORT.maxother = 100
_SHORT.maxlevel = 2


class ParamsError(ValueError):
    """Says which parameter is wrong, what was found and what is allowed."""


class _Block(BaseModel):
    model_config = ConfigDict(strict=True, extra="forbid", frozen=True)


class DataParams(_Block):
    """Holds how the data sets are drawn."""

    train_rows: Annotated[int, Field(ge=1, le=10**8)]
    validation_rows: Annotated[int, Field(ge=2, le=10**7)]
    test_rows: Annotated[int, Field(ge=100, le=10**7)]
    seed: Seed


class TrainParams(_Block):
    """Holds what all trainings share."""

    seeds: Annotated[int, Field(ge=1, le=1000)]
    batch_size: BatchSize
    validate_every: Steps
    device: Literal["auto", "cpu", "cuda"]
    threads: Annotated[int, Field(ge=1, le=1024)] | None


class EvaluateParams(_Block):
    """Holds how the metrics are estimated."""

    neighbours: Annotated[int, Field(ge=1, lt=100)]
    critic_steps: Steps
    seed: Seed


class ModelParams(_Block):
    """Holds the hyperparameters that every model has."""

    steps: Steps
    batch_size: BatchSize | None
    learning_rate: NotNegative
    learning_rate_end: NotNegative
    kl_weight_start: Positive
    kl_weight: Positive
    kl_warmup: Share
    x_weight: NotNegative
    bias_scale: NotNegative
    hidden_size: Size
    invariant_size: Size

    weighted: ClassVar[tuple[str, ...]] = ("kl", "x")
    sized: ClassVar[tuple[str, ...]] = ("hidden", "invariant")

    def weights(self) -> dict[str, float]:
        """Returns the weights of the loss terms at the end of training."""
        return {term: getattr(self, f"{term}_weight") for term in self.weighted}

    def sizes(self) -> dict[str, int]:
        """Returns the sizes of the networks, besides those that the data give."""
        return {part: getattr(self, f"{part}_size") for part in self.sized}


class PredictorParams(ModelParams):
    """Holds the hyperparameters of VAE and STIB_WO_REG, which predict y."""

    y_weight: NotNegative
    target_size: Size

    weighted: ClassVar[tuple[str, ...]] = ("kl", "x", "y")
    sized: ClassVar[tuple[str, ...]] = ("hidden", "invariant", "target")


class CvibParams(ModelParams):
    """Holds the hyperparameters of CVIB."""

    pairwise_weight: NotNegative

    weighted: ClassVar[tuple[str, ...]] = ("kl", "x", "pairwise")


class StibParams(PredictorParams):
    """Holds the hyperparameters of STIB."""

    adversary_learning_rate: NotNegative
    adversary_learning_rate_end: NotNegative
    dependence_weight: NotNegative
    injectivity_weight: NotNegative
    critic_size: Size
    memory_size: Size

    weighted: ClassVar[tuple[str, ...]] = ("kl", "x", "y", "dependence", "injectivity")
    sized: ClassVar[tuple[str, ...]] = ("hidden", "invariant", "target", "critic", "memory")


class StibKernelParams(PredictorParams):
    """Holds the hyperparameters of STIB with a kernel dependence."""

    dependence_weight: NotNegative

    weighted: ClassVar[tuple[str, ...]] = ("kl", "x", "y", "dependence")


class ModelsParams(_Block):
    """Holds one block of hyperparameters a model."""

    vae: PredictorParams
    stib_wo_reg: PredictorParams
    cvae: ModelParams
    cvib: CvibParams
    stib: StibParams
    stib_kernel: StibKernelParams


class Params(_Block):
    """Holds all of params.yaml."""

    model: Literal["vae", "stib_wo_reg", "cvae", "cvib", "stib", "stib_kernel"]
    data: DataParams
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
        return Params.model_validate(content)
    except ValidationError as error:
        faults = "\n".join(f"  {_fault(dict(fault))}" for fault in error.errors())
        raise ParamsError(f"params.yaml is not valid:\n{faults}") from None


def _fault(fault: dict[str, Any]) -> str:
    *parents, name = fault["loc"] or ("params.yaml",)
    key = ".".join(_shown(part) for part in (*parents, name))
    found = _SHORT.repr(fault["input"])
    if fault["type"] == "extra_forbidden":
        return f"{key}: unknown key (value {found}); allowed: {_keys(parents)}"
    if fault["type"] == "missing":
        return f"{key}: missing"
    if fault["type"] == "model_type":
        return f"{key}: found {found}; allowed: a block of the keys {_keys(fault['loc'])}"
    allowed = fault["msg"].removeprefix("Input should be ")
    return f"{key}: found {found}; allowed: {allowed}"


def _keys(location: Iterable[Any]) -> str:
    block: Any = Params
    for name in location:
        block = block.model_fields[name].annotation
    return ", ".join(block.model_fields)


def _shown(part: Any) -> str:
    """Shows a key as it stands in the file, or quoted where it could be taken for more."""
    return str(part) if re.fullmatch(r"[\w.]+", str(part)) else _SHORT.repr(part)
