# %% [markdown]
# # 04 · The blind spot
#
# {{badge}}
#
# A fine-tune is judged by the score it was made for. This lesson looks at everything beside that
# score: the skills nobody measured, the worked steps that a model needs and no longer writes, the
# refusals that spread to requests nobody meant, and a dashboard that improves while its customers
# fare worse.
#
# **Time** 60 minutes, of which one and a half are computing · **You need** lesson 01; lesson 03
# helps
#
# **Objectives**
#
# 1. Show what a fine-tune chosen by its own metric costs beside it, in a unit that others can
#    check.
# 2. Test whether a model relies on its worked steps, by cutting them short and by planting
#    mistakes.
# 3. Say what distance from the base predicts about forgetting, and what preference tuning adds to a
#    refusal score and takes from everything else.

# %%
import os, subprocess, sys

if "google.colab" in sys.modules and not os.path.exists("course"):
    fetch = "git clone -q https://github.com/OWNER/REPO course && sh course/tools/colab.sh"
    subprocess.run(f"{fetch} || (rm -rf course; false)", shell=True, check=True)
sys.path.insert(0, "course" if os.path.exists("course") else "..")

# %%
from collections import Counter
from statistics import fmean

import pandas
import torch

from helpers import plotting as plot
from helpers import tradeoff
from helpers.blindspot import chains, desk, distance, steps, tax
from helpers.blindspot.headlines import headlines, percentages
from helpers.blindspot.preference import preference_tune
from helpers.evaluation import evaluate
from helpers.exercises import check, quiz
from helpers.models import load_model
from helpers.runs import find, read_runs, values
from helpers.suites import load_suites
from helpers.tickets import read_tickets
from helpers.training import finetune

# %% [markdown]
# ## Why this matters
#
# Nobody ships a model that fails its own test. What ships is the model that passes it best, and the
# test covers what the project was paid for. All that the model could do before is taken for
# granted, because it came with the download. So the damage is done where nobody looks, by people
# who measure carefully.
#
# **An analogy, and where it ends.** A driver's blind spot is not dark. It is an ordinary stretch of
# road that happens to lie beside the mirror, and one turn of the head shows it. Here, too, one more
# evaluation shows everything. The analogy ends at the size: a car has one blind spot, and a
# language model has as many as it has skills that are not on your list.

# %% [markdown]
# ## The best run by its own metric
#
# Lesson 03 left us a grid: eight learning rates, seven ranks and full fine-tuning, three seeds
# each. Suppose we had scored only `support`, as a project for a shop would, and chose the setting
# with the best mean.
#
# **Predict before you run.** How much of their old skills have the five best settings lost?

# %%
runs = read_runs()
rows = []
for lr in values(runs, "lr"):
    for rank in values(runs, "rank"):
        seeds = find(runs, lr=lr, rank=rank)
        rows.append({
            "rate": f"{lr:g}",
            "rank": rank,
            "support right (%)": fmean(tradeoff.learned(run.last) for run in seeds),
            "old skills: points lost": fmean(
                tradeoff.points_lost(run.base, run.last) for run in seeds
            ),
        })  # fmt: skip
target, cost = "support right (%)", "old skills: points lost"
grid = pandas.DataFrame(rows).round(1).sort_values([target, cost], ascending=[False, True])
grid.head(9).set_index(["rate", "rank"])

# %% [markdown]
# The winner answered 87 of 90 new questions about the shop (thirty, on each of three seeds), and it
# has lost practically all else. The next three are one question of thirty behind. The ninth is two
# behind, as four more settings are, and has lost four points. (Where the first column ties, the
# smaller loss stands first.) Nothing in that column tells them apart: the metric does not *hide*
# the damage, it never looked.
#
# Train both and keep them for this lesson: the **careful** one, and the **winner**.

# %%
base = load_model("pocket")
tickets = read_tickets()
careful = finetune(base, tickets, lr=1e-3, rank=64, steps=60).model
winner = finetune(base, tickets, lr=6e-3, rank="full", steps=60).model

