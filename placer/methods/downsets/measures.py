"""Additive measures of the work that is left: valid tests whether devices can still hold it.

With prices μ_t ≥ 0 per unit of time on type t, an item costs at least q_v = min_t μ_t·p_{v,t} wherever it
goes, so items R fit on r_t devices of type t within load T only if Σ_{v∈R} q_v ≤ Σ_t r_t·μ_t·T. This is
the dual of the fractional assignment: for one accelerator type and hosts its best prices give the
fractional knapsack, and it holds for any number of types. Under the sequential model every net that the
downset cuts costs at least b_e more: some item of the net is left; either its device pays for the net,
μ_t·c_{e,t}, or it is on a host, which costs (μ_t·p_{v,t} - q_v) more than was counted. That surplus of an
item is shared out over its nets, so that nothing is counted twice.

Where transfers add nothing and all times on a type are multiples of a unit, as rounded times are, a device
holds no more at T than at the largest multiple within T.
"""

from __future__ import annotations

from itertools import combinations

import numpy as np

from placer.arrays import BoolArray, FloatArray
from placer.methods.downsets.kernels.arrays import Graph, Measures
from placer.methods.downsets.kernels.pieces import whole

__all__ = ["KnownPrices", "join", "measures", "prices", "root_bound"]

KnownPrices = dict[tuple[object, ...], FloatArray]
"""Prices found before, by what tells items and devices apart up to their order.  Any prices are valid."""

ROUNDING = 1e-11
"""Relative allowance for the rounding of sums of work."""
MAX_SUBSETS = 8
"""Sets of types that have prices of their own: each is one more sum kept up in every step of the search."""
MAX_UNITS = 1000
"""Units in the longest time, beyond which they are looked at as any times."""
SAME = 1e-12
"""Relative distance of a time from a multiple of its unit: rounding."""
TINY_MS = 1e-300
"""Keeps a quotient finite."""


def prices(time: FloatArray, count: FloatArray, rounds: int = 60) -> FloatArray:
    """Maximise Σ_v min_t μ_t·p_{v,t} over μ ≥ 0 with Σ_t count_t·μ_t = 1, by coordinates; any μ is valid.

    Parameters
    ----------
    time
        ``(T, N)`` in ms, inf where a type cannot run an item.
    count
        Devices of each type, ``(T,)``, all positive.
    rounds
        Sweeps over the types at most.

    Returns
    -------
    np.ndarray
        ``(T,)``.
    """
    types = len(count)
    even = np.ones(types)
    if types == 1:
        return np.asarray(even / count.sum())
    runs = np.isfinite(time)
    total = np.where(runs, time, 0.0).sum(axis=1)
    by_speed = np.where(total > 0, runs.sum(axis=1) / np.maximum(total, TINY_MS), 0.0)
    starts = [even, by_speed] if by_speed.any() else [even]
    climbed = [_climbed(start / (start @ count), time, count, rounds) for start in starts]
    return max(climbed, key=lambda pair: pair[1])[0]


def _climbed(mu: FloatArray, time: FloatArray, count: FloatArray, rounds: int) -> tuple[FloatArray, float]:
    """Improve prices one type after the other; return them and their value."""
    best = float(_times_price(mu, time).min(axis=0).sum())
    for _ in range(rounds):
        before = best
        for t in range(len(count)):
            step, found = _best_step(mu, time, count, t)
            if found > best * (1 + 1e-12):
                mu[t], best = step, found
                mu /= mu @ count
        if best <= before * (1 + 1e-9):
            break
    return mu, best


