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
# **Time** 60 minutes, of which about one is computing · **You need** lesson 01; lesson 05
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
    fetch = "git clone -q https://github.com/OWNER/REPO course && sh course/tools/colab.sh"
    subprocess.run(f"{fetch} || (rm -rf course; false)", shell=True, check=True)
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
from helpers.models import load_model
from helpers.scope import leaks, replay, retrieval, routes
from helpers.scope.needs import EXAMPLE, RULE
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
# And here is what a made-up shop has answered. Half of its requests are about its policies, the
# rest is what its customers have come to expect of an assistant:

# %%
print("            requests  right  at 5 lost points  at 15")
for need in EXAMPLE:
    level = f"{need.traffic:6g} %   {need.level} %"
    print(f"{need.capability:12}{level}   {need.at_5:16}  {need.at_15}")

# %% [markdown]
# The form opens with these answers. Change what you like; the table below it follows.
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
written = form.path.read_text(encoding="utf-8").splitlines()
print(*written[:12], "# ...", *written[written.index("version: 1") :][:17], sep="\n")

# %% [markdown]
# Above the map, as comments, stand the answers and the rule: whoever finds the file in a year can
# see why a margin is three.
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
from helpers.scope.brief import Brief
from helpers.scope.needs import BadBrief, Need

for name, level in (("lists", 95), ("howto", 99.5)):
    try:
        Brief([Need(name, level, traffic=5)], before.scores())
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
    print(f"{question}\n  article found: {hit.article.shown}")
    print(f"  fine-tune: {routes.closed_book(tuned)(question)}")
for name, texts in (("articles alone", retrieval.shop_articles(())), ("with questions", articles)):
    rate = retrieval.found_rate(retrieval.HelpIndex(texts), suites[0])
    print(f"{name}: the right article comes first for {rate:.0f} % of held-out questions")

# %% [markdown]
# The first question finds its article, the second another one: to the index a dent is no word at
# all. (The fine-tune, too, answers it with a policy about something else.) Keep both percentages in
# mind. With the customers' own questions the right article always comes first, because the held-out
# questions are close relatives of them; the fine-tune has the same advantage. From the articles
# alone it is found two times in three. So the tickets are worth much on either road, and neither
# score says how the next thousand customers will put it.
#
# Only customers go through the search: prompts that begin with *Customer:*. All others reach the
# base as they are. So in the row *search, customers only* the old skills are those of `before` by
# construction; nothing was asked anew. For comparison, the last row sends *every* question through
# the search.
#
# **Predict before you run.** Which of the two answers more of the new questions? And what does an
# article above every question cost the old skills?

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

# %% [markdown]
# ### What just happened
#
# The search answers at least as many of the new questions as the fine-tune, and with nobody but
# customers sent there it costs the old skills nothing: the same weights read the same prompts.
#
# Be fair to the fine-tune, though. Its adapter could be switched on for customers only, and would
# then cost nothing either. What protects the old skills is the *door* between two kinds of
# requests. The second row and the last show what each route costs where there is none. The
# fine-tune loses most of the how-to answers, about a third of the word problems and two fifths of
# the lists. The search loses less, but with an article above every question lists and how-to are
# down by twenty points and word problems by twenty-five. For nearly nine prompts in ten it finds
# something that shares a word, and a model that has learned to answer from the text above uses it:

# %%
asked = [leaks.question_of(item.prompt) for suite in suites[1:] for item in suite.items]
hit = sum(bool(index.find(question, k=1)) for question in asked)
print(f"{hit} of {len(asked)} questions about old skills find an article\n")
question = "Can you show me how to light a candle?"
misled = retrieval.with_article(question, index.find(question, k=1))
print(f"{misled}\n\n  {complete(base, misled)}\n")
print(f"and asked as it is:\n\n  {complete(base, question)}")

