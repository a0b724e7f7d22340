"""Files come back as they were written, whole or not at all."""

import json
import os
import re
import stat
import subprocess
import sys
from pathlib import Path

import numpy as np
import pytest
from numpy.random import default_rng

from symmetry import artifacts
from symmetry.artifacts import (
    TakenOverError,
    claim,
    read_arrays,
    read_csv,
    read_dataset,
    read_json,
    read_tensors,
    read_yaml,
    write_arrays,
    write_bytes,
    write_csv,
    write_dataset,
    write_json,
    write_tensors,
)
from symmetry.data import Columns, Dataset, Units
from symmetry.tasks.spiral import spiral

ARRAYS = {
    "ints": np.arange(6).reshape(2, 3),
    "halves": default_rng(0).standard_normal((3, 2)).astype(np.float32),
    "turned": np.asfortranarray(default_rng(1).standard_normal((4, 3))),
    "every_other": default_rng(2).standard_normal(10)[::2],
    "scalar": np.array(1.5),
    "empty": np.zeros((0, 2)),
}


def assert_same(found, expected):
    assert set(found) == set(expected)
    for name, array in expected.items():
        assert found[name].dtype == array.dtype
        assert found[name].shape == array.shape
        assert found[name].tobytes() == array.tobytes()


# ---- Round trips -------------------------------------------------------------------------------


def test_arrays_come_back(tmp_path):
    write_arrays(tmp_path / "a.npz", ARRAYS)
    assert_same(read_arrays(tmp_path / "a.npz"), ARRAYS)


def test_tensors_come_back_with_their_metadata(tmp_path):
    metadata = {"model": "stib", "note": 'σ and "quotes"'}
    write_tensors(tmp_path / "a.safetensors", ARRAYS, metadata)
    tensors, found = read_tensors(tmp_path / "a.safetensors")
    assert_same(tensors, ARRAYS)
    assert found == metadata
    write_tensors(tmp_path / "a.safetensors", ARRAYS, {})
    assert read_tensors(tmp_path / "a.safetensors")[1] == {}


@pytest.mark.parametrize("has_t", [True, False])
def test_a_data_set_comes_back(tmp_path, has_t):
    drawn = spiral(20, default_rng(0))
    dataset = drawn if has_t else Dataset(drawn.x, drawn.y)
    write_dataset(tmp_path / "d.npz", dataset)
    found = read_dataset(tmp_path / "d.npz")
    np.testing.assert_array_equal(found.x, dataset.x)
    np.testing.assert_array_equal(found.y, dataset.y)
    assert (found.t is None) != has_t
    if has_t:
        np.testing.assert_array_equal(found.t, dataset.t)


def test_rows_come_back_as_text(tmp_path):
    write_csv(tmp_path / "a.csv", [{"step": 1, "σ, note": 'a,"b"'}, {"step": 2, "σ, note": ""}])
    assert read_csv(tmp_path / "a.csv") == [
        {"step": "1", "σ, note": 'a,"b"'},
        {"step": "2", "σ, note": ""},
    ]
    assert b"\r" not in (tmp_path / "a.csv").read_bytes()


def test_rows_may_come_from_a_generator_and_must_share_their_keys(tmp_path):
    write_csv(tmp_path / "a.csv", ({"n": n} for n in range(3)))
    assert (tmp_path / "a.csv").read_text() == "n\n0\n1\n2\n"
    with pytest.raises(ValueError, match="other"):
        write_csv(tmp_path / "a.csv", [{"n": 1}, {"other": 2}])
    assert (tmp_path / "a.csv").read_text() == "n\n0\n1\n2\n"


def test_json_comes_back_and_ends_with_a_newline(tmp_path):
    content = {"x_mae": 0.03, "y_mae": None, "names": ["a", "σ"], "deep": {"n": 1}}
    write_json(tmp_path / "a.json", content)
    assert read_json(tmp_path / "a.json") == content
    text = (tmp_path / "a.json").read_text()
    assert text.endswith("}\n")
    assert '"y_mae": null' in text
    assert list(json.loads(text)) == list(content)


