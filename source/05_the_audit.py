# %% [markdown]
# # 05 · The audit
#
# {{badge}}
#
# A fine-tune is finished, its own metric is excellent, and somebody asks: may we ship it? This
# lesson turns the question into a procedure. You write down what the model must still be able to
# do, plan how many items that takes, capture a baseline, fine-tune, compare, and get one of three
# answers: yes, no, or *these items cannot tell*. The tool that does it, `helpers.audit`, works on
# your own models and on the files lm-eval writes.
#
# **Time** 60 minutes, of which one and a half are computing · **You need** lesson 01; lesson 03
# helps
#
# **Objectives**
#
# 1. Write a capability map with margins, and plan the items it needs, before seeing any result.
# 2. Read a verdict: why "not significant" is not safe, and what "cannot tell" asks of you.
# 3. Run the gate on files from other tools, as a step that can block a merge, and say how often it
#    errs.

# %%
import os, subprocess, sys

if "google.colab" in sys.modules and not os.path.exists("course"):
    fetch = "git clone -q https://github.com/OWNER/REPO course && sh course/tools/colab.sh"
    subprocess.run(f"{fetch} || (rm -rf course; false)", shell=True, check=True)
sys.path.insert(0, "course" if os.path.exists("course") else "..")

# %%
import tempfile
from pathlib import Path

import torch

from helpers import audit as gate
from helpers.evaluation import evaluate
from helpers.exercises import check, quiz
from helpers.models import base_view, load_model
from helpers.suites import load_suites
from helpers.tickets import SUPPORT, mix, read_tickets
from helpers.training import finetune
from helpers.widgets.power import PowerLab

# %% [markdown]
# ## Why this matters
#
# "Block the release at minus two points of MMLU" is a rule one hears. It has no source, and it
# lacks half of what a rule needs: how many items stand behind the two points, and what happens when
# they cannot tell two points from none. A gate that looks for *significant* drops has an even worse
# fault. The fewer items it gets, the more it lets through: with ten items even five lost answers
# and none gained are not significant.
#
# **An analogy, and where it ends.** A bridge is not released because no crack was found on the
# first look. It is released when an inspection that *would have found* a dangerous crack found
# none. The margin is the crack that would be dangerous, the number of items is how closely one
# looks. The analogy ends at the bridge: a crack is a crack, while a model may lose one skill and
# gain another, and you decide which of them your users pay for.

# %% [markdown]
# ## Phase 1: before the training
#
# ### What must it still do?
#
# A **capability map** is a short file that a product owner can read. Each category names a task,
# its role, and a **margin**: how many points may be lost before users are hurt. Write it before any
# result exists; a margin chosen afterwards always fits.

# %%
MAP = """\
version: 1
alpha: 0.05          # accepted chance of shipping a loss beyond a margin
power: 0.8           # wished chance of a verdict
categories:
  lists:      {task: pocket_lists, margin: 5, min_items: 300}
  howto:      {task: pocket_howto, margin: 5, min_items: 300}
  support:    {task: pocket_support, role: target, min_score: 85, layer: business}
"""
capability_map = gate.CapabilityMap.parse(MAP, "map.yaml")
for category in capability_map.categories:
    print(f"{category.name:11} {category.role:10} margin {category.margin}")

# %% [markdown]
# `protected` categories must not drop beyond their margins, the `target` must reach its goal, and
# what is on `watch` is only reported. The course's own map, with all of its skills, is
# `data/capability_map.yaml`.
#
# **Break it on purpose.** A gate that misreads its rules is worse than none. So a map is read
# strictly, and what is wrong is named with its line:

# %%
for wrong in ("margn: 5", "margin: five", "role: sacred"):
    text = f"version: 1\ncategories:\n  lists:\n    {wrong}\n"
    try:
        gate.CapabilityMap.parse(text, "map.yaml")
    except gate.BadMap as error:
        print(error)

# %% [markdown]
# ### How many items does a margin need?
#
# The two models answer the *same* items, so only those count whose answer changes between right
# and wrong. The share of changed answers is the **discordance**. Ten percent is a fair guess until
# the first audit has measured it.
#
# **Predict before you run.** A margin of five points needs some three hundred items. How many does
# a margin of two need: twice as many, or more?

