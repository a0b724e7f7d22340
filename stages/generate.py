"""Makes the training, validation and test sets of the task into data/."""

from argparse import ArgumentParser

from stages import plain_errors, read_params
from symmetry.artifacts import write_dataset


def main() -> None:
    ArgumentParser(description=__doc__).parse_args()
    for name, dataset in read_params().data.parts():
        write_dataset(f"data/{name}.npz", dataset)
        print(f"data/{name}.npz: {len(dataset)} rows")


if __name__ == "__main__":
    with plain_errors():
        main()
