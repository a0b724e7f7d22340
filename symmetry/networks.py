"""Networks with a leading stack axis: S independent copies trained at once."""

__all__ = ["MLP", "Linear", "RunningMean", "initialise", "jacobian", "pieces_of"]

from collections.abc import Callable, Iterable, Sequence
from typing import Any, Literal

import torch
from torch import Tensor, nn
from torch.nn.functional import softplus

THIN = 3  # columns, up to which a product is computed from the transposed factors
CACHED = 1024  # rows that a network maps at once where it does not learn


class Linear(nn.Module):
    r"""Creates a stack of S independent affine maps, computed by batched products.

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
        if self.weight.shape[-1] <= THIN:
            mapped: Tensor = _Thin.apply(x, self.weight, self.bias)  # type: ignore[no-untyped-call]
            return mapped
        if self.bias is None:
            return torch.bmm(x, self.weight)
        return torch.baddbmm(self.bias, x, self.weight)


class _Thin(torch.autograd.Function):
    # An affine map to few columns. MKL is slow where a product has few columns, not where it has
    # few rows: the same bits come in a seventh of the time from the transposed factors.

    @staticmethod
    def forward(ctx: Any, x: Tensor, weight: Tensor, bias: Tensor | None) -> Tensor:
        ctx.save_for_backward(x, weight)
        if bias is None:
            return torch.bmm(weight.mT, x.mT).mT.contiguous()
        return torch.baddbmm(bias, x, weight)  # transposed, it would round otherwise

    @staticmethod
    def backward(ctx: Any, gradient: Tensor) -> tuple[Tensor | None, ...]:
        x, weight = ctx.saved_tensors
        of_x, of_weight, of_bias = ctx.needs_input_grad
        return (
            torch.bmm(gradient, weight.mT) if of_x else None,
            torch.bmm(gradient.mT, x).mT if of_weight else None,
            gradient.sum(1, keepdim=True) if of_bias else None,
        )


class MLP(nn.Module):
    r"""Creates a stack of S perceptrons.

    .. math:: y = W_{L+1}\,a(W_L \cdots a(W_1 x + b_1) \cdots + b_L) + b_{L+1}

    Arguments:
        stack: The number of independent copies S.
        in_features: The size of an input row.
        out_features: The size of an output row.
        hidden_units: The width of all hidden layers.
        bias: Whether the layers have biases.
        hidden_layers: The number L of hidden layers.
        activation: The function a; the paper's is the softplus :math:`\log(1 + e^a)`.
    """

    def __init__(
        self,
        stack: int,
        in_features: int,
        out_features: int,
        hidden_units: int = 256,
        bias: bool = True,
        hidden_layers: Literal[2, 3] = 2,
        activation: Callable[[Tensor], Tensor] = softplus,
    ) -> None:
        super().__init__()
        self.activation = activation
        self.first = Linear(stack, in_features, hidden_units, bias)
        self.second = Linear(stack, hidden_units, hidden_units, bias)
        if hidden_layers == 3:
            self.third = Linear(stack, hidden_units, hidden_units, bias)
        self.last = Linear(stack, hidden_units, out_features, bias)

    def forward(self, x: Tensor) -> Tensor:
        """Maps x, with shape (S, n, in_features), to shape (S, n, out_features)."""
        if not torch.is_grad_enabled() and len(pieces := pieces_of(x)) > 1:
            return torch.cat([self(piece) for piece in pieces], 1)
        *hidden, last = self.children()
        for layer in hidden:
            x = self.activation(layer(x))
        mapped: Tensor = last(x)
        return mapped


class RunningMean(nn.Module):
    r"""Averages a tensor over the last batches of a training.

    .. math:: m_t = m_{t-1} + (a_t - m_{t-1}) / \min(t, \text{memory})

    The gradient is that of the present batch, :math:`\partial m_t = \partial a_t`. Outside
    training each batch stands for itself, :math:`m = a`, and leaves no trace.

    Arguments:
        shape: The shape of the tensor a.
        memory: Over about how many batches it is averaged; 1 for each batch by itself.
    """

    value: Tensor
    seen: Tensor

    def __init__(self, shape: Sequence[int], memory: int) -> None:
        super().__init__()
        self.memory = memory
        self.register_buffer("value", torch.zeros(*shape), persistent=False)
        self.register_buffer("seen", torch.zeros(()), persistent=False)

    def forward(self, present: Tensor) -> Tensor:
        """Takes in the present batch's tensor and returns the average."""
        if not self.training:
            return present
        with torch.no_grad():
            self.seen += 1
            share = 1 / self.seen.clamp(max=self.memory)
            self.value = torch.lerp(self.value, present.detach(), share)
        return self.value + (present - present.detach())

    def forget(self) -> None:
        """Lets the next batch start the average anew."""
        self.value.zero_()
        self.seen.zero_()


