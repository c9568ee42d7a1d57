"""Loading models, and the base under an adapter."""

from __future__ import annotations

import copy
import json
import shutil
from types import SimpleNamespace

import pytest
import torch
from peft import PeftModel, get_peft_model
from transformers import AutoModelForCausalLM, AutoTokenizer

from helpers.generation import complete
from helpers.models import (
    DATA,
    ModelNotFound,
    base_view,
    context_length,
    load_model,
    parameter_counts,
)
from helpers.training import lora_config

PROMPT = "What is the capital of France?"


@torch.no_grad()
def logits(model):
    ids = model.tokenizer(PROMPT, return_tensors="pt")["input_ids"]
    return model(input_ids=ids).logits


@pytest.fixture
def adapted(tiny):
    """A copy of `tiny` under a LoRA that already changes its outputs."""
    config = lora_config(tiny, 4, 8)
    config.init_lora_weights = False
    torch.manual_seed(0)
    model = get_peft_model(copy.deepcopy(tiny), config)
    model.tokenizer = tiny.tokenizer
    return model


def state(model):
    modes = {name: module.training for name, module in model.named_modules()}
    return modes, {name: p.requires_grad for name, p in model.named_parameters()}


# Loading


def test_a_folder_is_loaded_ready_to_be_asked(tiny_folder):
    model = load_model(tiny_folder)
    assert not model.training and model.dtype == torch.float32
    assert model.tokenizer.padding_side == "left"
    assert model.tokenizer.pad_token not in (None, model.tokenizer.eos_token)
    assert model.config.pad_token_id == model.tokenizer.pad_token_id
    assert context_length(model) == 256
    assert torch.equal(logits(model), logits(load_model(str(tiny_folder))))


def test_a_name_that_cannot_be_fetched_leads_to_the_offline_choice():
    with pytest.raises(ModelNotFound, match=r'no-such-owner/no-such-model.*load_model\("pocket"\)'):
        load_model("no-such-owner/no-such-model")


def test_a_folder_without_a_model_is_named(tmp_path):
    with pytest.raises(ModelNotFound, match=f"{tmp_path} holds no model"):
        load_model(tmp_path)


def test_a_missing_pad_token_is_set(tiny_folder, tmp_path):
    tokenizer = AutoTokenizer.from_pretrained(tiny_folder)
    tokenizer.pad_token = None
    tokenizer.save_pretrained(tmp_path)
    AutoModelForCausalLM.from_pretrained(tiny_folder).save_pretrained(tmp_path)
    model = load_model(tmp_path)
    assert model.tokenizer.pad_token == model.tokenizer.eos_token
    assert model.generation_config.pad_token_id == model.tokenizer.eos_token_id


def test_a_tokenizer_without_an_end_gets_a_pad_token_too(tiny_folder, tmp_path):
    folder = shutil.copytree(tiny_folder, tmp_path / "endless")
    path = folder / "tokenizer_config.json"
    config = json.loads(path.read_text())
    path.write_text(json.dumps({k: v for k, v in config.items() if k[:3] not in ("eos", "pad")}))
    model = load_model(folder)
    assert model.tokenizer.eos_token is None and model.tokenizer.pad_token is not None
    assert complete(model, "Hi", max_new_tokens=2)


def test_there_must_be_something_to_continue(tiny):
    assert complete(tiny, []) == []
    for nothing in ("", ["Hi", ""]):
        with pytest.raises(ValueError, match="A prompt is empty"):
            complete(tiny, nothing)


def test_damaged_weights_are_told(tiny_folder, tmp_path):
    shutil.copytree(tiny_folder, tmp_path / "broken")
    weights = tmp_path / "broken" / "model.safetensors"
    weights.write_bytes(weights.read_bytes()[:1000])
    with pytest.raises(ModelNotFound, match="holds no model that can be loaded"):
        load_model(tmp_path / "broken")


def test_a_saved_adapter_is_loaded_onto_its_base(tiny, tiny_folder, adapted, tmp_path):
    adapted.peft_config["default"].base_model_name_or_path = str(tiny_folder)
    adapted.save_pretrained(tmp_path)
    loaded = load_model(tmp_path)
    assert not loaded.training and loaded.tokenizer.padding_side == "left"
    torch.testing.assert_close(logits(loaded), logits(adapted.eval()))
    with base_view(loaded) as base:
        assert torch.equal(logits(base), logits(tiny))


