"""Independent verification of plans: every rule of the instance, checked one by one."""

from __future__ import annotations

from collections.abc import Iterable
from graphlib import CycleError, TopologicalSorter

import numpy as np

from placer.arrays import IntArray
from placer.instance.instance import Instance
from placer.options import Options, Recompute
from placer.plans.evaluate import device_loads, device_memory, stage_order
from placer.plans.in_flight import in_flight
from placer.plans.interleaved import ranks_of
from placer.plans.latency_schedule import Deadlock, latency_schedule
from placer.plans.plan import Plan
from placer.plans.virtual_stages import broken_rules
from placer.tolerances import EQUAL, MEMORY_TOLERANCE

__all__ = ["violations"]


def violations(instance: Instance, plan: Plan, options: Options) -> list[str]:
    """List the rules that a plan breaks, in words; an empty list means that the plan holds.

    Parameters
    ----------
    instance
        The instance.
    plan
        The plan.
    options
        The objective and kind of plan asked for.

    Returns
    -------
    list of str
    """
    found = _support(instance, plan.device)
    if found:
        return found
    found += _colocation(instance, plan.device) + _constraints(instance, plan)
    found += _recompute(instance, plan, options) + _replicas(instance, plan, options)
    stages = None
    if not options.pipelined:
        found += _pieces(instance, plan, options.pieces)
    elif options.per_device_contiguity:
        found += _each_contiguous(instance, plan.device)
    elif options.virtual_stages > 1:
        stages, broken = plan.stages, broken_rules(instance, plan, options, ranks_of(instance))
        if broken:
            return found + broken
    elif options.contiguous:
        stages = plan.stages or stage_order(instance, plan, in_flight(instance, options))
        found += _device_order(instance, plan.device)
        found += _stages(instance, plan.device, stages) if stages else []
    return found + _memory(instance, plan, options, stages) + _time(instance, plan, options)


def _support(instance: Instance, device: IntArray) -> list[str]:
    if device.shape != (instance.n,) or ((device < 0) | (device >= len(instance.devices))).any():
        return ["not every node is assigned to a device"]
    wrong = np.flatnonzero(~instance.allowed[np.arange(instance.n), device])
    return [
        f"node {instance.ids[v]!r} may not go to {instance.devices[device[v]].name} (type, pin or forbid)"
        for v in wrong
    ]


def _memory(instance: Instance, plan: Plan, options: Options, stages: tuple[int, ...] | None) -> list[str]:
    memory = device_memory(instance, plan, in_flight(instance, options), stages)
    used = memory.total_bytes
    what = "microbatches" if options.virtual_stages == 1 else "virtual stages"
    return [
        f"{d.name} holds {used[d.index]:.0f} bytes, more than its limit of {d.memory_limit_bytes:.0f}"
        + (f" (activations of {memory.in_flight[d.index]} {what})" if memory.in_flight[d.index] > 1 else "")
        for d in instance.devices
        if used[d.index] > d.memory_limit_bytes * (1 + MEMORY_TOLERANCE)
    ]


def _time(instance: Instance, plan: Plan, options: Options) -> list[str]:
    if options.max_ms is None:
        return []
    loads = device_loads(instance, plan.device, plan.recompute, plan.replicas)
    takes = loads.objective_ms(options.communication, options.schedule)
    if takes <= options.max_ms * (1 + EQUAL):
        return []
    return [f"a sample takes {takes:.10g} ms, more than the limit of {options.max_ms:.10g} ms"]


def _recompute(instance: Instance, plan: Plan, options: Options) -> list[str]:
    """Only accelerators with nodes recompute, and as the option says."""
    used = {d for d in set(plan.device.tolist()) if not instance.devices[d].is_host}
    out = [f"device {d} recomputes without holding activations" for d in plan.recompute if d not in used]
    if options.recompute is Recompute.NONE and plan.recompute:
        out.append("devices recompute though the options do not allow it")
    if options.recompute is Recompute.ALL and set(plan.recompute) != used:
        out.append("not all accelerators recompute")
    return out


def _stages(instance: Instance, device: IntArray, stages: tuple[int, ...]) -> list[str]:
    """Stages are the devices with nodes, once each, in an order that data and the user allow."""
    if sorted(stages) != sorted(set(device.tolist())):
        return ["the stages are not the devices that hold nodes"]
    place = {d: s for s, d in enumerate(stages)}
    out = []
    for what, edges in (("data go", device[instance.order_edges]), ("order has", instance.rank_edges)):
        for a, b in edges.tolist():
            if a in place and b in place and place[a] > place[b]:
                names = instance.devices[a].name, instance.devices[b].name
                out.append(f"{what} {names[0]} before {names[1]}, and the stages are the other way round")
                break
    return out


def _colocation(instance: Instance, device: IntArray) -> list[str]:
    out = []
    for group, nodes in instance.groups.items():
        places = sorted({instance.devices[d].name for d in device[nodes]})
        if len(places) > 1:
            out.append(f"colocation group {group!r} is spread over {', '.join(places)}")
    return out


