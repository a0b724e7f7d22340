"""All models in float64: shapes, losses written out by hand, and which way each player moves."""

from dataclasses import replace

import pytest
import torch
from torch.distributions import Normal, kl_divergence

from symmetry.data import Columns, Units
from symmetry.information import covariance, gaussian_mutual_information
from symmetry.models import MODELS, Code, Sizes
from symmetry.networks import initialise

# All sizes differ, so that no axis can be taken for another.
SIZES = Sizes(stack=2, x=5, y=3, invariant=2, target=1, hidden=7, critic=4)
ROWS = 40
WEIGHTS = {  # all differ and none is 0 or 1, so that no weight can be taken for another
    "kl": 0.7,
    "x": 1.3,
    "y": 0.4,
    "pairwise": 0.6,
    "dependence": 2.5,
    "injectivity": 0.3,
    "target_kl": 0.2,
    "flow": 0.9,
    "bottleneck": 1.1,
    "alignment": 1.7,
}
PLAYERS = [
    (key, player)
    for key, model in MODELS.items()
    for player in model(SIZES, dict.fromkeys(model.term_names, 1.0)).players()
]
DEPENDENT = [key for key, model in MODELS.items() if "dependence" in model.term_names]

every_model = pytest.mark.parametrize("key", MODELS)
# What is STIB_FLOW's alone is in test_flow.py.
with_posterior = pytest.mark.parametrize("key", [key for key in MODELS if key != "stib_flow"])


def build(key, weights=WEIGHTS, units=None, **sizes):
    """Builds a model with random numbers in every parameter: biases and σ too, unlike Glorot."""
    kind = MODELS[key]
    used = {name: weight for name, weight in weights.items() if name in kind.term_names}
    model = kind(replace(SIZES, **sizes), used, units).double().eval()
    generator = torch.Generator().manual_seed(0)
    with torch.no_grad():
        for parameter in model.parameters():
            parameter.normal_(0, 0.5, generator=generator)
    return model


def normal(*shape, seed):
    generator = torch.Generator().manual_seed(seed)
    return torch.randn(*shape, generator=generator, dtype=torch.float64)


def batch(model, seed=1):
    """Draws x, a y that depends on it, and the noise of the latents."""
    x = normal(SIZES.stack, ROWS, SIZES.x, seed=seed)
    y = x[..., : SIZES.y] + 0.5 * normal(SIZES.stack, ROWS, SIZES.y, seed=seed + 100)
    return x, y, normal(SIZES.stack, ROWS, model.noise_size, seed=seed + 200)


def own_loss(model, player, terms, kl_weight):
    """Computes what a player wants to be small, with shape (S,)."""
    if player == "adversary":
        return model.weights["injectivity"] * terms["injectivity"] - terms["dependence"]
    if model.key == "stib_flow" and player != "model":
        if player == "bottleneck":
            aligned = model.weights["alignment"] * terms["alignment"]
            return kl_weight * terms["bottleneck"] + aligned
        name = {"predictor": "y", "flow": "flow"}[player]
        return model.weights[name] * terms[name]
    weights = {**model.weights, "kl": kl_weight}
    if "target_kl" in weights:
        weights["target_kl"] *= kl_weight / model.weights["kl"]
    return sum(weights[name] * terms[name] for name in terms if name != "injectivity")


# ---- Shapes ------------------------------------------------------------------------------------


@every_model
def test_codes_and_reconstructions_have_a_row_for_each_copy_and_input(key):
    model = build(key)
    x, y, _ = batch(model)
    code = model.encode(x)
    assert code.mean.shape == code.std.shape == (2, ROWS, model.latent_size)
    assert code.invariant.shape == (2, ROWS, 5 if key == "stib_flow" else 2)
    assert code.target.shape == (2, ROWS, 0 if key in ("cvae", "cvib") else 1)
    assert (code.std > 0).all() != (key == "stib_flow")  # whose code of x is one point
    target = model.decoder_target(code.target, y)
    assert target.shape == (2, ROWS, 3 if key in ("cvae", "cvib") else 1)
    assert model.decode(code.invariant, target).shape == (2, ROWS, 5)
    y_hat = model.predict(code.invariant, code.target)
    assert y_hat is None if key in ("cvae", "cvib") else y_hat.shape == (2, ROWS, 3)


