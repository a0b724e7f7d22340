"""The tasks: what x and y are, where they come from, and what is known of them."""

__all__ = ["TASKS", "Plane", "Task", "TaskBase", "Truth"]

from typing import Annotated, Any, get_args

from pydantic import BeforeValidator, Field

from symmetry.tasks.base import Plane, TaskBase, Truth
from symmetry.tasks.ellipse import Ellipse
from symmetry.tasks.file import File
from symmetry.tasks.formula import Formula
from symmetry.tasks.spiral import Spiral
from symmetry.tasks.steam import Steam
from symmetry.tasks.triatomic import Triatomic

# A new task: its file, and its name here.
Known = Spiral | Ellipse | Triatomic | Steam | Formula | File

TASKS: dict[str, type[TaskBase]] = {
    get_args(task.model_fields["task"].annotation)[0]: task for task in get_args(Known)
}


def _named(block: Any) -> Any:
    return {"task": "spiral", **block} if isinstance(block, dict) else block


Task = Annotated[Known, BeforeValidator(_named), Field(discriminator="task")]
"""The block ``data`` of params.yaml: the task it names, with that task's own keys."""
