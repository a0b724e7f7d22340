"""The figures hold the panels, points and colours that they promise."""

import io
from itertools import pairwise

import numpy as np
import pandas as pd
import pytest
from matplotlib.colors import to_hex
from matplotlib.figure import Figure
from matplotlib.text import Annotation
from numpy.random import default_rng

from symmetry.figures import (
    ablation,
    information,
    latent_space,
    most_moving,
    orbits,
    plane_of,
    reconstruction,
    training,
)
from symmetry.tasks import Plane
from symmetry.tasks.spiral import Spiral, spiral

DATA = spiral(600, default_rng(0))
SPIRAL = Spiral(task="spiral", train_rows=1, validation_rows=2, test_rows=100, seed=0).plane
CODES = {
    "VAE": (DATA.x[:, 0], DATA.x[:, 1]),
    "STIB_WO_REG": (DATA.x[:, 1], DATA.t),
    "STIB": (-DATA.x[:, 1], 2 * DATA.t),
}
CURVES = pd.DataFrame(
    {
        "model": ["VAE"] * 3 + ["CVAE"] * 2,
        "step": [10, 20, 30, 10, 20],
        "objective": [9.0, 7.0, 6.5, 5.0, 3.0],
        "y": [3.0, 2.0, 1.0, np.nan, np.nan],
    }
)
HISTORY = pd.DataFrame(
    {
        "step": [10, 10, 20, 20],
        "seed": [0, 1, 0, 1],
        "dependence": [0.2, 0.3, 0.1, -0.01],
        "x_mae": [1.0, 2.0, 0.5, 0.7],
        "y_mae": [3.0, 2.0, 1.0, 0.9],
    }
)
FLOW = ("flow", HISTORY.rename(columns={"dependence": "flow"}))
STUDIES = {
    "all": pd.DataFrame({"mi": [0.02, 0.04, -0.01], "x_mae": [0.03, 0.02, 0.04]}),
    "no memory": pd.DataFrame({"mi": [0.2, 0.4, 0.3], "x_mae": [0.05, 0.06, 0.07]}),
}
ORBITS = default_rng(1).uniform(-4, 4, (20, 5, 2))


def draw_reconstruction(y_hat):
    return reconstruction("STIB", DATA.x, DATA.y, 2 * DATA.x, y_hat, DATA.t)


def titles(figure):
    return [axes.get_title() for axes in figure.axes]


def points(axes):
    (collection,) = axes.collections
    return np.asarray(collection.get_offsets())


def lines(axes):
    return {line.get_label(): np.column_stack(line.get_data()).tolist() for line in axes.lines}


def png(figure):
    buffer = io.BytesIO()
    figure.savefig(buffer, format="png", dpi=40, metadata={"Software": None})
    return buffer.getvalue()


FIGURES = {
    "latent space": lambda: latent_space(CODES, DATA.t),
    "reconstruction": lambda: draw_reconstruction(DATA.y),
    "reconstruction without y": lambda: draw_reconstruction(None),
    "training": lambda: training(CURVES, {"objective": "objective", "y": "error of y"}),
    "orbits": lambda: orbits({"VAE": ORBITS, "STIB": ORBITS}, SPIRAL),
    "information": lambda: information({"STIB_FLOW": FLOW, "STIB": ("dependence", HISTORY)}),
    "ablation": lambda: ablation(STUDIES, {"mi": "leak", "x_mae": "X MAE"}),
}


@pytest.mark.parametrize("name", FIGURES)
def test_a_figure_drawn_twice_is_the_same_png(name):
    figure = FIGURES[name]()
    assert isinstance(figure, Figure)
    content = png(figure)
    assert content.startswith(b"\x89PNG")
    assert png(FIGURES[name]()) == content


def test_the_latent_space_has_a_panel_a_model_with_its_codes():
    figure = latent_space(CODES, DATA.t)
    assert titles(figure) == list(CODES)
    for axes, (across, up) in zip(figure.axes, CODES.values(), strict=True):
        np.testing.assert_allclose(points(axes), np.stack([across, up], -1))
        assert axes.get_xlabel() == "$Z_0$"
        assert axes.get_ylabel() == "$Z_1$"


def test_an_arrow_shows_the_invariant_direction_along_z0():
    for axes in latent_space(CODES, DATA.t).axes:
        arrow, words = (text for text in axes.texts if isinstance(text, Annotation))
        assert arrow.arrow_patch is not None
        (x_end, y_end), (x_start, y_start) = arrow.xy, arrow.xyann
        assert x_end > x_start
        assert y_end == y_start
        assert "invariant" in words.get_text()


