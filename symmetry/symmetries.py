"""The learned symmetry: keep the target part, move the invariant part, decode, refine."""

__all__ = ["REFINE", "partners", "path", "refined", "strayed"]

import torch
from torch import Tensor

from symmetry.models import Model
from symmetry.networks import jacobian, pieces_of

REFINE = 10  # steps of Gauss and Newton: few points need more than four
CAP = 0.5  # the longest step, in standard deviations of x
CLOSE = 1e-4  # of Z1: nearer to its level no point needs to come
DAMPING = 1e-4  # of the mean square of the gradients: where they are poor, short steps
ASTRAY = 0.02  # of predicted y in standard deviations: what differs more has not come back
AIMS = 4  # at a level: what is decoded is a little beside it
SETTLING = (0.8, 0.8)  # beside discrete columns: what a flow blurs goes back to where data lie
DRAWS = 20  # more of a partner that categories or whole numbers keep from its level
PIECE = 2**14  # points of a copy that are held in memory at once
STRIDE = 0.06  # of a path's walk, in spreads of the rows on its level
STRIDES = 250  # the longest walk to one side, ten times round a ring
BEYOND = 0.002  # the share of rows that lie farther out than a walk goes, at each end of a column
NEIGHBOURS = 64  # rows that are taken for those on a level


@torch.no_grad()
def partners(
    model: Model,
    x: Tensor,
    count: int,
    generator: torch.Generator,
    *,
    pool: Tensor | None = None,
    y: Tensor | None = None,
    refine: int = REFINE,
) -> Tensor:
    r"""Finds other inputs with the same target: each row keeps Z1 and takes another Z0.

    .. math:: x'_{ic} = \hat x(z_{0, ic}, z_1(x_i))

    Z0 is that of a row of the pool, or for STIB_FLOW a draw from its law. Where the model has a
    Z1, :func:`refined` then takes x′ back to the level of x and into the range of the data, by
    columns in which any number may stand. Whole numbers are rounded, and the others refined once
    more. Where what is whole or holds few values leaves no way back, x′ is drawn again, up to 20
    times, and the nearest is taken.

    Arguments:
        model: A trained model.
        x: The inputs, with shape (n, x_size).
        count: The number of partners of each row.
        generator: The source of randomness, on the CPU.
        pool: The inputs whose Z0 is taken, with shape (m, x_size); x itself by default.
        y: The targets of x, with shape (n, y_size), which stand for Z1 in CVAE and CVIB.
        refine: The steps of :func:`refined`; 0 for partners as they are decoded.

    Returns:
        The partners of each copy of the model, with shape (S, count, n, x_size). What has not
        come back to its level is told by :func:`strayed`.

    Raises:
        ValueError: If the model needs y and it is not given.
    """
    kept = _kept(model, x, y)
    whole = _whole(model)
    stiff = model.discrete is not None or whole is not None
    y_hat = model.prediction(x) if refine and stiff else None
    pool = x if pool is None else pool
    invariant = model.fresh_invariant((count, len(x)), pool, generator)
    rows = torch.split(torch.arange(len(x), device=x.device).repeat(count), PIECE)
    pieces = []
    for row, moved in zip(rows, torch.split(invariant.flatten(1, 2), PIECE, 1), strict=True):
        point = _decoded(model, moved, kept[:, row], refine)
        if y_hat is not None:
            point = _redrawn(model, point, kept[:, row], y_hat[:, row], refine, pool, generator)
        if model.held:
            point[..., model.held] = x[row][:, model.held]  # to the bit
        pieces.append(point)
    return torch.unflatten(torch.cat(pieces, 1), 1, (count, len(x)))


def _decoded(model: Model, invariant: Tensor, kept: Tensor, refine: int) -> Tensor:
    refine = 0 if model.decodes_from_y else refine
    if refine and model.discrete is not None:
        point = _aimed(model, invariant, kept)
    else:
        point = model.snapped(model.standardised(model.decode(invariant, kept), "x"))
    return _possible(model, model.in_units(_landed(model, point, kept, refine), "x"))


