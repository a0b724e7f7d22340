"""What the benchmark counts and how it reads its times."""

from pathlib import Path

import pytest
import torch
from clones import ROOT

from benchmarks import gpu
from benchmarks.case import flops, seconds_a_step
from symmetry.models import MODELS, Sizes
from symmetry.training import _stops

SIZES = Sizes(3, 2, 2, invariant=2, target=1, hidden=8, critic=4)


def model(key):
    return MODELS[key](SIZES, dict.fromkeys(MODELS[key].term_names, 1.0))


def test_a_step_is_timed_by_the_steps_between_validations_which_are_frequent_at_first():
    stops = [*_stops(240, 20), *(240 + stop for stop in _stops(240, 20))]
    # A step takes a second, in the second turn two, and a validation ten.
    seen = [
        (stop, step_time + 10.0 * number)
        for number, stop in enumerate(stops)
        for step_time in [float(stop + max(0, stop - 240))]
    ]
    assert seconds_a_step(seen, 20, 240) == pytest.approx([1.5, 2.5])


def test_the_products_of_a_step_are_all_counted():
    hidden, rows = SIZES.hidden, 5
    encoder, decoder = (a * hidden + hidden**2 + hidden * b for a, b in ((2, 3), (3, 2)))
    # Forwards, and backwards to the weights and the inputs, but for x itself.
    products = 3 * (encoder + 2 * decoder) - 2 * hidden
    assert flops(model("vae"), rows) == [2 * SIZES.stack * rows * products]


def test_each_turn_of_a_model_is_counted():
    assert [len(flops(model(key), 5)) for key in ("vae", "stib", "stib_flow")] == [1, 1, 3]
    assert all(count > 0 for count in flops(model("stib_flow"), 5))


def test_a_card_is_measured_as_the_committed_table_has_it(monkeypatch, tmp_path):
    found = {"device": "card", "batch": 8, "ms_per_step": 1.23456, "peak_mb": 1.0}
    committed = (ROOT / "benchmarks" / "gpu.csv").read_text().splitlines()
    monkeypatch.chdir(tmp_path)
    Path("benchmarks").mkdir()
    monkeypatch.setattr("sys.argv", ["gpu"])
    monkeypatch.setattr(torch.cuda, "is_available", lambda: True)
    monkeypatch.setattr(
        gpu,
        "case",
        lambda module, model, device, seeds, chunk: found | {"model": model, "seeds": seeds},
    )
    gpu.main()
    written = Path("benchmarks/gpu.csv").read_text().splitlines()
    assert written[0] == committed[0]
    named = [[line.split(",")[place] for place in (0, 2)] for line in (*written, *committed)]
    assert named[: len(written)] == named[len(written) :]
    assert written[1] == f"vae,card,1,8,1.235,{torch.__version__}"


def test_without_a_card_nothing_is_measured(monkeypatch):
    monkeypatch.setattr("sys.argv", ["gpu"])
    monkeypatch.setattr(torch.cuda, "is_available", lambda: False)
    with pytest.raises(ValueError, match="no CUDA device"):
        gpu.main()
