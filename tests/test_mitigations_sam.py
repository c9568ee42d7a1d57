"""SAM against a reference of a few lines, and what a step must leave behind."""

from __future__ import annotations

import pytest
import torch
from small_models import NEW
from transformers import TrainerCallback

from helpers import mechanics
from helpers.mechanics.loss import batch_of
from helpers.mitigations import SAM, ascended
from helpers.mitigations import sam as module
from helpers.training import finetune

SHORT = dict(lr=1e-3, steps=3, batch_size=4)


def network(seed=0):
    torch.manual_seed(seed)
    layers = torch.nn.Linear(5, 7), torch.nn.Tanh(), torch.nn.Linear(7, 3)
    return torch.nn.Sequential(*layers).double()


def sam_gradient(loss, weights, rho, climbing=None):
    """Gradient of `loss(weights)` at the weights moved by rho uphill; nothing is changed."""
    climbing = weights.keys() if climbing is None else climbing
    first = dict(zip(weights, torch.autograd.grad(loss(weights), weights.values()), strict=True))
    length = torch.cat([first[name].flatten() for name in climbing]).norm()
    above = {
        name: (w + rho * first[name] / length * (name in climbing)).detach().requires_grad_()
        for name, w in weights.items()
    }
    return dict(zip(above, torch.autograd.grad(loss(above), above.values()), strict=True))


def test_the_step_agrees_with_a_reference_on_a_small_network():
    model = network()
    x, y = torch.randn(6, 5).double(), torch.randint(3, (6,))

    def loss(weights):
        found = torch.func.functional_call(model, weights, (x,))
        return torch.nn.functional.cross_entropy(found, y)

    weights = dict(model.named_parameters())
    expected = sam_gradient(loss, weights, rho=0.3)
    before = {name: w.detach().clone() for name, w in weights.items()}
    loss(weights).backward()
    plain = {name: w.grad.clone() for name, w in weights.items()}
    with ascended(weights.values(), 0.3):
        climbed = torch.cat([(w - before[name]).flatten() for name, w in weights.items()])
        assert float(climbed.norm()) == pytest.approx(0.3)
        model.zero_grad()
        loss(weights).backward()
    for name, w in weights.items():
        torch.testing.assert_close(w.grad, expected[name])
        assert torch.equal(w, before[name])
        assert not torch.allclose(w.grad, plain[name], rtol=1e-3)


def test_the_weights_come_back_bit_by_bit_even_after_an_error():
    model = network(1)
    model(torch.randn(4, 5).double()).square().sum().backward()
    before = [p.detach().clone() for p in model.parameters()]
    with pytest.raises(RuntimeError, match="stop"), ascended(model.parameters(), 1 / 3):
        assert not any(map(torch.equal, before, model.parameters()))
        raise RuntimeError("stop")
    assert all(map(torch.equal, before, model.parameters()))


def test_without_a_gradient_nothing_climbs():
    model = network()
    for parameter in model.parameters():
        parameter.grad = torch.zeros_like(parameter)
    before = [p.detach().clone() for p in model.parameters()]
    with ascended(model.parameters(), 0.5):
        assert all(map(torch.equal, before, model.parameters()))


class Spy(TrainerCallback):
    """Keeps weights and gradients as the optimizer finds them in the first step."""

    def __init__(self):
        self.weights, self.gradients = {}, {}

    def on_pre_optimizer_step(self, args, state, control, model=None, **kwargs):
        if not self.weights:
            trained = [(name, p) for name, p in model.named_parameters() if p.requires_grad]
            self.weights = {name: p.detach().clone() for name, p in trained}
            self.gradients = {name: p.grad.clone() for name, p in trained}


def reference(model, rows, rho, climbing=None):
    batch = batch_of(model, rows)
    return sam_gradient(
        lambda weights: mechanics.answer_loss(model, batch, weights),
        dict(model.named_parameters()), rho, climbing,
    )  # fmt: skip


def assert_parallel(found, expected):
    """The same gradients, but for the length that the trainer may have clipped."""
    assert found.keys() == expected.keys()
    a, b = (torch.cat([g[name].flatten() for name in expected]) for g in (found, expected))
    a, b = a / a.norm(), b / b.norm()
    assert float((a - b).norm()) < 1e-3


