"""The estimate of what a training step needs."""

from __future__ import annotations

import pytest

from helpers.memory import estimate_memory, kept_activations
from helpers.models import parameter_counts


def test_the_parts_add_up(tiny):
    parts = estimate_memory(tiny, batch_size=2, length=32, rank="full")
    total = parameter_counts(tiny)["total"]
    assert parts["weights"] == parts["gradients"] == 4 * total
    assert parts["AdamW"] == 8 * total
    assert parts["sum"] == sum(size for name, size in parts.items() if name != "sum")


def test_lora_saves_gradients_and_optimizer_but_few_activations(tiny):
    full, lora = (estimate_memory(tiny, 4, 32, rank=rank) for rank in ("full", 2))
    assert lora["gradients"] * 2 == lora["AdamW"] < full["AdamW"] / 2
    assert lora["weights"] > full["weights"]
    assert lora["activations"] > 0.3 * full["activations"]


def test_only_activations_grow_with_the_batch_and_the_length(tiny):
    one, more = (estimate_memory(tiny, batch_size=size, length=32) for size in (1, 8))
    assert more["activations"] == 8 * one["activations"]
    assert [name for name in one if one[name] != more[name]] == ["activations", "sum"]
    longer = estimate_memory(tiny, batch_size=1, length=128)
    assert longer["activations"] > 3 * one["activations"]


def test_the_kept_activations_hold_at_least_the_log_probabilities(tiny):
    assert kept_activations(tiny, 64) > 4 * 63 * tiny.config.vocab_size


def test_the_model_is_left_alone(tiny):
    names = [name for name, _ in tiny.named_modules()]
    estimate_memory(tiny, 1, 8)
    assert [name for name, _ in tiny.named_modules()] == names and not tiny.training


def test_a_length_beyond_the_context_is_refused(tiny):
    with pytest.raises(ValueError, match="257 tokens does not fit into the context of 256"):
        estimate_memory(tiny, 1, 257)
