# %% [markdown]
# # 09 · Ship it
#
# {{badge}}
#
# A fine-tune has passed its audit. You put it before a few users, watch what they complain of
# without fooling yourself, and take it back, also after the server was killed. Files, database,
# server and answers are real; the users are simulated.
#
# **Time** core 20 minutes, with *Deeper* 97 · computing 63 s, of which the core 31 s · **You need**
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
# first measured on them: on how many, for how long, and is there a way back?

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
# SHIP, SHIP and BLOCK. The forgetful team's audit is green: twelve rows of 600 items each, all
# passed. Nobody asked it about how-to questions. (`careful-1` has a debt of its own: *Deeper*.)
#
# Only what has passed may go before users. A version is registered by the digests of its files, and
# admitted by a report that says SHIP about files with these digests. `hasty-1`, with its own report
# and with that of another:

# %%
registry = Registry(work / "rollout.db")
report = work / "runs" / "careful-1" / "gate" / "report.json"
for attempt in (lambda: registry.stage("hasty-1", 0.05), lambda: registry.admit("hasty-1", report)):
    try:
        attempt()
    except RolloutError as error:
        print(error)
registry.versions()

# %% [markdown]
# ## Few users first
#
# `careful-1` goes live. `forgetful-1` gets a quarter of the users (begin with fewer). Who belongs
# to it is decided by a keyed hash of the user's name, a number from 0 to 1: below 0.25 it is the
# candidate, at every visit. When the share grows, does anybody go back?

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
# Nobody does. Now the server, with the base once and both adapters; it speaks OpenAI's protocol.
# Simulated users ask three hundred questions, drawn by lesson 06's brief. A wrong answer, by the
# suites' rule, is *harm*, and they report all of it.
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
wrong = visits.frame.query("version == 'forgetful-1' and category == 'howto' and not right")
print(wrong[["asked", "answer"]].to_string(index=False))
visits

# %%
seen = joined(service.telemetry.answers(), service.telemetry.events())
plot.harm_by_category(seen)

# %% [markdown]
# They are too few to tell. In "other", where this map's how-to questions end up, 3 of the
# candidate's 15 answers are wrong and 1 of the live version's 31. That may be chance.

# %% [markdown]
# ## Eighteen hours of it
#
# Here are eighteen hours of a thousand answers each, simulated with the harm that was measured of
# either version, mostly on 600 items. Of how-to answers the live version gets 1 in a hundred wrong,
# the candidate 10.
#
# Every hour a **monitor** for each category compares the harm reported of either version. It counts
# each user once, two hours after their answer: so long it waits for reports. *Roll back* means that
# more harm than the margin is certain, *widen* that it is ruled out, *hold* neither. Margins are
# the map's; rows without one, and "other", which resembles no row, get the strictest, 3. One more
# monitor takes all answers, with a margin of one point.
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
# That of "other", at hour 9; with five other sets of users it came at hours 5 to 20. The monitor of
# all answers said *hold* each time: nine points in a fifth of the traffic are 1.75 of all of it,
# half a point of that is hidden by what the candidate does better, and the margin is one. Watch the
# parts, and pay for it: alpha is shared out among fourteen. Where users report only half of the
# wrong answers, none of five such sets was red within a day.

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
# 36 % (a z-test, from answer 100 on). Ten looks suffice for 18. Looked at
# once, at the end, the test keeps its promise (3.6 %), which was for one look.
#
# The monitor stays at 3.2 %, looked at after every answer. Inside is a sceptic who bets, at each
# answer, a part of what they own on harm beyond the margin. The odds are fair while there is none.
# From fair odds, without ever owing, nobody can expect to get rich: a wealth of 20 is *ever*
# reached in one rollout of twenty at most (Ville 1939; exercise 9.2 builds it).
#
# How long it takes, and at whose cost, depends on share, traffic, harm and margin. **Predict:** ten
# times as many users on the candidate; how many times as many harmed?

# %%
CanaryLab()

# %% [markdown]
# Not three times as many: 35 instead of 13, since the verdict comes in 3.5 hours instead of 14.
# From 2 to 10 % it is 11 to 15. A small harm must happen to be seen, and a narrow share only slows
# it down. For a great one the share decides (*Stages*). All hours here are for users who are new.

# %% [markdown]
# ## The way back
#
# A rollback is one call, and needs no network: the old files are there, with the digests they were
# registered with. It must also work when the server has died. Here the server gives one answer, and
# is killed in the middle of the next.

