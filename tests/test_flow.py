"""STIB_FLOW: its shapes, its law, who learns what, and a Gaussian whose flow is known exactly."""

from dataclasses import replace
from math import sqrt

import numpy as np
import pytest
import torch
from numpy.random import default_rng
from scipy.stats import kstest, spearmanr
from torch import nn

from symmetry.checkpoints import load, save
from symmetry.data import Columns, Dataset, Units
from symmetry.estimators import mutual_information_bits, whiten
from symmetry.fitting import fit
from symmetry.models import Sizes, StibFlow
from symmetry.networks import initialise
from symmetry.params import StibFlowParams, for_table
from symmetry.symmetries import partners, refined
from symmetry.training import cosine, train

SIZES = Sizes(stack=3, x=4, y=2, target=1, hidden=8, noise=0.1)
ROWS = 30
WEIGHTS = StibFlowParams().weights()
PREDICTOR, BOTTLENECK, FLOW = StibFlow(SIZES, WEIGHTS).turns()

any_size = pytest.mark.parametrize(("stack", "target"), [(1, 0), (3, 0), (1, 1), (3, 1), (3, 3)])


def seeded(seed=0):
    return torch.Generator().manual_seed(seed)


def normal(*shape, seed=0):
    return torch.randn(*shape, generator=seeded(seed))


def build(units=None, **sizes):
    """Builds an untrained model that has looked at its rows."""
    model = StibFlow(replace(SIZES, **sizes), WEIGHTS, units).eval()
    initialise(model, [seeded(copy) for copy in range(model.sizes.stack)], model.decoders(), 1.0)
    rows = model.in_units(normal(500, model.sizes.x, seed=9), "x")
    for turn in model.turns():
        model.prepare(turn, rows, rows, model.prediction(rows)[0])
    return model


def batch(model):
    stack, x, y = model.sizes.stack, model.sizes.x, model.sizes.y
    seen = normal(stack, ROWS, x, seed=1)
    return seen, seen[..., :y] ** 2, normal(stack, ROWS, model.noise_size, seed=2)


# ---- Shapes ------------------------------------------------------------------------------------


@any_size
def test_z0_is_as_wide_as_x_and_z1_as_asked_or_as_y(stack, target):
    model = build(stack=stack, target=target)
    width = target or 2
    assert (model.invariant_size, model.target_size) == (4, width)
    assert model.latent_size == model.measured_size + width == 4 + width
    assert model.noise_size == 9
    x = normal(ROWS, 4)
    code = model.encode(x)
    assert code.mean.shape == (stack, ROWS, 4 + width)
    assert code.invariant.shape == (stack, ROWS, 4)
    assert code.target.shape == (stack, ROWS, width)
    assert not code.std.any()  # the code of x is one point
    assert model.decode(code.invariant, code.target).shape == (stack, ROWS, 4)
    y_hat = model.predict(code.invariant, code.target)
    assert y_hat.shape == (stack, ROWS, 2)
    torch.testing.assert_close(model.prediction(x), y_hat)
    assert model.sample(x, normal(stack, ROWS, 9)).shape == (stack, ROWS, 4 + width)
    assert model.fresh_invariant((5, 7), x, seeded()).shape == (stack, 5, 7, 4)
    terms = model.terms(*batch(model))
    names = ("y", "flow", "bottleneck", "alignment") if target else ("y", "flow")
    assert {name: value.shape for name, value in terms.items()} == dict.fromkeys(names, (stack,))
    assert partners(model, x, 3, seeded()).shape == (stack, 3, ROWS, 4)


def test_without_a_target_size_z1_is_the_prediction_turned():
    model = build(target=0)
    x = normal(ROWS, 4)
    turned = model.encode(x).target @ model.directions.mT
    torch.testing.assert_close(turned, model.prediction(x))
    kept = model.directions @ model.directions.mT
    predicted = model.predictor(x.expand(3, -1, -1)) @ kept
    torch.testing.assert_close(model.prediction(x), predicted)
    assert not hasattr(model, "encoder")
    assert not hasattr(model, "y_decoder")


