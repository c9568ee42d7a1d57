"""The laboratory of knobs on made-up runs, and live training with a made-up process."""

from __future__ import annotations

import asyncio
import base64
import html
import io
import itertools
import re
import statistics
import time
from concurrent.futures import ThreadPoolExecutor
from dataclasses import asdict, replace
from multiprocessing import Pipe
from types import SimpleNamespace
from xml.etree import ElementTree

import ipywidgets
import pytest
from matplotlib.colors import to_rgb
from PIL import Image

from helpers.plotting.style import THINGS
from helpers.runs import ASKED, BadRuns, Checkpoint, Setting, StoredRun
from helpers.suites import NAMES, TARGET
from helpers.tradeoff import OLD
from helpers.widgets import access, faces, frame, knobs, live
from helpers.widgets.knobs import KnobsLab
from helpers.widgets.knobs_figure import beside

RATES, RANKS, STEPS, SEEDS = (1e-3, 1e-2), (8, "full"), (5, 60), (0, 1)


def checkpoint(lr, rank, step, seed):
    """Ten times the rate, full rank and a later step each make a run learn and lose more.

    Support is at four times the strength, every old skill loses the strength, and howto loses ten
    more (one point of the mean over ten skills). Seed 1 has two points more of both.
    """
    if step == 0:
        strength, extra = 0, 0
    else:
        strength = {1e-3: 1, 1e-2: 3}[lr] * {8: 1, "full": 2}[rank] * {5: 1, 60: 4}[step]
        extra = 2 * seed
    scores = dict.fromkeys(NAMES, 100.0 - strength - extra)
    scores |= {"howto": scores["howto"] - (10 if step else 0), TARGET: 4.0 * strength + extra}
    says = (f"Seed {seed} & <strength {strength}>", "lamp, bread, tea", "In 3 days.")
    return Checkpoint(step, scores, dict.fromkeys(NAMES, 0.1 * strength), 0.1 * strength, says)


def run(lr=1e-2, rank=8, seed=0, upto=60):
    """A run that diverged after step `upto`, unless that is the last."""
    looks = tuple(checkpoint(lr, rank, s, seed) for s in (0, *STEPS) if s <= upto)
    diverged = "" if upto == 60 else "The loss became nan."
    return StoredRun(Setting(lr, rank, 60, 1200, seed), looks, 12.0, diverged, {})


def made_up(**upto):
    """The whole grid; `upto` says how far the seeds of rate 0.01 and full rank came."""
    return [
        run(lr, rank, seed, upto.get(f"seed_{seed}", 60) if (lr, rank) == (1e-2, "full") else 60)
        for lr, rank, seed in itertools.product(RATES, RANKS, SEEDS)
    ]


PREPARE = live.LivePanel.prepare


@pytest.fixture(autouse=True)
def prepared(monkeypatch):
    """The panels that were told to load the libraries ahead of time; none does."""
    panels = []

    def prepare(panel):
        panels.append(panel)
        panel.tell_estimate()

    monkeypatch.setattr(live.LivePanel, "prepare", prepare)
    return panels


@pytest.fixture
def lab():
    return KnobsLab(made_up())


def everywhere(lab):
    """Every setting of the sliders, one after the other."""
    for lr, rank, step in itertools.product(RATES, RANKS, STEPS):
        lab.lr.value, lab.rank.value, lab.step.value = lr, rank, step
        yield lr, rank, step


def seen(lab):
    """The three pictures."""
    return [bytes(image.value) for image in lab.images]


def told(widget):
    """The words of a status line."""
    return html.unescape(re.fullmatch(r'<div role="status">(.*)</div>', widget.value)[1])


def tables(lab):
    """The tables under the figure, as lists of rows of cells: the numbers, and what is said."""
    found = re.findall(r"<table.*?</table>", lab.numbers.value, re.DOTALL)
    assert len(found) == 2
    return [
        [
            ["".join(cell.itertext()) for cell in row]
            for row in ElementTree.fromstring(text).iter("tr")
        ]
        for text in found
    ]


