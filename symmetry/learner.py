"""The library without DVC: learns the symmetry of arrays, by scikit-learn's conventions."""

__all__ = ["SymmetryLearner"]

import json
import math
import textwrap
import warnings
from collections.abc import Callable, Mapping, Sequence
from copy import deepcopy
from dataclasses import asdict, replace
from pathlib import Path
from typing import Any, NoReturn, Self

import numpy as np
import pandas as pd
import torch
from numpy.random import RandomState, default_rng
from numpy.typing import ArrayLike, NDArray
from sklearn.base import (
    BaseEstimator,
    ClassNamePrefixFeaturesOutMixin,
    RegressorMixin,
    TransformerMixin,
)
from sklearn.metrics import accuracy_score
from sklearn.utils import check_array, check_random_state
from sklearn.utils.metaestimators import available_if
from sklearn.utils.validation import check_is_fitted, validate_data
from torch import Tensor
from tqdm import tqdm

from symmetry.artifacts import read_tensors, write_tensors
from symmetry.checkpoints import described, rebuilt
from symmetry.coverage import FEWEST_ROWS
from symmetry.data import MOST_HELD_OUT, Array, Columns, Dataset, Units, copies_of, cut
from symmetry.evaluation import evaluate
from symmetry.fitting import fit
from symmetry.frames import (
    as_declared,
    check_names,
    class_in,
    in_numbers,
    in_values,
    kinds_in,
    outside,
    said_of,
    texts_in,
)
from symmetry.kinds import Declared, Kind, array_of, possible
from symmetry.models import Model
from symmetry.models.flow import StibFlow
from symmetry.params import Params, for_table
from symmetry.symmetries import REFINE, partners, path
from symmetry.training import Progress

FEWEST = 5  # rows to fit: three to train on, one to select, one held out
SCARCE = 20_000  # rows of which none is spared: those of the verdict are learned from, too
RESOLUTION = 1e-10  # the least standard deviation, as a share of the mean, that float64 can tell
POOL = 5_000  # training rows that are kept, for the Z0 of other rows and the spread of the data
PIECE = 2**16  # rows that are predicted at once,
LINES = 1_000  # and drawn orbits of
NEIGHBOURS, CRITIC_STEPS = 20, 300  # of the metrics, as in params.yaml


def _predicts_class(learner: "SymmetryLearner") -> bool:
    return hasattr(learner, "units_") and learner.units_.target is not None


