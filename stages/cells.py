"""Runs independent cells, settings in and rows out, at once on this machine or on a cluster.

joblib's processes do it here, Ray on a cluster. The driver alone writes: one csv, whole at any
moment, to which the rows of each cell come as it finishes, under the digest of all that they
depend on. What stands there under its digest is not run again.
"""

__all__ = [
    "Cell",
    "Fault",
    "Rows",
    "Settings",
    "add_arguments",
    "engine_of",
    "finish",
    "on_a_cluster",
    "on_this_machine",
    "run",
]

import json
import os
import sys
from argparse import ArgumentParser, Namespace
from collections import deque
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import contextmanager, suppress
from dataclasses import dataclass
from fcntl import LOCK_EX, LOCK_NB, flock
from functools import cache, partial
from importlib.metadata import packages_distributions, version
from inspect import getfile
from modulefinder import ModuleFinder
from pathlib import Path
from threading import Thread
from time import sleep
from typing import Any

from joblib import Parallel, delayed, parallel_config
from joblib.externals.loky.process_executor import TerminatedWorkerError
from threadpoolctl import threadpool_limits
from tqdm import tqdm

from symmetry.artifacts import digest, read_csv, write_csv

Settings = Mapping[str, Any]
Rows = list[dict[str, Any]]

ROOT = Path(__file__).parents[1]
DIGEST = "digest"  # the first column of the csv
DIGITS = 16  # of the digest: enough to tell any two cells apart
LOST = "lost its worker twice: it was killed, or ran out of memory"


@dataclass(frozen=True)
class Cell:
    """Holds one piece of work that needs no other.

    Arguments:
        name: What it is called in messages.
        work: A function of a module, from the settings to rows that all have the same columns.
        settings: All that it depends on besides its code, in the types of json.
        modules: Modules that the work imports by names in the settings.
        gpus: How many GPUs it asks of a cluster.
    """

    name: str
    work: Callable[[Settings], Rows]
    settings: Settings
    modules: tuple[str, ...] = ()
    gpus: int = 0

    @property
    def digest(self) -> str:
        """The digest of its code, the packages that this imports, and its settings."""
        settings = json.dumps(self.settings, sort_keys=True)
        module = self.work.__module__
        if module == "__main__" and (spec := sys.modules[module].__spec__):  # by `python -m`
            module = spec.name
        place = Path(getfile(self.work)).parents[module.count(".")]
        code = _code(place, module, *self.modules)
        return digest([], [code, self.work.__qualname__, settings])[:DIGITS]


@dataclass(frozen=True)
class Fault:
    """Says why a cell has no rows."""

    reason: str


Outcome = tuple[str, Rows | Fault]
Engine = Callable[[Sequence[Cell]], Iterator[Outcome]]


def add_arguments(parser: ArgumentParser, engines: Sequence[str] = ("joblib", "ray")) -> None:
    """Adds what :func:`engine_of` reads, with the engines that can do it."""
    parser.add_argument("--jobs", type=int, default=1, help="cells at once on this machine [1]")
    parser.add_argument("--threads", type=int, default=1, help="threads of each cell [1]")
    if len(engines) == 1:
        parser.set_defaults(engine=engines[0])
        return
    parser.add_argument(
        "--engine",
        choices=engines,
        default="joblib",
        help="ray: on the cluster that RAY_ADDRESS names, or a new one on this machine [joblib]",
    )


def engine_of(arguments: Namespace) -> Engine:
    """Chooses the engine that the arguments name.

    Raises:
        ValueError: If a number is below 1, or Ray is asked for and is not installed.
    """
    for name in ("jobs", "threads"):
        if getattr(arguments, name) < 1:
            raise ValueError(f"--{name} is {getattr(arguments, name)}; allowed: 1 or more")
    if arguments.engine == "joblib":
        return partial(on_this_machine, jobs=arguments.jobs, threads=arguments.threads)
    try:
        import ray  # noqa: F401
    except ModuleNotFoundError:
        raise ValueError(
            "--engine ray needs the package ray, which is not installed; "
            "pip install '.[cluster]', or leave --engine out"
        ) from None
    return partial(on_a_cluster, threads=arguments.threads)


