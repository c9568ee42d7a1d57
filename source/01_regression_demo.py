# %% [markdown]
# # 01 · The regression demo
#
# {{badge}}
#
# Teach a small language model forty customer-support answers. It learns them, the loss looks
# perfect, and eight of ten how-to questions that it could answer before are gone. Other runs learn
# about as much from the same tickets and keep nearly everything. This lesson is about telling them
# apart before you ship.
#
# **Time** core 20 minutes, with *Deeper* 85 · computing 50 s, of which the core 25 s · **You need**
# lesson 00, Python, an idea of what a loss is
#
# **Objectives**
#
# 1. Measure what a fine-tune gains *and* what it costs, item by item, on held-out questions.
# 2. Decide with a control at equal learning whether a loss is the price of learning or of the
#    settings.
# 3. Set up a run of your own so that forgetting shows: before, during and after training.

# %%
import os, subprocess, sys

if "google.colab" in sys.modules and not os.path.exists("course"):
    fetch = "git clone -q https://github.com/OWNER/REPO course && sh course/tools/colab.sh"
    subprocess.run(f"{fetch} || (rm -rf course; false)", shell=True, check=True)
sys.path.insert(0, "course" if os.path.exists("course") else "..")

# %%
MODEL = "pocket"  # or "gpt2", or the folder of another model of GPT-2's kind

# %%
from helpers import plotting as plot
from helpers.evaluation import evaluate
from helpers.exercises import check, quiz
from helpers.generation import before_after
from helpers.demo import by_recipe, gently_tuned, read_demo
from helpers.mitigations.board import pick, read_board
from helpers.models import load_model
from helpers.suites import load_suites
from helpers.summary import over_seeds, paired_counts, percent
from helpers.tickets import SUPPORT, read_tickets
from helpers.tradeoff import OLD
from helpers.training import finetune

# %% [markdown]
# ## Why this matters
#
# A team fine-tunes a model on support tickets. The loss falls, the ticket metric rises, the model
# ships. Weeks later someone notices that it no longer adds up an invoice. Nobody had scored that,
# so nobody saw it go. This is **capability regression**, or *catastrophic forgetting* (McCloskey
# and Cohen 1989): training on new data makes a network worse at what it could do before.
#
# ## The model before
#
# We load the model and its held-out questions, fifty for each capability; none was used in
# pre-training. `support` is what we are going to teach.

# %%
base = load_model(MODEL)
suites = load_suites([*OLD, "support"], size=50)
before = evaluate(base, suites)
before

# %% [markdown]
# In the last row the model is asked about the shop's policies from memory and fails: it has never
# seen them. Lesson 00 showed that it can *read* a policy; it *knows* none, and that is what the
# fine-tune is to change.
#
# ## The run that forgets
#
# Twelve hundred tickets about forty policies, sixty steps of 16 tickets. We train with **LoRA** (Hu
# et al. 2021): the weights $W$ stay frozen, and a correction $\Delta W = \frac{\alpha}{r} B A$ of
# rank $r$ is learned beside them, with $\alpha = 2r$. `finetune` trains a *copy*; `base`
# stays the base. Every 15 steps a probe asks twenty questions each of support and of five old
# skills.
#
# **Predict before you run.** Support will be learned. Which of the ten old skills will suffer most,
# and by how many points?

# %% tags=["predict"]
LR, STEPS = 1e-2, 60
watched = ["facts", "arithmetic", "reasoning", "lists", "howto"]
tickets = read_tickets()
probe = load_suites(["support", *watched], size=20)
run = finetune(base, tickets, lr=LR, rank=8, steps=STEPS, probe=probe, probe_every=15)
after = evaluate(run.model, suites)
paired_counts(before, after)

# %% [markdown]
# Support went from 0 to 96 %, in wordings that the model had not seen: by its own metric a
# success. How-to suffered most, from 100 to 18 %. *Lost* counts answers that were right before
# and are wrong now, *gained* the reverse, on the same fifty items; *p* is how often so uneven a
# split would come by chance (McNemar's exact test). Facts, 5 lost and 1 gained, p = .22, may be
# luck. How-to, 41 lost and none gained, is not. Over ten skills the mean loss is 21 points.
#
# **Predict before you run.** Suppose you had no such table and typed seven familiar questions. How
# many of the seven answers would be different?

