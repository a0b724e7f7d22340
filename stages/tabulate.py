"""Sets the models' metrics beside the published ones in metrics/table.md and table.csv."""

from argparse import ArgumentParser

from stages import plain_errors, read_params
from symmetry.artifacts import read_dataset, read_json, write_bytes
from symmetry.params import ModelsParams
from symmetry.references import reference_rows
from symmetry.tables import comparison, markdown


def main() -> None:
    ArgumentParser(description=__doc__).parse_args()
    params = read_params()
    test = read_dataset("data/test.npz")
    metrics = {key: read_json(f"metrics/{key}.json") for key in ModelsParams.model_fields}
    # The closed forms hold for the paper's task, whose data alone come with t.
    references = {} if test.t is None else reference_rows(test, params.evaluate.neighbours)
    table = comparison(metrics, references)
    write_bytes("metrics/table.csv", table.to_csv(index=False, float_format="%.4f").encode())
    write_bytes("metrics/table.md", markdown(table).encode())
    print(markdown(table))


if __name__ == "__main__":
    with plain_errors():
        main()