def numbers(lab):
    """The first table: per row its cells by column."""
    (_, *head), *rows = tables(lab)[0]
    return {name: dict(zip(head, cells, strict=True)) for name, *cells in rows}


def pixels(png):
    return Image.open(io.BytesIO(png)).convert("RGB")


def colour_at(png, axes, x, y):
    """The colour of the picture at a point of the axes' data."""
    picture = pixels(png)
    across, up = axes.transData.transform((x, y))
    return picture.getpixel((int(across), int(picture.height - up)))


def rgb(colour):
    return tuple(round(255 * part) for part in to_rgb(colour))


# What the sliders show


def test_the_laboratory_opens_at_the_run_of_the_lessons(lab):
    assert (lab.lr.value, lab.rank.value, lab.step.value) == (1e-2, 8, 60)
    assert [label for label, _ in lab.lr.options] == ["0.001", "0.01"]
    assert [label for label, _ in lab.rank.options] == ["8", "full"]
    assert [value for _, value in lab.step.options] == [5, 60]


@pytest.mark.parametrize(
    ("lr", "rank", "step", "setting", "sentence"),
    [
        (1e-2, 8, 60, "Rate 0.01, rank 8, α 16", "support 0 to 49 percent; old skills lose 14.0 "
         "points on average over 2 seeds (13.0 to 15.0), most in howto (23 points)."),
        (1e-3, 8, 60, "Rate 0.001, rank 8, α 16", "support 0 to 17 percent; old skills lose 6.0 "
         "points on average over 2 seeds (5.0 to 7.0), most in howto (15 points)."),
        (1e-3, "full", 60, "Rate 0.001, full fine-tuning", "support 0 to 33 percent; old skills "
         "lose 10.0 points on average over 2 seeds (9.0 to 11.0), most in howto (19 points)."),
        (1e-2, "full", 5, "Rate 0.01, full fine-tuning", "support 0 to 25 percent; old skills lose "
         "8.0 points on average over 2 seeds (7.0 to 9.0), most in howto (17 points)."),
    ],
)  # fmt: skip
def test_the_sentence_says_what_the_sliders_have_chosen(lab, lr, rank, step, setting, sentence):
    lab.lr.value, lab.rank.value, lab.step.value = lr, rank, step
    assert told(lab.told) == f"{setting}, step {step}: {sentence}" == repr(lab)


def test_the_table_has_the_numbers_of_every_seed(lab):
    lab.lr.value, lab.rank.value, lab.step.value = 1e-3, "full", 60
    found = numbers(lab)
    assert list(found) == [TARGET, *OLD]
    # Strength 8, and two points for the second seed.
    assert found["support"] == {"base": "0", "mean": "33", "change": "+33", "seeds": "32, 34"}
    assert found["facts"] == {"base": "100", "mean": "91", "change": "-9", "seeds": "92, 90"}
    assert found["howto"] == {"base": "100", "mean": "81", "change": "-19", "seeds": "82, 80"}


def test_a_change_of_less_than_half_a_point_has_no_sign_of_its_own():
    runs = made_up()
    for one in runs:
        for look in one.checkpoints[1:]:
            look.scores["facts"] = 99.7
    assert numbers(KnobsLab(runs))["facts"]["change"] in ("0", "+0")


def test_the_answers_of_the_chosen_setting_are_shown_as_text(lab):
    for lr, strength in ((1e-2, 12), (1e-3, 4)):
        lab.lr.value = lr
        _, *rows = tables(lab)[1]
        assert rows[0] == [ASKED[0], "Seed 0 & <strength 0>", f"Seed 0 & <strength {strength}>"]
        assert rows[1:] == [[prompt, rows[i][1], rows[i][1]] for i, prompt in enumerate(ASKED) if i]


@pytest.mark.parametrize(("name", "value"), [("lr", 1e-3), ("rank", "full"), ("step", 5)])
def test_moving_one_slider_changes_figure_sentence_and_table(lab, name, value):
    before = *seen(lab), lab.told.value, lab.numbers.value
    getattr(lab, name).value = value
    after = *seen(lab), lab.told.value, lab.numbers.value
    assert all(one != other for one, other in zip(before, after, strict=True))


