"""The latency program against brute force, against known optima, and under limits."""

from dataclasses import replace

import numpy as np
import pytest

from placer.instance.cluster import DeviceClass, Kind
from placer.instance.instance import Instance
from placer.methods.latency import dp_latency
from placer.methods.latency.dp_latency import solve
from placer.options import Objective, Options
from placer.plans.latency_schedule import latency_schedule
from placer.plans.plan import Plan
from placer.plans.status import Stop
from placer.plans.verify import violations
from placer.reductions import hosts
from placer.search.run import Outcome, Run
from tests.support.brute import latency_optimum
from tests.support.interpreted import interpreted
from tests.support.level import seeds
from tests.support.random_instances import random_instance, with_single_hosts
from tests.support.workloads import LATENCY, known, needs_workloads, workload


def options(pieces: int = 1, **changes: object) -> Options:
    return Options(objective=Objective.LATENCY, method="dp", pieces=pieces, **changes)


def makespan(instance: Instance, outcome: Outcome, pieces: int) -> float:
    """Latency of a plan after checking it; inf without one."""
    if outcome.plan is None:
        return np.inf
    assert violations(instance, outcome.plan, options(pieces)) == []
    return latency_schedule(instance, outcome.plan).makespan_ms


def latency_instance(seed: int) -> Instance:
    """Vary what the instance has by its seed: devices, pins, a second host class, more groups."""
    rng = np.random.default_rng(seed)
    instance = random_instance(
        seed,
        nodes=4 + int(rng.random() < 0.5),
        training=bool(rng.random() < 0.2),
        heterogeneous=bool(rng.random() < 0.4),
        overrides=bool(rng.random() < 0.4),
        latency=True,
    )
    if rng.random() < 0.3:
        times = rng.integers(0, 32, size=instance.n) / 4
        times[rng.random(instance.n) < 0.3] = np.inf
        extra = DeviceClass("arm", "arm", 1, Kind.HOST)
        instance = instance.replace(
            types=(*instance.types, "arm"),
            time_ms=np.column_stack([instance.time_ms, times]),
            classes=(*instance.classes, extra),
        )
    if rng.random() < 0.2:
        instance = instance.replace(
            time_ms=np.where(rng.random(instance.time_ms.shape) < 0.5, 0.0, instance.time_ms)
        )
    instance = with_single_hosts(instance)
    while (len(instance.devices) > 4 or (len(instance.devices) == 4 and instance.n > 4)) and any(
        cls.count > 1 for cls in instance.classes
    ):
        instance = smaller(instance)
    return instance


def smaller(instance: Instance) -> Instance:
    """Drop an accelerator, to keep brute force cheap; pins to it are dropped too."""
    c = max(
        (c for c, cls in enumerate(instance.classes) if not cls.is_host),
        key=lambda c: instance.classes[c].count,
    )
    gone = instance.classes[c].member(instance.classes[c].count - 1)
    fewer = replace(instance.classes[c], count=instance.classes[c].count - 1)
    return instance.replace(
        classes=(*instance.classes[:c], fewer, *instance.classes[c + 1 :]),
        pin=tuple(tuple(x for x in names if x != gone) for names in instance.pin),
        forbid=tuple(tuple(x for x in names if x != gone) for names in instance.forbid),
    )


def check_against_brute_force(seed: int) -> None:
    instance = latency_instance(seed)
    pieces = 1 + seed % 2
    expected = latency_optimum(instance, pieces)
    outcome = solve(instance, options(pieces), Run())
    if np.isinf(expected):
        assert outcome.stop is Stop.INFEASIBLE, seed
        assert outcome.plan is None
        return
    assert outcome.stop is Stop.FINISHED, seed
    assert makespan(instance, outcome, pieces) == pytest.approx(expected, rel=1e-9, abs=1e-9), seed
    assert outcome.bound_ms == pytest.approx(expected, rel=1e-9, abs=1e-9), seed
    assert outcome.bound_ms <= expected * (1 + 1e-12), seed


def test_random_instances_agree_with_brute_force() -> None:
    for seed in seeds(120):
        check_against_brute_force(seed)