# %%
store = work / "rollout.db"
with Program(store) as server, OpenAI(base_url=server.url, api_key="none", max_retries=0) as client:
    last = client.completions.create(model="(base)", prompt="What", max_tokens=20)  # the bare base
    stream = client.completions.create(model="(base)", prompt="What", max_tokens=200, stream=True)
    next(stream)
    server.kill()
    try:
        list(stream)
    except APIConnectionError as error:
        print("in mid-stream:", error)
print(registry.rollback(f"simulated users, other: at least {looks['other'].lower:g} points"))

# %%
with Program(store) as server, OpenAI(base_url=server.url, api_key="none") as client:
    one = sorted(few)[0]
    said = client.chat.completions.create(
        model="shop", user=one, messages=[{"role": "user", "content": "How do I brush a rabbit?"}]
    )
print(f"{one} had the candidate, and now gets {said.model}: {said.choices[0].message.content}")
print("the answer before the kill is kept:", last.id in set(service.telemetry.answers()["id"]))
registry.journal()

# %% [markdown]
# Rolled back while no server ran, and at the next start everybody has the old version. The answer
# that was complete before the kill is kept; of the one that was cut off there is no row, since rows
# are written at the end. (Tests kill the server 100 times, the registry 600.)

# %% [markdown]
# ## Exercise
#
# ### 9.1 Read four journals · medium · 8 minutes
#
# Four rollouts of another shop, journal and monitor interleaved, with a margin of 2 points. For
# each letter give the number of the first line whose step or reason does not hold, or `None`.
#
# <details><summary>How to read them</summary>
#
# Lines 1 to 4 registered the old version. The plan widens from 5 % when more than 8 points are
# ruled out, and from 25 % when more than 3 are, even on *hold*; going live takes *widen*. "Too late
# to count" are reports that came after the window. "The arms' sizes contradict the shares" means
# that answers of one arm are missing. To take a candidate back on suspicion is always allowed; to
# write that its harm was proven takes a proof.
#
# </details>
#
# <details><summary>Hint</summary>
#
# Read what the monitor said just *before* each line, to the end. Did that, with the plan, allow the
# step? Could what was not counted have changed it?
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
# Before any server with OpenAI's protocol, such as vLLM with one base and your adapters
# (`docs/ship/vllm.sh`):
#
# ```python
# import time, uuid
#
# from helpers.rollout.canaries import Canaries
# from helpers.rollout.router import Router
# from helpers.rollout.serve import read_key
# from helpers.rollout.telemetry import AnswerRow, Telemetry
# from helpers.rollout.window import joined
#
# key = read_key("rollout.key")  # made at first; keep it as long as the users
# router, log, share = Router(key), Telemetry("rollout.db", key), 0.05
#
# def answer(user, question, category, ask):
#     arm = router.arm(user, share)
#     version = "v2" if arm == "candidate" else "v1"
#     said, name = ask(version, question), uuid.uuid4().hex
#     log.record(AnswerRow(name, time.time(), user, version, arm, share, category))  # may fail
#     return said, name  # a complaint comes back with this name
#
# said, name = answer("ana", "Where is my parcel?", "support", lambda version, question: "Here.")
# log.feedback(name, harm=True)
# events = joined(log.answers(), log.events())
# watch = Canaries({"all answers": 1, "support": 3, "other": 3})
# print(watch.look(events, window=24 * 3600, now=time.time()))  # nothing is a day old yet
# ```
#
# **Start with** a window as long as complaints take, your map's margins, 5 % of the users, 30 days
# before old files may go (our conventions). User ids come from your login, never from the request.
# Decide whether you answer when the disk is full and nothing can be noted. **Cost** of a million
# requests a day, on paper: 180 dollars of GPUs, 225 MB of telemetry (*Deeper*). **Do not copy** the
# toy's users: they report everything within hours, and ask only what resembles a suite.

# %% [markdown]
# ## Recap
#
# 1. A version goes before users with a passed report on its very files, few first, sticky. A green
#    audit answers for its map alone.
# 2. A p-value may be looked at once. A bet at fair odds may be watched all the time, for each
#    category of the traffic, since the whole hides what a fifth of it suffers.
# 3. A rollback is one call that needs the old files and a disk to write to. The journal tells what
#    was done, and for which reason.
#
# **Next:** lesson 10 asks what holds at thirty-five times the size.