def test_a_sample_differs_from_the_code_by_the_noise_on_the_scores_alone():
    x, noise = normal(ROWS, 4), normal(3, ROWS, 9)
    still, code = build(noise=0.0), build(noise=0.0).encode(x).mean
    torch.testing.assert_close(still.sample(x, noise), code)
    model = build(noise=0.1)
    sample = model.sample(x, noise)
    assert torch.equal(sample[..., 4:], model.encode(x).target)
    moved = (sample - code)[..., :4].norm(dim=-1)
    assert 0.05 < moved.median() < 0.5
    scores = model.scores(x.expand(3, -1, -1)) + 0.1 * noise[..., :4]
    back = model._flow(sample[..., :4], sample[..., 4:], back=False)
    torch.testing.assert_close(back, scores, rtol=0, atol=0.02)


# ---- The equation ------------------------------------------------------------------------------


@pytest.mark.parametrize("target", [0, 1])
def test_the_flow_runs_back_as_it_came(target):
    model = build(target=target).double()
    start = normal(3, 200, 4).double()
    level = model.levels(normal(3, 200, 4, seed=3).double())
    there = model._flow(start, level, back=False)
    assert (there - start).norm(dim=-1).median() > 0.1
    torch.testing.assert_close(model._flow(there, level, back=True), start, rtol=0, atol=1e-2)


def test_a_finer_flow_runs_back_more_exactly_by_the_square_of_its_steps(monkeypatch):
    model = build().double()
    start, level = normal(3, 200, 4).double(), model.levels(normal(3, 200, 4, seed=3).double())

    def gap(steps):
        monkeypatch.setattr("symmetry.models.flow.ODE_STEPS", steps)
        back = model._flow(model._flow(start, level, back=False), level, back=True)
        return (back - start).abs().mean().item()

    assert gap(48) < 0.1 * gap(12)


@pytest.mark.parametrize("target", [0, 1])
def test_what_is_encoded_is_decoded(target):
    model = build(target=target).double()
    x = 0.5 * normal(ROWS, 4).double()
    code = model.encode(x)
    x_hat = model.decode(code.invariant, code.target)
    torch.testing.assert_close(x_hat, x.expand(3, -1, -1), rtol=0, atol=0.02)
    assert (x_hat - x).abs().mean() < 0.002


def test_nothing_is_decoded_beyond_the_range_of_the_training_rows():
    model = build()
    far = 50 * normal(3, 500, 4)
    x_hat = model.decode(far, model.levels(far))
    assert (x_hat >= model.low - 1e-6).all()
    assert (x_hat <= model.high + 1e-6).all()
    torch.testing.assert_close(x_hat.amax((0, 1)), model.high)


def test_a_model_with_units_flows_as_one_without():
    columns = Columns(tuple("abcd"), (1.0, -2.0, 0.0, 30.0), (2.0, 0.25, 1.0, 8.0))
    units = Units(columns, Columns(("u", "v"), (4.0, 0.0), (0.5, 2.0)))
    plain, own = build(), build(units)
    x = normal(ROWS, 4)
    raw = own.in_units(x, "x")
    code, own_code = plain.encode(x), own.encode(raw)
    torch.testing.assert_close(own_code.mean, code.mean, rtol=1e-3, atol=1e-3)
    torch.testing.assert_close(
        own.standardised(own.decode(code.invariant, code.target), "x"),
        plain.decode(code.invariant, code.target),
        rtol=1e-3,
        atol=1e-3,
    )
    torch.testing.assert_close(
        own.standardised(own.prediction(raw), "y"), plain.prediction(x), rtol=1e-3, atol=1e-3
    )


# ---- Who learns what ---------------------------------------------------------------------------


