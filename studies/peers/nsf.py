"""A conditional spline flow p(x|y), zuko's NSF."""

__all__ = ["fit"]

import torch
import zuko

from studies.peers import Array, Fitted, Scale
from studies.peers.descent import descend


def fit(x: Array, y: Array, seed: int, *, epochs: int = 500, patience: int = 20) -> Fitted:
    """Fits zuko's NSF at its defaults on standardised columns, by Adam with early stopping.

    References:
        Neural Spline Flows, Durkan et al., 2019, https://arxiv.org/abs/1906.04032
    """
    torch.manual_seed(seed)
    of_x, of_y = Scale.of(x), Scale.of(y)
    flow = zuko.flows.NSF(x.shape[1], y.shape[1])
    descend(
        flow,
        lambda x, y: -flow(y).log_prob(x).mean(),
        of_x.standardise(x),
        of_y.standardise(y),
        epochs=epochs,
        patience=patience,
    )

    @torch.no_grad()
    def partners(x: Array, y: Array, count: int) -> Array:
        levels = torch.as_tensor(of_y.standardise(y), dtype=torch.float32)
        return of_x.restore(flow(levels).sample((count,)).double().numpy())

    return Fitted(partners)
