"""Searches better settings of a folder's model by its validation rows, without a known truth."""

import math
import os
import re
from argparse import ArgumentParser
from collections.abc import Mapping
from pathlib import Path
from typing import TYPE_CHECKING, Any, NamedTuple

import numpy as np
import torch
from numpy.random import default_rng

from stages import plain_errors
from stages.cells import Cell, Fault, Settings, add_arguments, engine_of
from stages.study import changed
from symmetry.artifacts import digest, read_yaml, replacing
from symmetry.coverage import partner_coverage
from symmetry.data import Dataset
from symmetry.fitting import fit
from symmetry.params import Params, parse
from symmetry.referee import Referee
from symmetry.symmetries import partners

if TYPE_CHECKING:
    from optuna import Study
    from optuna.trial import FrozenTrial, Trial

FACTORS = {  # by how much a setting may be smaller or larger than in params.yaml
    "learning_rate": 30,
    "steps": 4,
    "predictor_steps": 4,
    "hidden_size": 4,
    "noise": 10,
    "kl_weight": 10,
    "dependence_weight": 10,
}
JUDGED, JUDGING = 2000, 20  # rows, and partners of each, as in the evaluation
STORAGE = "sqlite:///search.db"  # in the folder
DEFAULTS = "defaults"  # marks the trial of the settings in params.yaml
DIVERGED = "diverged"  # marks a trial that failed by itself and was not broken off
CHANCE = "chance"  # what a trial keeps beside its two values: their standard errors
FOUND = "From a search of"  # begins the comment, which replaces that of an earlier search
LONGEST = 10_000  # characters of a line, so that none is broken
PROOF = 2  # standard errors by which a setting must be better
CODE = Path(__file__).parent, Path(__file__).parents[1] / "symmetry"


class Worth(NamedTuple):
    """Holds what a setting is worth on validation rows, each the lower the better.

    Arguments:
        error: What the referee finds that y changes from a row to its partners, in sd of y.
        lack: By how much coverage of partners reads above its floor; 0 if it does not, or where
            columns are held.
        error_chance: The standard error of the error.
        lack_chance: The standard error of the lack.
    """

    error: float
    lack: float
    error_chance: float
    lack_chance: float

    @property
    def total(self) -> float:
        """What is to be as low as can be where one of the two must give way."""
        return self.error + self.lack

    def __str__(self) -> str:
        """Says it in words."""
        return f"referee error {self.error:.4f}, coverage above its floor {self.lack:.4f}"


