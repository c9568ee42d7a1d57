"""Small models for the tests of merging: moved at random, so that no time goes into training."""

from __future__ import annotations

import copy

import torch
from peft import get_peft_model
from small_models import small_model

from helpers.training import lora_config


def new_llama(tokenizer, vocabulary=None, tied=False):
    """A Llama of two narrow layers: `nn.Linear`, and an output layer of its own unless tied."""
    return small_model(
        "llama",
        tokenizer,
        vocab_size=vocabulary or len(tokenizer),
        max_position_embeddings=128,
        tie_word_embeddings=tied,
        bos_token_id=tokenizer.eos_token_id,
        eos_token_id=tokenizer.eos_token_id,
        pad_token_id=tokenizer.pad_token_id,
    )


def moved(model, seed, size=0.5):
    """A copy with noise on every weight, `size` times as large as the weights are."""
    other = copy.deepcopy(model)
    generator = torch.Generator().manual_seed(seed)
    with torch.no_grad():
        for weight in other.parameters():
            noise = torch.randn(weight.shape, generator=generator)
            weight.add_(size * max(0.02, float(weight.abs().mean())) * noise)
    return other


def with_adapter(model, seed, rank=4, same_a=None, **options):
    """A copy with a LoRA adapter of random matrices; `same_a` is a model to take the A's from."""
    config = lora_config(model, rank, 2 * rank)
    for name, value in options.items():
        setattr(config, name, value)
    torch.manual_seed(seed)
    tuned = get_peft_model(copy.deepcopy(model), config)
    tuned.tokenizer = model.tokenizer
    source = dict(same_a.named_parameters()) if same_a is not None else {}
    with torch.no_grad():
        for name, weight in tuned.named_parameters():
            if "lora_" in name:
                noise = torch.randn_like(weight)
                weight.copy_(source[name] if source and "lora_A" in name else noise / 10)
    return tuned.eval()


def arrays(model):
    """The weights in double precision, as numpy arrays."""
    return {name: weight.detach().double().numpy() for name, weight in model.named_parameters()}
