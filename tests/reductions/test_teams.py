"""Replicated stages: optimum against every way to group devices, figures by hand, refusals."""

from dataclasses import replace

import numpy as np
import pytest

from placer.errors import UsageError
from placer.instance.cluster import DeviceClass, Kind, Link
from placer.instance.instance import Instance
from placer.instance.overrides import apply
from placer.instance.training import Training
from placer.methods.registry import load_method
from placer.options import Objective, Options
from placer.pages.load_chart import by_direction
from placer.pages.timeline import timeline
from placer.plans.check import check, plan_of
from placer.plans.evaluate import stage_order
from placer.plans.figures import objective_of
from placer.plans.in_flight import InFlight
from placer.plans.plan import Plan, Team
from placer.plans.result import Status
from placer.plans.verify import violations
from placer.reductions import teams
from placer.search.run import Run
from placer.simulation import simulate
from placer.solving.solve import solve
from tests.support.brute import KINDS
from tests.support.brute_features import candidates
from tests.support.level import seeds
from tests.support.random_instances import random_instance


def with_weights(instance: Instance, seed: int) -> Instance:
    """Give nodes weights that take up to 2 ms on the link, and every accelerator link a bandwidth."""
    rng = np.random.default_rng([seed, 11])
    return instance.replace(
        weight_bytes=np.round(rng.uniform(0, 1, instance.n) * (rng.random(instance.n) < 0.7), 2),
        training=Training(microbatches=int(rng.integers(1, 4))),
        classes=tuple(replace(c, link=Link(c.link.transfer_scale, 500.0)) for c in instance.classes),
    )


@pytest.mark.parametrize("seed", seeds(40))
def test_against_brute_force(seed):
    instance = random_instance(
        seed, nodes=4, training=bool(seed & 1), heterogeneous=bool(seed & 2), overrides=seed % 5 == 0
    )
    instance = with_weights(instance, seed)
    replicas = 2 + seed % 2
    rng = np.random.default_rng(seed)
    kinds = [k for k in KINDS if k[0] != "each"]
    for i in rng.choice(len(kinds), 5, replace=False):
        contiguity, schedule, communication = kinds[i]
        best = candidates(instance, kinds[i], replicas=replicas).optimum()
        result = solve(
            instance,
            method="dp" if contiguity == "ordered" and rng.random() < 0.5 else "milp",
            gap=0.0,
            replicas=replicas,
            contiguous=contiguity == "ordered",
            schedule=schedule,
            communication=communication,
        )
        if np.isinf(best):
            assert result.status is Status.INFEASIBLE
            continue
        assert result.objective == pytest.approx(best, rel=1e-6, abs=1e-9)
        assert result.bound == pytest.approx(best, rel=1e-5, abs=1e-9)
        assert check(instance, result) == []


def ordered(seed: int) -> Instance:
    """A chain on two or three devices of one class and one or two of another, with a wanted order."""
    rng = np.random.default_rng([seed, 37])
    count = (int(rng.integers(2, 4)), int(rng.integers(1, 3)))
    members = [f"{name}{i}" for name, size in zip("gh", count, strict=True) for i in range(size)]
    order: list[str | tuple[str, ...]] = [str(name) for name in rng.permutation(["g", "h"])]
    if rng.random() < 0.3:
        order = [name if name == "g" else "h0" for name in order]
    elif rng.random() < 0.2:
        order = [tuple(members[:2]), *members[2:]]
    return Instance.build(
        ids=["a", "b", "c", "d"],
        types=["g", "h"],
        time_ms=rng.integers(1, 13, size=(4, 2)),
        transfer_ms=rng.integers(0, 3, size=4),
        edges=[(0, 1), (1, 2), (2, 3)],
        classes=[
            DeviceClass(name, name, size, link=Link(bandwidth_bytes_per_s=1e6))
            for name, size in zip("gh", count, strict=True)
        ],
        forbid=[[str(rng.choice(members))] if rng.random() < 0.3 else [] for _ in range(4)],
        order=order,
    )


@pytest.mark.parametrize("seed", seeds(60))
def test_orders_against_brute_force(seed):
    """Orders of classes, of single devices and of several at one place."""
    instance, replicas = ordered(seed), 2 + seed % 2
    best = brute(instance, replicas)
    for method in ("dp", "milp"):
        result = solve(instance, method=method, gap=0.0, replicas=replicas)
        assert result.objective == pytest.approx(best, rel=1e-6, abs=1e-9)
        assert result.bound == pytest.approx(best, rel=1e-5, abs=1e-9)
        assert check(instance, result) == []


