"""Scales: normal scores against the normal quantiles, tails against their closed form."""

import numpy as np
import pytest
import torch
from numpy.random import default_rng
from scipy.stats import kstest, norm

from symmetry.scales import FAR, KNOTS, NormalScores, Tails

N = 4000
DRAW = default_rng(0)
COLUMNS = {
    "uniform": DRAW.uniform(-3, 5, N),
    "normal": DRAW.normal(100, 0.1, N),
    "lognormal": DRAW.lognormal(0, 1.5, N),
    "bounded": DRAW.beta(0.5, 0.5, N),
    "two heaps": np.concatenate([DRAW.normal(-5, 0.1, N // 2), DRAW.normal(5, 0.1, N // 2)]),
}
WHOLE = DRAW.poisson(3.0, N).astype(float)

continuous = pytest.mark.parametrize("name", COLUMNS)


def tensor(values):
    return torch.as_tensor(np.asarray(values), dtype=torch.float64)


def adapted(values, *columns):
    """Makes the scores of a column with shape (n,), or of what has the shape of the columns."""
    rows = tensor(values)
    scores = NormalScores(*(columns or (1,))).double()
    scores.adapt(rows if columns else rows[:, None])
    return scores


def forward(scores, values):
    return scores(tensor(values)[None, :, None])[0, :, 0].numpy()


def inverse(scores, values):
    return scores.inverse(tensor(values)[None, :, None])[0, :, 0].numpy()


# ---- Normal scores -----------------------------------------------------------------------------


@continuous
def test_the_scores_of_a_column_are_standard_normal(name):
    scores = forward(adapted(COLUMNS[name]), COLUMNS[name])
    assert kstest(scores, "norm").statistic < 0.005
    assert scores.mean() == pytest.approx(0, abs=0.01)
    assert scores.std() == pytest.approx(1, abs=0.01)


@continuous
def test_scores_are_the_normal_quantiles_of_the_ranks(name):
    values = np.sort(COLUMNS[name])
    expected = norm.ppf((np.arange(N) + 0.5) / N)
    middle = slice(N // 100, -N // 100)  # at the very ends knots are far apart in scores
    np.testing.assert_allclose(
        forward(adapted(values), values)[middle], expected[middle], atol=0.05
    )


@continuous
def test_the_way_back_undoes_the_way_there_inside_the_range(name):
    scores, values = adapted(COLUMNS[name]), COLUMNS[name]
    np.testing.assert_allclose(inverse(scores, forward(scores, values)), values, rtol=1e-9)
    within = np.linspace(*norm.ppf([0.5 / KNOTS, 1 - 0.5 / KNOTS]), 999)
    np.testing.assert_allclose(forward(scores, inverse(scores, within)), within, atol=1e-6)


@continuous
def test_both_ways_are_monotone(name):
    scores = adapted(COLUMNS[name])
    there = forward(scores, np.sort(COLUMNS[name]))
    assert (np.diff(there) > 0).all()
    back = inverse(scores, np.linspace(-6, 6, 5001))
    assert (np.diff(back) >= 0).all()


@pytest.mark.parametrize("name", [*COLUMNS, "whole"])
def test_no_way_leaves_its_range_and_its_ends_are_reached(name):
    values = WHOLE if name == "whole" else COLUMNS[name]
    scores = adapted(values)
    back = inverse(scores, [-1e30, -50, -5, 5, 50, 1e30])
    np.testing.assert_array_equal(back[:3], values.min())
    np.testing.assert_array_equal(back[3:], values.max())
    drawn = inverse(scores, default_rng(1).normal(0, 2, 20_000))
    assert values.min() <= drawn.min() <= drawn.max() <= values.max()
    there = forward(scores, [-1e30, values.min() - 1, values.max() + 1, 1e30])
    end = norm.ppf(1 - 0.5 / KNOTS)
    assert np.abs(there).max() <= end + 1e-6
    assert there[0] == there[1] <= forward(scores, [values.min()])
    assert there[2] == there[3] >= forward(scores, [values.max()])
    if name != "whole":  # whose ends, too, are many rows: their scores lie further in
        assert there[[0, 3]].tolist() == forward(scores, [values.min(), values.max()]).tolist()


def test_a_value_of_many_rows_has_the_score_in_their_middle_and_comes_back_exactly():
    scores = adapted(WHOLE)
    values, counts = np.unique(WHOLE, return_counts=True)
    there = forward(scores, values)
    assert (np.diff(there) > 0).all()
    np.testing.assert_allclose(inverse(scores, there), values, rtol=1e-15)
    ends = np.cumsum(counts) / N
    often = (counts > N / 20).nonzero()[0][1:]
    low, high = norm.ppf(ends[often - 1]), norm.ppf(ends[often])
    np.testing.assert_allclose(there[often], (low + high) / 2, atol=0.05)
    # Of its interval of scores nearly all lead back to the whole number, not between two.
    drawn = inverse(scores, default_rng(1).standard_normal(20_000))
    assert np.isin(drawn, values).mean() > 0.95
    shares = [(drawn == value).mean() for value in values[often]]
    np.testing.assert_allclose(shares, counts[often] / N, atol=0.02)


def test_both_ends_of_a_column_are_treated_alike():
    scores = adapted(np.repeat([-1.0, 0.0, 1.0], 100))
    low, middle, high = forward(scores, [-1.0, 0.0, 1.0])
    assert low == pytest.approx(-high, abs=1e-6)
    assert middle == pytest.approx(0, abs=1e-6)
    below, above = forward(scores, [-2.0, 2.0])
    assert below == pytest.approx(-above, abs=1e-6)
    assert below < low


def test_a_column_of_two_values_keeps_them_apart():
    scores = adapted(np.repeat([0.0, 1.0], [300, 100]))
    zero, one = forward(scores, [0.0, 1.0])
    assert zero < norm.ppf(0.75) < one
    np.testing.assert_array_equal(inverse(scores, [zero, one]), [0, 1])


@pytest.mark.parametrize("rows", [2, 3, 40])
def test_few_rows_have_scores_too(rows):
    values = DRAW.normal(size=rows)
    scores = adapted(values)
    np.testing.assert_allclose(inverse(scores, forward(scores, values)), values, atol=1e-9)
    assert forward(scores, [np.median(values)]) == pytest.approx(0, abs=0.05)


def test_a_constant_column_is_zero_and_stays_constant():
    scores = adapted(np.full(100, 7.0))
    np.testing.assert_allclose(forward(scores, [7.0]), 0, atol=1e-6)
    np.testing.assert_array_equal(inverse(scores, [-3, 0, 3]), 7)


def test_columns_and_copies_have_scores_of_their_own():
    rows = np.stack([COLUMNS["uniform"], COLUMNS["lognormal"]], -1)
    both = np.stack([rows, 10 * rows[:, ::-1]])  # (2, n, 2)
    shared, own = adapted(rows, 2), adapted(both, 2, 2)
    assert shared.values.shape == (2, KNOTS)
    assert own.values.shape == (2, 2, KNOTS)
    found = own(tensor(both))
    for copy in range(2):
        for column in range(2):
            alone = forward(adapted(both[copy, :, column]), both[copy, :, column])
            np.testing.assert_allclose(found[copy, :, column], alone, atol=1e-12)
    torch.testing.assert_close(shared(tensor(rows).expand(3, -1, -1))[1], found[0])
    torch.testing.assert_close(own.inverse(found), tensor(both))


def test_without_rows_to_adapt_to_it_is_finite_on_the_range_from_minus_one_to_one():
    scores = NormalScores(2)
    points = torch.linspace(-1, 1, 9)[None, :, None].expand(1, 9, 2)
    torch.testing.assert_close(scores.inverse(scores(points)), points)


@pytest.mark.parametrize("scale", [1e-30, 1e-9, 1e9, 1e30])
def test_normal_scores_are_blind_to_units(scale):
    values = COLUMNS["lognormal"]
    one, other = adapted(values), adapted(scale * values)
    np.testing.assert_allclose(forward(other, scale * values), forward(one, values), atol=1e-6)


# ---- Tails -------------------------------------------------------------------------------------


def tails_of(*columns):
    tails = Tails(len(columns)).double()
    tails.adapt(tensor(np.column_stack(columns)))
    return tails


HEAVY = DRAW.standard_cauchy(N)


@pytest.mark.parametrize("name", ["uniform", "normal", "bounded", "two heaps"])
def test_a_column_without_tails_stays_as_it_is(name):
    values = tensor(COLUMNS[name])[:, None]
    assert torch.equal(tails_of(COLUMNS[name])(values), values)


def test_only_the_columns_that_reach_far_are_drawn_in():
    tails = tails_of(COLUMNS["normal"], HEAVY, COLUMNS["uniform"])
    assert tails.far.tolist() == [0, 1, 0]
    rows = tensor(np.column_stack([COLUMNS["normal"], HEAVY, COLUMNS["uniform"]]))
    drawn = tails(rows)
    assert torch.equal(drawn[:, [0, 2]], rows[:, [0, 2]])
    assert drawn[:, 1].std().item() == pytest.approx(1, rel=1e-9)
    assert rows[:, 1].abs().max() > 100 > 10 > drawn[:, 1].abs().max()


def test_far_values_are_drawn_in_by_the_closed_form_and_can_be_recovered():
    low, middle, high = np.quantile(HEAVY, [0.25, 0.5, 0.75], method="lower")
    scale = (high - low) / 1.35
    expected = np.arcsinh((HEAVY - middle) / scale)
    tails = tails_of(HEAVY)
    drawn = tails(tensor(HEAVY)[:, None])[:, 0].numpy()
    np.testing.assert_allclose(drawn, expected / expected.std(ddof=1), rtol=1e-9)
    back = np.sinh(drawn * tails.reach.item()) * tails.scale.item() + tails.centre.item()
    np.testing.assert_allclose(back, HEAVY, rtol=1e-9)


def test_tails_are_odd_about_the_median_and_monotone():
    tails = tails_of(HEAVY)
    offsets = torch.logspace(-6, 30, 200, dtype=torch.float64)[:, None]
    up, down = tails(tails.centre + offsets), tails(tails.centre - offsets)
    torch.testing.assert_close(up, -down, rtol=1e-6, atol=1e-9)
    assert (up.diff(dim=0) > 0).all()
    assert (up > 0).all()


@pytest.mark.parametrize("dtype", [torch.float32, torch.float64])
def test_gradients_are_finite_near_and_far(dtype):
    tails = tails_of(HEAVY, COLUMNS["normal"]).to(dtype)
    points = torch.tensor([0.0, 1.0, -1e6, 1e15, -1e30], dtype=dtype)[:, None].repeat(1, 2)
    points.requires_grad_()
    tails(points).sum().backward()
    assert points.grad.isfinite().all()
    assert (points.grad >= 0).all()
    assert (points.grad[:2] > 0).all()


@pytest.mark.parametrize("reach", [FAR - 0.5, FAR + 0.5])
def test_what_lies_farther_out_than_six_robust_deviations_is_a_tail(reach):
    values = norm.ppf((np.arange(999) + 0.5) / 999)
    values[-1] = reach * (np.quantile(values, 0.75) - np.quantile(values, 0.25)) / 1.35
    assert tails_of(values).far.item() == (reach > FAR)


def test_a_column_of_which_most_values_are_equal_stays_as_it_is():
    values = np.zeros(1000)
    values[:100] = 1e6
    tails = tails_of(values)
    rows = tensor(values)[:, None]
    assert torch.equal(tails(rows), rows)
    rows.requires_grad_()
    tails(rows).sum().backward()
    assert rows.grad.isfinite().all()
