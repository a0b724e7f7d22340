"""What a kill or a loss of power leaves of DVC's files is mended, and nothing is lost."""

import hashlib
import json
import os
import subprocess
import sys

import pytest
from clones import ROOT

from mend import (
    cache_what_is_made,
    complete,
    delete_temporaries,
    mend_cache,
    mend_experiment,
    mend_git,
    mend_locks,
    mend_rwlocks,
    runs,
    whole_stages,
)

LOCK = (ROOT / "dvc.lock").read_text()
COMMITTED = whole_stages(LOCK)


def cuts():
    """Yields where to cut the lock: at each character of a stage, and at some of all others."""
    start = LOCK.index("  train@vae:")
    end = LOCK.index("\n  ", LOCK.index("outs:", start) + 400)
    yield from range(60)
    yield from range(LOCK.index("    outs:", start) - 60, min(end, start + 9000), 1)
    yield from range(60, len(LOCK), 997)


def test_a_whole_lock_is_left_as_it_is():
    assert complete(LOCK, COMMITTED) == (LOCK, [])
    assert complete(LOCK, {}) == (LOCK, [])


def test_wherever_a_lock_is_cut_it_is_whole_again():
    for cut in cuts():
        mended, added = complete(LOCK[:cut], COMMITTED)
        assert mended == LOCK, f"cut at {cut}: {LOCK[:cut][-80:]!r}"
        assert added == list(COMMITTED)[-len(added) :]


def test_what_is_newer_than_in_git_stays():
    first, _, third, *_ = COMMITTED
    newer = COMMITTED | {first: COMMITTED[first].replace("md5: ", "md5: 0")}
    text = "schema: '2.0'\nstages:\n" + "".join(newer.values())
    assert complete(text, COMMITTED) == (text, [])
    cut = text.index(f"  {third}:") + 100
    assert complete(text[:cut], COMMITTED) == (text, list(COMMITTED)[2:])


def test_what_git_does_not_have_is_left_out():
    _, second, *_ = COMMITTED
    cut = LOCK.index(f"  {second}:")
    whole = LOCK[:cut]
    assert complete(LOCK[: cut + 100], {}) == (whole, [])
    assert complete(whole, {}) == (whole, [])


@pytest.mark.parametrize(
    "foreign", ["schema: '3.0'\nstages:\n", "a: b\n", LOCK + "<<<<<<< HEAD\n"]
)
def test_what_is_not_the_lock_that_dvc_writes_is_left_alone(foreign):
    assert complete(foreign, COMMITTED) == (foreign, [])


def test_pages_that_a_loss_of_power_left_empty_are_filled_again():
    for start in range(0, len(LOCK), 4096):
        page = LOCK[start : start + 4096]
        mended, _ = complete(LOCK.replace(page, "\0" * len(page)), COMMITTED)
        assert mended == LOCK


# ---- In a folder -------------------------------------------------------------------------------


@pytest.fixture
def folder(tmp_path, monkeypatch):
    """A git repository with a lock, and where DVC keeps its own files."""
    monkeypatch.chdir(tmp_path)
    for variable in ("GIT_AUTHOR", "GIT_COMMITTER"):
        monkeypatch.setenv(f"{variable}_NAME", "a")
        monkeypatch.setenv(f"{variable}_EMAIL", "a@localhost")
    (tmp_path / ".dvc/tmp/exps").mkdir(parents=True)
    (tmp_path / "dvc.lock").write_text(LOCK)
    git("init", "-q", "--initial-branch=main")
    git("add", "dvc.lock")
    git("commit", "-qm", "a lock")
    return tmp_path


def git(*arguments):
    return subprocess.run(("git", *arguments), check=True, capture_output=True, text=True).stdout


def test_an_empty_lock_comes_back_from_git(folder):
    (folder / "dvc.lock").write_text("")
    (said,) = mend_locks()
    assert f"dvc.lock was cut short; {len(COMMITTED)} of its stages" in said
    assert (folder / "dvc.lock").read_text() == LOCK
    assert not [*mend_locks()]


def test_the_index_is_newer_than_the_last_commit(folder):
    newer = LOCK.replace("md5: ", "md5: 0", 1)
    (folder / "dvc.lock").write_text(newer)
    git("add", "dvc.lock")
    (folder / "dvc.lock").write_text(newer[:5000])
    assert len([*mend_locks()]) == 1
    assert (folder / "dvc.lock").read_text() == newer


def test_a_cut_lock_in_the_index_is_not_believed(folder):
    (folder / "dvc.lock").write_text(LOCK[:5000])
    git("add", "dvc.lock")
    assert len([*mend_locks()]) == 1
    assert (folder / "dvc.lock").read_text() == LOCK


def test_an_empty_lock_that_git_does_not_have_is_deleted(folder):
    git("rm", "-q", "--cached", "dvc.lock")
    git("commit", "-qm", "none")
    (folder / "dvc.lock").write_text("schema: '2")
    assert len([*mend_locks()]) == 1
    assert not (folder / "dvc.lock").exists()


