"""Pre-training of pocket-gpt2: packed rows, Muon and AdamW, exact resume after a kill.

The data of step k is a pure function of (seed, k), and a checkpoint holds the weights and both
optimizer states. So a run that was killed and resumed ends at the same weights as one that was not.
A checkpoint says which run it belongs to: the recipe, the data, and the weights it began with.
"""

from __future__ import annotations

import hashlib
import json
import random
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import NamedTuple

import torch
from safetensors import safe_open
from safetensors.torch import load_file, save_file
from torch.nn.functional import cross_entropy
from tqdm.auto import tqdm
from transformers import GPT2Config, GPT2LMHeadModel, PreTrainedTokenizerFast

from ..ascent import ascended
from ..fingerprint import digest
from .muon import Muon, faster_dtype
from .tokenizer import CONTEXT, END
from .world import Document, document

CHECKPOINT = "checkpoint.safetensors"


@dataclass(frozen=True)
class Recipe:
    """Every number that shapes the model. Two runs of one recipe give one model."""

    layers: int = 4
    width: int = 256
    heads: int = 4
    steps: int = 5_000
    rows: int = 16  # rows of `CONTEXT` tokens per step
    muon_lr: float = 0.014
    adam_lr: float = 3e-3
    warmup: int = 200  # steps
    decay_from: float = 0.5  # fraction of the run after which the rate falls linearly to zero
    seed: int = 0
    rho: float = 0.0  # how far uphill SAM takes the gradient; 0 is plain training
    dtype: str = "float32"  # what matrices are multiplied in, or "bfloat16"; weights are float32


#: What continues a trained model after its world has grown: fewer steps, at a lower rate.
CONTINUED = Recipe(steps=1_500, muon_lr=0.006, adam_lr=1.2e-3, warmup=100, decay_from=0.1, seed=2)


def new_model(recipe: Recipe, tokenizer: PreTrainedTokenizerFast) -> GPT2LMHeadModel:
    """A randomly initialised GPT-2 of the recipe's shape."""
    torch.manual_seed(recipe.seed)
    config = GPT2Config(
        vocab_size=len(tokenizer),
        n_positions=CONTEXT,
        n_embd=recipe.width,
        n_layer=recipe.layers,
        n_head=recipe.heads,
        # GPT-2's own activation, computed in one kernel instead of six.
        activation_function="gelu_pytorch_tanh",
        # Each document is seen about once, so there is nothing to regularise.
        resid_pdrop=0.0,
        embd_pdrop=0.0,
        attn_pdrop=0.0,
        bos_token_id=tokenizer.eos_token_id,
        eos_token_id=tokenizer.eos_token_id,
        pad_token_id=tokenizer.pad_token_id,
    )
    return GPT2LMHeadModel(config)


@dataclass
class Batch:
    """Rows of packed documents, each tensor of shape (rows, CONTEXT)."""

    input_ids: torch.Tensor
    weights: torch.Tensor  # of each token in the loss, 0 where nothing is learned
    position_ids: torch.Tensor  # starts again at 0 with every document
    documents: torch.Tensor  # number of the document within its row, -1 for padding


def make_batch(step: int, recipe: Recipe, tokenizer: PreTrainedTokenizerFast) -> Batch:
    """The data of one step: documents packed first-fit into rows, none of them cut."""
    rng = random.Random(f"{recipe.seed} {step}")
    rows: list[list[Encoded]] = [[] for _ in range(recipe.rows)]
    free = [CONTEXT] * recipe.rows
    for _ in range(recipe.rows * 16):
        encoded = encode(document(rng, END), tokenizer)
        fitting = next((r for r, room in enumerate(free) if room >= len(encoded.ids)), None)
        if fitting is not None:
            rows[fitting].append(encoded)
            free[fitting] -= len(encoded.ids)
        if max(free) < 24:
            break

    shape = (recipe.rows, CONTEXT)
    batch = Batch(
        input_ids=torch.full(shape, tokenizer.pad_token_id),
        weights=torch.zeros(shape),
        position_ids=torch.zeros(shape, dtype=torch.long),
        documents=torch.full(shape, -1),
    )
    for row, packed in enumerate(rows):
        start = 0
        for number, encoded in enumerate(packed):
            here = slice(start, start + len(encoded.ids))
            batch.input_ids[row, here] = torch.tensor(encoded.ids)
            batch.weights[row, here] = torch.tensor(encoded.weights)
            batch.position_ids[row, here] = torch.arange(len(encoded.ids))
            batch.documents[row, here] = number
            start += len(encoded.ids)
    return batch