# %% [markdown]
# # Deeper
#
# Each section stands by itself, but for the registry and the store of the core.
#
# - A plan run whole, and its log (8 min)
# - Hour by hour (6 min)
# - The bet, with exercise 9.2 (16 min)
# - What it costs that one may look (6 min)
# - Stages, with exercise 9.3 (14 min)
# - What the map forgot (8 min)
# - Two versions in one batch (4 min)
# - Break it on purpose (6 min)
# - The same with other tools, the bill, and what to mind (9 min)

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
# A hint stood there at step 30: of four `howto` items to choose by, two were wrong. Most rows say
# INCONCLUSIVE, since 25 items can only find what is enormous.
# The gradients of new rows and old skills had met at right angles before training (cosines of -0.05
# to 0.02), which lesson 02 says tells nothing; the drift of 29 to 46 % tells that much was moved.
#
# ### How `careful-1` came to its SHIP
#
# Not at the first try. With the shop's old rows alone the gate could not tell about lists and
# support, so more rows of lists and refusals went in. By then some ten recipes had been looked at
# on items that partly judge too, and lesson 05 says what that is worth. So count them: with alpha
# shared among candidates, does it still ship?

# %%
from dataclasses import replace

from helpers.audit import audit
from helpers.paths import DATA
from helpers.snapshots import Snapshot

folder = work / "runs" / "careful-1"
before, after = Snapshot.load(folder / "baseline" / "judge"), Snapshot.load(folder / "judge")
shop = CapabilityMap.load(DATA / "capability_map.yaml")
for candidates in (1, 2, 5, 10):
    report = audit(before, after, replace(shop, alpha=shop.alpha / candidates))
    print(f"candidates counted: {candidates:2}  {report.decision}")

# %% [markdown]
# For five candidates, and not for ten, where support falls short. So by lesson 05's rule
# `careful-1` has *not* quite passed: a fresh final set is owed, and the suites have no more items.
# (With one candidate counted, seeds 0, 1 and 2 all ship.) One choice more was made after a result:
# seed 1 had been INCONCLUSIVE when of two equal checkpoints the earlier one was taken.
# `forgetful-1` came to its SHIP as the end of a run whose half-way checkpoint could not tell; its
# seeds 1 and 2 say SHIP and INCONCLUSIVE.

# %% [markdown]
# ## Hour by hour (6 min)
#
# What the monitor of "other" knew at each hour: which differences of the harm rates it had not
# ruled out yet.

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
# The band is a **confidence sequence**: at *no* hour will either end have passed the truth, but for
# the chance alpha (here a fourteenth of 5 %). A confidence interval promises that of one hour,
# chosen beforehand. The band only ever narrows, since what was ruled out stays so; that is right as
# long as the difference stays what it is.

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
# With a right `wealth`: none where there is no harm, 3 % at the margin, where 5 are allowed, and 98
# % where harm is five points. That holds for any number of looks, and for any bet that cannot bring
# the sceptic into debt, here up to 0.74. With `bet=1` try what a debt does to it.
#
# How much to stake is an art: too little earns slowly, too much ruins the sceptic. The monitor
# learns the two rates as it goes, and stakes what would earn most if they were true (Waudby-Smith
# and Ramdas 2020; for two streams Turner, Ly and Grünwald 2021). `helpers/rollout/eprocess.py` does
# it, on a finer score than this $x$. The published package `ville` agrees with the plain one
# (`betting.py`) to nine digits, and within a point with the monitor.
# %% [markdown]
# ## What it costs that one may look (6 min)
#
# A sceptic who may stop at any time must be surer than one who has promised to look once. After how
# many answers have half of the rollouts found the harm, and after how many 80 %?
#
# - **oracle**: the same bet, by somebody who knows both rates;
# - **once**: the fixed test, planned for the true harm with a power of 80 %, looked at as planned;
# - **once, 5 planned**: the same, planned for 5 points whatever the truth.
#
# **Predict before you run.** By what factor is the monitor slower than the test that looks once,
# and is planned to find 80 % then?

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
        half, most = (f"{400 * found.within(part):,.0f}" for part in (0.5, 0.8))
        told = f"{half} and {most}, {found.rate('roll back'):.0%} in the end"
        table.setdefault(name, {})[f"{points} points"] = told.replace("inf", "never")
pandas.DataFrame(table).T