def test_pictures_follow_a_slider_within_a_tenth_of_a_second(lab):
    """While it is dragged, every value that is passed is drawn."""
    seconds = []
    for _ in everywhere(lab):
        started = time.process_time()  # of this process: other work of the machine is not counted
        lab.draw()
        seconds.append(time.process_time() - started)
    assert statistics.median(seconds) < 0.1


def test_every_setting_has_pictures_of_its_own_and_all_have_one_size(lab):
    pictures = [seen(lab) for _ in everywhere(lab)]
    assert len({b"".join(three) for three in pictures}) == 8
    assert all(png.startswith(b"\x89PNG\r\n\x1a\n") for three in pictures for png in three)
    (size,) = {pixels(png).size for three in pictures for png in three}
    inches = lab.figure.panels[0].figure.get_size_inches()
    assert size == pytest.approx([100 * side for side in inches])
    # Two stand side by side at 800 pixels, three at 1100, none is ever scaled down.
    assert 300 < size[0] <= 366
    whole = pixels(lab.figure.side_by_side(lab.view()))
    assert whole.size == (3 * size[0], size[1])


@pytest.mark.parametrize(("lr", "support", "lost"), [(1e-2, 49, 14), (1e-3, 17, 6)])
def test_the_pictures_have_the_same_numbers(lab, lr, support, lost):
    lab.lr.value = lr
    curves, bars, plane = (panel.ax for panel in lab.figure.panels)
    first, second, third = seen(lab)
    assert colour_at(third, plane, support, lost) == rgb(THINGS["fine-tune"].colour)
    white = (255, 255, 255)
    # The bars end at the mean; beside the middle, where the range stands.
    for row, mean, thing in ((0, support, "support"), (1, 100 - lost + 1, "old skills")):
        assert colour_at(second, bars, mean - 2, row + 0.2) == rgb(THINGS[thing].colour)
        assert colour_at(second, bars, mean + 3, row + 0.2) == white
    # The curve of the target passes its mean at the last step.
    before = {1e-2: 13, 1e-3: 5}[lr]  # at step 5
    height = before + (support - before) * (57 - 5) / (60 - 5)
    assert max(colour_at(first, curves, 57, height)) < 100


@pytest.mark.parametrize(
    ("upper", "lower"), [(90, 40), (99, 40), (99, 97), (95, 85), (60, 3), (5, 1), (50, 50), (99, 2)]
)
def test_names_of_two_lines_keep_apart_and_inside(upper, lower):
    high, low = beside(upper, lower)
    assert high - low >= 7 and low > 0 and high < 100


# The frame


def test_views_leave_no_traces_in_one_another(lab):
    first = [seen(lab) for _ in everywhere(lab)]
    again = [seen(lab) for _ in everywhere(lab)]
    alone = []
    for lr, rank, step in itertools.product(RATES, RANKS, STEPS):
        fresh = KnobsLab(made_up())
        alone.append(fresh.figure.draw(fresh.stored.view(lr, rank, step)))
    assert first == again == alone


def test_drawing_leaves_nothing_in_the_figure(lab):
    def held():
        every = [panel.ax for panel in lab.figure.panels]
        return [(len(ax.get_children()), len(ax.containers)) for ax in every]

    before = held()
    for _ in everywhere(lab):
        pass
    assert held() == before


def test_a_picture_is_that_of_its_own_view_though_another_is_drawn_meanwhile(lab, monkeypatch):
    """Two threads: the second begins to draw before the first has packed its pixels."""
    one, other = (lab.stored.view(lr, 8, 60) for lr in RATES)
    expected = lab.figure.draw(one)
    packed = Image.fromarray
    meanwhile = []

    def late(array, *args, **kwargs):
        if not meanwhile:
            meanwhile.append(None)
            meanwhile.append(lab.figure.draw(other))
        return packed(array, *args, **kwargs)

    monkeypatch.setattr(frame.Image, "fromarray", late)
    assert lab.figure.draw(one) == expected != meanwhile[1]


