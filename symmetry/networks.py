"""Networks with a leading stack axis: S independent copies trained at once."""

__all__ = ["MLP", "Linear", "initialise"]

from collections.abc import Sequence

import torch
from torch import Tensor, nn
from torch.nn.functional import softplus


class Linear(nn.Module):
    r"""Creates a stack of S independent affine maps, computed by one batched product.

    .. math:: y_s = x_s W_s + b_s

    Arguments:
        stack: The number of independent copies S.
        in_features: The size of an input row.
        out_features: The size of an output row.
        bias: Whether there is an additive b.

    The weights are zero until :func:`initialise` draws them or a file fills them.
    """

    def __init__(self, stack: int, in_features: int, out_features: int, bias: bool = True) -> None:
        super().__init__()
        self.weight = nn.Parameter(torch.zeros(stack, in_features, out_features))
        self.bias = nn.Parameter(torch.zeros(stack, 1, out_features)) if bias else None

    def forward(self, x: Tensor) -> Tensor:
        """Maps x, with shape (S, n, in_features), to shape (S, n, out_features)."""
        if self.bias is None:
            return torch.bmm(x, self.weight)
        return torch.baddbmm(self.bias, x, self.weight)


class MLP(nn.Module):
    r"""Creates a stack of S perceptrons with two hidden softplus layers.

    .. math:: y = W_3\,\zeta(W_2\,\zeta(W_1 x + b_1) + b_2) + b_3, \quad \zeta(a) = \log(1 + e^a)

    Arguments:
        stack: The number of independent copies S.
        in_features: The size of an input row.
        out_features: The size of an output row.
        hidden_units: The width of both hidden layers.
        bias: Whether the layers have biases.
    """

    def __init__(
        self,
        stack: int,
        in_features: int,
        out_features: int,
        hidden_units: int = 256,
        bias: bool = True,
    ) -> None:
        super().__init__()
        self.first = Linear(stack, in_features, hidden_units, bias)
        self.second = Linear(stack, hidden_units, hidden_units, bias)
        self.last = Linear(stack, hidden_units, out_features, bias)

    def forward(self, x: Tensor) -> Tensor:
        """Maps x, with shape (S, n, in_features), to shape (S, n, out_features)."""
        y: Tensor = self.last(softplus(self.second(softplus(self.first(x)))))
        return y


@torch.no_grad()
def initialise(module: nn.Module, generators: Sequence[torch.Generator]) -> None:
    r"""Draws all linear weights of a module Glorot-uniformly, copy s from generator s.

    .. math:: W_{ij} \sim U(-a, a), \quad a = \sqrt{6 / (\text{in} + \text{out})}

    Copy s depends on its own generator alone, so that it does not matter which other copies are
    in the stack. All other parameters and buffers become zero.

    References:
        Understanding the difficulty of training deep feedforward neural networks
        (Glorot and Bengio, 2010), https://proceedings.mlr.press/v9/glorot10a.html
    """
    for value in (*module.parameters(), *module.buffers()):
        value.zero_()
    for layer in module.modules():
        if isinstance(layer, Linear):
            bound = (6 / (layer.weight.shape[1] + layer.weight.shape[2])) ** 0.5
            for copy, generator in zip(layer.weight, generators, strict=True):
                # Drawn on the CPU, where the generators are, and then moved to the weights.
                drawn = torch.empty(copy.shape, dtype=copy.dtype)
                copy.copy_(drawn.uniform_(-bound, bound, generator=generator))
