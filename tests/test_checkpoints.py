"""A weight file rebuilds its model, and anything else is refused with its path."""

import json
import re
import subprocess
import sys
from dataclasses import asdict, replace

import numpy as np
import pytest
import safetensors.numpy
import torch

import symmetry
from symmetry.artifacts import read_tensors, write_arrays, write_tensors
from symmetry.checkpoints import load, save
from symmetry.data import Columns, Units
from symmetry.kinds import Kind
from symmetry.models import MODELS, Sizes

SIZES = Sizes(stack=2, x=5, y=3, invariant=2, target=1, hidden=7, critic=4, memory=3)


def build(key, units=None):
    kind = MODELS[key]
    weights = {name: 0.1 + index / 3 for index, name in enumerate(kind.term_names)}
    model = kind(SIZES, weights, units)
    generator = torch.Generator().manual_seed(0)
    with torch.no_grad():
        for parameter in model.parameters():
            parameter.normal_(0, 0.5, generator=generator)
    return model.eval()


def batch(model):
    generator = torch.Generator().manual_seed(1)
    sizes = (SIZES.x, SIZES.y, model.noise_size)
    return [torch.randn(SIZES.stack, 20, size, generator=generator) for size in sizes]


@pytest.mark.parametrize("key", MODELS)
def test_a_loaded_model_is_the_saved_one_to_the_bit(tmp_path, key):
    model = build(key)
    save(tmp_path / "w.safetensors", model)
    loaded = load(tmp_path / "w.safetensors")
    assert type(loaded) is type(model)
    assert loaded.sizes == model.sizes
    assert loaded.weights == model.weights
    data = batch(model)
    with torch.no_grad():
        before, after = model.terms(*data), loaded.terms(*data)
        assert set(before) == set(after)
        for name, value in before.items():
            assert torch.equal(after[name], value)
        assert torch.equal(loaded.encode(data[0]).mean, model.encode(data[0]).mean)
        assert torch.equal(loaded.objective(after), model.objective(before))


@pytest.mark.parametrize("key", MODELS)
def test_a_loaded_model_is_ready_to_be_used(tmp_path, key):
    save(tmp_path / "w.safetensors", build(key))
    loaded = symmetry.load(str(tmp_path / "w.safetensors"))
    assert not loaded.training
    assert not any(parameter.requires_grad for parameter in loaded.parameters())
    assert not loaded.encode(torch.zeros(3, 5)).mean.requires_grad


def test_saving_leaves_the_model_as_it_was_and_writes_the_same_bytes_again(tmp_path):
    model = build("stib").train()
    save(tmp_path / "a.safetensors", model)
    assert model.training
    assert all(parameter.requires_grad for parameter in model.parameters())
    save(tmp_path / "b.safetensors", load(tmp_path / "a.safetensors"))
    assert (tmp_path / "a.safetensors").read_bytes() == (tmp_path / "b.safetensors").read_bytes()


def test_weights_of_the_loss_may_be_as_large_as_params_yaml_allows(tmp_path):
    model = MODELS["cvae"](SIZES, {"kl": 1e300, "x": 0.0})
    save(tmp_path / "w.safetensors", model)
    assert load(tmp_path / "w.safetensors").weights == model.weights


def test_weights_come_back_however_they_lie_in_memory(tmp_path):
    model = build("vae")
    weight = model.encoder.second.weight
    weight.data = weight.data.mT.contiguous().mT  # the same numbers, column by column
    save(tmp_path / "w.safetensors", model)
    assert torch.equal(load(tmp_path / "w.safetensors").encoder.second.weight, weight)


# ---- Damaged and foreign files -----------------------------------------------------------------


def rewrite(path, change):
    """Rewrites a weight file after a change of its tensors and metadata."""
    tensors, metadata = read_tensors(path)
    change(tensors, metadata)
    write_tensors(path, tensors, metadata)


def edit(**values):
    return lambda path: rewrite(path, lambda tensors, metadata: metadata.update(values))


def drop(name):
    return lambda path: rewrite(path, lambda tensors, metadata: metadata.pop(name))


def foreign(path, metadata):
    """Writes the same tensors as another program might."""
    path.write_bytes(safetensors.numpy.save(read_tensors(path)[0], metadata))


def sizes(**changes):
    return json.dumps({**asdict(SIZES), **changes})


