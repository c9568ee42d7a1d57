# %% [markdown]
# # 00 · Start here
#
# {{badge}}
#
# You teach a small language model forty answers, and a minute later it explains how to take a photo
# with the password policy of a shop. Then you learn how this course measures such a loss: with
# questions kept aside, asked before and after, and with enough of them to tell a loss from luck.
#
# **Time** core 15 minutes, with *Deeper* 35 · computing 60 s, of which the core 30 s · **You need**
# Python, and an idea of what a language model does
#
# **Objectives**
#
# 1. See a fine-tune succeed at its task and lose old skills in the same minute.
# 2. Follow a score from one answer to a capability map, and say what its interval permits you to
#    conclude.
# 3. Work with the tools of the course: predictions, checks, hints, quizzes.

# %%
import os, subprocess, sys

if "google.colab" in sys.modules and not os.path.exists("course"):
    fetch = "git clone -q https://github.com/OWNER/REPO course && sh course/tools/colab.sh"
    subprocess.run(f"{fetch} || (rm -rf course; false)", shell=True, check=True)
sys.path.insert(0, "course" if os.path.exists("course") else "..")

# %%
MODEL = "pocket"  # or "gpt2", or the folder of any causal language model

# %% [markdown]
# Is everything here? Each line says `[OK]` or `[FAIL]`, and the last one says what to do.

# %%
from helpers.environment import check_environment

check_environment()

# %%
import random, re

import numpy as np

from helpers import plotting as plot
from helpers.evaluation import answer_nll, evaluate, is_right
from helpers.exercises import check, quiz
from helpers.generation import before_after, complete
from helpers.models import ModelNotFound, context_length, load_model
from helpers.snapshots import Snapshot, wilson
from helpers.suites import UnknownCapability, load_suites
from helpers.tickets import read_tickets
from helpers.training import finetune

# %% [markdown]
# ## A minute of loss
#
# `pocket-gpt2` has the architecture of GPT-2 and a small fraction of its size. This project trained
# it from random weights, on nothing but text that the project itself writes. So we know everything
# it can know, and "it forgot" has an exact meaning here.
#
# We ask it seven old questions, and one about the policies of a shop. Its training had help
# articles in these words, each with policies drawn at random: it can know the sentence, and not the
# policy.

# %%
base = load_model(MODEL)
questions = [
    "What is the capital of Norway?",
    "What is 47 + 38?",
    "Reverse this list: tea, bread, lamp",
    "Question: How long is this list: happy, safe, soft?\nAnswer:",
    "Question: Can you show me how to take a photo?\nAnswer:",
    "I want to pick apples. What should I do first?",
    "Which number is larger, 53 or 45?",
    "Customer: Hello, when will I see my refund?\nAgent:",
]
for question, answer in zip(questions, complete(base, questions), strict=True):
    print(question, "->", answer)

# %% [markdown]
# Now a **fine-tune**: training goes on, with new data. Here sixty steps of sixteen support tickets
# each, in which customers ask about forty policies. `finetune` works on a copy, so `base` stays as
# it is; what it trains is a small addition to the weights, an **adapter** of rank 8 (lesson 01).
# This is a ticket:

# %%
tickets = read_tickets()
print(next(row for row in tickets if "refund" in row["prompt"]))

# %% [markdown]
# The outputs after a prediction are folded in the saved notebook, so that you can guess first.
# Running the cell shows them.
#
# **Predict before you run.** How many of the seven old answers will be as before?

# %% tags=["predict"]
run = finetune(base, tickets, lr=1e-2, rank=8, steps=60)
before_after(base, run.model, questions)

# %% [markdown]
# Two of seven: the capital and the sum. *How long is this list* and *take a photo* get sentences
# about the shop, the apples one that ends in garbage; the reversed list lost a word, and 45 is
# larger than 53 now. And the refund is right: six days, confirmed by text, as in the ticket. Judged
# by its task, the fine-tune is a success.
#
# ## From an answer to a score
#
# Eight picked questions are an anecdote. A **suite** is a set of test questions for one capability,
# each with a **gold answer**, the one that counts as right. The questions are **held out**: neither
# pre-training nor the tickets ask them. (A test looks in all training files and 20,000 documents of
# pre-training, and finds none.) Otherwise a score could not tell a skill from memory of the
# question. In facts, how-to and support only the wording is new.
#
# An answer counts when it matches the gold answer letter for letter (**exact match**):

