"""A version of a model, who answers now, and what a rollback did."""

from __future__ import annotations

from dataclasses import dataclass

from .journal import moment


@dataclass(frozen=True, repr=False)
class Version:
    """A version of a model: what it is made of, and where it stands.

    Attributes:
        base, adapter: the folders; `adapter` is None for a model without one.
        base_digest, adapter_digest: of the files in them, see `fingerprint.folder_digest`.
        state: registered, admitted, staged, live, standby, rolled back or retired.
        share: of the users, 0 to 1.
        since: when state or share last changed, in seconds since 1970.
        kept_until: before this time it cannot be retired; 0 where nothing keeps it.
        report: SHA-256 of the audit report that let it pass; None before.
    """

    name: str
    base: str
    adapter: str | None
    base_digest: str
    adapter_digest: str | None
    note: str
    state: str
    share: float
    since: float
    kept_until: float = 0.0
    report: str | None = None

    def __repr__(self) -> str:
        share = f" at {100 * self.share:g} %" if self.state == "staged" else ""
        digest = self.adapter_digest or self.base_digest
        return f"{self.name}: {self.state}{share} since {moment(self.since)}, files {digest[:12]}"


@dataclass(frozen=True, repr=False)
class State:
    """Who answers now.

    Attributes:
        live: None while no version has gone live: then the base answers by itself.
        candidate: the staged version, if there is one.
        share: of the users, 0 to 1, that the candidate gets; 0 without one.
        since: when it was last changed who answers whom; 0 if it never was.
    """

    live: Version | None
    candidate: Version | None
    share: float
    since: float

    def __repr__(self) -> str:
        live = self.live.name if self.live else "the base"
        if self.candidate is None:
            return f"{live} answers everybody"
        return f"{self.candidate.name} answers {100 * self.share:g} % of the users, {live} the rest"


@dataclass(frozen=True)
class Rollback:
    """What a rollback did.

    Attributes:
        rolled_back: the version that no longer answers.
        live: the version that answers everybody now; None for the base by itself.
        seconds: from the call until it was on the disk; where another version gets the users, with
            the check of its files.
        checked: how many files were read and compared with their digests.
        damage: empty, or what is wrong with the files of a version that was answering all the
            time. It goes on answering from memory; mend its files before the server restarts.
    """

    rolled_back: str
    live: str | None
    seconds: float
    checked: int
    reason: str
    damage: str = ""

    def __repr__(self) -> str:
        told = f"{self.rolled_back} rolled back, {self.live or 'the base'} answers everybody"
        told += f" ({self.seconds:.3f} s, {self.checked} files checked)"
        return f"{told}. MEND BEFORE A RESTART: {self.damage}" if self.damage else told