@pytest.mark.parametrize(
    "axes",
    [
        pytest.param(lambda t: latent_space({"A": (t, t)}, t).axes[0], id="latent space"),
        pytest.param(
            lambda t: reconstruction("A", *[np.stack([t, t], -1)] * 4, t).axes[3],
            id="reconstruction",
        ),
    ],
)
def test_colours_are_ten_bins_of_equal_width_of_t(axes):
    # From -13 to 12 in steps that miss the edges; most in the first bin, so that bins with
    # equal numbers of rows would be others.
    t = np.concatenate([[-13.0], np.arange(-12.95, 12, 0.1), [12.0], np.full(300, -12.9)])
    (collection,) = axes(t).collections
    colours = np.array([to_hex(colour) for colour in collection.to_rgba(collection.get_array())])
    bins = np.minimum((t + 13) // 2.5, 9)
    of_bin = [set(colours[bins == number]) for number in range(10)]
    assert [len(colour) for colour in of_bin] == [1] * 10
    assert len(set.union(*of_bin)) == 10


def test_a_large_data_set_is_thinned_and_a_point_keeps_its_colour():
    t = np.arange(10_000.0)
    (axes,) = latent_space({"A": (t, t)}, t).axes
    (collection,) = axes.collections
    shown = points(axes)[:, 0]
    assert 1000 <= len(shown) < 10_000
    np.testing.assert_array_equal(collection.get_array(), shown // 1000)


def test_a_reconstruction_shows_x_and_y_beside_their_estimates():
    y_hat = 0.9 * DATA.y
    figure = draw_reconstruction(y_hat)
    assert figure.get_suptitle() == "STIB"
    assert titles(figure) == ["$x$", r"$\hat x$", "$y$", r"$\hat y$"]
    for axes, rows in zip(figure.axes, (DATA.x, 2 * DATA.x, DATA.y, y_hat), strict=True):
        np.testing.assert_allclose(points(axes), rows)


def test_where_no_y_is_predicted_its_panel_is_left_out():
    assert titles(draw_reconstruction(None)) == ["$x$", r"$\hat x$", "$y$"]


def test_an_estimate_shares_the_scale_of_its_truth_and_no_point_of_either_is_cut_off():
    figure = draw_reconstruction(-2 * DATA.y)  # both estimates reach twice as far as the truth
    png(figure)
    for truth, estimate in (figure.axes[:2], figure.axes[2:]):
        assert truth.get_xlim() == estimate.get_xlim()
        assert truth.get_ylim() == estimate.get_ylim()
        for axes in (truth, estimate):
            (low_x, high_x), (low_y, high_y) = axes.get_xlim(), axes.get_ylim()
            rows = points(axes)
            assert low_x <= rows[:, 0].min()
            assert rows[:, 0].max() <= high_x
            assert low_y <= rows[:, 1].min()
            assert rows[:, 1].max() <= high_y


def test_data_of_one_column_can_be_drawn():
    # Of y a panel would be a line; its estimate is drawn against it instead.
    one, y_hat = DATA.y[:, :1], 0.9 * DATA.y[:, :1]
    figure = reconstruction("A", DATA.x, one, DATA.x, y_hat, DATA.t)
    assert titles(figure) == ["$x$", r"$\hat x$", r"$\hat y$ against $y$"]
    np.testing.assert_allclose(points(figure.axes[2]), np.concatenate([one, y_hat], 1))
    assert png(figure).startswith(b"\x89PNG")
    without = reconstruction("A", DATA.x, one, DATA.x, None, DATA.t)
    assert titles(without) == ["$x$", r"$\hat x$"]
    assert png(without).startswith(b"\x89PNG")
    of_line = reconstruction("A", one, one, 2 * one, None, DATA.t)  # of x it would be one too
    assert titles(of_line) == [r"$\hat x$ against $x$"]
    np.testing.assert_allclose(points(of_line.axes[0]), np.concatenate([one, 2 * one], 1))
    assert png(of_line).startswith(b"\x89PNG")
    mixed = reconstruction("A", one, DATA.y, 2 * one, -2 * DATA.y, DATA.t)
    assert titles(mixed) == [r"$\hat x$ against $x$", "$y$", r"$\hat y$"]
    assert mixed.axes[1].get_xlim() == mixed.axes[2].get_xlim()


def test_a_panel_shows_an_estimate_that_is_off_as_it_shows_none_that_is_right():
    # No panel is the same whatever the model does.
    for x, y in ((DATA.x, DATA.y), (DATA.x[:, :1], DATA.y[:, :1])):
        right, wrong = (
            reconstruction("A", x, y, x_hat, y_hat, DATA.t)
            for x_hat, y_hat in ((x, y), (-x + 1, 2 * y))
        )
        estimates = [axes for axes in right.axes if "hat" in axes.get_title()]
        others = [axes for axes in wrong.axes if "hat" in axes.get_title()]
        assert len(estimates) == len(others) == 2
        for one, other in zip(estimates, others, strict=True):
            assert not np.allclose(points(one), points(other))


def test_training_has_a_panel_a_metric_and_a_line_for_each_model_that_has_it():
    figure = training(CURVES, {"objective": "objective", "y": "error of y"})
    assert titles(figure) == ["objective", "error of y"]
    objective, y = figure.axes
    assert lines(objective) == {
        "VAE": [[10, 9], [20, 7], [30, 6.5]],
        "CVAE": [[10, 5], [20, 3]],
    }
    assert lines(y) == {"VAE": [[10, 3], [20, 2], [30, 1]]}
    for axes in figure.axes:
        assert axes.get_yscale() == "log"
        assert axes.get_xlabel() == "step"
    (legend,) = figure.legends
    assert [text.get_text() for text in legend.get_texts()] == ["VAE", "CVAE"]
    png(figure)  # lays it out
    for axes in figure.axes:
        assert not legend.get_window_extent().overlaps(axes.get_window_extent())


def test_a_metric_that_no_model_has_gets_no_panel():
    metrics = {"objective": "objective", "y": "error of y"}
    assert titles(training(CURVES[CURVES["model"] == "CVAE"], metrics)) == ["objective"]


def test_a_model_has_one_colour_in_all_panels_of_training():
    # CVAE, in the middle, lacks the second metric; the legend is one for all panels.
    stib = CURVES.iloc[:3].assign(model="STIB")
    figure = training(pd.concat([CURVES, stib]), {"objective": "objective", "y": "error of y"})
    first, second = (
        {line.get_label(): to_hex(line.get_color()) for line in axes.lines} for axes in figure.axes
    )
    assert len(set(first.values())) == 3
    assert second == {name: first[name] for name in ("VAE", "STIB")}


def test_orbits_have_a_panel_a_model_and_a_line_an_orbit_above_the_true_levels():
    figure = orbits({"VAE": ORBITS, "STIB": 0.5 * ORBITS}, SPIRAL)
    assert titles(figure) == ["VAE", "STIB"]
    for axes, curves in zip(figure.axes, (ORBITS, 0.5 * ORBITS), strict=True):
        drawn = [line.get_xydata() for line in axes.lines if len(line.get_xydata()) == 20]
        np.testing.assert_allclose(drawn, curves.transpose(1, 0, 2))
        truth = [line for line in axes.lines if len(line.get_xydata()) != 20]
        assert len(truth) >= 10
        assert {line.get_slope() for line in truth} == {-2}  # 2x₁ + x₂ stays the same
        assert all(line.zorder < axes.lines[-1].zorder for line in truth)


def test_orbits_of_other_data_have_no_true_levels():
    (axes,) = orbits({"A": ORBITS}, Plane()).axes
    assert len(axes.lines) == ORBITS.shape[1]


def test_information_has_a_row_a_model_and_a_line_a_copy():
    figure = information({"STIB": ("dependence", HISTORY), "STIB_FLOW": FLOW})
    said = [title.split(": ") for title in titles(figure)]
    assert [name for name, _ in said] == ["STIB"] * 3 + ["STIB_FLOW"] * 3
    assert "dependence" in said[0][1]
    assert "flow's velocity" in said[3][1]
    assert [term for _, term in said[1:3]] == [term for _, term in said[4:]] == ["X MAE", "Y MAE"]
    assert lines(figure.axes[3]) == lines(figure.axes[0])
    dependence, x_mae, y_mae = (lines(axes) for axes in figure.axes[:3])
    assert x_mae == {"seed 0": [[10, 1], [20, 0.5]], "seed 1": [[10, 2], [20, 0.7]]}
    assert y_mae["seed 1"] == [[10, 2], [20, 0.9]]
    assert dependence["seed 0"] == [[10, 0.2], [20, 0.1]]
    assert dependence["seed 1"][1][1] > 0  # a negative estimate has its place on the log scale


@pytest.mark.parametrize("high", [0.5, 1.1, 5.0, 500.0, 5e4])
def test_the_labels_of_an_ablation_do_not_run_into_each_other(high):
    figure = ablation({"a": pd.DataFrame({"mi": np.geomspace(0.43, high, 5)})}, {"mi": "leak"})
    figure.canvas.draw()
    (axes,) = figure.axes
    low, high = axes.get_xlim()
    places = zip(axes.get_xticks(), axes.get_xticklabels(), strict=True)
    shown = [label.get_window_extent() for place, label in places if low <= place <= high]
    assert len(shown) >= 1
    assert all(right.x0 > left.x1 for left, right in pairwise(shown))
    assert not any(label.get_text() for label in axes.get_xticklabels(minor=True))


def test_an_ablation_has_a_panel_a_metric_and_a_line_of_seeds_a_study():
    figure = ablation(STUDIES, {"mi": "leak", "x_mae": "X MAE"})
    assert titles(figure) == ["leak", "X MAE"]
    leak, x_mae = figure.axes
    assert [text.get_text() for text in leak.get_yticklabels()] == list(STUDIES)
    for axes in figure.axes:
        assert axes.get_xscale() == "log"
        assert axes.get_ylim()[0] > axes.get_ylim()[1]  # the first study stands at the top
        for place, line in enumerate(axes.lines):
            assert set(line.get_ydata()) == {place}
    drawn = [np.asarray(line.get_xdata()).tolist() for line in x_mae.lines]
    assert drawn == [study["x_mae"].tolist() for study in STUDIES.values()]
    assert leak.lines[0].get_xdata()[:2].tolist() == [0.02, 0.04]
    assert leak.lines[0].get_xdata()[2] > 0  # a negative estimate has its place on the log scale


def test_orbits_of_more_than_one_latent_are_points_in_their_plane_above_true_ones():
    circle = np.stack([np.cos(np.arange(9)), np.sin(np.arange(9))], -1)
    plane = Plane(
        lambda x: 2 * x[..., ::-1], ("b", "a"), (circle,), limits=((-3, 3), (-2, 2)), dots=True
    )
    (axes,) = orbits({"A": ORBITS}, plane).axes
    truth, *drawn = axes.lines
    np.testing.assert_array_equal(truth.get_xydata(), circle)
    assert all(line.get_linestyle() == "None" for line in drawn)
    for row, line in enumerate(drawn):
        np.testing.assert_allclose(line.get_xydata(), 2 * ORBITS[:, row, ::-1])
    assert (axes.get_xlabel(), axes.get_ylabel()) == ("b", "a")
    assert (axes.get_xlim(), axes.get_ylim()) == ((-3, 3), (-2, 2))


def test_orbits_of_one_column_lie_on_a_line_a_row():
    (axes,) = orbits({"A": ORBITS[..., :1]}, Plane(labels=("mass", "mass"))).axes
    assert len(axes.lines) == ORBITS.shape[1]
    for row, line in enumerate(axes.lines):
        np.testing.assert_allclose(line.get_xdata(), ORBITS[:, row, 0])
        assert set(line.get_ydata()) == {row}
    assert (axes.get_xlabel(), axes.get_ylabel()) == ("mass", "row")
    assert axes.get_aspect() == "auto"


def test_orbits_of_columns_of_unlike_units_have_two_scales():
    (axes,) = orbits({"A": ORBITS}, Plane(equal=False)).axes
    assert axes.get_aspect() == "auto"


def test_the_plane_is_that_of_the_columns_that_move_most_the_first_foremost():
    columns = most_moving([0.1, 0.9, 0.2, 1.1])
    assert columns == [3, 1]
    plane = plane_of("abcd", columns)
    assert plane.labels == ("d", "b")
    rows = default_rng(0).normal(size=(5, 7, 4))
    np.testing.assert_array_equal(plane.project(rows), rows[..., [3, 1]])
    assert most_moving([0.5, 0.5, 0.5]) == [0, 1]  # of equals the first


def test_the_plane_of_one_column_is_drawn_too():
    assert most_moving([0.4]) == [0]
    (axes,) = orbits({"A": ORBITS[..., :1]}, plane_of(["mass"], [0])).axes
    np.testing.assert_allclose(axes.lines[1].get_xdata(), ORBITS[:, 1, 0])
    assert set(axes.lines[1].get_ydata()) == {1}


@pytest.mark.parametrize(
    ("name", "said"),
    [
        ("price_$", "price_$"),
        ("from $ to $", "from $ to $"),
        ("$\\frac{$", "$\\frac{$"),  # as a formula, a fault
        ("\\$a$^", "\\$a$^"),
        ("mass\n[kg]", "mass [kg]"),
        ("x" * 200, "x" * 39 + "…"),
    ],
)
def test_a_users_name_stands_at_its_axis_as_it_is(name, said):
    plane = plane_of([name, "b"], [0, 1])
    for axes in (
        orbits({"A": ORBITS}, plane).axes[0],
        reconstruction("A", DATA.x, DATA.y, DATA.x, None, DATA.t, [name, "b"]).axes[0],
    ):
        png(axes.figure)  # a formula that is none would fail here
        text, formula = axes.xaxis.label._preprocess_math(axes.get_xlabel())
        assert (text, formula) == (said, False)


def test_where_no_model_has_what_a_figure_shows_it_is_empty():
    for figure in (latent_space({}, DATA.t), information({})):
        assert len(figure.axes) >= 1
        assert not any(axes.lines or axes.collections for axes in figure.axes)
