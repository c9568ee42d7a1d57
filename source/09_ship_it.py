# %% [markdown]
# # 09 · Ship it
#
# {{badge}}
#
# A fine-tune has passed its audit. You put it before a few users, watch what they complain of
# without fooling yourself, and take it back, also after the server was killed. Files, database,
# server and answers are real; the users are simulated.
#
# **Time** core 20 minutes, with *Deeper* 86 · computing 75 s, of which the core 37 s · **You need**
# lesson 05; lessons 01 and 06 help
#
# **Objectives**
#
# 1. Let a version before users only with a passed report on its very files, and before few at
#    first.
# 2. Watch harm at every moment: say why a p-value may not be watched, and what may.
# 3. Take a version back in one call, and read from a journal what went wrong.

# %%
import os, subprocess, sys

if "google.colab" in sys.modules and not os.path.exists("course"):
    fetch = "git clone -q https://github.com/OWNER/REPO course && sh course/tools/colab.sh"
    subprocess.run(f"{fetch} || (rm -rf course; false)", shell=True, check=True)
sys.path.insert(0, "course" if os.path.exists("course") else "..")

# %%
import tempfile
from pathlib import Path

import pandas
from IPython.display import display
from openai import APIConnectionError, OpenAI

from helpers import plotting as plot
from helpers.audit import CapabilityMap
from helpers.exercises import check, quiz
from helpers.widgets.canary import CanaryLab

work = Path(tempfile.mkdtemp())

# %%
from helpers.rollout import pipeline, simulate
from helpers.rollout.alarms import false_alarms
from helpers.rollout.canaries import Canaries
from helpers.rollout.errors import RolloutError
from helpers.rollout.journals import cases
from helpers.rollout.kept import kept
from helpers.rollout.measured import measured_traffic
from helpers.rollout.program import Program
from helpers.rollout.registry import Registry
from helpers.rollout.router import Router
from helpers.rollout.serve import build, categories_of, serving
from helpers.rollout.traffic import HOUR
from helpers.rollout.users import visit
from helpers.rollout.window import joined

# %% [markdown]
# ## Why this matters
#
# An audit answers for what is on its map. Users ask what they like. What the map has forgotten is
# first measured on them. Left to decide is on how many, for how long, and whether there is a way
# back.

# %% [markdown]
# ## Who may pass
#
# One program leads from a plan to the registry: baseline, training, scores of every checkpoint, the
# choice of one, the audit on other items. Three plans: `careful-1` mixes old rows
# in. `forgetful-1` does as well, but its team has forgotten how-to questions: they are neither
# among its old rows nor on its map. `hasty-1` is lesson 01's run.
#
# What takes long is kept on disk; gate and registry run here. (*Deeper* runs one plan whole.)
#
# **Predict before you run.** What does the gate say of each?

# %% tags=["predict"]
for name in ("careful-1", "forgetful-1", "hasty-1"):
    print(f"\n{name}")
    pipeline.run(kept(name, into=work))

# %% [markdown]
# SHIP, SHIP and BLOCK. The forgetful team's audit is honest: twelve rows of 600 items each, all
# passed. Nobody asked it about how-to questions.
#
# Only what has passed may go before users. A version is registered by the digests of its files, and
# admitted by a report that says SHIP about files with these digests.

# %%
registry = Registry(work / "rollout.db")
try:
    registry.stage("hasty-1", 0.05)
except RolloutError as error:
    print(error)
registry.versions()

# %% [markdown]
# ## Few users first
#
# `careful-1` goes live, `forgetful-1` gets a quarter of the users. Who belongs to the quarter is
# decided by a keyed hash of the user's name, a number from 0 to 1: below 0.25 it is the candidate,
# at every visit. When the share grows, does anybody go back?

# %%
registry.stage("careful-1", 1.0)
registry.go_live("careful-1")
registry.stage("forgetful-1", 0.25)
print(registry.state())

