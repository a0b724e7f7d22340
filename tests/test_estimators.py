"""The mutual information estimator against Gaussian truth and its definition by brute force."""

import numpy as np
import pytest
from numpy.random import default_rng
from scipy.special import digamma

from symmetry.estimators import mutual_information_bits, permutation_null, whiten
from symmetry.tasks.spiral import invariant, spiral


def by_brute_force(x, y, neighbours):
    """Computes equation 8 of Kraskov et al., and NPEET's definition, from all n² distances."""
    x_distances, y_distances = (
        np.abs(sample[:, None] - sample[None]).max(-1) for sample in (x, y)
    )
    joint = np.maximum(x_distances, y_distances)
    information = digamma(neighbours) + digamma(len(x))
    for i in range(len(x)):
        others = np.arange(len(x)) != i
        radius = np.sort(joint[i, others])[neighbours - 1]
        n_x = np.count_nonzero(x_distances[i, others] < radius)
        n_y = np.count_nonzero(y_distances[i, others] < radius)
        information -= (digamma(n_x + 1) + digamma(n_y + 1)) / len(x)
    return information / np.log(2)


def gaussian_pair(rows, correlation, seed):
    generator = default_rng(seed)
    x, noise = generator.standard_normal((2, rows))
    return x, correlation * x + np.sqrt(1 - correlation**2) * noise


@pytest.mark.parametrize("correlation", [0.0, 0.5, -0.75, 0.9, 0.99])
def test_correlated_gaussians_read_their_truth_in_bits(correlation):
    truth = -0.5 * np.log2(1 - correlation**2)
    found = [
        mutual_information_bits(*gaussian_pair(10_000, correlation, seed)) for seed in range(3)
    ]
    assert np.mean(found) == pytest.approx(truth, abs=0.02, rel=0.03)


def test_gaussian_vectors_read_their_truth_in_bits():
    generator = default_rng(0)
    x = generator.standard_normal((10_000, 2))
    mixing = np.array([[0.6, -0.5, 0.3], [0.2, 0.4, 0.6]])
    y = x @ mixing + generator.standard_normal((10_000, 3))
    truth = 0.5 * np.log2(np.linalg.det(np.eye(3) + mixing.T @ mixing))
    assert truth > 0.7
    assert mutual_information_bits(x, y) == pytest.approx(truth, abs=0.08)  # it reads low in 5-d


def test_independent_samples_scatter_around_zero_and_are_not_clipped():
    found = []
    for seed in range(6):
        x, y = default_rng(seed).standard_normal((2, 10_000, 2))
        found.append(mutual_information_bits(x, y))
    assert abs(np.mean(found)) < 0.005
    assert np.abs(found).max() < 0.015
    assert min(found) < 0


@pytest.mark.parametrize("neighbours", [1, 3, 20])
@pytest.mark.parametrize(("x_size", "y_size"), [(1, 1), (2, 1), (2, 3)])
def test_the_estimate_is_equation_8_by_brute_force(x_size, y_size, neighbours):
    generator = default_rng(0)
    x = generator.standard_normal((300, x_size))
    y = x[:, :1] ** 2 + 0.5 * generator.standard_normal((300, y_size))
    assert mutual_information_bits(x, y, neighbours) == pytest.approx(
        by_brute_force(x, y, neighbours), abs=1e-12
    )


def test_ties_are_counted_as_equation_8_says():
    # On a grid many rows lie at exactly the radius, which "nearer than" leaves out.
    generator = default_rng(0)
    x = np.round(4 * generator.standard_normal((400, 2))) / 4
    y = np.round(4 * (x[:, :1] + generator.standard_normal((400, 1)))) / 4
    assert mutual_information_bits(x, y, 20) == pytest.approx(by_brute_force(x, y, 20), abs=1e-12)


def test_the_neighbours_are_twenty_by_default():
    x, y = gaussian_pair(500, 0.6, 0)
    assert mutual_information_bits(x, y) == mutual_information_bits(x, y, neighbours=20)
    assert mutual_information_bits(x, y) != mutual_information_bits(x, y, neighbours=3)


def test_the_estimate_is_symmetric_and_blind_to_the_order_of_rows():
    x, y = gaussian_pair(500, 0.6, 0)
    found = mutual_information_bits(x, y)
    order = default_rng(1).permutation(500)
    assert mutual_information_bits(y, x) == pytest.approx(found, abs=1e-12)
    assert mutual_information_bits(x[order], y[order]) == pytest.approx(found, abs=1e-12)