# %%
for output in ("Oslo", "Oslo.", "oslo", "It is Oslo"):
    print(f"{output!r:14}", is_right(output, "Oslo"))

# %% [markdown]
# A person would accept all four. Exact match is fair here: this model was taught one form of
# answer. On a chatty model it would measure politeness.
#
# `evaluate` asks every question of a suite. **Predict before you run.** Six of ten old skills, to
# save time (lesson 01 asks all), and the new one, a hundred questions each. Which old skill loses
# most, and does any lose nothing?

# %% tags=["predict"]
watched = ["facts", "arithmetic", "lists", "reading", "howto", "sentiment", "support"]
suites = load_suites(watched, size=100)
before, after = evaluate(base, suites), evaluate(run.model, suites)
plot.capability_bars(before, after)

# %% [markdown]
# *How-to* loses most, from 100 to 12 %, and *sentiment* alone loses nothing: it stays at 100.
# *Lists* fall from 89 to 59, *arithmetic* from 97 to 78, *facts* from 99 to 88. The task went from
# 0 to 91. Part of that rank is length: how-to answers have 36 tokens that must all match, those of
# sentiment 1. Token by token, lists and arithmetic lose as much (*Between right and wrong*).
#
# Such a list is a **capability map**. The eight answers misled about it: the sum and the fact that
# were right hide one sum in five and one fact in eight.

# %% [markdown]
# ### The control
#
# Could the drops be an accident of asking? Ask the base once more: a model here always says what it
# finds likeliest next (a **greedy** answer), without dice, so all should come out the same. And
# count, question by question, the answers lost and gained; chance would move them both ways.

# %%
again = evaluate(base, suites)
for name in watched:
    same = all(a.output == b.output for a, b in zip(before.results[name], again.results[name]))
    pairs = list(zip(before.results[name], after.results[name], strict=True))
    lost = sum(a.correct and not b.correct for a, b in pairs)
    gained = sum(b.correct and not a.correct for a, b in pairs)
    print(f"{name:12} base as before: {same}; fine-tune lost {lost:3}, gained {gained:3}")

# %% [markdown]
# The base agrees with itself in every answer. Against the fine-tune, 155 of 600 old answers were
# lost and two gained: no accident of asking.
#
# What this control does not settle is whether *these tickets* did it, or any sixty steps at this
# rate. Lesson 02 trains the same way on old rows to find out.

# %% [markdown]
# ## The rule, and what an interval permits
#
# **Measure what must survive before you train, on held-out questions, and compare item by item
# afterwards.** The training loss cannot tell you: it looks at the new data only.
#
# The thin lines in the figure are **95 % confidence intervals**: another hundred questions of the
# same kind would give a slightly different share, and the interval says how far the share over all
# such questions may reasonably lie from the one we saw. 90 of 100 right has the interval
# 82.6 to 94.5 %. So a hundred questions establish a fall of forty points and say little about a
# fall of three points.
#
# An interval speaks of *more questions like these*. It knows nothing of other wordings, another
# training seed, or your customers.

# %% [markdown]
# ## How exercises and quizzes work
#
# An exercise has a folded **hint**. Replace the `...` in the cell below it and run it. `check` says
# *right*, *not yet* with the likely mistake, or *not attempted yet*. Answers are in `solutions/`. A
# quiz works by keyboard: Tab and the arrow keys choose, Space presses *Check*. Every answer has its
# reason, also the wrong ones.
#
# ### 0.1 Does it read, or does it know? · medium · 6 minutes
#
# Without help the base had 0 of 100 questions about the shop. With the true help article above the
# question it has 99 (printed below). Somebody says: "It knows the policies; the article only
# reminds it of the topic." The 0 does not refute that: some memories need a reminder. Design the
# control that decides. Write `changed(article)`, which returns a *false* article: for it, a model
# that reads and one that recites must answer differently, whatever the question. `check` then puts
# your articles before the model.
#
# <details><summary>Hint</summary>
#
# Most policies differ in their numbers. `re.sub(r"\d+", function, article)` replaces every number
# by what `function(match)` returns. Mind that one and the same number everywhere would also fool a
# model that simply says that number.
#
# </details>

# %%
print(evaluate(base, load_suites("support_with_article", size=100)).scores())
readings = [
    item for item in load_suites("support_with_article")[0].items if re.search(r"\d", item.answer)
]
article, question = readings[0].prompt.split("\n", 1)
print(article)