@any_size
def test_every_parameter_gets_a_gradient_in_its_turn_and_only_in_its_turn(stack, target):
    model = build(stack=stack, target=target)
    assert model.turns() == ([PREDICTOR, BOTTLENECK, FLOW] if target else [PREDICTOR, FLOW])
    for turn in model.turns():
        model.zero_grad()
        terms = model.terms(*batch(model), turn.terms)
        assert set(terms) == set(turn.terms)
        model.loss(terms, 0.5).sum().backward()
        for name, parameters in model.players().items():
            for parameter in parameters:
                if name in turn.players:
                    assert all(gradient.abs().max() > 0 for gradient in parameter.grad)
                else:
                    assert parameter.grad is None


@pytest.mark.parametrize("target", [0, 1])
def test_the_players_share_out_all_parameters(target):
    model = build(target=target)
    names = {id(parameter): name for name, parameter in model.named_parameters()}
    players = model.players()
    assert sum(map(len, players.values())) == len(names)
    found = {key: {names[id(p)].split(".")[0] for p in own} for key, own in players.items()}
    assert found == {
        "predictor": {"predictor"},
        **({"bottleneck": {"encoder", "y_decoder"}} if target else {}),
        "flow": {"velocity"},
    }


def test_networks_that_lead_away_from_a_code_start_with_spread_biases_and_others_smooth():
    model = build()
    for name, network in model.named_children():
        if name in ("predictor", "encoder", "y_decoder", "velocity"):
            spread = name in ("y_decoder", "velocity")
            assert all(bool(value.any()) == spread for value in network.first.bias)


def test_z1_is_detached_in_the_flows_term():
    model = build()
    model.terms(*batch(model))["flow"].sum().backward()
    assert all(parameter.grad is None for parameter in model.encoder.parameters())
    assert all(parameter.grad is not None for parameter in model.velocity.parameters())


def test_the_terms_are_squared_errors_by_hand():
    model = build().double()
    x, y, noise = (part.double() for part in batch(model))
    found = model.terms(x, y, noise)
    level = model.levels(x)
    expected = (model.predictor(x) - y).square().sum(-1).mean(-1)
    torch.testing.assert_close(found["y"], expected)
    expected = (model.predict(level, level) - y).square().sum(-1).mean(-1)
    torch.testing.assert_close(found["bottleneck"], expected)
    start, jitter, time = noise[..., :4], noise[..., 4:8], noise[..., 8:]
    end = model.scores(x) + 0.1 * jitter
    share = 0.5 * (1 + torch.erf(time / sqrt(2)))  # uniform
    time = 1 - share**1.5
    velocity = model._velocity((1 - time) * start + time * end, time, model.level_scores(level))
    expected = (velocity - (end - start)).square().sum(-1).mean(-1)
    torch.testing.assert_close(found["flow"], expected)


def test_the_error_of_a_bottleneck_is_weighed_as_scheduled_and_nothing_else_is():
    model = build()
    terms = model.terms(*batch(model))
    error, misalignment = terms["bottleneck"], terms["alignment"]
    own = {name: terms[name] for name in BOTTLENECK.terms}
    torch.testing.assert_close(model.objective(own), error + 10 * misalignment)
    for scheduled in (0.0, 0.25, 1.0):
        found = model.loss(own, scheduled)
        torch.testing.assert_close(found, scheduled * error + 10 * misalignment)
        for name in ("y", "flow"):
            assert torch.equal(model.loss({name: terms[name]}, scheduled), terms[name])


def test_copies_do_not_touch_each_other():
    model = build()
    sum(value[0] for value in model.terms(*batch(model)).values()).backward()
    for parameter in model.parameters():
        assert parameter.grad[0].any()
        assert not parameter.grad[1:].any()


