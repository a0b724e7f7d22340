"""Sets the models' metrics beside the published ones in metrics/table.md and table.csv."""

from argparse import ArgumentParser

from numpy.random import default_rng

from stages import plain_errors, read_params
from symmetry.artifacts import read_dataset, read_json, read_metrics, write_bytes
from symmetry.estimators import permutation_null, whiten
from symmetry.references import reference_rows
from symmetry.tables import comparison, markdown
from symmetry.verdicts import Verdict


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
    sizes = [params.models.block(key).sizes() for key in metrics]
    widths = [int(of.get("invariant") or test.x.shape[1]) for of in sizes]
    null = permutation_null(
        generator.standard_normal((len(test), max(widths))),
        whiten(test.y),
        generator,
        neighbours=neighbours,
    )
    verdicts = {key.upper(): str(read_verdict(f"evaluations/{key}.json")) for key in metrics}
    names = test.units.x.names if test.units else ()
    spreads = {
        key.upper(): {name: measured[f"spread.{name}"] for name in names}
        for key, measured in metrics.items()
    }
    text = markdown(table, null, test.units is not None, verdicts, spreads)
    write_bytes("metrics/table.csv", table.to_csv(index=False, float_format="%.4f").encode())
    write_bytes("metrics/table.md", text.encode())
    print(text)


def read_verdict(path: str) -> Verdict:
    """Reads what the referee said of a model."""
    try:
        return Verdict.from_json(read_json(path))
    except (KeyError, TypeError) as error:
        raise ValueError(f"{path} holds no verdict: {error!r}") from None


if __name__ == "__main__":
    with plain_errors():
        main()
