"""Trains and measures STIB with some params changed, as studies/params.yaml says of a study."""

from argparse import ArgumentParser
from typing import Any

import torch

from stages import plain_errors
from stages.train import trained
from symmetry.artifacts import read_dataset, read_yaml, write_csv
from symmetry.evaluation import evaluate
from symmetry.params import Params, parse


def main() -> None:
    studies = read_yaml("studies/params.yaml")["studies"]
    parser = ArgumentParser(description=__doc__)
    parser.add_argument("study", choices=studies)
    study = parser.parse_args().study
    changes = studies[study]
    if isinstance(changes, str):
        params = parse(read_yaml(changes))
    else:
        params = changed(read_yaml("params.yaml"), changes)
    test = read_dataset("data/test.npz")
    with trained("stib", params, f"studies/runs/{study}") as (model, _):
        evaluation = evaluate(
            model.requires_grad_(False),
            test,
            params.data.truth,
            neighbours=params.evaluate.neighbours,
            critic_steps=params.evaluate.critic_steps,
            generator=torch.Generator().manual_seed(params.evaluate.seed),
            refine=params.evaluate.refine,
        )
        known = {name: values for name, values in evaluation.metrics.items() if values is not None}
        rows = [
            {"seed": seed, **{name: round(v[seed], 5) for name, v in known.items()}}
            for seed in range(params.train.seeds)
        ]
        write_csv(f"studies/results/{study}.csv", rows)


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