def test_each_turn_looks_at_the_scales_that_it_needs():
    model = StibFlow(SIZES, WEIGHTS).eval()
    initialise(model, [seeded(copy) for copy in range(3)], model.decoders(), 1.0)
    rows = normal(500, 4, seed=9) * torch.tensor([1.0, 2.0, 3.0, 4.0])
    rows[:5, 3] = 1e3
    levels = model.level_scores.values.clone()
    model.prepare(PREDICTOR, rows, rows, rows[:, :1])
    assert torch.equal(model.low, rows.amin(0))
    assert torch.equal(model.high, rows.amax(0))
    assert torch.equal(model.scores.values[:, -1], model.high)
    assert model.tails.far.tolist() == [0, 0, 0, 1]
    assert torch.equal(model.level_scores.values, levels)
    held = model.scores.values.clone()
    model.prepare(BOTTLENECK, rows[:50], rows, rows[:, :1])
    assert torch.equal(model.level_scores.values, levels)
    model.prepare(FLOW, rows[:50], rows, rows[:, :1])
    assert torch.equal(model.scores.values, held)
    seen = model.levels(rows[:50].expand(3, -1, -1))
    torch.testing.assert_close(model.level_scores.values[..., 0], seen.amin(1))
    torch.testing.assert_close(model.level_scores.values[..., -1], seen.amax(1))


def test_of_many_rows_some_are_looked_at_and_the_ends_are_those_of_all(monkeypatch):
    monkeypatch.setattr("symmetry.models.flow.LOOKED_AT", 100)
    rows = normal(1050, 4, seed=9)
    rows[7], rows[8] = 20, -20  # of every eleventh row neither
    model = build()
    model.prepare(PREDICTOR, rows, rows, rows[:, :1])
    assert (model.scores.values[:, 0] == -20).all()
    assert (model.scores.values[:, -1] == 20).all()
    assert model.scores.values[:, 1:-1].abs().max() < 6


# ---- Directions of Z1 --------------------------------------------------------------------------


def turned(columns, noise, y=None, stack=2):
    """Builds a model whose predictor is linear, with as many y as columns, that has looked at
    rows and their y, or at y itself.
    """
    size = columns.shape[1]
    model = StibFlow(Sizes(stack, x=len(columns), y=size, target=0, hidden=8), WEIGHTS).eval()
    model.predictor = Linear(*columns.T.tolist())
    model.double()
    rows = normal(400, len(columns), seed=9).double()
    held_y = rows @ columns.double() + noise * normal(400, size, seed=8) if y is None else y
    model.prepare(FLOW, rows, rows, held_y)
    return model, rows


def test_z1_lies_along_the_principal_directions_of_the_prediction_strongest_first():
    columns = torch.tensor([[2.0, 1.0], [0.0, 1.0], [1.0, 0.0]])
    model, rows = turned(columns, 0.1)
    z1 = model.levels(rows.expand(2, -1, -1))
    spread = z1.var(1)
    assert (spread[:, 0] > spread[:, 1]).all()
    covariance = (z1 - z1.mean(1, keepdim=True)).mT @ (z1 - z1.mean(1, keepdim=True))
    assert covariance[:, 0, 1].abs().max() < 1e-9 * covariance[:, 0, 0].max()
    torch.testing.assert_close(model.prediction(rows), (rows @ columns.double()).expand(2, -1, -1))


def test_a_direction_that_predicts_no_better_than_a_constant_is_left_out():
    columns = torch.tensor([[1.0, 1.0], [0.0, 0.3]])
    rows = normal(400, 2, seed=9).double()
    y = rows[:, :1] + 0.5 * normal(400, 1, seed=7)  # the same in both columns
    noisy = y.expand(-1, 2) + 1e-3 * normal(400, 2, seed=8)
    model, _ = turned(columns, 0, noisy)
    z1 = model.levels(rows.expand(2, -1, -1))
    assert (z1[..., 1] == 0).all()
    assert (z1[..., 0].std(1) > 1).all()
    predicted = model.prediction(rows)
    # What is left of ŷ lies along one direction, near that of y itself.
    assert torch.linalg.matrix_rank(predicted).tolist() == [1, 1]
    along = predicted[0, :, 1] / predicted[0, :, 0]
    torch.testing.assert_close(along, along[:1].expand(400))
    assert 0.8 < along[0] < 1.2
    found = refined(model, rows.expand(2, -1, -1) + 0.3, z1)
    torch.testing.assert_close(model.levels(found), z1, atol=1e-3, rtol=0)


