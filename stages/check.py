"""Checks params.yaml, before anything is trained, overwritten or deleted."""

from argparse import ArgumentParser
from pathlib import Path

from stages import plain_errors, read_params
from symmetry.artifacts import read_yaml, write_bytes
from symmetry.tasks.file import File

PIPELINE = Path("dvc.yaml")


def main() -> None:
    ArgumentParser(description=__doc__).parse_args()
    data = read_params().data
    if isinstance(data, File) and PIPELINE.is_file():
        check_that_changes_are_noticed(data.path)
    # DVC runs what comes after the check only if that itself changed: so the content never does.
    write_bytes("data/params.checked", b"params.yaml is valid\n")


def check_that_changes_are_noticed(table: str) -> None:
    """Checks that the pipeline here depends on a table.

    Raises:
        ValueError: If it does not, so that DVC would skip its stages when the table changes.
    """
    deps = read_yaml(PIPELINE)["stages"]["generate"]["deps"]
    if not {"${data.path}", table} & {str(path) for path in deps}:
        raise ValueError(
            f"params.yaml: data.task is file, but in dvc.yaml the stage generate does not depend "
            f"on {table}, so that a change of it would go unnoticed; make a pipeline for it with "
            f"`python -m stages.new NAME {table} --y COLUMN`, or add ${{data.path}} to these deps"
        )


if __name__ == "__main__":
    with plain_errors():
        main()