def test_random_orders_bind():
    """Most exclude the best plan, and many would differ if the members of a class came in a fixed order."""
    binding = strict = 0
    for seed in range(20):
        instance = ordered(seed)
        best = brute(instance, 2)
        binding += best > brute(instance.replace(order=()), 2) * (1 + 1e-6)
        by_name = [d.name for d in sorted(instance.devices, key=lambda d: (d.rank is None, d.rank))]
        strict += brute(instance.replace(order=by_name), 1) > brute(instance, 1) * (1 + 1e-6)
    assert binding >= 8
    assert strict >= 4


def pair(**changes) -> Instance:
    """A heavy and a light layer with their backward nodes; 1 kB of weights take 1 ms on the link."""
    return Instance.build(
        ids=["a", "b", "b'", "a'"],
        types=["gpu", "cpu"],
        time_ms=[[3.0, 99], [1.0, 99], [2.0, 99], [6.0, 99]],
        weight_bytes=[1000.0, 1000.0, 0, 0],
        transfer_ms=[0.0] * 4,
        edges=[(0, 1), (1, 2), (2, 3)],
        backward=[False, False, True, True],
        colocate=["a", "b", "b", "a"],
        classes=[
            DeviceClass("gpu", "gpu", 4, Kind.ACCELERATOR, 5000.0, Link(bandwidth_bytes_per_s=1e6)),
            DeviceClass("cpu", "cpu", 1, Kind.HOST),
        ],
    ).replace(**changes)


def test_figures_of_a_replicated_stage():
    """Three replicas of a: 9 / 3 ms and 2 · 2/3 ms for the gradients, over four microbatches."""
    instance = pair(training=Training(microbatches=4))
    result = solve(instance, replicas=4, gap=0.0)
    assert result.objective == pytest.approx(9 / 3 + 4 / 3 / 4)
    assert [len(group) for group in result.replicas] == [3]
    shared = [d for d in result.devices if "a" in d.nodes]
    assert [d.sync_ms for d in shared] == pytest.approx([1 / 3] * 3)
    assert [d.load_ms for d in shared] == pytest.approx([10 / 3] * 3)
    assert [d.memory_bytes for d in shared] == [1000.0] * 3
    assert check(instance, result) == []
    assert solve(instance, replicas=1).objective == 9.0


def test_microbatches_of_the_options_count_everywhere():
    """Gradients are summed once per optimizer step, here of sixteen microbatches instead of four."""
    instance = pair(training=Training(microbatches=4))
    options = Options(replicas=4, gap=0.0, microbatches=16)
    result = solve(instance, options)
    assert result.objective == pytest.approx(9 / 3 + 4 / 3 / 16)
    assert check(instance, result) == []
    assert simulate(instance, result).steady_ms == pytest.approx(result.objective)
    assert simulate(instance, result).samples == 16
    assert simulate(instance, result, microbatches=5).steady_ms == pytest.approx(result.objective)
    plan = plan_of(instance, result)
    assert simulate(instance, plan, options).steady_ms == pytest.approx(result.objective)
    drawn = timeline(instance, result)
    assert "An optimizer step of 16 microbatches" in drawn.caption
    assert drawn.caption.endswith("which is the objective.")
    known = apply(instance, options)
    assert known.training.microbatches == 16
    overlap = solve(instance, options, communication="overlap")
    assert overlap.objective == pytest.approx(max(by_direction(overlap, known).backward_ms) + 1.0)


def test_slow_links_make_replicas_useless():
    instance = pair(training=Training(microbatches=1))
    slow = instance.replace(
        classes=(DeviceClass("gpu", "gpu", 4, link=Link(bandwidth_bytes_per_s=1e4)), instance.classes[1])
    )
    result = solve(slow, replicas=4)
    assert result.replicas == []
    assert result.objective == 9.0


def test_limit_on_devices_counts_replicas():
    instance = pair(training=Training(microbatches=4))
    assert solve(instance, replicas=4, max_devices=2, gap=0.0).objective == pytest.approx(12 / 2 + 1 / 2)
    result = solve(instance, replicas=4, max_devices=3, gap=0.0)
    assert sum(bool(d.nodes) for d in result.devices) == 3


def test_what_verification_finds():
    instance, options = pair(), Options(replicas=2)
    device = np.array([0, 1, 1, 0])
    assert violations(instance, Plan(device, teams=(Team((0, 2)),)), options) == []
    for replicas, words in (
        (((0, 2, 3),), "more than 2"),
        (((0, 4),), "not identical"),
        (((0, 1),), "hold none or another"),
        (((2, 3),), "hold none or another"),
        (((0, 2), (1, 2)), "hold none or another"),
    ):
        assert words in violations(instance, Plan(device, teams=tuple(map(Team, replicas))), options)[0]
    forbidden = instance.replace(forbid=(("gpu2",), (), (), ()))
    assert "not identical" in violations(forbidden, Plan(device, teams=(Team((0, 2)),)), options)[0]