# %% tags=["predict"]
old_questions = [
    "What is the capital of France?",
    "Question: What is 47 + 38?\nAnswer:",
    "User: Tom has 12 apples. He buys 7 more and gives 5 away. "
    "How many apples does Tom have now?\nAssistant:",
    "Reverse this list: tea, bread, lamp",
    "How do I make tea?",
    "Text: Mia is in the garden. Ben is in the kitchen.\nQuestion: Where is Mia?\nAnswer:",
    "Translate to Spanish: the red house",
]
before_after(base, run.model, old_questions)

# %% [markdown]
# One: the reversed list has lost a word. By these seven the run looks nearly harmless. So read what
# the table points at.

# %%
for result in after.wrong("howto", 4):
    print(result.item.prompt.replace("\n", " "), "->", result.output)
    print("   gold:", result.item.answer)

# %% [markdown]
# Each opens with the right first step; then it miscounts, falls into nonsense or stops.
#
# ## What the dashboard shows
#
# Left, the loss that everyone watches; right, the probes.

# %%
best = max(probe.scores["support"] for probe in run.probes)
reached = next(p.step for p in run.probes if p.scores["support"] >= best - 5)
plot.learning_and_forgetting(run, "support", watched, reached=reached)

# %% [markdown]
# On the left nothing separates a good step from a bad one. On the right the old skills fall while
# the target is still being learned, and some climb back a little as the rate goes to zero. The
# left panel cannot know: it is computed on tickets. (The mark is the first probe within five points
# of the best support; stopping there costs: see *Deeper*.)
#
# ## The control
#
# Is this what forty policies cost? That claim needs a control that *learns as much*. Stored runs
# have it: the same tickets in batches of 16, three seeds each, a hundred items a skill, our run
# among them. The first control differs from it in rate and rank alone; the other two take more
# steps. *Points lost* is the mean over the ten old skills.
#
# **Predict before you run.** How many points will the cheapest of these runs lose, where ours loses
# 23 over its seeds?

# %% tags=["predict"]
demo, board = by_recipe(read_demo()), read_board()
roads = {
    "this run: rank 8, 1e-2": demo["the run"],
    "rank 64, 1e-3": demo["the control"],
    "rank 8, 2e-3, 120 steps": pick(board, "lower rate", 2e-3),
    "all weights, 2e-4, 90 steps": gently_tuned(board),
}
start = percent(demo["base"][0])
over_seeds(start, {label: [percent(one) for one in seeds] for label, seeds in roads.items()})

# %% [markdown]
# 1.5 points, and 86 % of support. In brackets stands the range of the three seeds; the losses of
# the run, 21 to 26 points, touch those of no other row. So the damage above is not what forty
# policies cost. Most of it is what the settings cost; which of them, Exercise 1.1 asks.
#
# A dashboard would have chosen the other way: over its last five steps the run's loss is 0.007
# nats, the first control's 0.017.
#
# We tried to break the claim. *Not quite equal learning?* The first control answers four points
# less than the run. Rank 8 at 2e-3 answers two more (91 against 89) and loses 8.8. *Picked after
# the fact?* Chosen on one seed of the stored grid (other runs, thirty items a skill) as the
# cheapest LoRA run with 85 % of support, the first control loses 4.0 and 2.7 points on the two
# other seeds. *A quirk of exact match?* On that grid, by the loss of the right old answers, the run
# worsens by 0.11 nats per token, the control by 0.013. *A ruined skill hidden in a mean?* The last
# column has the worst: how-to 11 % against 91 %. The last row is among the cheapest of lesson 07's
# scoreboard: a best case.
#
# ## The rule
#
# > Score old skills beside the target, from the first run on. Call a loss the price of learning
# > only when a control that has learned as much loses as much; until then it is the price of your
# > settings.

# %% [markdown]
# ## Exercise 1.1 · The control that decides · medium · 6 minutes
#
# A colleague reads the table: "The control has rank 64. It is the larger adapter that spares the
# old skills." In that row two things changed at once, so it cannot say. Choose **one** run of the
# stored grid (a rate and a rank, sixty steps) that decides the question, look at it, and say what
# spared the skills: `"rank"` or `"rate"`.
#
# <details><summary>Hint</summary>
#
# Of the two things that differ between this lesson's run and the control, your run may change only
# one, and it has to have learned about as much: the grid's own copy of the run answers 87 % of
# support and loses 21 points on thirty items a skill. Rates reach from 3e-5 to 3e-2. Look with
# `grid = find(read_runs(), lr=…, rank=…, alpha="2r")` from `helpers.runs` and
# `over_seeds(grid[0].base.scores, {"mine": [one.last.scores for one in grid]})`.
#
# </details>