def _aimed(model: Model, invariant: Tensor, kept: Tensor) -> Tensor:
    # Decodes from a Z1 a little beside the one to keep, so that what comes to lie among the data
    # has that one: unlike steps of single columns this leaves no data and no values that occur.
    aim = kept
    best, missed = kept.new_empty(0), kept.new_full(kept.shape[:-1], torch.inf)
    for _ in range(AIMS):
        point = model.snapped(model.standardised(model.decode(invariant, aim), "x"))
        for late in SETTLING:
            point = model.among_data(point, kept, late)
        miss = kept[..., : model.levels(point).shape[-1]] - model.levels(point)
        off = miss.norm(dim=-1)
        best = torch.where((off < missed)[..., None], point, best) if len(best) else point
        missed = torch.minimum(off, missed)
        aim = torch.cat([aim[..., : miss.shape[-1]] + miss, aim[..., miss.shape[-1] :]], -1)
    return best


def _landed(model: Model, points: Tensor, levels: Tensor, steps: int) -> Tensor:
    # Takes standardised points to their levels; what must be whole is rounded there, and the rest
    # goes on from that.
    points = refined(model, points, levels, steps) if steps else points
    whole = _whole(model)
    if whole is None:
        return points
    rounded = model.standardised(_possible(model, model.in_units(points, "x")), "x")
    still = whole if model.fixed is None else whole | model.fixed
    return refined(model, rounded, levels, steps, still) if steps else rounded


def _whole(model: Model) -> Tensor | None:
    # Which columns hold whole numbers, too many for a model to know each; None for no column.
    kinds = () if model.units is None else model.units.x.kinds
    whole = [kind.kind == "integer" and not kind.levels and not kind.held for kind in kinds]
    return torch.tensor(whole, device=model.low.device) if any(whole) else None


def _possible(model: Model, points: Tensor) -> Tensor:
    # Points, in units, as the table will have them: whole where they must be, in closed ranges.
    kinds = () if model.units is None else model.units.x.kinds
    whole = _whole(model)
    points = points if whole is None else torch.where(whole, points.round(), points)
    for column, kind in enumerate(kinds):
        if kind.low is not None or kind.high is not None:
            points[..., column] = points[..., column].clamp(kind.low, kind.high)
    return points


def _redrawn(
    model: Model,
    points: Tensor,
    kept: Tensor,
    y_hat: Tensor,
    refine: int,
    pool: Tensor,
    generator: torch.Generator,
) -> Tensor:
    # Where the values of discrete columns leave no way back to the level, others are drawn, and
    # of all draws the nearest in predicted y is taken.
    away = _change(model, points, y_hat)
    for _ in range(DRAWS):
        lost = (away > ASTRAY).any(0).nonzero()[:, 0]
        if not len(lost):
            break
        invariant = model.fresh_invariant((len(lost),), pool, generator)
        drawn = _decoded(model, invariant, kept[:, lost], refine)
        off = _change(model, drawn, y_hat[:, lost])
        nearer = off < away[:, lost]
        points[:, lost] = torch.where(nearer[..., None], drawn, points[:, lost])
        away[:, lost] = torch.where(nearer, off, away[:, lost])
    return points


def _change(model: Model, points: Tensor, y_hat: Tensor) -> Tensor:
    # By how much any predicted y of points differs from another, in standard deviations of y.
    there = model.prediction(points)
    if there is None:
        raise ValueError(f"{model.key} predicts no y, by which to tell what has strayed")
    change: Tensor = model.standardised(there, "y") - model.standardised(y_hat, "y")
    return change.abs().amax(-1)


