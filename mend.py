"""Mends what a kill or a loss of power leaves of DVC's own files; `make repro` runs it first.

DVC writes dvc.lock and its rwlocks in place and syncs nothing to the disk. A cut lock stops it or,
where what is left happens to be readable, lets it forget the stages that are missing. It takes
what is in its cache for whole. And killed in an experiment it leaves git on no branch, or locked.
"""

import fcntl
import hashlib
import json
import re
import subprocess
from argparse import ArgumentParser
from collections.abc import Iterable, Iterator
from pathlib import Path

import psutil  # type: ignore[import-untyped]
import yaml

from symmetry.artifacts import write_bytes

HEAD = "schema: '2.0'\nstages:\n"  # of a lock, before its stages
STAGE = re.compile(r"^(?=  [^ \0])", re.MULTILINE)
LOADER = getattr(yaml, "CSafeLoader", yaml.SafeLoader)  # the other takes seconds
LOCKS = "dvc.lock", "*/dvc.lock", "*/*/dvc.lock"
CACHE, RUNS = Path(".dvc/cache/files/md5"), Path(".dvc/cache/runs")
GUARD, EXPERIMENTS = Path(".dvc/tmp/lock"), Path(".dvc/tmp/exps")
RWLOCKS = Path(".dvc/tmp/rwlock"), EXPERIMENTS / "rwlock"
FILE = re.compile(r"- path: (.+)\n +hash: md5\n +md5: ([0-9a-f]{32})\n")
TEMPORARY = re.compile(r"\.[\w-]{22}\.tmp|\..+\.\w{8}\.part")  # of DVC, and of a stage
PACKED = ".dvc/tmp/repro.dat"  # the arguments of an experiment, which DVC adds to git for a while
RUNNING = "refs/exps/exec/EXEC_HEAD"  # of git, while an experiment runs in the workspace