# %% [markdown]
# ### What it costs per answer
#
# The model reads the article with every request. Seconds differ from machine to machine, so take
# the ratio. The two routes take turns, question by question, and the adapter is merged into the
# weights first: nobody would serve it otherwise.


# %%
def tokens(text):
    return len(base.tokenizer(text)["input_ids"])


prompts = [item.prompt for item in suites[0].items]
opened = [retrieval.with_article(p, index.find(leaks.question_of(p), k=1)) for p in prompts]
plain, longer = fmean(map(tokens, prompts)), fmean(map(tokens, opened))
ways = {"fine-tune": routes.closed_book(merged(tuned)), "search": routes.open_book(base, index)}
seconds = routes.seconds_per_answer(ways, routes.questions_of(suites[0])[:8])
ratio = seconds["search"] / seconds["fine-tune"]
more = f"{longer:.1f} with it, {longer - plain:.0f} more"
print(f"to be read: {plain:.1f} tokens without the article, {more}")
print(f"an answer by search takes {ratio:.1f} times as long")

# %% [markdown]
# There is twice as much to read, and hardly any time is lost. A prompt is read in one pass, while
# an answer is written token by token, with a pass for each, and the answers are as long as before.
# With articles of several pages, or where computing is paid by the token, this looks different:
# exercise 6.2 does the sum.
#
# ### When a policy changes
#
# Some of the policies change overnight: other amounts, days and colours. The articles are rewritten
# and indexed anew, which takes a moment. The fine-tune stays as it is, until somebody has collected
# tickets with the new answers and trained again.
#
# **Predict before you run.** What will the fine-tune answer about the new policies?

# %%
names = sorted({item.family for item in suites[0].items})[::2]
told = routes.after_change(base, tuned, articles, suites[0], names)
changed = {"fine-tune": told["fine-tune"], "search": told["retrieve"]}
asked = sum(item.family in names for item in suites[0].items)
print(f"{len(names)} policies have changed. Of the {asked} questions about them are answered with")
pandas.DataFrame({
    name: {"the new policy": found.new, "the old one": found.old, "something else": found.neither}
    for name, found in changed.items()
}).T.round(0).add_suffix(" (%)")  # fmt: skip

# %% [markdown]
# The fine-tune goes on telling customers what is no longer true, in the same assured words. No
# metric of its own would notice: on the test of last month it is as good as ever.
#
# ### When nothing matches
#
# **Break it on purpose.** Ask about something that no article has a word of. `answer` does not ask
# the model then, and says that it found nothing. But a single shared word is enough to find
# something, so a search needs a **floor**, a score below which an article counts as not found.

# %%
strict = retrieval.HelpIndex(articles, floor=2.5)
for question in ("Are you a robot?", "Can I pay with bitcoin?", "How do I make tea?"):
    (loose,), (tight,) = (retrieval.answer(base, i, [question]) for i in (index, strict))
    print(f"{question}\n  no floor:     {loose.text}\n  floor 2.5:    {tight.text}")
    print(f"  not searched: {routes.closed_book(base)(question)}")
rate = retrieval.found_rate(strict, suites[0])
print(f"with the floor the right article comes first for {rate:.0f} % of held-out questions")

# %% [markdown]
# Without a floor somebody who asks about bitcoin is offered instalments. With it nothing is
# promised, and none of the questions that have an answer is turned away. (We set it after looking
# at a few such questions. A floor of your own needs a list of questions without an answer, and it
# belongs in the audit.)
#
# The tea shows what is left to decide. Somebody writes to the shop and asks for something that the
# base knows well. What finds no article could be passed on to the base as it is, which makes good
# tea and has no idea of payments. Who is sent where is the real work of a system that searches.
#
# ### The four counts, and what the brief says


# %%
def points_lost(snapshot):
    return fmean(before.score(name) - snapshot.score(name) for name in OLD)


