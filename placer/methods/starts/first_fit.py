"""A first plan within moments: fill the devices one after another along a topological order.

It needs no solver and no search, so that there is a plan whatever happens to those that come after it.
"""

from __future__ import annotations

from collections.abc import Iterator
from itertools import product

import numpy as np

from placer.arrays import FloatArray, IntArray
from placer.instance.graphs import depth_first, topological_order
from placer.instance.instance import Instance
from placer.options import Communication, Options, Schedule
from placer.plans.evaluate import device_loads
from placer.plans.figures import objective_ms
from placer.plans.plan import Plan
from placer.plans.recompute import with_recompute
from placer.plans.status import Stop
from placer.plans.verify import violations
from placer.reductions.problem import Problem, contract
from placer.search.run import Outcome, Run
from placer.search.work import FILL_S

__all__ = ["first_fit", "quick_plans", "solve"]

THRESHOLDS = 24
"""How many thresholds are tried, from a perfect balance to four times that."""
LARGE, LARGE_THRESHOLDS = 5000, 6
"""Items, times pairs of orders of the devices, from which on fewer thresholds have to do, and how many."""
PROBES = 20
"""Steps of the bisection for the least load to which devices have to be filled."""
MOST = 64.0
"""Largest load tried, in shares of a perfect balance."""


def solve(instance: Instance, options: Options, run: Run) -> Outcome:
    """Return the best plan of those that hold; without one nothing is proven.

    Parameters
    ----------
    instance, options, run
        See ``placer.methods``.
    """
    problem = contract(instance, contiguous=options.contiguous)
    filled = first_fit(problem, options.schedule, options.communication, run)
    plans = [with_recompute(instance, problem.plan(devices), options) for devices in filled]
    plans += [
        p for p in quick_plans(instance, options) if instance.allowed[range(instance.n), p.device].all()
    ]
    for plan in sorted(plans, key=lambda plan: objective_ms(instance, plan, options)):
        if not violations(instance, plan, options):
            return Outcome(Stop.FINISHED, plan)
    stop = run.stopped() or Stop.FINISHED
    return Outcome(stop, message="devices filled one after another do not hold the graph")


def first_fit(
    problem: Problem, schedule: Schedule, communication: Communication, run: Run | None = None
) -> list[IntArray]:
    """Fill devices in order with items in topological order; return what comes of it, the best first.

    Contiguous, because both orders agree.  Transfers are ignored while filling and counted in the choice;
    activations in flight count for one microbatch, and for all of them.
    """
    time = problem.time_ms.sum(axis=0)[:, problem.instance.device_class]
    time = np.where(problem.allowed, time, np.inf)
    fastest = time.min(axis=1)
    if not np.isfinite(fastest).all():
        return []
    hosts = sum(d.is_host for d in problem.instance.devices)
    balance = float(fastest.sum()) / max(1, len(problem.instance.devices) - hosts or hosts)
    order = _order(problem)
    found: dict[bytes, tuple[float, IntArray]] = {}
    sequences = _sequences(problem.instance)
    count = THRESHOLDS if problem.size * len(sequences) < 2 * LARGE else LARGE_THRESHOLDS
    for sequence in sequences:
        for need, threshold in product(_needs(problem), balance * np.geomspace(1.0, 4.0, count)):
            if run is not None:
                run.spend(FILL_S * problem.size)
                if run.stopped() is not None and (found or run.interrupt.is_set()):
                    break
            filled = _fill(problem, time, need, order, sequence, float(threshold))
            if filled is not None and filled.tobytes() not in found:
                loads = device_loads(problem.instance, problem.plan(filled).device)
                found[filled.tobytes()] = loads.objective_ms(communication, schedule), filled
    return [filled for _, filled in sorted(found.values(), key=lambda pair: pair[0])]


def _sequences(instance: Instance) -> list[list[int]]:
    """Return the devices with accelerators first, and with hosts first, each so that their ranks rise.

    Where devices are teams of a pool, those of one mode together.
    """
    modes = [instance.classes[d.class_index].mode for d in instance.devices]
    accelerators = [d.index for d in instance.devices if not d.is_host]
    hosts = [d.index for d in instance.devices if d.is_host]
    ranks = [-1 if d.rank is None else d.rank for d in instance.devices]
    chosen = [accelerators]
    if instance.pools:
        chosen = [
            [d for d in accelerators if modes[d] == mode] for mode in sorted({modes[d] for d in accelerators})
        ]
    both = [order for some in chosen for order in ([*some, *hosts], [*hosts, *some])]
    return [sorted(sequence, key=lambda d: ranks[d]) for sequence in both]


def _needs(problem: Problem) -> list[FloatArray]:
    """Return the memory of items with one microbatch in flight, and with all where that is more, ``(N,)``."""
    return [problem.memory_bytes, problem.worst_bytes][: 1 + bool(problem.activation_bytes.any())]


