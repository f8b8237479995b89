"""Layered flows: random ones, all of their plans, and the published programs of Helix read back."""

import itertools
import os
import random
import re
from collections import deque
from pathlib import Path

import pytest

HELIX = Path(
    os.environ.get(
        "PLACER_HELIX", Path(__file__).resolve().parents[2].parent / "shared" / "serving" / "helix"
    )
)


def document(layers, rates, links):
    """A document: rates by device name, links by pair of names."""
    return {
        "format": "placer-flow",
        "version": 1,
        "layers": layers,
        "devices": [{"name": name, "tokens_per_s": list(rate)} for name, rate in rates.items()],
        "links": [{"from": a, "to": b, "tokens_per_s": c} for (a, b), c in links.items()],
    }


def complete(names, capacity):
    """Links between all devices and both ends."""
    pairs = dict.fromkeys(itertools.permutations(names, 2), capacity)
    return (
        pairs | {("source", name): capacity for name in names} | {(name, "sink"): capacity for name in names}
    )


def random_flow(seed):
    """Few layers and devices: equal and unequal ones, links that bind, links that are missing."""
    rng = random.Random(seed)
    layers, n = rng.randint(1, 5), rng.randint(1, 3)
    rates = {}
    for i in range(n):
        speed = rng.choice([4.0, 6.0, 10.5])
        rates[f"d{i}"] = [
            0.0 if rng.random() < 0.2 else round(speed / k * rng.uniform(0.7, 1.2), 2)
            for k in range(1, rng.randint(1, layers + 1) + 1)
        ]
    if n > 1 and rng.random() < 0.5:
        rates["d1"] = rates["d0"]
    missing, capacities = rng.choice([(0.0, [100.0]), (0.1, [100.0, 3.0, 1.5]), (0.3, [100.0, 1.5])])
    links = {pair: rng.choice(capacities) for pair in complete(rates, 0) if rng.random() >= missing}
    return document(layers, rates, links)


def largest(flow):
    """Tokens per second of the best plan, by trying all ranges."""
    rates = {device["name"]: device["tokens_per_s"] for device in flow["devices"]}
    links = {(link["from"], link["to"]): link["tokens_per_s"] for link in flow["links"]}
    layers, best = flow["layers"], 0.0
    choices = [
        [None] + [(s, s + k) for k in range(1, min(len(rate), layers) + 1) for s in range(layers - k + 1)]
        for rate in rates.values()
    ]
    for chosen in itertools.product(*choices):
        ranges = {name: range_ for name, range_ in zip(rates, chosen, strict=True) if range_}
        best = max(best, passes(layers, rates, links, ranges))
    return best


def passes(layers, rates, links, ranges):
    """Tokens per second through given ranges, by shortest augmenting paths."""
    capacity = {}
    for name, (s, e) in ranges.items():
        capacity[(name, 0), (name, 1)] = rates[name][e - s - 1]
        if s == 0:
            capacity["source", (name, 0)] = links.get(("source", name), 0.0)
        if e == layers:
            capacity[(name, 1), "sink"] = links.get((name, "sink"), 0.0)
        for other, (start, _) in ranges.items():
            if start == e and other != name:
                capacity[(name, 1), (other, 0)] = links.get((name, other), 0.0)
    neighbours = {}
    for a, b in list(capacity):
        capacity.setdefault((b, a), 0.0)
        neighbours.setdefault(a, []).append(b)
        neighbours.setdefault(b, []).append(a)
    total = 0.0
    while True:
        before, queue = {"source": None}, deque(["source"])
        while queue and "sink" not in before:
            a = queue.popleft()
            for b in neighbours.get(a, ()):
                if b not in before and capacity[a, b] > 1e-12:
                    before[b] = a
                    queue.append(b)
        if "sink" not in before:
            return total
        path, b = [], "sink"
        while before[b] is not None:
            path.append((before[b], b))
            b = before[b]
        amount = min(capacity[pair] for pair in path)
        for a, b in path:
            capacity[a, b] -= amount
            capacity[b, a] += amount
        total += amount


def needs_helix(name):
    return pytest.mark.skipif(
        not (HELIX / f"{name}.lp").is_file(),
        reason="the published programs of Helix are not beside the checkout (set PLACER_HELIX)",
    )


def published(name):
    """Read back the flow from a published program: rates from its throughput rows, links from its flow rows.

    Devices are called as in the program, by their numbers.
    """
    text = re.sub(r"\n\s+", " ", (HELIX / f"{name}.lp").read_text())
    rates = {
        device: [
            float(a) for a, _ in sorted(re.findall(r"- (\S+) hold_\d+_(\d+)", row), key=lambda x: int(x[1]))
        ]
        for device, row in re.findall(r"node_throughput_constraint_(\d+): (.*?<= 0)", text)
    }
    links = {
        (a, b): float(capacity)
        for a, b, capacity in re.findall(r"edge_flow_constr_\w+: flow_(\w+?)_(\w+) - (\S+) switch_", text)
    }
    (layers,) = set(re.findall(r"end_constraint_\d+: .*?<= (\d+)", text))
    return document(int(layers), rates, links)
