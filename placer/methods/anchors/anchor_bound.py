"""The bound by anchors: what the devices that hold a hub pay, item by item, and the others in sum.

Where many nodes read one, or one reads many, its device either holds most of them or pays for the others;
methods that see one device at a time, or all of them in sum, see only half of that.
"""

from __future__ import annotations

import numpy as np

from formulations.anchored import Hubs, anchored
from placer.arrays import BoolArray, FloatArray, IntArray
from placer.instance.instance import Instance
from placer.methods.colgen.linear_loads import PARTS, Loads, build_loads
from placer.options import Options, Recompute, Schedule
from placer.plans.figures import objective_of
from placer.plans.status import Stop
from placer.reductions.problem import contract
from placer.search.run import Outcome, Run
from placer.tolerances import EQUAL, MEMORY_TOLERANCE

__all__ = ["bound_ms", "solve"]

ENTRIES = 200_000
"""Entries of the largest linear program that is solved: about a second."""
CANDIDATES = 12
"""Items that may be anchors."""


def solve(instance: Instance, options: Options, run: Run) -> Outcome:
    """Bound the objective of a pipeline that has a plan; no better plan is looked for."""
    bound = None
    if run.start is not None:
        bound = bound_ms(instance, options, run, objective_of(instance, run.start, options))
    return Outcome(run.stopped() or Stop.FINISHED, bound_ms=bound)


def bound_ms(instance: Instance, options: Options, run: Run, upper_ms: float) -> float | None:
    """Return a lower bound in ms on the time per sample; None where no hub proves any.

    Parameters
    ----------
    instance
        An instance that is settled (`placer.plans.in_flight.settled`).
    options
        Any; where loads are not what the programs say there is no bound.
    run
        Its limits are obeyed, and its bound is one to be raised.
    upper_ms
        Only plans that are no slower are looked at; the bound is never larger.
    """
    plain = options.pipelined and options.recompute is Recompute.NONE and options.virtual_stages == 1
    if not plain or instance.servers or instance.pools or not 0 < upper_ms < np.inf:
        return None
    problem = contract(instance, contiguous=options.contiguous)
    loads = build_loads(problem, options.communication, options.schedule)
    entries = (problem.size + 2 * len(loads.nets.items)) * (len(loads.types) + 3)
    known_ms = run.bound_ms or 0.0
    alone_ms = _alone_ms(loads)
    if not len(_candidates(alone_ms, known_ms)) or entries > ENTRIES:
        return None
    from placer.methods.anchors.anchor_tree import Tree, linear_bound  # loads the solver, a tenth of a second

    hubs = _in_units(loads, upper_ms)
    in_sum = linear_bound(anchored(hubs, (), (), np.zeros((0, 2), dtype=np.int64)), run)
    known = max(known_ms / upper_ms, in_sum)
    candidates = _candidates(alone_ms, known * upper_ms)
    if not len(candidates):
        return in_sum * upper_ms
    return max(in_sum, Tree(loads.problem, hubs, candidates, options, run, known).bound()) * upper_ms


def _candidates(alone_ms: FloatArray, bound_ms: float) -> IntArray:
    """Return items that cannot be alone on a device within the bound, the most expensive first.

    The device of any other may hold nothing else, and its neighbours need pay little.
    """
    order = np.argsort(-alone_ms, kind="stable")[:CANDIDATES]
    found: IntArray = order[alone_ms[order] > bound_ms * (1 + EQUAL)]
    return found


def _alone_ms(loads: Loads) -> FloatArray:
    """Load of a device that holds one item alone, where that is least, ``(N,)``.

    Of devices that pay for transfers, where there are any: a hub on another one costs its neighbours alone.
    0 for an item that none of them may hold.
    """
    nets, size = loads.nets, loads.problem.size
    net = np.repeat(np.arange(nets.count), np.diff(nets.start))
    sends = np.zeros(len(net), dtype=np.bool_)
    sends[nets.start[:-1]] = True
    alone = np.full(size, np.inf)
    paying = [kind for kind in loads.types if nets.cost_ms[:, :, kind.cls].any()]
    for kind in paying or loads.types:
        load = np.zeros(size)
        for way in (0, 1):
            cost = nets.cost_ms[way, net, kind.cls]
            receive, send = (
                np.bincount(nets.items[mine], cost[mine], minlength=size) for mine in (~sends, sends)
            )
            compute = np.where(kind.allowed, loads.problem.time_ms[way, :, kind.cls], 0.0)
            parts = PARTS[loads.communication]
            load += np.max([a * compute + b * receive + c * send for a, b, c in parts], axis=0)
        alone = np.minimum(alone, np.where(kind.allowed, load, np.inf))
    return np.where(np.isfinite(alone), alone, 0.0)


def _in_units(loads: Loads, unit_ms: float) -> Hubs:
    """Return what programs are made of."""
    problem, types = loads.problem, loads.types
    cls = [kind.cls for kind in types]
    allowed: BoolArray = np.stack([kind.allowed for kind in types], axis=1)
    limit = np.array([kind.memory_limit_bytes for kind in types]) * (1 + 2 * MEMORY_TOLERANCE)
    share = problem.memory_share(limit)
    fits = allowed & (share <= 1) & (problem.time_ms[:, :, cls].sum(axis=0) <= unit_ms * (1 + EQUAL))
    return Hubs(
        time=np.where(fits, problem.time_ms[:, :, cls] / unit_ms, np.inf),
        share=share,
        net_items=loads.nets.items,
        net_start=loads.nets.start,
        cost=loads.nets.cost_ms[:, :, cls] / unit_ms,
        devices=np.array([kind.count for kind in types], dtype=np.int64),
        parts=PARTS[loads.communication],
        gpipe=loads.schedule is Schedule.GPIPE,
    )