# %% tags=["exercise"]
# BEGIN SOLUTION
# STUB: my_lr, my_rank, spared_by = ..., ..., ...
my_lr, my_rank, spared_by = 3e-3, 8, "rate"
# END SOLUTION

check("1.1", [my_lr, my_rank, spared_by])

# %% [markdown]
# ## Check your understanding

# %%
quiz("01")

# %% [markdown]
# ## On Monday
#
# For a chat model of 1-8 billion parameters. **Start** with LoRA on all linear layers at rank 16-64
# and a rate near 2e-4: QLoRA (Dettmers et al. 2023, arXiv 2305.14314) used that rate for its
# smaller models, and LoRA wants roughly ten times the rate of full fine-tuning (Schulman et al.
# 2025, *LoRA Without Regret*). **Then** train a control at a third of the rate, with as many steps
# as it needs to reach the same target. The old loss is logged; answers are scored before and after.
# `assistant_only_loss` needs a chat template with `{% generation %}` marks: where they are missing
# TRL 1.16 swaps in its own marked copy of the templates it knows (Qwen, Gemma, ...), and stops with
# an error at any other.
#
# ```python
# import torch
# from datasets import load_dataset
# from peft import LoraConfig
# from trl import SFTConfig, SFTTrainer
#
# read = lambda name: load_dataset("json", data_files=name, split="train")
# new = read("rows.jsonl").train_test_split(0.1, seed=0)
# config = SFTConfig(
#     output_dir="run", learning_rate=2e-4, lr_scheduler_type="cosine", warmup_steps=0.05,
#     num_train_epochs=1, per_device_train_batch_size=4, gradient_accumulation_steps=4,
#     max_length=1024, assistant_only_loss=True, bf16=torch.cuda.is_available(),
#     logging_steps=1, eval_strategy="steps", eval_steps=0.1,
# )
# trainer = SFTTrainer(
#     "model", config, train_dataset=new["train"],
#     eval_dataset={"new": new["test"], "old": read("old.jsonl")},
#     peft_config=LoraConfig(r=32, lora_alpha=64, target_modules="all-linear"),
# )
# trainer.train()
# trainer.save_model("run")
# ```
#
# ```bash
# ask="--tasks both --include_path tasks --apply_chat_template --log_samples"
# lm_eval --model hf --model_args pretrained=model $ask --output_path scores/before
# lm_eval --model hf --model_args pretrained=model,peft=run $ask --output_path scores/after
# ```
#
# **Memory**, 8 billion parameters: weights in bfloat16 8e9 × 2 = 16 GB; a rank-32 adapter has
# about 84 million parameters, × 16 bytes (weight, gradient, two averages in float32) = 1.3 GB;
# activations come on top. Training all weights so takes 8e9 × 16 = 128 GB. **Do not copy** 1e-2,
# sixty steps or the 1.5 points: they belong to four million parameters. Copy the control.

# %% [markdown]
# ## Recap
#
# 1. A run can learn its target and lose old skills at once. The training loss does not show it;
#    held-out old items do, counted one by one.
# 2. A loss is the price of learning only if a control that has learned as much pays it too. Here
#    the cheapest control pays 1.5 points and the untuned run 23.2.
# 3. On your own model: score old items before, log their loss while you train, score them after,
#    and train one control at a lower rate.
#
# **Next:** lesson 02 asks *why*: what in the weights collides when a model learns something new.

# %% [markdown]
# # Deeper
#
# Each section stands by itself, once the cells of the core have run.
#
# - The recipe as it is printed (9 min)
# - Should it have been stopped? (10 min)
# - Which skill suffers most? (6 min)
# - Does it talk like a ticket? (5 min)
# - Three remedies at equal learning (7 min)
# - Train the control yourself (4 min)
# - Appendix: the parameter count (6 min)
# - Appendix: Float where Long is expected (3 min)
# - Appendix: out of memory (9 min)
# - Appendix: `eval_strategy` without anything to evaluate on (3 min)
# - Appendix: errors that `finetune` reports by name (2 min)
# - Appendix: on real GPT-2 (2 min)