@every_model
def test_one_sample_serves_all_copies(key):
    model = build(key)
    (x, y, _), copies = batch(model), (2, -1, -1)
    shared, repeated = model.encode(x[0]), model.encode(x[0].expand(copies))
    torch.testing.assert_close(shared.mean, repeated.mean, rtol=0, atol=0)
    torch.testing.assert_close(shared.std, repeated.std, rtol=0, atol=0)
    z0 = shared.invariant[0]
    target = y[0] if model.decodes_from_y else shared.target[0]
    torch.testing.assert_close(
        model.decode(z0, target),
        model.decode(z0.expand(copies), target.expand(copies)),
        rtol=0,
        atol=0,
    )
    y_hat = model.predict(z0, shared.target[0])
    if y_hat is not None:
        again = model.predict(z0.expand(copies), shared.target[0].expand(copies))
        torch.testing.assert_close(y_hat, again, rtol=0, atol=0)


@with_posterior
def test_x_is_decoded_from_both_parts(key):
    model = build(key)
    x, y, _ = batch(model)
    code = model.encode(x)
    z0, target = code.invariant, model.decoder_target(code.target, y)
    x_hat = model.decode(z0, target)
    assert (model.decode(z0 + 1, target) != x_hat).all()
    assert (model.decode(z0, target + 1) != x_hat).all()


@pytest.mark.parametrize("key", [key for key in MODELS if "y" in MODELS[key].term_names])
def test_y_is_predicted_from_the_target_part_alone_except_by_the_vae(key):
    model = build(key)
    z0, z1 = normal(2, ROWS, 2, seed=1), normal(2, ROWS, 1, seed=2)
    y_hat = model.predict(z0, z1)
    assert (model.predict(z0, z1 + 1) != y_hat).all()
    assert torch.equal(model.predict(z0 + 1, z1), y_hat) == (key != "vae")


@every_model
def test_the_published_information_is_measured_on_z0_and_for_the_vae_on_all_latents(key):
    assert build(key).measured_size == {"vae": 3, "stib_flow": 5}.get(key, 2)


def test_signal_to_noise_is_the_variance_of_the_means_over_that_of_the_noise():
    mean = normal(2, 4000, 3, seed=0) * torch.tensor([[[2.0, 0.5, 9.0]], [[0.1, 3.0, 9.0]]])
    code = Code(mean, torch.tensor([0.5, 1.0, 3.0]).expand_as(mean).double(), invariant_size=2)
    ratio = torch.tensor([[16, 0.25, 9], [0.04, 9, 9]], dtype=torch.float64)
    torch.testing.assert_close(code.signal_to_noise, ratio, rtol=0.1, atol=0)


@with_posterior
def test_standard_deviations_come_from_the_head_of_log_variances_or_one_global_parameter(key):
    model = build(key)
    x, _, _ = batch(model)
    if key in ("cvae", "cvib"):
        mean, log_variance = model.encoder(x).split(2, -1)
        std = torch.sqrt(torch.exp(log_variance))
    else:
        mean, std = model.encoder(x), torch.exp(model.log_std).expand(2, ROWS, 3)
    torch.testing.assert_close(model.encode(x).mean, mean)
    torch.testing.assert_close(model.encode(x).std, std)


# ---- Losses ------------------------------------------------------------------------------------


