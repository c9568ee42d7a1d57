"""Our merges against mergekit's (LGPL, by Charles Goddard and others), where it is installed.

It is no requirement of the course. `pip install mergekit` adds it; version 0.1.5 changes no other
version of requirements.txt.
"""

from __future__ import annotations

import math

import numpy as np
import pytest
from merging_models import arrays, moved, new_llama

from helpers.merging import add, angle, linear, slerp, task_vector, ties
from helpers.models import load_model

pytest.importorskip("mergekit", reason="mergekit is not installed (pip install mergekit)")

from mergekit.config import MergeConfiguration
from mergekit.merge import run_merge
from mergekit.options import MergeOptions

#: Above this cosine mergekit's slerp is linear.
NEARLY_PARALLEL = math.degrees(math.acos(0.9995))


@pytest.fixture(scope="module", params=["gpt2", "llama"])
def saved(request, tiny, tmp_path_factory):
    """A base and two fine-tunes, and the folders they are saved in."""
    base = tiny if request.param == "gpt2" else new_llama(tiny.tokenizer)
    models = [base, moved(base, seed=1), moved(base, seed=2)]
    folders = [tmp_path_factory.mktemp("model") for _ in models]
    for model, folder in zip(models, folders, strict=True):
        model.save_pretrained(folder)
        model.tokenizer.save_pretrained(folder)
    return models, [str(folder) for folder in folders]


def by_mergekit(tmp_path, **config):
    """The weights of the model that mergekit makes."""
    settings = MergeConfiguration.model_validate({"dtype": "float32", **config})
    run_merge(settings, str(tmp_path / "out"), MergeOptions(quiet=True, write_model_card=False))
    return arrays(load_model(tmp_path / "out"))


def close(model, wanted, tolerance=1e-6):
    found = arrays(model)
    assert set(found) == set(wanted)
    for name, values in wanted.items():
        np.testing.assert_allclose(found[name], values, rtol=0, atol=tolerance, err_msg=name)


def test_linear(saved, tmp_path):
    (base, tuned, _), folders = saved
    models = [
        {"model": folder, "parameters": {"weight": weight}}
        for folder, weight in zip(folders, (0.7, 0.3), strict=False)
    ]
    close(linear(base, tuned, 0.3), by_mergekit(tmp_path, merge_method="linear", models=models))


def test_slerp(saved, tmp_path):
    (base, tuned, _), folders = saved
    wanted = by_mergekit(
        tmp_path,
        merge_method="slerp",
        base_model=folders[0],
        models=[{"model": folder} for folder in folders[:2]],
        parameters={"t": 0.3},
    )
    found, straight = (arrays(method(base, tuned, 0.3)) for method in (slerp, linear))
    angles = angle(base, tuned).tensors
    assert sum(degrees > NEARLY_PARALLEL for degrees in angles.values()) > 5
    for name, values in wanted.items():
        ours = found[name]
        if math.isnan(angles[name]):
            # It takes a tensor of zeros, which has no direction, to stand at a right angle.
            ours = math.sin(0.3 * math.pi / 2) * arrays(tuned)[name]
        elif angles[name] < NEARLY_PARALLEL:
            # There it takes the line, which is shorter by less than 0.02 %.
            ours = straight[name]
            np.testing.assert_allclose(found[name], values, rtol=2e-4, atol=1e-6, err_msg=name)
        np.testing.assert_allclose(ours, values, rtol=0, atol=1e-6, err_msg=name)


def test_task_arithmetic(saved, tmp_path):
    (base, *tuned), folders = saved
    models = [
        {"model": folder, "parameters": {"weight": weight}}
        for folder, weight in zip(folders[1:], (0.8, -0.4), strict=True)
    ]
    wanted = by_mergekit(
        tmp_path,
        merge_method="task_arithmetic",
        base_model=folders[0],
        models=models,
        parameters={"normalize": False},
    )
    close(add(base, [task_vector(base, model) for model in tuned], [0.8, -0.4]), wanted)


def test_ties(saved, tmp_path):
    (base, *tuned), folders = saved
    wanted = by_mergekit(
        tmp_path,
        merge_method="ties",
        base_model=folders[0],
        models=[
            {"model": folder, "parameters": {"weight": 1.0, "density": 0.4}}
            for folder in folders[1:]
        ],
        parameters={"normalize": True, "lambda": 0.7},
    )
    vectors = [task_vector(base, model) for model in tuned]
    close(ties(base, vectors, density=0.4, scale=0.7, per_tensor=True), wanted)