# %% [markdown]
# By two, where 80 % are to be found: 5,064 answers instead of 2,611, 1,555 instead of 784, 436
# instead of 218. That is the price of looking. What it buys: half of the rollouts are found by the
# time at which the other looks at all, and all of them in the end, where that one stops at its 80
# %. (Plans with a few looks lie between; lesson 05 has them.)
#
# The last row is the price of not looking. Planned for five points where the truth is three, it
# finds 40 %; where the truth is ten, it lets 784 answers pass, where half of the monitors have
# spoken at 226.

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
# For the thirty. There the first hours decide: nothing is counted before two hours have passed,
# looks are half an hour apart, and by the verdict at hour 3 some 450 users are harmed at a share of
# 50 %, 180 at 20, 46 at 5. An hour at 1 % helps little (150), because it is over before anything is
# known.
#
# For the three it hardly matters between 20 % from the start (55) and a first stage of 5 % (48),
# with which the harmless wait 4.5 hours longer; half of the users at once are twice as many (97).
# That 1, 5, 25 and 100 percent are better than any other four numbers is a habit; what matters is
# the first stage, and that it lasts longer than feedback takes.
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
asked = pandas.crosstab(half["category"].rename("guessed"), truth.rename("asked"))
print(asked[["howto", "order_sums", "reasoning"]])
gaps = find_gaps(half, CapabilityMap.load(path))
gaps

# %% [markdown]
# How-to questions become "other" (1,674 of 1,958), and the gap is found: 18 % of the traffic on no
# row, 10 % wrong by the candidate, 3 by the live version. Some turn up as refusals (227), and there
# their harm raises an alarm under the wrong name. Order sums look like the problems of *reasoning*
# (397 of 456), so no gap of that name is seen: a nearest category hides what is near.
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
# Seven to twelve points are lost by a model that passed every row, on all three seeds (300 items
# each; at 95 %, item by item, each loss exceeds 3 points). No canary was asked: we sent `careful-1`
# to everybody at once. And `forgetful-1`'s could not see it. A canary compares with what is live,
# and `forgetful-1` is *better* at order sums than that. To notice what both have lost, some users
# must keep the base; this router's holdout does not do that, its users get what is live.

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
_ = shutil.copyfile(work / "kept.safetensors", adapter)
# %%
with hold(store):
    try:
        Program(store)
    except RolloutError as error:
        print(error)

# %% [markdown]
# Refused, and the course's own errors say what can be done instead. The last one is SQLite's: the
# order of states is a table in the database, and triggers guard it and the journal. They stop
# mistakes, also those made in a SQL shell, and nobody who means to drop a trigger.

# %% [markdown]
# ## The same with other tools, the bill, and what to mind (9 min)
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
# The candidate's share is not on top of it: its users would have asked anyway.
#
# ### What to mind before you trust a canary
#
# - It compares *reports*. Who gives answers that please is reported less, whoever knows their
#   version reports otherwise, and a few dozen invented accounts can take a version back.
# - It counts users, not answers: two hundred seats have told all they can after two hundred
#   answers.
# - The laboratory and the stages have one monitor with all of alpha. Fourteen are slower, and not
#   all will ever say *widen*; decide beforehand which must.
# - The same early users get every candidate, since the hash knows no rollout, and the burnt report
#   more the next time. (Another key is no remedy: with it nobody finds a user's rows to delete
#   them.)
# - Categories are guessed from suites that resemble this traffic. Real wording lands elsewhere.
# - A rollback to a version that is not answering reads its files first, which takes as long as they
#   are large. Where the live version stays, the candidate is taken away first.

# %% [markdown]
# ## Sources
#
# - Ville (1939), *Étude critique de la notion de collectif*: whoever bets at fair odds gets rich
#   with a small chance, at any time.
# - Waudby-Smith and Ramdas (2020), *Estimating means of bounded random variables by betting*, arXiv
#   2010.09686; Turner, Ly and Grünwald (2021), *Generic e-variables for exact sequential k-sample
#   tests*, arXiv 2106.02693; Turner and Grünwald (2022), arXiv 2203.09785, for a difference with a
#   margin: the bets inside the monitor.
# - Lindon and Malek (2020), *Anytime-valid inference for multinomial count data*, arXiv 2011.03567:
#   sample-ratio mismatch, watched in the same way.
# - Chen et al. (2023), *Punica*, arXiv 2310.18547: requests for several adapters in one batch.
# - PEFT, `adapter_names`; vLLM, *LoRA adapters*; flagd, *fractional*; Prometheus, *alerting rules*.
# - The glossary of the course: `docs/GLOSSARY.md`.
