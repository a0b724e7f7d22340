"""The stages run by hand: without a network, on a full disk, and on files that are broken."""

import hashlib
import importlib
import json
import os
import re
import resource
import shutil
import subprocess
import sys
from pathlib import Path

import pytest
import yaml
from clones import MODELS, TINY, merge

from stages import plain_errors

ROOT = Path(__file__).parents[1]
EACH = [
    "check",
    "generate",
    *(f"{stage} {key}" for key in MODELS for stage in ("train", "evaluate")),
    *("tabulate", "plot", "headline", "headline stib", "report"),
    "partners rows.csv --count 2 -o partners.csv",
]
# Runs stages in one process, which may ask no network, and prints how each ended.
RUN = """
import json, runpy, sys
def offline(event, arguments):
    if event in ("socket.connect", "socket.bind", "socket.sendto", "socket.getaddrinfo"):
        raise SystemExit(f"the network was asked: {event} {arguments}")
sys.addaudithook(offline)
for command in sys.argv[1:]:
    sys.argv = command.split()
    try:
        runpy.run_module(f"stages.{sys.argv[0]}", run_name="__main__", alter_sys=True)
    except SystemExit as end:
        print(json.dumps([command, end.code]), file=sys.stderr)
"""


def run(folder, *commands, wrap=(), **options):
    """Runs stages in a folder; returns the message of each that failed."""
    process = subprocess.run(
        [*wrap, sys.executable, "-W", "ignore", "-c", RUN, *commands],
        cwd=folder,
        env={**os.environ, "PYTHONPATH": str(ROOT), "OMP_NUM_THREADS": "1"},
        capture_output=True,
        text=True,
        check=True,
        **options,
    )
    return dict(json.loads(line) for line in process.stderr.splitlines() if line.startswith("["))


def digests(folder):
    paths = [path for path in folder.rglob("*") if path.is_file()]
    return {str(path): hashlib.md5(path.read_bytes()).hexdigest() for path in paths}


@pytest.fixture(scope="module")
def finished(tmp_path_factory):
    """A folder where all stages ran on tiny params, and how those that failed ended."""
    folder = tmp_path_factory.mktemp("stages")
    params = yaml.safe_load((ROOT / "params.yaml").read_text())
    merge(params, TINY)
    (folder / "params.yaml").write_text(yaml.safe_dump(params))
    (folder / "rows.csv").write_text("x1,x2\n1,2\n")
    return folder, run(folder, *EACH)


@pytest.fixture
def folder(finished, tmp_path):
    return shutil.copytree(finished[0], tmp_path / "copy")


def test_no_stage_asks_the_network(finished):
    folder, failed = finished
    assert failed == {}
    assert (folder / "metrics" / "headline.json").is_file()
    assert (folder / "partners.csv").is_file()


def test_the_guard_sees_the_network():
    # A stage's end is caught, so the guard is tried by itself.
    code = RUN + "import socket\nsocket.create_connection(('localhost', 9))"
    process = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True)
    assert process.returncode == 1
    assert "the network was asked" in process.stderr


def test_on_a_full_disk_each_stage_fails_in_one_line_and_leaves_what_was_there(folder):
    before = digests(folder)
    tight = (40, 40)  # bytes: room for the mark of a claim and for no output
    others = {f"{stage} {key}" for stage in ("train", "evaluate") for key in MODELS[1:-1]}
    stages = [stage for stage in EACH if stage != "check" and stage not in others]
    failed = run(
        folder, *stages, preexec_fn=lambda: resource.setrlimit(resource.RLIMIT_FSIZE, tight)
    )
    assert list(failed) == stages
    for message in failed.values():
        assert re.fullmatch(
            r"error: \[Errno \d+\] File too large(; \d+ bytes were to be written)?: '.+'", message
        )
    assert digests(folder) == before


SMALL_DISK = ["unshare", "--map-root-user", "--mount", "sh", "-c"]
FILL = """
mount -t tmpfs -o size="$1"k none "$2" && cp -R . "$2" && cd "$2" || exit 3
shift 2
find . -type f -exec md5sum {} + | sort >&2; echo then >&2
"$@"
find . -type f -exec md5sum {} + | sort >&2
"""