key = bytes(range(32))  # so that you see what we saw; a real one is secret, and made by the server
(work / "rollout.db.key").write_bytes(key)
router, names = Router(key), [f"user-{n}" for n in range(2000)]
few, more = ({name for name in names if router.arm(name, share) == "candidate"}
             for share in (0.25, 0.5))  # fmt: skip
print(f"at 25 %: {len(few)} of 2,000; at 50 %: {len(more)}; went back: {len(few - more)}")

# %% [markdown]
# Nobody does. Now the server: it holds the base once and both adapters, and speaks OpenAI's
# protocol. Simulated users ask three hundred questions, drawn by lesson 06's brief, and report
# every wrong answer.
#
# **Predict before you run.** Will three hundred answers show what the candidate has forgotten?

# %% tags=["predict"]
service = build(work / "rollout.db", key=key, categories=categories_of(work / "forgetful_map.yaml"))
with serving(service) as url:
    client = OpenAI(base_url=url, api_key="none")
    said = client.chat.completions.create(
        model="shop", user="user-7", messages=[{"role": "user", "content": "How do I make tea?"}]
    )
    visits = visit(url, measured_traffic(), 300, users=100, complains=1.0)
print(said.model, "says:", said.choices[0].message.content)
visits

# %%
seen = joined(service.telemetry.answers(), service.telemetry.events())
plot.harm_by_category(seen)

# %% [markdown]
# Not for certain. In "other", where this map's how-to questions end up, 3 of the candidate's 15
# answers are wrong and 1 of the live version's 31; the intervals overlap, and another three hundred
# questions may show none (over six draws, 0 to 4 wrong how-to answers of 8 to 19). Overall 9.1 %
# are wrong against 7.6.
# %% [markdown]
# ## A day of it
#
# More answers, then: a day of a thousand an hour, simulated. Each version does the harm that was
# measured of it on 600 items a category (order sums: 300). To how-to questions the live version
# gives 1 wrong answer in a hundred, the candidate 10.
#
# A **monitor** for each category compares, every hour, what harm users report of either version. It
# says *roll back*, *widen* or *hold*. Its margin is the map's; what resembles no row of the map is
# called "other". One more monitor takes all answers together, with a margin of one point.
#
# **Predict before you run.** Which comes first: the monitor of all answers, or that of "other"?

# %% tags=["predict"]
guess = categories_of(work / "forgetful_map.yaml").guess
day = simulate.answers(measured_traffic(), 18, 1000, share=0.25, users=50_000, texts=True)
day["category"] = day["prompt"].map({text: guess(text)[0] for text in set(day["prompt"])})

canaries = Canaries.from_map(CapabilityMap.load(work / "forgetful_map.yaml"), whole=1.0)
for hour in range(1, 19):
    looks = canaries.look(day, window=2 * HOUR, now=hour * HOUR)
    if looks.red:
        break
print(f"hour {hour}")
looks

# %% [markdown]
# That of "other", at hour 9; on five other days it came at hours 5 to 20. The monitor of all
# answers said *hold* on each: nine points in a fifth of the traffic are 1.2 of all of it, and its
# margin is one. Watch the parts, and pay for it: alpha is shared out among fourteen monitors. Were
# only half of the wrong answers reported, none would be red within the day.

# %% [markdown]
# ## Why it may be asked every hour
#
# Whoever looks at a p-value every hour has many chances to be wrong. Here are 500 rollouts of
# candidates that harm by *just* the margin, so that every roll-back is a mistake.
#
# **Predict before you run.** Alpha is 5 %. How many of them does a test roll back that is looked at
# after every answer?

# %% tags=["predict"]
alarms = false_alarms(peeks=10)
print(alarms)
plot.false_alarms(alarms)

# %% [markdown]
# 36 %. Ten looks suffice for 18. Looked at once, at the end, the test keeps its promise (3.6 %),
# which was for one look.
#
# The monitor stays at 3.2 %, looked at after every answer. Inside is a sceptic who bets, at each
# answer, a part of what they own on harm beyond the margin. The odds are fair while there is none,
# and from fair odds nobody can expect to get rich: a wealth of 20 is *ever* reached in one rollout
# of twenty at most (Ville 1939; exercise 9.2 builds it).
#
# How long it takes, and at whose cost, depends on the share of the users, the traffic, the harm and
# the margin. **Predict:** ten times as many users on the candidate; how many times as many harmed?

