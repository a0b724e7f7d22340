"""Checks params.yaml, before anything is trained, overwritten or deleted."""

from argparse import ArgumentParser

from stages import plain_errors, read_params
from symmetry.artifacts import write_bytes


def main() -> None:
    ArgumentParser(description=__doc__).parse_args()
    read_params()
    # The content never changes: DVC runs what comes after the check only if that itself changed.
    write_bytes("data/params.checked", b"params.yaml is valid\n")


if __name__ == "__main__":
    with plain_errors():
        main()
