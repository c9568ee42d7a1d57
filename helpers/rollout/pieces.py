"""From tokens to text while an answer is being written."""

from __future__ import annotations

from collections.abc import Sequence

from transformers import PreTrainedTokenizerBase

from ..decoding import TokenIds


class Pieces:
    """An answer's text, handed out in pieces that never have to be taken back.

    Three things are held back until they are certain: bytes that are no whole character yet, the
    beginning of what may become a stop text, and, where the answer is trimmed, spaces at its end.

    Args:
        stops: texts that end the answer and are not part of it.
        trim: whether spaces around the answer are left out.
    """

    def __init__(
        self, tokenizer: PreTrainedTokenizerBase, stops: Sequence[str] = (), trim: bool = False
    ) -> None:
        self.tokenizer, self.stops, self.trim = tokenizer, tuple(stops), trim
        self.stopped = False
        self._tokens: TokenIds = []
        self._start, self._spelled = 0, ""  # where the tokens begin that are spelled together
        self._held = ""
        self._begun = not trim

    def feed(self, token: int) -> str:
        """What the next token adds for certain; often a word, sometimes nothing."""
        self._tokens.append(token)
        text = self._spell(self._tokens[self._start :])
        if text.endswith("\N{REPLACEMENT CHARACTER}"):  # the first bytes of a character
            return ""
        new = text[len(self._spelled) :]
        # A token may be spelled differently after another one (SentencePiece drops the first
        # space), so the last token is spelled again with the next.
        self._start = len(self._tokens) - 1
        self._spelled = self._spell(self._tokens[self._start :])
        return self._settle(new)

    def end(self) -> str:
        """What was held back, now that nothing follows."""
        if self.stopped:
            return ""
        last = self._held + self._spell(self._tokens[self._start :])[len(self._spelled) :]
        self._held = ""
        return last.rstrip() if self.trim else last

    def _spell(self, tokens: TokenIds) -> str:
        return self.tokenizer.decode(
            tokens, skip_special_tokens=True, clean_up_tokenization_spaces=False
        )

    def _settle(self, new: str) -> str:
        text = self._held + new
        found = [place for stop in self.stops if (place := text.find(stop)) >= 0]
        if found:
            self.stopped, text, kept = True, text[: min(found)], ""
            text = text.rstrip() if self.trim else text
        else:
            kept = text[len(text) - self._doubtful(text) :]
            text = text[: len(text) - len(kept)]
        if not self._begun:
            text = text.lstrip()
            self._begun = bool(text)
        self._held = kept
        return text

    def _doubtful(self, text: str) -> int:
        """How many characters at the end may yet turn out not to belong to the answer."""
        most = 0
        for stop in self.stops:
            for length in range(min(len(stop) - 1, len(text)), most, -1):
                if text.endswith(stop[:length]):
                    most = length
                    break
        if self.trim:
            sure = text[: len(text) - most]
            most += len(sure) - len(sure.rstrip())
        return most
