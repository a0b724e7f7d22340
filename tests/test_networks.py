"""Stacked networks against PyTorch's own, and their initialisation."""

import pytest
import torch
from torch import nn

from symmetry.networks import CACHED, MLP, THIN, Linear, RunningMean, initialise, pieces_of

SIZES = {"in_features": 3, "out_features": 2, "hidden_units": 5}


def generators(*seeds):
    return [torch.Generator().manual_seed(seed) for seed in seeds]


def separate(mlp, copy):
    """Builds copy s of a stack as an ordinary PyTorch network with the same weights."""
    layers = []
    for linear in (mlp.first, mlp.second, mlp.last):
        _, in_features, out_features = linear.weight.shape
        layer = nn.Linear(in_features, out_features, linear.bias is not None).double()
        with torch.no_grad():
            layer.weight.copy_(linear.weight[copy].T)
            if linear.bias is not None:
                layer.bias.copy_(linear.bias[copy, 0])
        layers += [layer, nn.Softplus()]
    return nn.Sequential(*layers[:-1])


@pytest.mark.parametrize("bias", [True, False])
@pytest.mark.parametrize("stack", [1, 2, 3, 4])
def test_a_stack_equals_separate_networks_in_values_and_gradients(stack, bias):
    mlp = MLP(stack, **SIZES, bias=bias).double()
    torch.manual_seed(0)
    for parameter in mlp.parameters():
        nn.init.normal_(parameter)
    x = torch.randn(stack, 7, 3, dtype=torch.float64, requires_grad=True)
    weighting = torch.randn(stack, 7, 2, dtype=torch.float64)
    (mlp(x) * weighting).sum().backward()
    for copy in range(stack):
        network = separate(mlp, copy)
        rows = x[copy].detach().requires_grad_()
        y = network(rows)
        torch.testing.assert_close(mlp(x)[copy], y)
        (y * weighting[copy]).sum().backward()
        torch.testing.assert_close(x.grad[copy], rows.grad)
        for ours, theirs in zip((mlp.first, mlp.second, mlp.last), network[::2], strict=True):
            torch.testing.assert_close(ours.weight.grad[copy], theirs.weight.grad.T)
            assert (ours.bias is None) == (theirs.bias is None)
            if bias:
                torch.testing.assert_close(ours.bias.grad[copy, 0], theirs.bias.grad)


def test_many_rows_are_mapped_in_pieces_and_come_back_in_their_order():
    mlp = MLP(2, **SIZES)
    torch.manual_seed(0)
    for parameter in mlp.parameters():
        nn.init.normal_(parameter)
    for rows in (0, CACHED, 2 * CACHED + 3):
        x = torch.randn(2, rows, 3)
        assert sum(piece.shape[1] for piece in pieces_of(x)) == rows
        assert max(piece.shape[1] for piece in pieces_of(x)) <= CACHED
        with torch.no_grad():
            in_pieces = mlp(x)
        torch.testing.assert_close(in_pieces, mlp(x).detach())
    assert len(pieces_of(torch.empty(1, 3 * CACHED, 1, device="meta"))) == 1


@pytest.mark.parametrize("bias", [True, False])
@pytest.mark.parametrize("out_features", [1, THIN, THIN + 1])
def test_gradients_of_few_columns_may_be_differentiated_again(out_features, bias):
    layer = Linear(2, 4, out_features, bias).double()
    torch.manual_seed(0)
    for parameter in layer.parameters():
        nn.init.normal_(parameter)
    x = torch.randn(2, 5, 4, dtype=torch.float64, requires_grad=True)

    def mapped(x, *parameters):
        names = [name for name, _ in layer.named_parameters()]
        named = dict(zip(names, parameters, strict=True))
        return torch.func.functional_call(layer, named, (x,))

    inputs = (x, *layer.parameters())
    assert torch.autograd.gradcheck(mapped, inputs)
    assert torch.autograd.gradgradcheck(mapped, inputs)


@pytest.mark.parametrize("out_features", [THIN, THIN + 1])
def test_what_else_learns_gets_its_gradient_where_the_weights_are_frozen(out_features):
    layer = Linear(1, 4, out_features)
    torch.manual_seed(0)
    nn.init.normal_(layer.weight)
    layer.weight.requires_grad_(False)
    x = torch.ones(1, 5, 4, requires_grad=True)
    layer(x).sum().backward()
    torch.testing.assert_close(x.grad, layer.weight.sum(2).expand(1, 5, 4))
    torch.testing.assert_close(layer.bias.grad, torch.full((1, 1, out_features), 5.0))


