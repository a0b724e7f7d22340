"""A random walk on the level set of a network, with projection back."""

__all__ = ["fit"]

import torch
from torch import Tensor, nn

from studies.peers import Array, Fitted, Scale
from studies.peers.descent import descend

WIDTH = 128
STEPS = 50
STRIDE = 0.2  # standard deviations of x
BACK = 3  # steps of Newton after each
PIECE = 4096  # points that walk at once: what the network makes of them stays in the cache


def fit(x: Array, y: Array, seed: int, *, epochs: int = 500, patience: int = 20) -> Fitted:
    """Fits an MLP to y; a partner is where a walk of fifty steps from the row has come.

    Each step goes at random along the level set, and then back to it by Newton's method; a step
    out of the ranges of the rows is not taken.
    """
    torch.manual_seed(seed)
    of_x, of_y = Scale.of(x), Scale.of(y)
    network = nn.Sequential(
        *(nn.Linear(x.shape[1], WIDTH), nn.SiLU(), nn.Linear(WIDTH, WIDTH), nn.SiLU()),
        nn.Linear(WIDTH, y.shape[1]),
    )
    seen = of_x.standardise(x)
    descend(
        network,
        lambda x, y: (network(x) - y).square().mean(),
        seen,
        of_y.standardise(y),
        epochs=epochs,
        patience=patience,
    )
    low, high = (torch.as_tensor(end, dtype=torch.float32) for end in (seen.min(0), seen.max(0)))

    def levels_and_slopes(points: Tensor) -> tuple[Tensor, Tensor]:
        points = points.detach().requires_grad_()
        levels = network(points)
        slopes = [
            torch.autograd.grad(level.sum(), points, retain_graph=True)[0] for level in levels.T
        ]
        return levels.detach(), torch.stack(slopes, 1)  # (n, k), (n, k, d)

    def towards(slopes: Tensor, change: Tensor) -> Tensor:
        # The shortest step that changes the levels so much.
        gram = slopes @ slopes.mT + 1e-6 * torch.eye(slopes.shape[1])
        step: Tensor = (slopes.mT @ torch.linalg.solve(gram, change[..., None]))[..., 0]
        return step

    def walked(here: Tensor) -> Tensor:
        level, slopes = levels_and_slopes(here)
        for _ in range(STEPS):
            step = STRIDE * torch.randn_like(here)
            there = here + step - towards(slopes, (slopes @ step[..., None])[..., 0])
            for _ in range(BACK):
                found, steep = levels_and_slopes(there)
                there = there - towards(steep, found - level)
            found, steep = levels_and_slopes(there)
            taken = ((there >= low) & (there <= high)).all(-1)
            taken &= (found - level).abs().amax(-1) < 0.01
            here = torch.where(taken[:, None], there, here)
            slopes = torch.where(taken[:, None, None], steep, slopes)
        return here

    def partners(x: Array, y: Array, count: int) -> Array:
        start = torch.as_tensor(of_x.standardise(x), dtype=torch.float32).repeat(count, 1)
        ends = torch.cat([walked(piece) for piece in torch.split(start, PIECE)])
        return of_x.restore(ends.reshape(count, *x.shape).double().numpy())

    @torch.no_grad()
    def predict(x: Array) -> Array:
        seen = torch.as_tensor(of_x.standardise(x), dtype=torch.float32)
        return of_y.restore(network(seen).double().numpy())

    return Fitted(partners, predict)
