"""Objectives other than time against brute force, and what their results say."""

from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest

import placer
from placer.errors import InputError, UsageError
from placer.formats.files import save
from placer.instance.cluster import DeviceClass
from placer.instance.instance import Instance
from placer.pages.plan_page import plan_page
from placer.plans.result import Status
from tests.support.brute_goals import Found, best, plans
from tests.support.level import first, seeds
from tests.support.random_instances import random_cluster, random_cluster_memory

METHODS = ("milp", "dp", "auto")
GAP = 3e-6
"""A little more than what the integer program leaves between bound and plan for safety."""


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
        instance, objective=goal, max_ms=max_ms, method=method, gap=GAP, **options, time_limit=60
    )
    assert not placer.check(instance, result)
    if np.isinf(optimum):
        assert result.status is Status.INFEASIBLE, (method, result.message)
        return
    assert result.objective == pytest.approx(optimum, rel=GAP, abs=1e-9), (method, max_ms)
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


def priced(instance, seed):
    """Give accelerators prices, and some hosts; half of the time round ones, so that choices tie."""
    rng = np.random.default_rng([seed, 37])
    whole = rng.random() < 0.5
    classes = []
    for c in instance.classes:
        price = float(rng.integers(0, 4)) if whole else float(rng.uniform(0.1, 4))
        classes.append(c if c.is_host and rng.random() < 0.7 else replace(c, price_per_hour=price))
    return instance.replace(classes=tuple(classes))


def cost_question(seed):
    """Draw a question with a limit on the time."""
    instance, options, rng = question(seed, training=seed % 2 == 1)
    instance = priced(instance, seed)
    found = plans(instance, **options)
    max_ms = limit_of(found, rng)
    return None if max_ms is None else (instance, options, found, max_ms)


@pytest.mark.parametrize("seed", seeds(1600, 5000))
def test_devices_are_as_cheap_as_they_can_be(seed):
    instance, options, found, max_ms = first(cost_question, seed)
    for method in methods(options):
        judge(instance, options, "cost", max_ms, best(found, "price", max_ms), method)


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


def shop(prices=(1.0, 2.5)):
    """Eight nodes in a row of 2 ms each; slow devices at 1 and devices twice as fast at 2.5 per hour."""
    classes = [
        DeviceClass(name, name, 3, memory_limit_bytes=100.0, price_per_hour=price)
        for name, price in zip(("slow", "fast"), prices, strict=True)
    ]
    return Instance.build(
        ids=list("abcdefgh"),
        types=("slow", "fast"),
        time_ms=[[2.0, 1.0]] * 8,
        edges=[(i, i + 1) for i in range(7)],
        classes=classes,
    )


@pytest.mark.parametrize("method", METHODS)
@pytest.mark.parametrize(
    ("max_ms", "price"),
    [(16.0, 1.0), (8.0, 2.0), (6.0, 3.0), (5.0, 4.5), (4.0, 4.5), (3.0, 7.0), (2.0, 9.5), (1.0, None)],
)
def test_the_cheapest_devices_that_are_fast_enough(method, max_ms, price):
    result = placer.solve(shop(), objective="cost", max_ms=max_ms, method=method)
    if price is None:
        assert result.status is Status.INFEASIBLE
        return
    assert (result.status, result.objective) == (Status.OPTIMAL, pytest.approx(price))
    assert max(d.load_ms for d in result.devices) <= max_ms
    assert not placer.check(shop(), result)


def test_prices_and_a_time_are_needed():
    with pytest.raises(UsageError, match="--max-ms"):
        placer.solve(shop(), objective="cost")
    with pytest.raises(UsageError, match="class 'fast' has no price_per_hour"):
        placer.solve(shop((1.0, None)), objective="cost", max_ms=8.0)
    with pytest.raises(InputError, match="price"):
        shop((1.0, -1.0))


def test_the_curve_of_price_against_time():
    table = placer.sweep(shop(), ["max-ms=4,6,16"], objective="cost", method="milp")
    assert [p.objective for p in table.points] == pytest.approx([4.5, 3.0, 1.0])
    assert table.findings == ["max-ms 16 is within 5 % of the best (1 per hour at max-ms 16)"]


@pytest.mark.parametrize(("goal", "worth"), [("memory", "60 %"), ("cost", "2 per hour")])
def test_words_and_pages_know_the_unit(goal, worth, tmp_path):
    instance, options = (chain(), {}) if goal == "memory" else (shop(), {"max_ms": 8.0})
    result = placer.solve(instance, objective=goal, method="milp", **options)
    page = plan_page(result, instance)
    assert worth in page.replace("\u00a0", " ")
    assert placer.simulate(instance, result).steady_ms == pytest.approx(
        max(d.load_ms for d in result.devices)
    )
    table = placer.compare(instance, ["milp", "dp", "first-fit"], objective=goal, **options)
    assert [row.status for row in table.rows] == ["optimal", "optimal", "not applicable"]
    assert not table.disagreements
    save(instance, tmp_path / "shop.json")
    batch = placer.solve_batch(
        [tmp_path / "shop.json"], tmp_path / "out", methods=["milp", "dp"], objective=goal, **options
    )
    assert [record.state for record in batch.records] == ["proven", "proven"]


@pytest.mark.parametrize("goal", ["memory", "cost"])
def test_replicas_share_the_work(goal):
    """One node of 8 ms on three devices: only replicas make it faster."""
    instance = Instance.build(
        ids=["a"],
        types=("gpu",),
        time_ms=[[8.0]],
        memory_bytes=[4.0],
        edges=[],
        classes=[DeviceClass("gpu", "gpu", 3, memory_limit_bytes=10.0, price_per_hour=2.0)],
    )
    value = {"memory": 0.4, "cost": 4.0}[goal]
    for method in METHODS:
        result = placer.solve(instance, objective=goal, max_ms=4.0, replicas=3, method=method)
        assert (result.status, result.objective) == (Status.OPTIMAL, pytest.approx(value))
        assert not placer.check(instance, result)
