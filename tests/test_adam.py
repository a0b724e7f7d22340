"""Adam against PyTorch's own, to the bit, and what it does not load."""

import subprocess
import sys

import torch
from torch import nn

from symmetry.adam import Adam


def drawn():
    generator = torch.Generator().manual_seed(0)
    return [torch.randn(shape, generator=generator) for shape in [(3, 4, 2), (3, 1, 2), (5,)]]


def descend(parameters, step, clear):
    """Descends a loss of which the last parameter has no part."""
    for number in range(30):
        clear()
        used = [parameter.sin().square().sum() for parameter in parameters[:-1]]
        torch.stack(used).sum().backward()
        step(0.1 / (1 + number))


def test_it_takes_the_steps_of_pytorchs_own():
    own, theirs = ([nn.Parameter(value) for value in drawn()] for _ in range(2))
    adam = Adam(own)
    descend(own, adam.step, nn.ParameterList(own).zero_grad)
    other = torch.optim.Adam(theirs, fused=True)

    def step(rate):
        other.param_groups[0]["lr"] = rate
        other.step()

    descend(theirs, step, other.zero_grad)
    for first, second, start in zip(own, theirs, drawn(), strict=True):
        assert torch.equal(first, second)
        assert torch.equal(first, start) == (first is own[-1])
    moments = adam.named()
    for number, parameter in enumerate(theirs[:-1]):
        for name, value in other.state[parameter].items():
            assert torch.equal(moments[f"{number}.{name}"], value)


def test_without_gradients_nothing_moves():
    weight = nn.Parameter(torch.ones(2))
    Adam([weight]).step(0.1)
    assert torch.equal(weight, torch.ones(2))


def test_it_does_not_load_the_compiler_of_pytorch():
    code = (
        "import sys, torch; from symmetry.adam import Adam; "
        "weight = torch.ones(2, requires_grad=True); weight.sum().backward(); "
        "Adam([weight]).step(0.1); sys.exit('torch._dynamo' in sys.modules)"
    )
    subprocess.run([sys.executable, "-c", code], check=True)
