"""The models of the paper in one shape: encode, decode, predict, and the terms of a loss."""

__all__ = [
    "CVAE",
    "CVIB",
    "MODELS",
    "STIB",
    "VAE",
    "Code",
    "Critics",
    "Model",
    "Sizes",
    "StibWithoutRegularizer",
]

from abc import ABC, abstractmethod
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any, ClassVar, Literal

import torch
from torch import Tensor, nn

from symmetry.data import Columns, Units
from symmetry.information import (
    covariance,
    gaussian_mutual_information,
    kl_to_standard_normal,
    mean_pairwise_kl,
)
from symmetry.networks import MLP


@dataclass(frozen=True)
class Sizes:
    """Holds the sizes that shape a model.

    Arguments:
        stack: The number of independently seeded copies S.
        x: The size of an input row.
        y: The size of a target row.
        invariant: The size of the invariant latent part Z0.
        target: The size of the target latent part Z1 (unused by CVAE and CVIB: y stands there).
        hidden: The width of all hidden layers.
        critic: The number of features of the critics f and h (STIB only).
        memory: Over how many batches the covariance of these features is averaged (STIB only);
            1 is the paper's: each batch by itself.
    """

    stack: int
    x: int
    y: int
    invariant: int = 2
    target: int = 1
    hidden: int = 256
    critic: int = 8
    memory: int = 1


@dataclass(frozen=True)
class Code:
    r"""Holds what an encoder says of n inputs: :math:`q(z|x) = N(\text{mean}, \text{std}^2)`.

    Arguments:
        mean: The latent means, with shape (S, n, D).
        std: The latent standard deviations, with shape (S, n, D).
        invariant_size: How many leading latents are the invariant part Z0.
    """

    mean: Tensor
    std: Tensor
    invariant_size: int

    @property
    def invariant(self) -> Tensor:
        """The means of the invariant part Z0, with shape (S, n, dim Z0)."""
        return self.mean[..., : self.invariant_size]

    @property
    def signal_to_noise(self) -> Tensor:
        r"""Each latent's :math:`\mathrm{Var}[\mu_d] / \overline{\sigma_d^2}`, shape (S, D)."""
        return self.mean.var(1) / self.std.square().mean(1)

    @property
    def invariant_dims(self) -> Tensor:
        """Which latents of Z0 are live, with more signal than noise; bool, shape (S, dim Z0)."""
        return self.signal_to_noise[:, : self.invariant_size] > 1

    @property
    def target(self) -> Tensor:
        """The means of the target part Z1, with shape (S, n, dim Z1)."""
        return self.mean[..., self.invariant_size :]


