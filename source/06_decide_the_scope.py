# %% [markdown]
# # 06 · Decide the scope
#
# {{badge}}
#
# The cheapest remedy for forgetting is applied before any training: decide what must survive,
# whether the task needs a fine-tune at all, and what goes into its data. This lesson takes the
# three decisions in turn. The first ends in a file that the audit reads, the second in a comparison
# on four counts, the third in a share of old data, with its price.
#
# **Time** 60 minutes, of which one and a half are computing · **You need** lesson 01; lesson 05
# helps
#
# **Objectives**
#
# 1. Fill in a retention brief: turn what users would feel into margins, and see which of them your
#    test items can hold.
# 2. Choose between a fine-tune and a search over articles, by target score, retention, latency and
#    what happens when a policy changes.
# 3. Mix old data into new: how much, of which kind, from where if there is none, and at what cost,
#    without letting test items in.

# %%
import os, subprocess, sys

if "google.colab" in sys.modules and not os.path.exists("course"):
    clone = "git clone -q https://github.com/OWNER/REPO course"
    subprocess.run(f"{clone} && sh course/tools/colab.sh", shell=True, check=True)
sys.path.insert(0, "course" if os.path.exists("course") else "..")

# %%
import tempfile
from pathlib import Path
from statistics import fmean

import pandas

from helpers import audit as gate
from helpers import plotting as plot
from helpers.evaluation import evaluate
from helpers.exercises import check, quiz
from helpers.generation import complete
from helpers.mechanics.loss import merged
from helpers.mitigations import board
from helpers.models import load_model
from helpers.scope import leaks, replay, retrieval, routes
from helpers.scope.brief import Brief
from helpers.scope.needs import RULE, BadBrief, Need
from helpers.suites import load_suites
from helpers.tickets import SUPPORT, read_tickets
from helpers.tradeoff import OLD
from helpers.training import finetune
from helpers.widgets.brief import BriefForm

# %% [markdown]
# ## Why this matters
#
# The remedies that papers are written about act while the weights change: penalties, sharper
# optimizers, merging. Lessons 07 and 08 try them. But most of what a fine-tune will lose is settled
# earlier, by people who do not see themselves as deciding anything: somebody says "train it on the
# tickets", and nobody asks what else the model is used for, whether an answer has to be *known* or
# could be *looked up*, or what else should be in the data.
#
# **An analogy, and where it ends.** Before builders come into a house, one marks the walls that
# must stay, asks whether a lamp would not do where a window was wanted, and covers the furniture.
# All of it is cheap, and none of it can be done afterwards. The analogy ends at the walls: in a
# house one can see which of them carry the roof. In a model every skill rests on the same weights.

# %% [markdown]
# ## First decision: what must survive?
#
# Lesson 05 began with margins. Where do they come from? Whether five points of how-to questions are
# much, nobody can say. Whether users would complain if five of a hundred answers that used to be
# right were wrong: that somebody can, who reads their mail. So a **retention brief** asks, for each
# capability, what users can be asked about. What share of the requests needs it? How many percent
# right must survive? What will users do at five lost points, and at fifteen: nothing, notice,
# complain, or leave?
#
# A rule that is fixed before anyone has answered makes margins of it:

# %%
print(RULE)

# %% [markdown]
# Like any such rule it is a convention. Its worth is that it cannot be bent for a result, because
# there is none yet. Rule 3 needs the base's scores:

# %%
base = load_model("pocket")
suites = load_suites(["support", *OLD], size=60)
before = evaluate(base, suites)

# %% [markdown]
# And here is the form, opened with the answers of a made-up shop: half of its requests are about
# its policies, the rest is what its customers have come to expect of an assistant. Change what you
# like; the table below the form follows.
#
# **Predict before you look.** One capability is only watched, and two get a margin of three points
# although users merely notice five lost ones. Which, and by which rule?

# %%
form = BriefForm(base=before.scores(), path=Path(tempfile.mkdtemp()) / "capability_map.yaml")
form

# %% [markdown]
# `howto` has a margin of three because a fifth of all requests need it, `arithmetic` because users
# who get wrong sums leave. `rewriting` is watched: nobody would notice. `lists` would have five by
# its answers and gets less, since the base itself is only some three points above the level that
# must survive. (These are sixty items. On all 700 of the suite the base scores 92, and the margin
# would be five. Measure the base on many items before you write a level.)
#
# The button writes the map to a temporary folder, and the form says where. The next cell does what
# the button does, and reads the file back as the audit will.

