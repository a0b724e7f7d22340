"""Files that users have: what is read, and the one clear error of each that cannot be."""

import gzip
import re
import sys
from decimal import Decimal

import numpy as np
import pandas as pd
import pytest
from hypothesis import given
from hypothesis import strategies as st
from numpy.random import default_rng

from symmetry.data import Table
from symmetry.sheets import Values, far_values, read_names, read_pieces, read_sheet, write_pieces

HEADER = "a,b,c\n"
ROWS = "".join(f"{i},{i / 2},{i * i}\n" for i in range(5))
WHOLE = HEADER + ROWS


# The files of a few lines that most tests take would drop large shares.
DROP = {"bad_rows": "drop", "most_dropped": 1}


def read(path, names=("a", "b"), *, labels=(), said=None, **declared):
    """Reads a file; appends what is said of it to a list, where nothing may be said without."""
    say = [].pop if said is None else said.append
    return read_sheet(path, list(names), Table(**declared), labels=labels, say=say)


@pytest.fixture
def written(tmp_path):
    """Writes a file's content, text or bytes, and returns its path."""

    def write(content, name="mine.csv"):
        path = tmp_path / name
        path.write_bytes(content.encode() if isinstance(content, str) else content)
        return path

    return write


# ---- What is read ------------------------------------------------------------------------------


def test_columns_are_read_by_name_in_the_order_asked_for(written):
    sheet = read(written(WHOLE), ["c", "a"])
    np.testing.assert_array_equal(sheet.numbers, [[i * i, i] for i in range(5)])
    assert sheet.numbers.dtype == np.float64
    assert not sheet.labels
    np.testing.assert_array_equal(sheet.rows, range(5))


READABLE = {
    "a byte order mark": "\ufeff" + WHOLE,
    "carriage returns": WHOLE.replace("\n", "\r\n"),
    "no last newline": WHOLE.rstrip("\n"),
    "quoted cells": re.sub(r"([^,\n]+)", r'"\1"', WHOLE),
    "spaces around numbers": HEADER + ROWS.replace(",", " , "),
    "a quoted separator in a column that is not asked for": WHOLE.replace("c\n", 'c,"d,e"\n', 1)
    .replace("\n", ",x\n")
    .replace('"d,e",x', '"d,e"'),
    "text in a column that is not asked for": re.sub(r",\d+\n", ",text\n", WHOLE),
    "blank lines at the end": WHOLE + "\n\n",
    "exponents": HEADER + re.sub(r"^(\d)", r"\1e0", ROWS, flags=re.M),
}


@pytest.mark.parametrize("kind", READABLE)
def test_what_is_unusual_but_right_is_read(written, kind):
    sheet = read(written(READABLE[kind]))
    np.testing.assert_array_equal(sheet.numbers, [[i, i / 2] for i in range(5)])


def test_another_separator_can_be_said(written):
    path = written(WHOLE.replace(",", ";"))
    np.testing.assert_array_equal(read(path, separator=";").numbers[:, 0], range(5))
    path = written(WHOLE.replace(",", "\t"), "mine.tsv")
    np.testing.assert_array_equal(read(path, separator="\t").numbers[:, 0], range(5))


def test_numbers_come_back_to_the_last_bit(written):
    numbers = np.random.default_rng(0).normal(size=(50, 2)) * [1e-300, 1e5]
    lines = "".join(f"{one!r},{other!r}\n" for one, other in numbers.tolist())
    np.testing.assert_array_equal(read(written("a,b\n" + lines)).numbers, numbers)


def test_a_column_of_labels_is_read_as_text(written):
    content = "a,b,part\n1,2,train\n3,4,test\n"
    assert read(written(content), labels=["part"]).labels["part"].tolist() == ["train", "test"]


