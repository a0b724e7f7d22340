"""The observers find leaks that we plant, whatever their shape, and nothing where nothing is."""

import numpy as np
import pytest
import torch
from numpy.random import default_rng

from symmetry.information import covariance, gaussian_mutual_information
from symmetry.models import Critics, Sizes
from symmetry.probes import fresh_critic_nats, leak_r2
from symmetry.tasks.spiral import invariant, level, spiral

DATA = spiral(6000, default_rng(0))
U, M, LENGTH = invariant(DATA.x), level(DATA.x), np.linalg.norm(DATA.y, axis=1)
NOISE = default_rng(1).standard_normal((len(DATA), 2))
NATS = 0.02  # the bias k²/n of 8 · 8 features on 3,000 rows


def turned(*columns, angle=0.7):
    """Puts two columns side by side and turns them, so that no axis is one of them."""
    cos, sin = np.cos(angle), np.sin(angle)
    return np.stack(columns, -1) @ np.array([[cos, sin], [-sin, cos]])


def found_by_critic(z0, y=DATA.y, steps=150, learning_rate=1e-3, seed=0, critics=None):
    """Lets the fresh critic of the evaluation look at one or more codes (S, n, d)."""
    z0 = torch.as_tensor(np.asarray(z0), dtype=torch.float32)
    z0 = z0.expand(1, -1, -1) if z0.ndim == 2 else z0
    sizes = Sizes(len(z0), 0, y.shape[1], invariant=z0.shape[2], hidden=64, memory=10)
    found = fresh_critic_nats(
        Critics(sizes) if critics is None else critics,
        z0,
        torch.as_tensor(y, dtype=torch.float32),
        steps=steps,
        batch_size=256,
        learning_rate=learning_rate,
        injectivity_weight=0.01,
        generator=torch.Generator().manual_seed(seed),
    )
    assert found.shape == (len(z0),)
    assert not found.requires_grad
    return found.tolist()


LEAKS = {  # by what leaks: the code, and the least R² and D, which depend on how much of y it is
    "y itself": (np.column_stack([U, DATA.y[:, 0]]), 0.9, 1),
    "the level": (M[:, None], 0.9, 1),
    "rotated": (turned(U, 0.3 * M), 0.9, 1),
    "of low variance": (np.column_stack([4 * U, 0.05 * M]), 0.9, 0.1),
    "rotated and of low variance": (turned(4 * U, 0.05 * M), 0.9, 0.1),
    "noisy": (np.column_stack([U, M + 5 * NOISE[:, 0]]), 0.1, 0.2),
    "scale alone": (np.column_stack([U, LENGTH]), 0.9, 1),
    "scale of a random sign": (np.sign(NOISE[:, :1]) * LENGTH[:, None], 0.9, 0.5),
    "scale of the noise": (M[:, None] * NOISE, 0.5, 0.3),
}
NO_LEAKS = {
    "exact invariant": U[:, None],
    "exact invariant and noise": np.column_stack([U, NOISE[:, 0]]),
    "exact invariant, scaled and turned": turned(1e-3 * U, 5 * NOISE[:, 0]),
    "noise": NOISE,
    "noise of many dimensions": default_rng(2).standard_normal((len(DATA), 5)),
    "nothing": np.zeros((len(DATA), 2)),
    "y of other rows": np.roll(DATA.y, 1, 0),
}


@pytest.mark.parametrize("leak", LEAKS)
def test_both_observers_find_a_leak(leak):
    code, least_r2, least_nats = LEAKS[leak]
    assert leak_r2(code, DATA.y) > least_r2
    (nats,) = found_by_critic(code)
    assert nats > least_nats


@pytest.mark.parametrize("code", NO_LEAKS)
def test_neither_observer_finds_a_leak_where_there_is_none(code):
    assert -0.05 < leak_r2(NO_LEAKS[code], DATA.y) <= 0.01
    (nats,) = found_by_critic(NO_LEAKS[code])
    assert -0.001 < nats < NATS  # of features that do not vary, rounding may read less than none


def test_the_linear_code_leaks_clearly_and_the_exact_invariant_not_at_all():
    linear = DATA.x[:, :1] - 2 * DATA.x[:, 1:]
    assert leak_r2(linear, DATA.y) > 0.08
    assert leak_r2(np.column_stack([linear, NOISE[:, 0]]), DATA.y) > 0.07
    (nats,) = found_by_critic(linear)
    assert nats > 5 * NATS
    assert leak_r2(U[:, None], DATA.y) <= 0.05


# ---- The regressor -----------------------------------------------------------------------------


@pytest.mark.parametrize(("rows", "neighbours"), [(100, 5), (800, 20), (4000, 100), (6000, 100)])
def test_without_a_leak_the_regressor_is_worse_than_the_mean_by_one_over_its_neighbours(
    rows, neighbours
):
    # The worst of three features lies a little above the mean of each.
    found = [
        leak_r2(default_rng(seed).standard_normal((rows, 2)), DATA.y[:rows]) for seed in range(20)
    ]
    chance = 2 / rows**0.5
    assert -1 / neighbours - 0.01 < np.mean(found) < -1 / neighbours + chance
    assert max(found) < 0.05


@pytest.mark.parametrize("rows", [100, 200, 400, 2000, 10_000])
@pytest.mark.parametrize("size", [1, 2])
def test_of_any_number_of_rows_a_whole_leak_reads_near_one(rows, size):
    z = default_rng(0).standard_normal((rows, size))
    assert leak_r2(z, z) > (0.9 if rows >= 200 else 0.8)


