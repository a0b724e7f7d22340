"""Sets the models' metrics beside the published ones in metrics/table.md and table.csv."""

from argparse import ArgumentParser

from numpy.random import default_rng

from stages import plain_errors, read_params
from symmetry.artifacts import read_dataset, read_metrics, write_bytes
from symmetry.estimators import permutation_null, whiten
from symmetry.references import reference_rows
from symmetry.tables import comparison, markdown, shortcomings


def main() -> None:
    ArgumentParser(description=__doc__).parse_args()
    params = read_params()
    neighbours = params.evaluate.neighbours
    test = read_dataset("data/test.npz")
    task = params.data
    metrics = {key: read_metrics(f"metrics/{key}.json") for key in params.models.given()}
    references = reference_rows(test, task.truth, neighbours)
    table = comparison(metrics, references, task.published)
    # Normal draws stand for Z0: how wide the band is depends on the estimator and the sizes.
    generator = default_rng(params.evaluate.seed)
    width = max(params.models.block(key).sizes()["invariant"] for key in metrics)
    null = permutation_null(
        generator.standard_normal((len(test), width)),
        whiten(test.y),
        generator,
        neighbours=neighbours,
    )
    warnings = {}
    if not task.published:  # the paper's table shows on purpose how its baselines fail
        constant = references["Constant prediction"]
        for key, measured in metrics.items():
            warnings[key.upper()] = shortcomings(measured, constant, null)
    text = markdown(table, null, test.units is not None, warnings)
    write_bytes("metrics/table.csv", table.to_csv(index=False, float_format="%.4f").encode())
    write_bytes("metrics/table.md", text.encode())
    print(text)


if __name__ == "__main__":
    with plain_errors():
        main()