# %%
form.write()
capability_map = gate.CapabilityMap.load(form.path)
text = form.path.read_text(encoding="utf-8")
print(*text[text.index("version:") :].splitlines()[:17], sep="\n")

# %% [markdown]
# Above these lines, as comments, stand the answers and the rule: whoever finds the file in a year
# can see why a margin is three.
#
# ### Can the test hold what the brief promises?
#
# **Predict before you run.** A margin of three points needs how many items? Our suites hold 700
# each.

# %%
held = {suite.name: len(suite) for suite in load_suites(["support", *OLD], size=700)}
print("items still to be written:", form.brief().missing_items(held))
for changed in (0.10, 0.05, 0.02):
    print(f"margin 3, {changed:4.0%} of the answers change: {gate.items_needed(3, changed)} items")
passes, _ = gate.chances(700, margin=3, drop=0)
print(f"with 700 items a harmless model gets its verdict in {passes:.0%} of audits")

# %% [markdown]
# A margin of three needs 761 items where one answer in ten changes, and the suites hold 700. So the
# brief promises users something that our test cannot keep, and it is good to hear that before the
# training. There are three honest ways out. Write the 61 items. Or find out how many answers really
# change: if it is one in twenty, the suites are large enough, and `changed` in the brief may say
# so. Or accept a slightly smaller chance of a verdict, and lower `power`. The way that is not open
# is to raise the margin because the items are few: the users have not changed their minds.
#
# **Break it on purpose.** A brief can also ask for more than there is, or contradict itself:

# %%
for wish in (
    Need("lists", level=95, traffic=5),
    Need("howto", level=99.5, traffic=20),
):
    try:
        Brief([wish], before.scores())
    except BadBrief as error:
        print(error, "\n")
try:
    Need("lists", level=85, traffic=5, at_5="leave", at_15="notice")
except BadBrief as error:
    print(error)

# %% [markdown]
# ## Second decision: train it, or look it up?
#
# The shop's forty policies can be put into the weights, or they can stay in help articles that the
# model is shown when somebody asks. The base was never told these policies, but it has learned to
# answer from a text that stands above the question. Whether yours can is the first thing to test.
#
# **The fine-tune** is the standard run of lesson 01.

# %%
tickets = read_tickets()
tuned = finetune(base, tickets, lr=1e-2, rank=8, steps=60, seed=0).model
after = evaluate(tuned, suites)

# %% [markdown]
# **The search** is BM25 (Robertson and colleagues, 1994): an article scores by the words it shares
# with the question, rare words count more, and long articles are held back. There is nothing to
# train. The questions in the tickets are not wasted: they become words that the articles are found
# by, and are never shown to the model.

# %%
articles = retrieval.shop_articles()
index = retrieval.HelpIndex(articles)
for question in ("When will I get my money back?", "My parcel came with a dent, what now?"):
    (hit,) = index.find(question, k=1)
    print(f"{question}\n  {hit.article.shown}")
for name, texts in (("articles alone", retrieval.shop_articles(())), ("with questions", articles)):
    rate = retrieval.found_rate(retrieval.HelpIndex(texts), suites[0])
    print(f"{name}: the right article comes first for {rate:.0f} % of held-out questions")

# %% [markdown]
# TODO
#
# **Predict before you run.** Which of the two answers more of the new questions? And what does the
# search cost the old skills?
#
# Only customers go through the search: prompts that begin with *Customer:*. All others reach the
# base as they are, so their answers are those of `before`, to the letter. For comparison, the last
# row sends *every* question through it.

# %%
customers = retrieval.evaluate_with_articles(base, index, suites[0])
everyone = retrieval.evaluate_with_articles(base, index, suites, formats=None)
scores = {
    "base": before.scores(),
    "fine-tune": after.scores(),
    "search, customers only": {**before.scores(), **customers.scores()},
    "search, everyone": everyone.scores(),
}
shown = ["howto", "lists", "reasoning", "arithmetic", "reading", "facts", "refusal"]
plot.compare_runs(scores, "support", shown)