def test_parquet_is_read_as_csv_is(tmp_path):
    frame = pd.DataFrame({"a": range(5), "b": [0.5, 1, 2, 3, 4], "part": list("vwxyz")})
    frame.to_parquet(tmp_path / "mine.parquet")
    sheet = read(tmp_path / "mine.parquet", ["b", "a"], labels=["part"])
    np.testing.assert_array_equal(sheet.numbers, frame[["b", "a"]].to_numpy())
    assert sheet.labels["part"].tolist() == list("vwxyz")


def test_a_long_file_is_read_in_chunks_and_places_count_on(written, monkeypatch):
    monkeypatch.setattr("symmetry.sheets.CHUNK", 30)  # ten rows of three cells
    lines = [f"{i},{'' if i in (7, 25) else i},{i}" for i in range(47)]
    path = written(HEADER + "\n".join(lines))
    whispered = []
    sheet = read(path, said=whispered, **DROP)
    kept = [i for i in range(47) if i not in (7, 25)]
    np.testing.assert_array_equal(sheet.numbers[:, 0], kept)
    np.testing.assert_array_equal(sheet.rows, kept)
    (said,) = whispered
    assert "dropped 2 of 47 rows" in said
    assert "2 cells of column 'b' are missing, the first in row 8" in said


# ---- What is dropped ---------------------------------------------------------------------------


def test_bad_rows_are_dropped_with_their_labels_and_counted_by_column(written):
    content = "a,b,part\n1,2,train\nx,4,test\n5,,test\ny,inf,train\n9,10,train\n"
    whispered = []
    sheet = read(written(content), labels=["part"], said=whispered, **DROP)
    np.testing.assert_array_equal(sheet.numbers, [[1, 2], [9, 10]])
    assert sheet.labels["part"].tolist() == ["train", "train"]
    assert sheet.rows.tolist() == [0, 4]
    (said,) = whispered
    assert "dropped 3 of 5 rows" in said
    assert "2 cells of column 'a' are no finite numbers, the first in row 2: 'x'" in said
    assert "2 cells of column 'b' are no finite numbers, the first in row 3: nothing" in said


# ---- What is refused ---------------------------------------------------------------------------

