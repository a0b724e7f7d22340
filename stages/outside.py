"""Runs the benchmarks of others and sets our figures beside theirs: metrics/outside.csv."""

from argparse import ArgumentParser
from collections.abc import Iterator, Mapping, Sequence
from pathlib import Path
from typing import Any

import pandas as pd

from stages import plain_errors
from stages.cells import DIGEST, Cell, add_arguments, engine_of, finish, run
from studies.outside import kruse, ren, shaw
from symmetry.artifacts import read_csv, read_yaml, write_bytes

FOLDER = Path("studies/outside")
WORK = {"kruse": kruse.measure, "ren": ren.measure, "shaw": shaw.measure}
KEY = ["benchmark", "method", "rows", "metric"]
COLUMNS = [*KEY, "ours", "deviation", "seeds", "published", "who", "source"]


def main() -> None:
    content = read_yaml(FOLDER / "outside.yaml")
    parser = ArgumentParser(description=__doc__)
    parser.add_argument("--benchmark", action="append", choices=content["benchmarks"])
    parser.add_argument("--rows", type=int, help="so many alone")
    parser.add_argument("--seed", type=int, choices=range(content["seeds"]), help="this one alone")
    add_arguments(parser)
    asked = parser.parse_args()
    engine = engine_of(asked)
    all_of_it = list(cells(content))
    chosen = [
        cell
        for cell in all_of_it
        if (asked.benchmark is None or cell.settings["name"]["benchmark"] in asked.benchmark)
        and asked.rows in (None, cell.settings["rows"])
        and asked.seed in (None, cell.settings["seed"])
    ]
    path = FOLDER / "results.csv"
    faults = run(all_of_it, path, engine, chosen)
    if path.exists():
        found = gathered(read_csv(path), content["published"], content["sources"])
        write_bytes("metrics/outside.csv", found.to_csv(index=False).encode())
    finish(faults)


def cells(content: Mapping[str, Any]) -> Iterator[Cell]:
    """Lists the cells: each benchmark with each method, number of rows and seed.

    Arguments:
        content: The content of outside.yaml.
    """
    for benchmark, settings in content["benchmarks"].items():
        others = {name: value for name, value in settings.items() if name != "of"}
        for method, given in content["methods"].items():
            for rows in settings["rows"]:
                for seed in range(content["seeds"]):
                    yield Cell(
                        f"{method} on {benchmark}, {rows} rows, seed {seed}",
                        WORK[settings["of"]],
                        {
                            **others,
                            "name": {"benchmark": benchmark, "method": method},
                            "method": given,
                            "rows": rows,
                            "seed": seed,
                        },
                    )


def gathered(
    rows: Sequence[Mapping[str, str]],
    published: Sequence[Mapping[str, Any]],
    sources: Mapping[str, str],
) -> pd.DataFrame:
    """Takes means over seeds, and sets beside each all that others have published of it.

    Arguments:
        rows: The rows of the cells, with their digests.
        published: What others have published, as outside.yaml has it.
        sources: Where it stands, by the names that are used there.
    """
    found = pd.DataFrame(rows).drop(columns=DIGEST).astype({"rows": int, "value": float})
    figures = found.groupby(KEY, sort=False)["value"]
    ours = figures.agg(ours="mean", deviation="std", seeds="count").reset_index()
    beside = []
    for row in ours.to_dict("records"):
        same = {name: row[name] for name in ("benchmark", "metric", "rows")}
        theirs = [one for one in published if {**one, **same} == {**same, **one}]
        beside += [
            {
                **row,
                "published": one.get("value"),
                "who": one.get("who"),
                "source": sources.get(one.get("source", "")),
            }
            for one in theirs or [{}]
        ]
    return pd.DataFrame(beside, columns=COLUMNS)


if __name__ == "__main__":
    with plain_errors():
        main()
