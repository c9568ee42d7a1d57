"""Checkers of the exercises in lesson 02."""

from __future__ import annotations

import numpy as np
import torch

from . import exercise


def _draw(seed: int, *shapes: tuple[int, ...]) -> list[torch.Tensor]:
    generator = torch.Generator().manual_seed(seed)
    return [torch.randn(shape, generator=generator) for shape in shapes]


def _close(found: object, expected: float) -> bool:
    # Relative, so that a wrong number near 0 is not taken for a mistake whose value is small.
    return abs(float(found) - float(expected)) < 1e-3 * abs(float(expected)) + 1e-6


def _not_a_number(found: object) -> str | None:
    """What to say about an answer that is not one number, or None."""
    if isinstance(found, torch.Tensor) and found.numel() != 1:
        return f"It returned a tensor of shape {tuple(found.shape)}; one number is asked for."
    if not isinstance(found, (int, float, np.number, torch.Tensor)):
        return f"It returned a {type(found).__name__}; one number is asked for."
    return None


#: What tells the runs of exercise 2.1 apart. Kept here, not in the lesson: the check reads a pair
#: by what differs between its two runs, whatever their names.
RUNS = {
    "fine-tune": ("tickets", "its own", "trained"),
    "control": ("old rows", "shorter", "trained"),
    "fine-tune, cut": ("tickets", "shorter", "trained"),
    "control, stretched": ("old rows", "its own", "trained"),
    "random": ("tickets", "its own", "random"),
}
ASPECTS = ("rows", "length", "direction")
#: For each question, the aspect that may differ; all others must be alike.
QUESTIONS = {"rows": 0, "length": 1, "direction": 2}


@exercise("2.1", reading="One thing differs in each pair: that is all that makes a control.")
def deciding_pairs(pairs) -> str | None:
    if not isinstance(pairs, dict) or set(pairs) != set(QUESTIONS):
        return f"Give a dict with the keys {', '.join(QUESTIONS)}, each with two runs."
    for question, wanted in QUESTIONS.items():
        pair = pairs[question]
        if not isinstance(pair, (tuple, list)) or len(pair) != 2:
            return f"{question}: name two runs, as a tuple."
        unknown = [name for name in pair if name not in RUNS]
        if unknown:
            return f"{question}: there is no run {unknown[0]!r}. There are {', '.join(RUNS)}."
        if pair[0] == pair[1]:
            return f"{question}: these are the same run twice."
        one, other = (RUNS[name] for name in pair)
        differ = [n for n in range(3) if one[n] != other[n]]
        # A random update belongs to no rows: against it, only the direction is at issue.
        if "random" in (one[2], other[2]):
            differ = [n for n in differ if n != 0]
            if one[0] != other[0]:
                return (
                    f"{question}: the random update has the fine-tune's singular values; "
                    "compare it with the run that it was made from."
                )
        names = [ASPECTS[n] for n in differ]
        if wanted not in differ:
            return f"{question}: these two differ in {' and '.join(names)}, not in {question}."
        if len(differ) > 1:
            rest = " and ".join(name for name in names if name != question)
            return (
                f"{question}: these two differ in {rest} as well, so a gap between them "
                f"may come from that."
            )
    return None


FORMATS = ("{q}", "Question: {q}\nAnswer:", "User: {q}\nAssistant:")


@exercise("2.4", reading="The lesson's control was drawn so; a test of the course repeats it.")
def fit_for_control(function) -> str | None:
    def row(question: str, answer: str, layout: int = 0) -> dict[str, str]:
        return {"prompt": FORMATS[layout].format(q=question), "completion": f" {answer}"}

    tested = {"1. Open the door. 2. Go in.", "15", "Paris"}
    shown = ["Sort: c, a, b", FORMATS[1].format(q="Who sings?")]
    cases = [
        (row("2 + 2", "4"), True, "drops a row that nothing is wrong with"),
        (row("How do I enter?", "1. Open the door. 2. Go in.", 2), False,
         "keeps a row whose answer is tested, in another wording. Completions begin with a space: "
         "compare them without it"),
        (row("7 + 8", "15"), False, "keeps a row whose answer is tested"),
        (row("Sort: c, a, b", "a, b, c"), False, "keeps a prompt that the probes show"),
        (row("Sort: c, a, b", "a, b, c", 2), False,
         "keeps a question that the probes show in another format: take the format off first"),
        (row("Who sings?", "Ida"), False,
         "keeps a question that the probes show in another format: take the format off first"),
        (row("10 / 2", "5"), True,
         "drops the answer 5 because 15 is tested: compare whole answers, not parts"),
        (row("Who sings in Paris?", "Leo"), True,
         "drops a question because a tested answer stands in it, or it holds a shown one"),
    ]  # fmt: skip
    rows = [case[0] for case in cases] + [cases[0][0]]
    found = function([dict(r) for r in rows], set(tested), list(shown))
    if not isinstance(found, (list, tuple)):
        return f"It returned a {type(found).__name__}; a list of rows is asked for."
    if any(r not in rows for r in found):
        return "The rows must come back as they were, prompt and completion unchanged."
    for r, keep, mistake in cases:
        if (r in found) != keep:
            return f"For {r['prompt']!r} with {r['completion']!r}: it {mistake}."
    if len(found) != 4:
        return "One row stands twice in the data and is fit; both copies may stay."
    return None