class Encoded(NamedTuple):
    """A document as token ids, and what each token weighs in the loss."""

    ids: list[int]
    weights: list[float]


def encode(pieces: Document, tokenizer: PreTrainedTokenizerFast) -> Encoded:
    """Tokens of a document with their weights: 0 in prompts, 1/sqrt(n) in an answer of n tokens.

    With equal weights per token, stories would drown sums; with equal weights per answer, sums
    would drown stories.
    """
    ids: list[int] = []
    weights: list[float] = []
    tokens = tokenizer([text for text, _ in pieces])["input_ids"]
    for (_, learn), piece in zip(pieces, tokens, strict=True):
        ids += piece
        weights += [len(piece) ** -0.5 if learn else 0.0] * len(piece)
    weights[0] = 0.0  # nothing precedes the first token of a document
    return Encoded(ids, weights)


def attention_mask(documents: torch.Tensor, dtype: torch.dtype) -> torch.Tensor:
    """Additive mask of shape (rows, 1, tokens, tokens): each document sees only its own past."""
    same = documents[:, :, None] == documents[:, None, :]
    allowed = (same & torch.ones_like(same).tril())[:, None]
    return torch.zeros(allowed.shape, dtype=dtype).masked_fill(~allowed, torch.finfo(dtype).min)


def batch_loss(
    model: GPT2LMHeadModel, batch: Batch, dtype: torch.dtype = torch.float32
) -> torch.Tensor:
    """Weighted mean of the cross-entropy of the learned tokens, in nats."""
    with torch.autocast("cpu", torch.bfloat16, enabled=dtype == torch.bfloat16):
        hidden = model.transformer(
            batch.input_ids,
            position_ids=batch.position_ids,
            attention_mask=attention_mask(batch.documents, dtype),
        ).last_hidden_state
        weights = batch.weights[:, 1:]
        learned = weights > 0
        logits = model.lm_head(hidden[:, :-1][learned])
    losses = cross_entropy(logits.float(), batch.input_ids[:, 1:][learned], reduction="none")
    return (losses * weights[learned]).sum() / weights.sum()


def make_optimizers(model: GPT2LMHeadModel, recipe: Recipe) -> list[torch.optim.Optimizer]:
    """Muon (Jordan et al. 2024) for the matrices inside the blocks, AdamW for the rest."""
    inside = [p for name, p in model.named_parameters() if ".h." in name and p.ndim == 2]
    chosen = {id(p) for p in inside}
    rest = [p for p in model.parameters() if id(p) not in chosen]
    return [
        Muon(inside, lr=recipe.muon_lr, dtype=getattr(torch, recipe.dtype)),
        torch.optim.AdamW(rest, lr=recipe.adam_lr, betas=(0.9, 0.98), weight_decay=0.0, fused=True),
    ]


def rate_factor(step: int, recipe: Recipe) -> float:
    """Warm-up, plateau, linear decay: what both learning rates are multiplied with at `step`."""
    decay_start = recipe.decay_from * recipe.steps
    falling = (recipe.steps - step) / (recipe.steps - decay_start)
    return min((step + 1) / recipe.warmup, 1.0, falling)


def run_note(recipe: Recipe, tokenizer: PreTrainedTokenizerFast, start: torch.nn.Module) -> str:
    """What tells one run from another, as JSON: its recipe, its first data, its first weights."""
    data = make_batch(0, recipe, tokenizer).input_ids.numpy().tobytes()
    return json.dumps({
        "recipe": asdict(recipe), "data": hashlib.sha256(data).hexdigest(), "start": digest(start),
    })  # fmt: skip


