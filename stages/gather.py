"""Gathers the studies: studies/ablation.csv and .png, and metrics/seeds.csv of the default."""

from argparse import ArgumentParser

import pandas as pd

from stages import plain_errors
from stages.cells import DIGEST
from stages.plot import write_figure
from symmetry.artifacts import read_csv, read_yaml, write_bytes
from symmetry.figures import ablation
from symmetry.tables import history_frame, spread

METRICS = {"x_mae": "X MAE", "y_mae": "Y MAE", "mi_z0_y": "MI(Z0, Y) [bits]"}


def main() -> None:
    ArgumentParser(description=__doc__).parse_args()
    results = {study: of(study) for study in read_yaml("studies/params.yaml")["studies"]}
    write_table("metrics/seeds.csv", pd.concat([results["default"], spread(results["default"])]))
    summaries = [spread(result).assign(study=study) for study, result in results.items()]
    write_table("studies/ablation.csv", pd.concat(summaries).set_index("study").reset_index())
    write_figure("studies/ablation.png", ablation(results, METRICS))


def of(study: str) -> pd.DataFrame:
    """Reads a study's rows, a seed each."""
    rows = read_csv(f"studies/results/{study}.csv", ["seed", *METRICS], texts=[DIGEST])
    # Studies that ran before they were cells have no digest.
    return history_frame([{k: v for k, v in row.items() if k != DIGEST} for row in rows])


def write_table(path: str, table: pd.DataFrame) -> None:
    write_bytes(path, table.round(4).to_csv(index=False).encode())


if __name__ == "__main__":
    with plain_errors():
        main()
