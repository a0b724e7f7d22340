"""The task of a formula: its law against known ones, its orbits, and what is refused."""

import doctest
import pickle
import re
from pathlib import Path

import numpy as np
import pytest
import yaml
from hypothesis import given
from hypothesis import strategies as st
from numpy.random import default_rng
from pydantic import ValidationError
from scipy.stats import ks_2samp, kstest
from sympy import Symbol, diff

from symmetry.params import ParamsError, parse
from symmetry.tasks import Truth, formula
from symmetry.tasks.base import column_distance, orbit_coverage
from symmetry.tasks.expressions import FUNCTIONS, formula_of
from symmetry.tasks.formula import Column, Formula, Law

ENERGY = {"x": {"m": [1, 5], "v": [1, 5]}, "y": "m*v**2/2", "noise": 0.05}
RING = {"x": {"a": [-1, 1], "b": [-1, 1]}, "y": "a**2 + b**2", "noise": 0.0}


def build(**changes):
    keys = {"train_rows": 500, "validation_rows": 50, "test_rows": 100, "seed": 0}
    return Formula(**{"task": "formula", **keys, **ENERGY, **changes})


def ring(radius, angles):
    return np.stack([radius * np.cos(angles), radius * np.sin(angles)], -1)


# ---- The law -----------------------------------------------------------------------------------


def test_the_levels_of_an_energy_are_its_formula_and_keep_the_leading_shape():
    truth = build().truth
    x = default_rng(0).uniform(1, 5, (7, 3, 2))
    np.testing.assert_allclose(truth.level(x), (x[..., 0] * x[..., 1] ** 2 / 2)[..., None])
    np.testing.assert_array_equal(truth.bayes_prediction(x), truth.level(x))
    assert truth.position is None


NUMPY = {name: getattr(np, name) for name in FUNCTIONS.keys() - {"min", "max"}}
NUMPY |= {"min": np.minimum, "max": np.maximum, "pi": np.pi, "number": np.float64}
POINT = {"a": np.float64(1.3), "b": np.float64(0.4)}
ONE = [name for name, (_, count) in FUNCTIONS.items() if count == 1]
TWO = [name for name, (_, count) in FUNCTIONS.items() if count == 2]


def nested(terms):
    sign = st.sampled_from(["+", "-", "*", "/", "**"])
    return st.one_of(
        st.builds("({} {} {})".format, terms, sign, terms),
        st.builds("{} {} {}".format, terms, sign, terms),
        st.builds("-{}".format, terms),
        st.builds("{}({})".format, st.sampled_from(ONE), terms),
        st.builds("{}({}, {})".format, st.sampled_from(TWO), terms, terms),
    )


@given(st.recursive(st.sampled_from(["a", "b", "pi", "2", "0.7", "3"]), nested, max_leaves=10))
def test_a_formula_means_what_it_means_in_python(text):
    columns = {name: Column("uniform", (0.0, 2.0)) for name in POINT}
    with np.errstate(all="ignore"):
        expected = eval(re.sub(r"\b[\d.]+", r"number(\g<0>)", text), NUMPY | POINT)
    if not np.isfinite(expected) or not 1e-9 < abs(expected) < 1e9:
        return
    try:
        law = Law(columns, [text])
    except ValueError:  # a number alone is too large, as in 1/3**3**3**3
        assert re.search(r"\*\*|exp|sinh|cosh|tan|log", text)
        return
    assert law.level(np.array([*POINT.values()]))[0] == pytest.approx(expected, rel=1e-6)


def test_sympy_is_given_the_formula_as_it_is_written():
    m, v = (Symbol(name, real=True) for name in "mv")
    written = formula_of("m*v**2/2 + m/m", ["m", "v"])
    assert float(written.subs({m: 3, v: 2})) == 7
    assert written != written.doit()  # where m / m is 1
    assert float(diff(written, v).subs({m: 3, v: 2})) == 6


def test_its_example_runs():
    found = doctest.testmod(formula)
    assert found.attempted > 0
    assert found.failed == 0


def test_outside_begins_a_little_beyond_the_ranges():
    x = {"a": [-2, 2], "n": {"integer": [0, 4]}, "g": {"normal": [10, 1]}}
    outside = build(x=x, y="a + n + g").truth.outside
    inside = np.array([0.0, 2.0, 10.0])
    for column, low, high, margin in ((0, -2, 2, 0.05), (1, 0, 4, 0.05), (2, 5, 15, 0.125)):
        for edge, way in ((low, -1), (high, 1)):
            point = inside.copy()
            point[column] = edge + 0.9 * way * margin
            assert not outside(point)
            point[column] = edge + 1.1 * way * margin
            assert outside(point)


