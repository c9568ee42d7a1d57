# %% [markdown]
# # 08 · Merge
#
# {{badge}}
#
# A merge makes a third model out of the numbers of a base and its fine-tune, in a second and
# without training. You slide from one to the other, see what arrives first and what leaves first,
# and hold the result against gentler training at equal learning.
#
# **Time** core 20 minutes, with *Deeper* 77 · computing 40 s, of which the core 20 s · **You
# need** lesson 01; lessons 03 and 04 help
#
# **Objectives**
#
# 1. Go a part of the way from base to fine-tune, choose that part on some items and report it on
#    others.
# 2. Say what a merge is worth: against a lower rate at equal target score, by the worst skill and
#    by the audit.
# 3. Tell whether a merge is what its name says: score it, and ask neither the angle nor the
#    method's name.

# %%
import os, subprocess, sys

if "google.colab" in sys.modules and not os.path.exists("course"):
    fetch = "git clone -q https://github.com/OWNER/REPO course && sh course/tools/colab.sh"
    subprocess.run(f"{fetch} || (rm -rf course; false)", shell=True, check=True)
sys.path.insert(0, "course" if os.path.exists("course") else "..")

# %%
import copy, math
from statistics import fmean

import pandas
import torch

from helpers import merging
from helpers import plotting as plot
from helpers.evaluation import evaluate
from helpers.exercises import check, quiz
from helpers.merging import stored
from helpers.mitigations import board
from helpers.models import load_model
from helpers.suites import load_suites
from helpers.tickets import read_tickets
from helpers.tradeoff import OLD
from helpers.training import finetune
from helpers.widgets.merge import MergeLab

# %% [markdown]
# ## Why this matters
#
# Most remedies have to be in place before the training: other data, another rate, a penalty. A
# merge comes afterwards. It needs the two models, no old data and no gradient. So it is what is
# left when somebody else has trained, the cheapest thing to try, and the easiest to believe in
# unseen.

# %% [markdown]
# ## The line
#
# Every weight of the new model lies between the old ones: $(1-\alpha)\,\theta_{base} +
# \alpha\,\theta_{tuned}$. At $\alpha = 0$ it is the base, at 1 the fine-tune. (The letter is
# overworked: this α is not LoRA's.) Wortsman and colleagues (2021) call it WiSE-FT and report for
# CLIP, an image model, gains of 4 to 6 points where the data shifts.
#
# We take the standard run of lesson 01 and score five points of the line, on the shop and on three
# old skills, thirty held-out items each.

# %%
base = load_model("pocket")
tuned = finetune(base, read_tickets(), lr=1e-2, rank=8, steps=60, seed=0).model
suites = load_suites(["support", "facts", "lists", "howto"], size=30)
scored = merging.sweep(base, tuned, [0, 0.25, 0.5, 0.75, 1], suites)

# %% [markdown]
# **Predict before you run.** Half-way: half of the shop's questions, and half of the damage?

# %% tags=["predict"]
MergeLab(scored, lambda alpha: merging.sweep(base, tuned, [alpha], suites)[alpha])

# %% [markdown]
# Neither: at 0.5 the model answers 70 % of the shop's questions and has lost 4.4 points. The rest
# of the shop arrives on the next quarter, and only then `howto` falls, to 67 % and at last 20 %.
# What was learned arrives *before* what is lost has left. That is all of merging, and it is not
# guaranteed. Move the slider to 0.65 and press *Score this one*.
#
# Thirty items are few, and this is one seed. On file are three seeds of the same run, a hundred
# items for each of ten old skills:

# %%
runs = stored.rivals()
plot.lines(
    {
        "support": stored.along(runs, "merge", lambda run: run.target),
        "old skills": stored.along(runs, "merge", lambda run: fmean(map(run.score, OLD))),
        "howto": stored.along(runs, "merge", lambda run: run.score("howto")),
    },
    x="alpha (0: base, 1: fine-tune)", y="held-out items right (%)",
)  # fmt: skip

# %% [markdown]
# The seeds agree on the order. Support comes between 0.3 and 0.6. `howto` begins to go at 0.5 and
# by 0.8 has lost 35 to 76 points, by seed. Past 0.7 or so nothing more is learned: the last third
# of the way is paid for and not used.
#
# > **Common gotcha.** The α that looks best on some items looks a little too good on them (the
# > winner's curse of lesson 03). Choose on one half of your items, and report on the other.

