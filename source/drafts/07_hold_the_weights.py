# %% [markdown]
# # 07 · Hold the weights
#
# {{badge}}
#
# There are many remedies against forgetting, and most papers compare theirs with plain fine-tuning
# after equally many steps. This lesson puts eighteen of them on one plane, at equal target score,
# on items that nobody used to set them up, with three seeds and a bill for each.
#
# **Time** 60 minutes, of which one and a half are computing · **You need** lesson 03; lessons 02
# and 05 help
#
# **Objectives**
#
# 1. Compare mitigations at equal learning, and read a ranking with its uncertainty.
# 2. Say what each method holds, what it needs for that, and what a step then costs.
# 3. Sum up a sequence of tasks by accuracy, backward transfer and forgetting.

# %%
import os, subprocess, sys

if "google.colab" in sys.modules and not os.path.exists("course"):
    clone = "git clone -q https://github.com/OWNER/REPO course"
    subprocess.run(f"{clone} && sh course/tools/colab.sh", shell=True, check=True)
sys.path.insert(0, "course" if os.path.exists("course") else "..")

# %%
from statistics import fmean

import pandas
import torch

from helpers import plotting as plot
from helpers.evaluation import evaluate
from helpers.exercises import check, quiz
from helpers.mitigations import EWC, L2SP, accuracy, backward_transfer, fisher, forgetting
from helpers.mitigations import stages
from helpers.mitigations.board import GOAL, base_of, pick, read_board, standings, strengths
from helpers.mitigations.costs import read_costs
from helpers.mitigations.methods import METHODS, RANKED, old_rows
from helpers.models import load_model
from helpers.suites import load_suites
from helpers.tickets import read_tickets
from helpers.training import finetune
from helpers.widgets.strength import StrengthLab

# %% [markdown]
# ## Why this matters
#
# "Use EWC", "lower the rate", "freeze the bottom layers", "replay a little": each of these is said
# by somebody who has tried one thing. Whoever has a deadline on Monday needs to know what to try
# *first*, and whether the second thing adds anything to it.
#
# **An analogy, and where it ends.** A dog may be kept out of the kitchen by a lead, by a closed
# door, by training, or by a bowl in the hall. All four work, and they differ in what they ask of
# you. So it is here: one can hold the *weights*, the *answers*, the *data* or the *path*. The
# analogy ends where the dog wants something; a gradient wants nothing and takes every open door.

# %% [markdown]
# ## Four places to take hold
#
# - **The weights.** L2-SP pulls every weight back to where it began. EWC pulls hardest on the
#   weights that old answers depend on. Freezing holds the lowest blocks altogether.
# - **The answers.** A penalty on the divergence from the base (KL) lets weights go where they like,
#   as long as the old prompts are answered as before.
# - **The data.** Old rows are mixed in, or rows that surprise the base are masked out.
# - **The path.** A lower rate, an earlier stop, a gradient taken where the ground is flat (SAM), or
#   going only a part of the way back from the fine-tune to the base (merging, lesson 08).
#
# In the course's `finetune` each of them is one argument. Here is L2-SP, at a strength that we
# choose without having looked:

# %%
base = load_model("pocket")
tickets = read_tickets()
suites = load_suites(("support", "howto", "reasoning", "lists", "arithmetic"), size=60)
before = evaluate(base, suites)
held = finetune(base, tickets, lr=1e-2, steps=60, seed=0, mitigation=L2SP(0.003))
held_scores = evaluate(held.model, suites)

# %% [markdown]
# Plain fine-tuning by the same recipe is the standard run of lesson 01. It and all other runs of
# this lesson's **scoreboard** are stored, scored on a hundred items per capability. Side by side:

# %%
board = read_board()
start = base_of(board)
(plain,) = [run for run in pick(board, "plain") if run.setting.seed == 0]
pandas.DataFrame(
    {
        name: [before.score(name), plain.score(name), held_scores.score(name)]
        for name in before.results
    },
    index=["base", "plain, stored", "L2-SP 0.003, now"],
).round(0)

# %% [markdown]
# READING-1

# %% [markdown]
# ## Every method, every strength
#
# The menu has the methods, the slider the strengths at which each was run. Grey dots are all of
# them; the best corner is at the upper right, where much is learned and nothing is lost. The button
# runs one for you with a seed that no stored run has.
#
# **Predict before you move.** Which method comes closest to the corner? Which strength of L2-SP
# would you choose?

