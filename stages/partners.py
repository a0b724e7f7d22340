"""Finds other inputs with the same target: the learned symmetry applied to the rows of a table."""

import sys
from argparse import ArgumentParser
from collections.abc import Iterable, Iterator, Sequence
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor
from tqdm import tqdm

from stages import plain_errors
from symmetry.artifacts import read_dataset
from symmetry.checkpoints import load
from symmetry.data import Array, Table
from symmetry.frames import beside, in_words, kinds_of
from symmetry.kinds import possible, texts_of
from symmetry.models import Model
from symmetry.sheets import Sheet, read_names, read_pieces, values_of, write_pieces
from symmetry.symmetries import partners, strayed

AT_ONCE = 2**15  # partners; so many take the memory, however many there are in all
FAR = 20  # standard deviations from the mean of the training rows; no model saw such a row


def main() -> None:
    parser = ArgumentParser(
        description=__doc__,
        epilog="Each output row holds the number of its input row (from 0), the copy of the model "
        "(from 0), a partner x, the predicted y of the partner, change: sum |y of partner - y of "
        "row|, both predicted; astray: whether that is more than 0.02 standard deviations of any "
        "y, so that it is no partner; then own_…, the row's x, its y if the file has it, and its "
        "predicted y. Where x has a column of such a name, the other one ends in _.",
    )
    parser.add_argument(
        "rows",
        type=Path,
        help="csv with a header, or Parquet, with the columns of x that the model knows by name, "
        "or, where it knows none, with x in its first columns; read as the training rows were",
    )
    parser.add_argument("--count", type=int, default=20, help="partners of each row [20]")
    parser.add_argument(
        "-o", "--output", type=Path, required=True, help="csv, or .parquet, to write"
    )
    parser.add_argument("--model", type=Path, default="models/stib_flow/weights.safetensors")
    parser.add_argument(
        "--pool", type=Path, help="whose Z0 to take [data/validation.npz of the model's pipeline]"
    )
    parser.add_argument("--copy", type=int, default=0, help="which seed of the model [0]")
    parser.add_argument("--seed", type=int, default=0, help="of the draw of partners [0]")
    parser.add_argument(
        "--bad-rows",
        choices=("refuse", "drop"),
        help="whether rows with missing or bad cells end the run or get no partners, however many "
        "[as in training]",
    )
    arguments = parser.parse_args()
    model = load(arguments.model)
    if arguments.count < 1 or not 0 <= arguments.copy < model.sizes.stack:
        raise ValueError(
            f"--count is {arguments.count}, allowed is 1 or more; --copy is {arguments.copy}, "
            f"allowed is 0 to {model.sizes.stack - 1}"
        )
    copy, model = arguments.copy, model.alone(arguments.copy)
    table = (model.units and model.units.table) or Table()
    if arguments.bad_rows is not None:
        table = replace(table, bad_rows=arguments.bad_rows, most_dropped=1)
    needed, known = columns(read_names(arguments.rows, table), arguments.rows, model)
    categories = values_of(model.units)
    held = model.units.held if model.units else ()
    place = arguments.pool or arguments.model.absolute().parents[2] / "data" / "validation.npz"
    pool = torch.as_tensor(read_dataset(place).x, dtype=torch.float32)
    generator = torch.Generator().manual_seed(arguments.seed)
    rows, strangers, said = 0, 0, list[str]()

    def found() -> Iterator[dict[str, NDArray[Any]]]:
        nonlocal rows, strangers
        pieces = read_pieces(
            arguments.rows,
            needed,
            table,
            optional=known,
            exact=held,
            categories=categories,
            say=said.append,
        )
        with tqdm(total=100, unit="%", disable=not sys.stderr.isatty()) as bar:
            for part in parts_of(pieces, max(1, AT_ONCE // arguments.count)):
                yield of_rows(model, part, known, arguments.count, copy, generator, pool)
                unlike = part.rows[far(model, part.numbers)]
                if len(unlike) and not strangers:
                    said.append(
                        f"{arguments.rows}: row {unlike[0] + 1} is more than {FAR} standard "
                        "deviations from the training rows"
                    )
                strangers += len(unlike)
                rows += len(part.rows)
                bar.update(int(100 * part.read) - bar.n)

    write_pieces(arguments.output, found())
    if strangers:
        said.append(f"{strangers} rows are so far from them that their partners mean nothing")
    told = f"{arguments.output}: {rows * arguments.count} partners of {rows} rows"
    print(*said, told, sep="\n", file=sys.stderr)


def names(model: Model) -> tuple[Sequence[str], Sequence[str]]:
    """Returns the names of the columns of x and y: those of the data, or x1, x2, … and y1, …."""
    if model.units is not None:
        return model.units.x.names, model.units.y.names
    sizes = model.sizes
    return [f"x{i + 1}" for i in range(sizes.x)], [f"y{i + 1}" for i in range(sizes.y)]


def targets(model: Model) -> Sequence[str]:
    """Returns the names of the columns of y in a table: those of the data, or that of a class."""
    return names(model)[1] if model.units is None else model.units.target_names


def columns(found: Sequence[str], path: Path, model: Model) -> tuple[list[str], list[str]]:
    """Chooses the columns that a model needs, x and, where it decodes from it, y; and other y.

    Raises:
        ValueError: If the file has too few columns, or lacks one that the model knows by name.
    """
    y_names = targets(model)
    x_size, y_size = model.sizes.x, len(y_names) if model.decodes_from_y else 0
    if len(found) < x_size + y_size:
        raise ValueError(
            f"{path} has {len(found)} columns; the model takes {x_size} of x"
            + (f" and {y_size} of y" if y_size else "")
        )
    if model.units is None:
        return list(found[: x_size + y_size]), []
    needed = [*model.units.x.names, *(y_names if y_size else ())]
    absent = [name for name in needed if name not in found]
    if absent:
        raise ValueError(
            f"{path} has no column {', '.join(map(repr, absent))}, which the model was "
            f"trained on; it has {', '.join(map(repr, found))}"
        )
    return needed, [name for name in y_names if name in found and not y_size]


def parts_of(pieces: Iterable[Sheet], size: int) -> Iterator[Sheet]:
    """Yields the pieces of a file in parts of at most so many rows."""
    before = 0.0
    for piece in pieces:
        count = len(piece.rows)
        for start in range(0, count, size):
            some = slice(start, start + size)
            read = before + (piece.read - before) * min(start + size, count) / count
            yield replace(piece, numbers=piece.numbers[some], rows=piece.rows[some], read=read)
        before = piece.read


def far(model: Model, numbers: Array) -> NDArray[np.bool_]:
    """Tells which rows, with x in their first columns, the model saw nothing like."""
    if model.units is None:
        return np.zeros(len(numbers), bool)
    columns = model.units.x
    distance = np.abs(numbers[:, : len(columns.names)] - columns.mean) / columns.std
    distance[:, [kind.is_category for kind in columns.kinds] or []] = 0  # all of them were seen
    return np.asarray((distance > FAR).any(1))


def of_rows(
    model: Model,
    sheet: Sheet,
    known: Sequence[str],
    count: int,
    copy: int,
    generator: torch.Generator,
    pool: Tensor,
) -> dict[str, NDArray[Any]]:
    """Finds the partners of rows with a model of one copy, as columns by name."""
    x_names, y_names = names(model)
    size = len(x_names)
    kinds = model.units.x.kinds if model.units else ()
    target = model.units.target if model.units else None
    x, y = sheet.numbers[:, :size], None
    if model.decodes_from_y:
        given = sheet.numbers[:, size : size + len(targets(model))]
        y = _float32(target.indicators(given[:, 0]) if target else given)
    found = partners(model, _float32(x), count, generator, pool=pool, y=y)
    moved = found[0].transpose(0, 1).flatten(0, 1)  # (n · count, x_size)
    points = possible(moved.numpy(), kinds)
    before = predictions(model, _float32(x)).repeat_interleave(count, 0)
    after = predictions(model, moved)
    predicted = [f"{name}_hat" for name in y_names[: after.shape[1]]]
    own = [*x_names, *(targets(model) if model.decodes_from_y else known)]
    rows = in_words(sheet.numbers, own, kinds_of(model.units) if model.units else ())
    of_x = dict(zip(x_names, points.T, strict=True))
    for name, kind in zip(x_names, kinds, strict=False):
        if kind.held:
            of_x[name] = rows[name].to_numpy().repeat(count)
        elif kind.is_category:
            of_x[name] = texts_of(of_x[name], kind)
    compared: list[tuple[str, NDArray[Any]]] = []
    if predicted:
        compared = [
            ("change", (after - before).abs().sum(1).numpy()),
            ("astray", strayed(model, _float32(x), found)[0].T.flatten().numpy()),
        ]
    return beside(
        [("row", sheet.rows.repeat(count)), ("copy", np.full(len(moved), copy))],
        of_x,
        [
            *zip(predicted, after.numpy().T, strict=True),
            *compared,
            *((f"own_{name}", rows[name].to_numpy().repeat(count)) for name in own),
            *zip([f"own_{name}" for name in predicted], before.numpy().T, strict=True),
        ],
    )


def _float32(rows: Array) -> Tensor:
    return torch.as_tensor(rows, dtype=torch.float32)


def predictions(model: Model, x: Tensor) -> Tensor:
    """Predicts y; no columns where the model predicts none."""
    y_hat = model.prediction(x)
    return x.new_empty(len(x), 0) if y_hat is None else y_hat[0]


if __name__ == "__main__":
    with plain_errors():
        main()