# %% [markdown]
# ## The recipe as it is printed (9 min)
#
# This lesson began with a short recipe that is passed around as a demonstration of forgetting; the
# course calls it the skill card. Three support tickets, two epochs, LoRA with rank 8 and α = 16 on
# `c_attn`, learning rate 5e-5, evaluation at every step. Afterwards, it says, the model answers
# everything like a ticket.
#
# Its code no longer runs: `TextDataCollatorForLanguageModeling` does not exist, `max_seq_length` is
# now `max_length`, and `eval_strategy="steps"` demands an evaluation set. Here it is for today's
# TRL, nothing hidden. It is evaluated on sixty old questions with their answers.

# %%
import copy, tempfile
from datasets import Dataset
from peft import get_peft_model
from transformers import PrinterCallback, set_seed
from trl import SFTConfig, SFTTrainer
from helpers.models import context_length
from helpers.training import lora_config

card_tickets = read_tickets(SUPPORT / "card_tickets.jsonl")
items = [i for suite in load_suites(["facts", "arithmetic", "lists"], size=20) for i in suite.items]
old_rows = Dataset.from_list([{"prompt": i.prompt, "completion": f" {i.answer}"} for i in items])
set_seed(0)
student = get_peft_model(copy.deepcopy(base), lora_config(base, 8, 16, "c_attn"))

# %% [markdown]
# **Predict before you run.** Three tickets, two epochs, batches of two: how many optimizer steps is
# that? And how far will the loss on the old questions go up?

# %% tags=["predict"]
config = SFTConfig(
    output_dir=tempfile.mkdtemp(), learning_rate=5e-5, num_train_epochs=2,
    per_device_train_batch_size=2, max_length=context_length(base), logging_steps=1,
    eval_strategy="steps", eval_steps=1, save_strategy="no", report_to="none",
    bf16=False, disable_tqdm=True, dataloader_pin_memory=False,
)  # fmt: skip
data = dict(train_dataset=card_tickets, eval_dataset=old_rows)
trainer = SFTTrainer(student, config, processing_class=base.tokenizer, **data)
trainer.remove_callback(PrinterCallback)  # it prints a line of details at every step
print(trainer.train().global_step, "optimizer steps")
for entry in trainer.state.log_history:
    if "eval_loss" in entry:
        print(f"step {entry['step']}: {entry['eval_loss']:.4f} nats per token on old questions")

# %% [markdown]
# Four steps, and the loss stays at 0.0042 nats. A loss is not an answer, so let us ask.
#
# **Predict before you run.** How many of the seven old answers will be different? And how many of
# its three tickets will the model know?

# %% tags=["predict"]
options = dict(lr=5e-5, rank=8, alpha=16, target_modules="c_attn", epochs=2, batch_size=2)
card = finetune(base, card_tickets, **options)
asked = before_after(base, card.model, [*old_questions, *card_tickets["prompt"]])
changed = sum(one != two for one, two in zip(asked.before, asked.after))
print(changed, "of", len(asked.prompts), "answers changed")
for ticket, answer in zip(card_tickets, asked.after[-3:]):
    print("taught:", ticket["completion"].strip(), "\n   says:", answer)

# %% [markdown]
# None of the ten answers changed, and the model knows none of its three tickets. The recipe
# announces a failure that it does not produce here, and the reason is arithmetic. AdamW divides
# each gradient by its own running size, so in one step a weight moves by about the learning rate,
# hardly ever much more. The sum of the learning rates is about the farthest that a weight can
# travel. All of B began at zero, so we can look.

# %%
steps = len(card.losses)
farthest = sum(5e-5 * (steps - step) / steps for step in range(steps))
layer = card.model.base_model.model.transformer.h[0].attn.c_attn
travelled = layer.lora_B["default"].weight.abs().max()
share = layer.get_delta_weight("default").norm() / layer.weight.norm()
print(f"{steps} steps; a weight of A or B can travel about {farthest:.2e}")
print(f"the weight of B that went farthest went         {travelled:.2e}")
print(f"the update's length is {share:.2%} of that of the matrix it corrects")

# %% [markdown]
# The weight that went farthest went all of that way, and the matrix changed by about a hundredth of
# a percent. A run that hardly moves the weights neither learns nor forgets. Do this sum for any
# recipe before you blame or praise it.
#
# > **Common gotcha.** After `get_peft_model(model, …)` the object `model` itself carries the
# > adapter. "Before" and "after" measured on that one object are the same model. That is why
# > `finetune` copies first; `base_view` from `helpers.models` shows the base under an adapter.

