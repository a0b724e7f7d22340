"""STIB, its adversary, and STIB without it."""

__all__ = ["STIB", "Critics", "StibWithoutRegularizer"]

from collections.abc import Mapping
from typing import Any, ClassVar

import torch
from torch import Tensor, nn

from symmetry.data import Units
from symmetry.information import covariance, gaussian_mutual_information, kl_to_standard_normal
from symmetry.models.base import Model, Sizes, squared_error
from symmetry.networks import MLP, RunningMean


class StibWithoutRegularizer(Model):
    r"""Creates STIB without its adversary: ŷ from Z1 alone, x̂ from Z0 and Z1.

    .. math:: w_{KL}\,\mathrm{KL}[q(z|x) \| N(0, 1)] + w_x\|x - \hat x(z_0, z_1)\|^2
        + w_y\|y - \hat y(z_1)\|^2

    The encoder has no biases; each latent has one learned standard deviation for all inputs.

    Arguments:
        See :class:`Model`.

    References:
        Inverse Learning of Symmetries (Wieser et al., 2020), https://arxiv.org/abs/2002.02782
    """

    key = "stib_wo_reg"
    term_names: ClassVar[tuple[str, ...]] = ("kl", "x", "y")

    def decoders(self) -> list[nn.Module]:
        """Lists what decodes latents: x̂ and ŷ."""
        return [self.x_decoder, self.y_decoder]

    def _build(self) -> None:
        sizes = self.sizes
        self.encoder = self._mlp(sizes.x, self.latent_size, bias=False)
        self.log_std = nn.Parameter(torch.zeros(sizes.stack, 1, self.latent_size))
        self.x_decoder = self._mlp(self.latent_size, sizes.x)
        self.y_decoder = self._mlp(self._predictor_size(), sizes.y)

    def _predictor_size(self) -> int:
        return self.sizes.target

    def _posterior(self, x: Tensor) -> tuple[Tensor, Tensor]:
        return self.encoder(x), self.log_std

    def _predicted(self, invariant: Tensor, target: Tensor) -> Tensor:
        y_hat: Tensor = self.y_decoder(self._stacked(target))
        return y_hat


class Critics(nn.Module):
    r"""Creates the adversary: it looks for a dependence between Z0 and y and must find it.

    .. math:: D = \log\frac{\det R_u \det R_v}{\det R_{uv}}, \quad u = f(z_0), \quad v = h(y)

    R are the correlation matrices of the features; D is twice their Gaussian mutual information.
    The decoder :math:`h^{-1}` keeps h injective, so that no information on y is lost:
    :math:`I(Z_0; y) = I(Z_0; h(y))`.

    In one batch of n rows, k × k pairs of independent features seem dependent by k²/n nats, and
    an encoder would run after that noise. While it trains, D and its gradient are therefore taken
    at the covariance averaged over the last batches (``sizes.memory``), and the gradient flows
    through the present batch. The averaging is ours, not the paper's.

    Arguments:
        sizes: The sizes of the stack, of Z0 and y, of the layers, and of the critics.
    """

    def __init__(self, sizes: Sizes) -> None:
        super().__init__()
        self.sizes = sizes
        self.f = MLP(sizes.stack, sizes.invariant, sizes.critic, sizes.hidden)
        self.h = MLP(sizes.stack, sizes.y, sizes.critic, sizes.hidden)
        self.h_inverse = MLP(sizes.stack, sizes.critic, sizes.y, sizes.hidden)
        features = 2 * sizes.critic
        self.average = RunningMean((sizes.stack, features, features), sizes.memory)

    def forward(self, invariant: Tensor, y: Tensor) -> dict[str, Tensor]:
        """Computes the dependence D, in nats, and the injectivity error of h, each (S,).

        Arguments:
            invariant: Samples of Z0, with shape (S, n, dim Z0).
            y: The targets, with shape (S, n, dim y).
        """
        v = self.h(y)
        features = torch.cat([self.f(invariant), v], -1)
        information = gaussian_mutual_information(
            self.average(covariance(features)), self.sizes.critic
        )
        return {
            "dependence": 2 * information,
            "injectivity": squared_error(self.h_inverse(v), y),
        }


