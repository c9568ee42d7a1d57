# %% [markdown]
# # 08 · Merge
#
# {{badge}}
#
# You have two models, the base and the fine-tune, and each can do what the other cannot. Merging
# makes a third one out of their numbers, in a second and without any training. Here you slide from
# one to the other and watch what arrives first and what leaves first, add a second skill, take one
# away, and see the two cases in which none of this works.
#
# **Time** 60 minutes, of which one and a half are computing · **You need** lesson 01; lessons 03
# and 04 help
#
# **Objectives**
#
# 1. Go only a part of the way from base to fine-tune, and compare that with stopping early and with
#    a lower rate, at equal target score.
# 2. Treat a fine-tune as a vector: add two skills, take one away, and say what TIES and DARE are
#    for.
# 3. Tell whether a merge is what its name says: when SLERP is the straight line, when a "mean" of
#    adapters is no mean, and when merging must fail.

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
from helpers.blindspot import tax
from helpers.evaluation import evaluate
from helpers.exercises import check, quiz
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
# merge comes afterwards. It needs the two models and nothing else, no old data and no gradient, so
# it is the one remedy that is left when the fine-tune is already there and somebody else made it.
# That makes it the cheapest thing to try, and the easiest to believe in without looking.
#
# **An analogy, and where it ends.** Two photographs of one face, taken a second apart and laid over
# each other, still show a face. Two photographs of two people show nobody. Weights can be averaged
# because a fine-tune is the base a moment later: number for number they mean the same. The analogy
# ends at the sharpness. A double exposure is a little worse than both pictures, and a merge can
# keep most of what each of its models is best at.

# %% [markdown]
# ## The line
#
# Every weight of the new model lies between the old ones: $(1-\alpha)\,\theta_{base} +
# \alpha\,\theta_{tuned}$. At $\alpha = 0$ it is the base, at 1 the fine-tune. (The letter is
# overworked: this α is not LoRA's.) Wortsman and colleagues (2021) call it WiSE-FT and found that
# CLIP, an image model, gained 4 to 6 points by it where the data shifts.
#
# We take the standard run of lesson 01 and score five points of the line, on the shop and on three
# old skills, thirty held-out items each.
#
# **Predict before you run.** Half-way: half of the shop's questions, and half of the damage?

# %%
base = load_model("pocket")
tuned = finetune(base, read_tickets(), lr=1e-2, rank=8, steps=60, seed=0).model
suites = load_suites(["support", "facts", "lists", "howto"], size=30)
scored = merging.sweep(base, tuned, [0, 0.25, 0.5, 0.75, 1], suites)

# %%
MergeLab(scored, lambda alpha: merging.sweep(base, tuned, [alpha], suites)[alpha])

# %% [markdown]
# ### What just happened
#
# Neither. Half-way the model knows about seven in ten of the shop's answers and has lost little but
# some lists. On the next quarter of the way the rest of the shop arrives, and only then `howto`
# falls, to two thirds and at the end to a fifth. (The thin grey lines are the three old skills: at
# the right end, from above, facts, lists and `howto`.) What was learned arrives *before* what is
# lost has left. That is all there is to merging, and it is not guaranteed. Move the slider to 0.65
# and press *Score this one*: merging and scoring take some seconds.
#
# Thirty items a skill are few, and this is one seed. On file are three seeds of the same run, with
# six points between base and fine-tune and all ten old skills, a hundred items each:

# %%
runs = board.read_board()
start = board.base_of(runs)


def along(value):
    """One curve per seed, from the base (0) to the fine-tune (1): (alpha, value)."""
    curves = []
    for end in board.pick(runs, "plain"):
        line = [run for run in board.pick(runs, "merge") if run.setting.seed == end.setting.seed]
        between = [(run.setting.strength, value(run)) for run in line]
        curves.append([(0, value(start)), *between, (1, value(end))])
    return curves


# %%
plot.lines(
    {
        "support": along(lambda run: run.target),
        "ten old skills": along(lambda run: fmean(run.score(name) for name in OLD)),
        "howto alone": along(lambda run: run.score("howto")),
    },
    x="alpha (0: base, 1: fine-tune)", y="held-out items right (%)",
)  # fmt: skip

