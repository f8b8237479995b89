"""The best latency plan, by trying every assignment to pieces."""

import numpy as np
from numba import njit

from tests.fuzz.oracle.model import Model


def latency_optimum(model: Model) -> float:
    """Least time of one sample, inf where there is no plan; hosts run any number of nodes at once."""
    pieces = model.options.get("pieces", 1)
    slots = [(d, q) for d in range(model.D) for q in range(1 if model.host[d] else pieces)]
    device = np.array([d for d, _ in slots])
    edges = np.array(model.edges, dtype=np.int64).reshape(-1, 2)
    best, near_miss = _search(
        device,
        model.host,
        np.array(model.label),
        model.time,
        model.near,
        edges,
        model.static,
        model.room,
        model.max_devices,
    )
    model.near_miss |= bool(near_miss)
    return float(best)


@njit(cache=True)
def _search(device, host, label, time, move, edges, size, room, most):  # type: ignore[no-untyped-def]
    n, devices = time.shape
    slots = len(device)
    at = np.full(n, -1)
    used = np.zeros((n + 1, devices))
    finish = np.zeros(slots + n)
    best, near_miss = np.inf, False
    v = 0
    while v >= 0:
        if v == n:
            count = 0
            for d in range(devices):
                for w in range(n):
                    if device[at[w]] == d:
                        count += 1
                        break
            if count <= most:
                value = _finish(at, device, host, time, move, edges, finish)
                best = min(best, value)
            v -= 1
            continue
        at[v] += 1
        if at[v] == slots:
            at[v] = -1
            v -= 1
            continue
        d = device[at[v]]
        if time[v, d] == np.inf or time[v, d] >= best:
            continue
        ok = True
        for w in range(v):
            if label[w] == label[v] and device[at[w]] != d:
                ok = False
        if not ok:
            continue
        used[v + 1] = used[v]
        used[v + 1, d] += size[v]
        over = used[v + 1, d]
        if over > room[d] * (1 + 1e-12) and over < room[d] * (1 + 5e-9):
            near_miss = True
        if over > room[d] * (1 + 1e-9):
            continue
        v += 1
    return best, near_miss


@njit(cache=True)
def _finish(at, device, host, time, move, edges, finish):  # type: ignore[no-untyped-def]
    """When the last node is available; inf if pieces wait for each other.

    Units are the slots, and each host node by itself behind them.
    """
    n, slots = len(at), len(device)
    unit = np.empty(n, dtype=np.int64)
    there = np.zeros(slots + n, dtype=np.bool_)
    for v in range(n):
        unit[v] = slots + v if host[device[at[v]]] else at[v]
        there[unit[v]] = True
    done = np.zeros(slots + n, dtype=np.bool_)
    left = 0
    for k in range(slots + n):
        left += there[k]
    last = 0.0
    while left:
        moved = False
        for k in range(slots + n):
            if not there[k] or done[k]:
                continue
            ready, start = True, 0.0
            if k < slots:
                for j in range(k):
                    if device[j] == device[k] and there[j]:
                        ready &= done[j]
                        start = max(start, finish[j])
            for e in range(len(edges)):
                a, b = unit[edges[e, 0]], unit[edges[e, 1]]
                if b == k and a != k:
                    ready &= done[a]
                    start = max(start, finish[a])
            if not ready:
                continue
            length = 0.0
            for v in range(n):
                if unit[v] == k:
                    length += time[v, device[at[v]]]
            if k < slots:
                for v in range(n):
                    reads = sends = False
                    for e in range(len(edges)):
                        if edges[e, 0] == v:
                            reads |= unit[v] != k and unit[edges[e, 1]] == k
                            sends |= unit[v] == k and unit[edges[e, 1]] != k
                    if reads or sends:
                        length += move[v, device[k]]
            finish[k] = start + length
            last = max(last, finish[k])
            done[k] = True
            moved = True
            left -= 1
        if not moved:
            return np.inf
    return last