# %%
for margin in (10, 5, 3, 2, 1):
    print(f"margin {margin:2} points: {gate.items_needed(margin):5,} items")

# %% [markdown]
# The number grows with the *square* of one over the margin, a little more slowly where the number
# is small. For two points it is beyond a thousand. So the rule with which we began can be planned:
# MMLU has 14,042 questions, which is plenty, while five hundred of them, a common shortcut, are
# not.

# %%
for items in (500, 14_042):
    harmless, _ = gate.chances(items, margin=2, drop=0)
    harmful, blocked = gate.chances(items, margin=2, drop=4)
    print(f"{items:6,} items, margin 2: a harmless model passes in {harmless:.0%} of audits,")
    print(f"        one that lost 4 points is blocked in {blocked:.0%}, passes in {harmful:.1%}")

# %% [markdown]
# With five hundred items most harmless fine-tunes get no answer. That is a planning error, made
# before the first token was trained. Now turn the three knobs of the plan yourself.

# %%
PowerLab()

# %% [markdown]
# At the margin itself the blue curve is at most five percent high: that is what alpha promises,
# whatever the other sliders say. What they change is how steeply the curves leave it, and how wide
# the dotted grey curve is, which counts the audits that can tell nothing. (The axis runs to 15
# points, and the curves end earlier where fewer answers change: a drop cannot exceed the share
# changed, here 10 %.)
#
# > **Common gotcha.** Items that are alike count for less. A thousand questions about forty topics
# > behave like something between forty and a thousand items. Name the field that makes them alike
# > (`cluster: family`), and the interval widens to what is really known (Miller 2024).

# %% [markdown]
# ### The baseline, and proof that it is the base
#
# The baseline is the base model on the planned items, stored with everything that could change a
# score: decoding, batch size, padding, dtype.

# %%
base = load_model("pocket")
names = [category.name for category in capability_map.categories]
suites = load_suites(names, size=300)
before = evaluate(base, suites)
before

# %% [markdown]
# ## Phase 2: fine-tune
#
# The run of lesson 01, and a second one that does what the lessons so far suggest: full fine-tuning
# at a low rate, with one old example for every three tickets.

# %%
tickets, replay = read_tickets(), read_tickets(SUPPORT / "replay.jsonl")
standard = finetune(base, tickets, lr=1e-2, rank=8, steps=60).model
mixed = mix(tickets, replay, share=1 / 4)
careful = finetune(base, mixed, lr=5e-4, rank="full", steps=60).model

# %% [markdown]
# An adapter stands on top of its base, and "before" may accidentally be measured with the adapter
# on. `base_view` takes it off and puts everything back. The proof is a comparison of logits, not a
# look at the code:

# %%
ids = base.tokenizer("Customer: Where is my parcel?\nAgent:", return_tensors="pt").input_ids
with torch.no_grad():
    expected = base(ids).logits
    with base_view(standard) as off:
        print("adapter off equals the base:", torch.equal(off(ids).logits, expected))
    print("adapter on equals the base: ", torch.equal(standard(ids).logits, expected))

# %% [markdown]
# ## Phase 3: the diff
#
# **Predict before you run.** Which categories will be blocked? And is there one about which three
# hundred items cannot tell?

# %%
after = evaluate(standard, suites)
gate.audit(before, after, capability_map, names=("base", "standard"))

# %% [markdown]
# Read a row from left to right: two scores, the drop with its interval, and where the interval lies
# against the margin. It *passes* when the whole interval lies left of the dashed line, and is
# *blocked* when the whole of it lies right. The interval is a 90 % one, 5 % at each end; *certain*
# means at that level. Everything else is INCONCLUSIVE, and the row of a protected category says how
# many items would probably settle it.
#
# Below the table are the answers that flipped. Open one category and read them before you believe
# its number: sometimes a "loss" is a lost full stop.
#
# And the second model?

# %%
gate.audit(before, evaluate(careful, suites), capability_map, names=("base", "careful"))