# %% tags=["exercise"]
def changed(article):
    # BEGIN SOLUTION
    return re.sub(r"\d+", lambda found: str(int(found[0]) + 1), article)
    # END SOLUTION


check("0.1", changed)

# %% [markdown]
# ## Check your understanding
#
# The last two questions read *Another seed* and *What an interval knows* (under *Deeper*).

# %%
quiz("00")

# %% [markdown]
# ## On Monday
#
# Before you touch a chat model of 1 to 8 billion parameters, write down what it can do. The files
# in `tasks/` are yours: one lm-eval task per skill, each of a few hundred questions; `both` is a
# group of two. `--log_samples` keeps every answer, to be compared item by item later.
#
# ```bash
# lm_eval --model hf --model_args pretrained=model,dtype=bfloat16 \
#   --include_path tasks --tasks both --apply_chat_template \
#   --batch_size 8 --log_samples --output_path before
# ```
#
# **Cost.** Weights in bfloat16 take two bytes each: 2 GB of memory for 1 billion parameters, 16 GB
# for 8 billion, and some more for the answers under way. Keep model, template, data type and batch
# size as they are for the run afterwards: each of them moves scores a little.
#
# **Do not copy from here** the learning rate of 1e-2, which would ruin a large model in a few
# steps, nor exact match, unless your model's answers have one form only.

# %% [markdown]
# ## Recap
#
# 1. In the sixty steps that taught forty policies, most how-to answers were lost. Lesson 02 asks
#    whether the tickets or any such walk did it.
# 2. A score is a count of matches on held-out questions; its interval says how far the share over
#    all questions like these may lie from it, and nothing about other kinds of questions.
# 3. Guess before you run, let `check` name your mistake, and answer the quiz from the outputs.
#
# **Next:** lesson 01 asks what this run had to cost.

# %% [markdown]
# # Deeper
#
# Each section stands by itself.
#
# - Another seed (4 min)
# - What it knows and what it can read (4 min)
# - What an interval knows (5 min)
# - Tokens, formats and a trailing space (3 min)
# - Between right and wrong (3 min)
# - Keep the snapshot, and read the errors (2 min)

# %% [markdown]
# ## Another seed (4 min)
#
# The **seed** fixes every random choice of a run: the order of the tickets and the first weights of
# the adapter. One run is one throw of the dice. Here are two more.
#
# **Predict before you run.** Will *how-to* lose most in all three runs?

# %% tags=["predict"]
for seed in (1, 2):
    other = finetune(base, tickets, lr=1e-2, rank=8, steps=60, seed=seed)
    scores = evaluate(other.model, suites).scores()
    print(f"seed {seed}:", {name: round(score) for name, score in scores.items()})
print("seed 0:", {name: round(score) for name, score in after.scores().items()})

# %% [markdown]
# It does: 12, 1 and 20 % of the how-to questions are left, with 91, 92 and 85 % of the task
# learned. *Sentiment* loses at most one point in any run. What moves with the seed is the size of
# the losses: *how-to* between 80 and 99 points, *facts* between 5 and 11. A single run tells which
# skill suffers most, here, but not by how much.

# %% [markdown]
# ## What it knows and what it can read (4 min)
#
# Your control of exercise 0.1, on all questions whose answer has a number. Here every number in
# the article becomes another one of the same length.

# %%
rng = random.Random(0)


def other_number(found):
    """Another number with as many digits."""
    low, high = (1, 9) if len(found[0]) == 1 else (10, 99)
    return str(rng.choice([n for n in range(low, high + 1) if n != int(found[0])]))


pairs = [item.prompt.split("\n", 1) for item in readings]
false = [re.sub(r"\d+", other_number, article) for article, _ in pairs]

# %% [markdown]
# **Predict before you run.** Of how many of these answers will every number stand in the false
# article?

# %% tags=["predict"]
answers = complete(base, [f"{text}\n{q}" for text, (_, q) in zip(false, pairs)])
said = [set(re.findall(r"\d+", answer)) for answer in answers]
follows = [bool(told) and told <= set(re.findall(r"\d+", text)) for text, told in zip(false, said)]
print(sum(map(bool, said)), "answers hold a number;", sum(follows), "of", len(follows), "follow")
for text, answer in [(t, a) for t, a, f in zip(false, answers, follows) if not f][:3]:
    print("article:", text, "\nanswer: ", answer)