def test_the_kernels_say_the_same_compiled_and_interpreted() -> None:
    with interpreted():
        from placer.methods.latency.dp_latency import solve as solve_interpreted
    for seed in range(12):
        instance, chosen = latency_instance(seed), options(1 + seed % 2)
        compiled, other = solve(instance, chosen, Run()), solve_interpreted(instance, chosen, Run())
        assert other.stats == compiled.stats
        assert (other.stop, other.bound_ms) == (compiled.stop, compiled.bound_ms)
        if compiled.plan is not None:
            assert other.plan.device.tolist() == compiled.plan.device.tolist()
            assert other.plan.piece.tolist() == compiled.plan.piece.tolist()


@needs_workloads
@pytest.mark.workload
@pytest.mark.parametrize("pieces", [1, pytest.param(2, marks=pytest.mark.slow)])
@pytest.mark.parametrize("name", LATENCY)
def test_known_optima(name: str, pieces: int) -> None:
    """With two pieces the optimum is the same on these workloads, as a separate proof shows each time."""
    instance = hosts.apply(workload("latency", name))[0]
    optimum = known()["latency_q1"][name]["optimum"]
    outcome = solve(instance, options(pieces), Run())
    assert outcome.stop is Stop.FINISHED
    assert makespan(instance, outcome, pieces) == pytest.approx(optimum, rel=1e-9)
    assert optimum * (1 - 1e-9) <= outcome.bound_ms <= optimum