# %%
CanaryLab()

# %% [markdown]
# Not three times as many: 35 instead of 13, since the verdict comes in 3.5 hours instead of 14.
# From 1
# to 10 % it is 11 to 15. Harm must happen to be seen; a small share only slows it
# down.

# %% [markdown]
# ## The way back
#
# A rollback is one call. It needs no network, since the old files are there; they are compared with
# the digests they were registered with. It must also work when the server has died. Here the server
# is a process of its own, and is killed in the middle of an answer.

# %%
store = work / "rollout.db"
with Program(store) as server, OpenAI(base_url=server.url, api_key="none", max_retries=0) as client:
    stream = client.completions.create(model="(base)", prompt="What", max_tokens=200, stream=True)
    next(stream)
    server.kill()
    try:
        list(stream)
    except APIConnectionError as error:
        print("in mid-stream:", error)
print(registry.rollback(f"monitor of other: at least {looks['other'].lower:g} points"))

# %%
with Program(store) as server, OpenAI(base_url=server.url, api_key="none") as client:
    one = sorted(few)[0]
    said = client.chat.completions.create(
        model="shop", user=one, messages=[{"role": "user", "content": "How do I brush a rabbit?"}]
    )
print(f"{one} had the candidate, and now gets {said.model}: {said.choices[0].message.content}")
print(f"{len(service.telemetry.answers())} answers are in the telemetry.")
registry.journal()

# %% [markdown]
# Rolled back in a hundredth of a second while no server ran, and at the next
# start everybody has the old version. The 301 answers that were given before the kill are in the
# telemetry, and so is the one after; the answer that was cut off is not, since nobody had it.
# (Tests kill the server 100 times under load, and the registry 600 times.)

# %% [markdown]
# ## Exercise
#
# ### 9.1 Read four journals · medium · 8 minutes
#
# Four rollouts of another shop, journal and monitor interleaved. The margin is 2 points, and the
# plan asks that 8 points are ruled out before 5 % are left, and 3 before 25 %. The registry allowed
# every line. For each letter give the number of the first line that a careful person would not have
# written, or `None` where there is no such line.
#
# <details><summary>Hint</summary>
#
# Read what the monitor said just *before* each line, to the end. Is what was done then what it
# said?
#
# </details>

# %%
for case in cases()[:4]:
    display(case)

# %% tags=["exercise"]
# BEGIN SOLUTION
# STUB: careless = {"A": ..., "B": ..., "C": ..., "D": ...}
careless = {"A": None, "B": 9, "C": 8, "D": 8}
# END SOLUTION
check("9.1", careless)

# %% [markdown]
# ## Check your understanding

# %%
quiz("09")

# %% [markdown]
# ## On Monday
#
# Before any server that speaks OpenAI's protocol, such as vLLM with one base and your adapters
# (`docs/ship/vllm.sh`): let the router say which version answers, and note every answer.
#
# ```python
# import time, uuid
#
# from helpers.rollout.canary import Monitor
# from helpers.rollout.router import Router
# from helpers.rollout.serve import read_key
# from helpers.rollout.telemetry import AnswerRow, Telemetry
# from helpers.rollout.window import joined
#
# key = read_key("rollout.key")  # made at first; keep it as long as the users
# router, log, share = Router(key, holdout=0.05), Telemetry("rollout.db", key), 0.05
#
# def answer(user, question, ask):
#     arm = router.arm(user, share)
#     version = "v2" if arm == "candidate" else "v1"
#     said, name = ask(version, question), uuid.uuid4().hex
#     log.record(AnswerRow(name, time.time(), user, version, arm, share))
#     return said, name  # a complaint comes back with this name
#
# said, name = answer("ana", "Where is my parcel?", lambda version, question: "On its way.")
# log.feedback(name, harm=True)
# events = joined(log.answers(), log.events())
# print(Monitor(margin=3).look(events, window=24 * 3600, now=time.time(), holdout=0.05))
# ```
#
# **Start with** a window as long as complaints take, the margins of your map, 5 % of the users, and
# 30 days before the old files may go (conventions, ours; no source). **Cost** of a million requests
# a day, on paper: 180 dollars of GPUs, of it 9 for the candidate's 5 %, and 225 MB of telemetry
# (*Deeper* has the assumptions). **Do not copy** the toy's users, who report
# every wrong answer within hours.