def terms_by_hand(model, x, y, noise):
    """Computes every term that the paper names, from definitions and plain determinants."""
    code = model.encode(x)
    posterior = Normal(code.mean, code.std)
    z = code.mean + code.std * noise
    z0, z1 = z[..., :2], z[..., 2:]
    divergence = kl_divergence(posterior, Normal(0.0, 1.0))
    terms = {
        "kl": divergence.sum(-1).mean(-1),
        "x": ((x - model.decode(z0, y if model.decodes_from_y else z1)) ** 2).sum(-1).mean(-1),
    }
    if model.key not in ("cvae", "cvib"):
        terms["y"] = ((y - model.predict(z0, z1)) ** 2).sum(-1).mean(-1)
    if model.key == "cvib":
        one, other = (
            Normal(code.mean.unsqueeze(axis), code.std.unsqueeze(axis)) for axis in (2, 1)
        )
        terms["pairwise"] = kl_divergence(one, other).sum(-1).mean((1, 2))
    if model.key == "stib":
        u, v = model.critics.f(z0), model.critics.h(y)
        dependence = []
        for features in torch.cat([u, v], -1):
            r = torch.corrcoef(features.T) + 1e-4 * torch.eye(8)
            dependence.append(r[:4, :4].logdet() + r[4:, 4:].logdet() - r.logdet())
        terms["dependence"] = torch.stack(dependence)
        terms["injectivity"] = ((y - model.critics.h_inverse(v)) ** 2).sum(-1).mean(-1)
        terms["target_kl"] = divergence[..., 2:].sum(-1).mean(-1)
    return terms


@with_posterior
def test_terms_are_those_of_the_paper(key):
    model = build(key)
    found, expected = model.terms(*batch(model)), terms_by_hand(model, *batch(model))
    assert set(found) == set(model.term_names) == set(expected)
    for name, value in expected.items():
        assert value.shape == (2,)
        torch.testing.assert_close(found[name], value, rtol=1e-6, atol=1e-9)


PUBLISHED = {
    "vae": ({"kl": 1, "x": 1, "y": 3}, lambda t: t["kl"] + t["x"] + 3 * t["y"]),
    "stib_wo_reg": ({"kl": 1, "x": 1, "y": 3}, lambda t: t["kl"] + t["x"] + 3 * t["y"]),
    "cvae": ({"kl": 1, "x": 1}, lambda t: t["kl"] + t["x"]),
    "cvib": (
        {"kl": 0.1, "x": 2, "pairwise": 1},
        lambda t: 0.1 * t["kl"] + 2 * t["x"] + t["pairwise"],
    ),
    # at the first step, where the published λ is 0.7
    "stib": (
        {"kl": 1, "x": 0.7, "y": 0.7, "dependence": 280, "injectivity": 0.01, "target_kl": 0},
        lambda t: t["kl"] + 0.7 * (t["x"] + t["y"] + 400 * t["dependence"]),
    ),
}


@pytest.mark.parametrize("key", PUBLISHED)
def test_with_the_published_weights_the_objective_is_the_published_loss(key):
    weights, loss = PUBLISHED[key]
    model = build(key, weights)
    expected = loss(terms_by_hand(model, *batch(model)))
    torch.testing.assert_close(
        model.objective(model.terms(*batch(model))), expected, rtol=1e-6, atol=0
    )


@every_model
def test_the_objective_is_the_weighted_sum_of_the_models_own_terms(key):
    model = build(key)
    terms = model.terms(*batch(model))
    torch.testing.assert_close(
        model.objective(terms), own_loss(model, "model", terms, WEIGHTS["kl"])
    )


@every_model
def test_absolute_errors_are_those_of_the_latent_means(key):
    model = build(key)
    x, y, _ = batch(model)
    code = model.encode(x)
    x_hat = model.decode(code.invariant, y if model.decodes_from_y else code.target)
    expected = {"x_mae": (x_hat - x).abs().sum(-1).mean(-1)}
    y_hat = model.predict(code.invariant, code.target)
    if y_hat is not None:
        expected["y_mae"] = (y_hat - y).abs().sum(-1).mean(-1)
    found = model.mean_absolute_errors(x, y)
    assert set(found) == set(expected)
    for name, value in expected.items():
        torch.testing.assert_close(found[name], value)


