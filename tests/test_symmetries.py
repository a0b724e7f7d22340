"""Partners and orbits of models that we see through: of glass, the closed form, random nets."""

import numpy as np
import pytest
import torch
from numpy.random import default_rng
from torch import nn

from symmetry.evaluation import coverage
from symmetry.models import MODELS, Model, Sizes
from symmetry.networks import CACHED
from symmetry.symmetries import CAP, partners, path, refined, strayed
from symmetry.tasks.spiral import invariant, level, outside, spiral

every_model = pytest.mark.parametrize("key", MODELS)
from_y = pytest.mark.parametrize("key", ["cvae", "cvib"])
not_from_y = pytest.mark.parametrize("key", [key for key in MODELS if key not in ("cvae", "cvib")])


def seeded(seed=0):
    return torch.Generator().manual_seed(seed)


class Glass(Model):
    """Takes the first two columns of x for Z0 and the third for Z1, and gives them back.

    In the first copy the first latent is the strongest, in the second copy the second, by its
    noise, although it varies less. The second copy's codes are ten times the first's.
    """

    key = "glass"
    term_names = ("kl",)

    def __init__(self):
        super().__init__(Sizes(2, 3, 1, invariant=2, target=1), {"kl": 1.0})

    def _build(self):
        pass

    def _posterior(self, x):
        scale = torch.tensor([1.0, 10.0])[:, None, None]
        std = torch.tensor([[0.1, 1.0, 0.001], [10.0, 0.01, 0.001]])[:, None]
        mean = self._stacked(x) * scale
        return mean, std.log().expand_as(mean)

    def _decoded(self, invariant, target):
        scale = torch.tensor([1.0, 10.0])[:, None, None]
        return torch.cat([self._stacked(invariant), self._stacked(target)], -1) / scale


class GlassOfY(Glass):
    """Takes y for the third column."""

    decodes_from_y = True


X = torch.rand(7, 3, generator=seeded(1)) * torch.tensor([4.0, 1.0, 4.0])
POOL = torch.rand(50, 3, generator=seeded(2)) * torch.tensor([4.0, 1.0, 4.0])


# ---- Partners ----------------------------------------------------------------------------------


def sources(moved, pool):
    """Finds which row of the pool each partner has its Z0 from: none is −1, none twice."""
    same = (moved[..., None, :2] - pool[:, :2]).abs().amax(-1) < 1e-6
    assert (same.sum(-1) <= 1).all()
    return torch.where(same.any(-1), same.int().argmax(-1), -1)


def test_partners_keep_their_rows_z1_and_take_a_whole_z0_of_the_pool():
    moved = partners(Glass(), X, 5, seeded(), pool=POOL)
    assert moved.shape == (2, 5, 7, 3)
    torch.testing.assert_close(moved[..., 2], X[:, 2].expand(2, 5, 7))
    assert (sources(moved, POOL) >= 0).all()


def test_without_a_pool_the_other_rows_are_it():
    moved = partners(Glass(), X, 100, seeded())
    assert moved.shape == (2, 100, 7, 3)
    found = sources(moved, X)
    assert (found >= 0).all()
    for row in range(7):  # and each row meets each other
        assert set(found[0, :, row].tolist()) == set(range(7))


def test_all_rows_of_the_pool_are_drawn_alike():
    found = sources(partners(Glass(), X, 1000, seeded(), pool=POOL), POOL)[0]
    times = torch.bincount(found.flatten(), minlength=50)
    assert times.shape == (50,)
    assert times.min() > 100  # 140 on average, with a standard deviation of 12
    assert times.max() < 180


def test_draws_and_rows_differ():
    found = sources(partners(Glass(), X, 6, seeded(), pool=POOL), POOL)[0]
    assert len({tuple(draw) for draw in found.tolist()}) == 6
    assert len({tuple(row) for row in found.T.tolist()}) == 7


def test_partners_are_seeded_by_the_generator_alone():
    torch.manual_seed(1)
    first = partners(Glass(), X, 3, seeded(5), pool=POOL)
    torch.manual_seed(2)
    assert torch.equal(partners(Glass(), X, 3, seeded(5), pool=POOL), first)
    assert not torch.equal(partners(Glass(), X, 3, seeded(6), pool=POOL), first)
    generator = seeded(5)
    assert torch.equal(partners(Glass(), X, 3, generator, pool=POOL), first)
    assert not torch.equal(partners(Glass(), X, 3, generator, pool=POOL), first)


