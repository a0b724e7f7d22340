"""Cells run at once, the same as in sequence, whoever is killed on the way."""

import os
import signal
import subprocess
import sys
from argparse import ArgumentParser
from dataclasses import replace
from pathlib import Path

import cell_work
import pytest
from clones import wait_until

from stages import cells
from stages.cells import Cell, add_arguments, engine_of, finish, run

TESTS = Path(__file__).parent
ROOT = TESTS.parent


def engine(*words):
    parser = ArgumentParser()
    add_arguments(parser)
    return engine_of(parser.parse_args(words))


def listed(work, count=6, **settings):
    return [Cell(f"cell {seed}", work, {"seed": seed, **settings}) for seed in range(count)]


@pytest.fixture(scope="module")
def sequence(tmp_path_factory):
    path = tmp_path_factory.mktemp("sequence") / "rows.csv"
    assert run(listed(cell_work.draw), path, engine()) == {}
    return path.read_text()


def rows(text):
    """The rows without the digest, which differs by the work's name."""
    return [line.partition(",")[2] for line in text.splitlines()]


def begun(log):
    return sorted(int(line.split()[0]) for line in Path(log).read_text().splitlines())


# ---- At once -----------------------------------------------------------------------------------


def test_two_jobs_write_the_bits_of_one(tmp_path, sequence):
    assert run(listed(cell_work.draw), tmp_path / "rows.csv", engine("--jobs", "2")) == {}
    assert (tmp_path / "rows.csv").read_text() == sequence
    assert len(sequence.splitlines()) == 13


@pytest.mark.parametrize("jobs", ["1", "2"])
@pytest.mark.parametrize("threads", ["1", "2"])
def test_each_cell_takes_the_threads_it_is_given(tmp_path, jobs, threads):
    path = tmp_path / "rows.csv"
    run(listed(cell_work.threads, 2), path, engine("--jobs", jobs, "--threads", threads))
    assert rows(path.read_text()) == ["seed,threads", f"0,{threads}", f"1,{threads}"]


def test_a_failing_cell_is_named_and_the_rest_go_on(tmp_path, sequence, capsys):
    path = tmp_path / "rows.csv"
    faults = run(listed(cell_work.faulty, bad=2), path, engine("--jobs", "2"))
    assert faults == {"cell 2": "ArithmeticError: no such number"}
    assert "cell 2 failed: ArithmeticError: no such number" in capsys.readouterr().err
    assert rows(path.read_text()) == [r for r in rows(sequence) if not r.startswith("2,")]
    with pytest.raises(SystemExit, match="1 cells failed: cell 2"):
        finish(faults)
    finish({})


# ---- Once --------------------------------------------------------------------------------------


def test_what_is_done_is_not_run_again_and_what_changes_is(tmp_path):
    path, log = tmp_path / "rows.csv", str(tmp_path / "log")
    some = listed(cell_work.marked, 3, log=log)
    run(some, path, engine())
    first = path.read_text()
    run(some, path, engine())
    assert begun(log) == [0, 1, 2]
    assert path.read_text() == first
    other = replace(some[1], settings={**some[1].settings, "seconds": 0.0})
    run([some[2], other, some[0]], path, engine())
    assert begun(log) == [0, 1, 1, 2]
    assert [line[0] for line in rows(path.read_text())] == ["s", *"221100"]
    run(some[:1], path, engine())  # the others are no longer listed
    assert [line[0] for line in rows(path.read_text())] == ["s", *"00"]


def test_of_chosen_cells_alone_the_rest_stay(tmp_path):
    path, log = tmp_path / "rows.csv", str(tmp_path / "log")
    some = listed(cell_work.marked, 3, log=log)
    run(some, path, engine(), some[:1])
    run(some, path, engine(), some[2:])
    assert begun(log) == [0, 2]
    assert [line[0] for line in rows(path.read_text())] == ["s", *"0022"]


def test_a_digest_covers_settings_code_and_packages(tmp_path, monkeypatch):
    monkeypatch.setattr(cells, "getfile", lambda work: tmp_path / "own" / "work.py")
    package = tmp_path / "own"
    package.mkdir()
    texts = {"__init__": "", "work": "from own import used", "used": "import numpy", "idle": ""}
    for name, text in texts.items():
        (package / f"{name}.py").write_text(text)

    def found(settings, version="1"):
        cells._code.cache_clear()
        monkeypatch.setattr(cells, "version", lambda name: version)

        def work(settings):
            return []

        work.__module__ = "own.work"
        return Cell("one", work, settings).digest

    before = found({"a": 1, "b": 2})
    (package / "idle.py").write_text("x = 1")
    assert found({"b": 2, "a": 1}) == before
    assert found({"a": 1, "b": 3}) != before
    assert found({"a": 1, "b": 2}, version="2") != before
    (package / "work.py").write_text("from own import used, made_by_getattr")
    before = found({"a": 1, "b": 2})
    homes = cells.packages_distributions() | {"own": ["own-package"]}
    monkeypatch.setattr(cells, "packages_distributions", lambda: homes)
    assert found({"a": 1, "b": 2}) == before, "installed or not, it is told by its files"
    (package / "used.py").write_text("import numpy, torch")
    assert found({"a": 1, "b": 2}) != before
    cells._code.cache_clear()


# ---- Killed ------------------------------------------------------------------------------------


