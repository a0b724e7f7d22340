"""The real params.yaml, and every way to get one of its keys wrong."""

import copy
import re
from pathlib import Path

import pytest
import yaml
from pydantic import BaseModel

from symmetry.models import MODELS, Sizes
from symmetry.params import ModelsParams, Params, ParamsError, for_table, parse
from symmetry.tasks import TASKS

CONTENT = yaml.safe_load((Path(__file__).parents[1] / "params.yaml").read_text())


def leaves(block, prefix=""):
    for name, value in block.items():
        key = f"{prefix}{name}"
        if isinstance(value, dict):
            yield from leaves(value, f"{key}.")
        else:
            yield key, value


LEAVES = dict(leaves(CONTENT))
TEXTS = ("model", "train.device", "data.task")
FLAGS = [key for key in LEAVES if isinstance(LEAVES[key], bool)]
# A table needs no choices of STIB_FLOW's: each of its keys has a default.
DEFAULTED = [*FLAGS, *(key for key in LEAVES if key.startswith("models.stib_flow."))]
REQUIRED = [key for key in LEAVES if key not in ("data.task", *DEFAULTED)]
NUMBERS = [key for key in LEAVES if key not in TEXTS and not isinstance(LEAVES[key], bool)]
FLOATS = [key for key in NUMBERS if isinstance(LEAVES[key], float)]
INTEGERS = [key for key in NUMBERS if key not in FLOATS]


WITH_KL = [key for key in MODELS if "kl" in MODELS[key].term_names]


def changed(key, change):
    """Returns params.yaml's content after a change of the block that holds a key."""
    content = copy.deepcopy(CONTENT)
    *parents, name = key.split(".")
    block = content
    for parent in parents:
        block = block[parent]
    change(block, name)
    return content


def with_value(key, value):
    return changed(key, lambda block, name: block.update({name: value}))


def value_of(params, key):
    for name in key.split("."):
        params = getattr(params, name)
    return params


def refusal(content):
    """Returns the lines of faults with which a content is refused."""
    with pytest.raises(ParamsError) as raised:
        parse(content)
    first, *faults = str(raised.value).splitlines()
    assert first == "params.yaml is not valid:"
    return [fault.strip() for fault in faults]


# ---- What is right -----------------------------------------------------------------------------


def test_params_yaml_is_valid_and_keeps_its_values():
    params = parse(CONTENT)
    for key, value in LEAVES.items():
        assert value_of(params, key) == value


def test_the_keys_of_params_yaml_are_those_of_the_typed_params():
    def keys(block):
        fields = block.model_fields.items()
        return {
            name: keys(TASKS["spiral"])
            if name == "data"
            else keys(field.annotation)
            if isinstance(field.annotation, type) and issubclass(field.annotation, BaseModel)
            else None
            for name, field in fields
        }

    def found(block):
        return {
            name: found(value) if isinstance(value, dict) else None
            for name, value in block.items()
        }

    assert found(CONTENT) == keys(Params)


def test_the_models_are_those_of_the_library_with_their_terms_and_sizes():
    assert list(ModelsParams.model_fields) == list(MODELS)
    models = parse(CONTENT).models
    for key, kind in MODELS.items():
        own, block = getattr(models, key), CONTENT["models"][key]
        model = kind(Sizes(1, 2, 2, **own.sizes()), own.weights())
        # All but two terms of STIB_FLOW are a turn's own, so that there is little to weigh.
        weights = {"y": 1.0, "flow": 1.0, "bottleneck": 1.0, "alignment": 10.0}
        if key != "stib_flow":
            weights = {name: block[f"{name}_weight"] for name in kind.term_names}
        assert model.weights == weights
        sizes = {name.removesuffix("_size") for name in block if name.endswith("_size")}
        sizes |= {"noise", "target_from_y"} & set(block)
        assert set(own.sizes()) == sizes - {"batch"}
        for name in own.sizes():
            assert getattr(model.sizes, name) == block[name if name in block else f"{name}_size"]


def test_stib_flow_keeps_the_prediction_itself_where_no_target_size_is_given():
    for written, size in ((None, 0), (1, 1), (3, 3)):
        block = parse(with_value("models.stib_flow.target_size", written)).models.stib_flow
        assert block.sizes()["target"] == size


