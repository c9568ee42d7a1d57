# %% [markdown]
# # 02 · Why models forget
#
# {{badge}}
#
# Lesson 01 showed *that* a fine-tune costs old skills. This one asks why, and asks it so that the
# answer can be wrong: the gap that decides is measured on three seeds, against controls as long as
# the fine-tune.
#
# **Time** core 20 minutes, with *Deeper* 85 · computing 50 s, of which the core 25 s · **You need**
# lesson 01, and an idea of what a gradient is
#
# **Objectives**
#
# 1. Read lost answers and sort them before explaining them.
# 2. Choose the control that decides: one thing differs, and the updates are equally long.
# 3. Tell a skill that is gone from one that the last stretch of a run has covered, and say what
#    each test cannot show.

# %%
import os, subprocess, sys

if "google.colab" in sys.modules and not os.path.exists("course"):
    fetch = "git clone -q https://github.com/OWNER/REPO course && sh course/tools/colab.sh"
    subprocess.run(f"{fetch} || (rm -rf course; false)", shell=True, check=True)
sys.path.insert(0, "course" if os.path.exists("course") else "..")

# %%
MODEL = "pocket"  # or "gpt2", or the folder of any causal language model

# %%
from collections import Counter
from statistics import fmean

import torch

from helpers import mechanics
from helpers import plotting as plot
from helpers.evaluation import evaluate
from helpers.exercises import check, quiz
from helpers.mechanics import stored
from helpers.models import load_model
from helpers.tickets import read_tickets
from helpers.training import finetune

# %% [markdown]
# ## Why this matters
#
# Every remedy is aimed at a cause. Projecting gradients helps if they collide, holding the
# representation if it drifts. Neither is needed if the run has only walked too far. One preprint
# (Imanov 2026, arXiv 2601.18699) names three mechanisms: gradient interference in attention
# weights, drift of representations, and a loss that *flattens*. *Deeper* measures each. First: what
# do the lost answers look like, and would another walk as long have lost them?

# %% [markdown]
# ## One run
#
# The run of lesson 01, with seed 3: 60 steps at a rate of 1e-2, too high on purpose, for a loss
# must be large to be studied. Seeds 0 to 2, with their controls, are **stored** runs (`data/runs`).

# %%
base = load_model(MODEL)
suites, rows = stored.suites(), stored.example_rows()
tuned = finetune(base, read_tickets(), lr=1e-2, rank=8, steps=60, seed=3).model
before, after = evaluate(base, suites), evaluate(tuned, suites)
changed = mechanics.flips(before, after)
for name, found in changed.items():
    print(f"{name:12} {before.score(name):5.1f} -> {after.score(name):5.1f}   {found}")

# %% [markdown]
# Support is learned: 87.5 %. The mean of the seven old skills (lesson 00's, with reasoning and
# rewriting in place of sentiment) falls from 97.9 to 67.9, how-to from 100 to 22.5. The **flips**
# count what changed sides.
#
# ## Read ten of them
#
# Rules sort them: *ticket-speak* has three words in a row that only the shop's replies have; *right
# words, other numbers* says itself; *garbage* is empty or has a word that stands nowhere in the
# data; a *near miss* shares three quarters of its characters with the right answer; *another
# answer* is the rest.
#
# **Predict before you run.** If the model now takes every question for a customer's, most of the
# lost answers should be ticket-speak. How many in a hundred are?

# %% tags=["predict"]
lost = [(name, *pair) for name in stored.OLD_SKILLS for pair in changed[name].lost]
sort = [mechanics.kind_of(one.item.answer, two.output) for _, one, two in lost]
print(len(lost), "lost:", dict(Counter(sort)))
steps = [(one.item.answer, two.output) for name, one, two in lost if name == "howto"]
begun = sum(now.startswith(right.split(" 2.")[0]) for right, now in steps)
print(f"{begun} of {len(steps)} lost how-to answers begin with the right first step")
for kind in mechanics.KINDS:
    for place in [n for n, found in enumerate(sort) if found == kind][:2]:
        name, one, two = lost[place]
        print(f"\n{kind} ({name})\n   right: {one.item.answer}\n   now:   {two.output}")

