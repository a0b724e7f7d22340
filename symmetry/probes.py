"""Fresh observers who look for y in frozen codes and find what training may have missed."""

__all__ = ["fresh_critic_nats", "leak_r2"]

import numpy as np
import torch
from numpy.typing import NDArray
from sklearn.metrics import r2_score
from sklearn.neighbors import KNeighborsRegressor
from torch import Tensor

from symmetry.adam import Adam
from symmetry.estimators import whiten
from symmetry.models import Critics
from symmetry.networks import initialise

Array = NDArray[np.float64]


def leak_r2(z0: Array, y: Array) -> float:
    r"""Computes how much of y a fresh regressor restores from Z0 on rows it has not seen.

    .. math:: \max_k \left(1 - \frac{\sum_i (g_k(z_{0,i}) - \phi_k(y_i))^2}
        {\sum_i (\phi_k(y_i) - \bar\phi_k)^2}\right)

    The features φ are the coordinates of y and its length |y|: a leak into the scale of y shows
    in the length alone. The regressor averages the nearest neighbours in the whitened Z0, which
    sees any continuous function and forgives neither rotation nor scale; it learns from one half
    of the rows and is held to the other. It averages so few that of few rows, too, it follows
    what there is to see. A feature that hardly varies says nothing: the length of labels ±1.

    Arguments:
        z0: Sampled codes, with shape (n, dim Z0).
        y: The targets, with shape (n, dim y).

    Returns:
        The worst R² of all features; without a leak about −1 / k, k being the number of
        neighbours, n / 40 from 5 to 100; 0 if no feature varies, as of a rare class.
    """
    half = len(z0) // 2
    codes = whiten(z0)
    features = np.column_stack([y, np.linalg.norm(y, axis=1)])
    features = features[:, features[half:].std(0) > 1e-6 * np.abs(features).max(0)]
    if not features.shape[1]:
        return 0.0
    regressor = KNeighborsRegressor(int(np.clip(len(z0) / 40, 5, 100)))
    regressor.fit(codes[:half], features[:half])
    guess, truth = regressor.predict(codes[half:]), features[half:]
    return float(r2_score(truth, guess, multioutput="raw_values").max())


def fresh_critic_nats(
    critics: Critics,
    z0: Tensor,
    y: Tensor,
    *,
    steps: int,
    batch_size: int,
    learning_rate: float,
    injectivity_weight: float,
    generator: torch.Generator,
) -> Tensor:
    r"""Trains new critics on frozen codes and returns the dependence D they find, in nats.

    The first half of the rows trains, the second gives D. An adversary that kept up with its
    encoder left nothing to find, and this is near 0, up to the bias k²/n of the estimate.

    Arguments:
        critics: Untrained critics; they are drawn anew.
        z0: Frozen codes, with shape (S, n, dim Z0).
        y: The targets, with shape (n, dim y).
        steps: The number of steps.
        batch_size: The number of rows in a batch.
        learning_rate: The learning rate of Adam.
        injectivity_weight: The weight of the injectivity error.
        generator: The source of the critics' weights and batches.

    Returns:
        The dependence of each copy, with shape (S,).
    """
    initialise(critics, [generator] * z0.shape[0])
    critics.train()
    y = y.expand(z0.shape[0], -1, -1)
    half = z0.shape[1] // 2
    optimizer = Adam(critics.parameters())
    for _ in range(steps):
        rows = torch.randint(half, (batch_size,), generator=generator)
        found = critics(z0[:, rows], y[:, rows])
        critics.zero_grad()
        loss = injectivity_weight * found["injectivity"] - found["dependence"]
        loss.sum().backward()
        optimizer.step(learning_rate)
    critics.eval()
    with torch.no_grad():
        dependence: Tensor = critics(z0[:, half:], y[:, half:])["dependence"]
    return dependence
