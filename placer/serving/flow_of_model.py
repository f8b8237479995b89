"""A layered flow made of a model to serve and its devices (Helix, ASPLOS 2025).

A device with k of L layers has work all the time when ``ceil(L / k)`` microbatches are on their way, and
keeps the keys and values of all of them.  These have as many sequences as its room leaves, up to a most:
``B_k = min(B, (room - k weights) / (k ceil(L / k) cache))``, and the device passes ``B_k / time(k layers,
B_k)`` tokens per second.  Any k layers can be asked for, so all count as the costliest one; what is before
and after the layers is counted in the room of every device, and in time by shares of all layers.
"""

from __future__ import annotations

from math import ceil, inf

import numpy as np

from placer.arrays import FloatArray
from placer.errors import UsageError
from placer.layered_flow.flow_problem import FlowProblem
from placer.serving.serving_model import ServingModel, Setting

__all__ = ["MOST_SEQUENCES", "flow_of_model"]

MOST_SEQUENCES = 256
"""Sequences of a microbatch unless told otherwise, as servers have it."""
FREE = 1e12
"""Tokens per second of a link that takes no time."""


def flow_of_model(model: ServingModel, context: int, most: int = MOST_SEQUENCES) -> FlowProblem:
    """Make the layered flow of a language model on a cluster.

    Parameters
    ----------
    model
        The model; hosts take no part.
    context
        Tokens of each sequence.
    most
        Most sequences of a microbatch.

    Raises
    ------
    UsageError
        When the model has no layers, or its costs for other numbers of sequences are not known.
    """
    layers = sorted({number for number in model.layer_of if number is not None})
    if not model.batches or not layers:
        raise UsageError(f"{model.name}: --layout flow takes language models, whose layers are known")
    pools = [p for p, pool in enumerate(model.pools) if not pool.host]
    rates = {p: _rates(model, p, len(layers), context, most) for p in pools}
    names = [name for p in pools for name in model.pools[p].names]
    of = [p for p in pools for _ in model.pools[p].names]
    return FlowProblem(
        layers=len(layers),
        names=tuple(names),
        rates=tuple(rates[p] for p in of),
        links=_links(model, of, context, most),
    )


def _rates(model: ServingModel, pool: int, layers: int, context: int, most: int) -> FloatArray:
    """Tokens per second with 1, 2, ... layers, as far as they fit with a sequence."""
    option = _option(model, pool)
    one = model.costs(Setting(1, 1, context))
    number = np.array([-1 if k is None else k for k in model.layer_of])
    outside = number < 0
    held = max(_by_layer(one.weight_bytes[option], number))
    cache = max(_by_layer(one.cache_bytes[option], number))
    ends = one.weight_bytes[option][outside]
    out = []
    for k in range(1, layers + 1):
        # A device has one of the ends at most, unless it has all layers.
        end = ends.sum() - model.tied_bytes if k == layers else ends.max(initial=0.0)
        left = model.pools[pool].room_bytes - float(end) - k * held
        kept = k * ceil(layers / k) * cache
        fits = left // kept if kept else inf if left >= 0 else 0.0
        batch = int(min(most, fits))
        if batch < 1:
            break
        costs = model.costs(Setting(batch, 1, context))
        time, moved = costs.time_ms[option], costs.move_ms[option]
        load = k * (max(_by_layer(time, number)) + float(time[outside].sum()) / layers)
        out.append(1e3 * batch / (load + 2 * float(moved[~outside].max())))
    return np.array(out)


def _by_layer(costs: FloatArray, number: np.ndarray[tuple[int, ...], np.dtype[np.int64]]) -> list[float]:
    """Sum the costs of each layer."""
    return [float(costs[number == k].sum()) for k in sorted(set(number[number >= 0].tolist()))]


def _links(model: ServingModel, of: list[int], context: int, most: int) -> FloatArray:
    """Tokens per second between all devices, the source and the sink."""
    costs = model.costs(Setting(most, 1, context))
    n = len(of)
    links = np.full((n + 1, n + 1), FREE)
    inside = np.array([number is not None for number in model.layer_of])
    for a in range(n):
        for b in range(n):
            far = model.pools[of[a]].server != model.pools[of[b]].server
            move = costs.across_ms if far else costs.move_ms
            time = max(float(move[_option(model, of[x])][inside].max()) for x in (a, b))
            links[a, b] = 1e3 * most / time if time > 0 else FREE
    np.fill_diagonal(links[:n, :n], 0.0)
    links[n, n] = 0.0
    return links


def _option(model: ServingModel, pool: int) -> int:
    return next(o for o, opt in enumerate(model.options) if opt.pool == pool and opt.devices == 1)
