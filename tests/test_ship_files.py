"""The files to take home say what their programs understand, and what our server really exports."""

from __future__ import annotations

import json
import re
import shlex
import shutil
import subprocess

import numpy
import pytest
import yaml
from rollout_client import ask, client_of, metrics_of
from rollout_models import rolled_out

from helpers.paths import DATA
from helpers.rollout.serve import build, serving

SHIP = DATA.parent / "docs" / "ship"
RULES = yaml.safe_load((SHIP / "rules.yml").read_text())
EXPRESSIONS = {
    rule.get("alert") or rule["record"]: rule["expr"]
    for group in RULES["groups"]
    for rule in group["rules"]
}
#: What is ours, and may end in what Prometheus' client library appends.
OURS = re.compile(r"\brollout_[a-z_]+")


@pytest.fixture(scope="module")
def page(tmp_path_factory):
    """The metrics of a server that has answered somebody in both arms, and heard of harm."""
    registry = rolled_out(tmp_path_factory.mktemp("ship") / "shop.db", None, None, 0.5)
    service = build(registry.store.path)
    with serving(service) as address, client_of(address) as client:
        ask(client, "user-1", max_tokens=1)
        yield metrics_of(client)
    registry.close()


# vLLM


def vllm():
    """The arguments of the command, by name."""
    text = (SHIP / "vllm.sh").read_text()
    command = re.search(r"^exec (.*?)\n\n", text, re.S | re.M)[1]
    found, name = {}, "serve"
    for word in shlex.split(command.replace("\\\n", " ")):
        if word.startswith("--"):
            name = word
            found[name] = []
        else:
            found.setdefault(name, []).append(word)
    return found


#: Documented at docs.vllm.ai (Engine Arguments; LoRA Adapters).
RANKS = {8, 16, 32, 64, 128, 256, 320, 512}
FIELDS = {"name", "path", "base_model_name"}


def test_vllm_gets_arguments_it_documents():
    given = vllm()
    assert set(given) <= {
        "serve", "--host", "--port", "--api-key", "--enable-lora", "--max-loras",
        "--max-cpu-loras", "--max-lora-rank", "--lora-modules",
    }  # fmt: skip
    assert given["serve"][:2] == ["vllm", "serve"] and given["--enable-lora"] == []
    modules = [json.loads(module) for module in given["--lora-modules"]]
    assert all(set(module) == FIELDS for module in modules)
    assert len({module["name"] for module in modules}) == len(modules)
    assert all(module["base_model_name"] in given["serve"][2] for module in modules)
    (loras,), (kept,) = given["--max-loras"], given["--max-cpu-loras"]
    assert len(modules) <= int(loras) <= int(kept)
    assert int(given["--max-lora-rank"][0]) in RANKS


def test_the_shell_takes_the_script():
    if not shutil.which("sh"):
        pytest.skip("There is no sh here.")
    subprocess.run(["sh", "-n", str(SHIP / "vllm.sh")], check=True)
    # What would be sent to load another adapter is JSON with the documented fields.
    sent = re.search(r"-d '({.*?})'", (SHIP / "vllm.sh").read_text())[1]
    assert set(json.loads(sent)) == {"lora_name", "lora_path"}


# flagd


def flags():
    return yaml.safe_load((SHIP / "flags.flagd.yaml").read_text())


def split(found):
    """The fractional rule of the flag: its list of [variant, weight]."""
    return found["flags"]["shop-model"]["targeting"]["if"][1]["fractional"][1:]


def test_the_flag_is_of_flagds_form():
    found = flags()
    assert set(found) == {"$schema", "flags"}
    (flag,) = found["flags"].values()
    assert set(flag) == {"state", "variants", "defaultVariant", "targeting"}
    assert flag["state"] in ("ENABLED", "DISABLED") and flag["defaultVariant"] in flag["variants"]
    parts = split(found)
    assert all(name in flag["variants"] and isinstance(weight, int) for name, weight in parts)
    assert parts[0][0] == "candidate" and sum(weight for _, weight in parts) == 100
    names = {json.loads(module)["name"] for module in vllm()["--lora-modules"]}
    assert set(flag["variants"].values()) == names  # each value is a model that vLLM serves


def test_flagds_own_evaluator_widens_without_moving_anybody_back():
    core = pytest.importorskip("openfeature.contrib.tools.flagd.core.flagd_core")
    from openfeature.evaluation_context import EvaluationContext

    users = [f"user-{number}" for number in range(20_000)]
    before = set()
    for percent in (1, 5, 25, 100):
        found = flags()
        found["flags"]["shop-model"]["targeting"]["if"][1]["fractional"][1:] = [
            ["candidate", percent], ["live", 100 - percent],
        ]  # fmt: skip
        evaluator = core.FlagdCore()
        evaluator.set_flags(json.dumps(found))

        def answers(user, evaluator=evaluator):
            context = EvaluationContext(targeting_key=user)
            return evaluator.resolve_string_value("shop-model", "none", context).value

        chosen = {user for user in users if answers(user) == "shop-2"}
        assert before <= chosen and all(answers(user) == "shop-2" for user in list(chosen)[:20])
        spread = 4 * (len(users) * percent * (100 - percent)) ** 0.5 / 100
        assert abs(len(chosen) - len(users) * percent / 100) <= spread
        assert answers(None) == answers("") == "shop-1"
        before = chosen


