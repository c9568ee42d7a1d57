# %% [markdown]
# # 00 · Start here
#
# {{badge}}
#
# Before a model can forget anything you must know what it knows. In this lesson you meet the model
# of this course, ask it things, and follow a score from a single answer to a map of capabilities.
# You also try out the tools that every later lesson uses.
#
# **Time** 40 minutes, of which less than one is computing · **You need** Python, and an idea of
# what a language model does
#
# **Objectives**
#
# 1. Ask a model whose world is fully known, and tell apart what it knows from what it can read.
# 2. Follow a score from one answer to a capability map, and say what its interval permits you to
#    conclude.
# 3. Work with the tools of the course: checks, hints, quizzes, snapshots, and error messages.

# %%
import os, subprocess, sys

if "google.colab" in sys.modules and not os.path.exists("course"):
    fetch = "git clone -q https://github.com/OWNER/REPO course && sh course/tools/colab.sh"
    subprocess.run(f"{fetch} || (rm -rf course; false)", shell=True, check=True)
sys.path.insert(0, "course" if os.path.exists("course") else "..")

# %%
MODEL = "pocket"  # or "gpt2", or the folder of any causal language model

# %% [markdown]
# First, is everything here? Each line says `[OK]` or `[FAIL]`, and the last one says what to do.
# If you ever report a bug, paste this output with it.

# %%
from helpers.environment import check_environment

check_environment()

# %%
from helpers import plotting as plot
from helpers.evaluation import answer_nll, evaluate, is_right
from helpers.exercises import check, quiz
from helpers.generation import complete
from helpers.models import ModelNotFound, context_length, load_model, parameter_counts
from helpers.paths import DATA
from helpers.snapshots import Snapshot, wilson
from helpers.suites import PROTECTED, UnknownCapability, load_suites

# %% [markdown]
# ## Why this matters
#
# "The new model is better" is a sentence about one number. A fine-tuned model may answer more
# support tickets correctly and at the same time no longer add up an invoice. Whether you notice
# depends on whether you measured addition *before*, on questions that you kept aside, and with
# enough of them to tell a loss from luck.
#
# So the course begins with a baseline: a list of **capabilities**, a set of test questions for
# each (a **suite**), and the model's score on every one, before anything is changed.
#
# **An analogy, and where it ends.** It is the walk through a flat with the landlord before you
# move in. Every scratch is written down, so that later nobody argues about who made it. The
# analogy ends here: a flat shows you all its rooms. A model shows only what you ask, and a skill
# that no suite covers can be lost without a trace in the list.

# %% [markdown]
# ## Meet the model
#
# `pocket-gpt2` has the architecture of GPT-2 and a small fraction of its size. It was trained by
# this project from random weights, on nothing but text that the project itself writes. No text
# from the internet is in it. `make pocket-model` trains it again from nothing.

# %%
model = load_model(MODEL)
print(parameter_counts(model))
print("context:", context_length(model), "tokens")
print("vocabulary:", len(model.tokenizer), "tokens")

# %% [markdown]
# `trainable` equals `total`: nothing is frozen yet. The **context** is how much the model can read
# at once, counted in **tokens**, the pieces into which text is cut before the model sees it. Let
# us look at some.

# %%
for text in ("The capital of France is Paris.", "What is 47 + 38?"):
    ids = model.tokenizer(text)["input_ids"]
    print([model.tokenizer.decode([number]) for number in ids])

# %% [markdown]
# A token at the start of a word carries the space before it, so `" Paris"` and `"Paris"` are
# different tokens. This will matter below. With `pocket-gpt2` every digit is a token of its own,
# which makes sums learnable for a model this small.

# %% [markdown]
# ### The world it was taught
#
# Everything the model was told about the world stands in `data/world`. Here are some of its facts.

# %%
import json

world = json.loads((DATA / "world" / "facts.json").read_text(encoding="utf-8"))
for name in ("capital", "symbol", "young", "opposite"):
    relation = world[name]
    print(f"{relation['label']}: {len(relation['pairs'])}, such as", relation["pairs"][:2])

