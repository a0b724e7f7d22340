"""Reads and writes the files of the pipeline; a file is there whole or not at all."""

__all__ = [
    "TakenOverError",
    "claim",
    "read_arrays",
    "read_csv",
    "read_dataset",
    "read_json",
    "read_tensors",
    "read_yaml",
    "write_arrays",
    "write_bytes",
    "write_csv",
    "write_dataset",
    "write_json",
    "write_tensors",
]

import csv
import io
import json
import os
import struct
import tempfile
import uuid
import zipfile
import zlib
from collections.abc import Callable, Iterable, Iterator, Mapping
from contextlib import contextmanager
from dataclasses import asdict
from pathlib import Path
from typing import IO, Any

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

    Arguments:
        path: The file to write; its folder is made if need be.
        content: The bytes to write.
    """
    with _replacing(path) as file:
        file.write(content)


@contextmanager
def _replacing(path: str | Path) -> Iterator[IO[bytes]]:
    # A file to write, which takes the place of the old one when all is written.
    path = Path(path)
    path.parent.mkdir(parents=True, exist_ok=True)
    handle, temporary = tempfile.mkstemp(dir=path.parent, prefix=f".{path.name}.")
    try:
        with os.fdopen(handle, "wb") as file:
            yield file
        os.chmod(temporary, 0o644)  # mkstemp makes it private
        os.replace(temporary, path)
    except BaseException:
        os.unlink(temporary)
        raise


def write_arrays(path: str | Path, arrays: Mapping[str, NDArray[Any]]) -> None:
    """Writes named arrays to an uncompressed npz file."""
    with _replacing(path) as file:  # not through memory: data sets are large
        np.savez(file, allow_pickle=False, **arrays)


def read_arrays(path: str | Path) -> Arrays:
    """Reads the named arrays of an npz file.

    Raises:
        ValueError: If it is not an npz file, is damaged, or holds pickled objects.
    """
    try:
        with open(path, "rb") as stream, np.load(stream, allow_pickle=False) as file:
            return {name: file[name] for name in file.files}
    except (ValueError, EOFError, AttributeError, zipfile.BadZipFile, zlib.error) as error:
        raise ValueError(f"{path} is not a whole npz file of arrays: {error}") from None


def write_dataset(path: str | Path, dataset: Dataset) -> None:
    """Writes a data set to an npz file with x, y and, where known, t and the units as json."""
    units = None if dataset.units is None else np.array(json.dumps(asdict(dataset.units)))
    columns = {"x": dataset.x, "y": dataset.y, "t": dataset.t, "units": units}
    write_arrays(path, {name: array for name, array in columns.items() if array is not None})


def read_dataset(path: str | Path) -> Dataset:
    """Reads a data set from an npz file with x, y and, where known, t and units.

    Raises:
        ValueError: If an array is missing, has the wrong shape, or is not finite.
    """
    arrays = _mapped_arrays(path)
    missing = {"x", "y"} - set(arrays)
    if missing:
        found = ", ".join(arrays) or "nothing"
        raise ValueError(f"{path} lacks {' and '.join(sorted(missing))}; it has {found}")
    try:
        units = Units.from_json(json.loads(str(arrays["units"]))) if "units" in arrays else None
        return Dataset(arrays["x"], arrays["y"], arrays.get("t"), units)
    except ValueError as error:
        raise ValueError(f"{path}: {error}") from None


def _mapped_arrays(path: str | Path) -> Arrays:
    # The arrays of an uncompressed npz file, each mapped from where it lies in the file and so
    # read when its rows are used; what numpy itself maps is npy files alone.
    try:
        with zipfile.ZipFile(path) as archive:
            damaged = archive.testzip()
            members = archive.infolist()
    except (EOFError, zipfile.BadZipFile, zlib.error, NotImplementedError) as error:
        raise ValueError(f"{path} is not a whole npz file of arrays: {error}") from None
    if damaged is not None or any(member.compress_type for member in members):
        return read_arrays(path)  # which says what is damaged, and unpacks what is compressed
    arrays: Arrays = {}
    with open(path, "rb") as file:
        for member in members:
            file.seek(member.header_offset + 26)
            lengths = struct.unpack("<2H", file.read(4))  # of the name and the extra field
            file.seek(sum(lengths), os.SEEK_CUR)
            name = member.filename.removesuffix(".npy")
            try:
                version = np.lib.format.read_magic(file)
                read_header = getattr(np.lib.format, f"read_array_header_{version[0]}_0")
                shape, in_columns, dtype = read_header(file)
                if dtype.hasobject:
                    raise ValueError("pickled objects")
                # Copied when it is written to, which nobody does, since PyTorch warns of the rest.
                arrays[name] = np.memmap(
                    path, dtype, "c", file.tell(), shape, "F" if in_columns else "C"
                )
            except (ValueError, AttributeError):
                return read_arrays(path)  # it has words for each fault
    return arrays


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
    try:
        with safetensors.safe_open(path, "numpy") as file:
            tensors = {name: file.get_tensor(name) for name in file.keys()}  # noqa: SIM118
            metadata = json.loads((file.metadata() or {}).get("json", "{}"))
    except safetensors.SafetensorError as error:
        raise ValueError(f"{path} is not a safetensors file: {error}") from None
    except json.JSONDecodeError as error:
        raise ValueError(f"{path} has metadata that are not json: {error}") from None
    if not isinstance(metadata, dict):
        raise ValueError(f"{path} has metadata that are no mapping: {metadata!r}")
    return tensors, metadata


def write_csv(path: str | Path, rows: Iterable[Mapping[str, Any]]) -> None:
    """Writes rows to a csv file whose header is the first row's keys."""
    rows = list(rows)
    buffer = io.StringIO()
    writer = csv.DictWriter(buffer, list(rows[0]), lineterminator="\n")
    writer.writeheader()
    writer.writerows(rows)
    write_bytes(path, buffer.getvalue().encode())


def read_csv(path: str | Path) -> list[dict[str, str]]:
    """Reads the rows of a csv file with a header."""
    with open(path, newline="") as file:
        return list(csv.DictReader(file))


def write_json(path: str | Path, content: Any) -> None:
    """Writes an indented json file; a NaN is an error, null is the word for "none"."""
    write_bytes(path, (json.dumps(content, indent=2, allow_nan=False) + "\n").encode())


def read_json(path: str | Path) -> Any:
    """Reads a json file."""
    return json.loads(Path(path).read_text())


def read_yaml(path: str | Path) -> Any:
    """Reads a yaml file."""
    return yaml.safe_load(Path(path).read_text())


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
