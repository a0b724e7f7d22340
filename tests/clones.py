"""Throw-away clones of the repository, to try the real DVC in."""

import json
import re
import shutil
import signal
import subprocess
import time
from contextlib import suppress
from dataclasses import dataclass
from pathlib import Path

import psutil
import pytest
import yaml

ROOT = Path(__file__).parents[1]
MADE = ("dvc.lock", "metrics/", "plots/", "pretrained/")
MODELS = list(yaml.safe_load((ROOT / "params.yaml").read_text())["models"])
TINY = {
    "data": {"train_rows": 64, "validation_rows": 16, "test_rows": 100},
    "train": {"seeds": 2, "batch_size": 8, "validate_every": 2, "device": "cpu", "threads": 1},
    "evaluate": {"critic_steps": 2, "refine": 2},
    "models": {key: {"steps": 4, "hidden_size": 4, "batch_size": None} for key in MODELS},
}
TINY["models"]["stib_flow"]["predictor_steps"] = 4


@dataclass(frozen=True)
class Clone:
    """A clone of the repository, and the machine it is on."""

    folder: Path
    tools: Path  # the bin folder of the environment that the Makefile makes
    environ: dict[str, str]

    def start(self, *command, log, start_new_session=False):
        """Starts a command, which writes to a file."""
        with log.open("w") as file:
            return subprocess.Popen(
                command,
                cwd=self.folder,
                env=self.environ,
                stdout=file,
                stderr=subprocess.STDOUT,
                start_new_session=start_new_session,
                # A shell in the background lets its children ignore Ctrl-C.
                preexec_fn=lambda: signal.signal(signal.SIGINT, signal.SIG_DFL),
            )

    def run(self, *command, fails=False):
        """Runs a command, which must succeed unless said otherwise; returns what it prints."""
        process = subprocess.run(
            command,
            cwd=self.folder,
            env=self.environ,
            stdin=subprocess.DEVNULL,
            capture_output=True,
            text=True,
        )
        printed = process.stdout + process.stderr
        assert (process.returncode != 0) == fails, printed
        return printed if fails else process.stdout

    def ended(self, *command):
        """Runs a command that may end in any way; returns its exit status and what it prints."""
        process = subprocess.run(
            command,
            cwd=self.folder,
            env=self.environ,
            stdin=subprocess.DEVNULL,
            stdout=subprocess.PIPE,
            stderr=subprocess.STDOUT,
            text=True,
        )
        return process.returncode, process.stdout

    def dvc(self, *arguments, fails=False):
        return self.run(self.tools / "dvc", *arguments, fails=fails)

    def git(self, *arguments):
        return self.run("git", *arguments)

    def commit(self):
        self.git("add", "--all")
        self.git("-c", "user.name=a", "-c", "user.email=a@localhost", "commit", "-qm", "a change")

    def changed_files(self):
        """Returns the tracked files that differ from the last commit."""
        return set(self.git("diff", "--name-only", "HEAD").split())

    def copy(self, folder):
        """Returns a copy of the whole folder, with DVC's cache and what git ignores."""
        shutil.copytree(self.folder, folder)
        return Clone(folder, self.tools, self.environ)

    def bare(self, folder):
        """Returns a fresh clone of what is committed."""
        self.git("clone", "-q", ".", folder)
        return Clone(folder, self.tools, self.environ)

    def text(self, path):
        return (self.folder / path).read_text()

    def json(self, path):
        return json.loads(self.text(path))

    def set_params(self, changes):
        """Merges nested changes into params.yaml."""
        content = yaml.safe_load(self.text("params.yaml"))
        merge(content, changes)
        (self.folder / "params.yaml").write_text(yaml.safe_dump(content, sort_keys=False))

    def keep_models(self, keys):
        """Leaves but some models in dvc.yaml and params.yaml; the headline is the last's."""
        content = yaml.safe_load(self.text("params.yaml"))
        content["models"] = {key: content["models"][key] for key in keys}
        content["model"] = keys[-1]
        (self.folder / "params.yaml").write_text(yaml.safe_dump(content, sort_keys=False))
        left_out = re.compile(rf"[/_]({'|'.join(set(MODELS) - set(keys))})[./]")
        pipeline = yaml.safe_load(self.text("dvc.yaml"))
        pipeline["vars"] = [{"model_keys": keys}]
        for stage in [*pipeline["stages"].values(), pipeline]:
            for kind in ("deps", "outs", "metrics", "plots"):
                if kind in stage:
                    stage[kind] = [f for f in stage[kind] if not left_out.search(str(f))]
        (self.folder / "dvc.yaml").write_text(yaml.safe_dump(pipeline, sort_keys=False))

    def processes(self):
        """Returns the processes that run anywhere in the folder."""
        found = []
        for process in psutil.process_iter():
            try:
                folder = Path(process.cwd())
            except (psutil.Error, OSError):
                continue
            if folder.is_relative_to(self.folder.resolve()):
                found.append(process)
        return found

    def kill_all(self):
        for process in self.processes():
            with suppress(psutil.NoSuchProcess):  # which ended in the meantime
                process.kill()


def merge(content, changes):
    for key, value in changes.items():
        if isinstance(value, dict):
            merge(content[key], value)
        else:
            content[key] = value


def copy_working_tree(folder, leave_out=()):
    """Copies what git tracks or would add, as it is in the working tree."""
    command = ["git", "ls-files", "-z", "--cached", "--others", "--exclude-standard"]
    listed = subprocess.run(command, cwd=ROOT, check=True, capture_output=True, text=True).stdout
    for name in sorted(set(listed.split("\0"))):
        if (ROOT / name).is_file() and not name.startswith(leave_out):
            (folder / name).parent.mkdir(parents=True, exist_ok=True)
            shutil.copy2(ROOT / name, folder / name)


def wait_until(condition):
    """Waits for what must come; ten minutes are for ever."""
    for _ in range(3000):
        if condition():
            return
        time.sleep(0.2)
    pytest.fail(f"{condition} never came true")