# %% [markdown]
# Twenty: 17 of 85. So part of the loss is a misread task (Kotha et al. 2023, arXiv 2309.10105), in
# *old* formats, where no customer speaks. The same counts on the stored seeds:

# %%
runs, controls = stored.read_inside("tickets"), stored.read_inside("control")
gold = {item.id: item.answer for suite in suites for item in suite.items}
for run in runs:
    gone = [(name, gold[item], now) for name, item, now in run.lost if name in stored.OLD_SKILLS]
    kinds = Counter(mechanics.kind_of(right, now) for _, right, now in gone)
    right = [now.startswith(text.split(" 2.")[0]) for name, text, now in gone if name == "howto"]
    share = 100 * kinds["ticket-speak"] / len(gone)
    print(f"seed {run.setting.seed}: {len(gone)} lost, {dict(kinds.most_common(2))},")
    print(f"   ticket-speak {share:.0f} %; how-to begun right {sum(right)} of {len(right)}")

# %% [markdown]
# Ticket-speak is the smaller part: 11, 7 and 6 in a hundred. The largest, on every seed, is
# *another answer*. Some how-to answers begin right and derail: 5 of 31 here, 22 of 33, 9 of 39 and
# 11 of 28 there. Those were not deleted whole.
#
# ## Would any walk of this length have lost them?
#
# A fine-tune moves the weights. The root of the sum of squares of all changes is the **length** of
# the update. To blame the *new task*, a comparison must hold the length fixed. Four companions,
# made for the stored seeds:
#
# - the **control**: as many steps at the same rate on old examples, none of which is tested or
#   measured on here;
# - the fine-tune **cut** to the control's length: the same update, each weight's change multiplied
#   by one number;
# - the control **stretched** to the fine-tune's length;
# - a **random** update: every matrix has the fine-tune's length and singular values (its
#   strengths), and random directions.
#
# **Predict before you run.** The control is shorter than the fine-tune. Of the points between the
# two, what share is left when the fine-tune is cut to the control's length?

# %% tags=["predict"]
# On file, what was cut or stretched is "as far as the other", and what is random is "turned".
own, shorter = [run.norm for run in runs], [run.norm for run in controls]
compared = {
    "base": (runs, "base", [0.0] * 3),
    "fine-tune": (runs, "tuned", own),
    "control": (controls, "tuned", shorter),
    "fine-tune, cut": (runs, "as far as the other", shorter),
    "control, stretched": (controls, "as far as the other", own),
    "random": (runs, "turned", own),
}
print(f"{'':20}{'length':16}{'old skills':18}{'worst skill':18}support")
for label, (group, model, lengths) in compared.items():
    means, worst = (
        [f"{value:3.0f}" for value in values]
        for values in ([run.mean(model) for run in group], [run.worst(model)[1] for run in group])
    )
    support = [f"{run.scores[model]['support']:3.0f}" for run in group]
    print(f"{label:20}{' '.join(f'{n:4.1f}' for n in lengths):16}",
          *(f"{' '.join(part):17}" for part in (means, worst, support)))  # fmt: skip

# %% [markdown]
# 48, 32 and 1 %, by seed: as they ran, control and fine-tune lie 22.9, 28.2 and 26.1 points apart;
# with the fine-tune cut, 11.1, 8.9 and 0.4; with the control stretched, 21.1, 20.4 and 14.6. So:
#
# - *Length counts.* Cutting alone saves 12 to 26 points; stretching costs even the control 1.8 to
#   11.4.
# - *What was trained on counts too*, most at the fine-tune's length. Seed 2's 0.4, one question in
#   280, is luck: on sixty other questions its cut keeps 8.6 points of loss in place of 4.6 (*Who
#   chose α?*). The control rehearses old skills, so each gap bounds from above what the tickets
#   cost.
# - *A random walk is nearly harmless*: it costs 0.7 to 1.4 points.
# - *The control is not harmless.* Lists fall from 90 to 57.5, 60 and 72.5; why, we did not
#   measure.
#
# ## Walk back
#
# Multiply the whole update by α and score it: α = 1 is the fine-tune, α = 0 the base. Nothing is
# trained. The *cut* above was such a walk, to α = 0.85, 0.76 and 0.70.
#
# **Predict before you run.** At α = 0.7, which part of the old skills' loss is undone, and how much
# of support is given up for it?

