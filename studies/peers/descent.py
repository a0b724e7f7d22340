"""How peers in PyTorch are trained whose authors leave it open."""

__all__ = ["descend"]

from collections.abc import Callable
from copy import deepcopy

import torch
from torch import Tensor, nn

from studies.peers import Array

HELD = 0.1  # of the rows choose the weights
BATCH = 200
RATE = 5e-4


def descend(
    network: nn.Module,
    loss: Callable[[Tensor, Tensor], Tensor],
    x: Array,
    y: Array,
    *,
    epochs: int,
    patience: int,
) -> None:
    """Trains by Adam until the loss of held-out rows has not fallen for so many epochs.

    Batches, learning rate, share held out and patience are sbi's defaults. The best weights are
    kept. Randomness is PyTorch's own.
    """
    rows = torch.randperm(len(x))
    held, learned = rows[: round(HELD * len(x))], rows[round(HELD * len(x)) :]
    inputs, targets = (torch.as_tensor(side, dtype=torch.float32) for side in (x, y))
    adam = torch.optim.Adam(network.parameters(), RATE)
    best, since, kept = torch.inf, 0, deepcopy(network.state_dict())
    for _ in range(epochs):
        for batch in torch.split(learned[torch.randperm(len(learned))], BATCH):
            adam.zero_grad()
            torch.autograd.backward(loss(inputs[batch], targets[batch]))
            nn.utils.clip_grad_norm_(network.parameters(), 5.0)
            adam.step()
        with torch.no_grad():
            now = float(loss(inputs[held], targets[held]))
        since += 1
        if now < best:
            best, since, kept = now, 0, deepcopy(network.state_dict())
        if since >= patience:
            break
    network.load_state_dict(kept)