NAME = "encoder.first.weight"
DAMAGE = {
    "empty": lambda path: path.write_bytes(b""),
    "cut short": lambda path: path.write_bytes(path.read_bytes()[:-100]),
    "header cut short": lambda path: path.write_bytes(path.read_bytes()[:50]),
    "text": lambda path: path.write_text("these are no weights at all\n" * 10),
    "npz": lambda path: write_arrays(path, {"x": np.zeros((5, 2))}),
    "no metadata": lambda path: write_tensors(path, read_tensors(path)[0], {}),
    "metadata that are no json": lambda path: foreign(path, {"json": "{"}),
    "metadata that are no mapping": lambda path: foreign(path, {"json": "[]"}),
    "metadata of another program": lambda path: foreign(path, {"format": "pt"}),
    "no model": drop("model"),
    "no sizes": drop("sizes"),
    "no weights": drop("weights"),
    "unknown model": edit(model="gan"),
    "another model": edit(model="cvae"),
    "sizes that are no json": edit(sizes="{"),
    "sizes that are no mapping": edit(sizes="[1, 2]"),
    "an unknown size": edit(sizes=sizes(depth=3)),
    "a size of another type": edit(sizes=sizes(hidden="7")),
    "a size below zero": edit(sizes=sizes(hidden=-7)),
    "a flag of another type": edit(sizes=sizes(target_from_y=1)),
    "a noise of another type": edit(sizes=sizes(noise="0.1")),
    "sizes without a needed one": edit(sizes=json.dumps({"stack": 2})),
    "sizes that the tensors have not": edit(sizes=sizes(hidden=8)),
    "weights that are no json": edit(weights="kl"),
    "weights of other terms": edit(weights=json.dumps({"kl": 1.0, "z": 1.0})),
    "a tensor missing": lambda path: rewrite(path, lambda tensors, metadata: tensors.pop(NAME)),
    "a tensor too many": lambda path: rewrite(
        path, lambda tensors, metadata: tensors.update(extra=np.zeros(3))
    ),
    "a tensor of another shape": lambda path: rewrite(
        path, lambda tensors, metadata: tensors.update({NAME: np.zeros((2, 5, 6))})
    ),
}


@pytest.mark.parametrize("damage", DAMAGE)
def test_a_damaged_or_foreign_file_is_refused_with_its_path(tmp_path, damage):
    path = tmp_path / "weights.safetensors"
    save(path, build("vae"))
    DAMAGE[damage](path)
    with pytest.raises(ValueError, match=re.escape(str(path))):
        load(path)


def test_an_unknown_model_is_named_beside_those_that_are_known(tmp_path):
    path = tmp_path / "weights.safetensors"
    save(path, build("vae"))
    edit(model="gan")(path)
    with pytest.raises(ValueError, match="'gan'.*" + ".*".join(MODELS)):
        load(path)


def test_the_tensor_that_does_not_fit_is_named(tmp_path):
    path = tmp_path / "weights.safetensors"
    for damage in ("a tensor missing", "a tensor of another shape"):
        save(path, build("vae"))
        DAMAGE[damage](path)
        with pytest.raises(ValueError, match=re.escape(NAME)):
            load(path)


def test_a_file_that_is_not_there_is_named(tmp_path):
    with pytest.raises(FileNotFoundError, match="absent"):
        load(tmp_path / "absent.safetensors")


UNITS = Units(
    Columns(tuple("abcde"), (0.1, 1 / 3, -2.5e-9, 1e9, 0.0), (0.2, 1.0, 1e-9, 3.0, 7.0)),
    Columns(("größe", 'a "b"', ""), (0.0, 1.0, 2.0), (1.0, 1.0, 1.0)),
)


@pytest.mark.parametrize("key", MODELS)
def test_the_units_travel_with_the_weights_to_the_bit(tmp_path, key):
    model = build(key, UNITS)
    save(tmp_path / "w.safetensors", model)
    loaded = load(tmp_path / "w.safetensors")
    assert loaded.units == UNITS
    x = batch(model)[0]
    assert torch.equal(loaded.encode(x).mean, model.encode(x).mean)
    save(tmp_path / "plain.safetensors", build(key))
    assert load(tmp_path / "plain.safetensors").units is None


@pytest.mark.parametrize("units", ["3", "{}", '{"x": {}, "y": {}}', "[1]", "null"])
def test_damaged_units_are_refused_with_the_path(tmp_path, units):
    save(tmp_path / "w.safetensors", build("vae"))
    tensors, metadata = read_tensors(tmp_path / "w.safetensors")
    write_tensors(tmp_path / "w.safetensors", tensors, {**metadata, "units": units})
    with pytest.raises(ValueError, match=r"w\.safetensors does not describe a model"):
        load(tmp_path / "w.safetensors")


def test_a_model_loads_without_the_compiler_of_pytorch(tmp_path):
    # It takes half a second, and on a device without memory some operations load it.
    for key in MODELS:
        save(tmp_path / f"{key}.safetensors", build(key))
    kinds = (Kind("category", ("no", "yes")), Kind("integer", (1, 2)), *[Kind()] * 3)
    units = replace(UNITS, x=replace(UNITS.x, kinds=kinds))
    whole = MODELS["stib_flow"](replace(SIZES, target=0), build("stib_flow").weights, units)
    save(tmp_path / "whole.safetensors", whole)
    code = (
        "import sys; from symmetry import load; [load(path) for path in sys.argv[1:]]; "
        "sys.exit(', '.join({'torch._dynamo', 'sympy'} & {*sys.modules}) or 0)"
    )
    paths = [*tmp_path.iterdir()]
    assert len(paths) == len(MODELS) + 1
    subprocess.run([sys.executable, "-c", code, *paths], check=True)