class Model(nn.Module, ABC):
    r"""Is what all models share: an encoder and a decoder of x, and weighted loss terms.

    A model minimises :math:`\sum_k w_k \ell_k` over named terms. Each term has shape (S,) and
    its entry s depends on the weights of copy s alone, so that the sum over the stack trains
    S independent models.

    Arguments:
        sizes: The sizes of the stack, the data, the latents and the layers.
        weights: The weight of each term at the end of training, by the names in ``term_names``.
        units: How x and y are standardised on the way into the networks and out again, so that
            all that enters and leaves the model is in the units of the data; None for not at all.

    Raises:
        ValueError: If the names of the weights are not those of the terms.
    """

    key: ClassVar[str]
    term_names: ClassVar[tuple[str, ...]]
    decodes_from_y: ClassVar[bool] = False
    encoder: MLP
    x_decoder: MLP

    def __init__(
        self, sizes: Sizes, weights: Mapping[str, float], units: Units | None = None
    ) -> None:
        super().__init__()
        if set(weights) != set(self.term_names):
            raise ValueError(
                f"{self.key}: weights are given for {', '.join(sorted(weights))}; "
                f"its terms are {', '.join(self.term_names)}"
            )
        self.sizes = sizes
        self.weights = dict(weights)
        self.units = units
        self._build()

    def encode(self, x: Tensor) -> Code:
        """Encodes x, with shape (n, x_size) or (S, n, x_size)."""
        return self._code(self._stacked(self.standardised(x, "x")))

    def decode(self, invariant: Tensor, target: Tensor) -> Tensor:
        """Decodes x̂, with shape (S, n, x_size), from Z0 and Z1 (CVAE, CVIB: from Z0 and y)."""
        return self._in_units(self._decoded(invariant, target), "x")

    def predict(self, invariant: Tensor, target: Tensor) -> Tensor | None:
        """Predicts ŷ, with shape (S, n, y_size), from Z0 and Z1; None where no y is predicted."""
        y_hat = self._predicted(invariant, target)
        return None if y_hat is None else self._in_units(y_hat, "y")

    def decoder_target(self, target: Tensor, y: Tensor) -> Tensor:
        """Chooses what the decoder takes beside Z0: Z1, or the true y for CVAE and CVIB."""
        return self.standardised(y, "y") if self.decodes_from_y else target

    def standardised(self, rows: Tensor, side: Literal["x", "y"]) -> Tensor:
        """Standardises rows of x or y as the networks see them; without units, not at all."""
        if self.units is None:
            return rows
        columns: Columns = getattr(self.units, side)
        return (rows - rows.new_tensor(columns.mean)) / rows.new_tensor(columns.std)

    def _in_units(self, rows: Tensor, side: Literal["x", "y"]) -> Tensor:
        # The inverse of standardised.
        if self.units is None:
            return rows
        columns: Columns = getattr(self.units, side)
        return rows * rows.new_tensor(columns.std) + rows.new_tensor(columns.mean)

    def terms(self, x: Tensor, y: Tensor, noise: Tensor) -> dict[str, Tensor]:
        """Computes the unweighted terms of the loss, from standardised rows.

        Arguments:
            x: The inputs as :meth:`standardised` gives them, with shape (S, n, x_size).
            y: The targets, likewise, with shape (S, n, y_size).
            noise: Standard normal draws ε for z = mean + std · ε, with shape (S, n, D).

        Returns:
            The terms by name, each with shape (S,): divergences and dependence in nats, squared
            errors summed over coordinates and averaged over rows.
        """
        mean, log_std = self._posterior(x)
        z = mean + log_std.exp() * noise
        invariant, target = z[..., : self.sizes.invariant], z[..., self.sizes.invariant :]
        x_hat = self._decoded(invariant, y if self.decodes_from_y else target)
        terms = {
            "kl": kl_to_standard_normal(mean, log_std),
            "x": squared_error(x_hat, x),
        }
        y_hat = self._predicted(invariant, target)
        if y_hat is not None:
            terms["y"] = squared_error(y_hat, y)
        return terms | self._invariance_terms(mean, log_std, invariant, y)

    def mean_absolute_errors(self, x: Tensor, y: Tensor) -> dict[str, Tensor]:
        r"""Computes :math:`\overline{\sum_j |\hat a_j - a_j|}` of x and, if predicted, of y.

        Arguments:
            x: The inputs as :meth:`standardised` gives them, with shape (S, n, x_size).
            y: The targets, likewise, with shape (S, n, y_size).

        Returns:
            ``x_mae`` and ``y_mae``, each with shape (S,), from the latent means.
        """
        code = self._code(x)
        x_hat = self._decoded(code.invariant, y if self.decodes_from_y else code.target)
        y_hat = self._predicted(code.invariant, code.target)
        errors = {"x_mae": absolute_error(x_hat, x)}
        if y_hat is not None:
            errors["y_mae"] = absolute_error(y_hat, y)
        return errors

    def absolute_error(self, estimate: Tensor, truth: Tensor, side: Literal["x", "y"]) -> Tensor:
        r"""Computes :math:`\overline{\sum_j |\hat a_j - a_j|}`, standardised, with shape (S,)."""
        return absolute_error(self.standardised(estimate, side), self.standardised(truth, side))

    def objective(self, terms: Mapping[str, Tensor]) -> Tensor:
        r"""Sums the weighted terms, :math:`\sum_k w_k \ell_k`, with shape (S,)."""
        return torch.stack([weight * terms[name] for name, weight in self.weights.items()]).sum(0)

    def loss(self, terms: Mapping[str, Tensor], kl_weight: float) -> Tensor:
        """Computes what one backward pass descends, the KL weighted as scheduled, shape (S,)."""
        return self.objective(terms) + (kl_weight - self.weights["kl"]) * terms["kl"]

    def decoders(self) -> list[MLP]:
        """Lists what decodes latents: x̂, and ŷ where it is predicted."""
        return [self.x_decoder]

    def players(self) -> dict[str, list[nn.Parameter]]:
        """Names the players of the training game and the parameters that each one moves."""
        return {"model": list(self.parameters())}

    @property
    def latent_size(self) -> int:
        """The number of latent dimensions D."""
        return self.sizes.invariant + (0 if self.decodes_from_y else self.sizes.target)

    @property
    def measured_size(self) -> int:
        """How many leading latents the published MI(Z0, Y) is measured on."""
        return self.sizes.invariant

    @abstractmethod
    def _build(self) -> None:
        # Creates the networks of the model for its sizes.
        ...

    @abstractmethod
    def _posterior(self, x: Tensor) -> tuple[Tensor, Tensor]:
        # The mean and the log standard deviation, the latter of shape (S, n, D) or (S, 1, D).
        ...

    # Within, all is standardised; without, in the units of the data.

    def _code(self, x: Tensor) -> Code:
        mean, log_std = self._posterior(x)
        return Code(mean, log_std.exp().expand_as(mean), self.sizes.invariant)

    def _decoded(self, invariant: Tensor, target: Tensor) -> Tensor:
        z = torch.cat([self._stacked(invariant), self._stacked(target)], -1)
        x_hat: Tensor = self.x_decoder(z)
        return x_hat

    def _predicted(self, invariant: Tensor, target: Tensor) -> Tensor | None:
        return None

    def _invariance_terms(
        self, mean: Tensor, log_std: Tensor, invariant: Tensor, y: Tensor
    ) -> dict[str, Tensor]:
        # The terms that draw Z0 away from y, from its distribution and its sample.
        return {}

    def _mlp(self, in_features: int, out_features: int, bias: bool = True) -> MLP:
        return MLP(self.sizes.stack, in_features, out_features, self.sizes.hidden, bias)

    def _stacked(self, rows: Tensor) -> Tensor:
        return rows.expand(self.sizes.stack, -1, -1)


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

    def decoders(self) -> list[MLP]:
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