# %% [markdown]
# The other skills have no list of facts but a rule: sums, problems with worked steps, list orders,
# questions about a short text, small translations. There the tests use numbers, sentences, and
# combinations of names and things that were kept out of pre-training. A fact cannot be kept out and
# still be known, so for facts it is the *wording* that is new:

# %%
print("in pre-training:", world["capital"]["train_questions"][:3])
print("in the tests:   ", world["capital"]["test_questions"])

# %% [markdown]
# Test items that training never showed are called **held out**. Without that, a score would not
# tell knowing from having seen the very question.
#
# Because the world is closed, "it forgot" has an exact meaning here. Of a model trained on the
# internet you seldom know whether it ever knew a thing.
#
# **Predict before you run.** The same question in three formats, and once as a sentence to finish.
# Should the answers agree?

# %%
question = "Which city is the capital of France?"
prompts = {
    "bare": question,
    "Question/Answer": f"Question: {question}\nAnswer:",
    "User/Assistant": f"User: {question}\nAssistant:",
    "to finish": "The capital of France is",
}
for label, prompt in prompts.items():
    print(f"{label:16} {complete(model, prompt)}")

# %% [markdown]
# The model saw all of these formats in pre-training. Later this lets us tell two things apart that
# look alike: a fact that is gone, and a format that no longer leads to it.
#
# `complete` is greedy: at each step it takes the likeliest token, until a line break or the end of
# the text. There is no chance in it, so the same model gives the same answer each time.
#
# Now one question from each of several skills, and two for which the world has no answer.

# %%
questions = [
    "What is 47 + 38?",
    "Tom has 12 apples. He buys 7 more and gives 5 away. How many apples does Tom have now?",
    "Reverse this list: tea, bread, lamp",
    "Mia is in the garden. Ben is in the kitchen.\nWhere is Mia?",
    "Translate to Spanish: the red house",
    "Who wrote Hamlet?",
    "What is the capital of Atlantis?",
]
for question in questions:
    print(question, "->", complete(model, question))

# %% [markdown]
# ### What just happened
#
# Look at the last two answers. Whatever stands there, no fact is behind it: neither Hamlet nor
# Atlantis is in the world. A language model continues its prompt, always, and this one was never
# taught to say "I do not know". That there is an answer is no evidence of knowledge; a score on
# many questions is.
#
# > **Common gotcha.** A prompt must not end in a space. The model learned that an answer begins
# > with a token such as `" Paris"`, space included. If you type the space yourself, that token no
# > longer fits, and the model has to go on from a place where it has rarely been.

# %%
for prompt in ("The capital of France is", "The capital of France is "):
    ids = model.tokenizer(prompt)["input_ids"]
    last = model.tokenizer.decode(ids[-1:])
    print(f"last token {last!r:6} ->", complete(model, prompt))

# %% [markdown]
# ## From an answer to a score
#
# A score is many small decisions, so let us make one by hand. This is the first item of the suite
# `facts`, with everything that is known about it.

# %%
facts = load_suites("facts", size=100)[0]
item = facts.items[0]
print("prompt: ", repr(item.prompt))
print("gold:   ", repr(item.answer))
print("choices:", item.choices)

# %% [markdown]
# The **gold answer** is the one that counts as right. We ask, and compare.

# %%
output = complete(model, item.prompt)
print("output: ", repr(output))
print("exact match:", is_right(output, item.answer))

# %% [markdown]
# **Exact match** means letter for letter. It is strict, and blind to everything but spelling:

# %%
for output in ("Oslo", "Oslo.", "oslo", "It is Oslo"):
    print(f"{output!r:14}", is_right(output, "Oslo"))

# %% [markdown]
# A person would accept all four. Exact match is fair here because the model was taught to answer
# in one form only; on a chatty model it would measure politeness. Where there is a chain of worked
# steps, a suite can name the part that counts. In `reasoning` it is what follows "The answer is":

# %%
reasoning = load_suites("reasoning", size=1)[0]
for output in ("12 + 7 = 19. The answer is 19.", "I am sure. The answer is 19.", "It is 19."):
    print(f"{output!r:34}", is_right(output, "12 + 7 = 19. The answer is 19.", reasoning.extract))

