# %% [markdown]
# # 05 · The audit
#
# {{badge}}
#
# A fine-tune is finished, its own metric is excellent, and somebody asks: may we ship it? This
# lesson turns the question into a procedure. You write down what the model must still be able to
# do, plan how many items that takes, compare two runs, and get one of three answers: yes, no, or
# *these items cannot tell*. The tool, `helpers.audit`, also works on the files that lm-eval writes.
#
# **Time** core 20 minutes, with *Deeper* 80 · computing 75 s, of which the core 30 s · **You
# need** lesson 01
#
# **Objectives**
#
# 1. Write a capability map with margins, and plan the items it needs for the *whole* map, before
#    seeing any result.
# 2. Read a verdict: why "not significant" is not safe, and what "cannot tell" asks of you.
# 3. Keep the gate's promise when it is asked again: looks planned, candidates counted, a fresh
#    final set.

# %%
import os, subprocess, sys

if "google.colab" in sys.modules and not os.path.exists("course"):
    fetch = "git clone -q https://github.com/OWNER/REPO course && sh course/tools/colab.sh"
    subprocess.run(f"{fetch} || (rm -rf course; false)", shell=True, check=True)
sys.path.insert(0, "course" if os.path.exists("course") else "..")

# %%
from helpers import audit as gate
from helpers.evaluation import evaluate
from helpers.exercises import check, quiz
from helpers.models import load_model
from helpers.paths import DATA
from helpers.suites import load_suites
from helpers.tickets import read_tickets
from helpers.training import finetune

# %% [markdown]
# ## Why
#
# "Block the release at minus two points of MMLU" lacks half of a rule: how many items stand behind
# the two points, and what happens when they cannot tell two points from none. A gate that looks for
# *significant* drops is worse. The fewer items it gets, the more it lets through: of ten answers
# five may be lost and none gained, and the drop is still not significant (p = 0.06).
#
# **An analogy, and where it ends.** A bridge is not released because no crack was found on the
# first look. It is released when an inspection that *would have found* a dangerous crack found
# none. The margin is the dangerous crack, the number of items is how closely one looks. The analogy
# ends where a model loses one skill and gains another: you decide which of them your users pay for.
#
# ## Write down what must not be lost
#
# A **capability map** is a short file that a product owner can read. Each category names a task, a
# role, and a **margin**: how many points of 100 may be lost before users are hurt. `protected`
# categories must not drop beyond it, and the `target` must reach its goal. Write the map before any
# result exists; a margin chosen afterwards always fits.

# %%
MAP = """\
version: 1
alpha: 0.05          # accepted chance of shipping a loss beyond a margin
power: 0.8           # wished chance that a model which lost nothing ships
categories:
  lists:      {task: pocket_lists, margin: 5}
  howto:      {task: pocket_howto, margin: 5}
  support:    {task: pocket_support, role: target, min_score: 85, expected: 90}
"""
capability_map = gate.CapabilityMap.parse(MAP, "map.yaml")

# %% [markdown]
# ## How many items?
#
# Both models answer the *same* items, so only those tell anything whose answer changes between
# right and wrong. The share of changed answers is the **discordance**. Ten percent is a fair guess
# until a first audit has measured it.
#
# The course's own map has eleven protected rows that can stop a release. Its authors first planned
# each row by itself, for a power of 80 %: a model that lost nothing passes this row in 80 of 100
# audits.
#
# **Predict before you run.** To ship, a model must pass every row. In how many of 100 audits does a
# model that lost nothing ship?

# %% tags=["predict"]
gate.plan(gate.CapabilityMap.load(DATA / "capability_map.yaml"))

# %% [markdown]
# In 10 of 100. The rows have different items, so their chances multiply, and 0.8 eleven times over
# is 0.09. For 80 % together each row needs 98 %, and that takes twice the items: 604 instead of 297
# at a margin of five points, 1,600 instead of 761 at three. Every row makes shipping harder, so put
# on a map what you would stop a release for.

# %%
gate.plan(capability_map)

# %% [markdown]
# The target counts as well: it is expected at 90 for a goal of 85. For all three together 441 items
# each suffice; we take 450.
#
# ## One audit
#
# The baseline, the run of lesson 01, and the comparison, item by item.

