"""On a full disk a file is written whole or not at all, and the error says what is missing."""

import errno
import io
import os
import re
import resource
from contextlib import contextmanager

import numpy as np
import pandas as pd
import pytest
from matplotlib.figure import Figure
from numpy.random import default_rng

from stages.gather import write_table
from stages.plot import write_figure
from symmetry import artifacts
from symmetry.artifacts import (
    claim,
    write_arrays,
    write_bytes,
    write_csv,
    write_dataset,
    write_json,
    write_tensors,
)
from symmetry.checkpoints import save
from symmetry.models import VAE, Sizes
from symmetry.tasks.spiral import spiral


@contextmanager
def room_for(size):
    """Lets no file grow beyond a number of bytes, as a quota would (EFBIG)."""
    soft, hard = resource.getrlimit(resource.RLIMIT_FSIZE)
    resource.setrlimit(resource.RLIMIT_FSIZE, (size, hard))
    try:
        yield
    finally:
        resource.setrlimit(resource.RLIMIT_FSIZE, (soft, hard))


MODEL = VAE(Sizes(2, 2, 2, hidden=8), {"kl": 1.0, "x": 1.0, "y": 1.0})
TABLE = pd.DataFrame({"value": np.arange(200.0)})
WRITERS = {
    "bytes": lambda path: write_bytes(path, b"new" * 400),
    "arrays": lambda path: write_arrays(path, {"x": np.zeros(200)}),
    "data set": lambda path: write_dataset(path, spiral(50, default_rng(0))),
    "tensors": lambda path: write_tensors(path, {"x": np.zeros(200)}, {}),
    "model": lambda path: save(path, MODEL),
    "csv": lambda path: write_csv(path, ({"n": n} for n in range(900))),
    "json": lambda path: write_json(path, list(range(900))),
    "table": lambda path: write_table(path, TABLE),
    "figure": lambda path: write_figure(path, Figure()),
}


def test_every_writer_of_the_library_is_tried():
    ours = {name for name in vars(artifacts) if name.startswith("write_")}
    assert ours == {name for name in globals() if name in ours}


@pytest.mark.parametrize("kind", WRITERS)
def test_without_room_the_old_file_stays_and_the_error_names_file_and_bytes(tmp_path, kind):
    path = tmp_path / "file"
    WRITERS[kind](path)
    size = path.stat().st_size
    path.write_bytes(b"old")
    with pytest.raises(OSError, match="File too large") as raised, room_for(size - 1):
        WRITERS[kind](path)
    assert raised.value.errno == errno.EFBIG
    assert raised.value.filename == str(path)
    # Arrays are not put together in memory first, so that what a file adds to them is not known.
    least = {"arrays": 200 * 8, "data set": 50 * 5 * 8}.get(kind, size)
    assert f"; {least} bytes were to be written: '{path}'" in str(raised.value)
    assert os.listdir(tmp_path) == ["file"]
    assert path.read_bytes() == b"old"
    with room_for(size):
        WRITERS[kind](path)
    assert path.stat().st_size == size


def test_without_room_for_its_claim_a_run_does_not_start(tmp_path):
    with pytest.raises(OSError, match=r"bytes were to be written.*owner"), room_for(8):  # noqa: SIM117
        with claim(tmp_path / "models"):
            pytest.fail("it started")
    assert os.listdir(tmp_path / "models") == []


@pytest.mark.parametrize("number", [errno.ENOSPC, errno.EDQUOT, errno.EIO], ids=os.strerror)
@pytest.mark.parametrize("when", ["mkstemp", "write", "fsync", "replace"])
def test_whatever_fails_whenever_it_does(tmp_path, monkeypatch, number, when):
    path = tmp_path / "file"
    path.write_bytes(b"old")

    def fail(*arguments, **options):
        raise OSError(number, os.strerror(number), "another name")

    class Full(io.FileIO):
        write = fail

    if when == "write":
        monkeypatch.setattr(os, "fdopen", Full)
    else:
        monkeypatch.setattr(artifacts.tempfile if when == "mkstemp" else os, when, fail)
    with pytest.raises(OSError, match=re.escape(os.strerror(number))) as raised:
        write_bytes(path, b"new")
    monkeypatch.undo()
    assert raised.value.errno == number
    assert str(raised.value).endswith(f"; 3 bytes were to be written: '{path}'")
    assert os.listdir(tmp_path) == ["file"]
    assert path.read_bytes() == b"old"


def test_the_content_is_on_the_disk_before_the_name_and_both_before_it_returns(
    tmp_path, monkeypatch
):
    path, done, replace = tmp_path / "file", [], os.replace
    monkeypatch.setattr(os, "fsync", lambda handle: done.append(os.fstat(handle).st_ino))
    monkeypatch.setattr(os, "replace", lambda *names: (done.append("named"), replace(*names)))
    write_bytes(path, b"new")
    assert done == [path.stat().st_ino, "named", tmp_path.stat().st_ino]