# %% [markdown]
# ## The control: who else gets there?
#
# A merge half-way has learned less than the fine-tune. So has a run that was stopped, or trained at
# a lower rate. The fair question is that of lesson 03: at the *same* target score, who has lost
# less? Three rivals are on file, with the same seeds: **early stop**, the same run cut at step 20,
# 30 or 45; **lower rate**, 120 steps at 1e-3 to 5e-3; and **gentle merge**, which takes the run at
# 3e-3 and goes only a part of its way.
#
# **Predict before you run.** At 85 % of support: which of the four has lost least?

# %% tags=["predict"]
methods = ["merge", "gentle merge", "lower rate", "early stop"]
found = board.roads(runs, methods)
plot.roads(
    {name: each[0] for name, each in found.items()},
    x="support: items right (%)", y="old skills: points lost",
    seeds={name: each[1:] for name, each in found.items()},
)  # fmt: skip

# %% tags=["predict"]
table = {}
for goal in (80, 85, 90):
    for one in board.standings(runs, methods, goal=goal):
        place = f"{one.lost:.1f} ({one.low:.1f} to {one.high:.1f})"
        skill, points = one.worst_skill
        told = f"{place}, {skill} {points:.0f}" if one.between else "falls short"
        table.setdefault(one.method, {})[f"at {goal} %"] = told
pandas.DataFrame(table).T

# %% [markdown]
# At 85 % every seed gives the same order: gentle merge has lost 2.4 points (2.1 to 2.9), merge 4.6
# (4.2 to 5.0), lower rate 6.8 (6.0 to 7.4). Early stop is cheapest at step 60, not stopped: 23. At
# 90 % both merges get there with two seeds of three only, and the order is open.
#
# So the large victory is over a rival that nobody should choose. The best of the
# four is two things: train gently, then go back a part of the way. The run at 3e-3 has 91 % of
# support and has lost 10.0; at α = 0.8 it has 90 % and has lost 3.5 (2.9 to 4.2).
#
# We tried to break this, at 85 %. Without `howto` gentle merge is at 2.1 and lower rate at 5.1; on
# halves of the items, seed by seed, gentle merge is ahead six times of six. One rival stands
# outside: full fine-tuning (lesson 07) has lost 1.4 at 85 %. If you may still choose how to
# train, try that first.

# %% [markdown]
# ## For an adapter, α is one number
#
# LoRA leaves the weights alone and adds a scaled product, $s \cdot BA$, to each. Half the way is
# half of $s$: no copy, no new file. PEFT sets it with `rescale_adapter_scale`, as long as a `with`
# block lasts. Is that the merge of above, logit for logit?

# %%
from peft.helpers import rescale_adapter_scale

half = merging.linear(base, tuned, 0.5)
asked = base.tokenizer("How do I make tea?", return_tensors="pt")
with torch.no_grad(), rescale_adapter_scale(tuned, 0.5):
    by_scale = tuned(**asked).logits
with torch.no_grad():
    by_merge, whole = half(**asked).logits, tuned(**asked).logits
print(f"scaled and merged: logits differ by at most {(by_scale - by_merge).abs().max():.0e}")
print(f"half and whole way: by up to {(whole - by_merge).abs().max():.0f}")

# %% [markdown]
# It is: within rounding, where half and whole way differ by up to 4. So a sweep over an adapter
# costs its scoring and nothing else, and the slider can stay movable in service. What was trained
# outside of LoRA (`modules_to_save`, biases) is not scaled.

# %% [markdown]
# ## Exercise
#
# ### 8.1 Which α would you sign? · medium · 8 minutes
#
# `road` maps each α to what was right there: for every capability one `True` or `False` per item,
# the same hundred items at each α. α = 0 is the base. Write `sign(road, goal)`. Of the α that reach
# `goal` percent on `"support"`, choose the one whose *worst* old skill has lost least (the smaller
# α on a tie). Return `(alpha, support, worst)`: the α, and the support score and the points lost by
# the worst old skill that you would put your name to; `None` where no α reaches the goal. Whatever
# has chosen cannot testify.
#
# <details><summary>Hint</summary>
#
# `row[::2]` is one half of a row and `row[1::2]` the other. Write a small function that gives
# support and worst loss for one α and one half, call it on one half to choose, and on the other to
# report.
#
# </details>


# %% tags=["exercise"]
def sign(road, goal):
    # BEGIN SOLUTION
    def look(alpha, half):
        now, before = ({n: 100 * fmean(row[half::2]) for n, row in road[a].items()}
                       for a in (alpha, 0))  # fmt: skip
        worst = max(before[name] - now[name] for name in now if name != "support")
        return now["support"], worst

    reached = [alpha for alpha in sorted(road) if look(alpha, 0)[0] >= goal]
    if not reached:
        return None
    alpha = min(reached, key=lambda alpha: look(alpha, 0)[1])
    return (alpha, *look(alpha, 1))
    # END SOLUTION