# %% [markdown]
# ## Recap
#
# 1. A version goes before users with a passed report on its very files, few first, sticky. A green
#    audit answers for its map alone.
# 2. A p-value may be looked at once. A bet at fair odds may be watched all the time, for each
#    category of the traffic, since the whole hides what a fifth of it suffers.
# 3. A rollback is one call that needs files and nothing else, and the journal tells what was done
#    on whose word.
#
# **Next:** lesson 10 asks what holds at thirty-five times the size.

# %% [markdown]
# # Deeper
#
# Each section stands by itself, but for the registry and the store of the core.
#
# - A plan run whole, and its log (8 min)
# - A day, hour by hour (6 min)
# - The bet, with exercise 9.2 (16 min)
# - What it costs that one may look (6 min)
# - Stages, with exercise 9.3 (14 min)
# - What the map forgot (8 min)
# - Two versions in one batch (4 min)
# - Break it on purpose (6 min)
# - The same with other tools, and the bill (8 min)

# %% [markdown]
# ## A plan run whole, and its log (8 min)
#
# Here lesson 01's plan is run from its first step to the registry, on 25 items a row: enough for a
# loss of eighty points.

# %%
hasty = pipeline.run(kept("hasty-1", into=work / "whole", whole=True))

# %% [markdown]
# Each step's result is put into place whole or not at all, and knows the digests of what it was
# made from. Killed after any step and before each of 177 changes of the disk, the pipeline came to
# the same digest (`tests/test_rollout_pipeline.py`). After each step it writes one page anew:

# %%
from IPython.display import Markdown

Markdown(hasty.log.read_text(encoding="utf-8"))

# %% [markdown]
# It could have been read off at step 30: by the choosing items `howto` was 45 points beyond its
# margin there already. Most rows say INCONCLUSIVE, since 25 items can only find what is enormous.
# The gradients of new rows and old skills had met at right angles before training (cosines of -0.05
# to 0.02), which lesson 02 says tells nothing; the drift of 29 to 46 % tells that much was moved.
#
# ### How `careful-1` came to its SHIP
#
# Not at the first try. With the shop's old rows alone the gate could not tell: lists had fallen
# from 91.5 to 87.8, and support stood at 90 with its lower end below 85. More rows of lists and
# refusals went in. By then some ten recipes had been looked at on items that partly judge too, and
# lesson 05 says what that is worth. So count them: with alpha shared among candidates, does it
# still ship?

# %%
from dataclasses import replace

from helpers.audit import audit
from helpers.snapshots import Snapshot

folder = work / "runs" / "careful-1"
before, after = Snapshot.load(folder / "baseline" / "judge"), Snapshot.load(folder / "judge")
shop = CapabilityMap.load("../data/capability_map.yaml")
for candidates in (1, 2, 5, 10):
    report = audit(before, after, replace(shop, alpha=shop.alpha / candidates))
    print(f"{candidates:2} candidates counted: {report.decision}")

# %% [markdown]
# For five candidates, and not for ten, where support falls short (this is seed 0). With alpha as it
# stands all three seeds ship, judged on 600 items a row. One choice more was made after a result:
# seed 1 had been INCONCLUSIVE when of two equal checkpoints the earlier one was taken.
# `forgetful-1` came to its SHIP as the end of a run whose half-way checkpoint could not tell; its
# seeds 1 and 2 say SHIP and INCONCLUSIVE.