def test_each_turn_has_its_steps():
    content = copy.deepcopy(CONTENT)
    content["models"]["stib_flow"] |= {"predictor_steps": 3, "steps": 5}
    content["models"]["stib"]["steps"] = 7
    models = parse(content).models
    assert models.stib_flow.turn_steps(10) == [3, 3, 5]  # a bottleneck has a turn of its own
    content["models"]["stib_flow"]["target_size"] = None
    assert parse(content).models.stib_flow.turn_steps(10) == [3, 5]
    assert models.stib.turn_steps(10) == [7]


def test_steps_that_are_not_given_follow_the_rows():
    content = copy.deepcopy(CONTENT)
    content["models"]["stib_flow"] |= {"predictor_steps": None, "steps": None}
    block = parse(content).models.stib_flow
    assert block.turn_steps(200) == block.turn_steps(800) == [2500, 2500, 2000]
    assert block.turn_steps(16 * 800) == [5000, 5000, 4000]
    assert block.turn_steps(120_000) == [5000, 5000, 15_000]
    assert block.turn_steps(10**7) == block.turn_steps(256 * 800) == [5000, 5000, 24_000]
    content["models"]["stib_flow"]["steps"] = 6
    assert parse(content).models.stib_flow.turn_steps(200) == [2500, 2500, 6]


@pytest.mark.parametrize("key", DEFAULTED)
def test_a_key_with_a_default_may_be_left_out(key):
    *_, model, name = key.split(".")
    default = ModelsParams.model_fields[model].annotation.model_fields[name].default
    assert value_of(parse(changed(key, lambda block, name: block.pop(name))), key) == default


@pytest.mark.parametrize("key", MODELS)
def test_every_model_can_be_the_headline(key):
    assert parse(with_value("model", key)).model == key


@pytest.mark.parametrize("key", FLOATS)
def test_a_float_may_be_written_as_dvc_writes_it(key):
    for written in ("1e-05", 0 if key.endswith("averaging") else 1):
        found = value_of(parse(with_value(key, written)), key)
        assert found == float(written)
        assert isinstance(found, float)


@pytest.mark.parametrize(
    ("key", "value"),
    [
        ("train.threads", None),
        ("train.threads", 2),
        ("train.seeds", 1),
        ("train.batch_size", 2),
        ("train.device", "cuda"),
        ("data.seed", 0),
        ("data.seed", 2**32 - 1),
        ("evaluate.neighbours", 99),
        ("models.vae.learning_rate_end", 0.0),
        ("models.vae.kl_warmup", 0.0),
        ("models.vae.kl_warmup", 1.0),
        ("models.stib.dependence_weight", 0.0),
        ("evaluate.refine", 0),
        ("evaluate.refine", 1000),
        ("models.stib_flow.averaging", 0.0),
        ("models.stib_flow.noise", 0.0),
        ("models.stib_flow.target_size", None),
    ],
)
def test_the_ends_of_a_range_belong_to_it(key, value):
    assert value_of(parse(with_value(key, value)), key) == value


# ---- What is wrong -----------------------------------------------------------------------------


@pytest.mark.parametrize("key", REQUIRED)
def test_a_misspelt_key_is_named_with_its_value_and_the_keys_allowed(key):
    content = changed(key, lambda block, name: block.update({f"{name}x": block.pop(name)}))
    missing, unknown = sorted(refusal(content), key=lambda fault: "unknown" in fault)
    *_, name = key.split(".")
    assert missing.startswith(f"{key}: missing")
    assert unknown.startswith(f"{key}x: unknown key")
    assert repr(LEAVES[key]) in unknown
    assert name in re.split(r"[ ,]+", unknown.partition("allowed: ")[2])


@pytest.mark.parametrize("key", DEFAULTED)
def test_a_misspelt_key_is_named_though_it_has_a_default(key):
    (fault,) = refusal(
        changed(key, lambda block, name: block.update({f"{name}x": block.pop(name)}))
    )
    assert fault.startswith(f"{key}x: unknown key (value {LEAVES[key]!r}); allowed: ")
    assert key.split(".")[-1] in re.split(r"[ ,]+", fault.partition("allowed: ")[2])


@pytest.mark.parametrize("key", REQUIRED)
def test_a_removed_key_is_named(key):
    (fault,) = refusal(changed(key, lambda block, name: block.pop(name)))
    assert fault.startswith(f"{key}: missing")


