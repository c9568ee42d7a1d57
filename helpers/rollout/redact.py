"""Taking out of a text what could tell who wrote it, before it is stored anywhere.

It is a net with a stated mesh, and no promise of anonymity: names and addresses in words stay. That
is why texts are kept only when asked for, and only for a time.
"""

from __future__ import annotations

import re

#: A word in which there may be an @. What is within it does not matter, so that odd and broken
#: addresses go too; and no text, however long, takes more than one reading of it.
WORD = re.compile(r"[^\s<>\"'(),;:]+")
#: Digits with at most two separators in between: 0171 234-56 78, (030) 12.34, 4111 1111 1111 1111.
DIGITS = re.compile(r"\+?\(?\d(?:[\s().\-/\u2010-\u2015·]{0,2}\d)+")
#: So many digits in a row, or in groups, are more than a sum or an order number of this shop.
LONG, GROUPED = 5, 7
#: Numbers of payment cards have so many digits (ISO/IEC 7812).
CARD = (13, 19)


def redact(text: str) -> str:
    """A text with `<email>`, `<card>` and `<number>` in place of what looks like one.

    A card is 13 to 19 digits, in groups or not, whether or not its check digit fits. A number is
    five digits or more in a row, or seven in groups, such as those of a telephone. Shorter ones
    stay: without its 48 and 46 nobody could tell what a model got wrong.
    """
    return DIGITS.sub(_without_digits, WORD.sub(_without_address, text))


def _without_address(found: re.Match) -> str:
    return "<email>" if "@" in found[0].strip("@.") else found[0]


def _without_digits(found: re.Match) -> str:
    count = sum(letter.isdigit() for letter in found[0])
    if CARD[0] <= count <= CARD[1]:
        return "<card>"
    if count >= GROUPED or re.search(rf"\d{{{LONG}}}", found[0]):
        return "<number>"
    return found[0]
