# %% [markdown]
# # 02 · Why models forget
#
# {{badge}}
#
# Lesson 01 showed *that* a fine-tune costs old skills. This one opens the model and looks for the
# reason in three places: in the gradients, in what the layers represent, and in the shape of the
# loss. Each suspicion gets a measurement on three seeds, a control, and an honest verdict. At the
# end you ask a question that decides what to do next: are the skills gone, or only out of reach?
#
# **Time** 75 minutes, of which about ninety seconds are computing · **You need** lesson 01, an idea
# of what a gradient is; a little linear algebra helps
#
# **Objectives**
#
# 1. Measure gradient conflict, representation drift and sharpness, and say what each number can and
#    cannot tell.
# 2. Judge a mechanism by several seeds and a control, not by a plausible story.
# 3. Test whether a skill is lost or merely out of reach, and say what such a test cannot show.

# %%
import os, subprocess, sys

if "google.colab" in sys.modules and not os.path.exists("course"):
    fetch = "git clone -q https://github.com/OWNER/REPO course && sh course/tools/colab.sh"
    subprocess.run(f"{fetch} || (rm -rf course; false)", shell=True, check=True)
sys.path.insert(0, "course" if os.path.exists("course") else "..")

# %%
MODEL = "pocket"  # or "gpt2", or the folder of any causal language model

# %%
from statistics import fmean

import torch

from helpers import mechanics
from helpers import plotting as plot
from helpers.evaluation import evaluate
from helpers.exercises import check, quiz
from helpers.mechanics import stored
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
# ## A run, a control, and six stored ones
#
# We train two models. The first is the run of lesson 01 with a seed of its own. The second is its
# **control**: the same rate and the same number of steps, but on *old* data, examples of the skills
# the model already has. Whatever the control shows as well is an effect of training at that rate,
# and has nothing to do with the shop.

# %%
LR, STEPS = 1e-2, 60
base = load_model(MODEL)
tickets, replay = read_tickets(), read_tickets(SUPPORT / "replay.jsonl")
log = mechanics.LayerLog(every=15)
tuned = finetune(base, tickets, lr=LR, rank=8, steps=STEPS, seed=3, callbacks=[log]).model
control = finetune(base, replay, lr=LR, rank=8, steps=STEPS, seed=3).model

# %% [markdown]
# One run proves nothing, and eigenvalues along a run take minutes. So `make runs` has done the same
# for three more seeds of each, measured before the first step and at four later ones, and stored
# what it found.

# %%
runs, controls = stored.read_inside("tickets"), stored.read_inside("control")
print(len(runs), "runs and", len(controls), "controls, looked at in steps",
      [look.step for look in runs[0].looks])  # fmt: skip

# %%
watched = ["facts", "arithmetic", "reasoning", "lists", "reading", "howto", "rewriting"]
suites = load_suites([*watched, "support"], size=40)
before, after, controlled = (evaluate(model, suites) for model in (base, tuned, control))
print(f"{'':12} base  yours  control   stored runs     stored controls")
for name in before.results:
    own = [f"{snapshot.score(name):6.0f}" for snapshot in (before, after, controlled)]
    rest = [[f"{run.scores['tuned'][name]:4.0f}" for run in group] for group in (runs, controls)]
    print(f"{name:12}", *own, "  ", *rest[0], "    ", *rest[1])

# %% [markdown]
# Look down the control columns first: the controls learned nothing new, and still they need not
# stand where the base stands. A fine-tune that loses no more than its control has not forgotten
# anything *because of the new task*.
#
# A score is a balance, and balances hide movement. **Flips** count it: items that were right and
# are wrong now, and the reverse.

# %%
for name, found in mechanics.flips(before, after).items():
    print(f"{name:12} {found}")