# %% [markdown]
# It has lost far less, and learned five points less, and the gate cannot tell in any of the three
# rows. `lists` and `howto` lost four and six points, and whether that is beyond five, three hundred
# items do not decide. The two protected rows of the table say how many would: thousands, because
# both stand so close to their margin. `support` has 85.3 for a goal of 85; for a target the gate
# plans no items.
#
# What is needed here is not more items but a better fine-tune, and there is one: full fine-tuning
# at 2e-4 for 360 steps, with three old examples for every ticket. Audited by
# `data/capability_map.yaml` on 700 items a category it passed everything
# (`test_a_careful_run_ships`, seed 0); with two further seeds, on file for lesson 07, the ten
# skills and the target passed too. It takes some minutes, so the course's tests train it and not
# this page. Lessons 06 to 08 look for cheaper ways.
#
# > **A note from experience.** The most useful sentence of an audit is often *cannot tell, about so
# > many items would settle it*. It turns an argument about opinions into a purchase order for test
# > items.

# %% [markdown]
# ## How often does the gate err?
#
# A gate makes two mistakes: it ships a model that has lost more than a margin, or it blocks one
# that has not. Both can be counted, because in a simulation the truth is known. Here are a thousand
# audits each of three imagined fine-tunes, with our map and three hundred items a category.

# %%
imagined = {
    "lost nothing": 0.0,
    "lost its margin in lists": {"lists": 5.0},
    "lost twice the margin in lists": {"lists": 10.0},
}
for label, drops in imagined.items():
    rates = gate.rehearse(capability_map, items=300, drops=drops)
    print(f"{label:31} ship {rates.ship:6.1%}   block {rates.block:6.1%}   "
          f"cannot tell {rates.inconclusive:6.1%}")  # fmt: skip

# %% [markdown]
# A model at its margin is shipped in at most five of a hundred audits, as alpha asks, and a
# harmless one is practically never blocked, as far as a rehearsal with independent items, and
# without the target, can show. The price stands in the first row: with only two categories, each of
# which must pass, a third of the harmless models are held up. Every category added to a map makes
# shipping harder, so put on it what you would really stop a release for.
#
# Why does shipping need no correction for many categories, while blocking does? To ship, *all* must
# pass, and a model that is bad somewhere has to be lucky exactly there. To block, *one* is enough,
# and with twenty categories one of them is often unlucky. So blocking uses Holm's correction
# (1979).
#
# ## The same gate over files from elsewhere
#
# Nobody has to use our `evaluate`. lm-eval writes what every model answered to every item when it
# is called with `--log_samples`, and the gate reads those folders. Our suites are lm-eval tasks
# too, so here is its own evaluation, of the model in memory and without a network, with the adapter
# off and on.

# %%
from lm_eval import simple_evaluate
from lm_eval.loggers import EvaluationTracker
from lm_eval.models.huggingface import HFLM
from lm_eval.tasks import TaskManager

from helpers.suites import SUITES


def run_lm_eval(model, folder):
    """lm-eval's own results for one of our tasks, in a folder."""
    tasks = TaskManager(include_path=str(SUITES), include_defaults=False)
    found = simple_evaluate(
        HFLM(pretrained=model, tokenizer=base.tokenizer, batch_size=40), task_manager=tasks,
        tasks=["pocket_howto"], limit=40, bootstrap_iters=0,
    )  # fmt: skip
    samples, tracker = found.pop("samples"), EvaluationTracker(output_path=str(folder))
    tracker.save_results_aggregated(results=found, samples=samples)
    for name, rows in samples.items():
        tracker.save_results_samples(task_name=name, samples=rows)


# %%
folder = Path(tempfile.mkdtemp())
with base_view(standard) as off:
    run_lm_eval(off, folder / "before")
run_lm_eval(standard, folder / "after")
print(*sorted(path.name.split("_2")[0] for path in folder.rglob("*.json*")), sep="\n")

# %% [markdown]
# Now the command line, as a build server would call it. Its **exit code** is the verdict: 0 ship, 1
# block, 2 cannot tell, 3 not comparable. A merge is blocked by anything but 0.

# %%
small = "version: 1\ncategories:\n  howto: {task: pocket_howto, margin: 10}\n"
(folder / "map.yaml").write_text(small)
command = [sys.executable, "-m", "helpers.audit", "before", "after", "--map", "map.yaml",
           "--report", "report.html", "report.md", "report.xml"]  # fmt: skip
