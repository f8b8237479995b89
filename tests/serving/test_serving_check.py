"""Answers of ``placer serve`` are verified from model and assignment: each figure altered is found."""

import json
from itertools import product
from pathlib import Path

import pytest

from placer.cli import main
from placer.language.configuration import language_model
from placer.serving.serve import serve, served
from placer.serving.serving_check import violations
from placer.serving.serving_plan import ServingResult
from placer.serving.serving_request import Goal, ServingRequest
from tests.serving.test_serving_brute_force import random_instance
from tests.support.served import DENSE, MIXTURE

ROOT = Path(__file__).resolve().parents[2]


def answer(config=DENSE, devices="t4:2,l4:1", **asked):
    given = {"objective": Goal.TPOT, "context": 512, "concurrency": 6, **asked}
    model, request = served(language_model(config), devices, ServingRequest(**given))
    return model, serve(model, request)


@pytest.fixture(scope="module")
def several():
    """Several stages, which so many sequences need; the bound need not be close."""
    found = answer(objective=Goal.THROUGHPUT, concurrency=3000, context=4096, time_limit=1.0)
    assert len(found[1].plan.stages) > 1
    return found


def altered(result, path, value):
    document = json.loads(result.to_json())
    at = document
    for part in path[:-1]:
        at = at[part]
    at[path[-1]] = value(at[path[-1]]) if callable(value) else value
    return ServingResult.model_validate(document)


def times(factor):
    return lambda figure: figure * factor + (figure == 0)


STAGE = ("load_ms", "compute_ms", "receive_ms", "send_ms", "prefill_ms", "weight_bytes", "cache_bytes")
ROOMS = ("room_bytes", "free_bytes")
VISIT = ("receive_ms", "compute_ms", "send_ms", "prefill_ms")
PLAN = ("return_ms", "tpot_ms", "tokens_per_s", "ttft_ms", "room_per_layer_bytes")
FIGURES = [
    *((("plan", "stages", 0, name), name) for name in (*STAGE, *ROOMS)),
    *((("plan", "visits", 0, name), name) for name in VISIT),
    *((("plan", name), name) for name in PLAN),
    (("value",), "value"),
]


@pytest.mark.parametrize(("path", "said"), FIGURES)
def test_a_figure_that_is_wrong_is_found(several, path, said):
    model, result = several
    assert violations(model, result) == []
    found = violations(model, altered(result, path, times(1.0001)))
    assert len(found) >= 1
    assert any(said in line for line in found)


def _without(nodes):
    return nodes[:-1]


WRONG = [
    (("plan", "stages", 0, "nodes"), _without, "lies nowhere"),
    (("plan", "stages", 0, "nodes"), lambda nodes: nodes[::-1], "not in the order of the model"),
    (("plan", "stages", 0, "nodes"), lambda nodes: ["no.such", *nodes], "the model has no node 'no.such'"),
    (("plan", "stages", 0, "devices"), ["t49"], "there is no device 't49'"),
    (("plan", "stages", 0, "devices"), [], "stages[0] has no device"),
    (("plan", "stages", 0, "shards"), 2, "2 shards and 1 replicas are not 1 devices"),
    (("plan", "stages", 0, "replicas"), 0, "0 replicas are not"),
    (("plan", "stages", 0, "host"), True, "is of class"),
    (("plan", "stages", 0, "layers"), [0, 99], "layers (0, 99)"),
    (("plan", "visits"), lambda visits: visits[::-1], "the visits are not"),
    (("plan", "microbatches"), 0, "there are no 0 x"),
    (("plan", "batch"), lambda batch: batch + 1, "cache_bytes is"),
    (("plan", "batch"), 5000, "more than its room"),
    (("plan", "concurrency"), 1, "concurrency 1 is not"),
    (("plan", "context"), 99, "the context is 99 tokens"),
    (("plan", "unused"), ["t49"], "unused: t49"),
    (("bound",), 1.0, "worse than the value"),
    (("gap",), 0.5, "the gap is 0.5"),
    (("status",), "infeasible", "do not fit a plan"),
    (("request", "max_tpot_ms"), 1e-3, "time per token"),
    (("request", "max_ttft_ms"), 1e-3, "time to the first token"),
    (("request", "concurrency"), 1, "more than the 1 asked for"),
]


@pytest.mark.parametrize(("path", "value", "said"), WRONG)
def test_a_rule_that_is_broken_is_found(several, path, value, said):
    model, result = several
    assert said in "\n".join(violations(model, altered(result, path, value)))


def test_an_interval_that_is_broken_is_found(several):
    """A node of the second stage on the first makes more visits, and one interval within another."""
    model, result = several
    document = json.loads(result.to_json())
    first, second = document["plan"]["stages"][:2]
    first["nodes"].append(second["nodes"].pop(1))
    found = violations(model, ServingResult.model_validate(document))
    assert any("another accelerator has nodes between" in line for line in found)


@pytest.mark.parametrize(
    ("config", "devices", "asked"),
    [
        (DENSE, "a100:4", {"shards": (1, 2), "objective": Goal.TPOT}),
        (DENSE, "t4:4", {"replicas": (1, 2), "objective": Goal.THROUGHPUT}),
        (MIXTURE, "l4:2,epyc-7763:1", {"objective": Goal.TPOT}),
        ({**DENSE, "tie_word_embeddings": True}, "l4:1", {}),
        (DENSE, "2x2xl4@infiniband-hdr", {"objective": Goal.CONTEXT, "context": None}),
    ],
)
def test_answers_hold(config, devices, asked):
    """Shards, replicas, hosts, tied weights, servers: the figures of the searches are those of the check."""
    model, result = answer(config, devices, **asked)
    assert result.plan is not None
    assert violations(model, result) == []


@pytest.mark.parametrize(("seed", "goal"), list(product(range(4), (Goal.TPOT, Goal.CONCURRENCY))))
def test_answers_about_instances(seed, goal):
    instance = random_instance(seed)
    asked = ServingRequest(objective=goal, concurrency=None if goal is Goal.CONCURRENCY else 2)
    model, request = served(instance, None, asked)
    result = serve(model, request)
    assert violations(model, result) == []
    if result.plan is not None:
        assert violations(model, altered(result, ("plan", "stages", 0, "weight_bytes"), times(2)))


def test_the_command(tmp_path, capsys):
    """`placer check` takes devices and formats from the answer; what does not hold is exit code 1."""
    model, out = str(ROOT / "data" / "serving" / "llama-3-8b.json"), tmp_path / "served.json"
    asked = ["--devices", "2xl4", "--objective", "tpot", "--weights", "int4", "--reserve", "0.2"]
    assert main(["serve", model, *asked, "--out", str(out), "--quiet"]) == 0
    assert main(["check", model, str(out)]) == 0
    assert "verified: assignment, memory, loads" in capsys.readouterr().out
    assert main(["check", str(ROOT / "data" / "textbook.json"), str(out)]) == 2
    assert "the answer is about 'llama-3-8b' on 2xl4" in capsys.readouterr().err
    assert main(["check", str(ROOT / "data" / "serving" / "llama-3.1-70b.json"), str(out)]) == 1
    assert "the answer is about another model ('llama-3-8b')" in capsys.readouterr().err
    wrong = altered(ServingResult.model_validate_json(out.read_text()), ("plan", "tpot_ms"), times(1.1))
    out.write_text(wrong.to_json())
    assert main(["check", model, str(out), "--json"]) == 1
    printed = capsys.readouterr()
    assert json.loads(printed.out)["holds"] is False
    assert "the plan: tpot_ms is" in printed.err
