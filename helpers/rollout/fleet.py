"""Which version answers whom: the registry says what is live, the router who gets the candidate."""

from __future__ import annotations

import logging
import math
import time
from collections.abc import Collection
from pathlib import Path

from ..fingerprint import file_digests, folder_digest
from .engine import WEIGHTS, Engine
from .errors import Damaged, RolloutError, UnknownVersion
from .registry import Registry, State, Version
from .router import Router
from .worker import Placement

log = logging.getLogger(__name__)

#: Versions in these states have passed the gate and may be asked by their own names.
SERVED = ("admitted", "staged", "live", "standby")
#: The base by itself, which answers while no version is live. No version can have this name.
BARE = "(base)"


class NotReady(RolloutError):
    """The version that should answer cannot be loaded."""


class Fleet:
    """The versions that one engine serves, as the registry wants it at this moment.

    Args:
        engine: with the base in it, no adapter yet.
        base_digest: of the base's files, see `fingerprint.folder_digest`. Versions of another base
            are not loaded.
        service: the name under which users ask for whatever is live.
    """

    def __init__(
        self, engine: Engine, registry: Registry, router: Router, base_digest: str, service: str
    ) -> None:
        self.engine, self.registry, self.router = engine, registry, router
        self.base_digest, self.service = base_digest, service
        self.retry = 5.0  # seconds before files that were damaged are looked at again
        self.broken: dict[str, str] = {}  # versions that should answer and cannot, and why
        self._failed: dict[str, tuple[float, RolloutError]] = {}
        self.state: State = registry.state()
        engine.load(BARE, None)

    def refresh(self, busy: Collection[str] = ()) -> None:
        """Look at the registry: load who answers now, let go of what nobody may ask any longer.

        Args:
            busy: versions that are writing an answer at this moment.
        """
        self.state = self.registry.state()
        wanted = [version for version in (self.state.live, self.state.candidate) if version]
        self.broken = {name: why for name, why in self.broken.items() if name in names(wanted)}
        for version in wanted:
            try:
                self._load(version)
                self.broken.pop(version.name, None)
            except RolloutError as error:
                self.broken[version.name] = str(error)
        idle = set(self.engine.versions) - {BARE, *busy, *names(wanted)}
        if idle:
            for name in idle - names(self.served()):
                self.engine.unload(name)

    def place(self, model: str, user: str | None) -> Placement:
        """The version that answers a request, loaded.

        Whoever asks the service with a user id is in the experiment and gets the same arm every
        time. Without one there is nothing to hold on to, so the live version answers. A version
        that is asked by its name answers by that name.

        Raises:
            UnknownVersion: there is no version of that name, or it may not answer.
            NotReady: the version cannot be loaded.
        """
        share = self.state.share
        if model != self.service:
            return Placement(self._named(model), "direct", share)
        live, candidate = self.state.live, self.state.candidate
        arm = self.router.arm(user, share) if user else "direct"
        if arm == "candidate":
            if candidate.name not in self.broken:
                return Placement(candidate.name, arm, share)
            arm = "direct"  # an answer of the live version says nothing about the candidate
        if live is None:
            return Placement(BARE, arm, share)
        if live.name in self.broken:
            raise NotReady(f"The live version cannot answer. {self.broken[live.name]}")
        return Placement(live.name, arm, share)

    def served(self) -> list[Version]:
        """The versions that may be asked by name."""
        return [
            version
            for version in self.registry.versions()
            if version.state in SERVED and version.base_digest == self.base_digest
        ]

    def _named(self, name: str) -> str:
        if name == BARE:
            return name
        found = next((v for v in self.registry.versions() if v.name == name), None)
        if found is None:
            raise UnknownVersion(
                f"There is no model {name!r}. Ask for {self.service!r}, or see GET /v1/models."
            )
        if found.state not in SERVED:
            raise UnknownVersion(f"{name!r} does not answer: it is {found.state}.")
        try:
            self._load(found)
        except RolloutError as error:
            raise NotReady(str(error)) from error
        return name

    def _load(self, version: Version) -> None:
        if version.name in self.engine.versions:
            return
        when, error = self._failed.get(version.name, (-math.inf, None))
        if error is not None and time.monotonic() < when + self.retry:
            raise error  # reading large files at every request would keep everybody waiting
        try:
            self._read(version)
        except RolloutError as error:
            log.error("%s cannot answer: %s", version.name, error)
            self._failed[version.name] = time.monotonic(), error
            raise
        self._failed.pop(version.name, None)

    def _read(self, version: Version) -> None:
        if version.base_digest != self.base_digest:
            raise NotReady(f"{version.name} belongs to another base than this server has loaded.")
        if version.adapter is None:
            self.engine.load(version.name, None)
            return
        folder = Path(version.adapter)
        try:
            files = file_digests(folder)
        except OSError as error:
            raise Damaged(f"The adapter of {version.name} cannot be read: {error}") from error
        if folder_digest(files) != version.adapter_digest:
            raise Damaged(
                f"The files of {version.name} in {folder} are not those that were registered. "
                "Put them back, or roll back."
            )
        self.engine.load(version.name, folder, files.get(WEIGHTS, ""))


def names(versions: Collection[Version]) -> set[str]:
    """The names of versions."""
    return {version.name for version in versions}