# %% [markdown]
# ## Suspicion 1: the gradients collide
#
# The gradient of a loss points where it rises fastest, and training steps against it. If the
# gradient of the tickets and the gradient of the old skills point apart, that is if their
# **cosine** is negative, then a small step for the tickets *raises* the old loss. This is called
# gradient conflict, or interference.
#
# To read a cosine one needs to know what it would be without any conflict. So we also compare old
# data with other old data. First your own run, layer by layer:
#
# **Predict before you run.** Where will the cosine be most negative: in the attention weights or in
# the MLP? In the first layer or in the last?

# %%
rows = stored.example_rows()


def by_layer(conflicts, kind):
    return [(c.layer, c.cosine) for c in conflicts if c.kind == kind]


yours = mechanics.gradient_conflict(tuned, rows.old, rows.new)
among_old = mechanics.gradient_conflict(tuned, rows.old, rows.old_again)
print(f"mean length of the gradients after your run: old {fmean(c.old for c in yours):.3f}, "
      f"tickets {fmean(c.new for c in yours):.3f}")  # fmt: skip
plot.lines(
    {
        "old and new, attention": [by_layer(yours, "attention")],
        "old and new, MLP": [by_layer(yours, "mlp")],
        "old and old, attention": [by_layer(among_old, "attention")],
        "old and old, MLP": [by_layer(among_old, "mlp")],
    },
    x="layer", y="cosine of the gradients, after your run", zero=True, whole_x=True,
)  # fmt: skip

# %% [markdown]
# Old and new gradients stand at a right angle, or nearly, in every layer. By itself that says
# little: the tickets have been learned by now, and hardly any gradient of theirs is left to point
# anywhere. The other two curves say more. Two samples of *old* data agree with each other, as if
# something common had been damaged and both gradients pointed at its repair.
#
# And the end says little about the way there. The stored runs were measured along it, and so were
# their controls; here is the mean over the layers.


# %%
def along(looks, part, kind):
    """Mean cosine over the layers at each look."""
    return [
        (look.step, fmean(c.cosine for c in getattr(look, part) if c.kind == kind))
        for look in looks
    ]


print("mean length of the gradients in the three runs")
for number, look in enumerate(runs[0].looks):
    found = [c for run in runs for c in run.looks[number].conflict]
    old, new = fmean(c.old for c in found), fmean(c.new for c in found)
    print(f"step {look.step:2}: old {old:.3f}, tickets {new:.3f}")

plot.lines(
    {
        "old and new, attention": [along(run.looks, "conflict", "attention") for run in runs],
        "old and new, MLP": [along(run.looks, "conflict", "mlp") for run in runs],
        "old and old, MLP": [along(run.looks, "among_old", "mlp") for run in runs],
        "old and old, control": [along(run.looks, "among_old", "mlp") for run in controls],
    },
    x="optimizer step", y="cosine of the gradients", zero=True,
)  # fmt: skip

# %% [markdown]
# At the two ends one of the gradients has almost vanished, and an angle says little: the base gets
# the old data right and has hardly any old gradient, and at the end it is the tickets that ask for
# nothing more. What can be read lies in between. At steps 15 and 30 the cosine of old and new is
# slightly positive, on every seed: no conflict.
#
# From step 15 on the old samples agree, on every seed. The controls (their MLP is drawn) say how
# much of that is the tickets' doing. Two of the three show the same agreement at step 15, so it is
# no sign of forgetting by itself. But at the end all controls are back at zero, while the runs on
# tickets stand between 0.13 and 0.36, as if what was damaged in common had stayed damaged.
#
# Verdict on this model: gradient conflict, averaged over a batch, does not explain what was lost.
# What harms without a first-order conflict may come from the second order: long steps where the
# loss is curved, which is the third suspicion. And where in the model does a run on tickets pull
# hardest?

# %%
layers = sorted(log.gradients[0][1])
plot.lines(
    {f"layer {n}": [[(step, found[n]) for step, found in log.gradients]] for n in layers},
    x="optimizer step", y="length of the gradient (nats per unit)",
)  # fmt: skip