# %%
StrengthLab()

# %% [markdown]
# Three things to try.
#
# 1. Take L2-SP from one end of its slider to the other. It walks a road from "little learned,
#    little lost" to the plain run. Then take *lower rate*. Is it another road, or the same one?
# 2. Look for a method whose road turns upwards *before* the right edge: it loses less without
#    learning less.
# 3. Run the one you like best live. Does your seed fall among the three?
#
# ## Roads on one plane
#
# First the methods that hold weights, beside the cheapest remedy of all, a lower learning rate.
# The numbers at the ends of a road are its strengths.


# %%
def road(method):
    """(strength, support, points lost) by rising strength, means over the seeds."""
    found = []
    for strength in strengths(board, method):
        runs = pick(board, method, strength)
        lost = fmean(run.lost(start) for run in runs)
        found.append((strength, fmean(run.target for run in runs), lost))
    return found


LEARNED, LOST = "support: items right (%)", "old skills: points lost"
chosen = ("plain", "lower rate", "freeze", "L2-SP", "EWC", "EWC, batch mean")
plot.roads({method: road(method) for method in chosen}, x=LEARNED, y=LOST)

# %% [markdown]
# READING-2
#
# Next, those that hold answers or data.

# %%
chosen = ("plain", "replay", "self replay", "KL, old rows", "KL, no data", "token mask")
plot.roads({method: road(method) for method in chosen}, x=LEARNED, y=LOST)

# %% [markdown]
# READING-3
#
# Last, those that change the path.

# %%
chosen = ("plain", "lower rate", "early stop", "SAM", "sparse SAM", "merge")
plot.roads({method: road(method) for method in chosen}, x=LEARNED, y=LOST)

# %% [markdown]
# READING-4

# %% [markdown]
# ## The scoreboard
#
# Roads are for the eye. For a ranking the methods must have learned the same, and each must be at
# its best strength, which is a choice, and a choice by the same items that are then reported
# flatters whoever had more strengths to choose from. So half of the items choose: for each method
# the strength that loses least among those that bring support to 85 % on average. The other half
# reports.
#
# **Predict before you run.** Of how many places in the ranking can you be sure?

# %%
ranked = standings(board, RANKED)
plot.ranking(ranked, goal=GOAL, margin=5)

# %% [markdown]
# READING-5

# %%
costs = read_costs()
table = pandas.DataFrame(
    {
        "what it does": METHODS[one.method].does,
        "strength": "none" if one.strength is None else f"{one.strength:g}",
        "support (%)": round(one.target),
        "lost": round(one.lost, 1),
        "place": f"{one.best} to {one.worst}" if one.strength is not None else "",
        "step time": costs.get(one.method, {}).get("step time", ""),
        "memory": costs.get(one.method, {}).get("peak memory", ""),
    }
    for one in ranked
)
table.index = [one.method for one in ranked]
table

# %% [markdown]
# READING-6
#
# ### What just happened
#
# READING-7

# %% [markdown]
# ## Is the Fisher better than the identity?
#
# EWC differs from L2-SP in one thing: each weight has its own pull, as strong as its **Fisher
# information** says. That is the mean, over old examples, of the *squared* gradient of the
# example's log-probability: how much the old answers would notice if this weight moved. Libraries
# often square the gradient of a whole batch's mean instead, which is faster, and something else,
# because gradients of different examples cancel before they are squared.

# %%
old = old_rows().select(range(96)).to_list()
per_sample, batch_mean = (fisher(base, old, kind) for kind in ("per-sample", "batch-mean"))
flat = [
    torch.cat([value.flatten() for value in kind.values.values()])
    for kind in (per_sample, batch_mean)
]
ratio = float(flat[0].mean() / flat[1].mean())
alike = float(torch.corrcoef(torch.stack(flat))[0, 1])
print(f"mean of the first over the mean of the second: {ratio:.0f}; correlation {alike:.2f}")

# %% [markdown]
# The second is too small by about the size of a batch, sixteen: a strength λ taken from a paper
# that used one of them means something else with the other. The *pattern*, however, is nearly the
# same here, although little about it should be. Why? Ask how much each example contributes.

# %%
parts = [float(sum(v.sum() for v in fisher(base, [row]).values.values())) for row in old[:64]]
order = sorted(range(64), key=parts.__getitem__, reverse=True)
for count in (1, 3, 10):
    share = sum(parts[place] for place in order[:count]) / sum(parts)
    print(f"the first {count:2} of 64 examples make {share:.1%} of the Fisher")
