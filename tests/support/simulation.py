"""Plans are run event by event: their steady state is what was promised, and their timeline is possible."""

import itertools
from collections import defaultdict

import numpy as np
import pytest

from placer.instance.instance import Instance
from placer.options import Options
from placer.plans.figures import objective_ms
from placer.plans.plan import Plan
from placer.plans.result import Result
from placer.simulation import Lane, Simulation, Slice, simulate

EQUAL = 1e-9


def simulated(
    instance: Instance, plan: Plan | Result, options: Options | None = None, **counts: int
) -> Simulation:
    """Simulate a plan (or a result that holds one) and check all that must be true of it."""
    simulation = simulate(instance, plan, options, **counts)
    if isinstance(plan, Result):
        expected = plan.objective
        again = {instance.index[v] for v in plan.recomputed_nodes}
        again |= {instance.index[v] for v, d in plan.assignment.items() if d in plan.recompute}
    else:
        expected = objective_ms(instance, plan, Options() if options is None else options)
        again = {v for v, d in enumerate(plan.device.tolist()) if v in plan.again or d in plan.recompute}
    assert simulation.periodic
    assert simulation.objective_ms == pytest.approx(expected, rel=EQUAL, abs=1e-12)
    assert_possible(instance, simulation, again)
    return simulation


def assert_possible(instance: Instance, simulation: Simulation, again: set[int]) -> None:
    """Nothing overlaps that must not, nothing is read before it is there, and nothing is missing or extra."""
    tolerance = EQUAL * max(simulation.makespan_ms, 1e-3)
    _assert_resources(simulation, tolerance)
    _assert_data_flow(instance, simulation, again, tolerance)
    path = simulation.critical_path
    assert sum(s.end_ms - s.start_ms for s in path) == pytest.approx(simulation.makespan_ms, rel=EQUAL)
    for a, b in itertools.pairwise(path):
        assert a.end_ms == pytest.approx(b.start_ms, rel=EQUAL, abs=tolerance)
    for use in simulation.devices:
        assert use.busy_ms + use.idle_ms == pytest.approx(simulation.makespan_ms, rel=EQUAL, abs=tolerance)
        assert use.steady_utilisation is None or use.steady_utilisation <= 1 + EQUAL


def _assert_resources(simulation: Simulation, tolerance: float) -> None:
    groups = {
        "sequential": [{Lane.COMPUTE, Lane.RECEIVE, Lane.SEND}],
        "overlap": [{Lane.COMPUTE}, {Lane.RECEIVE, Lane.SEND}],
        "duplex": [{Lane.COMPUTE}, {Lane.RECEIVE}, {Lane.SEND}],
    }[simulation.communication.value]
    for use, lanes in itertools.product(simulation.devices, groups):
        mine: dict[int, list[Slice]] = defaultdict(list)
        for s in simulation.slices:
            if s.device == use.name and s.lane in lanes:
                mine[s.slot].append(s)
        for slices in mine.values():
            for a, b in itertools.pairwise(slices):
                assert a.end_ms <= b.start_ms + tolerance, (a, b)


def _assert_data_flow(instance: Instance, simulation: Simulation, again: set[int], tolerance: float) -> None:
    began: dict[tuple[str, int, str, int], list[float]] = defaultdict(list)
    ended: dict[tuple[str, int, str, int], float] = {}
    for s in simulation.node_slices(simulation.samples):
        if not s.nodes:
            assert s.label == "synchronise weights"
            continue
        other_way = (s.direction == "backward") != instance.backward[s.nodes[0]]
        if simulation.steady_ms is not None and s.lane is Lane.COMPUTE and other_way:
            assert again.issuperset(s.nodes)
            continue
        key = (s.lane.value, s.nodes[0], s.device, s.sample)
        began[key].append(s.start_ms)
        ended[key] = s.end_ms
    if simulation.steady_ms is not None:  # pieces of one device may fetch the same output
        assert all(len(times) == 1 for times in began.values())
    device = [simulation.devices[d].name for d in simulation.slicer.placement.device]
    costs = _costs(instance)
    for k in range(simulation.samples):
        for v in range(instance.n):
            assert (costs[v, device[v]] > 0) == (("compute", v, device[v], k) in began)
        for u, w in instance.edges.tolist():
            left = ended.get(("send", u, device[u], k), ended.get(("compute", u, device[u], k), 0.0))
            arrived = ended.get(("receive", u, device[w], k), 0.0)
            for time in began.get(("receive", u, device[w], k), ()):
                assert time >= left - tolerance
            for time in began.get(("compute", w, device[w], k), ()):
                assert time >= ended.get(("compute", u, device[u], k), 0.0) - tolerance
                if device[u] != device[w]:
                    assert time >= max(left, arrived) - tolerance


def _costs(instance: Instance) -> dict[tuple[int, str], float]:
    return {
        (v, d.name): float(instance.class_time_ms[v, d.class_index])
        for v in range(instance.n)
        for d in instance.devices
    }


def some_plan(instance: Instance, seed: int) -> Plan | None:
    """Each node on some device that may hold it: nothing else about the plan is sensible."""
    if not instance.allowed.any(axis=1).all():
        return None
    rng = np.random.default_rng(seed)
    return Plan(np.array([rng.choice(np.flatnonzero(row)) for row in instance.allowed]))