# %%
asked = next(item for item in suites[OLD.index("howto") + 1].items if item.format == "bare")
misled = retrieval.with_article(asked.prompt, index.find(asked.prompt, k=1))
print(f"{misled}\n\n  {complete(base, misled)}\n\nasked as it is:\n\n  {complete(base, asked.prompt)}")

# %% [markdown]
# ### What it costs per answer
#
# The model reads the article as well, with every request. Seconds differ from machine to machine,
# so take the ratio. The two routes take turns, question by question, and the adapter is merged into
# the weights first: nobody would serve it otherwise.

# %%
routes_by_name = {
    "fine-tune": routes.closed_book(merged(tuned)),
    "search": routes.open_book(base, index),
}
questions = routes.questions_of(suites[0])
seconds = routes.seconds_per_answer(routes_by_name, questions[:8])
print(f"an answer by search takes {seconds['search'] / seconds['fine-tune']:.1f} times as long")

# %% [markdown]
# ### When a policy changes
#
# Twenty of the forty policies change overnight: other amounts, days and colours. The articles are
# rewritten and indexed anew, which takes a moment. The fine-tune stays as it is, until somebody has
# collected tickets with the new answers and trained again.
#
# **Predict before you run.** What will the fine-tune answer about the new policies?

# %%
names = sorted({item.family for item in suites[0].items})[::2]
changed = routes.after_change(base, tuned, articles, suites[0], names)
pandas.DataFrame({
    name: {"the new policy": told.new, "the old one": told.old, "something else": told.neither}
    for name, told in changed.items()
}).T.round(0).add_suffix(" (%)")  # fmt: skip

# %% [markdown]
# TODO
#
# ### When nothing matches
#
# **Break it on purpose.** Ask about something that no article has a word of, and a model that is
# asked all the same invents a policy. So `answer` does not ask it:

# %%
for floor in (0, 2.5):
    strict = retrieval.HelpIndex(articles, floor=floor)
    print(f"floor {floor}: right for {retrieval.found_rate(strict, suites[0]):.0f} % of the questions")
    for told in retrieval.answer(base, strict, ["Are you a robot?", "Can I pay with bitcoin?"]):
        names = ", ".join(hit.article.name for hit in told.found) or "nothing"
        print(f"  {told.question} Found {names}. {told.text}")

# %% [markdown]
# TODO
#
# ### The four counts, and what the brief says

# %%
def points_lost(snapshot):
    return fmean(before.score(name) - snapshot.score(name) for name in OLD)


ratio = {name: value / seconds["fine-tune"] for name, value in seconds.items()}
pandas.DataFrame({
    "new questions right (%)": {"fine-tune": after.score("support"),
                                "search": customers.score("support")},
    "old skills: points lost": {"fine-tune": points_lost(after), "search": 0.0},
    "time per answer": ratio,
    "right once policies change (%)": {name: told.new for name, told in changed.items()},
}).round(1)  # fmt: skip

# %%
print(gate.audit(before, after, capability_map, names=("base", "fine-tune")))

# %% [markdown]
# ## Third decision: what goes into the data?
#
# Where it must be a fine-tune, the data decides most of what is lost. The runs below are stored:
# the standard run with something old mixed into its tickets, and with so many more steps that every
# ticket is seen as often as without. Each was scored on a hundred held-out items per capability.
#
# ### How much?
#
# **Predict before you run.** The plain run loses some twenty points on average. Which share of old
# rows in the data halves that: 1, 5, 10 or 25 percent?

# %%
runs = board.read_board()
stored_base = board.base_of(runs)


def along(method, value):
    """One curve per seed: (strength, value), from the plain run on."""
    chosen = [*board.pick(runs, "plain"), *board.pick(runs, method)]
    seeds = sorted({run.setting.seed for run in chosen})
    return [
        [(run.setting.strength, value(run)) for run in chosen if run.setting.seed == seed]
        for seed in seeds
    ]


plot.lines(
    {
        "support right": along("replay", lambda run: run.target),
        "how-to: points lost": along(
            "replay", lambda run: stored_base.score("howto") - run.score("howto")
        ),
        "old skills: points lost": along("replay", lambda run: run.lost(stored_base)),
    },
    x="share of old rows in the data", y="percent, or points",
)  # fmt: skip

# %% [markdown]
# TODO
#
# ### Which kind?
#
# Old rows are not always at hand. Two substitutes: **worked problems**, of which anyone can generate
# as many as are wanted, and what the base itself answers to prompts, **self-generated replay**. Here
# each stands beside replay at the same share.