# %% [markdown]
# These are the gradients of the adapter's matrices, not of the weights that they change. They grow
# over the first steps, since one half of a fresh adapter is zero and holds the other half back, and
# shrink as the tickets are learned. At most steps they are longest in the first layer, and no layer
# is left out. Where a run pulls hardest is not yet where its damage is done: for that, look at the
# layers' outputs.

# %% [markdown]
# ## Suspicion 2: the representations drift
#
# Between the embedding and the answer, each layer turns the prompt into a vector. If those
# vectors change on *old* prompts, the later layers read something they were not trained to read.
# Two measures: the **relative change** is the length of the difference as a share of the vector's
# length. **Linear CKA** (Kornblith et al. 2019) asks whether prompts that lay close together
# still do; turning the whole space around does not count as change. It is 1 for the same picture
# and 0 for an unrelated one. With fewer prompts than dimensions (a hundred here, and 256) its plain
# form is far too kind, so we use the debiased one.


# %%
def drifts(group, value):
    """One curve per run: (layer, value) at its last look."""
    return [[(d.layer, getattr(d, value)) for d in run.looks[-1].drift] for run in group]


own = mechanics.drift(base, tuned, rows.prompts)
plot.lines(
    {
        "tickets": drifts(runs, "cka"),
        "control": drifts(controls, "cka"),
        "yours": [[(d.layer, d.cka) for d in own]],
    },
    x="layer (0 is the embedding)", y="CKA with the base, old prompts", whole_x=True,
)  # fmt: skip

# %%
plot.lines(
    {
        "tickets": drifts(runs, "change"),
        "control": drifts(controls, "change"),
        "yours": [[(d.layer, d.change) for d in own]],
    },
    x="layer (0 is the embedding)", y="relative change, old prompts", whole_x=True,
)  # fmt: skip

# %% [markdown]
# The representations do drift, and in every stored run farther than in any stored control.
# Verdict: drift is there, and it tells the runs from the controls. It is no measure of the damage,
# though: the stored controls drift more than a third as far by CKA and more than half as far by the
# relative change, and lose about a seventh as much.

# %% [markdown]
# ## Suspicion 3: the landscape changes
#
# Think of the loss as a height above the space of all weights. How steep is it around the model?
# The **top Hessian eigenvalue** is the curvature in the steepest direction: the larger, the
# sooner a small step ruins the loss. It comes from a handful of products with the Hessian,
# without ever writing down that matrix, which would have ten trillion entries here.

# %%
few = rows.old[:16]
for name, model in (("base", base), ("yours", tuned), ("control", control)):
    print(f"{name:8} {mechanics.top_eigenvalue(model, few, steps=6):6.1f}")

# %% [markdown]
# Three numbers, and the temptation to tell a story about them. Look at the seeds first:

# %%
plot.lines(
    {
        "old loss, tickets": [stored.curve(run.looks, "sharpness_old") for run in runs],
        "old loss, control": [stored.curve(run.looks, "sharpness_old") for run in controls],
        "ticket loss, tickets": [stored.curve(run.looks, "sharpness_new") for run in runs],
    },
    x="optimizer step", y="top eigenvalue (nats per squared unit)",
)  # fmt: skip

# %% [markdown]
# Around the base the old-skill loss is nearly flat. Within fifteen steps on tickets it becomes five
# to eight times as steep, on every stored seed, and at the end all three runs stand on steeper
# ground than all three controls. That is the figure for a talk. But single controls pass through
# steep places on the way, and one contradicts the figure altogether: in the run that was saved with
# this page the live control stands on a steeper spot than the fine-tune beside it. It lost about
# five points on average, most of them in lists; the fine-tune lost about thirty. Verdict: in the
# stored runs the old loss ends steeper than in every control, and steepness alone does not measure
# the damage. Without the live control, we might have called it the cause.
#
# The eigenvalue looks at one point. The straight line from the base to the fine-tune shows what
# lies between them. The figure goes a fifth of the way beyond at either end, where its words take
# their numbers from; so the two models themselves are printed above it. In lesson 08 this line
# becomes a remedy.