MALFORMED = {
    # encodings and files that are no text
    "latin 1": ("a,b,größe\n".encode("latin-1") + ROWS.encode(), "not UTF-8 text: byte 0xf6"),
    "latin 1 deep in the file": (
        (HEADER + ROWS * 9000).encode() + "1,2,°\n".encode("latin-1"),
        "not UTF-8 text: byte 0xb0",
    ),
    "utf-16": (WHOLE.encode("utf-16"), "not UTF-8"),
    "utf-32": (WHOLE.encode("utf-32"), "not UTF-8"),
    "gzip": (gzip.compress(WHOLE.encode()), "not UTF-8"),
    "an xlsx": (b"PK\x03\x04\x14\x00\x06\x00\x08\x00" + bytes(range(60, 100)), "zero bytes"),
    "zero bytes": (b"a\x00,b\x00,c\n1,2,3\n", "zero bytes"),
    "nothing": ("", "is empty"),
    "blank lines": ("\n\n\n", "is empty"),
    "a header alone": (HEADER, "has 0 rows"),
    "no header": (ROWS, "has no column 'a', 'b'; it has '0', '0.0', '0'"),
    # separators
    "semicolons": (WHOLE.replace(",", ";"), "one column: is data.separator right"),
    "tabs": (WHOLE.replace(",", "\t"), "one column: is data.separator right"),
    "decimal commas": (
        HEADER + "".join(f'"{i},5",1,1\n' for i in range(3)),
        "3 cells of column 'a' are no finite numbers, the first in row 1: '0,5'",
    ),
    "thousands": (HEADER + '"1,000",1,1\n', "is no finite number, in row 1: '1,000'"),
    # columns
    "a missing column": (WHOLE.replace("b", "d", 1), "has no column 'b'; it has 'a', 'd', 'c'"),
    "a name with a space": (WHOLE.replace("b", " b", 1), "has no column 'b'; it has 'a', ' b'"),
    "a name in capitals": (WHOLE.replace("b", "B", 1), "has no column 'b'; it has 'a', 'B'"),
    "a name twice": (WHOLE.replace("c", "a", 1), "has 2 columns named 'a'; rename them"),
    "a million columns": (
        ",".join(f"a{i}" for i in range(1_000_000)) + "\n" + ",".join(["1"] * 1_000_000),
        "has 1000000 columns; at most 10000",
    ),
    # quoting and ragged rows
    "a quote that never ends": (HEADER + '1,2,"3\n' + ROWS, "EOF inside string"),
    "a quote that never ends in the header": ('a,"b,c\n' + ROWS, "header"),
    "a row too long": (WHOLE + "1,2,3,4\n", "row 6 has 4 cells, the header 3$"),
    "all rows too long": (HEADER + "1,2,3,4\n" * 3, "row 1 has 4 cells, the header 3$"),
    "a row too short": (WHOLE + "1\n", "row 6 has 1 cells, the header 3$"),
    "a row cut off": (WHOLE + "1,", "row 6 has 2 cells, the header 3$"),
    "a header as numpy.savetxt writes it": ("#," + WHOLE, "row 1 .*delete the '#'"),
    "a column without cells": ("id," + WHOLE, "row 1 has 3 cells, the header 4$"),
    "separators at the ends of the rows": (
        HEADER + ROWS.replace("\n", ",\n"),
        "row 1 has 4 cells, the header 3; it ends in ',': let the header end so too",
    ),
    "a separator at the end of the header": (WHOLE.replace("c\n", "c,\n", 1), "row 1 has 3 cells"),
    # cells
    "an empty cell": (WHOLE + ",2,3\n", "1 cell of column 'a' is missing, in row 6"),
    "NaN": (WHOLE + "NaN,2,3\n", "in row 6: 'NaN', which is missing"),
    "NA": (WHOLE + "NA,2,3\n" * 2, "2 cells of column 'a'.*in row 6: 'NA', which is missing"),
    "null": (WHOLE + "null,2,3\n", "in row 6: 'null', which is missing"),
    "inf": (WHOLE + "inf,2,3\n", "in row 6: 'inf'"),
    "minus infinity": (WHOLE + "-Infinity,2,3\n", "in row 6: '-Infinity'"),
    "too large a number": (WHOLE + "1e999,2,3\n", "in row 6: '1e999'"),
    "text": (WHOLE + "two,2,3\n", "in row 6: 'two'"),
    "a date": (WHOLE + "2026-11-25,2,3\n", "in row 6: '2026-11-25'"),
    "a time": (WHOLE + "12:30,2,3\n", "in row 6: '12:30'"),
    "a truth value": (WHOLE + "True,2,3\n", "in row 6: 'True'"),
    "a unit": (WHOLE + "3 mm,2,3\n", "in row 6: '3 mm'"),
    "a percentage": (WHOLE + "3%,2,3\n", "in row 6: '3%'"),
    "a complex number": (WHOLE + "1+2j,2,3\n", r"in row 6: '1\+2j'"),
    "a hexadecimal number": (WHOLE + "0x1F,2,3\n", "in row 6: '0x1F'"),
    "an underscore": (WHOLE + "1_000,2,3\n", "in row 6: '1_000'"),
    "a formula": (WHOLE + "=A1+1,2,3\n", r"in row 6: '=A1\+1'"),
    "a long text": (WHOLE + "x" * 500 + ",2,3\n", "in row 6: 'x{40}…'"),
    "a second header": (WHOLE + WHOLE, "in row 6: 'a'; 1 cell of column 'b'"),
}


def test_at_least_25_malformed_files_are_tried():
    assert len(MALFORMED) >= 25


@pytest.mark.parametrize("fault", MALFORMED)
def test_a_malformed_file_is_refused_with_one_clear_error(written, fault):
    content, said = MALFORMED[fault]
    path = written(content)
    with pytest.raises(ValueError, match=said) as raised:
        read(path)
    message = str(raised.value)
    assert message.startswith(f"{path}")
    assert "\n" not in message
    assert len(message) < 400 + len(str(path))


