"""One capability in a retention brief, and the rule that turns answers about it into a margin."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Literal, get_args

#: What users do about a loss, from the mildest to the worst.
Feeling = Literal["nothing", "notice", "complain", "leave"]
FEELINGS: tuple[Feeling, ...] = get_args(Feeling)
Role = Literal["protected", "target"]
FELT = {**{feeling: feeling for feeling in FEELINGS}, "nothing": "notice nothing"}
HARMLESS: tuple[Feeling, ...] = ("nothing", "notice")

#: The margins in points that a brief can come to, from the widest to the tightest.
LADDER = (10.0, 5.0, 3.0, 2.0, 1.0)
#: A capability with so much of the traffic, in percent, gets the next tighter margin.
BUSY = 20.0
#: One with less than this only warns, unless users complain about 5 points.
RARE = 1.0
RULE = """\
1. The first line that fits sets the margin. Users complain or leave at 5 lost points: 3 points.
   They complain or leave at 15: 5. They notice 15 and let it pass: 10. They notice nothing: the
   capability is only watched.
2. Each of two things moves the margin one step down the ladder 10, 5, 3, 2, 1: users leave at the
   very loss that set it in rule 1, and 20 percent of the traffic or more. Both together: two steps.
3. It is never wider than what lies between the base's score and the level that must survive.
4. A loss blocks the release; below 1 percent of the traffic it only warns, unless users complain
   about 5 points."""


class BadBrief(ValueError):
    """A brief is incomplete or contradicts itself; the message names the capability and the fix."""


@dataclass(frozen=True)
class Need:
    """One capability in the brief.

    Attributes:
        level: percent right that must survive; of a target, percent right to be reached.
        traffic: percent of all requests that need it.
        at_5, at_15: what users do when 5, or 15, of 100 answers that were right are wrong.
        role: "protected", or "target" for what the fine-tune is for.
        changed: share of answers expected to change, for planning the items.
        task: the name of its results; the course's task of that name when left out.
        cluster: field of the items by which they are grouped, see the capability map.

    Raises:
        BadBrief: an answer is missing, of the wrong kind, or contradicts another.
    """

    capability: str
    level: float
    traffic: float
    at_5: Feeling = "notice"
    at_15: Feeling = "complain"
    role: Role = "protected"
    changed: float = 0.10
    task: str | None = None
    cluster: str | None = None

    def __post_init__(self) -> None:
        if not isinstance(self.capability, str) or not self.capability.isprintable():
            raise BadBrief(f"A capability needs a name in one line, not {self.capability!r}.")
        if not self.capability.strip():
            raise BadBrief("A capability needs a name.")
        self._within("level", self.level, "must lie above 0 and at most at 100", 0, 100)
        self._within("traffic", self.traffic, "must lie from 0 to 100", -1e-9, 100)
        self._within("changed", self.changed, "must lie above 0 and below 1", 0, 1 - 1e-9)
        for name in ("at_5", "at_15"):
            if getattr(self, name) not in FEELINGS:
                given = getattr(self, name)
                self._fail(f"{name} must be one of {', '.join(FEELINGS)}, not {given!r}")
        if self.role not in get_args(Role):
            self._fail(f"role must be protected or target, not {self.role!r}")
        if FEELINGS.index(self.at_15) < FEELINGS.index(self.at_5):
            self._fail(
                f"users {FELT[self.at_5]} at 5 lost points and only {FELT[self.at_15]} at 15: "
                "the greater loss cannot matter less"
            )

    def _within(self, name: str, value: object, what: str, low: float, high: float) -> None:
        is_number = isinstance(value, (int, float)) and not isinstance(value, bool)
        if not is_number or not low < value <= high:
            self._fail(f"{name} {what}, and is {value!r}")

    def _fail(self, text: str) -> None:
        raise BadBrief(f"{self.capability}: {text}.")

    @property
    def wished_margin(self) -> float | None:
        """The margin in points by rules 1 and 2, or None where the capability is only watched."""
        if self.at_15 == "nothing":
            return None
        if self.at_15 == "notice":
            step, felt = LADDER.index(10), self.at_15
        elif self.at_5 in HARMLESS:
            step, felt = LADDER.index(5), self.at_15
        else:
            step, felt = LADDER.index(3), self.at_5
        step += (felt == "leave") + (self.traffic >= BUSY)
        return LADDER[min(step, len(LADDER) - 1)]


#: A made-up shop's answers, to begin with: most requests are about its policies, the rest is what
#: its customers have come to expect of an assistant.
EXAMPLE = (
    Need("support", 85, 50, "complain", "leave", role="target", cluster="family"),
    Need("howto", 90, 20, "notice", "complain"),
    Need("reading", 90, 8, "notice", "complain"),
    Need("facts", 90, 6, "notice", "complain"),
    Need("lists", 85, 5, "nothing", "complain"),
    Need("reasoning", 90, 4, "notice", "complain"),
    Need("arithmetic", 90, 3, "notice", "leave"),
    Need("translation", 88, 1.5, "notice", "complain"),
    Need("refusal", 92, 0.5, "complain", "leave"),
    Need("sentiment", 80, 1, "nothing", "notice"),
    Need("rewriting", 80, 0.5, "nothing", "nothing"),
)