def test_outside_the_ranges_a_level_is_the_formulas_or_else_that_nearby():
    level = build(x={"a": [0, 4], "b": [0, 4]}, y="sqrt(a) + b").truth.level
    found = level(np.array([[9.0, 5.0], [-1.0, 3.0], [-1.0, 5.0]]))
    np.testing.assert_allclose(found[:, 0], [8, 3, 4])


# ---- Draws -------------------------------------------------------------------------------------


def test_columns_have_the_laws_that_they_are_given():
    x = {"u": [-2, 3], "g": {"normal": [5, 2]}, "n": {"integer": [1, 5]}}
    drawn = build(x=x, y={"s": "u + g", "p": "n*u"}).draw(20_000, default_rng(0))
    assert kstest(drawn.x[:, 0], "uniform", (-2, 5)).pvalue > 0.01
    assert kstest(drawn.x[:, 1], "norm", (5, 2)).pvalue > 0.01
    values, counts = np.unique(drawn.x[:, 2], return_counts=True)
    np.testing.assert_array_equal(values, [1, 2, 3, 4, 5])
    np.testing.assert_allclose(counts, 4000, atol=250)


def test_noise_is_a_share_of_the_deviation_of_each_y():
    y = {"E": "m*v**2/2", "p": "m*v"}
    drawn = build(y=y, noise=0.5).draw(50_000, default_rng(0))
    m, v = drawn.x.T
    for column, exact in zip(drawn.y.T, (m * v**2 / 2, m * v), strict=True):
        noise = (column - exact) / exact.std()
        assert noise.std() == pytest.approx(0.5, rel=0.02)
        assert kstest(noise / noise.std(), "norm").pvalue > 0.01
    np.testing.assert_allclose(drawn.t, m * v**2 / 2)
    exact = build(noise=0).draw(100, default_rng(0))
    np.testing.assert_array_equal(exact.y[:, 0], exact.t)


def test_data_are_named_by_the_params():
    units = next(build(y={"E": "m*v**2/2", "p": "m*v"}).parts())[1].units
    assert (units.x.names, units.y.names) == (("m", "v"), ("E", "p"))
    assert next(build().parts())[1].units.y.names == ("y",)
    assert build().plane.labels == ("m", "v")


def test_a_task_can_be_sent_to_another_process():
    task = build()
    assert task.draw(3, default_rng(0)).x.shape == (3, 2)
    assert pickle.loads(pickle.dumps(task)) == task


# ---- Orbits ------------------------------------------------------------------------------------


@pytest.fixture(scope="module")
def rings():
    return build(**RING).truth


def test_samples_of_a_ring_lie_on_it_and_are_uniform_in_angle(rings):
    radii = np.array([0.3, 0.6, 0.9])
    orbits = rings.orbit(radii[:, None] ** 2, 2000, default_rng(0))
    assert orbits.x.shape == (2000, 3, 2)
    sd = np.sqrt(8 / 45)  # of a² + b²
    off = np.abs((orbits.x**2).sum(-1) - radii**2) / sd
    np.testing.assert_allclose(off.max(0), orbits.resolution, rtol=0.01)
    # 2,000 of 400,000 rows fill an area of 0.02, π Δ(a² + b²).
    np.testing.assert_allclose(orbits.resolution, 0.02 / (2 * np.pi) / sd, rtol=0.1)
    assert (ks_2samp(off[:1000], off[1000:]).pvalue > 0.01).all()  # the nearest are not first
    for points in orbits.x.swapaxes(0, 1):
        angle = np.arctan2(points[:, 1], points[:, 0]) / (2 * np.pi) + 0.5
        assert kstest(angle, "uniform").pvalue > 0.01
        assert len(np.unique(points[:, 0])) == 2000  # none twice


def test_samples_of_an_energy_have_the_density_of_its_conditional_law():
    # p(m, v | E) of uniform columns is 1 / |∂E/∂m| = 2 / v² along v, where m = 2 E / v² is in
    # range: F(v) = (1/l − 1/v) / (1/l − 1/h).
    energy = 12.5
    (samples,) = build().truth.orbit(np.array([[energy]]), 2000, default_rng(0)).x.swapaxes(0, 1)
    low, high = np.sqrt(2 * energy / 5), 5.0
    v = samples[:, 1].clip(low, high)
    share = (1 / low - 1 / v) / (1 / low - 1 / high)
    assert kstest(share, "uniform").pvalue > 0.01


