"""Files that users have: what is read, and the one clear error of each that cannot be."""

import gzip
import re
import sys

import numpy as np
import pandas as pd
import pytest

from symmetry.data import Table
from symmetry.sheets import read_sheet

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
    assert "2 cells of column 'b' are no finite numbers, the first in row 8: nothing" in said


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
    "thousands": (HEADER + '"1,000",1,1\n', "the first in row 1: '1,000'"),
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
    "an empty cell": (WHOLE + ",2,3\n", "1 cells of column 'a'.*in row 6: nothing"),
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
    "a second header": (WHOLE + WHOLE, "in row 6: 'a'; 1 cells of column 'b'"),
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
    "text": ({"a": ["1", "x"], "b": [1, 2]}, "1 cells of column 'a'.*in row 2: 'x'"),
    "missing": ({"a": [1.0, None], "b": [1, 2]}, "1 cells of column 'a'.*in row 2"),
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
