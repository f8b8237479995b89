"""Random clusters: classes of accelerators and hosts, links, servers, an order."""

import random
from typing import Any

from tests.fuzz.draws import Numbers

DAY_MS = 86_400_000.0


def make_cluster(features: set[str], numbers: Numbers, rng: random.Random) -> dict[str, Any]:
    """Draw the devices; memory limits come later, when the sizes of the nodes are known."""
    classes = _accelerators(features, rng) + _hosts(features, rng)
    if "empty classes" in features:
        kind = rng.choice(("accelerator", "host"))
        kept = rng.choice(("gpu", "tpu", "cpu"))
        classes.insert(
            rng.randrange(len(classes) + 1), {"name": "none", "type": kept, "kind": kind, "count": 0}
        )
    if not any(c["count"] for c in classes):
        classes[0]["count"] = 1
    for c in classes:
        if c["kind"] == "accelerator":
            c["link"] = make_link(features, numbers, rng)
    cluster: dict[str, Any] = {"classes": classes}
    names = device_names(cluster)
    if "order" in features:
        cluster["order"] = _order(classes, rng)
    if "servers" in features:
        cluster["servers"] = _servers(features, numbers, rng, classes, names)
    return cluster


def device_names(cluster: dict[str, Any]) -> list[str]:
    return [f"{c['name']}{i}" for c in cluster["classes"] for i in range(c["count"])]


def _accelerators(features: set[str], rng: random.Random) -> list[dict[str, Any]]:
    gpu: dict[str, Any] = {"name": "gpu", "type": "gpu", "kind": "accelerator", "count": rng.randint(1, 3)}
    if "replicas" in features or "order" in features:
        gpu["count"] = rng.randint(2, 3)
    if "classes" not in features:
        return [gpu]
    gpu["count"] = rng.choice((1, 1, 2, 2, 3))
    more = [
        {"name": name, "type": rng.choice(("gpu", "tpu")), "kind": "accelerator", "count": 1}
        for name in ("alt", "big")
    ]
    return [gpu, *more[: 1 if gpu["count"] > 1 else rng.randint(1, 2)]]


def _hosts(features: set[str], rng: random.Random) -> list[dict[str, Any]]:
    if not features & {"hosts", "single hosts", "host limits"}:
        if "latency" in features or rng.random() < 0.5:
            return [{"name": "cpu", "type": "cpu", "kind": "host", "count": 1}]
        return []
    count = 2 if "single hosts" in features else rng.randint(1, 2)
    classes = [{"name": "cpu", "type": "cpu", "kind": "host", "count": count}]
    if rng.random() < 0.4:
        kind = rng.choice(("cpu", "arm"))
        classes.append({"name": "arm", "type": kind, "kind": "host", "count": 1})
    return classes


def make_link(features: set[str], numbers: Numbers, rng: random.Random, far: bool = False) -> dict[str, Any]:
    """A link; uplinks (``far``) take from ms to days."""
    link: dict[str, Any] = {}
    if "scales" in features or far:
        link["transfer_scale"] = rng.choice((0.0, 0.5, 2.0, 3.0, 1e3 if far else 4.0, 1e6 if far else 0.1))
    if "bytes" in features or rng.random() < 0.8:
        per_ms = numbers.size_scale / numbers.scale
        link["bandwidth_bytes_per_s"] = rng.choice((0.5, 1.0, 2.0, 4.0)) * 1e3 * max(per_ms, 1e-9)
        if far and rng.random() < 0.3:
            link["bandwidth_bytes_per_s"] *= rng.choice((1e-6, 1e-3, 1e3))
        link["bandwidth_bytes_per_s"] = min(link["bandwidth_bytes_per_s"], 1e18)
        if rng.random() < 0.4:
            link["latency_ms"] = rng.choice((0.25, 1.0)) * numbers.scale
            if far and rng.random() < 0.3:
                link["latency_ms"] = DAY_MS * rng.choice((1e-3, 1.0, 3.0))
    return link


def _order(classes: list[dict[str, Any]], rng: random.Random) -> list[str | list[str]]:
    names: list[str] = []
    for c in classes:
        if rng.random() < 0.5:
            names += [c["name"]] if rng.random() < 0.9 else []
        else:
            names += [f"{c['name']}{i}" for i in range(c["count"]) if rng.random() < 0.85]
    rng.shuffle(names)
    if len(names) > 1 and rng.random() < 0.25:  # some share a place
        return [names[:2], *names[2:]]
    return list(names)


def _servers(
    features: set[str],
    numbers: Numbers,
    rng: random.Random,
    classes: list[dict[str, Any]],
    names: list[str],
) -> list[dict[str, Any]]:
    count = rng.randint(1, 3)
    inside: list[list[str]] = [[] for _ in range(count)]
    for c in classes:
        members = [f"{c['name']}{i}" for i in range(c["count"])]
        if rng.random() < 0.3:
            inside[rng.randrange(count)].append(c["name"])
            continue
        for name in members:
            if rng.random() < 0.85:
                inside[rng.randrange(count)].append(name)
    return [
        {"name": f"server{k}", "devices": some, "uplink": make_link(features, numbers, rng, far=True)}
        for k, some in enumerate(inside)
    ]
