"""The training loop: who moves, what repeats, which weights are kept, and what is refused."""

import re
from math import pi, sqrt

import numpy as np
import pytest
import torch
from numpy.random import default_rng
from torch import nn

from symmetry.data import Dataset
from symmetry.models import MODELS, Model, Sizes
from symmetry.networks import initialise
from symmetry.tasks.spiral import spiral
from symmetry.training import cosine, geometric, train

TRAINING = spiral(300, default_rng(0))
VALIDATION = spiral(100, default_rng(1))
PLAYERS = [
    (key, player)
    for key, model in MODELS.items()
    for player in model(Sizes(1, 2, 2), dict.fromkeys(model.term_names, 1.0)).players()
]

every_model = pytest.mark.parametrize("key", MODELS)


def build(key, stack=2, hidden=8):
    kind = MODELS[key]
    sizes = Sizes(stack, 2, 2, hidden=hidden, critic=3, memory=3)
    return kind(sizes, dict.fromkeys(kind.term_names, 0.5))


def constant(value):
    return lambda done: value


def fit(
    model, *, steps=12, rates=None, rate=1e-2, training=TRAINING, validation=VALIDATION, **changes
):
    """Trains a model for a few steps, in each of its turns, and gives it back."""
    arguments = {
        "seeds": range(model.sizes.stack),
        "bias_scale": 0.0,
        "steps": [steps] * len(model.turns()),
        "batch_size": 32,
        "learning_rates": rates or {player: constant(rate) for player in model.players()},
        "scheduled_weight": constant(0.1),
        "validate_every": 4,
        **changes,
    }
    train(model, training, validation, **arguments)
    return model


def copied(model):
    return {name: value.clone() for name, value in model.state_dict().items()}


def assert_same_bits(one, other):
    for name, value in one.items():
        assert torch.equal(value, other[name]), name


# ---- Schedules ---------------------------------------------------------------------------------


def test_the_geometric_schedule_goes_from_start_to_end_in_its_share_and_stays():
    weight = geometric(0.01, 4.0, 0.5)
    assert [weight(done) for done in (0, 0.25, 0.5, 0.75, 1)] == pytest.approx(
        [0.01, sqrt(0.01 * 4), 4, 4, 4]
    )
    assert geometric(0.01, 4.0, 0.0)(0.0) == 4
    assert geometric(4.0, 0.01, 1.0)(0.5) == pytest.approx(0.2)


def test_the_cosine_schedule_falls_from_start_to_end_and_is_flat_at_both():
    rate = cosine(3.0, 1.0)
    assert [rate(done) for done in (0, 1 / 3, 0.5, 2 / 3, 1)] == pytest.approx([3, 2.5, 2, 1.5, 1])
    assert rate(0.01) == pytest.approx(3 - (0.01 * pi) ** 2 / 2, abs=1e-6)
    assert cosine(1e-3, 1e-3)(0.7) == pytest.approx(1e-3)


def test_schedules_see_the_share_of_the_steps_done_and_are_followed():
    seen, states = [], {}
    model = build("cvae")

    def stop_half_way(done):
        return 1e-2 if done < 0.5 else 0.0

    def watch(done):
        seen.append(done)
        return 0.1

    fit(
        model,
        steps=8,
        validate_every=1,
        rates={"model": stop_half_way},
        scheduled_weight=watch,
        report=lambda progress: states.update({progress.step: copied(model)}),
    )
    assert seen == [step / 8 for step in range(8)]
    assert_same_bits(states[4], states[8])
    assert not torch.equal(states[3]["encoder.first.weight"], states[4]["encoder.first.weight"])


def test_the_scheduled_weight_draws_the_code_to_the_standard_normal():
    def kl(weight):
        seen = []
        model = build("vae", hidden=16)
        report = seen.append
        fit(model, steps=150, validate_every=150, scheduled_weight=constant(weight), report=report)
        return seen[-1].validation["kl"]

    assert (kl(10.0) < 0.3 * kl(0.01)).all()


# ---- Players -----------------------------------------------------------------------------------


