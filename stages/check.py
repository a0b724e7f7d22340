"""Checks params.yaml, before anything is trained, overwritten or deleted."""

from argparse import ArgumentParser
from pathlib import Path

from stages import plain_errors, read_params
from symmetry.artifacts import digest, write_bytes
from symmetry.tasks.file import File


def main() -> None:
    ArgumentParser(description=__doc__).parse_args()
    data = read_params().data
    # DVC runs what comes after the check only if that itself changed: so the content never does,
    # but with a file of the user's, which is no dependency of a stage since most tasks have none.
    mark = "params.yaml is valid\n"
    if isinstance(data, File) and Path(data.path).is_file():
        mark += f"{data.path} is {digest([data.path], [])}\n"
    write_bytes("data/params.checked", mark.encode())


if __name__ == "__main__":
    with plain_errors():
        main()
