"""Hosts: memory limits in every objective and method, and rules for single hosts of a class."""

import itertools
from dataclasses import replace

import numpy as np
import pytest

from placer.instance.cluster import DeviceClass, Kind
from placer.instance.constraints import Constraints
from placer.instance.instance import Instance
from placer.options import Objective, Options
from placer.plans.check import check
from placer.plans.latency_schedule import latency_schedule
from placer.plans.plan import Plan
from placer.plans.result import Result, Status
from placer.plans.verify import violations
from placer.reductions.hosts import apply
from placer.simulation import simulate
from placer.solving.solve import solve
from tests.support.brute import KINDS, latency_optimum, throughput_optima
from tests.support.brute_memory import Brute
from tests.support.level import first, seeds
from tests.support.random_instances import (
    random_cluster,
    random_cluster_memory,
    random_instance,
    with_host_limits,
    with_more_hosts,
)

LATENCY = Options(objective=Objective.LATENCY)


def chain(limit: float, **changes) -> Instance:
    """Nodes of 4 bytes, each 5 ms on the accelerator, which has room for one, and 1 ms on a host."""
    return Instance.build(
        ids=["a", "b", "c"],
        types=["gpu", "cpu"],
        time_ms=[[5.0, 1.0]] * 3,
        memory_bytes=[4.0] * 3,
        edges=[(0, 1), (1, 2)],
        classes=[
            DeviceClass("g", "gpu", 1, Kind.ACCELERATOR, 4.0),
            DeviceClass("h", "cpu", changes.pop("hosts", 1), Kind.HOST, limit),
        ],
        **changes,
    )


def single_hosts() -> Instance:
    """Rules for one host of two: a may go to none, b not to h0, c only to h1; a is read by b."""
    return Instance.build(
        ids=["a", "b", "c"],
        types=["gpu", "cpu"],
        time_ms=[[5.0, 1.0]] * 3,
        edges=[(0, 1)],
        classes=[DeviceClass("g", "gpu", 1), DeviceClass("h", "cpu", 2, Kind.HOST)],
        pin=[(), (), ("h1",)],
        forbid=[("h0", "h1"), ("h0",), ()],
    )


# -- by hand ----------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("limit", "reserve", "throughput", "latency"),
    [
        (np.inf, 0.0, 3.0, 3.0),
        (12.0, 0.0, 3.0, 3.0),
        (11.0, 0.0, 5.0, 7.0),
        (12.0, 1.0, 5.0, 7.0),
        (7.0, 0.0, None, None),
    ],
)
def test_a_limit_is_kept_by_the_exact_methods(limit, reserve, throughput, latency):
    instance = chain(limit)
    host = replace(instance.classes[1], memory_reserve_bytes=reserve)
    instance = instance.replace(classes=(instance.classes[0], host))
    for expected, objective, methods in (
        (throughput, "throughput", ("milp", "dp", "auto")),
        (latency, "latency", ("milp", "dp", "auto")),
    ):
        for method in methods:
            result = solve(instance, objective=objective, method=method, gap=1e-5)
            assert result.status is (Status.OPTIMAL if expected else Status.INFEASIBLE), (method, objective)
            assert result.objective == (pytest.approx(expected) if expected else None)
            assert check(instance, result) == []


def test_results_and_simulation_show_what_hosts_hold():
    instance = chain(11.0)
    for objective in ("throughput", "latency"):
        result = solve(instance, objective=objective)
        report = {d.name: d for d in result.devices}
        assert (report["h0"].memory_bytes, report["h0"].memory_limit_bytes) == (8.0, 11.0)
        assert simulate(instance, result).devices[1].peak_bytes == 8.0


def test_verification_names_a_host_that_holds_too_much():
    plan = Plan(np.array([1, 1, 1]), np.array([-1, -1, -1]))
    assert violations(chain(11.0), plan, LATENCY) == ["h0 holds 12 bytes, more than its limit of 11"]
    assert violations(chain(11.0), replace(plan, piece=None), Options()) == [
        "h0 holds 12 bytes, more than its limit of 11"
    ]
    assert violations(chain(12.0), plan, LATENCY) == []


def test_limited_hosts_of_a_class_share_the_nodes():
    """No host holds two nodes: one of three goes to the accelerator."""
    for method in ("milp", "dp", "auto"):
        result = solve(chain(7.0, hosts=2), objective="latency", method=method, gap=1e-5)
        assert result.objective == pytest.approx(7.0)
        assert sorted(result.assignment.values()) == ["g0", "h0", "h1"]