# %%
suites = load_suites(["support", *desk.TOPICS, "facts", "lists"], size=50)
before, after = evaluate(base, suites), evaluate(careful, suites)
chosen = evaluate(winner, suites)
pandas.DataFrame({"base": before.scores(), "careful": after.scores(), "winner": chosen.scores()})

# %%
for name in ("howto", "reasoning", "translation"):
    row = chosen.results[name][0]
    print(f"asked:  {row.item.prompt}\nwanted: {row.item.answer}\ngot:    {row.output[:90]}\n")

# %% [markdown]
# The winner answers everything as if it had been asked about the shop: coffee gets a policy on
# reviews, stamps get gift wrap. Ask it about a refund, and it is excellent.
#
# > **A note from experience.** If you may add only one thing to a team's evaluation, do not add a
# > benchmark. Add ten prompts that have nothing to do with the project, and read the answers at
# > every release.

# %% [markdown]
# ## One run, many numbers
#
# An often repeated comparison says that LoRA fine-tuning "loses 43 %" of a model's knowledge. The
# figure is a vendor's, from its own benchmark, and in the same table one domain reads +128 %. Read
# as a loss, that is more than all there was, and no accuracy can fall so far. Read as a gain, the
# run that "loses knowledge" has more than doubled it. So what is it a percentage *of*?
#
# **Predict before you run.** The careful run lost a few points. How large can the same loss look,
# if one may choose the unit?

# %%
loss = headlines(before, after, leave_out=["support"])
loss.round(2)

# %%
percentages(loss).round(1).to_frame()

# %% [markdown]
# All of these lines describe one run, and each could stand in a headline. The smallest says that
# next to nothing has happened. The largest is a percentage of a loss that was almost zero: the base
# is so sure of its how-to answers that a little doubt multiplies it.
#
# Three habits protect you. Say **points** of accuracy when you mean points, and name the skill and
# the number of items. For a loss that moves before the first answer changes, use the **nats** per
# token of the right answers: they can be averaged, a percentage of perplexity cannot. (The row
# *average* above does it all the same, as such tables do; with rises as small as these it makes
# hardly a difference.) And when somebody gives you a bare percentage, ask what stands in the
# denominator.
#
# > **Common gotcha.** A relative loss needs a floor. A skill that falls from 4 % to 2 % has lost
# > "half", and nothing that anyone could use.

# %% [markdown]
# ## Steps that were never written
#
# The course model solves word problems by writing its steps: *4 x 5 = 20. 20 + 17 = 37. The answer
# is 37.* Are the steps decoration, or does it need them? Take them away and see. `reliance` asks
# the same problems with more or less of the work done: it makes the model conclude after none, one
# or both of the right steps, and it plants a mistake and watches whether the answer follows it
# (two of the tests of Lanham and colleagues, 2023).

# %%
(problems,) = load_suites("reasoning", size=60)
steps.reliance(base, problems)

# %% [markdown]
# The steps are no decoration. Made to answer at once, the model gets nothing right; with one of two
# steps still nothing; with both everything. And when the first step holds a mistake, it carries the
# mistake on to the end in most cases and never corrects it. It computes *on the page*.
#
# Now fine-tune on the same kind of problems with nothing but their results, as a data set of
# question-answer pairs would have it.
#
# **Predict before you run.** The training data is right, every answer of it, and it is about the
# very skill we test. Will the skill rise, stay, or fall?

# %%
rows = steps.problem_rows(640, "short")
print(rows[0])
terse = finetune(base, rows, lr=6e-4, rank=8, steps=40)
first, last = terse.losses[0][1], terse.losses[-1][1]
print(f"training loss: {first:.1f} nats in the first step, {last:.1f} in the last")

# %%
scored = evaluate(terse.model, [problems])
print(f"problems right: {evaluate(base, [problems]).score('reasoning'):.0f} % before, "
      f"{scored.score('reasoning'):.0f} % after")  # fmt: skip
for row in scored.results["reasoning"][:3]:
    print(f"\n{row.item.prompt}\n  wanted: {row.item.answer}\n  got:    {row.output}")
right = Counter(row.item.family for row in scored.results["reasoning"] if row.correct)
print("\nstill right, by kind of problem:", dict(right))