def test_the_first_direction_stays_though_it_predicts_nothing():
    model, rows = turned(torch.eye(2), 0, normal(400, 2, seed=6).double() * 0.1)
    z1 = model.levels(rows.expand(2, -1, -1))
    assert (z1[..., 0].std(1) > 0.5).all()
    assert (z1[..., 1] == 0).all()


# ---- Aligned gradients -------------------------------------------------------------------------


class Linear(nn.Module):
    """Maps rows of all copies by one matrix, whose columns are the gradients."""

    def __init__(self, *gradients):
        super().__init__()
        self.matrix = nn.Parameter(torch.tensor(gradients, dtype=torch.float64).T)

    def forward(self, x):
        return x @ self.matrix


class Radial(Linear):
    """Computes |x|² and nothing else."""

    def forward(self, x):
        return x.square().sum(-1, keepdim=True)


def misalignment(predictor, encoder, x=None):
    model = build(y=1).double()
    model.predictor, model.encoder = predictor, encoder
    model.sizes = replace(model.sizes, target=encoder.matrix.shape[1])
    return model._misalignment(normal(3, ROWS, 4).double() if x is None else x)


@pytest.mark.parametrize("degrees", [0, 30, 45, 90, 180])
@pytest.mark.parametrize("length", [1e-2, 1.0, 50.0])
def test_the_misalignment_of_two_gradients_is_the_squared_sine_between_them(degrees, length):
    angle = np.radians(degrees)
    turned = [0.0, length * np.cos(angle), length * np.sin(angle), 0.0]
    found = misalignment(Linear([0.0, 3.0, 0.0, 0.0]), Linear(turned))
    expected = torch.full((3,), np.sin(angle) ** 2).double()
    torch.testing.assert_close(found, expected, rtol=0, atol=1e-9)


def test_of_several_slopes_the_steepest_are_kept_as_many_as_z1_has_dimensions():
    predictor = Linear([3.0, 0.0, 0.0, 0.0], [0.0, 1.0, 0.0, 0.0])
    first, second, neither = [1.0, 0.0, 0, 0], [0.0, 1.0, 0, 0], [0.0, 0.0, 1, 1]
    half = [0.0, 1.0, 1.0, 0.0]
    for gradients, expected in [
        ([first], 0),
        ([second], 1),
        ([first, second], 0),
        ([second, second], 0),  # each lies where it may, and what is told twice is no fold
        ([first, neither], 1),
        ([half, neither], 1.5),
        ([first, half], 0.5),
    ]:
        found = misalignment(predictor, Linear(*gradients))
        torch.testing.assert_close(found, torch.full((3,), expected).double(), rtol=0, atol=1e-9)


def test_the_misalignment_is_the_mean_over_the_rows_of_each_copy():
    x = normal(3, ROWS, 4).double()
    found = misalignment(Radial([0.0]), Linear([1.0, 0.0, 0.0, 0.0]), x)
    cosine_of = x[..., 0] / x.norm(dim=-1)
    torch.testing.assert_close(found, (1 - cosine_of**2).mean(-1))


def jacobians(network, x):
    """Computes ∂ network / ∂ x of each row, (S, n, outputs, inputs)."""
    summed = torch.autograd.functional.jacobian(lambda x: network(x).sum(1), x)
    return torch.stack([summed[copy, :, copy].movedim(0, 1) for copy in range(len(x))])