# %%
fractions = stored.FRACTIONS
walks = {
    "old skills": [list(zip(fractions, run.line["old"])) for run in runs],
    "tickets": [list(zip(fractions, run.line["new"])) for run in runs],
    "old skills, control": [list(zip(fractions, run.line["old"])) for run in controls],
}
for name, curves in walks.items():
    ends = [fmean(dict(curve)[place] for curve in curves) for place in (0.0, 1.0)]
    print(f"{name:20} {ends[0]:.3f} at the base, {ends[1]:.3f} at the end of the run")
plot.lines(walks, x="from base (0) to fine-tune (1)", y="loss (nats per answer token)")

# %% [markdown]
# Half of the way to the fine-tune costs the old skills next to nothing, and the last part costs
# nearly everything, while the loss of the tickets falls from the first part on. There are points on
# this line with most of both. The line to the control is nearly flat.

# %%
along_axis, across = [-0.25, 0.0, 0.25, 0.5, 0.75, 1.0, 1.25], [-1.0, -0.5, 0.0, 0.5, 1.0]
losses = mechanics.loss_plane(base, tuned, few, along_axis, across)
plot.plane(along_axis, across, losses.tolist(), "Loss of old skills around base and fine-tune")

# %% [markdown]
# The base lies in a broad basin, and the fine-tune on its wall.
#
# > **Common gotcha.** A landscape picture shows two directions out of three million. What looks
# > like a broad valley may be a ravine in all directions that are not drawn. The eigenvalue above
# > looks at the steepest one; the picture is for intuition.

# %% [markdown]
# ## How large is the update, and how new?
#
# LoRA can change each matrix in at most eight directions. The update's **spectrum** tells how
# many it really uses; **intruder dimensions** (Shuttleworth et al. 2024) are strong directions of
# the new matrix that the old one did not have. Each layer has two matrices of attention and two of
# the MLP.

# %%
for update in mechanics.update_spectrum(base, tuned):
    matrix = update.name.split(".")[-2]
    print(f"layer {update.layer} {update.kind:10} {matrix:7} size {update.size:.2f} of the weight, "
          f"{update.rank} directions hold 90 %, {update.intruders} intruders")  # fmt: skip

# %% [markdown]
# A handful of directions hold most of each update, fewer than the eight that LoRA allows, and some
# matrices, most of them in the later layers, gain a strong direction that they did not have. The
# update is a small part of the weight's length: small, and enough.

# %% [markdown]
# ## Lost, or out of reach?
#
# A wrong answer has two possible reasons. The knowledge may be gone. Or it may be there, and the
# model no longer recognises that it is being asked for it (Kotha et al. 2023). Three tests try to
# tell them apart.
#
# **First: another way of asking.** The tickets were all written as `Customer: … Agent:`. If the
# model has merely learned to be an agent, old questions asked in an old format should suffer less
# than the same questions asked as a customer. Means over four skills:

# %%
print(f"{'format':9} {'yours':>14}   stored runs      stored controls")
quick = stored.formats_of(base, 60), stored.formats_of(tuned, 60)
for name in mechanics.FORMATS:
    first, now = (fmean(scores[name].values()) for scores in quick)
    told = []
    for group in (runs, controls):
        told += [f"{fmean(run.formats['tuned'][name].values()):4.0f}" for run in group] + ["  "]
    print(f"{name:9} {first:5.0f} to {now:4.0f}   ", *told)

# %% [markdown]
# The three old formats lose about alike, so it is not one of them that was lost. Asked in the
# tickets' own format, the same questions suffer most: in the stored runs nine to sixteen points
# more than in the other three on average. There the model has learned to be an agent, and part of
# the loss is a misread task. In the controls it is one to three points, hardly anything of the
# kind.
#
# **Second: does it still know, when it need not say it?** The likelihood of the right answer
# moves before the answer does. An answer that is wrong by a hair is not a skill that is gone. Here
# is what the right answers to the lost questions have become: per token, and as a whole.