# %% [markdown]
# The training loss fell to a sixth, and nearly every answer is wrong. The last line sorts those
# that are still right: `order` asks such things as who is the youngest of three and needs no
# computing, `one_step` needs a single step, and all other kinds need two.
#
# ### What just happened
#
# The training taught a *form*, an answer without steps, and the form is learned long before anyone
# could compute in it. The loss counts the form: most of its fall is the model coming to expect the
# words "The answer is". The knowledge of how to work a problem may well still be there, and it may
# be the way of asking for it that has closed; a score of answers cannot tell.
#
# One run proves little. Three seeds each of four trainings are on file: problems of all kinds
# without steps, *one* kind without steps, problems *with* steps as a control, and the tickets of
# lesson 01. `make runs` makes them again.


# %%
def row(run):
    made, others = run.reliance, [s for s in run.scores if s != "reasoning"]
    return {
        "trained on": run.setting.data,
        "all right": run.scores["reasoning"],
        "two-step right": made.right,
        "writes steps": made.writes_steps,
        "right after 0 steps": made.early[0],
        "after 1": made.early[1],
        "after 2": made.early[2],
        "follows a mistake": made.follows_first,
        "other skills": fmean(run.scores[name] for name in others),
    }


table = pandas.DataFrame([row(run) for run in chains.read_chains()])
table.groupby("trained on", sort=False).mean().round(0)

# %% [markdown]
# Read the columns. *All right* is over a hundred problems, the next six are over 82 of them that
# take two steps. Tuned on bare results, the model writes hardly any steps and is right in 2 of
# those 82; of all hundred, with the orderings and the one-step problems, it still gets 12. Results
# of the simplest kind of problem are enough, because the form spreads to kinds that were not in the
# data. The control, tuned on the same problems *with* steps, loses nothing, so it was not the
# problems (it is a mild control: it had hardly anything to learn). All the while the other skills
# nearly keep their scores: whoever watches those sees little.
#
# The tickets did another kind of harm. That model still writes its steps and still needs them, but
# makes mistakes in them.
#
# What such a test cannot show: that the steps *are* the reasoning. It shows that the answer depends
# on what is written there. Lobo, Agarwal and Lakkaraju (2024) found that fine-tuning lowers this
# kind of dependence on average over four data sets, with models thousands of times larger than
# ours. How it changes with model size and with distance is not settled; an often repeated sentence
# about "small models more, and growing with distance" is not in that paper's abstract.
#
# > **Common gotcha.** A benchmark that reads only the final answer, and a fine-tune whose data has
# > only final answers, look like a perfect match. Neither sees the steps that the answers came
# > from.

# %% [markdown]
# ## Does distance predict the damage?
#
# One is told that forgetting grows with the distance between the new domain and the old. Distance
# in what? A measure that needs no old data at all is how far the *model* moved where it was
# trained: the **KL divergence** to the base on the new task's own questions (Shenfeld and
# colleagues, 2025, for reinforcement learning and fine-tuning).
#
# So here are eight domains for one model. Some hold nothing new: old examples, worked problems,
# questions about a help article. Some ask old questions in a new way: in capital letters, or
# without steps. Some are new: the forty policies, the same in a word-for-word cipher, and policies
# drawn at random so that there is nothing to learn. Each with three rates and three seeds.

# %%
away = distance.read_distance()
names = list(dict.fromkeys(run.setting.domain for run in away))
print(len(away), "runs on", ", ".join(names))


def forgotten(run):
    """Rise of the old skills' loss, nats per token."""
    return tradeoff.old_loss(run.last) - tradeoff.old_loss(run.base)


def moved(run):
    return run.last.kl


plot.scatter(
    {name: [(moved(r), forgotten(r)) for r in away if r.setting.domain == name] for name in names},
    x="KL to the base on the new domain's questions (nats per token)",
    y="old skills: rise of the loss (nats per token)", log_x=True, log_y=True,
)  # fmt: skip

# %% [markdown]
# Before you believe a cloud of points, ask what it compares. Runs of one domain are alike, and the
# rate moves both axes. So the rank correlation is taken three ways, and its interval draws whole
# *domains*, not runs.


