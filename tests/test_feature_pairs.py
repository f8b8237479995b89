"""Every feature, and every pair of features, against brute force, by every exact method that supports it.

The quick run tries every feature with itself and with the next ones in the list.
"""

import itertools

import numpy as np
import pytest

from placer.errors import UsageError
from placer.plans.check import check
from placer.plans.result import Status
from placer.solving.solve import solve
from tests.support.brute_features import candidates
from tests.support.feature_instances import FEATURES, Case, case
from tests.support.level import seeds

PAIRS = [*((f, f) for f in FEATURES), *itertools.combinations(FEATURES, 2)]
"""All pairs; the quick run tries a feature with the one after it, and what is left is marked slow."""
NEXT = {*zip(FEATURES, [*FEATURES][1:], strict=False)}
MARKED = [p if p in NEXT else pytest.param(p, marks=pytest.mark.slow) for p in PAIRS]
METHODS = ("milp", "dp", "dpl", "auto", "paper")
"""``paper`` is ``milp`` with the paper's program."""

REFUSED_PAIRS = {
    frozenset({"replicas", "balance"}): "secondary goals",
    frozenset({"replicas", "near"}): "secondary goals",
    frozenset({"shards", "balance"}): "secondary goals",
    frozenset({"shards", "near"}): "secondary goals",
    frozenset({"zero", "balance"}): "secondary goals",
    frozenset({"zero", "near"}): "secondary goals",
    frozenset({"uniform", "balance"}): "secondary goals",
    frozenset({"uniform", "near"}): "secondary goals",
}
"""Pairs that no method supports, and what the refusal says."""
REFUSED_BY_METHODS = {
    ("dp", "servers"): "method dp does not know that transfers across servers cost more",
    ("dp", "apart"): "method dp cannot keep nodes apart",
    ("dpl", "apart"): "method dpl cannot keep nodes apart",
    ("dp", "use devices"): "method dp cannot keep devices that must be used",
    ("dpl", "use devices"): "method dpl cannot keep devices that must be used",
    ("dp", "layers"): "method dp cannot plan which nodes recompute",
    ("dpl", "layers"): "method dpl cannot plan which nodes recompute",
    ("paper", "layers"): "only contiguous throughput plans recompute",
    ("paper", "recompute"): "only contiguous throughput plans recompute",
    ("paper", "servers"): "does not know that transfers across servers cost more",
    ("paper", "apart"): "the paper's program knows no nodes apart",
    ("paper", "use devices"): "the paper's program knows no devices that must be used",
    ("paper", "order"): "the paper's program knows no order of the devices",
    ("paper", "balance"): "secondary goals need --formulation ordered",
    ("paper", "near"): "secondary goals need --formulation ordered",
}
"""Features that a method does not support, and what the refusal says."""


def refusal(features: set[str], method: str) -> list[str]:
    """What the refusal may say; empty where the features are supported."""
    found = [text for pair, text in REFUSED_PAIRS.items() if pair <= features]
    return found + [text for (m, f), text in REFUSED_BY_METHODS.items() if m == method and f in features]


def chosen(features: set[str], rng: np.random.Generator) -> tuple[str, str, str]:
    """A kind of plan."""
    free = rng.random() < 0.3 and not features & {"recompute", "layers", "order"}
    schedule = str(rng.choice(["1f1b", "gpipe"], p=[0.7, 0.3]))
    return "free" if free else "ordered", schedule, str(rng.choice(["sequential", "overlap", "duplex"]))


@pytest.mark.parametrize("seed", seeds(2))
@pytest.mark.parametrize("pair", MARKED, ids="+".join)
def test_pair(pair: tuple[str, str], seed: int, caplog: pytest.LogCaptureFixture) -> None:
    features = set(pair)
    made = case(features, seed)
    kind = chosen(features, np.random.default_rng([seed, 31]))
    plans = candidates(made.instance, kind, **made.modes)
    for method in METHODS:
        if kind[0] == "free" and method in ("dp", "dpl", "paper"):
            continue
        options = made.options | {
            "method": "milp" if method == "paper" else method,
            "formulation": "paper" if method == "paper" else "ordered",
            "gap": 1e-6,
            "contiguous": kind[0] == "ordered",
            "schedule": kind[1],
            "communication": kind[2],
        }
        if expected := refusal(features, method):
            with pytest.raises(UsageError) as error:
                solve(made.instance, **options)
            assert any(text in str(error.value) for text in expected)
            continue
        result = solve(made.instance, **options)
        if method == "paper":
            plans = candidates(made.instance, ("each", *kind[1:]), **made.modes)
        optimum = plans.optimum()
        if method == "dpl":
            assert result.objective is None or result.objective >= optimum * (1 - 1e-9)
            assert result.bound is None or result.bound <= optimum * (1 + 1e-9)
        elif np.isinf(optimum):
            assert result.status is Status.INFEASIBLE
            assert result.message
        else:
            assert result.status is Status.OPTIMAL or made.slack
            assert result.bound == pytest.approx(optimum, rel=1e-6, abs=1e-9)
            assert result.objective == pytest.approx(optimum, rel=made.slack + 1e-6, abs=1e-9)
            assert_goals(made, plans, result)
        assert check(made.instance, result) == []
    assert "start not used" not in caplog.text


def assert_goals(made: Case, plans, result) -> None:
    """The secondary goals reach what the best plan reaches."""
    best = plans.secondary(made.near or {}, balance=made.balance, slack=made.slack)
    if made.near:
        moved = sum(made.near.get(v) != d for v, d in result.assignment.items())
        assert moved == best.pop(0)
    if made.balance:
        falling = sorted((d.load_ms for d in result.devices), reverse=True)
        moving = sum(d.receive_ms + d.send_ms for d in result.devices)
        used = sum(bool(d.nodes) for d in result.devices)
        assert [*np.cumsum(falling), moving, used] == pytest.approx(best, rel=1e-6, abs=1e-6)
