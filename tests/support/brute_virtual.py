"""Shortest steps with virtual stages by trying everything; written from the documentation alone.

Every way to put colocated nodes into virtual stages, every order of the devices, every choice of devices that
recompute.  Shares no code with placer.
"""

import itertools
from collections.abc import Iterator

import numpy as np

from placer.instance.instance import Instance
from tests.support.brute import _forward_edges, _mirrored_edges, costs
from tests.support.brute_memory import KEPT, rooms

Task = tuple[str, int, int]
"""Direction, chunk, microbatch."""


def order_of(rank: int, ranks: int, chunks: int, microbatches: int) -> list[Task]:
    """What a device does, in Megatron's interleaved order."""
    table = [
        (chunk, first + i)
        for first in range(0, microbatches, ranks)
        for chunk in range(chunks)
        for i in range(ranks)
    ]
    forward = [("F", chunk, k) for chunk, k in table]
    backward = [("B", chunks - 1 - chunk, k) for chunk, k in table]
    warm = min(len(table), 2 * (ranks - rank - 1) + (chunks - 1) * ranks)
    out = forward[:warm]
    for k in range(len(table) - warm):
        out += [forward[warm + k], backward[k]]
    return out + backward[len(table) - warm :]


def makespan(forward: np.ndarray, backward: np.ndarray, microbatches: int) -> float:
    """Run the tasks of all devices, from loads ``(V, P)``: when the device is free and data are there."""
    chunks, ranks = forward.shape
    last = chunks * ranks - 1
    todo = [order_of(r, ranks, chunks, microbatches) for r in range(ranks)]
    at, free = [0] * ranks, [0.0] * ranks
    ended: dict[tuple[str, int, int], float] = {}
    moved = True
    while moved:
        moved = False
        for r in range(ranks):
            while at[r] < len(todo[r]):
                way, chunk, k = todo[r][at[r]]
                j = chunk * ranks + r
                if way == "F":
                    needs = ("F", j - 1, k) if j else None
                else:
                    needs = ("B", j + 1, k) if j < last else ("F", j, k)
                if needs is not None and needs not in ended:
                    break
                begin = max(free[r], ended[needs] if needs else 0.0)
                free[r] = ended[way, j, k] = begin + (forward if way == "F" else backward)[chunk, r]
                at[r] += 1
                moved = True
    assert all(at[r] == len(todo[r]) for r in range(ranks)), "devices wait for each other"
    return max(free)


def peak(tasks: list[Task], held: np.ndarray, received: np.ndarray, *, recompute: bool) -> float:
    """Most activations at a time, of sizes by chunk: replay what a device does."""
    kept, most = 0.0, 0.0
    for way, chunk, _ in tasks:
        size = received[chunk] if recompute else held[chunk]
        kept += size if way == "F" else 0.0
        most = max(most, kept + (held[chunk] if recompute else 0.0))
        kept -= size if way == "B" else 0.0
    return most