# %% [markdown]
# ## A day, hour by hour (6 min)
#
# What the monitor of "other" knew at each hour of the simulated day: which differences of the harm
# rates it had not ruled out yet.

# %%
again = Canaries.from_map(CapabilityMap.load(work / "forgetful_map.yaml"), whole=1.0)
path = [(h, 0.25, again.look(day, 2 * HOUR, h * HOUR)["other"]) for h in range(2, hour + 1)]
plot.confidence_path(path, margin=3.0)

# %% [markdown]
# At hour 5 everything below one point is ruled out: the candidate is worse. That it is worse by
# more than the margin takes until hour 9, when all up to 3.5 points is ruled out. Above, up to 17.8
# points are still possible; the truth put into the simulation is 9, less what the guess of
# categories mixes in.
#
# The band is a **confidence sequence**: at *no* hour will it have left the truth outside, but for
# the chance alpha. A confidence interval promises that of one hour that was chosen beforehand. It
# only ever narrows, because what was ruled out once stays ruled out.

# %% [markdown]
# ## The bet (16 min)
#
# Why may the monitor be looked at, and a p-value not? Think of a sceptic who bets, at each answer,
# a part of what they own on "the candidate harms more than the margin". The odds are fair if the
# claim is true that it does not: then nobody can expect to earn, at no answer and at no later one.
# Whoever begins with 1 and cannot expect to earn has 20 or more, at *any* time, with a chance of at
# most one in twenty (Ville 1939). So: roll back when the sceptic owns 20.
#
# What is the bet about? With a share $s$ of the users, harm in an answer of the candidate counts
# $1/s$ and harm in one of the control's $-1/(1-s)$. The candidate gives few answers, each of which
# counts much, and the mean is just the difference of the two harm rates. The sceptic stakes the
# part $\lambda$:
#
# $$W_t = W_{t-1}\,\bigl(1 + \lambda\,(x_t - \text{margin})\bigr)$$
#
# ### 9.2 The bet · medium · 8 minutes
#
# Write `wealth(chosen, harmed, share, margin, bet)`. `chosen` and `harmed` are lists of `True` and
# `False`, one per answer: was it the candidate's, did it do harm? `share` and `margin` lie from 0
# to 1. Begin with 1; return the list of what the sceptic owns after each answer.
#
# <details><summary>Hint</summary>
#
# An answer without harm has $x = 0$, in either arm. It still costs the sceptic a little.
#
# </details>


# %% tags=["exercise"]
def wealth(chosen, harmed, share, margin, bet):
    # BEGIN SOLUTION
    have, road = 1.0, []
    for candidate, harm in zip(chosen, harmed):
        x = (1 / share if candidate else -1 / (1 - share)) if harm else 0.0
        have *= 1 + bet * (x - margin)
        road.append(have)
    return road
    # END SOLUTION


check("9.2", wealth)

# %% [markdown]
# Two hundred rollouts of 4,000 answers each, with a bet of 0.1: how many sceptics ever own 20?

# %%
import numpy


def ever(candidate, bet=0.1, count=200):
    rng, rich = numpy.random.default_rng(0), 0
    for _ in range(count):
        chosen = rng.random(4000) < 0.25
        harmed = rng.random(4000) < numpy.where(chosen, candidate, 0.03)
        road = wealth(chosen.tolist(), harmed.tolist(), 0.25, 0.01, bet) or [1]
        rich += max(road) >= 20
    return rich / count


for candidate in (0.03, 0.04, 0.08):
    print(f"candidate {candidate:.0%}, old version 3 %, margin 1 point: {ever(candidate):.1%}")

