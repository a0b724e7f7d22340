"""Writes the tables of README.md and these pages anew from the committed metrics.

`python -m docs.fill`. A table stands between ``<!-- fill NAME -->`` and ``<!-- end -->``, and each
name is that of a function here.
"""

__all__ = ["TABLES", "filled", "pages"]

import re
from argparse import ArgumentParser
from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd

from symmetry.artifacts import read_metrics, read_yaml, write_bytes

ROOT = Path(__file__).parents[1]
MARKED = re.compile(r"(<!-- fill (\w+) -->\n).*?(<!-- end -->)", re.DOTALL)

NAMES = {
    "VAE": "variational autoencoder, nothing kept apart",
    "STIB_WO_REG": "y from Z1 alone, but Z0 may know y as well",
    "CVAE": "decodes x from Z0 and the true y",
    "CVIB": "CVAE with a penalty on what Z0 tells of x",
    "STIB": "the paper's: an adversary keeps Z0 free of y",
    "STIB_FLOW": "ours: a flow, Z0 free of y by construction",
}
PAPERS = {"x_mae": "X MAE", "y_mae": "Y MAE", "mi_z0_y": "MI(Z0, Y) [bits]"}
EXAMPLES = {
    "symmetry_error": "symmetry error",
    "symmetry_error_decoded": "as decoded",
    "symmetry_coverage": "coverage (KS)",
    "leak_r2": "leak R²",
    "mi_z0_y_sampled": "MI, sampled [bits]",
    "referee_error": "referee error",
    "random_rows_error": "of random rows",
}
OUTSIDE = {
    "mmd": "MMD² to the true posterior",
    "resim": "\\|Δy\\|² of all partners",
    "resim_median": "its median over rows",
    "mean": "Δy² of all partners",
    "best_of_50": "Δy², best of 50",
    "coverage": "coverage (KS)",
    "coverage_floor": "its floor",
    "forward": "error² of ŷ",
    "cosine": "cosine, where rows lie",
    "cosine_range": "cosine, whole range",
}
ERRORS = {"ellipse": "\\|Δy₀\\|", "triatomic": "\\|Δ distances\\|", "steam": "\\|Δh\\| [kJ/kg]"}


def main() -> None:
    ArgumentParser(description=__doc__).parse_args()
    for path in pages():
        old = path.read_text()
        new = filled(old)
        if new != old:
            write_bytes(path, new.encode())
            print(path.relative_to(ROOT))


def pages() -> list[Path]:
    """Lists README.md and the pages beside this file."""
    return [ROOT / "README.md", *sorted((ROOT / "docs").glob("*.md"))]


def filled(text: str) -> str:
    """Fills all tables of a text.

    Raises:
        ValueError: If a table has a name that is not known.
    """

    def table(match: re.Match[str]) -> str:
        begin, name, end = match.groups()
        if name not in TABLES:
            raise ValueError(f"there is no table {name!r}; allowed: {', '.join(TABLES)}")
        return f"{begin}\n{TABLES[name]().strip()}\n\n{end}"

    return MARKED.sub(table, text)


def paper() -> str:
    """Returns the paper's metrics of each model, with its name explained and the verdict."""
    table = pd.read_csv(ROOT / "metrics" / "table.csv").to_dict("records")
    said = (ROOT / "metrics" / "table.md").read_text()
    grades = dict(re.findall(r"^- \*\*(\w+): Symmetry ([a-z ]+)", said, re.MULTILINE))
    rows = []
    for row in table:
        name = row["model"].split(" ")[0]
        if name in NAMES:
            cells = {title: cell(row, key) for key, title in PAPERS.items()}
            rows.append(
                {"model": name, "what it is": NAMES[name], **cells, "symmetry": grades[name]}
            )
    known = {row["model"]: row for row in table}
    best = {
        "x_mae": "0",
        "y_mae": cell(known["Bayes-optimal y"], "y_mae"),
        "mi_z0_y": cell(known["Exact invariant (oracle)"], "mi_z0_y"),
    }
    named = {title: best[key] for key, title in PAPERS.items()}
    rows.append({"model": "", "what it is": "the best possible", **named, "symmetry": "–"})
    return markdown(rows)


def models() -> str:
    """Returns the names of the models, explained."""
    return markdown([{"model": name, "what it is": what} for name, what in NAMES.items()])


def spiral() -> str:
    """Returns all tables of the spiral, as the pipeline wrote them."""
    return (ROOT / "metrics" / "table.md").read_text()


