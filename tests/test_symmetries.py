"""Partners and orbits of models that we see through: of glass, the closed form, random nets."""

import numpy as np
import pytest
import torch
from numpy.random import default_rng
from torch import nn

from symmetry.evaluation import coverage
from symmetry.models import MODELS, Code, Model, Sizes
from symmetry.symmetries import partners, path
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

    def encode(self, x):
        scale = torch.tensor([1.0, 10.0])[:, None, None]
        std = torch.tensor([[0.1, 1.0, 0.001], [10.0, 0.01, 0.001]])[:, None]
        mean = self._stacked(x) * scale
        return Code(mean, std.expand_as(mean), 2)

    def _posterior(self, x):
        code = self.encode(x)
        return code.mean, code.std.log()

    def decode(self, invariant, target):
        scale = torch.tensor([1.0, 10.0])[:, None, None]
        return torch.cat([invariant, target], -1) / scale


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


def test_a_path_moves_the_strongest_latent_of_each_copy_through_its_quantiles():
    orbits = path(Glass(), X, 9, pool=POOL)
    assert orbits.shape == (2, 9, 7, 3)
    for copy, (moved, kept) in enumerate([(0, 1), (1, 0)]):
        levels = np.quantile(POOL[:, moved].numpy(), np.linspace(0.01, 0.99, 9))
        expected = torch.as_tensor(levels, dtype=torch.float32)[:, None].expand(9, 7)
        torch.testing.assert_close(orbits[copy, ..., moved], expected, rtol=0, atol=1e-5)
        assert (orbits[copy].diff(dim=0)[..., moved] > 0).all()
        for column in (kept, 2):
            torch.testing.assert_close(orbits[copy, ..., column], X[:, column].expand(9, 7))


def test_without_a_pool_the_rows_give_the_quantiles():
    assert torch.equal(path(Glass(), X, 4), path(Glass(), X, 4, pool=X))
    assert not torch.equal(path(Glass(), X, 4), path(Glass(), X, 4, pool=POOL))


def test_which_latent_is_the_strongest_is_said_by_the_pool():
    # In the pool the first latent stands still; in the rows themselves it is the strongest.
    pool = torch.cat([torch.full((50, 1), 2.0), POOL[:, 1:]], 1)
    orbits = path(Glass(), X, 5, pool=pool)
    torch.testing.assert_close(orbits[0, ..., 0], X[:, 0].expand(5, 7))
    assert (orbits[0].diff(dim=0)[..., 1] > 0).all()


def test_the_target_latent_never_moves_however_strong():
    x = X * torch.tensor([0.01, 0.01, 1000.0])
    torch.testing.assert_close(path(Glass(), x, 5)[..., 2], x[:, 2].expand(2, 5, 7))


def test_one_row_has_an_orbit_too():
    assert path(Glass(), X[:1], 5, pool=POOL).shape == (2, 5, 1, 3)


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

    def encode(self, x):
        rows = x.double().numpy()
        u, m = (torch.from_numpy(of(rows)) for of in (invariant, level))
        dead = 0.001 * torch.sin(m)
        mean = torch.stack(
            [torch.stack([u, dead, m], -1), torch.stack([dead, 1 - u, m], -1)]
        ).float()
        std = torch.tensor([[0.02, 1.0, 0.1], [1.0, 0.02, 0.1]])[:, None]
        return Code(mean, std.expand_as(mean), 2)

    def _posterior(self, x):
        code = self.encode(x)
        return code.mean, code.std.log()

    def decode(self, invariant, target):
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
    u = invariant(orbits)
    assert (np.diff(u[0], axis=0) > 0).all()
    assert (np.diff(u[1], axis=0) < 0).all()
    expected = np.linspace(0.01, 0.99, points)[:, None]  # u is uniform
    np.testing.assert_allclose(u[0], np.broadcast_to(expected, (points, 30)), atol=0.02)
    np.testing.assert_allclose(u[1], np.broadcast_to(expected[::-1], (points, 30)), atol=0.02)


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


@every_model
def test_partners_are_decoded_from_the_pools_z0_and_the_rows_own_target(key):
    model = build(key)
    moved = partners(model, NET_X, 3, seeded(), pool=NET_POOL[:1], y=NET_Y)
    z0 = model.encode(NET_POOL[:1]).invariant.expand(2, 6, 2)
    own = NET_Y.expand(2, 6, 3) if model.decodes_from_y else model.encode(NET_X).target
    expected = model.decode(z0, own)[:, None].expand(2, 3, 6, 4)
    torch.testing.assert_close(moved, expected)
    assert not moved.requires_grad


@every_model
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
    model = build(key)
    for found in (
        partners(model, NET_X, 2, seeded(), y=NET_Y),
        path(model, NET_X, 2, y=NET_Y),
    ):
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
