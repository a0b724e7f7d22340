r"""Two functions of Shaw et al. and the cosine between the found and the true field.

A field of a plane along which f stays is its gradient turned by a right angle. Theirs is a
polynomial, fitted so that a polynomial ŷ stays along it; ours is that of the learner's ŷ, which
partners do not leave.

References:
    Symmetry Discovery Beyond Affine Transformations, Shaw et al., 2024,
    https://arxiv.org/abs/2406.03619
"""

__all__ = ["cosine", "field", "measure"]

from collections.abc import Callable

import numpy as np

from studies.outside import Rows, Settings, figures, learned, task_of
from studies.peers import Array

STEP = 0.01  # standard deviations of x, for differences that float32 can tell
GRID = 101  # points to a side


def field(level: Callable[[Array], Array], x: Array, step: Array) -> Array:
    r"""Computes the field :math:`(-\partial_2 f, \partial_1 f)` by central differences.

    Arguments:
        level: f, from shape (n, 2) to (n,) or (n, 1).
        x: The points, with shape (n, 2).
        step: How far to either side, with shape (2,).
    """
    first, second = (
        (level(x + side) - level(x - side)).reshape(-1) / (2 * side.sum())
        for side in np.diag(step)
    )
    return np.stack([-second, first], -1)


def cosine(one: Array, other: Array) -> float:
    r"""Computes the cosine of two fields at n points, with shape (n, 2).

    .. math:: \frac{|\sum \langle u, v \rangle|}{\sqrt{\sum |u|^2 \sum |v|^2}}
    """
    norms = np.sqrt((one**2).sum() * (other**2).sum())
    return float(np.abs((one * other).sum()) / norms)


def measure(settings: Settings) -> Rows:
    """Fits the learner to rows of a formula of two columns and compares the fields.

    ``cosine`` is over fresh rows, where the data lie; ``cosine_range`` over the range of the
    training rows, its empty corners too, as the authors integrate.

    Arguments:
        settings: ``name``, ``method``, ``law``, ``rows``, ``seed`` and ``test_rows``.

    Raises:
        ValueError: If the method predicts no y.
    """
    task = task_of(settings)
    parts = dict(task.parts())
    train, test = parts["train"], parts["test"]
    fitted = learned(train.x, train.y, settings)
    if fitted.predict is None:
        raise ValueError(f"{settings['name']['method']} predicts no y, of which a field is made")
    sides = np.linspace(train.x.min(0), train.x.max(0), GRID).T
    places = {
        "cosine": test.x,
        "cosine_range": np.stack(np.meshgrid(*sides), -1).reshape(-1, 2),
    }
    step = STEP * train.x.std(0)
    return figures(
        settings,
        {
            name: cosine(field(fitted.predict, x, step), field(task.truth.level, x, step / 100))
            for name, x in places.items()
        },
    )
