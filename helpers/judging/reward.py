"""A reward model: a language model with one number as output, trained to put the better first."""

from __future__ import annotations

import copy
import json
import math
import tempfile
from collections.abc import Sequence
from pathlib import Path

import torch
from datasets import Dataset
from tqdm.std import tqdm
from transformers import (
    AutoModelForSequenceClassification,
    AutoTokenizer,
    PreTrainedModel,
    PreTrainedTokenizerBase,
    PrinterCallback,
    TrainerCallback,
    set_seed,
)
from trl import RewardConfig, RewardTrainer

from ..mechanics.loss import merged
from ..models import context_length, evaluation_mode, forget_forward
from ..training import TRAINER_OPTIONS, LossIsNaN, quiet
from .known import BadKnownAnswers, Pair

CARD = "judge.json"


class RewardJudge:
    """Scores an answer by a reward model.

    The unit is a logit: an answer that scores d above another is the better one with probability
    1 / (1 + exp(-d)), as far as the training data goes (Bradley and Terry 1952).

    Attributes:
        losses: (step, loss in nats per pair) along training; empty after loading.
    """

    def __init__(
        self,
        model: PreTrainedModel,
        tokenizer: PreTrainedTokenizerBase,
        name: str = "reward model",
        losses: Sequence[tuple[int, float]] = (),
        batch_size: int = 64,
    ) -> None:
        self.model, self.tokenizer, self.name = model.eval(), tokenizer, name
        self.losses, self.batch_size = list(losses), batch_size

    @torch.no_grad()
    def score(self, prompts: Sequence[str], answers: Sequence[str]) -> list[float]:
        """One score per answer; higher is better.

        Raises:
            ValueError: a prompt with its answer does not fit into the model's context.
        """
        texts = [
            prompt + completion(answer) + self.tokenizer.eos_token
            for prompt, answer in zip(prompts, answers, strict=True)
        ]
        rows = [self.tokenizer(text)["input_ids"] for text in texts]
        _check_lengths(rows, context_length(self.model))
        scores = [math.nan] * len(rows)
        order = sorted(range(len(rows)), key=lambda row: len(rows[row]))
        with evaluation_mode(self.model):
            for start in range(0, len(order), self.batch_size):
                batch = order[start : start + self.batch_size]
                found = self._forward([rows[row] for row in batch])
                for row, score in zip(batch, found, strict=True):
                    scores[row] = score
        return scores

    def _forward(self, rows: Sequence[list[int]]) -> list[float]:
        # Padding stands on the right, as in training: the score is read at the last token.
        width = max(map(len, rows))
        pad = self.tokenizer.pad_token_id
        ids = torch.tensor([row + [pad] * (width - len(row)) for row in rows])
        mask = torch.tensor([[1] * len(row) + [0] * (width - len(row)) for row in rows])
        device = self.model.device
        return self.model(ids.to(device), attention_mask=mask.to(device)).logits[:, 0].tolist()

    def save(self, folder: str | Path) -> Path:
        """Write the weights (safetensors), the tokenizer and the judge's name."""
        folder = Path(folder)
        self.model.save_pretrained(folder)
        self.tokenizer.save_pretrained(folder)
        (folder / CARD).write_text(json.dumps({"name": self.name}), encoding="utf-8")
        return folder

    @classmethod
    def load(cls, folder: str | Path) -> RewardJudge:
        """Read a judge that `save` has written.

        Raises:
            FileNotFoundError: the folder holds none.
        """
        card = Path(folder) / CARD
        if not card.exists():
            raise FileNotFoundError(f"{folder} holds no judge (no {CARD}). Save one there first.")
        model = AutoModelForSequenceClassification.from_pretrained(
            folder, dtype=torch.float32, use_safetensors=True, local_files_only=True
        )
        tokenizer = AutoTokenizer.from_pretrained(folder, local_files_only=True)
        return cls(model, tokenizer, json.loads(card.read_text(encoding="utf-8"))["name"])