def test_several_levels_are_kept_at_once():
    truth = build(y={"E": "m*v**2/2", "p": "1000*m*v"}).truth
    x = np.array([[2.0, 3.0], [4.0, 2.0]])
    orbits = truth.orbit(truth.level(x), 200, default_rng(0))
    assert (orbits.resolution < 0.1).all()
    np.testing.assert_allclose(orbits.x.mean(0), x, atol=0.1)  # two levels leave a point


def test_integer_columns_have_whole_samples_on_exactly_the_level():
    x = {"n": {"integer": [1, 6]}, "k": {"integer": [1, 6]}}
    orbits = build(x=x, y="n + k").truth.orbit(np.array([[4.0]]), 3000, default_rng(0))
    assert orbits.resolution == [0]
    pairs, counts = np.unique(orbits.x[:, 0], axis=0, return_counts=True)
    assert pairs.tolist() == [[1, 3], [2, 2], [3, 1]]
    np.testing.assert_allclose(counts, 1000, atol=130)


def test_more_samples_than_lie_near_a_level_are_refused(rings):
    with pytest.raises(
        ValueError, match="4001 samples of an orbit are wanted; allowed: 1 to 4000"
    ):
        rings.orbit(np.array([[0.5]]), 4001, default_rng(0))


# ---- Coverage ----------------------------------------------------------------------------------

RADII = np.linspace(0.2, 0.95, 40)
ROWS = ring(RADII, default_rng(1).uniform(0, 2 * np.pi, 40))


def covered(truth, partners, rows=ROWS):
    return orbit_coverage(truth, partners, rows, default_rng(2))


def angles(share, count=500):
    return default_rng(3).uniform(0, 2 * np.pi * share, (count, 40))


def test_exact_partners_read_the_floor_and_half_of_an_orbit_well_above_it(rings):
    whole, half = covered(rings, ring(RADII, angles(1))), covered(rings, ring(RADII, angles(0.5)))
    assert whole.floor == pytest.approx(0.87 * np.sqrt(2 / 500), abs=0.01)
    assert whole.reading == pytest.approx(whole.floor, abs=0.01)
    assert whole.floor == half.floor
    assert half.reading == pytest.approx(0.25, abs=0.05)  # a is whole, of b the lower half lacks
    assert 0 < whole.resolution < 0.01


def test_partners_that_stay_read_almost_one(rings):
    still = covered(rings, np.broadcast_to(ROWS, (500, 40, 2)))
    assert still.reading > 0.6


def test_copies_are_measured_one_by_one(rings):
    copies = np.stack([ring(RADII, angles(1)), ring(RADII, angles(0.5))])
    both = covered(rings, copies)
    alone = [covered(rings, copy).reading for copy in copies]
    np.testing.assert_array_equal(both.reading, alone)
    first = covered(rings, copies[:, :, :10])  # rows beyond them give the deviations alone
    assert first.reading.shape == (2,)


def test_a_column_that_the_level_fixes_is_covered_by_partners_that_keep_it():
    truth = build(x={"a": [0, 1], "b": [0, 1]}, y="a").truth
    generator = default_rng(0)
    rows = generator.uniform(0, 1, (30, 2))
    partners = np.stack(
        [np.broadcast_to(rows[:, 0], (400, 30)), generator.uniform(0, 1, (400, 30))], -1
    )
    kept = covered(truth, partners, rows)
    assert kept.reading == pytest.approx(kept.floor, abs=0.01)
    off = covered(truth, partners + np.array([0.1, 0]), rows)
    assert off.reading > kept.reading + 0.4


def test_without_a_tolerance_the_distance_is_that_of_kolmogorov_and_smirnov():
    generator = default_rng(0)
    partners = generator.normal(size=(70, 3, 2)).round(1)  # with ties
    orbits = generator.normal(0.3, 1.2, size=(50, 3, 2)).round(1)
    expected = np.mean(
        [ks_2samp(partners[:, i, j], orbits[:, i, j]).statistic for i in range(3) for j in (0, 1)]
    )
    assert column_distance(partners, orbits) == pytest.approx(expected)
    assert column_distance(orbits, partners) == pytest.approx(expected)


def test_a_tolerance_forgives_what_is_nearer_and_nothing_else():
    orbits = default_rng(0).uniform(size=(50, 3, 2))
    moved = orbits + np.array([0.09, 0.0])
    assert column_distance(moved, orbits, 0.1) == 0
    assert column_distance(moved, orbits, np.array([0.05, 0.1])) > 0
    fixed = np.zeros((50, 3, 2))
    assert column_distance(fixed + 0.11, fixed, 0.1) == 1
    assert column_distance(fixed - 0.11, fixed, 0.1) == 1