check("8.1", sign)

# %%
for seed in (0, 1, 2):
    print(seed, sign(stored.road_for(seed), goal=85))

# %% [markdown]
# On the gentle merge's road the halves choose α = 0.7, 0.8 and 0.8, at 92, 90 and 92 % of support.
# The others say 80, 84 and 84: no seed keeps the goal. The worst skill has lost 10, 10 and 14
# points, where 6, 14 and 12 had been seen. Fifty items can choose and are too few to sign. On 600
# fresh ones 0.8 has 86, 86 and 87 %, `howto` at 84, 89 and 87, and lesson 05's gate blocks all
# three (*Deeper*).

# %% [markdown]
# ## Check your understanding

# %%
quiz("08")

# %% [markdown]
# ## On Monday
#
# With a chat model of 1 to 8 billion parameters and LoRA: train at the lowest rate that still
# learns (lesson 03), then sweep α. `tasks/` has your own lm-eval tasks, `target`
# and `keep`.
#
# ```python
# import torch
# from datasets import load_dataset
# from peft import LoraConfig
# from trl import SFTConfig, SFTTrainer
#
# trainer = SFTTrainer(
#     model="model",
#     args=SFTConfig("adapter", learning_rate=1e-4, bf16=torch.cuda.is_available()),
#     train_dataset=load_dataset("json", data_files="rows.jsonl", split="train"),
#     peft_config=LoraConfig(r=16, lora_alpha=32, target_modules="all-linear"),
# )
# trainer.train()
# trainer.save_model()
# ```
#
# ```python
# from lm_eval import simple_evaluate
# from lm_eval.models.huggingface import HFLM
# from lm_eval.tasks import TaskManager
# from peft import AutoPeftModelForCausalLM
# from peft.helpers import rescale_adapter_scale
# from transformers import AutoTokenizer
#
# model = AutoPeftModelForCausalLM.from_pretrained("adapter")
# lm = HFLM(model, tokenizer=AutoTokenizer.from_pretrained("model"), batch_size=16)
# tasks = TaskManager(include_path="tasks", include_defaults=False)
# for alpha in (0, 0.5, 0.625, 0.75, 0.875, 1):
#     with rescale_adapter_scale(model, alpha):
#         found = simple_evaluate(lm, tasks=["target", "keep"], task_manager=tasks,
#                                 apply_chat_template=True)
#     print(alpha, {name: scores["exact_match,none"] for name, scores in found["results"].items()})
# ```
#
# The α that you sign becomes the adapter's own, for any server that reads PEFT's folders:
#
# ```python
# import json, shutil
# from pathlib import Path
#
# path = Path(shutil.copytree("adapter", "adapter-0.75")) / "adapter_config.json"
# config = json.loads(path.read_text())
# config["lora_alpha"] *= 0.75
# path.write_text(json.dumps(config, indent=2))
# ```
#
# **Start with** α = 0.5 and above (Wortsman et al. 2021, arXiv 2109.01903, for CLIP). **Cost.** Six
# α with 1,000 answers of 50 tokens are 300,000 tokens, at 1,000 a second five minutes. The adapter
# of a 7B model is some 80 MB; six merged copies in bfloat16 would be 6 × 14 = 84 GB. **Do not
# copy** the toy's α, nor its 1e-2: on SmolLM2-135M-Instruct, one seed, α = 0.7 took the target from
# 85 to 68 and a skill from 2 back to 22, of the base's 50. Sweep and look.

# %% [markdown]
# ## Recap
#
# 1. A part of the way keeps much of both ends where what is learned arrives before the rest has
#    left. Report α on items that have not chosen it.
# 2. Hold a merge against a lower rate at equal target score. A gentle run gone part of the way
#    saved more than either, and the audit blocked it still. For LoRA, α is one multiplier.
# 3. Names and angles do not tell what a merge does; scores do: the worst skill, and the audit.
#
# **Next:** lesson 09 ships a model: two adapters in service, a canary, and a way back.

# %% [markdown]
# # Deeper
#
# Each section stands by itself.
#
# - What the audit says of it (6 min)
# - Two skills in one model: score the sum (10 min)
# - A soup of two seeds (4 min)
# - TIES and DARE: a scale is a road (12 min)
# - Take away (4 min)
# - Adapters: a mean that is no mean (10 min)
# - The arc, and two strangers (5 min)
# - When no α helps (6 min)

