"""Random graphs with costs."""

import random
from typing import Any

from tests.fuzz.cluster import device_names
from tests.fuzz.draws import Numbers

MOST_PLANS = 1500
"""Assignments that the oracle tries, about."""


def make_graph(
    features: set[str], numbers: Numbers, rng: random.Random, cluster: dict[str, Any]
) -> dict[str, Any]:
    """Draw nodes, edges and training."""
    devices = len(device_names(cluster)) * (2 if "pieces" in features else 1)
    most = 6
    while most > 2 and max(devices, 1) ** most > MOST_PLANS * (3 if "latency" in features else 1):
        most -= 1
    n = rng.choice((1, 2, 3, 4, 5, 6, 6, 5, 4))
    n = max(min(n, most), 2 if "training" in features else 1)
    backward = [False] * n
    if "training" in features and n > 1:
        forward = rng.randint(1, n - 1)
        backward = [i >= forward for i in range(n)]
    nodes = [_node(i, features, numbers, rng, cluster) for i in range(n)]
    for v, node in enumerate(nodes):
        if backward[v]:
            node["backward"] = True
    if "colocate" in features or any(backward):
        _colocate(nodes, rng)
    edges = _edges(backward, rng)
    out: dict[str, Any] = {"nodes": nodes, "edges": edges}
    if "optimizer" in features or any(backward):
        out["training"] = {"optimizer": "none", "microbatches": 1}
    if "optimizer" in features:
        out["training"]["optimizer"] = rng.choice(("none", "sgd", "momentum", "adam", "mixed-adam"))
    if "microbatches" in features:
        out.setdefault("training", {})
    if rng.random() < 0.05:
        out["source"] = {"kind": "onnx", "name": "model.onnx", "notes": ["made up"]}
    return out


def _node(
    i: int, features: set[str], numbers: Numbers, rng: random.Random, cluster: dict[str, Any]
) -> dict[str, Any]:
    present = sorted({c["type"] for c in cluster["classes"] if c["count"]})
    known = sorted({c["type"] for c in cluster["classes"]} | ({"fpga"} if rng.random() < 0.1 else set()))
    time_ms = {t: numbers.time() for t in known if rng.random() > 0.12}
    if not set(time_ms) & set(present):
        time_ms[rng.choice(present)] = numbers.time()
    node: dict[str, Any] = {"id": f"v{i}", "time_ms": time_ms}
    if rng.random() < 0.8:
        node["memory_bytes"] = numbers.size()
    if features & {"optimizer", "replicas"} and rng.random() < 0.7:
        node["weight_bytes"] = numbers.size(4.0)
    if features & {"microbatches", "recompute"} or rng.random() < 0.1:
        node["activation_bytes"] = numbers.size(4.0)
    links = [c["link"] for c in cluster["classes"] if c["kind"] == "accelerator" and "link" in c]
    links += [s["uplink"] for s in cluster.get("servers", ())]
    sized = all("bandwidth_bytes_per_s" in link for link in links)
    if sized and rng.random() < (0.9 if "bytes" in features else 0.2):
        node["output_bytes"] = numbers.size(6.0)
    elif rng.random() < 0.9:
        node["transfer_ms"] = numbers.time(4.0)
    if rng.random() < 0.05:
        node |= {"name": f"layer {i}", "layer": f"l{i // 2}", "origin": {"op": "MatMul", "flops": 1e9}}
    return node


def _colocate(nodes: list[dict[str, Any]], rng: random.Random) -> None:
    """Groups of nodes that share a type; in training often a backward node with a forward one."""
    share = rng.choice((0.4, 0.8))
    labels = [f"g{rng.randrange(max(2, len(nodes) // 2))}" if rng.random() < share else None for _ in nodes]
    for group in {g for g in labels if g}:
        members = [v for v, g in enumerate(labels) if g == group]
        if not set.intersection(*(set(nodes[v]["time_ms"]) for v in members)):
            continue
        for v in members:
            nodes[v]["colocate"] = group


def _edges(backward: list[bool], rng: random.Random) -> list[list[str]]:
    density = rng.choice((0.25, 0.5, 0.8))
    ways = [[v for v, b in enumerate(backward) if b == way] for way in (False, True)]
    for way in ways:
        rng.shuffle(way)
    order = ways[0] + ways[1]
    return [[f"v{u}", f"v{w}"] for i, u in enumerate(order) for w in order[i + 1 :] if rng.random() < density]