def main() -> None:
    parser = ArgumentParser(
        description=__doc__,
        epilog="What is minimised is the referee's error and the lack of coverage on the "
        "validation rows; test rows are not looked at. Trials stand in search.db in the folder: "
        "a search that was broken off goes on, as long as code, data and params are the same. "
        "Settings that are better than those of params.yaml are written there.",
    )
    parser.add_argument("folder", type=Path, help="with a params.yaml, such as examples/own")
    parser.add_argument("--trials", type=int, default=30, help="in all, with earlier ones [30]")
    add_arguments(parser, engines=["joblib"])  # its file is on this machine
    asked = parser.parse_args()
    engine = engine_of(asked)
    try:
        import optuna
        from sqlalchemy.exc import DatabaseError
    except ModuleNotFoundError:
        raise ValueError(
            "a search needs the package optuna, which is not installed; pip install '.[search]'"
        ) from None
    if asked.trials < 2:
        raise ValueError(f"--trials is {asked.trials}; allowed: 2 or more")
    if not (asked.folder / "params.yaml").is_file():
        raise ValueError(f"{asked.folder} holds no params.yaml; name a folder that does")
    os.chdir(asked.folder)
    content = read_yaml("params.yaml")
    params = parse(content)
    optuna.logging.set_verbosity(optuna.logging.WARNING)
    name = _digest(params)
    try:
        study = optuna.create_study(
            storage=STORAGE,
            study_name=name,
            directions=("minimize", "minimize"),
            load_if_exists=True,
        )
    except DatabaseError as error:
        raise ValueError(
            f"{asked.folder}/search.db cannot be read: {error.orig}; move it away to begin anew"
        ) from None
    if not any(DEFAULTS in trial.user_attrs and trial.values for trial in _done(study)):
        block = params.models.block(params.model).model_dump()
        study.enqueue_trial(
            {key: block[key] for key in _space(block)}, user_attrs={DEFAULTS: True}
        )
    shared = {"study": name, "trials": asked.trials, "content": content}
    workers = [
        Cell(f"worker {number}", work, {**shared, "worker": number})
        for number in range(asked.jobs)
    ]
    for worker, found in engine(workers):
        if isinstance(found, Fault):
            raise ValueError(f"{worker}: {found.reason}")
    front = sorted(study.best_trials, key=lambda trial: trial.values)
    given = _defaults(study)
    better = [trial for trial in front if is_better(_worth(trial), _worth(given))]
    print(f"params.yaml, trial {given.number + 1}: {_worth(given)}")
    for trial in front:
        print(f"trial {trial.number + 1}: {_worth(trial)}, with {_settings(trial.params)}")
    if not better:
        print("Nothing is better than params.yaml by more than chance; it stays as it is.")
        return
    best = min(better, key=lambda trial: _worth(trial).total)
    words = f"{FOUND} {len(_done(study))} trials: {_worth(best)}; before: {_worth(given)}."
    write("params.yaml", params.model, _settings(best.params), words)
    print(
        f"params.yaml now has the settings of trial {best.number + 1}, which is better by more "
        "than chance."
    )


def work(settings: Settings) -> list[dict[str, Any]]:
    """Runs trials of a study until there are as many as the settings ask for, in all."""
    import optuna

    optuna.logging.set_verbosity(optuna.logging.WARNING)
    study = optuna.load_study(study_name=settings["study"], storage=STORAGE)
    # Each worker draws otherwise, and one that goes on does not draw the same again.
    study.sampler = optuna.samplers.TPESampler(seed=len(study.trials) + settings["worker"])
    content, trials = settings["content"], settings["trials"]
    params = parse(content)
    parts = params.data.parts()
    data = {name: dataset for name, dataset in parts if name != "test"}
    block = params.models.block(params.model).model_dump()

    def objective(trial: "Trial") -> tuple[float, float]:
        chosen = _settings({name: suggest(trial, name, block[name]) for name in _space(block)})
        changes = {f"models.{params.model}.{name}": value for name, value in chosen.items()}
        try:
            found = worth(changed(content, changes), data["train"], data["validation"])
        except FloatingPointError:
            trial.set_user_attr(DIVERGED, True)
            raise
        trial.set_user_attr(CHANCE, (found.error_chance, found.lack_chance))
        return found.error, found.lack

    def tell(study: "Study", trial: "FrozenTrial") -> None:
        done = _done(study)
        seconds = [one.duration.total_seconds() for one in done if one.duration]
        left = max(trials - len(done), 0) * np.mean(seconds or [0]) / 60
        values = "it diverged" if trial.values is None else str(_worth(trial))
        print(f"trial {len(done)} of {trials}: {values}; {left:.0f} minutes left", flush=True)

        if len(done) >= trials:
            study.stop()

    if len(_done(study)) < trials:
        # A training that diverges is a trial that failed.
        study.optimize(objective, callbacks=[tell], catch=(FloatingPointError,))
    return []


