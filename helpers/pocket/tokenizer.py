"""The tokenizer of the pocket world: byte-level BPE, with every digit a token of its own."""

from __future__ import annotations

import random

from tokenizers import Tokenizer, decoders, models, pre_tokenizers, trainers
from transformers import PreTrainedTokenizerFast

from .world import document

END = "<|endoftext|>"
PAD = "<|pad|>"
CONTEXT = 256  # tokens


def train_tokenizer(
    vocab_size: int = 1792, documents: int = 40_000, seed: int = 0
) -> PreTrainedTokenizerFast:
    """Train the tokenizer on `documents` documents of the world.

    Single digits (as in Llama's tokenizer) make sums learnable: "47" is always "4", "7".
    """
    tokenizer = Tokenizer(models.BPE())
    tokenizer.pre_tokenizer = pre_tokenizers.Sequence(
        [
            pre_tokenizers.Digits(individual_digits=True),
            pre_tokenizers.ByteLevel(add_prefix_space=False, use_regex=True),
        ]
    )
    tokenizer.decoder = decoders.ByteLevel()
    trainer = trainers.BpeTrainer(
        vocab_size=vocab_size,
        special_tokens=[END, PAD],
        initial_alphabet=pre_tokenizers.ByteLevel.alphabet(),
        show_progress=False,
    )
    rng = random.Random(f"tokenizer {seed}")
    texts = ("".join(text for text, _ in document(rng, "")) for _ in range(documents))
    tokenizer.train_from_iterator(texts, trainer)
    return PreTrainedTokenizerFast(
        tokenizer_object=tokenizer,
        eos_token=END,
        bos_token=END,
        pad_token=PAD,
        model_max_length=CONTEXT,
        clean_up_tokenization_spaces=False,
    )
