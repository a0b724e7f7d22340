"""Reads and writes the files of the pipeline; a file is there whole or not at all."""

__all__ = [
    "TakenOverError",
    "claim",
    "digest",
    "read_arrays",
    "read_csv",
    "read_dataset",
    "read_json",
    "read_metrics",
    "read_tensors",
    "read_yaml",
    "replacing",
    "write_arrays",
    "write_bytes",
    "write_csv",
    "write_dataset",
    "write_json",
    "write_tensors",
]

import csv
import glob
import hashlib
import io
import json
import math
import os
import re
import reprlib
import struct
import tempfile
import textwrap
import uuid
import zipfile
from collections.abc import Callable, Container, Iterable, Iterator, Mapping
from contextlib import contextmanager
from dataclasses import asdict
from pathlib import Path
from typing import IO, Any, BinaryIO, Literal, NoReturn

import numpy as np
import safetensors
import safetensors.numpy
import yaml
from numpy.typing import NDArray

from symmetry.data import Dataset, Units

Arrays = dict[str, NDArray[Any]]


class TakenOverError(RuntimeError):
    """Says that a later run of the same stage now owns the folder."""


def write_bytes(path: str | Path, content: bytes) -> None:
    """Writes a file atomically: readers see the old content or the new, never a part.

    When it returns, the content is on the disk and survives a loss of power.

    Arguments:
        path: The file to write; its folder is made if need be.
        content: The bytes to write.

    Raises:
        OSError: If they cannot be written, for instance to a full disk. It names the file and
            the number of bytes; an old file stays as it was and nothing else is left.
    """
    with replacing(path, len(content)) as file:
        file.write(content)


@contextmanager
def replacing(path: str | Path, size: int | None = None) -> Iterator[IO[bytes]]:
    """Opens a file to write, which takes the place of the old one when all is written.

    Arguments:
        path: The file to write; its folder is made if need be.
        size: How many bytes will be written, where it is known, for the error.

    Raises:
        OSError: If they cannot be written, as in :func:`write_bytes`.
    """
    path = Path(path)
    name = f".{path.name[:100]}."  # with what makes it unique it must not become too long
    try:
        path.parent.mkdir(parents=True, exist_ok=True)
        for left in path.parent.glob(f"{glob.escape(name)}*.part"):
            left.unlink(missing_ok=True)  # by one that was killed
        handle, temporary = tempfile.mkstemp(".part", name, path.parent)
        try:
            with os.fdopen(handle, "wb") as file:
                yield file
                file.flush()
                os.fsync(file.fileno())  # or a loss of power could leave a name without content
            os.chmod(temporary, 0o644)  # mkstemp makes it private
            os.replace(temporary, path)
        except BaseException:
            Path(temporary).unlink(missing_ok=True)
            raise
        folder = os.open(path.parent, os.O_RDONLY)
        try:
            os.fsync(folder)  # the name, too
        finally:
            os.close(folder)
    except OSError as error:
        reason = str(error.strerror or error)
        if size is not None:
            reason += f"; {size} bytes were to be written"
        raise OSError(error.errno, reason, str(path)) from error


@contextmanager
def _parsing(path: str | Path, kind: str) -> Iterator[BinaryIO]:
    """Opens a file to parse; whatever a parser makes of its bytes, it is the file's fault.

    Parsers answer broken bytes with a dozen kinds of errors, of which this makes one.
    """
    with open(path, "rb") as stream:
        try:
            yield stream
        except Exception as error:
            reason = textwrap.shorten(str(error) or repr(error), 300)
            raise ValueError(f"{path} is not {kind}: {reason}") from None


def write_arrays(path: str | Path, arrays: Mapping[str, NDArray[Any]]) -> None:
    """Writes named arrays to an uncompressed npz file."""
    size = sum(array.nbytes for array in arrays.values())
    with replacing(path, size) as file:  # not through memory: data sets are large
        np.savez(file, allow_pickle=False, **arrays)