@every_model
def test_weights_under_wrong_names_are_refused_and_named(key):
    kind = MODELS[key]
    right = dict.fromkeys(kind.term_names, 1.0)
    first = kind.term_names[0]
    misspelt = {f"{first}l" if name == first else name: weight for name, weight in right.items()}
    missing = {name: weight for name, weight in right.items() if name != first}
    for wrong in (misspelt, missing, {**right, "extra": 1.0}):
        with pytest.raises(ValueError, match=f"{key}: ") as raised:
            kind(SIZES, wrong)
        for name in {*right, *wrong}:
            assert name in str(raised.value)


def test_stib_schedules_the_kl_of_z1_by_that_of_all_which_must_weigh_something():
    with pytest.raises(ValueError, match=r"stib: the weight of kl is 0\.0; allowed: above 0"):
        build("stib", {**WEIGHTS, "kl": 0.0})


# ---- Players -----------------------------------------------------------------------------------


@every_model
def test_every_parameter_belongs_to_exactly_one_player(key):
    model = build(key)
    players = model.players()
    owned = [id(parameter) for player in players.values() for parameter in player]
    assert len(owned) == len(set(owned))
    assert set(owned) == {id(parameter) for parameter in model.parameters()}
    several = {"stib": {"model", "adversary"}, "stib_flow": {"predictor", "bottleneck", "flow"}}
    assert set(players) == several.get(key, {"model"})


@every_model
def test_the_turns_have_all_players_and_terms_once(key):
    model = build(key)
    turns = model.turns()
    assert sorted(name for turn in turns for name in turn.players) == sorted(model.players())
    assert sorted(name for turn in turns for name in turn.terms) == sorted(model.term_names)


def test_the_critics_alone_are_the_adversarys():
    model = build("stib")
    names = {id(parameter): name for name, parameter in model.named_parameters()}
    for player, parameters in model.players().items():
        for parameter in parameters:
            assert names[id(parameter)].startswith("critics.") == (player == "adversary")


@every_model
def test_every_parameter_of_every_copy_gets_a_gradient(key):
    model = build(key)
    model.loss(model.terms(*batch(model)), scheduled=0.2).sum().backward()
    for name, parameter in model.named_parameters():
        for gradient in parameter.grad:
            if name == "critics.f.last.bias":  # a shift, to which correlations are blind
                assert gradient.abs().max() < 1e-12
            else:
                assert gradient.abs().max() > 1e-6, name


@pytest.mark.parametrize(("key", "player"), PLAYERS)
def test_each_player_descends_its_own_loss(key, player):
    model = build(key)
    data, kl_weight, step = batch(model), 0.2, 1e-5
    parameters = model.players()[player]
    model.loss(model.terms(*data), kl_weight).sum().backward()
    for seed in range(3):
        directions = [normal(*p.shape, seed=97 * seed + i) for i, p in enumerate(parameters)]
        predicted = sum((p.grad * d).sum() for p, d in zip(parameters, directions, strict=True))
        losses = []
        for shift in (step, -2 * step):  # one step ahead, then one behind where we began
            with torch.no_grad():
                for parameter, direction in zip(parameters, directions, strict=True):
                    parameter += shift * direction
            losses.append(own_loss(model, player, model.terms(*data), kl_weight).sum().item())
        with torch.no_grad():
            for parameter, direction in zip(parameters, directions, strict=True):
                parameter += step * direction
        numerical = (losses[0] - losses[1]) / (2 * step)
        assert predicted.item() == pytest.approx(numerical, rel=1e-5)


def dependence_after_a_step(model, data, player, size):
    """Moves one player a little against its gradient; returns how the dependence changed."""
    terms = model.terms(*data)
    model.zero_grad()
    model.loss(terms, scheduled=0.0).sum().backward()
    squared_gradient = 0.0
    with torch.no_grad():
        for parameter in model.players()[player]:
            if parameter.grad is not None:
                squared_gradient += parameter.grad.square().sum().item()
                parameter -= size * parameter.grad
        change = model.terms(*data)["dependence"] - terms["dependence"]
    return change, squared_gradient


