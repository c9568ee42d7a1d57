# %% [markdown]
# # 01 · The regression demo
#
# {{badge}}
#
# Teach a small language model forty customer-support answers. Then ask it the things it knew
# before. At the end of this lesson you have seen a fine-tune succeed by its own metric and ruin
# other skills in the same run, you can say whether stopping earlier would have helped, and you
# have tried three ways to lose less.
#
# **Time** 60 minutes, of which one to two are computing · **You need** lesson 00, Python, an
# idea of what a loss is
#
# **Objectives**
#
# 1. Run a published fine-tuning recipe on today's libraries, and judge from its arithmetic whether
#    it can change anything.
# 2. Measure what a fine-tune gains *and* what it costs, while it trains, on held-out items.
# 3. Recognise three frequent training errors by their message, and remove the cause.

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
from helpers.generation import before_after, complete
from helpers.memory import estimate_memory
from helpers.models import context_length, load_model, parameter_counts
from helpers.suites import load_suites
from helpers.tickets import SUPPORT, BadTickets, mix, read_tickets
from helpers.training import LossIsNaN, UnknownModules, finetune, lora_config

# %% [markdown]
# ## Why this matters
#
# A team fine-tunes a model on support tickets. The loss falls, the ticket metric rises, the model
# ships. Weeks later someone notices that it no longer adds up an invoice, or that it answers every
# question with a sentence about returns. Nobody had scored that, so nobody saw it go.
#
# This is called **capability regression**, or *catastrophic forgetting* (McCloskey and Cohen 1989):
# training on new data makes a network worse at what it could do before. Nothing in the training
# loss warns you, because the training loss only looks at the new data.
#
# **An analogy, and where it ends.** Think of a shared whiteboard that is full. To write down the
# new policies you must wipe something, and you wipe where your hand happens to be, not where the
# notes are least needed. The analogy ends here: a network stores things in overlapping patterns,
# so what is wiped is seldom a whole note. Lesson 02 looks at that.

# %% [markdown]
# ## The model before
#
# We load the model and the held-out questions: fifty per capability, none of which was used in
# pre-training, plus the `support` questions that we are going to teach.

# %%
base = load_model(MODEL)
protected = ["facts", "arithmetic", "reasoning", "lists", "reading", "howto", "rewriting"]
suites = load_suites([*protected, "support", "support_with_article"], size=50)
before = evaluate(base, suites)
before

# %% [markdown]
# Read the last two rows together. Asked about the shop's policies from memory, the model fails: it
# has never seen them. With the right help article above the question it succeeds. So it can *read*
# a policy and does not *know* any, and that is what the fine-tune is to change.
#
# Three old-knowledge questions, a fact, a sum and a worked problem, will serve as a quick look
# throughout, with four more beside them:

# %%
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
for question, answer in zip(old_questions, complete(base, old_questions), strict=True):
    print(question, "->", answer)

# %% [markdown]
# ## The recipe as it is printed
#
# There is a short recipe for this experiment: three support tickets, two epochs, LoRA with rank 8
# and α = 16 on `c_attn`, learning rate 5e-5, evaluation at every step. It promises that afterwards
# the model answers everything like a ticket.
#
# **LoRA** (Hu et al. 2021) freezes the model's weights $W$ and learns a small correction
# $\Delta W = \frac{\alpha}{r} B A$, where $A$ and $B$ are thin matrices with only $r$ columns or
# rows. The rank $r$ says how many independent directions the correction may use.
#
# The printed code no longer runs: `TextDataCollatorForLanguageModeling` does not exist,
# `max_seq_length` is now `max_length`, and `eval_strategy="steps"` demands an evaluation set. Below
# is the same recipe for today's TRL, nothing hidden. What it is evaluated on at every step are old
# skills: sixty of the held-out questions, with their answers.
#
# **Predict before you run.** Three tickets, two epochs, batches of two: how many optimizer steps is
# that? And how far will the loss on the old questions go up?

# %%
import copy
import tempfile

from datasets import Dataset
from peft import get_peft_model
from transformers import PrinterCallback, set_seed
from trl import SFTConfig, SFTTrainer