# %% [markdown]
# The seeds agree on the order. Support comes between 0.3 and 0.6; `howto` begins to go at 0.5 and
# by 0.8 has lost 35 to 76 points, by seed. The mean over ten skills hides it, as means do. And past
# 0.7 or so nothing more is learned: the last third of the way is paid for and not used.
#
# > **Common gotcha.** α is chosen by looking, so it is a knob like any other, and the α that looks
# > best on some items looks a little too good on them (lesson 03's winner's curse). Choose it on
# > one half of your items and report on the other.

# %% [markdown]
# ## The arc
#
# Many recipes go from one model to the other on an arc instead of a line, by **spherical linear
# interpolation** (SLERP; Shoemake 1985, for turning things on a screen). The argument: the middle
# of a straight line between two directions is too short, so keep the length. Whether that matters
# depends on one number, the **angle** between the two:

# %%
angles = merging.angle(base, tuned)
print(angles)
fan = range(0, 180, 10)
plot.lines(
    {
        "on the line": [[(d, 100 - 100 * math.cos(math.radians(d / 2))) for d in fan]],
        "on the arc": [[(d, 0) for d in fan]],
    },
    x="angle between two vectors of one length (degrees)", y="half-way: length missing (%)",
    mark=(angles.overall, f"ours: {angles.overall:.0f} degrees"),
)  # fmt: skip

# %% [markdown]
# A fine-tune turns its weights very little. At some five degrees the middle of the line is a tenth
# of a percent too short, in the widest tensor a few tenths. So the scores cannot differ by much. Do
# the answers differ at all?

# %%
on_line, on_arc = scored[0.5], evaluate(merging.slerp(base, tuned, 0.5), suites)
for name in on_line.results:
    pairs = zip(on_line.results[name], on_arc.results[name])
    changed = sum(one.output != other.output for one, other in pairs)
    print(f"{name:12} line {on_line.score(name):3.0f} %, arc {on_arc.score(name):3.0f} %, "
          f"{changed} of {len(on_line.results[name])} answers differ")  # fmt: skip

# %% [markdown]
# Not one of them. At such angles SLERP *is* the straight line, whatever the recipe is called; the
# tool mergekit even takes the line by itself below some two degrees. Print the angle before you
# give an arc the credit.
#
# ### Where the angle is large
#
# Here is a model made by hand that has turned far. In every layer the hidden units of the MLP are
# put into another order, together with their incoming and outgoing weights. It is the same model
# still: every unit does what it did, at another place.
#
# **Predict before you run.** Both ends answer everything alike. What does their middle answer?


# %%
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


# %%
twin = reordered(base)
print(merging.angle(base, twin))


def scores(models, suites):
    """One row of scores per model."""
    return pandas.DataFrame({n: evaluate(m, suites).scores() for n, m in models.items()}).T.round()


half = {"line": merging.linear(base, twin, 0.5), "arc": merging.slerp(base, twin, 0.5)}
scores({"the twin": twin, **half}, load_suites(["facts", "howto"], size=30))

# %% [markdown]
# Both ends know everything, and their middle knows a third of the facts and not one `howto` answer.
# It has averaged units that have nothing to do with each other; the reordered tensors stand at
# right angles. Here the arc does differ from the line, and for the better, because it mends the
# length. It does not mend that strangers were mixed.
#
# So SLERP matters where the angle is large, and where the angle is large something worse is the
# matter. Two models trained from different beginnings differ by such reorderings, among other
# things. (One can search for an order that fits and merge afterwards; Ainsworth and colleagues
# 2022.) Merge relatives: a base and what was made from it.

# %% [markdown]
# ## At equal target: better than stopping early?
#
# A model half-way has learned less than the fine-tune. So has one that was stopped half-way, or
# trained at a lower rate, and both need no merging. The fair question is that of lesson 03: at the
# *same* target score, who has lost less? On file are three seeds each of a run that was stopped
# early, and of lower rates with twice the steps.
#
# **Predict before you look.** Stopped at step 20 of 60, and merged at α = 0.5, the run has learned
# the same, some seventy percent. Has it lost the same?


# %%
methods, ends = ("merge", "lower rate", "early stop"), {"merge": 1, "early stop": 60}


def road(name):
    """(strength, learned, lost) along a method, means over the seeds."""
    groups = {place: board.pick(runs, name, place) for place in board.strengths(runs, name)}
    if name in ends:  # its last point is the whole run
        groups[ends[name]] = board.pick(runs, "plain")
    return [
        (place, fmean(run.target for run in group), fmean(run.lost(start) for run in group))
        for place, group in groups.items()
    ]