def _replicas(instance: Instance, plan: Plan, options: Options) -> list[str]:
    """Replicas of a stage are identical devices, to pins as well, that do nothing else."""
    out, taken = [], set(plan.device.tolist())
    for group in plan.replicas:
        names = ", ".join(instance.devices[d].name for d in group)
        first = instance.devices[group[0]]
        nodes = np.flatnonzero(plan.device == first.index)
        if len(group) > options.replicas:
            out.append(f"{names} share a stage: {len(group)} replicas are more than {options.replicas}")
        alike = all(
            instance.devices[d].likeness == first.likeness
            and (instance.allowed[:, d] == instance.allowed[:, first.index]).all()
            for d in group
        )
        if first.is_host or not alike:
            out.append(f"{names} share a stage and are not identical accelerators")
        if not len(nodes) or taken & set(group[1:]) or len(set(group)) < len(group):
            out.append(f"{names} share a stage, and some hold none or another one")
        taken |= set(group)
    return out


def _constraints(instance: Instance, plan: Plan) -> list[str]:
    """Nodes apart, how many devices, which devices."""
    rules, device = instance.constraints, plan.device
    out = []
    for group in rules.apart:
        places = device[list(group)]
        for k, v in enumerate(group):
            if (same := np.flatnonzero(places[:k] == places[k])).size:
                out.append(
                    f"nodes {instance.ids[group[same[0]]]!r} and {instance.ids[v]!r} must be apart, "
                    f"and both are on {instance.devices[places[k]].name}"
                )
    used = {instance.devices[d].name for d in {*device.tolist(), *(d for g in plan.replicas for d in g)}}
    if rules.max_devices is not None and len(used) > rules.max_devices:
        out.append(f"{len(used)} devices hold nodes, more than {rules.max_devices}")
    if rules.use_devices:
        out += [f"{name} holds no node, and must" for name in rules.use_devices if name not in used]
        out += [f"{name} holds nodes, and must stay empty" for name in sorted(used - set(rules.use_devices))]
    return out


def _device_order(instance: Instance, device: IntArray) -> list[str]:
    """Forward edges, what mirrors them and the user's order must not form a cycle between devices."""
    edges = device[instance.order_edges]
    data = sorted({(a, b) for a, b in edges.tolist() if a != b})
    used = set(device.tolist())
    ranks = [(a, b) for a, b in instance.rank_edges.tolist() if a in used and b in used]
    for pairs, wrong in (
        (data, "not contiguous: forward data goes around"),
        (data + ranks, "the order of the devices does not hold: data and the order go around"),
    ):
        cycle = _cycle(pairs)
        if cycle:
            return [f"{wrong} {' -> '.join(instance.devices[d].name for d in cycle)}"]
    return []


def _cycle(pairs: Iterable[tuple[int, int]]) -> list[int]:
    """Return the nodes of a cycle, the first one again at its end; none if there is no cycle."""
    graph: TopologicalSorter[int] = TopologicalSorter()
    for a, b in pairs:
        graph.add(b, a)
    try:
        graph.prepare()
    except CycleError as error:
        return list(error.args[1])
    return []


def _each_contiguous(instance: Instance, device: IntArray) -> list[str]:
    """No forward path leaves a device and comes back (the paper's contiguity, each set by itself)."""
    before: dict[int, list[int]] = {v: [] for v in np.flatnonzero(~instance.backward).tolist()}
    for u, w in instance.forward_edges.tolist():
        before[w].append(u)
    order = list(TopologicalSorter(before).static_order())
    out = []
    for d in sorted(set(device.tolist())):
        left: set[int] = set()  # nodes outside the device with an ancestor on it
        for v in order:
            has_left = any(u in left for u in before[v])
            if device[v] == d and has_left:
                out.append(
                    f"not contiguous: a forward path leaves {instance.devices[d].name} "
                    f"and comes back at node {instance.ids[v]!r}"
                )
                break
            if device[v] != d and (has_left or any(device[u] == d for u in before[v])):
                left.add(v)
    return out


def _pieces(instance: Instance, plan: Plan, limit: int) -> list[str]:
    if plan.piece is None or plan.piece.shape != (instance.n,):
        return ["a latency plan needs pieces"]
    is_host = np.array([d.is_host for d in instance.devices])[plan.device]
    if (plan.piece[is_host] != -1).any() or (plan.piece[~is_host] < 0).any():
        return ["accelerator nodes belong to pieces, host nodes to none"]
    out = []
    for d in sorted(set(plan.device[~is_host].tolist())):
        count = len(set(plan.piece[plan.device == d].tolist()))
        if count > limit:
            out.append(f"{instance.devices[d].name} holds {count} pieces, more than {limit}")
    try:
        latency_schedule(instance, plan)
    except Deadlock as stuck:
        shown = ", ".join(repr(v) for v in stuck.nodes[:6]) + (", ..." if len(stuck.nodes) > 6 else "")
        out.append(f"pieces wait for each other and never start: {shown}")
    return out