@pytest.mark.parametrize("fault", ["text", "an empty cell", "inf", "a date"])
def test_dropping_leaves_out_the_bad_row_alone(written, fault):
    said = []
    sheet = read(written(MALFORMED[fault][0]), said=said, **DROP)
    np.testing.assert_array_equal(sheet.numbers, [[i, i / 2] for i in range(5)])
    assert len(said) == 1


def test_a_column_without_any_number_is_to_be_left_out(written):
    days = "".join(f"2026-01-{day:02},1,1\n" for day in range(1, 31))
    with pytest.raises(
        ValueError, match=r"30 cells of column 'a' .*\(choose columns without 'a'\)"
    ):
        read(written("a,b,y\n" + days))


def test_a_category_that_a_model_knows_is_not_to_be_left_out_though_no_value_is_known(written):
    path = written("a,b,y\n" + "tin,1,1\n" * 3)
    with pytest.raises(ValueError, match=r"3 cells of column 'a' are none of its values.*drop"):
        read_sheet(path, ["a", "b"], Table(), categories={"a": Values(["iron", "zinc"], True)})


def test_where_all_rows_are_bad_nothing_is_left(written):
    with pytest.raises(ValueError, match="has 2 rows, all with bad cells"):
        read(written(HEADER + "x,1,1\n1,,1\n"), **DROP)


@pytest.mark.parametrize("name", ["mine.xlsx", "mine", "mine.npz"])
def test_another_kind_of_file_is_refused_by_its_name(written, name):
    with pytest.raises(ValueError, match=r"allowed: \.csv, \.tsv, \.txt, \.parquet"):
        read(written(WHOLE, name))


@pytest.mark.parametrize("name", ["mine.csv", "mine.parquet"])
def test_a_missing_file_and_a_folder_are_named(tmp_path, name):
    with pytest.raises(OSError, match=name):
        read(tmp_path / name)
    (tmp_path / name).mkdir()
    with pytest.raises(OSError, match=name):
        read(tmp_path / name)


PARQUET = {
    "text": ({"a": ["1", "x"], "b": [1, 2]}, "1 cell of column 'a'.*in row 2: 'x'"),
    "missing": ({"a": [1.0, None], "b": [1, 2]}, "1 cell of column 'a'.*in row 2"),
    "a date": (
        {"a": pd.to_datetime(["2026-01-01", "2026-01-02"]), "b": [1, 2]},
        "column 'a' is of type timestamp",
    ),
    "truth values": ({"a": [True, False], "b": [1, 2]}, "column 'a' is of type bool"),
    "lists": ({"a": [[1], [2]], "b": [1, 2]}, "column 'a' is of type list"),
    "a missing column": ({"a": [1, 2], "d": [1, 2]}, "has no column 'b'; it has 'a', 'd'"),
    "no rows": ({"a": np.zeros(0), "b": np.zeros(0)}, "has 0 rows"),
}


@pytest.mark.parametrize("fault", PARQUET)
def test_a_parquet_file_with_a_fault_is_refused_with_one_clear_error(tmp_path, fault):
    columns, said = PARQUET[fault]
    path = tmp_path / "mine.parquet"
    pd.DataFrame(columns).to_parquet(path)
    with pytest.raises(ValueError, match=said) as raised:
        read(path)
    assert str(raised.value).startswith(f"{path}")


@pytest.mark.parametrize("content", [b"", WHOLE.encode(), b"PAR1" + bytes(20) + b"PAR1"])
def test_a_damaged_parquet_file_is_refused(written, content):
    with pytest.raises(ValueError, match="not a whole Parquet file"):
        read(written(content, "mine.parquet"))


def test_a_cut_off_parquet_file_is_refused(tmp_path):
    path = tmp_path / "mine.parquet"
    pd.DataFrame({"a": range(1000), "b": range(1000)}).to_parquet(path)
    path.write_bytes(path.read_bytes()[:-100])
    with pytest.raises(ValueError, match="not a whole Parquet file"):
        read(path)