def assert_refused(key, value):
    (fault,) = refusal(with_value(key, value))
    assert re.match(rf"{re.escape(key)}: found {re.escape(repr(value))}; allowed: \S+", fault)
    return fault.partition("allowed: ")[2]


@pytest.mark.parametrize("key", LEAVES)
def test_a_value_of_another_type_is_refused(key):
    other = (0, 1, "true", 0.0) if key in FLAGS else (True, False)  # Python takes True for 1
    for value in ("abc", "", [1], {"a": 1}, *other):
        assert_refused(key, value)


NULLABLE = {
    "train.threads",
    *(f"models.stib_flow.{name}" for name in ("target_size", "steps", "predictor_steps")),
    *(f"models.{key}.batch_size" for key in MODELS),
}


@pytest.mark.parametrize("key", [key for key in LEAVES if key not in NULLABLE])
def test_null_is_refused_where_it_means_nothing(key):
    assert_refused(key, None)


@pytest.mark.parametrize("key", INTEGERS)
def test_a_count_is_neither_a_fraction_nor_a_text(key):
    for value in (2.5, 100.0, "100", "1e-05"):
        assert "integer" in assert_refused(key, value)


@pytest.mark.parametrize("key", FLOATS)
def test_a_float_is_finite(key):
    for value in (float("nan"), float("inf"), -float("inf")):
        assert "finite" in assert_refused(key, value)


@pytest.mark.parametrize("key", NUMBERS)
def test_a_negative_number_is_refused(key):
    assert re.match(r"greater than (or equal to )?\d", assert_refused(key, -1))


@pytest.mark.parametrize(
    ("key", "value", "allowed"),
    [
        ("data.train_rows", 0, "greater than or equal to 1"),
        ("data.test_rows", 99, "greater than or equal to 100"),
        ("data.validation_rows", 1, "greater than or equal to 2"),
        ("data.seed", 2**32, "less than 4294967296"),
        ("train.seeds", 0, "greater than or equal to 1"),
        ("train.batch_size", 1, "greater than or equal to 2"),
        ("train.validate_every", 0, "greater than or equal to 1"),
        ("train.threads", 0, "greater than or equal to 1"),
        ("evaluate.neighbours", 0, "greater than or equal to 1"),
        ("evaluate.neighbours", 100, "less than 100"),
        *((f"models.{key}.steps", 0, "greater than or equal to 1") for key in MODELS),
        *((f"models.{key}.kl_weight", 0.0, "greater than 0") for key in WITH_KL),
        *((f"models.{key}.kl_weight_start", 0.0, "greater than 0") for key in WITH_KL),
        *((f"models.{key}.kl_warmup", 1.01, "less than or equal to 1") for key in WITH_KL),
        *((f"models.{key}.hidden_size", 0, "greater than or equal to 1") for key in MODELS),
        ("models.stib.critic_size", 0, "greater than or equal to 1"),
        ("models.stib_flow.averaging", 1.0, "less than 1"),
        ("models.stib_flow.target_size", 0, "greater than or equal to 1"),
        ("models.stib_flow.predictor_steps", 0, "greater than or equal to 1"),
        ("evaluate.refine", 1001, "less than or equal to 1000"),
        ("models.stib.learning_rate", "abc", "a valid number"),
    ],
)
def test_a_value_out_of_range_is_refused_and_the_range_named(key, value, allowed):
    assert assert_refused(key, value).startswith(allowed)


def test_an_unknown_model_is_refused_and_all_that_exist_are_named():
    allowed = assert_refused("model", "foo")
    for key in MODELS:
        assert f"'{key}'" in allowed


def test_an_unknown_block_is_refused_and_all_that_exist_are_named():
    content = {**CONTENT, "models": {**CONTENT["models"], "vea": {"steps": 1}}}
    (fault,) = refusal(content)
    assert fault.startswith("models.vea: unknown key")
    assert fault.endswith(", ".join(MODELS))


def test_all_faults_are_named_at_once():
    content = with_value("train.batch_size", -1)
    content["data"]["rows"] = 5
    del content["models"]["stib"]["steps"]
    faults = refusal(content)
    assert len(faults) == 3
    for key in ("train.batch_size", "data.rows", "models.stib.steps"):
        assert any(fault.startswith(f"{key}: ") for fault in faults)