# %%
base = load_model("pocket")
suites = load_suites(["lists", "howto", "support"], size=450)
before = evaluate(base, suites)
standard = finetune(base, read_tickets(), lr=1e-2, rank=8, steps=60).model
after = evaluate(standard, suites)

# %% [markdown]
# **Predict before you run.** The support score is above its goal. Which rows will be blocked?

# %% tags=["predict"]
report = gate.audit(before, after, capability_map, names=("base", "standard"))
report

# %% [markdown]
# Both protected rows: `howto` fell from 100 to 14.4, `lists` from 91.1 to 63.1. Read a row from
# left to right: two scores, the drop with its interval, and where the interval lies against the
# margin (dashed). A row *passes* when the whole interval lies left of the margin, and is *blocked*
# when the whole of it lies right. Everything else is INCONCLUSIVE: these items cannot tell. A
# target's negative drop is a gain; its score is held against the goal. The interval has 5 % at
# each end; "certain" means just that. Below stand the answers that flipped. Read
# some: a "loss" may be a lost full stop.
#
# ## Its control: audits whose truth is known
#
# A gate makes two mistakes, and both can be counted where the truth is made up. Here are a thousand
# audits each of three imagined fine-tunes.

# %%
for drop in (0, 5, 10):
    rates = gate.rehearse(capability_map, items=450, drops={"lists": drop})
    print(f"lists truly lost {drop:2}: ship {rates.ship:6.1%}   block {rates.block:6.1%}   "
          f"cannot tell {rates.inconclusive:6.1%}")  # fmt: skip

# %% [markdown]
# A model at its margin ships in 3.8 % of audits, as alpha asks, and a harmless one was never
# blocked. It ships in 88.3 %: the target is left out here. So far the promise holds, for one audit
# of one model.
#
# Teams do not audit once. They get INCONCLUSIVE, buy the advised items and ask again; or train ten
# candidates and ship the first that passes.
#
# **Predict before you run.** The model stands exactly at its margin, so that every SHIP is an
# error, and alpha is 5 %. How often does it ship at one of three looks? At one of ten? And one of
# ten such candidates?


# %% tags=["predict"]
def percent(shares):
    return " ".join(f"{100 * share:.1f}" for share in shares)


print("topped up as advised, by look:", percent(gate.ask_again(297, looks=3)))
print("300 items more each, by look: ", percent(gate.ask_again(300, looks=10, more=300)))
print("first of ten candidates:      ", percent([gate.try_candidates(297, 10)]))

# %% [markdown]
# In 10.5 %, in 14.6 %, and in 31 % (if they err independently). One look was held to 5 %
# (and errs in 3.6). Each further look is another chance for a loss to look harmless. New items
# alone do not help: three looks, each on fresh items, ship 11.8 %.
#
# ## The rule
#
# 1. **Map, margins, items and the number of looks are written down first.** `looks: 2` in the map
#    gives each look half of alpha, whatever the two have in common (Bonferroni). Sizes are fixed
#    beforehand, or each look counts fresh items alone.
# 2. **Candidates are counted.** Ten on the same items: `candidates: 10`, a tenth of alpha each.
# 3. **Or keep a fresh final set.** Screen as many as you like, as often as you like, on other
#    items. Then one candidate, one audit, full alpha.

# %%
print("two looks of fixed sizes:", percent(gate.ask_again([375, 750], alpha=0.05 / 2)))
fresh = gate.ask_again(375, 2, fresh=True, alpha=0.05 / 2)
print("two looks, fresh items:  ", percent(fresh))
print("ten candidates counted:  ", percent([gate.try_candidates(297, 10, alpha=0.05 / 10)]))
print("ten screened, final set: ", percent([gate.try_candidates(297, 10, final=297)]))
print("price: items for one row ", gate.items_needed(5), gate.items_needed(5, alpha=0.05 / 2))