class VAE(StibWithoutRegularizer):
    r"""Creates a variational autoencoder of x and y: both are decoded from all latents.

    .. math:: w_{KL}\,\mathrm{KL}[q(z|x) \| N(0, 1)] + w_x\|x - \hat x(z)\|^2
        + w_y\|y - \hat y(z)\|^2

    As in the paper's figure the first latents stand for Z0 and the last for Z1, although the loss
    does not tell them apart; the published MI(Z0, Y) is measured on all of them.

    Arguments:
        See :class:`Model`.

    References:
        Auto-Encoding Variational Bayes (Kingma and Welling, 2014),
        https://arxiv.org/abs/1312.6114
    """

    key = "vae"

    @property
    def measured_size(self) -> int:
        """How many leading latents the published MI(Z0, Y) is measured on."""
        return self.latent_size

    def _predictor_size(self) -> int:
        return self.latent_size

    def _predicted(self, invariant: Tensor, target: Tensor) -> Tensor:
        every = torch.cat([self._stacked(invariant), self._stacked(target)], -1)
        return super()._predicted(invariant, every)


class CVAE(Model):
    r"""Creates a conditional variational autoencoder: x̂ from Z0 and y, no prediction of y.

    .. math:: w_{KL}\,\mathrm{KL}[q(z_0|x) \| N(0, 1)] + w_x\|x - \hat x(z_0, y)\|^2

    The encoder has no biases; its last layer gives the means and the log variances.

    Arguments:
        See :class:`Model`.

    References:
        Learning Structured Output Representation using Deep Conditional Generative Models
        (Sohn et al., 2015), https://papers.nips.cc/paper/5775
    """

    key = "cvae"
    term_names: ClassVar[tuple[str, ...]] = ("kl", "x")
    decodes_from_y = True

    def _build(self) -> None:
        sizes = self.sizes
        self.encoder = self._mlp(sizes.x, 2 * sizes.invariant, bias=False)
        self.x_decoder = self._mlp(sizes.invariant + sizes.y, sizes.x)

    def _posterior(self, x: Tensor) -> tuple[Tensor, Tensor]:
        mean, log_variance = self.encoder(x).chunk(2, -1)
        return mean, 0.5 * log_variance


