"""What all models share: encode, decode, predict, and the terms of a loss."""

__all__ = [
    "Code",
    "Model",
    "Sizes",
    "Turn",
    "absolute_error",
    "class_probabilities",
    "cross_entropy",
    "squared_error",
]

from abc import ABC, abstractmethod
from collections.abc import Collection, Mapping, Sequence
from dataclasses import dataclass, replace
from typing import ClassVar, Literal, Self

import torch
from torch import Tensor, nn

from symmetry.data import Units
from symmetry.information import kl_to_standard_normal
from symmetry.kinds import Kind
from symmetry.networks import MLP
from symmetry.scales import Discrete


@dataclass(frozen=True)
class Sizes:
    """Holds the sizes that shape a model.

    Arguments:
        stack: The number of independently seeded copies S.
        x: The size of an input row.
        y: The size of a target row.
        invariant: The size of the invariant latent part Z0.
        target: The size of the target latent part Z1 (unused by CVAE and CVIB: y stands there;
            0 for STIB_FLOW's prediction of y itself).
        hidden: The width of all hidden layers.
        critic: The number of features of the critics f and h (STIB only).
        memory: Over how many batches the covariance of these features is averaged (STIB only);
            1 is the paper's: each batch by itself.
        noise: The standard deviation of the noise on the normal scores of x (STIB_FLOW only).
        target_from_y: Whether Z1 learns from y alone, as it does in STIB_FLOW (STIB only).
    """

    stack: int
    x: int
    y: int
    invariant: int = 2
    target: int = 1
    hidden: int = 256
    critic: int = 8
    memory: int = 1
    noise: float = 0.0
    target_from_y: bool = False


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
    def target(self) -> Tensor:
        """The means of the target part Z1, with shape (S, n, dim Z1)."""
        return self.mean[..., self.invariant_size :]