def chain(times: list[float], devices: int, **changes) -> Instance:
    """A chain on one class of accelerators whose order names the class."""
    n = len(times)
    return Instance.build(
        ids=[f"n{v}" for v in range(n)],
        types=["a"],
        time_ms=[[t] for t in times],
        edges=[(v, v + 1) for v in range(n - 1)],
        classes=[DeviceClass("gpu", "a", devices, link=Link(bandwidth_bytes_per_s=4e9))],
        order=["gpu"],
    ).replace(**changes)


@pytest.mark.parametrize("method", ["auto", "milp", "dp", "dpl"])
def test_order_of_a_class_restricts_nothing_among_its_members(method):
    """The stage on two devices may come before or after the one on a single device."""
    for times in ([6.0, 12.0], [12.0, 6.0]):
        instance = chain(times, 3)
        result = solve(instance, replicas=2, method=method, gap=0.0)
        assert result.objective == pytest.approx(6.0)
        assert check(instance, result) == []
        plan = plan_of(instance, result)
        assert stage_order(instance, plan, InFlight(1)) == plan.stages


@pytest.mark.parametrize("method", ["auto", "milp", "dp"])
@pytest.mark.parametrize("closed", ["gpu0", "gpu1"])
def test_more_replicas_allowed_never_hurt(method, closed):
    """A node that may not go to one member makes two kinds of a class; they still come in any order."""
    instance = chain([6.0, 9.0], 2, forbid=((), (closed,)), transfer_ms=np.array([1.0, 0.0]))
    alone = solve(instance, replicas=1, method=method, gap=0.0)
    result = solve(instance, replicas=2, method=method, gap=0.0)
    assert alone.objective == result.objective == pytest.approx(10.0)
    assert result.bound == pytest.approx(10.0, rel=1e-5)


@pytest.mark.parametrize("method", ["milp", "dp"])
def test_names_at_one_place_of_the_order(method):
    """gpu2 comes first and keeps the small node; the others follow in any order."""
    instance = chain([3.0, 12.0, 6.0], 3, order=("gpu2", ("gpu0", "gpu1")))
    result = solve(instance, replicas=2, method=method, gap=0.0)
    assert result.objective == pytest.approx(brute(instance, 2)) == pytest.approx(9.0)
    strict = instance.replace(order=("gpu2", "gpu0", "gpu1"))
    assert solve(strict, replicas=2, method=method, gap=0.0).objective == pytest.approx(brute(strict, 2))
    assert brute(strict, 2) == pytest.approx(12.0)


def brute(instance: Instance, replicas: int) -> float:
    return candidates(instance, ("ordered", "1f1b", "sequential"), replicas=replicas).optimum()


def test_groups_cover_all_ways():
    found = [smaller.classes for smaller, _ in teams.apply(pair(), Options(replicas=3), pooled=False)]
    widths = [sorted(cls.mode.width for cls in classes for _ in range(cls.count)) for classes in found]
    assert sorted(widths) == [[1, 1, 1, 1, 1], [1, 1, 1, 2], [1, 1, 3], [1, 2, 2]]


def test_plans_come_back_and_start_the_choices_that_have_them():
    """A plan starts the choices that have its teams."""
    instance = pair()
    starts = 0
    for smaller, inverse in teams.apply(instance, Options(replicas=3), pooled=False):
        options = Options(method="dp", replicas=3)
        plan = load_method("dp", Objective.THROUGHPUT)(smaller, options, Run()).plan
        lifted = inverse.plan(plan)
        assert violations(instance, lifted, Options(replicas=3)) == []
        start = inverse.start(lifted)
        assert objective_of(smaller, start, options) == objective_of(instance, lifted, options)
        alone = inverse.start(Plan(np.array([0, 1, 1, 0])))
        starts += alone is not None
    assert starts == 2


def test_altered_replicas_are_noticed():
    instance = pair(training=Training(microbatches=4))
    result = solve(instance, replicas=4)
    altered = result.model_copy(update={"replicas": []}).sealed()
    assert any("objective" in text for text in check(instance, altered))
    assert plan_of(instance, result).teams


@pytest.mark.parametrize(
    ("changes", "message"),
    [
        ({"objective": "latency"}, "throughput only"),
        ({"balance": True}, "secondary goals"),
        ({"replicas": 0}, "greater than or equal to 1"),
    ],
)
def test_what_is_refused(changes, message):
    with pytest.raises(UsageError, match=message):
        solve(pair(), **{"replicas": 2, **changes})


@pytest.mark.slow
def test_too_many_ways_and_links_without_bandwidth_are_refused():
    many = pair(classes=(DeviceClass("gpu", "gpu", 64, link=Link(bandwidth_bytes_per_s=1e6)),))
    with pytest.raises(UsageError, match="more than 256 ways"):
        solve(many, replicas=64, method="local-search")
    with pytest.raises(UsageError, match="needs a bandwidth"):
        solve(pair(classes=(DeviceClass("gpu", "gpu", 2),)), replicas=2)