def test_without_pyarrow_parquet_says_how_to_get_it(written, monkeypatch):
    for name in ("pyarrow", "pyarrow.parquet"):
        monkeypatch.setitem(sys.modules, name, None)
    with pytest.raises(ValueError, match=r"needs pyarrow.*pip install '\.\[parquet\]'"):
        read(written(b"", "mine.parquet"))


# ---- Nothing is silently wrong: a file as it was meant, or refused ------------------------------


@given(
    widths=st.lists(st.integers(1, 6), min_size=1, max_size=30),
    header=st.integers(2, 6),
    separator=st.sampled_from(",; \t"),
)
def test_a_file_whose_rows_differ_from_its_header_is_refused_with_the_row(
    tmp_path_factory, widths, header, separator
):
    path = tmp_path_factory.getbasetemp() / "ragged.csv"
    names = ["#", "a", *"bcdef"][:header] if separator == " " else [*"abcdef"][:header]
    lines = [names, *([str(column) for column in range(width)] for width in widths)]
    path.write_text("".join(separator.join(line) + "\n" for line in lines))
    odd = [row for row, width in enumerate(widths, 1) if width != header]
    if not odd:
        expected = [[names.index("a")]] * len(widths)
        np.testing.assert_array_equal(read(path, ["a"], separator=separator).numbers, expected)
        return
    words = f"row {odd[0]} has {widths[odd[0] - 1]} cells, the header {header}"
    for declared in ({}, DROP):
        with pytest.raises(ValueError, match=words):
            read(path, ["a"], separator=separator, **declared)


NOTATIONS = [(".", None), (",", None), (".", ","), (",", "."), (".", "'"), (",", " ")]


def in_notation(number, decimals, decimal, thousands):
    text = f"{number:,.{decimals}f}" if thousands else f"{number:.{decimals}f}"
    return text.translate(str.maketrans({",": thousands, ".": decimal}))


@given(
    numbers=st.lists(st.integers(-(10**8), 10**8), max_size=20),
    decimals=st.sampled_from([0, 1, 2, 5]),
    written=st.sampled_from(NOTATIONS),
    declared=st.sampled_from(NOTATIONS[:2] + NOTATIONS[4:]),
)
def test_numbers_are_read_in_the_notation_declared_and_in_no_other(
    tmp_path_factory, numbers, decimals, written, declared
):
    path = tmp_path_factory.getbasetemp() / "notation.csv"
    meant = np.array([5, 12_345, 999_999, *numbers]) / 10**decimals
    lines = [f"{in_notation(number, decimals, *written)};1\n" for number in meant]
    path.write_text("a;b\n" + "".join(lines))

    def found(notation, **more):
        decimal, thousands = notation
        table = {"separator": ";", "decimal": decimal, "thousands": thousands}
        return read(path, ["a"], said=[], **table, **more).numbers[:, 0]

    np.testing.assert_array_equal(found(written), meant)
    for more in ({}, DROP):
        try:
            numbers = found(declared, **more)
        except ValueError:
            continue
        np.testing.assert_array_equal(numbers, meant)


def test_thousands_without_decimals_are_not_taken_for_decimals(written):
    path = written("a;b\n973;1\n1.137;2\n1.138;3\n")
    with pytest.raises(ValueError, match=r"such as 1\.138; declare data\.thousands: '\.'"):
        read(path, separator=";")
    with pytest.raises(ValueError, match=r"such as 1\.138; declare"):
        read(written("a;b\n973;1\n;0\n1.137;2\nNA;3\n1.138;3\n"), separator=";", **DROP)
    path = written("a;b\n973;1\n1.137;2\n1.138;3\n")
    numbers = read(path, separator=";", decimal=",", thousands=".").numbers
    np.testing.assert_array_equal(numbers, [[973, 1], [1137, 2], [1138, 3]])
    means = "973;1\n1.137;2\n1.137;2\n"
    for cells in ("973.000;1\n1.137;2\n", "0.973;1\n1.137;2\n", "973;1\n1.13;2\n7.3;3\n", means):
        assert len(read(written("a;b\n" + cells), separator=";").numbers) > 1