@pytest.mark.parametrize("content", [None, [], "model: stib", 3], ids=repr)
def test_a_file_that_is_no_mapping_is_refused(content):
    (fault,) = refusal(content)
    assert repr(content) in fault
    assert fault.startswith("params.yaml: found")


# ---- Tasks and models of one's own choice ------------------------------------------------------

FILE = {"task": "file", "path": "mine.csv", "x": ["a"], "y": ["b"], "seed": 0}


def test_without_a_name_the_task_is_the_papers():
    content = changed("data.task", lambda block, name: block.pop(name))
    assert parse(content).data == parse(CONTENT).data


def test_an_unknown_task_is_refused_and_all_that_exist_are_named():
    allowed = assert_refused("data.task", "foo")
    for key in TASKS:
        assert f"'{key}'" in allowed


def test_a_misspelt_name_of_the_task_is_an_unknown_key():
    (fault,) = refusal(
        changed("data.task", lambda block, name: block.update(taskx=block.pop(name)))
    )
    assert fault.startswith("data.taskx: unknown key (value 'spiral'); allowed: ")


@pytest.mark.parametrize("key", sorted({*TASKS} - {"file", "formula"}))
def test_drawn_tasks_share_their_keys(key):
    assert parse(with_value("data.task", key)).data.task == key


def test_a_file_has_its_own_keys_and_faults_in_them_are_named():
    assert parse({**CONTENT, "data": FILE}).data.x == ["a"]
    bad = {**FILE, "x": [], "bad_rows": "ignore", "rows": 3, "test_share": 1.5, "separator": ";;"}
    del bad["y"]
    faults = refusal({**CONTENT, "data": bad})
    assert {fault.partition(":")[0] for fault in faults} == {
        *("data.x", "data.y", "data.bad_rows", "data.rows", "data.test_share", "data.separator")
    }
    assert any(fault.startswith("data.rows: unknown key (value 3); allowed: ") for fault in faults)


@pytest.mark.parametrize("block", [None, [], "spiral", 3], ids=repr)
def test_a_data_block_that_is_no_mapping_is_refused(block):
    (fault,) = refusal({**CONTENT, "data": block})
    assert fault.startswith(f"data: found {block!r}")


def test_a_model_without_a_block_is_left_out_and_cannot_be_the_headline():
    alone = {"stib": CONTENT["models"]["stib"]}
    assert parse({**CONTENT, "models": alone}).models.given() == ["stib"]
    assert parse({**CONTENT, "models": alone}).models.block("stib").steps > 0
    with pytest.raises(ParamsError, match=r"no block models\.vae; it has stib"):
        parse({**CONTENT, "models": alone}).models.block("vae")
    (fault,) = refusal({**CONTENT, "models": alone, "model": "vae"})
    assert fault == "model: found 'vae', which has no block under models; allowed: stib"


@pytest.mark.parametrize("key", MODELS)
def test_null_is_no_block_of_a_model(key):
    assert_refused(f"models.{key}", None)


@pytest.mark.parametrize("key", MODELS)
@pytest.mark.parametrize(("x", "y", "invariant"), [(4, 1, 3), (5, 2, 3), (1, 1, 1), (2, 3, 1)])
def test_a_table_gives_a_model_its_sizes_and_the_rest_can_be_changed(key, x, y, invariant):
    params = for_table(key, x, y, seeds=2, device="cpu", changes={"steps": 7})
    assert params.models.given() == [key]
    assert (params.train.seeds, params.train.device) == (2, "cpu")
    own = params.models.block(key).model_dump()
    assert own["steps"] == 7
    # STIB_FLOW takes no size of Z0; what it keeps is its prediction of y.
    size, kept = (None, None) if key == "stib_flow" else (invariant, y)
    assert own.get("invariant_size") == size
    assert own.get("target_size") == (None if key in ("cvae", "cvib") else kept)
    changed = for_table(key, x, y, changes=own).models.block(key)
    assert changed.model_dump() == own


def test_all_faults_of_what_a_table_shall_change_are_named():
    with pytest.raises(ParamsError) as error:
        for_table("vae", 2, 1, seeds=0, changes={"steps": 0, "depth": 3})
    said = str(error.value).splitlines()[1:]
    starts = (
        "  train.seeds: found 0",
        "  models.vae.steps: found 0",
        "  models.vae.depth: unknown",
    )
    assert all(line.startswith(start) for line, start in zip(said, starts, strict=True))
