"""Small random questions about serving, and their answers by trying everything.

A question has a small language model (dense or a mixture of experts, tied embeddings or not) on a few unequal
devices with unequal links, hosts and servers, limits of memory and of times, shards and replicas.  All four
objectives are asked; `outcomes` says where ``placer serve`` and `brute_layouts` do not agree.
"""

from __future__ import annotations

from dataclasses import dataclass
from math import inf

import numpy as np

from placer.imports.catalogue import Cluster, DeviceEntry
from placer.instance.cluster import DeviceClass, Kind, Link, Server
from placer.language.configuration import language_model
from placer.plans.result import Status
from placer.serving.serve import serve, served
from placer.serving.serving_request import Goal, ServingRequest
from tests.support.brute_layouts import Layouts
from tests.support.served import MIXTURE

__all__ = ["Outcome", "Question", "outcomes", "question"]

MOST = 12
"""Sequences that are tried; a question that more fit is left to the others."""
LONGEST = 10
"""Tokens of context of the models."""
GAP = 1e-7
HOUR = 3600.0
"""Seconds for an answer: to the end, however busy the machine is."""
ROOM = 1e-2
"""Bytes of room per layer that do not matter; sizes are whole bytes, rooms shares of them by layers."""
CLOSE = 1e-6
"""Relative difference of what is equal: that of the gap, and rounding."""
NARROW = {"hidden_size": 8, "intermediate_size": 16, "num_attention_heads": 4, "vocab_size": 24}


@dataclass(frozen=True)
class Outcome:
    """What was answered to an objective, and how that is wrong; empty if it is right."""

    goal: Goal
    status: Status
    wrong: str


@dataclass(frozen=True)
class Question:
    """A model, its devices, and what all objectives are asked with."""

    config: dict
    cluster: Cluster
    asked: dict
    sequences: int


def question(seed: int) -> Question:
    """Make a question."""
    rng = np.random.default_rng(seed)
    config = _configuration(rng)
    model = language_model(config)
    weights = sum(block.weight_bytes for block in model.blocks)
    cache = 2.0 * model.cached_numbers(LONGEST)
    cluster = _cluster(rng, weights, cache)
    asked: dict = {"context": int(rng.integers(2, LONGEST + 1))}
    accelerators = max((c.count for c in cluster.classes if not c.is_host), default=1)
    for name in ("shards", "replicas"):
        if accelerators > 1 and rng.random() < 0.35:
            asked[name] = (1, 2)
    if "shards" not in asked and "replicas" not in asked and rng.random() < 0.25:
        asked["scattered"] = True
    if rng.random() < 0.3:
        asked["prompt"] = int(rng.integers(1, asked["context"] + 1))
    return Question(config, cluster, asked, int(rng.integers(1, 6)))


def _configuration(rng: np.random.Generator) -> dict:
    """Make a model of one layer, or of two."""
    mixture = rng.random() < 0.3
    config = {
        **MIXTURE,
        **NARROW,
        "model_type": "qwen3_moe" if mixture else "llama",
        "head_dim": 2,
        "num_key_value_heads": int(rng.choice([1, 2, 4])),
        "num_hidden_layers": 1 if rng.random() < 0.4 else 2,
        "tie_word_embeddings": bool(rng.random() < 0.5),
        "max_position_embeddings": LONGEST,
    }
    mixed = ("num_experts", "num_experts_per_tok", "moe_intermediate_size")
    if mixture:
        return config | {"num_experts": 4, "moe_intermediate_size": 8}
    return {name: value for name, value in config.items() if name not in mixed}


def _cluster(rng: np.random.Generator, weights: float, cache: float) -> Cluster:
    """Make two to four devices of one or two classes, in one or two servers."""
    counts = [(1,), (2,), (3,), (1, 1), (1, 2), (2, 1), (1, 1, 1)][int(rng.integers(7))]
    hosts = rng.random() < 0.4
    classes, types = [], {}
    for c, count in enumerate(counts):
        host = bool(hosts and c == len(counts) - 1 and c > 0)
        room = weights * rng.uniform(0.2, 1.3) + cache * rng.integers(1, 5)
        limit = inf if host and rng.random() < 0.3 else float(np.ceil(room * (3 if host else 1)))
        slower = 5.0 if host else 1.0
        types[f"t{c}"] = DeviceEntry(
            kind="host" if host else "accelerator",
            bandwidth_gb_per_s=rng.uniform(1e-6, 4e-6) / slower,
            peak_tflops={"bf16": rng.uniform(1e-9, 2e-8) / slower},
            launch_ms=float(rng.choice([0.0, 50.0])),
            source="random",
        )
        link = Link(bandwidth_bytes_per_s=10 ** rng.uniform(1.5, 3.5), latency_ms=float(rng.integers(0, 3)))
        peer = None if rng.random() < 0.5 else Link(bandwidth_bytes_per_s=2e3, latency_ms=1.0)
        kind = Kind.HOST if host else Kind.ACCELERATOR
        link = Link() if host else link
        reserve = 0.1 if rng.random() < 0.5 else 0.0
        classes.append(
            DeviceClass(
                "abc"[c], f"t{c}", count, kind, limit, link, memory_reserve_share=reserve, peer_link=peer
            )
        )
    names = [cls.member(i) for cls in classes for i in range(cls.count)]
    servers: tuple[Server, ...] = ()
    if len(names) > 1 and rng.random() < 0.3:
        half, uplink = len(names) // 2, Link(bandwidth_bytes_per_s=100.0, latency_ms=5.0)
        servers = (Server("s", tuple(names[:half]), uplink), Server("t", tuple(names[half:]), uplink))
    return Cluster(name="random", classes=tuple(classes), types=types, servers=servers)