card_tickets = read_tickets(SUPPORT / "card_tickets.jsonl")
old_suites = load_suites(["facts", "arithmetic", "lists"], size=20)
old_rows = Dataset.from_list(
    [
        {"prompt": item.prompt, "completion": f" {item.answer}"}
        for suite in old_suites
        for item in suite.items
    ]
)
set_seed(0)
lora = lora_config(base, rank=8, alpha=16, target_modules="c_attn")
student = get_peft_model(copy.deepcopy(base), lora)
config = SFTConfig(
    output_dir=tempfile.mkdtemp(),
    learning_rate=5e-5,
    num_train_epochs=2,
    per_device_train_batch_size=2,
    max_length=context_length(base),
    logging_steps=1,
    bf16=False,
    eval_strategy="steps",
    eval_steps=1,
    save_strategy="no",
    report_to="none",
    disable_tqdm=True,
)
trainer = SFTTrainer(
    student,
    config,
    train_dataset=card_tickets,
    eval_dataset=old_rows,
    processing_class=base.tokenizer,
)
trainer.remove_callback(PrinterCallback)  # it prints a line of details at every step
print(trainer.train().global_step, "optimizer steps")
for entry in trainer.state.log_history:
    if "eval_loss" in entry:
        print(f"step {entry['step']}: {entry['eval_loss']:.4f} nats per token on old questions")

# %% [markdown]
# Four steps, and the loss on old questions stands where it stood. A loss is not an answer, so let
# us ask. `finetune` from the course's `helpers` wraps these lines, checks the data, and can score
# whole suites while it trains. From here on we use it. It always works on a *copy*: `base` stays
# the base.
#
# **Predict before you run.** After these four steps, how many of the seven old answers above will
# be different? And how many of the three tickets will it know?

# %%
card = finetune(
    base,
    card_tickets,
    lr=5e-5,
    rank=8,
    alpha=16,
    target_modules="c_attn",
    epochs=2,
    batch_size=2,
    probe=load_suites(["facts", "arithmetic"], size=40),
    probe_every=1,
)
for probe in card.probes:
    print("step", probe.step, {name: round(score) for name, score in probe.scores.items()})

# %%
for ticket in card_tickets:
    print(ticket["prompt"].splitlines()[0], "\n   taught:  ", ticket["completion"].strip())
before_after(base, card.model, [*old_questions, *card_tickets["prompt"]])

# %% [markdown]
# ### What just happened
#
# Nothing. No old answer changed, and the model does not know its three tickets either. The recipe
# promises a failure that it cannot produce. Why not?
#
# AdamW divides each gradient by its own running size, so in one step a weight moves by about the
# learning rate, hardly ever much more. The sum of the learning rates is therefore the farthest that
# a weight can travel. We can compute it, and look at how far weights really went: all of B began
# at zero.

# %%
steps = len(card.losses)
farthest = sum(5e-5 * (steps - step) / steps for step in range(steps))
layer = card.model.base_model.model.transformer.h[0].attn.c_attn
travelled = layer.lora_B["default"].weight.abs().max()
update = layer.get_delta_weight("default")
share = update.norm() / layer.weight.norm()
print(f"{steps} steps; a weight of A or B can travel about {farthest:.2e}")
print(f"the weight of B that went farthest went         {travelled:.2e}")
print(f"the update's length is {share:.2%} of that of the matrix it corrects")

# %% [markdown]
# The weights went as far as they could, and the matrix has changed by about a hundredth of a
# percent. That did not move one of these answers. To see forgetting, the run must *learn* something
# first. So we turn up what the recipe kept low: more tickets, more steps, all linear layers, a
# higher rate.

# %% [markdown]
# ## The recipe turned up
#
# Twelve hundred tickets about forty policies, sixty steps of 16 tickets. While it trains, a probe
# scores the support questions in wordings that are not in the training set, and six old skills.
#
# **Predict before you run.** Which old skill will suffer most, and which not at all?

