"""Draws the training, validation and test sets of the paper's task into data/."""

from argparse import ArgumentParser

from numpy.random import SeedSequence, default_rng

from stages import plain_errors, read_params
from symmetry.artifacts import write_dataset
from symmetry.data import spiral


def main() -> None:
    ArgumentParser(description=__doc__).parse_args()
    params = read_params().data
    rows = {
        "train": params.train_rows,
        "validation": params.validation_rows,
        "test": params.test_rows,
    }
    # A stream for each set: more training rows do not change the test set.
    for (name, count), seed in zip(rows.items(), SeedSequence(params.seed).spawn(3), strict=True):
        write_dataset(f"data/{name}.npz", spiral(count, default_rng(seed)))
        print(f"data/{name}.npz: {count} rows")


if __name__ == "__main__":
    with plain_errors():
        main()