@pytest.mark.parametrize("pieces", [1, 2])
def test_a_truncated_beam_brackets_the_optimum(pieces: int, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(dp_latency, "BEAMS", (1,))
    for seed in range(40):
        check_bracket(latency_instance(seed), pieces)


@pytest.mark.parametrize("pieces", [1, 2])
def test_without_room_for_the_lattice_the_optimum_is_bracketed(
    pieces: int, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Lattices of more than eight downsets are refused: linear orders give plans, subgraphs bounds."""
    real = dp_latency.build_lattice

    def small_only(atoms, run, limit):
        lattice = real(atoms, run, limit)
        return None if lattice is None or len(lattice.words) > 8 else lattice

    monkeypatch.setattr(dp_latency, "build_lattice", small_only)
    for seed in range(40):
        check_bracket(latency_instance(seed), pieces)


def check_bracket(instance: Instance, pieces: int) -> None:
    expected = latency_optimum(instance, pieces)
    outcome = solve(instance, options(pieces), Run())
    value = makespan(instance, outcome, pieces)
    if outcome.stop is Stop.INFEASIBLE:
        assert np.isinf(expected)
    else:
        assert outcome.bound_ms <= expected <= value * (1 + 1e-9)


def wide(branches: int, length: int) -> Instance:
    """Independent chains: (length + 1) ** branches downsets."""
    n = branches * length
    return Instance.build(
        ids=[f"v{i}" for i in range(n)],
        types=["acc", "cpu"],
        time_ms=[[1.0 + i % 3, 5.0 + i % 7] for i in range(n)],
        memory_bytes=[1.0] * n,
        transfer_ms=[0.5] * n,
        edges=[(i, i + 1) for i in range(n - 1) if (i + 1) % length],
        classes=[
            DeviceClass("acc", "acc", 3, Kind.ACCELERATOR, n / 4),
            DeviceClass("cpu", "cpu", 1, Kind.HOST),
        ],
    )


def test_too_many_downsets_still_give_a_plan_and_a_bound() -> None:
    instance = wide(10, 12)
    outcome = solve(instance, options(memory_limit_mb=64), Run(time_limit=6.0))
    assert outcome.stop in (Stop.MEMORY_LIMIT, Stop.TIME_LIMIT)
    assert 0 < outcome.bound_ms <= makespan(instance, outcome, 1)
    assert "not proven optimal" in outcome.message


def test_an_interrupt_before_the_start_is_obeyed() -> None:
    run = Run()
    run.interrupt.set()
    assert solve(wide(4, 5), options(), run).stop is Stop.INTERRUPTED


def test_the_start_plan_is_kept_when_there_is_no_time() -> None:
    instance = wide(10, 12)
    start = Plan(np.full(instance.n, 3), np.full(instance.n, -1))
    run = Run(start=start)
    run.interrupt.set()
    assert solve(instance, options(), run).plan.device.tolist() == start.device.tolist()


def test_infeasibility_names_the_node() -> None:
    instance = Instance.build(
        ids=["a", "b"],
        types=["acc"],
        time_ms=[[1.0], [1.0]],
        edges=[(0, 1)],
        classes=[DeviceClass("acc", "acc", 1), DeviceClass("cpu", "cpu", 1, Kind.HOST)],
        forbid=[["acc0"], []],
    )
    outcome = solve(instance, options(), Run())
    assert outcome.stop is Stop.INFEASIBLE
    assert "'a'" in outcome.message


def test_a_graph_of_free_sources_takes_no_time() -> None:
    instance = Instance.build(
        ids=["a", "b"],
        types=["acc", "cpu"],
        time_ms=[[1.0, 0.0], [1.0, 0.0]],
        edges=[(0, 1)],
        classes=[DeviceClass("acc", "acc", 1), DeviceClass("cpu", "cpu", 1, Kind.HOST)],
    )
    outcome = solve(instance, options(), Run())
    assert (outcome.stop, outcome.bound_ms, makespan(instance, outcome, 1)) == (Stop.FINISHED, 0.0, 0.0)


def test_a_group_is_split_over_two_pieces_where_that_pays() -> None:
    """a and c share the accelerator, b between them is fast on the host only.

    One piece must hold b: 1 + 50 + 1.  With two, a is sent at 1 + 1 = 2, b is done on the host at 4, and c
    receives it and runs: 4 + 1 + 1 = 6.
    """
    instance = Instance.build(
        ids=["a", "b", "c"],
        types=["acc", "cpu"],
        time_ms=[[1.0, 100.0], [50.0, 2.0], [1.0, 100.0]],
        transfer_ms=[1.0, 1.0, 1.0],
        edges=[(0, 1), (1, 2)],
        colocate=["g", None, "g"],
        classes=[DeviceClass("acc", "acc", 1), DeviceClass("cpu", "cpu", 1, Kind.HOST)],
    )
    assert makespan(instance, solve(instance, options(1), Run()), 1) == 52.0
    assert makespan(instance, solve(instance, options(2), Run()), 2) == 6.0


@pytest.mark.parametrize("pieces", [2, 3])
def test_two_interleaved_groups_agree_with_brute_force(pieces: int) -> None:
    """Every node is in one of two groups, which may be open on one accelerator at the same time."""
    for seed in range(50000, 50060):
        instance = latency_instance(seed)
        labels = tuple(f"g{i}" for i in np.random.default_rng(seed).integers(0, 2, size=instance.n))
        same_time = np.where(np.isinf(instance.time_ms), 9.0, instance.time_ms)
        free = ((),) * instance.n
        instance = instance.replace(time_ms=same_time, colocate=labels, pin=free, forbid=free)
        if instance.n > 4 and len(instance.devices) > 2:
            continue
        expected = latency_optimum(instance, pieces)
        outcome = solve(instance, options(pieces), Run())
        assert makespan(instance, outcome, pieces) == pytest.approx(expected, rel=1e-9, abs=1e-9), seed
        assert expected * (1 - 1e-9) - 1e-9 <= outcome.bound_ms <= expected * (1 + 1e-12), seed


def test_a_piece_does_not_add_to_groups_that_are_open_on_two_accelerators() -> None:
    """a1 and b1 run at once on two; {a2, b2} as one piece would end after 12 ms, but may be on neither."""
    instance = Instance.build(
        ids=("a1", "b1", "a2", "b2"),
        types=("gpu",),
        time_ms=[[10.0], [10.0], [1.0], [1.0]],
        transfer_ms=(0.0, 0.0, 20.0, 0.0),
        edges=((0, 2), (1, 2), (2, 3)),
        classes=(DeviceClass("gpu", "gpu", 2),),
        colocate=("a", "b", "a", "b"),
    )
    assert latency_optimum(instance, 2) == 22.0
    outcome = solve(instance, options(2), Run())
    assert makespan(instance, outcome, 2) == pytest.approx(22.0)
    assert outcome.bound_ms == pytest.approx(22.0)