@torch.no_grad()
def initialise(
    module: nn.Module,
    generators: Sequence[torch.Generator],
    decoders: Iterable[nn.Module] = (),
    bias_scale: float = 0.0,
) -> None:
    r"""Draws all linear weights of a module, and the biases of its decoders if asked.

    .. math:: W_{ij} \sim U(-a, a), \quad a = \sqrt{6 / (\text{in} + \text{out})}, \quad b_j = 0

    is the paper's, after Glorot. If a scale of the biases is given, decoders are drawn by

    .. math:: W_{ij} \sim U(-a, a), \quad a = \sqrt{3 / \text{in}}, \qquad
        b_j \sim U(-c, c), \quad c = \text{scale} / \sqrt{\text{in}}

    instead, after LeCun: between layers of equal width the same weights, but where one latent
    fans out steep softplus with bends all over its range. Glorot's are flat there and all bend at
    0, so that a decoder of one latent is late to follow a spiral, in its middle or at its ends.

    Copy s depends on its own generator alone, so that it does not matter which other copies are
    in the stack. All other parameters become zero, and running means forget what they saw.

    Arguments:
        module: The module, whose linear layers are :class:`Linear`.
        generators: The source of randomness of each copy.
        decoders: The parts of the module to draw so.
        bias_scale: The scale of their biases; with 0 they are drawn as the rest.

    References:
        Understanding the difficulty of training deep feedforward neural networks
        (Glorot and Bengio, 2010), https://proceedings.mlr.press/v9/glorot10a.html

        Efficient BackProp (LeCun et al., 1998), section 4.6,
        https://doi.org/10.1007/3-540-49430-8_2
    """
    for parameter in module.parameters():
        parameter.zero_()
    spread = {part for decoder in decoders for part in decoder.modules() if bias_scale > 0}
    for layer in module.modules():
        if isinstance(layer, RunningMean):
            layer.forget()
        elif isinstance(layer, Linear):
            _, in_features, out_features = layer.weight.shape
            if layer in spread and layer.bias is not None:
                _draw(layer.weight, (3 / in_features) ** 0.5, generators)
                _draw(layer.bias, bias_scale * in_features**-0.5, generators)
            else:
                _draw(layer.weight, (6 / (in_features + out_features)) ** 0.5, generators)


def _draw(values: Tensor, bound: float, generators: Sequence[torch.Generator]) -> None:
    for copy, generator in zip(values, generators, strict=True):
        # Drawn on the CPU, where the generators are, and then moved to the weights.
        drawn = torch.empty(copy.shape, dtype=copy.dtype)
        copy.copy_(drawn.uniform_(-bound, bound, generator=generator))


def pieces_of(x: Tensor) -> Sequence[Tensor]:
    """Splits rows, with shape (S, n, d), so that a network's layers of a piece stay in the cache.

    So a CPU takes a third of the time; on other devices all rows are one piece.
    """
    return torch.split(x, CACHED, 1) if x.device.type == "cpu" else (x,)


def jacobian(values: Tensor, x: Tensor, *, create_graph: bool = False) -> Tensor:
    r"""Computes :math:`\partial v / \partial x`, row by row, with shape (S, n, k, d).

    Arguments:
        values: What was computed from x, each row from its own, with shape (S, n, k).
        x: The rows, with shape (S, n, d), which require gradients.
        create_graph: Whether the Jacobian may be differentiated in turn.
    """
    rows = [
        torch.autograd.grad(one.sum(), x, retain_graph=True, create_graph=create_graph)[0]
        for one in values.unbind(-1)
    ]
    return torch.stack(rows, -2)
