"""Who gets which version: the same user the same one, in every process and after every restart.

A keyed hash gives every user a fixed place in [0, 1), and the candidate answers those whose place
is below its share. Nobody has to be remembered. When the share grows, users join and nobody leaves.
"""

from __future__ import annotations

import hashlib
from typing import Literal

from .errors import BadSetting

Arm = Literal["candidate", "control", "holdout"]

#: Shorter keys can be guessed; BLAKE2b takes no longer ones.
KEY_BYTES = (16, 64)


class Router:
    """Assigns users to arms.

    The hash is BLAKE2b (Aumasson et al. 2013; RFC 7693) with a secret key: who does not have the
    key can neither choose a user id that gets the candidate nor undo the hashes in the telemetry.
    What a user's place is, whether they are held out, and what they are called in the telemetry
    come from three unrelated hashes, so that none of them tells anything about another.

    Args:
        key: 16 to 64 secret bytes, such as `secrets.token_bytes(32)`. Keep it: with another key
            every user would be placed anew.
        holdout: the share of users, in [0, 1), who never get a candidate, however wide it is
            staged. They are who a finished rollout is compared with. Keep it as it is during a
            rollout.

    Raises:
        BadSetting: the key or the holdout is not of that kind.
    """

    def __init__(self, key: bytes, holdout: float = 0.0) -> None:
        self._key = _checked(key)
        if not 0 <= holdout < 1:
            raise BadSetting(f"holdout is a share of users from 0 to below 1, not {holdout}.")
        self.holdout = holdout

    def place(self, user: str) -> float:
        """A user's place in [0, 1), uniform over users: 53 bits of the hash, as many as fit."""
        return _uniform(self._key, user, b"place")

    def arm(self, user: str, share: float) -> Arm:
        """The arm of a user while the candidate is staged at a share of the users, 0 to 1.

        Only users who are not held out are shared out: at 0.05 the candidate gets 5 % of those.

        Raises:
            BadSetting: the share is not in [0, 1], or the user is no name.
        """
        if not 0 <= share <= 1:
            raise BadSetting(f"A share is between 0 and 1, not {share}.")
        if _uniform(self._key, user, b"holdout") < self.holdout:
            return "holdout"
        return "candidate" if self.place(user) < share else "control"

    def user_hash(self, user: str) -> str:
        """What telemetry calls a user: 32 hexadecimal digits."""
        return user_hash(self._key, user)


def user_hash(key: bytes, user: str) -> str:
    """The keyed hash of a user id: 32 hexadecimal digits, always the same with the same key.

    Raises:
        BadSetting: the key is too short or too long, or the user is no name.
    """
    return _hash(_checked(key), user, b"telemetry").hex()[:32]


def _uniform(key: bytes, user: str, what_for: bytes) -> float:
    number = int.from_bytes(_hash(key, user, what_for)[:8], "big")
    return (number >> 11) / 2**53


def _hash(key: bytes, user: str, what_for: bytes) -> bytes:
    if not isinstance(user, str) or not user:
        raise BadSetting(f"A user id is a text that is not empty, not {user!r}.")
    # "surrogatepass": a broken id from a network is still an id.
    data = user.encode("utf-8", "surrogatepass")
    return hashlib.blake2b(data, digest_size=32, key=key, person=what_for).digest()


def _checked(key: bytes) -> bytes:
    low, high = KEY_BYTES
    if not isinstance(key, bytes) or not low <= len(key) <= high:
        given = f"{len(key)} bytes" if isinstance(key, bytes) else type(key).__name__
        raise BadSetting(f"A key is {low} to {high} secret bytes, not {given}.")
    return key
