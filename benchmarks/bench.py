"""Measures what training costs, into benchmarks/results.csv and benchmark.png; 20 minutes."""

import json
import os
import platform
import subprocess
import sys
from argparse import ArgumentParser
from importlib.util import find_spec
from statistics import median
from typing import Any

import pandas as pd
import torch
from matplotlib.figure import Figure
from tqdm import tqdm

from stages import plain_errors, read_params
from stages.plot import write_figure
from symmetry.artifacts import write_csv
from symmetry.models import MODELS
from symmetry.params import Params

PAPERS = "vae", "stib_wo_reg", "cvae", "cvib", "stib"
PUBLISHED_SECONDS = 2250.0  # to train the published code's five models, evaluation not counted,
PUBLISHED_PEAK = 180.0  # where matrices are multiplied with so many GFLOP/s
STACKS = 1, 2, 4, 8
ROWS = 1_000_000  # of the table; STIB_FLOW's steps follow them
AT_ONCE = 1, 2, 4  # trainings of STIB side by side, each with all threads, as users start them
ALONE, BESIDE = "one with all threads", "one a thread"
CURVES = {  # of STIB
    "seeds": [{"seeds": 16}],
    "batch": [{"seeds": 4, "batch": batch} for batch in (64, 128, 512, 1024)],
    "rows": [{"seeds": 4, "rows": rows} for rows in (10_000, 1_000_000, 10_000_000)],
}


def main() -> None:
    ArgumentParser(description=__doc__).parse_args()
    params, cores = read_params(), torch.get_num_threads()
    own = {"seeds": params.train.seeds, "rows": ROWS, "chunk": 50}
    results = [
        {"part": part, **case("benchmarks.case", model, **asked)}
        for part, model, asked in tqdm(cases(params), disable=not sys.stderr.isatty())
    ]
    results += [
        {"part": f"{count} at once", **found}
        for count in AT_ONCE
        for found in together(count, "stib", own)
    ]
    results += [
        {"part": part, **found}
        for model in PAPERS
        for part, count, threads in ((ALONE, 1, cores), (BESIDE, cores, 1))
        for found in together(count, model, own, threads)
    ]
    results += [
        {"part": "jax", **case("benchmarks.jax_case", seeds=seeds)}
        for seeds in (1, 4)
        if find_spec("jax")
    ]
    table = pd.DataFrame(results)
    table["gflops"] = table["gflop_per_step"] / table["ms_per_step"] * 1e3
    table["share_of_peak"] = table["gflops"] / table["peak_gflops"]
    table = table.round(4)
    write_csv("benchmarks/results.csv", json.loads(table.to_json(orient="records")))
    write_figure("benchmarks/benchmark.png", figure(table))
    print(report(table, params))


def cases(params: Params) -> list[tuple[str, str, dict[str, int]]]:
    """Lists what is measured: the part, the model, and what differs from params.yaml."""
    whole = {
        "seeds": params.train.seeds,
        "rows": ROWS,
        "validation-rows": 10_000,
        "chunk": params.train.validate_every,
        "chunks": 2,
    }
    return [
        *(("table", model, whole) for model in MODELS),
        *(("stack", model, {"seeds": seeds}) for model in MODELS for seeds in STACKS),
        *((part, "stib", asked) for part, curve in CURVES.items() for asked in curve),
    ]


def case(module: str, *words: str, **asked: int) -> dict[str, Any]:
    """Runs one measurement in a process of its own, which tells its memory apart."""
    return _ended(_begun(module, *words, **asked))


def together(
    count: int, model: str, asked: dict[str, int], threads: int | None = None
) -> list[dict[str, Any]]:
    """Runs the same training so many times at once, with so many threads each, or as it likes."""
    return [
        _ended(process)
        for process in [
            _begun("benchmarks.case", model, threads=threads, **asked) for _ in range(count)
        ]
    ]


def _begun(
    module: str, *words: str, threads: int | None = None, **asked: int
) -> subprocess.Popen[str]:
    options = [f"--{name}={value}" for name, value in asked.items()]
    command = [sys.executable, "-m", module, *words, *options]
    own = {"OMP_NUM_THREADS": str(threads)} if threads else {}
    return subprocess.Popen(command, env=os.environ | own, stdout=subprocess.PIPE, text=True)


