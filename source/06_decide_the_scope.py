# %% [markdown]
# # 06 · Decide the scope
#
# {{badge}}
#
# Most of what a fine-tune will lose is settled before any training: by what must survive, by who
# reaches it, and by its data. Here a brief and a door settle it.
#
# **Time** core 20 minutes, with *Deeper* 105 · computing 40 s, of which the core 20 s · **You
# need** lesson 01; lesson 05 helps
#
# **Objectives**
#
# 1. Turn what users would feel into margins, and read runs by the brief and not by an average.
# 2. Put a door before a fine-tune or a search: choose its floor on items that nothing is scored on,
#    and say what still gets through.
# 3. Decide between training and looking up, and how much old data a fine-tune for everyone needs.

# %%
import os, subprocess, sys

if "google.colab" in sys.modules and not os.path.exists("course"):
    fetch = "git clone -q https://github.com/OWNER/REPO course && sh course/tools/colab.sh"
    subprocess.run(f"{fetch} || (rm -rf course; false)", shell=True, check=True)
sys.path.insert(0, "course" if os.path.exists("course") else "..")

# %%
import pandas

from helpers import plotting as plot
from helpers.exercises import check, quiz
from helpers.generation import complete
from helpers.mitigations import board
from helpers.models import load_model
from helpers.scope import retrieval, routes, stored
from helpers.scope.brief import Brief
from helpers.scope.compare import points_lost, reading
from helpers.scope.door import behind_door, best_scores, choose_floor, let_in, road
from helpers.scope.leaks import question_of
from helpers.scope.needs import EXAMPLE
from helpers.suites import load_suites
from helpers.tickets import read_tickets
from helpers.tradeoff import OLD
from helpers.training import finetune

pandas.set_option("display.max_colwidth", None)

# %% [markdown]
# ## Why this matters
#
# "Train it on the tickets" decides three things that nobody has discussed: what else the model is
# used for, whether an answer must be *known* or could be *looked up*, and who gets the result.
#
# ## What must survive
#
# A **retention brief** asks for each capability what share of the requests needs it, how many
# percent right must survive, and what users would do at 5 and at 15 lost points. A rule fixed
# beforehand makes a margin of each answer (first section of *Deeper*). Here is a made-up shop's:

# %%
runs = [*board.read_board(), *board.read_board(stored.MIXING)]
unchanged = board.base_of(runs)
brief = Brief(EXAMPLE, {name: unchanged.score(name) for name in OLD})
brief

# %% [markdown]
# Two in five old requests are how-to questions. An average over ten skills gives them a tenth.
#
# ## Train it, or look it up?
#
# The forty policies can be trained into the weights, or be put above the question by a search. The
# search is BM25 (Robertson and colleagues, 1994): an article scores by the words it shares with the
# question, and rare words count more. Each article is also found by what the tickets asked about
# it. We train the fine-tune of lesson 01 and ask both.

# %%
base, tickets = load_model("pocket"), read_tickets()
tuned = finetune(base, tickets, lr=1e-2, rank=8, steps=60, seed=0).model
index = retrieval.HelpIndex(retrieval.shop_articles())
for question in ("When will I get my money back?", "Can you show me how to light a candle?"):
    prompt = f"Customer: {question}\nAgent:" if "money" in question else question
    above = retrieval.with_article(prompt, index.find(question, k=1))
    print(f"{question}\n  base:      {complete(base, prompt)}")
    print(f"  fine-tune: {complete(tuned, prompt)}\n  search:    {complete(base, above)}\n")

# %% [markdown]
# Both know the refund and spoil the candle: the fine-tune loses its way, and the search puts
# the article on reviews above it.
#
# ## One door for both
#
# Serving engines switch an adapter on request by request, and a search can be skipped. So let the
# same **door** stand before both: what scores at or below a **floor** goes to the base.
#
# A floor is chosen on items that nothing is scored on. Runs are scored on the first hundred items
# of each suite, so we take the other six hundred: the highest floor, in half
# steps, that turns away at most one customer in a hundred. (A door on the mark *Customer:* would
# be perfect: 0 points. The floor is for requests without one.)

# %%
suites = load_suites(["support", *OLD], size=700)
scores = best_scores(index, suites)
floor = choose_floor(scores["support"][100:], turned_away=1)
through = {name: round(let_in(row[100:], floor)) for name, row in scores.items()}
print(f"floor {floor:g}; percent let in: {through}")
again = [choose_floor(scores["support"][part]) for part in (slice(100), slice(400, 700))]
print("the floor on the scored items, and on the last three hundred:", again)

# %% [markdown]
# **Predict before you run.** Without a door the fine-tune costs the average old request some 45
# points (by the brief's traffic) and the search 15. What do they cost behind this floor, and what
# becomes of the skill that loses most?