print(f"first of all: {old[order[0]]['prompt']!r} {old[order[0]]['completion']!r}")

# %% [markdown]
# A few examples make nearly all of it: those that the base is unsure of. Where it gives the right
# answer with a probability of almost one, the gradient is almost zero, and so is its square. So
# this Fisher says a lot about the few things the model nearly does not know and next to nothing
# about the many that it knows. With one such example in a batch there is little to cancel, which is
# why both orders of squaring give nearly one pattern. On a large model, whose every token is
# uncertain, this may be otherwise: look at your own contributions before you trust the word
# "importance".

# %% [markdown]
# ## Four tasks in a row
#
# So far there was one new task. Customers come back with a second and a third. Here four are
# learned one after the other, each from the model the one before has left: the shop's policies,
# answers in capital letters, word problems answered without steps, and the policies again with
# every word replaced by another. $R_{ij}$ is the score on task $j$ after stage $i$. This is plain
# fine-tuning, seed 0:

# %%
sequences = stages.read_sequences()
first = sequences[0]
pandas.DataFrame(
    [first.before, *first.scores],
    columns=list(stages.TASKS),
    index=["base", *(f"after {task}" for task in stages.TASKS)],
).round(0)

# %% [markdown]
# READING-10
#
# Three numbers sum such a table up (Lopez-Paz and Ranzato 2017; Chaudhry et al. 2018). **ACC** is
# the mean of the last row. **Backward transfer**, BWT, is how much each task but the last has
# changed since its own stage, below zero where it was forgotten. **Forgetting** is how far each
# ended below its best at any earlier stage.

# %%
rows = []
for way in stages.WAYS:
    runs = [run for run in sequences if run.setting.way == way]
    rows.append({
        "way": way,
        "ACC": fmean(accuracy(run.scores) for run in runs),
        "BWT": fmean(backward_transfer(run.scores) for run in runs),
        "forgetting": fmean(forgetting(run.scores) for run in runs),
        "last task": fmean(run.scores[-1][-1] for run in runs),
        "forgetting, by seed": ", ".join(f"{forgetting(run.scores):.0f}" for run in runs),
    })  # fmt: skip
pandas.DataFrame(rows).set_index("way").round(1)

# %% [markdown]
# READING-11
#
# What is kept for later stages, in megabytes, after each of the four:

# %%
for way in ("EWC", "replay"):
    kept = next(run.kept for run in sequences if run.setting.way == way)
    print(f"{way:7}", "  ".join(f"{size / 1e6:.3f}" for size in kept))

# %% [markdown]
# READING-12

# %% [markdown]
# > **Common gotcha.** A penalty's strength has no meaning of its own. λ = 0.01 is much or little
# > depending on how the Fisher is scaled, on the learning rate, and on whether the penalty is
# > summed or averaged over weights. Papers' values do not carry over; sweep, and report the road.

# %% [markdown]
# ## Break it on purpose
#
# A Fisher holds at the weights it was taken at. Fine-tune, and use the old one for the next stage,
# as is easily done in a loop, and it protects a model that no longer exists.

# %%
from helpers.mechanics.loss import merged
from helpers.mitigations import OtherModel

try:
    finetune(merged(held.model), tickets, steps=1, mitigation=EWC(per_sample, 0.01))
except OtherModel as error:
    print(error)

# %% [markdown]
# And a pull that pushes:

# %%
try:
    L2SP(-0.003)
except ValueError as error:
    print(error)

# %% [markdown]
# > **A note from experience.** Before you add a penalty to a training loop, run the loop once with
# > the rate halved and the steps doubled. If that alone gets you what the penalty promises, you
# > have saved yourself a hyperparameter that somebody will have to maintain.

# %% [markdown]
# ## Exercises
#
# ### 7.1 Forgetting in a sequence · easy · 10 minutes
#
# Write `forgetting(scores)`. `scores[i][j]` is the score on task `j` after stage `i`, and stage `i`
# teaches task `i`. For every task but the last: its best score at any stage but the last, minus its
# score after the last. Return the mean.
#
# <details><summary>Hint</summary>
#
# `scores[:-1]` are the rows of all stages but the last, and `scores[-1]` is the last. The best
# score may be older than the task's own stage, and the result may be below zero.
#
# </details>