# %% [markdown]
# None where there is no harm, 3 % at the margin, where 5 are allowed, and 98 % where harm is five
# points. The bound holds for every bet and every number of looks.
#
# How much to stake is an art: too little earns slowly, too much ruins the sceptic. The monitor
# learns the two rates as it goes, and stakes what would earn most if they were true (Waudby-Smith
# and Ramdas 2020; for two streams Turner, Ly and Grünwald 2021). `helpers/rollout/eprocess.py` has
# it; the published package `ville` agrees with it to nine digits in the tests.
# %% [markdown]
# ## What it costs that one may look (6 min)
#
# Freedom is not free: a sceptic who may stop at any time must be surer than one who has promised to
# look once. How many answers does the monitor need to find harm, against the others?
#
# - **oracle**: the same bet, by somebody who knows both rates;
# - **once**: the fixed test, planned for the true harm with a power of 80 %, looked at as planned;
# - **once, 5 planned**: the same, planned for 5 points whatever the truth.
#
# **Predict before you run.** By what factor is the monitor slower than the test that looks once?

# %% tags=["predict"]
from helpers.rollout.rollouts import rollouts

table = {}
for points in (3, 5, 10):
    for name, how in {
        "oracle": {"method": "oracle"},
        "monitor": {"method": "anytime"},
        "once": {"method": "once"},
        "once, 5 planned": {"method": "once", "planned": 0.08},
    }.items():
        found = rollouts(0.5, 0.03, 0.03 + points / 100, 1.0, window=0, hours=24, **how)
        half = found.median_hours * 400
        told = f"{half:,.0f} answers" if half < 1e9 else "fewer than half"
        table.setdefault(name, {})[f"{points} points"] = (
            f"{told}, {found.rate('roll back'):.0%} found"
        )
pandas.DataFrame(table).T

# %% [markdown]
# By next to none: 2,644 answers instead of 2,611, 790 instead of 784, 227 instead of 218. And the
# monitor has found (nearly) all of them, since it may go on where the test that looks once stops at
# its 80 %. The price is paid against the oracle, who knows both rates: 1.5 times as many answers.
#
# The last row is what one-look tests cost in practice. Planned for five points where the truth is
# three, it finds 40 %; where the truth is ten, it lets 784 answers pass that 227 would have judged.

# %% [markdown]
# ## Stages (14 min)
#
# How wide should the first stage be? `try_stages` simulates hundreds of rollouts of a plan: of a
# harmless candidate, of one that harms by the margin, and of a harmful one. Feedback takes up to
# two hours to be counted, and a thousand answers come an hour.
#
# **Predict before you run.** A candidate that harms three points more, against one that harms
# thirty more: for which of them does a narrow first stage save users?

# %% tags=["predict"]
from helpers.rollout.traffic import Kind, Traffic
from helpers.rollout.trial import try_stages

plans = {"50 % at once": [{"percent": 50}],
         "20 % at once": [{"percent": 20}],
         "1 % for an hour, then 20 %": [{"percent": 1, "hours": 1}, {"percent": 20}],
         "5 % until 6 points are ruled out, then 20 %":
             [{"percent": 5, "within": 6}, {"percent": 20}]}  # fmt: skip
table = {}
for name, stages in plans.items():
    for points in (3, 30):
        harm = Traffic((Kind("all", 1.0, 0.03, 0.03 + points / 100),))
        trial = try_stages({"stages": [*stages, {"percent": 100}]}, harm, 1.0, per_hour=1000)
        table.setdefault(f"users harmed at {points} points", {})[name] = round(trial.harmed)
    table.setdefault("hours until half of the harmless are live", {})[name] = trial.hours_to_live
pandas.DataFrame(table)

# %% [markdown]
# For the thirty. There the first hours decide: nothing is counted before two hours have passed, and
# until then 450 users are harmed at a share of 50 %, 180 at 20, 46 at 5. An hour at 1 % helps
# little (150), because it is over before anything is known.
#
# For the three it hardly matters: 55 users at 20 % from the start, 48 with a first stage of 5 %,
# and the harmless wait five hours longer. That 1, 5, 25 and 100 percent are better than any other
# four numbers is a habit; what matters is the first stage, and that it lasts longer than feedback
# takes.
#
# ### 9.3 Stages for a given harm · medium · 10 minutes
#
# Write the plan as a dict, as above, with the last stage at 100 percent. Of harmless candidates
# half must be live within 20 hours; a candidate that harms three points more may harm 65 users more
# than the old version would have, one that harms thirty more 60. (On average, over rollouts that
# the checker draws anew.) A stage has `percent`, and if you like `hours` and `within`: the points
# of harm that must be ruled out before it is left.
#
# <details><summary>Hint</summary>
#
# Nothing is known before the first feedback counts. Which share bounds what is harmed until then?
# After that the monitor says when it is safe to be quicker.
#
# </details>