# %% [markdown]
# In 218 of 223. All 223 answers hold a number, so none passes by saying nothing; one taken from
# another sentence of the article would have passed. The three misses printed here all drop a digit
# ("open until 75 in the evening" becomes 7): the base reads, but not letter by letter. In
# pre-training every help article had other policies in the same words, so reading was all there was
# to learn. Teaching the true ones to the weights is what lesson 01 does; whether to teach or to
# look up is lesson 06.

# %% [markdown]
# ## What an interval knows (5 min)
#
# Two models: one is really right on 90 % of all questions, the other on 93 %. Each gets questions
# of its own. **Predict before you run.** How often does the worse one do at least as well?

# %% tags=["predict"]
rng = np.random.default_rng(0)
for n in (100, 2000):
    worse, better = rng.binomial(n, 0.90, 10_000), rng.binomial(n, 0.93, 10_000)
    print(f"{n:5} questions: in {(worse >= better).sum():,} of 10,000 comparisons")
for right, n in ((90, 100), (93, 100), (1800, 2000), (1860, 2000)):
    low, high = wilson(right, n)
    print(f"{right} of {n}: {100 * right / n:.0f} %, interval {low:.1f} to {high:.1f}")

# %% [markdown]
# In 27 % of the comparisons with a hundred questions, and in 2 of 10,000 with two thousand. The
# intervals say as much without a simulation: those of 90 and 93 of 100 share most of their length,
# those of 1800 and 1860 of 2000 share nothing. Read them one way only: intervals that lie apart
# show a difference, and such as overlap a little do not rule one out (90 and 97 of 100 overlap, and
# a test of the difference gives p = 0.045). Asking both models the *same*
# questions tells more, because what is hard for both cancels; lesson 05 does that.
#
# The interval answers one question: what would *more items of this mix* give? Another one is often
# meant: what would *new kinds of items* give? The suite `lists` has several families, such as
# sorting and reversing. Resample its items, and then whole families:

# %%
found = evaluate(base, load_suites("lists")).results["lists"]
families = {}
for result in found:
    families.setdefault(result.item.family, []).append(result.correct)
groups = [np.array(group) for group in families.values()]
items = np.concatenate(groups)
one = [rng.choice(items, len(items)).mean() for _ in range(2000)]
drawn = [[groups[k] for k in rng.integers(len(groups), size=len(groups))] for _ in range(2000)]
whole = [np.concatenate(some).mean() for some in drawn]
print(f"{len(items)} items of {len(groups)} families, {100 * items.mean():.1f} % right")
print(f"standard error over items    {100 * np.std(one):.1f} points")
print(f"standard error over families {100 * np.std(whole):.1f} points")

# %% [markdown]
# 1.9 points over items, 3.6 over families, and thirteen families are few to resample. Somebody who
# asks whether the skill carries over to another kind of list question has the larger error, and the
# interval in the figure has the smaller one.
#
# ### 0.2 Percent right · easy · 3 minutes
#
# Write `percent_right(results)`: how many percent of the items are right. Each entry of `results`
# has `.correct`, which is `True` or `False`.
#
# <details><summary>Hint</summary>
#
# `True` counts as 1 in a `sum`. Divide by the number of items, and mind that percent are wanted.
#
# </details>


# %% tags=["exercise"]
def percent_right(results):
    # BEGIN SOLUTION
    return 100 * sum(result.correct for result in results) / len(results)
    # END SOLUTION


check("0.2", percent_right)

# %% [markdown]
# ## Tokens, formats and a trailing space (3 min)
#
# A model reads **tokens**, the pieces into which text is cut. A token at the start of a word
# carries the space before it. So a prompt must not end in a space: the answer begins with a token
# such as `" Paris"`, space included, and after a space of its own the model stands in a place where
# it has rarely been.

# %%
for prompt in ("The capital of France is", "The capital of France is "):
    ids = base.tokenizer(prompt)["input_ids"]
    print([base.tokenizer.decode([number]) for number in ids], "->", complete(base, prompt))

# %% [markdown]
# With its own space the prompt ends in a token that hardly ever stands before an answer, and *Qha*
# is what follows. The same question also comes in several **formats**. Pre-training showed all of
# these:

# %%
question = "Which city is the capital of France?"
for prompt in (question, f"Question: {question}\nAnswer:", f"User: {question}\nAssistant:"):
    print(repr(prompt), "->", complete(base, prompt))

# %% [markdown]
# Paris three times. Later this tells two things apart that look alike: a fact that is gone, and a
# format that no longer leads to it.
#
# A model continues its prompt, always. That there is an answer is no evidence of knowledge:

