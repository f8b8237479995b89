"""Independent verification of plans: every rule of the instance, checked one by one."""

from __future__ import annotations

from collections.abc import Iterable
from graphlib import CycleError, TopologicalSorter

import numpy as np

from placer.arrays import IntArray
from placer.instance.instance import Instance
from placer.options import Options, Recompute
from placer.plans.evaluate import device_memory, plan_loads, stage_order
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
    found += _recompute(instance, plan, options) + _teams(instance, plan, options)
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
    loads = plan_loads(instance, plan)
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
    return out + _nodes_again(instance, plan, options)


def _nodes_again(instance: Instance, plan: Plan, options: Options) -> list[str]:
    """Nodes choose by themselves only where they may, on accelerators, and as one with those colocated."""
    if options.recompute is not Recompute.LAYERS:
        return ["nodes recompute by themselves though the options do not allow it"] if plan.again else []
    if plan.recompute:
        return ["devices recompute as a whole where nodes choose by themselves"]
    chosen = set(plan.again)
    out = [
        f"node {instance.ids[v]!r} recomputes on host {instance.devices[plan.device[v]].name}"
        for v in plan.again
        if instance.devices[plan.device[v]].is_host
    ]
    for group, nodes in instance.groups.items():
        if 0 < len(chosen.intersection(nodes.tolist())) < len(nodes):
            out.append(f"nodes of colocation group {group!r} recompute, and others of it do not")
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


def _teams(instance: Instance, plan: Plan, options: Options) -> list[str]:
    """Devices that run a stage together are identical, to pins as well, and do nothing else."""
    out, taken = [], set(plan.device.tolist())
    for team in plan.teams:
        names = ", ".join(instance.devices[d].name for d in team.devices)
        first, size = instance.devices[team.devices[0]], len(team.devices)
        nodes = np.flatnonzero(plan.device == first.index)
        alike = all(
            instance.devices[d].likeness == first.likeness
            and (instance.allowed[:, d] == instance.allowed[:, first.index]).all()
            for d in team.devices
        )
        if first.is_host or not alike:
            out.append(f"{names} share a stage and are not identical accelerators")
        if team.shards > 1 and instance.servers and first.server is None:
            out.append(f"{names} split their nodes, and are in no server")
        if size % team.shards or team.zero != options.zero:
            out.append(f"{names} share a stage in another way than the options say")
        if not len(nodes) or taken & set(team.devices[1:]) or len(set(team.devices)) < size:
            out.append(f"{names} share a stage, and some hold none or another one")
        taken |= set(team.devices)
    return out + _modes(instance, plan, options) + _pools(instance, plan)


def _modes(instance: Instance, plan: Plan, options: Options) -> list[str]:
    """No accelerator has more replicas, or others shards, than the options allow."""
    modes = {d: instance.classes[instance.devices[d].class_index].mode for d in set(plan.device.tolist())}
    modes |= {team.devices[0]: team.mode for team in plan.teams}
    modes = {d: mode for d, mode in modes.items() if not instance.devices[d].is_host}
    degrees = options.degrees([some.degree for some in instance.shards])
    out = []
    for d, mode in modes.items():
        if mode.replicas > options.replicas:
            out.append(
                f"{instance.devices[d].name} and others share a stage: {mode.replicas} replicas are more "
                f"than {options.replicas}"
            )
        if mode.shards not in degrees:
            allowed = ", ".join(map(str, degrees))
            out.append(f"{instance.devices[d].name} is one of {mode.shards} shards; allowed are {allowed}")
    if options.uniform and len({(mode.replicas, mode.shards) for mode in modes.values()}) > 1:
        out.append("the stages have different numbers of replicas or shards, and must be uniform")
    return out


def _pools(instance: Instance, plan: Plan) -> list[str]:
    """No more devices of a pool are in use than it has."""
    taken = [0] * len(instance.pools)
    for d in plan.used:
        cls = instance.classes[instance.devices[d].class_index]
        if cls.pool is not None:
            taken[cls.pool] += cls.mode.width
    return [
        f"stages take {n} devices of a pool of {size}"
        for n, size in zip(taken, instance.pools, strict=True)
        if n > size
    ]


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
    used = {instance.devices[d].name for d in plan.used}
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
