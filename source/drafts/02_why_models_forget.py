# ruff: noqa: E501
# Draft. The readings come from one run of all cells; that run took six minutes beside other work,
# and a lesson has ninety seconds: the fine-tunes and the eigenvalues should come from stored runs.

# %% [markdown]
# # 02 · Why models forget
#
# {{badge}}
#
# Lesson 01 showed *that* a fine-tune costs old skills. This one opens the model and looks for the
# reason in three places: in the gradients, in what the layers represent, and in the shape of the
# loss. Each suspicion gets a measurement on three seeds and an honest verdict. At the end you ask
# a question that decides what to do next: are the skills gone, or only out of reach?
#
# **Time** 75 minutes, of which about ninety seconds are computing · **You need** lesson 01, an idea
# of what a gradient is; a little linear algebra helps
#
# **Objectives**
#
# 1. Measure gradient conflict, representation drift and sharpness, and say what each number can and
#    cannot tell.
# 2. Judge a mechanism by several seeds and a control, not by a plausible story.
# 3. Tell a skill that is lost from one that is merely unreachable.

# %%
import os, subprocess, sys

if "google.colab" in sys.modules and not os.path.exists("course"):
    clone = "git clone -q https://github.com/OWNER/REPO course"
    subprocess.run(f"{clone} && sh course/tools/colab.sh", shell=True, check=True)
sys.path.insert(0, "course" if os.path.exists("course") else "..")

# %%
MODEL = "pocket"  # or "gpt2", or the folder of any causal language model

# %%
import random

import torch

from helpers import mechanics
from helpers import plotting as plot
from helpers.evaluation import evaluate
from helpers.exercises import check, quiz
from helpers.models import load_model
from helpers.suites import load_suites
from helpers.tickets import SUPPORT, read_tickets
from helpers.training import finetune

# %% [markdown]
# ## Why this matters
#
# Every remedy in the later lessons is aimed at a cause. Projecting gradients helps if gradients
# collide. Holding the representation still helps if it drifts. Seeking flat minima helps if the
# old loss has become steep. And if the skill is still there and the model has only stopped
# reaching for it, a few examples bring it back and none of these is needed. Treating the wrong
# cause costs weeks.
#
# One preprint (Imanov 2026) proposes three mechanisms: gradients of old and new that conflict in
# the attention layers, representations that drift, and a loss landscape that changes around the
# old solution. It is a single paper and has not been replicated. So we take it as three
# questions, not as three answers.
#
# **An analogy, and where it ends.** A kitchen serves French food and is told to learn Thai. Three
# things may go wrong. The cooks may do the opposite of what French dishes need (conflict). The
# shelves may be rearranged, so that every hand reaches for the wrong jar (drift). Or the recipes
# may have become so touchy that a gram more salt ruins them (sharpness). The analogy ends at the
# shelf: a network has no jars, every skill is spread over all of it, and the three can happen at
# once.

# %% [markdown]
# ## Three seeds and a control
#
# Three seeds of the run of lesson 01. The fourth run is the **control**: the same rate, the same
# number of steps, but *old* data, examples of the skills the model already has. Whatever the
# control shows as well is an effect of training at that rate, and has nothing to do with the
# shop.

# %%
LR, STEPS, SEEDS = 1e-2, 60, (0, 1, 2)
base = load_model(MODEL)
tickets, replay = read_tickets(), read_tickets(SUPPORT / "replay.jsonl")
tuned = [finetune(base, tickets, lr=LR, rank=8, steps=STEPS, seed=s).model for s in SEEDS]
control = finetune(base, replay, lr=LR, rank=8, steps=STEPS, seed=0).model

# %%
watched = ["facts", "arithmetic", "reasoning", "lists", "reading", "howto", "rewriting"]
suites = load_suites([*watched, "support"], size=40)
before = evaluate(base, suites)
after = [evaluate(model, suites) for model in tuned]
controlled = evaluate(control, suites)
for name in before.results:
    scores = [f"{snapshot.score(name):4.0f}" for snapshot in after]
    print(f"{name:12} base {before.score(name):4.0f}   tuned {' '.join(scores)}"
          f"   control {controlled.score(name):4.0f}")  # fmt: skip