def test_coverage_without_known_orbits_or_with_too_few_rows_is_refused(rings):
    partners = ring(RADII, angles(1))
    unknown = Truth(rings.level, rings.outside, rings.bayes_prediction)
    with pytest.raises(ValueError, match="true orbits of this task are not known"):
        covered(unknown, partners)
    with pytest.raises(ValueError, match="partners of 40 rows, but only 39 rows"):
        covered(rings, partners, ROWS[:39])


# ---- What is refused ---------------------------------------------------------------------------

CONTENT = yaml.safe_load((Path(__file__).parents[1] / "params.yaml").read_text())
KEYS = {"task": "formula", "train_rows": 500, "validation_rows": 50, "test_rows": 100, "seed": 0}


def refusal(**changes):
    with pytest.raises(ParamsError) as raised:
        parse({**CONTENT, "data": {**KEYS, **ENERGY, **changes}})
    (fault,) = str(raised.value).splitlines()[1:]
    return fault.strip()


NOT_PART_OF_A_FORMULA = [
    "q", "m.real", "m.__class__", "m^2", "m%2", "m//v", "m @ v", "~m", "m < v", "m and v",
    "m if v else m", "lambda: m", "[m]", "{m}", "{m: v}", "'m'", "True", "None", "1j*m", "...",
    "f(m)", "m(v)", "(sin)(m)(v)", "sin", "sin(x=m)", "sin(**m)", "sin(*m)", "(m := v)", "m[0]",
    "m[0:1]", "[v for v in m]", "f'{m}'", "__import__('os').system('touch hacked')",
    "eval('m')", "exec('m = 1')", "open('hacked', 'w')", "().__class__.__bases__[0]", "Symbol",
    "sympy.Symbol", "globals()",
]  # fmt: skip