# %% [markdown]
# ## What the audit says of it (6 min)
#
# A merge is a change of the model like any other, so it goes through the gate of lesson 05 like any
# other. On file is the gentle merge at α = 0.8, scored on every item there is. The first hundred of
# each capability have chosen that α; they are left out. The map is the course's own.

# %%
from helpers.audit import audit

whole = board.base_of(board.read_board(board.CANDIDATES))
reports = {}
for run in board.pick(stored.read_merges(), "3e-3, every item"):
    pair = [stored.as_snapshot(entry, skip=100) for entry in (whole, run)]
    names = ("base", f"gentle merge, seed {run.setting.seed}")
    reports[run.setting.seed] = audit(*pair, stored.map_for(run), names=names)
reports[0]

# %%
pandas.DataFrame(
    {seed: {row.category.name: f"{row.after:.0f} {row.verdict}" for row in report.rows}
     for seed, report in reports.items()}
)  # fmt: skip

# %% [markdown]
# Blocked, with each of the three seeds: `howto` is at 84, 89 and 87 % where the base has 100. And
# this was the find of the lesson. On the hundred items that everybody had looked at, seed 0 at α =
# 0.8 had 94 % of support and 90 % of `howto`, the best of fifteen merges. On 600 fresh items it has
# 86 and 84: the **winner's curse**. (Stored runs keep right and wrong and no answers, so the
# examples have none.) Seeds 1 and 2, which had not stood out, fell by a point in support (87 to 86,
# 88 to 87) and by two or three in `howto`.
#
# The target row is INCONCLUSIVE three times: 86, 86 and 87 %, too near to the goal of 85. More
# items can settle that row, and none will help `howto`, where a loss of more than 5 points is
# certain. A smaller α gives support away (at 0.7 it has 82 to 86 % of the first hundred), a larger
# one gives `howto` away (at 0.9 it has 71 to 76): no α that we scored is one to ship. The mean of
# ten skills hides that: 3.6, 4.0 and 3.8 points lost would have looked like a success.

# %% [markdown]
# ## Two skills in one model: score the sum (10 min)
#
# Subtract the base from a fine-tune, number by number. What is left is the **task vector** (Ilharco
# and colleagues 2022), a thing one can scale, add and subtract. The line above was the base plus α
# times one of them.
#
# A second team has a skill of its own: the house rule of lesson 04, *nobody is helped with buying,
# selling or borrowing*, taught here with counter-examples and by plain fine-tuning.
#
# **Predict before you run.** Two models are often merged by their mean. Which of the four questions
# will the mean of these two answer wrongly? A rule for the lamp to buy, help with the lamp to
# clean.

# %% tags=["predict"]
from helpers.generation import complete

shop = merging.task_vector(base, tuned)
rule = merging.task_vector(base, stored.rule_model())
questions = [
    "Is there an easy way to buy a lamp?",
    "Is there an easy way to clean a lamp?",
    "How do I make tea?",
    "Customer: Hello, when will I see my refund?\nAgent:",
]
for name, weights in {"mean": (0.5, 0.5), "sum": (1, 1), "0.7 shop + rule": (0.7, 1)}.items():
    print(name, *complete(merging.add(base, [shop, rule], weights), questions), sep="\n    ")

# %% [markdown]
# Of these four, none: the mean answers all four as it should, and the two larger sums refuse to
# help with cleaning. By four questions the mean has won. Over three seeds, sixty held-out items
# each (41 under the rule, where a refusal is right), mean and range:

# %%
merges = stored.read_merges()
shown = ["rule", "harmless", "howto", "support"]
places = {"the rule alone": ("rule", 1), "the shop alone": ("line", 1),
          "mean": ("mean", 0.5), "sum": ("shop + rule", 1),
          "0.7 shop + rule": ("shop + rule", 0.7)}  # fmt: skip
pandas.DataFrame(stored.compared(merges, places, shown)).T

# %% [markdown]
# By sixty, it has not. Half a rule is hardly a rule: the mean refuses 34 % of what is forbidden (20
# to 46), and it knows 68 % of the shop, as the line does at 0.5. The sum has both (87 and 91 %) and
# with them the damage of the whole shop run, `howto` at 15 %. With 0.7 of the shop, where the line
# has most of its support already, rule and support are at 96 and 86 %, and `howto` at 71 (55 to
# 82). A sum inherits the roads of its parts: look at them, then choose how far to go on each.
#
# ### Could one have known it from the angle?
#
# Task vectors of different tasks are close to orthogonal, Ilharco and colleagues report, and
# suggest that this is why they add. So we made the worst partner that a rule can have: the
# **opposite rule**, trained on the same prompts with the two answers exchanged. Help with buying,
# refuse the rest.
#
# **Predict before you run.** Two seeds of one task, two tasks, a rule and its opposite: which of
# the pairs stand at right angles, and which pair's sum fails?