@pytest.mark.parametrize("number", [float("nan"), float("inf"), -float("inf")])
def test_json_without_a_word_for_the_number_is_refused_and_the_old_file_stays(tmp_path, number):
    write_json(tmp_path / "a.json", {"old": 1})
    with pytest.raises(ValueError, match="not JSON compliant"):
        write_json(tmp_path / "a.json", {"deep": [number]})
    assert read_json(tmp_path / "a.json") == {"old": 1}
    assert os.listdir(tmp_path) == ["a.json"]


def test_yaml_is_read_without_running_anything(tmp_path):
    (tmp_path / "a.yaml").write_text("a: 1\nb: [2.5, null]\n")
    assert read_yaml(tmp_path / "a.yaml") == {"a": 1, "b": [2.5, None]}
    (tmp_path / "a.yaml").write_text(
        f"!!python/object/apply:os.mkdir [{str(tmp_path / 'made')!r}]"
    )
    with pytest.raises(Exception, match="could not determine a constructor"):
        read_yaml(tmp_path / "a.yaml")
    assert not (tmp_path / "made").exists()


def test_the_same_content_makes_the_same_bytes(tmp_path):
    # DVC compares files by their bytes, and safetensors writes metadata in an order of chance.
    metadata = {"model": "stib", "sizes": "{}", "weights": "{}", "seed": "0"}
    for number in range(8):
        write_arrays(tmp_path / f"{number}.npz", dict(ARRAYS))
        write_tensors(tmp_path / f"{number}.safetensors", dict(ARRAYS), dict(metadata))
    for kind in ("npz", "safetensors"):
        assert len({path.read_bytes() for path in tmp_path.glob(f"*.{kind}")}) == 1, kind


def test_files_can_be_read_by_all_and_their_folder_is_made(tmp_path):
    path = tmp_path / "new" / "folder" / "a"
    write_bytes(path, b"content")
    assert path.read_bytes() == b"content"
    assert stat.S_IMODE(path.stat().st_mode) == 0o644


def test_all_readers_and_writers_are_public():
    ours = {name for name in vars(artifacts) if name.startswith(("read_", "write_"))}
    assert ours <= set(artifacts.__all__)


# ---- Whole or not at all -----------------------------------------------------------------------


@pytest.mark.parametrize("fails", ["fdopen", "chmod", "replace"])
@pytest.mark.parametrize("error", [OSError("disk full"), KeyboardInterrupt()], ids=repr)
def test_a_failure_midway_leaves_the_old_file_and_no_other(tmp_path, monkeypatch, fails, error):
    path = tmp_path / "a.txt"
    write_bytes(path, b"old")
    handles = []

    def fail(*arguments):
        handles.extend(argument for argument in arguments if isinstance(argument, int))
        raise error

    monkeypatch.setattr(artifacts.os, fails, fail)
    with pytest.raises(type(error)):
        write_bytes(path, b"new")
    monkeypatch.undo()
    if fails == "fdopen":
        os.close(handles[0])
    assert path.read_bytes() == b"old"
    assert os.listdir(tmp_path) == ["a.txt"]


def test_content_is_complete_before_it_bears_the_name(tmp_path, monkeypatch):
    path = tmp_path / "a.txt"
    write_bytes(path, b"old")
    replace, seen = os.replace, []

    def watch(source, target):
        seen.append((path.read_bytes(), Path(source).read_bytes()))
        replace(source, target)

    monkeypatch.setattr(artifacts.os, "replace", watch)
    write_bytes(path, b"new content")
    assert seen == [(b"old", b"new content")]
    assert path.read_bytes() == b"new content"


def test_a_folder_of_that_name_is_not_replaced_and_nothing_is_left(tmp_path):
    (tmp_path / "a").mkdir()
    with pytest.raises(OSError, match="directory"):
        write_bytes(tmp_path / "a", b"content")
    assert os.listdir(tmp_path) == ["a"]
    assert (tmp_path / "a").is_dir()


# ---- What is refused ---------------------------------------------------------------------------


class Evil:
    """Makes a folder when it is unpickled."""

    def __init__(self, path):
        self.path = path

    def __reduce__(self):
        return os.mkdir, (str(self.path),)