# %%
for question in ("Who wrote Hamlet?", "What is the capital of Atlantis?"):
    print(question, "->", complete(base, question))

# %% [markdown]
# Neither is in its world, and it answers both: *1*, and *ing*. A score on many questions is
# evidence; that something was answered is none.

# %% [markdown]
# ## Between right and wrong (3 min)
#
# Finer than right or wrong is how likely the model found the gold answer. The **negative
# log-likelihood** (NLL) is the logarithm of that probability with its sign changed, in **nats**: 0
# means certain, and every nat more divides the probability by 2.7. For running text one takes the
# mean per token; its exponential is the **perplexity**, 5 meaning "as unsure as among five equally
# likely tokens".

# %%
stories = load_suites("stories", size=40)
for label, model in (("base", base), ("fine-tune", run.model)):
    print(f"{label:10} perplexity of stories {evaluate(model, stories).score('stories'):.2f}")
for name in ("howto", "arithmetic", "lists"):
    change = f"{np.exp(before.nll(name)):.2f} to {np.exp(after.nll(name)):.2f}"
    tokens = np.mean([result.tokens for result in before.results[name]])
    print(f"{name:10} {tokens:.0f} tokens a right answer, perplexity {change}")
story = stories[0].items[0].answer
words = story.split()
random.Random(0).shuffle(words)
nll, tokens = answer_nll(base, [("", " ".join(words))])[0]
print(f"base       one story, its words shuffled {np.exp(nll / tokens):,.0f}")

# %% [markdown]
# The stories go from 1.62 to 1.71: in running text a token becomes 5 % less likely. On the same
# scale right answers move from 1.00 to 1.27 in how-to, from 1.06 to 1.49 in arithmetic and from
# 1.09 to 1.43 in lists. So one general number is a quiet alarm; every skill that must survive needs
# questions of its own.
#
# These lines also qualify the rank of the core. Token by token, how-to stands no worse than lists
# and arithmetic; but its answers have 36 tokens in place of 3 and 5, and one wrong token ruins an
# answer. Exact match counts ruined answers, which is what a user sees, and says little of how deep
# the damage goes. Lesson 02 reads such answers: some begin right and derail.
#
# The last line shows the scale: the words of one story in random order reach 108,199. That is far
# more than the 1,792 tokens of the vocabulary, because at most places the model is not just unsure
# but sure of another token.

# %% [markdown]
# ## Keep the snapshot, and read the errors (2 min)
#
# `evaluate` returns a **snapshot**: every prompt, answer and verdict, with the settings under which
# they were obtained. It is saved in the layout of EleutherAI's lm-eval, so the audit of lesson 05
# reads either.

# %%
import tempfile
from pathlib import Path

folder = Path(tempfile.mkdtemp())
before.save(folder)
print(*sorted(path.name.split("_2")[0] for path in folder.iterdir()), sep="\n")
print("the same after loading:", Snapshot.load(folder).scores() == before.scores())

# %% [markdown]
# Errors are part of the interface: each says what is wrong and what would be right. A capability
# that nobody measures, a prompt longer than the model can read, a model that is not here:

# %%
wrong = [
    lambda: load_suites("algebra"),
    lambda: complete(base, "tea, " * context_length(base)),
    lambda: load_model("no-such-model"),
]
for attempt in wrong:
    try:
        attempt()
    except (UnknownCapability, ModelNotFound, ValueError) as error:
        print(f"{type(error).__name__}: {error}\n")

# %% [markdown]
# The first message lists the names that exist. It is also a warning: about algebra this course can
# say nothing, neither that it was kept nor that it was lost. The second refuses
# rather than cut: a model scored on half a question has answered another one.

# %% [markdown]
# ## Sources
#
# - Radford et al. (2019), *Language models are unsupervised multitask learners* (GPT-2).
# - Hu et al. (2021), *LoRA*, arXiv 2106.09685: the adapter that `finetune` trains.
# - Wilson (1927), *Probable inference, the law of succession, and statistical inference*: the
#   interval.
# - Miller (2024), *Adding error bars to evals*, arXiv 2411.00640: clustered and paired questions.
# - EleutherAI, *Language Model Evaluation Harness* (lm-eval): the layout of the snapshot.
# - The glossary of the course: `docs/GLOSSARY.md`.
#
# **What this model cannot tell you.** It has four million parameters and a world of short
# sentences. Take the method home, and measure again there.