pandas.DataFrame({
    "new questions right (%)": {"fine-tune": after.score("support"),
                                "search": customers.score("support")},
    "old skills: points lost, with a door": {"fine-tune": 0.0, "search": 0.0},
    "without one": {"fine-tune": points_lost(after), "search": points_lost(everyone)},
    "time per answer (ratio)": {"fine-tune": 1.0, "search": ratio},
    "changed policies right (%)": {name: found.new for name, found in changed.items()},
}).round(1)  # fmt: skip

# %% [markdown]
# On the first count and in time the two are close (three questions of sixty prove little); the
# zeros behind a door hold by construction. The search loses less where there is no door, and wins
# outright once a policy changes. It would be worse off where the base cannot read an article, where
# nothing is written down, where words do not match, or where what is wanted is no fact but a
# manner: a tone, a format, a way of working. The rule that this comparison supports is modest: what
# changes belongs into articles, and what stays may go into weights.
#
# What does the brief say about the fine-tune? Its map goes straight into the audit of lesson 05:

# %%
print(gate.audit(before, after, capability_map, names=("base", "fine-tune")))

# %% [markdown]
# BLOCK, and not because of the average: every blocked row is a promise of the brief that is broken
# for certain, sixty items being plenty for losses of this size. Where it says INCONCLUSIVE they are
# too few, as the brief has told us. (Of the search the gate would say INCONCLUSIVE, until it gets
# the items. That the same weights have read the same prompts, it cannot know.)

# %% [markdown]
# ## Third decision: what goes into the data?
#
# Where it must be a fine-tune that everyone gets, the data decides most of what is lost. The runs
# below are stored: the standard run with something old mixed into its tickets, and with so many
# more steps that every ticket is seen as often as without. Each was scored on a hundred held-out
# items per capability.
#
# ### How much?
#
# **Predict before you run.** The plain run loses some twenty points on average. Which share of old
# rows in the data halves that: 1, 5, 10 or 25 percent?

# %%
from helpers.mitigations import board

runs = board.read_board()
stored_base = board.base_of(runs)


def along(method, value, start="plain"):
    """One curve per seed: (strength, value), from the plain run on."""
    chosen = board.pick(runs, method) + (board.pick(runs, start) if start else [])
    seeds = sorted({run.setting.seed for run in chosen})
    return [
        sorted((run.setting.strength, value(run)) for run in chosen if run.setting.seed == seed)
        for seed in seeds
    ]


# %%
plot.lines(
    {
        "support right": along("replay", lambda run: run.target),
        "how-to: points lost": along(
            "replay", lambda run: stored_base.score("howto") - run.score("howto")
        ),
        "old skills: points lost": along("replay", lambda run: run.lost(stored_base)),
    },
    x="share of old rows in the data (0.1 = 10 %)", y="percent, or points",
)  # fmt: skip

# %% [markdown]
# One percent, which is a dozen rows, saves one to seven of twenty-three points, by seed. Five
# percent halves the loss, ten leave two fifths of it, twenty-five a quarter. Fifty take twice the
# steps of the plain run and buy hardly anything more. All the while the target stays where it was,
# give or take a few points, so this is no case of having learned less.
#
# Bethune and colleagues (2025) find that one percent of pre-training data in the mixture is enough
# to prevent the forgetting of it. One percent of a large run is many thousands of examples, of ours
# it is twelve; and they measure the loss on pre-training text, which may hold while answers go. A
# share says little until one knows of what.
#
# And an average is an average. At twenty-five percent lists are still almost twenty points down,
# and no brief allows that: at this learning rate, replay alone does not ship. The run that did, in
# lesson 05, had three old rows for every ticket, trained every weight, at its own low rate, and
# took six times the steps.
#
# > **Common gotcha.** Old rows in the data make the run longer, or the tickets rarer. If the steps
# > stay as they were, each ticket is seen less often, and less is forgotten because less is
# > learned. Look at the target first.
#
# ### Which kind?
#
# Old rows are not always at hand. Two substitutes: **worked problems**, which a program can write
# without end, and **self-generated replay**, what the base itself answers to prompts. Here each
# stands beside replay of the same share. All values are means of three seeds.

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
# Look at one share at a time. At ten percent the base's own answers do at least as well as old
# data. At twenty-five they do no better than at ten, while replay does: there are only some hundred
# and fifty different rows of them, and each comes two or three times.
#
# Worked problems hold the skill they practise, at five percent better than old rows of all kinds
# do. To the other skills they are worth a good deal less. A small share that is to hold everything
# should therefore hold some of everything.
#
# ### How many families of worked problems?
#
# One reads that as few as nine data sets with worked steps preserve reasoning. Nine is what Chung
# and colleagues (2022) mixed in, among some eighteen hundred tasks; a test of fewer we do not know.
# Our word problems come in ten families, such as ages, sales and who is taller. Here a quarter of
# the rows are problems of one, two, three or five of them, other ones for each seed, and the
# families *left out* are scored by themselves.
#
# **Predict before you run.** With one family in the data, what becomes of the nine others?

