"""The command line: from a table to a learned symmetry, and from that to partners and a report.

``python -m symmetry``, or ``symmetry`` where the package is installed; it needs neither a clone of
the repository nor DVC.
"""

__all__ = ["main"]

import csv
import json
import shlex
import sys
import warnings
from argparse import ArgumentParser, ArgumentTypeError, Namespace
from collections.abc import Iterator, Sequence
from dataclasses import replace
from io import StringIO
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
from numpy.typing import NDArray
from tqdm import tqdm

from symmetry import SymmetryLearner, __version__
from symmetry.artifacts import write_bytes
from symmetry.columns import look, separator_of
from symmetry.data import Table
from symmetry.frames import beside, in_words, kinds_of, outside, said_of
from symmetry.report import of_learner
from symmetry.sheets import (
    read_names,
    read_pieces,
    read_sheet,
    usual_separator,
    values_of,
    write_pieces,
)
from symmetry.symmetries import ASTRAY
from symmetry.tasks.file import File
from symmetry.verdicts import Verdict

AT_ONCE = 2**15  # partners; so many take the memory, however many there are in all
FOUND = str(Verdict("found", ()))
DIGITS = 8  # after the first one of a standard deviation


def main(words: Sequence[str] | None = None) -> None:
    """Runs one command, given as words or by those of the shell."""
    arguments = _parser().parse_args(words)
    try:
        arguments.run(arguments)
    except (ValueError, OSError, FloatingPointError) as error:
        raise SystemExit(f"error: {error}") from error
    except KeyboardInterrupt:
        raise SystemExit("interrupted") from None


def _parser() -> ArgumentParser:
    parser = ArgumentParser(
        "symmetry", description="Learns which changes of x leave y as it is, from a table."
    )
    parser.add_argument("--version", action="version", version=__version__)
    commands = parser.add_subparsers(required=True, metavar="COMMAND")
    table = ArgumentParser(add_help=False)
    table.add_argument("table", type=Path, metavar="TABLE", help="csv with a header, or .parquet")
    reading = ArgumentParser(add_help=False)
    reading.add_argument("--separator", help="of cells [`new` looks; a tab in .tsv, else a comma]")
    reading.add_argument("--decimal", default=".", help="sign before decimals [.]")
    reading.add_argument("--thousands", help="sign between groups of three digits [none]")
    reading.add_argument("--missing", type=_listed, default=[], help='what stands for "missing"')
    reading.add_argument(
        "--bad-rows",
        choices=("refuse", "drop"),
        default="refuse",
        help="those with missing or bad cells [refuse]",
    )
    reading.add_argument(
        "--most-dropped", type=_share, default=0.05, help="share of rows that drop may drop [0.05]"
    )

    new = commands.add_parser(
        "new",
        parents=[table, reading],
        help="look at a table and say what to type",
        description="Looks at a table, says what its columns seem to be and which cannot be "
        "used, and what to type to learn its symmetry. Nothing is written. What messages call "
        "data.bad_rows is --bad-rows here.",
    )
    new.add_argument("--y", type=_listed, required=True, metavar="NAMES", help="such as a,b")
    new.set_defaults(run=_new)

    fit = commands.add_parser(
        "fit",
        parents=[table, reading],
        help="learn the symmetry of a table",
        description="Learns which changes of x leave y as it is, says how well, and saves it. "
        "Messages about the table name options of the pipeline: data.bad_rows is --bad-rows here.",
    )
    fit.add_argument("--y", type=_listed, required=True, metavar="NAMES", help="such as a,b")
    fit.add_argument("--x", type=_listed, metavar="NAMES", help="[all columns but y]")
    fit.add_argument("-o", "--output", type=Path, required=True, help=".safetensors to write")
    fit.add_argument("--hold", type=_listed, default=[], metavar="NAMES", help="x that stays")
    fit.add_argument(
        "--column",
        dest="columns",
        type=_kind,
        action="append",
        default=[],
        metavar="NAME=KIND",
        help="number, integer, category, or LOW:HIGH of a closed range [what it looks like]",
    )
    fit.add_argument("--far-values", choices=("refuse", "keep"), default="refuse", help="[refuse]")
    fit.add_argument("--seeds", type=int, default=1, help="copies; the best is kept [1]")
    fit.add_argument("--random-state", type=int, default=0, help="of all draws [0]")
    fit.add_argument(
        "-S",
        dest="params",
        type=_param,
        action="append",
        default=[],
        metavar="KEY=NUMBER",
        help="another setting of STIB_FLOW, such as steps=8000",
    )
    fit.set_defaults(run=_fit)

    learner = ArgumentParser(add_help=False)
    learner.add_argument("learner", type=Path, metavar="LEARNER", help="what `fit` wrote")
    learner.add_argument(
        "--separator", help="of cells [as in `fit`; of the two usual ones, that of .tsv or .csv]"
    )
    learner.add_argument(
        "--bad-rows",
        choices=("refuse", "drop"),
        help="whether rows with missing or bad cells end it or are left out, however many "
        "[as in `fit`]",
    )
    partners = commands.add_parser(
        "partners",
        parents=[learner, table],
        help="find other rows with the same y",
        description="Finds partners of each row: other x with the same y. An output row holds the "
        "numbers of its row and partner (from 0), the partner's x and predicted y, and astray, "
        "whether that is not its row's y, so that it is no partner; then own_…: the row's x, its "
        "y if the table has it, and its predicted y. What messages call data.bad_rows is "
        "--bad-rows here.",
    )
    partners.add_argument("-n", type=int, default=20, help="partners of each row [20]")
    partners.add_argument("-o", "--output", type=Path, required=True, help="csv or .parquet")
    partners.set_defaults(run=_partners)

    report = commands.add_parser(
        "report",
        parents=[learner, table],
        help="write a page of what was found",
        description="Writes a page that opens anywhere, offline: what may move, what trades for "
        "what, and partners of the table's first rows. Best is a table that `fit` never saw.",
    )
    report.add_argument("-o", "--output", type=Path, required=True, help=".html to write")
    report.set_defaults(run=_report)
    return parser