# %%
plot.roads(
    {name: road(name) for name in methods},
    x="support: items right (%)", y="old skills: points lost",
)  # fmt: skip

# %% [markdown]
# Ten times as much, in the run that was stopped. Nearly all of the damage is done in the first
# third of this training, while the rate is high. The line back from the finished model passes
# through places where the training never was. The lower rates are another matter: their road runs
# close to that of the merges. (A run *planned* for twenty steps, whose rate has fallen to nothing
# by then, is a gentler training and not an early stop; lesson 03 has some.)
#
# Now at exactly the same score. Each road is read at its cheapest place that reaches 80 % of
# support, straight between two points; the intervals are over seeds and items. Above the figure
# stand the 95 % intervals of the places: seeds and items are drawn alike for all three, so a place
# compares them in pairs.


# %%
def race(goal):
    """What each method has lost at a target score, and the places that are open to it."""
    found = board.standings(runs, methods, goal=goal)
    print("; ".join(f"{one.method}: place {one.best} to {one.worst}" for one in found))
    return plot.ranking(found, goal=goal)


race(80)

# %%
race(90)

# %% [markdown]
# At 80 % the merge has lost least, for nothing but the scoring, while the lower rate took twice the
# training. Their intervals overlap; pair by pair the first place is the merge's all the same. At
# 90 % the order of the means turns, and the pairs do not tell who is first: the line ends at the
# fine-tune, which scores just below that, and a gentler run has gone further. Stopping early is far
# behind in both.
#
# So the two papers need not contradict each other. Wortsman and colleagues report gains. Harmon and
# colleagues (2025) find, over many kinds of post-training, that merging does *not* reliably
# mitigate forgetting. It depends on the road, and a road is quickly scored: **merging is a cheap
# first try. Sweep α and look.**

# %% [markdown]
# ## A fine-tune as a vector
#
# Subtract the base from the fine-tune, number by number. What is left is the **task vector**
# (Ilharco and colleagues 2022): all that the training has changed, and a thing one can scale, add
# and subtract. The line above was the base plus α times one vector. With two vectors there is more
# to do.
#
# A second team has a skill of its own: the house rule of lesson 04, *nobody is helped with buying,
# selling or borrowing*, taught here with counter-examples and by plain fine-tuning.

# %%
pairs = tax.rule_pairs(600, counter_examples=0.5)
taught = [{"prompt": pair["prompt"], "completion": pair["chosen"]} for pair in pairs]
ruled = finetune(base, taught, lr=3e-3, rank=8, steps=30, batch_size=8, seed=1).model
shop, rule = merging.task_vector(base, tuned), merging.task_vector(base, ruled)


# %%
def flat(vector):
    """All changes of a task vector in one row."""
    return torch.cat([change.flatten() for change in vector.values()])


rows = {"shop": flat(shop), "rule": flat(rule)}
for name, row in rows.items():
    print(f"{name}: length {row.norm():.1f}, half of its changes above "
          f"{row[row != 0].abs().median():.4f}")  # fmt: skip
cosine = torch.cosine_similarity(*rows.values(), dim=0)
print(f"angle between them: {torch.rad2deg(cosine.acos()):.1f} degrees")

# %% [markdown]
# The shop took a much longer way than the rule. And the two stand at right angles, as two
# directions among millions nearly always do: along one of them, the other hardly moves.
#
# ### Add
#
# **Predict before you run.** Two models are often merged by their mean. Will the mean know the shop
# and keep the rule?

# %%
asked = [suite for suite in tax.tax_suites(30) if suite.name in ("rule", "harmless", "howto")]
asked += load_suites(["support"], size=30)
scores({
    "the rule's": ruled,
    "their mean": merging.add(base, [shop, rule], [0.5, 0.5]),
    "their sum": merging.add(base, [shop, rule], [1, 1]),
    "0.7 shop + rule": merging.add(base, [shop, rule], [0.7, 1]),
}, asked)  # fmt: skip

# %% [markdown]
# Read `rule` as the percent of requests that are rightly refused, and `harmless` as those rightly
# answered. The mean holds half of each vector, and at half the way neither has wholly arrived. The
# sum holds both skills in one model, with all the damage that the shop had done to `howto`, and it
# answers fewer of the harmless requests than the rule's own model, 57 % for 77. And since the
# slider has told us how far the shop's vector needs to go, seven tenths of it keep both skills and
# most of `howto`. What is then missing in `harmless` is what the rule costs by itself.
#
# Two fine-tunes, one seed each, and thirty items, for the shop the very ones by which the seven
# tenths were chosen: enough to see that it can work, and no more.
#
# ### Take away
#
# A vector has an opposite. The base refuses harmful requests, which was no part of the rule; that
# was about buying, selling and borrowing. Subtract the rule from the base.
#
# **Predict before you run.** What will the base do less of? The last row is a control, as much of
# the shop's vector subtracted.