# %% [markdown]
# Look down the control column first: it learned nothing new, and still it need not stand where
# the base stands. A fine-tune that loses no more than the control has not forgotten anything
# *because of the new task*.
#
# A score is a balance, and balances hide movement. **Flips** count it: items that were right and
# are wrong now, and the reverse.

# %%
for name, found in mechanics.flips(before, after[0]).items():
    print(f"{name:12} {found}")

# %% [markdown]
# ## Suspicion 1: the gradients collide
#
# A gradient says in which direction the weights should move to lower a loss. Take it once for old
# skills and once for the tickets. If the angle between the two is wider than 90 degrees, that is
# if their **cosine** is negative, then a small step for the tickets *raises* the old loss. This
# is called gradient conflict, or interference.
#
# To read a cosine one needs to know what it would be without any conflict. So we also compare old
# data with other old data.
#
# **Predict before you run.** Where will the cosine be most negative: at the base or after the
# run? In the attention weights or in the MLP?

# %%
rng = random.Random(0)
old = rng.sample(replay.to_list(), 96)
old, old_again = old[:48], old[48:]
new = rng.sample(tickets.to_list(), 48)


def conflict_curves(model, first, second):
    found = mechanics.gradient_conflict(model, first, second)
    return {
        kind: [(c.layer, c.cosine) for c in found if c.kind == kind]
        for kind in ("attention", "mlp")
    }


at_base = conflict_curves(base, old, new)
among_old = conflict_curves(base, old, old_again)
plot.lines(
    {
        "old and new, attention": [at_base["attention"]],
        "old and new, MLP": [at_base["mlp"]],
        "old and old, attention": [among_old["attention"]],
        "old and old, MLP": [among_old["mlp"]],
    },
    x="layer", y="cosine of the gradients, at the base", zero=True, whole_x=True,
)  # fmt: skip

# %% [markdown]
# At the base all four curves lie at zero. The gradients of old and new do not collide there; they
# hardly know of each other, and neither do two samples of old data. A model that gets everything
# right has hardly any old gradient left to collide with. So before the run there is no conflict
# to see.

# %%
later = [conflict_curves(model, old, new) for model in tuned]
plot.lines(
    {
        "attention": [curves["attention"] for curves in later],
        "MLP": [curves["mlp"] for curves in later],
    },
    x="layer", y="cosine of the gradients, after the run", zero=True, whole_x=True,
)  # fmt: skip

# %% [markdown]
# After the run the cosines still lie at zero, for all three seeds. Verdict on this model:
# gradient conflict, measured at the two ends of the run, does not explain what was lost. It may
# occur in between, where old and new losses are both large; exercise material for lesson 07.

# %% [markdown]
# ## Suspicion 2: the representations drift
#
# Between the embedding and the answer, each layer turns the prompt into a vector. If those
# vectors change on *old* prompts, the later layers read something they were not trained to read.
# Two measures: the **relative change** is the length of the difference as a share of the vector's
# length. **Linear CKA** (Kornblith et al. 2019) asks whether prompts that lay close together
# still do; turning the whole space around does not count as change. It is 1 for the same picture
# and 0 for an unrelated one. With fewer prompts than dimensions its plain form is far too kind,
# so we use the debiased one.

# %%
prompts = [row["prompt"] for row in rng.sample(replay.to_list(), 200)]
drifts = [mechanics.drift(base, model, prompts) for model in tuned]
of_control = mechanics.drift(base, control, prompts)
plot.lines(
    {
        "tickets": [[(d.layer, d.cka) for d in found] for found in drifts],
        "control": [[(d.layer, d.cka) for d in of_control]],
    },
    x="layer (0 is the embedding)", y="CKA with the base, old prompts", whole_x=True,
)  # fmt: skip