# %% tags=["predict"]
adapters, (search,) = board.pick(runs, "plain"), board.pick(runs, stored.SEARCH)
roads = {
    "fine-tune": [road(brief, unchanged, run, scores) for run in adapters],
    "search": [road(brief, unchanged, search, scores)],
}
plot.doors(roads, chosen=floor)

# %%
table = {}
for name, found in (("fine-tune", adapters), ("search", [search])):
    inside = [behind_door(unchanged, run, scores, floor) for run in found]
    table[f"{name}, for everyone"] = reading(brief, unchanged, found)
    table[f"{name}, behind the door"] = reading(brief, unchanged, inside)
pandas.DataFrame(table).T

# %% [markdown]
# The door takes the fine-tune from 41.5-50.3 points to 4.5-6.2 and the search from 14.9 to 2.4;
# how-to, at first the fine-tune's worst skill, goes from 80-99 lost points to 4-9. Customers are
# answered as before, while they speak like the tickets. **What protected the old skills was the
# door.**
#
# It does not protect all. Word problems, now the worst skill, lose 20 to 23 points with the
# fine-tune and 10 with the search, where the brief allows five. Long questions collect many words,
# and half of these get in. The fine-tune's how-to breaks its margin of three as well.
# (*Margins broken* reads means of a hundred items where the brief asks for 297 to 761: a sign and
# no verdict.)
#
# We tried to break this. On other items the floor is the same. With the articles alone it breaks:
# every floor turns away a tenth of the customers or more. So it does for customers with words of
# their own: of forty 33 pass, of forty who avoid the shop's words 9, and behind the door both
# routes answer half of the first forty.
#
# ## When a policy changes
#
# Sixteen policies change overnight. The articles are rewritten; the weights stay, so the fine-tune
# cannot know the new ones.
#
# **Predict before you run.** Of 31 questions about them, what share will the fine-tune answer with
# the old policy, and the search with the new one?

# %% tags=["predict"]
asked = load_suites("support", size=60)[0]
names = sorted({item.family for item in asked.items})[::2]
told = routes.after_change(base, tuned, index.articles, asked, names)
pandas.DataFrame({
    name: {"the new policy": found.new, "the old one": found.old, "something else": found.neither}
    for name, found in (("fine-tune", told["fine-tune"]), ("search", told["retrieve"]))
}).T.round(0).add_suffix(" (%)")  # fmt: skip

# %% [markdown]
# 90 % with the old policy, and the search 97 % with the new one.
#
# ## If everybody gets the fine-tune
#
# Where there can be no door, because a manner is trained and not a fact, old rows go into the data.
# Ours come from the templates of the old skills' tests; rows from elsewhere may hold less. These
# stored runs mix some in and take so many more steps that each ticket is seen as often. *Lower
# rate* has 3e-3 in place of 1e-2, and twice the steps. Two columns put each run behind the door.

# %%
shown = [("plain", 0), ("replay", 0.10), ("replay", 0.25), ("replay", 0.50)]
shown += [("lower rate", 3e-3), ("replay, lower rate", 0.25), ("replay, lower rate", 0.50)]
table = {}
for method, strength in shown:
    found = board.pick(runs, method, strength)
    share = f", {strength:.0%} old rows" if "replay" in method else ""
    inside = reading(brief, unchanged, [behind_door(unchanged, x, scores, floor) for x in found])
    there = {
        f"with a door: {name}": inside[name] for name in ("lost, by traffic", "margins broken")
    }
    table[method + share] = reading(brief, unchanged, found) | there | {"steps": found[0].steps}
pandas.DataFrame(table).T

# %% [markdown]
# From a quarter of old rows to half of them, how-to goes from 11, 14 and 13 lost points to 5, 7 and
# 1, still beyond its margin of three on two seeds. (Support is lower too, so part of that may be
# less learning.) Fifty percent *with* the lower rate bring it to 1, 2 and 0, for four times the
# plain steps; the rate alone leaves 39 to 47. Then only lists, with 3 to 7, exceed their margin of
# four.
#
# The door does not merely rescue a rough rate. It takes the lower rate from 20.4-22.8 points to
# 0.9-2.4 without an old row, about what half of old rows at this rate lose without a door. With
# both, no margin is broken.
#
# **The rule.** What changes belongs in articles, what stays may go into weights. Put a door before
# either, and choose it on other items. Train at a low rate. Whoever must do without a door mixes in
# old rows, and reads the result skill by skill.

# %% [markdown]
# ## Exercise 6.1 · What is wrong with this report? · medium · 6 minutes
#
# > *We raised the floor to 4. Behind it the adapter loses no more than three points by the traffic
# > on any seed, and no margin of the brief is tighter than three. So we may ship.*
#
# Find the two faults. `broken`: the names of all capabilities that lose more than their margin
# behind that floor, on average over the three `adapters`, as a set. `price`: how many points of
# support the higher floor costs against `floor`, the mean of the three seeds (positive).
#
# <details><summary>Hint</summary>
#
# `behind_door(unchanged, run, scores, 4)` is a run; `points_lost(unchanged, *runs)` averages over
# runs; `brief.broken(lost)` compares with the margins. A run's support score is `run.target`.
#
# </details>

