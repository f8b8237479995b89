"""T5 as a chain of layers, which pass along what the decoder reads of the encoder."""

from __future__ import annotations

import json
from collections.abc import Callable
from functools import cache
from itertools import pairwise
from pathlib import Path
from typing import Any

import placer

__all__ = ["T5_11B", "chained", "t5", "training_document"]

T5_11B = {"d_model": 1024, "d_kv": 128, "d_ff": 65536, "num_heads": 128, "num_layers": 24}
SUMS = ("weight_bytes", "activation_bytes", "memory_bytes")


def t5(sequence: int, sizes: dict[str, int]) -> Callable[[], Any]:
    """Make a factory of a T5; the encoder and the decoder get as many tokens each."""

    def factory() -> Any:
        import torch
        import transformers

        config = transformers.T5Config(vocab_size=32128, dropout_rate=0.0, use_cache=False, **sizes)
        tokens = torch.zeros(1, sequence, dtype=torch.long)
        given = {"input_ids": tokens, "decoder_input_ids": tokens, "return_dict": False}
        return transformers.T5ForConditionalGeneration(config), (), given

    return factory


@cache
def training_document(cluster: Path, sequence: int) -> dict[str, Any]:
    """Return the training graph of T5-11B, module by module."""
    file = cluster.with_suffix(".json")
    factory = t5(sequence, T5_11B)
    placer.save(
        placer.import_torch(factory, cluster=str(cluster), by="module", training=True, precision="bf16"), file
    )
    return dict(json.loads(file.read_text()))


def chained(document: dict[str, Any], devices: int) -> dict[str, Any]:
    """Put the layers of a training graph in a row, in their order, on so many devices.

    What stands between the layers goes with one of them: the norm after the encoder with its last, the
    embedding of the decoder with its first.  A layer sends on all that later ones read; gradients come back
    the same way.
    """
    nodes = {node["id"]: node for node in document["nodes"]}
    groups = _groups([name for name in nodes if f"{name}/backward" in nodes])
    place = {name: at for at, group in enumerate(groups) for name in group}
    last = dict(place)
    for a, b in document["edges"]:
        if a in place and b in place:
            last[a] = max(last[a], place[b])
    passed = [
        sum(nodes[name]["output_bytes"] for name in place if place[name] <= at < last[name])
        for at in range(len(groups))
    ]
    names = ["embedding", *(next(filter(_is_layer, group)) for group in groups[1:-1]), "head"]
    forward = zip(names, groups, passed, strict=True)
    made = [_merged(name, [nodes[n] for n in group], size) for name, group, size in forward]
    for name, group, size in zip(names, groups, [0, *passed[:-1]], strict=True):
        one = _merged(name, [nodes[f"{n}/backward"] for n in group], size)
        made.append(one | {"id": f"{name}/backward", "backward": True})
    steps = list(pairwise(names))
    edges = [*steps, *((f"{b}/backward", f"{a}/backward") for a, b in steps)]
    edges += [(name, f"{name}/backward") for name in names]
    (row,) = document["cluster"]["classes"]
    return document | {
        "nodes": made,
        "edges": [list(edge) for edge in edges],
        "cluster": {"classes": [row | {"count": devices}]},
    }


def _is_layer(name: str) -> bool:
    return name.rpartition(".")[2].isdigit()


def _groups(order: list[str]) -> list[list[str]]:
    """Cut modules in their order: embedding, each layer with what goes with it, head."""
    layers = [i for i, name in enumerate(order) if _is_layer(name)]
    decoder = next(i for i, name in enumerate(order) if name.startswith("decoder."))
    first = next(i for i in layers if i >= decoder)
    starts = [0, *(decoder if i == first else i for i in layers), layers[-1] + 1]
    return [order[a:b] for a, b in zip(starts, [*starts[1:], len(order)], strict=True)]


def _merged(name: str, nodes: list[dict[str, Any]], output_bytes: float) -> dict[str, Any]:
    types = nodes[0]["time_ms"]
    times = {kind: sum(node["time_ms"][kind] for node in nodes) for kind in types}
    sums = {key: sum(node.get(key, 0) for node in nodes) for key in SUMS}
    return {"id": name, "time_ms": times, **sums, "output_bytes": output_bytes, "colocate": name}
