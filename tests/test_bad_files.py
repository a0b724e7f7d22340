"""Broken, foreign and hostile files are refused by name: never half-read, never executed."""

import io
import json
import pickle
import re
import subprocess
import sys
import zipfile
from dataclasses import asdict

import numpy as np
import pytest
import safetensors.numpy
import torch
import yaml
from hypothesis import example, given
from hypothesis import strategies as st
from numpy.random import default_rng

from symmetry.artifacts import (
    read_arrays,
    read_csv,
    read_dataset,
    read_json,
    read_metrics,
    read_tensors,
    read_yaml,
    write_arrays,
    write_csv,
    write_dataset,
    write_json,
    write_tensors,
)
from symmetry.checkpoints import load, save
from symmetry.data import Dataset
from symmetry.models import MODELS, Sizes
from symmetry.tasks.spiral import spiral


def read_numbers(path):
    return read_csv(path, ["step", "objective"])


READERS = {
    "npz": read_arrays,
    "data set": read_dataset,
    "safetensors": read_tensors,
    "model": load,
    "csv": read_csv,
    "csv of numbers": read_numbers,
    "json": read_json,
    "metrics": read_metrics,
    "yaml": read_yaml,
}

SIZES = Sizes(stack=2, x=2, y=2, hidden=3, critic=2)
ROWS = [
    {"step": step, "seed": seed, "objective": step / 7} for step in range(9) for seed in (0, 1)
]


def write_model(path):
    model = MODELS["stib"](SIZES, dict.fromkeys(MODELS["stib"].term_names, 0.5))
    save(path, model)


def write_yaml(path):
    path.write_text(yaml.safe_dump({"train": {"seeds": 3, "rate": 1e-3}, "names": ["a", "b"]}))


WRITERS = {
    "npz": lambda path: write_arrays(path, {"a": np.arange(20.0), "b": np.eye(3, dtype="f4")}),
    "data set": lambda path: write_dataset(path, spiral(8, default_rng(0))),
    "safetensors": lambda path: write_tensors(path, {"a": np.arange(20.0)}, {"model": "stib"}),
    "model": write_model,
    "csv": lambda path: write_csv(path, ROWS),
    "csv of numbers": lambda path: write_csv(path, ROWS),
    "json": lambda path: write_json(path, {"x": [1.5, None], "y": "σ"}),
    "metrics": lambda path: write_json(path, {"x_mae": 0.5, "y_mae": None}),
    "yaml": write_yaml,
}


@pytest.fixture(scope="module")
def folder(tmp_path_factory):
    return tmp_path_factory.mktemp("files")


@pytest.fixture(scope="module")
def whole(folder):
    """A good file of each kind."""
    for kind, write in WRITERS.items():
        write(folder / kind)
    return {kind: (folder / kind).read_bytes() for kind in WRITERS}


def same(found, expected):
    """Compares what a reader returned, arrays to the bit."""
    if isinstance(expected, np.ndarray):
        return (found.dtype, found.shape) == (expected.dtype, expected.shape) and (
            found.tobytes() == expected.tobytes()
        )
    if isinstance(expected, Dataset):
        return all(same(getattr(found, name), getattr(expected, name)) for name in ("x", "y", "t"))
    if isinstance(expected, dict):
        return found.keys() == expected.keys() and all(
            same(found[name], expected[name]) for name in expected
        )
    return found == expected


# ---- One fault at a time -----------------------------------------------------------------------


def zipped(members, **options):
    buffer = io.BytesIO()
    with zipfile.ZipFile(buffer, "w", **options) as file:
        for name, content in members:
            file.writestr(name, content)
    return buffer.getvalue()


def npy(array, shape=None, **options):
    buffer = io.BytesIO()
    np.save(buffer, array, **options)
    content = buffer.getvalue()
    if shape is not None:  # of the same length, so that nothing else moves
        old, new = f"'shape': {array.shape}, }}", f"'shape': {shape}, }}"
        return content.replace(old.ljust(len(new)).encode(), new.ljust(len(old)).encode())
    return content


