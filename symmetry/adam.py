"""Adam without PyTorch's compiler."""

__all__ = ["Adam"]

from collections.abc import Iterable
from itertools import compress

import torch
from torch import Tensor


class Adam:
    r"""Moves parameters against their gradients g, each on a scale of its own.

    .. math:: m \leftarrow 0.9\,m + 0.1\,g, \quad v \leftarrow 0.999\,v + 0.001\,g^2, \quad
        \theta \leftarrow \theta - \text{rate} \cdot
        \frac{m / (1 - 0.9^t)}{\sqrt{v / (1 - 0.999^t)} + 10^{-8}}

    It takes the steps of :class:`torch.optim.Adam`, bit for bit, by the same kernel. That class
    loads PyTorch's compiler: for a second, as long as a small table takes to be learned. And it
    counts each parameter's steps by an operation of its own, a fiftieth of a step of STIB.

    Arguments:
        parameters: The parameters, on one device. One without a gradient stays where it is.

    References:
        Adam: A Method for Stochastic Optimization (Kingma and Ba, 2015),
        https://arxiv.org/abs/1412.6980
    """

    def __init__(self, parameters: Iterable[Tensor]) -> None:
        self.parameters = list(parameters)
        self.means = [torch.zeros_like(parameter) for parameter in self.parameters]
        self.squares = [torch.zeros_like(parameter) for parameter in self.parameters]
        self.counts = self.parameters[0].new_zeros(len(self.parameters))
        self.steps = self.counts.unbind()

    @torch.no_grad()
    def step(self, rate: float) -> None:
        """Takes a step."""
        moves = [parameter.grad is not None for parameter in self.parameters]
        if not any(moves):
            return
        self.counts += self.counts.new_tensor(moves)
        torch._fused_adam_(
            list(compress(self.parameters, moves)),
            [parameter.grad for parameter in self.parameters if parameter.grad is not None],
            list(compress(self.means, moves)),
            list(compress(self.squares, moves)),
            [],
            list(compress(self.steps, moves)),
            amsgrad=False,
            beta1=0.9,
            beta2=0.999,
            lr=rate,
            weight_decay=0.0,
            eps=1e-8,
            maximize=False,
        )

    def named(self) -> dict[str, Tensor]:
        """Names the moments and the steps, all that it goes on from."""
        lists = {"exp_avg": self.means, "exp_avg_sq": self.squares, "step": self.steps}
        return {
            f"{number}.{name}": value
            for name, values in lists.items()
            for number, value in enumerate(values)
        }