def train_reward_model(
    base: PreTrainedModel,
    pairs: Sequence[Pair],
    *,
    lr: float = 5e-4,
    steps: int = 80,
    batch_size: int = 16,
    centre: float = 0.01,
    seed: int = 0,
    name: str | None = None,
) -> RewardJudge:
    """Train a copy of a causal language model to score the good answer of each pair higher.

    The loss is -log sigmoid(score of the good - score of the bad). It fixes differences within a
    prompt only, and a threshold needs scores that can be compared across prompts: a small penalty
    on the sum of the two scores holds them around zero (Eisenstein et al. 2023, arXiv 2312.09244).
    Every weight is trained; the learning rate falls linearly to zero.

    Args:
        base: the model to start from, its tokenizer at `base.tokenizer`; it stays as it is. One
            that has been fine-tuned on good answers is the usual choice (Ouyang et al. 2022,
            arXiv 2203.02155). An adapter is merged into the copy.
        lr: peak learning rate of AdamW.
        steps: optimizer steps of `batch_size` pairs.
        centre: weight of that penalty.

    Raises:
        BadKnownAnswers: there are no pairs.
        ValueError: a pair does not fit into the model's context; the message names it.
        LossIsNaN: training diverged.
    """
    if not pairs:
        raise BadKnownAnswers("There are no pairs to learn from. preference_pairs() makes some.")
    tokenizer = copy.deepcopy(base.tokenizer)
    dataset = as_preferences(pairs)
    for side in ("chosen", "rejected"):
        texts = (row["prompt"] + row[side] + tokenizer.eos_token for row in dataset)
        _check_lengths([tokenizer(text)["input_ids"] for text in texts], context_length(base))
    set_seed(seed)  # before the new head draws its weights
    model = with_score_head(base)
    progress = _Progress()
    with tempfile.TemporaryDirectory() as scratch, quiet():
        trainer = RewardTrainer(
            model=model,
            args=RewardConfig(
                output_dir=scratch,
                learning_rate=lr,
                max_steps=steps,
                per_device_train_batch_size=batch_size,
                center_rewards_coefficient=centre,
                max_length=None,  # TRL would leave out in silence what is too long; checked above
                gradient_checkpointing=False,
                seed=seed,
                **TRAINER_OPTIONS,
            ),
            train_dataset=dataset,
            processing_class=tokenizer,
            callbacks=[progress],
        )
        trainer.remove_callback(PrinterCallback)  # the progress line is enough
        trainer.train()
    forget_forward(model)
    name = name or f"reward model, {len(pairs)} pairs, seed {seed}"
    return RewardJudge(model, tokenizer, name, progress.losses)


def with_score_head(base: PreTrainedModel) -> PreTrainedModel:
    """A copy of a causal language model with one random linear output in place of its head.

    Raises:
        ValueError: transformers has no sequence classifier of this kind of model.
    """
    base = merged(base)
    config = copy.deepcopy(base.config)
    config.num_labels = 1
    model = AutoModelForSequenceClassification.from_config(config, dtype=base.dtype)
    model.base_model.load_state_dict(base.base_model.state_dict())
    return model.to(base.device)


def as_preferences(pairs: Sequence[Pair]) -> Dataset:
    """Pairs in TRL's format: "prompt", "chosen" and "rejected"."""
    return Dataset.from_list(
        [
            {
                "prompt": pair.prompt,
                "chosen": completion(pair.good),
                "rejected": completion(pair.bad),
            }
            for pair in pairs
        ]
    )


def completion(answer: str) -> str:
    """What stands after the prompt: a space and the answer, or nothing for an empty one."""
    return f" {answer}" if answer else ""


def _check_lengths(rows: Sequence[list[int]], limit: int) -> None:
    longest = max(range(len(rows)), key=lambda row: len(rows[row]), default=None)
    if longest is not None and len(rows[longest]) > limit:
        raise ValueError(
            f"Answer {longest} with its prompt has {len(rows[longest])} tokens, and the judge "
            f"reads at most {limit}. Shorten it, or start from a model with a longer context."
        )


class _Progress(TrainerCallback):
    """Notes the loss of every step and shows one line of progress."""

    def __init__(self) -> None:
        self.losses: list[tuple[int, float]] = []

    def on_train_begin(self, args, state, control, **kwargs) -> None:
        # Plain text on stderr: a widget bar would leave its state in the saved notebook.
        self.bar = tqdm(total=state.max_steps, desc="training the judge", unit="step", leave=False)

    def on_log(self, args, state, control, logs=None, **kwargs) -> None:
        if not logs or "loss" not in logs:
            return
        loss = float(logs["loss"])
        if not math.isfinite(loss):
            self.bar.close()
            raise LossIsNaN(
                f"The judge's loss became {loss}. Lower lr (it was {args.learning_rate:g})."
            )
        self.losses.append((state.global_step, loss))
        self.bar.update()

    def on_train_end(self, args, state, control, **kwargs) -> None:
        self.bar.close()