ONLY_DEPENDENCE = {**dict.fromkeys(WEIGHTS, 0.0), "kl": 1.0, "dependence": 2.5}


@pytest.mark.parametrize("key", DEPENDENT)
def test_a_step_of_the_encoder_lowers_the_dependence(key):
    model = build(key, ONLY_DEPENDENCE)
    size = 1e-5
    change, squared = dependence_after_a_step(model, batch(model), "model", size)
    assert (change < 0).all()
    # The gradient is 2.5 times that of D, so that D falls by size · |gradient|² / 2.5.
    assert change.sum().item() == pytest.approx(-size * squared / 2.5, rel=0.02)


def test_a_step_of_the_critics_raises_the_dependence():
    model = build("stib", ONLY_DEPENDENCE)
    size = 1e-5
    change, squared = dependence_after_a_step(model, batch(model), "adversary", size)
    assert (change > 0).all()
    # The adversary ascends D itself, whatever the weight of D to the encoder.
    assert change.sum().item() == pytest.approx(size * squared, rel=0.02)


@every_model
def test_copies_do_not_touch_each_other(key):
    model = build(key)
    terms = model.terms(*batch(model))
    sum(value[0] for value in terms.values()).backward()
    for name, parameter in model.named_parameters():
        assert parameter.grad[0].any() or name == "critics.f.last.bias"
        assert not parameter.grad[1].any()


# ---- Z1 from y alone ---------------------------------------------------------------------------


def gradients_of(term, target_from_y):
    model = build("stib", target_from_y=target_from_y)
    model.terms(*batch(model))[term].sum().backward()
    return model


@pytest.mark.parametrize("target_from_y", [False, True])
def test_what_x_needs_moves_z1_unless_it_learns_from_y_alone(target_from_y):
    model = gradients_of("x", target_from_y)
    last = model.encoder.last.weight.grad  # (S, hidden, latents), of which the last one is Z1
    assert last[..., :2].any()
    assert last[..., 2:].any() != target_from_y
    assert model.log_std.grad[..., 2:].any() != target_from_y
    assert model.x_decoder.first.weight.grad.abs().amax((0, 2)).all()  # and reads Z1 all the same


@pytest.mark.parametrize("target_from_y", [False, True])
def test_the_critics_then_see_the_prediction_of_y_and_do_not_move_it(target_from_y):
    model = gradients_of("dependence", target_from_y)
    assert model.y_decoder.first.weight.grad is None
    x, y, noise = batch(model)
    code = model.encode(x)
    z = code.mean + code.std * noise
    seen = model.predict(z[..., :2], z[..., 2:]) if target_from_y else y
    expected = model.critics(z[..., :2], seen)["dependence"]
    torch.testing.assert_close(model.terms(x, y, noise)["dependence"], expected)


def test_where_z1_learns_from_y_alone_no_value_of_a_term_but_the_critics_changes():
    own, paper = build("stib", target_from_y=True), build("stib")
    found, expected = own.terms(*batch(own)), paper.terms(*batch(paper))
    for name in ("kl", "x", "y", "target_kl"):
        assert torch.equal(found[name], expected[name])


# ---- The critics' memory -----------------------------------------------------------------------


def features(critics, invariant, y):
    return torch.cat([critics.f(invariant), critics.h(y)], -1)


def test_in_training_the_dependence_is_that_of_the_averaged_covariance():
    model = build("stib", memory=3).train()
    average = None
    for number in range(1, 6):
        z0, y = normal(2, ROWS, 2, seed=number), normal(2, ROWS, 3, seed=10 + number)
        found = model.critics(z0, y)["dependence"]
        present = covariance(features(model.critics, z0, y)).detach()
        # The plain mean of the first three batches, from then on an exponential average.
        share = 1 / min(number, 3)
        average = present if average is None else (1 - share) * average + share * present
        torch.testing.assert_close(found, 2 * gaussian_mutual_information(average, 4))