@pytest.mark.parametrize(
    ("cell", "way"),
    [
        ("1,137.0", "data.thousands: ','$"),
        ("1,137", "data.thousands: ',' or data.decimal: ','"),
        ("0,5", "data.decimal: ','$"),
        ("1'137", 'data.thousands: "\'"$'),
        ("1.137.000", "data.thousands: '.' and data.decimal: ','$"),
    ],
)
@pytest.mark.parametrize("rows", [1, 1000])
def test_numbers_in_another_notation_are_never_dropped(written, cell, way, rows):
    path = written(HEADER + "1,2,3\n" * (rows - 1) + f'"{cell}",2,3\n')
    with pytest.raises(ValueError, match=f"declare {way}"):
        read(path, **DROP)


def test_they_are_found_among_many_cells_that_are_missing(written):
    path = written(HEADER + "1,2,3\n" * 900 + "NA,2,3\n" * 500 + '"1,137.0",2,3\n')
    with pytest.raises(ValueError, match=r"501 cells of column 'a'.*declare data\.thousands: ','"):
        read(path, **DROP)


@pytest.mark.parametrize("share", [0, 0.05, 0.2])
def test_no_more_rows_are_dropped_than_is_allowed(written, share):
    path = written(HEADER + "1,2,3\n" * 90 + "x,2,3\n" * 10)
    if share < 0.1:
        with pytest.raises(ValueError, match=f"10 of 100 rows.*the share of {share:g} that data"):
            read(path, bad_rows="drop", most_dropped=share)
    else:
        said = []
        assert len(read(path, said=said, bad_rows="drop", most_dropped=share).numbers) == 90
        assert "dropped 10 of 100 rows" in said[0]


@given(
    numbers=st.lists(st.sampled_from([-9999.0, 1.5, 2.5, -1.0]), min_size=1, max_size=30),
    missing=st.sampled_from([(-9999,), ("-9999.0",), (-1, -9999), ("missing", -1.0)]),
    kind=st.sampled_from(["csv", "parquet"]),
)
def test_what_is_declared_as_missing_is(tmp_path_factory, numbers, missing, kind):
    path = tmp_path_factory.getbasetemp() / f"missing.{kind}"
    frame = pd.DataFrame({"a": numbers, "b": 1.0})
    if kind == "csv":
        frame.to_csv(path, index=False)
    else:
        frame.to_parquet(path)
        missing = tuple(value for value in missing if not isinstance(value, str))
    gone = np.isin(numbers, [float(value) for value in missing if value != "missing"])
    said = []
    if gone.all():
        with pytest.raises(ValueError, match=r"all with bad cells: .*declared as missing"):
            read(path, missing=missing, **DROP)
        return
    sheet = read(path, said=said, missing=missing, **DROP)
    np.testing.assert_array_equal(sheet.rows, np.flatnonzero(~gone))
    np.testing.assert_array_equal(sheet.numbers[:, 0], np.array(numbers)[~gone])
    assert bool(said) == gone.any()
    if gone.any():
        assert f"dropped {gone.sum()} of {len(numbers)} rows" in said[0]
        with pytest.raises(ValueError, match=rf"row {gone.argmax() + 1}: .*declared as missing"):
            read(path, missing=missing)


# ---- Values that are far from the others -------------------------------------------------------