@pytest.mark.parametrize("labels", [(-1.0, 1.0), (0.0, 1.0), (-3.0, 3.0)])
@pytest.mark.parametrize("rows", [200, 2000])
def test_labels_that_do_not_leak_read_nothing(labels, rows):
    # The length of ±1 does not vary, but for rounding: nothing is explained of nothing.
    z = default_rng(1).standard_normal((rows, 1))
    y = np.resize(labels, rows)[:, None]
    assert abs(leak_r2(z, y)) < 0.25 * (200 / rows) ** 0.5
    assert leak_r2(y + 0.01 * z, y) > 0.99


def test_labels_coded_by_two_columns_have_no_length_either():
    z = default_rng(1).standard_normal((2000, 1))
    turn = 2 * np.pi * default_rng(2).integers(0, 3, 2000) / 3
    assert abs(leak_r2(z, np.column_stack([np.cos(turn), np.sin(turn)]))) < 0.05


def test_a_leak_of_one_column_counts_however_little_the_others_leak():
    noise = default_rng(3).standard_normal((len(DATA), 4))
    y = np.column_stack([noise, DATA.y[:, 0]])
    for column in range(5):
        assert leak_r2(noise[:, :1] if column < 4 else DATA.y[:, :1], y) > 0.9


def test_a_scale_leak_shows_in_the_length_where_no_column_shows_it():
    direction = default_rng(4).standard_normal((4000, 2))
    direction /= np.linalg.norm(direction, axis=1, keepdims=True)
    length = default_rng(5).uniform(1, 3, 4000)
    y = length[:, None] * direction
    assert leak_r2(length[:, None], y) > 0.9  # although E[y | length] = 0
    assert leak_r2(length[:, None], direction) < 0.01


def test_the_score_is_of_rows_that_the_regressor_has_not_seen():
    half = len(DATA) // 2
    code = NOISE.copy()
    code[:half] = DATA.y[:half]  # what it learns holds in the first half of the rows alone
    assert leak_r2(code, DATA.y) < 0.03
    code[half:] = DATA.y[half:]
    assert leak_r2(code, DATA.y) > 0.9


def test_the_regressor_is_blind_to_how_the_code_is_turned_scaled_and_shifted():
    code = np.column_stack([U, M + 5 * NOISE[:, 0]])
    found = leak_r2(code, DATA.y)
    for other in (1e4 * code, code * [1e-3, 1], code - 50, turned(*code.T), code[:, ::-1]):
        assert leak_r2(other, DATA.y) == pytest.approx(found, abs=0.005)


@pytest.mark.parametrize("scale", [1e-1, 1e-3, 1e-5])
def test_the_regressor_finds_a_leak_however_little_it_varies(scale):
    assert leak_r2(np.column_stack([3 * U, scale * M]), DATA.y) > 0.9
    assert leak_r2(turned(3 * U, scale * M), DATA.y) > 0.9


# ---- The fresh critic --------------------------------------------------------------------------


def test_the_critic_finds_what_a_linear_look_misses():
    z0 = M[:, None] * NOISE
    joint = torch.as_tensor(np.column_stack([z0, DATA.y]))[None]
    linear = 2 * gaussian_mutual_information(covariance(joint), 2)
    assert linear.item() < 0.01
    (nats,) = found_by_critic(z0)
    assert nats > 0.3


def test_the_critic_finds_by_training_what_it_does_not_see_at_first():
    z0 = default_rng(0).uniform(-1, 1, (6000, 1))
    y = np.cos(1.5 * np.pi * z0) + 0.3 * NOISE[:, :1]
    (at_first,) = found_by_critic(z0, y, steps=0)
    (trained,) = found_by_critic(z0, y, steps=300, learning_rate=1e-2)
    assert at_first < 0.8
    assert trained > 1.5 * at_first


def test_what_the_critic_learns_by_heart_does_not_count():
    z0 = default_rng(6).standard_normal((200, 5))
    y = default_rng(7).standard_normal((200, 2))
    (unseen,) = found_by_critic(z0, y, learning_rate=1e-2)
    z0[100:], y[100:] = z0[:100], y[:100]
    (seen,) = found_by_critic(z0, y, learning_rate=1e-2)
    assert seen > 2 * unseen


def test_each_copy_is_looked_at_on_its_own():
    codes = np.stack([np.column_stack([U, part]) for part in (NOISE[:, 0], M, NOISE[:, 1])])
    clean, leaking, other = found_by_critic(codes)
    assert max(clean, other) < NATS
    assert leaking > 1


def test_the_critic_is_deterministic_and_takes_its_randomness_from_the_generator_alone():
    torch.manual_seed(1)
    first = found_by_critic(LEAKS["noisy"][0], steps=20)
    torch.manual_seed(2)
    assert found_by_critic(LEAKS["noisy"][0], steps=20) == first
    assert found_by_critic(LEAKS["noisy"][0], steps=20, seed=1) != first


def test_the_critics_are_drawn_anew():
    critics = Critics(Sizes(1, 0, 2, invariant=2, hidden=64, memory=10))
    with torch.no_grad():
        for parameter in critics.parameters():
            parameter.fill_(3.0)
    code = LEAKS["noisy"][0]
    assert found_by_critic(code, steps=20, critics=critics) == found_by_critic(code, steps=20)