def npz(**arrays):
    return zipped([(f"{name}.npy", npy(array)) for name, array in arrays.items()])


def weights(change=lambda tensors: None, **metadata):
    """Returns the content of a model's file after a change."""

    def content(folder):
        write_model(folder / "changed")
        tensors, found = read_tensors(folder / "changed")
        change(tensors)
        write_tensors(folder / "changed", tensors, found | metadata)
        return (folder / "changed").read_bytes()

    return content


def with_sizes(**changes):
    return weights(sizes=json.dumps({**asdict(SIZES), **changes}))


def with_weights(**changes):
    own = dict.fromkeys(MODELS["stib"].term_names, 0.5)
    return weights(weights=json.dumps({**own, **changes}))


def with_tensor(value):
    return weights(lambda tensors: tensors.update({"encoder.first.weight": value}))


def header(**tensors):
    """Returns a safetensors file of a header alone."""
    content = json.dumps(tensors).encode()
    return len(content).to_bytes(8, "little") + content


X = np.zeros((4, 2))
FIRST = np.zeros((2, 2, 3), "f4")  # the shape of the encoder's first weight
NAN = np.full_like(FIRST, np.nan)
CLAIM = {"dtype": "F32", "shape": [10**6, 10**6], "data_offsets": [0, 4 * 10**12]}
FAULTS = {
    "npz": {
        "a bare npy": npy(X),
        "a zip of text": zipped([("x.npy", b"text")]),
        "a zip of json": zipped([("x", b"{}")]),
        "a longer array than its shape": zipped([("x.npy", npy(np.arange(16.0), (9,)))]),
        "a shorter array than its shape": zipped([("x.npy", npy(np.arange(16.0), (99,)))]),
        "a shape of terabytes": zipped([("x.npy", npy(np.arange(16.0), (10**13,)))]),
        "a negative shape": zipped([("x.npy", npy(np.arange(16.0), (-16,)))]),
        "a header of python": zipped([("x.npy", npy(X).replace(b"False", b"(1)()"))]),
        "two arrays of one name": zipped([("x.npy", npy(X)), ("x", npy(X))]),
        "a tar": b"x.npy".ljust(257, b"\0") + b"ustar\0" + bytes(1000),
        "gzip": b"\x1f\x8b\x08" + bytes(50),
    },
    "data set": {
        "no y": npz(x=X),
        "of text": npz(x=X.astype(str), y=X),
        "of dates": npz(x=X, y=X.astype("datetime64[s]")),
        "of truths": npz(x=X > 0, y=X),
        "of complex numbers": npz(x=X, y=X + 1j),
        "of records": npz(x=X, y=np.zeros((4, 2), [("a", "f8")])),
        "of raw bytes": npz(x=X, y=np.zeros((4, 2), "V8")),
        "one-dimensional": npz(x=X[:, 0], y=X),
        "fewer rows of y": npz(x=X, y=X[:3]),
        "without rows": npz(x=X[:0], y=X[:0]),
        "NaN in x": npz(x=X * np.nan, y=X),
        "infinity in y": npz(x=X, y=X - np.inf),
        "NaN in t": npz(x=X, y=X, t=X[:, 0] * np.nan),
    },
    "safetensors": {
        "a header longer than the file": (2**40).to_bytes(8, "little") + b"{}",
        "a header that is no json": (5).to_bytes(8, "little") + b"hello",
        "a tensor of terabytes": header(a=CLAIM),
        "an unknown type": header(a={**CLAIM, "dtype": "F9"}),
        "no offsets": header(a={"dtype": "F32", "shape": [1]}),
        "metadata of numbers": safetensors.numpy.save({"a": X}, {"json": '{"model": 3}'}),
        "metadata that are no json": safetensors.numpy.save({"a": X}, {"json": "{"}),
    },
    "model": {
        "of another program": safetensors.numpy.save({"a": X}),
        "an unknown model": weights(model="../../x"),
        "double precision": with_tensor(FIRST.astype("f8")),
        "integers": with_tensor(FIRST.astype("i4")),
        "half precision": with_tensor(FIRST.astype("f2")),
        "another shape": with_tensor(FIRST[:, :, :2]),
        "NaN": with_tensor(NAN),
        "infinity": with_tensor(FIRST + np.inf),
        "sizes of text": with_sizes(hidden="3"),
        "sizes with a fraction": with_sizes(hidden=3.0),
        "sizes of truth": with_sizes(stack=True),
        "sizes below zero": with_sizes(critic=-2),
        "sizes of terabytes": with_sizes(hidden=10**6),
        "sizes beyond any number": with_sizes(hidden=10**40),
        "weights of text": with_weights(kl="1"),
        "weights not finite": with_weights(kl=float("nan")),
        "weights of other terms": with_weights(z=1.0),
        "weights that are a list": weights(weights="[1]"),
    },
    "csv": {
        "a row too short": b"a,b\n1,2\n3\n",
        "a row too long": b"a,b\n1,2,3\n",
        "two columns of one name": b"a,a\n1,2\n",
        "an open quote": b'a,b\n1,"2\n',
        "latin-1": "a,b\n1,ü\n".encode("latin-1"),
        "utf-16": "a,b\n1,2\n".encode("utf-16"),
        "zeros": b"a,b\n1,\0\xff\n",
    },
    "csv of numbers": {
        "text": b"step,objective\n1,two\n",
        "an empty cell": b"step,objective\n1,\n",
        "NaN": b"step,objective\n1,nan\n",
        "infinity": b"step,objective\n1,-inf\n",
        "no objective": b"step\n1\n",
        "nothing": b"",
    },
    "json": {
        "nothing": b"",
        "NaN": b'{"a": NaN}',
        "infinity": b'{"a": -Infinity}',
        "cut short": b'{"a": 1',
        "two texts": b"{} {}",
        "an abyss": b"[" * 100_000,
        "latin-1": b'{"a": "\xfc"}',
    },
    "metrics": {
        "a list": b"[1]",
        "a number": b"3",
        "of text": b'{"x_mae": "0.5"}',
        "of truths": b'{"x_mae": true}',
        "of lists": b'{"x_mae": [1]}',
        "beyond all numbers": b'{"x_mae": 1e999}',
    },
    "yaml": {
        "a tab": b"a:\n\tb: 1\n",
        "an open bracket": b"a: [1, 2\n",
        "a key twice": b"a: 1\na: 2\n",
        "a key twice, deeper": b"a:\n  b: {c: 1, c: 2}\n",
        "an unknown anchor": b"a: *b\n",
        "two documents": b"a: 1\n---\nb: 2\n",
        "a tag of python": b"a: !!python/name:os.system\n",
        "an unhashable key": b"{[1]: 2}\n",
        "a binary": b"\x00\x01\x02",
        "latin-1": b"a: \xfc\n",
        "a date that is none": b"a: 2020-99-99\n",
    },
}