# %%
LR, STEPS = 1e-2, 60
tickets = read_tickets()
watched = ["facts", "arithmetic", "reasoning", "lists", "reading", "howto"]
run = finetune(
    base,
    tickets,
    lr=LR,
    rank=8,
    steps=STEPS,
    probe=load_suites(["support", *watched], size=20),
    probe_every=15,
)
print(run, f"in {run.seconds:.0f} s")

# %%
after = evaluate(run.model, suites)
plot.capability_bars(before, after)

# %% [markdown]
# The target row went from nothing to most of its questions, in wordings the model had not seen:
# judged by its own metric, this fine-tune is a success. The other rows are the bill. Their
# intervals tell which of the drops are more than luck with fifty questions.

# %%
before_after(
    base, run.model, old_questions + ["Customer: Hello, when will I see my refund?\nAgent:"]
)

# %% [markdown]
# Compare this with the bars. The reversed list has lost a word, and the other old answers are as
# they were, although the scores of several skills have dropped far. Seven questions in familiar
# wordings are a poor witness: with them alone one would have called this run nearly harmless. Let
# us look where the bars say that it hurts.

# %%
for result in after.wrong("howto", 4):
    print(result.item.prompt.replace("\n", " "), "->", result.output)
    print("   gold:", result.item.answer)

# %% [markdown]
# The recipe promised that everything would be answered like a ticket. See for yourself how much of
# a ticket is in these: mostly they still begin as instructions do, and go wrong in their details.
# Forgetting need not look strange.
#
# ## Should it have been stopped?
#
# The recipe's picture is worth drawing: the loss that everyone watches on the left, and what it
# does not show on the right. As a rule for stopping we take the first look at which the target is
# within five points of its best: what is trained after that brings little. Whether it costs much is
# what we look for.

# %%
best = max(probe.scores["support"] for probe in run.probes)
stop = next(p.step for p in run.probes if p.scores["support"] >= best - 5)
plot.learning_and_forgetting(run, "support", watched, stop=stop)

# %% [markdown]
# ### What just happened
#
# On the left everything is as it should be: the loss falls and stays down, and nothing there
# separates a good step from a bad one. On the right the old skills fall *before* the target is
# learned: at the first look they are down already, and support is only half way. Later some of them
# climb back a little while the rate goes to zero. So in this run stopping early would have saved
# hardly anything. Twenty questions a skill are few, and this is one seed; lesson 03 asks again.
#
# One more thing is worth noticing. Nothing in the curve on the left depends on the old skills: it
# could look the same if they had survived. The information is not in the loss; you have to measure
# it.
#
# > **Common gotcha.** After `get_peft_model(model, …)` the object `model` itself carries the
# > adapter. "Before" and "after" measured on that one object are the same model. That is why
# > `finetune` copies first; `base_view` from `helpers.models` shows the base under an adapter, and
# > restores everything when it is done.

# %% [markdown]
# ## Three ways to lose less
#
# The recipe names three remedies: a lower rate, a smaller rank, and old data mixed in. Here is each
# of them once, beside the run above. One run each is a demonstration, not a proof: lessons 03, 06
# and 07 repeat this over seeds and at equal learning.
#
# **Predict before you run.** Which of the three keeps the target score and the old skills?

# %%
replay = read_tickets(SUPPORT / "replay.jsonl")
runs = {
    "a third of the rate": finetune(base, tickets, lr=LR / 3, rank=8, steps=STEPS),
    "rank 1": finetune(base, tickets, lr=LR, rank=1, steps=STEPS),
    "1/8 old data": finetune(base, mix(tickets, replay, share=1 / 8), lr=LR, rank=8, steps=STEPS),
}

# %%
quick = load_suites(["support", *watched], size=50)
scores = {label: evaluate(each.model, quick).scores() for label, each in runs.items()}
scores = {"base": before.scores(), "as above": after.scores()} | scores
plot.compare_runs(scores, "support", watched)