def _listed(text: str) -> list[str]:
    # As a line of a csv file, so that a name may hold a comma: '"net, gross"'.
    try:
        (names,) = csv.reader([text], skipinitialspace=True)
    except csv.Error:
        raise ArgumentTypeError(f"found {text!r}; allowed: NAME,NAME") from None
    return [name.strip() for name in names or [""]]


def _joined(names: Sequence[str]) -> str:
    line = StringIO()
    csv.writer(line, lineterminator="").writerow(names)
    return line.getvalue()


def _share(text: str) -> float:
    try:
        if 0 <= float(text) <= 1:
            return float(text)
    except ValueError:
        pass
    raise ArgumentTypeError(f"found {text!r}; allowed: a share, 0 to 1")


def _kind(text: str) -> tuple[str, Any]:
    name, sign, kind = text.rpartition("=")
    try:
        (name,) = _listed(name) if name.startswith('"') else [name]
        if not sign:
            raise ValueError(text)
        return name, [float(end) for end in kind.split(":")] if ":" in kind else kind
    except ValueError:
        raise ArgumentTypeError(f"found {text!r}; allowed: NAME=KIND or NAME=LOW:HIGH") from None


def _param(text: str) -> tuple[str, Any]:
    key, _, value = text.partition("=")
    try:
        return key, json.loads(value)
    except ValueError:
        raise ArgumentTypeError(f"found {text!r}; allowed: KEY=NUMBER") from None


