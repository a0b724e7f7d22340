"""STIB's training step in JAX, a jit of a scan over steps: what a user might pick instead."""

__all__ = ["Training"]

from collections.abc import Mapping
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np
from jax import Array

Weights = Mapping[str, Array]
BETAS = 0.9, 0.999


class Training:
    r"""Trains STIB from given weights by the very step of :func:`symmetry.training.train`.

    Arguments:
        weights: The parameters of :class:`symmetry.models.STIB` by name, with its stack axis.
        sizes: Its sizes.
        term_weights: Its weights of the terms, the KL weight held constant.
        rates: The learning rates of the model and of the adversary, held constant.
    """

    def __init__(
        self,
        weights: Mapping[str, np.ndarray],
        sizes: Any,
        term_weights: Mapping[str, float],
        rates: tuple[float, float],
    ) -> None:
        start = {name: jnp.asarray(value) for name, value in weights.items()}
        zeros = {name: jnp.zeros_like(value) for name, value in start.items()}
        features = 2 * sizes.critic
        averaged = jnp.zeros((sizes.stack, features, features))
        self.state = start, zeros, zeros, averaged, jnp.zeros(())
        rate = {name: rates[name.startswith("critics.")] for name in start}
        invariant, critic, memory = sizes.invariant, sizes.critic, sizes.memory

        def loss(
            of: Weights, average: Array, share: Array, x: Array, y: Array, noise: Array
        ) -> tuple[Array, tuple[Array, Array]]:
            mean = _mlp(of, "encoder", x)
            z = mean + jnp.exp(of["log_std"]) * noise
            x_hat = _mlp(of, "x_decoder", z)
            y_hat = _mlp(of, "y_decoder", z[:, invariant:])
            u = _mlp(of, "critics.f", _reversed(z[:, :invariant], term_weights["dependence"]))
            v = _mlp(of, "critics.h", y)
            centred = jnp.concatenate([u, v], -1)
            centred -= centred.mean(0)
            present = centred.T @ centred / len(centred)
            average = average + share * jax.lax.stop_gradient(present - average)
            dependence = 2 * _information(
                average + present - jax.lax.stop_gradient(present), critic
            )
            x_error = _squared_error(x_hat, x)
            spread = jnp.exp(2 * of["log_std"]) - 1 - 2 * of["log_std"]
            total = (
                term_weights["kl"] * 0.5 * (mean**2 + spread).sum(-1).mean()
                + term_weights["x"] * x_error
                + term_weights["y"] * _squared_error(y_hat, y)
                - dependence
                + term_weights["injectivity"] * _squared_error(_mlp(of, "critics.h_inverse", v), y)
            )
            return total, (average, x_error)

        gradients = jax.vmap(jax.grad(loss, has_aux=True), in_axes=(0, 0, None, 0, 0, 0))

        def step(state: Any, batch: Any) -> Any:
            of, first, second, average, count = state
            count += 1
            share = 1 / jnp.minimum(count, memory)
            gradient, (average, x_error) = gradients(of, average, share, *batch)
            first = jax.tree.map(lambda m, g: m + (1 - BETAS[0]) * (g - m), first, gradient)
            second = jax.tree.map(
                lambda v, g: BETAS[1] * v + (1 - BETAS[1]) * g * g, second, gradient
            )
            corrections = 1 - BETAS[0] ** count, jnp.sqrt(1 - BETAS[1] ** count)
            of = {
                name: of[name]
                - rate[name]
                / corrections[0]
                * first[name]
                / (jnp.sqrt(second[name]) / corrections[1] + 1e-8)
                for name in of
            }
            return (of, first, second, average, count), x_error

        self._run = jax.jit(lambda state, batches: jax.lax.scan(step, state, batches))

    def run(self, x: np.ndarray, y: np.ndarray, noise: np.ndarray) -> np.ndarray:
        """Takes T steps on batches with shape (T, S, n, columns); returns x errors, (T, S)."""
        self.state, x_error = self._run(self.state, (x, y, noise))
        return np.asarray(x_error)


def _mlp(of: Weights, name: str, x: Array) -> Array:
    for layer in ("first", "second"):
        x = jax.nn.softplus(_linear(of, f"{name}.{layer}", x))
    return _linear(of, f"{name}.last", x)


def _linear(of: Weights, name: str, x: Array) -> Array:
    y = x @ of[f"{name}.weight"]
    return y + of[f"{name}.bias"] if f"{name}.bias" in of else y


@jax.custom_vjp  # type: ignore[untyped-decorator]
def _reversed(z: Array, scale: float) -> Array:
    return z


_reversed.defvjp(lambda z, scale: (z, scale), lambda scale, gradient: (-scale * gradient, None))


def _information(covariance: Array, split: int) -> Array:
    scale = (jnp.diagonal(covariance) + 1e-8) ** -0.5
    correlation = covariance * scale[:, None] * scale + 1e-4 * jnp.eye(len(covariance))
    joint = jnp.log(jnp.diagonal(jnp.linalg.cholesky(correlation)))[split:].sum()
    return jnp.log(jnp.diagonal(jnp.linalg.cholesky(correlation[split:, split:]))).sum() - joint


def _squared_error(estimate: Array, truth: Array) -> Array:
    return ((estimate - truth) ** 2).sum(-1).mean()