@pytest.mark.parametrize("always", [False, True])
def test_a_killed_worker_loses_no_cell_but_one_that_kills_each(tmp_path, sequence, always):
    path = tmp_path / "rows.csv"
    some = listed(cell_work.deadly, bad=3, always=always, log=str(tmp_path / "killed"))
    faults = run(some, path, engine("--jobs", "2"))
    assert faults == ({"cell 3": cells.LOST} if always else {})
    left = [row for row in rows(sequence) if not (always and row.startswith("3,"))]
    assert rows(path.read_text()) == left


DRIVER = """
import cell_work
from functools import partial
from stages.cells import Cell, on_this_machine, run
cells = [
    Cell(f"cell {seed}", cell_work.marked, {"seed": seed, "log": "log", "seconds": 0.5})
    for seed in range(6)
]
print(run(cells, "rows.csv", partial(on_this_machine, jobs=2, threads=1)))
"""


def drive(folder):
    paths = os.pathsep.join([str(ROOT), str(TESTS)])
    return subprocess.Popen(
        [sys.executable, "-c", DRIVER],
        cwd=folder,
        env={**os.environ, "PYTHONPATH": paths, "OMP_NUM_THREADS": "1"},
        stdout=subprocess.PIPE,
        stderr=subprocess.DEVNULL,
        text=True,
    )


def test_after_a_kill_of_the_driver_the_rest_runs_and_no_more(tmp_path, sequence):
    path, log = tmp_path / "rows.csv", tmp_path / "log"
    driver = drive(tmp_path)
    wait_until(lambda: path.exists() and len(path.read_text().splitlines()) >= 5)
    driver.send_signal(signal.SIGKILL)
    driver.communicate()
    written = path.read_text()
    assert set(rows(written)) < set(rows(sequence))
    workers = {int(line.split()[1]) for line in log.read_text().splitlines()}
    wait_until(lambda: not any(Path(f"/proc/{worker}").exists() for worker in workers))
    again = drive(tmp_path)
    assert again.communicate()[0] == "{}\n"
    assert rows(path.read_text()) == rows(sequence)
    done = [int(row[0]) for row in rows(written)[1::2]]
    assert [begun(log).count(seed) for seed in done] == [1] * len(done)
    assert not list(tmp_path.glob(".*.part"))


def test_two_runs_of_one_file_do_not_meet(tmp_path):
    driver = drive(tmp_path)
    wait_until(lambda: (tmp_path / "log").exists())
    with pytest.raises(ValueError, match="another run writes"):
        run(listed(cell_work.draw), tmp_path / "rows.csv", engine())
    driver.kill()
    driver.communicate()


# ---- Refused -----------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("words", "said"),
    [(["--jobs", "0"], "--jobs is 0; allowed"), (["--threads", "-1"], "--threads is -1; allowed")],
)
def test_numbers_of_jobs_and_threads_are_checked(words, said):
    with pytest.raises(ValueError, match=said):
        engine(*words)


def test_a_file_that_holds_no_cells_is_left_alone(tmp_path):
    path = tmp_path / "rows.csv"
    path.write_text("a,b\n1,2\n")
    with pytest.raises(ValueError, match=r"rows.csv holds no cells: .* digest; move it away"):
        run(listed(cell_work.draw), path, engine())
    assert path.read_text() == "a,b\n1,2\n"


def test_cells_that_are_not_told_apart_are_refused(tmp_path):
    one, two = listed(cell_work.draw, 2)
    for pair in ([one, replace(two, name=one.name)], [one, replace(one, name="other")]):
        with pytest.raises(ValueError, match="some have one name or one content"):
            run(pair, tmp_path / "rows.csv", engine())


# ---- A cluster ---------------------------------------------------------------------------------


def test_without_ray_its_package_is_asked_for(monkeypatch):
    monkeypatch.setitem(sys.modules, "ray", None)
    with pytest.raises(ValueError, match=r"pip install '.\[cluster\]'"):
        engine("--engine", "ray")


@pytest.fixture
def cluster(monkeypatch):
    """Three nodes of one CPU each, as processes of this machine."""
    pytest.importorskip("ray", reason="ray is not installed: pip install '.[cluster]'")
    monkeypatch.setenv("RAY_USAGE_STATS_ENABLED", "0")
    monkeypatch.setenv("PYTHONPATH", str(TESTS))
    from ray.cluster_utils import Cluster

    nodes = Cluster(initialize_head=True, head_node_args={"num_cpus": 1})
    for _ in range(2):
        nodes.add_node(num_cpus=1)
    monkeypatch.setenv("RAY_ADDRESS", nodes.address)
    yield nodes
    nodes.shutdown()


@pytest.mark.filterwarnings("ignore")  # Ray's own
def test_a_cluster_that_loses_a_node_writes_the_bits_of_the_sequence(tmp_path, cluster, sequence):
    path, log = tmp_path / "rows.csv", tmp_path / "log"
    some = listed(cell_work.marked, log=str(log), seconds=2)

    def losing(cells):
        last = cluster.list_all_nodes()[-1]
        for name, found in engine("--engine", "ray")(cells):
            if last in cluster.list_all_nodes():
                cluster.remove_node(last, allow_graceful=False)
            yield name, found

    assert run(some, path, losing) == {}
    assert rows(path.read_text()) == rows(sequence)
    assert len(begun(log)) >= 6
