"""Plans that cost next to nothing, should a limit strike before a method has any.

They need no solver: everything on one device, or the devices filled one after another
along a topological order.
"""

from __future__ import annotations

from collections.abc import Iterator

import numpy as np

from placer.arrays import FloatArray, IntArray
from placer.instance.instance import Instance
from placer.options import Options
from placer.plans.plan import Plan
from placer.plans.recompute import with_recompute
from placer.reductions.problem import Problem, contract

__all__ = ["drafts"]

PROBES = 20
"""Steps of the bisection for the least load to which devices have to be filled."""
MOST = 64.0
"""Largest load tried, in shares of a perfect balance."""


def drafts(instance: Instance, options: Options) -> Iterator[Plan]:
    """Yield plans, the cheapest ones to make first; each may break a rule.

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
    accelerators = [d.index for d in instance.devices if not d.is_host]
    hosts = [d.index for d in instance.devices if d.is_host]
    needs = [problem.memory_bytes, problem.worst_bytes][: 1 + bool(problem.activation_bytes.any())]
    for sequence in ([*accelerators, *hosts], [*hosts, *accelerators])[: 1 + bool(hosts)]:
        for need in needs:
            device = _filled(problem, need, _ranked(instance, sequence))
            if device is not None:
                yield _plan(instance, options, problem.lift(device))


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


def _ranked(instance: Instance, sequence: list[int]) -> list[int]:
    """Return the devices so that their ranks rise."""
    return sorted(sequence, key=lambda d: -1 if (rank := instance.devices[d].rank) is None else rank)


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