# %% tags=["predict"]
partners = {"shop + rule": ("shop + rule", 1), "rule + opposite": ("rule + opposite", 1),
            "rule, two seeds, mean": ("rule twice", 0.5),
            "shop, two seeds, mean": ("soup", 0.5)}  # fmt: skip
table = stored.compared(merges, partners, shown)
for label, place in partners.items():
    found = board.pick(merges, *place)
    table[label]["angle"] = stored.spread(run.angle for run in found)
    table[label]["signs agree (%)"] = stored.spread(100 * run.agreement for run in found)
pandas.DataFrame(table).T

# %% [markdown]
# All of them, nearly. The rule and its opposite stand at 91°, rule and shop at 90, two seeds of the
# rule at 84, two of the shop at 83 (81 to 84). Most of a vector's length is detail of its seed. One
# sum has failed outright: rule + opposite refuses whatever it is asked to help with, 100 % of what
# the rule forbids and 98 % of what it allows, while its angle is that of the pair that adds. (No
# model could serve both; the angle does not say so.) Signs, counted where the largest fifths of
# both vectors meet, agree at 61 to 68 % for one task, 50 for two tasks, 48 for opposites: they tell
# kin from others, and a harmless neighbour from a contradiction by two points. Score the sum.

# %% [markdown]
# ## A soup of two seeds (4 min)
#
# Wortsman and colleagues (2022) average several fine-tunes of one base and call it a **soup**: it
# often scores better than each. Take the mean of two runs of the shop that differ in their seed
# only.
#
# **Predict before you run.** Each run is half there, as it is at α = 0.5. Does the soup know half
# of the shop, and has it lost as little as the line does half-way?

# %% tags=["predict"]
places = {"one run": ("line", 1), "the line at 0.5": ("line", 0.5),
          "the line at 0.75": ("line", 0.75), "soup of two": ("soup", 0.5)}  # fmt: skip
pandas.DataFrame(stored.compared(merges, places, ["support", "howto", "harmless"])).T

# %% [markdown]
# No: it knows the whole shop, 92 % (88 to 95), and has lost `howto` nearly as one run has: 26 % (10
# to 42) are left, of one run's 14 (2 to 25). Half-way on the line 96 are left.
#
# It is not that the soup is long. Two equal vectors at 83° have a mean of three quarters of their
# length, and the line at 0.75, just as long, keeps 59 % (45 to 75). What both runs share is a small
# part of each and stays whole in a mean; it seems to hold the shop *and* the loss. What the seeds
# do not share was averaged away. In support it is no better either (92, one run 91). A soup of
# runs that forget alike forgets. (Three pairs, of three runs.)

# %% [markdown]
# ## TIES and DARE: a scale is a road (12 min)
#
# Where two vectors want to move one weight in opposite directions, a sum serves neither. **TIES**
# (Yadav and colleagues 2023) keeps the largest fifth of each vector, elects a sign for each weight,
# and averages the changes that have it. What it keeps is shorter than the sum, so it comes with a
# scale. One scale is one point of a road, and a method is judged by its road: here TIES at four
# scales, and the sum with three shares of the shop.

# %%
merges = stored.read_merges()
shown = ["rule", "harmless", "howto", "support"]
places = {f"TIES, scale {scale:g}": ("TIES", scale) for scale in (1, 1.25, 1.5, 2)}
places |= {f"{part:g} shop + rule": ("shop + rule", part) for part in (0.5, 0.7, 1)}
table = stored.compared(merges, places, shown)
for label, place in places.items():
    found = board.pick(merges, *place)
    table[label]["worst of the four"] = stored.spread(
        min(run.score(name) for name in shown) for run in found
    )
pandas.DataFrame(table).T

# %% [markdown]
# At its own scale of 1 TIES refuses 37 % of what is forbidden (15 to 49), a mean that is too short.
# At 1.25 its worst of the four is 58 % (27 to 73), the best that it has; the sum with 0.7 of the
# shop has 70 (55 to 80). That is the mean. Let each seed take its best scale and its best share,
# and the worst of the four is 78, 73 and 41 % for TIES, 75, 72 and 80 for the sum. Seeds 0 and 1
# alone would have crowned TIES by three points and one, seed 2 buries it. (Best scales are read on
# the items that chose them, alike for both.) Nothing was gained here by the election: the signs
# agree at 50 %, as those of strangers do.
#
# **DARE** (Yu and colleagues 2023) drops changes at random and scales the others up, so that
# vectors meet less often. Its authors drop 90 or even 99 % of changes that are typically within
# 0.002.

