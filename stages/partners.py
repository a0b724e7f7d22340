"""Finds other inputs with the same target: the learned symmetry applied to the rows of a csv."""

import sys
from argparse import ArgumentParser
from collections.abc import Sequence
from pathlib import Path

import numpy as np
import torch

from stages import plain_errors
from symmetry.artifacts import read_csv, read_dataset, write_csv
from symmetry.checkpoints import load
from symmetry.models import Model
from symmetry.symmetries import partners


def main() -> None:
    parser = ArgumentParser(
        description=__doc__,
        epilog="Each output row holds the number of its input row (from 0), a partner x, the "
        "predicted y of the partner, and change: sum |y of partner - y of row|, both predicted.",
    )
    parser.add_argument(
        "rows",
        type=Path,
        help="csv with a header and the columns of x that the model knows by name, or, where it "
        "knows none, with x in its first columns",
    )
    parser.add_argument("--count", type=int, default=20, help="partners of each row [20]")
    parser.add_argument("-o", "--output", type=Path, required=True, help="csv to write")
    parser.add_argument("--model", type=Path, default="models/stib/weights.safetensors")
    parser.add_argument(
        "--pool", type=Path, help="whose Z0 to take [data/validation.npz of the model's pipeline]"
    )
    parser.add_argument("--copy", type=int, default=0, help="which seed of the model [0]")
    parser.add_argument("--seed", type=int, default=0, help="of the draw of partners [0]")
    arguments = parser.parse_args()
    model = load(arguments.model)
    if arguments.count < 1 or not 0 <= arguments.copy < model.sizes.stack:
        raise ValueError(
            f"--count is {arguments.count}, allowed is 1 or more; --copy is {arguments.copy}, "
            f"allowed is 0 to {model.sizes.stack - 1}"
        )
    x, y = columns(arguments.rows, model)
    pool = arguments.pool or arguments.model.absolute().parents[2] / "data" / "validation.npz"
    moved = partners(
        model,
        x,
        arguments.count,
        torch.Generator().manual_seed(arguments.seed),
        pool=torch.as_tensor(read_dataset(pool).x, dtype=torch.float32),
        y=y if model.decodes_from_y else None,
    )[arguments.copy]
    before = predictions(model, x, arguments.copy)
    x_names, y_names = names(model)
    table = []
    for partner in moved:
        after = predictions(model, partner, arguments.copy)
        for row, (point, old, new) in enumerate(zip(partner, before, after, strict=True)):
            cells = {name: round(v, 6) for name, v in zip(x_names, point.tolist(), strict=True)}
            if len(new):
                predicted = zip(y_names, new.tolist(), strict=True)
                cells |= {f"{name}_hat": round(v, 6) for name, v in predicted}
            change = {"change": round(float((new - old).abs().sum()), 6)} if len(new) else {}
            table.append({"row": row, **cells, **change})
    table.sort(key=lambda cells: cells["row"])
    write_csv(arguments.output, table)
    print(f"{arguments.output}: {len(table)} partners of {len(x)} rows", file=sys.stderr)


def names(model: Model) -> tuple[Sequence[str], Sequence[str]]:
    """Returns the names of the columns of x and y: those of the data, or x1, x2, … and y1, …."""
    if model.units is not None:
        return model.units.x.names, model.units.y.names
    sizes = model.sizes
    return [f"x{i + 1}" for i in range(sizes.x)], [f"y{i + 1}" for i in range(sizes.y)]


def columns(path: Path, model: Model) -> tuple[torch.Tensor, torch.Tensor]:
    """Reads x, and y where the model decodes from it, by name or from a csv's first columns."""
    rows = read_csv(path)
    x_size, y_size = model.sizes.x, model.sizes.y if model.decodes_from_y else 0
    found = list(rows[0]) if rows else []
    if len(found) < x_size + y_size:
        raise ValueError(
            f"{path} has {len(rows)} rows of {len(found)} columns; the model takes {x_size} of x"
            + (f" and {y_size} of y" if y_size else "")
        )
    needed = found[: x_size + y_size]
    if model.units is not None:
        needed = [*model.units.x.names, *(model.units.y.names if y_size else ())]
        absent = [name for name in needed if name not in found]
        if absent:
            raise ValueError(
                f"{path} has no column {', '.join(map(repr, absent))}, which the model was "
                f"trained on; it has {', '.join(map(repr, found))}"
            )
    try:
        values = np.array([[float(row[name]) for name in needed] for row in rows])
    except (TypeError, ValueError) as error:
        raise ValueError(f"{path}: {error}") from None
    bad = np.argwhere(~np.isfinite(values))
    if len(bad):
        raise ValueError(f"{path}: row {bad[0, 0] + 1}, column {bad[0, 1] + 1} is not finite")
    table = torch.as_tensor(values, dtype=torch.float32)
    return table[:, :x_size], table[:, x_size:]


def predictions(model: Model, x: torch.Tensor, copy: int) -> torch.Tensor:
    """Predicts y with one copy; no columns where the model predicts none."""
    code = model.encode(x)
    y_hat = model.predict(code.invariant, code.target)
    return x.new_empty(len(x), 0) if y_hat is None else y_hat[copy]


if __name__ == "__main__":
    with plain_errors():
        main()