# Prometheus


def test_prometheus_is_pointed_at_the_rules_and_at_the_server():
    found = yaml.safe_load((SHIP / "prometheus.yml").read_text())
    assert set(found) == {"global", "rule_files", "scrape_configs"}
    assert [name for name in found["rule_files"] if not (SHIP / name).exists()] == []
    (job,) = found["scrape_configs"]
    assert set(job) == {"job_name", "metrics_path", "authorization", "static_configs"}
    assert job["metrics_path"] == "/metrics"
    assert f'up{{job="{job["job_name"]}"}}' in EXPRESSIONS["ServerIsAway"]


def test_rules_have_the_fields_of_rules():
    names = []
    for group in RULES["groups"]:
        assert set(group) <= {"name", "interval", "rules"}
        for rule in group["rules"]:
            kind = "alert" if "alert" in rule else "record"
            allowed = {"alert", "expr", "for", "labels", "annotations"}
            assert set(rule) <= (allowed if kind == "alert" else {"record", "expr", "labels"})
            names.append(rule[kind])
            if kind == "alert":
                assert re.fullmatch(r"[A-Za-z]+", rule["alert"])
                assert rule["labels"]["severity"] in ("page", "ticket")
                assert rule["annotations"]["summary"]
    assert len(names) == len(set(names))


def test_every_metric_in_the_rules_is_on_the_page(page):
    series = set(re.findall(r"^(rollout_[a-z_]+)", page, re.M))
    for name, expression in EXPRESSIONS.items():
        # A colon is for recorded names alone, so what is before or after one is no metric of ours.
        bare = re.sub(r"[a-z0-9_]*:[a-z0-9_:]+", "", expression)
        assert set(OURS.findall(bare)) <= series, name
        recorded = set(re.findall(r"[a-z]+:[a-z0-9_:]+", expression))
        assert recorded <= set(EXPRESSIONS), name


def test_every_label_in_the_rules_is_on_its_metric(page):
    labels = {}
    for name, inside in re.findall(r"^(rollout_[a-z_]+)\{(.*?)\}", page, re.M):
        labels.setdefault(name, set()).update(re.findall(r"(\w+)=", inside))
    for name, expression in EXPRESSIONS.items():
        for metric, inside in re.findall(r"\b(rollout_[a-z_]+)\{(.*?)\}", expression):
            assert set(re.findall(r"(\w+)[=!]", inside)) <= labels[metric], name
    assert {"version", "arm", "harm"} == labels["rollout_feedback_total"]
    assert 'rollout_feedback_total{arm="candidate",harm="yes",version="v2"} 0.0' in page or (
        'rollout_feedback_total{arm="control",harm="yes",version="(base)"} 0.0' in page
    )  # zero is there from the beginning, or rate() would miss the first harm


@pytest.mark.parametrize("name", EXPRESSIONS)
def test_a_parser_of_prometheus_language_takes_every_rule(name):
    parser = pytest.importorskip("promql_parser")
    parser.parse(EXPRESSIONS[name])
    with pytest.raises(ValueError):
        parser.parse(EXPRESSIONS[name] + ")")


def test_the_threshold_alone_rings_false_as_often_as_its_comment_says():
    """Both versions do equal harm; the alert is evaluated every minute for three days."""
    (alert,) = [rule for group in RULES["groups"] for rule in group["rules"]
                if rule.get("alert") == "CandidateHarmsMore"]  # fmt: skip
    margin, least = map(float, re.findall(r"> ([\d.]+)", alert["expr"]))
    held, window, minutes = int(alert["for"].removesuffix("m")), 6 * 60, 72 * 60
    rng, size = numpy.random.default_rng(0), (600, minutes)
    arms = []
    for share in (0.1, 0.9):  # 400 answers an hour, three percent of them reported
        answers = rng.poisson(400 / 60 * share, size)
        sums = [numpy.cumsum(x, axis=1) for x in (answers, rng.binomial(answers, 0.03))]
        arms.append([x - numpy.pad(x, ((0, 0), (window, 0)))[:, :-window] for x in sums])
    (asked, harmed), (others, harmed_others) = arms
    beyond = (harmed / numpy.maximum(asked, 1) - harmed_others / others > margin) & (asked > least)
    run = numpy.cumsum(beyond, axis=1)
    run = (run[:, held:] - numpy.pad(run, ((0, 0), (1, 0)))[:, : -held - 1]) == held + 1
    often, once = run.any(axis=1).mean(), beyond[:, 2 * window].mean()
    assert 0.25 < often < 0.37 and once < 0.02
    told = re.sub(r"\s*#\s*", " ", (SHIP / "rules.yml").read_text().split("groups:")[0])
    assert "in about 31 of 100 rollouts" in told and "less than 2 of 100" in told