# %% [markdown]
# All stay below 5 %, over three seeds too. The price is known beforehand: at half of alpha the
# first look at a row takes 367 items instead of 297 (above: 375), and a second as many again.
#
# ## Exercise 5.1 · Whose SHIP holds? · medium · 8 minutes
#
# Six requests for release. Each has a p-value against "the loss is as large as the margin", and
# each report says SHIP. Alpha is 0.05. Give the set of letters whose SHIP may be believed, such as
# `{"A", "F"}`.
#
# <details><summary>Hint</summary>
#
# For each: how many chances to ship did this request have on these items, and was that number
# fixed before the first result? Compare p with alpha divided by it.
#
# </details>

# %%
REQUESTS = """\
A  One candidate, one audit, 600 items as planned. p = 0.031.
B  The first audit could not tell. 900 items were added as it advised, all 1,500 counted. p = 0.040.
C  Ten candidates, announced as ten, all audited on the same 600 items. This one: p = 0.004.
D  Ten candidates compared on a screening set. The best, audited once on 600 fresh items: p = 0.045.
E  The first report said BLOCK at a margin of 3. With a margin of 5 the same items give p = 0.001.
F  Two looks planned, of 300 and 600 items. It passed at the second: p = 0.030."""
print(REQUESTS)

# %% tags=["exercise"]
# BEGIN SOLUTION
# STUB: believed = ...
believed = {"A", "C", "D"}
# END SOLUTION
check("5.1", believed)

# %% [markdown]
# ## Check your understanding

# %%
quiz("05")

# %% [markdown]
# ## On Monday
#
# For a chat model of 1-8B, with your own tasks. Begin with the model against *itself*, asked twice:
# whatever flips there is noise of batching and kernels, and no margin below it makes sense.
#
# ```bash
# cat > map.yaml <<'END'
# version: 1
# looks: 2
# categories:
#   keep:   {margin: 5}
#   target: {role: target, min_score: 85, expected: 90}
# END
# for run in first again; do
#   lm_eval run --model hf --model_args pretrained=model --include_path tasks --tasks both \
#     --log_samples --output_path $run
# done
# python -m helpers.audit --plan --map map.yaml
# python -m helpers.audit first again --map map.yaml --report audit.html || echo "exit code $?"
# ```
#
# 0 ship, 1 block, 2 cannot tell, 3 not comparable; block the merge on anything but 0. For the
# fine-tune, add `peft=adapter` to `--model_args` of the second run and change nothing else. Cost:
# 600 items of 500 tokens for 12 rows are 3.6 million tokens, about 2 · 8e9 · 3.6e6 = 6e16
# operations for an 8B model: ten minutes a run at 100 TFLOP/s, longer where
# it writes long answers. Margins and items: by your traffic, with 10 % changed answers until you
# have measured them. **Do not copy** 5 points for every row, or our 450 items, from the toy.
#
# ## Recap
#
# 1. A map names what must not be lost, with margins, before any result is seen. Items are planned
#    for all rows together: eleven rows of 80 % ship one harmless model in ten.
# 2. PASS means that a loss beyond the margin is ruled out, BLOCK that it is certain. Everything
#    else is *cannot tell*. Not significant is not safe.
# 3. Alpha is paid once. More looks and more candidates are planned, counted and paid for in items,
#    or a fresh final set is asked once.
#
# **Next:** lesson 06 goes one step back: what to fine-tune for at all, and with which data.

# %% [markdown]
# # Deeper
#
# Each section stands by itself, after the core has been run; only *Files from elsewhere* needs the
# cell of the section before it, which imports `base_view`.
#
# - The fields of a map (7 min)
# - What a number of items can tell, with exercise 5.2 (12 min)
# - "About so many items would settle it", with exercise 5.3 (12 min)
# - How the promise was attacked (6 min)
# - Is "before" really the base? (2 min)
# - Files from elsewhere: lm-eval, MMLU and a build server (8 min)
# - A judge, and who judges the judge (12 min)

# %% [markdown]
# ## The fields of a map (7 min)
#
# A row may say more than its margin.
#
# - `metric`: which of the task's metrics counts. lm-eval gives several (`acc`, `acc_norm`, or
#   `exact_match,strict-match` for one filter); without the field the first is taken. For running
#   text it is `nll`, where less is better and the margin is in hundredths of a nat per token.
# - `severity`: `block` stops the release, `warn` is only reported. A row that warns
#   holds no release, so it does not enter the joint plan.
# - `discordance`: the share of changed answers the plan reckons with, 0.10 when left out. Take it
#   from your last audit.
# - `cluster`: the field that makes items alike, more below.
# - `layer`: whose requirement it is: `standard`, `business` or `judge`.

