"""SAM against a published package (pytorch-optimizer, by Hyeongchan Kim), where it is installed.

It is no requirement of the course: `pip install -e .[compare]` adds it, and mergekit.
"""

from __future__ import annotations

import copy

import pytest
import torch

from helpers.mechanics.loss import answer_loss, batch_of
from helpers.mitigations import ascended

package = pytest.importorskip("pytorch_optimizer", reason="pytorch-optimizer is not installed")

ROWS = [
    {"prompt": "Customer: When is the store open?\nAgent:", "completion": " Until 8."},
    {"prompt": "What is 3 + 4?", "completion": " 7"},
]


def network():
    torch.manual_seed(0)
    model = torch.nn.Sequential(torch.nn.Linear(5, 7), torch.nn.Tanh(), torch.nn.Linear(7, 3))
    x, y = torch.randn(6, 5).double(), torch.randint(3, (6,))
    return model, lambda model: torch.nn.functional.cross_entropy(model(x), y)


def language_model(tiny):
    batch = batch_of(tiny, ROWS)
    return copy.deepcopy(tiny).eval().requires_grad_(True), lambda model: answer_loss(model, batch)


@pytest.mark.parametrize("kind", ["network", "language model"])
@pytest.mark.parametrize("base", [torch.optim.SGD, torch.optim.AdamW])
@pytest.mark.parametrize("rho", [0.05, 0.5])
def test_steps_agree_with_the_package(tiny, kind, base, rho):
    model, loss = network() if kind == "network" else language_model(tiny)
    model = model.double()  # AdamW makes steps even of rounding errors
    theirs = copy.deepcopy(model)
    start = [parameter.detach().clone() for parameter in model.parameters()]

    optimizer = base(model.parameters(), lr=1e-2)
    for _ in range(3):
        optimizer.zero_grad()
        loss(model).backward()
        with ascended(model.parameters(), rho):
            optimizer.zero_grad()
            loss(model).backward()
        optimizer.step()

    published = package.SAM(theirs.parameters(), base, rho=rho, lr=1e-2)

    def closure():
        published.zero_grad()
        found = loss(theirs)
        found.backward()
        return found

    for _ in range(3):
        closure()
        published.step(closure)

    pairs = zip(model.parameters(), theirs.parameters(), start, strict=True)
    for ours, other, before in pairs:
        torch.testing.assert_close(ours - before, other - before, rtol=1e-3, atol=1e-5)
    assert any((p - s).norm() > 1e-3 for p, s in zip(model.parameters(), start, strict=True))