def run(
    cells: Sequence[Cell], path: str | Path, engine: Engine, chosen: Sequence[Cell] | None = None
) -> dict[str, str]:
    """Runs the cells whose rows are not in the file yet, and writes them there as they finish.

    The rows stand in the order of the cells, whichever finished first; those of cells that are no
    longer listed, or whose code, packages or settings have changed, are left out.

    Arguments:
        cells: All cells whose rows the file may hold.
        path: The csv to write; its first column is the digest of the row's cell.
        engine: What runs them; see :func:`engine_of`.
        chosen: Those to run; all by default.

    Returns:
        Why cells failed, by their names; they run anew the next time.

    Raises:
        ValueError: If two cells have one name or do the same, the file is not one of cells, or
            another run writes it.
    """
    path = Path(path)
    digests = {cell.name: cell.digest for cell in cells}
    if len(digests) < len(cells) or len({*digests.values()}) < len(cells):
        names = [cell.name for cell in cells]
        raise ValueError(f"of the cells {', '.join(names)} some have one name or one content")
    with _alone(path):
        done = _read(path, {value: name for name, value in digests.items()})
        wanted = cells if chosen is None else chosen
        waiting = [cell for cell in wanted if cell.name not in done]
        faults = {}
        bar = tqdm(
            total=len(wanted),
            initial=len(wanted) - len(waiting),
            unit="cell",
            mininterval=0.1 if sys.stderr.isatty() else 10,
        )

        def write() -> None:
            order = [name for name in digests if name in done]
            rows = [{DIGEST: digests[name], **row} for name in order for row in done[name]]
            if rows:
                write_csv(path, rows)

        with bar:
            for name, found in engine(waiting):
                if isinstance(found, Fault):
                    faults[name] = found.reason
                    bar.write(f"{name} failed: {found.reason}", file=sys.stderr)
                else:
                    done[name] = found
                    write()
                bar.update()
        write()  # what is stale goes, even if nothing was to be run
    return faults


def finish(faults: Mapping[str, str]) -> None:
    """Ends the stage with an error where cells have failed."""
    if faults:
        raise SystemExit(f"error: {len(faults)} cells failed: {', '.join(faults)}")


def _read(path: Path, names: Mapping[str, str]) -> dict[str, Rows]:
    # The rows of each cell whose digest is known, as text, which is written back as it was.
    if not path.exists():
        return {}
    done: dict[str, Rows] = {}
    for row in read_csv(path):
        if DIGEST not in row:
            raise ValueError(
                f"{path} holds no cells: it has no column {DIGEST}; move it away to run them anew"
            )
        name = names.get(row.pop(DIGEST))
        if name is not None:
            done.setdefault(name, []).append(row)
    return done


@contextmanager
def _alone(path: Path) -> Iterator[None]:
    # The system lets go of the lock of a process that is killed.
    path.parent.mkdir(parents=True, exist_ok=True)
    with open(path.with_name(f".{path.name}.lock"), "w") as lock:
        try:
            flock(lock, LOCK_EX | LOCK_NB)
        except BlockingIOError:
            raise ValueError(f"another run writes {path}; wait until it has ended") from None
        yield


@cache
def _code(place: Path, *modules: str) -> str:
    # All modules below this folder that these import, and the versions of the packages.
    finder = ModuleFinder([str(place)])
    for module in modules:
        finder.import_hook(module)
    files = sorted(
        Path(found.__file__)  # type: ignore[attr-defined]
        for found in finder.modules.values()
        if found.__file__  # type: ignore[attr-defined]
    )
    homes = packages_distributions()
    # This package itself is told by its files, whether it is installed or not.
    own = {name.partition(".")[0] for name in finder.modules}
    used = ({name.partition(".")[0] for name in finder.badmodules} - own) & homes.keys()
    packages = sorted({home for name in used for home in homes[name]})
    return digest(files, [*modules, *(f"{package} {version(package)}" for package in packages)])


