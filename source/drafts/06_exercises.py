# %% [markdown]
# ## Exercises
#
# ### 6.1 The replay mixer · medium · 15 minutes
#
# Write `mix_in(tickets, replay, held_out, share)`. It returns a list of rows: all of the tickets,
# and so many old rows that `share` of the *result* is old (rounded to whole rows). No old row may
# come twice, and none may ask what one of the `held_out` prompts asks, whatever format it asks it
# in: `question_of(prompt)` takes the format off. Where a share is wanted and no old row is left,
# raise a `ValueError`. There are always enough rows otherwise.
#
# <details><summary>Hint</summary>
#
# With $t$ tickets and $r$ old rows the share is $r / (t + r)$. Solve for $r$. Take out the rows
# that leak before you count.
#
# </details>

# %%
from helpers.exercises import check
from helpers.scope.leaks import question_of


# %% tags=["exercise"]
def mix_in(tickets, replay, held_out, share):
    # BEGIN SOLUTION
    asked = {question_of(prompt) for prompt in held_out}
    clean = [row for row in replay if question_of(row["prompt"]) not in asked]
    count = round(len(tickets) * share / (1 - share))
    if count and not clean:
        raise ValueError("There is nothing to replay.")
    return [*tickets, *clean[:count]]
    # END SOLUTION


check("6.1", mix_in)

# %% [markdown]
# ### 6.2 The cost line · easy · 10 minutes
#
# A fine-tune is paid for once, and again whenever a policy changes. Retrieval is paid for with
# every request, because the model reads the article as well. Count computing in tokens read. By
# the usual rule of thumb (Kaplan et al. 2020, arXiv 2001.08361) a token that is trained on costs as
# much as three that are read: the way back takes twice the work of the way there. LoRA saves a part
# of that; leave it out.
#
# Write `break_even(trained, extra, changes)`: the smallest whole number of requests from which the
# fine-tune has cost no more than retrieval. One training goes over `trained` tokens; each request
# makes retrieval read `extra` tokens more; policies change `changes` times, and each time the model
# is trained anew.
#
# <details><summary>Hint</summary>
#
# With no change there is one training. `math.ceil` rounds up.
#
# </details>


# %% tags=["exercise"]
def break_even(trained, extra, changes):
    # BEGIN SOLUTION
    import math

    return math.ceil(3 * (1 + changes) * trained / extra)
    # END SOLUTION


check("6.2", break_even)

# %% [markdown]
# ### 6.3 Who is to blame? · easy · 10 minutes
#
# A wrong answer of a system that retrieves has one of two causes: the article was not found, or it
# was found and misread. Write `blame(results)`. Each result is `(wanted, found, right)`: the name
# of the article that answers the question, the list of names the model was shown, and whether its
# answer was right. Return two numbers, in percent of *all* questions: wrong answers with the
# article missing (searching), and wrong answers with the article there (reading).
#
# <details><summary>Hint</summary>
#
# A right answer is nobody's fault, however it came about.
#
# </details>


# %% tags=["exercise"]
def blame(results):
    # BEGIN SOLUTION
    wrong = [(wanted, found) for wanted, found, right in results if not right]
    searching = sum(wanted not in found for wanted, found in wrong)
    reading = len(wrong) - searching
    return 100 * searching / len(results), 100 * reading / len(results)
    # END SOLUTION


check("6.3", blame)
