"""Makes examples/NAME of a table: a pipeline of its own, with what was found of the columns."""

import json
import shutil
from argparse import ArgumentParser
from collections.abc import Sequence
from pathlib import Path

from stages import plain_errors
from symmetry.artifacts import write_bytes
from symmetry.columns import Look, look, separator_of
from symmetry.data import Table

OWN = Path("examples/own")  # whose pipeline and settings every table has
# And what `dvc exp show` and `dvc metrics diff` compare the runs of a table by; of the examples
# that are in the repository the root's would have it as columns, too.
HEADLINE = """
  headline:
    cmd: PYTHONPATH=../.. python -m stages.headline
    deps:
      - metrics/stib_flow.json
      - ../../stages
      - ../../symmetry
    params:
      - model
    outs:
      - metrics/headline.json:
          cache: false

metrics:
  - metrics/headline.json
"""


def main() -> None:
    parser = ArgumentParser(description=__doc__)
    parser.add_argument("name", help="of the folder under examples/")
    parser.add_argument("table", type=Path, help="csv with a header, or .parquet")
    parser.add_argument("--y", required=True, nargs="+", help="its columns that partners keep")
    parser.add_argument("--x", nargs="+", help="its other columns [all that can be used]")
    parser.add_argument("--hold", nargs="+", default=[], help="columns of x that stay as they are")
    parser.add_argument("--separator", help="of the cells of a csv file [looked up]")
    parser.add_argument("--decimal", default=".", choices=(".", ","), help="sign [.]")
    arguments = parser.parse_args()
    folder = Path("examples") / arguments.name
    if not arguments.name.replace("_", "").replace("-", "").isalnum():
        raise ValueError(f"NAME is {arguments.name!r}; allowed: letters, digits, _ and -")
    if folder.exists():
        raise ValueError(f"{folder} is there already; choose another name, or delete it")
    if not OWN.is_dir():
        raise ValueError(f"there is no {OWN} here; call this in the root of the repository")
    separator = arguments.separator or separator_of(arguments.table)
    table = Table(separator, arguments.decimal)
    found = look(arguments.table, table, arguments.x, arguments.y)
    x = [name for name in found.kinds if name not in arguments.y]
    unknown = [name for name in arguments.hold if name not in x]
    if unknown:
        raise ValueError(f"--hold names {unknown[0]!r}; allowed: {', '.join(map(repr, x))}")
    text = params(arguments.table.name, x, arguments.y, found, arguments.hold)
    folder.mkdir()
    shutil.copyfile(arguments.table, folder / arguments.table.name)
    write_bytes(folder / "dvc.yaml", ((OWN / "dvc.yaml").read_text() + HEADLINE).encode())
    write_bytes(folder / "params.yaml", text.encode())
    for name, reason in found.left.items():
        print(f"left out: {name}, since {reason}")
    for words in found.bad:
        print(words)
    if found.bad:
        print(f"bad_rows: drop leaves out the {found.bad_rows} rows that have such cells")
    for words in found.far:
        print(f"{words}; name it in missing if it stands for that, or say far_values: keep")
    print(f"{folder}/params.yaml says what was found of {len(x)} columns; look at it, then type")
    print(f"  dvc repro {folder}/dvc.yaml")
    print(
        f"  python -m stages.partners {folder}/{arguments.table.name} "
        f"--model {folder}/models/stib_flow/weights.safetensors -o partners.csv"
    )


def params(
    path: str,
    x: Sequence[str],
    y: Sequence[str],
    found: Look,
    hold: Sequence[str],
) -> str:
    """Writes the content of params.yaml: that of examples/own with this table's columns."""
    own = (OWN / "params.yaml").read_text()
    before, rest = own.split("data:\n", 1)
    _, options = rest.split("  separator:", 1)
    table = found.table
    options = (
        options.split("\n", 1)[1]
        .replace('decimal: "."', f'decimal: "{table.decimal}"', 1)
        .replace("bad_rows: refuse", f"bad_rows: {table.bad_rows}", 1)
        .replace("most_dropped: 0.05", f"most_dropped: {table.most_dropped:g}", 1)
    )
    lines = [
        "data:",
        "  task: file",
        f"  path: {_quoted(path)}",
        f"  x: [{', '.join(map(_quoted, x))}]",
        f"  y: [{', '.join(map(_quoted, y))}]",
        "  # What was found. Change what is wrong: number, integer (partners are whole), category",
        "  # (partners hold values that occur; of y: a class), or [low, high], a closed range.",
        "  columns:",
        *(
            f"    {_quoted(name)}: {kind.kind if name in x or kind.is_category else 'number'}"
            f"  # {words.replace(chr(10), ' ')}"
            for name, (kind, words) in found.kinds.items()
        ),
        f"  hold: [{', '.join(map(_quoted, hold))}]  # columns of x that partners keep exactly",
        f"  separator: {_quoted(table.separator)}",
    ]
    title = f"# {path}: `dvc repro` of the dvc.yaml beside this file learns its symmetry.\n"
    head = before[before.index("model:") :]
    return title + head + "\n".join(lines) + "\n" + options


def _quoted(name: str) -> str:
    return json.dumps(name, ensure_ascii=False)  # YAML takes all of JSON's texts


if __name__ == "__main__":
    with plain_errors():
        main()