@pytest.mark.parametrize("target", [1, 2])
def test_the_misalignment_of_networks_is_that_by_singular_vectors(target):
    model = build(target=target).double()
    x = batch(model)[0].double()
    leading = torch.linalg.svd(jacobians(model.predictor, x)).Vh[:, :, :target]
    gradients = jacobians(model.encoder, x)
    units = gradients / gradients.norm(dim=-1, keepdim=True)
    expected = (1 - (units @ leading.mT).square().sum(-1)).sum(-1).mean(-1)
    assert (expected > 0.1).all()
    torch.testing.assert_close(model._misalignment(x), expected)
    with torch.no_grad():  # as in validation
        found = model._misalignment(x)
        torch.testing.assert_close(found, expected)
    assert not found.requires_grad
    assert not x.requires_grad


def test_the_misalignment_moves_the_encoder_and_not_the_predictor():
    model = build()
    x, y, noise = batch(model)
    before = model.terms(x, y, noise, BOTTLENECK.terms)["alignment"]
    before.sum().backward()
    others = [*model.predictor.parameters(), *model.y_decoder.parameters()]
    assert all(parameter.grad is None for parameter in others)
    with torch.no_grad():
        for name, parameter in model.encoder.named_parameters():
            if name != "last.bias":  # a shift, which no gradient by x shows
                assert all(gradient.any() for gradient in parameter.grad), name
                parameter -= 1e-2 * parameter.grad
    assert (model.terms(x, y, noise, BOTTLENECK.terms)["alignment"] < before).all()


def test_a_bottleneck_unrolls_a_spiral_and_does_not_fold_it():
    # Its two arms, t < 0 and t > 0, cross where cos t = 0: there y alone does not tell them apart.
    # With gradients that are not aligned all copies fold here.
    def unrolled(x):
        return 12 * x.sum(1) / sqrt(12)  # from -12 to 12

    def rolled(rows, seed):
        draw = default_rng(seed)
        x = draw.uniform(-sqrt(3), sqrt(3), (rows, 2))
        t = unrolled(x)
        y = np.stack([t * np.cos(t), t * np.sin(t)], 1) + 0.5 * draw.standard_normal((rows, 2))
        return Dataset(x, y / y.std())  # as good as standardised, so that no units are needed

    changes = {"target_size": 1, "hidden_size": 64, "predictor_steps": 700, "steps": 1}
    params = for_table("stib_flow", 2, 2, seeds=2, device="cpu", changes=changes)
    model = fit("stib_flow", params, rolled(5000, 0), rolled(1000, 1))
    x = rolled(2000, 2).x
    with torch.no_grad():
        levels = model.levels(torch.as_tensor(x, dtype=torch.float32).expand(2, -1, -1))
    for level in levels[..., 0].numpy():
        assert abs(spearmanr(level, unrolled(x)).statistic) > 0.99


# ---- Saved -------------------------------------------------------------------------------------


@pytest.mark.parametrize("target", [0, 1])
def test_a_saved_model_comes_back_with_its_scales_to_the_bit(tmp_path, target):
    model = build(target=target)
    save(tmp_path / "w.safetensors", model)
    loaded = load(tmp_path / "w.safetensors")
    assert loaded.sizes == model.sizes
    x = normal(ROWS, 4)
    with torch.no_grad():
        code = model.encode(x)
        assert torch.equal(loaded.encode(x).mean, code.mean)
        assert torch.equal(
            loaded.decode(code.invariant, code.target), model.decode(code.invariant, code.target)
        )
        assert torch.equal(loaded.prediction(x), model.prediction(x))
    assert torch.equal(partners(loaded, x, 2, seeded()), partners(model, x, 2, seeded()))
    for name, value in model.named_buffers():
        assert torch.equal(dict(loaded.named_buffers())[name], value), name


# ---- Trained on what is known ------------------------------------------------------------------

