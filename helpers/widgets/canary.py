"""The laboratory of the canary: how soon harm is found, how often falsely, and whom it costs."""

from __future__ import annotations

import functools
import math
from collections.abc import Iterator
from typing import NamedTuple

import ipywidgets
import numpy
from matplotlib.artist import Artist
from matplotlib.backends.backend_agg import FigureCanvasAgg
from matplotlib.figure import Figure

from ..plotting.labels import label_line_ends
from ..plotting.style import BLUE, FONT_SIZE, GREY, THINGS, dress
from ..rollout.canary import Verdict
from ..rollout.rollouts import Method, Outcomes, rollouts
from ..rollout.traffic import USUAL
from .controls import picture, row, slider, status
from .faces import show
from .frame import Frame

SHARES = (1, 2, 5, 10, 25, 50)
TRAFFIC = (50, 100, 200, 400, 1000, 2000)
HARMS = (0, 1, 2, 3, 4, 5, 7, 10)
MARGINS = (1, 2, 3, 5, 10)
TESTS: dict[str, Method] = {
    "monitor, looked at all the time": "anytime",
    "fixed test, peeked at": "peeking",
    "fixed test, looked at once": "once",
}
#: Hours of a rollout, between looks, and that feedback is waited for.
HOURS, EVERY, WINDOW = 72.0, 0.1, 1.0
ALPHA = 0.05
#: Simulated rollouts of the chosen setting, and of each of the other shares.
COUNT, BESIDE = 400, 100


class Setting(NamedTuple):
    """Percent of the users, answers per hour, points of extra harm and of margin, and the test."""

    share: int
    per_hour: int
    harm: int
    margin: int
    test: Method = "anytime"


@functools.lru_cache(maxsize=512)
def simulated(setting: Setting, harm: int, count: int = COUNT) -> Outcomes:
    """Rollouts with another true harm than the setting's, but tested as the setting says.

    The fixed test that is looked at once is planned for the setting's harm, with a power of .8.
    """
    return rollouts(
        setting.share / 100, USUAL, USUAL + harm / 100, setting.margin, ALPHA, setting.per_hour,
        HOURS, WINDOW, method=setting.test, planned=USUAL + setting.harm / 100, count=count,
        every=EVERY,
    )  # fmt: skip


def words(setting: Setting) -> str:
    """What the sliders have chosen, and what follows, in sentences."""
    found = simulated(setting, setting.harm)
    back, told = 100 * found.rate("roll back"), _points(setting.harm)
    name = {"anytime": "the monitor", "peeking": "the fixed test, peeked at every 6 minutes,",
            "once": "the fixed test, looked at once,"}[setting.test]  # fmt: skip
    text = f"At {setting.share} % of the users and {setting.per_hour:,} answers an hour, {name} "
    if setting.harm > setting.margin:
        text += f"rolls back a candidate with {told} of extra harm in {back:.0f} of 100 rollouts"
        text += f" within {HOURS:g} hours; {_half(found, 'roll back', 'rolled back')}. "
        text += f"Until the verdict {_users(found)}. "
        false = 100 * simulated(setting, setting.margin).rate("roll back")
        text += f"A candidate that harms by just the margin of {_points(setting.margin)} is rolled "
        text += f"back in {false:.0f} of 100: false alarms. "
    else:
        text += f"rolls back a candidate with {told} of extra harm, which the margin of "
        text += f"{_points(setting.margin)} allows, in {back:.0f} of 100 rollouts within "
        text += f"{HOURS:g} hours: false alarms. "
        if setting.test == "anytime":
            on = 100 * found.rate("widen")
            text += f"It lets {on:.0f} of 100 through; {_half(found, 'widen', 'let through')}. "
        if setting.harm:
            text += f"Until then {_users(found)}. "
    return text + (
        f"Simulated: {COUNT} rollouts, which leaves up to {_points(_doubt(found))} of doubt; the "
        f"old version harms {100 * USUAL:g} %, feedback is waited for {WINDOW:g} hour."
    )


def _points(points: int) -> str:
    return f"{points} point{'s' * (points != 1)}"


def _hours(hours: float) -> str:
    return f"{hours:.0f}" if hours >= 10 else f"{hours:.1f}"


def _half(found: Outcomes, verdict: Verdict, done: str) -> str:
    """How long half of the rollouts take to a verdict, and where all but the tails lie."""
    first, middle, last = (found.within(part, verdict) for part in (0.1, 0.5, 0.9))
    if numpy.isinf(first):
        return f"fewer than 1 in 10 are {done} by then"
    if numpy.isinf(middle):
        return f"fewer than half are {done} by then, the first tenth within {_hours(first)} hours"
    text = f"half are {done} within {_hours(middle)} hours, the first tenth within {_hours(first)}"
    return text if numpy.isinf(last) else f"{text} and nine tenths within {_hours(last)}"


def _users(found: Outcomes) -> str:
    low, middle, high = (f"{float(f'{part:.2g}'):,g}" for part in _extra(found))
    text = f"about {middle} users more are harmed than the old version would have harmed"
    return text if low == high else f"{text} (10 to 90 %: {low} to {high})"


def _extra(found: Outcomes) -> numpy.ndarray:
    """Users harmed more: the 10, 50 and 90 percent quantiles over rollouts."""
    return numpy.quantile(found.extra, [0.1, 0.5, 0.9])


