"""The referee against closed forms: a ring y = a² + b², whose partners are turned by an angle."""

import json

import numpy as np
import pytest
from numpy.random import default_rng

from symmetry.coverage import column_spread, nearest_rows, partner_coverage, random_rows
from symmetry.referee import Referee
from symmetry.verdicts import Coverage, Estimate, Reason, Verdict, verdict


def ring(n, seed=0):
    """Draws points and their exact level; y has noise of 5 % of its standard deviation, 2."""
    generator = default_rng(seed)
    x = generator.normal(size=(n, 2))
    level = (x**2).sum(1)
    return x, level + 0.1 * generator.normal(size=n), level


def turned(x, partners=20, share=1.0, stretch=1.0, seed=1):
    """Turns each row by angles that are uniform on so large a share of the circle around it."""
    turns = default_rng(seed).uniform(-0.5, 0.5, (partners, len(x)))
    angle = np.arctan2(x[:, 1], x[:, 0]) + 2 * np.pi * share * turns
    return stretch * np.hypot(*x.T)[:, None] * np.stack([np.cos(angle), np.sin(angle)], -1)


def figures(referee, partners, y_hat, seed=3):
    generator = default_rng(seed)
    n = len(referee.rows)
    return {
        "referee_error": referee.error(partners),
        "random_rows": referee.error_of_rows(random_rows(n, 20, generator)),
        "nearest_rows": referee.error_of_rows(nearest_rows(y_hat, 20, generator)),
        "plain_regression": referee.plain_regression(),
        "regression_gain": referee.regression_gain(),
        "prediction_error": referee.prediction_error(y_hat),
        "prediction_gain": referee.prediction_gain(y_hat),
    }


def judge(referee, y_hat, partners, **rest):
    coverage = partner_coverage(partners, referee.rows, y_hat, default_rng(4))
    seen = figures(referee, partners, y_hat)
    return verdict(seen, coverage, column_spread(partners, referee.rows), **rest)


@pytest.fixture(scope="module")
def judged():
    x, y, level = ring(1000)
    return x, y, level, Referee(x, y, default_rng(2))


def test_exact_partners_read_far_less_than_random_and_nearest_rows(judged):
    x, _, level, referee = judged
    seen = figures(referee, turned(x), level)
    assert seen["referee_error"].mean < 0.02
    assert seen["referee_error"].mean < seen["nearest_rows"].mean < 0.1
    assert 0.9 < seen["random_rows"].mean < 1.1
    # E|ε| of the noise, 0.05 sd of y, is 0.04: the referee has found the law itself.
    assert seen["plain_regression"].mean == pytest.approx(0.04, abs=0.01)
    assert seen["prediction_error"].mean == pytest.approx(0.04, abs=0.005)
    assert seen["regression_gain"].mean == pytest.approx(
        referee.constant().mean - seen["plain_regression"].mean
    )


def test_partners_on_a_wrong_level_read_what_they_are_wrong_by(judged):
    x, _, level, referee = judged
    wrong = (1.2**2 - 1) * level.mean() / referee.sd[0]
    found = referee.error(turned(x, stretch=1.2))
    assert found.mean == pytest.approx(wrong, rel=0.1)


def test_random_rows_differ_as_two_draws_of_y(judged):
    x, _, level, referee = judged
    found = referee.error_of_rows(random_rows(len(x), 20, default_rng(5)))
    pairs = np.abs(level[:, None] - level).mean() / referee.sd[0]
    assert found.mean == pytest.approx(pairs, abs=4 * found.error)


def test_a_row_is_judged_by_a_regressor_that_has_not_seen_it():
    generator = default_rng(0)
    x, y = generator.normal(size=(200, 3)), generator.normal(size=200)
    # Noise can be learned by heart, but not predicted.
    found = Referee(x, y, default_rng(1)).regression_gain()
    assert found.mean < 2 * found.error


def test_steps_are_judged_as_well_as_smooth_laws():
    x = default_rng(0).uniform(-1, 1, (1000, 3))
    y = np.sign(x[:, 0]) + np.sign(x[:, 1])
    assert Referee(x, y, default_rng(1)).plain_regression().mean < 0.1