# %%
as_long = -2 * rows["rule"].norm() / rows["shop"].norm()
requests = [s for s in tax.tax_suites(30) if s.name in ("harmful", "harmless", "facts")]
scores({
    "base": base,
    "base - rule": merging.add(base, [rule], [-1]),
    "base - 2 rule": merging.add(base, [rule], [-2]),
    "base - shop, as long": merging.add(base, [shop], [float(as_long)]),
}, requests)  # fmt: skip

# %% [markdown]
# Subtracted once, the rule takes a few of the base's own refusals with it, and subtracted twice,
# about half of them. All the while facts and harmless requests stay where they were, and
# as long a piece of the shop's vector does nothing of the kind. It is what Ilharco and colleagues
# report, that a vector's opposite lowers its own task and changes little beside it, with a turn:
# harmful requests were not in the rule's training data. They share only its words of refusal.
#
# > **A note from experience.** A merge is a change of the model like any other, and the cheapest
# > one to make without noticing. Before you add or subtract anybody's vector, put the refusals on
# > the capability map as protected. The benchmarks of skills will not tell you.
#
# ### And the alignment tax?
#
# Lesson 04 left a question open: Lin and colleagues (2023) found that averaging the weights before
# and after pays the tax best. Our rule costs some harmless requests. Does going only a part of the
# way give them back?

# %%
parts = {f"{a:g} of the rule": merging.add(base, [rule], [a]) for a in (0.5, 0.75)}
scores(parts, [suite for suite in asked if suite.name in ("rule", "harmless")])

# %% [markdown]
# One end of this line is the rule's model, in the table under *Add* (`harmless` 77), the other the
# base, in the table under *Take away* (93). What comes back in harmless requests is paid for in the
# rule, and thirty items show no bargain on the way. That does not contradict Lin and colleagues:
# their tax was on skills, on models a thousand times larger. Ours is sixteen points of harmless
# requests, although the counter-examples had kept the rule narrow.

# %% [markdown]
# ## TIES and DARE
#
# Where two vectors want to move one weight in opposite directions, a sum serves neither. Two
# remedies are in every tool box. **TIES** (Yadav and colleagues 2023) keeps the largest fifth of
# each vector, elects a sign for each weight, and averages the changes that have it. **DARE** (Yu
# and colleagues 2023) drops changes at random and scales the others up, so that vectors meet less
# often. Before using either, look whether there is a conflict at all:

# %%
kept = [merging.trim(vector, 0.2) for vector in (shop, rule)]
both = sum(int(((one != 0) & (other != 0)).sum()) for one, other in zip(*map(dict.values, kept)))
share = both / sum(int((one != 0).sum()) for one in kept[1].values())
print(f"of the rule's largest fifth {share:.0%} lie where the shop's largest fifth lies too,")
print(f"and there {merging.agreement(kept):.0%} of the weights move the same way")


# %%
def holds(model):
    """How much of each vector is in a model, and the length of its change."""
    change = flat(merging.task_vector(base, model))
    shares = {f"of the {name}": change @ row / (row @ row) for name, row in rows.items()}
    return {name: float(value) for name, value in {**shares, "length": change.norm()}.items()}


# %%
part = {name: 0.7 * change for name, change in shop.items()}
dropped = {d: [merging.dare(part, d, seed=0), merging.dare(rule, d, seed=1)] for d in (0.5, 0.9)}
merges = {
    "TIES": merging.ties(base, [part, rule], density=0.2),
    "TIES, twice as far": merging.ties(base, [part, rule], density=0.2, scale=2),
    "DARE, half dropped": merging.add(base, dropped[0.5], [1, 1]),
    "DARE, 9 of 10 dropped": merging.add(base, dropped[0.9], [1, 1]),
}
inside = pandas.DataFrame({name: holds(model) for name, model in merges.items()}).T.round(2)
pandas.concat([scores(merges, asked), inside], axis=1)