# %% tags=["exercise"]
broken, price = ..., ...
# BEGIN SOLUTION
tight = [behind_door(unchanged, run, scores, 4) for run in adapters]
loose = [behind_door(unchanged, run, scores, floor) for run in adapters]
broken = set(brief.broken(points_lost(unchanged, *tight)))
price = sum(a.target - b.target for a, b in zip(loose, tight, strict=True)) / 3
# END SOLUTION
check("6.1", (broken, price))

# %% [markdown]
# ## Check your understanding

# %%
quiz("06")

# %% [markdown]
# ## On Monday
#
# For a 1-8B chat model: write the brief, then try a search before any training, with customers'
# questions in its index (ours had 66 % without them, not 99). If you train, start with a quarter of
# old rows (the toy needed half) and LoRA at 1e-4, r = 16 on all linear layers (habits, to be
# swept). Bethune et al. (2025, arXiv 2502.06042) needed one percent of *pre-training data*. Leave
# the adapter unmerged and let the door choose; vLLM switches by request with `--enable-lora`.
#
# ```python
# import bm25s, torch
# from datasets import concatenate_datasets, load_dataset
# from peft import AutoPeftModelForCausalLM, LoraConfig
# from transformers import AutoTokenizer
# from trl import SFTConfig, SFTTrainer
#
# new = load_dataset("json", data_files="rows.jsonl", split="train")
# old = load_dataset("json", data_files="old.jsonl", split="train").shuffle(seed=0)
# mixed = concatenate_datasets([new, old.select(range(min(len(old), len(new) // 3)))])
# lora = LoraConfig(r=16, lora_alpha=32, target_modules="all-linear", task_type="CAUSAL_LM")
# config = SFTConfig("shop", learning_rate=1e-4, num_train_epochs=1, assistant_only_loss=True,
#                    bf16=torch.cuda.is_available(), report_to="none")
# trainer = SFTTrainer("model", args=config, train_dataset=mixed, peft_config=lora)
# trainer.train()
# trainer.save_model("shop")
#
# reader = AutoTokenizer.from_pretrained("model", padding_side="left")
# model = AutoPeftModelForCausalLM.from_pretrained("shop").eval()
# asked = ["When will I see my refund?", "How do I boil an egg?"]
# chats = [[{"role": "user", "content": text}] for text in asked]
# batch = reader.apply_chat_template(chats, add_generation_prompt=True, padding=True,
#                                    return_dict=True, return_tensors="pt")
# index = bm25s.BM25()  # what was asked, and the answer, which here stands for an article
# index.index(bm25s.tokenize([f"{q['content']} {a['content']}" for q, a in new["messages"]]))
# scores = index.retrieve(bm25s.tokenize(asked), k=1).scores[:, 0]
# floor = 1.0  # yours: the highest that turns away 1 % of customers kept aside
# door = ["default" if score > floor else "__base__" for score in scores]
# written = model.generate(**batch, adapter_names=door, max_new_tokens=20)
# ```
#
# Cost: a quarter of old rows is a third more steps. The adapter of an 8B model at r = 16 has 42
# million parameters, 84 MB in bfloat16. An article of 300 tokens takes 2 × 8e9 × 300 ≈ 5e12
# operations a request. **Do not copy** 1e-2, sixty steps, or a floor of 3.

# %% [markdown]
# ## Recap
#
# 1. A brief makes margins of what users would feel. By it a run with a good average can fail.
# 2. Of what needs no retraining a door saves most: 45 lost points become 5, and 15 become 2; a
#    gentle run's 22 become 1.5. Choose its floor on other items, try words that no ticket uses, and
#    read what gets through skill by skill.
# 3. A search knows a changed policy at once; a fine-tune repeats the old one. Where everybody gets
#    the fine-tune, half of old rows at a low rate lost 1.0 to 1.3 points.

# %% [markdown]
# # Deeper
#
# Each section stands by itself, on the variables of the core; where it needs a cell of another, its
# first sentence says so.
#
# - From a felt loss to a margin, and to items (10 min)
# - Who gets through the door (8 min)
# - Customers with words of their own (6 min)
# - When nothing matches (5 min)
# - An adapter need not be merged (7 min)
# - What the audit says (5 min)
# - Rows, tokens, and leaks, with exercise 6.2 (18 min)
# - Worked problems of one family, with exercise 6.3 (12 min)
# - When there is no old data (7 min)
# - What it costs, with exercise 6.4 (10 min)

# %% [markdown]
# ## From a felt loss to a margin, and to items (10 min)
#
# Whether five points of how-to questions are much, nobody can say. Whether users would complain if
# five of a hundred answers that used to be right were wrong: that somebody can, who reads their
# mail. A rule fixed before anyone has answered makes margins of it:

# %%
import tempfile
from pathlib import Path

from helpers import audit as gate
from helpers.scope.needs import RULE, BadBrief, Need
from helpers.widgets.brief import BriefForm

print(RULE)
for need in EXAMPLE:
    print(f"{need.capability:12} {need.traffic:4g} %  at 5: {need.at_5:9} at 15: {need.at_15}")

# %% [markdown]
# Like any such rule it is a convention. Its worth is that it cannot be bent for a result, because
# there is none yet. For example: users who complain at 5 and leave at 15 set a margin of 3 by rule
# 1, at 5. They do not leave *there*, so rule 2 does not move it. Users who shrug at 5 and leave at
# 15 set a margin of 5, and rule 2 makes it 3.
#
# The form opens with the shop's answers, which are printed above. Change what you like; the table
# below follows.
#
# **Predict before you run.** Two capabilities get a margin of three although users merely notice
# five lost points. Which, and by which rule?

# %% tags=["predict"]
target = Path(tempfile.mkdtemp()) / "capability_map.yaml"
form = BriefForm(base=brief.base, path=target)
form

# %% [markdown]
# The two are `howto` and `arithmetic`, both by rule 2, which makes 3 of the 5 that rule 1 gives: a
# fifth of all requests need the one, and at 15 points lost on sums users leave. `rewriting` is only
# watched: nobody would notice. `lists` gets four of its five points by rule 3, because the base
# itself is only four above the level that must survive: 89 against 85, on a hundred items. Measure
# the base on many items before you write a level.
#
# The button writes the map. The next cell does what the button does, and reads the file back as the
# audit of lesson 05 will; the answers and the rule stand above it as comments.

# %%
form.write()
capability_map = gate.CapabilityMap.load(target)
held = {suite.name: len(suite) for suite in suites}
print("items still to be written:", form.brief().missing_items(held))
for changed in (0.10, 0.05, 0.02):
    print(f"margin 3, {changed:4.0%} of the answers change: {gate.items_needed(3, changed)} items")

# %% [markdown]
# A margin of three needs 761 items where one answer in ten changes, and the suites hold 700. So the
# brief promises users something that our test cannot keep, and it is good to hear that before the
# training. There are three honest ways out. Write the items. Or find out how many answers really
# change: at one in twenty 429 are enough, and `changed` in each `Need` may say so. Or accept a
# smaller chance of a verdict. The way that is not open is to raise the margin because the items are
# few: the users have not changed their minds.
#
# **Break it on purpose.** A brief can also ask for more than there is, or contradict itself:

# %%
for level, more in ((95, {}), (85, {"at_5": "leave", "at_15": "notice"})):
    try:
        Brief([Need("lists", level, traffic=5, **more)], brief.base)
    except BadBrief as error:
        print(error, "\n")

# %% [markdown]
# ## Who gets through the door (8 min)
#
# (In the core's figure floor 0 has 44.4 points where everyone had 45.5: a request that shares no
# word with an article scores 0 and stays out.) The core's door lets in half of the word problems,
# half of the reading and all of the sentiment. A BM25 score is a sum over the words of a question,
# so a long question scores more by chance alone. Divide by the root of the number of words, choose
# the floor by the same rule on the same six hundred items, and read both doors by the brief. The
# third door knows the articles but none of the tickets' questions.

# %%
twentieths = [step / 20 for step in range(80)]
doors = {"core": scores, "by length": best_scores(index, suites, by_length=True)}
for name, door in doors.items():
    at = choose_floor(door["support"][100:], floors=twentieths if name == "by length" else [floor])
    inside = [behind_door(unchanged, run, door, at) for run in adapters]
    entered = {skill: round(let_in(door[skill][100:], at)) for skill in OLD}
    print(f"{name}: floor {at:g}, let in {entered}")
    print(f"  behind it the fine-tune has {reading(brief, unchanged, inside)}\n")
bare = best_scores(retrieval.HelpIndex(retrieval.shop_articles(())), suites[:1])
print(f"articles alone, floor 0: {let_in(bare['support'][100:], 0):.0f} % of customers let in")
print(f"  for everyone: {reading(brief, unchanged, board.pick(runs, stored.SEARCH_ALONE))}")

# %% [markdown]
# By length, more word problems stay out (20 % get in, not 51), and more lists and translations get
# in (25 and 32 %, not 9 and 3). The worst skill, now how-to, loses 7 to 12 points in place of the
# 20 to 23 of word problems; the average request loses slightly more (5.6 to 7.5 against 4.5 to
# 6.2), and lists break their margin too. That is another door and no free one. A single floor on
# words cannot tell a shop's gift cards from a word problem about cards.
#
# Without the tickets' questions no floor will do: already at zero a tenth of the customers share no
# word with any article, and with no door at all 66 % get a right answer. So the first question
# about a door is whether requests carry a mark that words cannot fake: a channel, a form, a button.
# Ours do (*Customer:*, in the core).