# %% tags=["exercise"]
def forgetting(scores):
    # BEGIN SOLUTION
    tasks = range(len(scores) - 1)
    lost = [max(row[task] for row in scores[:-1]) - scores[-1][task] for task in tasks]
    return sum(lost) / len(lost)
    # END SOLUTION


check("7.1", forgetting)

# %% [markdown]
# ### 7.2 The Fisher · medium · 15 minutes
#
# Write `diagonal_fisher(log_likelihood, weights, samples)`: for each weight, the mean over the
# samples of the squared gradient. `log_likelihood(weights, sample)` is the log-probability of one
# sample, `weights` a tensor that requires a gradient; the result has its shape.
#
# <details><summary>Hint</summary>
#
# `(gradient,) = torch.autograd.grad(log_likelihood(weights, sample), weights)` for one sample.
# Square before you average: the other order is another number, and a popular mistake.
#
# </details>


# %% tags=["exercise"]
def diagonal_fisher(log_likelihood, weights, samples):
    # BEGIN SOLUTION
    total = torch.zeros_like(weights)
    for sample in samples:
        (gradient,) = torch.autograd.grad(log_likelihood(weights, sample), weights)
        total += gradient**2
    return total / len(samples)
    # END SOLUTION


check("7.2", diagonal_fisher)

# %% [markdown]
# ### 7.3 A SAM step · hard · 20 minutes
#
# Write `sam_step(loss, weights, rho, lr)`: one step of plain gradient descent with SAM.
# `loss(weights)` is a scalar, and `weights` a list of tensors that require gradients. Climb a
# distance of `rho` along the gradient, take the gradient there, and walk `lr` times it downhill
# *from where you began*. Return a list of new tensors; the weights given must be what they were.
# Where the gradient is zero, climb nowhere.
#
# <details><summary>Hint</summary>
#
# The length of the gradient is that of all tensors together: the root of the sum of all squares. A
# place uphill that can be differentiated: `(w + step).detach().requires_grad_()`.
#
# </details>


# %% tags=["exercise"]
def sam_step(loss, weights, rho, lr):
    # BEGIN SOLUTION
    first = torch.autograd.grad(loss(weights), weights)
    length = sum(g.square().sum() for g in first).sqrt()
    scale = rho / length if length > 0 else 0.0
    uphill = [(w + scale * g).detach().requires_grad_() for w, g in zip(weights, first)]
    second = torch.autograd.grad(loss(uphill), uphill)
    return [(w - lr * g).detach() for w, g in zip(weights, second)]
    # END SOLUTION


check("7.3", sam_step)

# %% [markdown]
# ## Check your understanding

# %%
quiz("07")

# %% [markdown]
# ## Recap
#
# RECAP
#
# **Next:** lesson 08 goes back from a finished fine-tune towards its base, and adds fine-tunes to
# each other.
#
# ## Sources
#
# - Biderman et al. (2024), *LoRA learns less and forgets less*, arXiv 2405.09673: compare at equal
#   learning.
# - Li, Grandvalet and Davoine (2018), on L2-SP, arXiv 1802.01483.
# - Kirkpatrick et al. (2016), on EWC, arXiv 1612.00796; Schwarz et al. (2018), on its running sum,
#   arXiv 1805.06370; Zheng et al. (2026), on EWC with LoRA, arXiv 2602.17559; van de Ven (2025), on
#   ways to take the Fisher, arXiv 2502.11756.
# - Li and Hoiem (2016), *Learning without forgetting*, arXiv 1606.09282.
# - Wu et al. (2025), on low-perplexity tokens, arXiv 2501.14315.
# - Zheng et al. (2025), on freezing and spurious forgetting, arXiv 2501.13453.
# - Foret et al. (2020), *Sharpness-aware minimization*, arXiv 2010.01412; Li et al. (2024), SAM
#   while fine-tuning, arXiv 2406.04836; Watts et al. (2026), SAM in pre-training, arXiv 2605.02105;
#   SL-SAM (2026), in some layers only, arXiv 2602.09395.
# - Lopez-Paz and Ranzato (2017), arXiv 1706.08840, and Chaudhry et al. (2018), arXiv 1801.10112, on
#   measures for sequences of tasks.
# - CapTrack (2026), arXiv 2603.06610: no mitigation is best everywhere.
# - The glossary of the course: `docs/GLOSSARY.md`.