root = os.path.abspath("course" if os.path.exists("course") else "..")
done = subprocess.run(
    command, cwd=folder, env={**os.environ, "PYTHONPATH": root}, capture_output=True, text=True
)
print(done.stdout, "exit code", done.returncode)

# %% [markdown]
# `report.html` opens offline and can be attached to a pull request, `report.md` is the comment
# under it, and `report.xml` is the JUnit form that build servers show. In a workflow file the step
# is three commands, and the same three run MMLU or GSM8K for those who have a network and a GPU:
#
# ```yaml
# - run: >-
#     lm_eval run --model hf --model_args pretrained=base --tasks mmlu --log_samples
#     --output_path before
# - run: >-
#     lm_eval run --model hf --model_args pretrained=base,peft=adapter --tasks mmlu --log_samples
#     --output_path after
# - run: >-
#     python -m helpers.audit before after --map capability_map.yaml
#     --report audit.html audit.xml
# ```
#
# What would that baseline cost? Count before you start: time a little, multiply.

# %%
import time

from helpers.models import parameter_counts

sample = load_suites("reading", size=100)
started = time.perf_counter()
evaluate(base, sample)
seconds = time.perf_counter() - started
tokens = sum(len(base.tokenizer(item.prompt)["input_ids"]) for item in sample[0].items)
per_second = tokens * parameter_counts(base)["total"] / seconds
print(f"{tokens / seconds:,.0f} tokens read a second here")

# %% [markdown]
# The work grows with tokens times parameters. For a model of a billion parameters and a benchmark
# of 14,042 questions with four choices each, of which we take a hundred tokens apiece (count yours;
# a few worked examples in the prompt make it a thousand), this machine would be busy for

# %%
days = 14_042 * 4 * 100 * 1e9 / per_second / 86_400
print(f"{days:,.1f} days, and the same again for the fine-tune.")

# %% [markdown]
# ## A judge, and who judges the judge
#
# Exact match suits answers with one right text. For free text one asks a **judge**, another model
# that says how good an answer is. A judge is an instrument, and an instrument is calibrated before
# it decides anything: on answers of *known* worth, good ones and bad ones of every kind one can
# think of. Here is a reward model, trained in seconds on pairs of good and bad answers about the
# shop's policies; one kind of bad answer, the invented promise, was kept out of its training.
#
# **Predict before you run.** Which kinds of bad answer will it see, and which not?

# %%
from helpers import judging

judge = judging.train_reward_model(standard, judging.preference_pairs(), steps=12)
calibration = judging.calibrate(judge, *judging.known_answers())
calibration

# %% [markdown]
# Read the kinds, not the average. The judge knows what a good answer *looks* like: it refuses
# apologies and empty answers, most repetitions, and even most invented promises, which it was never
# shown; of the answers that break off it refuses two in three. But a wrong number of days, or the
# true policy about something else, looks perfect, and nearly all of these pass. The fine-tune that
# the judge is made from answers nine in ten of the shop's questions. Twelve steps (192 pairs, one
# seed) have not taught the score to use what the model knows; whether more would, this run does not
# say. So it does not get to decide:

# %%
try:
    judging.require(calibration)
except judging.UncalibratedJudge as error:
    print(error)
length = judging.calibrate(judging.LengthJudge(), *judging.known_answers())
print(f"\na judge that only counts letters: kappa {length.kappa:.2f}")

# %% [markdown]
# **Cohen's kappa** is the agreement beyond what chance gives, 0 for chance and 1 for full
# agreement. The share of agreement alone would flatter: whoever calls everything good agrees on
# nine answers in ten where nine in ten are good.
#
# How much hangs on the choice of a judge shows in a table of Zheng and colleagues (2023): on the
# eighty questions of MT-Bench one and the same model gets 7.73 points from one judge and 8.71 from
# another. A rule such as "block at minus one point of MT-Bench" is then a rule about judges.
# `helpers.judging` has the rest of the tool box: pairwise judges asked in both orders, ties that
# stay ties, local chat models and endpoints you configure yourself, and a win rate that is
# corrected for what the judge is known to get wrong.

# %% [markdown]
# ### Two runs that must not be compared
#
# **Break it on purpose.** Score the fine-tune with another batch size, and the gate refuses:
# padding and rounding move scores a little, and a gate that is asked for two points cannot have
# that.

