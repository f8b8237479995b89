"""Serving questions whose answers follow from figures that are known, and what is refused."""

from itertools import count, pairwise
from pathlib import Path

import numpy as np
import pytest

from placer.errors import UsageError
from placer.formats.files import load
from placer.instance.cluster import DeviceClass, Kind, Link
from placer.instance.instance import Instance
from placer.language.configuration import language_model
from placer.plans.result import Status
from placer.serving import serving_questions, serving_tie
from placer.serving.label_search import Target, UndecidedError, shortest_labels
from placer.serving.serve import serve, served
from placer.serving.serving_layout import to_plan
from placer.serving.serving_model import Setting
from placer.serving.serving_request import Goal, ServingRequest
from placer.serving.token_time import Clock, TokenTime

CASES = Path(__file__).parents[3] / "shared" / "cases"
needs_cases = pytest.mark.skipif(not CASES.is_dir(), reason="no shared cases here")


def ask(instance, **asked):
    model, request = served(instance, None, ServingRequest(**asked))
    return serve(model, request)


@needs_cases
@pytest.mark.parametrize(
    ("case", "tpot"),
    [("host_and_disk", 1407.365914), ("remote_card", 52.76696053), ("experts_12", 8.06091136)],
)
def test_least_time_per_token(case, tpot):
    found = ask(load(CASES / f"{case}.json"), objective=Goal.TPOT)
    assert (found.status, found.value) == (Status.OPTIMAL, pytest.approx(tpot, rel=1e-8))
    assert all(stage.nodes for stage in found.plan.stages)


@needs_cases
def test_most_room_per_layer():
    """Eleven layers of 856 MB on a card with 21.6 GB leave each 1.1076 GB; 80 layers on 8 cards need that."""
    found = ask(load(CASES / "kv_room_8.json"), objective=Goal.CONCURRENCY)
    assert found.plan.room_per_layer_bytes == pytest.approx((21.6e9 - 11 * 856e6) / 11)


LLAMA_70B = {
    "architectures": ["LlamaForCausalLM"],
    "model_type": "llama",
    "torch_dtype": "bfloat16",
    "hidden_size": 8192,
    "intermediate_size": 28672,
    "num_hidden_layers": 80,
    "num_attention_heads": 64,
    "num_key_value_heads": 8,
    "vocab_size": 128256,
    "max_position_embeddings": 131072,
    "tie_word_embeddings": False,
}