# %%
plot.lines(
    {
        "tickets": [[(d.layer, d.change) for d in found] for found in drifts],
        "control": [[(d.layer, d.change) for d in of_control]],
    },
    x="layer (0 is the embedding)", y="relative change, old prompts", whole_x=True,
)  # fmt: skip

# %% [markdown]
# The representations do drift, more from layer to layer, and in all three seeds more than in the
# control. But the control drifts too, by more than half as much in length, and loses little
# except lists. Verdict: drift is there, and it is no measure of damage by itself.

# %% [markdown]
# ## Suspicion 3: the landscape changes
#
# Think of the loss as a height above the space of all weights. How steep is it around the model?
# The **top Hessian eigenvalue** is the curvature in the steepest direction: the larger, the
# sooner a small step ruins the loss. It comes from a handful of products with the Hessian,
# without ever writing down that matrix, which would have ten trillion entries here.

# %%
few_old, few_new = old[:16], new[:16]
rows = {"old skills": few_old, "tickets": few_new}
print(f"{'':12}{'base':>10}" + "".join(f"{f'seed {s}':>10}" for s in SEEDS) + f"{'control':>10}")
for name, data in rows.items():
    models = [base, *tuned, control]
    values = [mechanics.top_eigenvalue(model, data, steps=6) for model in models]
    print(f"{name:12}" + "".join(f"{value:10.1f}" for value in values))

# %% [markdown]
# Here the three seeds and the control part. Around the base the old-skill loss is nearly flat,
# and after the fine-tune its steepest curvature is many times larger; after the control it is
# what it was. For the tickets it is the other way round: their loss has become flat. Verdict: the
# landscape does change, and it separates harm from no harm.
#
# The eigenvalue looks at one point. The straight line from the base to the fine-tune shows what
# lies between them, and a little beyond. In lesson 08 this line becomes a remedy.

# %%
fractions = [-0.2, 0.0, 0.2, 0.4, 0.6, 0.8, 1.0, 1.2]
on_line = {
    "old skills": [mechanics.loss_on_line(base, m, old, fractions) for m in tuned],
    "tickets": [mechanics.loss_on_line(base, m, new, fractions) for m in tuned],
}
plot.lines(
    {
        name: [list(zip(fractions, losses, strict=True)) for losses in runs]
        for name, runs in on_line.items()
    },
    x="from base (0) to fine-tune (1)", y="loss (nats per answer token)",
)  # fmt: skip

# %% [markdown]
# Half of the way to the fine-tune costs the old skills next to nothing, and the last part costs
# nearly everything. The loss of the tickets falls from the first part on. There are points on
# this line with most of both.

# %%
along, across = [-0.25, 0.0, 0.25, 0.5, 0.75, 1.0, 1.25], [-1.0, -0.5, 0.0, 0.5, 1.0]
losses = mechanics.loss_plane(base, tuned[0], few_old, along, across)
plot.plane(along, across, losses.tolist(), "Loss of old skills around base and fine-tune")

# %% [markdown]
# The base lies in a broad basin, and the fine-tune on its wall.
#
# > **Common gotcha.** A landscape picture shows two directions out of three million. What looks like
# > a broad valley may be a ravine in all directions that are not drawn. The eigenvalue above looks at
# > the steepest one; the picture is for intuition.

# %% [markdown]
# ## How large is the update, and how new?
#
# LoRA can change each matrix in at most eight directions. The update's **spectrum** tells how
# many it really uses; **intruder dimensions** (Shuttleworth et al. 2024) are strong directions of
# the new matrix that the old one did not have.

# %%
for update in mechanics.update_spectrum(base, tuned[0]):
    print(f"layer {update.layer} {update.kind:10} size {update.size:.2f} of the weight, "
          f"{update.rank} directions hold 90 %, {update.intruders} intruders")  # fmt: skip

# %% [markdown]
# A handful of directions hold most of each update, fewer than the eight that LoRA allows, and
# most matrices gain a strong direction that they did not have. The update is a tenth of the
# weight's length: small, and enough.

