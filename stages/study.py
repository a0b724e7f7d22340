"""Trains and measures STIB with some params changed, as studies/params.yaml says of a study."""

from argparse import ArgumentParser
from collections.abc import Iterator
from typing import Any

import torch

from stages import plain_errors
from stages.cells import Cell, Rows, Settings, add_arguments, engine_of, finish, run
from symmetry.artifacts import read_yaml
from symmetry.evaluation import evaluate
from symmetry.fitting import fit
from symmetry.params import Params, parse

DIGITS = 5


def main() -> None:
    studies = read_yaml("studies/params.yaml")["studies"]
    parser = ArgumentParser(description=__doc__)
    parser.add_argument("study", choices=studies)
    add_arguments(parser)
    asked = parser.parse_args()
    changes = studies[asked.study]
    if isinstance(changes, str):
        params = parse(read_yaml(changes))
    else:
        params = changed(read_yaml("params.yaml"), changes)
    path = f"studies/results/{asked.study}.csv"
    finish(run(list(cells(asked.study, params)), path, engine_of(asked)))


def cells(study: str, params: Params) -> Iterator[Cell]:
    """Lists the cells of a study: each trains one seed on data that it draws itself."""
    content = params.model_dump(
        mode="json", include={"data": True, "train": True, "evaluate": True, "models": {"stib"}}
    )
    for seed in range(params.train.seeds):
        own = {**content, "model": "stib", "train": {**content["train"], "seeds": 1}}
        yield Cell(f"{study}, seed {seed}", measure, {"params": own, "seed": seed})


def measure(settings: Settings) -> Rows:
    """Trains STIB with one seed, and measures it on the test set."""
    params, seed = parse(settings["params"]), settings["seed"]
    parts = dict(params.data.parts())
    model = fit("stib", params, parts["train"], parts["validation"], seed=seed)
    evaluation = evaluate(
        model.requires_grad_(False),
        parts["test"],
        params.data.truth,
        neighbours=params.evaluate.neighbours,
        critic_steps=params.evaluate.critic_steps,
        generator=torch.Generator().manual_seed(params.evaluate.seed),
        refine=params.evaluate.refine,
        drawn=False,
    )
    figures = evaluation.metrics.items()
    known = {name: round(v[0], DIGITS) for name, v in figures if v is not None}
    return [{"seed": seed, **known}]


def changed(content: Any, changes: dict[str, Any]) -> Params:
    """Sets dotted keys in the content of params.yaml and checks the whole."""
    for key, value in changes.items():
        *parents, name = key.split(".")
        block = content
        for parent in parents:
            block = block.setdefault(parent, {})
        block[name] = value
    return parse(content)


if __name__ == "__main__":
    with plain_errors():
        main()
