"""The quiz of a lesson: `quiz("01")` shows data/quizzes/01.json, whose form is in `quiz_files`."""

from __future__ import annotations

import html
import math
from typing import Any

import ipywidgets

from .quiz_files import FOLDER, QuizError, closed, read_quiz
from .widgets.faces import bundle

__all__ = ["FOLDER", "Quiz", "QuizError", "quiz", "read_quiz"]

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
#: In a saved page, which must not give the answers away to those who have yet to think.
ANSWERS_ELSEWHERE = (
    "The answers, each with its reason: run the cell and choose, or look into the same notebook in "
    "solutions/."
)


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


class Question:
    """One question with its widgets; `entry` is as in the file."""

    def __init__(self, number: int, entry: dict[str, Any]) -> None:
        self.number, self.entry = number, entry
        self.field = self._field()
        self.button = ipywidgets.Button(
            description="Check", tooltip=f"Check the answer to question {number}"
        )
        self.feedback = ipywidgets.HTML()
        self.button.on_click(self.answer)

    def _field(self) -> ipywidgets.Widget:
        raise NotImplementedError

    def judge(self) -> tuple[str, str]:
        """The verdict on what is entered, and its reason."""
        raise NotImplementedError

    def answer(self, _button: ipywidgets.Button | None = None) -> None:
        """Explain what is entered."""
        verdict, why = self.judge()
        self.feedback.value = (
            f'<div role="status"><strong>{verdict}</strong> {html.escape(why)}</div>'
        )

    def title(self) -> str:
        """The question and its evidence as HTML."""
        asked = f"<p><strong>{self.number}.</strong> {html.escape(self.entry['question'])}</p>"
        lines = self.entry.get("evidence")
        # A bare pre is proportional in pages that nbconvert makes.
        return asked + (
            f"<pre><code>{html.escape(chr(10).join(lines))}</code></pre>" if lines else ""
        )

    def told(self) -> str:
        """The question and its evidence as plain text."""
        evidence = [f"   {line}" for line in self.entry.get("evidence", [])]
        return "\n".join([f"{self.number}. {self.entry['question']}", *evidence])


class Choice(Question):
    """A question with options, of which one is right."""

    def _field(self) -> ipywidgets.Widget:
        labels = [(option["text"], place) for place, option in enumerate(self.entry["options"])]
        return ipywidgets.RadioButtons(
            options=labels, value=None, layout=ipywidgets.Layout(width="auto")
        )

    def judge(self) -> tuple[str, str]:
        if self.field.value is None:
            return "Choose an option first.", ""
        option = self.entry["options"][self.field.value]
        return ("Right." if option["correct"] else "Not quite."), option["why"]

    def saved(self) -> str:
        """The options as HTML, without a word on which is right."""
        # Letters as text: some pages that show a saved notebook would number a list by digits.
        options = zip("ABCDEFGHIJ", self.entry["options"], strict=False)
        return "".join(f"<p>{a}. {html.escape(option['text'])}</p>" for a, option in options)

    def told(self) -> str:
        options = zip("ABCDEFGHIJ", self.entry["options"], strict=False)
        return "\n".join([super().told(), *(f"   {a}. {option['text']}" for a, option in options)])


class Number(Question):
    """A question whose answer is a number within a range."""

    def _field(self) -> ipywidgets.Widget:
        return ipywidgets.Text(
            placeholder=f"a number, in {self.entry['number']['unit']}",
            description="Answer",
            layout=ipywidgets.Layout(width="24em"),
        )

    def judge(self) -> tuple[str, str]:
        number = self.entry["number"]
        text = self.field.value.strip().removesuffix(number["unit"]).rstrip(" %")
        try:
            given = float(text.replace(",", ".").replace("−", "-"))
        except ValueError:
            given = math.nan
        if not math.isfinite(given):
            return "Enter a number first.", "Digits alone, such as 12 or 0.5."
        if given < number["low"]:
            return "Too low.", number["below"]
        if given > number["high"]:
            return "Too high.", number["above"]
        return "Right.", number["why"]

    def saved(self) -> str:
        """Where the answer goes, as HTML."""
        return f"<p>A number, in {html.escape(self.entry['number']['unit'])}.</p>"

    def told(self) -> str:
        return f"{super().told()}\n   (a number, in {self.entry['number']['unit']})"


class Quiz:
    """A quiz with three faces: widgets in a live notebook, HTML in a saved one, and plain text."""

    def __init__(self, entries: list[dict[str, Any]]) -> None:
        self.questions = [
            (Number if "number" in entry else Choice)(number, entry)
            for number, entry in enumerate(closed(entries), start=1)
        ]
        self.open = next((entry for entry in entries if "open" in entry), None)
        parts: list[ipywidgets.Widget] = [ipywidgets.HTML(STYLE)]
        for question in self.questions:
            title = ipywidgets.HTML(question.title())
            parts += [title, question.field, question.button, question.feedback]
        self.widget = ipywidgets.VBox([*parts, ipywidgets.HTML(self._open_html())])
        self.widget.add_class("course-quiz")

    def _open_html(self) -> str:
        if self.open is None:
            return ""
        hint = f"<details><summary>Hint</summary>{html.escape(self.open['hint'])}</details>"
        return f"<p><strong>Open question.</strong> {html.escape(self.open['open'])}</p>{hint}"

    def _repr_html_(self) -> str:
        parts = [question.title() + question.saved() for question in self.questions]
        return "".join(parts) + f"<p>{ANSWERS_ELSEWHERE}</p>" + self._open_html()

    def __repr__(self) -> str:
        lines = [question.told() for question in self.questions]
        return "\n".join(lines + ([f"Open question. {self.open['open']}"] if self.open else []))

    def _repr_mimebundle_(self, include: Any = None, exclude: Any = None) -> dict[str, Any]:
        return bundle(self.widget, repr(self), html=self._repr_html_())