# ---- Paths -------------------------------------------------------------------------------------


def latent_path(x, points, pool=None):
    return path(GlassOfY(), x, points, pool=pool, y=x[:, 2:])


def test_without_a_z1_a_path_moves_the_strongest_latent_through_its_quantiles():
    orbits = latent_path(X, 9, POOL)
    assert orbits.shape == (2, 9, 7, 3)
    for copy, (moved, kept) in enumerate([(0, 1), (1, 0)]):
        levels = np.quantile(POOL[:, moved].numpy(), np.linspace(0.01, 0.99, 9))
        expected = torch.as_tensor(levels, dtype=torch.float32)[:, None].expand(9, 7)
        torch.testing.assert_close(orbits[copy, ..., moved], expected, rtol=0, atol=1e-5)
        assert (orbits[copy].diff(dim=0)[..., moved] > 0).all()
        torch.testing.assert_close(orbits[copy, ..., kept], X[:, kept].expand(9, 7))
        torch.testing.assert_close(orbits[copy, ..., 2], (X[:, 2] / (1, 10)[copy]).expand(9, 7))


def test_without_a_pool_the_rows_give_the_quantiles():
    assert torch.equal(latent_path(X, 4), latent_path(X, 4, X))
    assert not torch.equal(latent_path(X, 4), latent_path(X, 4, POOL))


def test_which_latent_is_the_strongest_is_said_by_the_pool():
    # In the pool the first latent stands still; in the rows themselves it is the strongest.
    pool = torch.cat([torch.full((50, 1), 2.0), POOL[:, 1:]], 1)
    orbits = latent_path(X, 5, pool)
    torch.testing.assert_close(orbits[0, ..., 0], X[:, 0].expand(5, 7))
    assert (orbits[0].diff(dim=0)[..., 1] > 0).all()


def test_the_target_never_moves_however_strong():
    x = X * torch.tensor([0.01, 0.01, 1000.0])
    torch.testing.assert_close(path(Glass(), x, 5)[..., 2], x[:, 2].expand(2, 5, 7))


@pytest.mark.parametrize("kind", [Glass, GlassOfY])
def test_one_row_has_an_orbit_too(kind):
    assert path(kind(), X[:1], 5, pool=POOL, y=X[:1, 2:]).shape == (2, 5, 1, 3)


# ---- The true symmetry -------------------------------------------------------------------------


class Truth(Model):
    """Is the closed form (u, m) ↔ x of the paper's task.

    The second copy has its invariant turned round, and both have a dead latent beside it, the
    first copy behind it and the second before it.
    """

    key = "truth"
    term_names = ("kl",)

    def __init__(self):
        super().__init__(Sizes(2, 2, 2, invariant=2, target=1), {"kl": 1.0})

    def _build(self):
        self.anything = nn.Parameter(torch.zeros(1))

    def _posterior(self, x):
        u = torch.from_numpy(invariant(x.detach().double().numpy())).float()
        m = 2 * x[..., 0] + x[..., 1]
        dead = 0.001 * torch.sin(m)
        mean = torch.stack(
            [
                torch.stack([u[0], dead[0], m[0]], -1),
                torch.stack([dead[1], 1 - u[1], m[1]], -1),
            ]
        )
        std = torch.tensor([[0.02, 1.0, 0.1], [1.0, 0.02, 0.1]])[:, None]
        return mean, std.log().expand_as(mean)

    def _decoded(self, invariant, target):
        u = torch.stack([invariant[0, :, 0], 1 - invariant[1, :, 1]])
        m = target[..., 0]
        low, high = (m - 8).clamp_min(-4), (m + 8).clamp_max(4)
        x2 = low + u * (high - low)
        return torch.stack([(m - x2) / 2, x2], -1)


DATA = spiral(4000, default_rng(0))
ROWS = torch.as_tensor(DATA.x, dtype=torch.float32)


def test_the_true_partners_keep_the_level_and_fill_the_orbit():
    moved = partners(Truth(), ROWS, 2, seeded()).double().numpy()
    assert moved.shape == (2, 2, 4000, 2)
    m = level(DATA.x)
    np.testing.assert_allclose(level(moved), np.broadcast_to(m, (2, 2, 4000)), atol=1e-5)
    for copy in moved:
        for draw in copy:
            assert not outside(draw).any()
            assert coverage(invariant(draw)[:, None]) < 0.03
            # They are other points of the orbit: where one started does not tell where it goes.
            assert abs(np.corrcoef(invariant(draw), invariant(DATA.x))[0, 1]) < 0.06


