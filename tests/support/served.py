"""Serving plans made by hand: which device holds which nodes."""

from itertools import groupby

from placer.language.configuration import language_model
from placer.plans.result import Status
from placer.serving.serving_plan import ServedStage, ServingPlan, ServingResult, Visit
from placer.serving.serving_request import ServingRequest

__all__ = ["DENSE", "MIXTURE", "answer", "nodes_of", "served"]

DENSE = {
    "model_type": "llama",
    "torch_dtype": "bfloat16",
    "hidden_size": 64,
    "intermediate_size": 128,
    "num_hidden_layers": 12,
    "num_attention_heads": 8,
    "num_key_value_heads": 2,
    "vocab_size": 500,
    "tie_word_embeddings": False,
}
MIXTURE = {
    **DENSE,
    "model_type": "qwen3_moe",
    "head_dim": 8,
    "num_experts": 8,
    "num_experts_per_tok": 2,
    "moe_intermediate_size": 32,
}


def nodes_of(configuration):
    """Nodes of a model, in order."""
    return [block.module for block in language_model(configuration).blocks]


def served(nodes, devices, *, hosts=(), batch=2, microbatches=3, shards=1, replicas=1, context=1024):
    """Make the plan that puts each node on a device; names with ``+`` are groups of devices."""
    order = list(dict.fromkeys(devices))
    order.sort(key=lambda name: name in hosts)
    visits, at = [], 0
    for name, run in groupby(devices):
        length = len(list(run))
        visits.append(
            Visit(
                stage=order.index(name),
                nodes=(at, at + length),
                receive_ms=0.1,
                compute_ms=1.0,
                send_ms=0.1,
                prefill_ms=2.0,
            )
        )
        at += length
    stages = [
        ServedStage(
            devices=tuple(name.split("+")),
            device_class="gpu",
            host=name in hosts,
            shards=1 if name in hosts else shards,
            replicas=1 if name in hosts else replicas,
            layers=None,
            nodes=tuple(node for node, device in zip(nodes, devices, strict=True) if device == name),
            load_ms=1.2,
            compute_ms=1.0,
            receive_ms=0.1,
            send_ms=0.1,
            prefill_ms=2.0,
            weight_bytes=6e9,
            cache_bytes=2e9,
            room_bytes=1e10,
            free_bytes=2e9,
        )
        for name in order
    ]
    return ServingPlan(
        batch=batch,
        microbatches=microbatches,
        concurrency=batch * microbatches,
        context=context,
        prompt=context,
        stages=tuple(stages),
        visits=tuple(visits),
        return_ms=0.2,
        tpot_ms=5.0,
        tokens_per_s=batch * microbatches / 5e-3,
        ttft_ms=8.0,
        room_per_layer_bytes=1e9,
        unused=(),
    )


def answer(plan, model="Some-Model"):
    """Wrap a plan as an answer."""
    return ServingResult(
        model=model,
        devices="some cards",
        request=ServingRequest(context=1024),
        status=Status.OPTIMAL,
        value=plan.tokens_per_s,
        bound=plan.tokens_per_s,
        gap=0.0,
        plan=plan,
    )