def assert_uniform(values, bound):
    assert 0.99 * bound < values.max() <= bound
    assert -bound <= values.min() < -0.99 * bound
    assert values.mean().abs() < 0.02 * bound
    torch.testing.assert_close(values.var().item(), bound**2 / 3, rtol=0.02, atol=0)


def test_weights_are_drawn_uniformly_within_glorots_bound_and_biases_become_zero():
    layer = Linear(2, 200, 100)
    nn.init.ones_(layer.bias)
    initialise(layer, generators(0, 1))
    for copy in layer.weight.detach():
        assert_uniform(copy, (6 / 300) ** 0.5)
    assert (layer.bias == 0).all()


def test_a_decoder_is_drawn_by_its_inputs_alone_with_biases_of_the_given_scale():
    layer = Linear(2, 4, 20_000)
    initialise(layer, generators(0, 1), [layer], bias_scale=3.0)
    for weight, bias in zip(layer.weight.detach(), layer.bias.detach(), strict=True):
        assert_uniform(weight, (3 / 4) ** 0.5)
        assert_uniform(bias, 3 / 2)


def test_what_is_no_decoder_or_has_no_scale_is_drawn_as_in_the_paper():
    pair = nn.ModuleDict({"encoder": Linear(2, 4, 200), "decoder": Linear(2, 4, 200)})
    initialise(pair, generators(0, 1), [pair["decoder"]], bias_scale=3.0)
    assert_uniform(pair["encoder"].weight.detach(), (6 / 204) ** 0.5)
    assert (pair["encoder"].bias == 0).all()
    assert (pair["decoder"].bias != 0).all()
    initialise(pair, generators(0, 1), [pair["decoder"]], bias_scale=0.0)
    assert_uniform(pair["decoder"].weight.detach(), (6 / 204) ** 0.5)
    assert (pair["decoder"].bias == 0).all()


def test_a_copy_depends_on_its_own_generator_alone():
    stack, alone = MLP(3, **SIZES), MLP(1, **SIZES)
    initialise(stack, generators(5, 6, 7), [stack], bias_scale=1.0)
    initialise(alone, generators(6), [alone], bias_scale=1.0)
    for name, weight in alone.named_parameters():
        theirs = stack.get_parameter(name)
        assert torch.equal(weight[0], theirs[1])
        assert not torch.isin(theirs[0], theirs[1]).any()


def test_initialising_again_forgets_what_was_there():
    mlp, fresh = MLP(2, **SIZES), MLP(2, **SIZES)
    torch.manual_seed(0)
    for parameter in mlp.parameters():
        nn.init.normal_(parameter)
    initialise(mlp, generators(1, 2))
    initialise(fresh, generators(1, 2))
    for ours, theirs in zip(mlp.parameters(), fresh.parameters(), strict=True):
        assert torch.equal(ours, theirs)


def test_as_many_generators_are_needed_as_copies():
    with pytest.raises(ValueError, match="shorter"):
        initialise(MLP(3, **SIZES), generators(0, 1))


# ---- Averages over batches ---------------------------------------------------------------------


def test_a_running_mean_is_the_mean_of_few_batches_and_then_forgets_exponentially():
    mean, expected = RunningMean((2,), memory=3), torch.zeros(2)
    for number in range(1, 7):
        batch = torch.tensor([float(number), -2.0 * number])
        expected = expected + (batch - expected) / min(number, 3)
        torch.testing.assert_close(mean(batch), expected)
        if number == 3:
            torch.testing.assert_close(expected, torch.tensor([2.0, -4.0]))


def test_the_gradient_of_a_running_mean_is_that_of_the_present_batch():
    mean = RunningMean((2,), memory=5)
    mean(torch.ones(2))
    batch = torch.tensor([3.0, 4.0], requires_grad=True)
    mean(batch.square()).sum().backward()
    torch.testing.assert_close(batch.grad, torch.tensor([6.0, 8.0]))


def test_outside_training_a_batch_stands_for_itself_and_leaves_no_trace():
    mean, twin = RunningMean((1,), memory=5), RunningMean((1,), memory=5)
    assert mean(torch.ones(1)) == twin(torch.ones(1)) == 1
    assert mean.eval()(torch.tensor([7.0])) == 7
    assert mean.train()(torch.tensor([2.0])) == twin(torch.tensor([2.0]))


def test_initialising_lets_a_running_mean_forget_and_leaves_other_buffers():
    module = nn.ModuleDict({"mean": RunningMean((1,), memory=5), "network": MLP(1, **SIZES)})
    module.register_buffer("constant", torch.ones(3))
    module["mean"](torch.tensor([100.0]))
    initialise(module, generators(0))
    assert module["mean"](torch.tensor([2.0])) == 2
    assert module["mean"](torch.tensor([4.0])) == 3
    assert (module.constant == 1).all()