def test_the_true_partners_of_one_point_fill_its_orbit():
    point = torch.tensor([[1.0, 2.0]])
    moved = partners(Truth(), point, 2000, seeded(), pool=ROWS)[:, :, 0].double().numpy()
    np.testing.assert_allclose(level(moved), 4, atol=1e-5)
    for copy in moved:
        assert coverage(invariant(copy)[:, None]) < 0.04


def test_the_true_path_runs_along_the_level_line_from_end_to_end():
    points = 25
    orbits = path(Truth(), ROWS[:30], points, pool=ROWS).double().numpy()
    assert orbits.shape == (2, points, 30, 2)
    m = level(DATA.x[:30])
    np.testing.assert_allclose(level(orbits), np.broadcast_to(m, (2, points, 30)), atol=1e-5)
    u = invariant(orbits)  # (2, points, 30)
    ahead = np.diff(u, axis=1)
    assert ((ahead > 0).all(1) | (ahead < 0).all(1)).all()
    # A walk ends within a stride of the end of the data; at the corners few strides are all.
    long = np.abs(m) < 10
    assert u.min(1)[:, long].max() < 0.06
    assert u.max(1)[:, long].min() > 0.94
    # Evenly spaced, but for the point that was moved to x by half a space at most.
    assert (np.abs(ahead).max(1) < 3.1 * np.abs(ahead).min(1)).all()


# ---- Known levels ------------------------------------------------------------------------------


class Known(Model):
    """Has a Z1 that is written down, all of x for Z0, and decodes what Z0 says.

    Partners are thus other rows, brought to a level. Its ŷ is Z1.
    """

    key = "known"
    term_names = ("kl",)

    def __init__(self, level, columns, size=1, within=None, stack=1):
        super().__init__(Sizes(stack, columns, size, columns, size), {"kl": 1.0})
        self.level = level
        if within is not None:
            self.low.fill_(within[0])
            self.high.fill_(within[1])

    def _build(self):
        pass

    def levels(self, x):
        return self.level(x)

    def among_data(self, points, levels):
        return points

    def _posterior(self, x):
        mean = torch.cat([x, self.level(x)], -1)
        return mean, torch.zeros_like(mean)

    def _decoded(self, invariant, target):
        return self._stacked(invariant)

    def _predicted(self, invariant, target):
        return target


def sphere(x):
    return x.square().sum(-1, keepdim=True)


def wavy(x):
    return (torch.sin(3 * x[..., :1]) + x[..., 1:2].square()) * (1 + x[..., 2:])


def normal(*shape, seed=0):
    return torch.randn(*shape, generator=seeded(seed))


def test_to_a_linear_level_a_point_takes_the_shortest_way():
    w = torch.tensor([[2.0, -1.0, 0.5]])
    points, levels = normal(1, 200, 3), normal(1, 200, 1, seed=1)
    found = refined(Known(lambda x: x @ w.T, 3), points, levels)
    expected = points - (points @ w.T - levels) @ w / w.square().sum()
    torch.testing.assert_close(found, expected, rtol=0, atol=3e-4)


def test_to_two_linear_levels_at_once_too():
    w = torch.tensor([[2.0, -1.0, 0.5, 0.0], [0.0, 1.0, 1.0, -3.0]])
    points, levels = normal(1, 200, 4), normal(1, 200, 2, seed=1)
    found = refined(Known(lambda x: x @ w.T, 4, size=2), points, levels)
    expected = points - (points @ w.T - levels) @ torch.linalg.pinv(w).T
    torch.testing.assert_close(found, expected, rtol=0, atol=1e-3)


def test_to_a_sphere_a_point_goes_along_its_radius():
    points, levels = normal(2, 100, 3), 0.5 + normal(2, 100, 1, seed=1).square()
    found = refined(Known(sphere, 3, stack=2), points, levels)
    expected = points * (levels / sphere(points)).sqrt()
    torch.testing.assert_close(found, expected, rtol=0, atol=1e-3)
    torch.testing.assert_close(sphere(found), levels, rtol=0, atol=2e-4)


