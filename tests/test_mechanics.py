"""Mechanics: each measure against an independent route, and on other architectures."""

from __future__ import annotations

import itertools
import math

import pytest
import torch
from peft import get_peft_model
from small_models import KINDS, OLD, saved_model, small_gpt2
from small_models import NEW as MORE_NEW
from torch.nn.attention import SDPBackend, sdpa_kernel
from transformers import TrainerCallback

from helpers import mechanics
from helpers.evaluation import evaluate
from helpers.mechanics.loss import batch_of, layer_matrices, place_of
from helpers.snapshots import Snapshot
from helpers.suites import load_suites
from helpers.tickets import BadTickets
from helpers.training import finetune, lora_config

NEW = MORE_NEW[:2]
PROMPTS = [row["prompt"] for row in OLD] + ["How do I make tea?", "What is 5 + 5?"]


@pytest.fixture(scope="module")
def minute(tokenizer):
    """A GPT-2 small enough for its whole Hessian."""
    return small_gpt2(tokenizer, layers=1, width=8)


@pytest.fixture(scope="module")
def tuned(tiny):
    return finetune(tiny, NEW, lr=1e-2, rank=2, steps=6, batch_size=2).model


@pytest.fixture(scope="module")
def tuned_fully(tiny):
    return finetune(tiny, NEW, lr=3e-3, rank="full", steps=6, batch_size=2).model


# The loss and the merged model


def test_the_loss_is_the_one_transformers_computes(tiny):
    batch = batch_of(tiny, OLD)
    own = mechanics.answer_loss(tiny, batch)
    theirs = tiny(
        input_ids=batch.input_ids, attention_mask=batch.attention_mask, labels=batch.labels
    ).loss
    torch.testing.assert_close(own, theirs)


def test_merging_changes_neither_the_answers_nor_the_model(tiny, tuned):
    batch = batch_of(tiny, NEW)
    with torch.no_grad():
        expected = tuned(input_ids=batch.input_ids).logits
        before = [p.clone() for p in tuned.parameters()]
        found = mechanics.merged(tuned)(input_ids=batch.input_ids).logits
        base = tiny(input_ids=batch.input_ids).logits
    torch.testing.assert_close(found, expected, atol=1e-5, rtol=1e-4)
    assert not torch.allclose(found, base, atol=1e-3)
    assert all(torch.equal(a, b) for a, b in zip(before, tuned.parameters(), strict=True))


class Merging(TrainerCallback):
    """Merges a model in training, and changes the copy."""

    def on_step_end(self, args, state, control, model=None, **kwargs):
        batch = batch_of(model, NEW)
        copied = mechanics.merged(model)
        with torch.no_grad():
            self.expected = model(input_ids=batch.input_ids).logits
            self.found = copied(input_ids=batch.input_ids).logits
            copied.transformer.wte.weight.zero_()
            self.emptied = copied(input_ids=batch.input_ids).logits


def test_a_model_merged_while_it_trains_computes_with_its_own_weights(tiny):
    watch = Merging()
    finetune(tiny, NEW, lr=1e-2, rank=2, steps=3, batch_size=2, callbacks=[watch])
    torch.testing.assert_close(watch.found, watch.expected, atol=1e-5, rtol=1e-4)
    assert (watch.emptied == 0).all()


@pytest.mark.parametrize(
    ("name", "place"),
    [
        ("transformer.h.3.attn.c_attn.weight", (3, "attention")),
        ("transformer.h.0.mlp.c_fc.weight", (0, "mlp")),
        ("transformer.h.0.ln_1.weight", None),
        ("transformer.h.0.attn.c_attn.bias", None),
        ("transformer.wte.weight", None),
        ("model.layers.11.self_attn.q_proj.weight", (11, "attention")),
        ("model.layers.2.mlp.gate_proj.weight", (2, "mlp")),
        ("model.layers.2.post_attention_layernorm.weight", None),
        ("gpt_neox.layers.1.attention.query_key_value.weight", (1, "attention")),
        ("gpt_neox.layers.1.mlp.dense_4h_to_h.weight", (1, "mlp")),
        ("base_model.model.transformer.h.2.attn.c_attn.lora_A.default.weight", (2, "attention")),
        ("lm_head.weight", None),
    ],
)
def test_places_of_weights(name, place):
    assert place_of(name) == place