def test_two_threads_draw_what_one_draws(lab):
    views = [lab.stored.view(lr, rank, 60) for lr in RATES for rank in RANKS] * 4
    expected = [lab.figure.draw(view) for view in views]
    with ThreadPoolExecutor(2) as pool:
        assert list(pool.map(lab.figure.draw, views)) == expected


# Runs that diverged


def test_a_seed_that_diverged_is_left_out_where_it_did_not_come():
    lab = KnobsLab(made_up(seed_1=5))
    lab.rank.value, lab.step.value = "full", 60
    assert "support 0 to 96 percent; old skills lose 25.0 points" in told(lab.told)
    assert "1 seed" in told(lab.told) and "2 seeds" not in told(lab.told)
    assert numbers(lab)["support"]["seeds"] == "96"
    lab.step.value = 5
    assert numbers(lab)["support"]["seeds"] == "24, 26"
    complete = KnobsLab(made_up())
    complete.rank.value, complete.step.value = "full", 60
    lab.step.value = 60
    assert seen(lab) != seen(complete)


@pytest.mark.parametrize("upto", [5, 0])
def test_a_setting_of_which_every_seed_diverged_can_be_looked_at(upto):
    lab = KnobsLab(made_up(seed_0=upto, seed_1=upto))
    pictures = [seen(lab) for _ in everywhere(lab)]
    assert len({pixels(png).size for three in pictures for png in three}) == 1
    lab.lr.value, lab.rank.value, lab.step.value = 1e-2, "full", 60
    # It is shown where it ended.
    end = {5: "24, 26", 0: "0, 0"}[upto]
    assert numbers(lab)["support"]["seeds"] == end
    assert "diverged" in told(lab.told)
    lab.rank.value = 8
    assert "diverged" not in told(lab.told) and numbers(lab)["support"]["mean"] == "49"


# Saved faces


@pytest.fixture
def displayed(monkeypatch):
    """What is handed to the front end: (data, metadata), in order."""
    found = []

    def catch(data, metadata=None, raw=False):
        assert raw
        found.append((data, metadata))

    monkeypatch.setattr(faces, "display", catch)
    return found


def test_a_front_end_gets_widget_picture_and_words(lab, displayed):
    lab._ipython_display_()
    (data, metadata), (fold, _) = displayed
    assert data[faces.WIDGET_VIEW]["model_id"] == lab.widget.model_id
    assert base64.b64decode(data["image/png"]) == lab.figure.side_by_side(lab.view())
    assert data["text/plain"] == repr(lab) == metadata["image/png"]["alt"]
    assert "support 0 to 49 percent" in data["text/plain"]
    assert fold["text/html"].startswith("<details><summary>")
    assert html.escape(repr(lab)) in fold["text/html"]
    assert access.UNRUN in fold["text/html"] and "Run the cell" in access.UNRUN
    assert fold["text/html"].count("<script>") == fold["text/html"].count("</script>") == 1


def test_the_picture_is_of_the_setting_that_is_shown(lab, displayed):
    lab.lr.value = 1e-3
    lab._ipython_display_()
    data, _ = displayed[0]
    assert base64.b64decode(data["image/png"]) == lab.figure.side_by_side(lab.view())
    assert data["text/plain"].startswith("Rate 0.001, rank 8, α 16, step 60")


def test_words_are_escaped_where_they_become_html(displayed):
    faces.show(ipywidgets.VBox(), b"", "1 < 2 & so on")
    assert displayed[0][0]["text/plain"] == "1 < 2 & so on"
    assert "1 &lt; 2 &amp; so on" in displayed[1][0]["text/html"]


def test_without_a_kernel_there_is_no_widget_to_view():
    """In ipywidgets 7 a widget has no model then."""
    found = faces.bundle(SimpleNamespace(model_id=None), "words", html="<b>", png="AAAA")
    assert found == {"text/plain": "words", "text/html": "<b>", "image/png": "AAAA"}


# Old and new ipywidgets