def test_a_point_at_its_level_stays_to_the_bit():
    points = normal(1, 50, 3)
    assert torch.equal(refined(Known(sphere, 3), points, sphere(points)), points)


def test_a_column_at_the_end_of_its_range_stays_there_and_the_others_go_on():
    model = Known(lambda x: 2 * x[..., :1] + x[..., 1:], 2, within=(-4, 4))
    model.high.copy_(torch.tensor([1.0, 4.0]))
    points = torch.tensor([[[1.0, 0.0], [0.5, 0.0], [-9.0, 9.0]]])
    found = refined(model, points, torch.tensor([[[5.0], [5.0], [-4.0]]]), 20)
    torch.testing.assert_close(found[0, :2], torch.tensor([[1.0, 3.0]] * 2), rtol=0, atol=1e-3)
    torch.testing.assert_close(found[0, 2], torch.tensor([-4.0, 4.0]))  # taken inside at first


@pytest.mark.parametrize("steps", [0, 1, 3, 50])
def test_no_point_leaves_the_range(steps):
    points, levels = 3 * normal(1, 300, 3), 9 * normal(1, 300, 1, seed=1)
    for of in (sphere, wavy, lambda x: x.sum(-1, keepdim=True)):
        found = refined(Known(of, 3, within=(-1.5, 1.25)), points, levels, steps)
        assert found.min() >= -1.5
        assert found.max() <= 1.25


@pytest.mark.parametrize("steps", [1, 2, 7])
def test_steps_are_capped(steps):
    points, far = normal(1, 100, 3), torch.full((1, 100, 1), 1e4)
    model = Known(lambda x: x.sum(-1, keepdim=True), 3)
    gone = (refined(model, points, far, steps) - points).norm(dim=-1)
    torch.testing.assert_close(gone, torch.full_like(gone, steps * CAP))


def test_the_nearest_point_stands_for_a_level_that_cannot_be_reached_and_strayed_tells_it():
    box = Known(lambda x: x.sum(-1, keepdim=True), 2, within=(-1, 1))
    x = torch.tensor([[0.5, 0.25], [2.0, 3.0]])  # the second row's own level lies outside
    moved = partners(box, x, 40, seeded(), refine=20)
    torch.testing.assert_close(moved[0, :, 1], torch.ones(40, 2))
    torch.testing.assert_close(moved[0, :, 0].sum(-1), torch.full((40,), 0.75), atol=1e-3, rtol=0)
    lost = strayed(box, x, moved)
    assert lost.shape == (1, 40, 2)
    assert lost[..., 1].all()
    assert not lost[..., 0].any()


def test_no_sphere_is_smaller_than_a_point():
    points = normal(1, 50, 2)
    found = refined(Known(sphere, 2), points, torch.full((1, 50, 1), -1.0), 40)
    assert (sphere(found) < 0.05 * sphere(points).clamp_min(0.1)).all()


def test_where_nothing_depends_on_x_points_stay_and_are_finite():
    points = normal(1, 20, 2)
    found = refined(Known(lambda x: 0 * x[..., :1], 2), points, torch.ones(1, 20, 1))
    assert torch.equal(found, points)


def test_more_steps_never_lead_farther_away():
    points, levels = normal(1, 500, 3), 3 * normal(1, 500, 1, seed=1)
    model, before = Known(wavy, 3), None
    for steps in (0, 1, 2, 4, 8, 16):
        distance = (wavy(refined(model, points, levels, steps)) - levels).abs()
        assert before is None or (distance <= before + 1e-6).all()
        before = distance
    assert (before < 1e-3).float().mean() > 0.8  # the others end in a trough


def test_many_points_are_refined_as_few_are():
    model = build("stib_flow")
    x = torch.randn(2, 2 * CACHED + 3, model.sizes.x, generator=seeded(3))
    levels = model.levels(x).detach().flip(1)
    many = refined(model, x, levels)
    few = torch.arange(0, x.shape[1], 100)
    torch.testing.assert_close(refined(model, x[:, few], levels[:, few]), many[:, few])


def test_without_refinement_partners_are_as_they_are_decoded():
    x = normal(30, 3)
    moved = partners(Known(sphere, 3), x, 4, seeded(), refine=0)
    assert all((point == x).all(1).any() for point in moved.reshape(-1, 3))
    back = partners(Known(sphere, 3), x, 4, seeded())
    assert not torch.equal(back, moved)
    torch.testing.assert_close(sphere(back), sphere(x).expand(1, 4, 30, 1), rtol=0, atol=1e-3)
    assert strayed(Known(sphere, 3), x, moved).float().mean() > 0.8
    assert not strayed(Known(sphere, 3), x, back).any()