def read_arrays(path: str | Path, names: Iterable[str] = ()) -> Arrays:
    """Reads the named arrays of an npz file.

    Arguments:
        path: The file to read.
        names: The arrays that it must have.

    Raises:
        ValueError: If it is not an npz file, is damaged, holds pickled objects, or lacks an array.
    """
    with _parsing(path, "a whole npz file of arrays") as stream, zipfile.ZipFile(stream) as file:
        members = {name.removesuffix(".npy"): name for name in file.namelist()}
        if len(members) < len(file.namelist()):
            raise ValueError("some arrays have the same name")
        arrays = {name: _array(file.read(member)) for name, member in members.items()}
    missing = sorted(set(names) - set(arrays))
    if missing:
        found = ", ".join(arrays) or "nothing"
        raise ValueError(f"{path} lacks {' and '.join(missing)}; it has {found}")
    return arrays


def _array(content: bytes) -> NDArray[Any]:
    # numpy.load reads as far as the shape says, and a checksum is compared at the end alone: of a
    # damaged shape it would return a part of the array.
    stream = io.BytesIO(content)
    array: NDArray[Any] = np.lib.format.read_array(stream, allow_pickle=False)
    if stream.read(1):
        raise ValueError(f"an array is longer than its shape {array.shape} says")
    native = array.dtype.newbyteorder("=")  # PyTorch takes no other
    return array.astype(native, copy=False)


def write_dataset(path: str | Path, dataset: Dataset) -> None:
    """Writes a data set to an npz file with x, y and, where known, t and the units as json."""
    units = None if dataset.units is None else np.array(json.dumps(asdict(dataset.units)))
    columns = {"x": dataset.x, "y": dataset.y, "t": dataset.t, "units": units}
    write_arrays(path, {name: array for name, array in columns.items() if array is not None})


def read_dataset(path: str | Path) -> Dataset:
    """Reads a data set from an npz file with x, y and, where known, t and units.

    Raises:
        ValueError: If an array is missing, has the wrong type or shape, or is not finite.
        FileNotFoundError: If there is no such file.
    """
    if not Path(path).exists():
        raise FileNotFoundError(f"No such file: {path}; `dvc repro generate` makes those in data/")
    arrays = _mapped_arrays(path, ("x", "y"))
    try:
        units = Units.from_json(json.loads(str(arrays["units"]))) if "units" in arrays else None
        return Dataset(arrays["x"], arrays["y"], arrays.get("t"), units)
    except ValueError as error:
        raise ValueError(f"{path}: {error}") from None


def _mapped_arrays(path: str | Path, names: Iterable[str]) -> Arrays:
    # The arrays of an uncompressed npz file, each mapped from where it lies in the file and so
    # read when its rows are used; what numpy itself maps is npy files alone.
    arrays: Arrays = {}
    with _parsing(path, "a whole npz file of arrays") as file, zipfile.ZipFile(file) as archive:
        members = archive.infolist()
        plain = archive.testzip() is None and not any(m.compress_type for m in members)
        for member in members if plain else []:
            file.seek(member.header_offset + 26)
            lengths = struct.unpack("<2H", file.read(4))  # of the name and the extra field
            file.seek(sum(lengths), os.SEEK_CUR)
            start = file.tell()
            major, _ = np.lib.format.read_magic(file)
            shape, in_columns, dtype = (
                np.lib.format.read_array_header_1_0(file)
                if major == 1
                else np.lib.format.read_array_header_2_0(file)
            )
            size = file.tell() - start + math.prod(shape) * dtype.itemsize
            if dtype.hasobject or not dtype.isnative or size != member.file_size:
                break
            order: Literal["C", "F"] = "F" if in_columns else "C"
            # Copied when it is written to, which nobody does, since PyTorch warns of the rest.
            arrays[member.filename.removesuffix(".npy")] = np.memmap(
                path, dtype, "c", file.tell(), shape, order
            )
    if len(arrays) == len(members) and set(names) <= set(arrays):
        return arrays
    return read_arrays(path, names)  # which has words for each fault, and unpacks