@pytest.mark.parametrize("text", NOT_PART_OF_A_FORMULA)
def test_what_is_no_part_of_a_formula_is_refused_by_name(text, tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    allowed, _, found = refusal(y=f"v*({text})").partition("; allowed: ")[2].partition("; not ")
    assert allowed.startswith("m, v, numbers, pi, + - * / ** and the functions abs, ")
    assert found
    assert found in text
    assert not [*tmp_path.iterdir()]


@pytest.mark.parametrize(
    ("text", "said"),
    [
        ("9**9**9", "0 and numbers from 1e-100 to 1e+100, not 9**9**9"),
        ("m + 9**9**9**9", "not 9**9**9"),
        ("m*2**(10**9)", "not 2**(10**9)"),
        ("1e999*m", "not 1e999"),
        ("m*sqrt(-1)", "not sqrt(-1)"),
        ("(-8)**(1/3)*m", "not (-8)**(1/3)"),
        ("9" * 400 + "*m", "not 9999"),
        ("m+" * 500 + "m", "at most 1000 characters"),
        ("-" * 60 + "m", "at most 50 terms within each other"),
        ("(" * 300 + "m" + ")" * 300, "a formula as Python writes it (too many nested"),
        ("m +", "a formula as Python writes it (invalid syntax)"),
        ("", "a formula as Python writes it (invalid syntax)"),
        ("m; v", "a formula as Python writes it (invalid syntax)"),
        ("import os", "a formula as Python writes it (invalid syntax)"),
        ("m\0", "a formula as Python writes it ("),
        ("sin(m, v)", "sin of 1 terms, not sin(m, v)"),
        ("min(m)", "min of 2 terms, not min(m)"),
        ("sin()", "sin of 1 terms, not sin()"),
        ("v + log(m - 2)", "log(m - 2) is not near m = "),
        ("sqrt(2 - m)", "sqrt(2 - m) is not near m = "),
        ("exp(1000*m)", "exp(1000*m) is not near m = "),
        ("2**m**v**m", "m**v**m is not near m = "),
        ("v/(m - 3)", "v/(m - 3) is not near m = 3, "),
        ("v/(m - 3)**2", "v/(m - 3)**2 is not near m = 3, "),
        ("v + log((m - 3)**2)", "log((m - 3)**2) is not near m = 3, "),
        ("1/(v*abs(m - 3)**0.5)", "1/(v*abs(m - 3)**0.5) is not near m = 3, "),
        ("(m - 3)**-2", "(m - 3)**-2 is not near m = 3, "),
        ("0**(m - v)", "0**(m - v) is not near m = "),
        ("tan(m)", "tan(m) is not near m = 1.57"),
        ("1/(m - 1)", "1/(m - 1) is not near m = 1, "),
        ("m/0", "m/0 is not near m = "),
        ("3", "formulas that vary on the ranges; here y is 3 all over them"),
        ("m - m", "formulas that vary on the ranges; here y is 0 all over them"),
        ("1e6 + 1e-3*m", "formulas that vary on the ranges; here y is 1e+06 all over them"),
        ("m*1e35", "values within 1e+30 that vary by 1e-30 or more"),
        ("m*1e-35", "values within 1e+30 that vary by 1e-30 or more"),
        ({"E": "m", "p": "m*w"}, "data.y.p: found 'm*w'"),
        ({"m": "m*v"}, "data.y: found {'m': 'm*v'}; allowed: names that no column of x has"),
        ({"a b": "m*v"}, "names of letters, digits and _ that mean nothing else in a formula"),
        ({}, "data.y: found {}; allowed: "),
        (3, "data.y: found 3; allowed: "),
        (["m"], "data.y: found ['m']; allowed: "),
        ({"E": 3}, "data.y.E: found 3; allowed: a valid string"),
    ],
    ids=lambda value: str(value)[:30],
)  # fmt: skip
def test_a_formula_that_cannot_be_used_is_refused_and_says_why(text, said):
    assert said in refusal(y=text)


@pytest.mark.parametrize(
    ("x", "text"),
    [
        (ENERGY["x"], "v/(m - 6)"),
        (ENERGY["x"], "v*m**-2"),
        (ENERGY["x"], "m**(v - 3)"),
        ({"n": {"integer": [1, 3]}, "a": [1, 2]}, "a/(n - 1.5)"),  # no 1.5 between the integers
        ({"n": {"integer": [1, 3]}, "a": [1, 2]}, "a*(-1)**n"),
        ({"a": {"normal": [6, 1]}}, "log(a)"),
        ({"v": [0, 1], "c": [2, 3]}, "v/sqrt(1 - v**2/c**2)"),
        ({"θ": [0, 1], "amax": [0, 1], "N": [0, 1]}, "sin(θ) + max(amax, N)"),
        ({"x": ["1e-05", 1]}, "log(x)"),  # a number as DVC writes it
    ],
)
def test_formulas_that_are_finite_on_their_ranges_are_allowed(x, text):
    data = parse({**CONTENT, "data": {**KEYS, "x": x, "y": text, "noise": 0.1}}).data
    assert np.isfinite(data.draw(1000, default_rng(0)).y).all()


@pytest.mark.parametrize(
    "column",
    [
        [5, 1], [1, 1], [1], [1, 2, 3], [], 3, None, "u", {}, [True, 2], [1, float("nan")],
        [1, "two"], [1, 1e40], {"normal": [1, 0]}, {"normal": [1, -1]}, {"norml": [1, 2]},
        {"integer": [1, 2.5]}, {"integer": [3, 1]}, {"integer": [0, 1e20]}, {"uniform": [1, 2]},
        {"normal": [0, 1], "integer": [1, 2]}, {"normal": 3},
    ],
    ids=repr,
)  # fmt: skip
def test_a_column_without_a_range_is_refused_and_named(column):
    fault = refusal(x={"m": column, "v": [1, 5]})
    assert fault.startswith("data.x.m: found ")
    assert "allowed: [low, high], {normal: [mean, standard deviation]} or {integer: " in fault


@pytest.mark.parametrize("name", [*FUNCTIONS, "pi", "lambda", "None", "a b", "2a", "", "µ", "a.b"])
def test_reserved_names_are_refused(name):
    assert f"not {name!r}" in refusal(x={**ENERGY["x"], name: [1, 5]})
    assert f"not {name!r}" in refusal(y={name: "m*v"})


@pytest.mark.parametrize(
    ("changes", "said"),
    [
        ({"x": {}}, "data.x: found {}; allowed: "),
        ({"x": ["m"]}, "data.x: found ['m']; allowed: "),
        ({"x": {3: [1, 2]}}, "found 3; allowed: a valid string"),
        ({"noise": -0.1}, "data.noise: found -0.1; allowed: greater than or equal to 0"),
        ({"shape": 3}, "data.shape: unknown key (value 3); allowed: "),
    ],
)
def test_other_keys_are_checked_too(changes, said):
    assert said in refusal(**changes)


@given(st.text("mv019.+-*/() ,esinpx_'\"[]:=\\", max_size=30))
def test_any_text_is_a_formula_or_refused_in_one_line(refused, text):
    try:
        found = build(y=text).draw(10, default_rng(0)).y
    except ValidationError as error:
        refused["formulas"] += 1
        (fault,) = error.errors()
        said = fault["msg"]
    else:
        assert np.isfinite(found).all()
        return
    assert "\n" not in said.replace(text.strip(), "")
