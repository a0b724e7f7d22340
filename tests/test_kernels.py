"""The kernel dependence against its definition by brute force, and what it sees and does not."""

from itertools import pairwise, permutations
from math import exp

import pytest
import torch

from symmetry import kernels
from symmetry.kernels import normalized_hsic


def normal(*shape, seed):
    generator = torch.Generator().manual_seed(seed)
    return torch.randn(*shape, generator=generator, dtype=torch.float64)


def dependent_pair(copies, rows, seed=0):
    """Draws z, and a y of another size that follows it with some noise."""
    z = normal(copies, rows, 2, seed=seed)
    y = torch.cat([z[..., :1] ** 2, z.sum(-1, keepdim=True), z[..., 1:]], -1)
    return z, y + 0.4 * normal(copies, rows, 3, seed=seed + 100)


# ---- The definition ----------------------------------------------------------------------------


def kernel_by_hand(sample, bandwidths):
    """Computes the kernel of one copy, entry by entry; the sample is a list of rows."""
    rows, columns = range(len(sample)), range(len(sample[0]))
    means = [sum(sample[i][d] for i in rows) / len(rows) for d in columns]
    variance = sum((sample[i][d] - means[d]) ** 2 for i in rows for d in columns)
    variance /= len(rows) * len(columns)

    def entry(i, j):
        distance = sum((sample[i][d] - sample[j][d]) ** 2 for d in columns) / variance
        return sum(exp(-distance / (2 * width**2)) for width in bandwidths)

    return [[entry(i, j) for j in rows] for i in rows]


def hsic_of_all_quadruples(k, l):  # noqa: E741
    """Averages the kernel of the U-statistic over all quadruples of different rows."""
    quadruples = list(permutations(range(len(k)), 4))
    total = sum(k[i][j] * (l[i][j] + l[q][r] - 2 * l[i][q]) for i, j, q, r in quadruples)
    return total / len(quadruples)


def hsic_of_equation_4(k, l):  # noqa: E741
    """Computes equation 4 of Song et al. by double loops that leave the diagonal out."""
    n = len(k)
    trace = total_k = total_l = middle = 0.0
    for i in range(n):
        for j in range(n):
            if i != j:
                trace += k[i][j] * l[j][i]
                total_k += k[i][j]
                total_l += l[i][j]
                middle += k[i][j] * sum(l[j][q] for q in range(n) if q != j)
    corrected = trace + total_k * total_l / ((n - 1) * (n - 2)) - 2 * middle / (n - 2)
    return corrected / (n * (n - 3))


@pytest.mark.parametrize(
    ("hsic", "rows"),
    [(hsic_of_all_quadruples, 8), (hsic_of_equation_4, 8), (hsic_of_equation_4, 40)],
)
@pytest.mark.parametrize("bandwidths", [None, (0.7,), (2.0, 0.4)])
def test_the_estimate_is_its_definition_by_brute_force(hsic, rows, bandwidths):
    z, y = dependent_pair(2, rows)
    found = normalized_hsic(z, y) if bandwidths is None else normalized_hsic(z, y, bandwidths)
    for copy in range(2):
        k, l = (  # noqa: E741
            kernel_by_hand(sample[copy].tolist(), bandwidths or (0.25, 0.5, 1.0))
            for sample in (z, y)
        )
        own = hsic(k, k) * hsic(l, l)
        assert own > 1e-4  # far above what keeps the root finite
        assert found[copy].item() == pytest.approx(hsic(k, l) / own**0.5, rel=1e-6)


def test_four_rows_are_enough():
    z, y = dependent_pair(1, 4, seed=5)
    k, l = (kernel_by_hand(sample[0].tolist(), (1.0,)) for sample in (z, y))  # noqa: E741
    own = hsic_of_all_quadruples(k, k) * hsic_of_all_quadruples(l, l)
    assert own > 1e-4
    expected = hsic_of_all_quadruples(k, l) / own**0.5
    assert normalized_hsic(z, y, (1.0,)).item() == pytest.approx(expected, rel=1e-6)


# ---- What it sees ------------------------------------------------------------------------------


def test_a_sample_depends_on_itself_however_turned_scaled_and_shifted_by_one():
    z = normal(3, 200, 2, seed=0)
    turn = torch.linalg.qr(normal(2, 2, seed=1)).Q
    for same in (z, z @ turn, 1e-3 * z - 7, -5 * z @ turn + 2):
        torch.testing.assert_close(
            normalized_hsic(z, same), torch.ones(3, dtype=torch.float64), rtol=0, atol=1e-6
        )


def test_independent_samples_read_zero_in_the_mean_and_both_signs_appear():
    draws = 400
    found = normalized_hsic(normal(draws, 60, 2, seed=0), normal(draws, 60, 3, seed=1))
    assert abs(found.mean().item()) < 3 * found.std().item() / draws**0.5
    assert found.abs().max() < 0.1
    assert 0.3 < (found > 0).double().mean() < 0.7


def test_dependence_grows_with_the_share_of_z_in_y():
    z, noise = normal(1, 500, 2, seed=0), normal(1, 500, 2, seed=1)
    found = [
        normalized_hsic(z, share * z + (1 - share**2) ** 0.5 * noise).item()
        for share in (0.0, 0.4, 0.8, 0.95, 1.0)
    ]
    assert abs(found[0]) < 0.005
    for less, more in pairwise(found):
        assert more > less + 0.005


def square(z, noise):
    return z**2


def scale(z, noise):  # y is a scale mixture: its sign and mean say nothing of z
    return z * noise


def wave(z, noise):
    return torch.cos(5 * z) + 0.1 * noise