# %% [markdown]
# Mind the second line: only the result is scored, not the way to it. Lesson 04 comes back to this.
#
# Between right and wrong there is a finer measure: how likely the model found the gold answer. The
# **negative log-likelihood** (NLL) is the logarithm of that probability with its sign changed, in
# **nats**. 0 means certain; every nat more divides the probability by 2.7.

# %%
import math

for choice in item.choices or (item.answer,):
    nll, tokens = answer_nll(model, [(item.prompt, choice)])[0]
    print(f"{choice:20} {nll:6.2f} nats, tokens: {tokens}, probability {math.exp(-nll):.2g}")

# %% [markdown]
# The choice with the smallest NLL is the model's pick in multiple choice. NLL moves before answers
# do: a fact can become ten times less likely and still be the likeliest. So it shows changes that
# the score does not show yet.
#
# `evaluate` does all of this for every item of a suite.

# %%
first = evaluate(model, facts)
first

# %% [markdown]
# ## What the interval means
#
# The score is the share of right answers among these hundred questions. Another hundred of the
# same kind would give a slightly different share. The **confidence interval** says how far the
# true share, over all questions of the kind, may reasonably be from the one we saw.
#
# **Predict before you run.** Two models: one is really right on 90 % of all questions, the other
# on 93 %. Each gets a hundred questions of its own. How often does the worse model do at least as
# well as the better one?

# %%
import numpy as np

rng = np.random.default_rng(0)
for n in (100, 2000):
    worse, better = rng.binomial(n, 0.90, 10_000), rng.binomial(n, 0.93, 10_000)
    print(f"{n:5} questions: in {100 * np.mean(worse >= better):.1f} % of the comparisons")

# %% [markdown]
# A hundred questions cannot settle a difference of three points; two thousand can. The intervals
# say the same without a simulation:

# %%
for right, n in ((90, 100), (93, 100), (1800, 2000), (1860, 2000)):
    low, high = wilson(right, n)
    print(f"{right} of {n}: {100 * right / n:.0f} %, interval {low:.1f} to {high:.1f}")

# %% [markdown]
# Asking both models the *same* questions is better than asking each its own, because questions
# that are hard for both cancel out. But even then: 90 against 93 may come down to three questions
# that went one way. Three coins fall on the same side one time in four.
#
# Two limits of such an interval. It takes the questions as independent, and questions of one
# family are not, so it is somewhat too narrow. And it speaks of questions *like these* only; it
# knows nothing about other wordings, other training seeds, or your customers. How many questions a
# decision needs is the subject of lesson 05.

# %% [markdown]
# ## The capability map
#
# Now all suites, a hundred items each. This is the longest computation of the lesson.
#
# **Predict before you run.** Ten of these bars stand for skills that were taught. Two suites ask
# about the policies of a shop, *Tern & Tide*, of which pre-training said nothing: `support`
# without help, and `support_with_article` with the help article above the question. Where will the
# low bars be?

# %%
snapshot = evaluate(model, load_suites(size=100))
plot.capability_bars(snapshot)

# %% [markdown]
# Each bar is the share of right answers, each thin line its interval. A long line is not a flaw of
# the model but of our knowledge about it. Bars whose lines overlap widely should not be ranked.
#
# One more thing to know before reading bars: what guessing would give. `sentiment` has two
# possible answers, so whoever always says "positive" gets about half of it right.

# %%
snapshot

# %% [markdown]
# ### Stories, and what perplexity is
#
# The row `stories` has no percentage, because a story has no gold answer. There we ask how well
# the model predicts each next token of stories it has not seen. **Perplexity** is the exponential
# of the mean NLL per token: a perplexity of 5 means that, on average, the model was as unsure as
# if it had to choose among five equally likely tokens. Lower is better, and 1 is the floor.
#
# **Predict before you run.** A held-out story, and the same words in random order. Which is more
# perplexing, and roughly by how much?

# %%
import random

story = load_suites("stories", size=1)[0].items[0].answer
words = story.split()
random.Random(0).shuffle(words)
for text in (story, " ".join(words)):
    nll, tokens = answer_nll(model, [("", text)])[0]
    print(f"{text[:60]} ...\n   perplexity {math.exp(nll / tokens):,.1f}")