def save_checkpoint(folder: Path, step: int, run: str, model, optimizers) -> None:
    """Write weights and optimizer states; the old checkpoint stays until the new one is whole."""
    tensors = {f"model.{name}": value for name, value in model.named_parameters()}
    for number, optimizer in enumerate(optimizers):
        for index, state in optimizer.state_dict()["state"].items():
            for key, value in state.items():
                tensors[f"optimizer.{number}.{index}.{key}"] = torch.as_tensor(value)
    folder.mkdir(parents=True, exist_ok=True)
    partial = folder / "checkpoint.partial"
    note = {"step": str(step), "run": run}
    save_file({name: t.detach().contiguous() for name, t in tensors.items()}, partial, note)
    partial.replace(folder / CHECKPOINT)


def checkpoint_note(folder: Path) -> dict[str, str] | None:
    """What the checkpoint in `folder` says of itself; None if there is none."""
    path = folder / CHECKPOINT
    if not path.exists():
        return None
    with safe_open(path, "pt") as file:
        return file.metadata()


def dtype_for(folder: Path) -> str:
    """What to multiply matrices in: as the run in `folder` began, or else what is faster here."""
    note = checkpoint_note(folder)
    if note and "run" in note:
        return json.loads(note["run"])["recipe"].get("dtype", "float32")
    return str(faster_dtype()).removeprefix("torch.")


def load_checkpoint(folder: Path, run: str, model, optimizers) -> int:
    """Restore the last checkpoint if there is one; returns the number of steps it has behind it.

    Raises:
        ValueError: the checkpoint belongs to a run of another recipe, world or starting model.
    """
    path = folder / CHECKPOINT
    note = checkpoint_note(folder)
    if note is None:
        return 0
    if note.get("run") != run:
        raise ValueError(
            f"{path} belongs to another run: its settings, its world or the weights it began with "
            "are not these. Delete this file to start afresh, or give what it was started with."
        )
    tensors = load_file(path)
    with torch.no_grad():
        for name, parameter in model.named_parameters():
            parameter.copy_(tensors[f"model.{name}"])
    for number, optimizer in enumerate(optimizers):
        state: dict[int, dict[str, torch.Tensor]] = {}
        for name, value in tensors.items():
            if name.startswith(f"optimizer.{number}."):
                _, _, index, key = name.split(".")
                state.setdefault(int(index), {})[key] = value
        optimizer.load_state_dict({**optimizer.state_dict(), "state": state})
    return int(note["step"])


def pretrain(
    recipe: Recipe,
    tokenizer: PreTrainedTokenizerFast,
    folder: Path,
    start: GPT2LMHeadModel | None = None,
    checkpoint_every: int = 250,
    stop_at: int | None = None,
) -> GPT2LMHeadModel:
    """Train from nothing, or go on from the checkpoint in `folder`.

    Args:
        folder: where checkpoints are kept.
        start: a trained model to continue, instead of a new one.
        stop_at: stop after this many steps, as a kill would (for tests and trials).

    Raises:
        FloatingPointError: the loss became NaN.
    """
    model = start or new_model(recipe, tokenizer)
    optimizers = make_optimizers(model, recipe)
    base_rates = [optimizer.param_groups[0]["lr"] for optimizer in optimizers]
    run = run_note(recipe, tokenizer, model)
    done = load_checkpoint(folder, run, model, optimizers)
    dtype = getattr(torch, recipe.dtype)
    last = min(recipe.steps, stop_at or recipe.steps)
    bar = tqdm(range(done, last), initial=done, total=recipe.steps, desc="pocket-gpt2", unit="step")
    for step in bar:
        for optimizer, rate in zip(optimizers, base_rates, strict=True):
            optimizer.param_groups[0]["lr"] = rate * rate_factor(step, recipe)
        loss = batch_loss(model, make_batch(step, recipe, tokenizer), dtype)
        if not torch.isfinite(loss):
            raise FloatingPointError(
                f"The loss became {loss.item()} at step {step}: lower the rates."
            )
        loss.backward()
        if recipe.rho:
            with ascended(model.parameters(), recipe.rho):
                model.zero_grad()
                batch_loss(model, make_batch(step, recipe, tokenizer), dtype).backward()
        torch.nn.utils.clip_grad_norm_(model.parameters(), 1.0)
        for optimizer in optimizers:
            optimizer.step()
            optimizer.zero_grad()
        bar.set_postfix(loss=f"{loss.item():.3f}", refresh=False)
        if (step + 1) % checkpoint_every == 0 or step + 1 == last:
            save_checkpoint(folder, step + 1, run, model, optimizers)
    return model