def suggest(trial: "Trial", name: str, given: float) -> float:
    """Draws a setting around its given value, evenly in its logarithm."""
    factor = FACTORS[name]
    if isinstance(given, int):
        return trial.suggest_int(name, max(1, given // factor), given * factor, log=True)
    return trial.suggest_float(name, given / factor, given * factor, log=True)


def worth(params: Params, training: Dataset, validation: Dataset) -> Worth:
    """Trains a model and measures its partners of validation rows, as a mean over its seeds."""
    model = fit(params.model, params, training, validation, threads=params.train.threads)
    model.requires_grad_(False).cpu()
    draw = default_rng(params.evaluate.seed)
    generator = torch.Generator().manual_seed(params.evaluate.seed)
    x, y = (torch.as_tensor(side, dtype=torch.float32) for side in (validation.x, validation.y))
    moved = partners(
        model,
        x[:JUDGED],
        JUDGING,
        generator,
        pool=x,
        y=y[:JUDGED],
        refine=params.evaluate.refine,
    )
    y_hat = model.prediction(x)
    levels = y.expand(len(moved), -1, -1) if y_hat is None else y_hat
    referee = Referee(validation.x, validation.y, draw)
    found = []
    for points, level in zip(moved.double().numpy(), levels.double().numpy(), strict=True):
        judged = referee.error(points)
        # Rows differ in what partners hold, and so do not show how far these should spread.
        covered = None if model.held else partner_coverage(points, validation.x, level, draw)
        lack, beside = (0.0, 0.0) if covered is None else covered.excess
        found.append((judged.mean, max(0.0, lack), judged.error, beside))
    return Worth(*np.mean(found, 0).tolist())


def is_better(found: Worth, given: Worth) -> bool:
    """Tells whether settings are better by more than chance, and no worse by the referee."""
    by_error = PROOF * math.hypot(found.error_chance, given.error_chance)
    by_lack = PROOF * math.hypot(found.lack_chance, given.lack_chance)
    gain = given.total - found.total
    return gain > math.hypot(by_error, by_lack) and found.error - given.error <= by_error


def write(path: str, model: str, settings: Mapping[str, float], words: str) -> None:
    """Writes settings into the block of a model in params.yaml, with a comment above them.

    All else stands there as it did, other comments too.
    """
    from ruamel.yaml import YAML

    round_trip = YAML()
    round_trip.preserve_quotes, round_trip.width = True, LONGEST
    round_trip.representer.add_representer(  # which is empty by default
        type(None), lambda of, _: of.represent_scalar("tag:yaml.org,2002:null", "null")
    )
    earlier = rf"(?m)^( *{model}:[^\n]*\n) *# {FOUND} [^\n]*\n"
    content = round_trip.load(re.sub(earlier, r"\1", Path(path).read_text()))
    block = content["models"][model]
    block.update(settings)
    block.yaml_set_start_comment(words, indent=4)
    with replacing(path) as file:
        round_trip.dump(content, file)


def _digest(params: Params) -> str:
    files = [path] if (path := getattr(params.data, "path", None)) else []
    words = [params.model_dump_json(), torch.__version__]
    return digest([*CODE, *files], words)


def _space(block: Mapping[str, Any]) -> list[str]:
    return [name for name in FACTORS if block.get(name)]


def _settings(found: Mapping[str, float]) -> dict[str, float]:
    # To three digits, which are what one would write by hand.
    return {
        name: value if isinstance(value, int) else float(f"{value:.3g}")
        for name, value in found.items()
    }


def _worth(trial: "FrozenTrial") -> Worth:
    error, lack = trial.values
    return Worth(error, lack, *trial.user_attrs[CHANCE])


def _done(study: "Study") -> "list[FrozenTrial]":
    # Not those that were broken off, which Optuna counts as failed ones.
    return [trial for trial in study.trials if trial.values or DIVERGED in trial.user_attrs]


def _defaults(study: "Study") -> "FrozenTrial":
    found = [trial for trial in _done(study) if DEFAULTS in trial.user_attrs and trial.values]
    if not found:
        raise ValueError("with the settings of params.yaml the training diverges; change them")
    return found[0]


if __name__ == "__main__":
    with plain_errors():
        main()