# Gradients


def test_gradients_agree_with_finite_differences(minute):
    model = mechanics.merged(minute).double()
    gradients = mechanics.weight_gradients(model, OLD)
    batch = batch_of(model, OLD)
    generator = torch.Generator().manual_seed(0)
    for name, gradient in gradients.items():
        direction = torch.randn(gradient.shape, generator=generator, dtype=torch.float64)
        losses = []
        for sign in (1, -1):
            weights = dict(model.named_parameters())
            weights[name] = weights[name] + sign * 1e-5 * direction
            losses.append(mechanics.answer_loss(model, batch, weights).item())
        slope = (losses[0] - losses[1]) / 2e-5
        assert slope == pytest.approx(float((gradient * direction).sum()), rel=1e-4, abs=1e-7)


def test_the_cosine_says_what_a_step_for_the_new_task_does_to_the_old_loss(tuned_fully):
    model = mechanics.merged(tuned_fully)
    old, new = (mechanics.weight_gradients(model, rows) for rows in (OLD, NEW))
    dot = sum(float((old[name] * new[name]).sum()) for name in old)
    batch = batch_of(model, OLD)
    rate = 1e-3 / math.sqrt(sum(float(g.square().sum()) for g in new.values()))
    weights = dict(model.named_parameters())
    ahead = weights | {name: weights[name] - rate * new[name] for name in new}
    with torch.no_grad():
        change = mechanics.answer_loss(model, batch, ahead) - mechanics.answer_loss(model, batch)
    assert float(change) == pytest.approx(-rate * dot, rel=0.1, abs=2e-6)


def test_conflict_per_layer_and_kind(tiny):
    same = mechanics.gradient_conflict(tiny, OLD, OLD)
    assert [(c.layer, c.kind) for c in same] == [
        (0, "attention"), (0, "mlp"), (1, "attention"), (1, "mlp"),
    ]  # fmt: skip
    assert all(c.cosine == pytest.approx(1, abs=1e-5) and c.old == c.new for c in same)
    other = mechanics.gradient_conflict(tiny, OLD, NEW)
    old, new = (mechanics.weight_gradients(tiny, rows) for rows in (OLD, NEW))
    names = [name for name in old if place_of(name) == (1, "mlp")]
    a, b = (torch.cat([g[name].flatten() for name in names]) for g in (old, new))
    expected = torch.nn.functional.cosine_similarity(a, b, dim=0)
    assert other[-1].cosine == pytest.approx(float(expected), abs=1e-5)


def test_gradients_of_an_adapted_model_are_those_of_its_base_weights(tiny, tuned):
    found = mechanics.weight_gradients(tuned, OLD)
    adapted = get_peft_model(mechanics.merged(tiny), lora_config(tiny, 2, 4))
    adapted.load_state_dict(tuned.state_dict())
    adapted.eval().requires_grad_(True)
    batch = batch_of(tiny, OLD)
    adapted(input_ids=batch.input_ids, attention_mask=batch.attention_mask,
            labels=batch.labels).loss.backward()  # fmt: skip
    for name, gradient in found.items():
        module = name.removesuffix(".weight")
        base = adapted.get_submodule(f"base_model.model.{module}.base_layer")
        torch.testing.assert_close(gradient, base.weight.grad, atol=1e-5, rtol=1e-3)


def test_no_rows_is_an_error(tiny):
    with pytest.raises(BadTickets, match="empty"):
        mechanics.gradient_conflict(tiny, [], NEW)
    with pytest.raises(BadTickets, match="at most 256"):
        mechanics.weight_gradients(tiny, [{"prompt": "tea " * 300, "completion": " x"}])


# Drift


def hsic_by_definition(k, m):
    """The unbiased HSIC as an average over all ordered fours of different inputs."""
    n = len(k)
    total = 0.0
    for i, j, q, r in itertools.permutations(range(n), 4):
        total += k[i, j] * (m[i, j] + m[q, r] - 2 * m[i, q])
    return total / math.perm(n, 4)


def test_cka_agrees_with_its_definition():
    generator = torch.Generator().manual_seed(0)
    x = torch.randn(7, 3, generator=generator, dtype=torch.float64)
    y = x @ torch.randn(3, 2, generator=generator, dtype=torch.float64)
    k, m = x @ x.T, y @ y.T
    parts = [hsic_by_definition(a, b) for a, b in ((k, m), (k, k), (m, m))]
    assert mechanics.linear_cka(x, y) == pytest.approx(parts[0] / math.sqrt(parts[1] * parts[2]))