def outcomes(seed: int) -> list[Outcome]:
    """Ask everything, and compare it with trying everything."""
    compared = _Compared(question(seed), np.random.default_rng([seed, 1]))
    made = (compared.tpot(), compared.throughput(), compared.concurrency(), compared.context())
    return [outcome for outcome in made if outcome is not None]


class _Compared:
    """A question, and what all layouts give in the settings that were looked at."""

    def __init__(self, asked: Question, rng: np.random.Generator) -> None:
        self.asked = asked
        model, _ = served(language_model(asked.config), asked.cluster, ServingRequest(**asked.asked))
        names = ("shards", "replicas", "scattered")
        self.layouts = Layouts(model, **{n: asked.asked[n] for n in names if n in asked.asked})
        self.tables: dict = {}
        self.limits = {"tpot_ms": inf, "ttft_ms": inf}
        first = self.tried(1, 1)
        best = first.best()
        if best < inf:
            if rng.random() < 0.4:
                self.limits["tpot_ms"] = best * float(rng.uniform(0.95, 4.0))
            if rng.random() < 0.4:
                quickest = float(first.ttft_ms[first.tpot_ms < inf].min())
                self.limits["ttft_ms"] = quickest * float(rng.uniform(0.95, 2.0))

    def tried(self, batch: int, microbatches: int, context: int | None = None):
        given = self.asked.asked
        context = context or given["context"]
        key = batch, microbatches, context
        if key not in self.tables:
            prompt = given.get("prompt") or context
            self.tables[key] = self.layouts.tried(batch, microbatches, context, prompt)
        return self.tables[key]

    def best(self, batch: int, microbatches: int, context: int | None = None) -> float:
        return self.tried(batch, microbatches, context).best(**self.limits)

    def answer(self, goal: Goal, **more):
        given = {**self.asked.asked, **more}
        for name, limit in self.limits.items():
            if limit < inf:
                given[f"max_{name}"] = limit
        given = {name: value for name, value in given.items() if value is not None}
        request = ServingRequest(objective=goal, gap=GAP, time_limit=HOUR, **given)
        return serve(*served(language_model(self.asked.config), self.asked.cluster, request))

    def compare(self, found, value: float | None, tables=()) -> Outcome:
        """Compare an answer with the value, None for no plan, and its room with the most of all plans."""
        status = Status.INFEASIBLE if value is None else Status.OPTIMAL
        same = found.value is None if value is None else abs((found.value or 0) - value) <= CLOSE * value
        wrong = f"{found.status} {found.value}, bound {found.bound}, and it is {value}"
        if found.status is status and same:
            wrong = self.room(found, tables)
        return Outcome(found.request.objective, found.status, wrong)

    def tpot(self) -> Outcome:
        n = self.asked.sequences
        found = self.answer(Goal.TPOT, concurrency=n)
        sizes = range(1, n + 1)
        best = min(self.best(b, m) for b in sizes for m in sizes if b * m >= n)
        return self.compare(found, best if best < inf else None)

    def throughput(self) -> Outcome:
        n = 2 * self.asked.sequences
        found = self.answer(Goal.THROUGHPUT, concurrency=n)
        rates = [1e3 * b * m / self.best(b, m) for b in range(1, n + 1) for m in range(1, n // b + 1)]
        return self.compare(found, max(rates) if max(rates) > 0 else None)

    def concurrency(self) -> Outcome | None:
        edge = [(b, MOST // b + 1) for b in range(1, MOST + 1)] + [(MOST + 1, 1)]
        if min(self.best(*pair) for pair in edge) < inf:
            return None
        pairs = [(b, m) for b in range(1, MOST + 1) for m in range(1, MOST // b + 1)]
        fits = {pair for pair in pairs if self.best(*pair) < inf}
        most = max((b * m for b, m in fits), default=None)
        tables = [self.tried(b, m) for b, m in fits if b * m == most]
        return self.compare(self.answer(Goal.CONCURRENCY), most, tables)

    def context(self) -> Outcome:
        n = self.asked.sequences
        pairs = [(b, m) for b in range(1, n + 1) for m in range(1, n + 1) if b * m >= n]
        tokens = range(self.asked.asked.get("prompt") or 1, LONGEST + 1)
        fits = [c for c in tokens if any(self.best(b, m, c) < inf for b, m in pairs)]
        longest = max(fits, default=None)
        tables = [self.tried(b, m, longest) for b, m in pairs if longest]
        return self.compare(self.answer(Goal.CONTEXT, concurrency=n, context=None), longest, tables)

    def room(self, found, tables) -> str:
        rooms = [table.room(**self.limits) for table in tables]
        got = None if found.plan is None else found.plan.room_per_layer_bytes
        if got is None or not rooms or max(rooms) == inf:
            return ""
        return (
            "" if abs(got - max(rooms)) <= ROOM else f"{got} bytes per layer, and {max(rooms)} are possible"
        )
