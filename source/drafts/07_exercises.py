# %%
import torch

from helpers.exercises import check

# %% [markdown]
# ## Exercises
#
# ### 7.1 Forgetting in a sequence · easy · 10 minutes
#
# Write `forgetting(scores)`. `scores[i][j]` is the score on task `j` after stage `i`, and stage `i`
# teaches task `i`. For every task but the last: its best score at any stage but the last, minus its
# score after the last. Return the mean.
#
# <details><summary>Hint</summary>
#
# `scores[:-1]` are the rows of all stages but the last, and `scores[-1]` is the last. The best
# score may be older than the task's own stage, and the result may be below zero.
#
# </details>


# %% tags=["exercise"]
def forgetting(scores):
    # BEGIN SOLUTION
    tasks = range(len(scores) - 1)
    lost = [max(row[task] for row in scores[:-1]) - scores[-1][task] for task in tasks]
    return sum(lost) / len(lost)
    # END SOLUTION


check("7.1", forgetting)

# %% [markdown]
# ### 7.2 The Fisher · medium · 15 minutes
#
# Write `diagonal_fisher(log_likelihood, weights, samples)`: for each weight, the mean over the
# samples of the squared gradient. `log_likelihood(weights, sample)` is the log-probability of one
# sample, `weights` a tensor that requires a gradient; the result has its shape.
#
# <details><summary>Hint</summary>
#
# `(gradient,) = torch.autograd.grad(log_likelihood(weights, sample), weights)` for one sample.
# Square before you average: the other order is another number, and a popular mistake.
#
# </details>


# %% tags=["exercise"]
def diagonal_fisher(log_likelihood, weights, samples):
    # BEGIN SOLUTION
    total = torch.zeros_like(weights)
    for sample in samples:
        (gradient,) = torch.autograd.grad(log_likelihood(weights, sample), weights)
        total += gradient**2
    return total / len(samples)
    # END SOLUTION


check("7.2", diagonal_fisher)

# %% [markdown]
# ### 7.3 A SAM step · hard · 20 minutes
#
# Write `sam_step(loss, weights, rho, lr)`: one step of plain gradient descent with SAM.
# `loss(weights)` is a scalar, and `weights` a list of tensors that require gradients. Climb a
# distance of `rho` along the gradient, take the gradient there, and walk `lr` times it downhill
# *from where you began*. Return a list of new tensors; the weights given must be what they were.
# Where the gradient is zero, climb nowhere.
#
# <details><summary>Hint</summary>
#
# The length of the gradient is that of all tensors together: the root of the sum of all squares. A
# place uphill that can be differentiated: `(w + step).detach().requires_grad_()`.
#
# </details>


# %% tags=["exercise"]
def sam_step(loss, weights, rho, lr):
    # BEGIN SOLUTION
    first = torch.autograd.grad(loss(weights), weights)
    length = sum(g.square().sum() for g in first).sqrt()
    scale = rho / length if length > 0 else 0.0
    uphill = [(w + scale * g).detach().requires_grad_() for w, g in zip(weights, first)]
    second = torch.autograd.grad(loss(uphill), uphill)
    return [(w - lr * g).detach() for w, g in zip(weights, second)]
    # END SOLUTION


check("7.3", sam_step)