def test_the_exact_invariant_of_the_task_knows_nothing_of_y_and_the_linear_one_does():
    data = spiral(10_000, default_rng(0))
    linear = data.x[:, 0] - 2 * data.x[:, 1]
    assert abs(mutual_information_bits(invariant(data.x), data.y)) < 0.02
    assert 0.26 < mutual_information_bits(linear, data.y) < 0.30


def test_the_estimate_is_blind_to_what_is_small_unless_both_sides_are_whitened():
    data = spiral(10_000, default_rng(0))
    small = 0.01 * data.x
    assert mutual_information_bits(data.x, data.y) == pytest.approx(3.2, abs=0.1)
    assert abs(mutual_information_bits(small, data.y)) < 0.02
    assert mutual_information_bits(whiten(small), whiten(data.y)) > 2.5


def test_only_the_scale_of_one_side_against_the_other_matters():
    x, y = gaussian_pair(500, 0.6, 0)
    assert mutual_information_bits(8 * x, 8 * y) == mutual_information_bits(x, y)


@pytest.mark.parametrize("neighbours", [0, -1, 50, 51])
def test_neighbours_out_of_range_are_refused(neighbours):
    x, y = gaussian_pair(50, 0.6, 0)
    with pytest.raises(ValueError, match=f"neighbours is {neighbours}; allowed is 1 to 49"):
        mutual_information_bits(x, y, neighbours)
    assert np.isfinite([mutual_information_bits(x, y, k) for k in (1, 49)]).all()


def test_samples_of_different_length_are_refused():
    with pytest.raises(ValueError, match="x has 50 rows and y has 49"):
        mutual_information_bits(np.zeros(50), np.zeros(49))


@pytest.mark.parametrize("bad", [np.nan, np.inf])
@pytest.mark.parametrize("side", ["x", "y"])
def test_values_that_are_not_finite_are_refused(side, bad):
    samples = dict(zip("xy", gaussian_pair(50, 0.6, 0), strict=True))
    samples[side][7] = bad
    with pytest.raises(ValueError, match=f"{side} has values that are not finite"):
        mutual_information_bits(**samples)


def test_whitening_makes_the_covariance_the_identity_and_keeps_all_that_is_affine():
    generator = default_rng(0)
    sample = 5 + generator.standard_normal((200, 3)) @ np.diag([1e-3, 1, 50]) @ (
        generator.standard_normal((3, 3))
    )
    white = whiten(sample)
    np.testing.assert_allclose(white.mean(0), 0, atol=1e-9)
    np.testing.assert_allclose(np.cov(white, rowvar=False, bias=True), np.eye(3), atol=1e-6)
    design = np.column_stack([white, np.ones(200)])
    restored = design @ np.linalg.lstsq(design, sample, rcond=None)[0]
    np.testing.assert_allclose(restored, sample, atol=1e-6)


def test_whitening_sets_directions_without_variance_to_zero():
    one = default_rng(0).standard_normal(100)
    white = whiten(np.column_stack([one, 2 * one, np.full(100, 3.0)]))
    np.testing.assert_allclose(np.sort(white.std(0)), [0, 0, 1], atol=1e-9)
    np.testing.assert_array_equal(whiten(np.full((4, 2), 7.0)), np.zeros((4, 2)))


def test_the_permutation_null_is_where_estimates_without_dependence_lie():
    x, y = gaussian_pair(400, 0.6, 0)
    low, high = permutation_null(x, y, default_rng(1), repeats=30)
    assert low < 0 < high < 0.15
    assert mutual_information_bits(x, y) > high
    independent = [
        mutual_information_bits(x, default_rng(seed).standard_normal(400)) for seed in range(40)
    ]
    inside = [low <= value <= high for value in independent]
    assert 0.8 <= np.mean(inside) < 1  # 95 % but for the noise of 40 draws


def test_the_permutation_null_keeps_rows_together_and_takes_its_randomness_from_outside():
    x = default_rng(0).standard_normal((100, 2))
    bounds = permutation_null(x, x[:, :1], default_rng(1), repeats=3, neighbours=5)
    again = default_rng(1)
    found = [mutual_information_bits(again.permutation(x), x[:, :1], 5) for _ in range(3)]
    middle, spread = np.mean(found), 1.96 * np.std(found, ddof=1)
    np.testing.assert_allclose(bounds, [middle - spread, middle + spread])


@pytest.mark.parametrize("sample", [[], 1.0, np.zeros((0, 2)), np.zeros((5, 0))])
def test_a_sample_without_rows_or_columns_is_refused_by_name(sample):
    with pytest.raises(ValueError, match="x has shape"):
        mutual_information_bits(sample, np.arange(5.0), 1)