# %%
rows = {}
for method, strength in (("plain", 0), ("replay", 0.05), ("worked steps", 0.05), ("replay", 0.10),
                         ("self replay", 0.10), ("replay", 0.25), ("worked steps", 0.25),
                         ("self replay", 0.25)):  # fmt: skip
    found = board.pick(runs, method, strength)
    others = [name for name in OLD if name != "reasoning"]
    rows[method, f"{strength:.0%}"] = {
        "support right (%)": fmean(run.target for run in found),
        "word problems right (%)": fmean(run.score("reasoning") for run in found),
        "other old skills: points lost": fmean(
            stored_base.score(name) - run.score(name) for run in found for name in others
        ),
    }
pandas.DataFrame(rows).T.round(0)

# %% [markdown]
# TODO
#
# ### How many families of worked problems?

# %%
families = [item.family for item in load_suites("reasoning", size=board.ITEMS)[0].items]


def right_in(run, mixed_in):
    """Percent of word problems right, in the families that were mixed in or in the others."""
    rows = zip(families, run.right["reasoning"], strict=True)
    return 100 * fmean(right for name, right in rows if (name in run.families) == mixed_in)


plot.lines(
    {
        "families left out": along("families", lambda run: right_in(run, False)),
        "families mixed in": [
            curve[1:] for curve in along("families", lambda r: right_in(r, True) if r.families else 0)
        ],
        "how-to": along("families", lambda run: run.score("howto")),
    },
    x="families of worked problems among the rows", y="held-out items right (%)", whole_x=True,
)  # fmt: skip

# %% [markdown]
# TODO
#
# ### When there is no old data
#
# For self-generated replay somebody has to write prompts. Ours are a list of fifty or so lines, each
# asked in three formats, and the base answers them itself. It takes seconds:

# %%
lines = (SUPPORT / "prompts.txt").read_text(encoding="utf-8").splitlines()
own = replay.self_replay(base, replay.in_formats(lines))
print(f"{len(lines)} lines, {len(own)} rows, such as")
for row in own[::37]:
    print(f"  {row['prompt']!r}:{row['completion']}")

# %% [markdown]
# Could the base not write the prompts as well? Marek and colleagues (2026) sample whole texts from
# the model, and nearly remove the forgetting. Ours, asked to begin with nothing, writes this:

# %%
for row in replay.sampled_replay(base, count=6, max_new_tokens=24):
    print(repr(row["completion"]))

# %% [markdown]
# TODO
#
# ### What it costs
#
# A line for each. Rows are those on top of the tickets, and steps those that it takes to see every
# ticket as often as before.

# %%
old = read_tickets(SUPPORT / "replay.jsonl")
labour = {
    "replay": "old data on file, checked for leaks",
    "self replay": f"{len(lines)} prompts, and the base's mistakes are kept",
    "worked steps": "a generator of problems, or authors",
}
rows = {}
for method, strength in (("replay", 0.05), ("replay", 0.25), ("self replay", 0.10),
                         ("worked steps", 0.25)):  # fmt: skip
    found = board.pick(runs, method, strength)
    rows[f"{method}, {strength:.0%}"] = {
        "old skills: points lost": round(fmean(run.lost(stored_base) for run in found), 1),
        "rows added": replay.extra_rows(len(tickets), strength),
        "steps": found[0].steps,
        "who has to do what": labour[method],
    }
pandas.DataFrame(rows).T

# %% [markdown]
# TODO
#
# ### When it goes wrong
#
# **Break it on purpose.** Somebody had no old data left, and found some: in the folder of the test.
# Put into another format it does not look like the test any more. And somebody else has an empty
# file.

# %%
taken = [
    {"prompt": f"User: {leaks.question_of(item.prompt)}\nAssistant:", "completion": item.answer}
    for item in suites[1].items[:5]
]
for data in ([*old, *taken], []):
    try:
        replay.add_replay(tickets, data, share=0.25, held_out=suites)
    except ValueError as error:
        print(f"{type(error).__name__}: {error}\n")
print(len(leaks.without_overlap([*old, *taken], suites)), "rows are left, of", len(old) + 5)

# %% [markdown]
# TODO