# %% [markdown]
# There is no more conflict than chance gives. Where both vectors are large, half of the weights
# agree in sign, as coins would. The columns on the right say what happened instead. TIES leaves
# three quarters of the shop's part (0.53 of 0.7) and half of the rule, since it trims both and lets
# the longer one win the elections. Sent twice as far, it holds the rule again and all of the shop,
# with the shop's whole damage to `howto`, where the plain sum needed seven tenths, and answers only
# 47 % of the harmless requests.
#
# DARE keeps its promise about the mean, seven tenths and one. But what it drops and scales up is
# noise beside the vectors: with nine in ten dropped the change has become three times as long, and
# ruins the model; with every second one dropped it does little harm. Its authors report that 90 or
# even 99 % can go, for changes that are typically within 0.002. Most of the shop's are larger, as
# printed above.
#
# This refutes neither. TIES is made for many fine-tunes that get in each other's way, DARE for
# large models with small changes. It shows what to look at first: the angle, the signs, the size.

# %% [markdown]
# ## Adapters: a mean that is no mean
#
# LoRA's change of a weight is a product, $B A$. PEFT merges adapters with `add_weighted_adapter`,
# which offers a way called `linear`. It sums the A's and the B's apart and multiplies the sums:
#
# $$\tfrac{1}{2}(B_1 + B_2)(A_1 + A_2) = \tfrac{1}{2}\,(B_1 A_1 + B_2 A_2 + B_1 A_2 + B_2 A_1).$$
#
# The last two terms belong to neither fine-tune. `cat` puts the factors side by side and is exact,
# at the price of both ranks together; `svd` is the best approximation of the true sum at one rank.
#
# **Predict before you run.** How far is `linear` from the true mean? The table gives error and
# length in units of that mean's length.

# %%
pandas.DataFrame(merging.combination_errors([tuned, ruled])).round(6)

# %%
scores({"PEFT, linear": merging.combined([tuned, ruled], [0.7, 1], "linear")}, asked)

# %% [markdown]
# `cat` is the mean, to rounding. `linear` misses it by half of its length, and with the weights of
# our best sum it breaks the rule more often, and loses `howto` answers that the true sum has.
#
# > **Common gotcha.** `linear` may also look *better* than the mean. Adapters that were trained
# > with one seed begin with the same A's, the cross terms then point along the update, and the
# > "mean" comes out up to twice too long, close to the sum. If a longer update is what you want,
# > ask `cat` for it by its weights, and it will not depend on a seed.
#
# Even `cat` has a trap. **rsLoRA** scales an adapter by $\alpha/\sqrt{r}$ instead of $\alpha/r$.
# PEFT (0.21 here) gives the merged adapter a scale that would cancel in plain LoRA, and forgets the
# root:

# %%
from peft import LoraConfig, get_peft_model

config = LoraConfig(r=8, use_rslora=True, init_lora_weights=False, target_modules=["c_attn"],
                    fan_in_fan_out=True)  # fmt: skip
pair = get_peft_model(copy.deepcopy(base), config)
pair.add_adapter("other", config)
pair.add_weighted_adapter(["default", "other"], [0.5, 0.5], "mean", combination_type="cat")
one, other, mean = (merging.updates(pair, name) for name in ("default", "other", "mean"))
place = next(iter(mean))
ratio = mean[place].norm() / (0.5 * one[place] + 0.5 * other[place]).norm()
print(f"PEFT's mean is {ratio:.2f} times as long as the true one; the root of 16 is 4")

# %% [markdown]
# So the two adapters' mean would act like four times itself. `merging.combined` refuses such
# adapters and names the way out, which always works: add the models' task vectors.

# %% [markdown]
# ## When merging fails
#
# The slider starts at the base and ends at the fine-tune, so it can only be as good as the road
# between them. Here is a run like the winner of lesson 04: every weight trained, at a rate that
# leaves nothing but the shop.
#
# **Predict before you run.** Is there an α at which it knows the shop and the rest? (In the figure
# a line joins those points of a run that none of its others beats in both.)

# %%
far = finetune(base, read_tickets(), lr=6e-3, rank="full", steps=30).model
print(merging.angle(base, far))
ruined = merging.sweep(base, far, [0.3, 0.5, 1], suites)


# %%
def on_plane(found):
    """(learned, lost) of each snapshot."""
    old = [suite.name for suite in suites[1:]]
    kept = [fmean(now.score(name) for name in old) for now in found.values()]
    before = fmean(scored[0].score(name) for name in old)
    return [(now.score("support"), before - mean) for now, mean in zip(found.values(), kept)]