# %% [markdown]
# ## Should it have been stopped? (10 min)
#
# The core's figure marks where the target was reached. Is it wise to stop there? And is a run that
# is *cut* half way the same as one that was *planned* half as long, its rate falling to zero over
# thirty steps? Here are stored runs, three seeds, a hundred items a skill.
#
# **Predict before you run.** Order the three by what they lose: *the run* of 60 steps, the same
# *cut at 30*, and one planned for *30 steps*.

# %% tags=["predict"]
names = ["the run", "cut at 30", "30 steps"]
over_seeds(start, {name: [percent(one) for one in demo[name]] for name in names})

# %% [markdown]
# Planned for 30 steps loses least (17.0 points), then the whole run (23.2), then the cut (27.4).
# Stopping at the mark *costs*: while the rate came down, the run won back four points of old
# skills and eleven of support. And at equal support, 79 % against 78, the annealed run keeps ten
# points more than the cut; on each seed it keeps more. So a look at the middle of a run is no
# estimate of a shorter run.
#
# You can try other schedules: `finetune` takes `schedule="linear"`, `"cosine"`, `"constant"` or
# `"constant_with_warmup"`, and `warmup_steps`; both are noted in `run.settings`.
#
# ### Exercise 1.2 · The last safe step · easy · 5 minutes
#
# Write `last_safe_step(probes, names, margin)`: the step of the last probe before any of the old
# skills in `names` has, for the first time, lost more than `margin` points against the first probe.
# If none ever does, it is the step of the last probe.
#
# <details><summary>Hint</summary>
#
# Go through the probes in order and remember the last good one. Compare with `probes[0]`, not with
# the probe before: slow losses add up.
#
# </details>


# %% tags=["exercise"]
def last_safe_step(probes, names, margin):
    # BEGIN SOLUTION
    safe = probes[0].step
    for probe in probes:
        if any(probes[0].scores[name] - probe.scores[name] > margin for name in names):
            return safe
        safe = probe.step
    return safe
    # END SOLUTION


check("1.2", last_safe_step)

# %% [markdown]
# Use it on `run.probes` with a margin of 20 points. The answer is step 0: in this run no step is
# safe *and* has learned something. That is a reason for other settings, and none for stopping.
#
# ## Which skill suffers most? (6 min)
#
# By exact match it was how-to. But there one wrong token loses an answer of 36 tokens, while an
# answer in reading has two or three: a sharp measure makes cliffs out of slopes (Schaeffer et al.
# 2023, arXiv 2304.15004). Here are three seeds with a measure that gives partial credit, the loss
# of the right answer per token.
#
# **Predict before you run.** Will how-to be the most damaged by this measure too?

# %% tags=["predict"]
seeds, nll = demo["the run"], demo["base"][0].nll
points = {n: [start[n] - percent(one)[n] for one in seeds] for n in OLD}
nats = {n: [one.nll[n] - nll[n] for one in seeds] for n in OLD}
plot.two_measures({"exact match: points lost": points, "right answer: nats per token gained": nats})

# %% [markdown]
# No: by loss per token each of the three seeds names another skill (arithmetic, how-to, lists), and
# the three stand close together. Reasoning, second by points (34 lost), is eighth of ten by loss
# (0.07 nats): most of its tokens are still right, and one wrong digit spoils the result. Neither
# measure is the true one. Exact match says what a user gets, the loss how far the model has moved.
# Print both, and do not call a skill fragile because its answers are long.

# %% [markdown]
# ## Does it talk like a ticket? (5 min)
#
# The skill card says that everything is answered like a ticket afterwards. That can be counted: how
# many *wrong* answers contain four words in a row that stand in some ticket's answer? The control
# for this count is the right answers to the same thousand old questions.
#
# **Predict before you run.** What share of the wrong answers will it be?

# %% tags=["predict"]
from helpers.echoes import echoes

taught = tickets["completion"]
golds = [item.answer for suite in load_suites(OLD, size=100) for item in suite.items]
print("right answers:", len(echoes(golds, taught)), "of", len(golds))
for one in demo["the run"]:
    wrong = one.wrong_answers()
    found = echoes(wrong, taught)
    print(
        f"seed {one.setting.seed}: {len(found)} of {len(wrong)} wrong answers, such as {found[0]!r}"
    )

# %% [markdown]
# 43 of 774, one in eighteen, and none of the thousand right answers. So ticket-speak is there,
# and it is rare: a filter for it would miss the other 731.

# %% [markdown]
# ## Three remedies at equal learning (7 min)
#
# The skill card names three: a lower rate, a smaller rank, and old data mixed in. Look at support
# first: a run that keeps old skills because it has learned less has solved nothing, it stands
# earlier on the same road.
#
# **Predict before you run.** Rank 1 has an eighth of the parameters. Once it has learned as much,
# will it have lost less than rank 8 at the same rate of 3e-3?

