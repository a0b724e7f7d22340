"""What the blocks of params.yaml are made of: a strict base and the kinds of numbers."""

__all__ = [
    "BatchSize",
    "Block",
    "NotNegative",
    "Number",
    "Positive",
    "Seed",
    "Share",
    "Size",
    "Steps",
    "refusal",
]

from typing import Annotated, Any

from pydantic import BaseModel, BeforeValidator, ConfigDict, Field
from pydantic_core import PydanticCustomError


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


class Block(BaseModel):
    """Is what all blocks share: keys of the right type, none unknown and none changed later."""

    model_config = ConfigDict(strict=True, extra="forbid", frozen=True)


def refusal(allowed: str) -> PydanticCustomError:
    """Makes the error of a key that says what is allowed there."""
    # Handed over apart from the template, whose braces would be filled in.
    return PydanticCustomError("refused", "{allowed}", {"allowed": allowed})
