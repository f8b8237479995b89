"""A latency plan as tasks: pieces one after another on each accelerator, host nodes whenever they can."""

from __future__ import annotations

from collections.abc import Sequence

from placer.errors import InputError
from placer.simulation.plan_costs import Placement
from placer.simulation.service_order import Phase, Program
from placer.simulation.tasks import Lane, Part, Resource, Task

__all__ = ["latency_program"]


def latency_program(placement: Placement, piece: Sequence[int]) -> Program:
    """Make the tasks of a single sample.

    Parameters
    ----------
    placement
        The plan; hosts run any number of nodes at once.
    piece
        Position of each accelerator node's piece in the execution order of its device, length n; pieces
        exchange data through host memory, even on one device.

    Raises
    ------
    InputError
        When an accelerator node belongs to no piece.
    """
    units: dict[tuple[int, int, int], list[int]] = {}
    for v in placement.order:
        d = placement.device[v]
        if not placement.is_host[d] and piece[v] < 0:
            raise InputError(f"{placement.instance.ids[v]!r} belongs to no piece", place="plan")
        units.setdefault((d, -1, v) if placement.is_host[d] else (d, piece[v], -1), []).append(v)
    keys = sorted(units)
    home = {v: k for k, key in enumerate(keys) for v in units[key]}
    tasks = []
    turns: dict[Resource, list[int]] = {}
    for k, (d, _, node) in enumerate(keys):
        nodes = units[keys[k]]
        received = sorted({u for v in nodes for u in placement.producers[v] if home[u] != k})
        sent = [u for u in nodes if any(home[w] != k for w in placement.consumers[u])]
        parts = [Part(Lane.COMPUTE, tuple(nodes), tuple(placement.time_ms[v] for v in nodes))]
        for lane, moved, place in ((Lane.RECEIVE, received, 0), (Lane.SEND, sent, 2)):
            times = [(u, placement.transfer_ms(u, d)) for u in moved]
            paid = [(u, time) for u, time in times if time > 0]
            if paid:
                parts.insert(place, Part(lane, tuple(u for u, _ in paid), tuple(time for _, time in paid)))
        resource = (d, "device" if node < 0 else f"node {node}")
        after = tuple(sorted({home[u] for u in received}))
        backward = bool(placement.instance.backward[nodes].all())
        tasks.append(Task(resource, backward, tuple(parts), after))
        turns.setdefault(resource, []).append(k)
    phase = Phase(dict.fromkeys(range(len(tasks)), 0), {r: tuple(ts) for r, ts in turns.items()})
    return Program(tuple(tasks), (phase,))
