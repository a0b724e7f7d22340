"""The README tells the truth: its table is the committed one and its example runs."""

import doctest
import json
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
    (weights,) = re.findall(r'symmetry\.load\("(models/\w+/weights\.safetensors)"\)', README)
    subprocess.run([sys.executable, "-m", "dvc", "pull", "--quiet", weights], check=True)
    example = doctest.DocTestParser().get_doctest(README, {}, "README.md", "README.md", 0)
    assert len(example.examples) >= 8
    assert doctest.DocTestRunner().run(example).failed == 0


def test_the_examples_table_is_of_the_committed_metrics():
    row_of_table = r"^\| \[(\w+)\]\(examples/\w+/params\.yaml\) \| (.*) \|$"
    rows = dict(re.findall(row_of_table, README, re.MULTILINE))
    committed = {
        path.parent.parent.name for path in ROOT.glob("examples/*/metrics/stib_flow.json")
    }
    assert set(rows) == committed - {"own"}  # which is the reader's
    for name, row in rows.items():
        metrics = json.loads((ROOT / "examples" / name / "metrics" / "stib_flow.json").read_text())
        measured = [key for key in metrics if f"{key}_std" in metrics and metrics[key] is not None]
        for mean, spread in re.findall(r"(-?\d+\.\d+) ± (\d+\.\d+)", row):
            digits = len(mean.partition(".")[2])
            pairs = [
                (f"{metrics[key]:.{digits}f}", f"{metrics[f'{key}_std']:.{digits}f}")
                for key in measured
            ]
            assert (mean, spread) in pairs, name