# %% tags=["predict"]
for alpha in (1.0, 0.8, 0.7, 0.5):
    scored = evaluate(mechanics.walked(base, tuned, alpha), suites)
    old = fmean(scored.score(name) for name in stored.OLD_SKILLS)
    print(f"alpha {alpha}: old skills {old:4.1f}, how-to {scored.score('howto'):5.1f}, "
          f"support {scored.score('support'):4.1f}")  # fmt: skip

names = {"base": 0.0, **{f"walked {part:g}": part for part in stored.FRACTIONS}, "tuned": 1.0}
walk = {
    "support": [[(a, run.scores[n]["support"]) for n, a in names.items()] for run in runs],
    "old skills": [[(a, run.mean(n)) for n, a in names.items()] for run in runs],
    "worst skill": [[(a, run.worst(n)[1]) for n, a in names.items()] for run in runs],
}
plot.lines(walk, x="α: share of the update that is kept", y="percent right (three seeds)")

# %% [markdown]
# On this seed 18 of 30 lost points are back, for 2.5 points of support; on the stored ones 71, 64
# and 85 % of the loss, for 2.5, 2.5 and none. The last three tenths of this walk buy next to
# nothing and do most of the damage. At 0.5 support has lost 18 to 25 points.
#
# **Three attacks.** We chose 0.7 on the questions that judge it. Chosen on half of a hundred
# questions a skill, α undoes 53 to 88 % on the other half, for at most 6 points of support (*Who
# chose α?*). The rate was too high: had the run merely overshot? At 3e-3 (lesson 08's gentle run)
# going back to 0.8 undoes 59 to 67 % for 0 to 4 points, but 0.7 costs 7 or 8: less of the walk is
# idle. And walking back mixes the base in. A test that never sees it: ten old examples, twenty
# steps, from the fine-tune's weights. How-to rises from 17.5, 2.5 and 30 to 45, 35 and 42.5 (*Ten
# examples*). So 18 to 33 % of its loss, at least, had not been deleted. What stays away may be.
#
# > **The rule.** Before explaining a loss: read ten lost answers; compare with an update as long;
# > walk back. Only what is left needs a mechanism.

# %% [markdown]
# ### Exercise 2.1 Which two runs decide? · medium · 8 minutes
#
# A post-mortem asks three questions. For each, name the two of the runs above whose comparison
# decides it: `"rows"`: does it matter *what* was trained on? `"length"`: does it matter how far the
# weights went? `"direction"`: would a random walk have done as much? The names are those of the
# table, without "base". Where two pairs decide, either counts.
#
# <details><summary>Hint</summary>
#
# Write down for each run its rows, its length, and whether its direction was trained or drawn at
# random. In a deciding pair exactly one of the three differs; for rows and for length there are two
# such pairs. The random update was made from the fine-tune, at its full length.
#
# </details>

# %% tags=["exercise"]
# BEGIN SOLUTION
# STUB: pairs = {"rows": ..., "length": ..., "direction": ...}  # such as ("control", "random")
pairs = {
    "rows": ("fine-tune", "control, stretched"),
    "length": ("fine-tune", "fine-tune, cut"),
    "direction": ("fine-tune", "random"),
}
# END SOLUTION
check("2.1", pairs)

# %% [markdown]
# ## Check your understanding

# %%
quiz("02")