# %%
other = evaluate(standard, load_suites("howto", size=20), batch_size=10)
howto = gate.CapabilityMap.parse("version: 1\ncategories: {pocket_howto: {margin: 5}}")
try:
    gate.audit(before, other, howto)
except gate.NotComparable as error:
    print(error)

# %% [markdown]
# ## Exercises
#
# ### 5.1 The verdict · easy · 5 minutes
#
# Write `verdict(low, high, margin)`. `low` and `high` are the ends of the interval of a drop, in
# points. Return `"PASS"` when the whole interval lies below the margin, `"BLOCK"` when the whole of
# it lies above, and `"INCONCLUSIVE"` otherwise. An end that equals the margin is neither below nor
# above it.
#
# <details><summary>Hint</summary>
#
# Which end decides whether *everything* lies below? Zero does not occur in the answer.
#
# </details>


# %% tags=["exercise"]
def verdict(low, high, margin):
    # BEGIN SOLUTION
    if high < margin:
        return "PASS"
    return "BLOCK" if low > margin else "INCONCLUSIVE"
    # END SOLUTION


check("5.1", verdict)

# %% [markdown]
# ### 5.2 How many items? · medium · 10 minutes
#
# Write `items_for(margin, changed)`: the textbook number of paired items for a margin in points and
# a share of changed answers, $n = (z_\alpha + z_\beta)^2\, c / m^2$, with $c$ the share and $m$ the
# margin *as a share*. For a one-sided test at 5 % and a power of 80 % the two values of z are 1.645
# and 0.842. Return a whole number, large enough.
#
# <details><summary>Hint</summary>
#
# Points are hundredths. `math.ceil` rounds up.
#
# </details>


# %% tags=["exercise"]
def items_for(margin, changed):
    # BEGIN SOLUTION
    import math

    return math.ceil((1.645 + 0.842) ** 2 * changed / (margin / 100) ** 2)
    # END SOLUTION


check("5.2", items_for)

# %% [markdown]
# ### 5.3 As many wrong as right? · hard · 15 minutes
#
# Write `mcnemar_p(lost, gained)`, the exact two-sided p-value of McNemar's test (1947): among the
# `lost + gained` answers that changed, each turned wrong or right as if by a fair coin. Return the
# probability of a split at least as uneven as this one, and 1.0 when nothing changed.
#
# <details><summary>Hint</summary>
#
# `math.comb(n, k) / 2**n` is the probability of k heads in n tosses. Uneven in which direction?
# Both count. What is the result for three lost and three gained?
#
# </details>


# %% tags=["exercise"]
def mcnemar_p(lost, gained):
    # BEGIN SOLUTION
    import math

    n = lost + gained
    tail = sum(math.comb(n, k) for k in range(min(lost, gained) + 1)) / 2**n
    return min(1.0, 2 * tail)
    # END SOLUTION


check("5.3", mcnemar_p)

# %% [markdown]
# ## Check your understanding

# %%
quiz("05")

# %% [markdown]
# ## Recap
#
# 1. A map names what must not be lost, with margins, before any result is seen. The items a margin
#    needs grow with the square of one over it.
# 2. PASS means that a loss beyond the margin is ruled out, BLOCK that it is certain. Everything
#    else is *cannot tell*, and in a protected category says how many items would settle it. Not
#    significant is not safe.
# 3. The gate reads lm-eval's folders, answers with an exit code, and errs no more often than its
#    map allows, as far as a thousand rehearsals with independent items, and without the target, can
#    show.
#
# **Next:** lesson 06 goes one step back: what to fine-tune for at all, and with which data.
#
# ## Sources
#
# - Miller (2024), *Adding error bars to evals*, arXiv 2411.00640, for paired differences and
#   clustered items.
# - Blackwelder (1982) for tests of non-inferiority; Tango (1998) for the score statistic of paired
#   shares; Korn and Graubard (1998) for effective numbers of items; Holm (1979); McNemar (1947).
# - Zheng et al. (2023), *Judging LLM-as-a-judge with MT-Bench and Chatbot Arena*, arXiv 2306.05685.
# - The glossary of the course: `docs/GLOSSARY.md`.