def _new(arguments: Namespace) -> None:
    path, y = arguments.table, arguments.y
    separator = arguments.separator or separator_of(path)
    missing = tuple(_number_or_text(value) for value in arguments.missing)
    rules = Table(
        separator,
        arguments.decimal,
        arguments.thousands,
        missing,
        arguments.bad_rows,
        arguments.most_dropped,
    )
    found = look(path, rules, None, y)
    lines = [
        (f"{name} (y)" if name in y else name, kind.kind, told)
        for name, (kind, told) in found.kinds.items()
    ]
    shown = pd.DataFrame(lines, columns=["column", "kind", "values"])
    print(shown.to_markdown(index=False, tablefmt="plain", disable_numparse=True))
    for name, reason in found.left.items():
        print(f"left out: {name}, since {reason}")
    print(*found.bad, *found.far, sep="\n", end="\n" * bool(found.bad or found.far))
    if found.bad:
        print(f"{found.bad_rows} rows have such cells; --bad-rows drop leaves them out")
    if found.far:
        print('--missing NUMBER says that it stands for "missing"; --far-values keep takes values')
        print("that far out as they are; without either `fit` refuses them")
    words = ["symmetry", "fit", str(path), "--y", _joined(y)]
    if found.left:
        words += ["--x", _joined([name for name in found.kinds if name not in y])]
    for option, value, usual in (
        ("--separator", separator, usual_separator(path)),
        ("--decimal", rules.decimal, "."),
        ("--thousands", rules.thousands, None),
        ("--missing", _joined(arguments.missing), ""),
        ("--bad-rows", found.table.bad_rows, "refuse"),
        ("--most-dropped", f"{found.table.most_dropped:g}", "0.05"),
    ):
        if value is not None and value != usual:
            words += [option, value]
    words += ["-o", f"{path.stem}.safetensors"]
    print(f"\nTo learn what may change while {', '.join(y)} stays:\n\n  {shlex.join(words)}\n")
    print("Add --column NAME=KIND for a column that is something else (number, integer,")
    print("category, LOW:HIGH), and --hold NAME for one that shall stay.")


def _fit(arguments: Namespace) -> None:
    if arguments.output.suffix != ".safetensors" or arguments.output.is_dir():
        raise ValueError(f"--output is {arguments.output}; allowed: a file, NAME.safetensors")
    separator = arguments.separator or usual_separator(arguments.table)
    names = read_names(arguments.table, Table(separator, arguments.decimal, arguments.thousands))
    task = File(
        task="file",
        path=str(arguments.table),
        x=arguments.x or [name for name in names if name not in arguments.y],
        y=arguments.y,
        columns=dict(arguments.columns),
        hold=arguments.hold,
        separator=separator,
        decimal=arguments.decimal,
        thousands=arguments.thousands,
        missing=[_number_or_text(value) for value in arguments.missing],
        bad_rows=arguments.bad_rows,
        most_dropped=arguments.most_dropped,
        far_values=arguments.far_values,
        seed=0,
    )
    whole = task.whole()  # the learner splits for itself
    units = whole.units
    assert units is not None
    x = in_words(whole.x, units.x.names, units.x.kinds)
    y = pd.DataFrame(whole.y, columns=units.y.names)
    target = units.target
    tables = [y if target is None else pd.Series(target.of(whole.y), name=target.name), x]
    del whole, x, y  # handed over below: of many rows, most of what there is in memory
    learner = SymmetryLearner(
        seeds=arguments.seeds,
        params=dict(arguments.params),
        columns={
            name: kind
            for name, kind in task.columns.items()
            if target is not None or name in task.x
        },
        hold=task.hold,
        random_state=arguments.random_state,
        verbose=sys.stderr.isatty(),
    ).fit(tables.pop(), tables.pop())
    # So that `partners` reads other tables as this one was read.
    learner.units_ = replace(learner.units_, table=task.table)
    learner.save(arguments.output)
    print(f"{arguments.output}: {learner.summary_['verdict']}")


def _number_or_text(value: str) -> float | str:
    try:
        return float(value)
    except ValueError:
        return value