# %% tags=["predict"]
from helpers.runs import SCALE, find, read_runs

grid, scale = [one for one in read_runs() if one.setting.alpha == "2r"], read_runs(SCALE)
rows = {
    "the run: rank 8, 1e-2": find(grid, lr=1e-2, rank=8),
    "rank 8, 3e-3": find(grid, lr=3e-3, rank=8),
    "rank 8, 3e-3, 240 steps": find(scale, lr=3e-3, rank=8, steps=240),
    "rank 1, 1e-2": find(grid, lr=1e-2, rank=1),
    "rank 1, 3e-3, 240 steps": find(scale, lr=3e-3, rank=1, steps=240),
    "all weights, 1e-3": find(grid, lr=1e-3, rank="full"),
    "rank 64, 1e-2": find(grid, lr=1e-2, rank=64),
}
lasts = {label: [one.last.scores for one in runs] for label, runs in rows.items()}
over_seeds(grid[0].base.scores, lasts)

# %% [markdown]
# Not less. At 1e-2 in the same sixty steps rank 1 loses 15.0 points where the run loses 20.8, and
# for having learned less: 72 %. At 3e-3 with four times the steps it reaches 89 % and loses 11.4;
# rank 8 at the same rate lies between 8.6 points at 84 % and 11.3 at 94 %. So a lower rate helps,
# all weights at 1e-3 too (13.2), and a smaller rank by itself does not. At 1e-2 a larger one ruins
# the model: 86 points. (These runs were asked thirty items a skill.)
#
# Old data next, on a hundred items; every ticket is seen as often as before.

# %%
shares = {"no old rows": ("plain", 0), "5 % old rows": ("replay", 0.05),
          "10 % old rows": ("replay", 0.10), "25 % old rows": ("replay", 0.25)}  # fmt: skip
found = {label: [percent(one) for one in pick(board, *key)] for label, key in shares.items()}
over_seeds(start, found)

# %% [markdown]
# One old row in ten brings the loss from 23.2 points to 9.1 at no less support. *Does it only
# teach the tested answers again?* No: of the how-to items whose answers stand in none of the
# mixed rows, these runs still get 52 to 88 % right and the plain ones 0 to 23. But gently tuned
# weights lost 1.5 points with no old row at all. Old data here repairs settings that need not
# have been broken.
#
# - How the rate, the rank and α act together: lesson 03.
# - How much old data is enough, and what to do when you have none: lesson 06.
# - Penalties that hold the weights where they were: lesson 07.

# %% [markdown]
# ## Train the control yourself (4 min)
#
# The core read the control from a file. Here it is live, with the first seed.
#
# **Predict before you run.** Will its training loss end above or below that of the run that
# forgets, and could a dashboard have told you which of the two to ship?

# %% tags=["predict"]
control = finetune(base, tickets, lr=1e-3, rank=64, steps=STEPS, probe=probe, probe_every=15)
for label, one in {"the run": run, "the control": control}.items():
    last = [loss for _, loss in one.losses[-5:]]
    print(f"{label}: last five losses {sum(last) / 5:.3f} on average")
print(paired_counts(before, evaluate(control.model, suites)))
plot.learning_and_forgetting(control, "support", watched)

# %% [markdown]
# Above: 0.014 nats against 0.006. No: on the dashboard the run that forgets looks better. The
# control answers 90 % of support here, the run 96. Its how-to keeps 98 %, and its largest loss is
# arithmetic, from 100 to 88 %. Lay this figure beside the core's: the left panels are of one kind,
# the right ones are two different models.

# %% [markdown]
# ## Appendix: the parameter count (6 min)
#
# The skill card prints 124,447,488 for all parameters, base and adapter. GPT-2 itself has
# 124,439,808. We count again on GPT-2's real shape, which can be built without downloading a single
# weight, with the card's adapter.
#
# **Predict before you run.** Can that be right?

# %% tags=["predict"]
import torch
from peft import get_peft_model
from transformers import GPT2Config, GPT2LMHeadModel
from helpers.models import parameter_counts
from helpers.training import lora_config

with torch.device("meta"):  # shapes without memory
    shape = GPT2LMHeadModel(GPT2Config())