def refined(
    model: Model,
    points: Tensor,
    levels: Tensor,
    steps: int = REFINE,
    still: Tensor | None = None,
) -> Tensor:
    r"""Takes points to their levels of Z1, inside the range of the training rows.

    .. math:: x \leftarrow x - J^\top (J J^\top + \delta)^{-1} (z_1(x) - l),
        \quad J = \frac{\partial z_1}{\partial x}

    These are steps of Gauss and Newton, damped where the gradients are poor, and capped; a step
    that leads no nearer is taken back and tried again at a quarter of its length. A column that
    has come to an end of its range stays there if it would go beyond, and columns that are held,
    or hold few values, stay where they are.

    Arguments:
        model: A model with a Z1.
        points: Standardised inputs, with shape (S, n, x_size).
        levels: The Z1 to go to, with shape (S, n, dim Z1); what follows is not looked at.
        steps: The number of steps at most.
        still: Which columns stay where they are, with shape (x_size,); by default those that are
            held or hold few values.

    Returns:
        The points nearest to their levels that were seen, with the shape of ``points``.
    """
    points = _inside(model, points)
    still = model.fixed if still is None else still
    if still is not None and still.all():
        return points
    nearest, rows = points.clone(), torch.arange(points.shape[1], device=points.device)
    found, slopes = _levels_and_slopes(model, points, still)
    levels = levels[..., : found.shape[-1]]
    length = points.new_ones(*points.shape[:-1], 1)
    for _ in range(steps):
        error = found - levels
        distance = error.norm(dim=-1, keepdim=True)
        far = (distance > CLOSE).any(0)[:, 0]
        if not far.all():
            # Most points are there after a few steps, and need cost no more.
            nearest[:, rows] = points
            rows = rows[far]
            points, levels, found, slopes, length, error, distance = (
                some[:, far] for some in (points, levels, found, slopes, length, error, distance)
            )
            if not len(rows):
                break
        step = _step(slopes, error)
        stuck = ((points <= model.low) & (step < 0)) | ((points >= model.high) & (step > 0))
        if stuck.any():
            step = _step(slopes.masked_fill(stuck[..., None, :], 0), error)
        step = step * (CAP / step.norm(dim=-1, keepdim=True).clamp_min(CAP))
        tried = _inside(model, points + length * step)
        there, steep = _levels_and_slopes(model, tried, still)
        # What is there stays, so that a copy's points are the same whatever the others do.
        nearer = (there - levels).norm(dim=-1, keepdim=True) < distance
        nearer &= distance > CLOSE
        points = torch.where(nearer, tried, points)
        found = torch.where(nearer, there, found)
        slopes = torch.where(nearer[..., None], steep, slopes)
        length = torch.where(nearer, (2 * length).clamp(max=1), length / 4)
    nearest[:, rows] = points
    return nearest


@torch.no_grad()
def strayed(model: Model, x: Tensor, moved: Tensor) -> Tensor:
    """Tells which partners have not come back: their predicted y is not that of their row.

    Arguments:
        model: A model that predicts y.
        x: The inputs, with shape (n, x_size).
        moved: Their partners, with shape (S, count, n, x_size).

    Returns:
        Whether any predicted y differs by more than 0.02 standard deviations of y, with shape
        (S, count, n).

    Raises:
        ValueError: If the model predicts no y.
    """
    own = model.prediction(x)
    flat = moved.flatten(1, 2)
    pieces = [model.prediction(piece) for piece in torch.split(flat, PIECE, 1)]
    if own is None:
        raise ValueError(f"{model.key} predicts no y, by which to tell what has strayed")
    there = torch.cat([piece for piece in pieces if piece is not None], 1)
    change = model.standardised(
        torch.unflatten(there, 1, moved.shape[1:3]), "y"
    ) - model.standardised(own, "y").unsqueeze(1)
    return change.abs().amax(-1) > ASTRAY