def _partners(arguments: Namespace) -> None:
    learner = SymmetryLearner.load(arguments.learner)
    x, units = learner.units_.x.names, learner.units_
    table = _table(learner, arguments)
    known = [name for name in read_names(arguments.table, table) if name in units.target_names]
    rows, strangers, counts, said = 0, 0, np.zeros(len(x), int), list[str]()

    def found() -> Iterator[dict[str, NDArray[Any]]]:
        nonlocal rows, strangers, counts
        pieces = read_pieces(
            arguments.table,
            x,
            table,
            optional=known,
            exact=units.held,
            categories=values_of(units),
            say=said.append,
        )
        with tqdm(total=100, unit="%", disable=not sys.stderr.isatty()) as bar:
            for piece in pieces:
                size = max(1, AT_ONCE // max(1, arguments.n))
                for start in range(0, len(piece.rows), size):
                    some = slice(start, start + size)
                    numbers = piece.numbers[some]
                    cells = outside(numbers[:, : len(x)], learner.range_)
                    strangers += int(cells.any(1).sum())
                    counts = counts + cells.sum(0)
                    own = in_words(numbers, [*x, *known], kinds_of(units))
                    own.index = pd.Index(piece.rows[some])
                    yield _beside(learner, own, arguments.n)
                    rows += len(own)
                bar.update(int(100 * piece.read) - bar.n)

    with warnings.catch_warnings():
        warnings.simplefilter("ignore", UserWarning)  # of each piece; all are told of below
        write_pieces(arguments.output, found())
    if told := said_of(counts, strangers, rows, x, learner.range_):
        said.append(f"{arguments.table}: {told}")
    if (verdict := str(learner.summary_["verdict"])) != FOUND:
        said.append(f"{arguments.learner}: {verdict}")
    print(*said, f"{arguments.output}: {rows * arguments.n} partners of {rows} rows", sep="\n")


def _table(learner: SymmetryLearner, arguments: Namespace) -> Table:
    # How tables are read: as that of `fit` was, but for what is asked.
    table = learner.units_.table or Table()
    if table.separator in ",\t":
        table = replace(table, separator=usual_separator(arguments.table))
    if arguments.separator is not None:
        table = replace(table, separator=arguments.separator)
    if arguments.bad_rows is not None:
        table = replace(table, bad_rows=arguments.bad_rows, most_dropped=1)
    return table


def _report(arguments: Namespace) -> None:
    if arguments.output.suffix != ".html" or arguments.output.is_dir():
        raise ValueError(f"--output is {arguments.output}; allowed: a file, NAME.html")
    learner = SymmetryLearner.load(arguments.learner)
    x, y = list(learner.units_.x.names), list(learner.units_.target_names)
    table = _table(learner, arguments)
    categories = values_of(learner.units_)
    sheet = read_sheet(arguments.table, [*x, *y], table, categories=categories)
    rows = in_words(sheet.numbers, [*x, *y], kinds_of(learner.units_))
    page = of_learner(learner, rows[x], rows[y])
    write_bytes(arguments.output, page.encode())
    print(arguments.output)


def _beside(learner: SymmetryLearner, own: pd.DataFrame, count: int) -> dict[str, NDArray[Any]]:
    # The partners of rows, and the rows beside them, as columns by name.
    x, y, units = list(learner.units_.x.names), learner.units_.y, learner.units_
    moved = learner.partners(own[x], count)
    assert isinstance(moved, pd.DataFrame)
    beside_them = own.loc[moved.index.get_level_values("row")]
    before, after = (_predicted(learner, rows[x]) for rows in (beside_them, moved))
    astray = np.asarray((np.abs(after - before) / y.std > ASTRAY).any(1))
    of_x = {name: moved[name].to_numpy() for name in x}
    for name, kind, std in zip(x, kinds_of(units), units.x.std, strict=False):
        if kind.kind == "number" and not kind.held:
            of_x[name] = _rounded(of_x[name], std)

    def predicted(name: str, y_hat: NDArray[np.float64]) -> Iterator[tuple[str, NDArray[Any]]]:
        for target, column, std in zip(y.names, y_hat.T, y.std, strict=True):
            yield name.format(target), _rounded(column, std)

    return beside(
        [(level, moved.index.get_level_values(level).to_numpy()) for level in ("row", "partner")],
        of_x,
        [
            *predicted("{}_hat", after),
            ("astray", astray),
            *((f"own_{name}", beside_them[name].to_numpy()) for name in own),
            *predicted("own_{}_hat", before),
        ],
    )


def _rounded(column: NDArray[np.float64], std: float) -> NDArray[np.float64]:
    # To the decimals that a model of float32 can tell.
    return np.round(column, DIGITS - int(np.floor(np.log10(std))))


def _predicted(learner: SymmetryLearner, rows: pd.DataFrame) -> NDArray[np.float64]:
    found = learner.predict(rows)
    if learner.units_.target is not None:
        found = learner.predict_proba(rows)[:, 1:]
    return np.reshape(found, (len(rows), -1)).astype(np.float64)


if __name__ == "__main__":
    main()