# %% tags=["exercise"]
# BEGIN SOLUTION
# STUB: plan = ...
plan = {"stages": [{"percent": 5, "within": 5}, {"percent": 50}, {"percent": 100}]}
# END SOLUTION
check("9.3", plan)

# %% [markdown]
# ## What the map forgot (8 min)
#
# The telemetry has a row for every answer: when, to whom (as a keyed hash), by which version, in
# which category, how long, and whether harm was reported. The category is guessed: of the suites
# behind the map, the one with the nearest question by BM25, or "other" where none is near.
#
# Here are simulated answers with their questions, enough of them to see something, with categories
# guessed by the forgetful team's own map.
#
# **Predict before you run.** How-to questions and order sums are on no row of that map. Where will
# each of them turn up?

# %% tags=["predict"]
from helpers.audit import CapabilityMap
from helpers.rollout.gaps import find_gaps, proposed

path = work / "forgetful_map.yaml"
half = simulate.answers(measured_traffic(), 10, 1000, share=0.5, texts=True)
truth, guess = half["category"], categories_of(path).guess
half["category"] = half["prompt"].map({text: guess(text)[0] for text in set(half["prompt"])})
print(pandas.crosstab(half["category"], truth)[["howto", "order_sums", "reasoning"]])
gaps = find_gaps(half, CapabilityMap.load(path))
gaps

# %% [markdown]
# How-to questions become "other" (1,674 of 1,958), and the gap is found: 18 % of the traffic on no
# row, 10 % wrong by the candidate, 3 by the live version. Some turn up as refusals (227), where
# their harm can raise a false alarm. Order sums look like the problems of *reasoning* (397 of 456),
# so no gap of that name is seen: a nearest category hides what is near.
#
# What is found is written as a row for the next map:

# %%
proposed(gaps, CapabilityMap.load(path)).categories[-1]

# %% [markdown]
# The name is the word that tells most (floors are swept); a person reads the examples, names the
# row and writes the suite, 297 items by lesson 05's rule. That is how a map grows: by what it cost.
#
# ### Order sums, over seeds
#
# `careful-1` has the whole map, and is not safe from this either. Three hundred fresh order sums:

# %%
from helpers.rollout.order_sums_runs import read_order_sums, sums_frame

sums_frame(read_order_sums()).pivot(index="model", columns="seed", values="right").round(1)

# %% [markdown]
# Seven to twelve points are lost by a model that passed everything, on all three seeds (of 300
# items; each loss is certain to exceed 3 points). No canary of this lesson saw that, for two
# reasons. Half a point of all answers is below any margin. And a canary compares with what is live:
# `forgetful-1` is *better* at order sums than the version it would replace. What both have lost
# nobody misses, unless the base stays in the comparison: that is what a holdout is for.

# %% [markdown]
# ## Two versions in one batch (4 min)
#
# The server writes answers of both versions side by side. LoRA's corrections are chosen row by row
# (PEFT's `adapter_names`). Does a neighbour change what a row says? Each question is put to both
# versions in one batch, and to each version loaded by itself.

# %%
from helpers.generation import complete
from helpers.models import load_model
from helpers.rollout.batch import write
from helpers.rollout.engine import Engine

questions = ("How do I brush a rabbit?", "How do I make tea?", "What is the capital of France?")
asked = [f"User: {question}\nAssistant:" for question in questions]
folders = {name: work / "versions" / name for name in ("careful-1", "forgetful-1")}
engine = Engine(load_model("pocket"))
for name, folder in folders.items():
    engine.load(name, folder)