@pytest.mark.parametrize("method", ["milp", "dp", "auto", "greedy"])
def test_rules_for_single_hosts_hold(method):
    instance = single_hosts()
    result = solve(instance, objective="latency", method=method, gap=1e-5)
    assert result.objective >= 6.0
    if method != "greedy":
        assert result.objective == pytest.approx(6.0)
        assert result.assignment == {"a": "g0", "b": "h1", "c": "h1"}
    assert [d.name for d in result.devices] == ["g0", "h0", "h1"]
    assert check(instance, result) == []


def test_the_verifier_knows_single_hosts():
    instance = single_hosts()
    on_h0 = Plan(np.array([1, 1, 1]), np.array([-1, -1, -1]))
    assert [line.split(" may")[0] for line in violations(instance, on_h0, LATENCY)] == [
        "node 'a'",
        "node 'b'",
        "node 'c'",
    ]


def test_hosts_count_for_the_limit_on_devices():
    """b must go to h0 and c to h1: with a beside b two devices suffice, one does not."""
    instance = single_hosts().replace(pin=((), ("h0",), ("h1",)), forbid=((), (), ()))
    two, one = (solve(instance, objective="latency", max_devices=k) for k in (2, 1))
    assert two.objective == 2.0
    assert set(two.assignment.values()) == {"h0", "h1"}
    assert one.status is Status.INFEASIBLE


def test_a_host_class_without_members_has_no_host():
    instance = chain(np.inf)
    none = replace(instance.classes[1], count=0)
    roomy = replace(instance.classes[0], memory_limit_bytes=np.inf)
    result = solve(instance.replace(classes=(roomy, none)), objective="latency")
    assert set(result.assignment.values()) == {"g0"}


# -- the reduction ----------------------------------------------------------------------------------


def test_equal_hosts_without_a_limit_become_one():
    instance = chain(np.inf, hosts=3)
    smaller, inverse = apply(instance)
    assert [d.name for d in smaller.devices] == ["g0", "h0"]
    plan = Plan(np.array([1, 3, 2]), np.array([-1, -1, -1]))
    assert inverse.start(plan).device.tolist() == [1, 1, 1]


def test_hosts_that_differ_or_have_a_limit_stay_apart():
    assert len(apply(chain(8.0, hosts=3))[0].devices) == 4
    pinned = chain(np.inf, hosts=3, pin=[("h2", "g"), (), ()])
    smaller, inverse = apply(pinned)
    assert inverse.device.tolist() == [0, 3]  # h2 may hold what the others may, and a
    assert smaller.pin[0] == ("h0", "g")
    assert inverse.plan(Plan(np.array([1, 1, 1]), np.array([-1] * 3))).device.tolist() == [3, 3, 3]


@pytest.mark.parametrize("seed", range(8))
def test_the_reduction_keeps_the_optimum_and_its_plans(seed):
    instance = random_instance(seed, nodes=3, latency=True, overrides=True)
    instance = instance.replace(classes=(*instance.classes[:-1], replace(instance.classes[-1], count=2)))
    if not instance.allowed.any(axis=1).all():
        return
    smaller, inverse = apply(instance)
    assert latency_optimum(smaller, 1) == latency_optimum(instance, 1)
    hosts = [d.index for d in smaller.devices if d.is_host]
    for choice in itertools.product(hosts, repeat=instance.n):
        plan = Plan(np.array(choice), np.full(instance.n, -1))
        lifted = inverse.plan(plan)
        found = violations(smaller, plan, LATENCY), violations(instance, lifted, LATENCY)
        assert bool(found[0]) == bool(found[1])
        back = inverse.start(lifted)
        assert back is None if found[0] else back.device.tolist() == list(choice)
        assert latency_schedule(instance, lifted).makespan_ms == latency_schedule(smaller, plan).makespan_ms


# -- documents of earlier releases ------------------------------------------------------------------


def earlier(result: Result, *, pooled: bool) -> Result:
    """The document of an earlier release: hosts hold nothing; ``pooled``: one host stands for its class."""
    nothing = {"memory_bytes": 0.0, "resident_bytes": 0.0, "activation_bytes": 0.0}
    rows = [d.model_copy(update=nothing) if d.name[0] == "h" else d for d in result.devices]
    return result.model_copy(update={"devices": rows[:2] if pooled else rows}).sealed()