@pytest.mark.skipif(
    not shutil.which("unshare") or subprocess.run([*SMALL_DISK, "true"]).returncode,
    reason="this system lets no user mount a small disk",
)
def test_on_a_small_disk_that_is_full_the_old_data_stay(folder, tmp_path):
    params = (folder / "params.yaml").read_text()
    (folder / "params.yaml").write_text(params.replace("train_rows: 64", "train_rows: 50000"))
    pages = sum(1 + path.stat().st_size // 4096 for path in folder.rglob("*"))
    (tmp_path / "disk").mkdir()
    stage = [sys.executable, "-m", "stages.generate"]
    process = subprocess.run(
        [*SMALL_DISK, FILL, "sh", str(4 * pages + 400), tmp_path / "disk", *stage],
        cwd=folder,
        env={**os.environ, "PYTHONPATH": str(ROOT)},
        capture_output=True,
        text=True,
    )
    before, _, after = process.stderr.partition("then\n")
    error, *after = after.splitlines()
    assert error.startswith("error: [Errno 28] No space left on device; ")
    assert error.endswith(" bytes were to be written: 'data/train.npz'")
    assert after == before.splitlines()
    assert any("data/train.npz" in line for line in after)


# What the stages read; of a broken file they say so before they write anything.
BROKEN = {
    "data/train.npz": ["train vae", "report"],
    "data/validation.npz": ["train vae", "partners rows.csv -o partners.csv", "report"],
    "data/test.npz": ["evaluate vae", "tabulate", "plot", "report"],
    "models/stib/weights.safetensors": ["evaluate stib", "report"],
    "models/stib_flow/weights.safetensors": [
        "evaluate stib_flow",
        "partners rows.csv -o partners.csv",
    ],
    "evaluations/stib.json": ["tabulate", "report"],
    "models/stib/history.csv": ["plot", "report"],
    "metrics/stib.json": ["tabulate", "plot", "headline", "headline stib", "report"],
    "evaluations/stib.npz": ["plot", "report"],
    "rows.csv": ["partners rows.csv -o partners.csv"],
}


@pytest.mark.parametrize("name", BROKEN)
def test_a_stage_names_the_broken_file_and_leaves_what_was_there(
    folder, refused, monkeypatch, name
):
    monkeypatch.chdir(folder)
    whole = (folder / name).read_bytes()
    for content in (b"", whole[: len(whole) // 2 + 1], b"\xff\x00garbage"):
        (folder / name).write_bytes(content)
        before = digests(folder)
        for command in BROKEN[name]:
            monkeypatch.setattr(sys, "argv", command.split())
            with pytest.raises(SystemExit) as raised, plain_errors():
                importlib.import_module(f"stages.{sys.argv[0]}").main()
            message = raised.value.code
            assert message.startswith("error: ")
            assert name in message
            assert "\n" not in message
            assert digests(folder) == before
            refused["files"] += 1


@pytest.mark.parametrize(
    ("pipeline", "accepted"),
    [
        ("dvc.yaml", False),  # the root's, which draws its data: case 7
        ("examples/ellipse/dvc.yaml", False),
        ("examples/own/dvc.yaml", True),
        (None, True),  # a stage by hand
    ],
)
def test_a_table_of_which_a_change_would_go_unnoticed_is_refused(
    tmp_path, monkeypatch, pipeline, accepted
):
    monkeypatch.chdir(tmp_path)
    monkeypatch.setattr(sys, "argv", ["check"])
    shutil.copy(ROOT / "examples/own/params.yaml", "params.yaml")
    if pipeline:
        shutil.copy(ROOT / pipeline, "dvc.yaml")
    main = importlib.import_module("stages.check").main
    if not accepted:
        with pytest.raises(ValueError, match=r"depend on mine.csv.*python -m stages.new NAME min"):
            main()
        return
    main()
    assert Path("data/params.checked").read_text() == "params.yaml is valid\n"