def test_units_do_not_matter(judged):
    x, y, level, referee = judged
    scale, shift = np.array([1e-3, 1e4]), np.array([5, -1e5])
    partners = turned(x)
    other = Referee(x * scale + shift, 1e6 * y - 7, default_rng(2))
    moved = partners * scale + shift
    assert other.error(moved).mean == pytest.approx(referee.error(partners).mean, rel=0.02)
    there = partner_coverage(moved, x * scale + shift, 1e6 * level, default_rng(4))
    here = partner_coverage(partners, x, level, default_rng(4))
    assert there[:2] == pytest.approx(here[:2], abs=1e-3)
    assert column_spread(moved, x * scale + shift) == pytest.approx(column_spread(partners, x))


def test_columns_of_y_are_averaged(judged):
    x, y, _, referee = judged
    flat = np.column_stack([y, np.full(len(y), 3.0)])  # the second is right for any partner
    both = Referee(x, flat, default_rng(2))
    partners = turned(x, stretch=1.2)
    assert both.error(partners).mean == pytest.approx(referee.error(partners).mean / 2, rel=0.05)
    assert both.prediction_error(flat).mean == 0


def test_the_same_seed_judges_the_same():
    x, y, _ = ring(100)
    first, second = (Referee(x, y, default_rng(0)).error(turned(x)) for _ in range(2))
    assert first == second


def test_partners_of_the_first_rows_suffice(judged):
    x, _, level, referee = judged
    few = turned(x)[:, :300]
    assert referee.error(few).mean < 0.02
    assert abs(partner_coverage(few, x, level, default_rng(0)).excess.mean) < 0.06


def test_nearest_rows_are_the_nearest_without_the_row_itself():
    y_hat = default_rng(0).permutation(50).astype(float)
    nearest = nearest_rows(y_hat, 4, default_rng(1))
    assert nearest.shape == (4, 50)
    inside = (y_hat > 1) & (y_hat < 48)
    distances = np.sort(np.abs(y_hat[nearest] - y_hat), 0)[:, inside]
    assert (distances == np.array([1, 1, 2, 2])[:, None]).all()


def test_nearest_rows_of_a_constant_prediction_are_any():
    nearest = nearest_rows(np.zeros(400), 20, default_rng(0))
    assert (nearest != np.arange(400)).all()
    away = np.abs(nearest - np.arange(400))
    assert away.mean() == pytest.approx(400 / 3, rel=0.1)  # of two independent uniform draws


def test_random_rows_are_never_the_row_itself():
    rows = random_rows(5, 2000, default_rng(0))
    counts = np.array([np.bincount(column, minlength=5) for column in rows.T])
    assert (np.diag(counts) == 0).all()
    assert counts[~np.eye(5, dtype=bool)] == pytest.approx(500, abs=100)


@pytest.mark.parametrize(("n", "partners"), [(60, 20), (1000, 20), (3000, 150)])
def test_exact_partners_lie_at_the_floor_of_coverage(n, partners):
    excesses = []
    for seed in range(4):
        x, _, level = ring(n, seed)
        found = partner_coverage(turned(x, partners, seed=seed + 9), x, level, default_rng(0))
        excesses.append(found.excess.mean)
        assert found.excess.mean == pytest.approx(found.reading - found.floor)
        assert abs(found.excess.mean) < 3 * found.excess.error
    assert abs(np.mean(excesses)) < 0.03


def test_coverage_has_the_floor_that_chance_gives():
    x, _, level = ring(3000)
    found = partner_coverage(turned(x, 150), x, level, default_rng(0))
    assert found.floor == pytest.approx(0.87 * np.sqrt(1 / 150 + 1 / 300), abs=0.03)


@pytest.mark.parametrize("n", [300, 3000])
def test_half_an_orbit_raises_coverage_above_its_floor(n):
    x, _, level = ring(n)
    excess = partner_coverage(turned(x, share=0.5), x, level, default_rng(0)).excess
    assert excess.mean > 0.1
    assert excess.mean > 3 * excess.error


def test_partners_that_stay_or_leave_the_data_raise_coverage(judged):
    x, _, level, _ = judged
    for partners in (turned(x, share=0.01), turned(x) + 10):
        assert partner_coverage(partners, x, level, default_rng(0)).excess.mean > 0.3