# %%
MORE = """\
version: 1
categories:
  refusal:  {task: pocket_refusal, margin: 3, discordance: 0.05}
  stories:  {task: pocket_stories, metric: nll, margin: 10, severity: warn}
  facts:    {task: pocket_facts, margin: 5}
"""
gate.plan(gate.CapabilityMap.parse(MORE))

# %% [markdown]
# Half the changed answers need a little more than half the items: 429 for refusals at a margin of
# 3, where 10 % would need 761.
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
# Items that are alike count for less: a thousand questions about forty topics behave like something
# between forty and a thousand items (Miller 2024). With `cluster` the spread is taken over groups,
# and the interval widens to what is known about *other* groups. That needs groups. How-to has 450
# questions of a single family, and its interval would reach from -100 to 100:

# %%
grouped = "version: 1\ncategories: {howto: {task: pocket_howto, margin: 5, cluster: family}}"
try:
    gate.audit(before, after, gate.CapabilityMap.parse(grouped))
except gate.BadMap as error:
    print(error)

# %% [markdown]
# Fewer than ten groups are refused, and fewer than thirty bring a note into the report. Leaving the
# field out is no cheat if the report is read as what it then is: a statement about more items of
# these same families.

# %% [markdown]
# ## What a number of items can tell (12 min)
#
# **Predict before you run.** A margin of five points needs some three hundred items. How many does
# a margin of two need: twice as many, or more?

# %% tags=["predict"]
for margin in (10, 5, 3, 2, 1):
    print(f"margin {margin:2} points: {gate.items_needed(margin):5,} items")

# %% [markdown]
# 1,653, more than five times as many. The number grows with the *square* of one over the margin, a
# little more slowly where few items are enough. So the rule with which we began can be planned.
# MMLU has 14,042 questions; five hundred of them are a common shortcut:

# %%
for items in (500, 14_042):
    harmless, _ = gate.chances(items, margin=2, drop=0)
    harmful, blocked = gate.chances(items, margin=2, drop=4)
    print(f"{items:6,} items, margin 2: a harmless model passes in {harmless:.0%} of audits,")
    print(f"        one that lost 4 points is blocked in {blocked:.0%}, passes in {harmful:.1%}")

# %% [markdown]
# With five hundred items most harmless fine-tunes get no answer. That is a planning error, made
# before the first token was trained. Turn the three knobs of the plan yourself.

# %%
from helpers.widgets.power import PowerLab

PowerLab()

# %% [markdown]
# With 250 items a harmless fine-tune passes a margin of 3 in 37 of 100 audits. At the margin itself
# the PASS curve is at most five percent high: that is what alpha promises, whatever the sliders
# say. What they change is how steeply the curves leave it, and how wide the dotted curve is, which
# counts the audits that can tell nothing. The curves end where every changed answer is a lost one,
# here at 10 points.
#
# ### 5.2 A budget of items · medium · 8 minutes
#
# Four rows, 2,700 items, and no more than 800 different refusals can be written. Choose the items
# of every row so that a model which lost nothing ships in at least 80 % of audits.
# `gate.plan(four)` and `gate.ships(four, items)` are there to be used.
#
# <details><summary>Hint</summary>
#
# The plan gives each row the same power, and asks for more refusals than there are. What the short
# row lacks, the others must make up; which of them gain most per item?
#
# </details>

# %%
four = gate.CapabilityMap.parse("""\
version: 1
categories:
  howto:    {margin: 3, discordance: 0.05}
  refusal:  {margin: 2, discordance: 0.03}
  lists:    {margin: 5}
  facts:    {margin: 5}
""")
gate.plan(four)

# %% tags=["exercise"]
# BEGIN SOLUTION
# STUB: items = {"howto": ..., "refusal": ..., "lists": ..., "facts": ...}
items = {"howto": 760, "refusal": 800, "lists": 550, "facts": 550}
# END SOLUTION
check("5.2", items)