ROWS_OF = default_rng(0)
NOT_FAR = {
    "a range": ROWS_OF.uniform(1, 3, 2000),
    "a bell": ROWS_OF.normal(size=2000),
    "an exponential tail": ROWS_OF.exponential(size=2000),
    "a log-normal tail": ROWS_OF.lognormal(0, 2, 2000),
    "a tail without variance": ROWS_OF.pareto(2, 2000),
    "yes and no": ROWS_OF.integers(0, 2, 2000),
    "a rare yes": np.arange(2000) == 7,
    "codes": ROWS_OF.integers(1, 6, 2000),
    "mostly nothing": np.where(ROWS_OF.random(2000) < 0.9, 0, ROWS_OF.lognormal(8, 1, 2000)),
    "on and off": np.where(ROWS_OF.random(2000) < 0.5, 0, 5) + 0.01 * ROWS_OF.normal(size=2000),
    "years": ROWS_OF.integers(1950, 2026, 2000),
    "nothing but one": np.ones(2000),
    "a count": ROWS_OF.poisson(0.3, 2000),
}


@pytest.mark.parametrize("kind", NOT_FAR)
def test_what_is_not_far_is_left_alone(kind):
    assert far_values(NOT_FAR[kind].astype(float)) is None


def test_a_tail_without_variance_is_rarely_called_far():
    tails = default_rng(1).pareto(2, (1000, 2000))
    assert np.mean([far_values(tail) is not None for tail in tails]) < 0.01


@given(
    scale=st.floats(-200, 200).map(lambda power: 10.0**power),
    sign=st.sampled_from([-1, 1]),
    distance=st.floats(2, 9).map(lambda power: 10.0**power),
    count=st.integers(1, 900),
    kind=st.sampled_from(["a range", "a bell", "years", "codes"]),
)
def test_a_value_beyond_a_gap_is_found_in_any_unit_and_number(scale, sign, distance, count, kind):
    column = NOT_FAR[kind].astype(float)
    beyond = float(column.mean() + sign * distance * (column.max() - column.min()))
    rows = default_rng(count).choice(2000, count, replace=False)
    others = np.delete(column, rows) * scale
    column = column.copy()
    column[rows] = beyond
    far = far_values(column * scale)
    np.testing.assert_array_equal(far.values, [beyond * scale])
    np.testing.assert_array_equal(far.rows, np.sort(rows))
    assert (far.lowest, far.highest) == (others.min(), others.max())


def test_far_values_on_both_sides_and_in_a_third_of_the_rows_are_found():
    column = NOT_FAR["a range"].copy()
    column[::3], column[7], column[8] = -9999, 6e5, 7e5
    far = far_values(column)
    np.testing.assert_array_equal(far.values, [-9999, 6e5, 7e5])
    assert len(far.rows) == 669


# ---- Parquet as pandas writes it ---------------------------------------------------------------


def test_what_pandas_keeps_as_an_index_or_a_category_is_a_column(tmp_path):
    frame = pd.DataFrame(
        {
            "a": [0.5, 1.5, 2.5],
            "b": pd.Categorical([3, 1, 3]),
            "part": pd.Categorical(["train", "test", "train"]),
            "price": pd.Series(["1.25", "2.50", "3.75"]).map(Decimal),
            "when": pd.date_range("2026-01-01", periods=3),
            "large": [2**60, 2**60 + 2**10, 0],
        }
    )
    for index in ("a", ["a", "b"], "part", "when"):
        frame.set_index(index).to_parquet(tmp_path / "mine.parquet")
        sheet = read(
            tmp_path / "mine.parquet", ["a", "b", "price", "large"], labels=["part", "when"]
        )
        np.testing.assert_array_equal(
            sheet.numbers, frame[["a", "b", "price", "large"]].astype(float)
        )
        assert sheet.labels["part"].tolist() == ["train", "test", "train"]
        assert sheet.labels["when"][1].startswith("2026-01-02")


def test_a_blank_label_makes_a_bad_row(written):
    content = "a,b,site\n1,2,x\n3,4,\n5,6, \n"
    with pytest.raises(ValueError, match=r"2 cells of column 'site' are missing.*row 2"):
        read(written(content), labels=["site"])
    assert read(written(content), labels=["site"], said=[], **DROP).rows.tolist() == [0]