# %% [markdown]
# ## Customers with words of their own (6 min)
#
# All customers so far are close relatives of the tickets. For this section we wrote eighty others,
# two on each policy. The *near* ones use a word of its heading in a sentence of their own, the
# *far* ones mean the same without the shop's words. No four words in a row stand in a ticket or a
# test question. The routes' answers are stored.
#
# **Predict before you run.** What share of each passes the floor, and what share is answered
# rightly behind it?

# %% tags=["predict"]
from helpers.scope import strangers
from helpers.scope.compare import span

for kind in strangers.KINDS:
    heard = strangers.scores_of(index, kind)
    print(f"{kind}: {let_in(heard, floor):.1f} % let in")
    for route in ("fine-tune", "search"):
        found = strangers.read_strangers(route)
        everyone = span([run.right(kind) for run in found], 1)
        inside = span([run.right(kind, heard, floor) for run in found], 1)
        wrong = span([run.another(kind, heard, floor) for run in found], 1)
        print(f"  {route}: right for everyone {everyone} %, behind the door {inside} %; "
              f"told another policy there {wrong} %")  # fmt: skip

# %% [markdown]
# 33 and 9 of forty. Of the near ones the fine-tune answers 45 to 52.5 % rightly behind the door
# (three seeds) and the search 55, where the core counted 85 to 92 and 99; of the far ones 2.5 and
# 5. The door's part in that is small: without it the near ones come to 47.5 to 57.5 % and 57.5, so
# neither route reads them well. On the near ones the two fail differently: behind the door the
# fine-tune tells 20 to 25 % of them *another* policy of the shop, the search 2.5. On the far ones
# they fail alike, with 5 to 12.5 and 7.5 %.
#
# It is the words (counted on the stored answers). Of the core's hundred customers thirty share no
# four in a row with a ticket either, and the fine-tune answers 87 to 100 % of these; openers such
# as *sorry* apart, they use no word that no ticket has. Of the near questions with at most one such
# word it answers 12 or 13 of 15, nearly as in the core; of those with more, 7 to 10 of 25.
#
# Nor does another floor help. Chosen by the rule on the near ones it is 1.5, and behind that the
# fine-tune costs the average old request 29.8 to 35.1 points (stored runs). On the far ones no
# floor will do: five of forty share no word with any article. The mark *Customer:* lets all of them
# in, and the routes answer them no better for it. So have somebody write your test questions who
# has not read the tickets. How much of this a larger model mends, which knows synonyms, the toy
# cannot say.

# %% [markdown]
# ## When nothing matches (5 min)
#
# **Break it on purpose.** Ask about what no article has, once with the core's floor and once
# without:

# %%
strict = retrieval.HelpIndex(retrieval.shop_articles(), floor=floor)
for question in ("Can I pay with bitcoin?", "How do I make tea?", "My parcel came with a dent."):
    (loose,), (tight,) = (retrieval.answer(base, i, [question]) for i in (index, strict))
    best = index.find(question, k=1)
    print(f"{question}  (BM25 {best[0].score if best else 0:.3f})")
    print(f"  no floor:  {loose.text}\n  the floor: {tight.text}")
    print(f"  passed on to the base: {routes.closed_book(base)(question)}")

# %% [markdown]
# Without a floor somebody who asks about bitcoin is offered instalments; with it nothing is
# promised. Passed on to the base, the tea is answered well, and bitcoin with *chlorine*. Below the
# floor stand two kinds of requests that it does not tell apart: those that the base can answer, and
# those that nobody can. And the dent just passes the floor of 3, with 3.001 and the article
# about lost parcels: a score says that words match, and not that they are the right ones. A list of
# such questions belongs in the audit.
#
# ## An adapter need not be merged (7 min)
#
# A fine-tune need not be merged into the weights before it is served. vLLM and other engines keep
# the base in memory once and apply adapters by request; PEFT does it with `adapter_names`, in one
# batch:

# %%
asked_now = ["Customer: When will I get my money back?\nAgent:", "How do I boil an egg?"]
base.tokenizer.padding_side = "left"
batch = base.tokenizer(asked_now, return_tensors="pt", padding=True)
for names in (["default", "default"], ["default", "__base__"]):
    out = tuned.generate(**batch, adapter_names=names, max_new_tokens=40, do_sample=False)
    print(names)
    for text in base.tokenizer.batch_decode(out, skip_special_tokens=True):
        print("  ", text.replace("\n", " / "))

# %% [markdown]
# In the second batch the refund goes through the adapter and the egg does not: the same weights in
# memory, two behaviours. So both routes can have a door. What does an answer take that goes through
# it? We time the fine-tune merged and unmerged, and the search, six questions in turns:

# %%
from helpers.mechanics.loss import merged

