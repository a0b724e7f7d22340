"""Scales that flows and predictors see columns on: normal scores, and tails drawn in."""

__all__ = ["NormalScores", "Tails"]

import torch
from torch import Tensor, nn

KNOTS = 500  # of each column: quantiles of the training rows, straight lines between them
FAR = 6.0  # robust standard deviations from the median: normal rows do not lie so far out


class NormalScores(nn.Module):
    r"""Maps each column to a standard normal one by its ranks, and back.

    .. math:: s = \Phi^{-1}(F(x)), \quad x = F^{-1}(\Phi(s))

    F is the distribution of the column in the rows that :meth:`adapt` was given, by straight
    lines between its quantiles. The way back never leaves the range of those rows, and a value
    that stands in many of them, as in a column of whole numbers, takes a whole interval of s.

    Arguments:
        columns: The shape of the columns, (d,), or (S, d) where each copy has its own.

    References:
        Rank-Based Inverse Normal Transformations are Increasingly Used, But are They Merited?
        (Beasley et al., 2009), https://doi.org/10.1007/s10519-009-9281-0
    """

    values: Tensor
    scores: Tensor

    def __init__(self, *columns: int) -> None:
        super().__init__()
        self.register_buffer("values", torch.linspace(-1, 1, KNOTS).repeat(*columns, 1))
        levels = (torch.arange(KNOTS, dtype=torch.float64) + 0.5) / KNOTS
        scores = torch.special.ndtri(levels).to(self.values.dtype)
        self.register_buffer("scores", scores, persistent=False)

    @torch.no_grad()
    def adapt(self, rows: Tensor) -> None:
        """Takes the quantiles of rows, with shape (n, d), or (S, n, d) for each copy's own."""
        levels = torch.linspace(0, 1, KNOTS, dtype=rows.dtype, device=rows.device)
        ordered = rows.mT.sort().values
        places = levels * (ordered.shape[-1] - 1)
        below = places.long().clamp(max=ordered.shape[-1] - 2)
        # Written so that between equal values there is no rounding to pull them apart.
        low, high = ordered[..., below], ordered[..., below + 1]
        self.values.copy_(low + (places - below) * (high - low))

    def forward(self, rows: Tensor) -> Tensor:
        """Maps rows, with shape (S, n, d), to their scores; beyond the range, to its ends."""
        scores = self.scores.expand_as(self.values)
        # A value that many rows share lies between two knots or more: in the middle of them.
        lower, upper = (_interpolated(rows, self.values, scores, side) for side in (False, True))
        return (lower + upper) / 2

    def inverse(self, scores: Tensor) -> Tensor:
        """Maps scores, with shape (S, n, d), to rows; beyond the last knots, to their range."""
        return _interpolated(scores, self.scores.expand_as(self.values), self.values, False)


def _interpolated(at: Tensor, places: Tensor, values: Tensor, right: bool) -> Tensor:
    # Column by column: at has shape (S, n, d), the other two (d, knots) or (S, d, knots).
    at = at.mT.contiguous()
    places, values = (knots.expand(*at.shape[:-1], -1) for knots in (places, values))
    above = torch.searchsorted(places.contiguous(), at, right=right).clamp(1, KNOTS - 1)
    start, end = places.gather(-1, above - 1), places.gather(-1, above)
    low, high = values.gather(-1, above - 1), values.gather(-1, above)
    tiny = torch.finfo(at.dtype).tiny
    share = ((at - start) / (end - start).clamp_min(tiny)).clamp(0, 1)
    if right:  # of the last knots, too, which may stand at one place
        share = share.masked_fill(at >= end, 1)
    return torch.lerp(low, high, share).mT  # exact at both ends, so that no value lies beyond


class Tails(nn.Module):
    r"""Draws in the tails of columns that reach far out, and leaves the others as they are.

    .. math:: u = \operatorname{arsinh}\frac{x - m}{s}, \quad
        s = \frac{x_{0.75} - x_{0.25}}{1.35}

    m is the median. A few large values else leave the rest of a column in a corner where no
    network tells its values apart.

    Arguments:
        columns: The number of columns d.
    """

    centre: Tensor
    scale: Tensor
    reach: Tensor
    far: Tensor

    def __init__(self, columns: int) -> None:
        super().__init__()
        self.register_buffer("centre", torch.zeros(columns))
        self.register_buffer("scale", torch.ones(columns))
        self.register_buffer("reach", torch.ones(columns))
        self.register_buffer("far", torch.zeros(columns))

    @torch.no_grad()
    def adapt(self, rows: Tensor) -> None:
        """Looks at rows, with shape (n, d): which columns reach far out, and from where."""
        places = [int(share * (len(rows) - 1)) for share in (0.25, 0.5, 0.75)]
        low, middle, high = rows.sort(0).values[places]
        scale = (high - low) / 1.35
        # A column of which most values are equal has no such scale: it stays as it is.
        out = (rows - middle).abs().amax(0)
        far = (scale > 0) & (out > FAR * scale)
        self.centre.copy_(middle)
        self.scale.copy_(torch.where(far, scale, 1.0))
        self.far.copy_(far)
        self.reach.copy_(torch.where(far, torch.asinh((rows - middle) / self.scale).std(0), 1.0))

    def forward(self, rows: Tensor) -> Tensor:
        """Maps rows, with shape (..., d)."""
        drawn = torch.asinh((rows - self.centre) / self.scale) / self.reach
        return torch.where(self.far > 0, drawn, rows)