def rwlock(pid):
    info = {"pid": pid, "cmd": "dvc repro"}
    return json.dumps({"read": {"a": [info]}, "write": {"b": info}})


def ended():
    process = subprocess.Popen([sys.executable, "-c", ""])
    process.wait()
    return process.pid


@pytest.mark.parametrize("path", [".dvc/tmp/rwlock", ".dvc/tmp/exps/rwlock"])
@pytest.mark.parametrize("content", ["", '{"read": {', "[]", '{"read": 3}'])
def test_a_cut_rwlock_is_deleted(folder, path, content):
    (folder / path).write_text(content)
    assert len([*mend_rwlocks()]) == 1
    assert not (folder / path).exists()


def test_a_rwlock_from_before_this_process_had_its_number_is_deleted(folder):
    (folder / ".dvc/tmp/rwlock").write_text(rwlock(os.getpid()))
    os.utime(folder / ".dvc/tmp/rwlock", (1e9, 1e9))
    assert len([*mend_rwlocks()]) == 1


@pytest.mark.parametrize(
    "content", ["{}", '{"read": {}, "write": {}}', rwlock(os.getpid()), rwlock(ended())]
)
def test_a_whole_rwlock_stays(folder, content):
    assert not [*mend_rwlocks()]  # there is none
    (folder / ".dvc/tmp/rwlock").write_text(content)
    assert not [*mend_rwlocks()]
    assert (folder / ".dvc/tmp/rwlock").read_text() == content


@pytest.fixture
def cached(folder):
    """The cached file of an output of the lock."""
    out = folder / "models/vae/history.csv"
    out.parent.mkdir(parents=True)
    out.write_text("step\n1\n")
    name = hashlib.md5(out.read_bytes()).hexdigest()
    text = (
        f"    - path: models/vae/history.csv\n      hash: md5\n      md5: {name}\n      size: 7\n"
    )
    (folder / "dvc.lock").write_text(text)
    cached = folder / ".dvc/cache/files/md5" / name[:2] / name[2:]
    cached.parent.mkdir(parents=True)
    cached.write_bytes(out.read_bytes())
    cached.chmod(0o444)
    return cached


def test_a_whole_cache_is_left_as_it_is(cached):
    assert not [*mend_cache()]
    assert cached.exists()


def test_a_damaged_file_of_the_cache_is_copied_from_the_workspace(cached):
    whole = cached.read_bytes()
    cached.unlink()
    cached.write_bytes(whole[:-2])
    (said,) = mend_cache()
    assert "copied from models/vae/history.csv" in said
    assert cached.read_bytes() == whole


def test_a_damaged_file_of_the_cache_without_another_copy_is_deleted(cached, folder):
    (folder / "models/vae/history.csv").write_text("something else")
    cached.unlink()
    cached.write_bytes(b"")
    (said,) = mend_cache()
    assert "no other copy" in said
    assert not cached.exists()


def test_what_was_made_but_not_cached_is_cached_and_what_it_was_made_of_is_not(cached, folder):
    (folder / "code.py").touch()
    of = "- path: {}\n  hash: md5\n  md5: {}\n  size: 7\n".format
    deps = of("code.py", hashlib.md5(b"").hexdigest())
    name = cached.parent.name + cached.name
    outs = of("models/vae/history.csv", name) + of("models/vae/weights.safetensors", "0" * 32)
    run = folder / ".dvc/cache/runs/ab/abc/def"
    run.parent.mkdir(parents=True)
    run.write_text(f"cmd: a\ndeps:\n{deps}outs:\n{outs}")
    assert not [*cache_what_is_made()]
    whole = cached.read_bytes()
    cached.unlink()
    (said,) = cache_what_is_made()
    assert said == "models/vae/history.csv was made but not yet cached"
    assert cached.read_bytes() == whole
    cached.unlink()
    (folder / "models/vae/history.csv").write_text("changed since")
    assert not [*cache_what_is_made()]


def test_what_was_begun_is_deleted_and_nothing_else(folder):
    begun = [
        folder / path
        for path in (
            "data/.omApOJFkuCvaqP7vtREXWg.tmp",
            "data/.params.checked.4i6dgpsi.part",
            "models/vae/..checkpoint.safetensors.wmm9fkv0.part",
            ".dvc/cache/files/md5/86/.2_KNbjuXCFyWb-uTcdIGRA.tmp",
            ".dvc/cache/runs/ab/abc/.omApOJFkuCvaqP7vtREXWg.tmp",
        )
    ]
    others = [folder / "data" / name for name in (".mine.part", ".mine.tmp", "mine.tmp")]
    for path in (*begun, *others):
        path.parent.mkdir(parents=True, exist_ok=True)
        path.touch()
    said = " ".join(delete_temporaries())
    assert all(str(path.relative_to(folder)) in said for path in begun)
    assert sorted((folder / "data").iterdir()) == sorted(others)
    assert not any(path.exists() for path in begun)