# %% [markdown]
# Look at the star first. A run that keeps the old skills because it has learned less has not solved
# anything: it stands earlier on the same road. Only a run whose star is as far right as the first
# one's, and whose other marks are as far right or farther, forgets *less for the same learning*.
# Which of the three is that, and of which marks are you sure, with fifty questions each?
#
# - How far a lower rate or rank helps at *equal learning* is the subject of lesson 03.
# - How much old data is enough, and what to do when you have none: lesson 06.
# - Penalties that hold the weights where they were: lesson 07.

# %% [markdown]
# ## The parameter count, and a mistake to find
#
# The recipe prints how many parameters are trainable. On GPT-2's real shape, which we can build
# without downloading a single weight, and with the recipe's adapter. Before you run it: the recipe
# prints 124,447,488 for all parameters, base and adapter. GPT-2 itself has 124,439,808. Can that be
# right?

# %%
import torch
from transformers import GPT2Config, GPT2LMHeadModel

with torch.device("meta"):  # shapes without memory
    shape = GPT2LMHeadModel(GPT2Config())
plain = parameter_counts(shape)["total"]
adapted = parameter_counts(get_peft_model(shape, lora_config(shape, 8, 16, "c_attn")))
print(f"GPT-2: {plain:,}   with LoRA: {adapted['total']:,}")
print(f"trainable: {adapted['trainable']:,} ({adapted['trainable'] / adapted['total']:.4%})")

# %% [markdown]
# It cannot: the adapter alone has more parameters than the recipe's total leaves for it. Exercise
# 1.1 asks for the arithmetic behind it.

# %% [markdown]
# ## Break it on purpose
#
# Three errors that the recipe lists in its trouble section, each with its real cause. One cell
# makes the error happen, a later one removes the cause.
#
# ### Float where Long is expected
#
# Token ids are row numbers of the embedding table, so they must be whole numbers. They become
# floats when they pass through a table with a gap in it: one missing value turns a whole pandas
# column into floats.

# %%
import pandas

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
# ### Out of memory
#
# Training needs far more memory than the weights: gradients, two running averages per trained
# weight for AdamW, and the activations that are kept for the backward pass. Only the last part
# grows with the batch, so estimate before you start.

# %%
for batch_size in (16, 256, 4096):
    parts = estimate_memory(base, batch_size, length=64, rank=8)
    print(batch_size, {part: f"{size / 2**20:,.0f} MiB" for part, size in parts.items()})

# %% [markdown]
# And this is what it looks like when one asks for too much: the logits alone of eighty million
# texts of 256 tokens, in float32.

# %%
try:
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
# ### `eval_strategy` without anything to evaluate on

# %%
settings = dict(
    output_dir=tempfile.mkdtemp(),
    eval_strategy="steps",
    bf16=False,
    report_to="none",
    disable_tqdm=True,
)
shared = dict(train_dataset=card_tickets, processing_class=base.tokenizer)
try:
    SFTTrainer(copy.deepcopy(base), SFTConfig(**settings), **shared)
except ValueError as error:
    print("ValueError:", error)

# %% [markdown]
# The repair is not to switch evaluation off, which is what makes the message go away. It is to give
# an `eval_dataset`. And then ask of *what*: held-out tickets would only tell you about tickets. The
# probe above is the same idea with old-domain items, and with answers instead of losses.

# %%
trainer = SFTTrainer(copy.deepcopy(base), SFTConfig(**settings), eval_dataset=old_rows, **shared)
trainer.remove_callback(PrinterCallback)
loss = trainer.evaluate()["eval_loss"]
print(f"loss on old data before training: {loss:.3f} nats per token")

# %% [markdown]
# ### Errors that `finetune` reports by name
#
# The first three before it trains, the last one at the step where it happens.

# %%
attempts = {
    "no tickets": dict(tickets=[]),
    "a long ticket": dict(tickets=[{"prompt": "Please " * 400, "completion": " Yes."}]),
    "a wrong module": dict(tickets=tickets, target_modules="q_proj"),
    "a rate far too high": dict(tickets=tickets, lr=1e30, rank="full", steps=5),
}
for label, options in attempts.items():
    try:
        finetune(base, **options)
    except (BadTickets, UnknownModules, LossIsNaN) as error:
        print(f"{label}: {type(error).__name__}: {error}\n")

