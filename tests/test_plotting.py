"""Figures: an image, a text that says the same, and the same bytes every time."""

from __future__ import annotations

import base64
import itertools
import math

import pytest

from helpers import plotting as plot
from helpers.plotting import style
from helpers.plotting.curves import front
from helpers.snapshots import ItemResult, Snapshot
from helpers.suites import Item
from helpers.training import Probe, Run


def snapshot(**shares):
    """Ten items per suite, so many of them right."""
    return Snapshot(
        {
            name: [
                ItemResult(Item(str(n), name, "f", "qa", "?", "!"), "!", n < right, 1.0, 1)
                for n in range(10)
            ]
            for name, right in shares.items()
        }
    )


def run():
    probes = [
        Probe(step, {"support": 30.0 * place, "facts": 95.0 - 20 * place}, {"support": 4.0 - place})
        for place, step in enumerate((0, 10, 20, 30))
    ]
    return Run(None, [(step, 3 * math.exp(-step / 9)) for step in range(1, 31)], probes, 1.0)


FIGURES = {
    "bar": lambda: plot.capability_bars(snapshot(facts=9, lists=10)),
    "bars": lambda: plot.capability_bars(
        snapshot(facts=9, support_with_article=1), snapshot(facts=4, support_with_article=8)
    ),
    "training": lambda: plot.learning_and_forgetting(run(), "support", ["facts"], reached=20),
    "measures": lambda: plot.two_measures(
        {
            "points lost": {"facts": [9.0, 11.0], "lists": [20.0, 40.0]},
            "nats": {"facts": [0.1, 0.3], "lists": [0.1, 0.0]},
        }
    ),
}
SEEDS = {"rank 1": [[(1e-4, 0.0), (1e-2, 9.0)], [(1e-4, 1.0), (1e-2, 11.0)]]}
FIGURES |= {
    "curves": lambda: plot.lines(SEEDS, "rate", "points", log_x=True, mark=(1e-3, "the rule")),
    "points": lambda: plot.points(
        {"full": [(0, 0), (50, 9), (90, 4)], "rank 1": [(10, 3)]}, "x", "y", downwards=True
    ),
    "scatter": lambda: plot.scatter(
        {"old": [(0.1, 2), (0.3, -1)], "new": [(0.2, 5)]}, "distance", "loss", log_y=True
    ),
    "spread": lambda: plot.spread({"rank 1": [3.0, 5.0], "rank 2": [7.0]}, "rank", "lost"),
    "paths": lambda: plot.paths(
        {"rank 1": [[(0, 0), (40, 3), (70, 50)], [(0, 0), (60, 5), (70, 60)]], "full": [[(0, 0)]]},
        "learned",
        "lost",
        deepest=40,
        marks=(80,),
    ),
    "law": lambda: plot.law([(1, 1.0), (4, 2.0), (9, 3.5)], math.sqrt, "steps", "loss"),
}
SAYS = {
    "bar": ["facts 90 percent", "lists 100 percent"],
    "bars": ["facts 90 to 40 percent", "support_with_article 10 to 80 percent"],
    "training": [
        "support 0 to 90 percent",
        "facts 95 to 35 percent",
        "4.00 to 1.00",
        "step 20, where",
    ],
    "measures": ["points lost: facts 10, lists 30. nats: facts 0.20, lists 0.05"],
    "curves": ["points, over rate", "means of 2 seeds", "rank 1 goes from 0.5 to 10"],
    "points": ["full: 3 points, its line goes from (0, 0) to (90, 4)", "rank 1: 1 points"],
    "scatter": ["old x 0.1 to 0.1, y 2 to 2", "not above zero: 1 points"],
    "spread": ["rank 1 4.0 (3.0 to 5.0)", "rank 2 7.0"],
    "paths": ["lost, against learned", "rank 1: (0, 0.0), (50, 4.0); full: (0, 0.0)."],
    "law": ["from 1 to 3", "farther from it than 0.5"],
}