#: Traits that came with ipywidgets 8.
NEW = {"tabbable", "tooltip", "description_allow_html", "behavior", "orientation", "background"}
NEW |= {f"border_{side}" for side in ("top", "right", "bottom", "left")}
NEW |= {f"font_{part}" for part in ("family", "size", "style", "variant")}
NEW |= {"text_color", "text_decoration"}
#: The widgets of ipywidgets 7.7 that the laboratories are built of.
OLD_KINDS = {"VBox", "HBox", "HTML", "Image", "Button", "Dropdown", "IntProgress"}
OLD_KINDS |= {"SelectionSlider"}


def within(widget):
    """A widget and all that it holds."""
    yield widget
    for child in getattr(widget, "children", ()):
        yield from within(child)


def test_sliders_report_while_they_are_dragged_and_are_wide(lab):
    sliders = [w for w in within(lab.widget) if isinstance(w, ipywidgets.SelectionSlider)]
    assert sliders == [lab.lr, lab.rank, lab.step]
    assert all(slider.continuous_update for slider in sliders)
    assert {slider.layout.width for slider in sliders} == {"38em"}
    assert {slider.layout.max_width for slider in sliders} == {"100%"}


def test_nothing_is_set_that_ipywidgets_7_does_not_know(lab):
    for widget in within(lab.widget):
        assert type(widget).__name__ in OLD_KINDS
        for part in (widget, widget.layout, getattr(widget, "style", None)):
            if part is not None:
                values, defaults = part.trait_values(), part.trait_defaults()
                fresh = {n for n in NEW & set(values) if values[n] != defaults[n]}
                assert not fresh - ({"tooltip"} if isinstance(part, ipywidgets.Button) else set())


# Live training


class FakeTrainer:
    """Does as it is told: `say` is what the process reports next."""

    def __init__(self, error=None):
        self.process, self.error = None, error
        self.started, self.stopped, self.waiting = [], 0, []

    def warm(self):
        if self.error:
            raise self.error
        self.process = object()

    def start(self, setting, base):
        self.warm()
        self.started.append((setting, base))

    def events(self):
        said, self.waiting = self.waiting, []
        return said

    def stop(self):
        self.stopped += 1
        self.process, self.waiting = None, []

    def say(self, *events):
        self.waiting += events


def done(one):
    """A finished run as the process reports it."""
    return "done", {**asdict(one), "setting": one.setting._asdict()}


def only_last(one):
    """A live run is looked at before and after, not on the way."""
    return StoredRun(one.setting, (one.base, one.last), one.seconds, one.diverged, {})


async def until(condition, seconds=5.0):
    """Wait for the panel, which looks for news ten times a second."""
    end = time.monotonic() + seconds
    while not condition():
        assert time.monotonic() < end, "in vain"
        await asyncio.sleep(0.01)


@pytest.fixture
def panel(lab):
    """The panel of a laboratory, with a process that is none."""
    lab.panel.trainer = FakeTrainer()
    return lab.panel


def idle(panel):
    return (panel.running, panel.train.disabled, panel.stop.disabled) == (None, False, True)


def test_the_bar_follows_the_steps(panel):
    async def story():
        panel.seed.value = 5
        panel.train.click()
        await until(lambda: panel.trainer.started)
        assert panel.trainer.started == [(Setting(1e-2, 8, 60, 1200, 5), run().base)]
        assert (panel.train.disabled, panel.stop.disabled) == (True, False)
        assert (panel.bar.value, panel.bar.max) == (0, 60)
        panel.trainer.say(("step", (1, 2.125)), ("step", (7, 1.5)))
        await until(lambda: panel.bar.value == 7)
        assert "rate 0.01, rank 8, seed 5" in told(panel.status)
        assert "step 7 of 60, loss 1.50" in told(panel.status)
        panel.trainer.say(("step", (60, 0.5)))
        await until(lambda: panel.bar.value == 60)
        assert "scoring" in told(panel.status)
        panel.running.cancel()

    asyncio.run(story())


