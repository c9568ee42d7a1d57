"""The files of a version: what their digests are, and whether they still are what they were."""

from __future__ import annotations

import json
from collections.abc import Mapping
from pathlib import Path

from ..fingerprint import file_digests
from .errors import Damaged

#: The format's own limit, in bytes, and the one part of a header that is no tensor.
LONGEST_HEADER, METADATA = 100_000_000, "__metadata__"


def digests_of(folder: Path) -> dict[str, str]:
    """SHA-256 of each file in the folder of a model or an adapter that loading it reads.

    Raises:
        Damaged: there is no such folder, it has no safetensors, or one of them is cut off. (What is
            stored as a pickle can run any program when it is loaded, and is not served here.)
    """
    if not folder.is_dir():
        raise Damaged(f"There is no folder {folder}.")
    found = file_digests(folder)
    weights = [name for name in found if name.endswith(".safetensors")]
    if not weights:
        raise Damaged(
            f"{folder} has no weights in safetensors. Save them with `run.save(folder)` or "
            "`model.save_pretrained(folder)`."
        )
    for name in weights:
        _check_whole(folder / name)
    return found


def _check_whole(path: Path) -> None:
    """Refuse a file that is not as long as its header says.

    The format is eight bytes with the header's length, the header as JSON, and the numbers of all
    tensors one after the other (https://github.com/huggingface/safetensors). The package would
    import numpy to look at it, which takes longer than all the rest of a registration.
    """
    size = path.stat().st_size
    try:
        with path.open("rb") as file:
            length = int.from_bytes(file.read(8), "little")
            header = json.loads(file.read(min(length, LONGEST_HEADER)))
        ends = [tensor["data_offsets"][1] for key, tensor in header.items() if key != METADATA]
        whole = size == 8 + length + max(ends, default=0)
    except (ValueError, TypeError, KeyError, IndexError, AttributeError) as error:
        raise Damaged(f"{path} is no safetensors file: {error!r}. Save the model again.") from error
    if not whole:
        raise Damaged(f"{path} is not as long as its header says. Copy or save it again.")


def compare(version: str, folder: Path, known: Mapping[str, str]) -> None:
    """Refuse a folder whose files are not the ones that were registered.

    Args:
        known: file name to SHA-256.

    Raises:
        Damaged: names the first file that is missing, differs, or was not there before.
    """
    try:
        found = file_digests(folder)
    except OSError as error:
        raise Damaged(f"{version}: {folder} cannot be read ({error}). {MEND}") from error
    for name in sorted({*known, *found}):
        if known.get(name) == found.get(name):
            continue
        if name not in found:
            what = "is missing"
        elif name not in known:
            what = "was not there when the version was registered"
        else:
            what = f"has the digest {found[name][:12]}, not {known[name][:12]}"
        raise Damaged(f"{version}: {folder / name} {what}. {MEND}")


MEND = "Put back the files that were registered, from your copy of them."