def _ended(process: subprocess.Popen[str]) -> dict[str, Any]:
    printed, _ = process.communicate()
    if process.returncode:
        raise subprocess.CalledProcessError(process.returncode, process.args)
    found: dict[str, Any] = json.loads(printed.splitlines()[-1])
    return found


def report(table: pd.DataFrame, params: Params) -> str:
    """Writes the tables to print; the last line is the cost of the paper's table."""
    columns = {
        "model": "model",
        "seeds": "S",
        "batch": "batch",
        "rows": "rows",
        "ms_per_step": "ms a step",
        "ms_per_step_and_seed": "ms a step and seed",
        "share_of_peak": "share of matmul peak",
        "peak_mb": "peak MB",
    }
    whole = table[table["part"] == "table"].set_index("model")["ms_per_step_and_seed"]
    steps = {model: sum(params.models.block(model).turn_steps(ROWS)) for model in whole.index}
    seconds = {model: steps[model] * whole[model] / 1e3 for model in whole.index}
    at_once = table["part"].str.endswith("at once")
    beside = table["part"].isin([ALONE, BESIDE])
    single = table[~at_once & ~beside & (table["part"] != "jax")]
    peak = median(single["peak_gflops"])
    share = sum(seconds[model] for model in PAPERS) / (PUBLISHED_SECONDS * PUBLISHED_PEAK / peak)
    shown = single.rename(columns=columns)
    lines = [shown[list(columns.values())].to_markdown(index=False, floatfmt=".3g"), ""]
    rates = (1 / table["ms_per_step"])[at_once].groupby(table["part"], sort=False).sum()
    for part, rate in rates.iloc[1:].items():
        lines.append(f"{part}: together {rate / rates.iloc[0]:.2f} of the steps of one alone")
    for row in table[table["part"] == "jax"].to_dict("records"):
        lines.append(
            f"STIB with S = {row['seeds']}: {row['ms_per_step_and_seed']:.2f} ms a step and seed, "
            f"the same step by JAX {row['jax_ms_per_step_and_seed']:.2f}"
        )
    lines.append(
        f"{platform.machine()}, {torch.get_num_threads()} threads, S = {params.train.seeds}: "
    )
    lines[-1] += ", ".join(f"{model} {of:.0f} s" for model, of in seconds.items()) + " a seed"
    lines.append(
        f"table per seed: {share:.3f} of the published run (matmul peak {peak:.0f} GFLOP/s)"
    )
    # Of so many at once a step of each is done in a part of the time.
    rates = (1 / table["ms_per_step"])[beside].groupby([table["part"], table["model"]]).sum()
    spent = {
        part: sum(steps[model] / rates[part, model] for model in PAPERS)
        for part in (ALONE, BESIDE)
    }
    ratio = spent[BESIDE] / spent[ALONE]
    lines.append(
        f"side by side, one thread each, as `make repro` trains: {ratio:.2f} of that, "
        f"{ratio * share:.3f} of the published run"
    )
    return "\n".join(lines)


def figure(table: pd.DataFrame) -> Figure:
    """Draws the cost of a step and seed against the stack, the batch and the rows."""
    drawn = Figure(figsize=(12, 3.6), layout="constrained")
    panels = drawn.subplots(1, 3)
    stack = table[table["part"].isin(["stack", "seeds"])]
    for model, of in stack.groupby("model", sort=False):
        panels[0].plot(of["seeds"], of["ms_per_step_and_seed"], "o-", label=model)
    panels[0].legend(fontsize=7, ncols=3, loc="upper center")
    default = stack[(stack["model"] == "stib") & (stack["seeds"] == 4)]
    for axes, part, name in (
        (panels[1], "batch", "a batch"),
        (panels[2], "rows", "the training set"),
    ):
        of = pd.concat([table[table["part"] == part], default]).sort_values(part)
        axes.plot(of[part], of["ms_per_step_and_seed"], "o-", color="C4")
        axes.set(xlabel=f"rows of {name}", title="stib, S = 4")
    panels[0].set(xlabel="seeds in a stack, S", ylabel="ms a step and seed")
    for axes in panels:
        axes.set(xscale="log")
        axes.set_ylim(0, 1.3 * axes.get_ylim()[1])  # room for the legend
    return drawn


if __name__ == "__main__":
    with plain_errors():
        main()