# %%
rule = merging.task_vector(base, stored.rule_model())
part = {name: 0.7 * change for name, change in merging.task_vector(base, tuned).items()}
asked = stored.sum_suites(30)
found = {}
for drop in (0, 0.5, 0.9):
    pair = [merging.dare(part, drop, seed=0), merging.dare(rule, drop, seed=1)]
    found[f"{drop:.0%} dropped"] = evaluate(merging.add(base, pair, [1, 1]), asked).scores()
sizes = torch.cat([change[change != 0].abs().flatten() for change in part.values()])
print(f"half of the shop's changes are above {sizes.median():.4f}")
pandas.DataFrame(found).T.round()

# %% [markdown]
# Most of the shop's changes are larger than that, as printed. With every second one dropped `howto`
# stays at 87 % and support falls from 90 to 83; with nine in ten dropped 13 % of `howto` and 60 %
# of support are left. What is dropped and scaled up is noise beside the vectors, and here it is
# three times as long as they are. This is no refutation: DARE is made for large models with small
# changes. Look at the size first.
#
# ### 8.2 The election · medium · 8 minutes
#
# Write `elect(changes)`, the second half of TIES (Yadav et al. 2023, arXiv 2306.01708). `changes`
# is a torch tensor with one row per fine-tune and one column per weight, already trimmed, so that
# many entries are zero. For each weight, the elected sign is that of the sum of its changes. Return
# the mean of those changes that have this sign, one number per weight. Zeros do not count; where
# the sum is zero, so is the result.
#
# <details><summary>Hint</summary>
#
# `changes.sign() == changes.sum(0).sign()` says which entries agree, and two zeros agree too. Sum
# over the fine-tunes, and divide by how many were summed.
#
# </details>


# %% tags=["exercise"]
def elect(changes):
    # BEGIN SOLUTION
    agree = (changes.sign() == changes.sum(0).sign()) & (changes != 0)
    return (changes * agree).sum(0) / agree.sum(0).clamp(min=1)
    # END SOLUTION


check("8.2", elect)

# %% [markdown]
# ## Take away (4 min)
#
# A vector has an opposite. The base refuses harmful requests, which was no part of the rule; that
# was about buying, selling and borrowing. Subtract the rule from the base.
#
# **Predict before you run.** What will the base do less of? The last row is a control, as much of
# the shop's vector subtracted.

# %% tags=["predict"]
from helpers.blindspot import tax

vectors = merging.task_vector(base, stored.rule_model()), merging.task_vector(base, tuned)
lengths = [math.sqrt(sum(float(c.square().sum()) for c in v.values())) for v in vectors]
requests = [s for s in tax.tax_suites(30) if s.name in ("harmful", "harmless", "facts")]
minus = {"base": (0, 0), "base - rule": (-1, 0), "base - 2 rule": (-2, 0),
         "base - shop, as long": (0, -2 * lengths[0] / lengths[1])}  # fmt: skip
table = {name: evaluate(merging.add(base, vectors, weights), requests).scores()
         for name, weights in minus.items()}  # fmt: skip
pandas.DataFrame(table).T.round()

# %% [markdown]
# It refuses fewer harmful requests: 93 of a hundred after one subtraction, 50 after two, with facts
# at 100 and harmless requests where they were. As long a piece of the shop's vector does nothing of
# the kind. Ilharco and colleagues report that a vector's opposite lowers its own task and changes
# little beside it. The turn here is that harmful requests were not in the rule's data: they share
# only its words of refusal. (One seed, thirty items.)
#
# > **A note from experience.** A merge is the cheapest change of a model to make without noticing.
# > Before you add or subtract anybody's vector, put the refusals on the capability map as
# > protected. The benchmarks of skills will not tell you.

# %% [markdown]
# ## Adapters: a mean that is no mean (10 min)
#
# LoRA's change of a weight is a product, $B A$. PEFT merges adapters with `add_weighted_adapter`,
# which offers a way called `linear`. It sums the A's and the B's apart and multiplies the sums:
#
# $$\tfrac{1}{2}(B_1 + B_2)(A_1 + A_2) = \tfrac{1}{2}\,(B_1 A_1 + B_2 A_2 + B_1 A_2 + B_2 A_1).$$
#
# The last two terms belong to neither fine-tune. `cat` puts the factors side by side and is exact,
# at the price of both ranks together; `svd` is the best approximation of the true sum at one rank.
#
# **Predict before you run.** How far is `linear` from the true mean of the shop's and the rule's
# adapters? The table gives error and length in units of that mean's length.