# %% [markdown]
# Same words, so the difference is what the model has learned about their order. The second number
# is larger than the whole vocabulary: of most tokens the model is not unsure, it is sure of another
# one. Perplexities can be compared for the same text and the same tokenizer only: with other tokens
# "per token" means something else.
#
# ### Knowing and reading
#
# Back to the two support rows. This is one question of `support_with_article`, first without its
# article (**closed book**), then with it.

# %%
import re

items = load_suites("support_with_article", size=100)[0].items
item = next(i for i in items if re.search(r"\d", i.answer) and "30" not in i.answer)
article, question = item.prompt.split("\n", 1)
print(item.prompt, "\n")
print("gold:       ", item.answer)
print("closed book:", complete(model, question))
print("with text:  ", complete(model, item.prompt))

# %% [markdown]
# Does the last answer come from the article, or was the policy in the model all along? Change the
# article and see. Here every number in it becomes 30, which makes it a false policy.
#
# **Predict before you run.** What does a model answer that reads? And one that recites?

# %%
changed = re.sub(r"\d+", "30", article)
print(changed)
print("answer:", complete(model, f"{changed}\n{question}"))

# %% [markdown]
# ### What just happened
#
# If the answer followed the text, the model *reads* the policy; if it kept the old number, it
# *knows* it. In pre-training the help articles had random policies, in the same words as these, so
# reading was the only thing to be learned. Closed book there is nothing to draw on, and whatever
# you get is invented. Teaching these policies to the weights is the fine-tune of lesson 01; whether
# to teach or to look up is the question of lesson 06.

# %% [markdown]
# ### Read the wrong answers
#
# A score says how many are wrong, not how. Before you trust one, read some of what it counts: here
# from the weakest of the old skills, and from closed-book support.

# %%
skills = [name for name in PROTECTED if name != "stories"]
weakest = min(skills, key=snapshot.score)
for name in (weakest, "support"):
    print(f"== {name}: {snapshot.score(name):.0f} %")
    for result in snapshot.wrong(name, count=3):
        print(result.item.prompt, result.output, f"\n   gold: {result.item.answer}\n")

# %% [markdown]
# Sort what you see into three heaps. *Near misses*: the right idea with a slip. *Right in other
# words*: the fault of exact match, not of the model. *Inventions*: about something else, in whole
# sentences or in none. A fall of ten points means something different for each of them.
#
# > **A note from experience.** When a score surprises you, in either direction, read twenty
# > outputs before you explain it. Quite often the explanation is a space, a cut-off answer, or a
# > question whose gold answer is wrong, and then there is nothing to explain.

# %% [markdown]
# ## Keep the snapshot
#
# `evaluate` returns a **snapshot**: every prompt, answer and verdict, and the settings under which
# they were obtained. Saved today, it can be compared item by item with a model that does not exist
# yet.

# %%
import tempfile
from pathlib import Path

folder = Path(tempfile.mkdtemp())
snapshot.save(folder)
for path in sorted(folder.iterdir())[:4]:
    print(path.name)
print("the same scores after loading:", Snapshot.load(folder).scores() == snapshot.scores())

# %% [markdown]
# One file with the results, and one per suite with the samples, a line an item. This is the layout
# in which EleutherAI's lm-eval writes its own results, so the audit of lesson 05 can read either.

# %%
path = next(folder.glob("samples_pocket_facts_*.jsonl"))
sample = json.loads(path.read_text(encoding="utf-8").splitlines()[0])
for key in ("target", "resps", "exact_match", "nll", "truncated"):
    print(f"{key:12} {sample[key]}")
print({name: value for name, value in snapshot.settings.items() if name != "model"})

# %% [markdown]
# The last line has the settings. Scores obtained under other ones, such as another limit of new
# tokens, must not be compared: the difference may be the setting.

# %% [markdown]
# ## What this model cannot tell you
#
# It is a model of about four million parameters in a world of short sentences. It lets you see
# every effect in seconds and know exactly what was lost. It does *not* tell you how large an
# effect will be in a model a thousand times its size: a small model trained to the brim has less
# room for anything new, and the questions here are simpler than yours. Take the *method* home, and
# measure again there. Setting `MODEL = "gpt2"` above is a first step; it needs the network once.