@torch.no_grad()
def path(
    model: Model,
    x: Tensor,
    points: int,
    *,
    pool: Tensor | None = None,
    y: Tensor | None = None,
) -> Tensor:
    r"""Draws a line through each input on which Z1 stays as it is.

    From x it walks in the direction in which rows of that level differ most, straight on along
    the level and among the data, until it meets its beginning, the end of the range or the end of
    the data; then to the other side. A closed line begins and ends with x. Columns that are held,
    or hold few values, stay as they are.

    CVAE and CVIB have no Z1 to walk along: there the strongest latent of Z0 runs over its
    quantiles.

    Arguments:
        model: A trained model.
        x: The inputs, with shape (n, x_size).
        points: The number of points of a line, evenly spaced.
        pool: Rows of the data, with shape (m, x_size), which give directions, spreads and
            quantiles; x by default.
        y: The targets of x, with shape (n, y_size), which stand for Z1 in CVAE and CVIB.

    Returns:
        The lines of each copy of the model, with shape (S, points, n, x_size).

    Raises:
        ValueError: If the model needs y and it is not given.
    """
    pool = x if pool is None else pool
    if model.decodes_from_y:
        return _latent_path(model, x, points, pool, _kept(model, x, y))
    start = model.standardised(x, "x").expand(model.sizes.stack, -1, -1)
    if model.fixed is not None and model.fixed.all():
        return x.expand(model.sizes.stack, points, -1, -1)
    level = model.kept(start)
    direction, spread = _directions(model, start, level, model.standardised(pool, "x"))
    stride = STRIDE * spread
    walls = _walls(model.standardised(pool, "x"), start)
    ahead, closed = _walk(model, start, level, direction, stride, walls)
    behind, _ = _walk(model, start, level, -direction, stride, walls)
    line = _resampled(ahead, behind, closed, points)  # (S, points, n, x_size)
    flat, levels = line.flatten(1, 2), level.repeat(1, points, 1)
    back = _possible(model, model.in_units(_landed(model, flat, levels, REFINE), "x"))
    lines = torch.unflatten(back, 1, line.shape[1:3])
    return lines if model.fixed is None else torch.where(model.fixed, x, lines)


def _kept(model: Model, x: Tensor, y: Tensor | None) -> Tensor:
    if not model.decodes_from_y:
        return model.kept(model.standardised(x, "x").expand(model.sizes.stack, -1, -1))
    if y is None:
        raise ValueError(f"{model.key} decodes from y; give the y of the rows of x")
    return model.decoder_target(y.new_empty(0), y).expand(model.sizes.stack, -1, -1)


def _inside(model: Model, points: Tensor) -> Tensor:
    return torch.minimum(torch.maximum(points, model.low), model.high)


def _levels_and_slopes(
    model: Model, points: Tensor, still: Tensor | None
) -> tuple[Tensor, Tensor]:
    # Z1 with shape (S, n, k), and its Jacobian with shape (S, n, k, d).
    found = []
    for piece in pieces_of(points):
        with torch.enable_grad():
            piece = piece.detach().requires_grad_()
            level = model.levels(piece)
            found.append((level.detach(), jacobian(level, piece)))
    levels, slopes = (torch.cat(parts, 1) for parts in zip(*found, strict=True))
    return levels, slopes if still is None else slopes.masked_fill(still, 0)


def _step(slopes: Tensor, error: Tensor) -> Tensor:
    gram = slopes @ slopes.mT
    size = gram.diagonal(dim1=-2, dim2=-1).mean(-1)[..., None, None]
    eye = torch.eye(gram.shape[-1], dtype=gram.dtype, device=gram.device)
    damped = gram + (DAMPING * size + torch.finfo(gram.dtype).tiny ** 0.5) * eye
    if damped.shape[-1] == 1:
        solved = error[..., None] / damped
    else:
        solved = torch.linalg.solve(damped, error[..., None])
    step: Tensor = -(slopes.mT @ solved)[..., 0]
    return step


def _directions(model: Model, start: Tensor, level: Tensor, pool: Tensor) -> tuple[Tensor, Tensor]:
    # In which direction, with shape (S, n, d), and how widely, (S, n, 1), the rows of the pool
    # whose Z1 is nearest differ among each other.
    others = model.kept(pool.expand(len(start), -1, -1))
    near = torch.cdist(level, others).topk(min(NEIGHBOURS, len(pool)), largest=False).indices
    rows = pool[near]  # (S, n, neighbours, d)
    centred = rows - rows.mean(-2, keepdim=True)
    if model.fixed is not None:
        centred = centred.masked_fill(model.fixed, 0)
    covariance = centred.mT @ centred / rows.shape[-2]
    direction = torch.linalg.eigh(covariance).eigenvectors[..., -1]
    spread = covariance.diagonal(dim1=-2, dim2=-1).sum(-1, keepdim=True).sqrt()
    return direction, spread.clamp_min(1e-3)


def _walls(pool: Tensor, start: Tensor) -> tuple[Tensor, Tensor]:
    # Where the data end, column by column, with few rows beyond; with shape (S, n, d).
    ordered = pool.sort(0).values
    beyond = int(BEYOND * (len(pool) - 1))
    return torch.minimum(ordered[beyond], start), torch.maximum(ordered[-1 - beyond], start)


