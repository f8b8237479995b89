"""What binds is said, with what would help, and only where a verified plan shows it."""

from dataclasses import replace

import numpy as np
import pytest

from placer import check, solve
from placer.instance.cluster import DeviceClass, Kind, Link
from placer.instance.instance import Instance
from placer.instance.shards import Shards
from placer.instance.training import Optimizer, Training
from placer.options import Options
from placer.pages.sentence import limit
from placer.plans.verify import violations
from placer.solving.advice import hints
from placer.solving.request import make_options
from placer.solving.sketches import filled
from tests.support.random_instances import random_instance


def chain(count, devices, **changes) -> Instance:
    """Nodes of 1 ms and 1 byte in a chain, and as many accelerators as asked for, linked for nothing."""
    data = {
        "ids": [f"v{k}" for k in range(count)],
        "types": ["gpu", "cpu"],
        "time_ms": [[1, np.inf]] * count,
        "edges": [(k, k + 1) for k in range(count - 1)],
        "memory_bytes": [1.0] * count,
        "classes": [DeviceClass("gpu", "gpu", devices, memory_limit_bytes=100.0)],
    }
    return Instance.build(**{**data, **changes})


def test_tied_weights_and_contiguity():
    """First and last node share a weight: contiguous plans put all 8 ms on one of 4 devices."""
    tied = chain(8, 4, colocate=["w", *[None] * 6, "w"])
    result = solve(tied, method="milp")
    assert result.objective == 8
    (hint,) = result.hints
    assert "contiguity and colocation (v0 and v7 stay together) keep everything on one device" in hint
    assert "75 % of the time" in hint
    assert "without these groups there is a plan of 2.000 ms" in hint
    assert "--no-contiguous allows a plan of" in hint
    assert result.message.startswith(hint)
    assert check(tied, result) == []
    assert "stay together" in limit(result)
    assert solve(tied, method="milp", contiguous=False).objective <= 3


def test_a_copy_that_does_not_fit_is_no_remedy():
    """Each copy of the weight takes 90 of 100 bytes, and nothing else fits beside it."""
    tied = chain(8, 2, colocate=["w", *[None] * 6, "w"], memory_bytes=[90.0, *[2.0] * 6, 0.0])
    result = solve(tied, method="milp")
    assert all("without these groups" not in hint for hint in result.hints) or result.objective is None


def test_a_group_that_costs_nothing_is_not_mentioned():
    assert solve(chain(8, 4, colocate=["w", "w", *[None] * 6]), method="milp").hints == []


@pytest.mark.parametrize(
    ("count", "said"),
    [
        (5, "gpu3 holds no nodes: a plan that uses it is as good (--use-devices gpu), and none is better"),
        (2, "gpu2 and gpu3 hold no nodes: a plan that uses them is proven to be no faster"),
    ],
)
def test_devices_that_hold_nothing(count, said):
    """Five nodes of which three devices take 2, 2, 1 could go to four; two nodes could not."""
    graph = chain(count, 4)
    result = solve(graph, method="milp", max_devices=3 if count == 5 else None)
    assert result.hints == ([] if count == 5 else [said]), "a limit that the user set is no news"
    if count == 5:
        options = make_options(method="milp")
        plan = replace(_plan(graph, result))
        assert hints(graph, options, plan, result.objective) == [said]
        assert solve(graph, method="milp", use_devices=("gpu",)).objective == result.objective


def _plan(instance, result):
    from placer.plans.check import plan_of

    return plan_of(instance, result)


EXPERTS = {
    "ids": [f"{kind}{k}" for k in range(6) for kind in ("attn", "exps")],
    "types": ["gpu", "cpu"],
    "time_ms": [[1, 1.2], [1, 9]] * 6,
    "edges": [(k, k + 1) for k in range(11)],
    "memory_bytes": [9.0, 1.0] * 6,
    "classes": [
        DeviceClass("gpu", "gpu", 1, memory_limit_bytes=6.0, link=Link(0.0)),
        DeviceClass("cpu", "cpu", 1, Kind.HOST),
    ],
}


def test_a_limit_on_pieces_that_costs_much():
    """One piece takes one expert, as the attention beside it does not fit; six pieces take all of them."""
    graph = Instance.build(**EXPERTS)
    result = solve(graph, objective="latency", method="milp")
    (hint,) = result.hints
    assert "the limit on pieces (--pieces 1) costs" in hint
    assert "--pieces 6 allows a plan of 13.20 ms" in hint
    assert solve(graph, objective="latency", method="milp", pieces=6).objective == pytest.approx(13.2)
    assert solve(graph, objective="latency", method="milp", pieces=6).hints == []