class SymmetryLearner(
    ClassNamePrefixFeaturesOutMixin,  # type: ignore[misc]
    TransformerMixin,  # type: ignore[misc]
    RegressorMixin,  # type: ignore[misc]
    BaseEstimator,  # type: ignore[misc]
):
    r"""Learns what of x can change while y stays: a symmetry, from a table alone.

    It splits x into Z1, which predicts y, and Z0, independent of y, and decodes other Z0 with the
    same Z1:

    .. math:: x' = \hat x(z_0', z_1(x)), \quad \hat y(x') = \hat y(x)

    Arguments:
        model: The model: "stib_flow", or one of the paper, "vae", "stib_wo_reg", "cvae", "cvib" or
            "stib".
        params: What shall be other than by default in the model's block of params.yaml, such as
            ``{"steps": 2000}``; see :mod:`~symmetry.params`.
        columns: What columns are, by name, where it is not what they look like: "number",
            "integer", "category", or the two ends of a closed range; see
            :func:`~symmetry.kinds.kind_of`. Texts and booleans of a DataFrame are categories, and
            a category of y is a class to predict. Columns without names are x1, x2, …, and y1.
        hold: The names of the columns that partners keep exactly; STIB_FLOW alone can.
        seeds: How many copies are trained at once; the best on the validation rows is kept.
        validation_share: The share of the rows that select the weights; at most 20,000.
        test_share: The share of the rows that are held out for ``summary_``, likewise. Copies of
            a row stay together. Of up to 20,000 rows STIB_FLOW learns once more, with these among
            them, for as many epochs as all rows held out advised; this model is kept.
        refine: The steps that take a partner back to its level; 0 for none.
        device: Where to train: "auto", "cpu" or "cuda".
        random_state: What all draws come from: a whole number, a RandomState, or None for
            another fit each time.
        verbose: Whether a fit shows how far it is, on the error stream.

    Attributes:
        summary_: The figures of :func:`~symmetry.evaluation.evaluate` by their names, of the rows
            that were held out, by a model that never saw them; errors of columns are in the
            columns' units, all others as there. Under ``verdict`` it says in words how well the
            symmetry was found. It has no figures where fewer than 40 rows were held out.
        model_: The trained model, of standardised x and y.
        units_: How x and y are standardised, in float64, and the kinds of their columns; those of
            few values are left as they are.
        range_: The lowest and the highest value of each column of x in the training rows, with
            shape (2, d); of a category those of the places of its values.
        classes_: The classes of y, where it is one.
        seed_: The seed of all draws.
        n_features_in_: The number of columns of x.
        feature_names_in_: Their names, where x came with names.

    Example:
        >>> learner = SymmetryLearner(random_state=0).fit(X, y)  # doctest: +SKIP
        >>> print(learner.summary_["verdict"])  # doctest: +SKIP
        Symmetry found.
    """

    summary_: dict[str, Any]
    model_: Model
    units_: Units
    range_: Array
    seed_: int
    n_features_in_: int
    classes_: NDArray[Any]

    def __init__(
        self,
        model: str = "stib_flow",
        *,
        params: Mapping[str, Any] | None = None,
        columns: Mapping[str, Declared] | None = None,
        hold: Sequence[str] | None = None,
        seeds: int = 1,
        validation_share: float = 0.1,
        test_share: float = 0.2,
        refine: int = REFINE,
        device: str = "auto",
        random_state: int | RandomState | None = None,
        verbose: bool = False,
    ) -> None:
        self.model = model
        self.params = params
        self.columns = columns
        self.hold = hold
        self.seeds = seeds
        self.validation_share = validation_share
        self.test_share = test_share
        self.refine = refine
        self.device = device
        self.random_state = random_state
        self.verbose = verbose

    def fit(self, X: ArrayLike, y: ArrayLike) -> Self:
        """Trains on most rows and judges on those held out.

        Arguments:
            X: The inputs, with shape (n, d), or a DataFrame, which may have columns of texts.
            y: The targets, with shape (n,) or (n, k), or a Series or DataFrame.

        Raises:
            ValueError: If a parameter is not allowed; if the arrays are of different lengths, have
                too few rows, or hold what is no finite number or a column that is constant.
            FloatingPointError: If the training diverges.
        """
        declared = as_declared(self.columns)
        categories = texts_in(X, declared)
        chosen_class, codes = class_in(y, declared) or (None, y)
        table, target = validate_data(
            self,
            in_numbers(X, categories),
            codes,
            dtype=np.float64,
            multi_output=True,
            y_numeric=True,
            ensure_min_samples=FEWEST,
        )
        self._flat_y = target.ndim == 1
        target = target.astype(np.float64).reshape(len(target), -1)
        x_names = getattr(self, "feature_names_in_", _numbered("x", table.shape[1]))
        y_names = _names(y) or _numbered("y", target.shape[1])
        self._check_settings()
        hold = () if self.hold is None else self.hold
        check_names(x_names, y_names, declared, hold)
        if chosen_class is not None:
            target = chosen_class.indicators(target[:, 0])
        params = for_table(
            self.model,
            table.shape[1],
            target.shape[1],
            seeds=_plain(self.seeds),
            device=self.device,
            changes=_plain(self.params),
        )
        self.seed_ = int(check_random_state(self.random_state).randint(2**31 - 1))
        rows = self._split(np.column_stack([table, target]))
        _keep_values(rows, table, {at: n for at, n in enumerate(x_names) if n in categories})
        if hasattr(self, "classes_"):  # of another fit
            del self.classes_
        if chosen_class is not None:
            self.classes_ = array_of(chosen_class.classes)

        # Once, since it puts the places of categories in the table in another order.
        kinds = kinds_in(x_names, table, target[:, 0], rows["train"], categories, declared, hold)

        def parts_of(rows: Mapping[str, NDArray[np.intp]]) -> dict[str, Dataset]:
            # Standardised here, in float64, so that the model has but to name the columns.
            chosen = rows["train"]
            of_x = Columns.of(table[chosen], x_names, kinds, resolution=RESOLUTION)
            of_y = (
                chosen_class.columns()
                if chosen_class is not None
                else Columns.of(target[chosen], y_names, resolution=RESOLUTION)
            )
            self.units_ = Units(_unscaled(of_x), of_y, target=chosen_class)
            units = Units(
                _standard(of_x, self.units_.x), _standard(of_y, self.units_.y), target=chosen_class
            )
            self.range_ = np.stack([table[chosen].min(0), table[chosen].max(0)])
            return {
                part: Dataset(
                    _standardised(table, self.units_.x, own),
                    _standardised(target, self.units_.y, own),
                    units=units,
                )
                for part, own in rows.items()
                if len(own)
            }

        parts = parts_of(rows)
        held = len(rows["test"])
        again = held > 0 and len(table) <= SCARCE and self.model == StibFlow.key
        del X, y, codes  # of many rows, most of what there is in memory
        if not again:
            del table, target
        generator = torch.Generator().manual_seed(self.seed_)
        reports: list[Progress] = []
        watching: dict[str, Any] = (
            {"watched": parts["test"], "report": reports.append} if again else {}
        )
        copies = self._trained("learns", params, parts, **watching)
        copy = _best(copies, parts["validation"], generator)
        best = copies.alone(copy)
        if held < FEWEST_ROWS:
            said = f"Not judged: {held} rows were held out, of {FEWEST_ROWS} that it takes."
            self.summary_ = {"verdict": said}
        else:
            with self._bar("is judged", 1) as bar:
                self.summary_ = self._judged(best, parts["test"], parts["train"], generator)
                bar.update()
        if again:
            learned = len(parts["train"])
            rows["train"] = np.concatenate([rows["train"], rows.pop("test")])
            held_out = {part: len(parts[part]) for part in ("validation", "test")}
            parts = parts_of(rows)
            steps = params.models.block(self.model).turn_steps
            best_steps = _best_steps(reports, copy, steps(learned), **held_out)
            until = [
                min(length, round(step * len(parts["train"]) / learned))
                for step, length in zip(best_steps, steps(len(parts["train"])), strict=True)
            ]
            alone = params.train.model_copy(update={"seeds": 1})
            params = params.model_copy(update={"train": alone})
            seed = self.seed_ + copy
            best = self._trained("learns once more", params, parts, seed=seed, until=until)
        training = parts["train"]
        kept = torch.randperm(len(training), generator=generator)[:POOL].numpy()
        self._pool = _float32(training.x[kept])
        self.model_ = best.cpu()
        return self

    def predict(self, X: ArrayLike) -> NDArray[Any]:
        """Predicts ŷ, with the shape that y had; of a class the likeliest.

        Raises:
            ValueError: If the model predicts no y, as CVAE and CVIB, or X is not as in the fit.
        """
        check_is_fitted(self)
        if self.units_.target is not None:
            chances = self.predict_proba(X)
            likeliest: NDArray[Any] = self.classes_[chances.argmax(1)]
            return likeliest if self._flat_y else likeliest[:, None]
        y_hat = self._predicted(X)
        return y_hat[:, 0] if self._flat_y else y_hat

    @available_if(_predicts_class)  # type: ignore[untyped-decorator]
    def predict_proba(self, X: ArrayLike) -> Array:
        """Predicts the probability of each class, with shape (n, classes), where y is a class.

        Raises:
            ValueError: As :meth:`predict`.
        """
        others = self._predicted(X)
        chances: Array = np.column_stack([1 - others.sum(1), others]).clip(0, 1)
        return chances

    def score(self, X: ArrayLike, y: ArrayLike, sample_weight: ArrayLike | None = None) -> float:
        """Computes R² of the prediction, or of a class its accuracy."""
        check_is_fitted(self)
        if self.units_.target is None:
            return float(super().score(X, y, sample_weight))
        found = np.ravel(self.predict(X))
        return float(accuracy_score(np.ravel(y), found, sample_weight=sample_weight))

    def _predicted(self, X: ArrayLike) -> Array:
        seen = self._seen(X)
        if self.model_.decodes_from_y:
            raise ValueError(f"{self.model_.key} predicts no y: it decodes from it")
        return _in_units(self._coded(seen, predicted=True), self.units_.y)

    def transform(self, X: ArrayLike) -> Array:
        """Computes Z0, what x holds besides y, with shape (n, dim Z0).

        Raises:
            ValueError: If X is not as in the fit.
        """
        return self._coded(self._seen(X), predicted=False)

    def partners(
        self, X: ArrayLike, count: int = 20, y: ArrayLike | None = None
    ) -> NDArray[Any] | pd.DataFrame:
        """Draws other inputs with the same target; see :func:`~symmetry.symmetries.partners`.

        The same call gives the same partners.

        Arguments:
            X: The inputs, with shape (n, d), or a DataFrame.
            count: The number of partners of each row.
            y: The targets of X, for CVAE and CVIB, which decode from them.

        Returns:
            The partners, with shape (n, count, d); of a DataFrame a DataFrame, whose index has the
            levels row, from X's own index, and partner.

        Raises:
            ValueError: If the model needs y and it is not given, X or y is not as in the fit, or
                the count is not a whole number above 0.
        """
        x, level = self._given(X, y, "count", count)
        moved = partners(
            self.model_,
            x,
            count,
            torch.Generator().manual_seed(self.seed_),
            pool=self._pool,
            y=level,
            refine=self.refine,
        )
        return self._returned(X, moved, "partner")

    def orbit(
        self, X: ArrayLike, points: int = 60, y: ArrayLike | None = None
    ) -> NDArray[Any] | pd.DataFrame:
        """Draws a line through each input on which the target stays.

        See :func:`~symmetry.symmetries.path`; a closed line begins and ends with the input.

        Arguments:
            X: The inputs, with shape (n, d), or a DataFrame.
            points: The number of points of each line, evenly spaced.
            y: The targets of X, for CVAE and CVIB, which decode from them.

        Returns:
            The lines, with shape (n, points, d); of a DataFrame a DataFrame, whose index has the
            levels row, from X's own index, and point.

        Raises:
            ValueError: As :meth:`partners`.
        """
        x, level = self._given(X, y, "points", points)
        lines = []
        for start in range(0, len(x), LINES):
            some = slice(start, start + LINES)
            of_them = None if level is None else level[some]
            lines.append(path(self.model_, x[some], points, pool=self._pool, y=of_them))
        return self._returned(X, torch.cat(lines, 2), "point")

    def save(self, path: str | Path) -> None:
        """Saves the fitted learner to a safetensors file, in which nothing is pickled.

        A ``random_state`` that is a RandomState comes back as None, ``verbose`` as False.
        """
        check_is_fitted(self)
        params = self.get_params() | {"verbose": False}  # the file is the same if it was shown
        if isinstance(self.random_state, RandomState):
            params["random_state"] = None
        content = {
            "params": _plain(params),
            "units": asdict(self.units_),
            "named": hasattr(self, "feature_names_in_"),
            "range": self.range_.tolist(),
            "flat_y": self._flat_y,
            "seed": self.seed_,
            "summary": self.summary_,
        }
        tensors, metadata = described(self.model_)
        tensors["pool"] = self._pool.numpy()
        write_tensors(path, tensors, {**metadata, "learner": json.dumps(content)})

    @classmethod
    def load(cls, path: str | Path) -> Self:
        """Loads a learner that :meth:`save` wrote.

        Raises:
            ValueError: If the file is not one of a learner, or is damaged.
        """
        tensors, metadata = read_tensors(path)
        if "learner" not in metadata or "pool" not in tensors:
            raise ValueError(f"{path} holds no SymmetryLearner, as its save writes it")
        pool = torch.from_numpy(tensors.pop("pool"))
        model = rebuilt(path, tensors, metadata)
        try:
            content = json.loads(metadata["learner"])
            learner = cls(**content["params"])
            learner.units_ = Units.from_json(content["units"])
            names = learner.units_.x.names
            sizes = len(names), len(learner.units_.y.names)
            if sizes != (model.sizes.x, model.sizes.y) or model.sizes.stack != 1:
                raise ValueError(f"its columns are {sizes}, the model's sizes {model.sizes}")
            if pool.shape[1:] != (len(names),) or pool.dtype != torch.float32 or not len(pool):
                raise ValueError(f"its pool has shape {tuple(pool.shape)}, of {pool.dtype}")
            learner.n_features_in_ = len(names)
            if content["named"]:
                learner.feature_names_in_ = np.array(names, dtype=object)
            learner.range_ = np.array(content["range"], dtype=np.float64).reshape(2, len(names))
            learner._flat_y = bool(content["flat_y"])
            learner.seed_ = int(content["seed"])
            learner.summary_ = dict(content["summary"])
            if learner.units_.target is not None:
                learner.classes_ = array_of(learner.units_.target.classes)
        except Exception as error:  # whichever part of it is broken
            reason = textwrap.shorten(str(error), 300)
            raise ValueError(f"{path} does not describe a SymmetryLearner: {reason}") from None
        learner.model_, learner._pool = model, pool
        return learner

    def __sklearn_tags__(self) -> Any:
        tags = super().__sklearn_tags__()
        tags.target_tags.multi_output = True
        return tags

    @property
    def _n_features_out(self) -> int:
        return self.model_.invariant_size

    def _check_settings(self) -> None:
        if not isinstance(self.params, Mapping | None):
            raise ValueError(f"params is {self.params!r}; allowed: a mapping of names, or None")
        validation, test = self.validation_share, self.test_share
        if not (0 < validation < 1 and 0 <= test < 1 - validation):
            raise ValueError(
                f"validation_share is {validation!r} and test_share {test!r}; allowed: shares of "
                "the rows, the first above 0, that leave some to train on"
            )
        _check_count("refine", self.refine, 0)

    def _bar(self, doing: str, total: int) -> "tqdm[NoReturn]":
        return tqdm(total=total, desc=f"{self.model} {doing}", disable=not self.verbose)

    def _trained(
        self,
        doing: str,
        params: Params,
        parts: Mapping[str, Dataset],
        *,
        seed: int | None = None,
        report: Callable[[Progress], None] = lambda progress: None,
        **how: Any,
    ) -> Model:
        # A thread a copy: its small products take longer shared out among threads than alone.
        threads = torch.get_num_threads()
        few = min(threads, params.train.seeds)
        seed = self.seed_ if seed is None else seed
        known = parts["train"], parts["validation"]
        total = sum(params.models.block(self.model).turn_steps(len(parts["train"])))
        with self._bar(doing, total) as bar:

            def show(progress: Progress) -> None:
                bar.update(progress.step - bar.n)
                report(progress)

            try:
                model = fit(self.model, params, *known, seed=seed, threads=few, report=show, **how)
            finally:
                torch.set_num_threads(threads)
            bar.update(total - bar.n)  # of a turn that ends early
        return model

    def _split(self, rows: Array) -> dict[str, NDArray[np.intp]]:
        shares = {"validation": self.validation_share, "test": self.test_share}
        held = {
            part: min(max(round(share * len(rows)), share > 0), MOST_HELD_OUT)
            for part, share in shares.items()
        }
        order = default_rng(self.seed_).permutation(len(rows))
        parts = cut(order, copies_of(rows), held, "train")
        # Copies lie beside each other now; dealt out as before, any half of a part is like it.
        dealt = np.argsort(order)
        parts = {part: own[np.argsort(dealt[own])] for part, own in parts.items()}
        if len(parts["train"]) < FEWEST - 2:
            raise ValueError(
                f"{len(parts['train'])} of {len(rows)} rows are left to train on, copies of a row "
                f"being of the same part; at least {FEWEST - 2} are needed"
            )
        return parts

    def _judged(
        self, model: Model, test: Dataset, training: Dataset, generator: torch.Generator
    ) -> dict[str, Any]:
        found = evaluate(
            model,
            test,
            None,
            neighbours=NEIGHBOURS,
            critic_steps=CRITIC_STEPS,
            generator=generator,
            refine=self.refine,
            drawn=False,
            training=training,
        )
        summary: dict[str, Any] = {
            name: float(values[0]) for name, values in found.metrics.items() if values is not None
        }
        for metric, columns in (("x_mae", self.units_.x), ("y_mae", self.units_.y)):
            for name, std in zip(columns.names, columns.std, strict=True):
                if f"{metric}.{name}" in summary:
                    summary[f"{metric}.{name}"] *= std
        return {**summary, "verdict": str(found.verdict)}

    def _table(self, X: ArrayLike) -> Array:
        check_is_fitted(self)
        columns = self.units_.x
        named = zip(columns.names, columns.kinds, strict=False)
        categories = {name: kind.members for name, kind in named if kind.is_category}
        table: Array = validate_data(
            self, in_numbers(X, categories), reset=False, dtype=np.float64
        )
        return table

    def _seen(self, X: ArrayLike) -> Array:
        return _standardised(self._table(X), self.units_.x)

    @torch.no_grad()
    def _coded(self, seen: Array, predicted: bool) -> Array:
        # In float64, so that a row's numbers are the same whichever rows are beside it.
        model = deepcopy(self.model_).double()
        pieces = []
        for piece in torch.split(torch.from_numpy(seen), PIECE):
            coded = model.prediction(piece) if predicted else model.encode(piece).invariant
            assert coded is not None
            pieces.append(coded[0])
        return torch.cat(pieces).numpy()

    def _given(
        self, X: ArrayLike, y: ArrayLike | None, name: str, count: int
    ) -> tuple[Tensor, Tensor | None]:
        table = self._table(X)
        x = _float32(_standardised(table, self.units_.x))
        _check_count(name, count, 1)
        self._warn_of_strangers(table)
        if y is None:
            return x, None
        if self.units_.target is not None:
            y = self.units_.target.indicators_of(y)
        target = check_array(y, dtype=np.float64, ensure_2d=False, input_name="y")
        target = target.reshape(len(target), -1)
        if target.shape != (len(x), self.model_.sizes.y):
            raise ValueError(
                f"y has shape {target.shape}; expected {(len(x), self.model_.sizes.y)}, as many "
                "rows as X and columns as in the fit"
            )
        return x, _float32(_standardised(target, self.units_.y))

    def _warn_of_strangers(self, table: Array) -> None:
        cells = outside(table, self.range_)
        strangers = int(cells.any(1).sum())
        names = self.units_.x.names
        if told := said_of(cells.sum(0), strangers, len(table), names, self.range_):
            warnings.warn(told, UserWarning, stacklevel=4)

    def _returned(self, X: ArrayLike, moved: Tensor, level: str) -> NDArray[Any] | pd.DataFrame:
        # From shape (1, count, n, d), for rows of X, which in numbers are the table's.
        points = moved[0].transpose(0, 1).double().numpy()
        values = _in_units(points, self.units_.x)
        if self.refine and not self.model_.decodes_from_y:
            # There they are, but for the rounding of float32.
            values = np.clip(values, *self.range_)
        kinds = self.units_.x.kinds
        values = possible(values, kinds)
        if not isinstance(X, pd.DataFrame):
            return in_values(values, kinds, X, None)
        rows, count, _ = values.shape
        own = X.index.to_flat_index().repeat(count)
        index = pd.MultiIndex.from_arrays(
            [own, np.tile(np.arange(count), rows)], names=["row", level]
        )
        return in_values(values, kinds, X, index)