def fault_of(path, read):
    """Returns the one line with which a reader refuses a file."""
    with pytest.raises(ValueError, match=re.escape(str(path))) as raised:
        read(path)
    message = str(raised.value)
    assert "\n" not in message
    assert len(message) < 500 + len(str(path))
    return message


@pytest.mark.parametrize(
    ("kind", "fault"), [(kind, fault) for kind, faults in FAULTS.items() for fault in faults]
)
def test_a_wrong_file_is_refused_in_one_line_that_names_it(tmp_path, refused, kind, fault):
    content = FAULTS[kind][fault]
    path = tmp_path / "wrong"
    path.write_bytes(content(tmp_path) if callable(content) else content)
    fault_of(path, READERS[kind])
    refused["files"] += 1


@pytest.mark.parametrize("kind", READERS)
def test_a_file_of_another_kind_is_refused(folder, whole, refused, kind):
    akin = {
        "npz": {"data set"},
        "safetensors": {"model"},
        "csv": {"csv of numbers", "yaml"},  # lines without a comma are a csv of one column
        "csv of numbers": {"csv"},
        "json": {"metrics"},
        "yaml": {"json", "metrics", "csv", "csv of numbers"},  # a text, and json is yaml
    }
    for other in WRITERS.keys() - {kind} - akin.get(kind, set()):
        fault_of(folder / other, READERS[kind])
        refused["files"] += 1