def test_a_finished_run_stands_beside_the_stored_ones(lab, panel):
    async def story():
        lab.step.value = 5  # the step goes to where the run can be seen
        without = seen(lab)
        panel.train.click()
        await until(lambda: panel.trainer.started)
        panel.trainer.say(done(only_last(run(seed=3))))
        await until(lambda: idle(panel))
        return without

    without = asyncio.run(story())
    assert "Rate 0.01, rank 8, seed 3: done" in told(panel.status)
    assert (lab.lr.value, lab.rank.value, lab.step.value) == (1e-2, 8, 60)
    assert seen(lab) != without
    assert "It is the white diamond." in told(panel.status)
    # Strength 12 and six points for seed 3.
    assert "Your run: support 54 percent, 19.0 points lost." in told(lab.told)
    assert numbers(lab)["support"]["yours"] == "54"
    assert numbers(lab)["support"]["mean"] == "49"
    lab.rank.value = "full"
    assert "Your run" not in told(lab.told) and "yours" not in numbers(lab)["support"]
    lab.rank.value = 8
    assert "Your run" in told(lab.told)


def test_knobs_that_were_moved_meanwhile_stay_where_they_are(lab, panel):
    async def story():
        panel.train.click()
        await until(lambda: panel.trainer.started)
        lab.lr.value, lab.rank.value = 1e-3, "full"
        before = seen(lab)
        panel.trainer.say(done(only_last(run(seed=3))))
        await until(lambda: idle(panel))
        return before

    before = asyncio.run(story())
    assert (lab.lr.value, lab.rank.value, lab.step.value) == (1e-3, "full", 60)
    assert "Your run" not in told(lab.told)
    assert "on the plane; set the knobs back" in told(panel.status)
    after = seen(lab)
    assert after[:2] == before[:2] and after[2] != before[2]  # the plane alone has it
    lab.lr.value, lab.rank.value = 1e-2, 8
    assert "Your run" in told(lab.told)


def test_a_live_run_that_diverged_says_so_and_can_be_followed_by_another(lab, panel):
    """It has nothing but its base; there is nothing to set beside the stored runs."""

    async def story():
        panel.train.click()
        await until(lambda: panel.trainer.started)
        panel.trainer.say(done(run(seed=3, upto=0)))
        await until(lambda: idle(panel))

    asyncio.run(story())
    assert "The loss became nan." in told(panel.status)
    assert "support 0 to 49 percent" in told(lab.told)


def test_stop_ends_the_run_and_another_can_follow(panel):
    async def story():
        panel.train.click()
        await until(lambda: panel.trainer.started)
        panel.trainer.say(("step", (7, 1.5)))
        await until(lambda: panel.bar.value == 7)
        panel.stop.click()
        await until(lambda: idle(panel), seconds=1)
        assert panel.trainer.stopped == 1
        assert told(panel.status).startswith("Stopped.") and "not kept" in told(panel.status)
        panel.train.click()
        await until(lambda: len(panel.trainer.started) == 2)
        assert panel.bar.value == 0
        panel.trainer.say(done(only_last(run(seed=3))))
        await until(lambda: idle(panel))

    asyncio.run(story())
    assert "done" in told(panel.status)


def test_stop_before_the_run_has_begun_leaves_the_panel_usable(panel):
    async def story():
        panel.press_train()
        panel.press_stop()  # in the same breath
        await until(lambda: idle(panel), seconds=1)
        panel.press_train()
        await until(lambda: panel.trainer.started)
        panel.press_stop()
        await until(lambda: idle(panel), seconds=1)

    asyncio.run(story())


def test_pressing_twice_starts_one_run(panel):
    async def story():
        panel.train.click()
        panel.train.click()
        await until(lambda: panel.trainer.started)
        panel.train.click()
        await asyncio.sleep(0.15)
        panel.trainer.say(done(only_last(run(seed=3))))
        await until(lambda: idle(panel))

    asyncio.run(story())
    assert len(panel.trainer.started) == 1


def test_stop_does_nothing_when_nothing_runs(panel):
    before = panel.status.value
    panel.stop.click()
    assert panel.trainer.stopped == 0 and idle(panel)
    assert panel.status.value == before


