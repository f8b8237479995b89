"""Optima by trying every assignment, written from the problem statement and sharing no code with placer."""

import itertools
from collections.abc import Iterator
from dataclasses import dataclass

import numpy as np

from placer.instance.cluster import DeviceClass, Link
from placer.instance.instance import Instance

Kind = tuple[str, str, str]
"""(contiguity "free" | "each" | "ordered", schedule, communication)."""

CONTIGUITIES = ("free", "each", "ordered")
SCHEDULES = ("1f1b", "gpipe")
COMMUNICATIONS = ("sequential", "overlap", "duplex")
KINDS: tuple[Kind, ...] = tuple(itertools.product(CONTIGUITIES, SCHEDULES, COMMUNICATIONS))


@dataclass(frozen=True)
class Costs:
    """The costs of an instance by device, looked up once."""

    time: np.ndarray  # (n, D), inf = may not go there
    transfer: np.ndarray  # (n, D), 0 on hosts
    host: np.ndarray  # (D,)
    limit: np.ndarray  # (D,)


def costs(instance: Instance) -> Costs:
    n, devices = instance.n, [(c, i) for c in instance.classes for i in range(c.count)]
    time = np.full((n, len(devices)), np.inf)
    transfer = np.zeros((n, len(devices)))
    for v in range(n):
        for d, (cls, i) in enumerate(devices):
            names = {cls.name, f"{cls.name}{i}"}
            pinned_elsewhere = bool(instance.pin[v]) and not names & set(instance.pin[v])
            if cls.type in instance.types and not pinned_elsewhere and not names & set(instance.forbid[v]):
                time[v, d] = instance.time_ms[v, instance.types.index(cls.type)]
            if cls.kind != "host":
                transfer[v, d] = _moving(instance, v, cls.link)
    host = np.array([c.kind == "host" for c, _ in devices])
    limit = np.array([c.memory_limit_bytes - _reserve(c, i) for c, i in devices])
    return Costs(time, transfer, host, limit)


def _moving(instance: Instance, v: int, link: Link) -> float:
    size = instance.output_bytes[v]
    if np.isnan(size):
        return float(instance.transfer_ms[v] * link.transfer_scale)
    return float(link.latency_ms + 1000 * size / link.bandwidth_bytes_per_s) if size > 0 else 0.0


def _reserve(cls: DeviceClass, i: int) -> float:
    reserve = cls.memory_reserve_bytes
    share = cls.memory_reserve_share * cls.memory_limit_bytes if cls.memory_reserve_share else 0.0
    return share + (reserve[i] if isinstance(reserve, tuple) else reserve)


def throughput_optima(instance: Instance) -> dict[Kind, float]:
    """Optimal objective of every kind of plan, inf where there is none."""
    keep, parts = _all_plans(instance)
    load = _loads_by_model(*parts)
    out = {}
    for contiguity, schedule, communication in KINDS:
        value = _objectives(load[communication][keep[contiguity]], schedule)
        out[contiguity, schedule, communication] = float(value.min(initial=np.inf))
    return out


def _all_plans(instance: Instance) -> tuple[dict[str, np.ndarray], list[np.ndarray]]:
    """Which valid plans each contiguity keeps ``(P,)``, and their compute, receive, send ``(P, 2, D)``."""
    c = costs(instance)
    n, D = c.time.shape
    plans = np.array(list(itertools.product(range(D), repeat=n)), dtype=np.int64).reshape(-1, n)
    plans = plans[_valid(instance, c, plans)]
    compute, receive, send = (np.zeros((len(plans), 2, D)) for _ in range(3))
    for d in range(D):
        on = plans == d
        for v in range(n):
            way = int(instance.backward[v])
            consumers = instance.edges[instance.edges[:, 0] == v, 1]
            compute[on[:, v], way, d] += c.time[v, d]
            some_in, some_out = on[:, consumers].any(axis=1), (~on[:, consumers]).any(axis=1)
            receive[:, way, d] += c.transfer[v, d] * (~on[:, v] & some_in)
            send[:, way, d] += c.transfer[v, d] * (on[:, v] & some_out)
    keep = {
        "free": np.ones(len(plans), dtype=bool),
        "each": _each_contiguous(instance, plans),
        "ordered": _acyclic(instance, plans, D),
    }
    return keep, [compute, receive, send]


def _loads_by_model(compute: np.ndarray, receive: np.ndarray, send: np.ndarray) -> dict[str, np.ndarray]:
    return {
        "sequential": compute + receive + send,
        "overlap": np.maximum(compute, receive + send),
        "duplex": np.maximum(compute, np.maximum(receive, send)),
    }


def _objectives(load: np.ndarray, schedule: str) -> np.ndarray:
    if schedule == "1f1b":
        return load.sum(axis=1).max(axis=1)
    return load[:, 0].max(axis=1) + load[:, 1].max(axis=1)