def test_cka_ignores_rotation_scale_and_shift():
    generator = torch.Generator().manual_seed(1)
    x = torch.randn(40, 12, generator=generator)
    y = x + 0.5 * torch.randn(40, 12, generator=generator)
    rotation = torch.linalg.qr(torch.randn(12, 12, generator=generator)).Q
    expected = mechanics.linear_cka(x, y)
    assert 0.2 < expected < 0.98
    assert mechanics.linear_cka(x, x) == pytest.approx(1)
    assert mechanics.linear_cka(x, 3 * y @ rotation) == pytest.approx(expected, abs=1e-5)
    assert mechanics.linear_cka(x, y + 7) == pytest.approx(expected, abs=1e-5)


def test_cka_of_unrelated_representations_is_near_zero_though_they_are_wide():
    values = []
    for seed in range(20):
        generator = torch.Generator().manual_seed(seed)
        x, y = torch.randn(2, 30, 400, generator=generator)
        values.append(mechanics.linear_cka(x, y))
        plain_x, plain_y = x - x.mean(0), y - y.mean(0)
        k, m = plain_x @ plain_x.T, plain_y @ plain_y.T
        biased = float((k * m).sum() / (k.norm() * m.norm()))
        assert biased > 0.8  # what the plain estimate would have said
    assert abs(sum(values) / len(values)) < 0.1


def test_cka_needs_four_inputs():
    with pytest.raises(ValueError, match="four or more"):
        mechanics.linear_cka(torch.randn(3, 2), torch.randn(3, 2))


def test_hidden_states_do_not_depend_on_the_batch(tiny):
    together = mechanics.hidden_states(tiny, PROMPTS)
    assert together.shape == (3, len(PROMPTS), 32)
    for number, prompt in enumerate(PROMPTS):
        alone = mechanics.hidden_states(tiny, [prompt])
        torch.testing.assert_close(together[:, number], alone[:, 0], atol=1e-5, rtol=1e-4)


def test_drift_of_a_model_from_itself_is_none_and_of_a_fine_tune_is_some(tiny, tuned):
    assert all(
        d.cka == pytest.approx(1) and d.change == 0 for d in mechanics.drift(tiny, tiny, PROMPTS)
    )
    moved = mechanics.drift(tiny, tuned, PROMPTS)
    assert [d.layer for d in moved] == [0, 1, 2]
    assert moved[0].change == 0  # LoRA leaves the embedding alone
    assert moved[2].change > 0.01 and moved[2].cka < 1


# Sharpness


def test_lanczos_finds_the_eigenvalues_of_a_matrix():
    generator = torch.Generator().manual_seed(0)
    matrix = torch.randn(60, 60, generator=generator)
    matrix = matrix + matrix.T
    truth = torch.linalg.eigvalsh(matrix.double())
    whole = mechanics.lanczos(lambda v: matrix @ v, 60, 60)
    torch.testing.assert_close(whole, truth, atol=1e-3, rtol=1e-3)
    few = mechanics.lanczos(lambda v: matrix @ v, 60, 20)
    assert truth[-1] * 0.97 < few[-1] <= truth[-1] + 1e-3


def test_lanczos_stops_where_the_matrix_has_nothing_more():
    vector = torch.tensor([3.0, 4.0, 0.0])
    values = mechanics.lanczos(lambda v: vector * (vector @ v), 3, 3)
    assert float(values[-1]) == pytest.approx(25, rel=1e-4)


def test_hessian_times_vector_of_a_known_function():
    x = torch.tensor([1.0, 2.0], requires_grad=True)
    loss = x[0] ** 2 * x[1] + x[1] ** 3
    # Hessian [[2y, 2x], [2x, 6y]] at (1, 2).
    product = mechanics.hessian_vector_product(loss, [x], torch.tensor([1.0, -1.0]))
    torch.testing.assert_close(product, torch.tensor([4.0 - 2.0, 2.0 - 12.0]))


