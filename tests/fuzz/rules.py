"""Limits of memory and rules of the user, in the document or as options."""

import random
from typing import Any

from tests.fuzz.cluster import device_names
from tests.fuzz.draws import Numbers

KEPT = {"none": 1, "sgd": 2, "momentum": 3, "adam": 4, "mixed-adam": 8}


def add_rules(
    features: set[str],
    numbers: Numbers,
    rng: random.Random,
    document: dict[str, Any],
    options: dict[str, Any],
) -> None:
    """Write limits, reserves, pins and rules on the whole plan into a case."""
    _limits(features, rng, document)
    if features & {"pins", "single hosts"}:
        _pins(features, rng, document, options)
    _whole_plan(features, rng, document, options)


def _limits(features: set[str], rng: random.Random, document: dict[str, Any]) -> None:
    """Limits that are loose, tight, met exactly by some nodes, or too small; reserves below them."""
    nodes = document["nodes"]
    training = document.get("training", {})
    kept = KEPT[training.get("optimizer", "none")]
    flights = min(2, training.get("microbatches", 1))
    need = [
        v.get("memory_bytes", 0.0)
        + kept * v.get("weight_bytes", 0.0)
        + rng.choice((1, flights)) * v.get("activation_bytes", 0.0)
        for v in nodes
    ]
    for c in document["cluster"]["classes"]:
        host = c["kind"] == "host"
        if not features & {"memory", "reserves"} and not (host and "host limits" in features):
            continue
        if (host and "host limits" not in features) or rng.random() < 0.15:
            continue
        some = rng.sample(range(len(nodes)), rng.randint(1, len(nodes)))
        room = sum(need[v] for v in some)
        style = rng.random()
        if style < 0.35:  # met exactly
            limit = room
        elif style < 0.45:  # met or missed by very little
            limit = room * (1 + rng.choice((1e-7, -1e-7, 1e-5, -1e-5, 1e-12)))
        elif style < 0.9:
            limit = sum(need) * rng.choice((0.3, 0.5, 0.7, 1.2))
        else:
            limit = max(need) * 0.9
        c["memory_limit_bytes"] = min(limit, 1e18)
        if "reserves" in features and rng.random() < 0.8:
            if rng.random() < 0.5:
                taken = [limit * rng.choice((0.0, 0.25, 0.5)) for _ in range(c["count"])]
            else:
                taken = [limit * rng.choice((0.0, 0.1, 0.3))]
            c["memory_limit_bytes"] = limit + (max(taken, default=0.0) if rng.random() < 0.5 else 0.0)
            c["memory_reserve_bytes"] = taken if len(taken) == c["count"] or len(taken) == 1 else [0.0]


def _pins(features: set[str], rng: random.Random, document: dict[str, Any], options: dict[str, Any]) -> None:
    cluster = document["cluster"]
    names = device_names(cluster) + [c["name"] for c in cluster["classes"]]
    hosts = [f"{c['name']}{i}" for c in cluster["classes"] if c["kind"] == "host" for i in range(c["count"])]
    for node in document["nodes"]:
        for what, chance in (("pin", 0.3), ("forbid", 0.3)):
            if rng.random() > chance:
                continue
            some = rng.sample(names, min(len(names), rng.randint(1, 2)))
            if "single hosts" in features and hosts and rng.random() < 0.7:
                some = rng.sample(hosts, rng.randint(1, len(hosts)))
                if what == "pin" and rng.random() < 0.3:
                    some.append(rng.choice(names))
            some = list(dict.fromkeys(some))
            if "options" in features and rng.random() < 0.5:
                options.setdefault(what, {})[node["id"]] = some
            else:
                node[what] = some


def _whole_plan(
    features: set[str], rng: random.Random, document: dict[str, Any], options: dict[str, Any]
) -> None:
    ids = [v["id"] for v in document["nodes"]]
    names = device_names(document["cluster"])
    rules: dict[str, Any] = {}
    if "apart" in features and len(ids) > 1:
        groups = [rng.sample(ids, rng.randint(2, min(3, len(ids)))) for _ in range(rng.choice((1, 1, 2)))]
        rules["apart"] = groups
    if "max devices" in features:
        rules["max_devices"] = rng.randint(1, max(1, len(names) - rng.randint(0, 1)))
    if "use devices" in features:
        rules["use_devices"] = rng.sample(names, rng.randint(1, min(len(names), len(ids))))
    if "options" in features:
        if "colocate" in features and len(ids) > 1 and rng.random() < 0.5:
            options["together"] = [rng.sample(ids, 2)]
        for key in list(rules):
            if rng.random() < 0.5:
                options[key] = rules.pop(key)
    if rules:
        document["constraints"] = rules
    if "near" in features:
        known = [*names, *names, "elsewhere9"]
        options["near"] = {v: rng.choice(known) for v in ids if rng.random() < 0.8} or {ids[0]: names[0]}