def _outcome(cell: Cell, threads: int) -> Outcome:
    # In the worker. Whatever a cell raises is its own fault and no one else's.
    with threadpool_limits(threads):
        try:
            return cell.name, cell.work(cell.settings)
        except Exception as error:
            return cell.name, Fault(f"{type(error).__name__}: {error}")


def _outcome_for(driver: int, cell: Cell, threads: int) -> Outcome:
    _end_with(driver)
    return _outcome(cell, threads)


@cache
def _end_with(driver: int) -> None:
    # A worker whose driver was killed would work to no end, and then wait for five minutes.
    def watch() -> None:
        while os.getppid() == driver:
            sleep(1)
        os._exit(1)

    Thread(target=watch, daemon=True).start()


def on_this_machine(cells: Sequence[Cell], *, jobs: int, threads: int) -> Iterator[Outcome]:
    """Runs cells in so many processes of joblib's, or one after the other in this one.

    Yields:
        The name of each as it finishes, with its rows or its fault.
    """
    if jobs == 1:
        yield from (_outcome(cell, threads) for cell in cells)
        return
    waiting, under_way = deque(cells), dict[str, Cell]()
    while waiting:
        with suppress(TerminatedWorkerError):
            yield from _at_once(waiting, under_way, jobs, threads)
        # What a lost worker took along, those beside it too, runs once more, each cell by itself,
        # so that one that kills its workers is told from the others.
        for cell in [*under_way.values()]:
            under_way.clear()
            try:
                yield from _at_once(deque([cell]), under_way, 2, threads)
            except TerminatedWorkerError:
                yield cell.name, Fault(LOST)
        under_way.clear()


def _at_once(
    waiting: deque[Cell], under_way: dict[str, Cell], jobs: int, threads: int
) -> Iterator[Outcome]:
    # Takes cells from those that wait, and keeps them among those under way until they are done.
    def begin() -> Iterator[Any]:
        while waiting:
            cell = waiting.popleft()
            under_way[cell.name] = cell
            yield delayed(_outcome_for)(os.getpid(), cell, threads)

    with parallel_config("loky", inner_max_num_threads=threads):
        parallel = Parallel(
            n_jobs=jobs, return_as="generator_unordered", batch_size=1, pre_dispatch=jobs
        )
        for name, found in parallel(begin()):
            del under_way[name]
            yield name, found


def on_a_cluster(cells: Sequence[Cell], *, threads: int) -> Iterator[Outcome]:
    """Runs cells by Ray, on the cluster that RAY_ADDRESS names or a new one on this machine.

    Yields:
        The name of each as it finishes, with its rows or its fault.
    """
    import ray

    os.environ.setdefault("RAY_USAGE_STATS_ENABLED", "0")  # it would report to its makers
    # The code goes along, so that no disk need be shared.
    code = [str(ROOT / package) for package in ("symmetry", "stages", "studies")]
    ray.init(runtime_env={"py_modules": code}, log_to_driver=False)
    try:
        remote = ray.remote(_outcome)
        names = {
            remote.options(num_cpus=threads, num_gpus=cell.gpus, max_retries=3).remote(
                cell, threads
            ): cell.name
            for cell in cells
        }
        while names:
            (ready, *_), _ = ray.wait(list(names))
            name = names.pop(ready)
            try:
                yield ray.get(ready)
            except ray.exceptions.RayError as error:
                reason = str(error).splitlines()[0]
                yield name, Fault(f"{type(error).__name__}: {reason}")
    finally:
        ray.shutdown()