def _walk(
    model: Model,
    start: Tensor,
    level: Tensor,
    direction: Tensor,
    stride: Tensor,
    walls: tuple[Tensor, Tensor],
) -> tuple[Tensor, Tensor]:
    # The points passed, with shape (S, steps, n, d), where a walk that has ended stands still;
    # and which walks have come back to their start, with shape (S, n).
    here, passed = start, [start]
    closed = torch.zeros(start.shape[:-1], dtype=torch.bool, device=start.device)
    ended, away = closed.clone(), closed.clone()
    for _ in range(STRIDES):
        _, slopes = _levels_and_slopes(model, here, model.fixed)
        # Along the level: the direction less what the gradients span, as a step towards there.
        along = direction + _step(slopes, (slopes @ direction[..., None])[..., 0])
        along = along / along.norm(dim=-1, keepdim=True).clamp_min(1e-12)
        goal = here + stride * along
        outside = ((goal < walls[0]) | (goal > walls[1])).any(-1)
        there = refined(model, model.among_data(goal, level), level, 3)
        gone = there - here
        forward = (gone * along).sum(-1)
        # The data do not go on where a step is cut short or thrown aside.
        blocked = (
            outside | (forward < 0.3 * stride[..., 0]) | (gone.norm(dim=-1) > 3 * stride[..., 0])
        )
        ended = ended | blocked
        here = torch.where(ended[..., None], here, there)
        direction = torch.where(ended[..., None], direction, gone)
        direction = direction / direction.norm(dim=-1, keepdim=True).clamp_min(1e-12)
        home = (here - start).norm(dim=-1)
        away = away | (home > 2.5 * stride[..., 0])
        arrived = away & ~ended & (home < 1.1 * stride[..., 0])
        closed, ended = closed | arrived, ended | arrived
        passed.append(torch.where(closed[..., None], start, here))
        if ended.all():
            break
    return torch.stack(passed, 1), closed


def _resampled(ahead: Tensor, behind: Tensor, closed: Tensor, points: int) -> Tensor:
    # Evenly spaced points of the walks to both sides; of a closed one, of that ahead alone.
    behind = torch.where(closed[:, None, :, None], behind[:, :1], behind)
    line = torch.cat([behind.flip(1), ahead[:, 1:]], 1).permute(0, 2, 3, 1)  # (S, n, d, steps)
    length = line.diff(dim=-1).norm(dim=-2).cumsum(-1)
    length = torch.cat([torch.zeros_like(length[..., :1]), length], -1)  # (S, n, steps)
    own = length[..., behind.shape[1] - 1, None]
    total = length[..., -1:]
    places = total * torch.linspace(0, 1, points, dtype=line.dtype, device=line.device)
    # The point nearest to x is x.
    nearest = (places - own).abs().argmin(-1, keepdim=True)
    places = places.scatter(-1, nearest, own)
    after = torch.searchsorted(length.contiguous(), places.contiguous())
    after = after.clamp(1, length.shape[-1] - 1)
    low, high = length.gather(-1, after - 1), length.gather(-1, after)
    share = ((places - low) / (high - low).clamp_min(1e-12)).clamp(0, 1)[..., None, :]
    columns = (*line.shape[:-1], points)
    first, second = (
        line.gather(-1, index[..., None, :].expand(columns)) for index in (after - 1, after)
    )
    return (first + share * (second - first)).permute(0, 3, 1, 2)


def _latent_path(model: Model, x: Tensor, points: int, pool: Tensor, target: Tensor) -> Tensor:
    code, own = model.encode(pool), model.encode(x).invariant
    strongest = code.signal_to_noise[:, : code.invariant_size].argmax(1)  # (S,)
    copies = torch.arange(len(strongest), device=own.device)
    moved = code.invariant[copies, :, strongest]  # (S, m)
    levels = torch.linspace(0.01, 0.99, points, dtype=moved.dtype, device=moved.device)
    steps = []
    for value in moved.quantile(levels, 1):  # (S,)
        invariant = own.clone()
        invariant[copies, :, strongest] = value[:, None]
        steps.append(model.decode(invariant, target))
    return torch.stack(steps, 1)