def test_what_went_wrong_is_told(panel):
    async def story():
        panel.train.click()
        await until(lambda: panel.trainer.started)
        panel.trainer.say(("failed", "MemoryError: <none> left."))
        await until(lambda: idle(panel))

    asyncio.run(story())
    assert told(panel.status) == "MemoryError: <none> left. You can train again."
    assert panel.trainer.process is None


@pytest.mark.parametrize("error", [RuntimeError("no more"), BrokenPipeError("no more")])
def test_a_process_that_cannot_be_started_is_told(panel, error):
    panel.trainer = FakeTrainer(error)

    async def story():
        panel.train.click()
        await until(lambda: panel.running is None)

    asyncio.run(story())
    assert idle(panel) and "no more" in told(panel.status)


def test_the_libraries_are_loaded_once_somebody_begins_to_choose(lab, panel, prepared):
    assert prepared == [] and panel.trainer.process is None
    lab.rank.value = "full"
    assert prepared == [panel]
    before = panel.estimate()
    PREPARE(panel)
    assert panel.trainer.process is not None and panel.estimate() == before - 7
    panel.trainer = FakeTrainer(OSError("no more processes"))
    PREPARE(panel)
    assert "no more" not in told(panel.status)  # the button will say it


def test_the_estimate_is_told_until_a_run_tells_better(lab, panel):
    seconds = int(re.search(r"about (\d+) seconds", told(panel.status))[1])
    # Twelve stored seconds on one core, a few for scoring and for loading the libraries.
    assert 10 <= seconds <= 30

    async def story():
        panel.train.click()
        await until(lambda: panel.trainer.started)
        running = panel.status.value
        lab.step.value = 5
        assert panel.status.value == running
        panel.stop.click()
        await until(lambda: idle(panel))

    asyncio.run(story())


def test_a_process_that_died_is_noticed():
    trainer = live.Trainer()
    trainer.pipe, theirs = Pipe()
    trainer.process = SimpleNamespace(exitcode=-9, join=lambda timeout=None: None)
    assert trainer.events() == []
    theirs.send(("step", (1, 2.5)))
    theirs.close()
    step, (kind, message) = trainer.events()
    assert step == ("step", (1, 2.5)) and kind == "failed"
    assert "ended by itself (exit code -9)" in message


def test_stopping_a_trainer_that_never_ran_does_nothing():
    live.Trainer().stop()


@pytest.mark.slow
def test_a_process_trains_and_is_stopped_at_once(pocket):
    trainer = live.Trainer()
    setting, base = Setting(1e-3, 1, 3, 16, 3), run().base

    def hear(wanted, seconds=300):
        """All that is said until something of this kind is."""
        found, end = [], time.monotonic() + seconds
        while not any(kind == wanted for kind, _ in found):
            assert time.monotonic() < end, found
            found += trainer.events()
            assert wanted == "failed" or all(kind != "failed" for kind, _ in found), found
            time.sleep(0.02)
        return found

    try:
        trainer.start(setting, base)
        first = trainer.process
        *steps, (_, record) = hear("done")
        assert [value[0] for _, value in steps] == [1, 2, 3]
        assert all(0 < value[1] < 10 for _, value in steps)
        made = live.from_record(record)
        assert made.setting == setting and made.base == base and not made.diverged
        assert made.last.step == 3 and set(made.last.scores) == set(NAMES)
        assert 0 < made.last.kl < 0.1 and len(made.last.says) == len(ASKED)

        trainer.start(setting._replace(steps=1000), base)
        assert trainer.process is first  # the libraries stay loaded
        hear("step")
        started = time.monotonic()
        trainer.stop()
        assert time.monotonic() - started < 1
        assert not first.is_alive()
    finally:
        trainer.stop()


# The shipped runs


def test_the_shipped_runs_open_without_being_named():
    lab = KnobsLab()
    assert (lab.lr.value, lab.rank.value, lab.step.value) == (1e-2, 8, 60)
    assert re.match(r"Rate 0\.01, rank 8, α 16, step 60: support 0 to \d+ percent", repr(lab))


