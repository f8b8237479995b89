"""Optima of pipelines with activations, reserves, device orders and recomputation, by trying everything.

Written from the documentation: every assignment, every order of the devices that hold nodes, every choice of
stages that recompute.  Shares no code with placer.
"""

import itertools
from collections.abc import Iterator

import numpy as np

from placer.instance.instance import Instance
from tests.support.brute import _forward_edges, _mirrored_edges, costs

KEPT = {"none": 1, "sgd": 2, "momentum": 3, "adam": 4, "mixed-adam": 8}

Choice = tuple[str, str, str, int]
"""(schedule, communication, recompute, microbatches)."""


def rooms(instance: Instance) -> list[float]:
    """What plans may use on each device."""
    out = []
    for cls in instance.classes:
        for i in range(cls.count):
            reserve = cls.memory_reserve_bytes
            taken = reserve[i] if isinstance(reserve, tuple) else reserve
            if cls.memory_reserve_share:
                taken += cls.memory_reserve_share * cls.memory_limit_bytes
            out.append(cls.memory_limit_bytes - taken)
    return out


def places(instance: Instance) -> list[int | None]:
    """Place of each device in the wanted order."""
    out: list[int | None] = []
    for cls in instance.classes:
        for i in range(cls.count):
            both = [instance.order.index(x) for x in (cls.name, f"{cls.name}{i}") if x in instance.order]
            out.append(both[0] if both else None)
    return out


def assignments(instance: Instance) -> Iterator[tuple[int, ...]]:
    """Assignments with supported devices, colocated groups, and what else the instance asks of a plan."""
    names, rules = [d.name for d in instance.devices], instance.constraints
    time = costs(instance).time
    groups: dict[str, int] = {}
    for plan in itertools.product(*[np.flatnonzero(np.isfinite(row)).tolist() for row in time]):
        groups.clear()
        used = {names[d] for d in plan}
        if (
            all(
                g is None or groups.setdefault(g, d) == d
                for g, d in zip(instance.colocate, plan, strict=True)
            )
            and all(len({plan[v] for v in apart}) == len(apart) for apart in rules.apart)
            and (rules.max_devices is None or len(used) <= rules.max_devices)
            and (not rules.use_devices or set(rules.use_devices) == used)
        ):
            yield plan


class Brute:
    """All contiguous plans of one instance."""

    def __init__(self, instance: Instance) -> None:
        self.instance = instance
        self.costs = costs(instance)
        self.room, self.place = rooms(instance), places(instance)
        self.static = instance.memory_bytes + instance.weight_bytes * KEPT[instance.training.optimizer.value]
        self.precedence = _forward_edges(instance) + _mirrored_edges(instance)

    def orders(self, plan: tuple[int, ...]) -> list[tuple[int, ...]]:
        """Orders of the devices in use that data and the user allow."""
        before = {(plan[u], plan[w]) for u, w in self.precedence if plan[u] != plan[w]}
        used = sorted(set(plan))
        for a, b in itertools.permutations(used, 2):
            if self.place[a] is not None and self.place[b] is not None and self.place[a] < self.place[b]:
                before.add((a, b))
        return [
            order
            for order in itertools.permutations(used)
            if all(order.index(a) < order.index(b) for a, b in before)
        ]

    def in_flight(self, stage_from_end: int, schedule: str, m: int) -> int:
        if not self.instance.backward.any():
            return 1
        return m if schedule == "gpipe" else min(stage_from_end, m)

    def bytes(self, plan: tuple[int, ...], d: int, in_flight: int, again: bool) -> float:
        """Peak memory of a device."""
        nodes = [v for v in range(len(plan)) if plan[v] == d]
        static = sum(self.static[v] for v in nodes)
        activations = sum(self.instance.activation_bytes[v] for v in nodes)
        if not again:
            return float(static + in_flight * activations)
        sources = {u for u, w in _forward_edges(self.instance) if plan[w] == d and plan[u] != d}
        inputs = sum(s for s in self.instance.output_bytes[sorted(sources)] if not np.isnan(s))
        return float(static + activations + in_flight * inputs)

    def loads(self, plan: tuple[int, ...], communication: str) -> np.ndarray:
        """Load by device, without and with recomputation, and direction, (D, 2, 2)."""
        edges, out = self.instance.edges.tolist(), np.zeros((len(self.room), 2, 2))
        for d in set(plan):
            compute, receive, send = np.zeros(2), np.zeros(2), np.zeros(2)
            for v, way in enumerate(self.instance.backward.astype(int).tolist()):
                readers = {plan[w] for u, w in edges if u == v}
                if plan[v] == d:
                    compute[way] += self.costs.time[v, d]
                    send[way] += self.costs.transfer[v, d] * bool(readers - {d})
                elif d in readers:
                    receive[way] += self.costs.transfer[v, d]
            for again in (0, 1):
                busy = compute + np.array([0.0, again * compute[0]])
                if communication == "sequential":
                    out[d, again] = busy + receive + send
                elif communication == "overlap":
                    out[d, again] = np.maximum(busy, receive + send)
                else:
                    out[d, again] = np.maximum(busy, np.maximum(receive, send))
        return out

    def feasible(
        self, plan: tuple[int, ...], schedule: str, recompute: str, m: int
    ) -> set[tuple[tuple[int, bool], ...]]:
        """Choices of what recomputes for which some order keeps all limits, as (device, whether)."""
        found = set()
        for order in self.orders(plan):
            choices = []
            for s, d in enumerate(reversed(order), start=1):
                some = {"none": (False,), "auto": (False, True), "all": (True,)}[recompute]
                some = (False,) if self.costs.host[d] else some
                flights = self.in_flight(s, schedule, m)
                limit = self.room[d] * (1 + 1e-9)
                choices.append([(d, x) for x in some if self.bytes(plan, d, flights, x) <= limit])
            found |= {tuple(sorted(c)) for c in itertools.product(*choices)}
        return found

    def optima(self, choices: list[Choice]) -> dict[Choice, float]:
        """Optimal objective for each choice of options, inf where there is no plan."""
        best = dict.fromkeys(choices, np.inf)
        for plan in assignments(self.instance):
            loads = {c: self.loads(plan, c) for c in {choice[1] for choice in choices}}
            kept = {key: self.feasible(plan, *key) for key in {(c[0], c[2], c[3]) for c in choices}}
            for schedule, communication, recompute, m in choices:
                for again in kept[schedule, recompute, m]:
                    load = np.array([loads[communication][d, int(x)] for d, x in again])
                    value = load.sum(axis=1).max() if schedule == "1f1b" else load.max(axis=0).sum()
                    key = (schedule, communication, recompute, m)
                    best[key] = min(best[key], float(value))
        return best
