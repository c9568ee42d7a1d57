"""The server of lesson 09 against the bare model: `python -m benchmarks.serving`.

Sixteen clients ask over the loopback, each its next question when it has its answer; half of the
users have the candidate. The bare model answers the same questions, for the same versions, in whole
batches of sixteen through `generate(adapter_names=...)`. Both compute on one core: the clients need
one of their own.
"""

from __future__ import annotations

import asyncio
import os
import random
import re
import subprocess
import sys
import tempfile
import time
from pathlib import Path

import torch
from openai import AsyncOpenAI
from peft import PeftModel, get_peft_model

from helpers.decoding import stop_tokens
from helpers.models import load_model
from helpers.paths import DATA
from helpers.rollout.registry import Registry
from helpers.rollout.router import Router
from helpers.rollout.serve import read_key
from helpers.suites import load_suites
from helpers.training import lora_config

CLIENTS, ROOM = 16, 48
NAMES = ("facts", "arithmetic", "reasoning", "lists", "howto", "translation")


def adapter(folder: Path, seed: int) -> Path:
    """A LoRA adapter of rank 8 that changes little, so that answers are as long as they are."""
    torch.manual_seed(seed)
    adapted = get_peft_model(load_model(), lora_config(load_model(), 8, 16))
    for name, weights in adapted.named_parameters():
        if "lora_B" in name:
            torch.nn.init.normal_(weights, std=0.05)
    adapted.save_pretrained(folder)
    return folder


def rollout(path: Path, folders: list[Path]) -> None:
    """ "v1" live, "v2" with half of the users."""
    registry = Registry(path)
    for name, folder in zip(("v1", "v2"), folders, strict=True):
        version = registry.register(name, DATA / "pocket-gpt2", folder)
        weights = {"base": version.base_digest, "adapter": version.adapter_digest}
        rows = [{"name": "none", "gating": True, "verdict": "PASS"}]
        registry.admit(name, {"decision": "SHIP", "rows": rows, "weights": weights})
        registry.stage(name, 0.5)
        if name == "v1":
            registry.go_live(name)
    registry.close()


def bare(folders: list[Path], texts: list[str], versions: list[str]) -> tuple[float, list[str]]:
    """Seconds and answers of the bare model."""
    base = load_model()
    tokenizer, ends = base.tokenizer, stop_tokens(base.tokenizer)
    model = PeftModel.from_pretrained(base, folders[0], adapter_name="v1")
    model.load_adapter(folders[1], adapter_name="v2")
    model.eval()
    answers, started = [], time.perf_counter()
    for start in range(0, len(texts), CLIENTS):
        batch = tokenizer(
            [f"User: {text}\nAssistant:" for text in texts[start:][:CLIENTS]],
            return_tensors="pt",
            padding=True,
        )
        with torch.no_grad():
            whole = model.generate(
                **batch,
                max_new_tokens=ROOM,
                do_sample=False,
                eos_token_id=ends,
                adapter_names=versions[start:][:CLIENTS],
            )
        tails = whole[:, batch["input_ids"].shape[1] :]
        answers += [
            text.strip() for text in tokenizer.batch_decode(tails, skip_special_tokens=True)
        ]
    return time.perf_counter() - started, answers


async def ask_all(
    address: str, texts: list[str], users: list[str]
) -> tuple[list[float], list[str]]:
    """Seconds and answers of each request, sixteen at a time."""
    client = AsyncOpenAI(base_url=address, api_key="none")
    todo, times, answers = list(range(len(texts)))[::-1], [0.0] * len(texts), [""] * len(texts)

    async def one_client() -> None:
        while todo:
            number = todo.pop()
            started = time.perf_counter()
            reply = await client.chat.completions.create(
                model="shop",
                user=users[number],
                messages=[{"role": "user", "content": texts[number]}],
                max_tokens=ROOM,
            )
            times[number] = time.perf_counter() - started
            answers[number] = reply.choices[0].message.content or ""

    await asyncio.gather(*(one_client() for _ in range(CLIENTS)))
    return times, answers


def main(count: int = 480) -> None:
    """Both sides, the ratio, and how long a client waits."""
    rng = random.Random(0)
    items = [item for suite in load_suites(NAMES, size=count // len(NAMES)) for item in suite.items]
    rng.shuffle(items)
    texts = [re.sub(r"^\w+: |\n\w+:$", "", item.prompt) for item in items]
    users = [f"user-{rng.randrange(1000)}" for _ in texts]
    with tempfile.TemporaryDirectory() as top:
        folders = [adapter(Path(top) / name, seed) for seed, name in enumerate(("v1", "v2"))]
        store = Path(top) / "shop.db"
        rollout(store, folders)
        router = Router(read_key(f"{store}.key"))
        versions = ["v2" if router.arm(user, 0.5) == "candidate" else "v1" for user in users]
        threads = torch.get_num_threads()
        torch.set_num_threads(1)
        bare(folders, texts[:CLIENTS], versions[:CLIENTS])  # warm
        alone, expected = bare(folders, texts, versions)
        torch.set_num_threads(threads)
        command = [sys.executable, "-m", "helpers.rollout.serve", "--store", str(store)]
        server = subprocess.Popen(
            [*command, "--port", "0"],
            stdout=subprocess.PIPE,
            text=True,
            env={**os.environ, "OMP_NUM_THREADS": "1"},
        )
        try:
            address = re.search(r"http://\S+", server.stdout.readline())[0]
            asyncio.run(ask_all(address, texts[:CLIENTS], users[:CLIENTS]))  # warm
            started = time.perf_counter()
            times, answers = asyncio.run(ask_all(address, texts, users))
            served = time.perf_counter() - started
        finally:
            server.terminate()
            server.wait()
    same = sum(one == other for one, other in zip(answers, expected, strict=True))
    times.sort()
    half, worst = times[len(times) // 2], times[int(0.99 * len(times))]
    print(f"{len(texts)} questions: server {served:.1f} s, bare generate {alone:.1f} s")
    print(f"  throughput, server / bare = {alone / served:.2f}")
    print(f"  {CLIENTS} clients wait {1000 * half:.0f} ms (median), {1000 * worst:.0f} ms (p99)")
    print(f"  {same} of {len(texts)} answers are the bare model's, letter by letter\n")


if __name__ == "__main__":
    os.environ.setdefault("HF_HUB_OFFLINE", "1")
    main(*map(int, sys.argv[1:]))