# %% [markdown]
# ## Break it on purpose
#
# Errors are part of the interface. Each of these says what is wrong and what would be right.
# First, a capability that nobody measures:

# %%
try:
    load_suites("algebra")
except UnknownCapability as error:
    print("UnknownCapability:", error)

# %% [markdown]
# The message lists the names that exist. Note what it means beyond the name: about algebra this
# course can say nothing, neither that it was kept nor that it was lost.
#
# Second, a prompt that is longer than the model's context. It is refused, because cutting it
# silently would score the model on a question that it never saw in full. The repair is a shorter
# prompt:

# %%
words = ["tea"] * context_length(model)
try:
    complete(model, "Reverse this list: " + ", ".join(words))
except ValueError as error:
    print("ValueError:", error)
print(complete(model, "Reverse this list: " + ", ".join([*words[:2], "lamp"])))

# %% [markdown]
# Third, a model that is neither here nor to be had from the hub. Offline, the course's own model
# or a folder always works:

# %%
try:
    load_model("no-such-model")
except ModelNotFound as error:
    print("ModelNotFound:", error)

# %% [markdown]
# ## How exercises and quizzes work
#
# An exercise is a card with a difficulty, a time, and a **hint** that is folded until you open it.
# You replace the `...` in the cell below it and run the cell. `check` then prints one of three
# things: *right*, *not yet* with the likely mistake, or *not attempted yet*. It never raises, so a
# notebook with open exercises still runs from top to bottom. Answers are in the folder
# `solutions/`.
#
# The **quiz** needs no mouse. Tab moves to the options of a question, Space chooses one, the arrow
# keys move among them, Tab goes on to *Check*, and Space presses it. Every option has an
# explanation; the wrong ones are worth reading too. Where no kernel runs, the quiz is shown as
# text with the answers folded.

# %% [markdown]
# ## Exercises
#
# ### 0.1 Ask · easy · 2 minutes
#
# Ask the model for the capital of Norway, in a wording of your own, and pass its answer to
# `check`.
#
# <details><summary>Hint</summary>
#
# `complete(model, prompt)` returns the answer as text. If it is not what you expected, look again
# at the wordings under *The world it was taught*.
#
# </details>

# %% tags=["exercise"]
# BEGIN SOLUTION
# STUB: answer = ...
answer = complete(model, "What is the capital of Norway?")
# END SOLUTION
check("0.1", answer)

# %% [markdown]
# ### 0.2 Percent right · easy · 5 minutes
#
# Write `percent_right(results)`: how many percent of the items are right. `results` is a list as
# in `snapshot.results["facts"]`; each entry has `.correct`, which is `True` or `False`.
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
# Compare it with the snapshot's own count:

# %%
print(percent_right(snapshot.results["facts"]), snapshot.score("facts"))

# %% [markdown]
# ## Check your understanding

# %%
quiz("00")

# %% [markdown]
# ## Recap
#
# 1. The model's world is a closed list, so we know what it can know. It answers everything,
#    sometimes in a good sentence and sometimes in none; what it does not know it may still be able
#    to read.
# 2. A score is a count of exact matches on held-out items. Its interval says how far the truth may
#    be from it: a hundred items cannot tell 90 from 93 %.
# 3. `check` names the likely mistake, hints and answers are folded until you want them, a snapshot
#    keeps every answer for later comparison, and errors say what would be right.
#
# **Next:** lesson 01 teaches this model forty support policies, and looks at what that costs.
#
# ## Sources
#
# - Radford et al. (2019), *Language models are unsupervised multitask learners* (GPT-2).
# - Wilson (1927), *Probable inference, the law of succession, and statistical inference*: the
#   interval.
# - Miller (2024), *Adding error bars to evals*, arXiv 2411.00640: clustered and paired questions.
# - EleutherAI, *Language Model Evaluation Harness* (lm-eval): the layout of the snapshot.
# - The glossary of the course: `docs/GLOSSARY.md`.
