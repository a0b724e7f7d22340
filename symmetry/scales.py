"""Scales that flows and predictors see columns on: normal scores, and tails drawn in."""

__all__ = ["Discrete", "NormalScores", "Tails", "White"]

from collections.abc import Sequence

import numpy as np
import torch
from torch import Tensor, nn
from torch.nn.functional import one_hot

KNOTS = 500  # of each column: quantiles of the training rows, straight lines between them
THINNEST = 1e-3  # of columns' scores together: what is thinner is none but rounding
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
        # On the CPU: on a device without memory these load PyTorch's compiler, as do others.
        self.register_buffer("values", torch.zeros(*columns, KNOTS))
        self.values.copy_(torch.linspace(-1, 1, KNOTS, device="cpu"))
        levels = (torch.arange(KNOTS, dtype=torch.float64, device="cpu") + 0.5) / KNOTS
        scores = torch.special.ndtri(levels).to(self.values)
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


class Discrete(nn.Module):
    r"""Knows the values of the columns that hold few: categories, and integers of few values.

    It maps such a column to the places k = 0, 1, … of its values and back; other columns stay as
    they are. A flow needs a density, which values that many rows share have not: spread by
    uniform noise,

    .. math:: k + u - 1/2, \quad u \sim U(0, 1),

    they have one, and rounding takes each point back to its value.

    Arguments:
        values: The values of each column, ascending; empty where any number may stand.
        categories: The columns whose values are in no order, so that a network had better see
            which one it is (a one-hot code) than its place.

    References:
        RNADE: The real-valued neural autoregressive density-estimator (Uria et al., 2013),
        section 5, https://arxiv.org/abs/1306.0186

        A note on the evaluation of generative models (Theis et al., 2016), section 3.1,
        https://arxiv.org/abs/1511.01844

        The Synthetic Data Vault (Patki et al., 2016), which spreads categories so,
        https://doi.org/10.1109/DSAA.2016.49
    """

    values: Tensor
    edges: Tensor
    counts: Tensor

    def __init__(self, values: Sequence[Sequence[float]], categories: Sequence[int]) -> None:
        super().__init__()
        self.columns = [column for column, own in enumerate(values) if own]
        self.categories = [(column, len(values[column])) for column in categories]
        self.plain = [column for column in range(len(values)) if column not in set(categories)]
        few = [values[column] for column in self.columns]
        most = max(map(len, few))
        lengths = np.array([len(own) for own in few], np.float32)
        table = np.array([[*own, *[own[-1]] * (most - len(own))] for own in few], np.float32)
        edges = (table[:, 1:] + table[:, :-1]) / 2
        edges[np.arange(1, most) >= lengths[:, None]] = np.inf
        for name, constant in {"values": table, "edges": edges, "counts": lengths}.items():
            self.register_buffer(name, torch.from_numpy(constant), persistent=False)

    def forward(self, rows: Tensor, noise: Tensor | None = None) -> Tensor:
        """Maps rows, with shape (S, n, d), to the places of the nearest values.

        Arguments:
            rows: The rows.
            noise: Uniform draws in [0, 1], with the shape of the rows, that spread the places;
                they stay whole if it is left out.
        """
        own = rows[..., self.columns].mT.contiguous()  # (S, D, n)
        edges = self.edges.expand(*own.shape[:-1], -1).contiguous()
        places = torch.searchsorted(edges, own).to(rows.dtype).mT
        if noise is not None:
            places = places + noise[..., self.columns] - 0.5
        placed = rows.clone()
        placed[..., self.columns] = places
        return placed

    def inverse(self, placed: Tensor) -> Tensor:
        """Maps places, whole or spread, to their values."""
        own = placed[..., self.columns].mT
        places = torch.minimum(own.round().clamp_min(0), self.counts[:, None] - 1).long()
        rows = placed.clone()
        values = self.values.expand(*places.shape[:-1], -1)
        rows[..., self.columns] = values.gather(-1, places).mT
        return rows

    def spread(self, rows: Tensor) -> Tensor:
        """Maps rows, with shape (n, d), to places spread as evenly as noise does on average."""
        placed: Tensor = self(rows[None])[0]
        for column in self.columns:
            ordered, order = placed[:, column].sort(stable=True)
            first, last = (
                torch.searchsorted(ordered, ordered, right=side) for side in (False, True)
            )
            place = torch.arange(len(ordered), device=rows.device)
            share = (place - first + 0.5) / (last - first) - 0.5
            placed[order, column] = ordered + share.to(rows.dtype)
        return placed

    def ends(self, ends: Tensor) -> Tensor:
        """Maps the ends of the columns, with shape (2, d), to those of the spread places."""
        reach = torch.zeros_like(ends)
        reach[0, self.columns], reach[1, self.columns] = -0.5, 0.5
        placed: Tensor = self(ends[None])[0]
        return placed + reach

    def one_hot(self, rows: Tensor, columns: Sequence[int]) -> list[Tensor]:
        """Tells which value each of some categories has, each with shape (S, n, values)."""
        counts = dict(self.categories)
        placed = self(rows) if columns else rows
        return [
            one_hot(placed[..., column].long(), counts[column]).to(rows.dtype)
            for column in columns
        ]


class White(nn.Module):
    r"""Turns columns that go together into uncorrelated ones of variance 1, and back.

    .. math:: w = s\,C^{-1/2}

    C is the covariance of the rows that :meth:`adapt` was given, after Mahalanobis (ZCA): of all
    such maps the one that moves s least. What a few columns leave of each other, as the depth of
    a stone of its three lengths, is else too thin for a network to see.

    Arguments:
        columns: The number of columns d.

    References:
        Optimal whitening and decorrelation (Kessy et al., 2018),
        https://doi.org/10.1080/00031305.2016.1277159
    """

    forth: Tensor
    back: Tensor

    def __init__(self, columns: int) -> None:
        super().__init__()
        for name in ("forth", "back"):
            self.register_buffer(name, torch.zeros(columns, columns))
            getattr(self, name).diagonal().fill_(1)

    @torch.no_grad()
    def adapt(self, rows: Tensor) -> None:
        """Looks at how rows, with shape (n, d), go together."""
        centred = (rows - rows.mean(0)).double()
        variances, axes = torch.linalg.eigh(centred.mT @ centred / len(rows))
        deviations = variances.clamp_min(THINNEST**2).sqrt()
        self.forth.copy_((axes / deviations) @ axes.mT)
        self.back.copy_((axes * deviations) @ axes.mT)

    def forward(self, rows: Tensor) -> Tensor:
        """Maps rows, with shape (..., d)."""
        return rows @ self.forth

    def inverse(self, white: Tensor) -> Tensor:
        """Maps rows back."""
        return white @ self.back
