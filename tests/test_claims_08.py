"""What lesson 08 claims of adapters, on small models."""

from __future__ import annotations

import copy

import peft
import pytest
import torch
from merging_models import new_llama, with_adapter
from peft.helpers import rescale_adapter_scale

from helpers.merging import WAYS, linear, updates

# An adapter's α


@pytest.mark.parametrize("shape", ["gpt2", "llama"])
@pytest.mark.parametrize("alpha", [0, 0.3, 1])
def test_a_scaled_adapter_is_the_merge_logit_for_logit(tiny, shape, alpha):
    base = tiny if shape == "gpt2" else new_llama(tiny.tokenizer)
    tuned = with_adapter(base, seed=1)
    asked = base.tokenizer("How do I make tea?", return_tensors="pt")
    with torch.no_grad():
        whole = tuned(**asked).logits
        with rescale_adapter_scale(tuned, alpha):
            scaled = tuned(**asked).logits
        again, merged = tuned(**asked).logits, linear(base, tuned, alpha)(**asked).logits
    torch.testing.assert_close(scaled, merged, rtol=0, atol=1e-4)
    assert torch.equal(whole, again)
    if alpha < 1:
        assert (whole - merged).abs().max() > 1e-2


def test_what_the_installed_peft_makes_of_rslora(tiny):
    """By the root of the rank too long up to 0.21; what comes after is said by its behaviour."""
    one = with_adapter(tiny, seed=1, use_rslora=True)
    (rank,) = {config.r for config in one.peft_config.values()}
    for way in WAYS:
        both = copy.deepcopy(one)
        both.add_weighted_adapter(["default"], [1.0], way, combination_type=way)
        before, after = (next(iter(updates(both, name).values())) for name in ("default", way))
        ratio = float(after.norm() / before.norm())
        version = tuple(int(part) for part in peft.__version__.split(".")[:2])
        if version <= (0, 21):
            assert ratio == pytest.approx(rank**0.5, rel=1e-3)
        else:
            assert min(abs(ratio - 1), abs(ratio - rank**0.5)) < 1e-3