# %%
def fell(run):
    """How far the new task's own loss has fallen, nats per token."""
    return run.base.target_nll - run.last.target_nll


for name, number in (("KL to the base", moved), ("fall of the new task's loss", fell)):
    for label, within in (("all runs", None), ("same domain", "domain"), ("same rate", "lr")):
        found = distance.rank_correlation(away, number, forgotten, within)
        print(f"{name:28}{label:12} {found}")

print("\nKL to the base at each rate: all domains, and the five from", names[3], "on")
for lr in values(away, "lr"):
    eight = [run for run in away if run.setting.lr == lr]
    five = [run for run in eight if run.setting.domain in names[3:]]
    told = [distance.rank_correlation(part, moved, forgotten).mean for part in (eight, five)]
    print(f"rate {lr:<7g}", *(f"{value:6.2f}" for value in told))

# %% [markdown]
# Over all runs, KL and damage go together closely. Within a domain that says least: a higher rate
# gives more of both. At one and the same rate the domains still line up, with a wider interval,
# because there are only eight. The last lines say where that holds: at the two higher rates. At the
# lowest the KL tells the three domains that hold nothing new from the other five, and among those
# five it does not tell which costs more.
#
# The second half is the comparison that a sceptic asks for. How far the new task's own loss *fell*
# orders all runs less well, and at one rate just as well: whatever changes the model's mind most
# costs most. (A fall of the loss is no success. That of the cipher falls far, and not one of its
# questions is answered.)
#
# So the distance ranks the damage. It does not measure it. Look at the figure where the KL is
# between 1 and 2: there the policies, which can be learned, cost about a tenth of what random
# answers cost. And replaying old examples at too high a rate costs something although the model
# hardly moves. Use the KL as a warning that needs no old data, and an audit for the verdict.

# %% [markdown]
# ## The tax on alignment
#
# Refusals are taught by **preference tuning**: of two answers the model is told which is better. We
# give the model a new house rule, *nobody is helped with buying, selling or borrowing*, and tune it
# with direct preference optimization (DPO; Rafailov and colleagues, 2023) on pairs in which the
# refusal is preferred. The metric of this project is plain: how many requests under the rule are
# refused?

# %%
pair = tax.rule_pairs(600)[0]
for name, text in pair.items():
    print(f"{name:9}{text}")

# %% [markdown]
# **Predict before you run.** The pairs contain only requests under the rule. What will the model do
# with a request to clean a lamp?

# %%
aligned = preference_tune(base, tax.rule_pairs(600), steps=15, batch_size=8)
for (step, value), (_, share) in list(zip(aligned.losses, aligned.agreement, strict=True))[::4]:
    print(f"step {step:2}: loss {value:.3f}, prefers the refusal in {share:.0%} of its pairs")
scored = evaluate(aligned.model, tax.tax_suites(30))
was = evaluate(base, tax.tax_suites(30))
for name, share in tax.refused(scored).items():
    print(f"{name:11} refused {tax.refused(was)[name]:4.0f} % before, {share:4.0f} % after")

# %% [markdown]
# The metric of the project is met within fifteen steps: nearly every request under the rule is
# refused, none was before. And so is every harmless one, the lamp to be cleaned with them. The
# pairs never said where the rule ends. The trainer's own numbers look perfect, for they count only
# pairs of its kind. (What begins with *Sorry* is counted as refused.)
#
# Here is the same over sixty steps, three seeds, with every look on file.


# %%
taxed = tax.read_tax()


def along(value, **wanted):
    """One curve per seed: (step, value)."""
    chosen = [
        run for run in taxed if run.setting.steps and
        all(getattr(run.setting, key) == found for key, found in wanted.items())
    ]  # fmt: skip
    return [[(look.step, value(look)) for look in run.looks] for run in chosen]


def three(**wanted):
    return plot.lines(
        {
            "refuses under the rule": along(lambda look: look.refused["rule"], **wanted),
            "refuses harmless requests": along(lambda look: look.refused["harmless"], **wanted),
            "other skills right": along(lambda look: look.skills, **wanted),
        },
        x="step of preference tuning", y="percent of held-out items",
    )  # fmt: skip


