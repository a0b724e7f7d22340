"""STIB_FLOW, ours: Z1 from y alone, and a conditional flow for the rest of x."""

__all__ = ["StibFlow"]

import math
from collections.abc import Collection, Mapping
from itertools import pairwise
from typing import ClassVar

import torch
from torch import Tensor, nn
from torch.nn.functional import silu

from symmetry.information import covariance
from symmetry.models.base import (
    Model,
    Turn,
    absolute_error,
    class_probabilities,
    cross_entropy,
    squared_error,
)
from symmetry.networks import MLP, jacobian
from symmetry.scales import NormalScores, Tails, White

ODE_STEPS = 12
LOOKED_AT = 100_000  # training rows whose quantiles are taken: more tell no more
LATE = 0.9  # the time at which points are taken for noisy ones, of a ninth of their scores
DECODERS = ("y_decoder", "velocity")
ALIGNED = 64  # rows of a batch whose gradients are aligned, by three more passes
WATCHED = 200  # validation rows whose x is restored, since the flow runs both ways for it


class StibFlow(Model):
    r"""Creates a symmetry without an adversary: Z0 is the noise end of a conditional flow.

    A predictor learns y from x, and what Z1 keeps is fixed before the flow is learned:

    .. math:: \min \|y - f(x)\|^2

    With ``sizes.target`` 0, Z1 is the prediction f(x) itself, along its principal directions; one
    that predicts no better than a constant does is 0 in Z1. Otherwise it is a bottleneck of so
    many units, which learns y too, and whose gradients must lie where those of f lie:

    .. math:: \min \|y - \hat y(z_1)\|^2
        + \sum_j \Bigl(1 - \frac{\|V^\top \nabla z_{1j}\|^2}{\|\nabla z_{1j}\|^2}\Bigr)

    V are the leading right singular vectors of :math:`\partial f / \partial x`. Without it a
    bottleneck folds: two parts of a spiral that once lie on one code are slow to part. Conditional
    flow matching then learns the velocity v of an ordinary differential equation that carries
    noise to inputs of that Z1:

    .. math:: \min \|v(x_t, t, z_1) - (s - x_0)\|^2, \quad x_t = (1 - t)\,x_0 + t\,s, \quad
        x_0 \sim N(0, 1)

    s are the normal scores of x, with a little noise, since x lies on an orbit of fewer
    dimensions. Z0 is where the equation leads x when it runs back to t = 0. It has the same law
    N(0, 1) whatever Z1 is, so that it is independent of y by construction.

    Arguments:
        See :class:`Model`.

    References:
        Flow Matching for Generative Modeling (Lipman et al., 2023), https://arxiv.org/abs/2210.02747

        Flow Straight and Fast: Learning to Generate and Transfer Data with Rectified Flow
        (Liu et al., 2023), https://arxiv.org/abs/2209.03003
    """

    key = "stib_flow"
    holds = True
    term_names: ClassVar[tuple[str, ...]] = ("y", "flow", "bottleneck", "alignment")
    directions: Tensor

    def sample(self, x: Tensor, noise: Tensor) -> Tensor:
        """Draws z from x with the noise of the training on its scores, with shape (S, n, D)."""
        seen = self._stacked(self.standardised(x, "x"))
        target = self.kept(seen)
        scores = self._noisy_scores(seen, noise[..., : self.invariant_size])
        return torch.cat([self._flow(scores, target, back=True), target], -1)

    def levels(self, x: Tensor) -> Tensor:
        """Computes Z1 of standardised inputs (S, n, x_size), with shape (S, n, dim Z1)."""
        seen = self._seen(x)
        if self.sizes.target:
            bottleneck: Tensor = self.encoder(seen)
            return bottleneck
        predicted: Tensor = self.predictor(seen)
        return predicted @ self.directions

    def kept(self, x: Tensor) -> Tensor:
        """Computes Z1 and, after it, the columns held; with shape (S, n, dim Z1 + held)."""
        levels = self.levels(x)
        return torch.cat([levels, x[..., self.held]], -1) if self.held else levels

    def prediction(self, x: Tensor) -> Tensor:
        """Predicts ŷ of inputs, with shape (S, n, y_size); the flow has no part in it."""
        level = self.levels(self._stacked(self.standardised(x, "x")))
        return self.in_units(self._predicted(level, level), "y")

    def among_data(self, points: Tensor, levels: Tensor, late: float = LATE) -> Tensor:
        r"""Moves standardised points (S, n, x_size) to where data of their level lie.

        .. math:: E[s | x_t = t\,s] = t\,s + (1 - t)\,v(t\,s, t, z_1)

        is what the flow takes for the clean scores behind slightly noisy ones.
        """
        scores = late * self._scores(points)
        time = scores.new_full((*scores.shape[:-1], 1), late)
        velocity = self._velocity(scores, time, self._condition(levels))
        there = self._points(scores + (1 - late) * velocity, levels)
        return there if self.fixed is None else torch.where(self.fixed, points, there)

    def fresh_invariant(
        self, shape: tuple[int, ...], pool: Tensor, generator: torch.Generator
    ) -> Tensor:
        """Draws Z0 from its law N(0, 1), the same for all copies, (S, \\*shape, dim Z0)."""
        drawn = torch.randn(*shape, self.invariant_size, generator=generator)
        return drawn.to(pool.device).expand(self.sizes.stack, *drawn.shape)

    @torch.no_grad()
    def prepare(self, turn: Turn, x: Tensor, held_x: Tensor, held_y: Tensor) -> None:
        """Takes the scales of x, or the directions and scales of Z1 once it is learned."""
        super().prepare(turn, x, held_x, held_y)
        looked_at = self.standardised(x[:: math.ceil(len(x) / LOOKED_AT)], "x")
        if "predictor" in turn.players:
            self.tails.adapt(looked_at)
            spread = self.discrete.spread if self.discrete else lambda rows: rows
            self.scores.adapt(spread(looked_at))
            ends = torch.stack([self.low, self.high])
            if self.discrete:
                ends = self.discrete.ends(ends)
            self.scores.values[..., 0], self.scores.values[..., -1] = ends
            if self.white is not None:
                self.white.adapt(self.scores(spread(looked_at)[None])[0][:, self.free])
        elif "flow" in turn.players:
            if not self.sizes.target and not self.predicts_class:
                self._take_directions(looked_at, held_x, held_y)
            self.level_scores.adapt(self.levels(self._stacked(looked_at)))

    def terms(
        self, x: Tensor, y: Tensor, noise: Tensor, names: Collection[str] | None = None
    ) -> dict[str, Tensor]:
        """Computes the squared errors of f, ŷ and the velocity, and how far the gradients of a
        bottleneck are from those of f, by the first rows alone; see :meth:`Model.terms`.
        """
        names = {name for turn in self.turns() for name in turn.terms} if names is None else names
        terms = {}
        if "y" in names:
            terms["y"] = self._error(self.predictor(self._seen(x)), y)
        if "bottleneck" in names:
            terms["bottleneck"] = self._error(self._told(self.levels(x)), y)
            terms["alignment"] = self._misalignment(x[:, :ALIGNED])
        if "flow" in names:
            size = self.invariant_size
            start, jitter, time = noise.tensor_split([size, 2 * size], -1)
            # Late times are taken more often: there the flow is steep.
            time = 1 - torch.special.ndtr(time) ** 1.5
            condition = self._condition(self.kept(x).detach())
            end = self._noisy_scores(x, jitter)
            velocity = self._velocity(torch.lerp(start, end, time), time, condition)
            terms["flow"] = squared_error(velocity, end - start)
        return terms

    def mean_absolute_errors(self, x: Tensor, y: Tensor) -> dict[str, Tensor]:
        """Computes ``x_mae``, of the first rows alone, and ``y_mae``; see :class:`Model`."""
        target = self.kept(x)
        few, kept = x[:, :WATCHED], target[:, :WATCHED]
        x_hat = self._decoded(self._flow(self._scores(few), kept, back=True), kept)
        return {
            "x_mae": absolute_error(x_hat, few),
            "y_mae": absolute_error(self._predicted(target, target), y),
        }

    def loss(self, terms: Mapping[str, Tensor], scheduled: float) -> Tensor:
        """Computes what a turn descends, with shape (S,).

        The error of a bottleneck is weighted as scheduled: its gradients are aligned before it
        learns, since what has folded stays so.
        """
        loss = self.objective(terms)
        if "bottleneck" in terms:
            loss = loss + (scheduled - self.weights["bottleneck"]) * terms["bottleneck"]
        return loss

    def decoders(self) -> list[nn.Module]:
        """Lists the networks that start with spread biases: those that lead away from a code.

        The predictor starts smooth, after Glorot: on a thousand rows it errs a third less so.
        """
        return [part for name, part in self.named_children() if name in DECODERS]

    def players(self) -> dict[str, list[nn.Parameter]]:
        """Names the players of the training and the parameters that each one moves."""
        players = {"predictor": list(self.predictor.parameters())}
        if self.sizes.target:
            players["bottleneck"] = [*self.encoder.parameters(), *self.y_decoder.parameters()]
        return players | {"flow": list(self.velocity.parameters())}

    def turns(self) -> list[Turn]:
        """Lists the turns: each builds on what the one before has learned, and leaves it be."""
        bottleneck = Turn(("bottleneck",), ("bottleneck", "alignment"))
        return [
            Turn(("predictor",), ("y",)),
            *([bottleneck] if self.sizes.target else []),
            Turn(("flow",), ("flow",)),
        ]

    @property
    def invariant_size(self) -> int:
        """The number of dimensions of Z0, those of x that are not held."""
        return self.sizes.x - len(self.held)

    @property
    def target_size(self) -> int:
        """The number of dimensions of Z1, without the columns that are held."""
        return self.sizes.target or self.sizes.y

    @property
    def latent_size(self) -> int:
        """The number of latent dimensions D."""
        return self.sizes.x + self.target_size

    @property
    def noise_size(self) -> int:
        """How many normal draws a row takes: for Z0, the noise on x, and the time."""
        return 2 * self.invariant_size + 1

    def _build(self) -> None:
        sizes = self.sizes
        self.tails = Tails(sizes.x)
        self.scores = NormalScores(sizes.x)
        self.level_scores = NormalScores(sizes.stack, self.target_size)
        self.white = White(self.invariant_size) if self.discrete else None
        self.free = [column for column in range(sizes.x) if column not in set(self.held)]
        told = dict(self._categories())
        seen = sizes.x + sum(told.values()) - len(told)
        self.predictor = self._network(seen, sizes.y)
        if sizes.target:
            self.encoder = self._network(seen, sizes.target)
            self.y_decoder = self._network(sizes.target, sizes.y)
        else:
            self.register_buffer("directions", torch.zeros(sizes.stack, sizes.y, sizes.y))
            self.directions.diagonal(dim1=-2, dim2=-1).fill_(1)
        held = sum(told.get(column, 1) for column in self.held)
        self.velocity = self._network(
            self.invariant_size + self.target_size + held + 2, self.invariant_size
        )

    def _network(self, in_features: int, out_features: int) -> MLP:
        stack, hidden = self.sizes.stack, self.sizes.hidden
        return MLP(stack, in_features, out_features, hidden, hidden_layers=3, activation=silu)

    def _posterior(self, x: Tensor) -> tuple[Tensor, Tensor]:
        target = self.kept(x)
        mean = torch.cat([self._flow(self._scores(x), target, back=True), target], -1)
        return mean, mean.new_full((), -math.inf)  # the code of x is one point

    def _decoded(self, invariant: Tensor, target: Tensor) -> Tensor:
        target = self._stacked(target)
        return self._points(self._flow(self._stacked(invariant), target, back=False), target)

    def _predicted(self, invariant: Tensor, target: Tensor) -> Tensor:
        told = self._told(self._stacked(target[..., : self.target_size]))
        return class_probabilities(told) if self.predicts_class else told

    def _told(self, level: Tensor) -> Tensor:
        # What Z1 says of y: y itself, or of a class its log-odds against the first one.
        if not self.sizes.target:
            return level @ self.directions.mT
        told: Tensor = self.y_decoder(level)
        return told

    def _error(self, told: Tensor, y: Tensor) -> Tensor:
        return cross_entropy(told, y) if self.predicts_class else squared_error(told, y)

    # Columns: free ones have a score each, held ones are part of what is kept.

    def _categories(self) -> list[tuple[int, int]]:
        return self.discrete.categories if self.discrete else []

    def _seen(self, x: Tensor) -> Tensor:
        # What the predictor sees of standardised inputs.
        seen: Tensor = self.tails(x)
        if self.discrete is None or not self.discrete.categories:
            return seen
        codes = self.discrete.one_hot(x, [column for column, _ in self.discrete.categories])
        return torch.cat([seen[..., self.discrete.plain], *codes], -1)

    def _scores(self, x: Tensor, noise: Tensor | None = None) -> Tensor:
        # Normal scores of the free columns; the noise spreads the values of discrete ones.
        scores: Tensor = self.scores(self.discrete(x, noise) if self.discrete else x)
        scores = scores[..., self.free] if self.held else scores
        return scores if self.white is None else self.white(scores)

    def _noisy_scores(self, x: Tensor, noise: Tensor) -> Tensor:
        if self.discrete is None:
            return self._scores(x) + self.sizes.noise * noise
        uniform = x.new_full(x.shape, 0.5).index_copy(
            -1, torch.tensor(self.free, device=x.device), torch.special.ndtr(noise)
        )
        return self._scores(x, uniform) + self.sizes.noise * noise

    def _points(self, scores: Tensor, kept: Tensor) -> Tensor:
        # Standardised inputs of free columns' scores, with the held columns of what is kept.
        if self.white is not None:
            scores = self.white.inverse(scores)
        if self.held:
            whole = scores.new_zeros(*scores.shape[:-1], self.sizes.x)
            whole[..., self.free] = scores
            scores = whole
        points = self.scores.inverse(scores)
        if self.discrete:
            points = self.discrete.inverse(points)
        if self.held:
            points = points.clone()
            points[..., self.held] = kept[..., self.target_size :]
        return points

    def _condition(self, kept: Tensor) -> Tensor:
        # What the velocity is told of all that is kept.
        level: Tensor = self.level_scores(kept[..., : self.target_size])
        if not self.held:
            return level
        points = kept.new_zeros(*kept.shape[:-1], self.sizes.x)
        points[..., self.held] = kept[..., self.target_size :]
        categories = {column for column, _ in self._categories()}
        scores = self.scores(self.discrete(points) if self.discrete else points)
        numbers = scores[..., [column for column in self.held if column not in categories]]
        chosen = [column for column in self.held if column in categories]
        codes = self.discrete.one_hot(points, chosen) if self.discrete else []
        return torch.cat([level, numbers, *codes], -1)

    def _take_directions(self, seen: Tensor, held_x: Tensor, held_y: Tensor) -> None:
        # The principal directions of ŷ, strongest first; one that predicts held-out rows no
        # better than a constant does is left out, but for the first.
        predicted, held = (
            self.predictor(self._seen(self._stacked(rows)))
            for rows in (seen, self.standardised(held_x, "x"))
        )
        directions = torch.linalg.eigh(covariance(predicted)).eigenvectors.flip(-1)
        true = self._stacked(self.standardised(held_y, "y")) @ directions
        gains = true.square() - (true - held @ directions).square()
        kept = gains.mean(1) > gains.std(1, correction=0) / math.sqrt(len(held_x))
        kept[:, 0] = True
        self.directions.copy_(directions * kept[:, None])

    def _misalignment(self, x: Tensor) -> Tensor:
        learns = torch.is_grad_enabled()
        with torch.enable_grad():
            x = x.detach().requires_grad_()
            seen = self._seen(x)
            slopes = jacobian(self.predictor(seen), x)
            gradients = jacobian(self.encoder(seen), x, create_graph=learns)
            vectors = torch.linalg.eigh(slopes.mT @ slopes).eigenvectors[..., -self.target_size :]
            kept = (gradients @ vectors).square().sum(-1)
            shares = kept / gradients.square().sum(-1).clamp_min(1e-12)
            misalignment: Tensor = (1 - shares).sum(-1).mean(-1)
            return misalignment

    def _velocity(self, point: Tensor, time: Tensor, level: Tensor) -> Tensor:
        # Scaled so that the network sees, and is asked for, numbers of order one at each time; of
        # independent normal ends the first summand would be all there is.
        shrink = (time.square() + (1 - time).square()).rsqrt()
        late = torch.log((time + 0.03) / (1.03 - time))
        seen = torch.cat([shrink * point, level, time, late], -1)
        learned: Tensor = self.velocity(seen)
        return (2 * time - 1) * shrink.square() * point + shrink * learned

    def _flow(self, point: Tensor, target: Tensor, back: bool) -> Tensor:
        # Heun's method from t = 0 to 1, or back.
        level = self._condition(target)
        # Shorter and shorter steps: near the data the flow is steep.
        even = torch.linspace(0, 1, ODE_STEPS + 1, dtype=point.dtype, device=point.device)
        times = 1 - (1 - even) ** 1.5
        times = times.flip(0) if back else times
        for time, later in pairwise(times):
            step = later - time
            first = self._velocity(point, time.expand(*point.shape[:-1], 1), level)
            guess = point + step * first
            second = self._velocity(guess, later.expand(*point.shape[:-1], 1), level)
            point = point + step / 2 * (first + second)
        return point
