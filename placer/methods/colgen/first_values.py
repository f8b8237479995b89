"""Values of items to begin with: prices of the program in which all devices of a type work together."""

from __future__ import annotations

import numpy as np

from formulations.shared_work import SharedWork, build
from placer.arrays import FloatArray
from placer.methods.colgen.linear_loads import Loads
from placer.methods.colgen.pricing import Pricer
from placer.search.run import Run
from placer.solvers.linear_program import solve_linear

__all__ = ["first_values"]

ENTRIES = 100_000
"""Columns and pairs in nets, times types, beyond which transfers are left out: about a second."""
LEAST = 1e-6
"""Least value of an item, relative to the mean."""


def first_values(loads: Loads, pricers: list[Pricer], run: Run) -> FloatArray | None:
    """Return values of items, ``(N,)``, and let the pricers weigh memory as the program does.

    Where the solver fails there are none; any values give valid bounds.
    """
    work = _work(loads, pricers)
    dual = solve_linear(build(work), run).row_dual
    if dual is None:
        return None
    size, types = work.may.shape
    value = np.asarray(dual[:size], dtype=np.float64)
    if not value.sum() > 0:
        return None
    spent, held = np.abs(dual[size : size + 2 * types]).reshape(2, types)
    bound = float(value.sum() - held @ work.devices)
    for t, pricer in enumerate(pricers):
        if pricer.limits_memory and held[t] > 0:
            pricer.set_mix(pricer.mix, float(held[t] / (held[t] + spent[t] * bound)))
    return np.asarray(np.maximum(value, LEAST * value.mean()))


def _work(loads: Loads, pricers: list[Pricer]) -> SharedWork:
    nets, memory = loads.nets, loads.problem.memory_bytes
    unit = max(
        float(np.nanmax(loads.problem.time_ms[np.isfinite(loads.problem.time_ms)], initial=0.0)), 1e-300
    )
    time = np.stack([loads.item_weight(p.t, p.mix) for p in pricers], axis=1) / unit
    costs = [np.stack([loads.net_weight(p.t, p.mix)[way] for p in pricers], axis=1) / unit for way in (0, 1)]
    may = np.stack([pricer.allowed for pricer in pricers], axis=1)
    share = [memory / p.limit if p.limits_memory else 0.0 * memory for p in pricers]
    net = np.repeat(np.arange(nets.count), np.diff(nets.start))
    follows = np.ones(len(nets.items), dtype=np.bool_)
    follows[nets.start[:-1]] = False
    if len(pricers) * (2 * len(net) + nets.count) > ENTRIES:
        follows[:] = False
    producer = nets.items[nets.start[:-1]]
    return SharedWork(
        time=time,
        may=may,
        memory=np.where(may, np.stack(share, axis=1), 0.0),
        receive=costs[0],
        send=costs[1],
        producer=producer[net[follows]],
        consumer=nets.items[follows],
        net=net[follows],
        devices=np.array([pricer.kind.count for pricer in pricers], dtype=np.int64),
    )
