"""The retention brief: from answers to margins, to a map the audit reads, and the form for it."""

from __future__ import annotations

import html
import itertools
import re
from dataclasses import replace

import pytest

from helpers.audit import CapabilityMap, audit, items_needed, plan
from helpers.scope.brief import TARGET_ITEMS, Brief
from helpers.scope.needs import EXAMPLE, FEELINGS, LADDER, RULE, BadBrief, Need
from helpers.snapshots import ItemResult, Snapshot
from helpers.suites import NAMES, Item
from helpers.widgets.brief import LEFT_OUT, BriefForm


def need(**answers):
    return Need(**{"capability": "lists", "level": 80, "traffic": 5, **answers})


def possible():
    """Every pair of answers that does not contradict itself."""
    return [
        (five, fifteen)
        for five, fifteen in itertools.product(FEELINGS, FEELINGS)
        if FEELINGS.index(five) <= FEELINGS.index(fifteen)
    ]


#: The rule, answer by answer, worked out by hand for little traffic and for much.
BY_HAND = {
    ("nothing", "nothing"): (None, None),
    ("nothing", "notice"): (10, 5),
    ("nothing", "complain"): (5, 3),
    ("nothing", "leave"): (3, 2),
    ("notice", "notice"): (10, 5),
    ("notice", "complain"): (5, 3),
    ("notice", "leave"): (3, 2),
    ("complain", "complain"): (3, 2),
    ("complain", "leave"): (3, 2),
    ("leave", "leave"): (2, 1),
}


def test_every_possible_answer_has_a_margin_worked_out_by_hand():
    assert set(possible()) == set(BY_HAND)


@pytest.mark.parametrize(("answers", "margins"), BY_HAND.items())
def test_the_margin_follows_the_rule(answers, margins):
    five, fifteen = answers
    found = [need(at_5=five, at_15=fifteen, traffic=t).wished_margin for t in (19.9, 20)]
    assert tuple(found) == margins


def test_worse_answers_never_widen_a_margin():
    width = {pair: need(at_5=pair[0], at_15=pair[1]).wished_margin or 100 for pair in possible()}
    for (a, b), (c, d) in itertools.product(width, width):
        if FEELINGS.index(a) <= FEELINGS.index(c) and FEELINGS.index(b) <= FEELINGS.index(d):
            assert width[c, d] <= width[a, b]


def test_the_rule_names_every_margin_there_is():
    assert ", ".join(f"{step:g}" for step in LADDER) in RULE


@pytest.mark.parametrize(
    ("answers", "message"),
    [
        ({"capability": ""}, "needs a name"),
        ({"capability": "two\nlines"}, "in one line"),
        ({"level": 0}, "lists: level must lie above 0"),
        ({"level": 101}, "lists: level"),
        ({"level": "high"}, "lists: level .* 'high'"),
        ({"level": True}, "lists: level"),
        ({"level": float("nan")}, "lists: level"),
        ({"traffic": -1}, "lists: traffic must lie from 0"),
        ({"traffic": 100.5}, "lists: traffic"),
        ({"changed": 0}, "lists: changed"),
        ({"changed": 1}, "lists: changed"),
        ({"at_5": "shrug"}, "at_5 must be one of nothing, notice, complain, leave, not 'shrug'"),
        ({"role": "watch"}, "role must be protected or target"),
        ({"at_5": "leave", "at_15": "notice"}, "the greater loss cannot matter less"),
    ],
)
def test_a_bad_answer_is_named(answers, message):
    with pytest.raises(BadBrief, match=message):
        need(**answers)


@pytest.mark.parametrize(
    ("needs", "base", "message"),
    [
        ([], {}, "protects nothing"),
        ([need(role="target")], {}, "protects nothing"),
        ([need(), need()], {}, "lists is in the brief twice"),
        ([need(traffic=60), need(capability="facts", traffic=41)], {}, "adds up to 101 percent"),
        ([need(level=90)], {"lists": 85.0}, "lists: the base scores 85.0 percent and 90 must"),
        ([need(level=90)], {"lists": 90.5}, "less than 1 point"),
    ],
)
def test_a_brief_that_cannot_be_kept_is_refused(needs, base, message):
    with pytest.raises(BadBrief, match=message):
        Brief(tuple(needs), base)