def main() -> None:
    ArgumentParser(description=__doc__).parse_args()
    GUARD.parent.mkdir(exist_ok=True)
    with open(GUARD, "a") as guard:
        try:
            # DVC holds it whenever it writes. The system frees it when a process dies, so that
            # the file alone never bars anyone.
            fcntl.flock(guard, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except BlockingIOError:
            print("another DVC is at work: nothing is looked at for damage")
            return
        say(mend_rwlocks())
        if is_another_at_work():
            print("another DVC is at work: nothing is looked at for damage")
            return
        say(mend_git())
        say(mend_experiment())
        say(mend_locks())
        say(delete_temporaries())
        say(cache_what_is_made())
    say(mend_cache())  # which asks DVC


def say(mended: Iterable[str]) -> None:
    for said in mended:
        print(f"mended: {said}", flush=True)


def is_another_at_work() -> bool:
    # DVC frees the lock while a stage runs, and a queued experiment has one of its own.
    noted = any(is_noted(pid, path) for path in RWLOCKS for pid in holders(path))
    return noted or runs(EXPERIMENTS)


def mend_rwlocks() -> Iterator[str]:
    """Deletes DVC's note of who reads and writes what, if it is cut or takes others for them."""
    for path in RWLOCKS:
        try:
            noted = holders(path)
        except (ValueError, AttributeError, TypeError, LookupError):
            path.unlink()
            yield f"{path} was cut short and is deleted"
            continue
        # Those that have ended DVC strikes out itself.
        if any(map(psutil.pid_exists, noted)) and not any(is_noted(pid, path) for pid in noted):
            path.unlink()
            yield f"{path} named processes whose numbers others have by now and is deleted"


def holders(path: Path) -> set[int]:
    """Returns the processes that DVC has noted to read or write something."""
    if not path.exists():
        return set()
    noted = json.loads(path.read_bytes())
    readers = [reader for readers in noted.get("read", {}).values() for reader in readers]
    return {holder["pid"] for holder in (*readers, *noted.get("write", {}).values())}


def is_noted(pid: int, path: Path) -> bool:
    # One that began after the note has the number of another that has ended.
    try:
        return bool(psutil.Process(pid).create_time() <= path.stat().st_mtime)
    except psutil.Error:
        return False


def runs(folder: Path, name: str = "") -> bool:
    """Tells whether a process, if need be of some name, runs in a folder."""
    found = psutil.process_iter(["cwd", "name"])
    return any(
        process.info["cwd"]
        and Path(process.info["cwd"]).is_relative_to(folder.resolve())
        and name in (process.info["name"], "")
        for process in found
    )


def mend_git() -> Iterator[str]:
    """Deletes the locks of git that a killed process has left, and makes a cut index anew."""
    folder = git("rev-parse", "--git-dir").strip()
    if not folder or runs(Path(), "git"):
        return
    for lock in sorted([*Path(folder).glob("*.lock"), *Path(folder, "refs").rglob("*.lock")]):
        lock.unlink()
        yield f"{lock} barred git and is deleted"
    # Broken off, DVC's own git names a half-written index as if it were whole.
    index = Path(folder, "index")
    if index.exists() and not is_whole(index):
        index.unlink()
        git("read-tree", "HEAD")
        yield f"{index} was cut short and is that of the last commit; nothing is staged any more"


def is_whole(index: Path) -> bool:
    # Git ends it with the hash of the rest, or with zeros if told so, and does not look itself.
    content = index.read_bytes()
    return any(
        content[-len(digest) :] in (digest, bytes(len(digest)))
        for digest in (
            hashlib.sha1(content[:-20], usedforsecurity=False).digest(),
            hashlib.sha256(content[:-32]).digest(),
        )
    )


def mend_experiment() -> Iterator[str]:
    """Gives back the branch and the changes that ``dvc exp run`` takes from git for a while."""
    notes = RWLOCKS[1]
    is_packing = notes.exists() and "workspace" in json.loads(notes.read_bytes()).get("write", {})
    if not is_packing and not git("rev-parse", "--verify", RUNNING):
        return
    if git("ls-files", PACKED):
        git("rm", "--quiet", "--force", PACKED)
        yield f"{PACKED} of a killed experiment is deleted"
    # DVC leaves the branch, commits beside it what has come out, and goes back.
    moves = git("log", "-g", "-2", "--format=%gs").splitlines()
    is_committed = bool(moves) and moves[0].startswith("commit: dvc: commit experiment")
    moved = re.match(r"checkout: moving from (\S+) to ", "".join(moves[is_committed:][:1]))
    branch = f"refs/heads/{moved[1]}" if moved else ""
    is_detached = branch and not git("symbolic-ref", "--quiet", "HEAD")
    # Nothing else has moved since.
    left = git("rev-parse", "--verify", "HEAD~1" if is_committed else "HEAD")
    if is_detached and left and git("rev-parse", "--verify", branch) == left:
        git("symbolic-ref", "HEAD", branch)
        if is_committed:
            # Of the index alone: the files stay as the experiment left them.
            git("reset", "--quiet")
        yield f"git was left on no branch by a killed experiment and is on {branch} again"
    if not is_packing:
        return
    if int(git("log", "-1", "--format=%ct", "refs/stash") or 0) >= int(notes.stat().st_mtime):
        if git("status", "--porcelain", "--untracked-files=no"):
            yield "what was not committed before a killed experiment lies in git's stash, too"
        else:
            git("stash", "pop", "--quiet", "--index")
            yield "what was not committed before a killed experiment is back from git's stash"
    notes.unlink()


def git(*arguments: str) -> str:
    """Returns what git prints, or nothing where it fails or there is none."""
    try:
        shown = subprocess.run(("git", *arguments), capture_output=True, text=True)
    except FileNotFoundError:
        return ""
    return "" if shown.returncode else shown.stdout


def mend_locks() -> Iterator[str]:
    """Completes each lock that is cut from git's index, where DVC puts it after each run."""
    for path in locks():
        text = path.read_text(errors="replace")
        mended, added = complete(text, in_git(path))
        if mended == text:
            continue
        if mended == HEAD:
            path.unlink()  # of a lock without stages DVC says that it is invalid
        else:
            write_bytes(path, mended.encode())
        yield f"{path} was cut short; {len(added)} of its stages are again as git has them"


def locks() -> list[Path]:
    return sorted(path for pattern in LOCKS for path in Path().glob(pattern))


def files(lock: Path) -> list[tuple[str, str]]:
    """Returns the path and the MD5 of each file that a lock names."""
    return FILE.findall(lock.read_text(errors="replace"))


def complete(text: str, committed: dict[str, str]) -> tuple[str, list[str]]:
    """Returns a lock without what is cut and with what git has of it, and the names of the latter.

    Nothing is taken for current that is not: DVC compares each hash that stands in a lock.
    """
    head = text[: len(HEAD)].rstrip("\0")  # which a loss of power leaves
    if not HEAD.startswith(head) or "<<<<<<<" in text:
        return text, []  # not DVC's, or amid a merge
    stages, added = whole_stages(text), []
    for name, block in list(stages.items())[-1:]:
        if block != committed.get(name, block) and committed[name].startswith(block):
            del stages[name]  # cut between two outputs
    is_cut = HEAD + "".join(stages.values()) != text
    if is_cut or list(stages) == list(committed)[: len(stages)]:  # cut between two stages
        added = [name for name in committed if name not in stages]
        stages = committed | stages
    return HEAD + "".join(stages.values()), added


def whole_stages(text: str) -> dict[str, str]:
    """Returns the text of each whole stage of a lock by its name."""
    stages = {}
    *others, last = STAGE.split(text.removeprefix(HEAD))
    for block in (*others, last):
        try:
            ((name, entry),) = yaml.load(block, LOADER).items()
            files = [*entry["deps"], *entry["outs"]] if block is last else []
        except (yaml.YAMLError, AttributeError, LookupError, TypeError, ValueError):
            continue
        # DVC ends each file with its size, and does not miss it.
        if block.endswith("\n") and "\0" not in block and all("size" in file for file in files):
            stages[name] = block
    return stages


def in_git(path: Path) -> dict[str, str]:
    """Returns the stages of a lock as it stands in git's index or, if that is cut, in HEAD."""
    for where in ("", "HEAD"):
        shown = git("show", f"{where}:./{path}")
        stages = whole_stages(shown)
        if stages and HEAD + "".join(stages.values()) == shown:
            return stages
    return {}


def delete_temporaries() -> Iterator[str]:
    """Deletes what DVC or a stage had begun to write; some of it lies where git would add it."""
    written = {lock.parent / path for lock in locks() for path, _ in files(lock)}
    folders = {path.parent for path in written} | {*CACHE.glob("??"), *RUNS.glob("??/*")}
    for path in sorted(path for folder in folders for path in folder.glob(".*")):
        if TEMPORARY.fullmatch(path.name):
            path.unlink()
            yield f"{path}, which was begun, is deleted"


def mend_cache() -> Iterator[str]:
    """Replaces each damaged file of DVC's cache by another copy, or deletes it for want of one."""
    for cached in sorted(CACHE.glob("??/" + "[0-9a-f]" * 30)):
        name = cached.parent.name + cached.name
        if md5(cached) == name:
            continue
        cached.unlink()
        outs = {(lock, path) for lock in locks() for path, of in files(lock) if of == name}
        if copy := next(filter(None, (find(path, name) for _, path in outs)), None):
            write_bytes(cached, copy.read_bytes())
            yield f"{cached} was damaged and is copied from {copy}"
            continue
        if outs:
            fetch = ["dvc", "fetch", "--quiet", *(str(lock.parent / path) for lock, path in outs)]
            subprocess.run(fetch, stderr=subprocess.DEVNULL)
        how = "fetched from the remote" if cached.exists() else "deleted: there is no other copy"
        yield f"{cached} was damaged and is {how}"


def cache_what_is_made() -> Iterator[str]:
    """Caches what DVC was killed before caching: it would delete that and run the stage again."""
    for run in sorted(RUNS.glob("??/*/*")):  # DVC notes a run before it caches the outputs
        for path, name in FILE.findall(run.read_text(errors="replace").partition("\nouts:")[2]):
            cached = CACHE / name[:2] / name[2:]
            if not cached.exists() and (copy := find(path, name)):
                write_bytes(cached, copy.read_bytes())
                yield f"{copy} was made but not yet cached"


def find(path: str, name: str) -> Path | None:
    """Returns where in the workspace the file is, if it still is the one of that MD5."""
    copies = [folder / path for folder in (Path(), *(lock.parent for lock in locks()))]
    return next((copy for copy in copies if copy.is_file() and md5(copy) == name), None)


def md5(path: Path) -> str:
    with open(path, "rb") as content:
        return hashlib.file_digest(content, "md5").hexdigest()


if __name__ == "__main__":
    try:
        main()
    except OSError as error:
        raise SystemExit(f"error: {error}") from error