def test_columns_that_y_determines_are_in_the_floor():
    y_hat, free = default_rng(0).normal(size=(2, 1000))
    x = np.column_stack([y_hat, free])
    partners = np.repeat(x[None], 20, 0)
    partners[..., 1] = default_rng(1).normal(size=(20, 1000))
    # The first column cannot move; the rows around a row spread to its both sides.
    found = partner_coverage(partners, x, y_hat, default_rng(0))
    assert found.floor > 0.3
    assert abs(found.excess.mean) < 0.03


def test_ties_are_no_distance():
    generator = default_rng(0)
    x = generator.integers(0, 2, (1000, 1)).astype(float)
    y_hat = generator.normal(size=1000)
    partners = generator.integers(0, 2, (20, 1000, 1)).astype(float)
    found = partner_coverage(partners, x, y_hat, default_rng(1))
    assert abs(found.excess.mean) < 0.02
    # Of two shares with the variance ¼/20 + ¼/40, the mean distance.
    assert found.reading == pytest.approx(np.sqrt(2 / np.pi * 0.25 * 1.5 / 20), abs=0.02)
    rounded = partner_coverage(partners + 1e-7, x, y_hat, default_rng(1))
    assert rounded.reading == pytest.approx(found.reading)
    halves = partner_coverage(np.full_like(partners, 0.5), x, y_hat, default_rng(1))
    assert halves.excess.mean > 0.3


def test_spread_says_how_far_each_column_moves():
    x = default_rng(0).normal(size=(500, 3)) * [1, 10, 0] + 4
    moves = default_rng(1).normal(size=(50, 500, 3)) * [1, 0, 1]
    assert column_spread(x + moves, x) == pytest.approx([1, 0, 0], abs=0.1)


@pytest.mark.parametrize("n", [60, 300, 1000])
def test_exact_partners_are_found(n):
    x, y, level = ring(n)
    found = judge(Referee(x, y, default_rng(2)), level, turned(x))
    assert str(found) == "Symmetry found."


@pytest.mark.parametrize("n", [60, 1000])
def test_shuffled_y_is_not_found(n):
    x, y, _ = ring(n)
    referee = Referee(x, default_rng(8).permutation(y), default_rng(2))
    near = x + 0.2 * default_rng(9).normal(size=(20, n, 2))
    for partners in (turned(x), near):  # near ones agree, whatever the referee has learned
        found = judge(referee, y.mean() + 0.1 * x[:, 0], partners)
        assert found.grade == "not found"
        assert "does not predict y" in str(found)


def test_faults_are_named(judged):
    x, _, level, referee = judged
    heart = level + 4 * default_rng(0).normal(size=len(x))
    cases = [
        (level, turned(x, stretch=1.5), {}, "not found", "random rows"),
        (level, np.repeat(x[None], 20, 0), {}, "not found", "no column moves"),
        (np.full_like(level, 2.0), turned(x), {}, "not found", "no better than a constant"),
        (level, turned(x), {"lost_share": 0.6}, "not found", "come back"),
        (level, turned(x, stretch=1.25), {}, "found in part", "only roughly"),
        (level, turned(x, share=0.5), {}, "found in part", "miss part"),
        (level, turned(x), {"leak_r2": 0.2}, "found in part", "Z0 still tells"),
        (level, turned(x), {"lost_share": 0.1}, "found in part", "come back"),
        (level, turned(x), {"mixed": Estimate(0.2, 0.04)}, "found in part", "mix categories"),
        (level + 0.1 * heart, turned(x), {}, "found in part", "by heart"),
    ]
    for y_hat, partners, rest, grade, remedy in cases:
        found = judge(referee, y_hat, partners, **rest)
        assert found.grade == grade, (remedy, str(found))
        assert remedy in str(found)


@pytest.mark.parametrize(
    ("error", "random", "nearest", "grade"),
    [
        (0.277, 0.90, 0.30, "found"),  # scikit-learn's diabetes
        (0.240, 1.00, 0.244, "found"),  # NOx emissions
        (0.318, 1.07, 0.216, "found in part"),  # computers, codes and yes/no treated as numbers
        (0.95, 1.00, 0.30, "not found"),
    ],
)
def test_real_tables_get_their_grade(error, random, nearest, grade):
    seen = {
        "referee_error": Estimate(error, 0.005),
        "random_rows": Estimate(random, 0.01),
        "nearest_rows": Estimate(nearest, 0.005),
        "plain_regression": Estimate(0.4, 0.02),
        "regression_gain": Estimate(0.4, 0.02),
        "prediction_error": Estimate(0.42, 0.02),
        "prediction_gain": Estimate(0.38, 0.02),
    }
    coverage = Coverage(0.3, 0.25, Estimate(0.05, 0.02))
    assert verdict(seen, coverage, [0.8, 0.9]).grade == grade