@pytest.mark.parametrize("kind", sorted({*READERS} - {"csv", "yaml"}))
def test_nothing_is_no_file_of_a_kind_that_holds_something(tmp_path, refused, kind):
    (tmp_path / "empty").touch()
    fault_of(tmp_path / "empty", READERS[kind])
    refused["files"] += 1


def test_arrays_and_metrics_that_a_stage_needs_are_named(tmp_path, refused):
    path = tmp_path / "a"
    write_arrays(path, {"x": X})
    with pytest.raises(ValueError, match="a lacks z; it has x"):
        read_arrays(path, ["x", "z"])
    write_json(path, {"x_mae": 0.5, "y_mae": None})
    with pytest.raises(ValueError, match="a lacks y_mae; it has x_mae, y_mae"):
        read_metrics(path, ["x_mae", "y_mae"])
    refused["files"] += 2


# ---- Nothing is executed -----------------------------------------------------------------------


class Payload:
    """Makes a file when it is unpickled."""

    def __init__(self, marker):
        self.marker = str(marker)

    def __reduce__(self):
        return open, (self.marker, "w")


def payloads(marker):
    """Yields files that run code in a reader that unpickles."""
    payload = Payload(marker)
    objects = np.empty((1, 2), object)
    objects[:] = payload
    yield pickle.dumps(payload)
    yield npy(objects, allow_pickle=True)
    yield zipped([(f"{name}.npy", npy(objects, allow_pickle=True)) for name in "xy"])
    yield zipped([("archive/data.pkl", pickle.dumps(payload)), ("archive/version", b"3")])
    buffer = io.BytesIO()
    torch.save(payload, buffer)
    yield buffer.getvalue()
    yield f"!!python/object/apply:builtins.open [{marker}, w]\n".encode()
    yield f"a: !!python/object/new:builtins.open [{marker}, w]\n".encode()
    yield b'{"a": ' + pickle.dumps(payload) + b"}"


@pytest.mark.parametrize("kind", READERS)
def test_no_reader_runs_what_a_file_holds(tmp_path, refused, kind):
    marker = tmp_path / "marker"
    assert [*payloads(marker)]
    for content in payloads(marker):
        path = tmp_path / "payload"
        path.write_bytes(content)
        if kind == "csv" and content.startswith((b"!!", b"a:")):
            READERS[kind](path)  # text is all that a csv file is
        else:
            fault_of(path, READERS[kind])
            refused["pickles and tags of python"] += 1
    assert not marker.exists()


def test_the_payloads_are_live(tmp_path):
    pickle.loads(next(payloads(tmp_path / "marker"))).close()
    assert (tmp_path / "marker").exists()


# ---- Nothing is allocated on a file's word -----------------------------------------------------

MEASURE = """
import resource, sys
from symmetry.artifacts import read_arrays, read_tensors
from symmetry.checkpoints import load
def peak():
    return resource.getrusage(resource.RUSAGE_SELF).ru_maxrss
load(sys.argv[1])
before = peak()
for read in (load, read_tensors, read_arrays):
    for path in sys.argv[2:]:
        try:
            read(path)
        except ValueError:
            pass
print(peak() - before, before)
"""


def test_claimed_sizes_take_no_memory(tmp_path):
    write_model(tmp_path / "good")
    claims = {
        # Each of these can be allocated, and would be seen: 3 GB and more.
        "sizes": with_sizes(hidden=20_000)(tmp_path),
        "stack": with_sizes(stack=10**8)(tmp_path),
        "header": header(a={**CLAIM, "shape": [10**9], "data_offsets": [0, 4 * 10**9]}),
        "npy": zipped([("x.npy", npy(np.arange(16.0), (4 * 10**8,)))]),
    }
    for name, content in claims.items():
        (tmp_path / name).write_bytes(content)
    command = [sys.executable, "-c", MEASURE, tmp_path / "good", *(tmp_path / n for n in claims)]
    printed = subprocess.run(command, check=True, capture_output=True, text=True).stdout
    grown, before = map(int, printed.split())
    assert grown < 0.2 * before  # some 30 MB; the unit is another on macOS