def examples() -> str:
    """Returns the metrics of the known symmetries and of diamonds."""
    rows = []
    for name in ("ellipse", "triatomic", "steam", "diamonds", "diamonds_held"):
        found = read_metrics(ROOT / "examples" / name / "metrics" / "stib_flow.json")
        cells = {title: cell(found, key) for key, title in EXAMPLES.items()}
        if name in ERRORS:
            cells["symmetry error"] = f"{ERRORS[name]} {cells['symmetry error']}"
        rows.append({"example": f"[{name}](#{name.split('_')[0]})", **cells})
    return markdown(rows)


def diamonds() -> str:
    """Returns how far each column of the diamonds moves, free and with three columns held."""
    rows = []
    for title, name in (("all", "diamonds"), ("all but cut, color, clarity", "diamonds_held")):
        found = read_metrics(ROOT / "examples" / name / "metrics" / "stib_flow.json")
        spreads = {
            key.removeprefix("spread."): f"{value:.2f}"
            for key, value in found.items()
            if key.startswith("spread.") and not key.endswith("_std")
        }
        judged = {
            "referee error": cell(found, "referee_error"),
            "of nearest rows": cell(found, "nearest_rows_error"),
        }
        rows.append({"may move": title, **spreads, **judged})
    return markdown(rows)


def molecules() -> str:
    """Returns what real molecules say of each model's partners, and what stands beside it."""
    folder = ROOT / "examples" / "molecules" / "metrics"
    real = read_metrics(folder / "isomers.json")
    properties = {"gap": "gap [eV]", "polarisability": "polarisability [bohr³]"}
    rows = []
    for key in ("vae", "cvae", "cvib", "stib", "stib_flow"):
        found = read_metrics(folder / f"{key}.json")
        errors = {
            f"error of {of}": cell(found, f"y_mae.{name}")
            for name, of in properties.items()
            if f"y_mae.{name}" in found
        }
        changes = {
            f"change of {of}": cell(real, f"{key}.drawn.{name}") for name, of in properties.items()
        }
        rows.append(
            {
                "model": key.upper(),
                **errors,
                **changes,
                "near": cell(real, f"{key}.drawn.near_share"),
                "of those with support": cell(real, f"{key}.supported.near_share"),
                "different of 6": cell(real, f"{key}.drawn.different"),
                "referee error": cell(found, "referee_error"),
                "leak R²": cell(found, "leak_r2"),
            }
        )
    for title, key in (("nearest in ŷ", "nearest_in_y"), ("random pairs", "random_pairs")):
        changes = {
            f"change of {of}": cell(real, f"{key}.{name}") for name, of in properties.items()
        }
        rows.append({"model": title, **changes})
    return markdown([{name: row.get(name, "–") for name in rows[-3]} for row in rows])


def ablation() -> str:
    """Returns the paper's metrics of each study of STIB: mean and worst seed."""
    table = pd.read_csv(ROOT / "studies" / "ablation.csv").set_index(["study", "seed"])
    changes = read_yaml(ROOT / "studies" / "params.yaml")["studies"]
    rows = []
    for study in table.index.unique("study"):
        change = changes[study]
        words = [f"{k}: {v}" for k, v in change.items()] if isinstance(change, dict) else [change]
        mean, worst = table.loc[(study, "mean")], table.loc[(study, "worst")]
        cells = {title: f"{mean[key]:.3f} ({worst[key]:.3f})" for key, title in PAPERS.items()}
        rows.append({"study": study, "what differs": f"`{', '.join(words)}`", **cells})
    return markdown(rows)


def outside() -> str:
    """Returns our figures on the benchmarks of others beside those that they have published."""
    table = pd.read_csv(ROOT / "metrics" / "outside.csv")
    shown = table[table["metric"].isin(list(OUTSIDE))]
    rows = []
    for (benchmark, count, metric), some in shown.groupby(
        ["benchmark", "rows", "metric"], sort=False
    ):
        ours = some.iloc[0]
        spread = "" if pd.isna(ours["deviation"]) else f" ± {ours['deviation']:.1g}"
        theirs = some.dropna(subset="published").itertuples()
        said = [f"{one.published:.8g} ({one.who})" for one in theirs]
        rows.append(
            {
                "benchmark": str(benchmark),
                "figure": OUTSIDE[str(metric)],
                "rows": f"{count:,}",
                "ours": f"{_digits(metric, ours['ours'])}{spread}",
                "published": ", ".join(said) or "–",
            }
        )
    return markdown(rows)