def test_combinations_as_new_as_those_of_rows_are_not_held_against_partners(judged):
    x, _, level, referee = judged
    for mixed in (Estimate(0.05, 0.001), Estimate(0.2, 0.11), Estimate(-0.3, 0.01), None):
        assert judge(referee, level, turned(x), mixed=mixed).grade == "found"


def test_small_errors_that_chance_hides_are_not_put_down_to_training():
    # Of a product of lognormals: "0.057 > -0.026: train longer".
    seen = {
        "referee_error": Estimate(0.06, 0.04),
        "random_rows": Estimate(0.5, 0.27),
        "nearest_rows": Estimate(0.06, 0.04),
        "plain_regression": Estimate(0.05, 0.04),
        "regression_gain": Estimate(0.4, 0.1),
    }
    said = str(verdict(seen, None, [0.8, 0.9]))
    assert "not found: referee error 0.060 > 0.000: too few rows tell" in said
    sure = seen | {"random_rows": Estimate(0.5, 0.02), "referee_error": Estimate(0.06, 0.01)}
    assert verdict(sure, None, [0.8, 0.9]).grade == "found"


def test_a_verdict_comes_back_from_json_without_the_digits_that_threads_change():
    reasons = (Reason("leak R²", 0.1 + 3e-11, 0.05, "train longer"), Reason("b", 1 / 3, 1e9, "c"))
    said = Verdict("found in part", reasons)
    kept = json.loads(json.dumps(said.to_json()))
    assert [reason["figure"] for reason in kept["reasons"]] == [0.1, 0.333333333]
    assert str(Verdict.from_json(kept)) == str(said)


def test_a_verdict_needs_its_figures(judged):
    x, _, level, referee = judged
    seen = figures(referee, turned(x), level)
    with pytest.raises(ValueError, match="figure 'random_rows' is"):
        verdict(seen | {"random_rows": Estimate(np.nan, 0.1)}, None, [1.0])
    del seen["nearest_rows"]
    with pytest.raises(ValueError, match="figures lacks 'nearest_rows'"):
        verdict(seen, None, [1.0])


def test_wrong_input_is_named(judged):
    x, y, level, referee = judged
    partners = turned(x)
    generator = default_rng(0)
    broken = partners.copy()
    broken[3, 4, 0] = np.nan
    with pytest.raises(ValueError, match="rows has 39 rows; a referee needs at least 40"):
        Referee(x[:39], y[:39], generator)
    with pytest.raises(ValueError, match="y has 999 rows and rows has 1000"):
        Referee(x, y[1:], generator)
    with pytest.raises(ValueError, match="y has values that are not finite"):
        Referee(x, np.where(y > y.mean(), np.inf, y), generator)
    with pytest.raises(ValueError, match=r"partners has shape \(20, 1000\)"):
        referee.error(partners[..., 0])
    with pytest.raises(ValueError, match="partners has values that are not finite"):
        referee.error(broken)
    with pytest.raises(ValueError, match=r"indices has shape \(2, 3\); expected \(partners, 1000"):
        referee.error_of_rows(np.zeros((2, 3), int))
    with pytest.raises(ValueError, match=r"y_hat has shape \(999, 1\)"):
        referee.prediction_error(y[1:])
    with pytest.raises(ValueError, match="count is 1000; allowed is 1 to 999"):
        nearest_rows(level, 1000, generator)
    with pytest.raises(ValueError, match="y_hat has 999 rows"):
        partner_coverage(partners, x, level[1:], generator)
    with pytest.raises(ValueError, match="coverage needs at least 40"):
        partner_coverage(partners[:, :20], x[:20], level[:20], generator)
    with pytest.raises(ValueError, match="partners has 1 a row; a spread needs at least 2"):
        column_spread(partners[:1], x)
