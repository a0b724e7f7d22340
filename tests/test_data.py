"""How a table is declared, and the statistics of its columns."""

import json
from dataclasses import asdict

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from numpy.random import default_rng

from symmetry.data import Columns, Table, Units

TABLES = st.builds(
    Table,
    separator=st.sampled_from(",;\t |"),
    decimal=st.sampled_from(".,"),
    thousands=st.sampled_from([None, " ", "'", "\u202f"]),
    missing=st.lists(
        st.floats(allow_nan=False, allow_infinity=False) | st.integers() | st.text()
    ).map(tuple),
    bad_rows=st.sampled_from(["refuse", "drop"]),
    most_dropped=st.floats(0, 1),
)


@given(table=TABLES | st.none())
def test_declarations_come_back_from_json_with_their_units(table):
    units = Units(Columns(("a",), (0.5,), (2.0,)), Columns(("b",), (0.0,), (1.0,)), table)
    assert Units.from_json(json.loads(json.dumps(asdict(units)))) == units


def test_units_of_files_that_know_no_table_are_read():
    content = asdict(Units(Columns(("a",), (0.5,), (2.0,)), Columns(("b",), (0.0,), (1.0,))))
    del content["table"]
    assert Units.from_json(content).table is None


@pytest.mark.parametrize(
    ("key", "value"),
    [
        ("separator", ";;"),
        ("separator", ""),
        ("separator", 3),
        ("decimal", ";"),
        ("decimal", None),
        ("thousands", "."),
        ("thousands", "5"),
        ("thousands", "e"),
        ("thousands", "-"),
        ("thousands", ""),
        ("missing", (float("nan"),)),
        ("missing", (None,)),
        ("missing", (True,)),
        ("bad_rows", "ignore"),
        ("most_dropped", 1.5),
        ("most_dropped", float("nan")),
        ("most_dropped", "5 %"),
    ],
)
def test_what_declares_nothing_is_refused_by_name(key, value):
    with pytest.raises(ValueError, match=f"{key} (is|has) .*allowed:"):
        Table(**{key: value})


@pytest.mark.parametrize("content", [3, [], {}, {"separator": ","}, {"missing": [], "more": 1}])
def test_what_holds_no_declarations_is_refused(content):
    with pytest.raises(ValueError, match="the table lacks something or holds what is none"):
        Table.from_json(content)


@given(power=st.floats(-27, 27), centre=st.floats(-1e3, 1e3))
def test_the_moments_are_those_of_the_column_in_any_unit(power, centre):
    scale = 10.0**power
    rows = default_rng(0).normal(centre, 1, (100, 1))
    columns = Columns.of(rows * scale, ["a"])
    np.testing.assert_allclose(columns.mean, rows.mean() * scale, rtol=1e-9, atol=1e-12 * scale)
    np.testing.assert_allclose(columns.std, rows.std() * scale, rtol=1e-9)
    assert columns.std == (float((rows * scale).std()),)  # to the bit where nothing overflows


@given(power=st.floats(31, 305), sign=st.sampled_from([-1, 1]))
def test_a_unit_too_large_or_too_small_is_refused_by_column(power, sign):
    rows = default_rng(0).uniform(1, 3, (100, 1)) * 10.0 ** (sign * power)
    with pytest.raises(ValueError, match=r"column 'a' has a standard deviation of .*another unit"):
        Columns.of(rows, ["a"])