def laws() -> str:
    """Returns medians of each method over the laws at 5 % noise, where all have been measured.

    What took longer than the limit counts as the largest.
    """
    table = pd.read_csv(ROOT / "metrics" / "laws.csv")
    content = read_yaml(ROOT / "studies" / "laws" / "laws.yaml")
    of_laws = ~table["law"].isin(content["controls"]) & (table["noise"] == min(content["noise"]))
    table = table[of_laws].assign(excess=table["coverage"] - table["coverage_floor"])
    every = table["law"].nunique()
    table = table.fillna({"error": np.inf, "excess": np.inf})
    whole = table.groupby(["method", "rows"], sort=False)
    medians = whole.filter(lambda some: some["law"].nunique() == every)
    medians = medians.groupby(["method", "rows"])[["error", "excess"]].median()
    rows = []
    for title, column in (("error", "error"), ("coverage", "excess")):
        for size in content["rows"]:
            found = {name: medians[column].get((name, size)) for name in table["method"].unique()}
            cells = {
                name.upper(): "–" if value is None else f"{value:.3f}"
                for name, value in found.items()
            }
            rows.append({"": f"{title}, {size:,} rows", **cells})
    return markdown(rows)


def _digits(metric: Any, value: float) -> str:
    return f"{value:.7f}" if metric in ("cosine", "cosine_range") else f"{value:.3g}"


def steps() -> str:
    """Returns what a step costs by the number of seeds in a stack."""
    table = pd.read_csv(ROOT / "benchmarks" / "results.csv")
    stack = table[table["part"] == "stack"].set_index(["model", "seeds"])
    rows = []
    for model in stack.index.unique("model"):
        of = stack.loc[model]
        batch = of["batch"].iloc[0]
        rows.append(
            {
                "model": f"{model.upper()} (batch {batch})",
                **{
                    f"S = {seeds}": f"{of.loc[seeds, 'ms_per_step_and_seed']:.2f}"
                    for seeds in of.index
                },
                "of the peak": f"{of.loc[4, 'share_of_peak']:.0%}",
            }
        )
    return markdown(rows)


def gpu() -> str:
    """Returns what a step of all seeds costs on a CUDA device."""
    table = pd.read_csv(ROOT / "benchmarks" / "gpu.csv")
    return markdown(
        [
            {"model": str(key).upper()}
            | {
                f"S = {seeds:.0f}": f"{step:.1f}"
                for seeds, step in of[["seeds", "ms_per_step"]].to_numpy().tolist()
            }
            for key, of in table.groupby("model", sort=False)
        ]
    )


def cost() -> str:
    """Returns what `make bench` prints below its table."""
    from benchmarks.bench import report
    from symmetry.params import parse

    table = pd.read_csv(ROOT / "benchmarks" / "results.csv")
    lines = report(table, parse(read_yaml(ROOT / "params.yaml"))).splitlines()
    *told, seconds, share, beside = lines[lines.index("") + 1 :]
    # Before the colon stands the machine that reads, not the one that was measured.
    return "\n".join(["```", *told, seconds.partition(": ")[2], share, beside, "```"])


def modules() -> str:
    """Returns all modules of the library, for the reference."""
    paths = sorted((ROOT / "symmetry").rglob("*.py"))
    names = [
        ".".join(path.relative_to(ROOT).with_suffix("").parts).removesuffix(".__init__")
        for path in paths
        if path.stem != "__main__"
    ]
    return "\n\n".join(f"::: {name}" for name in names)


def cell(values: Mapping[Any, Any], key: str) -> str:
    """Writes "mean ± standard deviation (published)", as far as there are such."""
    if pd.isna(values[key]):
        return "–"
    spread, published = (values.get(f"{key}_{part}") for part in ("std", "published"))
    return (
        f"{round(values[key], 3) + 0.0:.3f}"
        + ("" if pd.isna(spread) else f" ± {spread:.3f}")
        + ("" if pd.isna(published) else f" ({published:.2f})")
    )


def markdown(rows: list[dict[str, str]]) -> str:
    """Writes rows of text as a table."""
    table: str = pd.DataFrame(rows).to_markdown(index=False, disable_numparse=True)
    return table


TABLES: Mapping[str, Callable[[], str]] = {
    of.__name__: of
    for of in (
        paper,
        models,
        spiral,
        examples,
        diamonds,
        molecules,
        ablation,
        laws,
        outside,
        steps,
        cost,
        gpu,
        modules,
    )
}

if __name__ == "__main__":
    main()
