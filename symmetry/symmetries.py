"""The learned symmetry: keep the target part, move the invariant part, decode."""

__all__ = ["partners", "path"]

import torch
from torch import Tensor

from symmetry.models import Model


@torch.no_grad()
def partners(
    model: Model,
    x: Tensor,
    count: int,
    generator: torch.Generator,
    *,
    pool: Tensor | None = None,
    y: Tensor | None = None,
) -> Tensor:
    r"""Finds other inputs with the same target: each row keeps Z1 and takes another row's Z0.

    .. math:: x'_{ic} = \hat x(z_0(x_{j(i, c)}), z_1(x_i)), \quad j \sim U\{1, …, n\}

    Arguments:
        model: A trained model.
        x: The inputs, with shape (n, x_size).
        count: The number of partners of each row.
        generator: The source of randomness, on the CPU.
        pool: The inputs whose Z0 is taken, with shape (m, x_size); x itself by default.
        y: The targets of x, with shape (n, y_size), which stand for Z1 in CVAE and CVIB.

    Returns:
        The partners of each copy of the model, with shape (S, count, n, x_size).

    Raises:
        ValueError: If the model needs y and it is not given.
    """
    invariant = model.encode(x if pool is None else pool).invariant
    target = _kept(model, x, y)
    rows = torch.randint(invariant.shape[1], (count, x.shape[0]), generator=generator)
    return torch.stack([model.decode(invariant[:, row], target) for row in rows], 1)


@torch.no_grad()
def path(
    model: Model, x: Tensor, points: int, *, pool: Tensor | None = None, y: Tensor | None = None
) -> Tensor:
    r"""Draws the orbit through each input: the strongest latent of Z0 runs over its quantiles.

    Arguments:
        model: A trained model.
        x: The inputs, with shape (n, x_size).
        points: The number of points of an orbit.
        pool: The inputs whose Z0 gives the quantiles, with shape (m, x_size); x by default.
        y: The targets of x, with shape (n, y_size), which stand for Z1 in CVAE and CVIB.

    Returns:
        The orbits of each copy of the model, with shape (S, points, n, x_size).

    Raises:
        ValueError: If the model needs y and it is not given.
    """
    code = model.encode(x if pool is None else pool)
    target = _kept(model, x, y)
    own = model.encode(x).invariant
    strongest = code.signal_to_noise[:, : code.invariant_size].argmax(1)  # (S,)
    copies = torch.arange(len(strongest), device=own.device)
    moved = code.invariant[copies, :, strongest]  # (S, m)
    levels = torch.linspace(0.01, 0.99, points, dtype=moved.dtype, device=moved.device)
    steps = []
    for value in moved.quantile(levels, 1):  # (S,)
        invariant = own.clone()
        invariant[copies, :, strongest] = value[:, None]
        steps.append(model.decode(invariant, target))
    return torch.stack(steps, 1)


def _kept(model: Model, x: Tensor, y: Tensor | None) -> Tensor:
    if model.decodes_from_y and y is None:
        raise ValueError(f"{model.key} decodes from y; give the y of the rows of x")
    target = model.encode(x).target
    return target if y is None else model.decoder_target(target, y)