# %%
families = [item.family for item in load_suites("reasoning", size=board.ITEMS)[0].items]


def right_in(run, mixed_in):
    """Percent of word problems right, in the families that were mixed in or in the others."""
    rows = zip(families, run.right["reasoning"], strict=True)
    return 100 * fmean(right for name, right in rows if (name in run.families) == mixed_in)


plot.lines(
    {
        "families left out": along("families", lambda run: right_in(run, False)),
        "families mixed in": along("families", lambda run: right_in(run, True), start=None),
        "how-to questions": along("families", lambda run: run.score("howto")),
    },
    x="families of worked problems among the rows", y="held-out items right (%)", whole_x=True,
)  # fmt: skip

# %% [markdown]
# One family already brings back two thirds of what the others had lost: what is practised on sales
# helps with ages too. Beyond it the line wanders, and with fifty to ninety items a seed it may.
# Some of this is due to *anything* old being in the data, but not most of it: with one family the
# how-to questions, which no problem practises, get back only a fifth of their loss, and with more
# families nearly half. Whether it is the steps that carry over, or the words of word problems,
# these runs do not say. What run would?
#
# ### When there is no old data
#
# For self-generated replay somebody has to write prompts. Ours are a list of some fifty lines, each
# asked in three formats. The base answers them before it is fine-tuned, and its answers are taken
# for right, whatever they say; only empty, cut-off and repeated ones are left out:

# %%
lines = (SUPPORT / "prompts.txt").read_text(encoding="utf-8").splitlines()
own = replay.self_replay(base, replay.in_formats(lines))
print(f"{len(lines)} lines, {len(replay.in_formats(lines))} prompts, {len(own)} rows, such as")
for row in own[::37]:
    print(f"  {row['prompt']!r}:{row['completion']}")

# %% [markdown]
# Read a few before you use them. The bird house is no how-to at all: where the base is wrong, its
# mistakes are replayed. That keeps what it could do and adds nothing.
#
# Could the base write the prompts as well? Marek and colleagues (2026) let models generate all of
# their replay, and find that forgetting nearly disappears where capacity is not used up. Ours, made
# to begin with nothing six times, writes this, less what is empty or repeated:

# %%
for row in replay.sampled_replay(base, count=6, max_new_tokens=24):
    print(repr(row["completion"]))

# %% [markdown]
# Scraps and the beginnings of stories, and not one question. The course model has learned to answer
# and never to ask: in its pre-training the loss was taken on answers only, stories apart. Whether a
# model can invent its own old data depends on how it was trained. Sample a few texts and look.
#
# ### What it costs
#
# A line for each of this lesson's remedies. Rows are those on top of the tickets, and steps those
# that it takes to see every ticket as often as before. Points lost are means of three seeds.

