"""Writes report.html: what one model has found, on a page that opens anywhere, offline."""

from argparse import ArgumentParser
from pathlib import Path

import numpy as np
import pandas as pd
import torch

from stages import plain_errors, read_params
from stages.tabulate import read_verdict
from symmetry.artifacts import (
    digest,
    read_arrays,
    read_csv,
    read_dataset,
    read_metrics,
    write_bytes,
)
from symmetry.checkpoints import load
from symmetry.data import Array, Columns
from symmetry.frames import in_words, words_of
from symmetry.kinds import possible
from symmetry.models import MODELS
from symmetry.rates import slopes
from symmetry.report import SLOPED, Run, content, render
from symmetry.tables import history_frame

DATA = {
    "rows to train on": "data/train.npz",
    "rows to select weights": "data/validation.npz",
    "rows to judge": "data/test.npz",
}


def main() -> None:
    parser = ArgumentParser(description=__doc__)
    parser.add_argument("model", nargs="?", choices=MODELS, help="[that of params.yaml]")
    parser.add_argument("-o", "--output", default="report.html", help="[report.html]")
    arguments = parser.parse_args()
    params = read_params()
    key = arguments.model or params.model
    test = read_dataset("data/test.npz")
    arrays = read_arrays(f"evaluations/{key}.npz", ("partners", "orbits"))
    model = load(f"models/{key}/weights.safetensors").alone(0).double()

    def predict(x: Array) -> Array:
        y_hat = model.prediction(torch.from_numpy(x))
        assert y_hat is not None
        return y_hat[0].numpy()

    x_columns, y_columns = (test.units.x, test.units.y) if test.units else (None, None)
    kinds = x_columns.kinds if x_columns else ()
    partners = possible(arrays["partners"].astype(np.float64), kinds)
    steep = guessed = None
    if not model.decodes_from_y:
        steep = slopes(predict, test.x[:SLOPED], test.x.std(0))
        # Along codes there is none, and what is held trades for nothing.
        steep[..., [kind.is_category or kind.held for kind in kinds] or []] = 0
        guessed = predict(partners.reshape(-1, test.x.shape[1])).reshape(*partners.shape[:2], -1)
    settings = params.model_dump(exclude={"models"})
    settings["models"] = {key: params.models.block(key).model_dump()}
    run = Run(
        title=Path(getattr(params.data, "path", params.data.task)).stem,
        model=key.upper(),
        verdict=read_verdict(f"evaluations/{key}.json"),
        x=frame(test.x, "x", x_columns),
        y=frame(test.y, "y", y_columns),
        y_hat=arrays.get("y_hat"),
        partners=words_of(partners, kinds),
        partners_y_hat=guessed,
        orbits=words_of(possible(arrays["orbits"].astype(np.float64), kinds), kinds),
        slopes=steep,
        metrics=read_metrics(f"metrics/{key}.json"),
        history=history_frame(read_csv(f"models/{key}/history.csv", ("step", "seed"))),
        params=settings,
        facts={
            "task": params.data.task,
            **{name: str(len(read_dataset(path))) for name, path in DATA.items()},
            "SHA-256 of these rows": digest(DATA.values(), ()),
        },
    )
    page = render(content(run)).encode()
    write_bytes(arguments.output, page)
    print(f"{arguments.output}: {len(page) / 1e6:.1f} MB")


def frame(rows: Array, side: str, columns: Columns | None) -> pd.DataFrame:
    """Gives x or y the names of their columns, or x1, x2, …, and the values of categories."""
    numbered = [f"{side}{number + 1}" for number in range(rows.shape[1])]
    return in_words(rows, columns.names if columns else numbered, columns.kinds if columns else ())


if __name__ == "__main__":
    with plain_errors():
        main()
