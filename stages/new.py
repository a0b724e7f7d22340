"""Makes examples/NAME of a table: a pipeline of its own, with what was found of the columns."""

import json
import shutil
from argparse import ArgumentParser
from collections.abc import Sequence
from pathlib import Path

from stages import plain_errors
from symmetry.artifacts import write_bytes
from symmetry.data import Array, Table
from symmetry.kinds import Kind, kind_of
from symmetry.sheets import Values, read_names, read_sheet, text_columns

SEPARATORS = ",;\t|"
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
    separator = arguments.separator or _separator(arguments.table)
    table = Table(separator, arguments.decimal)
    names = read_names(arguments.table, table)
    absent = [name for name in [*arguments.y, *(arguments.x or [])] if name not in names]
    if absent:
        raise ValueError(
            f"{arguments.table} has no column {', '.join(map(repr, absent))}; it has "
            + ", ".join(map(repr, names))
        )
    x = arguments.x or [name for name in names if name not in arguments.y]
    kinds, left = look(arguments.table, table, x, arguments.y, required=bool(arguments.x))
    x = [name for name in x if name in kinds]
    unknown = [name for name in arguments.hold if name not in x]
    if unknown:
        raise ValueError(f"--hold names {unknown[0]!r}; allowed: {', '.join(map(repr, x))}")
    text = params(arguments.table.name, x, arguments.y, kinds, arguments.hold, table)
    folder.mkdir()
    shutil.copyfile(arguments.table, folder / arguments.table.name)
    write_bytes(folder / "dvc.yaml", ((OWN / "dvc.yaml").read_text() + HEADLINE).encode())
    write_bytes(folder / "params.yaml", text.encode())
    for name, reason in left.items():
        print(f"left out: {name}, since {reason}")
    print(f"{folder}/params.yaml says what was found of {len(x)} columns; look at it, then type")
    print(f"  dvc repro {folder}/dvc.yaml")
    print(
        f"  python -m stages.partners {folder}/{arguments.table.name} "
        f"--model {folder}/models/stib_flow/weights.safetensors -o partners.csv"
    )


def _separator(path: Path) -> str:
    # The one that cuts the header into most columns.
    if path.suffix == ".parquet":
        return ","
    return max(SEPARATORS, key=lambda sign: len(read_names(path, Table(sign))))


def look(
    path: Path, table: Table, x: Sequence[str], y: Sequence[str], *, required: bool
) -> tuple[dict[str, tuple[Kind, str]], dict[str, str]]:
    """Finds the kinds of columns, each with some words; and why others cannot be used.

    Arguments:
        path: The table.
        table: How it is read.
        x: Columns that may be used.
        y: Columns that must be.
        required: Whether those of x must be, too.

    Raises:
        ValueError: If a column that must be used cannot.
    """
    values = {name: Values() for name in text_columns(path, [*x, *y], table)}
    sheet = read_sheet(path, [*x, *y], table, categories=values)
    found, left = {}, {}
    for column, name in enumerate([*x, *y]):
        numbers = sheet.numbers[:, column]
        try:
            found[name] = _found(name, numbers, values.get(name))
        except ValueError as error:
            if required or name in y:
                raise ValueError(f"{path}: {error}") from None
            left[name] = str(error)
    if not set(found) - set(y):
        raise ValueError(f"{path} has no column of x that can be used: {left}")
    return found, left


def _found(name: str, numbers: Array, values: Values | None) -> tuple[Kind, str]:
    if numbers.min() == numbers.max():
        raise ValueError(f"column {name!r} is constant")
    kind = kind_of(name, numbers, None, None if values is None else values.known)
    if kind.is_category:
        shown = [json.dumps(text, ensure_ascii=False) for text in map(str, kind.members[:6])]
        more = ", …" if len(kind.members) > 6 else ""
        return kind, f"{len(kind.members)} values: {', '.join(shown)}{more}"
    return kind, f"{numbers.min():g} to {numbers.max():g}"


def params(
    path: str,
    x: Sequence[str],
    y: Sequence[str],
    kinds: dict[str, tuple[Kind, str]],
    hold: Sequence[str],
    table: Table,
) -> str:
    """Writes the content of params.yaml: that of examples/own with this table's columns."""
    own = (OWN / "params.yaml").read_text()
    before, rest = own.split("data:\n", 1)
    _, options = rest.split("  separator:", 1)
    options = options.split("\n", 1)[1].replace('decimal: "."', f'decimal: "{table.decimal}"', 1)
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
            for name, (kind, words) in kinds.items()
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
