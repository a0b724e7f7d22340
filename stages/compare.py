"""Prints DVC's experiments side by side: the paper's metrics of each model, and what differs.

`dvc exp show` has a column for each param and each file of the repository, which are hundreds.
"""

import re
from argparse import ArgumentParser
from collections.abc import Sequence
from typing import Any

import dvc.api
import pandas as pd

from stages import plain_errors

PAPERS = re.compile(r"metrics/table/(\w+)\.json:(x_mae|y_mae|mi_z0_y)")
ABOUT = ("Experiment", "rev", "typ", "Created", "parent", "State", "Executor")


def main() -> None:
    ArgumentParser(description=__doc__).parse_args()
    print(side_by_side(dvc.api.exp_show()).to_markdown(disable_numparse=True))


def side_by_side(experiments: Sequence[dict[str, Any]]) -> pd.DataFrame:
    """Sets experiments, as DVC returns them, in columns, and what is worth a look in rows."""
    shown: dict[str, dict[str, str]] = {}
    names = list(dict.fromkeys(name for one in experiments for name in one))
    for name in names:
        is_file = ":" not in name and ("/" in name or name == "params.yaml")
        values = [one.get(name) for one in experiments]
        differs = any(value != values[0] for value in values)
        if name not in ABOUT and not is_file and (PAPERS.fullmatch(name) or differs):
            label = PAPERS.sub(r"\1 \2", name)
            shown[label] = {
                f"{one['Experiment'] or one['rev']}": _cell(value)
                for one, value in zip(experiments, values, strict=True)
            }
    return pd.DataFrame.from_dict(shown, orient="index")


def _cell(value: Any) -> str:
    if value is None:
        return "–"
    return f"{value:.4g}" if isinstance(value, float) else str(value)


if __name__ == "__main__":
    with plain_errors():
        main()