def _best_step(mu: FloatArray, time: FloatArray, count: FloatArray, t: int) -> tuple[float, float]:
    """Return the best price of type t beside the other prices, and the value it gives.

    Σ_v min(rest_v, μ_t·p_v) is concave and piecewise linear in μ_t, and the value is its quotient with a
    linear function: the largest one lies where an item changes sides, all of which are looked at.
    """
    others = np.arange(len(count)) != t
    rest = _times_price(mu[others], time[others]).min(axis=0)
    runs = np.isfinite(time[t])
    elsewhere = float(rest[~runs].sum())  # whatever the price of t
    rest, own = rest[runs], time[t][runs]
    only = np.isinf(rest)
    alone = float(own[only].sum())
    rest, own = rest[~only], own[~only]
    with np.errstate(divide="ignore", invalid="ignore"):
        turn = np.where(own > 0, rest / own, np.inf)
    order = np.argsort(turn, kind="stable")
    order = order[: np.searchsorted(turn[order], np.inf)]
    if not len(order):
        return float(mu[t]), 0.0
    steps = turn[order]
    below = np.cumsum(rest[order])  # these pay for another type
    above = float(own[order].sum()) - np.cumsum(own[order])  # these pay for t
    room = float(mu[others] @ count[others]) + steps * count[t]
    with np.errstate(divide="ignore", invalid="ignore"):
        value = np.where(room > 0, (elsewhere + below + steps * (above + alone)) / room, 0.0)
    k = int(np.argmax(value))
    return float(steps[k]), float(value[k])


def measures(g: Graph, known: KnownPrices | None = None) -> Measures:
    """Build the measures of a lattice: for the sets of types that may be left, and each direction.

    Devices count once, as those that do not recompute where there is a choice: less work, so valid for both.
    With ``known`` a lattice and its reverse, and tests of several targets, share their prices.
    """
    plain = _plain(g)
    if plain is not g:
        m = measures(plain, known)
        column = np.searchsorted(np.flatnonzero(g.pool == np.arange(len(g.pool))), g.pool)
        scale = np.ascontiguousarray(m.scale[:, column])
        return m._replace(scale=scale, unit=np.zeros_like(scale))
    rows: list[tuple[FloatArray, FloatArray, FloatArray, int, float]] = []
    kinds = (2, 0, 1) if g.gpipe else (2,)
    for subset in _subsets(len(g.devices)):
        inside = np.zeros(len(g.devices), dtype=bool)
        inside[list(subset)] = True
        rows += [_priced(g, inside, kind, known) for kind in kinds]
    # A set of items that only some types may run needs one of them to be left.
    _, first = np.unique(g.ok, axis=1, return_index=True)
    for column in g.ok[:, first].T:
        if not column.all():
            closed = (~column[:, None] | g.ok).all(axis=0) & (column[:, None] | ~g.ok).all(axis=0)
            rows.append(
                (
                    (closed & ~g.optional).astype(float),
                    np.zeros(len(g.net_size)),
                    np.where(column, np.inf, 0.0),
                    2,
                    0.5,
                )
            )
    return Measures(
        weight=np.array([r[0] for r in rows]),
        boundary=np.array([r[1] for r in rows]).reshape(len(rows), -1),
        scale=np.array([r[2] for r in rows]),
        unit=np.array([_units(g, r[3], r[1], r[2]) for r in rows]),
        kind=np.array([r[3] for r in rows], dtype=np.int64),
        slack=np.array([r[4] for r in rows]),
    )


def join(a: Measures, b: Measures) -> Measures:
    """Put the measures of both together."""
    return Measures(*(np.concatenate([x, y]) for x, y in zip(a, b, strict=True)))


def root_bound(m: Measures, g: Graph) -> float:
    """Return the load in ms that every plan has at least by the measures (inf: no plan at all).

    Nor is any less than the time of one item where it is fastest. For gpipe both directions have their own
    bound, and their sum is one for the objective.
    """
    some = _some(g)
    if any(m.weight[k].any() and not (m.scale[k][some] * g.devices[some]).any() for k in range(len(m.kind))):
        return np.inf
    forward, backward, both = _needs(m, g)
    return max(both, forward + backward)