def test_in_training_the_gradient_flows_through_the_present_batch():
    model = build("stib", memory=3).train()
    z0, y = normal(2, ROWS, 2, seed=1), normal(2, ROWS, 3, seed=2)
    model.critics(normal(2, ROWS, 2, seed=3), normal(2, ROWS, 3, seed=4))
    first = model.critics.average.value.clone()
    model.critics(z0, y)["dependence"].sum().backward()
    found = [parameter.grad.clone() for parameter in model.critics.f.parameters()]
    present = covariance(features(model.critics, z0, y))
    moved = (first + present.detach()) / 2 + present - present.detach()
    expected = torch.autograd.grad(
        2 * gaussian_mutual_information(moved, 4).sum(), list(model.critics.f.parameters())
    )
    for ours, theirs in zip(found, expected, strict=True):
        torch.testing.assert_close(ours, theirs)


def test_in_evaluation_each_batch_stands_for_itself_and_leaves_no_trace():
    critics = build("stib", memory=3).critics
    z0, y = normal(2, ROWS, 2, seed=1), normal(2, ROWS, 3, seed=2)
    first = critics(z0, y)["dependence"]
    critics(normal(2, ROWS, 2, seed=3), normal(2, ROWS, 3, seed=4))
    assert torch.equal(critics(z0, y)["dependence"], first)
    own = 2 * gaussian_mutual_information(covariance(features(critics, z0, y)), 4)
    torch.testing.assert_close(first, own)
    critics.train()  # and the first training batch starts the average anew
    torch.testing.assert_close(critics(z0, y)["dependence"], own)


# ---- Units -------------------------------------------------------------------------------------

UNITS = Units(  # which float32 holds exactly
    Columns(tuple("abcde"), (1.0, -2.0, 0.0, 30.0, 5.0), (2.0, 0.25, 1.0, 7.0, 0.5)),
    Columns(tuple("uvw"), (4.0, 0.0, -9.0), (0.5, 3.0, 20.0)),
)


def in_units(rows, columns):
    return rows * rows.new_tensor(columns.std) + rows.new_tensor(columns.mean)


@every_model
def test_a_model_with_units_does_to_data_what_one_without_does_to_standardised_data(key):
    plain, own = build(key), build(key, units=UNITS)
    x, y, noise = batch(plain)
    x_raw, y_raw = in_units(x, UNITS.x), in_units(y, UNITS.y)
    code, own_code = plain.encode(x), own.encode(x_raw)
    torch.testing.assert_close(own_code.mean, code.mean)
    target, own_target = (
        plain.decoder_target(code.target, y),
        own.decoder_target(code.target, y_raw),
    )
    x_hat = plain.decode(code.invariant, target)
    torch.testing.assert_close(own.decode(code.invariant, own_target), in_units(x_hat, UNITS.x))
    y_hat = plain.predict(code.invariant, code.target)
    if y_hat is not None:
        found = own.predict(code.invariant, code.target)
        torch.testing.assert_close(found, in_units(y_hat, UNITS.y))
    torch.testing.assert_close(own.standardised(x_raw, "x"), x)
    torch.testing.assert_close(own.standardised(y_raw, "y"), y)
    for method, given in (("terms", (x, y, noise)), ("mean_absolute_errors", (x, y))):
        expected, found = getattr(plain, method)(*given), getattr(own, method)(*given)
        assert set(found) == set(expected)
        for name, value in expected.items():
            assert torch.equal(found[name], value)


@every_model
def test_units_are_no_weights_and_survive_new_ones(key):
    model = build(key, units=UNITS)
    assert set(model.state_dict()) == set(build(key).state_dict())
    x, y, _ = batch(model)
    before = model.standardised(x, "x"), model.standardised(y, "y")
    initialise(model, [torch.Generator().manual_seed(seed) for seed in range(2)])
    assert torch.equal(model.standardised(x, "x"), before[0])
    assert torch.equal(model.standardised(y, "y"), before[1])