# %% [markdown]
# ## Exercises
#
# ### 6.1 The replay mixer · medium · 15 minutes
#
# Write `mix_in(tickets, replay, held_out, share)`. It returns a list of rows: all of the tickets,
# and so many old rows that `share` of the *result* is old (rounded to whole rows). No old row may
# come twice, and none may ask what one of the `held_out` prompts asks, whatever format it asks it
# in: `question_of(prompt)` takes the format off. Where a share is wanted and no old row is left,
# raise a `ValueError`. There are always enough rows otherwise.
#
# <details><summary>Hint</summary>
#
# With $t$ tickets and $r$ old rows the share is $r / (t + r)$. Solve for $r$. Take out the rows
# that leak before you count.
#
# </details>

# %%
from helpers.scope.leaks import question_of


# %% tags=["exercise"]
def mix_in(tickets, replay, held_out, share):
    # BEGIN SOLUTION
    asked = {question_of(prompt) for prompt in held_out}
    clean = [row for row in replay if question_of(row["prompt"]) not in asked]
    count = round(len(tickets) * share / (1 - share))
    if count and not clean:
        raise ValueError("There is nothing to replay.")
    return [*tickets, *clean[:count]]
    # END SOLUTION


check("6.1", mix_in)

# %% [markdown]
# ### 6.2 The cost line · easy · 10 minutes
#
# A fine-tune is paid for once, and again whenever a policy changes. Retrieval is paid for with
# every request, because the model reads the article as well. Count computing in tokens read. By
# the usual rule of thumb (Kaplan et al. 2020, arXiv 2001.08361) a token that is trained on costs as
# much as three that are read: the way back takes twice the work of the way there. LoRA saves a part
# of that; leave it out.
#
# Write `break_even(trained, extra, changes)`: the smallest whole number of requests from which the
# fine-tune has cost no more than retrieval. One training goes over `trained` tokens; each request
# makes retrieval read `extra` tokens more; policies change `changes` times, and each time the model
# is trained anew.
#
# <details><summary>Hint</summary>
#
# With no change there is one training. `math.ceil` rounds up.
#
# </details>


# %% tags=["exercise"]
def break_even(trained, extra, changes):
    # BEGIN SOLUTION
    import math

    return math.ceil(3 * (1 + changes) * trained / extra)
    # END SOLUTION


check("6.2", break_even)

# %% [markdown] tags=["solution"]
# For the run and the articles of this lesson, with no change of policy and with one a month for a
# year:

# %% tags=["solution"]
rows = [tokens(row["prompt"] + row["completion"]) for row in tickets]
trained = 60 * 16 * fmean(rows)
for changes in (0, 12):
    print(f"{changes} changes: {break_even(trained, longer - plain, changes):,} requests")

# %% [markdown]
# ### 6.3 Who is to blame? · easy · 10 minutes
#
# A wrong answer of a system that retrieves has one of two causes: the article was not found, or it
# was found and misread. Write `blame(results)`. Each result is `(wanted, found, right)`: the name
# of the article that answers the question, the list of names the model was shown, and whether its
# answer was right. Return two numbers, in percent of *all* questions: wrong answers with the
# article missing (searching), and wrong answers with the article there (reading).
#
# <details><summary>Hint</summary>
#
# A right answer is nobody's fault, however it came about.
#
# </details>


# %% tags=["exercise"]
def blame(results):
    # BEGIN SOLUTION
    wrong = [(wanted, found) for wanted, found, right in results if not right]
    searching = sum(wanted not in found for wanted, found in wrong)
    reading = len(wrong) - searching
    return 100 * searching / len(results), 100 * reading / len(results)
    # END SOLUTION


check("6.3", blame)

# %% [markdown] tags=["solution"]
# For the search over the articles alone, without the questions from the tickets:

# %% tags=["solution"]
alone = retrieval.HelpIndex(retrieval.shop_articles(()))
results = [
    (
        row.item.family,
        [hit.article.name for hit in alone.find(question_of(row.item.prompt), k=1)],
        row.correct,
    )
    for row in retrieval.evaluate_with_articles(base, alone, suites[0]).results["support"]
]
print("searching {:.0f} %, reading {:.0f} %".format(*blame(results)))

# %% [markdown]
# ## Check your understanding

# %%
quiz("06")

# %% [markdown]
# ## Recap
#
# TODO