def direction_bounds(m: Measures, g: Graph) -> tuple[float, float]:
    """Return the largest forward and backward load in ms that every plan reaches (gpipe)."""
    forward, backward, _ = _needs(m, g)
    return forward, backward


def _needs(m: Measures, g: Graph) -> list[float]:
    """Forward load, backward load and both together in ms that every plan reaches by items and measures."""
    need, some = _heaviest(g), _some(g)
    for k in range(len(m.kind)):
        if m.kind[k] < 3:
            room = m.scale[k][some] * g.devices[some]
            need[m.kind[k]] = max(need[m.kind[k]], _least(m, k, room, m.unit[k][some]))
    return need


def _some(g: Graph) -> BoolArray:
    """Types that have devices, each pool of them once, ``(T,)``."""
    return np.asarray((g.devices > 0) & (g.pool == np.arange(len(g.pool))))


def _least(m: Measures, k: int, room: FloatArray, unit: FloatArray) -> float:
    """Return the load in ms from which on devices hold the work of measure k, 0 where they hold any.

    Parameters
    ----------
    room
        What those of a type hold for each ms of load, ``(T,)``.
    unit
        Of their loads in ms, ``(T,)``, 0 for none.
    """
    total = float(m.weight[k].sum()) - float(m.slack[k])
    if not 0 < room.sum() < np.inf:
        return 0.0
    load: float = total / float(room.sum())
    steady = float(room[unit == 0].sum())
    for _ in range(MAX_UNITS if (unit > 0).any() else 0):
        held = [r * float(whole(load, u)) for r, u in zip(room.tolist(), unit.tolist(), strict=True)]
        short: float = total - sum(held)
        if short <= 0.0:
            break
        following = min(float(whole(load, u)) + u for u in unit[unit > 0].tolist())
        if steady * (following - load) >= short:
            return load + short / steady
        load = following
    return load


def _units(g: Graph, kind: int, boundary: FloatArray, scale: FloatArray) -> FloatArray:
    """Return the unit in ms of what items take on each type, ``(T,)``, where a measure has work alone."""
    out = np.zeros(len(scale))
    if boundary.any():
        return out
    for t in np.flatnonzero(np.isfinite(scale) & (scale > 0)).tolist():
        time = g.time[t].sum(axis=0) if kind == 2 else g.time[t, kind]
        out[t] = _unit(time[g.ok[t]])
    return out


def _unit(time: FloatArray) -> float:
    """Return what all times are multiples of, up to rounding; 0 if that is too small to matter."""
    time = np.sort(time[time > 0])
    if not len(time):
        return 0.0
    unit, longest = float(time[0]), float(time[-1])
    for x in time.tolist():
        rest = x
        while rest > ROUNDING * longest:
            if unit < longest / MAX_UNITS:
                return 0.0
            unit, rest = rest, unit % rest
            rest = 0.0 if unit - rest <= ROUNDING * longest else rest
    if unit < longest / MAX_UNITS:
        return 0.0
    times = np.round(time / unit)
    return unit if (abs(time - times * unit) <= SAME * time).all() else 0.0


def _heaviest(g: Graph) -> list[float]:
    """Least time of the heaviest item: forward and backward for gpipe (else 0), and both together."""
    time = np.where(g.ok[:, None], g.time, np.inf)
    least = np.stack([*np.moveaxis(time, 1, 0), time.sum(axis=1)]).min(axis=1)[:, ~g.optional]
    forward, backward, both = np.where(np.isfinite(least), least, 0.0).max(axis=1, initial=0.0).tolist()
    return [forward, backward, both] if g.gpipe else [0.0, 0.0, both]