# %% [markdown]
# ## "About so many items would settle it" (12 min)
#
# A second model: full fine-tuning at a low rate, with one old example for every three tickets.

# %%
from helpers.tickets import SUPPORT, mix

mixed = mix(read_tickets(), read_tickets(SUPPORT / "replay.jsonl"), share=1 / 4)
careful = finetune(base, mixed, lr=5e-4, rank="full", steps=60).model
gate.audit(before, evaluate(careful, suites), capability_map, names=("base", "careful"))

# %% [markdown]
# It has lost far less than the first run, 4.4 points in `lists` and 5.1 in `howto`, and learned 4.4
# points less (20 tickets of 450). The gate cannot tell in any of the three rows: both skills stand
# close to their margins, and the target at 86.2 close to its goal.
#
# The report gives a range for the items that would settle a row, and it spans three orders of
# magnitude, from 200 to 160,000 for `lists`. That is honest: the number hangs on the distance
# between the true drop and the margin, squared, and an audit that cannot tell hardly knows that
# distance. Earlier versions of this gate gave one number. For a model that truly lost 2 points at a
# margin of 5, 734 items are right, and the one number ran from 668 to 16,600 (10 to 90 % of the
# audits that could not tell). The range holds the right number in at least 80 % of such audits, at
# every true drop tried from 0 to 8.
#
# So do not buy what a report advises. Plan the next look for the drop that you *want* to be able to
# pass, and draw fresh items. The how-to suite holds 700 questions: there are rows
# that no budget settles, and then the answer is a wider margin, decided by its owner for the next
# release, or a better fine-tune. There is one: 2e-4 for 360 steps, with three old examples for
# every ticket, passed the course's map on 700 items a row (`test_a_careful_run_ships`; it takes
# minutes, so the tests train it).
#
# ### 5.3 Fool the old gate · easy · 6 minutes
#
# The rule "ship unless McNemar's test is significant at 5 %" can be fooled. Give two lists of 0s
# and 1s, one entry an item: a model that lost 10 points or more, which that rule would ship.
#
# <details><summary>Hint</summary>
#
# What does the old rule need in order to see anything?
#
# </details>

# %% tags=["exercise"]
# BEGIN SOLUTION
# STUB: old_scores, new_scores = ..., ...
old_scores = [1] * 20
new_scores = [0] * 4 + [1] * 16
# END SOLUTION
check("5.3", (old_scores, new_scores))

# %% [markdown]
# ## How the promise was attacked (6 min)
#
# *At most 5 % of models at their margin are shipped*: five attempts to break it. The first three
# are made here. A look after every ten items, stopped at the first PASS. Planned looks where fewer
# or more answers change than the plan says. A second look whose size the first result chose,
# counted together with it.

# %%
print("a look every ten items, 300 looks:", percent(gate.ask_again(297, 300, more=10)[-1:]))
for changed in (0.05, 0.2, 0.4):
    two = gate.ask_again([375, 750], alpha=0.025, discordance=changed)
    print(f"two planned looks, {changed:.0%} of the answers change:", percent(two))
print("two looks, second by advice:", percent(gate.ask_again(297, 2, alpha=0.025)))

# %% [markdown]
# Uncounted looks break it at once: 22.9 % of models at their margin are shipped. Planned looks hold
# at each share of changes that was tried (3.5 % at most). The advised second size holds here as
# well, at 4.3 %, and the rule forbids it nevertheless: nothing guarantees it for a cleverer choice
# of size, while with fixed sizes or fresh items the errors of two looks cannot add up to more than
# twice half of alpha (Bonferroni). The fourth attempt exchanges the answers of two real runs at
# random, so that the truth is known. It holds too (a test of the course does it).
#
# Twenty rows do not break it either, and need no correction to *ship*: all must pass, so a model
# that is bad somewhere must be lucky exactly there. To *block*, one row is enough, and one of
# twenty is easily unlucky. So blocking uses Holm's correction (1979).
#
# The fifth attempt goes round the gate, and marks where the promise ends. Train the same recipe
# again with another seed, and ship that on the first one's verdict. Stored runs of lesson 03, LoRA
# of rank 16 at 3e-3:

# %%
from helpers.runs import read_runs

for run in read_runs():
    if run.setting[:4] == (3e-3, 16, 60, 1200) and run.setting.alpha == "2r":
        lost = run.base.scores["howto"] - run.last.scores["howto"]
        print(f"seed {run.setting.seed}: support {run.last.scores['support']:.0f}, "
              f"how-to lost {lost:.0f} points")  # fmt: skip

# %% [markdown]
# 53, 33 and 13 points (30 items each), with the target at 90 to 93. None of the three is fit to
# ship at a margin of 5, but no seed's loss foretells the next one's: a verdict is about these
# weights and not about the recipe. Whoever retrains audits again, and counts it as a candidate.

# %% [markdown]
# ## Is "before" really the base? (2 min)
#
# An adapter stands on top of its base, and "before" may accidentally be measured with the adapter
# on. `base_view` takes it off and puts everything back. The proof is a comparison of logits, not a
# look at the code:

# %%
import torch

from helpers.models import base_view

ids = base.tokenizer("Customer: Where is my parcel?\nAgent:", return_tensors="pt").input_ids
with torch.no_grad():
    expected = base(ids).logits
    with base_view(standard) as off:
        print("adapter off equals the base:", torch.equal(off(ids).logits, expected))
    print("adapter on equals the base: ", torch.equal(standard(ids).logits, expected))

# %% [markdown]
# Off, all logits are equal to the last bit; on, they are not.

# %% [markdown]
# ## Files from elsewhere (8 min)
#
# lm-eval writes what every model answered to every item when it is called with `--log_samples`, and
# the gate reads those folders. Our suites are lm-eval tasks too, so here is its own evaluation, of
# the model in memory and without a network, with the adapter off and on.

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
import tempfile
from pathlib import Path

folder = Path(tempfile.mkdtemp())
with base_view(standard) as off:
    run_lm_eval(off, folder / "before")
run_lm_eval(standard, folder / "after")
print(*sorted(path.name.split("_2")[0] for path in folder.rglob("*.json*")), sep="\n")

# %% [markdown]
# Two files for each run: its results, and its answers. Now the command line, as a build server
# would call it. Its **exit code** is the verdict: 0 ship, 1 block, 2 cannot tell, 3 not comparable.
# Both runs come from one model in memory, so the report names the folders.

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
# Exit code 1: how-to fell from 100 to 17.5 on these 40 items. `report.html` opens offline and can
# be attached to a pull request, `report.md` is the comment under it, and `report.xml` is the JUnit
# form that build servers show.
#
# **MMLU in one row.** lm-eval runs `--tasks mmlu` as 57 subtasks and writes one file for each. A
# row may name the group: `mmlu: {margin: 2}`. Its answers are pooled, every question with equal
# weight, and the subject is what makes questions alike. The interval then speaks about subjects
# like these; a group of fewer than ten subtasks is sent back, to be written as rows.
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
# ## A judge, and who judges the judge (12 min)
#
# Exact match suits answers with one right text. For free text one asks a **judge**, another model
# that says how good an answer is. Ours is a **reward model**: a copy of the fine-tune whose output
# is one number, trained on pairs of a good and a bad answer so that the good one scores higher. A
# judge is an instrument, and an instrument is **calibrated** before it decides anything: tried on
# answers of *known* worth. Half of the prompts choose the threshold above which an answer is called
# good; the other half measure
#
# - **sensitivity**: of the good answers, the share it calls good;
# - **specificity**: of the bad answers, the share it calls bad;
# - **Cohen's kappa**: agreement with the truth beyond what chance gives, 0 for chance and 1 for
#   full agreement (Cohen 1960).
#
# The bad answers come in seven kinds: a wrong value (another number of days, say), a true policy
# about something else, a reply that breaks off, an apology, an invented promise, a repetition, and
# nothing at all. One, the invented promise, is kept out of the training.
#
# **Predict before you run.** Which kinds of bad answer will it see, and which not?

# %% tags=["predict"]
from helpers import judging