def test_a_margin_is_no_wider_than_the_base_allows():
    assert Brief((need(level=90),), {"lists": 92.4}).to_map()["lists"].margin == 2.4
    assert Brief((need(level=90),), {"lists": 99.0}).to_map()["lists"].margin == 5
    assert Brief((need(level=90),), {}).to_map()["lists"].margin == 5


def test_a_target_has_a_goal_and_no_margin():
    brief = Brief((need(), need(capability="support", role="target", level=85)), {"support": 0.0})
    row = brief.to_map()["support"]
    assert (row.role, row.min_score, row.margin, row.min_items) == (
        "target", 85, None, TARGET_ITEMS,
    )  # fmt: skip


@pytest.mark.parametrize(
    ("answers", "severity"),
    [
        ({"traffic": 0.9}, "warn"),
        ({"traffic": 1}, "block"),
        ({"traffic": 0.9, "at_5": "complain"}, "block"),
        ({"traffic": 0.9, "role": "target"}, "block"),
        ({"traffic": 0.9, "at_5": "nothing", "at_15": "nothing"}, "block"),  # watched: never gates
    ],
)
def test_only_rare_and_mild_losses_merely_warn(answers, severity):
    brief = Brief((need(**answers), need(capability="facts")))
    assert brief.to_map()["lists"].severity == severity


def test_items_are_those_that_planning_asks_for():
    brief = Brief(EXAMPLE)
    categories = brief.to_map()
    planned = plan(categories)
    assert {row.name for row in categories.categories if row.role == "protected"} == set(planned)
    assert all(categories[name].min_items == count for name, count in planned.items())
    assert categories["refusal"].min_items == items_needed(3)
    assert categories["rewriting"].role == "watch"


def test_missing_items_are_counted():
    brief = Brief((need(at_5="complain"), need(capability="facts")))
    needed = items_needed(3)
    assert brief.missing_items({"lists": needed - 5, "facts": 700}) == {"lists": 5}
    assert brief.missing_items({"facts": 700}) == {"lists": needed}
    assert brief.missing_items({"lists": needed, "facts": 700}) == {}


def test_the_map_can_be_read_back(tmp_path):
    for base in ({}, dict.fromkeys(NAMES, 97.3)):
        brief = Brief(EXAMPLE, base)
        path = brief.save(tmp_path / "capability_map.yaml")
        assert CapabilityMap.load(path) == brief.to_map()
        assert path.read_text(encoding="utf-8").startswith("# ")


def test_names_that_yaml_would_misread_survive(tmp_path):
    names = ["no", "1.5", "a: b", "# c", "déjà vu", "[x]"]
    brief = Brief(tuple(need(capability=name, traffic=1) for name in names))
    loaded = CapabilityMap.load(brief.save(tmp_path / "map.yaml"))
    assert [row.name for row in loaded.categories] == names


def snapshot(rates):
    """Made-up answers: so many of each capability's items right."""
    return Snapshot(
        {
            name: [
                ItemResult(
                    Item(f"{name}-{n}", name, f"f{n % 40}", "bare", f"{name} {n}", "a"),
                    "", n < rate * 800, 0.1, 1,
                )
                for n in range(800)
            ]
            for name, rate in rates.items()
        }
    )  # fmt: skip


def test_the_audit_goes_by_the_brief():
    """Eight lost points are too many where users complain, and none where they notice nothing."""
    strict, mild = need(at_5="complain"), need(capability="sentiment", at_5="nothing")
    brief = Brief((strict, replace(mild, at_15="nothing")))
    before, after = (snapshot({"lists": r, "sentiment": r}) for r in (0.98, 0.90))
    report = audit(before, after, brief.to_map())
    assert (report["lists"].verdict, report["sentiment"].verdict) == ("BLOCK", "WATCHED")


def test_it_says_which_traffic_nobody_looks_at():
    assert "95 percent of the traffic is in no row" in repr(Brief((need(),)))
    assert "covers all" in repr(Brief((need(traffic=100),)))


def test_it_reads_as_a_table_in_words_and_in_html():
    brief = Brief((need(capability="a<b"), need(capability="facts", at_5="complain")))
    assert re.search(r"facts +protected +5 % +80 % +3 +761", repr(brief))
    assert "a&lt;b" in brief._repr_html_() and "a<b" not in brief._repr_html_()


@pytest.fixture
def form(tmp_path):
    return BriefForm(path=tmp_path / "capability_map.yaml")


