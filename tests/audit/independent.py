"""What is right, by trying everything; shares no code with evaluation, verification or programs."""

from __future__ import annotations

import itertools
from dataclasses import dataclass

import numpy as np

from placer.instance.instance import Instance
from tests.support.brute_features import Candidates, candidates
from tests.support.machines import Machine, machines


@dataclass(frozen=True)
class Truth:
    """All plans that hold, by the device of each node, with the objectives that the assignment can have."""

    values: dict[tuple[str, ...], list[float]]
    plans: Candidates | None = None

    @property
    def optimum(self) -> float:
        """The best objective, inf without a plan."""
        return min((min(found) for found in self.values.values()), default=np.inf)

    @property
    def best(self) -> tuple[str, ...]:
        """An assignment that reaches the optimum."""
        return min(self.values, key=lambda plan: min(self.values[plan]))

    def allows(self, assignment: tuple[str, ...], objective: float) -> bool:
        """Whether a plan with this assignment has this objective."""
        found = self.values.get(assignment, [])
        return any(abs(x - objective) <= 1e-6 * max(x, 1e-9) for x in found)


def throughput(instance: Instance, kind: tuple[str, str, str], replicas: int, recompute: str) -> Truth:
    """Try every assignment, grouping, order and choice of what recomputes."""
    plans = candidates(instance, kind, replicas=replicas, recompute=recompute)
    values: dict[tuple[str, ...], list[float]] = {}
    for row, objective in zip(plans.plans.tolist(), plans.objectives().tolist(), strict=True):
        values.setdefault(tuple(plans.names[d] for d in row), []).append(objective)
    return Truth(values, plans)


def latency(instance: Instance, pieces: int) -> Truth:
    """Try every device and piece of each node; hosts run any number of nodes at once."""
    devices = machines(instance)
    slots = [(d, q) for d, m in enumerate(devices) for q in range(1 if m.is_host else pieces)]
    choices = [[s for s in slots if np.isfinite(devices[s[0]].time[v])] for v in range(instance.n)]
    values: dict[tuple[str, ...], list[float]] = {}
    for plan in itertools.product(*choices):
        place = [d for d, _ in plan]
        if _holds(instance, devices, place):
            finish = _finish(instance, devices, plan)
            if np.isfinite(finish):
                values.setdefault(tuple(devices[d].name for d in place), []).append(finish)
    return Truth(values)


def _holds(instance: Instance, devices: list[Machine], place: list[int]) -> bool:
    keep = {"none": 1, "sgd": 2, "momentum": 3, "adam": 4, "mixed-adam": 8}[instance.training.optimizer.value]
    used = dict.fromkeys(place, 0.0)
    for v, d in enumerate(place):
        used[d] += instance.memory_bytes[v] + keep * instance.weight_bytes[v]
    groups: dict[str, set[int]] = {}
    for v, group in enumerate(instance.colocate):
        if group is not None:
            groups.setdefault(group, set()).add(place[v])
    most = instance.constraints.max_devices
    return (
        all(used[d] <= devices[d].room for d in used)
        and all(len(at) == 1 for at in groups.values())
        and (most is None or len(used) <= most)
    )


def _finish(instance: Instance, devices: list[Machine], plan: tuple[tuple[int, int], ...]) -> float:
    """When the last node is available; inf where pieces wait for each other."""
    edges = instance.edges.tolist()
    units: dict[tuple[int, int, int], list[int]] = {}
    for v, (d, q) in enumerate(plan):
        units.setdefault((d, q, v if devices[d].is_host else -1), []).append(v)
    available: dict[int, float] = {}
    free = dict.fromkeys(range(len(devices)), 0.0)
    while units:
        for d, q, v in sorted(units):
            nodes = units[d, q, v]
            sources = {u for u, w in edges if w in nodes and u not in nodes}
            earlier = not devices[d].is_host and any(e == d and p < q for e, p, _ in units)
            if earlier or not sources <= available.keys():
                continue
            sent = {u for u, w in edges if u in nodes and w not in nodes}
            start = max((available[u] for u in sources), default=0.0)
            moving = 0.0
            if not devices[d].is_host:
                start = max(start, free[d])
                moving = sum(_moving(instance, u, devices[d]) for u in (*sources, *sent))
            finish = start + sum(devices[d].time[w] for w in nodes) + moving
            free[d] = finish
            available |= dict.fromkeys(nodes, finish)
            del units[d, q, v]
            break
        else:
            return np.inf
    return max(available.values())


def _moving(instance: Instance, u: int, device: Machine) -> float:
    link, size = device.cls.link, instance.output_bytes[u]
    if np.isnan(size):
        return float(instance.transfer_ms[u] * link.transfer_scale)
    return float(link.latency_ms + 1e3 * size / link.bandwidth_bytes_per_s) if size > 0 else 0.0