def _best(model: Model, validation: Dataset, generator: torch.Generator) -> int:
    # Of the copies the one that does best on the validation rows.
    stack = model.sizes.stack
    noise = torch.randn(stack, len(validation), model.noise_size, generator=generator)
    x, y, noise = (
        rows.to(model.low.device).expand(stack, -1, -1)
        for rows in (_float32(validation.x), _float32(validation.y), noise)
    )
    with torch.no_grad():
        return int(model.objective(model.terms(x, y, noise)).argmin())


def _best_steps(
    reports: Sequence[Progress], copy: int, steps: Sequence[int], validation: int, test: int
) -> list[int]:
    # The step of each turn after which a copy fits all rows held out best. Rows of validation are
    # few, and with noise in y the best step by them alone is one by chance.
    best, lowest = list(steps), [math.inf] * len(steps)
    for progress in reports:
        assert progress.watched is not None
        error = float(validation * progress.own[copy] + test * progress.watched[copy])
        if error < lowest[progress.turn]:
            lowest[progress.turn] = error
            best[progress.turn] = progress.step - sum(steps[: progress.turn])
    return best


def _names(y: Any) -> list[str]:
    if isinstance(y, pd.DataFrame):
        return [str(name) for name in y.columns]
    return [str(y.name)] if isinstance(y, pd.Series) and y.name is not None else []