@dataclass(frozen=True)
class Turn:
    """Names what moves at once in a training, and by what.

    Arguments:
        players: The players of the turn; the others' parameters stay as they are.
        terms: The terms of the loss that they descend, and that select their weights.
    """

    players: tuple[str, ...]
    terms: tuple[str, ...]


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
    holds: ClassVar[bool] = False  # whether it can be conditioned on columns of x
    low: Tensor
    high: Tensor
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
        self.predicts_class = units is not None and units.target is not None
        if units is not None:
            for name, columns in (("x", units.x), ("y", units.y)):
                for part, values in (("mean", columns.mean), ("std", columns.std)):
                    held = torch.tensor(values, dtype=torch.get_default_dtype())
                    self.register_buffer(f"{name}_{part}", held, persistent=False)
        # The range of the training rows, standardised; it travels beside the weights.
        widest = torch.finfo(torch.float32).max
        for end, value in (("low", -widest), ("high", widest)):
            self.register_buffer(end, torch.full((sizes.x,), value), persistent=False)
        kinds = () if units is None else units.x.kinds
        self.held = [column for column, kind in enumerate(kinds) if kind.held]
        self.discrete = self._discrete(kinds)
        still = {*self.held, *(self.discrete.columns if self.discrete else ())}
        # What refinement leaves where it is; None for nothing.
        self.fixed: Tensor | None
        mask = torch.tensor([column in still for column in range(sizes.x)]) if still else None
        self.register_buffer("fixed", mask, persistent=False)
        if self.held and not self.holds:
            names = ", ".join(repr(units.x.names[column]) for column in self.held if units)
            raise ValueError(f"{self.key} cannot hold columns ({names}); stib_flow can")
        self._build()

    def encode(self, x: Tensor) -> Code:
        """Encodes x, with shape (n, x_size) or (S, n, x_size)."""
        return self._code(self._stacked(self.standardised(x, "x")))

    def decode(self, invariant: Tensor, target: Tensor) -> Tensor:
        """Decodes x̂, with shape (S, n, x_size), from Z0 and Z1 (CVAE, CVIB: from Z0 and y)."""
        return self.in_units(self._decoded(invariant, target), "x")

    def predict(self, invariant: Tensor, target: Tensor) -> Tensor | None:
        """Predicts ŷ, with shape (S, n, y_size), from Z0 and Z1; None where no y is predicted."""
        y_hat = self._predicted(invariant, target)
        return None if y_hat is None else self.in_units(y_hat, "y")

    def sample(self, x: Tensor, noise: Tensor) -> Tensor:
        r"""Draws z from :math:`q(z|x)`, with shape (S, n, D).

        Arguments:
            x: The inputs, with shape (n, x_size) or (S, n, x_size).
            noise: Standard normal draws, with shape (S, n, ``noise_size``).
        """
        code = self.encode(x)
        return code.mean + code.std * noise

    def levels(self, x: Tensor) -> Tensor:
        """Computes Z1 of standardised inputs (S, n, x_size), with shape (S, n, dim Z1).

        It is what a symmetry keeps, and may be differentiated by x.

        Raises:
            ValueError: If the model has no Z1, as CVAE and CVIB.
        """
        if self.decodes_from_y:
            raise ValueError(f"{self.key} has no Z1: it decodes from y")
        return self._posterior(x)[0][..., self.invariant_size :]

    def kept(self, x: Tensor) -> Tensor:
        """Computes all that partners of standardised inputs keep: Z1, and the columns held."""
        return self.levels(x)

    def snapped(self, points: Tensor) -> Tensor:
        """Moves standardised points (S, n, x_size) to the nearest values of columns with few."""
        if self.discrete is None:
            return points
        return self.discrete.inverse(self.discrete(points))

    def prediction(self, x: Tensor) -> Tensor | None:
        """Predicts ŷ of inputs, with shape (S, n, y_size); None where no y is predicted."""
        code = self.encode(x)
        return self.predict(code.invariant, code.target)

    def among_data(self, points: Tensor, levels: Tensor, late: float = 1.0) -> Tensor:
        """Moves standardised points (S, n, x_size) to where data lie; here, to their x̂.

        Arguments:
            points: The points.
            levels: The Z1 of the rows that they are to be partners of, with shape (S, n, dim Z1).
            late: The time of STIB_FLOW at which points are taken for noisy ones: the earlier the
                farther they move; of no meaning here.
        """
        there = self._decoded(self._code(points).invariant, levels)
        return there if self.fixed is None else torch.where(self.fixed, points, there)

    def fresh_invariant(
        self, shape: tuple[int, ...], pool: Tensor, generator: torch.Generator
    ) -> Tensor:
        """Draws the Z0 of other rows, with shape (S, \\*shape, dim Z0).

        Arguments:
            shape: How many to draw; all copies take those of the same rows.
            pool: The inputs whose Z0 is taken, with shape (m, x_size).
            generator: The source of randomness, on the CPU.
        """
        rows = torch.randint(len(pool), shape, generator=generator)
        return self.encode(pool).invariant[:, rows.to(pool.device)]

    def prepare(self, turn: Turn, x: Tensor, held_x: Tensor, held_y: Tensor) -> None:
        """Looks at the rows before a turn; here, at the range of those to train on.

        Arguments:
            turn: The turn that begins.
            x: All inputs, in the units of the data, with shape (n, x_size).
            held_x: Those of the validation rows, with shape (m, x_size).
            held_y: The targets of these, with shape (m, y_size).
        """
        self.low.copy_(self.standardised(x.amin(0), "x"))
        self.high.copy_(self.standardised(x.amax(0), "x"))

    def alone(self, copy: int) -> Self:
        """Makes a trained model of one copy of the stack, on the same device."""
        stack = self.sizes.stack
        alone = type(self)(replace(self.sizes, stack=1), self.weights, self.units).to(self.low)
        own = alone.state_dict()
        alone.load_state_dict(
            {
                # A stack may hold several networks a copy, one after the other.
                name: value
                if value.shape == own[name].shape
                else value.unflatten(0, (-1, stack))[:, copy]
                for name, value in self.state_dict().items()
            }
        )
        alone.low.copy_(self.low)
        alone.high.copy_(self.high)
        return alone.requires_grad_(False).eval()

    def decoder_target(self, target: Tensor, y: Tensor) -> Tensor:
        """Chooses what the decoder takes beside Z0: Z1, or the true y for CVAE and CVIB."""
        return self._decoder_target(target, self.standardised(y, "y"))

    def standardised(self, rows: Tensor, side: Literal["x", "y"]) -> Tensor:
        """Standardises rows of x or y as the networks see them; without units, not at all."""
        if self.units is None:
            return rows
        return (rows - self.get_buffer(f"{side}_mean")) / self.get_buffer(f"{side}_std")

    def in_units(self, rows: Tensor, side: Literal["x", "y"]) -> Tensor:
        """Takes standardised rows of x or y back to the units of the data."""
        if self.units is None:
            return rows
        return rows * self.get_buffer(f"{side}_std") + self.get_buffer(f"{side}_mean")

    def terms(
        self, x: Tensor, y: Tensor, noise: Tensor, names: Collection[str] | None = None
    ) -> dict[str, Tensor]:
        """Computes the unweighted terms of the loss, from standardised rows.

        Arguments:
            x: The inputs as :meth:`standardised` gives them, with shape (S, n, x_size).
            y: The targets, likewise, with shape (S, n, y_size).
            noise: Standard normal draws ε, here for z = mean + std · ε, with shape
                (S, n, ``noise_size``).
            names: The terms of the turn; all by default. A model of one turn computes all.

        Returns:
            The terms by name, each with shape (S,): divergences and dependence in nats, squared
            errors summed over coordinates and averaged over rows.
        """
        mean, log_std = self._posterior(x)
        z = mean + log_std.exp() * noise
        invariant, target = z[..., : self.invariant_size], z[..., self.invariant_size :]
        kept = target.detach() if self.sizes.target_from_y else target
        x_hat = self._decoded(invariant, self._decoder_target(kept, y))
        terms = {
            "kl": kl_to_standard_normal(mean, log_std),
            "x": squared_error(x_hat, x),
        }
        y_hat = self._predicted(invariant, target)
        if y_hat is not None:
            terms["y"] = squared_error(y_hat, y)
            y = y_hat.detach() if self.sizes.target_from_y else y
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
        weighted = [weight * terms[name] for name, weight in self.weights.items() if name in terms]
        return torch.stack(weighted).sum(0)

    def loss(self, terms: Mapping[str, Tensor], scheduled: float) -> Tensor:
        """Computes what one backward pass descends, the KL weighted as scheduled, shape (S,)."""
        return self.objective(terms) + (scheduled - self.weights["kl"]) * terms["kl"]

    def decoders(self) -> list[nn.Module]:
        """Lists what decodes latents: x̂, and ŷ where it is predicted."""
        return [self.x_decoder]

    def players(self) -> dict[str, list[nn.Parameter]]:
        """Names the players of the training game and the parameters that each one moves."""
        return {"model": list(self.parameters())}

    def turns(self) -> list[Turn]:
        """Lists what is trained one after another; here, all at once."""
        return [Turn(tuple(self.players()), self.term_names)]

    @property
    def invariant_size(self) -> int:
        """The number of dimensions of Z0."""
        return self.sizes.invariant

    @property
    def latent_size(self) -> int:
        """The number of latent dimensions D."""
        return self.sizes.invariant + (0 if self.decodes_from_y else self.sizes.target)

    @property
    def noise_size(self) -> int:
        """How many normal draws a row takes."""
        return self.latent_size

    @property
    def measured_size(self) -> int:
        """How many leading latents the published MI(Z0, Y) is measured on."""
        return self.invariant_size

    def _discrete(self, kinds: Sequence[Kind]) -> Discrete | None:
        # The columns of few values, standardised as the rows are.
        if self.units is None or not any(kind.levels for kind in kinds):
            return None
        scales = zip(kinds, self.units.x.mean, self.units.x.std, strict=True)
        values = [[(level - mean) / std for level in kind.levels] for kind, mean, std in scales]
        return Discrete(values, [at for at, kind in enumerate(kinds) if kind.is_category])

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
        return Code(mean, log_std.exp().expand_as(mean), self.invariant_size)

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


def class_probabilities(log_odds: Tensor) -> Tensor:
    r"""Computes :math:`e^{l_k} / (1 + \sum_j e^{l_j})` of classes but the first, (..., K - 1)."""
    probabilities: Tensor = _with_first(log_odds).softmax(-1)[..., 1:]
    return probabilities


def cross_entropy(log_odds: Tensor, indicators: Tensor) -> Tensor:
    r"""Computes :math:`-\overline{\log p_{\text{true class}}}`, from (S, n, K - 1) to shape (S,).

    Arguments:
        log_odds: Of each class but the first against the first.
        indicators: 1 for the row's class, 0 for the others; all 0 for the first.
    """
    logs = _with_first(log_odds).log_softmax(-1)
    return -(logs[..., 0] + (indicators * (logs[..., 1:] - logs[..., :1])).sum(-1)).mean(-1)


def _with_first(log_odds: Tensor) -> Tensor:
    return torch.cat([torch.zeros_like(log_odds[..., :1]), log_odds], -1)