class STIB(StibWithoutRegularizer):
    r"""Creates the symmetry-transformation information bottleneck.

    .. math:: w_{KL}\,\mathrm{KL}[q(z|x) \| N(0, 1)] + w_x\|x - \hat x(z_0, z_1)\|^2
        + w_y\|y - \hat y(z_1)\|^2 + w_D D(z_0, y) + w_1\,\mathrm{KL}[q(z_1|x) \| N(0, 1)]

    The last term is ours, 0 in the paper: what y does not need is as cheap in Z1 as in Z0 without
    it, so that Z1 may say on which part of an orbit x lies, and partners then stay on that part.

    The model plays against an adversary, :class:`Critics`, which ascends
    :math:`D - w_i\|y - h^{-1}(h(y))\|^2`.

    Arguments:
        See :class:`Model`.

    Raises:
        ValueError: If the weight of the KL, by which that of Z1 is scheduled, is not above 0.

    References:
        Inverse Learning of Symmetries (Wieser et al., 2020), https://arxiv.org/abs/2002.02782
    """

    key = "stib"
    term_names: ClassVar[tuple[str, ...]] = (
        "kl",
        "x",
        "y",
        "dependence",
        "injectivity",
        "target_kl",
    )

    def __init__(
        self, sizes: Sizes, weights: Mapping[str, float], units: Units | None = None
    ) -> None:
        super().__init__(sizes, weights, units)
        if not weights["kl"] > 0:
            raise ValueError(f"{self.key}: the weight of kl is {weights['kl']}; allowed: above 0")

    def objective(self, terms: Mapping[str, Tensor]) -> Tensor:
        r"""Sums the model's own terms; the injectivity error is the adversary's, shape (S,)."""
        return super().objective({**terms, "injectivity": torch.zeros_like(terms["kl"])})

    def loss(self, terms: Mapping[str, Tensor], scheduled: float) -> Tensor:
        r"""Computes what one backward pass descends for both players at once, shape (S,).

        The critics must ascend D while the encoder descends :math:`w_D D`. So the loss holds −D,
        whose gradient is turned round and scaled by :math:`w_D` where it enters Z0. The KL of Z1
        is scheduled as all KL is: what Z1 learns first, it keeps.
        """
        weights = self.weights
        warming = scheduled / weights["kl"] - 1
        return (
            super().loss(terms, scheduled)
            + warming * weights["target_kl"] * terms["target_kl"]
            - (1 + weights["dependence"]) * terms["dependence"]
            + weights["injectivity"] * terms["injectivity"]
        )

    def players(self) -> dict[str, list[nn.Parameter]]:
        """Names the players of the training game and the parameters that each one moves."""
        adversary = list(self.critics.parameters())
        theirs = {id(parameter) for parameter in adversary}
        return {
            "model": [parameter for parameter in self.parameters() if id(parameter) not in theirs],
            "adversary": adversary,
        }

    def _build(self) -> None:
        super()._build()
        self.critics = Critics(self.sizes)

    def _invariance_terms(
        self, mean: Tensor, log_std: Tensor, invariant: Tensor, y: Tensor
    ) -> dict[str, Tensor]:
        turned: Tensor = _ReversedGradient.apply(  # type: ignore[no-untyped-call]
            invariant, self.weights["dependence"]
        )
        terms: dict[str, Tensor] = self.critics(turned, y)
        target = slice(self.sizes.invariant, None)
        return terms | {
            "target_kl": kl_to_standard_normal(mean[..., target], log_std[..., target])
        }


class _ReversedGradient(torch.autograd.Function):
    # Domain-Adversarial Training of Neural Networks (Ganin et al., 2016), arXiv 1505.07818.

    @staticmethod
    def forward(ctx: Any, x: Tensor, scale: float) -> Tensor:
        ctx.scale = scale
        return x.view_as(x)

    @staticmethod
    def backward(ctx: Any, gradient: Tensor) -> tuple[Tensor, None]:
        return -ctx.scale * gradient, None