def write_tensors(path: str | Path, tensors: Arrays, metadata: Mapping[str, str]) -> None:
    """Writes named arrays and text metadata to a safetensors file, always the same bytes."""
    # safetensors writes the memory as it lies: a strided view would come back scrambled. And it
    # writes several metadata in an order of chance, by which DVC would take them for changed.
    contiguous = {name: np.asarray(array, order="C") for name, array in tensors.items()}
    write_bytes(path, safetensors.numpy.save(contiguous, {"json": json.dumps(dict(metadata))}))


def read_tensors(path: str | Path) -> tuple[Arrays, dict[str, str]]:
    """Reads the named arrays and the metadata of a safetensors file.

    Raises:
        ValueError: If it is not a safetensors file.
    """
    with _parsing(path, "a safetensors file"), safetensors.safe_open(path, "numpy") as file:
        tensors = {name: file.get_tensor(name) for name in file.keys()}  # noqa: SIM118
        metadata = json.loads((file.metadata() or {}).get("json", "{}"))
        if not isinstance(metadata, dict):
            raise ValueError(f"its metadata are no mapping: {metadata!r}")
        if not all(isinstance(value, str) for value in metadata.values()):
            raise ValueError(f"its metadata are not texts: {metadata!r}")
    return tensors, metadata


def write_csv(path: str | Path, rows: Iterable[Mapping[str, Any]]) -> None:
    """Writes rows to a csv file whose header is the first row's keys."""
    rows = list(rows)
    buffer = io.StringIO()
    writer = csv.DictWriter(buffer, list(rows[0]), lineterminator="\n")
    writer.writeheader()
    writer.writerows(rows)
    write_bytes(path, buffer.getvalue().encode())


def read_csv(
    path: str | Path, numbers: Iterable[str] = (), texts: Container[str] = ()
) -> list[dict[str, str]]:
    """Reads the rows of a csv file with a header, as text.

    Arguments:
        path: The file to read.
        numbers: The columns that it must have, if it is one of finite numbers.
        texts: The columns of such a file that may hold anything.

    Raises:
        ValueError: If it is not a csv file in UTF-8, two columns have the same name, a row has
            more or fewer cells than the header, or it is not one of numbers and should be.
    """
    with _parsing(path, "a csv file") as stream:
        text = io.TextIOWrapper(stream, "utf-8-sig", newline="")
        header, *rows = [row for row in csv.reader(text, strict=True) if row] or [[]]
        if len(set(header)) < len(header):
            raise ValueError(f"of the columns {', '.join(header)} some have the same name")
        for number, row in enumerate(rows, 1):
            if len(row) != len(header):
                raise ValueError(f"row {number} has {len(row)} cells, the header {len(header)}")
    if missing := [name for name in numbers if name not in header]:
        raise ValueError(f"{path} lacks {', '.join(missing)}; it has {', '.join(header)}")
    if numbers:
        for number, row in enumerate(rows, 1):
            for name, cell in zip(header, row, strict=True):
                if name not in texts and not _is_finite(cell):
                    raise ValueError(f"{path}: {name} of row {number} is {cell!r}, not a number")
    return [dict(zip(header, row, strict=True)) for row in rows]


def _is_finite(cell: str) -> bool:
    try:
        return math.isfinite(float(cell))
    except ValueError:
        return False


def write_json(path: str | Path, content: Any) -> None:
    """Writes an indented json file; a NaN is an error, null is the word for "none"."""
    write_bytes(path, (json.dumps(content, indent=2, allow_nan=False) + "\n").encode())


def read_json(path: str | Path) -> Any:
    """Reads a json file.

    Raises:
        ValueError: If it is not a json file, or holds a NaN or an infinity.
    """

    def refuse(constant: str) -> NoReturn:
        raise ValueError(f"{constant} is not a number")

    with _parsing(path, "a json file") as stream:
        return json.loads(stream.read(), parse_constant=refuse)


