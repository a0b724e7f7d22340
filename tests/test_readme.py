"""The README tells the truth: its table is the committed one and its example runs."""

import doctest
import re
import subprocess
import sys
from pathlib import Path

ROOT = Path(__file__).parents[1]
README = (ROOT / "README.md").read_text()


def test_the_table_is_the_one_that_the_pipeline_wrote():
    assert (ROOT / "metrics" / "table.md").read_text() in README


def test_every_linked_file_is_in_the_repository():
    links = re.findall(r"\]\((?!https?:)([^)]+)\)", README)
    assert links
    assert [link for link in links if not (ROOT / link).is_file()] == []


def test_the_example_runs_with_the_pretrained_model(tmp_path, monkeypatch):
    subprocess.run(["git", "clone", "--quiet", ROOT, tmp_path / "clone"], check=True)
    monkeypatch.chdir(tmp_path / "clone")
    pull = [sys.executable, "-m", "dvc", "pull", "--quiet", "models/stib/weights.safetensors"]
    subprocess.run(pull, check=True)
    example = doctest.DocTestParser().get_doctest(README, {}, "README.md", "README.md", 0)
    assert len(example.examples) >= 8
    assert doctest.DocTestRunner().run(example).failed == 0
