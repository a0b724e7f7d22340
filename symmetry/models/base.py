"""What all models share: encode, decode, predict, and the terms of a loss."""

__all__ = ["Code", "Model", "Sizes", "absolute_error", "squared_error"]

from abc import ABC, abstractmethod
from collections.abc import Mapping
from dataclasses import dataclass
from typing import ClassVar, Literal

import torch
from torch import Tensor, nn

from symmetry.data import Units
from symmetry.information import kl_to_standard_normal
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
        if units is not None:
            for name, columns in (("x", units.x), ("y", units.y)):
                for part, values in (("mean", columns.mean), ("std", columns.std)):
                    held = torch.tensor(values, dtype=torch.get_default_dtype())
                    self.register_buffer(f"{name}_{part}", held, persistent=False)
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
        return self._decoder_target(target, self.standardised(y, "y"))

    def standardised(self, rows: Tensor, side: Literal["x", "y"]) -> Tensor:
        """Standardises rows of x or y as the networks see them; without units, not at all."""
        if self.units is None:
            return rows
        return (rows - self.get_buffer(f"{side}_mean")) / self.get_buffer(f"{side}_std")

    def _in_units(self, rows: Tensor, side: Literal["x", "y"]) -> Tensor:
        # The inverse of standardised.
        if self.units is None:
            return rows
        return rows * self.get_buffer(f"{side}_std") + self.get_buffer(f"{side}_mean")

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
        x_hat = self._decoded(invariant, self._decoder_target(target, y))
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
        x_hat = self._decoded(code.invariant, self._decoder_target(code.target, y))
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

    def _decoder_target(self, target: Tensor, y: Tensor) -> Tensor:
        return y if self.decodes_from_y else target

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


def absolute_error(estimate: Tensor, truth: Tensor) -> Tensor:
    r"""Computes :math:`\overline{\sum_j |\hat a_j - a_j|}`, from (S, n, d) to shape (S,)."""
    return (estimate - truth).abs().sum(-1).mean(-1)


def squared_error(estimate: Tensor, truth: Tensor) -> Tensor:
    r"""Computes :math:`\overline{\|\hat a - a\|^2}`, from (S, n, d) to shape (S,)."""
    return (estimate - truth).square().sum(-1).mean(-1)