def told(form):
    return html.unescape(re.sub("<[^>]+>", "", form.told.value))


def line(form, name):
    return next(r for r in form.rows if r.need.capability == name)


def test_the_form_opens_with_the_example(form):
    assert form.brief() == Brief(EXAMPLE)
    assert repr(form) == repr(Brief(EXAMPLE))


def test_an_answer_changes_the_table(form):
    assert form.brief().to_map()["facts"].margin == 5
    before = form.table.value
    line(form, "facts").at_5.value = "complain"
    assert form.brief().to_map()["facts"].margin == 3
    assert form.table.value != before
    line(form, "facts").at_5.value = "notice"
    assert form.table.value == before


def test_a_capability_can_be_left_out(form):
    line(form, "howto").role.value = LEFT_OUT
    assert "howto" not in {n.capability for n in form.brief().needs}
    assert "20.5 percent of the traffic is in no row" in told(form)


def test_a_contradiction_is_told_and_nothing_is_written(form):
    row = line(form, "arithmetic")
    row.at_5.value, row.at_15.value = "leave", "notice"
    assert "arithmetic: users leave at 5" in told(form) and form.table.value == ""
    assert repr(form).startswith("Not yet a brief.")
    form.write()
    assert "Nothing was written" in told(form) and not form.path.exists()
    row.at_15.value = "leave"
    assert "Not yet" not in told(form)


def test_the_button_writes_the_map(form):
    line(form, "facts").level.value = 93
    form.button.click()
    assert "Written" in told(form)
    assert CapabilityMap.load(form.path) == form.brief().to_map()
    form.button.click()  # and again
    assert "Written" in told(form)


def test_a_folder_that_is_not_there_is_told(tmp_path):
    form = BriefForm(path=tmp_path / "nowhere" / "map.yaml")
    form.write()
    assert "Nothing was written" in told(form)


def test_a_tighter_step_is_for_leaving_at_the_loss_that_set_the_margin():
    """The example that lesson 06 gives of rule 2."""
    assert need(at_5="complain", at_15="leave").wished_margin == 3
    assert need(at_5="leave", at_15="leave").wished_margin == 2
    assert need(at_5="nothing", at_15="leave").wished_margin == 3


def test_it_says_what_the_items_are_planned_for():
    """The same margin needs 761 items or 429, by how many answers change: nobody should wonder."""
    two = (need(at_5="complain"), need(capability="facts", at_5="complain"))
    assert "planned for 10 percent of the answers changing, and" in repr(Brief(two))
    mixed = Brief((*two, need(capability="refusal", at_5="complain", changed=0.05)))
    assert "for 10 percent of the answers changing, 5 of refusal, and" in repr(mixed)
    counts = {row.name: row.min_items for row in mixed.to_map().categories}
    assert counts == {"lists": 761, "facts": 761, "refusal": 429}
    assert len({n.changed for n in EXAMPLE}) == 1


def test_losses_are_weighed_by_the_traffic_and_held_against_the_margins():
    brief = Brief(
        (
            need(capability="support", role="target", traffic=50),
            need(traffic=30),
            need(capability="facts", traffic=10),
            need(capability="rewriting", traffic=10, at_5="nothing", at_15="nothing"),
        )
    )
    lost = {"lists": 10.0, "facts": 5.0, "rewriting": 40.0}
    assert brief.weighted(lost) == pytest.approx((30 * 10 + 10 * 5 + 10 * 40) / 50)
    assert brief.broken(lost) == {"lists": 10.0}  # 5 points are inside 5; what is watched has none
    with pytest.raises(KeyError):
        brief.weighted({"lists": 1.0})


def test_a_base_narrows_the_margins_of_the_form(tmp_path):
    form = BriefForm((need(level=90),), {"lists": 92.0}, tmp_path / "map.yaml")
    assert form.brief().to_map()["lists"].margin == 2


def test_every_control_has_a_name_of_its_own_in_its_row(form):
    for row in form.rows:
        labels = [control.description for control in row.controls]
        assert all(labels) and len(set(labels)) == len(labels)


def test_without_widgets_there_is_a_table_and_words(form):
    faces = form._repr_mimebundle_()
    assert faces["text/html"] == form.brief()._repr_html_()
    assert faces["text/plain"] == repr(form)
    assert "application/vnd.jupyter.widget-view+json" in faces