def test_most_sequences_of_a_model_on_eight_cards():
    """A card with 11 of 80 layers of 855.6 MB each has room for as many caches of 11 x 4096 x 8192 bytes."""
    model, request = served(
        language_model(LLAMA_70B, weights="fp8"),
        "8xl4",
        ServingRequest(objective=Goal.CONCURRENCY, context=8192),
        reserve=0.1,
    )
    found = serve(model, request)
    assert found.status is Status.OPTIMAL
    layer = sum(b.weight_bytes for b in model.model.blocks if b.layer == 5)
    ends = [model.model.blocks[k].weight_bytes for k in (0, -1)]
    room, cache = 0.9 * 24 * 2**30, 8192 * 4096
    most = max(
        min(
            min((room - 11 * layer) // (11 * cache), (room - 10 * layer) // (10 * cache)),
            *((room - end - k * layer) // (k * cache) for end, k in zip(ends, outer, strict=True)),
        )
        for outer in ((9, 9), (9, 10), (10, 9), (8, 8), (7, 7))
    )
    assert found.value == most


def test_layers_lie_in_intervals():
    model, request = served(
        language_model(LLAMA_70B, weights="fp8"),
        "l4:4",
        ServingRequest(objective=Goal.TPOT, context=2048),
        reserve=0.0,
    )
    found = serve(model, request)
    assert found.status is Status.OPTIMAL
    held = [node for stage in found.plan.stages for node in stage.nodes]
    assert held == list(model.ids)
    assert found.plan.tpot_ms == pytest.approx(
        sum(stage.load_ms for stage in found.plan.stages) + found.plan.return_ms
    )


def test_too_large_a_model_is_refused_with_its_size():
    model, request = served(language_model(LLAMA_70B), "2xl4", ServingRequest(objective=Goal.TPOT))
    found = serve(model, request)
    assert found.status is Status.INFEASIBLE
    assert "weights and cache of 1 sequence need 132.7 GiB, all devices have 43.2 GiB" in found.message


@pytest.mark.parametrize(
    ("asked", "said"),
    [
        ({"objective": Goal.CONTEXT, "context": 5}, "--context is what"),
        ({"objective": Goal.CONCURRENCY, "concurrency": 5}, "--concurrency is what"),
        ({"scattered": True, "shards": (1, 2)}, "--scattered goes with"),
    ],
)
def test_options_that_contradict_each_other(asked, said):
    with pytest.raises(UsageError, match=said):
        served(language_model(LLAMA_70B), "2xl4", ServingRequest(**asked))


def test_mixture_of_experts_that_needs_a_host_has_a_plan_and_a_gap_at_once():
    """Weights of 57 GiB on 43 GiB of cards: the rest is read by the host."""
    config = {
        "architectures": ["Qwen3MoeForCausalLM"],
        "model_type": "qwen3_moe",
        "torch_dtype": "bfloat16",
        "hidden_size": 2048,
        "intermediate_size": 6144,
        "num_hidden_layers": 48,
        "num_experts": 128,
        "num_experts_per_tok": 8,
        "moe_intermediate_size": 768,
        "num_attention_heads": 32,
        "num_key_value_heads": 4,
        "head_dim": 128,
        "vocab_size": 151936,
        "max_position_embeddings": 40960,
        "tie_word_embeddings": False,
    }
    model, request = served(
        language_model(config),
        "rtx3090:1,rtx4090:1,epyc-7763:1",
        ServingRequest(objective=Goal.TPOT),
    )
    looks = count()
    found = serving_questions.ask(model, request, Clock(interrupted=lambda: next(looks) > 2000))
    assert not found.finished
    assert found.value is not None
    assert found.bound <= found.value < 1.1 * found.bound
    plan = to_plan(model, model.costs(found.setting), found.setting, found.layout)
    assert sorted(node for stage in plan.stages for node in stage.nodes) == sorted(model.ids)
    assert all(stage.free_bytes is None or stage.free_bytes >= 0 for stage in plan.stages)
    assert [stage.host for stage in plan.stages] == [False, False, True]


@needs_cases
def test_narrow_beams_leave_open_what_they_do_not_prove():
    model, _ = served(load(CASES / "experts_12.json"), None, ServingRequest(objective=Goal.TPOT))
    setting = Setting()
    with pytest.raises(UndecidedError):
        shortest_labels(model, model.costs(setting), Target(8.0609), width=5)
    assert shortest_labels(model, model.costs(setting), Target(8.0609)) is None
    assert shortest_labels(model, model.costs(setting), Target(8.061)) is not None


def test_search_for_room_ends_where_there_is_none(monkeypatch):
    """Two nodes that fill a device with three microbatches: the bisection ends, though all rooms are zero."""
    tried = []

    class Counted(TokenTime):
        def __init__(self, model, setting, asked, clock):
            tried.append(asked.room_per_layer)
            super().__init__(model, setting, asked, clock)

    monkeypatch.setattr(serving_tie, "TokenTime", Counted)
    cluster = [DeviceClass("a", "t", 2, Kind.HOST, 7.0, Link())]
    full = Instance.build(
        ids=["u", "v"],
        types=["t"],
        time_ms=np.ones((2, 1)),
        edges=[(0, 1)],
        classes=cluster,
        memory_bytes=np.ones(2),
        activation_bytes=np.full(2, 2.0),
        output_bytes=np.ones(2),
    )
    found = ask(full, objective=Goal.CONCURRENCY)
    assert (found.status, found.value, found.plan.room_per_layer_bytes) == (Status.OPTIMAL, 3, 0.0)
    assert 1 < len(tried) < 50


def test_front_rises_in_both():
    model, request = served(
        language_model(LLAMA_70B, weights="int4"),
        "2xl4",
        ServingRequest(objective=Goal.TPOT, context=1024),
    )
    front = serve(model, request).front
    assert len(front) > 1
    for a, b in pairwise(front):
        assert (a.tpot_ms < b.tpot_ms, a.tokens_per_s < b.tokens_per_s) == (True, True)
        assert b.tokens_per_s == pytest.approx(1e3 * b.concurrency / b.tpot_ms)