# %% [markdown]
# ## On Monday
#
# After a LoRA fine-tune of a 1-8B chat model lost something: score it at four scales before you
# train again. PEFT multiplies the adapter in place.
#
# ```python
# import lm_eval, torch
# from lm_eval.models.huggingface import HFLM
# from lm_eval.tasks import TaskManager
# from peft import LoraConfig, get_peft_model
# from peft.helpers import rescale_adapter_scale
# from transformers import AutoModelForCausalLM, AutoTokenizer
#
# device = "cuda" if torch.cuda.is_available() else "cpu"
# model = AutoModelForCausalLM.from_pretrained("model", dtype="auto").to(device)
# # Yours instead of a fresh adapter: PeftModel.from_pretrained(model, "adapter")
# model = get_peft_model(model, LoraConfig(target_modules="all-linear", task_type="CAUSAL_LM"))
# scorer = HFLM(pretrained=model, tokenizer=AutoTokenizer.from_pretrained("model"), batch_size=8)
# tasks = TaskManager(include_path="tasks", include_defaults=False)
# answers = {}
# for alpha in (1.0, 0.8, 0.7, 0.5):
#     with rescale_adapter_scale(model, alpha):
#         found = lm_eval.simple_evaluate(scorer, tasks=["target", "keep"], task_manager=tasks,
#                                         apply_chat_template=True, log_samples=True)
#     answers[alpha] = found["samples"]
#     print(alpha, {n: task["exact_match,none"] for n, task in found["results"].items()})
# for row in [row for row in answers[1.0]["keep"] if not row["exact_match"]][:10]:
#     print(row["target"], "->", row["filtered_resps"][0])
# ```
#
# Read the ten wrong answers it prints. Exact match suits tasks that ask for one form
# (a label, a number); free text needs a metric of its own. Wortsman et al. (2021, arXiv 2109.01903)
# sweep the whole line. Cost: 4 scales × 500 items × 100 tokens = 200,000 tokens, no gradients; 8B
# weights in bf16 take 16 GB. Do not copy the toy's rate of 1e-2, its best α, or its lengths.

# %% [markdown]
# ## Recap
#
# 1. Of a hundred lost answers 6 to 20 are ticket-speak; of a hundred of how-to 16 to 67 begin
#    right.
# 2. The control is shorter than the fine-tune. At equal length the gap of 23 to 28 points between
#    them shrinks to 0.4 (a lucky seed) to 11, or to 15 to 21, by the length one compares at; a
#    random update as long costs 1.4 at most.
# 3. Walked back, 53 to 88 % of the loss is undone for at most 6 points of support, on questions
#    that did not choose α; at a gentler rate less of the walk is idle. Ten examples return 18 to
#    33 % of how-to's. Whether the rest is gone, neither test shows.
#
# **Next:** lesson 03 puts the learning rate and the rank in your hands.

# %% [markdown]
# # Deeper
#
# Seven sections, each for itself; all use the models and the stored runs of the core. Of the three
# mechanisms only the drift was measured at equal length: the gradients have no control run, the
# curvature no run as long. So no part of *what is left* is blamed on a mechanism here.
#
# - Who chose α? (4 min): one half of the questions chooses, the other judges
# - Ten examples (8 min): the test that never sees the base
# - Do the gradients collide? (8 min): a cosine and its noise floor
# - Do the representations drift? (15 min): and is that the damage?
# - Steeper or flatter? (20 min): one eigenvalue, four samples of rows
# - Rows fit for a control (8 min): an exercise
# - The preprint beside these runs (3 min)

# %% [markdown]
# ## Who chose α? (4 min)
#
# The core picked 0.7 where it looked best, and read its gain and its price off the same forty
# questions. So let one half of a hundred questions a skill choose: the smallest α, in tenths, that
# gives up at most 2.5 points of support there. The other half judges.

# %%
from helpers.mechanics import walks

halves = [range(0, walks.ITEMS, 2), range(1, walks.ITEMS, 2)]
for way in walks.read_walks():
    for here, there in (halves, halves[::-1]):
        alpha = way.chosen(here)
        print(f"seed {way.setting.seed}: α = {alpha}", *(
            f"{label}: {way.undone(alpha, half):.0f} % undone, {way.paid(alpha, half):.0f} paid"
            for label, half in (("chosen here", here), ("on the other half", there))
        ), sep="; ")  # fmt: skip
new = range(stored.ITEMS, walks.ITEMS)
for way, run in zip(walks.read_walks(), runs, strict=True):
    left = [way.old(0.0, part) - way.old(0.7, part) for part in (range(stored.ITEMS), new)]
    nats = [run.nll[name]["howto"] for name in ("base", "tuned", "walked 0.7")]
    print(
        f"seed {way.setting.seed}, α = 0.7 on sixty new questions: {way.undone(0.7, new):.0f} %",
        f"undone, {way.paid(0.7, new):.1f} paid, {left[1]:.1f} points still lost (the core's",
        f"forty: {left[0]:.1f}); nats, base, tuned, 0.7:",
        *(f"{value:.2f}" for value in nats),
    )