def test_of_many_points_in_pieces_come_the_same_partners(monkeypatch):
    x = normal(30, 3)
    whole = partners(Known(sphere, 3), x, 4, seeded())
    monkeypatch.setattr("symmetry.symmetries.PIECE", 7)
    torch.testing.assert_close(
        partners(Known(sphere, 3), x, 4, seeded()), whole, atol=1e-3, rtol=0
    )


@from_y
def test_what_predicts_no_y_cannot_tell_what_has_strayed(key):
    with pytest.raises(ValueError, match=f"^{key} predicts no y"):
        strayed(build(key), NET_X, NET_X.expand(2, 1, -1, -1))


# ---- Walks -------------------------------------------------------------------------------------

SQUARE = 4 * torch.rand(3000, 2, generator=seeded(7)) - 2
LINES = {
    "ring": (sphere, normal(40, 2, seed=8)),
    "saddle": (lambda x: x[..., :1] * x[..., 1:], normal(40, 2, seed=8)),
    "line": (lambda x: x.sum(-1, keepdim=True), normal(40, 2, seed=8)),
    "wave": (lambda x: x[..., 1:] - torch.sin(2 * x[..., :1]), normal(40, 2, seed=8)),
}
for _level, _x in LINES.values():
    _x.mul_(0.5 * _x.norm(dim=1, keepdim=True).clamp(1.2, 2.4) / _x.norm(dim=1, keepdim=True))


def walked(name, points=61):
    of, x = LINES[name]
    line = path(Known(of, 2), x, points, pool=SQUARE)[0]  # (points, n, 2)
    assert line.shape == (points, len(x), 2)
    return of, x, line


@pytest.mark.parametrize("name", LINES)
def test_a_path_passes_through_its_row_and_keeps_its_level(name):
    of, x, line = walked(name)
    assert ((line - x).norm(dim=-1).amin(0) < 1e-6).all()
    torch.testing.assert_close(of(line), of(x).expand(61, -1, -1), rtol=0, atol=5e-4)


@pytest.mark.parametrize("name", LINES)
def test_a_path_is_continuous(name):
    steps = walked(name)[2].diff(dim=0).norm(dim=-1)
    assert (steps.amax(0) <= 3 * steps.median(0).values).all()


def test_a_ring_is_walked_all_round_and_closes():
    _, x, line = walked("ring")
    torch.testing.assert_close(line[0], x, rtol=0, atol=1e-4)
    torch.testing.assert_close(line[-1], x, rtol=0, atol=1e-4)
    angles = torch.atan2(line[..., 1], line[..., 0]).sort(0).values
    assert (angles.diff(dim=0).amax(0) < 0.2).all()  # of 2π in 60 steps, 0.105
    round_once = line.diff(dim=0).norm(dim=-1).sum(0)
    torch.testing.assert_close(round_once, 2 * torch.pi * x.norm(dim=1), rtol=0.02, atol=0)


@pytest.mark.parametrize("name", ["saddle", "line", "wave"])
def test_what_is_no_ring_does_not_close_and_ends_where_the_data_end(name):
    _, _, line = walked(name)
    assert ((line[0] - line[-1]).norm(dim=-1) > 0.5).all()
    ends = line[[0, -1]].abs().amax(-1)
    assert (ends > 1.8).all()
    assert (line.abs() <= 2).all()


def test_a_straight_level_is_walked_straight():
    _, _, line = walked("line")
    along = line.diff(dim=0)
    torch.testing.assert_close(along[..., 0], -along[..., 1], rtol=0, atol=1e-3)
    assert ((along[..., 0] > 0).all(0) | (along[..., 0] < 0).all(0)).all()


# ---- Networks ----------------------------------------------------------------------------------


def build(key):
    kind = MODELS[key]
    model = kind(
        Sizes(2, 4, 3, invariant=2, target=1, hidden=7, critic=3),
        dict.fromkeys(kind.term_names, 1.0),
    )
    generator = seeded()
    with torch.no_grad():
        for parameter in model.parameters():
            parameter.normal_(0, 0.5, generator=generator)
    return model.eval()


