"""Is everything here that the course needs? One line per thing, ready for a bug report."""

from __future__ import annotations

import os
import platform
import re
import shutil
import sys
from importlib.metadata import PackageNotFoundError, version

from .paths import DATA

#: What the lessons import, with the oldest versions that they are meant for (pyproject.toml).
PACKAGES = {
    "torch": (2, 9),
    "transformers": (5, 15),
    "peft": (0, 20),
    "trl": (0, 29),
    "datasets": (4, 0),
    "matplotlib": (3, 10),
    "ipywidgets": (7, 7),
    "jupyterlab": (4, 6),
}
#: What the helpers use beside them; named only where it is missing.
FURTHER = (
    "accelerate", "bm25s", "fastapi", "ipykernel", "lm-eval", "numpy", "openai", "pandas", "pillow",
    "prometheus-client", "psutil", "pyyaml", "safetensors", "scipy", "tokenizers", "tqdm",
    "uvicorn",
)  # fmt: skip
#: Needed by a part of the course only, or replaced by another front end.
OPTIONAL = ("jupyterlab",)


def installed(package: str) -> str | None:
    """The version of a package, None where it is missing."""
    try:
        return version(package)
    except PackageNotFoundError:
        return None


def report_environment() -> list[tuple[bool, str]]:
    """What was looked at, as (fine, text)."""
    python = sys.version_info
    lines = [
        (python >= (3, 10), f"Python {platform.python_version()} (3.10 or newer)"),
        (True, f"{platform.system()} on {platform.machine()}, {os.cpu_count()} cores"),
    ]
    for package, oldest in PACKAGES.items():
        fine = package in OPTIONAL
        found = installed(package)
        if found is None:
            lines.append((fine, f"{package} is not installed"))
            continue
        new_enough = tuple(map(int, re.findall(r"\d+", found)[:2])) >= oldest
        wish = "" if new_enough else f" is older than {'.'.join(map(str, oldest))}"
        lines.append((fine or new_enough, f"{package} {found}{wish}"))
    lines += [(False, f"{name} is not installed") for name in FURTHER if not installed(name)]
    weights = DATA / "pocket-gpt2" / "model.safetensors"
    lines.append((weights.exists(), f"course model in data/{weights.parent.name}"))
    suites = len(list((DATA / "suites").glob("*.jsonl")))
    lines.append((suites > 0, f"{suites} test suites in data/suites"))
    free = shutil.disk_usage(DATA).free / 2**30
    lines.append((free > 0.5, "at least half a gigabyte of free disk"))
    return lines


def check_environment() -> None:
    """Print the report, and what to do where something is missing."""
    lines = report_environment()
    for fine, text in lines:
        print("[OK]  " if fine else "[FAIL]", text)
    failed = sum(not fine for fine, _ in lines)
    if failed:
        print(
            f"\n{failed} of {len(lines)} failed. Installing again brings what is missing or old (on"
            " Linux and macOS\n`make lab`); docs/INSTALL.md has other ways, and further remedies."
        )
    else:
        print("\nAll is here.")
