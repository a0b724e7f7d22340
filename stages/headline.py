"""Copies the metrics of the model that params.yaml names into metrics/headline.json."""

from argparse import ArgumentParser

from stages import plain_errors, read_params
from symmetry.artifacts import read_metrics, write_json


def main() -> None:
    ArgumentParser(description=__doc__).parse_args()
    key = read_params().model
    headline = {"model": key, **read_metrics(f"metrics/{key}.json")}
    write_json("metrics/headline.json", headline)
    print("metrics/headline.json:", headline)


if __name__ == "__main__":
    with plain_errors():
        main()