def test_recomputation_as_a_remedy():
    """The first of two stages keeps the activations of two microbatches, 12 bytes, and has 10."""
    graph = Instance.build(
        ids=["a", "b", "b'", "a'"],
        types=["gpu"],
        time_ms=[[1.0]] * 4,
        edges=[(0, 1), (1, 2), (2, 3)],
        backward=[False, False, True, True],
        colocate=["a", "b", "b", "a"],
        activation_bytes=[6.0, 6, 0, 0],
        training=Training(microbatches=2),
        classes=[DeviceClass("acc", "gpu", 2, memory_limit_bytes=10.0)],
    )
    result = solve(graph, method="milp")
    assert result.status == "infeasible"
    assert result.hints == ["--recompute auto allows a plan of 3.000 ms"]
    assert result.message.endswith(result.hints[0])
    assert solve(graph, method="milp", recompute="auto").objective == pytest.approx(3)


def test_nothing_is_said_without_a_proof():
    tied = chain(8, 4, colocate=["w", *[None] * 6, "w"])
    plan = _plan(tied, solve(tied, method="milp"))
    assert hints(tied, Options(), plan, None) == []
    assert hints(tied, Options(), plan, 1.0) == [], "a plan of 2 ms does not show that 1 ms is not possible"


@pytest.mark.parametrize("seed", range(40))
def test_sketches_of_latency_plans_hold(seed):
    """What is filled breaks no rule of pieces: runs never wait for each other."""
    graph = random_instance(seed, nodes=7)
    for plan in filled(graph):
        broken = violations(graph, plan, Options(objective="latency", pieces=64))
        assert not any("wait for each other" in rule or "pieces" in rule for rule in broken)


def test_nothing_binds_where_nothing_takes_time():
    nothing = chain(3, 2, time_ms=[[0.0, 0.0]] * 3)
    result = solve(nothing, method="milp")
    assert (result.objective, result.bound) == (0, 0)
    assert not any("cost" in hint for hint in result.hints)


TIGHT = {
    "ids": ["a", "b", "b'", "a'"],
    "types": ["gpu"],
    "time_ms": [[1.0]] * 4,
    "edges": [(0, 1), (1, 2), (2, 3)],
    "backward": [False, False, True, True],
    "colocate": ["a", "b", "b", "a"],
    "weight_bytes": [8.0, 8, 0, 0],
    "training": Training(Optimizer.ADAM, 2),
    "classes": [DeviceClass("acc", "gpu", 4, memory_limit_bytes=20.0)],
}
"""Two layers whose weights, gradients and optimizer state take 32 bytes each on devices of 20 or more."""


def halves(graph: Instance, share: float) -> Instance:
    """Let two shards hold so much of each node's weights, in half of the time."""
    shards = Shards(
        degree=2,
        known=np.ones(graph.n, dtype=np.bool_),
        time_ms=graph.time_ms / 2,
        memory_bytes=graph.memory_bytes,
        weight_bytes=graph.weight_bytes * share,
        activation_bytes=graph.activation_bytes,
        collective_bytes=np.zeros(graph.n),
    )
    return graph.replace(shards=(shards,))


def test_shards_as_a_remedy():
    graph = halves(Instance.build(**TIGHT), 0.5)
    result = solve(graph, method="milp")
    assert result.status == "infeasible"
    assert result.hints[0] == "--shards 2 allows a plan of 1.000 ms"
    assert solve(graph, method="milp", shards=2).objective == pytest.approx(1)


def test_what_does_not_help_is_no_remedy():
    """With 0.9 of the weights on each of two shards a layer still takes 28.8 bytes; nothing is in flight."""
    graph = halves(Instance.build(**TIGHT), 0.9)
    result = solve(graph, method="milp")
    assert result.status == "infeasible"
    assert not any("--shards" in hint or "--recompute" in hint for hint in result.hints)


def test_a_shared_optimizer_as_a_remedy():
    """Gradients and moments are 24 of 32 bytes; two replicas keep half of them. Of the moments alone: 24."""
    fast = replace(TIGHT["classes"][0], link=Link(bandwidth_bytes_per_s=1e9))
    graph = Instance.build(**TIGHT | {"classes": [fast]})
    result = solve(graph, method="milp")
    assert result.status == "infeasible"
    (hint,) = result.hints
    assert hint.startswith("--replicas 2 --zero 2 allows a plan of")
    assert solve(graph, method="milp", replicas=2, zero=2).objective is not None


def test_two_options_where_neither_is_enough():
    """Shards leave room for the weights, but not for the activations of both microbatches as well."""
    more = {"training": Training(Optimizer.ADAM, 4), "activation_bytes": [3.0, 3, 0, 0]}
    graph = halves(Instance.build(**TIGHT | more), 0.5)
    asked = {"method": "milp", "schedule": "gpipe"}
    result = solve(graph, **asked)
    assert result.status == "infeasible"
    assert result.hints[0].startswith("--recompute auto --shards 2 allows a plan of")
    assert solve(graph, **asked, recompute="auto").status == "infeasible"
    assert solve(graph, **asked, shards=2).status == "infeasible"
    assert solve(graph, **asked, recompute="auto", shards=2).objective is not None