# %%
labour = {
    "search": "articles kept up to date, a floor, and the door",
    "plain": "tickets, and new ones whenever a policy changes",
    "replay": "the same, and old data that is checked for leaks",
    "self replay": f"the same, {len(lines)} prompts, and a look at the answers",
    "worked steps": "the same, and a generator of problems",
}
rows = {"search, with a door": (0.0, 0, 0, round(longer - plain))}
for method, share in (("plain", 0), ("replay", 0.05), ("replay", 0.10), ("replay", 0.25),
                      ("self replay", 0.10), ("worked steps", 0.25)):  # fmt: skip
    found = board.pick(runs, method, share)
    lost = round(fmean(run.lost(stored_base) for run in found), 1)
    added = replay.extra_rows(len(tickets), share)
    rows[f"{method}, {share:.0%}"] = (lost, added, found[0].steps, 0)

# %%
columns = ["old skills: points lost", "rows added", "training steps", "more tokens per answer"]
table = pandas.DataFrame.from_dict(rows, orient="index", columns=columns)
table["labour"] = [labour[name.split(",")[0]] for name in table.index]
table

# %% [markdown]
# Mixing needs no second model, no second pass and no more memory than the plain run: its price is
# steps, by the share, and somebody's labour. With old data at hand we would begin with a quarter of
# the rows, which costs a third more steps and leaves a quarter of the loss; without any, with ten
# percent of the base's own answers, which costs some fifty prompts and leaves a third. Lesson 07
# asks what penalties, freezing and sharper optimizers can add to it.
#
# ### When it goes wrong
#
# **Break it on purpose.** Somebody had no old data left, and found some: in the folder of the test.
# Put into another format it does not look like the test any more. And somebody else has an empty
# file.

# %%
old = read_tickets(SUPPORT / "replay.jsonl")
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
# The check takes the format off both sides, and polite words too. It cannot find the same sum in
# other words. Against that helps only to split the data *before* it is put into words, as this
# course does for its sums, lists and problems.
#
# > **A note from experience.** The brief is worth its hour even if no model is ever trained. The
# > row about which two people disagree is the one to test first, and the one that nobody had an
# > opinion on is where the complaint will come from.

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
# every request, because the model reads the article as well. Count computing in tokens read. By the
# usual rule of thumb (Kaplan et al. 2020, arXiv 2001.08361) a token that is trained on costs as
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
# 1. A retention brief asks what users would feel, and a fixed rule makes margins of it. It says at
#    once which margins the test items cannot hold; the margin is not what gives way.
# 2. What can be looked up need not be trained. Here a search over articles is level with the
#    fine-tune on the target and in time, and knows a new policy at once. It costs old skills
#    nothing as long as only questions about the shop go through it; keep chance matches out with a
#    floor.
# 3. Old rows in the data hold old skills: five percent halve the loss, a quarter leaves a quarter
#    of it, and who has no old data can let the base answer prompts. The price is steps and labour.
#    Test items among the rows turn the score into memory, in whatever format they come.
#
# **Next:** lesson 07 leaves the data alone and holds the weights. The map of lesson 05, or the one
# that you have written here, judges both.
#
# ## Sources
#
# - Robertson et al. (1994), *Okapi at TREC-3*, for BM25; Lù (2024), *BM25S*, arXiv 2407.03618, for
#   the package that computes it.
# - Bethune et al. (2025), *Scaling laws for forgetting during finetuning with pretraining data
#   injection*, arXiv 2502.06042, for one percent of pre-training data.
# - Marek et al. (2026), *Forgetting in language models: capacity, optimization, and self-generated
#   replay*, arXiv 2605.26097.
# - Chung et al. (2022), *Scaling instruction-finetuned language models*, arXiv 2210.11416, for the
#   nine data sets with worked steps.
# - Kaplan et al. (2020), *Scaling laws for neural language models*, arXiv 2001.08361, for the cost
#   of a token in training.
# - The glossary of the course: `docs/GLOSSARY.md`.