# %% [markdown]
# ## Lost, or out of reach?
#
# A wrong answer has two possible reasons. The knowledge may be gone. Or it may be there, and the
# model no longer recognises that it is being asked for it (Kotha et al. 2023). Three tests tell
# them apart.
#
# **First: another way of asking.** The tickets were all written as `Customer: … Agent:`. If the
# model has merely learned to be an agent, old questions asked in an old format should suffer less
# than the same questions asked as a customer.

# %%
from dataclasses import replace

from helpers.suites import Suite


def asked_as(suite, before_question, after_question):
    """The bare questions of a suite in another format."""
    bare = [item for item in suite.items if item.format == "bare"]
    items = (replace(i, prompt=f"{before_question}{i.prompt}{after_question}") for i in bare)
    return Suite(suite.name, tuple(items), suite.kind, suite.extract)


formats = {
    "bare": ("", ""),
    "question": ("Question: ", "\nAnswer:"),
    "chat": ("User: ", "\nAssistant:"),
    "customer": ("Customer: ", "\nAgent:"),
}
probes = load_suites(["arithmetic", "lists", "howto", "rewriting"], size=120)
for label, (head, tail) in formats.items():
    asked = [asked_as(suite, head, tail) for suite in probes]
    base_scores, tuned_scores = (evaluate(m, asked).scores() for m in (base, tuned[0]))
    print(f"{label:9}", {n: f"{base_scores[n]:.0f} -> {tuned_scores[n]:.0f}" for n in base_scores})

# %% [markdown]
# The three old formats lose alike, so it is not the format that was lost. Asked in the tickets'
# own format, the same questions suffer most: there the model has learned to be an agent, and part
# of the loss is a misread task.
#
# **Second: does it still know, when it need not say it?** The likelihood of the right answer
# moves before the answer does. An answer that is wrong by a hair is not a skill that is gone.

# %%
for name in watched:
    lost = [pair for pair in mechanics.flips(before, after[0])[name].lost]
    if lost:
        then = sum(a.nll / a.tokens for a, _ in lost) / len(lost)
        now = sum(b.nll / b.tokens for _, b in lost) / len(lost)
        print(f"{name:12} {len(lost):3} lost; right answer {then:.2f} -> {now:.2f} nats a token")

# %% [markdown]
# In most skills the right answer has lost a few tenths of a nat per token, which is enough to
# lose it by a hair. Facts and sums that are lost are lost by more.
#
# **Third: ten examples.** We show the fine-tuned model ten examples of old skills, in a few
# gentle steps. Ten examples cannot teach seven skills from nothing, so what comes back on
# held-out questions was never gone. To check that claim the same ten are shown to a model with
# random weights, too.

# %%
from transformers import AutoModelForCausalLM

torch.manual_seed(0)
stranger = AutoModelForCausalLM.from_config(base.config)
stranger.tokenizer = base.tokenizer
ten = rng.sample(replay.to_list(), 10)
gentle = dict(lr=3e-3, rank=8, steps=20, batch_size=10)
back = evaluate(finetune(mechanics.merged(tuned[0]), ten, **gentle).model, suites)
taught = evaluate(finetune(stranger, ten, **gentle).model, suites)
for name in before.results:
    row = [f"{snapshot.score(name):4.0f}" for snapshot in (before, after[0], back, taught)]
    print(f"{name:12} base {row[0]}   tuned {row[1]}   after ten {row[2]}   stranger {row[3]}")

# %% [markdown]
# Ten gentle examples bring back a part of the worked problems and next to nothing of how-to. By
# this test most of the damage is loss, not a closed door. The stranger learns nothing from ten
# examples, as it should be.

# %% [markdown]
# > **A note from experience.** The most persuasive explanation in a forgetting post-mortem is
# > usually the one somebody drew before measuring. Ask for the control: what does the same figure look like
# > for a run that did no harm?

# %% [markdown]
# ## Exercises
#
# ### 2.1 The cosine · easy · 10 minutes
#
# Write `gradient_cosine(a, b)`: the cosine of the angle between two gradients. Each is a list of
# tensors, one per weight matrix, and counts as one long vector. Where one of them is all zeros,
# return
# 0.0.
#
# <details><summary>Hint</summary>
#
# The dot product of long vectors is the sum of the dot products of their parts. The squared
# length is the dot product of a vector with itself.
#
# </details>