def with_alpha():
    """The grid, and rank 1 with α twice the rank at both rates, with α 16 at one of them."""
    more = [run(lr, 8, seed) for lr, seed in itertools.product(RATES, SEEDS)]
    rank_1 = [replace(one, setting=one.setting._replace(rank=1)) for one in more]
    fixed = [
        replace(one, setting=one.setting._replace(alpha="16"))
        for one in rank_1
        if one.setting.lr == 1e-2
    ]
    return [*made_up(), *rank_1, *fixed]


def test_alpha_is_a_knob_and_rank_8_and_full_belong_to_every_rule():
    lab = KnobsLab(with_alpha())
    everything = told(lab.told), lab.numbers.value, *seen(lab)
    lab.alpha.value = "16"
    assert (told(lab.told), lab.numbers.value, *seen(lab)) == everything
    lab.alpha.value = "rs"
    assert (told(lab.told), lab.numbers.value, *seen(lab)) == everything
    lab.rank.value, lab.alpha.value = 1, "2r"
    assert told(lab.told).startswith("Rate 0.01, rank 1, α 2, step 60: support 0 to 49")
    lab.alpha.value = "16"
    assert told(lab.told).startswith("Rate 0.01, rank 1, α 16, step 60: support 0 to 49")
    lab.rank.value = "full"
    assert told(lab.told).startswith("Rate 0.01, full fine-tuning, step 60")


def test_a_setting_that_nobody_stored_is_named_with_those_there_are():
    lab = KnobsLab(with_alpha())
    lab.rank.value, lab.alpha.value, lab.lr.value = 1, "16", 1e-3
    assert told(lab.told) == (
        "Rate 0.001, rank 1, α 16: no stored run; stored with this rank and α: the rates 0.01. "
        "You can train it live."
    )
    assert numbers_only(lab)["support"] == {"base": "0", "mean": "", "change": "", "seeds": ""}
    lab.alpha.value = "rs"
    assert "no run of rank 1 is stored with this α; set it to 2 × rank" in told(lab.told)
    lab.alpha.value = "2r"
    assert "support 0 to 17 percent" in told(lab.told)


def numbers_only(lab):
    """The first table where there is no other."""
    (_, *head), *rows = [
        ["".join(cell.itertext()) for cell in row]
        for row in ElementTree.fromstring(lab.numbers.value).iter("tr")
    ]
    return {name: dict(zip(head, cells, strict=True)) for name, *cells in rows}


def test_a_setting_that_nobody_stored_can_be_trained_live():
    lab = KnobsLab(with_alpha())
    lab.rank.value, lab.alpha.value, lab.lr.value = 1, "rs", 1e-2
    lab.panel.trainer = FakeTrainer()
    own = run(seed=3)
    own = replace(own, setting=own.setting._replace(rank=1, alpha="rs"))

    async def story():
        lab.panel.train.click()
        await until(lambda: lab.panel.trainer.started)
        lab.panel.trainer.say(done(only_last(own)))
        await until(lambda: idle(lab.panel))

    asyncio.run(story())
    assert lab.panel.trainer.started[0][0] == Setting(1e-2, 1, 60, 1200, 3, "rs")
    assert told(lab.told).endswith("Your run: support 54 percent, 19.0 points lost.")
    assert numbers_only(lab)["support"]["yours"] == "54"


def test_a_grid_with_a_hole_opens_and_names_it():
    runs = [r for r in made_up() if (r.setting.lr, r.setting.rank) != (1e-3, "full")]
    lab = KnobsLab(runs)
    lab.lr.value, lab.rank.value = 1e-3, "full"
    assert told(lab.told).startswith("Rate 0.001, full fine-tuning: no stored run; stored with")


def test_missing_runs_are_refused_with_what_to_do(monkeypatch, tmp_path):
    monkeypatch.setattr(knobs, "GRID", tmp_path / "grid.jsonl")
    with pytest.raises(BadRuns, match="make runs"):
        KnobsLab()
