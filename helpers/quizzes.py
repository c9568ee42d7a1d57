"""The quiz at the end of a lesson: `quiz("01")` reads data/quizzes/01.json.

The file is a list of questions, each with options of which exactly one is correct and all of which
say why; and at most one open question with a hint:

    [{"question": "…", "options": [{"text": "…", "correct": true, "why": "…"}, …]},
     {"open": "…", "hint": "…"}]
"""

from __future__ import annotations

import html
import json
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import ipywidgets

from .paths import DATA
from .widgets.faces import bundle

FOLDER = DATA / "quizzes"
# Long options wrap beside their button; by default a label has the height of one line. Within a
# label, ipywidgets puts the text before the button, hence the reversed row.
STYLE = (
    "<style>.course-quiz .widget-radio-box label {display: flex; flex-direction: row-reverse; "
    "justify-content: flex-end; align-items: baseline; gap: 0.5em; height: auto; width: auto; "
    "max-width: 60em; margin: 0 0 0.3em; white-space: normal; line-height: 1.4;}"
    ".course-quiz .widget-radio-box {width: auto;}"
    ".course-quiz .widget-radio-box input {flex: none; align-self: flex-start; margin: 0;}"
    "</style>"
)


class QuizError(ValueError):
    """A quiz file is not as it should be; the message says where."""


def quiz(name: str) -> Quiz:
    """The quiz of a lesson such as "01".

    Raises:
        FileNotFoundError: there is no such quiz; the message names those there are.
        QuizError: the file is malformed.
    """
    path = FOLDER / f"{name}.json"
    if not path.exists():
        known = ", ".join(sorted(file.stem for file in FOLDER.glob("*.json"))) or "none"
        raise FileNotFoundError(f"There is no quiz {name!r}. Known: {known}.")
    return Quiz(read_quiz(path))


def read_quiz(path: Path) -> list[dict[str, Any]]:
    """Read and validate a quiz file.

    Raises:
        QuizError: naming the file, the entry and what is wrong with it.
    """
    try:
        entries = json.loads(path.read_text(encoding="utf-8"))
    except ValueError as error:
        raise QuizError(f"{path.name}: not JSON ({error})") from None
    if not isinstance(entries, list) or not entries:
        raise QuizError(f"{path.name}: should be a list of questions")
    for number, entry in enumerate(entries, start=1):
        if mistake := _mistake(entry):
            raise QuizError(f"{path.name}, entry {number}: {mistake}")
    if sum("open" in entry for entry in entries) > 1:
        raise QuizError(f"{path.name}: more than one open question")
    return entries


def _mistake(entry: Any) -> str | None:
    """What is wrong with one entry of a quiz file, or None."""
    if not isinstance(entry, dict):
        return "should be an object"
    if "open" in entry:
        return _empty(entry, "open", "hint")
    if mistake := _empty(entry, "question"):
        return mistake
    options = entry.get("options")
    if not isinstance(options, list) or len(options) < 2:
        return '"options" should be a list of two or more'
    for place, option in enumerate(options, start=1):
        if not isinstance(option, dict) or not isinstance(option.get("correct"), bool):
            return f'option {place} should have "correct": true or false'
        if mistake := _empty(option, "text", "why"):
            return f"option {place}: {mistake}"
    if (right := sum(option["correct"] for option in options)) != 1:
        return f"exactly one option should be correct, not {right}"
    if len({option["text"] for option in options}) < len(options):
        return "two options have the same text"
    return None


def _empty(entry: dict[str, Any], *keys: str) -> str | None:
    for key in keys:
        if not isinstance(entry.get(key), str) or not entry[key].strip():
            return f'"{key}" is missing or empty'
    return None


@dataclass
class Question:
    """One question with its widgets; `entry` is as in the file."""

    number: int
    entry: dict[str, Any]
    radio: ipywidgets.RadioButtons = field(init=False)
    button: ipywidgets.Button = field(init=False)
    feedback: ipywidgets.HTML = field(init=False)

    def __post_init__(self) -> None:
        labels = [(option["text"], place) for place, option in enumerate(self.entry["options"])]
        self.radio = ipywidgets.RadioButtons(
            options=labels, value=None, layout=ipywidgets.Layout(width="auto")
        )
        self.button = ipywidgets.Button(
            description="Check", tooltip=f"Check the answer to question {self.number}"
        )
        self.feedback = ipywidgets.HTML()
        self.button.on_click(self.answer)

    def answer(self, _button: ipywidgets.Button | None = None) -> None:
        """Explain the option that is chosen."""
        if self.radio.value is None:
            verdict, why = "Choose an option first.", ""
        else:
            option = self.entry["options"][self.radio.value]
            verdict, why = ("Right." if option["correct"] else "Not quite."), option["why"]
        self.feedback.value = (
            f'<div role="status"><strong>{verdict}</strong> {html.escape(why)}</div>'
        )

    def title(self) -> str:
        """The question as HTML."""
        return f"<p><strong>{self.number}.</strong> {html.escape(self.entry['question'])}</p>"


class Quiz:
    """A quiz with three faces: widgets in a live notebook, HTML in a saved one, and plain text."""

    def __init__(self, entries: list[dict[str, Any]]) -> None:
        closed = [entry for entry in entries if "open" not in entry]
        self.questions = [Question(number, entry) for number, entry in enumerate(closed, start=1)]
        self.open = next((entry for entry in entries if "open" in entry), None)
        parts: list[ipywidgets.Widget] = [ipywidgets.HTML(STYLE)]
        for question in self.questions:
            title = ipywidgets.HTML(question.title())
            parts += [title, question.radio, question.button, question.feedback]
        self.widget = ipywidgets.VBox([*parts, ipywidgets.HTML(self._open_html())])
        self.widget.add_class("course-quiz")

    def _open_html(self) -> str:
        if self.open is None:
            return ""
        hint = f"<details><summary>Hint</summary>{html.escape(self.open['hint'])}</details>"
        return f"<p><strong>Open question.</strong> {html.escape(self.open['open'])}</p>{hint}"

    def _repr_html_(self) -> str:
        parts = []
        for question in self.questions:
            options = question.entry["options"]
            texts = "".join(f"<li>{html.escape(option['text'])}</li>" for option in options)
            reasons = "".join(
                f"<li>{'<strong>Right.</strong>' if option['correct'] else 'Not quite.'} "
                f"{html.escape(option['why'])}</li>"
                for option in options
            )
            parts.append(
                f'{question.title()}<ol type="A">{texts}</ol>'
                f'<details><summary>Answer</summary><ol type="A">{reasons}</ol></details>'
            )
        return "".join(parts) + self._open_html()

    def __repr__(self) -> str:
        lines = []
        for question in self.questions:
            lines.append(f"{question.number}. {question.entry['question']}")
            for letter, option in zip("ABCDEFGHIJ", question.entry["options"], strict=False):
                lines.append(f"   {letter}. {option['text']}")
        return "\n".join(lines + ([f"Open question. {self.open['open']}"] if self.open else []))

    def _repr_mimebundle_(self, include: Any = None, exclude: Any = None) -> dict[str, Any]:
        return bundle(self.widget, repr(self), html=self._repr_html_())