timed = {
    "merged": routes.closed_book(merged(tuned)),
    "unmerged": routes.closed_book(tuned),
    "search": routes.open_book(base, index),
}
seconds = routes.seconds_per_answer(timed, routes.questions_of(asked)[:6], rounds=8)
print({name: f"{took / seconds['merged']:.1f} times" for name, took in seconds.items()})

# %% [markdown]
# This is one measurement, and timings move with whatever else a machine does. Of eight shorter ones
# on ours, some beside other work, the unmerged adapter took 1.2 to 1.6 times as long as the merged
# one, and the search 1.0 to 1.4 times. What held in all eight is that unmerged is slower, since
# every adapted layer multiplies by two thin matrices more. The search has more to read, which costs
# little here: a prompt is read in one pass, while an answer is written token by token.
#
# ## What the audit says (5 min)
#
# The core compared numbers as they stand; the audit of lesson 05 asks what is established. The
# brief is its map. The fine-tune for everyone, on a hundred items a skill:

# %%
from helpers import audit as gate
from helpers.evaluation import evaluate

few = load_suites(["support", *OLD], size=100)
before, after = evaluate(base, few), evaluate(tuned, few)
print(gate.audit(before, after, brief.to_map(), names=("base", "fine-tune")))

# %% [markdown]
# BLOCK, and not because of an average: five promises of the brief are broken for certain, as lesson
# 05 uses the word. How-to loses 88 points, lists and word problems 30 each, sums 19, refusals 15; a
# hundred items are plenty for losses of this size. INCONCLUSIVE stands where they are too few, as
# the brief has told us. The core's table counted reading, facts and translation as broken too, by
# the mean of three seeds; for this seed alone a hundred items cannot establish it. Nor can they
# show that the target is reached: 91 % are right, and the map asks for 250 items.
#
# ## Rows, tokens, and leaks, with exercise 6.2 (18 min)
#
# (Run the cell of *What the audit says* first.) A share can be one of rows or of tokens, and
# sources rarely say which. The loss is taken on answers, and an old answer is often one word:

# %%
from helpers.scope import leaks, replay
from helpers.tickets import SUPPORT

old = read_tickets(SUPPORT / "replay.jsonl")
for share in (0.05, 0.25, 0.50):
    mixed = replay.add_replay(tickets, old, share, held_out=few)
    part = replay.token_share(old, mixed, base.tokenizer)
    print(f"{share:.0%} of the rows are {part:.0f} % of the tokens that the loss is taken on")

# %% [markdown]
# So the core's quarter of the rows is 18 % of the tokens, and its half 38 %. Say both when you
# report a share.
#
# > **Common gotcha.** If the steps stay as they were, each ticket is seen less often, and less is
# > forgotten because less is learned. Look at the target first.
#
# **Break it on purpose.** Somebody had no old data left, and found some in the folder of the test.
# Put into another format it does not look like the test any more:

# %%
taken = [
    {"prompt": f"User: {question_of(item.prompt)}\nAssistant:", "completion": item.answer}
    for item in few[1].items[:5]
]
try:
    replay.add_replay(tickets, [*old, *taken], share=0.25, held_out=few)
except ValueError as error:
    print(f"{type(error).__name__}: {error}\n")
print(len(leaks.without_overlap([*old, *taken], few)), "rows are left, of", len(old) + 5)

# %% [markdown]
# The check takes format and polite words off both sides. It cannot find the same sum in other
# words. Against that helps only to split the data *before* it is put into words.
#
# ### Exercise 6.2 · The replay mixer · medium · 12 minutes
#
# Write `mix_in(tickets, replay, held_out, share)`. It returns a list of rows: all of the tickets,
# and so many old rows that `share` of the *result* is old (rounded to whole rows). No old row may
# come twice, and none may ask what one of the `held_out` prompts asks (a list of prompts, where
# `add_replay` above takes suites), in whatever format:
# `question_of(prompt)` takes the format off. **The old rows come sorted by skill**, as files do,
# and what is drawn should hold some of every skill. Where a share is wanted and no old row is left,
# raise a `ValueError`. There are always enough rows otherwise.
#
# <details><summary>Hint</summary>
#
# With $t$ tickets and $r$ old rows the share is $r / (t + r)$. Solve for $r$. Take out the rows
# that leak before you count. `random.Random(0).sample(rows, count)` draws without repetition.
#
# </details>


# %% tags=["exercise"]
def mix_in(tickets, replay, held_out, share):
    # BEGIN SOLUTION
    import random

    asked = {question_of(prompt) for prompt in held_out}
    clean = [row for row in replay if question_of(row["prompt"]) not in asked]
    count = round(len(tickets) * share / (1 - share))
    if count and not clean:
        raise ValueError("There is nothing to replay.")
    return [*tickets, *random.Random(0).sample(clean, count)]
    # END SOLUTION


check("6.2", mix_in)

