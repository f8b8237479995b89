"""Linearised dynamic program (DPL of the paper): optimal plans along several topological orders."""

from __future__ import annotations

import numpy as np

from placer.arrays import IntArray
from placer.instance.instance import Instance
from placer.methods.downsets.lattice import Lattice
from placer.methods.downsets.linear import best_on_order
from placer.methods.downsets.measures import measures, root_bound
from placer.methods.downsets.necks import neck_bound
from placer.methods.downsets.nested import solve_nested
from placer.methods.downsets.orders import cheap_boundary, depth_first, random_order, tucked
from placer.methods.starts import first_fit
from placer.options import Options
from placer.plans.status import Stop
from placer.search.incumbent import Incumbent
from placer.search.run import Outcome, Run
from placer.tolerances import CERTAIN, EXACT

__all__ = ["first_plan", "improve", "prepare", "solve"]

RANDOM_ORDERS = 4
"""Orders drawn at random beside the three that are always tried."""


def solve(instance: Instance, options: Options, run: Run) -> Outcome:
    """Plan along several orders; the bound is the one of the work, and of the orders when they are all.

    Parameters
    ----------
    instance, options, run
        See ``placer.methods``.
    """
    lattice = prepare(instance, options, "linear orders give contiguous plans only")
    if isinstance(lattice, Outcome):
        return lattice
    if instance.servers:
        return solve_nested(instance, options, run, lattice)
    best = Incumbent(instance, options, run)
    best.raise_bound(root_bound(measures(lattice.graph), lattice.graph) * CERTAIN, "work")
    best.raise_bound(neck_bound(lattice) * CERTAIN, "necks")
    orders = improve(lattice, best, run, options)
    stop = run.stopped()
    message = "" if best.plan is not None else "none of the orders tried has a plan"
    if best.plan is not None and not best.proven:
        message = "best along the orders tried; the bound sees work and no transfers"
    return best.outcome(stop or Stop.FINISHED, message, {"orders": orders})


def improve(
    lattice: Lattice,
    best: Incumbent,
    run: Run,
    options: Options,
    *,
    orders: int = 3 + RANDOM_ORDERS,
    precision: float = EXACT,
) -> int:
    """Try up to ``orders`` orders; returns how many."""
    first_plan(lattice, best, run, options)
    rng = np.random.default_rng(options.seed)
    alone = lattice.has_one_order
    tried: set[bytes] = set()
    for i in range(orders):
        if run.stopped() is not None or best.proven:
            break
        order = _order(lattice, i, rng)
        for variant in (tucked(lattice, order), order):
            if variant.tobytes() not in tried and run.stopped() is None:
                tried.add(variant.tobytes())
                memory_mb = options.memory_limit_mb / 2
                best_on_order(
                    lattice, variant, best, run, precision=precision, memory_mb=memory_mb, alone=alone
                )
        if alone:
            break
    return len(tried)


def first_plan(lattice: Lattice, best: Incumbent, run: Run, options: Options) -> None:
    """Take a plan at once, lest the clock strikes before the search has one."""
    if run.time_limit is not None and best.plan is None:
        plan = first_fit.solve(lattice.problem.instance, options, run).plan
        if plan is not None:
            best.offer(plan, "first fit")


def _order(lattice: Lattice, i: int, rng: np.random.Generator) -> IntArray:
    if i == 0:
        return np.arange(lattice.size)
    if i == 1:
        return cheap_boundary(lattice)
    return depth_first(lattice) if i == 2 else random_order(lattice, rng, branches=i % 2 == 1)


def prepare(instance: Instance, options: Options, refusal: str) -> Lattice | Outcome:
    """Return the items, or why no plan can be looked for (``refusal``: it need not be contiguous)."""
    if not options.contiguous:
        return Outcome(Stop.NOT_APPLICABLE, message=refusal)
    lattice = Lattice.of(instance, options)
    message = _unplaceable(lattice)
    return Outcome(Stop.INFEASIBLE, message=message) if message else lattice


def _unplaceable(lattice: Lattice) -> str:
    """Say which items fit on no device at all; empty when there are none."""
    g, problem = lattice.graph, lattice.problem
    fits = g.ok & (g.memory <= g.limit[:, None])
    for v in np.flatnonzero(~fits.any(axis=0)):
        nodes = [problem.instance.ids[x] for x in np.flatnonzero(lattice.position[problem.item] == v)]
        shown = ", ".join(repr(x) for x in nodes[:6]) + (", ..." if len(nodes) > 6 else "")
        return f"no device may hold {shown} together ({g.memory[:, v].min():.0f} bytes)"
    return ""
