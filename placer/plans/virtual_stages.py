"""What each virtual stage of a plan does; the order in which devices serve them is in `interleaved`.

A device receives an output once, in the direction of its producer, with the first of its virtual stages that
reads it in that direction; what only the other direction reads, with the last one.
"""

from __future__ import annotations

import numpy as np

from placer.arrays import FloatArray, IntArray, distinct
from placer.instance.instance import Instance
from placer.options import Options
from placer.plans.evaluate import DeviceLoads, sending_ms
from placer.plans.interleaved import interleaved_ms
from placer.plans.plan import Plan

__all__ = ["broken_rules", "stage_of_nodes", "step_ms", "virtual_loads", "virtual_stages_ms"]


def stage_of_nodes(plan: Plan) -> IntArray:
    """Return the virtual stage of each node in pipeline order, ``(n,)``; all devices are in ``stages``."""
    assert plan.chunk is not None
    stages = list(plan.stages or ())
    rank = np.full(max([*stages, *plan.device.tolist()]) + 1, -1, dtype=np.int64)
    rank[stages] = np.arange(len(stages))
    return np.asarray(plan.chunk * len(stages) + rank[plan.device])


def virtual_loads(instance: Instance, plan: Plan, chunks: int) -> DeviceLoads:
    """Compute what all virtual stages do per microbatch, in pipeline order: ``(2, V P)`` for each figure.

    Parameters
    ----------
    instance, plan
        The instance, and a plan with virtual stages.
    chunks
        V, virtual stages of each device.
    """
    stages = plan.stages or ()
    assert plan.chunk is not None
    at, device = stage_of_nodes(plan), plan.device
    direction = instance.backward.astype(np.int64)
    size = chunks * len(stages)
    compute, receive, send = (np.zeros((2, size)) for _ in range(3))
    times = instance.class_time_ms[np.arange(instance.n), instance.device_class[device]]
    np.add.at(compute, (direction, at), times)
    again = np.isin(np.array(stages)[np.arange(size) % len(stages)], plan.recompute)
    compute[1, again] += compute[0, again]

    u, w = instance.edges[device[instance.edges[:, 0]] != device[instance.edges[:, 1]]].T
    turn = np.where(direction[w] == 0, plan.chunk[w], chunks - 1 - plan.chunk[w])
    turn = np.where(direction[w] == direction[u], turn, chunks - 1)
    first: dict[tuple[int, int], int] = {}
    for producer, d, when in zip(u.tolist(), device[w].tolist(), turn.tolist(), strict=True):
        first[producer, d] = min(when, first.get((producer, d), when))
    rank = {d: r for r, d in enumerate(stages)}
    for (producer, d), when in first.items():
        way = direction[producer]
        away = instance.server_of[device[producer]] != instance.server_of[d]
        cost = instance.across_ms if away else instance.class_transfer_ms
        column = d if away else instance.device_class[d]
        receive[way, (chunks - 1 - when if way else when) * len(stages) + rank[d]] += cost[producer, column]
    senders = distinct(u)
    np.add.at(send, (direction[senders], at[senders]), sending_ms(instance, device)[senders])
    return DeviceLoads(compute, receive, send, np.zeros(size))


def virtual_stages_ms(instance: Instance, plan: Plan, options: Options) -> FloatArray:
    """Return forward and backward load of each virtual stage, ``(2, V P)`` in ms."""
    return virtual_loads(instance, plan, options.virtual_stages).by_direction(options.communication)


def step_ms(instance: Instance, plan: Plan, options: Options) -> float:
    """Return the time of a step of a plan with virtual stages."""
    loads = virtual_stages_ms(instance, plan, options).reshape(2, options.virtual_stages, -1, 1)
    return float(interleaved_ms(loads, options.microbatches or instance.training.microbatches)[0])


def broken_rules(instance: Instance, plan: Plan, options: Options, ranks: int) -> list[str]:
    """List what of virtual stages a plan breaks: where they are, and that data go from each to later ones."""
    chunks, stages = options.virtual_stages, plan.stages or ()
    if plan.chunk is None or plan.chunk.shape != plan.device.shape:
        return ["a plan with virtual stages says in which of its device's each node is"]
    used = set(plan.device.tolist())
    if not len(set(stages)) == len(stages) == ranks or not used <= set(stages):
        return [f"the stages are not {ranks} devices, and those that hold nodes among them"]
    if ((plan.chunk < 0) | (plan.chunk >= chunks)).any():
        return [f"not every node is in one of the {chunks} virtual stages of its device"]
    out = []
    count = options.microbatches or instance.training.microbatches
    if count % ranks:
        out.append(f"{count} microbatches are no multiple of {ranks} devices")
    out += [f"{instance.devices[d].name} is no accelerator" for d in stages if instance.devices[d].is_host]
    at = stage_of_nodes(plan)
    for a, b in instance.order_edges[at[instance.order_edges[:, 0]] > at[instance.order_edges[:, 1]]][:1]:
        first, second = (f"virtual stage {at[v] + 1}" for v in (a, b))
        out.append(
            f"not contiguous: data go from {instance.ids[a]!r} in {first} to {instance.ids[b]!r} in {second}"
        )
    for group, nodes in instance.groups.items():
        if len(set(at[nodes].tolist())) > 1:
            out.append(f"colocation group {group!r} is spread over virtual stages")
    place = {d: r for r, d in enumerate(stages)}
    for a, b in instance.rank_edges.tolist():
        if a in place and b in place and place[a] > place[b]:
            names = instance.devices[a].name, instance.devices[b].name
            out.append(f"order has {names[0]} before {names[1]}, and the stages are the other way round")
            break
    return out