@pytest.mark.parametrize("objective", ["throughput", "latency"])
def test_documents_of_earlier_releases_still_hold(objective):
    """Twelve bytes on a host; an accelerator without its row, or with other figures, is noticed."""
    instance = chain(np.inf, hosts=2)
    result = solve(instance, objective=objective, method="single")
    assert set(result.assignment.values()) == {"h0"}
    assert check(instance, earlier(result, pooled=False)) == []
    pooled = earlier(result, pooled=True)
    assert check(instance, pooled) == ([] if objective == "latency" else ["there are 3 devices, not 2"])
    assert check(instance, pooled.model_copy(update={"devices": pooled.devices[1:]}).sealed()) != []
    half = [d.model_copy(update={"memory_bytes": d.memory_bytes / 2}) for d in result.devices]
    assert check(instance, result.model_copy(update={"devices": half}).sealed()) != []


# -- random instances -------------------------------------------------------------------------------


def hosted(seed: int, base: Instance) -> Instance | None:
    """The instance with limits on its hosts, None if it has none."""
    if not any(c.is_host and c.count for c in base.classes):
        return None
    return with_host_limits(with_more_hosts(base, seed), seed)


def check_exact(instance: Instance, options: Options, optimum: float) -> None:
    result = solve(instance, options)
    assert check(instance, result) == []
    if np.isinf(optimum):
        assert result.status is Status.INFEASIBLE
        return
    assert result.status is Status.OPTIMAL
    assert result.objective == pytest.approx(optimum, rel=2e-5, abs=1e-9)
    assert result.bound <= optimum * (1 + 1e-6) + 1e-9


@pytest.mark.parametrize("seed", seeds(12))
def test_pipelines_are_optimal(seed):
    """Activations, microbatches, reserves, orders, recomputation: by the program and the dynamic program."""
    instance = first(lambda s: hosted(s, random_cluster_memory(s, nodes=4)), seed)
    rng = np.random.default_rng([seed, 41])
    recompute = str(rng.choice(["none", "auto", "all"])) if instance.is_training else "none"
    choice = (
        str(rng.choice(["1f1b", "gpipe"])),
        str(rng.choice(["sequential", "overlap", "duplex"])),
        recompute,
        instance.training.microbatches,
    )
    for (schedule, communication, again, _), optimum in Brute(instance).optima([choice]).items():
        for method in ("milp", "dp"):
            options = Options(
                method=method, gap=2e-5, schedule=schedule, communication=communication, recompute=again
            )
            check_exact(instance, options, optimum)


@pytest.mark.parametrize("seed", seeds(6))
def test_plans_of_all_kinds_are_optimal(seed):
    instance = first(lambda s: hosted(s, random_cluster(s)), seed)
    optima = throughput_optima(instance)
    contiguity, schedule, communication = KINDS[int(np.random.default_rng([seed, 43]).integers(len(KINDS)))]
    options = Options(
        method="milp",
        gap=2e-5,
        schedule=schedule,
        communication=communication,
        contiguous=contiguity != "free",
        formulation="paper" if contiguity == "each" else "ordered",
    )
    check_exact(instance, options, optima[contiguity, schedule, communication])


def small(seed: int) -> tuple[Instance, int]:
    """At most four devices, two of them hosts of one class, limits and rules for single ones; pieces."""
    rng = np.random.default_rng([seed, 47])
    instance = random_instance(
        seed, nodes=4, heterogeneous=bool(rng.random() < 0.2), overrides=True, latency=True
    )
    instance = with_more_hosts(instance, seed)
    if rng.random() < 0.6:
        instance = with_host_limits(instance, seed)
    if rng.random() < 0.3:
        instance = instance.replace(
            time_ms=np.where(rng.random(instance.time_ms.shape) < 0.5, 0.0, instance.time_ms)
        )
    return instance, 1 + int(len(instance.devices) <= 3 and rng.random() < 0.5)


@pytest.mark.parametrize("seed", seeds(12))
def test_latency_is_optimal(seed):
    instance, pieces = small(seed)
    optimum = latency_optimum(instance, pieces)
    for method, formulation in (("dp", "ordered"), ("milp", "ordered"), ("milp", "paper")):
        options = Options(
            objective="latency", method=method, formulation=formulation, pieces=pieces, gap=2e-5
        )
        check_exact(instance, options, optimum)


@pytest.mark.parametrize("seed", seeds(6))
def test_a_limit_on_devices_counts_hosts(seed):
    instance, _ = small(seed)
    limit = 1 + seed % 2
    names = [d.name for d in instance.devices]
    optimum = min(
        latency_optimum(
            instance.replace(
                forbid=tuple((*f, *(n for n in names if n not in kept)) for f in instance.forbid)
            ),
            1,
        )
        for kept in itertools.combinations(names, limit)
    )
    instance = instance.replace(constraints=Constraints(max_devices=limit))
    check_exact(instance, LATENCY.model_copy(update={"gap": 2e-5}), optimum)
