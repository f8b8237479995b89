"""What an instance or a solve can have, in pairs; each case has one pair for certain and up to two more."""

import itertools
import random

FEATURES = (
    "training",
    "microbatches",
    "optimizer",
    "recompute",
    "memory",
    "reserves",
    "classes",
    "hosts",
    "host limits",
    "single hosts",
    "empty classes",
    "order",
    "servers",
    "bytes",
    "scales",
    "pins",
    "colocate",
    "apart",
    "max devices",
    "use devices",
    "replicas",
    "balance",
    "near",
    "free",
    "gpipe",
    "communication",
    "paper",
    "latency",
    "pieces",
    "tiny",
    "huge",
    "mixed",
    "equal",
    "zeros",
    "options",
)
PAIRS = tuple(itertools.combinations(FEATURES, 2))

IMPLIED = {
    "microbatches": ("training",),
    "recompute": ("training", "memory"),
    "single hosts": ("hosts",),
    "host limits": ("hosts",),
    "pieces": ("latency",),
    "gpipe": ("training",),
}
"""What a feature is nothing without."""

THROUGHPUT_ONLY = {
    "recompute",
    "servers",
    "apart",
    "use devices",
    "replicas",
    "balance",
    "near",
    "free",
    "communication",
    "paper",
    "order",
    "gpipe",
    "microbatches",
}
HARD = ("mixed", "mixed", "equal", "servers", "order", "replicas", "single hosts", "host limits")
"""Where most was wrong: the third feature is one of these half of the time."""
REGIMES = {"tiny", "huge", "mixed", "equal", "zeros"}
CLASHES = {
    *(frozenset({f, g}) for f in ("latency", "pieces") for g in THROUGHPUT_ONLY - {"paper"}),
    *(frozenset(p) for p in itertools.combinations(sorted(REGIMES - {"zeros"}), 2)),
    *(frozenset({"replicas", g}) for g in ("balance", "near")),
    *(frozenset({"paper", g}) for g in ("recompute", "servers", "order", "apart", "use devices")),
    *(frozenset({"paper", g}) for g in ("balance", "near")),
    frozenset({"free", "recompute"}),
}
"""Pairs that are refused or mean nothing together: drawn on purpose only, never as a third feature."""


def features_of(seed: int, rng: random.Random) -> set[str]:
    """The pair that the seed stands for, and none to two more that go with it."""
    chosen = set(PAIRS[seed % len(PAIRS)])
    for _ in range(rng.choice((0, 1, 1, 2))):
        more = rng.choice(HARD if rng.random() < 0.5 else FEATURES)
        whole = {more, *IMPLIED.get(more, ())}
        if not any(frozenset({a, b}) in CLASHES for a in whole for b in chosen):
            chosen.add(more)
    return chosen | {more for f in chosen for more in IMPLIED.get(f, ())}
