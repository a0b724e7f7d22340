"""Closed forms of information against torch.distributions, loops and canonical correlations."""

import numpy as np
import pytest
import torch
from torch.distributions import Normal, kl_divergence

from symmetry.information import (
    covariance,
    gaussian_mutual_information,
    kl_to_standard_normal,
    mean_pairwise_kl,
)


def normal(*shape, seed=0):
    generator = torch.Generator().manual_seed(seed)
    return torch.randn(*shape, generator=generator, dtype=torch.float64)


def canonical_correlations(u, v):
    """Computes them as Björck and Golub do: the cosines between the two column spaces."""
    bases = [np.linalg.qr(np.asarray(part - part.mean(0)))[0] for part in (u, v)]
    return np.linalg.svd(bases[0].T @ bases[1], compute_uv=False)


def dependent(stack, rows, d_u, d_v):
    """Draws features u and v that share some of their randomness, badly scaled and correlated."""
    shared = normal(stack, rows, 2, seed=1)
    u = normal(stack, rows, d_u, seed=2) + shared @ normal(stack, 2, d_u, seed=3)
    v = normal(stack, rows, d_v, seed=4) + shared @ normal(stack, 2, d_v, seed=5)
    return u @ normal(stack, d_u, d_u, seed=6), 50 * v + 3


@pytest.mark.parametrize("log_std_rows", [6, 1])
def test_kl_to_the_standard_normal_is_that_of_torch(log_std_rows):
    mean, log_std = normal(2, 6, 3), normal(2, log_std_rows, 3, seed=1)
    divergence = kl_divergence(Normal(mean, log_std.exp()), Normal(0.0, 1.0))
    torch.testing.assert_close(kl_to_standard_normal(mean, log_std), divergence.sum(-1).mean(-1))


def test_pairwise_kl_is_that_of_a_double_loop():
    mean, log_std = 2 + normal(2, 9, 3), normal(2, 9, 3, seed=1)
    for copy, found in enumerate(mean_pairwise_kl(mean, log_std)):
        codes = [Normal(m, s.exp()) for m, s in zip(mean[copy], log_std[copy], strict=True)]
        pairs = [kl_divergence(one, other).sum() for one in codes for other in codes]
        torch.testing.assert_close(found, torch.stack(pairs).mean())


def test_pairwise_kl_keeps_its_digits_far_from_the_origin():
    mean, log_std = normal(1, 50, 2).float(), normal(1, 50, 2, seed=1).float()
    torch.testing.assert_close(
        mean_pairwise_kl(mean + 1000, log_std), mean_pairwise_kl(mean, log_std), rtol=1e-3, atol=0
    )


def test_the_covariance_is_that_of_numpy():
    sample = 3 + normal(2, 30, 4) @ normal(2, 4, 4, seed=1)
    expected = [np.cov(copy.numpy(), rowvar=False, bias=True) for copy in sample]
    np.testing.assert_allclose(covariance(sample).numpy(), expected, rtol=1e-12)


@pytest.mark.parametrize(("d_u", "d_v"), [(1, 1), (2, 5), (4, 3)])
def test_gaussian_information_comes_from_the_canonical_correlations(d_u, d_v):
    u, v = dependent(3, 200, d_u, d_v)
    found = gaussian_mutual_information(covariance(torch.cat([u, v], -1)), d_u, ridge=0.0)
    for copy in range(3):
        correlations = canonical_correlations(u[copy], v[copy])
        expected = -0.5 * np.log(1 - correlations**2).sum()
        assert expected > 0.02  # there is something to find
        assert found[copy].item() == pytest.approx(expected, rel=1e-5)


def test_gaussian_information_of_one_pair_is_known_in_closed_form_with_its_ridge():
    correlations = torch.tensor([0.0, 0.3, -0.9], dtype=torch.float64)
    matrices = torch.eye(2, dtype=torch.float64) + correlations[:, None, None] * torch.tensor(
        [[0.0, 1.0], [1.0, 0.0]]
    )
    for ridge in (1e-4, 0.1):
        expected = -0.5 * torch.log(1 - (correlations / (1 + ridge)) ** 2)
        found = gaussian_mutual_information(matrices, 1, ridge)
        torch.testing.assert_close(found, expected, rtol=1e-6, atol=1e-7)


def test_gaussian_information_does_not_depend_on_scales():
    u, v = dependent(1, 100, 2, 2)
    scales = torch.tensor([1e-2, 3.0, -20.0, 1e3], dtype=torch.float64)
    sample = torch.cat([u, v], -1)
    torch.testing.assert_close(
        gaussian_mutual_information(covariance(sample * scales), 2),
        gaussian_mutual_information(covariance(sample), 2),
        rtol=1e-3,
        atol=0,
    )


def test_independent_features_read_the_bias_of_the_plug_in_estimate():
    stack, rows, d_u, d_v = 300, 500, 8, 4
    sample = normal(stack, rows, d_u + d_v)
    found = gaussian_mutual_information(covariance(sample), d_u)
    # 2n·I is chi-squared with d_u·d_v degrees of freedom: 300 copies give the mean to 1.4 %.
    assert found.mean().item() == pytest.approx(d_u * d_v / (2 * rows), rel=0.06)


@pytest.mark.parametrize("dtype", [torch.float32, torch.float64])
@pytest.mark.parametrize("case", ["constant", "all constant", "collinear", "equal parts"])
def test_degenerate_features_give_finite_values_and_gradients(case, dtype):
    sample = normal(1, 60, 6).to(dtype)
    if case == "constant":
        sample[..., 1] = 7
    elif case == "all constant":
        sample[:] = 0
    elif case == "collinear":
        sample[..., 2] = 3 * sample[..., 0] - 2 * sample[..., 1]
    else:
        sample[..., 3:] = sample[..., :3]
    sample.requires_grad_()
    information = gaussian_mutual_information(covariance(sample), 3)
    information.sum().backward()
    assert torch.isfinite(information).all()
    assert torch.isfinite(sample.grad).all()
    if case == "all constant":
        assert information.item() == 0
    if case == "equal parts":
        assert information.item() > 6  # infinite but for the ridge


def test_a_constant_feature_adds_nothing():
    u, v = dependent(1, 100, 2, 2)
    constant = torch.full((1, 100, 1), 5.0, dtype=torch.float64)
    torch.testing.assert_close(
        gaussian_mutual_information(covariance(torch.cat([u, constant, v], -1)), 3),
        gaussian_mutual_information(covariance(torch.cat([u, v], -1)), 2),
    )