# %% [markdown]
# The halves choose 0.6 to 0.8. Where it was not chosen, α undoes 69 % of the loss (53 to 88 over
# three seeds and both ways) for 1.3 points of support (−2 to 6); where it was, 68 % for 0.7. The
# choice flatters neither by much, but the price on one half is loose: a question is two points, and
# seed 0 seems to gain 2 points where it chose and pays 6 where it did not. And on sixty questions
# that the core did not look at, 0.7 undoes 64, 64 and 69 % in place of 71, 64 and 85, for 1.7, 0
# and −1.7 points. So the reading stands, and seed 2 was lucky: there 8.6 points stay lost in place
# of 4.6. Less the control's 4.3 (on the forty), its gap would be about 4 points rather than 0.4.
#
# The loss agrees: a token of the right how-to answers costs next to 0.00 nats at the base, 0.24,
# 0.43 and 0.18 after the stored runs, 0.03, 0.06 and 0.02 at α = 0.7.

# %% [markdown]
# ## Ten examples (8 min)
#
# If a skill is only out of reach, a few examples of *other* questions bring it back. Ten old
# examples, in twenty steps; one of the ten is a how-to, whose text no test asks for. Ten more
# without any how-to are the control of the repair, and a *stranger*, a model with random weights,
# shows what ten examples teach by themselves.

# %%
stranger = mechanics.stranger(base)
repaired = {
    "with how-to": mechanics.relearn(tuned, rows.ten, lr=1e-3),
    "without": mechanics.relearn(tuned, rows.ten_without, lr=1e-3),
    "stranger": mechanics.relearn(stranger, rows.ten, lr=1e-3),
}
print("before      ", f"how-to {after.score('howto'):5.1f}")
for name, model in repaired.items():
    found = evaluate(model, [suite for suite in suites if suite.name in ("howto", "support")])
    print(f"{name:12} how-to {found.score('howto'):5.1f}, support {found.score('support'):5.1f}")

# %% [markdown]
# On this seed how-to rises from 22.5 to 45 with the one how-to example and to 30 without; the
# stranger learns nothing. The stored runs have three seeds and two rates (the label gives the
# rate):

# %%
print(f"{'':34}{'how-to':14}{'other skills':14}support")
others = [name for name in stored.OLD_SKILLS if name != "howto"]
for label, group in (("fine-tune", runs), ("control", controls)):
    for name in [n for n in group[0].scores if n == "tuned" or n.startswith(("relearned", "str"))]:
        found = [run.scores[name] for run in group]
        columns = ([s["howto"] for s in found], [fmean(s[n] for n in others) for s in found],
                   [s["support"] for s in found])  # fmt: skip
        print(f"{label + ', ' + name:34}", "   ".join(
            " ".join(f"{value:3.0f}" for value in column) for column in columns))  # fmt: skip

# %% [markdown]
# With the one how-to example, how-to rises by 27.5, 32.5 and 12.5 points at 1e-3, and by 25, 30 and
# 10 at 3e-3. Without it, by 0, −2.5 and 0 (above, by 7.5). So most of the return needs the example,
# which cannot have taught the answers: the texts that came back are not in it. What it shows is how
# such an answer goes. The other old skills gain about 4 at 1e-3, and 1 to 3 without the how-to.
# Support pays 2.5 on one seed, and at 3e-3 up to 10.
#
# The test is one-sided. What comes back was not gone; what stays away may be gone, or need more
# than ten examples. The repair itself does no harm at 1e-3: the controls' means stay or rise. And
# the stranger is a weak comparison: ten examples teach nothing to a model that cannot yet read.

# %% [markdown]
# ## Do the gradients collide? (8 min)
#
# The gradient of a loss points where it rises fastest, and training steps against it. If the
# **cosine** between the gradients of old and new is negative, a small step for the new raises the
# old loss: *gradient conflict*. A cosine needs a floor: how large is it between two samples of the
# *same* data? Four samples of 21 held-out questions, four of 21 tickets, all disjoint, in the
# attention weights and in the feed-forward layers (MLP):

# %%
print("lowest, mean and highest of 4 samples x 3 seeds    attention               MLP")
for pair in runs[0].looks[0].cosines:
    for number, look in enumerate(runs[0].looks):
        told = f"{pair:20} step {look.step:2}"
        for kind in ("attention", "mlp"):
            found = [
                fmean(sample[kind]) for run in runs for sample in run.looks[number].cosines[pair]
            ]
            told += f"    {min(found):6.3f} {fmean(found):6.3f} {max(found):6.3f}"
        print(told)