tokens = [engine.tokenizer(prompt)["input_ids"] for prompt in asked]
mixed = write(engine, tokens * 2, [name for name in folders for _ in asked], room=48)
mixed = [engine.tokenizer.decode(row, skip_special_tokens=True).strip() for row in mixed]
alone = [text for folder in folders.values() for text in complete(load_model(folder), asked, 48)]
for name, one, other in zip([n for n in folders for _ in asked], mixed, alone):
    print(f"{'alike' if one == other else 'DIFFERENT'}  {name}: {one}")

# %% [markdown]
# No: letter by letter the same, beside each other and alone. (So it was for 240 answers under
# load.) The last but two is what the forgetful team's users got to read.

# %% [markdown]
# ## Break it on purpose (6 min)
#
# What production breaks: a file that changes after it was registered, a second server on one
# database, a version given up too soon, a step that nobody foresaw.

# %%
import shutil, sqlite3

from helpers.rollout.store import hold

adapter = Path(registry.version("careful-1").adapter) / "adapter_model.safetensors"
shutil.copyfile(adapter, work / "kept.safetensors")
adapter.write_bytes(adapter.read_bytes()[:-4] + b"\0\0\0\1")
for what in (lambda: registry.verify("careful-1"),
             lambda: registry.retire("forgetful-1"),
             lambda: registry.stage("forgetful-1", 0.05),
             lambda: sqlite3.connect(store).execute("UPDATE journal SET share = 0")):  # fmt: skip
    try:
        print(what())
    except Exception as error:
        print(f"{type(error).__name__}: {error}\n")
shutil.copyfile(work / "kept.safetensors", adapter)
# %%
with hold(store):
    try:
        Program(store)
    except RolloutError as error:
        print(error)

# %% [markdown]
# Each is refused with what can be done instead. The order of a version's states is a table in the
# database, and the journal is protected there too: also somebody with a SQL shell meets the
# refusal, if not on purpose, then by mistake.

# %% [markdown]
# ## The same with other tools, and the bill (8 min)
#
# `docs/ship` has four commented files: the two versions as LoRA modules of one vLLM, the shares as
# a feature flag of flagd, and Prometheus with recording rules and alerts. Tests read them: flagd's
# own evaluator moves nobody back between 1, 5, 25 and 100 percent, and every metric that a rule
# names stands on our server's page. None of the three asks for a report or keeps a journal.
#
# One rule pages a person when a candidate's harm is three points above the control's over six
# hours: a threshold, looked at each minute.
#
# With nothing wrong at all it rings in 31 of a hundred rollouts of three days (simulated with its
# own numbers in the tests; a single look rings in fewer than 2). So it may wake somebody, who asks
# the monitor. It must not roll back by itself.
#
# What a day of a million requests costs, on paper. The bytes are measured in our store; all else
# are assumptions, to be replaced by yours:

# %%
from helpers.rollout.cost import cost

cost(requests_per_day=1e6, share=0.05, holdout=0.05)

# %% [markdown]
# The candidate's share is not on top of it: its users would have asked anyway. What the rollout
# adds is the bytes.

# %% [markdown]
# ## Sources
#
# - Ville (1939), *Étude critique de la notion de collectif*: whoever bets at fair odds gets rich
#   with a small chance, at any time.
# - Waudby-Smith and Ramdas (2020), *Estimating means of bounded random variables by betting*, arXiv
#   2010.09686; Turner, Ly and Grünwald (2021), *Generic e-variables for exact sequential k-sample
#   tests*, arXiv 2106.02693: the bets inside the monitor. The package `ville` agrees with them in
#   the tests.
# - Lindon and Malek (2020), *Anytime-valid inference for multinomial count data*, arXiv 2011.03567:
#   sample-ratio mismatch, watched in the same way.
# - Chen et al. (2023), *Punica*, arXiv 2310.18547: requests for several adapters in one batch.
# - PEFT, `adapter_names`; vLLM, *LoRA adapters*; flagd, *fractional*; Prometheus, *alerting rules*.
# - The glossary of the course: `docs/GLOSSARY.md`.