# x is normal with correlated columns, and y the first one plus noise: given a level of it, the
# other columns are normal too, with a mean and a covariance in closed form.
COVARIANCE = np.array([[1.0, 0.7, 0.0], [0.7, 1.0, -0.5], [0.0, -0.5, 1.0]])
GIVEN = COVARIANCE[1:, 0]  # the mean of the others, by the level
LEFT = COVARIANCE[1:, 1:] - np.outer(GIVEN, GIVEN)


def correlated(rows, seed):
    draw = default_rng(seed)
    x = draw.multivariate_normal(np.zeros(3), COVARIANCE, rows)
    return Dataset(x, x[:, :1] + 0.1 * draw.standard_normal((rows, 1)))


TEST = correlated(3000, 2)
X = torch.as_tensor(TEST.x, dtype=torch.float32)


@pytest.fixture(scope="module", params=[0, 1], ids=["prediction kept", "bottleneck kept"])
def trained(request):
    sizes = Sizes(stack=2, x=3, y=1, target=request.param, hidden=32, noise=0.03)
    model = StibFlow(sizes, WEIGHTS)
    train(
        model,
        correlated(20_000, 0),
        correlated(1000, 1),
        seeds=[0, 1],
        bias_scale=1.0,
        steps=[*[300] * (len(model.turns()) - 1), 700],
        batch_size=256,
        learning_rates=dict.fromkeys(model.players(), cosine(1e-2, 0.0, 0.03)),
        scheduled_weight=lambda done: min(1.0, done / 0.3),
        averaging=0.99,
        validate_every=100,
    )
    return model.requires_grad_(False)


def test_it_predicts_what_there_is_to_predict(trained):
    error = (trained.prediction(X) - X[:, :1]).square().mean((1, 2)).sqrt()
    assert (error < 0.05).all()


def test_it_restores_x(trained):
    code = trained.encode(X)
    x_hat = trained.decode(code.invariant, code.target)
    assert ((x_hat - X).abs().mean((1, 2)) < 0.03).all()


def test_sampled_codes_are_standard_normal_and_tell_nothing_of_z1_or_y(trained):
    sample = trained.sample(X, normal(2, 3000, trained.noise_size, seed=5)).double().numpy()
    for z0, z1 in zip(sample[..., :3], sample[..., 3:], strict=True):
        # Across the orbits, along the first column, the noise on the scores is all there is, and
        # few steps of an equation that is steep there draw it in a little.
        for column, (apart, wide) in zip(
            z0.T, [(0.2, 0.45), (0.05, 0.05), (0.05, 0.05)], strict=True
        ):
            assert kstest(column, "norm").statistic < apart
            assert column.std() == pytest.approx(1, abs=wide)
        assert np.abs(np.corrcoef(z0.T) - np.eye(3)).max() < 0.15
        for known in (z1, TEST.y):
            assert mutual_information_bits(whiten(z0), whiten(known), 20) < 0.06


def test_fresh_z0_is_standard_normal_and_the_same_for_all_copies(trained):
    fresh = trained.fresh_invariant((20, 100), X, seeded())
    assert fresh.shape == (2, 20, 100, 3)
    assert torch.equal(fresh[0], fresh[1])
    for column in fresh[0].flatten(0, 1).T:
        assert kstest(column.numpy(), "norm").pvalue > 0.001
    again = trained.fresh_invariant((20, 100), 5 * X[:7], seeded())
    assert torch.equal(again, fresh)  # no row has a part in it
    assert not torch.equal(trained.fresh_invariant((20, 100), X, seeded(1)), fresh)


