"""Runs a method's cells of the laws: each law with each number of rows, noise and seed."""

from argparse import ArgumentParser
from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import Any

from stages import plain_errors
from stages.cells import Cell, add_arguments, engine_of, finish, run
from studies.peers.measure import measure
from symmetry.artifacts import read_yaml

FOLDER = Path("studies/laws")
NAMES = ("law", "method", "verdict")  # the columns of the figures that are text
NUMBERS = ("limit", "test_rows", "partners", "covered_rows", "covering_partners")


def main() -> None:
    content = read_yaml(FOLDER / "laws.yaml")
    parser = ArgumentParser(description=__doc__)
    parser.add_argument("method", choices=content["methods"])
    parser.add_argument("--law", action="append", choices=content["laws"], help="this one alone")
    parser.add_argument("--rows", type=int, choices=content["rows"], help="so many alone")
    parser.add_argument("--noise", type=float, choices=content["noise"], help="so much alone")
    parser.add_argument("--seed", type=int, choices=range(content["seeds"]), help="this one alone")
    add_arguments(parser)
    asked = parser.parse_args()
    engine = engine_of(asked)
    all_of_it = list(cells(content, asked.method))
    chosen = [
        cell
        for cell in all_of_it
        if (asked.law is None or cell.settings["name"]["law"] in asked.law)
        and all(
            value is None or cell.settings[name] == value
            for name, value in [("rows", asked.rows), ("noise", asked.noise), ("seed", asked.seed)]
        )
    ]
    finish(run(all_of_it, FOLDER / "results" / f"{asked.method}.csv", engine, chosen))


def cells(content: Mapping[str, Any], method: str) -> Iterator[Cell]:
    """Lists the cells of a method, as laws.yaml has them.

    Arguments:
        content: The content of laws.yaml.
        method: The name of the method.
    """
    settings = content["methods"][method]
    numbers = {name: content[name] for name in NUMBERS}
    for law, formula in content["laws"].items():
        for rows in content["rows"]:
            for noise in content["noise"]:
                for seed in range(content["seeds"]):
                    yield Cell(
                        f"{method} on {law}, {rows} rows, noise {noise}, seed {seed}",
                        measure,
                        {
                            "name": {"law": law, "method": method},
                            "law": formula,
                            "method": settings,
                            "rows": rows,
                            "noise": noise,
                            "seed": seed,
                            **numbers,
                        },
                        modules=(f"studies.peers.{settings['peer']}",),
                    )


if __name__ == "__main__":
    with plain_errors():
        main()