def _valid(instance: Instance, c: Costs, plans: np.ndarray) -> np.ndarray:
    n, D = c.time.shape
    ok = np.isfinite(c.time[np.arange(n), plans]).all(axis=1)
    for d in range(D):
        ok &= (plans == d) @ instance.resident_bytes <= c.limit[d] * (1 + 1e-9)
    for v, w in itertools.combinations(range(n), 2):
        if instance.colocate[v] is not None and instance.colocate[v] == instance.colocate[w]:
            ok &= plans[:, v] == plans[:, w]
    rules = instance.constraints
    for group in rules.apart:
        for v, w in itertools.combinations(group, 2):
            ok &= plans[:, v] != plans[:, w]
    used = np.stack([(plans == d).any(axis=1) for d in range(D)], axis=1)
    if rules.max_devices is not None:
        ok &= used.sum(axis=1) <= rules.max_devices
    if rules.use_devices:
        names = [f"{cls.name}{i}" for cls in instance.classes for i in range(cls.count)]
        ok &= (used == np.array([name in rules.use_devices for name in names])).all(axis=1)
    return ok


def _forward_edges(instance: Instance) -> list[tuple[int, int]]:
    return [
        (u, w) for u, w in instance.edges.tolist() if not instance.backward[u] and not instance.backward[w]
    ]


def _mirrored_edges(instance: Instance) -> list[tuple[int, int]]:
    """Turned backward edges of groups without a forward node: the backward part mirrors the forward part."""

    def alone(v: int) -> bool:
        group = instance.colocate[v]
        return all(
            instance.backward[w]
            for w in range(instance.n)
            if w == v or (group is not None and instance.colocate[w] == group)
        )

    return [
        (w, u)
        for u, w in instance.edges.tolist()
        if instance.backward[u] and instance.backward[w] and (alone(u) or alone(w))
    ]


def _acyclic(instance: Instance, plans: np.ndarray, D: int) -> np.ndarray:
    reach = np.zeros((len(plans), D, D), dtype=bool)
    rows = np.arange(len(plans))
    for u, w in _forward_edges(instance) + _mirrored_edges(instance):
        differ = plans[:, u] != plans[:, w]
        reach[rows[differ], plans[differ, u], plans[differ, w]] = True
    for k in range(D):
        reach |= reach[:, :, k, None] & reach[:, None, k, :]
    return ~reach[:, np.arange(D), np.arange(D)].any(axis=1)


def _each_contiguous(instance: Instance, plans: np.ndarray) -> np.ndarray:
    n = instance.n
    reach = np.zeros((n, n), dtype=bool)
    for u, w in _forward_edges(instance):
        reach[u, w] = True
    for k in range(n):
        reach |= reach[:, k, None] & reach[None, k, :]
    ok = np.ones(len(plans), dtype=bool)
    for u, w, v in itertools.permutations(range(n), 3):
        if reach[u, w] and reach[w, v]:
            ok &= ~((plans[:, u] == plans[:, v]) & (plans[:, u] != plans[:, w]))
    return ok


def latency_optimum(instance: Instance, pieces: int) -> float:
    """Optimal latency of one sample with at most ``pieces`` pieces per accelerator; inf if there is none."""
    c = costs(instance)
    D = c.time.shape[1]
    slots = [(d, q) for d in range(D) for q in range(1 if c.host[d] else pieces)]
    best = np.inf
    for plan in _slot_plans(instance, c, slots):
        best = min(best, _simulate(instance, c, plan, best))
    return best


def _slot_plans(
    instance: Instance, c: Costs, slots: list[tuple[int, int]]
) -> Iterator[tuple[tuple[int, int], ...]]:
    groups = [
        (v, w)
        for v, w in itertools.combinations(range(instance.n), 2)
        if instance.colocate[v] is not None and instance.colocate[v] == instance.colocate[w]
    ]
    choices = [[s for s in slots if np.isfinite(c.time[v, s[0]])] for v in range(instance.n)]
    for plan in itertools.product(*choices):
        if any(plan[v][0] != plan[w][0] for v, w in groups):
            continue
        used = np.zeros(len(c.limit))
        for v, (d, _) in enumerate(plan):
            used[d] += instance.resident_bytes[v]
        if (used <= c.limit * (1 + 1e-9)).all():
            yield plan


def _simulate(instance: Instance, c: Costs, plan: tuple[tuple[int, int], ...], cutoff: float) -> float:
    """Finish time of the last node, inf on a deadlock or once it cannot beat ``cutoff``."""
    n, edges = instance.n, instance.edges.tolist()
    units: dict[tuple[int, int, int], list[int]] = {}
    for v, (d, q) in enumerate(plan):
        units.setdefault((d, q, v if c.host[d] else -1), []).append(v)
    available: dict[int, float] = {}
    busy = dict.fromkeys(range(len(c.limit)), 0.0)
    left = dict(units)
    while left:
        progressed = False
        for key in sorted(left):
            d, q, _ = key
            nodes = left[key]
            first = c.host[d] or not any(d2 == d and q2 < q for d2, q2, _ in left)
            sources = {u for u, w in edges if w in nodes and u not in nodes}
            if not first or not sources <= available.keys():
                continue
            sent = {u for u, w in edges if u in nodes and w not in nodes}
            start = max([available[u] for u in sources], default=0.0)
            if not c.host[d]:
                start = max(start, busy[d])
            finish = start + sum(c.time[v, d] for v in nodes)
            finish += sum(c.transfer[u, d] for u in sources | sent)
            if finish >= cutoff:
                return np.inf
            busy[d] = finish
            available.update(dict.fromkeys(nodes, finish))
            del left[key]
            progressed = True
            break
        if not progressed:
            return np.inf
    return max(available[v] for v in range(n))
