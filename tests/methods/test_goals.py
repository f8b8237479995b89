"""Objectives other than time against brute force, and what their results say."""

from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest

import placer
from placer.errors import UsageError
from placer.instance.cluster import DeviceClass
from placer.instance.instance import Instance
from placer.plans.result import Status
from tests.support.brute_goals import Found, best, plans
from tests.support.level import first, seeds
from tests.support.random_instances import random_cluster, random_cluster_memory

METHODS = ("milp", "dp", "auto")


def question(seed, training):
    """An instance, options of its plans, all plans and a limit on the time that decides something."""
    rng = np.random.default_rng([seed, 31])
    instance = random_cluster_memory(seed, nodes=4) if training else random_cluster(seed)
    options = {
        "contiguous": bool(training or rng.random() < 0.7),
        "schedule": str(rng.choice(["1f1b", "gpipe"])),
        "communication": str(rng.choice(["sequential", "overlap", "duplex"])),
        "recompute": str(rng.choice(["none", "none", "auto"])) if instance.is_training else "none",
        "microbatches": int(rng.integers(1, 4)),
    }
    if not options["contiguous"]:
        options["recompute"] = "none"
    return instance, options, rng


def limit_of(found: list[Found], rng) -> float | None:
    """A time between the fastest plan and the slowest one, mostly one that some plan has exactly."""
    times = [f.time_ms for f in found if f.time_ms > 0]
    if not times or rng.random() < 0.3:
        return None
    chosen = float(rng.choice(times))
    return chosen if rng.random() < 0.8 else chosen * 0.99


def judge(instance, options, goal, max_ms, optimum, method):
    result = placer.solve(
        instance, objective=goal, max_ms=max_ms, method=method, gap=1e-6, **options, time_limit=60
    )
    assert not placer.check(instance, result)
    if np.isinf(optimum):
        assert result.status is Status.INFEASIBLE, (method, result.message)
        return
    assert result.objective == pytest.approx(optimum, rel=1e-6, abs=1e-9), (method, max_ms)
    assert result.status is Status.OPTIMAL, (method, result.bound, result.message)


def methods(options):
    return [m for m in METHODS if m != "dp" or options["contiguous"]]


def memory_question(seed):
    """Draw a question with a limit on memory."""
    instance, options, rng = question(seed, training=seed % 2 == 1)
    if not any(np.isfinite(d.memory_limit_bytes) for d in instance.devices):
        return None
    found = plans(instance, **options)
    return instance, options, found, limit_of(found, rng)


@pytest.mark.parametrize("seed", seeds(1600))
def test_memory_is_as_even_as_it_can_be(seed):
    instance, options, found, max_ms = first(memory_question, seed)
    for method in methods(options):
        judge(instance, options, "memory", max_ms, best(found, "share", max_ms), method)


CASE = Path(__file__).resolve().parents[3] / "shared/cases/memory_balance_8.json"


@pytest.mark.skipif(not CASE.exists(), reason="needs the shared cases")
@pytest.mark.parametrize("method", METHODS)
def test_memory_is_balanced_down_to_the_largest_layer(method):
    instance = placer.load(CASE)
    result = placer.solve(instance, objective="memory", method=method)
    assert result.status is Status.OPTIMAL
    limit = instance.devices[0].memory_limit_bytes
    assert result.objective * limit == pytest.approx(5.03e9)  # the head alone
    below = [replace(c, memory_limit_bytes=0.999 * 5.03e9) for c in instance.classes]
    assert placer.solve(instance.replace(classes=tuple(below))).status is Status.INFEASIBLE


def chain(**classes):
    """Four nodes in a row on two devices of 10 bytes."""
    return Instance.build(
        ids=list("abcd"),
        types=("gpu",),
        time_ms=[[1.0], [1.0], [1.0], [5.0]],
        memory_bytes=[4.0, 2.0, 2.0, 2.0],
        edges=[(0, 1), (1, 2), (2, 3)],
        classes=[DeviceClass("gpu", "gpu", 2, memory_limit_bytes=10.0, **classes)],
    )


@pytest.mark.parametrize("method", METHODS)
def test_time_limits_how_even_memory_gets(method):
    even = placer.solve(chain(), objective="memory", method=method)
    assert even.objective == 0.6
    fast = placer.solve(chain(), objective="memory", max_ms=5.0, method=method)
    assert (fast.objective, max(d.load_ms for d in fast.devices)) == (0.8, 5.0)
    never = placer.solve(chain(), objective="memory", max_ms=4.9, method=method)
    assert never.status is Status.INFEASIBLE
    assert "the limit on the time per sample" in never.message


def test_a_document_that_breaks_the_limit_on_time_is_found_out():
    result = placer.solve(chain(), objective="memory", method="milp")
    slow = result.model_copy(update={"options": result.options.model_copy(update={"max_ms": 5.0})}).sealed()
    assert len(broken := placer.check(chain(), slow)) == 1
    assert broken[0].endswith("ms, more than the limit of 5 ms")
    wrong = result.model_copy(update={"objective": 0.5, "bound": 0.5, "gap": 0.0}).sealed()
    assert placer.check(chain(), wrong)[0] == "the objective is 0.6 share of the limit, not 0.5"


@pytest.mark.parametrize(
    ("options", "words"),
    [
        ({"objective": "throughput", "max_ms": 3.0}, "max_ms"),
        ({"objective": "latency", "max_ms": 3.0}, "max_ms"),
        ({"objective": "memory", "method": "first-fit"}, "does not plan for memory"),
        ({"objective": "memory", "balance": True}, "secondary goals"),
        ({"objective": "memory", "pieces": 2}, "pieces"),
        ({"objective": "memory", "method": "milp", "formulation": "paper"}, "paper's program"),
    ],
)
def test_what_does_not_fit_is_refused(options, words):
    with pytest.raises(UsageError, match=words):
        placer.solve(chain(), **options)


def test_memory_without_limits_is_refused():
    with pytest.raises(UsageError, match="no device has a memory limit"):
        placer.solve(chain().replace(classes=(DeviceClass("gpu", "gpu", 2),)), objective="memory")