@pytest.mark.parametrize(("key", "frozen"), PLAYERS)
def test_a_player_with_learning_rate_zero_keeps_its_bits_and_the_others_move(key, frozen):
    model, untrained = build(key), build(key)
    initialise(untrained, [torch.Generator().manual_seed(seed) for seed in range(2)])
    rates = {p: constant(0.0 if p == frozen else 1e-2) for p in model.players()}
    fit(model, rates=rates)
    for player, parameters in model.players().items():
        for ours, before in zip(parameters, untrained.players()[player], strict=True):
            assert torch.equal(ours, before) == (player == frozen)


@pytest.mark.parametrize(("key", "player"), PLAYERS)
def test_every_player_moves_all_that_is_its_own(key, player):
    model, untrained = build(key), build(key)
    initialise(untrained, [torch.Generator().manual_seed(seed) for seed in range(2)])
    fit(model)
    pairs = zip(model.players()[player], untrained.players()[player], strict=True)
    assert all((ours != before).flatten(1).any(1).all() for ours, before in pairs)


# ---- What repeats ------------------------------------------------------------------------------


@every_model
def test_training_twice_gives_the_same_bits(key):
    assert_same_bits(copied(fit(build(key))), copied(fit(build(key))))


@every_model
def test_training_starts_from_scratch_whatever_the_model_was(key):
    model = fit(build(key))
    once = copied(model)
    assert_same_bits(copied(fit(model)), once)


def test_the_global_random_state_plays_no_part():
    torch.manual_seed(1)
    before = torch.get_rng_state()
    once = copied(fit(build("stib")))
    assert torch.equal(torch.get_rng_state(), before)
    torch.manual_seed(2)
    assert_same_bits(copied(fit(build("stib"))), once)


@every_model
def test_a_seed_trained_alone_agrees_with_itself_in_a_stack(key):
    # Not in bits: a batched product of another shape may add its numbers in another order. What
    # differs in the last digit at first, Adam carries on, so only a few steps are compared.
    stack = fit(build(key, stack=3), seeds=[5, 6, 7], steps=4, validate_every=1)
    alone = fit(build(key, stack=1), seeds=[6], steps=4, validate_every=1)
    for name, weight in alone.named_parameters():
        if name == "critics.f.last.bias":
            continue  # its true gradient is 0, and Adam makes a step of what rounding leaves
        torch.testing.assert_close(weight[0], stack.get_parameter(name)[1], rtol=1e-4, atol=1e-5)
    x = torch.as_tensor(VALIDATION.x, dtype=torch.float32)
    torch.testing.assert_close(
        alone.encode(x).mean[0], stack.encode(x).mean[1], rtol=1e-4, atol=1e-5
    )


def test_each_copy_draws_every_row_once_an_epoch_in_an_order_and_with_noise_of_its_own():
    model = build("cvae")
    drawn, terms = [], model.terms

    def watch(x, y, noise, names=None):
        if torch.is_grad_enabled():
            drawn.append((x.clone(), y.clone(), noise.clone()))
        return terms(x, y, noise, names)

    model.terms = watch
    rows = np.arange(96.0)
    numbered = Dataset(np.stack([rows, -rows], -1) / 100, np.stack([3 * rows, rows], -1) / 100)
    fit(model, training=numbered, steps=6)  # two epochs of three batches
    x, y, noise = (torch.cat(parts, 1) for parts in zip(*drawn, strict=True))
    torch.testing.assert_close(y[..., 0], 3 * x[..., 0])  # x and y of a row stay together
    order = (x[..., 0] * 100).round().int()
    for copy in order:
        for epoch in copy.split(96):
            assert sorted(epoch.tolist()) == list(range(96))
    assert not torch.equal(order[0], order[1])
    assert not torch.equal(order[:, :96], order[:, 96:])
    assert noise.unique().numel() > 0.99 * noise.numel()
    assert noise.std().item() == pytest.approx(1, abs=0.1)


def trained_with(key, stack, threads):
    # Large enough for all of PyTorch's kernels to share their work.
    torch.set_num_threads(threads)
    model = build(key, stack=stack, hidden=256)
    fit(model, training=spiral(1000, default_rng(0)), batch_size=256, steps=3)
    torch.set_num_threads(1)
    return copied(model)