def _order(problem: Problem) -> list[int]:
    """Items in topological order, a depth-first one: chains stay together; any order if there is a cycle."""
    if topological_order(np.arange(problem.size), problem.edges) is None:
        return list(range(problem.size))
    roots = np.flatnonzero(np.bincount(problem.edges[:, 1], minlength=problem.size) == 0)
    return depth_first(problem.size, problem.edges, roots.tolist())[::-1]


def _fill(
    problem: Problem,
    time: FloatArray,
    need: FloatArray,
    order: list[int],
    sequence: list[int],
    threshold: float,
) -> IntArray | None:
    """Fill one device after another; each takes what fits its memory and its share of the threshold."""
    limit = np.array([d.memory_limit_bytes for d in problem.instance.devices])
    out = np.empty(problem.size, dtype=np.int64)
    times, needs = time.T.tolist(), need.tolist()  # single entries of lists are read ten times faster
    at, load, memory = 0, 0.0, 0.0
    for c in order:
        while True:
            d = sequence[at]
            fits = memory + needs[c] <= limit[d]
            last = at == len(sequence) - 1
            if times[d][c] < np.inf and fits and (load + times[d][c] <= threshold or last):
                break
            if last:
                return None
            at, load, memory = at + 1, 0.0, 0.0
        out[c] = d
        load += times[d][c]
        memory += needs[c]
    return out


def quick_plans(instance: Instance, options: Options) -> Iterator[Plan]:
    """Yield plans that cost next to nothing, should a limit strike before a method has any.

    Everything on one device, or the devices filled up to the least load that suffices.  The cheapest ones
    to make come first; each may break a rule.

    Parameters
    ----------
    instance
        The instance as a method gets it.
    options
        The kind of plan.
    """
    alone = _alone(instance)
    if alone is not None:
        yield _plan(instance, options, np.full(instance.n, alone))
    if not options.pipelined:  # which knows no backward pass
        instance = instance.replace(backward=np.zeros(instance.n, dtype=bool))
    problem = contract(instance, contiguous=True)
    hosts = sum(d.is_host for d in instance.devices)
    for sequence in _sequences(instance)[: 1 + bool(hosts)]:
        for need in _needs(problem):
            device = _filled(problem, need, sequence)
            if device is not None:
                yield _plan(instance, options, problem.plan(device).device)


def _alone(instance: Instance) -> int | None:
    """Return the device that runs everything fastest, among those that may and can hold it."""
    total = float(instance.held_bytes.sum())
    time = instance.class_time_ms.sum(axis=0)[instance.device_class]
    room = np.array([np.inf if d.is_host else d.memory_limit_bytes for d in instance.devices])
    time = np.where(instance.allowed.all(axis=0) & (total <= room), time, np.inf)
    fastest = int(np.argmin(time))
    return fastest if np.isfinite(time[fastest]) else None


def _plan(instance: Instance, options: Options, device: IntArray) -> Plan:
    """Make a plan of a device for each node."""
    if not options.pipelined:
        hosts = np.array([d.is_host for d in instance.devices])
        return Plan(device, np.where(hosts[device], -1, 0))
    return with_recompute(instance, Plan(device), options)


def _filled(problem: Problem, need: FloatArray, sequence: list[int]) -> IntArray | None:
    """Fill the devices in turn up to the least load that suffices; None where none does."""
    time = problem.time_ms.sum(axis=0)
    time = np.where(np.isfinite(time), time, 0.0)
    work = np.concatenate([np.zeros((1, time.shape[1])), np.cumsum(time, axis=0)])
    held = np.concatenate([[0.0], np.cumsum(need)])
    closed = [np.append(np.flatnonzero(~problem.allowed[:, d]), problem.size) for d in sequence]
    balance = float(time.min(axis=1).sum()) / len(sequence)
    best: IntArray | None = None
    low, high = 1.0, MOST
    for probe in range(PROBES):
        load = (high if not probe else (low * high) ** 0.5) * balance
        device = _cut(problem, sequence, closed, work, held, load)
        if device is None and not probe:
            return _cut(problem, sequence, closed, work, held, np.inf)
        if device is None:
            low = load / balance if balance else high
        else:
            best, high = device, load / balance if balance else low
    return best


def _cut(
    problem: Problem,
    sequence: list[int],
    closed: list[IntArray],
    work: FloatArray,
    held: FloatArray,
    load: float,
) -> IntArray | None:
    """Cut the items, which are in topological order, into a share for each device; None if some are left."""
    device = np.empty(problem.size, dtype=np.int64)
    at = 0
    for d, barred in zip(sequence, closed, strict=True):
        spec = problem.instance.devices[d]
        room = np.inf if spec.is_host else spec.memory_limit_bytes
        column = work[:, spec.class_index]
        end = min(
            int(np.searchsorted(column, column[at] + load, side="right")) - 1,
            int(np.searchsorted(held, held[at] + room, side="right")) - 1,
            int(barred[np.searchsorted(barred, at)]),
        )
        device[at:end] = d
        at = max(at, end)
        if at == problem.size:
            return device
    return None