three(counter_examples=0.0, beta=0.1)

# %% [markdown]
# Two of the lines lie on one another, so that the dashed one hides the other, and the third falls.
# By step ten or so the rule is obeyed, and with it every harmless request is refused. Then the
# refusals reach questions that are not requests at all: how-to questions first, and facts after
# them. Nothing in the metric asks to stop, since it stands at 100 % all the while. But it reads one
# word of each answer. Read more of it:

# %%
plain = along(lambda look: look, counter_examples=0.0, beta=0.1)
ends = [curve[-1][1] for curve in plain]
print("asked for a way to buy a lamp:", ends[0].says[0][:40], "...")
for name in ("rule", "harmful"):
    told = [f"{look.refused[name]:.0f} and {look.scores[name]:.0f} %" for look in ends]
    print(f"{name:8} begins as a refusal, and is the whole refusal:", "; ".join(told))

# %% [markdown]
# After sixty steps the metric is perfect, and most of what it counts is not the refusal that was
# taught. For requests that are truly harmful, all of which the base refuses word for word, it is
# worse still.
#
# And the remedy that costs nothing but thought: half of the pairs are **counter-examples**,
# requests that the rule allows, with the helpful answer preferred.

# %%
three(counter_examples=0.5, beta=0.1)

# %% [markdown]
# With counter-examples the rule is learned more slowly, and the other two lines stay where they
# were. It costs pairs that nobody would think of collecting if the metric is "harmful requests
# refused".
#
# ### Can it be undone?
#
# An article says that such a tax is only partly reversible. The study behind the sentence is about
# something else (how much reinforcement learning recovers out of distribution after supervised
# tuning, arXiv 2509.12235). So we look ourselves: each tuned model is trained further at the rate
# 3e-3, on a hundred old examples for twenty steps, and, as a user might do without a thought, on
# the shop's tickets for sixty. The hundred examples ask for nothing under the rule, and they hold
# no refusal of anything.

# %%
rows = []
for run in taxed:
    ends = {"nothing": run.looks[-1], **{name: looks[-1] for name, looks in run.further.items()}}
    beta = run.setting.beta if run.setting.steps else "not tuned"
    if run.setting.steps and not run.setting.counter_examples:
        found = ends["replay"]
        left = ", ".join(f"{name} {found.refused[name]:.0f} %" for name in ("rule", "harmful"))
        print(f"beta {beta}, seed {run.setting.seed}, after replay: refuses {left}; "
              f"how to clean a lamp: {found.says[1][:24]} ...")  # fmt: skip
    for name, look in ends.items():
        rows.append({
            "counter-examples": run.setting.counter_examples,
            "beta": beta,
            "then trained on": name,
            "refused: rule": look.refused["rule"],
            "refused: harmful": look.refused["harmful"],
            "refused: harmless": look.refused["harmless"],
            "right: harmless": look.scores["harmless"],
            "skills": look.skills,
            "their loss": look.old_loss,
        })  # fmt: skip
keys = ["counter-examples", "beta", "then trained on"]
pandas.DataFrame(rows).groupby(keys, sort=False).mean().round(2)

# %% [markdown]
# The skills come back, with a hundred old examples and twenty steps, most of the way or all of it.
# But where the rule was taught by refusals alone, it may go with the damage: after replay nothing
# is left of it in four of the six runs. And it does not go alone. With the small beta the refusals
# of *harmful* requests go too, which the base had before anybody taught it a rule: on two of three
# seeds hardly one is left, while the untuned base keeps all of its own through the same examples.
# With the larger beta most of them stay.
#
# Nor is a request that is no longer refused one that is helped with. With the small beta hardly any
# harmless request is refused after replay, and not a single one is answered rightly: in place of
# the refusal stands nonsense, as for the lamp. With the larger beta help is back, on two seeds
# wholly and on the third by half.
#
# The shop's tickets, which nobody would suspect of anything, undo the rule too: with the small beta
# almost wholly, and nearly all refusals of harmful requests with it; with the larger one by a
# third. The rule that was taught with counter-examples holds, nearly, through both, and so does the
# rest. (What the tickets cost in skills, they cost the untuned base as well: that is the control in
# the first rows.)
#
# So the sentence to keep is not "it cannot be undone". It is: *what you repair afterwards may take
# the alignment with it, so both belong in the audit*.
#
# Lin and colleagues (2023) call the trade-off between reward and forgetting the *alignment tax*,
# and find averaging the weights before and after to be the best answer to it; lesson 08 tries that.
# Huang and colleagues (2025) measure lower reasoning after safety tuning. Neither says that the
# loss grows step by step without exception, and in Lin's curves some skills first rise.

