"""Runs the notebooks of this folder and keeps their outputs: `python -m docs.run`."""

__all__ = ["notebooks", "run"]

from argparse import ArgumentParser
from pathlib import Path

import nbformat
from nbclient import NotebookClient
from traitlets.config import Config

from symmetry.artifacts import write_bytes

DOCS = Path(__file__).parent


def main() -> None:
    ArgumentParser(description=__doc__).parse_args()
    for path in notebooks():
        notebook = run(nbformat.read(path, 4))  # type: ignore[no-untyped-call]
        write_bytes(path, nbformat.writes(notebook).encode())  # type: ignore[no-untyped-call]
        print(path.name)


def notebooks() -> list[Path]:
    """Lists the notebooks beside this file."""
    return sorted(DOCS.glob("*.ipynb"))


def run(notebook: nbformat.NotebookNode) -> nbformat.NotebookNode:
    """Runs all cells in a new kernel; a cell that fails is an error.

    Times are not kept, so that the same outputs are the same bytes.
    """
    local = Config({"KernelManager": {"transport": "ipc"}})  # by files, not by the network
    client = NotebookClient(notebook, timeout=600, record_timing=False, config=local)
    ran: nbformat.NotebookNode = client.execute()
    ran.metadata = {name: ran.metadata[name] for name in ("kernelspec", "language_info")}
    ran.metadata.language_info = {"name": "python"}
    return ran


if __name__ == "__main__":
    main()