for number in range(3):
    looks = [run.looks[number] for run in runs]
    print(f"gradient lengths by seed, step {looks[0].step:2}:", *(
        f"{what} " + " ".join(f"{look.lengths[what]:.2f}" for look in looks)
        for what in ("old", "tickets")))  # fmt: skip

# %% [markdown]
# Nothing collides that could be told from the floor. At step 0 the three seeds share one base, so
# these are four samples and not twelve. The cosine of old and tickets is −0.011 in attention,
# −0.031 at the lowest: a figure could call it conflict. Two samples of the *same* old data show
# −0.012, and −0.027 at the lowest. All eight are negative, where pure noise would straddle 0 (in
# the MLP it does): a small bias, which is not the tickets', as old against old has it too. The base
# answers the old questions right, so its old gradient is short (0.07, the tickets' 0.67). At step
# 15, where both are long enough, two old samples agree (0.13 to 0.35) and old and tickets stand
# between −0.001 and 0.071: at a right angle, or slightly together. At step 60 the tickets' gradient
# has nearly vanished (0.01 to 0.02), and its angle says little.
#
# *What this leaves open.* Nobody looked between steps 0 and 15, in which the old gradient grew from
# 0.07 to 0.32 and more. A mean over samples can hide single rows that collide, and a step of finite
# length can raise the old loss by curvature where the cosine is zero. And no control run was looked
# at here.

# %% [markdown]
# ## Do the representations drift? (15 min)
#
# Between the embedding and the answer, each layer turns the prompt into a vector. **Linear CKA**
# (Kornblith et al. 2019) asks whether prompts that lay close together still do: 1 is the same
# picture, 0 an unrelated one. With 98 prompts and 256 dimensions its plain form is far too kind:
# chance alone makes pictures alike. So this one is **debiased** (Song et al. 2012): what chance
# gives is taken off.


# %%
def cka(models):
    """One curve per run: (layer, CKA with the base)."""
    return [[(d.layer, d.cka) for d in layers] for layers in models]


plot.lines(
    {
        "fine-tune": cka(run.looks[-1].drift for run in runs),
        "fine-tune, cut": cka(run.drifts["as far as the other"] for run in runs),
        "control": cka(run.looks[-1].drift for run in controls),
        "random": cka(run.drifts["turned"] for run in runs),
    },
    x="layer (0 is the embedding)", y="CKA with the base, old prompts", whole_x=True,
)  # fmt: skip

# %%
ends = {
    "fine-tune": [run.looks[-1].drift[-1].cka for run in runs],
    "cut": [run.drifts["as far as the other"][-1].cka for run in runs],
    "control": [run.looks[-1].drift[-1].cka for run in controls],
    "stretched": [run.drifts["as far as the other"][-1].cka for run in controls],
}
for name, found in ends.items():
    print(f"last layer, {name:10}", *(f"{value:.3f}" for value in found))
share = [1 - (1 - cut) / (1 - full) for full, cut in zip(ends["fine-tune"], ends["cut"])]
print("share of the drift that is length:", *(f"{100 * part:.0f} %" for part in share))

# %% [markdown]
# The last layer stands at 0.92 to 0.93 after the fine-tune and at 0.97 after the control. But the
# fine-tune is longer: cut to the control's length it stands at 0.95 to 0.97, and the control
# stretched to the fine-tune's at 0.95 to 0.96. A random update of full length leaves 0.99. So the
# drift follows the direction *and* the length. It is no measure of the damage: on seed 2 the cut
# fine-tune drifts farther than the control (0.966 against 0.975) and is as good (93.2 and 93.6).
#
# ### Exercise 2.2 CKA · medium · 10 minutes
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
# ## Steeper or flatter? (20 min)
#
# The **top Hessian eigenvalue** is the curvature of the loss in its steepest direction. It comes
# from a handful of products with the Hessian, never from the matrix itself. Here on four samples of
# fourteen questions, two of each old skill:

# %%
for name, model in (("base", base), ("fine-tune", tuned)):
    print(f"{name:12}", *(f"{value:7.2f}" for value in stored.curvatures(model)))

# %%
for label, group in (("fine-tune", runs), ("control", controls)):
    for run in group:
        print(f"{label:12}", *(f"{value:7.2f}" for value in run.curvature["tuned"]))

# %% [markdown]
# The first cell: on one sample the base stands at 0.5, on another at 11, a factor of twenty between
# rows of one kind. Whoever measures one sample can tell any story. Over three seeds and four
# samples the fine-tune is steeper than the base in 11 of 12, and the control in 10 of 12. Fine-tune
# against control, on the same rows: steeper in 7 of 8 on seeds 1 and 2, in one of four on seed 0.
# Further training at this rate mostly makes the old loss steeper, whatever the rows; no eigenvalue
# here tells safely a run that lost 29 to 35 points from one that lost 4 to 6. And these two are
# *not* equally long, and no cut or stretched run was measured: where the fine-tune leads, it may be
# length.
#
# ### Exercise 2.3 The Hessian without the Hessian · hard · 15 minutes
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
# ## Rows fit for a control (8 min)
#
# A control that has rehearsed the test flatters itself. The first one of this course had: its old
# examples held the texts of 32 of the 40 how-to questions that it was scored on, in other wordings.
#
# ### Exercise 2.4 Fit for a control · medium · 8 minutes
#
# Write `fit_for_control(rows, tested, shown)`: those of `rows` (dicts, with `row["prompt"]` and
# `row["completion"]`) whose answer is not in `tested`, a set of answers without leading space, and
# whose question none of the prompts in `shown` asks, in whatever format. The formats are the bare
# question, `Question: …\nAnswer:` and `User: …\nAssistant:`.
#
# <details><summary>Hint</summary>
#
# `str.removeprefix` and `str.removesuffix` take the format off. Completions begin with a space.
#
# </details>


# %% tags=["exercise"]
def fit_for_control(rows, tested, shown):
    # BEGIN SOLUTION
    def question(prompt):
        for head, tail in (("Question: ", "\nAnswer:"), ("User: ", "\nAssistant:")):
            prompt = prompt.removeprefix(head).removesuffix(tail)
        return prompt

    asked = {question(prompt) for prompt in shown}
    return [
        row
        for row in rows
        if row["completion"].strip() not in tested and question(row["prompt"]) not in asked
    ]
    # END SOLUTION


check("2.4", fit_for_control)

# %% [markdown]
# ## The preprint beside these runs (3 min)
#
# Imanov (2026) fine-tunes models of 109B parameters and more. Here: 4M, three seeds, one task.
#
# - *Gradients of old and new interfere in attention; their alignment predicts forgetting.* Here the
#   cosine at step 15 is 0.03 (−0.001 to 0.071): no interference that these samples could show.
# - *CKA falls by 0.32 to 0.47 in intermediate layers.* Here by 0.03 to 0.05, in the last layer by
#   0.07 to 0.08, of which 29 to 52 % is length.
# - *The loss flattens around prior minima.* Here it is steeper than at the base in 11 of 12: the
#   opposite sign, and the control shows it too (10 of 12).
# - *15 to 23 % of the attention heads are severely disrupted.* Not measured here.
#
# One unreplicated preprint and one toy do not settle it. Other size, other tasks, another depth of
# damage. What carries over is the question to ask of either: what does the same number look like
# for a run as long that did no harm?

# %% [markdown]
# ## Sources
#
# - Imanov (2026), arXiv 2601.18699: names three mechanisms; a preprint without replication.
# - Kornblith et al. (2019), arXiv 1905.00414: CKA. Song et al. (2012), JMLR 13:1393: the unbiased
#   estimate.
# - Mirzadeh et al. (2020), arXiv 2006.06958, and Li et al. (2024), arXiv 2406.04836: wide minima
#   forget less.
# - Wortsman et al. (2021), arXiv 2109.01903: the line from base to fine-tune.
# - Kotha et al. (2023), arXiv 2309.10105: part of forgetting is a misread task. Zheng et al.
#   (2025), arXiv 2501.13453, call damage that a few examples undo *spurious forgetting*.
# - Pearlmutter (1994): Hessian-vector products. Lanczos (1950): eigenvalues from products.