# ---- Any bytes ---------------------------------------------------------------------------------


@st.composite
def damages(draw):
    """Draws a way to damage a file: flipped, cut, spliced or repeated bytes."""
    place = st.floats(0, 1, exclude_max=True)
    kind = draw(st.sampled_from(["flip", "flips", "cut", "splice", "insert", "move"]))
    places = draw(st.lists(place, min_size=3, max_size=3))
    flips = draw(st.lists(st.tuples(place, st.integers(1, 255)), min_size=1, max_size=8))
    added = draw(st.binary(max_size=40))

    def damage(content):
        first, second, third = sorted(int(at * len(content)) for at in places)
        if kind == "cut":
            return content[:first]
        if kind == "splice":
            return content[:first] + added + content[second:]
        if kind == "insert":
            return content[:first] + added + content[first:]
        if kind == "move":
            return content[:first] + content[second:third] + content[first:]
        broken = bytearray(content)
        for at, bits in flips[: 1 if kind == "flip" else None]:
            broken[int(at * len(content))] ^= bits
        return bytes(broken)

    return damage


def read_or_refuse(path, kind, content, refused):
    """Returns what a reader makes of a file, or None where it refuses it as it should."""
    path.write_bytes(content)
    try:
        return READERS[kind](path)
    except ValueError as error:
        said = str(error)
    assert str(path) in said
    assert "\n" not in said
    refused["corrupted files"] += 1
    return None


@pytest.mark.parametrize("kind", READERS)
@given(damage=damages())
def test_a_damaged_file_is_read_or_refused_by_name(folder, whole, refused, kind, damage):
    found = read_or_refuse(folder / "damaged", kind, damage(whole[kind]), refused)
    if found is not None and kind in ("npz", "data set"):
        # These carry checksums: all that is read is what was written.
        assert same(found, READERS[kind](folder / kind))
    if found is not None and kind == "model":
        assert all(value.isfinite().all() for value in found.state_dict().values())


@pytest.mark.parametrize("kind", READERS)
@given(content=st.binary(max_size=300) | st.text(max_size=200).map(str.encode))
@example(content=b"")
@example(content=b"\x93NUMPY\x01\x00")
@example(content=b"PK\x05\x06" + bytes(18))
@example(content=b"- " * 2000)
@example(content=b"&a [*a, *a]")
def test_any_bytes_are_read_or_refused_by_name(folder, refused, kind, content):
    read_or_refuse(folder / "any", kind, content, refused)


@pytest.mark.parametrize("kind", ["npz", "data set", "safetensors", "model", "json", "metrics"])
@given(share=st.floats(0, 1, exclude_max=True))
def test_a_file_cut_short_is_always_refused(folder, whole, refused, kind, share):
    content = whole[kind].rstrip()
    assert (
        read_or_refuse(folder / "cut", kind, content[: int(share * len(content))], refused) is None
    )


REAL = [">f8", "f8", "f4", "f2", "i8", ">i2", "u1", "u4"]


@given(
    shape=st.lists(st.integers(0, 4), max_size=3).map(tuple),
    dtype=st.sampled_from([*REAL, "?", "g", "c16", "U3", "S2", "M8[s]", "V4"]),
    column=st.sampled_from(["x", "y", "t"]),
)
def test_a_data_set_is_of_real_numbers_or_refused(folder, refused, shape, dtype, column):
    path = folder / "shaped"
    write_arrays(path, {"x": X, "y": X, "t": X[:, 0], column: np.zeros(shape, dtype)})
    found = read_or_refuse(path, "data set", path.read_bytes(), refused)
    fits = shape == (4,) if column == "t" else len(shape) == 2 and shape[0] == 4 and shape[1] > 0
    assert (found is not None) == (fits and dtype in REAL)
    if found is not None:
        assert torch.as_tensor(getattr(found, column), dtype=torch.float32).shape == shape