# %% tags=["exercise"]
def gradient_cosine(a, b):
    # BEGIN SOLUTION
    dot = sum(float((x * y).sum()) for x, y in zip(a, b, strict=True))
    length_a = sum(float(x.square().sum()) for x in a) ** 0.5
    length_b = sum(float(y.square().sum()) for y in b) ** 0.5
    return dot / (length_a * length_b) if length_a and length_b else 0.0
    # END SOLUTION


check("2.1", gradient_cosine)

# %% [markdown]
# ### 2.2 CKA · medium · 15 minutes
#
# Write `linear_cka(x, y)` in its plain form, for two tensors of shape (inputs, width): centre
# every column, then $\lVert Y^\top X \rVert_F^2 \,/\, (\lVert X^\top X \rVert_F \lVert Y^\top Y
# \rVert_F)$.
#
# <details><summary>Hint</summary>
#
# `x - x.mean(0)` centres the columns. `torch.linalg.norm` of a matrix is its Frobenius norm.
#
# </details>


# %% tags=["exercise"]
def linear_cka(x, y):
    # BEGIN SOLUTION
    x, y = x - x.mean(0), y - y.mean(0)
    norm = torch.linalg.norm
    return norm(y.T @ x) ** 2 / (norm(x.T @ x) * norm(y.T @ y))
    # END SOLUTION


check("2.2", linear_cka)

# %% [markdown]
# ### 2.3 The Hessian without the Hessian · hard · 20 minutes
#
# Write `hvp(loss, parameters, vectors)`: the Hessian of `loss` times a vector. Parameters and
# vectors are lists of tensors of the same shapes, and so is the result.
#
# <details><summary>Hint</summary>
#
# The Hessian times $v$ is the gradient of (gradient · $v$). The first gradient must itself be
# differentiable: `torch.autograd.grad(..., create_graph=True)`.
#
# </details>


# %% tags=["exercise"]
def hvp(loss, parameters, vectors):
    # BEGIN SOLUTION
    gradients = torch.autograd.grad(loss, parameters, create_graph=True)
    slope = sum((g * v).sum() for g, v in zip(gradients, vectors, strict=True))
    return list(torch.autograd.grad(slope, parameters))
    # END SOLUTION


check("2.3", hvp)

# %% [markdown]
# ## Check your understanding

# %%
quiz("02")

# %% [markdown]
# ## Recap
#
# 1. Of three proposed mechanisms one separates the harmful runs from the control on this model:
#    the old loss becomes steep. Drift is there in both, and gradient conflict at neither end of
#    the run.
# 2. Three seeds and a control decided that; each figure alone would have told a story.
# 3. Asked in the tickets' format the old skills suffer more, so part of the loss is a misread
#    task; ten examples bring back little, so most of it is not.
#
# **Next:** lesson 03 puts the learning rate and the rank in your hands.
#
# ## Sources
#
# - Imanov (2026), arXiv 2601.18699: proposes the three mechanisms; a preprint without replication.
# - Kornblith et al. (2019), *Similarity of neural network representations revisited* (CKA), arXiv
#   1905.00414. Song et al. (2012), JMLR 13:1393: the unbiased estimate.
# - Mirzadeh et al. (2020), arXiv 2006.06958, and Li et al. (2024), arXiv 2406.04836: wide minima
#   forget less.
# - Li et al. (2018), *Visualizing the loss landscape of neural nets*, arXiv 1712.09913.
# - Kotha et al. (2023), arXiv 2309.10105: part of forgetting is a misread task. A 2025 preprint,
#   arXiv 2501.13453, calls damage that a few examples undo *spurious forgetting*.
# - Shuttleworth et al. (2024), arXiv 2410.21228: intruder dimensions.
# - Shenfeld et al. (2025), arXiv 2509.04259: distance to the base on the new task.