def _numbered(name: str, count: int) -> list[str]:
    return [f"{name}{number + 1}" for number in range(count)]


def _keep_values(
    rows: dict[str, NDArray[np.intp]], table: Array, categories: Mapping[int, str]
) -> None:
    # Rows with a value of a category that no training row has are for training, too.
    for column, name in categories.items():
        for part in ("validation", "test"):
            own = rows[part]
            known = np.isin(table[own, column], table[rows["train"], column])
            rows["train"] = np.concatenate([rows["train"], own[~known]])
            rows[part] = own[known]
        if not len(rows["validation"]):
            raise ValueError(
                f"column {name!r} has values so rare that none of {len(table)} rows is left to "
                "validate on; group its rare values, or leave it out"
            )


def _unscaled(columns: Columns) -> Columns:
    # Places of categories' values are small whole numbers: the model scales them. Whole numbers of
    # which many differ stay whole, counted from a whole number near their mean.
    kinds = columns.kinds or [Kind()] * len(columns.names)
    mean = [
        0.0 if kind.is_category else round(m) if _is_whole(kind) else m
        for kind, m in zip(kinds, columns.mean, strict=True)
    ]
    std = [
        1.0 if kind.is_category or _is_whole(kind) else s
        for kind, s in zip(kinds, columns.std, strict=True)
    ]
    return replace(columns, mean=tuple(map(float, mean)), std=tuple(std))