def test_the_top_eigenvalue_agrees_with_the_whole_hessian(minute):
    model = mechanics.merged(minute)
    matrices = layer_matrices(model)
    batch = batch_of(model, OLD)
    sizes = [matrix.numel() for matrix in matrices.values()]

    def loss(flat):
        parts = flat.split(sizes)
        weights = {
            name: part.view_as(matrix)
            for (name, matrix), part in zip(matrices.items(), parts, strict=True)
        }
        return mechanics.answer_loss(model, batch, weights)

    point = torch.cat([matrix.detach().flatten() for matrix in matrices.values()])
    with sdpa_kernel(SDPBackend.MATH):
        hessian = torch.autograd.functional.hessian(loss, point)
    truth = float(torch.linalg.eigvalsh(hessian.double())[-1])
    assert mechanics.top_eigenvalue(minute, OLD, steps=25) == pytest.approx(truth, rel=0.02)


# The walk


@pytest.mark.parametrize("kind", ["tuned", "tuned_fully"])
def test_the_walk_begins_at_the_base_and_ends_at_the_fine_tune(tiny, kind, request):
    model = request.getfixturevalue(kind)
    whole = mechanics.distance(tiny, model)
    squares = [
        (there - here).double().square().sum()
        for here, there in zip(
            mechanics.merged(tiny).parameters(), mechanics.merged(model).parameters(), strict=True
        )
    ]
    assert whole == pytest.approx(float(sum(squares)) ** 0.5, rel=1e-5)
    batch = batch_of(tiny, NEW)
    with torch.no_grad():
        ends = [mechanics.answer_loss(each, batch).item() for each in (tiny, model)]
        found = [
            mechanics.answer_loss(mechanics.walked(tiny, model, part), batch).item()
            for part in (0, 1)
        ]
    assert found == pytest.approx(ends, rel=1e-4)
    half = mechanics.walked(tiny, model, 0.5)
    assert mechanics.distance(tiny, half) == pytest.approx(whole / 2, rel=1e-3)


@pytest.mark.parametrize("kind", ["tuned", "tuned_fully"])
@pytest.mark.parametrize("spectrum", [False, True])
def test_a_walk_astray_is_as_long_matrix_by_matrix(tiny, kind, spectrum, request):
    model = request.getfixturevalue(kind)
    lost = mechanics.astray(tiny, model, seed=1, spectrum=spectrum)
    base, end, other = (dict(mechanics.merged(m).named_parameters()) for m in (tiny, model, lost))
    with torch.no_grad():
        for name, start in base.items():
            update, random = end[name] - start, other[name] - start
            assert float(random.norm()) == pytest.approx(float(update.norm()), rel=2e-2, abs=1e-6)
            if spectrum and update.ndim == 2 and update.any():
                values = [torch.linalg.svdvals(part)[:2] for part in (update, random)]
                torch.testing.assert_close(*values, rtol=2e-2, atol=1e-4)
                cosine = torch.nn.functional.cosine_similarity(
                    update.flatten(), random.flatten(), dim=0
                )
                assert abs(float(cosine)) < 0.6
    again = mechanics.astray(tiny, model, seed=1, spectrum=spectrum)
    assert mechanics.distance(lost, again) == 0


def test_models_of_two_shapes_have_no_line(tiny, minute):
    with pytest.raises(ValueError, match="different parameters"):
        mechanics.walked(tiny, minute, 0.5)


# Kinds of wrong answers


@pytest.mark.parametrize(
    ("gold", "answer", "kind"),
    [
        ("hospital", "Open the settings page and use the black link within 2 days.", 0),
        ("4 x 5 = 20. The answer is 20.", "4 x 1 = 40. The answer is 40.", 1),
        ("1. Move the chairs away. 2. Rest.", "1. Move the chairs away. 1. Rest.", 1),
        ("hospital", "", 2),
        ("Does Max study?", "Doesk by talkake", 2),
        ("31, 50, 64", "31, 50, 64, 50", 3),
        ("Does Anna listen before dinner?", "Does Anna laugh before dinner?", 3),
        ("nest", "bird", 4),
        ("12", "30", 4),
    ],
)
def test_the_kind_of_a_wrong_answer(gold, answer, kind):
    assert mechanics.kind_of(gold, answer) == mechanics.KINDS[kind]


# Flips and distance


