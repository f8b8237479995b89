"""Random instances with two features, solved by every exact method that supports both: brute force."""

import itertools
from collections.abc import Iterator
from dataclasses import dataclass

import numpy as np

from placer.errors import UsageError
from placer.plans.check import check
from placer.plans.result import Result, Status
from placer.solving.solve import solve
from tests.support.brute_features import Candidates, candidates
from tests.support.feature_instances import FEATURES, Case, case

PAIRS = [*((f, f) for f in FEATURES), *itertools.combinations(FEATURES, 2)]
"""All pairs, and each feature by itself."""
METHODS = ("milp", "dp", "dpl", "auto", "paper")
"""``paper`` is ``milp`` with the paper's program; ``dpl`` proves nothing, and must not contradict."""

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
PROVEN, INFEASIBLE, REFUSED, BOUNDED, UNPROVEN = "proven", "infeasible", "refused", "bounded", "unproven"


@dataclass(frozen=True)
class Verdict:
    """What a method made of an instance, and what of that contradicts the brute force; empty for nothing."""

    method: str
    outcome: str
    difference: str = ""


def refusal(features: set[str], method: str) -> list[str]:
    """What the refusal may say; empty where the features are supported."""
    found = [text for pair, text in REFUSED_PAIRS.items() if pair <= features]
    return found + [text for (m, f), text in REFUSED_BY_METHODS.items() if m == method and f in features]


def kind_of_plan(features: set[str], rng: np.random.Generator) -> tuple[str, str, str]:
    """Draw contiguity, schedule and communication."""
    free = rng.random() < 0.3 and not features & {"recompute", "layers", "order"}
    schedule = str(rng.choice(["1f1b", "gpipe"], p=[0.7, 0.3]))
    return "free" if free else "ordered", schedule, str(rng.choice(["sequential", "overlap", "duplex"]))


def verdicts(pair: tuple[str, str], seed: int) -> Iterator[Verdict]:
    """Solve the instance of a pair and a seed by every method, and judge what comes of it."""
    features = set(pair)
    made = case(features, seed)
    kind = kind_of_plan(features, np.random.default_rng([seed, 31]))
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
        expected = refusal(features, method)
        try:
            result = solve(made.instance, **options)
        except UsageError as error:
            right = any(text in str(error) for text in expected)
            yield Verdict(method, REFUSED, "" if right else f"refused: {error}")
            continue
        if method == "paper":
            plans = candidates(made.instance, ("each", *kind[1:]), **made.modes)
        broken = check(made.instance, result) + ["not refused"] * bool(expected)
        outcome, difference = _judged(made, plans, result, proves=method != "dpl")
        yield Verdict(method, outcome, "; ".join(filter(None, [difference, *broken])))


def _judged(made: Case, plans: Candidates, result: Result, *, proves: bool) -> tuple[str, str]:
    """Return the outcome of a solve, and how it differs from the best plan."""
    optimum, objective, bound = plans.optimum(), result.objective, result.bound
    if bound is not None and bound > optimum * (1 + 1e-6) + 1e-9:
        return UNPROVEN, f"bound {bound!r} above the optimum {optimum!r}"
    if objective is not None and objective < optimum * (1 - 1e-6) - 1e-9:
        return UNPROVEN, f"objective {objective!r} below the optimum {optimum!r}"
    if result.status is Status.INFEASIBLE:
        wrong = not np.isinf(optimum) or not result.message
        return INFEASIBLE, f"infeasible, and {optimum!r} is not" if wrong else ""
    if not proves:
        return BOUNDED, ""
    if result.status is not Status.OPTIMAL and not made.slack:
        return UNPROVEN, ""
    assert objective is not None
    if objective > optimum * (1 + made.slack + 1e-6) + 1e-9:
        return UNPROVEN, f"objective {objective!r} proven, and {optimum!r} is the optimum"
    return PROVEN, missed_goals(made, plans, result)


def missed_goals(made: Case, plans: Candidates, result: Result) -> str:
    """Say where a secondary goal is not reached as well as by the best plan."""
    best = plans.secondary(made.near or {}, balance=made.balance, slack=made.slack)
    if made.near:
        moved = sum(made.near.get(v) != d for v, d in result.assignment.items())
        if moved != (least := best.pop(0)):
            return f"{moved} nodes moved, and {least} suffice"
    if made.balance:
        falling = sorted((d.load_ms for d in result.devices), reverse=True)
        moving = sum(d.receive_ms + d.send_ms for d in result.devices)
        reached = [*np.cumsum(falling), moving, sum(bool(d.nodes) for d in result.devices)]
        if not np.allclose(reached, best, rtol=1e-6, atol=1e-6):
            return f"balance {reached}, and {best} is the best"
    return ""
