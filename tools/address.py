"""The course's address on GitHub: where it is written down, and setting it everywhere at once."""

from __future__ import annotations

import re
from pathlib import Path

#: The folders of generated notebooks.
KINDS = ("lessons", "solutions")
PLACEHOLDER = "OWNER/REPO"
SECTION = re.compile(r'(^\[tool\.course\]\n(?:(?!\[).*\n)*?repository\s*=\s*)"([^"\n]*)"', re.M)


class AddressError(ValueError):
    """Not an address of a repository."""


def badge(repository: str, path: str) -> str:
    """A Colab link, as Markdown, for the notebook at `path` in the repository."""
    site = "https://colab.research.google.com"
    link = f"{site}/github/{repository}/blob/main/{path}"
    return f"[![Open in Colab]({site}/assets/colab-badge.svg)]({link})"


def read_repository(root: Path) -> str:
    """OWNER/REPO from `[tool.course]` in pyproject.toml."""
    path = root / "pyproject.toml"
    match = SECTION.search(path.read_text(encoding="utf-8")) if path.exists() else None
    return match.group(2) if match else PLACEHOLDER


def stamp(root: Path, repository: str) -> list[Path]:
    """Make `repository` the address of the course everywhere. Returns the files changed.

    Colab and Binder links to our notebooks are known by their shape, other links to GitHub by the
    address that stood in pyproject.toml before, so links to other people's work stay.

    Raises:
        AddressError: `repository` does not read OWNER/NAME, or there is no pyproject.toml.
    """
    if not re.fullmatch(r"[\w.-]+/[\w.-]+", repository):
        raise AddressError(f"{repository!r} does not read OWNER/NAME")
    project = root / "pyproject.toml"
    if not project.exists():
        raise AddressError("there is no pyproject.toml to write the address into")
    old = re.escape(read_repository(root))
    name = r"[\w.-]+/[\w.-]+"
    ours = re.compile(
        rf"(colab\.research\.google\.com/github/){name}(?=/blob/[\w.-]+/(?:lessons|solutions)/)"
        rf"|((?:github\.com|google\.com/github|mybinder\.org/v2/gh)/){old}(?![\w-])"
    )
    changed = []
    texts = [project, root / "README.md", *sorted((root / "workshop").rglob("*.md"))]
    scripts = [path for kind in ("source", *KINDS) for path in sorted((root / kind).glob("*.*"))]
    for path in texts + [path for path in scripts if path.suffix in (".py", ".ipynb")]:
        before = path.read_text(encoding="utf-8") if path.exists() else ""
        after = ours.sub(lambda m: (m.group(1) or m.group(2)) + repository, before)
        if path == project:
            section = f'\n[tool.course]\nrepository = "{repository}"\n'
            after, count = SECTION.subn(rf'\g<1>"{repository}"', after)
            after = after if count else after + section
        if after != before:
            path.write_text(after, encoding="utf-8")
            changed.append(path)
    return changed
