"""The set: graphs by name, the halves they belong to, and the questions asked of each."""

from __future__ import annotations

import functools
import hashlib
import itertools
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from typing import Any

import numpy as np

from placer.instance.instance import Instance
from placer.options import Communication, Schedule
from tests.benchmarks.proofs.families import FAMILIES
from tests.benchmarks.proofs.networks import NETWORKS
from tests.benchmarks.proofs.place import place
from tests.benchmarks.proofs.read import onnx_models, shared_workloads, torch_models
from tests.support.transformer import transformer_training

__all__ = ["HALVES", "KINDS", "LARGE", "QUICK", "Case", "cases", "half_of", "subjects"]

HALVES = ("tuning", "validation")
LARGE = "large"
"""What is in neither half: two graphs under all schedules and communication models, for questions of size."""
KINDS = ("contiguous", "non-contiguous", "latency")
TWO_PIECES_SHARE = 0.25
"""Share of the graphs whose latency is asked for with two pieces per accelerator."""

QUICK = ("chain 20x3", "experts 2x8", "u-net 3x2", "u-net 3x2 training")
"""Graphs that take no time."""

PAPERS = {"communication": "sequential", "schedule": "1f1b", "pieces": 1}
"""Options of the shared workloads: those that others published figures for."""

Make = Callable[[np.random.Generator], Instance]

GENERATED: dict[str, tuple[tuple[Any, ...], ...]] = {
    "chain": ((20, 3), (60, 5), (120, 8), (300, 20)),
    "series-parallel": ((20,), (60,), (120,), (250,)),
    "layers": ((10, 4), (12, 6), (15, 10), (10, 20)),
    "branches": ((3, 10), (5, 8), (8, 12), (10, 20), (40, 4)),
    "star": ((20,), (60,), (200,)),
    "diamonds": ((8, 3), (20, 3), (10, 8), (40, 2)),
    "lattice": ((3, 12), (6, 12), (8, 25)),
    "experts": ((2, 8), (6, 8), (12, 16), (1, 64)),
    "transformer": (
        ("operator", 4, 2, 512), ("operator", 12, 4, 1024), ("operator", 6, 12, 768),
        ("layer", 12, 8, 1024), ("layer", 48, 8, 2048), ("module", 24, 16, 1024), ("module", 96, 8, 4096),
    ),
    "encoder-decoder": (("operator", 3, 2, 512), ("layer", 6, 8, 1024), ("module", 12, 8, 1024)),
    "resnet": (
        ("operator", 2, 2, 2, 2), ("operator", 3, 4, 6, 3), ("layer", 3, 4, 23, 3), ("module", 3, 8, 36, 3),
    ),
    "densenet": ((12, 4, 6, 4), (32, 6, 12, 24, 16)),
    "inception": ((4, 4), (9, 4), (11, 6)),
    "nasnet": ((4, 32), (8, 44), (14, 44)),
    "u-net": ((3, 2), (4, 2), (5, 3)),
}  # fmt: skip
"""Sizes of each family."""
OPERATORS = (1_000, 10_000)
"""Least operators of the large graphs: transformers on 64 accelerators (`tests.support.transformer`)."""


@dataclass(frozen=True)
class Subject:
    """A graph on its cluster, made from its name alone.

    The half that it belongs to is decided by its name: the SHA-256 hash of it, even or odd.
    """

    name: str
    make: Make
    options: dict[str, Any]

    @property
    def half(self) -> str:
        """``tuning`` or ``validation``."""
        return half_of(self.name)

    def instance(self) -> Instance:
        """Make the instance."""
        return self.make(_rng(self.name)).replace(name=self.name)


@dataclass(frozen=True)
class Case:
    """One question about a subject."""

    subject: Subject
    kind: str

    @property
    def name(self) -> str:
        """Unique in the set."""
        return f"{self.subject.name}, {self.kind}"

    def options(self, instance: Instance) -> dict[str, Any]:
        """Options of the solve, beside method, gap and limits."""
        drawn = self.subject.options
        if self.kind == "latency":
            return {"objective": "latency", "pieces": drawn["pieces"]}
        chosen = {"communication": drawn["communication"], "contiguous": self.kind == "contiguous"}
        return chosen | ({"schedule": drawn["schedule"]} if instance.is_training else {})


def half_of(name: str) -> str:
    """Say which half a graph belongs to; large ones stand apart."""
    if name.startswith(LARGE):
        return LARGE
    return HALVES[hashlib.sha256(name.encode()).digest()[-1] % 2]


def _rng(name: str, use: str = "instance") -> np.random.Generator:
    return np.random.default_rng(list(hashlib.sha256(f"{use}: {name}".encode()).digest()))


def _options(name: str) -> dict[str, Any]:
    """Draw the options of a graph."""
    rng = _rng(name, "options")
    return {
        "communication": str(rng.choice(["sequential", "sequential", "overlap", "duplex"])),
        "schedule": str(rng.choice(["1f1b", "gpipe"])),
        "pieces": 2 if rng.random() < TWO_PIECES_SHARE else 1,
    }


@functools.cache
def subjects() -> tuple[Subject, ...]:
    """Return all graphs, what is not installed aside."""
    found = dict(_generated())
    for read in (onnx_models(), torch_models(), shared_workloads()):
        found.update(read)
    both = [
        Subject(name, make, PAPERS if name.startswith("shared") else _options(name))
        for name, make in found.items()
    ]
    return (*both, *_large())


def _generated() -> list[tuple[str, Make]]:
    found: list[tuple[str, Make]] = []
    for family, sizes in GENERATED.items():
        graph = (FAMILIES | NETWORKS)[family]
        for size in sizes:
            for training in (False, True):
                level = [part for part in size if isinstance(part, str)]
                sizes_in_words = "x".join(str(part) for part in size if part not in level)
                name = " ".join([family, *level, sizes_in_words, *(["training"] if training else [])])
                found.append((name, functools.partial(_make, name, graph, size, training)))
    return found


def _make(
    name: str, graph: Callable[..., Any], size: tuple[Any, ...], training: bool, rng: np.random.Generator
) -> Instance:
    return place(name, graph(rng, *size), rng, training=training)


def _large() -> Iterator[Subject]:
    for operators in OPERATORS:
        for schedule, communication in itertools.product(Schedule, Communication):

            def make(rng: np.random.Generator, operators: int = operators) -> Instance:
                del rng
                return transformer_training(operators)

            options = {"communication": communication.value, "schedule": schedule.value, "pieces": 1}
            yield Subject(f"{LARGE} {operators} {schedule} {communication} training", make, options)


def cases(
    half: str | None = None,
    kinds: tuple[str, ...] = KINDS,
    only: str = "",
    among: tuple[str, ...] | None = None,
) -> list[Case]:
    """Return the cases of a half (all when None) whose names hold a text.

    The latency of a sample is a question about inference.
    """
    chosen = [s for s in subjects() if half in (None, s.half) and (among is None or s.name in among)]
    every = [Case(s, kind) for s in chosen for kind in kinds if kind != "latency" or "training" not in s.name]
    return [case for case in every if only in case.name]