def test_pickled_objects_are_neither_written_nor_read(tmp_path):
    objects = np.array([Evil(tmp_path / "made")], dtype=object)
    with pytest.raises(ValueError, match="allow_pickle=False"):
        write_arrays(tmp_path / "a.npz", {"x": objects})
    assert os.listdir(tmp_path) == []
    np.savez(tmp_path / "evil.npz", x=objects, allow_pickle=True)
    for read in (read_arrays, read_dataset):
        with pytest.raises(ValueError, match="allow_pickle=False"):
            read(tmp_path / "evil.npz")
    assert not (tmp_path / "made").exists()


@pytest.mark.parametrize(
    ("names", "message"),
    [("x", "lacks y; it has x"), ("yt", "lacks x; it has y, t"), ("t", "lacks x and y; it has t")],
)
def test_arrays_that_a_data_set_lacks_are_named_with_the_file(tmp_path, names, message):
    path = tmp_path / "d.npz"
    write_arrays(path, {name: np.zeros((3, 2)) for name in names})
    with pytest.raises(ValueError, match=rf"d\.npz {message}"):
        read_dataset(path)
    write_arrays(path, {})
    with pytest.raises(ValueError, match=r"d\.npz lacks x and y; it has nothing"):
        read_dataset(path)


def test_a_wrong_array_of_a_data_set_is_named_with_the_file(tmp_path):
    path = tmp_path / "d.npz"
    write_arrays(path, {"x": np.zeros((3, 2)), "y": np.full((3, 2), np.nan)})
    with pytest.raises(ValueError, match=r"d\.npz: y has 6 values that are not finite"):
        read_dataset(path)
    write_arrays(path, {"x": np.zeros((3, 2)), "y": np.zeros((2, 2))})
    with pytest.raises(ValueError, match=r"d\.npz: y has shape \(2, 2\)"):
        read_dataset(path)


@pytest.mark.parametrize("content", [b"", b"no such file format", b"\xff" * 100])
def test_what_is_no_safetensors_file_is_refused_with_its_path(tmp_path, content):
    path = tmp_path / "w.safetensors"
    path.write_bytes(content)
    with pytest.raises(ValueError, match=r"w\.safetensors is not a safetensors file"):
        read_tensors(path)


def test_a_file_that_is_not_there_is_named(tmp_path):
    for read in (read_arrays, read_dataset, read_tensors, read_csv, read_json, read_yaml):
        with pytest.raises(FileNotFoundError, match="absent"):
            read(tmp_path / "absent")


# ---- Claims ------------------------------------------------------------------------------------


def test_a_claim_holds_until_a_later_one_takes_it_over(tmp_path):
    folder = tmp_path / "models" / "stib"
    with claim(folder) as check_first:
        check_first()
        with claim(folder) as check_second:
            check_second()
            with pytest.raises(TakenOverError, match="stib"):
                check_first()
            check_second()
        with pytest.raises(TakenOverError, match="stib"):
            check_first()


def test_a_claim_that_ends_leaves_nothing_behind_even_when_it_fails(tmp_path):
    with claim(tmp_path) as check:
        check()
    assert os.listdir(tmp_path) == []
    with pytest.raises(ZeroDivisionError), claim(tmp_path):
        raise ZeroDivisionError
    assert os.listdir(tmp_path) == []


def test_an_earlier_claim_that_ends_leaves_the_later_one_in_place(tmp_path):
    earlier, later = claim(tmp_path), claim(tmp_path)
    check_earlier = earlier.__enter__()
    check_later = later.__enter__()
    with pytest.raises(TakenOverError):
        check_earlier()
    earlier.__exit__(None, None, None)
    check_later()
    later.__exit__(None, None, None)
    assert os.listdir(tmp_path) == []


def test_a_claim_is_lost_with_its_folder(tmp_path):
    folder = tmp_path / "stib"
    with claim(folder) as check:
        for file in folder.iterdir():
            file.unlink()
        folder.rmdir()
        with pytest.raises(TakenOverError, match="stib"):
            check()


def test_a_claim_is_lost_when_another_hand_changes_a_file_of_the_folder(tmp_path):
    # as DVC does, which restores files from its cache and claims nothing
    def replace():
        write_bytes(tmp_path / "weights", b"restored")

    def add():
        write_bytes(tmp_path / "history.csv", b"step")

    def remove():
        os.unlink(tmp_path / "weights")

    for change in (replace, add, remove):
        write_bytes(tmp_path / "weights", b"old")
        with claim(tmp_path) as check:
            check()
            change()
            with pytest.raises(TakenOverError, match=re.escape(str(tmp_path))):
                check()