def _standard(columns: Columns, outside: Columns) -> Columns:
    # What is left to the model of columns that are standardised outside; it knows the values and
    # the ends of ranges as it sees the rows.
    scales = list(zip(outside.mean, outside.std, strict=True))
    mean = [(m - o) / s for m, (o, s) in zip(columns.mean, scales, strict=True)]
    kinds = [
        kind
        if kind.is_category
        else replace(
            kind,
            members=tuple((value - m) / s for value in kind.levels),
            low=None if kind.low is None else (kind.low - m) / s,
            high=None if kind.high is None else (kind.high - m) / s,
        )
        for kind, (m, s) in zip(columns.kinds, scales, strict=False)
    ]
    std = [s / o for s, (_, o) in zip(columns.std, scales, strict=True)]
    return replace(columns, mean=tuple(mean), std=tuple(std), kinds=tuple(kinds))


def _is_whole(kind: Kind) -> bool:
    return kind.kind == "integer" and not kind.levels


def _standardised(rows: Array, columns: Columns, chosen: NDArray[np.intp] | None = None) -> Array:
    # Of the rows that are chosen; in place, since they may be as many as memory holds.
    seen: Array = rows.copy() if chosen is None else rows[chosen]
    seen -= np.array(columns.mean)
    seen /= np.array(columns.std)
    return seen


def _in_units(rows: Array, columns: Columns) -> Array:
    values: Array = rows * np.array(columns.std) + np.array(columns.mean)
    return values


def _float32(rows: Array) -> Tensor:
    return torch.from_numpy(rows.astype(np.float32))


def _check_count(name: str, value: Any, least: int) -> None:
    if not isinstance(value, (int, np.integer)) or isinstance(value, bool) or value < least:
        raise ValueError(f"{name} is {value!r}; allowed: a whole number from {least}")


def _plain(value: Any) -> Any:
    # NumPy's numbers, as grids have them, as Python's own.
    if isinstance(value, Mapping):
        return {name: _plain(one) for name, one in value.items()}
    if isinstance(value, list | tuple | np.ndarray):
        return [_plain(one) for one in value]
    return value.item() if isinstance(value, np.generic) else value
