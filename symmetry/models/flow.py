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
from symmetry.models.base import Model, Turn, absolute_error, squared_error
from symmetry.networks import MLP, jacobian
from symmetry.scales import NormalScores, Tails

ODE_STEPS = 12
LOOKED_AT = 100_000  # training rows whose quantiles are taken: more tell no more
LATE = 0.9  # the time at which points are taken for noisy ones, of a ninth of their scores
DECODERS = ("y_decoder", "velocity")
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
    term_names: ClassVar[tuple[str, ...]] = ("y", "flow", "bottleneck", "alignment")
    directions: Tensor

    def sample(self, x: Tensor, noise: Tensor) -> Tensor:
        """Draws z from x with the noise of the training on its scores, with shape (S, n, D)."""
        seen = self._stacked(self.standardised(x, "x"))
        target = self.levels(seen)
        scores = self.scores(seen) + self.sizes.noise * noise[..., : self.sizes.x]
        return torch.cat([self._flow(scores, target, back=True), target], -1)

    def levels(self, x: Tensor) -> Tensor:
        """Computes Z1 of standardised inputs (S, n, x_size), with shape (S, n, dim Z1)."""
        seen = self.tails(x)
        if self.sizes.target:
            bottleneck: Tensor = self.encoder(seen)
            return bottleneck
        predicted: Tensor = self.predictor(seen)
        return predicted @ self.directions

    def prediction(self, x: Tensor) -> Tensor:
        """Predicts ŷ of inputs, with shape (S, n, y_size); the flow has no part in it."""
        level = self.levels(self._stacked(self.standardised(x, "x")))
        return self.in_units(self._predicted(level, level), "y")

    def among_data(self, points: Tensor, levels: Tensor) -> Tensor:
        r"""Moves standardised points (S, n, x_size) to where data of their level lie.

        .. math:: E[s | x_t = t\,s] = t\,s + (1 - t)\,v(t\,s, t, z_1)

        is what the flow takes for the clean scores behind slightly noisy ones.
        """
        scores = LATE * self.scores(points)
        late = scores.new_full((*scores.shape[:-1], 1), LATE)
        velocity = self._velocity(scores, late, self.level_scores(levels))
        return self.scores.inverse(scores + (1 - LATE) * velocity)

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
            self.scores.adapt(looked_at)
            self.scores.values[..., 0], self.scores.values[..., -1] = self.low, self.high
        elif "flow" in turn.players:
            if not self.sizes.target:
                self._take_directions(looked_at, held_x, held_y)
            self.level_scores.adapt(self.levels(self._stacked(looked_at)))

    def terms(
        self, x: Tensor, y: Tensor, noise: Tensor, names: Collection[str] | None = None
    ) -> dict[str, Tensor]:
        """Computes the squared errors of f, ŷ and the velocity, and how far the gradients of a
        bottleneck are from those of f; see :meth:`Model.terms`.
        """
        names = {name for turn in self.turns() for name in turn.terms} if names is None else names
        terms = {}
        if "y" in names:
            terms["y"] = squared_error(self.predictor(self.tails(x)), y)
        if "bottleneck" in names:
            level = self.levels(x)
            terms["bottleneck"] = squared_error(self._predicted(level, level), y)
            terms["alignment"] = self._misalignment(x)
        if "flow" in names:
            start, jitter, time = noise.tensor_split([self.sizes.x, 2 * self.sizes.x], -1)
            # Late times are taken more often: there the flow is steep.
            time = 1 - torch.special.ndtr(time) ** 1.5
            level = self.levels(x).detach()
            end = self.scores(x) + self.sizes.noise * jitter
            velocity = self._velocity(torch.lerp(start, end, time), time, self.level_scores(level))
            terms["flow"] = squared_error(velocity, end - start)
        return terms

    def mean_absolute_errors(self, x: Tensor, y: Tensor) -> dict[str, Tensor]:
        """Computes ``x_mae``, of the first thousand rows, and ``y_mae``; see :class:`Model`."""
        level = self.levels(x)
        few, kept = x[:, :WATCHED], level[:, :WATCHED]
        x_hat = self._decoded(self._flow(self.scores(few), kept, back=True), kept)
        return {
            "x_mae": absolute_error(x_hat, few),
            "y_mae": absolute_error(self._predicted(level, level), y),
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
        """The number of dimensions of Z0, those of x."""
        return self.sizes.x

    @property
    def target_size(self) -> int:
        """The number of dimensions of Z1."""
        return self.sizes.target or self.sizes.y

    @property
    def latent_size(self) -> int:
        """The number of latent dimensions D."""
        return self.invariant_size + self.target_size

    @property
    def noise_size(self) -> int:
        """How many normal draws a row takes: for Z0, the noise on x, and the time."""
        return 2 * self.sizes.x + 1

    def _build(self) -> None:
        sizes = self.sizes
        self.tails = Tails(sizes.x)
        self.scores = NormalScores(sizes.x)
        self.level_scores = NormalScores(sizes.stack, self.target_size)
        self.predictor = self._network(sizes.x, sizes.y)
        if sizes.target:
            self.encoder = self._network(sizes.x, sizes.target)
            self.y_decoder = self._network(sizes.target, sizes.y)
        else:
            self.register_buffer("directions", torch.eye(sizes.y).repeat(sizes.stack, 1, 1))
        self.velocity = self._network(sizes.x + self.target_size + 2, sizes.x)

    def _network(self, in_features: int, out_features: int) -> MLP:
        stack, hidden = self.sizes.stack, self.sizes.hidden
        return MLP(stack, in_features, out_features, hidden, hidden_layers=3, activation=silu)

    def _posterior(self, x: Tensor) -> tuple[Tensor, Tensor]:
        target = self.levels(x)
        mean = torch.cat([self._flow(self.scores(x), target, back=True), target], -1)
        return mean, mean.new_full((), -math.inf)  # the code of x is one point

    def _decoded(self, invariant: Tensor, target: Tensor) -> Tensor:
        scores = self._flow(self._stacked(invariant), self._stacked(target), back=False)
        return self.scores.inverse(scores)

    def _predicted(self, invariant: Tensor, target: Tensor) -> Tensor:
        if not self.sizes.target:
            return self._stacked(target) @ self.directions.mT
        y_hat: Tensor = self.y_decoder(self._stacked(target))
        return y_hat

    def _take_directions(self, seen: Tensor, held_x: Tensor, held_y: Tensor) -> None:
        # The principal directions of ŷ, strongest first; one that predicts held-out rows no
        # better than a constant does is left out, but for the first.
        predicted, held = (
            self.predictor(self.tails(self._stacked(rows)))
            for rows in (seen, self.standardised(held_x, "x"))
        )
        directions = torch.linalg.eigh(covariance(predicted)).eigenvectors.flip(-1)
        true = self._stacked(self.standardised(held_y, "y")) @ directions
        gains = true.square() - (true - held @ directions).square()
        kept = gains.mean(1) > gains.std(1) / math.sqrt(len(held_x))
        kept[:, 0] = True
        self.directions.copy_(directions * kept[:, None])

    def _misalignment(self, x: Tensor) -> Tensor:
        learns = torch.is_grad_enabled()
        with torch.enable_grad():
            x = x.detach().requires_grad_()
            seen = self.tails(x)
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
        level = self.level_scores(target)
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