def _doubt(found: Outcomes) -> int:
    """Two standard errors of the most uncertain share, in points, rounded up."""
    return math.ceil(200 * max(found.error("roll back"), found.error("widen"), 0.005))


class CanaryLab:
    """Sliders for users, traffic, true harm and margin, and a menu for the test that watches.

    All numbers are of `helpers.rollout.rollouts.rollouts`, computed when a slider is let go.
    """

    def __init__(self) -> None:
        self.share = slider("users (%)", SHARES, 5)
        self.traffic = slider("answers/hour", TRAFFIC, 400)
        self.harm = slider("harm (points)", HARMS, 5)
        self.margin = slider("margin (points)", MARGINS, 1)
        self.test = ipywidgets.Dropdown(
            options=list(TESTS.items()), value="anytime", description="test",
            style={"description_width": "8em"}, layout=ipywidgets.Layout(width="27em"),
        )  # fmt: skip
        self.told, self.image = ipywidgets.HTML(), picture()
        self.frame = self._frame()
        knobs = (self.share, self.traffic, self.harm, self.margin, self.test)
        for knob in knobs:
            knob.observe(self._moved, names="value")
        self.widget = ipywidgets.VBox([row(*knobs), self.told, self.image])
        self.widget.add_class("course-canary")
        self.draw()

    def setting(self) -> Setting:
        """What the sliders have chosen."""
        knobs = (self.share, self.traffic, self.harm, self.margin, self.test)
        return Setting(*(knob.value for knob in knobs))

    def draw(self) -> None:
        """Bring figure and sentences up to date."""
        self.told.value = status(words(self.setting()))
        setting = self.setting()
        self.image.value = self.frame.render([*self._curves(setting), *self._costs(setting)])

    def _moved(self, _change: object) -> None:
        self.draw()

    def _frame(self) -> Frame:
        figure = Figure(figsize=(9, 4.2), facecolor="white")
        FigureCanvasAgg(figure)
        self.left = left = figure.add_axes((0.075, 0.19, 0.39, 0.72))
        self.right = right = figure.add_axes((0.685, 0.19, 0.3, 0.72))
        for ax in (left, right):
            dress(ax)
        ticks = (1, 2, 4, 8, 24, 72)
        left.set(xscale="log", xlim=(1, HOURS), ylim=(-2, 102))
        left.set_xticks(ticks, [str(tick) for tick in ticks])
        left.set_xlabel("hours since the rollout began", size=FONT_SIZE)
        left.set_ylabel("rollouts (%)", size=FONT_SIZE)
        left.axhline(100 * ALPHA, color="#333333", linestyle=":", linewidth=1.2)
        right.set(xscale="log", xlim=(0.8, 63), ylim=(-0.5, 20_000))
        right.set_yscale("symlog", linthresh=1)
        right.set_xticks(SHARES, [str(share) for share in SHARES])
        counts = (0, 1, 10, 100, 1000, 10_000)
        right.set_yticks(counts, [f"{count:,}" for count in counts])
        right.set_xlabel("users with the candidate (%)\nline: 10 to 90 % of the rollouts",
                         size=FONT_SIZE)  # fmt: skip
        right.set_title("extra users harmed until verdict", size=FONT_SIZE)
        for ax in (left, right):
            ax.minorticks_off()
        return Frame(figure)

    def _curves(self, setting: Setting) -> Iterator[Artist]:
        """Left: how many rollouts have come to a verdict by each hour."""
        found = simulated(setting, setting.harm)
        lines = [("rolled back", found, "roll back", THINGS["candidate"].colour, "-")]
        if setting.test == "anytime":
            lines.append(("let through", found, "widen", BLUE, "-."))
        if setting.harm != setting.margin:
            border = simulated(setting, setting.margin)
            lines.append(("rolled back\nat the margin", border, "roll back", GREY, "--"))
        hours = numpy.geomspace(1, HOURS, 150)
        ends = [(100 * ALPHA, "alpha", "#333333")]
        for name, outcomes, verdict, colour, dashes in lines:
            taken = numpy.where(outcomes.verdict == verdict, outcomes.hours, numpy.inf)
            rates = 100 * (taken[:, None] <= hours).mean(axis=0)
            yield from self.left.plot(hours, rates, color=colour, linestyle=dashes, linewidth=2.6)
            ends.append((rates[-1], name, colour))
        yield from label_line_ends(self.left, HOURS, ends)

    def _costs(self, setting: Setting) -> Iterator[Artist]:
        """Right: users harmed more than the old version would have harmed, by share."""
        colour = THINGS["candidate"].colour
        for share in SHARES:
            here = share == setting.share
            found = simulated(setting._replace(share=share), setting.harm,
                              COUNT if here else BESIDE)  # fmt: skip
            low, middle, high = _extra(found)
            yield from self.right.plot([share, share], [low, high], color=colour, linewidth=2)
            edge = {"markeredgecolor": "black", "markeredgewidth": 1.5} if here else {}
            yield from self.right.plot(share, middle, color=colour, marker="o",
                                       markersize=11 if here else 6, **edge)  # fmt: skip

    def _ipython_display_(self) -> None:
        show(self.widget, self.image.value, words(self.setting()))

    def __repr__(self) -> str:
        return words(self.setting())