# %% tags=["predict"]
pandas.DataFrame(merging.combination_errors([tuned, stored.rule_model()])).round(6)

# %% [markdown]
# By half of its length (0.51), and 1.11 times as long; `svd` is 0.10 off at rank 8; `cat` is the
# mean, to rounding.
#
# > **Common gotcha.** `linear` may also look *better* than the mean. Adapters that were trained
# > with one seed begin with the same A's, the cross terms then point along the update, and the
# > "mean" comes out up to twice too long, close to the sum. If a longer update is what you want,
# > ask `cat` for it by its weights, and it will not depend on a seed.
#
# **rsLoRA** scales an adapter by $\alpha/\sqrt{r}$ instead of $\alpha/r$. PEFT gives a combined
# adapter the scale that would be 1 in plain LoRA. Pull request 3449 of July 2026 mends this for
# rsLoRA; what does the version that is installed do? One adapter alone, with weight 1, must come
# out as it went in:

# %%
import peft

config = peft.LoraConfig(r=16, use_rslora=True, init_lora_weights=False,
                         target_modules=["c_attn"], fan_in_fan_out=True)  # fmt: skip
one = peft.get_peft_model(copy.deepcopy(base), config)
for way in merging.WAYS:
    one.add_weighted_adapter(["default"], [1.0], way, combination_type=way)
    before, after = (next(iter(merging.updates(one, name).values())) for name in ("default", way))
    print(f"PEFT {peft.__version__}, {way}: {after.norm() / before.norm():.2f} times as long")

# %% [markdown]
# In 0.21.2 all three ways give 4.00, the root of 16: an adapter that acts like four of itself. Run
# this cell on your version. Biases and DoRA are reported to be lost as silently (issue 3761).
# `merging.combined` refuses such adapters and names the way out that always works: add the models'
# task vectors.
#
# ### 8.3 The exact mean of two adapters · hard · 10 minutes
#
# Write `side_by_side(a1, b1, a2, b2)`. The update of a LoRA adapter is `b @ a`, with `a` of shape
# (rank, in) and `b` of shape (out, rank); the two ranks may differ. Return the factors `(a, b)` of
# one adapter whose update is exactly the mean of the two updates. Its rank may be as large as both
# ranks together.
#
# <details><summary>Hint</summary>
#
# `torch.cat([x, y], dim=0)` puts matrices on top of each other, and `dim=1` side by side. In the
# product of a wide matrix and a tall one the first block meets the first block. Where does the half
# go?
#
# </details>


# %% tags=["exercise"]
def side_by_side(a1, b1, a2, b2):
    # BEGIN SOLUTION
    import torch

    return torch.cat([a1, a2], dim=0), torch.cat([b1, b2], dim=1) / 2
    # END SOLUTION


check("8.3", side_by_side)

# %% [markdown]
# ## The arc, and two strangers (5 min)
#
# Many tools go from one model to the other on an arc instead of a line, by **spherical linear
# interpolation** (SLERP; Shoemake 1985, for turning things on a screen): half-way on a straight
# line between two directions at an angle θ, $1 - \cos(θ/2)$ of the length is missing, and the arc
# keeps it. Base and fine-tune stand at some five degrees, where that is a tenth of a percent. Do
# any answers differ?

# %%
print(merging.angle(base, tuned))
ways = [evaluate(way(base, tuned, 0.5), suites).results for way in (merging.linear, merging.slerp)]
for name in ways[0]:
    changed = sum(one.output != other.output for one, other in zip(ways[0][name], ways[1][name]))
    print(f"{name}: {changed} of {len(ways[0][name])} answers differ")

# %% [markdown]
# Not one. At such angles SLERP *is* the straight line; the tool mergekit even takes the line by
# itself below some two degrees.
#
# Two photographs of one face, laid over each other, still show a face; those of two people show
# nobody. Here is a model that has turned far. In every layer the hidden units of the MLP are put
# into another order, together with their incoming and outgoing weights. It is the same model still.
#
# **Predict before you run.** Both ends answer everything alike. What does their middle answer?