@exercise("2.2", reading="`helpers.mechanics.linear_cka` has the debiased form, for few inputs.")
def linear_cka(function) -> str | None:
    x, noise = _draw(2, (40, 6), (40, 6))
    # Another mean in every column: one mean subtracted from all of them does not centre.
    x = x + torch.arange(6) - 1.0
    y = x + noise

    def by_grams(x: torch.Tensor, y: torch.Tensor) -> float:
        centre = torch.eye(len(x)) - 1 / len(x)
        k, m = centre @ x @ x.T @ centre, centre @ y @ y.T @ centre
        return float((k * m).sum() / (k.norm() * m.norm()))

    expected, found = by_grams(x, y), function(x, y)
    if mistake := _not_a_number(found):
        return mistake
    norm = torch.linalg.norm
    if not _close(found, expected):
        if _close(found, norm(y.T @ x) ** 2 / (norm(x.T @ x) * norm(y.T @ y))):
            return "The columns are not centred: subtract the mean over the inputs first."
        p, q = x - x.mean(1, keepdim=True), y - y.mean(1, keepdim=True)
        if _close(found, norm(q.T @ p) ** 2 / (norm(p.T @ p) * norm(q.T @ q))):
            return "That centres the rows. Subtract the mean over the inputs, dimension 0."
        p, q = x - x.mean(), y - y.mean()
        if _close(found, norm(q.T @ p) ** 2 / (norm(p.T @ p) * norm(q.T @ q))):
            return "That subtracts one mean from everything. Each column has its own."
        p, q = x - x.mean(0), y - y.mean(0)
        if _close(found, norm(q.T @ p) / (norm(p.T @ p) * norm(q.T @ q))):
            return "The norm in the numerator is to be squared."
        return f"For these 40 inputs the CKA is {expected:.3f}, not {float(found):.3f}."
    (mix,) = _draw(3, (6, 6))
    rotation = torch.linalg.qr(mix).Q
    if not (
        _close(function(x, 2 * y @ rotation), expected)
        and _close(function(2 * x @ rotation, y), expected)
    ):
        return "Turning and stretching a representation must not change its CKA."
    return None


@exercise("2.3", reading="This is all that `top_eigenvalue` needs; Lanczos does the rest.")
def hvp(function) -> str | None:
    def loss_of(x: torch.Tensor, y: torch.Tensor) -> torch.Tensor:
        return (x**3).sum() + (x[0] * y).sum() ** 2 + y.prod()

    values, vectors = _draw(4, (3,), (2,)), _draw(5, (3,), (2,))
    parameters = [value.requires_grad_() for value in values]
    hessian = torch.autograd.functional.hessian(loss_of, tuple(v.detach() for v in values))
    expected = [sum(hessian[i][j] @ vectors[j] for j in range(2)) for i in range(2)]
    gradients = torch.autograd.grad(loss_of(*parameters), parameters)
    try:
        found = function(loss_of(*parameters), parameters, vectors)
    except Exception as error:
        if "does not require grad" not in str(error):
            raise
        return (
            f"{error}. The first gradient does not require grad, so it cannot be differentiated "
            "again: take it with `create_graph=True`."
        )
    if not isinstance(found, (list, tuple)) or not all(torch.is_tensor(part) for part in found):
        return "Return a list of tensors, one per parameter, as `torch.autograd.grad` does."
    if [part.shape for part in found] != [part.shape for part in parameters]:
        return "The result must have the shapes of the parameters."

    def same(wanted: list[torch.Tensor]) -> bool:
        return all(torch.allclose(f, w, atol=1e-4) for f, w in zip(found, wanted, strict=True))

    if same(expected):
        return None
    if same(list(gradients)):
        return "That is the gradient itself. Multiply it with the vectors and differentiate again."
    if same([g * v for g, v in zip(gradients, vectors, strict=True)]):
        return "That is gradient times vector. Sum it up and differentiate that once more."
    blocks = [hessian[i][i] @ vectors[i] for i in range(2)]
    if same(blocks):
        return "The parameters act on each other: sum over all of them before differentiating."
    return "It differs from the full Hessian times the vector. Is each vector with its parameter?"