class Virtual:
    """All plans of one instance on P devices with V virtual stages each."""

    def __init__(self, instance: Instance, chunks: int, microbatches: int, communication: str) -> None:
        self.instance, self.chunks, self.m = instance, chunks, microbatches
        self.communication = communication
        self.costs = costs(instance)
        self.room = rooms(instance)
        shared = [(entry,) if isinstance(entry, str) else entry for entry in instance.order]
        self.place = [
            next((p for p, names in enumerate(shared) if {cls.name, f"{cls.name}{i}"} & set(names)), None)
            for cls in instance.classes
            for i in range(cls.count)
        ]
        self.static = instance.memory_bytes + instance.weight_bytes * KEPT[instance.training.optimizer.value]
        self.order = _forward_edges(instance) + _mirrored_edges(instance)
        groups: dict[object, list[int]] = {}
        for v in range(instance.n):
            groups.setdefault(instance.colocate[v] or v, []).append(v)
        self.units = list(groups.values())
        hosts = [cls.is_host for cls in instance.classes for _ in range(cls.count)]
        runs = np.isfinite(self.costs.time).any(axis=0)
        use, most = instance.constraints.use_devices, instance.constraints.max_devices
        asked = [not use or d.name in use for d in instance.devices]
        self.usable = [d for d in range(len(hosts)) if runs[d] and asked[d] and not hosts[d]]
        self.ranks = len(self.usable) if most is None else min(most, len(self.usable))

    def size(self) -> int:
        """How many plans are tried, at most."""
        rings = len(list(itertools.permutations(self.usable, self.ranks)))
        return rings * (self.chunks * self.ranks) ** len(self.units)

    def plans(self) -> Iterator[tuple[tuple[int, ...], list[int]]]:
        """Yield devices in order, and the virtual stage of each node."""
        names, rules = [d.name for d in self.instance.devices], self.instance.constraints
        for ring in itertools.permutations(self.usable, self.ranks):
            ranked = [p for d in ring if (p := self.place[d]) is not None]
            if ranked != sorted(ranked):
                continue
            for chosen in itertools.product(range(self.chunks * self.ranks), repeat=len(self.units)):
                at = [0] * self.instance.n
                for unit, j in zip(self.units, chosen, strict=True):
                    for v in unit:
                        at[v] = j
                device = [ring[j % self.ranks] for j in at]
                used = {names[d] for d in device}
                if (
                    all(at[u] <= at[w] for u, w in self.order)
                    and all(np.isfinite(self.costs.time[v, d]) for v, d in enumerate(device))
                    and all(len({device[v] for v in group}) == len(group) for group in rules.apart)
                    and (not rules.use_devices or used == set(rules.use_devices))
                ):
                    yield ring, at

    def loads(self, ring: tuple[int, ...], at: list[int]) -> tuple[np.ndarray, np.ndarray]:
        """Computing, and moving data (received, sent), ``(2, V, P)`` and ``(2, 2, V, P)``."""
        instance, ranks = self.instance, self.ranks
        compute, moved = np.zeros((2, self.chunks, ranks)), np.zeros((2, 2, self.chunks, ranks))
        device = [ring[j % ranks] for j in at]
        readers: dict[int, list[int]] = {}
        for u, w in instance.edges.tolist():
            readers.setdefault(u, []).append(w)
        for v in range(instance.n):
            way = int(instance.backward[v])
            compute[way, at[v] // ranks, at[v] % ranks] += self.costs.time[v, device[v]]
            away = [w for w in readers.get(v, []) if device[w] != device[v]]
            if away:
                far = any(self._server(device[w]) != self._server(device[v]) for w in away)
                moved[1, way, at[v] // ranks, at[v] % ranks] += self._transfer(v, device[v], far)
            for d in {device[w] for w in away}:
                same = [at[w] // ranks for w in away if device[w] == d and instance.backward[w] == bool(way)]
                last = 0 if way else self.chunks - 1
                chunk = last if not same else max(same) if way else min(same)
                far = self._server(d) != self._server(device[v])
                moved[0, way, chunk, ring.index(d)] += self._transfer(v, d, far)
        return compute, moved

    def _server(self, d: int) -> object:
        server = self.instance.devices[d].server
        return ("alone", d) if server is None else server

    def _transfer(self, v: int, d: int, far: bool) -> float:
        own = float(self.instance.class_transfer_ms[v, self.instance.device_class[d]])
        return max(own, float(self.instance.across_ms[v, d])) if far else own

    def memory(self, ring: tuple[int, ...], at: list[int], again: tuple[bool, ...]) -> bool:
        """Whether all devices hold what they have to."""
        instance, ranks = self.instance, self.ranks
        for r, d in enumerate(ring):
            held, received = np.zeros(self.chunks), np.zeros(self.chunks)
            static = sum(self.static[v] for v in range(instance.n) if at[v] % ranks == r)
            for v in range(instance.n):
                if at[v] % ranks == r:
                    held[at[v] // ranks] += instance.activation_bytes[v]
            for chunk in range(self.chunks):
                read = {
                    u
                    for u, w in instance.edges.tolist()
                    if not instance.backward[u] and not instance.backward[w]
                    if at[w] == chunk * ranks + r and at[u] != at[w]
                }
                received[chunk] = sum(np.nan_to_num(instance.output_bytes[u]) for u in read)
            tasks = order_of(r, ranks, self.chunks, self.m)
            if static + peak(tasks, held, received, recompute=again[r]) > self.room[d] * (1 + 1e-9):
                return False
        return True

    def shortest(self, recompute: str) -> float:
        """Return the least time of a step, inf where there is no plan."""
        some = {"none": (False,), "auto": (False, True), "all": (True,)}[recompute]
        best = np.inf
        for ring, at in self.plans():
            compute, moved = self.loads(ring, at)
            for again in itertools.product(some, repeat=self.ranks):
                if not self.memory(ring, at, again):
                    continue
                busy = compute.copy()
                busy[1] += busy[0] * np.array(again)
                load = {
                    "sequential": busy + moved.sum(axis=0),
                    "overlap": np.maximum(busy, moved.sum(axis=0)),
                    "duplex": np.maximum(busy, moved.max(axis=0)),
                }[self.communication]
                if self.m * load.sum(axis=(0, 1)).max() < best:
                    best = min(best, makespan(load[0], load[1], self.m))
        return best