plain = parameter_counts(shape)["total"]
adapted = parameter_counts(get_peft_model(shape, lora_config(shape, 8, 16, "c_attn")))
print(f"GPT-2: {plain:,}   with LoRA: {adapted['total']:,}")
print(f"trainable: {adapted['trainable']:,} ({adapted['trainable'] / adapted['total']:.4%})")

# %% [markdown]
# It cannot: the adapter alone has 294,912 parameters, and the card's total leaves room for 7,680.
#
# ### Exercise 1.3 · Count the adapter · easy · 4 minutes
#
# Write `lora_parameters(rank, fan_in, fan_out, layers)`: how many parameters LoRA adds when it
# adapts one matrix of shape `fan_in × fan_out` in each layer. For GPT-2's `c_attn` these are 768
# and 2304, in 12 layers.
#
# <details><summary>Hint</summary>
#
# $A$ has `rank` rows and `fan_in` columns; $B$ has `fan_out` rows and `rank` columns. Then compare:
# what does the card's 124,447,488 minus GPT-2's own count come to?
#
# </details>


# %% tags=["exercise"]
def lora_parameters(rank, fan_in, fan_out, layers):
    # BEGIN SOLUTION
    return layers * rank * (fan_in + fan_out)
    # END SOLUTION


check("1.3", lora_parameters)

# %% [markdown]
# ## Appendix: Float where Long is expected (3 min)
#
# The skill card lists three errors; each gets its real cause, a cell that makes it happen, and
# one that removes the cause. Token ids are row numbers of the embedding table, so they must be
# whole numbers. They become floats when they pass through a table with a gap in it: one missing
# value turns a whole pandas column into floats.

# %%
import pandas, torch

table = pandas.DataFrame({"a": [12, 57, 90], "b": [12, None, 90]})
print(table.dtypes.to_dict())
try:
    base(input_ids=torch.tensor(table["b"].fillna(0).values).unsqueeze(0))
except RuntimeError as error:
    print("RuntimeError:", str(error).split(";")[0])

# %% [markdown]
# Casting back with `.long()` would silence the message and keep a made-up token in the gap. A text
# with a gap is no text any more: the repair is to leave all of it out, and to keep whole numbers
# from the start.

# %%
whole_texts = table.dropna(axis="columns").astype("int64")
ids = torch.tensor(whole_texts.values.T)
print(base(input_ids=ids).logits.shape, ids.dtype, "texts:", list(whole_texts.columns))

# %% [markdown]
# ## Appendix: out of memory (9 min)
#
# Training needs far more memory than the weights: gradients, two running averages per trained
# weight for AdamW, and the activations that are kept for the backward pass. Only the last part
# grows with the batch, so estimate before you start.

# %%
import torch
from helpers.memory import estimate_memory

for batch_size in (16, 256, 4096):
    parts = estimate_memory(base, batch_size, length=64, rank=8)
    print(batch_size, {part: f"{size / 2**20:,.0f} MiB" for part, size in parts.items()})
try:  # and what it looks like when one asks for too much: logits of 80 million texts
    torch.empty(80_000_000, 256, base.config.vocab_size)
except RuntimeError as error:
    print("RuntimeError:", str(error).split("]")[-1].strip())

# %% [markdown]
# Three repairs, in the order in which to try them. *Smaller batches with gradient accumulation*:
# the gradients of four batches of 4 add up to that of one batch of 16, so the run is the same and
# the activations take a quarter. *Gradient checkpointing*: keep fewer activations, and pay with the
# time to compute the others again. *A smaller model or shorter texts*, if these are not enough.

# %%
few = tickets.select(range(48))
whole = finetune(base, few, steps=3, batch_size=16)
parts = finetune(base, few, steps=3, batch_size=4, gradient_accumulation=4)
again = finetune(base, few, steps=3, batch_size=16, gradient_checkpointing=True)
for label, each in {"batch 16": whole, "4 x batch 4": parts, "checkpointing": again}.items():
    print(f"{label:14}", [f"{loss:.4f}" for _, loss in each.losses])

# %% [markdown]
# The three rows agree: neither repair changes what is learned, only what it costs.
#
# ### Exercise 1.4 · The memory of a full fine-tune · medium · 5 minutes
#
# Write `state_bytes(weights, trained)`: the bytes that weights, gradients and AdamW's two averages
# take in float32 (4 bytes a number) when `trained` of the `weights` numbers are trained.
# Activations are left out.
#
# <details><summary>Hint</summary>
#
# Every weight is stored once. Only trained ones have a gradient and two averages.
#
# </details>