# ---- After an experiment -----------------------------------------------------------------------


def test_git_is_put_back_on_the_branch_that_an_experiment_left(folder):
    assert not [*mend_experiment()]
    git("checkout", "-q", "--detach")
    assert not [*mend_experiment()]  # by the user
    git("update-ref", "refs/exps/exec/EXEC_HEAD", "HEAD")
    (said,) = mend_experiment()
    assert "refs/heads/main" in said
    assert git("symbolic-ref", "HEAD") == "refs/heads/main\n"
    git("checkout", "-q", "--detach")
    git("commit", "-qm", "more", "--allow-empty")
    assert not [*mend_experiment()]


def test_git_is_put_back_from_the_commit_of_an_experiment_and_the_files_stay(folder):
    git("update-ref", "refs/exps/exec/EXEC_HEAD", "HEAD")
    git("checkout", "-q", "--detach")
    (folder / "dvc.lock").write_text(LOCK + "# what came out\n")
    git("add", "dvc.lock")
    git("commit", "-qm", "dvc: commit experiment 0123abcd")
    (said,) = mend_experiment()
    assert "refs/heads/main" in said
    assert git("symbolic-ref", "HEAD") == "refs/heads/main\n"
    assert git("status", "--short", "dvc.lock") == " M dvc.lock\n"
    assert (folder / "dvc.lock").read_text().endswith("# what came out\n")
    git("checkout", "-q", "--detach")
    git("commit", "-qm", "dvc: commit experiment 0123abcd", "--allow-empty")
    git("commit", "-qm", "more", "--allow-empty")  # by the user
    assert not [*mend_experiment()]


@pytest.fixture
def packing(folder):
    """A repository whose experiment was killed while it was packed, after a change of dvc.lock."""
    notes = folder / ".dvc/tmp/exps/rwlock"
    notes.write_text(json.dumps({"write": {"workspace": {"pid": ended(), "cmd": "dvc exp run"}}}))
    (folder / "dvc.lock").write_text(LOCK + "# not committed\n")
    git("stash", "--quiet")
    git("checkout", "-q", "--detach")
    return folder


def test_what_a_killed_experiment_had_put_aside_is_back(packing):
    said = " ".join(mend_experiment())
    assert "is back from git's stash" in said
    assert "refs/heads/main" in said
    assert (packing / "dvc.lock").read_text().endswith("# not committed\n")
    assert not git("stash", "list")
    assert not [*mend_experiment()]


def test_what_was_changed_since_a_killed_experiment_is_left_as_it_is(packing):
    (packing / "dvc.lock").write_text("mine")
    assert "lies in git's stash, too" in " ".join(mend_experiment())
    assert (packing / "dvc.lock").read_text() == "mine"
    assert git("stash", "list")
    assert not [*mend_experiment()]


def test_what_the_user_put_aside_before_stays_there(packing):
    os.utime(packing / ".dvc/tmp/exps/rwlock", (4e9, 4e9))  # an experiment that began later
    assert "stash" not in " ".join(mend_experiment())
    assert git("stash", "list")


def test_the_arguments_that_a_killed_experiment_added_to_git_are_deleted(packing):
    (packing / ".dvc/tmp/repro.dat").touch()
    git("add", "--force", ".dvc/tmp/repro.dat")
    assert ".dvc/tmp/repro.dat of a killed experiment is deleted" in [*mend_experiment()]
    assert not (packing / ".dvc/tmp/repro.dat").exists()
    assert not git("ls-files", ".dvc/tmp")


def test_locks_of_git_are_deleted_unless_git_is_at_work(folder):
    assert not [*mend_git()]
    locks = [folder / ".git" / path for path in ("index.lock", "HEAD.lock", "refs/exps/e/E.lock")]
    locks[2].parent.mkdir(parents=True)
    for lock in locks:
        lock.touch()
    with subprocess.Popen(["git", "cat-file", "--batch"], stdin=subprocess.PIPE):
        assert runs(folder, "git")
        assert not [*mend_git()]
    assert not runs(folder, "git")
    assert len([*mend_git()]) == 3
    assert not any(lock.exists() for lock in locks)
    git("add", "dvc.lock")


@pytest.mark.parametrize("size", [0, 4, 100])
def test_a_cut_index_of_git_is_made_anew_and_the_files_stay(folder, size):
    index = folder / ".git/index"
    (folder / "dvc.lock").write_text("mine")
    index.write_bytes(index.read_bytes()[:size])
    (said,) = mend_git()
    assert ".git/index was cut short" in said
    assert git("status", "--short", "dvc.lock") == " M dvc.lock\n"
    assert (folder / "dvc.lock").read_text() == "mine"
    assert not [*mend_git()]