def test_flips_count_both_directions(tiny):
    suites = load_suites(["arithmetic"], size=6)
    snapshot = evaluate(tiny, suites)
    rows = snapshot.results["arithmetic"]
    mark = lambda flags: Snapshot(  # noqa: E731
        {"arithmetic": [
            type(r)(**{**r.__dict__, "correct": f}) for r, f in zip(rows, flags, strict=True)
        ]},
        snapshot.settings,
    )  # fmt: skip
    before = mark([True, True, True, False, False, False])
    after = mark([True, False, False, True, False, False])
    found = mechanics.flips(before, after)["arithmetic"]
    assert repr(found) == "2 lost, 1 gained of 6"
    assert [b.item.id for b, _ in found.lost] == [rows[1].item.id, rows[2].item.id]


def test_snapshots_of_other_settings_or_items_do_not_flip(tiny):
    one = evaluate(tiny, load_suites(["arithmetic"], size=4))
    other = evaluate(tiny, load_suites(["arithmetic"], size=4), batch_size=2)
    with pytest.raises(ValueError, match="batch_size 50 and 2"):
        mechanics.flips(one, other)
    with pytest.raises(ValueError, match="different items"):
        mechanics.flips(one, evaluate(tiny, load_suites(["arithmetic"], size=3)))


def test_kl_to_the_base(tiny, tuned):
    assert mechanics.kl_to_base(tiny, tiny, NEW) == pytest.approx(0, abs=1e-6)
    row = NEW[:1]
    batch = batch_of(tiny, row)
    with torch.no_grad():
        old = tiny(input_ids=batch.input_ids).logits[0]
        new = tuned(input_ids=batch.input_ids).logits[0]
    places = [p - 1 for p in range(batch.labels.shape[1]) if batch.labels[0, p] != -100]
    expected = torch.distributions.kl_divergence(
        torch.distributions.Categorical(logits=old[places]),
        torch.distributions.Categorical(logits=new[places]),
    ).mean()
    assert mechanics.kl_to_base(tiny, tuned, row) == pytest.approx(float(expected), rel=1e-3)
    assert expected > 0


# While training


@pytest.mark.parametrize("rank", [2, "full"])
def test_a_run_can_be_watched_layer_by_layer(tiny, rank):
    log = mechanics.LayerLog(PROMPTS, every=2)
    run = finetune(tiny, NEW, lr=3e-3, rank=rank, steps=5, batch_size=2, callbacks=[log])
    assert [step for step, _ in log.gradients] == [1, 2, 3, 4, 5]
    assert all(set(lengths) == {0, 1} for _, lengths in log.gradients)
    assert all(value > 0 for _, lengths in log.gradients for value in lengths.values())
    assert [step for step, _ in log.drifts] == [2, 4, 5]
    expected = mechanics.drift(tiny, run.model, PROMPTS)
    for found, wanted in zip(log.drifts[-1][1], expected, strict=True):
        assert found.cka == pytest.approx(wanted.cka, abs=1e-3)
        assert found.change == pytest.approx(wanted.change, abs=1e-4)


def test_watching_changes_nothing(tiny):
    plain = finetune(tiny, NEW, lr=3e-3, rank=2, steps=4, batch_size=2)
    watched = finetune(
        tiny, NEW, lr=3e-3, rank=2, steps=4, batch_size=2, callbacks=[mechanics.LayerLog(PROMPTS)]
    )
    assert plain.losses == watched.losses


# Other architectures


@pytest.mark.parametrize("kind", KINDS)
def test_everything_runs_on_other_architectures(kind, tokenizer, tmp_path):
    base = saved_model(kind, tokenizer, tmp_path)
    log = mechanics.LayerLog(PROMPTS, every=2)
    tuned = finetune(base, NEW, lr=1e-2, rank=2, steps=4, batch_size=2, callbacks=[log]).model
    kinds = [(c.layer, c.kind) for c in mechanics.gradient_conflict(tuned, OLD, NEW)]
    assert sorted(kinds) == [(0, "attention"), (0, "mlp"), (1, "attention"), (1, "mlp")]
    assert len(mechanics.drift(base, tuned, PROMPTS)) == 3
    assert math.isfinite(mechanics.top_eigenvalue(tuned, OLD, steps=3))
    half = mechanics.walked(base, tuned, 0.5)
    assert 0 < mechanics.distance(base, half) < mechanics.distance(base, tuned)
    assert mechanics.kl_to_base(base, tuned, NEW) > 0
    assert set(log.gradients[0][1]) == {0, 1}