@every_model
@pytest.mark.parametrize(("stack", "threads"), [(2, 2), (3, 2), (3, 3)])
def test_so_many_threads_give_the_same_bits_each_time(key, stack, threads):
    assert_same_bits(trained_with(key, stack, threads), trained_with(key, stack, threads))


@every_model
def test_threads_that_divide_an_even_stack_do_not_change_the_bits(key):
    # Of an odd stack, products of one latent or output column differ on some processors.
    assert_same_bits(trained_with(key, 2, 1), trained_with(key, 2, 2))


@pytest.mark.skipif(not torch.cuda.is_available(), reason="no CUDA device")
@every_model
def test_a_gpu_takes_the_same_steps_and_resumes(key):
    states = {}

    def report(progress):
        states[progress.step] = {name: t.cpu().clone() for name, t in progress.state().items()}

    on_cpu = copied(fit(build(key), rate=1e-4, steps=4, validate_every=1))
    on_gpu = fit(build(key).cuda(), rate=1e-4, steps=4, validate_every=1, report=report)
    resumed = fit(build(key).cuda(), rate=1e-4, steps=4, validate_every=1, resume=states[2])
    for name, value in copied(on_gpu).items():
        torch.testing.assert_close(value.cpu(), on_cpu[name], rtol=1e-3, atol=1e-4)
        torch.testing.assert_close(value, resumed.state_dict()[name], rtol=1e-4, atol=1e-5)


# ---- Resuming ----------------------------------------------------------------------------------


RESUMED = [(key, stop) for key in MODELS for stop in (1, 4, 9, 11)]
# Where its bottleneck and its flow begin, and later.
RESUMED += [("stib_flow", stop) for stop in (12, 13, 23, 24, 25, 35)]


@pytest.mark.parametrize(("key", "stop"), RESUMED)
def test_a_resumed_training_ends_with_the_bits_of_an_unbroken_one(key, stop):
    # 96 rows make three batches an epoch, so that it stops within an epoch and at the end of one.
    training = spiral(96, default_rng(0))

    def run(model, **changes):
        reports, states = [], {}

        def report(progress):
            reports.append({**progress.train, **progress.validation})
            states[progress.step] = {name: t.clone() for name, t in progress.state().items()}

        rates = {player: cosine(1e-2, 0.0) for player in model.players()}
        rest = {"training": training, "rates": rates, "scheduled_weight": geometric(1.0, 0.1, 0.5)}
        rest["averaging"] = 0.9 if key == "stib_flow" else 0.0
        fit(model, validate_every=1, report=report, **rest, **changes)
        return reports, states

    unbroken, resumed = build(key), build(key)
    reports, states = run(unbroken)
    torch.manual_seed(5)
    for parameter in resumed.parameters():
        torch.nn.init.normal_(parameter)  # whatever the model was before
    last = 12 * len(unbroken.turns())
    later, later_states = run(resumed, resume=states[stop])
    assert_same_bits(copied(unbroken), copied(resumed))
    assert len(later) == last - stop
    for one, other in zip(reports[stop:], later, strict=True):
        assert_same_bits(one, other)
    assert_same_bits(states[last], later_states[last])


def test_a_resumed_training_does_not_change_the_state_it_was_given():
    states = []
    report = lambda progress: states.append(  # noqa: E731
        {name: value.clone() for name, value in progress.state().items()}
    )
    fit(build("stib"), report=report)
    given = {name: value.clone() for name, value in states[0].items()}
    fit(build("stib"), resume=given)
    assert_same_bits(states[0], given)


# ---- Validation and selection ------------------------------------------------------------------


def test_every_copy_keeps_the_weights_with_its_own_lowest_validation_objective():
    model = build("stib_wo_reg", stack=4)
    objectives, states = [], []

    def report(progress):
        objectives.append(progress.validation["objective"])
        states.append(copied(model))

    # A learning rate too high makes the objective go up and down.
    fit(model, rate=1.0, steps=40, validate_every=1, report=report)
    best = torch.stack(objectives).argmin(0)
    assert len(set(best.tolist())) > 1, "the copies should have their best at different steps"
    assert best.min() < 39, "and some before the end"
    for name, value in model.state_dict().items():
        for copy, step in enumerate(best):
            assert torch.equal(value[copy], states[step][name][copy])