NET_X, NET_POOL = torch.randn(6, 4, generator=seeded(3)), torch.randn(20, 4, generator=seeded(4))
NET_Y = torch.randn(6, 3, generator=seeded(5))


@pytest.mark.parametrize("key", [key for key in MODELS if key != "stib_flow"])
def test_unrefined_partners_are_decoded_from_the_pools_z0_and_the_rows_own_target(key):
    model = build(key)
    moved = partners(model, NET_X, 3, seeded(), pool=NET_POOL[:1], y=NET_Y, refine=0)
    z0 = model.encode(NET_POOL[:1]).invariant.expand(2, 6, 2)
    own = NET_Y.expand(2, 6, 3) if model.decodes_from_y else model.encode(NET_X).target
    expected = model.decode(z0, own)[:, None].expand(2, 3, 6, 4)
    torch.testing.assert_close(moved, expected)
    assert not moved.requires_grad


@every_model
def test_refined_partners_are_nearer_to_their_level_and_never_farther(key):
    model = build(key)
    moved, decoded = (
        partners(model, NET_X, 20, seeded(), pool=NET_POOL, y=NET_Y, refine=steps)
        for steps in (10, 0)
    )
    assert moved.shape == decoded.shape == (2, 20, 6, 4)
    if model.decodes_from_y:
        assert torch.equal(moved, decoded)
        return
    own = model.levels(NET_X.expand(2, -1, -1))[:, None]
    far, farther = (
        (torch.unflatten(model.levels(of.flatten(1, 2)), 1, (20, 6)) - own).norm(dim=-1)
        for of in (moved, decoded)
    )
    assert (far <= farther + 1e-5).all()
    assert far.median() < 1e-3 < farther.median()


@from_y
def test_a_path_is_decoded_from_the_rows_own_target_and_one_latent_moved(key):
    model = build(key)
    orbits = path(model, NET_X, 5, pool=NET_POOL, y=NET_Y)
    assert orbits.shape == (2, 5, 6, 4)
    assert not orbits.requires_grad
    code, pool = model.encode(NET_X), model.encode(NET_POOL)
    own = NET_Y.expand(2, 6, 3) if model.decodes_from_y else code.target
    for copy in range(2):
        z0 = code.invariant.clone()
        strength = pool.mean[copy, :, :2].var(0) / (pool.std[copy, :, :2] ** 2).mean(0)
        strongest = int(strength.argmax())
        middle = pool.invariant[copy, :, strongest].quantile(0.5)
        z0[copy, :, strongest] = middle
        torch.testing.assert_close(orbits[copy, 2], model.decode(z0, own)[copy])


@every_model
def test_copies_go_their_own_ways(key):
    found = partners(build(key), NET_X, 2, seeded(), y=NET_Y)
    assert (found[0] - found[1]).abs().mean() > 1e-3


@from_y
def test_copies_have_their_own_paths(key):
    found = path(build(key), NET_X, 2, y=NET_Y)
    assert (found[0] - found[1]).abs().min() > 0


@from_y
def test_a_model_that_decodes_from_y_says_that_it_needs_it(key):
    model = build(key)
    with pytest.raises(ValueError, match=f"^{key} decodes from y; give the y of the rows"):
        partners(model, NET_X, 2, seeded())
    with pytest.raises(ValueError, match=f"^{key} decodes from y; give the y of the rows"):
        path(model, NET_X, 2)


def with_and_without(key, y):
    model = build(key)
    return partners(model, NET_X, 2, seeded(), y=y), path(model, NET_X, 2, y=y)


@from_y
def test_such_a_model_uses_the_y_of_each_row(key):
    changed = NET_Y.clone()
    changed[4] += 1
    for before, after in zip(
        with_and_without(key, NET_Y), with_and_without(key, changed), strict=True
    ):
        touched = (before != after).any(-1).all(1).all(0)
        assert touched.tolist() == [row == 4 for row in range(6)]


@not_from_y
def test_the_other_models_leave_y_unused(key):
    for y in (NET_Y, 100 * NET_Y):
        for before, after in zip(
            with_and_without(key, None), with_and_without(key, y), strict=True
        ):
            assert torch.equal(before, after)


@every_model
def test_y_may_have_a_stack_axis_as_well(key):
    for shared, stacked in zip(
        with_and_without(key, NET_Y), with_and_without(key, NET_Y.expand(2, -1, -1)), strict=True
    ):
        assert torch.equal(shared, stacked)