@pytest.mark.parametrize("level", [-1.0, 0.0, 1.5])
@pytest.mark.parametrize("refine", [0, 10])
def test_partners_have_the_conditional_law_in_closed_form(trained, level, refine):
    x = torch.tensor([[level, *(GIVEN * level)]], dtype=torch.float32)
    moved = partners(trained, x, 2000, seeded(), refine=refine)[:, :, 0].double().numpy()
    for found in moved:
        assert found[:, 0].mean() == pytest.approx(level, abs=0.08)
        assert found[:, 0].std() < (0.15 if refine == 0 else 0.05)
        np.testing.assert_allclose(found[:, 1:].mean(0), GIVEN * level, atol=0.12)
        np.testing.assert_allclose(np.cov(found[:, 1:].T), LEFT, atol=0.15)


def test_decoded_samples_of_all_levels_have_the_law_of_x(trained):
    moved = partners(trained, X, 1, seeded(), refine=0)[:, 0].double().numpy()
    for found in moved:
        np.testing.assert_allclose(found.mean(0), 0, atol=0.08)
        np.testing.assert_allclose(np.cov(found.T), COVARIANCE, atol=0.12)
        # And they are other points than their rows, but for what is kept.
        across = [np.corrcoef(found[:, j], TEST.x[:, j])[0, 1] for j in range(3)]
        assert across[0] > 0.98
        assert across[1] == pytest.approx(0.7**2, abs=0.08)
        assert abs(across[2]) < 0.08


def test_the_velocity_is_that_of_the_gaussian_where_it_is_known(trained):
    # Of independent ends x₀ ~ N(0, 1) and s ~ N(μ, C), E[s − x₀ | x_t] is linear in x_t. The
    # second and third columns have these laws given Z1; of the scores the noise is part.
    time, rows = 0.5, 4000
    level = 0.5
    row = torch.tensor([[[level, *(GIVEN * level)]]], dtype=torch.float32)
    z1 = trained.levels(row.expand(2, -1, -1))
    covariance = LEFT + 0.03**2 * np.eye(2)
    mean = GIVEN * level
    draw = default_rng(4)
    point = time * mean + draw.multivariate_normal(
        np.zeros(2), (1 - time) ** 2 * np.eye(2) + time**2 * covariance, rows
    )
    gain = (time * covariance - (1 - time) * np.eye(2)) @ np.linalg.inv(
        (1 - time) ** 2 * np.eye(2) + time**2 * covariance
    )
    expected = mean + (point - time * mean) @ gain.T
    first = time * level + (1 - time) * draw.standard_normal((rows, 1))
    at = torch.as_tensor(np.concatenate([first, point], 1), dtype=torch.float32).expand(2, -1, -1)
    times = torch.full((2, rows, 1), time)
    found = trained._velocity(at, times, trained.level_scores(z1).expand(-1, rows, -1))
    error = (found[..., 1:].double().numpy() - expected) / expected.std(0)
    assert np.sqrt((error**2).mean((1, 2))).max() < 0.25


def test_points_beside_the_data_are_led_nearer_to_them(trained):
    # Rows whose first column agrees with Z1 but whose others are thrown to where no rows lie.
    x = X[:500].expand(2, -1, -1)
    level = trained.levels(x)
    off = x + torch.tensor([0.0, 1.5, 1.5])

    def distance(points):
        apart = (points[..., 1:] - x[..., :1] * torch.as_tensor(GIVEN)).double()
        inverse = torch.as_tensor(np.linalg.inv(LEFT))
        return ((apart @ inverse) * apart).sum(-1).mean(-1)

    assert (distance(trained.among_data(off, level)) < 0.97 * distance(off)).all()
    near = trained.among_data(x, level) - x
    assert (near.norm(dim=-1).mean(-1) < 0.2).all()


def test_a_trained_model_is_made_of_finite_numbers_and_knows_its_range(trained):
    assert all(parameter.isfinite().all() for parameter in trained.parameters())
    assert isinstance(trained.velocity, nn.Module)
    moved = partners(trained, X, 5, seeded())
    assert (moved >= trained.low).all()
    assert (moved <= trained.high).all()