# %% [markdown]
# ## On real GPT-2
#
# Set `MODEL = "gpt2"` in the second cell (this downloads its weights) and run all cells again.
# Expect two differences. GPT-2 was never taught to answer questions, so most suites stand near
# zero, and **a skill that the model lacks cannot be lost**: those rows are not measurable. What
# does make sense on a base model are sentences to finish (the `bare` statements in `facts`) and
# multiple choice, where the answer is the likeliest of a few. And a step takes much longer: GPT-2
# has over thirty times the parameters. This table tells what can be measured on the model you have
# loaded:

# %%
for name in before.results:
    chosen = before.choice_score(name)
    choice = (
        ""
        if chosen is None
        else f"   multiple choice {chosen:3.0f} % (chance {before.chance(name):.0f} %)"
    )
    measurable = before.measurable(name) or before.measurable_by_choice(name)
    verdict = "measurable" if measurable else "not measurable"
    print(f"{name:22} {before.score(name):4.0f} %  {verdict}{choice}")

# %% [markdown]
# > **A note from experience.** The run that hurts is seldom the one that diverges; that one is seen
# > within minutes. It is the run with the good loss curve that ships. Score something the training
# > set does not contain, from the first run on, even if it is only twenty questions.

# %% [markdown]
# ## Exercises
#
# ### 1.1 Count the adapter · easy · 5 minutes
#
# Write `lora_parameters(rank, fan_in, fan_out, layers)`: how many parameters LoRA adds when it
# adapts one matrix of shape `fan_in × fan_out` in each layer. For GPT-2's `c_attn` these are 768
# and 2304, in 12 layers.
#
# <details><summary>Hint</summary>
#
# $A$ has `rank` rows and `fan_in` columns; $B$ has `fan_out` rows and `rank` columns. Then compare:
# what does the recipe's 124,447,488 minus GPT-2's own count come to?
#
# </details>


# %% tags=["exercise"]
def lora_parameters(rank, fan_in, fan_out, layers):
    # BEGIN SOLUTION
    return layers * rank * (fan_in + fan_out)
    # END SOLUTION


check("1.1", lora_parameters)

# %% [markdown] tags=["solution"]
# The recipe's total exceeds GPT-2's own 124,439,808 by 7,680. Rank 8 on `c_attn` adds 294,912, so
# the printed total is far too small; no rank gives 7,680 over twelve layers of this shape.

# %% [markdown]
# ### 1.2 When to stop · medium · 10 minutes
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
# Try it on the run above, with a margin of 20 points. Read the two numbers together, the step and
# its support score: is there a step that is safe *and* has learned something?

# %%
step = last_safe_step(run.probes, watched, margin=20)
print(step, [round(p.scores["support"]) for p in run.probes if p.step == step])

# %% [markdown]
# ### 1.3 The memory of a full fine-tune · medium · 10 minutes
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


check("1.3", state_bytes)

# %% [markdown]
# ## Check your understanding

# %%
quiz("01")

# %% [markdown]
# ## Recap
#
# 1. The printed recipe runs again after three repairs and changes nothing: its few steps at a small
#    rate cannot move a weight far enough. Arithmetic says so before any run does.
# 2. A run that learns its target can lose old skills at the same time, and the training loss does
#    not show it. Probes on held-out old items do, and they tell whether stopping would have helped.
# 3. Float ids, too much memory and an evaluation without data each have one cause. Remove the
#    cause; silencing the message hides the problem.
#
# **Next:** lesson 02 asks *why*: what in the weights collides when a model learns something new.
#
# ## Sources
#
# - McCloskey and Cohen (1989), *Catastrophic interference in connectionist networks*.
# - Hu et al. (2021), *LoRA*, arXiv 2106.09685.
# - Biderman et al. (2024), *LoRA learns less and forgets less*, arXiv 2405.09673: compare runs at
#   equal learning.
# - Loshchilov and Hutter (2017), *Decoupled weight decay regularization* (AdamW), arXiv 1711.05101.
# - The glossary of the course: `docs/GLOSSARY.md`.