def test_an_adapter_is_loaded_onto_the_base_that_is_given(tiny_folder, adapted, tmp_path):
    adapted.peft_config["default"].base_model_name_or_path = "of another machine"
    adapted.save_pretrained(tmp_path)
    torch.testing.assert_close(logits(load_model(tmp_path, tiny_folder)), logits(adapted.eval()))
    with pytest.raises(ModelNotFound, match="of another machine"):
        load_model(tmp_path)


def test_an_adapter_without_a_base_or_weights_is_told(tiny_folder, adapted, tmp_path):
    adapted.peft_config["default"].base_model_name_or_path = str(tiny_folder)
    adapted.save_pretrained(tmp_path)
    weights = tmp_path / "adapter_model.safetensors"
    weights.write_bytes(weights.read_bytes()[:100])
    with pytest.raises(ModelNotFound, match="holds no model that can be loaded"):
        load_model(tmp_path)
    config = tmp_path / "adapter_config.json"
    config.write_text(config.read_text().replace(json.dumps(str(tiny_folder)), "null"))
    with pytest.raises(ModelNotFound, match=r"Say so: load_model\(folder, base=\.\.\.\)"):
        load_model(tmp_path)


def test_a_configuration_without_a_longest_text_is_told():
    class Unbounded(torch.nn.Module):
        config = SimpleNamespace()

    with pytest.raises(ValueError, match=r"Unbounded names no longest text.*max_position"):
        context_length(Unbounded())


@pytest.mark.slow
def test_gpt2_itself_would_work(gpt2_folder):
    model = load_model(gpt2_folder)
    assert len(model.tokenizer) == 50257 and model.tokenizer.pad_token == "<|endoftext|>"
    assert parameter_counts(model)["total"] == 124_439_808
    prompts = ["Hello", "A longer prompt, which is padded to no effect"]
    together = complete(model, prompts, max_new_tokens=3)
    assert together == [complete(model, prompt, max_new_tokens=3) for prompt in prompts]
    student = get_peft_model(model, lora_config(model, 8, 16, "c_attn"))
    assert parameter_counts(student) == {"total": 124_734_720, "trainable": 294_912}


# The base under an adapter


@pytest.mark.parametrize("mode", ["training", "evaluation", "mixed"])
def test_base_view_shows_the_base_and_restores_everything(tiny, adapted, mode):
    adapted.train(mode == "training")
    if mode == "mixed":
        next(adapted.children()).train()
        adapted.get_input_embeddings().weight.requires_grad_(True)
    before, changed = state(adapted), logits(adapted)
    with base_view(adapted) as base:
        assert not any(module.training for module in base.modules())
        assert torch.equal(logits(base), logits(tiny))
    assert state(adapted) == before
    assert torch.equal(logits(adapted), changed)
    assert not torch.allclose(changed, logits(tiny))


def test_base_view_does_not_thaw_a_frozen_adapter(tiny, adapted, tmp_path):
    adapted.save_pretrained(tmp_path)
    frozen = PeftModel.from_pretrained(copy.deepcopy(tiny), tmp_path)
    frozen.tokenizer = tiny.tokenizer
    assert not any(parameter.requires_grad for parameter in frozen.parameters())
    before = state(frozen)
    with base_view(frozen) as base:
        assert torch.equal(logits(base), logits(tiny))
    assert state(frozen) == before
    assert torch.equal(logits(frozen), logits(adapted.eval()))


def test_base_view_restores_after_an_error(adapted):
    adapted.train()
    before, changed = state(adapted), logits(adapted)
    with pytest.raises(KeyError), base_view(adapted):
        raise KeyError
    assert state(adapted) == before
    assert torch.equal(logits(adapted), changed)


def test_a_model_without_an_adapter_is_its_own_base(tiny):
    with base_view(tiny) as base:
        assert base is tiny


# What is shipped


def test_the_course_model_loads_with_plain_transformers(pocket):
    folder = DATA / "pocket-gpt2"
    model = AutoModelForCausalLM.from_pretrained(folder)
    ids = AutoTokenizer.from_pretrained(folder)(PROMPT, return_tensors="pt")["input_ids"]
    with torch.no_grad():
        assert torch.equal(model(ids).logits, logits(pocket))


def test_shipped_weights_are_small_and_safe(pocket):
    weights = list((DATA / "pocket-gpt2").glob("*.safetensors"))
    assert weights and sum(path.stat().st_size for path in weights) <= 16 * 2**20


def test_no_pickles_are_shipped():
    risky = {".bin", ".pt", ".pth", ".pkl", ".pickle", ".ckpt", ".joblib", ".npy", ".npz"}
    files = [path for path in DATA.rglob("*") if path.is_file()]
    assert files
    assert [path for path in files if path.suffix in risky] == []