# %% [markdown]
# ## Worked problems of one family, with exercise 6.3 (12 min)
#
# Worked problems can be written by a program without end. Do those of one family hold the others?
# Chung and colleagues (2022) mixed in nine data sets with worked steps, among some eighteen hundred
# tasks. Our word problems come in ten families, such as ages, sales and who is taller. In these
# stored runs a quarter of the rows are problems of *one* family, another for each seed, and the
# other nine are scored by themselves.

# %%
kinds = [item.family for item in load_suites("reasoning", size=board.ITEMS)[0].items]
one = {run.setting.seed: run for run in runs if len(run.families) == 1}


def others_right(run):
    """Percent right in the families that this seed's run with one family left out."""
    known = one[run.setting.seed].families
    rows = zip(kinds, run.right["reasoning"], strict=True)
    kept = [right for kind, right in rows if kind not in known]
    return round(100 * sum(kept) / len(kept))


print("plain:     ", [others_right(run) for run in board.pick(runs, "plain")])
print("one family:", [others_right(run) for run in one.values()])

# %% [markdown]
# In the nine families that were never in the data the plain runs have 59 to 68 % right, and the
# runs with one family 85 to 91. It looks as if the habit of working in steps carried over.
#
# ### Exercise 6.3 · Which run decides? · medium · 6 minutes
#
# These runs differ from the plain ones in two things: a quarter of their rows are no tickets, and
# what these rows hold are worked problems. Name the stored run that shares the first and not the
# second, as `control = (method, strength)`, one of
#
# `("plain", 0)` · `("families", 5)` · `("worked steps", 0.25)` · `("replay", 0.25)` · `("replay, no
# problems", 0.25)` · `("self replay", 0.25)`
#
# and put the mean over its seeds of `others_right` into `control_right`.
#
# <details><summary>Hint</summary>
#
# `board.pick(runs, *control)` has one run for each seed. What is in the rows of each candidate?
#
# </details>

# %% tags=["exercise"]
control, control_right = ..., ...
# BEGIN SOLUTION
control = ("replay, no problems", 0.25)
found = [others_right(run) for run in board.pick(runs, *control)]
control_right = sum(found) / len(found)
# END SOLUTION
check("6.3", (control, control_right))

# %% tags=["solution"]
print("old rows without a word problem:", found)

# %% [markdown]
# <details><summary>What the control says (open it after your answer)</summary>
#
# The control has 71 to 93 %: on two of three seeds old rows without a single word problem do better
# than worked problems of one family. On average 63 % become 85, and 87 with one family. So most of
# what came back needs no worked step, only old rows of other kinds. These old rows hold how-to
# better as well: it loses 15 to 19 points, with one family 62 to 82 (stored runs). That steps add
# something on a bad seed, such as the third, is not ruled out.
#
# </details>
#
# ## When there is no old data (7 min)
#
# (Run the first cell of *Rows, tokens, and leaks* first.) The base can answer prompts before it is
# fine-tuned, and its answers serve as old rows (**self-generated replay**). Somebody must write the
# prompts. Ours are some fifty lines in three formats. Only empty, cut-off and repeated answers are
# left out:

# %%
lines = (SUPPORT / "prompts.txt").read_text(encoding="utf-8").splitlines()
own = replay.self_replay(base, replay.in_formats(lines))
print(f"{len(lines)} lines, {len(replay.in_formats(lines))} prompts, {len(own)} rows, such as")
for row in own[::37]:
    print(f"  {row['prompt']!r}:{row['completion']}")

# %% [markdown]
# Read a few before you use them. The answer about the bird house is no how-to at all: where the
# base is wrong, its mistakes are replayed. Own rows can keep what the base could do, and add
# nothing.

# %%
table = {}
for method, share in (("replay", 0.10), ("self replay", 0.10), ("replay", 0.25),
                      ("self replay", 0.25)):  # fmt: skip
    table[f"{method}, {share:.0%}"] = reading(brief, unchanged, board.pick(runs, method, share))
pandas.DataFrame(table).T

# %% [markdown]
# At ten percent the base's own rows do about as well as old data or better: how-to loses 13, 16 and
# 21 points, against 11, 22 and 46. At twenty-five they fall behind, with 18 to 25 against 11 to 14
# and, by the traffic, 11.9 to 14.4 against 7.6 to 9.5. There are only some hundred and fifty of
# them, and each comes two or three times; whether that is the cause, these runs do not say.
#
# Could the base write the prompts as well? Marek and colleagues (2026) let models generate all of
# their replay, and find that forgetting nearly disappears where capacity is not used up; with a
# chat model, the beginning of its template alone draws questions from it (Xu et al. 2024). Ours,
# made to begin with nothing, writes this:

# %%
for row in replay.sampled_replay(base, count=6, max_new_tokens=24):
    print(repr(row["completion"]))