@every_model
def test_progress_reports_the_terms_of_the_batch_and_of_the_validation_set(key):
    reports = []
    model = fit(build(key), steps=10, validate_every=4, report=reports.append)
    turns = model.turns()
    stops = [10 * turn + stop for turn in range(len(turns)) for stop in (4, 8, 10)]
    assert [progress.step for progress in reports] == stops
    for progress in reports:
        assert set(progress.train) == set(turns[(progress.step - 1) // 10].terms)
        assert {*model.term_names, "objective", "x_mae"} <= set(progress.validation)
        for value in (*progress.train.values(), *progress.validation.values()):
            assert value.shape == (2,)
            assert not value.requires_grad
        objective = model.objective(progress.validation)
        torch.testing.assert_close(objective, progress.validation["objective"])


def test_validations_are_frequent_at_first_and_then_as_asked():
    reports = []
    fit(build("vae"), steps=400, validate_every=60, report=reports.append)
    stops = [progress.step for progress in reports]
    assert stops[:6] == [10, 20, 30, 40, 50, 62]
    assert (stops[-2], stops[-1]) == (stops[-3] + 60, 400)
    pauses = np.diff([0, *stops[:-1]])
    assert (np.diff(pauses) >= 0).all()
    assert pauses.max() == 60


@every_model
def test_the_validation_noise_stays_the_same(key):
    reports = []
    model = build(key)
    rates = {player: constant(0.0) for player in model.players()}
    fit(model, rates=rates, report=reports.append)
    for turn in range(len(model.turns())):  # before each one's, the model looks at its rows
        first, *others = (progress.validation for progress in reports[3 * turn : 3 * turn + 3])
        assert len(others) == 2
        for other in others:
            assert_same_bits(first, other)


def test_the_validation_set_has_no_part_in_the_steps():
    states = []
    for validation in (VALIDATION, spiral(100, default_rng(5))):
        model = build("stib")
        seen = {}
        fit(
            model,
            validation=validation,
            report=lambda progress, seen=seen, model=model: seen.update(copied(model)),
        )
        states.append(seen)
    assert_same_bits(*states)


@every_model
def test_training_lowers_the_objective_of_every_copy(key):
    reports = []
    model = build(key, hidden=32)
    rate = 1e-2 if key == "stib_flow" else 3e-3  # as much higher as it is in params.yaml
    rest = {"bias_scale": 1.0, "report": reports.append}
    fit(model, rate=rate, steps=250, batch_size=64, validate_every=10, **rest)
    for number, turn in enumerate(model.turns()):
        first, *later = (
            model.objective({name: progress.validation[name] for name in turn.terms})
            for progress in reports[25 * number : 25 * number + 25]
        )
        # Most of a velocity's error is noise, which nothing lowers.
        share = 0.95 if turn.terms == ("flow",) else 0.8
        assert (torch.stack(later).min(0).values < share * first).all(), turn
    assert not model.training


# ---- Turns -------------------------------------------------------------------------------------


def states_of(model, **changes):
    """Trains a model and gives back its weights at each validation, and what was measured."""
    states, measured = [], []

    def report(progress):
        states.append({name: value.clone() for name, value in model.named_parameters()})
        measured.append(progress.validation)

    fit(model, report=report, validate_every=1, **changes)
    return states, measured


def of_players(model, players):
    """Names the parameters that the players move."""
    own = {id(parameter) for player in players for parameter in model.players()[player]}
    return {name for name, parameter in model.named_parameters() if id(parameter) in own}


@pytest.mark.parametrize("averaging", [0.0, 0.9])
def test_in_a_turn_the_other_players_keep_their_bits(averaging):
    model = build("stib_flow")
    states, _ = states_of(model, averaging=averaging)
    for number, turn in enumerate(model.turns()):
        own = of_players(model, turn.players)
        first, *later = states[12 * number : 12 * number + 12]
        for state in later:
            for name, value in state.items():
                assert torch.equal(value, first[name]) == (name not in own), name
    before = states[0].keys() - of_players(model, ("flow",))
    assert_same_bits({name: states[-1][name] for name in before}, copied(model))


def test_a_turn_goes_on_from_the_best_weights_of_the_one_before():
    model = build("stib_flow", stack=4)
    # A learning rate too high makes the error of y go up and down.
    states, measured = states_of(model, rate=0.1, steps=30)
    best = torch.stack([terms["y"] for terms in measured[:30]]).argmin(0)
    assert len(set(best.tolist())) > 1, "the copies should have their best at different steps"
    assert best.min() < 29, "and some before the end"
    for name in of_players(model, ("predictor",)):
        for copy, step in enumerate(best):
            assert torch.equal(states[30][name][copy], states[step][name][copy])


def test_each_turn_selects_by_its_own_terms():
    model = build("stib_flow", stack=4)
    states, measured = states_of(model, rate=0.1, steps=30)
    ends = dict(model.named_parameters())
    for number, turn in enumerate(model.turns()):
        begin = 30 * number
        objectives = [
            model.objective({name: terms[name] for name in turn.terms})
            for terms in measured[begin : begin + 30]
        ]
        best = begin + torch.stack(objectives).argmin(0)
        assert best.min() < begin + 29
        for name in of_players(model, turn.players):
            for copy, step in enumerate(best):
                assert torch.equal(ends[name][copy], states[step][name][copy])


def test_all_turns_begin_their_schedules_anew():
    seen = {"predictor": [], "bottleneck": [], "flow": []}

    def watch(player):
        def rate(done):
            seen[player].append(done)
            return 1e-3

        return rate

    fit(build("stib_flow"), rates={player: watch(player) for player in seen}, steps=4)
    for shares in seen.values():
        assert shares == [0, 0.25, 0.5, 0.75]


@every_model
def test_rows_that_are_watched_are_told_of_and_change_nothing(key):
    plain, watching = build(key), build(key)
    reports = []
    fit(plain)
    fit(watching, report=reports.append, watched=VALIDATION)
    assert_same_bits(copied(plain), copied(watching))
    for progress in reports:
        terms = watching.turns()[progress.turn].terms
        own = watching.objective({name: progress.validation[name] for name in terms})
        torch.testing.assert_close(progress.own, own)
        # The same rows, with other noise.
        torch.testing.assert_close(progress.watched, own, rtol=0.3, atol=0.05)
    assert {progress.turn for progress in reports} == set(range(len(watching.turns())))

    fit(build(key), report=reports.append)
    assert reports[-1].watched is None


@pytest.mark.parametrize("averaging", [0.0, 0.9])
def test_a_turn_that_ends_short_of_its_schedule_keeps_what_then_stands(averaging):
    shares, reports = [], []
    model = build("stib_flow")
    players = {player: constant(0.5) for player in model.players()}
    rates = {**players, "flow": lambda done: shares.append(done) or 0.5}

    def kept(**changes):
        # With a rate too high, so that what stands is not what validation would have chosen.
        model = build("stib_flow")
        fit(model, rates=rates, averaging=averaging, validate_every=1, **changes)
        return copied(model)

    ended = kept(until=[3, 5, 7], report=reports.append)
    assert [progress.step for progress in reports] == [3, 12 + 5, 24 + 7]
    assert shares == [step / 12 for step in range(7)]
    again = kept(until=[3, 5, 7], validation=spiral(100, default_rng(7)))
    predictor = of_players(model, ("predictor",))
    assert_same_bits({name: ended[name] for name in predictor}, again)
    longer = kept(until=[4, 5, 7])
    assert all(not torch.equal(ended[name], longer[name]) for name in predictor)


class Slope(Model):
    """Has one weight a copy, whose gradient is 1 wherever it is: Adam's steps are its rate."""

    key = "slope"
    term_names = ("kl",)

    def __init__(self):
        super().__init__(Sizes(2, 2, 2), {"kl": 1.0})

    def _build(self):
        self.place = nn.Parameter(torch.zeros(2, 1, 1))

    def _posterior(self, x):
        raise AssertionError("nothing is encoded")

    def decoders(self):
        return []

    def terms(self, x, y, noise, names=None):
        return {"kl": 1 * self.place[:, 0, 0]}

    def mean_absolute_errors(self, x, y):
        return {}


@pytest.mark.parametrize("averaging", [0.0, 0.5, 0.995])
def test_the_average_of_a_weight_that_walks_evenly_lags_as_it_should(averaging):
    # Of n evenly spaced places the average with the share n / (n + 9) is 0.9 of the last; an
    # exponential one that keeps a half then draws near to one step behind.
    expected = {
        0.0: lambda n: n,
        0.5: lambda n: 0.9 * n if n <= 9 else n - 1 + 0.1 * 0.5 ** (n - 9),
        0.995: lambda n: 0.9 * n,
    }[averaging]
    model, reports = Slope(), []
    rest = {"scheduled_weight": constant(1.0), "averaging": averaging, "report": reports.append}
    fit(model, rate=0.1, steps=30, validate_every=1, **rest)
    for number, progress in enumerate(reports, 1):
        found = progress.validation["kl"].tolist()
        assert found == pytest.approx([-0.1 * expected(number)] * 2, rel=1e-4)
        # The steps themselves go on from the weights and not from their average.
        assert progress.train["kl"].tolist() == pytest.approx([-0.1 * (number - 1)] * 2, abs=1e-5)
    assert model.place.flatten().tolist() == pytest.approx([-0.1 * expected(30)] * 2, rel=1e-4)


# ---- What is refused ---------------------------------------------------------------------------


def test_fewer_rows_than_a_batch_are_refused():
    few = spiral(31, default_rng(0))
    with pytest.raises(ValueError, match="a batch takes 32 rows; the training set has only 31"):
        fit(build("vae"), training=few)
    fit(build("vae"), training=spiral(32, default_rng(0)))


@every_model
def test_a_loss_that_is_not_finite_ends_the_training_with_model_term_seed_and_step(key):
    message = rf"^{key}: the \w+ term \w+ is (inf|nan|-inf) with seed 7, .* after 4 steps; .*rate"
    with pytest.raises(FloatingPointError, match=message):
        fit(build(key), seeds=[7, 8], rate=1e30)


@every_model
def test_one_bad_copy_is_named_and_the_term_in_which_it_shows(key):
    model, calls = build(key, stack=3), []
    terms = model.terms

    def spoilt(x, y, noise, names=None):
        found = terms(x, y, noise, names)
        calls.append(torch.is_grad_enabled())
        if sum(calls) > 5:  # after the first validation
            name = "y" if "y" in found else "x"
            found[name] = found[name] * torch.tensor([1, torch.nan, 1])
        return found

    model.terms = spoilt
    with pytest.raises(FloatingPointError) as refusal:
        fit(model, seeds=[4, 5, 6])
    assert re.match(
        rf"{key}: the training term \w+ is nan with seed 5 after 8 steps", str(refusal.value)
    )


def test_each_player_needs_its_learning_rate():
    with pytest.raises(ValueError, match="for model; the players of stib are model, adversary"):
        fit(build("stib"), rates={"model": constant(1e-3)})
    with pytest.raises(ValueError, match="for model, critic; the players of vae are model"):
        fit(build("vae"), rates={"model": constant(1e-3), "critic": constant(1e-3)})


@pytest.mark.parametrize(
    ("key", "steps", "said"),
    [("stib_flow", [4], "3 turns; found 1 "), ("stib", [4, 4], "1 turns; found 2 ")],
)
def test_each_turn_needs_its_steps(key, steps, said):
    model = build(key)
    rates = {player: constant(1e-3) for player in model.players()}
    with pytest.raises(ValueError, match=f"^{key} trains in {said}"):
        train(
            model,
            TRAINING,
            VALIDATION,
            seeds=[0, 1],
            bias_scale=0.0,
            steps=steps,
            batch_size=32,
            learning_rates=rates,
            scheduled_weight=constant(0.1),
            validate_every=4,
        )


def test_as_many_seeds_are_needed_as_copies():
    with pytest.raises(ValueError, match="zip"):
        fit(build("vae", stack=3), seeds=[0, 1])