@pytest.mark.parametrize("layers", [None, [1], [0, 1]])
def test_the_trainer_uses_the_gradient_found_uphill(tiny, layers):
    spy = Spy()
    options = SHORT | {"rank": "full", "callbacks": [spy]}
    finetune(tiny, NEW, mitigation=SAM(2.0, layers), **options)
    climbing = None if layers is None else [
        name for name, _ in tiny.named_parameters() if any(f".h.{n}." in name for n in layers)
    ]  # fmt: skip
    plain, expected = reference(tiny, NEW, 0.0, climbing), reference(tiny, NEW, 2.0, climbing)
    assert_parallel(spy.gradients, expected)
    with pytest.raises(AssertionError):  # the gradient downhill is far enough from it to be told
        assert_parallel(spy.gradients, plain)
    # The optimizer finds the weights where they were before the climb.
    start = dict(tiny.named_parameters())
    assert all(torch.equal(spy.weights[name], start[name]) for name in start)


def test_every_part_of_a_batch_climbs_by_itself(tiny):
    spy = Spy()
    rows = NEW[:2] * 2  # both parts alike, so that they weigh the same
    options = SHORT | {"rank": "full", "batch_size": 2, "gradient_accumulation": 2}
    finetune(tiny, [NEW[0]] * 4, mitigation=SAM(2.0), callbacks=[spy], **options)
    assert_parallel(spy.gradients, reference(tiny, [NEW[0]], 2.0))
    once, twice = Spy(), Spy()
    for watch, mitigation in ((once, None), (twice, SAM(0.0))):
        finetune(tiny, rows, mitigation=mitigation, callbacks=[watch], **options)
    for name, gradient in once.gradients.items():
        torch.testing.assert_close(twice.gradients[name], gradient)


@pytest.mark.parametrize("rank", [2, "full"])
@pytest.mark.parametrize("layers", [None, [0], 1])
def test_a_climb_of_zero_is_plain_fine_tuning(tiny, rank, layers):
    options = SHORT | {"rank": rank}
    plain, flat = (finetune(tiny, NEW, mitigation=m, **options) for m in (None, SAM(0.0, layers)))
    assert flat.losses == plain.losses


def test_the_loss_noted_is_that_at_the_weights_themselves(tiny):
    options = SHORT | {"rank": "full"}
    plain, high = (finetune(tiny, NEW, mitigation=m, **options) for m in (None, SAM(5.0)))
    assert high.losses[0] == plain.losses[0]
    assert high.losses[1:] != plain.losses[1:]


def test_the_blocks_with_the_longest_gradient_climb(tiny, monkeypatch):
    climbs, gradients = [], []

    def spying(parameters, rho):
        climbs.append(list(parameters))
        return ascended(climbs[-1], rho)

    class Lengths(TrainerCallback):
        def on_pre_optimizer_step(self, args, state, control, model=None, **kwargs):
            squares = {0: 0.0, 1: 0.0}
            self.names = {p: name for name, p in model.named_parameters()}
            for parameter, name in self.names.items():
                if ".h." in name and parameter.requires_grad:
                    squares[int(name.split(".h.")[1][0])] += float(parameter.grad.square().sum())
            gradients.append(squares)

    monkeypatch.setattr(module, "ascended", spying)
    spy = Lengths()
    options = SHORT | {"rank": 2, "steps": 4}
    run = finetune(tiny, NEW, mitigation=SAM(0.1, 1), callbacks=[spy], **options)
    found = [{int(spy.names[p].split(".h.")[1][0]) for p in climb} for climb in climbs]
    assert found[0] == {0, 1}  # nothing is known yet
    assert found[1:] == [{max(lengths, key=lengths.get)} for lengths in gradients[:-1]]
    assert {name for name, p in run.model.named_parameters() if p.requires_grad} == {
        name for name, _ in run.model.named_parameters() if "lora_" in name
    }


@pytest.mark.parametrize("layers", [0, 3, [2], [-1], []])
def test_blocks_that_are_not_there_are_refused(tiny, layers):
    with pytest.raises(ValueError, match="This model has 2 layers"):
        finetune(tiny, NEW, mitigation=SAM(0.1, layers), **SHORT)
