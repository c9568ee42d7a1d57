"""Taking out of a text what could tell who wrote it, before it is stored anywhere.

It is a net with a stated mesh, and no promise of anonymity: names and addresses in words stay. That
is why texts are kept only when asked for, and only for a time.
"""

from __future__ import annotations

import re
from collections.abc import Callable

#: A word in which there may be an @. What is within it does not matter, so that odd and broken
#: addresses go too; and no text, however long, takes more than one reading of it.
WORD = re.compile(r"[^\s<>\"'(),;:]+")
#: Digits with at most two separators in between: 0171 234-56 78, (030) 12.34, 4111 1111 1111 1111.
DIGITS = re.compile(r"\+?\(?\d(?:[\s().\-/\u2010-\u2015·]{0,2}\d)+")
#: Country, two check digits, and up to 30 more signs, in groups of four or not (ISO 13616).
ACCOUNT = re.compile(r"\b[A-Z]{2}\d{2}(?:\s?[A-Z0-9]{4}){2,7}(?:\s?[A-Z0-9]{1,3})?\b")
#: Letters and digits in one long run: an API key, a token, a password that a program made.
SECRET = re.compile(r"[A-Za-z0-9_\-]{16,}")
#: So many digits in a row, or in groups, are more than a sum or an order number of this shop.
LONG, GROUPED = 5, 7
#: Numbers of payment cards have so many digits (ISO/IEC 7812).
CARD = (13, 19)


def redact(text: str, is_user: Callable[[str], bool] = lambda word: False) -> str:
    """A text with `<email>`, `<account>`, `<card>`, `<number>`, `<key>` and `<user>` in it.

    Each stands in place of what looks like one. A card is 13 to 19 digits, in groups or not,
    whether or not its check digit fits. A number is five digits or more in a row, or seven in
    groups, such as those of a telephone. Shorter ones stay: without its 48 and 46 nobody could tell
    what a model got wrong. An account is an IBAN, and a key a run of 16 signs or more that has both
    letters and digits.

    Args:
        is_user: whether a word is the id of whom the text is from.
    """

    def without_user(found: re.Match) -> str:
        word = found[0].strip(".!?")
        return found[0].replace(word, "<user>") if word and is_user(word) else found[0]

    text = WORD.sub(_without_address, WORD.sub(without_user, text))
    text = SECRET.sub(_without_secret, ACCOUNT.sub(_without_account, text))
    return DIGITS.sub(_without_digits, text)


def _without_account(found: re.Match) -> str:
    # Else it is an order number in a text of capitals.
    return "<account>" if sum(letter.isdigit() for letter in found[0]) >= 8 else found[0]


def _without_secret(found: re.Match) -> str:
    mixed = re.search(r"[A-Za-z]", found[0]) and re.search(r"\d", found[0])
    return "<key>" if mixed else found[0]


def _without_address(found: re.Match) -> str:
    word = found[0].strip(".")
    # What is left of "an odd name"@example.org begins with the @, and so does @home, which stays.
    host = word.startswith("@") and "." in word
    return "<email>" if "@" in word.strip("@") or host else found[0]


def _without_digits(found: re.Match) -> str:
    count = sum(letter.isdigit() for letter in found[0])
    if CARD[0] <= count <= CARD[1]:
        return "<card>"
    if count >= GROUPED or re.search(rf"\d{{{LONG}}}", found[0]):
        return "<number>"
    return found[0]