def _plain(g: Graph) -> Graph:
    """Return one type for each pool, whose devices are as good as any that draws on it, each by itself.

    A piece that takes w devices for its load costs the pool w times that: its items, w times their time.
    """
    own = np.flatnonzero(g.pool == np.arange(len(g.pool)))
    if len(own) == len(g.pool) and (g.width == 1).all():
        return g
    of = [np.flatnonzero(g.pool == pool) for pool in own]
    whole = np.where(g.ok[:, None], g.time * g.width[:, None, None], np.inf)
    time = np.array([whole[some].min(axis=0) for some in of])
    cost = g.net_cost * g.width[:, None]
    return g._replace(
        ok=np.array([g.ok[some].any(axis=0) for some in of]),
        time=np.where(np.isfinite(time), time, 0.0),
        limit=np.array([g.limit[some].max() for some in of]),
        devices=g.devices[own],
        paying=np.array([g.paying[some].all() for some in of]),
        net_cost=np.array([cost[some].min(axis=0) for some in of]).reshape(len(own), -1),
        rank=g.rank[own],
        again=g.again[own],
        pool=np.arange(len(own)),
        width=np.ones(len(own), dtype=np.int64),
    )


def _times_price(mu: FloatArray, time: FloatArray) -> FloatArray:
    """Return μ_t·p_{v,t}, ``(T, N)``; inf where a type cannot run an item, even at price 0."""
    closed = np.isinf(time)
    return np.where(closed, np.inf, mu[:, None] * np.where(closed, 0.0, time))


def _size(time: FloatArray) -> str:
    """Return the sum of the times that there are, to as many digits as do not depend on their order."""
    return f"{time[np.isfinite(time)].sum():.9g}"


def _subsets(types: int) -> list[tuple[int, ...]]:
    """All types, and the smaller sets that remain once some are used up: all of them if they are few."""
    everything = tuple(range(types))
    smaller = [s for size in range(types - 1, 0, -1) for s in combinations(everything, size)]
    return [everything, *smaller[: MAX_SUBSETS - 1]]


def _priced(
    g: Graph, inside: np.ndarray, kind: int, known: KnownPrices | None
) -> tuple[FloatArray, FloatArray, FloatArray, int, float]:
    """One measure for the case that only the types ``inside`` are left (others: capacity without end)."""
    time = g.time.sum(axis=1) if kind == 2 else g.time[:, kind]
    time = np.where(g.ok, time, np.inf)[inside]
    runs = np.isfinite(time).any(axis=0)
    time = np.where(runs, time, 0.0)
    count = g.devices[inside].astype(float)
    key = (
        kind,
        count.tobytes(),
        time.shape,
        int(runs.sum()),
        np.isinf(time).sum(axis=1).tobytes(),
        _size(time),
    )
    mu = None if known is None else known.get(key)
    if mu is None:
        mu = prices(time, count)
        if known is not None:
            known[key] = mu
    cost = _times_price(mu, time)
    weight = cost.min(axis=0)
    weight = np.where(g.optional, 0.0, weight)
    scale = np.full(len(inside), np.inf)
    scale[inside] = mu
    boundary = np.zeros(len(g.net_size))
    if g.mode == 0:
        boundary = _charges(g, inside, mu, cost - weight)
        if kind < 2:
            boundary = np.where(g.net_direction == kind, boundary, 0.0)
        boundary = np.where(g.net_optional >= 0, 0.0, boundary)
    return weight, boundary, scale, kind, ROUNDING * float(weight.sum())


def _charges(g: Graph, inside: np.ndarray, mu: FloatArray, surplus: FloatArray) -> FloatArray:
    """Least cost b_e of every net that is cut, ``(E,)``."""
    paying = g.paying[inside]
    charge = np.full(len(g.net_size), np.inf)
    if paying.any():
        charge = (mu[paying, None] * g.net_cost[inside][paying]).min(axis=0)
    if (~paying).any() and len(charge):
        nets = np.maximum(np.diff(g.item_start), 1)
        share = surplus[~paying].min(axis=0) / nets
        owner = np.repeat(np.arange(len(nets)), np.diff(g.item_start))
        np.minimum.at(charge, g.item_nets, share[owner])
    return np.where(np.isfinite(charge), charge, 0.0)
