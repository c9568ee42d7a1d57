"""The capability retention brief as a form: answers on the left, the map they lead to below."""

from __future__ import annotations

import html
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

import ipywidgets

from ..scope.brief import Brief
from ..scope.needs import EXAMPLE, FEELINGS, BadBrief, Need
from .controls import row, status
from .faces import bundle

LEFT_OUT = "left out"
ROLES = ("protected", "target", LEFT_OUT)


class NeedRow:
    """The controls of one capability. Every one is reached by Tab and set by keys."""

    def __init__(self, need: Need) -> None:
        self.need = need
        name = html.escape(need.capability)
        self.name = ipywidgets.HTML(f"<strong>{name}</strong>", layout={"width": "7em"})
        self.role = self._choice("role", ROLES, need.role)
        self.level = self._number("level %", need.level)
        self.traffic = self._number("traffic %", need.traffic)
        self.at_5 = self._choice("5 lost: users", FEELINGS, need.at_5)
        self.at_15 = self._choice("15 lost: users", FEELINGS, need.at_15)
        self.controls = (self.role, self.level, self.traffic, self.at_5, self.at_15)
        self.widget = row(self.name, *self.controls)

    def _choice(self, label: str, options: Sequence[str], value: str) -> ipywidgets.Dropdown:
        return ipywidgets.Dropdown(options=options, value=value, **self._look(label, 15))

    def _number(self, label: str, value: float) -> ipywidgets.BoundedFloatText:
        look = self._look(label, 10.5)
        return ipywidgets.BoundedFloatText(value=value, min=0, max=100, step=0.5, **look)

    def _look(self, label: str, width: float) -> dict[str, Any]:
        width -= 0 if len(label) > 10 else 2
        return {
            "description": label,
            "style": {"description_width": "initial"},
            "layout": ipywidgets.Layout(width=f"{width}em"),
        }

    def read(self) -> Need | None:
        """What the controls say; None for a capability that is left out.

        Raises:
            BadBrief: the answers contradict each other.
        """
        if self.role.value == LEFT_OUT:
            return None
        return Need(
            self.need.capability,
            self.level.value,
            self.traffic.value,
            self.at_5.value,
            self.at_15.value,
            self.role.value,
            self.need.changed,
            self.need.task,
            self.need.cluster,
        )


class BriefForm:
    """A form with one row a capability; a button writes the capability map.

    Args:
        needs: what the form opens with; a made-up shop's answers when left out.
        base: the base's scores in percent, where they are known.
        path: the file that the button writes.
    """

    def __init__(
        self,
        needs: Sequence[Need] = EXAMPLE,
        base: Mapping[str, float] | None = None,
        path: str | Path = "capability_map.yaml",
    ) -> None:
        self.base, self.path = dict(base or {}), Path(path)
        self.rows = [NeedRow(need) for need in needs]
        self.button = ipywidgets.Button(
            description=f"Write {self.path.name}",
            button_style="primary",
            layout=ipywidgets.Layout(width="auto"),
        )
        self.told, self.table = ipywidgets.HTML(), ipywidgets.HTML()
        for line in self.rows:
            for control in line.controls:
                control.observe(self._changed, names="value")
        self.button.on_click(self.write)
        self.widget = ipywidgets.VBox(
            [*(line.widget for line in self.rows), row(self.button), self.told, self.table]
        )
        self.widget.add_class("course-brief")
        self.draw()

    def brief(self) -> Brief:
        """The brief as the form has it now.

        Raises:
            BadBrief: answers are missing or contradict each other.
        """
        needs = [need for line in self.rows if (need := line.read())]
        return Brief(tuple(needs), self.base)

    def draw(self) -> None:
        """Bring the table up to date, or say what is wrong with the answers."""
        try:
            brief = self.brief()
        except BadBrief as error:
            self.told.value, self.table.value = status(f"Not yet a brief. {error}"), ""
        else:
            self.told.value, self.table.value = status(brief.remark), brief._repr_html_()

    def write(self, _button: ipywidgets.Button | None = None) -> None:
        """Write the map, or say why there is none to write."""
        try:
            path = self.brief().save(self.path)
        except (BadBrief, OSError) as error:
            self.told.value = status(f"Nothing was written. {error}")
        else:
            self.told.value = status(f"Written: {path}. The audit reads it as its map.")

    def _changed(self, _change: object) -> None:
        self.draw()

    def __repr__(self) -> str:
        try:
            return repr(self.brief())
        except BadBrief as error:
            return f"Not yet a brief. {error}"

    def _repr_html_(self) -> str:
        try:
            return self.brief()._repr_html_()
        except BadBrief:
            return f"<p>{html.escape(repr(self))}</p>"

    def _repr_mimebundle_(self, include: Any = None, exclude: Any = None) -> dict[str, Any]:
        return bundle(self.widget, repr(self), html=self._repr_html_())