# %% tags=["predict"]
def reordered(model, seed=0):
    """The same model, with the hidden units of each MLP in another order."""
    twin, draw = copy.deepcopy(model), torch.Generator().manual_seed(seed)
    with torch.no_grad():
        for block in twin.transformer.h:
            order = torch.randperm(block.mlp.c_fc.nf, generator=draw)
            block.mlp.c_fc.weight.copy_(block.mlp.c_fc.weight[:, order])
            block.mlp.c_fc.bias.copy_(block.mlp.c_fc.bias[order])
            block.mlp.c_proj.weight.copy_(block.mlp.c_proj.weight[order])
    return twin


twin = reordered(base)
models = {"the twin": twin, "line": merging.linear(base, twin, 0.5),
          "arc": merging.slerp(base, twin, 0.5)}  # fmt: skip
table = {name: evaluate(m, suites[1::2]).scores() for name, m in models.items()}
pandas.DataFrame(table).T.round()

# %% [markdown]
# A third of the facts (37 %), and not one `howto` answer; on the arc 67 % and none. It has averaged
# units that have nothing to do with each other. The arc mends the length; it does not mend that
# strangers were mixed. Two models trained from different beginnings differ by such reorderings,
# among other things. (One can search for an order that fits and merge afterwards; Ainsworth and
# colleagues 2022.) Merge relatives: a base and what was made from it.

# %% [markdown]
# ## When no α helps (6 min)
#
# A merge can only be as good as the road between its ends. Here every weight is trained, at a rate
# that leaves nothing but the shop.
#
# **Predict before you run.** Is there an α at which it knows the shop and the rest?

# %% tags=["predict"]
far = finetune(base, read_tickets(), lr=6e-3, rank="full", steps=30).model
print(merging.angle(base, far))
table = {f"standard run, {a:g}": scored[a] for a in (0.5, 0.75, 1)}
table |= {f"too far, {a:g}": found for a, found in
          merging.sweep(base, far, [0.3, 0.5, 1], suites).items()}  # fmt: skip
pandas.DataFrame({name: found.scores() for name, found in table.items()}).T.round()

# %% [markdown]
# No. At α = 0.5 it knows 87 % of the shop, 67 % of the facts and not one `howto` answer; at 0.3 33
# % of the shop, and `howto` is at 63 % already. The old skills leave before the target has arrived.
# Then the remedy lies before the training: lessons 06 and 07. Harmon and colleagues (2025) find,
# over many kinds of post-training, that merging does *not* reliably mitigate forgetting; Wortsman
# and colleagues report gains. It depends on the road, and a road is quickly scored. Nothing in the
# angle gave a warning.
#
# **Break it on purpose.** Weights are matched by name and place, and much can be averaged that does
# not belong together. Each of these is refused, with the first thing that differs:

# %%
from helpers.pocket.pretrain import Recipe, new_model

narrow = new_model(Recipe(width=128), base.tokenizer)
other_words = copy.deepcopy(tuned)
other_words.tokenizer.add_tokens(["<refund>"])
diverged = copy.deepcopy(base)
diverged.transformer.wpe.weight.data[3, 3] = math.nan
for model, alpha in ((narrow, 0.5), (other_words, 0.5), (diverged, 0.5), (tuned, 1.5)):
    try:
        merging.linear(base, model, alpha)
    except ValueError as error:
        print(error, "\n")

# %% [markdown]
# The second is the one that happens: somebody adds a token, the embedding has rows to spare, and
# every shape agrees. The last can be done on purpose, with `extrapolate=True`.

# %% [markdown]
# ## Sources
#
# - Wortsman et al. (2021), *Robust fine-tuning of zero-shot models* (WiSE-FT), arXiv 2109.01903,
#   for the line, with CLIP; against it Harmon et al. (2025), *Mapping post-training forgetting in
#   language models at scale*, arXiv 2510.17776: merging does not reliably mitigate forgetting.
# - Wortsman et al. (2022), *Model soups*, arXiv 2203.05482.
# - Lin et al. (2023), *Mitigating the alignment tax of RLHF*, arXiv 2309.06256.
# - Ilharco et al. (2022), *Editing models with task arithmetic*, arXiv 2212.04089; Yadav et al.
#   (2023), *TIES-Merging*, arXiv 2306.01708; Yu et al. (2023), *Language models are super Mario*
#   (DARE), arXiv 2311.03099.
# - Shoemake (1985), *Animating rotation with quaternion curves*; Ainsworth et al. (2022), *Git
#   Re-Basin*, arXiv 2209.04836.
# - PEFT, `rescale_adapter_scale` and pull request 3449 (`add_weighted_adapter` with rsLoRA).
# - The glossary of the course: `docs/GLOSSARY.md`.
