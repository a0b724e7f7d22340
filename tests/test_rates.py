"""What trades against what: rates of exchange against closed forms."""

import numpy as np
import pytest
from numpy.random import default_rng

from symmetry.rates import rates, slopes


def product(x):
    return x.prod(1, keepdims=True)


def gradient(*rows):
    """One row's slopes, with shape (1, k, d)."""
    return np.array([rows], dtype=float)


@pytest.mark.parametrize("unit", [1e-9, 1.0, 1e9])
def test_slopes_are_those_of_the_closed_form_in_any_unit(unit):
    x = default_rng(0).uniform(1, 3, (50, 3)) * [1, unit, 1]
    found = slopes(product, x, x.std(0))
    true = product(x)[..., None] / x[:, None]
    np.testing.assert_allclose(found, true, rtol=1e-6)


def test_slopes_have_a_row_for_each_column_of_f():
    x = default_rng(0).normal(size=(20, 2))
    found = slopes(lambda x: np.column_stack([np.sin(x[:, 0]), x @ [2, 3], x[:, 1]]), x, x.std(0))
    np.testing.assert_allclose(found[:, 0, 0], np.cos(x[:, 0]), rtol=1e-5)
    np.testing.assert_allclose(found[:, 1], [[2, 3]] * 20, rtol=1e-8)
    np.testing.assert_allclose(found[:, 2], [[0, 1]] * 20, atol=1e-9)


def test_a_column_that_never_varies_has_no_slope():
    x = np.column_stack([np.arange(5.0), np.full(5, 7.0)])
    np.testing.assert_allclose(slopes(product, x, x.std(0))[:, 0, 1], 0)


def test_alone_a_column_changes_by_the_ratio_of_the_slopes():
    x = default_rng(0).uniform(1, 3, (50, 2))
    alone, together = rates(slopes(product, x, np.ones(2)))
    np.testing.assert_allclose(alone[:, 0, 1], -x[:, 1] / x[:, 0], rtol=1e-6)
    np.testing.assert_allclose(alone[:, 1, 0], -x[:, 0] / x[:, 1], rtol=1e-6)
    np.testing.assert_allclose(together, alone, rtol=1e-6)  # of two, the other is all the others
    assert np.isnan(alone[:, [0, 1], [0, 1]]).all()


def test_all_together_take_the_least_change():
    weights = np.array([1.0, 2.0, -3.0, 0.5])
    _, together = rates(gradient(weights))
    for column, weight in enumerate(weights):
        rest = np.delete(weights, column)
        change = np.delete(together[0, column], column)
        np.testing.assert_allclose(change, -weight * rest / (rest @ rest))


def test_what_makes_up_for_a_step_keeps_f_but_for_its_curvature():
    x = default_rng(0).uniform(1, 3, (30, 4))
    _, together = rates(slopes(product, x, np.ones(4)))
    for column in range(4):
        off = [
            np.abs(product(x + size * move) / product(x) - 1).max()
            for size in (1e-2, 1e-3)
            for move in [np.nan_to_num(together[:, column], nan=0) + np.eye(4)[column]]
        ]
        assert off[0] < 1e-3
        assert off[1] < off[0] / 50  # a tenth of the step, a hundredth of the error


def test_of_several_f_no_column_makes_up_for_another_but_together_they_do():
    # f = (x1 + x2, x2 + x3) stays along (1, -1, 1) alone.
    alone, together = rates(gradient([1, 1, 0], [0, 1, 1]))
    assert np.isnan(alone).all()
    np.testing.assert_allclose(together[0, 0, 1:], [-1, 1])
    np.testing.assert_allclose(together[0, 1, [0, 2]], [-1, -1])
    np.testing.assert_allclose(together[0, 2, :2], [1, -1])


def test_of_several_f_that_know_one_level_a_column_makes_up_for_another():
    # As the spiral's two targets, which both depend on 2 x1 + x2.
    x = default_rng(0).normal(size=(40, 2))
    spiral = lambda x: np.column_stack([np.sin(x @ [2, 1]), np.cos(x @ [2, 1])])  # noqa: E731
    alone, together = rates(slopes(spiral, x, np.ones(2)))
    for found in (alone, together):
        np.testing.assert_allclose(found[:, 0, 1], -2, rtol=1e-4)
        np.testing.assert_allclose(found[:, 1, 0], -0.5, rtol=1e-4)


def test_a_column_that_f_does_not_know_needs_nothing_and_makes_up_for_nothing():
    alone, together = rates(gradient([1, 2, 0]))
    assert np.isnan(alone[0, :2, 2]).all()
    np.testing.assert_allclose(alone[0, 2, :2], 0)
    np.testing.assert_allclose(together[0, 2, :2], 0)
    np.testing.assert_allclose(together[0, 0, 1:], [-0.5, 0])


def test_one_column_has_nothing_beside_it():
    alone, together = rates(gradient([3.0]))
    assert np.isnan(alone).all()
    assert np.isnan(together).all()


def test_where_f_is_flat_no_rate_is_infinite():
    for found in rates(np.zeros((4, 2, 3))):
        assert not np.isinf(found).any()