class CVIB(CVAE):
    r"""Creates a CVAE whose codes are drawn together pairwise, which bounds I(Z0; Y).

    .. math:: w_{KL}\,\mathrm{KL}[q(z_0|x) \| N(0, 1)] + w_x\|x - \hat x(z_0, y)\|^2
        + w_p\,\overline{\mathrm{KL}[q(z_0|x_i) \| q(z_0|x_j)]}

    Arguments:
        See :class:`Model`.

    References:
        Invariant Representations without Adversarial Training
        (Moyer et al., 2018), https://arxiv.org/abs/1805.09458
    """

    key = "cvib"
    term_names: ClassVar[tuple[str, ...]] = ("kl", "x", "pairwise")

    def _invariance_terms(
        self, mean: Tensor, log_std: Tensor, invariant: Tensor, y: Tensor
    ) -> dict[str, Tensor]:
        return {"pairwise": mean_pairwise_kl(mean, log_std)}


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

    averaged: Tensor
    seen: Tensor

    def __init__(self, sizes: Sizes) -> None:
        super().__init__()
        self.sizes = sizes
        self.f = MLP(sizes.stack, sizes.invariant, sizes.critic, sizes.hidden)
        self.h = MLP(sizes.stack, sizes.y, sizes.critic, sizes.hidden)
        self.h_inverse = MLP(sizes.stack, sizes.critic, sizes.y, sizes.hidden)
        features = 2 * sizes.critic
        averaged = torch.zeros(sizes.stack, features, features)
        self.register_buffer("averaged", averaged, persistent=False)
        self.register_buffer("seen", torch.zeros(()), persistent=False)

    def forward(self, invariant: Tensor, y: Tensor) -> dict[str, Tensor]:
        """Computes the dependence D, in nats, and the injectivity error of h, each (S,).

        Arguments:
            invariant: Samples of Z0, with shape (S, n, dim Z0).
            y: The targets, with shape (S, n, dim y).
        """
        v = self.h(y)
        features = torch.cat([self.f(invariant), v], -1)
        information = gaussian_mutual_information(
            self._averaged(covariance(features)), self.sizes.critic
        )
        return {
            "dependence": 2 * information,
            "injectivity": squared_error(self.h_inverse(v), y),
        }

    def _averaged(self, present: Tensor) -> Tensor:
        # The value of the average with the gradient of the present batch.
        if not self.training:
            return present
        with torch.no_grad():
            self.seen += 1
            share = 1 / self.seen.clamp(max=self.sizes.memory)
            self.averaged = torch.lerp(self.averaged, present.detach(), share)
        return self.averaged + (present - present.detach())


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

    def objective(self, terms: Mapping[str, Tensor]) -> Tensor:
        r"""Sums the model's own terms; the injectivity error is the adversary's, shape (S,)."""
        return super().objective({**terms, "injectivity": torch.zeros_like(terms["kl"])})

    def loss(self, terms: Mapping[str, Tensor], kl_weight: float) -> Tensor:
        r"""Computes what one backward pass descends for both players at once, shape (S,).

        The critics must ascend D while the encoder descends :math:`w_D D`. So the loss holds −D,
        whose gradient is turned round and scaled by :math:`w_D` where it enters Z0. The KL of Z1
        is scheduled as all KL is: what Z1 learns first, it keeps.
        """
        weights = self.weights
        warming = kl_weight / weights["kl"] - 1
        return (
            super().loss(terms, kl_weight)
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


def absolute_error(estimate: Tensor, truth: Tensor) -> Tensor:
    r"""Computes :math:`\overline{\sum_j |\hat a_j - a_j|}`, from (S, n, d) to shape (S,)."""
    return (estimate - truth).abs().sum(-1).mean(-1)


def squared_error(estimate: Tensor, truth: Tensor) -> Tensor:
    r"""Computes :math:`\overline{\|\hat a - a\|^2}`, from (S, n, d) to shape (S,)."""
    return (estimate - truth).square().sum(-1).mean(-1)


MODELS: dict[str, type[Model]] = {
    model.key: model for model in (VAE, StibWithoutRegularizer, CVAE, CVIB, STIB)
}