def read_metrics(path: str | Path, names: Iterable[str] = ()) -> dict[str, Any]:
    """Reads a json file of metrics: by name a finite number, or null for none.

    Arguments:
        path: The file to read.
        names: The metrics that it must have, as numbers.

    Raises:
        ValueError: If it is not such a file, or lacks a metric.
    """
    content = read_json(path)
    if not isinstance(content, dict):
        raise ValueError(f"{path} holds no metrics by name, but {reprlib.repr(content)}")
    for name, value in content.items():
        if value is not None and not (type(value) in (int, float) and abs(value) < math.inf):
            found = reprlib.repr(value)
            raise ValueError(f"{path}: {name} is {found}; allowed: a finite number or null")
    for name in names:
        if content.get(name) is None:
            raise ValueError(f"{path} lacks {name}; it has {', '.join(content) or 'nothing'}")
    return content


_YAML_1_2 = {
    "tag:yaml.org,2002:bool": r"(true|True|TRUE|false|False|FALSE)$",
    "tag:yaml.org,2002:int": r"[-+]?(0|[1-9][0-9]*)$",
    "tag:yaml.org,2002:float": r"[-+]?(\.[0-9]+|(0|[1-9][0-9]*)(\.[0-9]*)?)([eE][-+]?[0-9]+)?$"
    r"|[-+]?\.(inf|Inf|INF)$|\.(nan|NaN|NAN)$",
}


class _YamlLoader(yaml.SafeLoader):
    """Reads YAML as DVC does, where PyYAML by itself would not.

    A key stands once. Numbers are decimal: 010 is the number 8 to PyYAML and 10 to DVC, 1:30 the
    number 90 to PyYAML; here they are text, which no number parameter takes. And a column may be
    named NO or on, which are truth values to PyYAML.
    """

    def construct_mapping(self, node: yaml.MappingNode, deep: bool = False) -> dict[Any, Any]:
        seen: set[str] = set()
        for key, _ in node.value:
            if key.value in seen:
                raise ValueError(f"the key {key.value} stands twice, {key.start_mark}")
            seen.add(key.value)
        return super().construct_mapping(node, deep)


_YamlLoader.yaml_implicit_resolvers = {
    first: [(tag, pattern) for tag, pattern in resolvers if tag not in _YAML_1_2]
    for first, resolvers in yaml.SafeLoader.yaml_implicit_resolvers.items()
}
for _tag, _pattern in _YAML_1_2.items():
    _YamlLoader.add_implicit_resolver(_tag, re.compile(_pattern), list("-+.0123456789tTfF"))


def read_yaml(path: str | Path) -> Any:
    """Reads a yaml file.

    Raises:
        ValueError: If it is not a yaml file, or a key stands twice in a block.
    """
    with _parsing(path, "a yaml file") as stream:
        return yaml.load(stream, _YamlLoader)


def digest(paths: Iterable[str | Path], words: Iterable[str]) -> str:
    """Computes the SHA-256 of words and of what is in files, a folder being its Python files."""
    state = hashlib.sha256(json.dumps(list(words)).encode())
    for path in map(Path, paths):
        for file in sorted(path.rglob("*.py")) if path.is_dir() else [path]:
            with open(file, "rb") as content:
                state.update(hashlib.file_digest(content, "sha256").digest())
    return state.hexdigest()


@contextmanager
def claim(folder: str | Path) -> Iterator[Callable[[], None]]:
    """Claims a folder for one long run; the latest claim wins.

    A killed ``dvc repro`` leaves its training alive. With the check that this yields, called now
    and then and before anything is written, that training stops when a later one has begun.

    Arguments:
        folder: The folder to claim; it is made if need be.

    Raises:
        TakenOverError: From the check, if another run has claimed the folder since.
    """
    owner = Path(folder) / ".owner"
    token = uuid.uuid4().hex.encode()
    write_bytes(owner, token)
    claimed = _contents(folder)

    def is_mine() -> bool:
        try:
            return owner.read_bytes() == token
        except FileNotFoundError:
            return False

    def check() -> None:
        # DVC restores files from its cache without a claim, so they must not have changed either.
        if not is_mine() or _contents(folder) != claimed:
            raise TakenOverError(f"a later run has taken over {folder}; this one stops")

    try:
        yield check
    finally:
        if is_mine():
            owner.unlink()


def _contents(folder: str | Path) -> dict[str, int]:
    files = [path for path in Path(folder).iterdir() if not path.name.startswith(".")]
    return {path.name: path.stat().st_mtime_ns for path in files}