plot.points(
    {"the standard run": on_plane(scored), "trained too far": on_plane({0: scored[0], **ruined})},
    x="support: items right (%)", y="old skills: points lost", downwards=True,
)  # fmt: skip

# %%
table = {f"standard run, {a:g}": scored[a] for a in (0.5, 0.75, 1)}
table |= {f"too far, {a:g}": found for a, found in ruined.items()}
pandas.DataFrame({name: found.scores() for name, found in table.items()}).T.round()

# %% [markdown]
# Half-way on this road the shop is there, as well as at its end, and far less is lost: going back
# helps here too. It does not help enough. At nearly the same support score the standard run has
# lost less than a third as much, and on the road of the far one none of the three points has both.
# At every α that we scored, what the training had overwritten came back only in part, or with the
# target gone. Then the remedy lies before the training: lessons 06 and 07.
#
# Nothing in the angle gave a warning. Six degrees or five: it says how to walk, not where to.

# %% [markdown]
# ### When it goes wrong
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
# every shape agrees. The last can be done on purpose, with `extrapolate=True`: α above 1 goes on
# past the fine-tune.

# %% [markdown]
# ## Exercises
#
# ### 8.1 Along the arc · medium · 10 minutes
#
# Write `slerp(a, b, alpha)`. `a` and `b` are torch tensors of one shape, which may be a vector or a
# matrix. Return
# $\frac{\sin((1-\alpha)\theta)}{\sin\theta}\,a + \frac{\sin(\alpha\theta)}{\sin\theta}\,b$, with
# $\theta$ the angle between the two taken as vectors. Where they are parallel there is no arc:
# return the straight line $(1-\alpha)\,a + \alpha\,b$.
#
# <details><summary>Hint</summary>
#
# An angle belongs to two directions, so lengths have to be taken out of the dot product before
# `torch.acos`. Rounding can leave a cosine of 1.0000001: `clamp` brings it back.
#
# </details>


# %% tags=["exercise"]
def slerp(a, b, alpha):
    # BEGIN SOLUTION
    import torch

    cosine = (a * b).sum() / (a.norm() * b.norm())
    theta = torch.acos(cosine.clamp(-1, 1))
    if theta < 1e-3:
        return (1 - alpha) * a + alpha * b
    ends = torch.sin((1 - alpha) * theta) * a + torch.sin(alpha * theta) * b
    return ends / torch.sin(theta)
    # END SOLUTION


check("8.1", slerp)

# %% [markdown]
# ### 8.2 The election · medium · 10 minutes
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
# ### 8.3 The exact mean of two adapters · hard · 15 minutes
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
# ## Check your understanding

# %%
quiz("08")

# %% [markdown]
# ## Recap
#
# 1. A part of the way from base to fine-tune keeps much of both where what is learned arrives
#    before the rest has left. Choose α by looking, report it on other items, and compare with
#    gentler training at equal target score.
# 2. Fine-tunes are vectors. Two at right angles can be added, a mean holds only half of each, and
#    subtracting one may take away what it never taught. TIES and DARE are for conflicts: look for
#    one first.
# 3. At five degrees SLERP is the straight line. PEFT's `linear` is not the mean of two adapters,
#    `cat` is, but not with rsLoRA. And where the road between two models has no good point, no α
#    finds one.
#
# **Next:** lesson 09 ships a model: two adapters in service, a canary, and a way back.
#
# ## Sources
#
# - Wortsman et al. (2021), *Robust fine-tuning of zero-shot models* (WiSE-FT), arXiv 2109.01903,
#   for the line, with CLIP; against it Harmon et al. (2025), *Mapping post-training forgetting in
#   language models at scale*, arXiv 2510.17776: merging does not reliably mitigate forgetting.
# - Shoemake (1985), *Animating rotation with quaternion curves*, for SLERP.
# - Ilharco et al. (2022), *Editing models with task arithmetic*, arXiv 2212.04089; Yadav et al.
#   (2023), *TIES-Merging*, arXiv 2306.01708; Yu et al. (2023), *Language models are super Mario*
#   (DARE), arXiv 2311.03099.
# - Lin et al. (2023), *Mitigating the alignment tax of RLHF*, arXiv 2309.06256; Ainsworth et al.
#   (2022), *Git Re-Basin*, arXiv 2209.04836.
# - The glossary of the course: `docs/GLOSSARY.md`.