# ---- Pieces ------------------------------------------------------------------------------------


def test_pieces_together_are_the_sheet_and_optional_columns_may_lack_cells(tmp_path, monkeypatch):
    monkeypatch.setattr("symmetry.sheets.CHUNK", 30)
    frame = pd.DataFrame({"a": np.arange(45.0), "b": np.arange(45) ** 2.0, "c": 1.0})
    frame.loc[4, "b"], frame.loc[9, "a"] = np.nan, np.nan
    frame.to_csv(tmp_path / "mine.csv", index=False)
    frame.to_parquet(tmp_path / "mine.parquet")
    for kind in ("csv", "parquet"):
        path, said = tmp_path / f"mine.{kind}", []
        assert read_names(path, Table()) == ["a", "b", "c"]
        table = Table(**DROP)
        pieces = list(read_pieces(path, ["a"], table, optional=["b"], say=said.append))
        assert len(pieces) > 2
        read_so_far = [piece.read for piece in pieces]
        assert read_so_far == sorted(read_so_far)
        assert read_so_far[-1] == 1
        numbers = np.concatenate([piece.numbers for piece in pieces])
        np.testing.assert_array_equal(numbers, frame[["a", "b"]].drop(9).to_numpy())
        assert "dropped 1 of 45 rows: 1 cell of column 'a'" in said[0]


def test_an_optional_column_in_another_notation_is_refused_and_not_missing(tmp_path):
    path = tmp_path / "mine.csv"
    path.write_text('a,b\n1,"1,5"\n2,"2,5"\n')
    with pytest.raises(ValueError, match=r"2 cells of column 'b'.*declare data\.decimal: ','"):
        list(read_pieces(path, ["a"], Table(), optional=["b"]))
    path.write_text("a,b\n1,x\n2,\n,3\n")
    faults = {}
    (piece,) = read_pieces(path, [], Table(), optional=["a", "b"], faults=faults)
    np.testing.assert_array_equal(piece.numbers, [[1, np.nan], [2, np.nan], [np.nan, 3]])
    said = {name: fault.words(name, Table()) for name, fault in faults.items()}
    assert said == {
        "a": "1 cell of column 'a' is missing, in row 3",
        "b": "2 cells of column 'b' are no finite numbers, the first in row 1: 'x'",
    }


@pytest.mark.parametrize("name", ["out.csv", "out.parquet"])
def test_written_pieces_come_back_in_any_unit(tmp_path, name):
    numbers = default_rng(0).normal(size=(3, 10)) * 10.0 ** np.array([[-30], [0], [30]])
    numbers = numbers.astype(np.float32)
    whole = np.arange(10) + 2**40
    pieces = [
        {
            "row": whole[part],
            "σ, a": numbers[0, part],
            "b": numbers[1, part],
            "c": numbers[2, part],
        }
        for part in (slice(0, 4), slice(4, 10))
    ]
    write_pieces(tmp_path / "deep" / name, iter(pieces))
    found = read(tmp_path / "deep" / name, ["row", "σ, a", "b", "c"]).numbers.T
    np.testing.assert_array_equal(found[0], whole)
    np.testing.assert_array_equal(found[1:].astype(np.float32), numbers)


@pytest.mark.parametrize("name", ["out.csv", "out.parquet"])
def test_pieces_that_break_off_leave_the_old_file(tmp_path, name):
    def broken():
        yield {"a": np.zeros(3)}
        raise ValueError("no more")

    (tmp_path / name).write_text("old")
    with pytest.raises(ValueError, match="no more"):
        write_pieces(tmp_path / name, broken())
    assert (tmp_path / name).read_text() == "old"
    assert [path.name for path in tmp_path.iterdir()] == [name]
    with pytest.raises(ValueError, match=r"allowed: \.csv"):
        write_pieces(tmp_path / "out.xlsx", broken())
    with pytest.raises(ValueError, match="no rows to write"):
        write_pieces(tmp_path / name, iter([]))