# %% [markdown]
# Scraps and the beginnings of stories, and not one question (of six texts an empty or repeated one
# is left out): in its pre-training the loss was taken on answers only, stories apart. Sample a few
# texts and look before you rely on it.
#
# ## What it costs, with exercise 6.4 (10 min)
#
# (Run the first cell of *Rows, tokens, and leaks* first.) One line for each remedy. Rows come on
# top of the tickets, steps see every ticket as often as before (with the lower rate twice as
# often), and points lost are by the brief's traffic, with the range of three seeds where there are
# seeds.


# %%
def tokens(text):
    return len(base.tokenizer(text)["input_ids"])


prompts = [item.prompt for item in asked.items]
opened = [retrieval.with_article(p, index.find(question_of(p), k=1)) for p in prompts]
extra = sum(map(tokens, opened)) / len(opened) - sum(map(tokens, prompts)) / len(prompts)
trained = 60 * 16 * sum(tokens(r["prompt"] + r["completion"]) for r in tickets) / len(tickets)
print(f"the run reads {trained:,.0f} tokens; an article adds {extra:.1f} to a request")

# %%
from helpers.scope.compare import span

costs = {}
priced = [(stored.SEARCH, 0), ("plain", 0), ("lower rate", 3e-3), ("self replay", 0.10)]
priced += [(name, share) for name in ("replay", "replay, lower rate") for share in (0.25, 0.50)]
for method, strength in priced:
    found = board.pick(runs, method, strength)
    inside = [behind_door(unchanged, run, scores, floor) for run in found]
    lost = [span([brief.weighted(points_lost(unchanged, run)) for run in group], 1)
            for group in (found, inside)]  # fmt: skip
    share = strength if "replay" in method else 0
    rows, more = replay.extra_rows(len(tickets), share), round(extra) * (method == stored.SEARCH)
    costs[method + (f", {share:.0%}" if share else "")] = (*lost, rows, found[0].steps, more)
columns = ["points lost", "with a door", "rows added", "steps", "more tokens per answer"]
pandas.DataFrame.from_dict(costs, orient="index", columns=columns)

# %% [markdown]
# A door costs no row and no step, and takes most of the loss off every line. It alone, 4.5 to 6.2,
# loses less than a quarter of old rows at the higher rate, and more than a quarter at the lower one
# (3.0 to 4.1). With the lower rate and no old row it comes to 0.9 to 2.4 for twice the steps.
# Without a door half of old rows at the lower rate lose fewest,
# 1.0 to 1.3, for four times the steps of the plain run. Add the labour: a search wants articles
# that are kept up to date, a fine-tune new tickets whenever a policy changes, and replay old data
# that is checked for leaks.
#
# ### Exercise 6.4 · Put the numbers in · easy · 6 minutes
#
# A fine-tune is paid for once, and again whenever a policy changes. Retrieval is paid for with
# every request. Count computing in tokens read: a token that is trained on costs as much as three
# that are read (Kaplan et al. 2020, arXiv 2001.08361: the way back takes twice the work of the way
# there). The policies change once a month for a year, twelve times after the first training. From
# which whole number of `requests` on has the fine-tune cost no more than the search? Use `trained`
# and `extra`.
#
# <details><summary>Hint</summary>
#
# Thirteen trainings. `math.ceil` rounds up.
#
# </details>

# %% tags=["exercise"]
requests = ...
# BEGIN SOLUTION
import math

requests = math.ceil(3 * 13 * trained / extra)
# END SOLUTION
check("6.4", requests)

# %% [markdown]
# Some 55 thousand requests in the year, or 150 a day, by computing alone. A small shop may stay
# below it. Left out are the tickets for twelve trainings, and that an adapter behind a door stays
# unmerged, which takes time with every answer.
#
# > **A note from experience.** The brief is worth its hour even if no model is ever trained. The
# > row about which two people disagree is the one to test first, and the one that nobody had an
# > opinion on is where a complaint may come from that nobody expects.
#
# ## Sources
#
# - Robertson et al. (1994), *Okapi at TREC-3*, for BM25; Lù (2024), *BM25S*, arXiv 2407.03618, for
#   the package that computes it. Ovadia et al. (2023), *Fine-tuning or retrieval?*, arXiv
#   2312.05934.
# - Bethune et al. (2025), *Scaling laws for forgetting during finetuning with pretraining data
#   injection*, arXiv 2502.06042, for one percent of pre-training data.
# - Marek et al. (2026), *Forgetting in language models: capacity, optimization, and self-generated
#   replay*, arXiv 2605.26097. Xu et al. (2024), *Magpie*, arXiv 2406.08464.
# - Chung et al. (2022), *Scaling instruction-finetuned language models*, arXiv 2210.11416, for the
#   nine data sets with worked steps.
# - Kaplan et al. (2020), *Scaling laws for neural language models*, arXiv 2001.08361, for the cost
#   of a token in training. Schulman (2025), *LoRA without regret*: LoRA's rate is about
#   ten times that of full fine-tuning.
# - The glossary of the course: `docs/GLOSSARY.md`.