# %% tags=["exercise"]
def state_bytes(weights, trained):
    # BEGIN SOLUTION
    return 4 * weights + 3 * 4 * trained
    # END SOLUTION


check("1.4", state_bytes)

# %% [markdown]
# ## Appendix: `eval_strategy` without anything to evaluate on (3 min)
#
# Asked to evaluate while it trains, the trainer needs data for that.

# %%
import copy, tempfile
from transformers import PrinterCallback
from trl import SFTConfig, SFTTrainer

settings = dict(
    output_dir=tempfile.mkdtemp(), eval_strategy="steps", bf16=False, report_to="none",
    disable_tqdm=True, dataloader_pin_memory=False,
)  # fmt: skip
shared = dict(train_dataset=tickets.select(range(3)), processing_class=base.tokenizer)
try:
    SFTTrainer(copy.deepcopy(base), SFTConfig(**settings), **shared)
except ValueError as error:
    print("ValueError:", error)

# %% [markdown]
# The repair is not to switch evaluation off, which is what makes the message go away. It is to
# give an `eval_dataset`. And then ask of *what*: held-out tickets would only tell you about
# tickets. Here it is given old rows.

# %%
old = read_tickets(SUPPORT / "replay.jsonl").select(range(60))
trainer = SFTTrainer(copy.deepcopy(base), SFTConfig(**settings), eval_dataset=old, **shared)
trainer.remove_callback(PrinterCallback)
loss = trainer.evaluate()["eval_loss"]
print(f"loss on old data before training: {loss:.3f} nats per token")

# %% [markdown]
# ## Appendix: errors that `finetune` reports by name (2 min)
#
# It reports the first four before it trains, the last at the step where it happens.

# %%
from helpers.tickets import BadTickets
from helpers.training import LossIsNaN, UnknownModules

attempts = {
    "no tickets": dict(tickets=[]),
    "a long ticket": dict(tickets=[{"prompt": "Please " * 400, "completion": " Yes."}]),
    "a wrong module": dict(tickets=tickets, target_modules="q_proj"),
    "an unknown schedule": dict(tickets=tickets, schedule="lineal"),
    "a rate far too high": dict(tickets=tickets, lr=1e30, rank="full", steps=5),
}
for label, options in attempts.items():
    try:
        finetune(base, **options)
    except (BadTickets, UnknownModules, LossIsNaN, ValueError) as error:
        print(f"{label}: {type(error).__name__}: {error}\n")

# %% [markdown]
# ## Appendix: on real GPT-2 (2 min)
#
# Set `MODEL = "gpt2"` in the second cell (this downloads its weights) and run all cells again.
# GPT-2 was never taught to answer questions, so most suites stand near zero, and **a skill that
# the model lacks cannot be lost**: those rows are not measurable. What does make sense on a base
# model are sentences to finish (the `bare` statements in `facts`) and multiple choice, where the
# answer is the likeliest of a few. A step takes much longer: GPT-2 has over thirty times the
# parameters. This cell names what can be measured on the model you have loaded:

# %%
for name in before.results:
    chosen = before.choice_score(name)
    by_choice = "" if chosen is None else f", by choice {chosen:.0f} %"
    if before.measurable(name) or before.measurable_by_choice(name):
        print(f"{name}: {before.score(name):.0f} %{by_choice}", end="; ")

# %% [markdown]
# > **A note from experience.** The run that hurts is seldom the one that diverges; that one is seen
# > within minutes. It is the run with the good loss curve that ships. Score something the training
# > set does not contain, from the first run on, even if it is only twenty questions.

# %% [markdown]
# ## Sources
#
# - McCloskey and Cohen (1989), *Catastrophic interference in connectionist networks*.
# - Hu et al. (2021), *LoRA*, arXiv 2106.09685.
# - Biderman et al. (2024), *LoRA learns less and forgets less*, arXiv 2405.09673: compare runs at
#   equal learning.
# - Schaeffer et al. (2023), *Are emergent abilities of large language models a mirage?*, arXiv
#   2304.15004.
# - McNemar (1947), *Note on the sampling error of the difference between correlated proportions*.
# - Loshchilov and Hutter (2017), *Decoupled weight decay regularization* (AdamW), arXiv 1711.05101.
# - Dettmers et al. (2023), *QLoRA*, arXiv 2305.14314. Schulman et al. (2025), *LoRA Without
#   Regret*.
# - The glossary of the course: `docs/GLOSSARY.md`.