judge = judging.train_reward_model(standard, judging.preference_pairs(), steps=40)
calibration = judging.calibrate(judge, *judging.known_answers())
calibration

# %% [markdown]
# Apologies and empty answers all, 97 % of the repetitions, 77 % of the answers that break off, and
# even 93 % of the invented promises, which it was never shown. But of the wrong values it sees 5 %,
# and of true policies about something else 3 %. The judge knows what a good answer *looks* like.
# The fine-tune that it is made from answers nine in ten of the shop's questions, and forty steps on
# one seed have not taught the score to use what the model knows. So it does not get to decide:

# %%
try:
    judging.require(calibration)
except judging.UncalibratedJudge as error:
    print(error)
length = judging.calibrate(judging.LengthJudge(), *judging.known_answers())
print(f"\na judge that only counts letters: kappa {length.kappa:.2f}")

# %% [markdown]
# Share of agreement alone would flatter: whoever calls everything good agrees on nine answers in
# ten where nine in ten are good. That is why kappa stands here: counting letters earns 0.20 of it,
# and our judge 0.45.
#
# What it cannot see, exact match sees: whether the value is right. So ask the judge a narrower
# question, *is this a reply, and no apology, repetition or empty string?*, and calibrate it for
# just that.

# %%
FORM = ("apology", "repetition", "empty")
passed = judging.calibrate(judge, *judging.known_answers(kinds=FORM))
passed

# %% [markdown]
# For this question it is usable: kappa 0.87, specificity 98 %. (That is one seed. After twelve
# steps instead of forty it passed on one seed of three.) Now its verdict may reach a map. `judged`
# adds it to a snapshot as one more suite, and the gate reads it as a row of the layer `judge`,
# beside the exact match that covers the blind spots.

# %%
JUDGED = """\
version: 1
categories:
  support:  {task: pocket_support, role: target, min_score: 85, layer: business}
  finished: {task: pocket_finished, role: target, min_score: 90, layer: judge}
"""
runs = [judging.judged(run, judge, passed, "support", "finished") for run in (before, after)]
gate.audit(*runs, gate.CapabilityMap.parse(JUDGED), names=("base", "standard"))

# %% [markdown]
# The row passes: the judge calls 98.7 % of the replies good. Among them are at least 36 of the 42
# that are wrong, and of the base's replies, of which 0.2 % are right, the judge calls 56.2 % good.
# This is why the row above it stays on the map. The name `finished` says too much: replies that
# break off were not among the kinds of this second calibration. And SHIP is the verdict of *this*
# map on the run that the first map blocked: it has no row for what was lost. A row reads the
# judge's verdicts as they are. This judge calls 25 % of the courteous good answers bad and none of
# the plain ones, which are how this fine-tune speaks. Where answers vary, set the goal below its
# sensitivity.
#
# How much hangs on the choice of a judge shows in a table of Zheng and colleagues (2023): on the
# eighty questions of MT-Bench one and the same model gets 7.73 points from one judge and 8.71 from
# another. "Block at minus one point of MT-Bench" is then a rule about judges. `helpers.judging` has
# the rest of the tool box: pairwise judges asked in both orders, ties that stay ties, local chat
# models, endpoints you configure yourself, and a win rate that is corrected for what the judge is
# known to get wrong (`bias_corrected_win_rate`).

# %% [markdown]
# ## Sources
#
# - Miller (2024), *Adding error bars to evals*, arXiv 2411.00640, for paired differences and
#   clustered items.
# - Blackwelder (1982) for tests of non-inferiority; Tango (1998) for the score statistic of paired
#   shares; Korn and Graubard (1998) for effective numbers of items; Holm (1979) for blocking when
#   one of several rows is enough; McNemar (1947).
# - Lan and DeMets (1983), *Discrete sequential boundaries for clinical trials*, for ways of
#   spending alpha over looks that cost less than equal shares. They need looks whose sizes no
#   result has changed.
# - Zheng et al. (2023), *Judging LLM-as-a-judge with MT-Bench and Chatbot Arena*, arXiv 2306.05685.
# - The glossary of the course: `docs/GLOSSARY.md`.
