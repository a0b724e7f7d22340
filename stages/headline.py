"""Picks the metrics to compare by, of one model or of the one that params.yaml names.

Of a model into metrics/table/<model>.json; of the one in params.yaml into metrics/headline.json.
"""

from argparse import ArgumentParser

from stages import plain_errors, read_params
from symmetry.artifacts import read_metrics, write_json

PICKED = (  # a column each in `dvc metrics show`, which a terminal must hold
    *("x_mae", "y_mae", "mi_z0_y", "mi_z0_y_sampled", "leak_r2"),
    *("symmetry_error", "symmetry_coverage", "outside_share"),
    *("referee_error", "nearest_rows_error", "strayed_share", "objective"),
)


def main() -> None:
    parser = ArgumentParser(description=__doc__)
    parser.add_argument("model", nargs="?", help="[the one that params.yaml names]")
    asked = parser.parse_args().model
    key = asked or read_params().model
    metrics = read_metrics(f"metrics/{key}.json")
    picked = {name: metrics.get(name) for name in PICKED}
    path = f"metrics/table/{asked}.json" if asked else "metrics/headline.json"
    write_json(path, picked if asked else {"model": key, **picked})
    print(f"{path}:", picked)


if __name__ == "__main__":
    with plain_errors():
        main()