def test_claims_of_different_folders_do_not_meet(tmp_path):
    with claim(tmp_path / "vae") as check_vae, claim(tmp_path / "stib") as check_stib:
        check_vae()
        check_stib()


@pytest.mark.parametrize("keep", [0, 1, 30, -1, -40])
def test_a_damaged_npz_is_refused_with_its_path(tmp_path, keep):
    path = tmp_path / "d.npz"
    write_arrays(path, {"x": np.arange(50.0)})
    path.write_bytes(path.read_bytes()[:keep])
    with pytest.raises(ValueError, match=r"d\.npz is not a whole npz file"):
        read_arrays(path)


# ---- Large data sets ---------------------------------------------------------------------------

UNITS = Units(Columns(("a", "größe"), (0.1, 1e9), (1 / 3, 2.0)), Columns(("c",), (0.0,), (1.0,)))


def test_units_come_back_with_their_data_set(tmp_path):
    rows = default_rng(0).standard_normal((10, 3))
    write_dataset(tmp_path / "d.npz", Dataset(rows[:, :2], rows[:, 2:], units=UNITS))
    found = read_dataset(tmp_path / "d.npz")
    assert found.units == UNITS
    np.testing.assert_array_equal(found.x, rows[:, :2])
    np.testing.assert_array_equal(found.y, rows[:, 2:])


def test_a_data_set_is_mapped_from_its_file_and_nobody_can_change_it_there(tmp_path):
    rows = default_rng(0).standard_normal((10, 3))
    write_dataset(tmp_path / "d.npz", Dataset(rows, np.asfortranarray(rows)))
    content = (tmp_path / "d.npz").read_bytes()
    found = read_dataset(tmp_path / "d.npz")
    for array in (found.x, found.y):
        assert isinstance(array, np.memmap)
        np.testing.assert_array_equal(array, rows)
        array[:] = 0
    assert (tmp_path / "d.npz").read_bytes() == content


def test_a_compressed_data_set_is_read_too(tmp_path):
    rows = default_rng(0).standard_normal((10, 3))
    np.savez_compressed(tmp_path / "d.npz", x=rows, y=rows)
    np.testing.assert_array_equal(read_dataset(tmp_path / "d.npz").y, rows)


MEASURED = """
import resource, sys, torch
from symmetry.artifacts import read_dataset
from symmetry.models import MODELS, Sizes
from symmetry.training import cosine, train
model = MODELS["stib_wo_reg"](Sizes(1, 18, 2, hidden=4), {"kl": 1.0, "x": 1.0, "y": 1.0})
validation = read_dataset("small.npz")
def fit(data):
    train(model, data, validation, seeds=[0], bias_scale=0, steps=[2], batch_size=8,
          learning_rates={"model": cosine(1e-3, 0)}, scheduled_weight=lambda done: 1,
          validate_every=2)
fit(validation)  # what Python and PyTorch themselves take
before = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss
fit(read_dataset("large.npz"))
print(resource.getrusage(resource.RUSAGE_SELF).ru_maxrss - before)
"""


def test_training_on_many_rows_takes_at_most_twice_their_memory(tmp_path):
    # Linear in the rows: 10⁷ of 20 columns take ten times as much.
    rows = default_rng(0).standard_normal((1_000_000, 20))
    write_dataset(tmp_path / "large.npz", Dataset(rows[:, :18], rows[:, 18:]))
    write_dataset(tmp_path / "small.npz", Dataset(rows[:500, :18], rows[:500, 18:]))
    environment = {**os.environ, "PYTHONPATH": str(Path(__file__).parents[1])}
    # A process starts with the peak of the one that forked it, but not of one that a shell forks.
    command = ["sh", "-c", '"$0" -c "$1"; true', sys.executable, MEASURED]
    process = subprocess.run(
        command, cwd=tmp_path, env=environment, capture_output=True, text=True, check=True
    )
    unit = 1 if sys.platform == "darwin" else 1024
    taken = int(process.stdout) * unit
    assert 0.4 * rows.nbytes < taken < 2 * rows.nbytes, process.stderr