@pytest.mark.parametrize(("relation", "least"), [(square, 0.3), (scale, 0.03), (wave, 0.05)])
def test_dependence_without_correlation_is_found(relation, least):
    z, noise = normal(2, 1, 500, 1, seed=2)
    z = torch.cat([z, -z], 1)  # symmetric, so that the correlation with an even y is exactly 0
    noise = torch.cat([noise, noise], 1)
    y = relation(z, noise)
    if relation is not scale:
        assert abs(torch.corrcoef(torch.cat([z, y], -1)[0].T)[0, 1]) < 1e-9
    assert normalized_hsic(z, y).item() > least
    order = torch.randperm(1000, generator=torch.Generator().manual_seed(0))
    assert abs(normalized_hsic(z[:, order], y).item()) < least / 5


def test_what_is_fine_is_seen_by_the_narrow_bandwidths():
    z, noise = normal(2, 1, 1000, 1, seed=0)
    y = wave(z, noise)
    assert normalized_hsic(z, y, (1.0,)).item() < 0.02
    assert normalized_hsic(z, y).item() > 0.05


def test_scales_and_shifts_of_either_side_do_not_matter():
    z, y = dependent_pair(2, 100)
    found = normalized_hsic(z, y)
    assert (found > 0.1).all()
    for moved_z, moved_y in ((1e-3 * z + 5, y), (z, 1e3 * y - 2), (-7 * z, 0.1 * y + 1)):
        torch.testing.assert_close(normalized_hsic(moved_z, moved_y), found, rtol=1e-5, atol=0)


def test_both_sides_are_equals_and_the_order_of_rows_does_not_matter():
    z, y = dependent_pair(2, 100)
    found = normalized_hsic(z, y)
    torch.testing.assert_close(normalized_hsic(y, z), found)
    order = torch.randperm(100, generator=torch.Generator().manual_seed(0))
    torch.testing.assert_close(normalized_hsic(z[:, order], y[:, order]), found)
    assert (normalized_hsic(z[:, order], y) < found / 2).all()


# ---- Blocks and copies -------------------------------------------------------------------------


@pytest.mark.parametrize(("rows", "blocks"), [(49, 1), (50, 1), (99, 1), (100, 2), (170, 3)])
def test_large_samples_are_averaged_over_whole_blocks(monkeypatch, rows, blocks):
    z, y = dependent_pair(2, rows)
    size = min(rows, 50)
    expected = [
        normalized_hsic(z[:, start : start + size], y[:, start : start + size])
        for start in range(0, blocks * size, size)
    ]
    monkeypatch.setattr(kernels, "BLOCK", 50)
    torch.testing.assert_close(normalized_hsic(z, y), torch.stack(expected).mean(0))


def test_a_batch_is_one_block_and_a_test_set_several():
    z, y = dependent_pair(1, 2048)
    halves = [normalized_hsic(z[:, part], y[:, part]) for part in (slice(1024), slice(1024, 2048))]
    assert abs((halves[0] - halves[1]).item()) > 1e-4
    torch.testing.assert_close(normalized_hsic(z, y), (halves[0] + halves[1]) / 2)


def test_copies_do_not_touch_each_other():
    z, y = dependent_pair(3, 30)
    z = (z * torch.tensor([1.0, 1e-3, 50.0])[:, None, None]).requires_grad_(True)
    found = normalized_hsic(z, y)
    for copy in range(3):
        alone = normalized_hsic(z[copy : copy + 1], y[copy : copy + 1])
        torch.testing.assert_close(found[copy : copy + 1], alone)
        (gradient,) = torch.autograd.grad(found[copy], z, retain_graph=True)
        touched = gradient.abs().amax((1, 2)) > 0
        assert touched.tolist() == [other == copy for other in range(3)]


# ---- Gradients ---------------------------------------------------------------------------------


def test_the_gradient_is_the_numerical_one():
    z, y = dependent_pair(2, 9)
    z.requires_grad_(True)
    y.requires_grad_(True)
    assert torch.autograd.gradcheck(normalized_hsic, (z, y), atol=1e-6)


def test_descending_the_gradient_makes_samples_independent():
    z, y = dependent_pair(1, 100)
    before = normalized_hsic(z, y).item()
    z.requires_grad_(True)
    optimizer = torch.optim.Adam([z], 0.05)
    for _ in range(60):
        optimizer.zero_grad()
        normalized_hsic(z, y).sum().backward()
        optimizer.step()
    assert before > 0.1
    assert normalized_hsic(z, y).item() < 0.02


@pytest.mark.parametrize("constant", [0.0, 3.0])
def test_a_constant_sample_depends_on_nothing_and_has_a_finite_gradient(constant):
    z = torch.full((2, 50, 2), constant, dtype=torch.float64, requires_grad=True)
    y = normal(2, 50, 3, seed=0).requires_grad_(True)
    for found in (normalized_hsic(z, y), normalized_hsic(y, z)):
        assert found.abs().max() < 1e-6
        for gradient in torch.autograd.grad(found.sum(), (z, y)):
            assert torch.isfinite(gradient).all()


def test_a_constant_sample_in_single_precision_has_a_finite_gradient():
    z = torch.zeros(1, 256, 2, requires_grad=True)
    y = normal(1, 256, 2, seed=0).float()
    found = normalized_hsic(z, y)
    found.sum().backward()
    assert torch.isfinite(found).all()
    assert torch.isfinite(z.grad).all()


def test_single_precision_is_enough():
    z, y = dependent_pair(2, 256)
    single = normalized_hsic(z.float(), y.float())
    assert single.dtype == torch.float32
    torch.testing.assert_close(single.double(), normalized_hsic(z, y), rtol=0, atol=1e-4)