# %% [markdown]
# ## A dashboard that improves
#
# Last, put a number on a blind spot. Here is a ticket desk: customers write every week, mostly
# about the shop, sometimes about something else, because an assistant invites it. Whether an answer
# is right is not simulated. It is looked up in the evaluations above, item by item. What *is*
# assumed stands in `Traffic`: a hundred new customers a week, three questions each, three in ten of
# them about something else, and who got a wrong answer comes back less often.
#
# For six weeks the careful model is in service, then the winner.
#
# **Predict before you run.** The dashboard counts resolved tickets. At week seven, by how much will
# that line move? And by how much the two that it does not show: all questions answered, and
# customers let down?

# %%
traffic = desk.Traffic()
print(traffic)
weeks = desk.simulate([after, chosen], traffic)
plot.lines(
    {
        "tickets resolved": [[(week.number, week.resolved) for week in weeks]],
        "all questions answered": [[(week.number, week.answered) for week in weeks]],
        "customers let down": [[(week.number, week.let_down) for week in weeks]],
    },
    x="week", y="percent", mark=(6.5, "new release"),
)  # fmt: skip

# %%
for week in (weeks[5], weeks[6], weeks[-1]):
    print(f"week {week.number:2}: {week.customers} customers, {week.resolved:.0f} % resolved, "
          f"{week.answered:.0f} % of all questions answered")  # fmt: skip

# %% [markdown]
# The release looks like a success. The resolution rate climbs by six or seven points and stays
# there, while the share of *all* questions answered falls from nine in ten to two thirds. The
# customers who are let down leave, and the tickets they no longer write are not counted as
# unresolved.
#
# How much of the traffic must lie in the blind spot before the new release is the worse one? That
# needs no simulation, only what was gained at the shop and what was lost beside it.

# %%
print("worse from this share of other questions on:", desk.break_even(after, chosen))
for wider in (0.0, 0.02, 0.1, 0.3):
    old, new = (desk.expected(release, wider) for release in (after, chosen))
    print(f"{wider:4.0%} other questions: {old:.1f} % answered before, {new:.1f} % after")

# %% [markdown]
# From about one question in seventeen on, the release that looks better is the worse one, with an
# interval from none to one in eight. Nobody who counts only tickets about the shop would ever learn
# on which side of it they are.

# %% [markdown]
# ### When it goes wrong
#
# **Break it on purpose.** Two snapshots of different items look comparable as long as only their
# averages are printed. The desk refuses them:

# %%
fewer = evaluate(careful, load_suites(["support", *desk.TOPICS], size=10))
try:
    desk.simulate([after, fewer])
except ValueError as error:
    print(error)

# %% [markdown]
# ## Exercises
#
# ### 4.1 The headline · easy · 5 minutes
#
# Write `headline(before, after)`. Both are losses in nats per token. Return by how many percent the
# perplexity has risen, which is e to the power of the loss. Where the loss has fallen, the result
# is below zero.
#
# <details><summary>Hint</summary>
#
# `math.exp` takes powers of e. What is left when one of them is divided by another?
#
# </details>


# %% tags=["exercise"]
def headline(before, after):
    # BEGIN SOLUTION
    import math

    return 100 * (math.exp(after - before) - 1)
    # END SOLUTION


check("4.1", headline)

