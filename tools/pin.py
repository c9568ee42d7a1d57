"""Write requirements.txt: every package, direct or not, at one exact version per Python.

    python tools/pin.py python3.10 python3.11 python3.12 python3.13

For each interpreter pip resolves the project with its extras (nothing is installed), as does a
second, smaller resolution for the packages that only Windows or macOS need. Where two Pythons get
different versions, a marker tells them apart; the newest interpreter also speaks for newer ones.
Needs `packaging`, which the course's own environment has.
"""

import argparse
import json
import subprocess
import tempfile
from pathlib import Path

from packaging.requirements import Requirement
from packaging.utils import canonicalize_name

ROOT = Path(__file__).resolve().parent.parent
HELD = ["torch==2.13.0"]  # moved by hand: the numbers in the lessons depend on it

# PyPI's torch for Linux brings CUDA libraries and names their exact versions itself. They stay out
# of the pin, so that the CPU build of torch is not made to download them.
CUDA = ("nvidia-", "cuda-", "triton")

PLATFORMS = {
    "win32": (
        "win_amd64",
        {"sys_platform": "win32", "platform_system": "Windows", "os_name": "nt"},
    ),
    "darwin": ("macosx_14_0_arm64", {"sys_platform": "darwin", "platform_system": "Darwin"}),
}

HEADER = """\
# The full pin: what the course is tested with, for Python {first} to 3.14. Written by tools/pin.py:
#
#     .venv/bin/python tools/pin.py {pythons}
#
# Do not edit by hand; the direct dependencies and their lower bounds stand in pyproject.toml.
# CUDA libraries are left out on purpose: torch names its own where its build needs them.
"""


def resolve(python: str, arguments: list[str]) -> dict:
    """pip's installation report (PyPA format) for these arguments under one interpreter."""
    with tempfile.TemporaryDirectory() as folder:
        report = Path(folder) / "report.json"
        command = [python, "-m", "pip", "install", "--dry-run", "--ignore-installed", "--quiet"]
        subprocess.run([*command, "--report", str(report), *arguments], check=True, cwd=ROOT)
        return json.loads(report.read_text())


def versions(report: dict) -> dict[str, str]:
    """Canonical name to public version, without CUDA libraries and the project itself."""
    found = {}
    for package in report["install"]:
        name = canonicalize_name(package["metadata"]["name"])
        local = "dir_info" in package["download_info"]
        if not local and not name.startswith(CUDA):
            found[name] = package["metadata"]["version"].split("+")[0]
    return found


def elsewhere(report: dict, platform: dict[str, str]) -> list[str]:
    """Requirements that hold on `platform` and not on the machine that made the report."""
    here = {**report["environment"], "extra": ""}
    needed = set()
    for package in report["install"]:
        for line in package["metadata"].get("requires_dist", []):
            requirement = Requirement(line)
            marker = requirement.marker
            if marker and marker.evaluate({**here, **platform}) and not marker.evaluate(here):
                requirement.marker = None
                needed.add(str(requirement))
    return sorted(needed)


def lines(
    name: str, by_python: dict[str, str], pythons: list[str], platform: str = ""
) -> list[str]:
    """One line per run of neighbouring Pythons with the same version (or the same absence)."""
    result, start = [], 0
    for end in range(1, len(pythons) + 1):
        version = by_python.get(pythons[start])
        if end < len(pythons) and by_python.get(pythons[end]) == version:
            continue
        if version:
            marker = [f'sys_platform == "{platform}"'] if platform else []
            if start > 0:
                marker.append(f'python_version >= "{pythons[start]}"')
            if end < len(pythons):
                marker.append(f'python_version < "{pythons[end]}"')
            result.append(f"{name}=={version}" + (f" ; {' and '.join(marker)}" if marker else ""))
        start = end
    return result


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("interpreter", nargs="+", help="oldest first, such as python3.10")
    interpreters = parser.parse_args().interpreter

    pins: dict[tuple[str, str], dict[str, str]] = {}  # (name, platform) -> Python -> version
    pythons = []
    for interpreter in interpreters:
        report = resolve(interpreter, [".[lab,test]", *HELD])
        python = report["environment"]["python_version"]
        pythons.append(python)
        general = versions(report)
        for name, version in general.items():
            pins.setdefault((name, ""), {})[python] = version
        for platform, (tag, environment) in PLATFORMS.items():
            only = ["--platform", tag, "--only-binary=:all:", "--no-deps", "--target", "unused"]
            needed = elsewhere(report, environment)
            extra = versions(resolve(interpreter, [*only, *needed])) if needed else {}
            for name in extra.keys() - general.keys():
                pins.setdefault((name, platform), {})[python] = extra[name]
        print(f"Python {python}: {len(general)} packages")

    text = HEADER.format(first=pythons[0], pythons=" ".join(f"python{p}" for p in pythons))
    for (name, platform), by_python in sorted(pins.items()):
        text += "".join(line + "\n" for line in lines(name, by_python, pythons, platform))
    (ROOT / "requirements.txt").write_text(text, encoding="utf-8")


if __name__ == "__main__":
    main()