@pytest.mark.parametrize("name", FIGURES)
def test_a_figure_is_an_image_and_a_text(name):
    picture = FIGURES[name]()
    assert picture.png.startswith(b"\x89PNG\r\n\x1a\n") and picture.png.endswith(b"IEND\xaeB`\x82")
    for part in SAYS[name]:
        assert part in picture.alt
    data, metadata = picture._repr_mimebundle_()
    assert base64.b64decode(data["image/png"]) == picture.png
    assert data["text/plain"] == metadata["image/png"]["alt"] == repr(picture) == picture.alt


@pytest.mark.parametrize("name", FIGURES)
def test_the_same_input_gives_the_same_bytes(name):
    assert FIGURES[name]().png == FIGURES[name]().png


def test_another_input_gives_another_image():
    one, other = (plot.capability_bars(snapshot(facts=9), snapshot(facts=n)) for n in (9, 8))
    assert one.png != other.png


def test_a_run_that_was_not_scored_on_the_way_is_told():
    with pytest.raises(ValueError, match="give `finetune` a `probe`"):
        plot.learning_and_forgetting(Run(None, [(1, 1.0)], [], 1.0), "support", ["facts"])


def test_a_y_axis_that_does_not_begin_at_zero_says_so():
    high = plot.lines({"rank 1": [[(0, 0.95), (1, 0.92)]]}, "layer", "CKA")
    assert high.alt.endswith("The y axis begins at 0.92.")
    for curve in ([(0, 20), (1, 90)], [(0, -3), (1, 4)]):
        assert "begins" not in plot.lines({"rank 1": [curve]}, "week", "percent").alt


def test_running_text_has_no_bar():
    text = [ItemResult(Item("1", "stories", "f", "qa", "?", "!"), "", None, 1.0, 1)]
    mixed = Snapshot({**snapshot(facts=9).results, "stories": text})
    assert "stories" not in plot.capability_bars(mixed, mixed).alt


@pytest.mark.parametrize(
    ("downwards", "best"), [(True, [(0, 0), (90, 4)]), (False, [(50, 9), (90, 4)])]
)
def test_a_front_has_what_no_other_point_beats(downwards, best):
    group = [(50, 9), (0, 0), (90, 4), (40, 5)]
    assert front(group, downwards) == best
    assert front(list(reversed(group)), downwards) == best


def test_no_two_things_share_a_colour():
    same = {("fine-tune", "plain")}  # the plain run is the fine-tune
    for one, other in itertools.combinations(style.THINGS, 2):
        if (one, other) not in same:
            assert style.THINGS[one].colour != style.THINGS[other].colour, (one, other)
    spare = {found.colour for found in style.STYLES}
    assert len(spare) == len(style.STYLES)
    assert not spare & {found.colour for found in style.THINGS.values()}
    assert set(style.SAME.values()) <= set(style.THINGS) and not set(style.SAME) & set(style.THINGS)


def test_a_thing_has_its_colour_under_all_its_names():
    facts = style.THINGS["facts"]
    for label in ("facts", "facts (after)", "facts, one seed", "facts\n3e-3"):
        assert style.style_of(label) == facts
    assert style.style_of("before") == style.THINGS["base"]
    assert style.style_of("rank 1") == style.THINGS["rank 1"]
    assert style.style_of("rank 2") is None


def test_variants_in_one_figure_share_the_colour_and_nothing_else():
    chosen = style.styles(["replay", "replay, lower rate", "mine", "yours"])
    assert chosen["replay"].colour == chosen["replay, lower rate"].colour
    assert len(set(chosen.values())) == 4
    assert chosen["mine"].colour != chosen["yours"].colour
    variants = style.styles([f"replay, {number}" for number in range(8)])
    assert len(set(variants.values())) == 8


def test_every_colour_is_dark_enough_to_be_read_on_white():
    for name, found in {**style.THINGS, **dict(enumerate(style.STYLES))}.items():
        assert _contrast_with_white(found.colour) >= 2.2, name


def _contrast_with_white(colour):
    """The contrast ratio of WCAG 2.2, 1 for white on white."""
    parts = [int(colour[place : place + 2], 16) / 255 for place in (1, 3, 5)]
    linear = [c / 12.92 if c <= 0.04045 else ((c + 0.055) / 1.055) ** 2.4 for c in parts]
    light = sum(weight * c for weight, c in zip((0.2126, 0.7152, 0.0722), linear, strict=True))
    return 1.05 / (light + 0.05)
