# %%
from helpers.exercises import check

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