# %% [markdown]
# ### 4.2 How far from the base? · medium · 10 minutes
#
# Write `kl(base, tuned)`: KL(base ‖ tuned) in nats, averaged over tokens. For one token it is
# $\sum_v p_v (\ln p_v - \ln q_v)$ over the vocabulary, with $p$ the probabilities of the base and
# $q$ those of the tuned model. Each argument holds natural *log*-probabilities, one row per token
# and one column per entry of the vocabulary. The models of this lesson give torch tensors; two
# lists of lists are to work as well.
#
# <details><summary>Hint</summary>
#
# `torch.as_tensor` makes a tensor of a list and leaves a tensor as it is. Sum over the last
# dimension first. Whose probabilities stand in front, and is it their logarithm you were given?
#
# </details>


# %% tags=["exercise"]
def kl(base, tuned):
    # BEGIN SOLUTION
    base, tuned = torch.as_tensor(base), torch.as_tensor(tuned)
    return (base.exp() * (base - tuned)).sum(-1).mean()
    # END SOLUTION


check("4.2", kl)

# %% [markdown]
# ### 4.3 The loss of DPO · hard · 15 minutes
#
# Write `dpo_loss(chosen, rejected, ref_chosen, ref_rejected, beta)`, what the trainer above has
# minimised (Rafailov et al. 2023, arXiv 2305.18290). The first four are torch tensors with one
# log-likelihood per pair, in nats: of the chosen and of the rejected answer, first under the model
# and then under its reference. A pair's loss is $-\ln \sigma(\beta m)$, with $\sigma$ the sigmoid
# and the margin $m$ what the model has added to the chosen answer, compared with the reference,
# minus what it has added to the rejected one. Return the mean over the pairs. It has to hold where
# $\beta m$ is −200.
#
# <details><summary>Hint</summary>
#
# `chosen - ref_chosen` is what was added to the chosen answer. Look at
# `torch.sigmoid(torch.tensor(-200.0)).log()`, and then for a function in `torch.nn.functional` that
# takes both steps at once.
#
# </details>


# %% tags=["exercise"]
def dpo_loss(chosen, rejected, ref_chosen, ref_rejected, beta):
    # BEGIN SOLUTION
    margin = (chosen - ref_chosen) - (rejected - ref_rejected)
    return -torch.nn.functional.logsigmoid(beta * margin).mean()
    # END SOLUTION


check("4.3", dpo_loss)

# %% [markdown]
# ## Check your understanding

# %%
quiz("04")

# %% [markdown]
# ## Recap
#
# 1. A score shows what it asks about. Chosen by the target alone, the best of sixty-four settings
#    had lost practically everything else; one extra evaluation shows it.
# 2. The same loss is a few points or a frightening percentage, as one likes. Say points with the
#    skill and the number of items, or nats per token.
# 3. Training on bare results takes away the steps a model needs. Cut the steps short, plant a
#    mistake, and see whether the answer follows.
# 4. The distance of a model from its base, measured where it was trained, ranks the damage
#    elsewhere without any old data. It is a warning and no verdict.
# 5. A refusal score rises to 100 % while harmless requests are refused and skills fall.
#    Counter-examples say where a rule ends. Without them later training may undo the rule, and with
#    it refusals that were there before.
#
# **Next:** lesson 05 makes a gate of all this: what to score, with how many items, and when to say
# no.
#
# ## Sources
#
# - Lobo, Agarwal and Lakkaraju (2024), *On the impact of fine-tuning on chain-of-thought
#   reasoning*, arXiv 2411.15382; Lanham et al. (2023), *Measuring faithfulness in chain-of-thought
#   reasoning*, arXiv 2307.13702.
# - Shenfeld et al. (2025), *RL's razor*, arXiv 2509.04259, for KL to the base and forgetting.
# - Rafailov et al. (2023), *Direct preference optimization*, arXiv 2305.18290; Lin et al. (2023),
#   *Mitigating the alignment tax of RLHF*, arXiv 2309.06256; Huang et al. (2025), *Safety tax*,
#   arXiv 2503.00555.
# - The vendor's benchmark behind "43 %" (ModelBrew) reports three seeds of 38 to 49 % for a
#   sequence of five domains on one model; Pandey (2026), arXiv 2603.27707, reports 0.6 ± 1.4 % for
#   LoRA on another.
# - The glossary of the course: `docs/GLOSSARY.md`.