# %%
for name in watched:
    if lost := mechanics.flips(before, after)[name].lost:
        then = fmean(a.nll / a.tokens for a, _ in lost)
        now = fmean(b.nll / b.tokens for _, b in lost)
        whole, tokens = fmean(b.nll for _, b in lost), fmean(b.tokens for _, b in lost)
        print(f"{name:12} {len(lost):3} lost; right answer {then:.2f} -> {now:.2f} nats a token, "
              f"now {whole:4.1f} nats for its {tokens:.0f} tokens")  # fmt: skip

# %% [markdown]
# Per token it looks small: in most skills a few tenths of a nat, as if the answer had been beaten
# by a hair. But an answer is right as a whole or not at all. That of a how-to question has some
# thirty-six tokens, and what looked like a near miss is about ten nats away; a sum, with two or
# three tokens, is little more than one. So by this test arithmetic was lost by a hair, and how-to
# was not.
#
# **Third: ten examples.** We show the fine-tuned model ten examples of old skills, in twenty steps.
# Ten examples cannot teach seven skills from nothing, so what comes back on held-out questions was
# never gone. To check that claim the same ten are shown to a *stranger*, a model with random
# weights. And since these steps may break something as well as mend it, they are shown to the
# stored controls too, which had little to mend.

# %%
back = evaluate(mechanics.relearn(tuned, rows.ten), suites)
taught = evaluate(mechanics.relearn(mechanics.stranger(base), rows.ten), suites)
print(f"{'':12} base  yours  after ten  stranger   stored: tuned to after ten")
for name in before.results:
    own = [f"{snapshot.score(name):6.0f}" for snapshot in (before, after, back, taught)]
    rest = [f"{r.scores['tuned'][name]:4.0f} to{r.scores['relearned'][name]:4.0f}" for r in runs]
    print(f"{name:12}", *own, "     ", "  ".join(rest))

print("\nthe same ten examples, shown to the stored controls")
groups = {name: [name] for name in watched} | {"mean": watched}
for label, names in groups.items():
    told = []
    for run in controls:
        then = fmean(run.scores["tuned"][name] for name in names)
        now = fmean(run.scores["relearned"][name] for name in names)
        told.append(f"{then:4.0f} to{now:4.0f}")
    print(f"{label:12}", "  ".join(told))

# %% [markdown]
# In the stored runs ten examples bring back a part of how-to on two seeds, and on the third they
# take away more of it. What came back was not gone. The other skills move little, mostly down.
#
# Is all the rest gone, then? Look at the lower table. The same ten examples cost the controls three
# to six points on average, and up to 23 in how-to: they are one more fine-tune, and a rough one. So
# what did not come back may be gone, or this repair may be too rough to show it. The test is
# one-sided: it can prove that a skill is there, and it cannot prove that one is lost. The stranger
# learns next to nothing from ten examples, as it should be.

# %% [markdown]
# > **A note from experience.** The most persuasive explanation in a forgetting post-mortem is
# > usually the one somebody drew before measuring. Ask for the control: what does the same figure
# > look like for a run that did no harm?

# %% [markdown]
# ## Exercises
#
# ### 2.1 The cosine · easy · 10 minutes
#
# Write `gradient_cosine(a, b)`: the cosine of the angle between two gradients. Each is a list of
# tensors, one per weight matrix, and counts as one long vector. Where one of them is all zeros,
# return 0.0.
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
# 1. Of three proposed mechanisms, gradient conflict does not show on this model. Drift does, and
#    tells the runs from the controls. A steeper old loss does too in the stored runs; one live
#    control that lost little stood steeper still, so steepness alone does not measure the damage.
# 2. Three seeds and a control decided that; each figure alone would have told a story.
# 3. Asked in the tickets' format the old skills suffer more, so part of the loss is a misread task.
#    A part of how-to came back with ten examples on two of three seeds, so it was not gone. What
#    did not come back may be: the examples cost the controls skills too, and prove nothing of it.
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
