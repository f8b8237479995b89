"""Plans for servers behind uplinks along several linear orders: the nested dynamic program (see ``dpl``)."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass

import numpy as np

from placer.arrays import FloatArray, IntArray
from placer.instance.instance import Instance
from placer.methods.downsets.lattice import Lattice
from placer.methods.downsets.orders import cheap_boundary, depth_first, random_order, tucked
from placer.methods.downsets.servers import Servers, nested_size, server_kinds
from placer.options import Options, Recompute, Schedule
from placer.plans.evaluate import device_loads
from placer.plans.plan import Plan
from placer.plans.status import Stop
from placer.search.incumbent import Incumbent
from placer.search.run import Outcome, Run
from placer.tolerances import EQUAL, EXACT

__all__ = ["solve_nested"]

MOST_STATES = 5_000
"""Sets of servers, and mixes of the devices of one, beyond which the program would take too long."""
RANDOM_ORDERS = 2
"""Orders drawn at random; each costs a program over all servers."""
FIRST_STEP = 0.01
"""Relative distance of the first target to the bound; each further one is four times as far."""
FAR = 1.5
"""Ratio of the best objective to a bound above which targets grow from the bound."""
CLOSE = 1e-6
"""Relative precision of the bound that sees uplinks."""


def solve_nested(instance: Instance, options: Options, run: Run, lattice: Lattice) -> Outcome:
    """Find the best plan along several orders that enters each server once.

    Parameters
    ----------
    instance, options, run
        See ``placer.methods``.
    lattice
        The items, each of which fits on some device.
    """
    problem = lattice.problem
    kinds = server_kinds(problem)
    if options.recompute is not Recompute.NONE or instance.order:
        message = "the program for servers knows no recomputation and no order of the devices"
        return Outcome(Stop.NOT_APPLICABLE, message=message)
    if instance.pools:
        return Outcome(Stop.NOT_APPLICABLE, message="the program for servers knows no pools of devices")
    if nested_size(kinds) > MOST_STATES:
        message = "the servers differ too much from each other for the program along linear orders"
        return Outcome(Stop.NOT_APPLICABLE, message=message)
    best = Incumbent(instance, options, run)
    if run.start is not None:
        best.offer(run.start, "start")
    tried: set[bytes] = set()
    for order in _orders(lattice, options, run):
        if (tried and run.stopped() is not None) or best.proven or order.tobytes() in tried:
            continue
        tried.add(order.tobytes())
        search = _Search(Servers(problem, kinds, order, options), best, run, options)
        best.raise_bound(search.servers.floor_ms(2) * (1 - EQUAL), "work")
        search.improve()
        if search.servers.one_order:
            search.raise_bound()
            break  # there is no other order
    stop = run.stopped() or Stop.FINISHED
    message = "" if best.proven else "the best that enters each server once, along the orders tried"
    if best.plan is None:
        message = "none of the orders tried has a plan"
    return best.outcome(stop, message, {"orders": len(tried)})


def _orders(lattice: Lattice, options: Options, run: Run) -> list[IntArray]:
    """Orders to try, the one of the plan to start from first."""
    rng = np.random.default_rng(options.seed)
    found = [np.arange(lattice.size), cheap_boundary(lattice), depth_first(lattice)]
    found += [random_order(lattice, rng, branches=i % 2 == 0) for i in range(RANDOM_ORDERS)]
    if run.start is not None and run.start.stages:
        item_device = np.zeros(lattice.size, dtype=np.int64)
        item_device[lattice.position] = lattice.problem.start(run.start)
        stage = {d: s for s, d in enumerate(run.start.stages)}
        found.insert(0, np.array(sorted(range(lattice.size), key=lambda v: (stage[int(item_device[v])], v))))
    return [order for some in found for order in (tucked(lattice, some), some)]


@dataclass
class _Search:
    """Narrows the best plan, and the bound, along one order."""

    servers: Servers
    best: Incumbent
    run: Run
    options: Options

    def improve(self) -> None:
        """Find the best plan along the order if it is better than the one held."""
        best = self.best

        def limits(target: float) -> FloatArray:
            return np.array([np.inf, np.inf, target])

        def value(plan: Plan) -> float:
            return best.offer(plan, "servers")

        self._narrow(limits, value, max(best.bound, self.servers.floor_ms(2)), best.value)
        if self.options.schedule is Schedule.GPIPE and best.instance.is_training:
            self._both_directions()

    def raise_bound(self) -> None:
        """Raise the bound on all contiguous plans (precondition: `Servers.one_order`)."""
        low, high = self.best.bound, self.best.value
        target = self.best.target
        while high < np.inf and low < high * (1 - CLOSE) and self.run.stopped() is None:
            if self.servers.excluded(np.array([np.inf, np.inf, target]), self.run):
                low = target
                self.best.raise_bound(target * (1 - EQUAL), "uplinks")
            else:
                high = target
            target = (low + high) / 2

    def _both_directions(self) -> None:
        """Walk along the pairs of largest forward and least backward load; their best sum is offered."""
        best, servers = self.best, self.servers
        forward = np.inf
        loads = np.zeros(2)

        def limits(backward: float) -> FloatArray:
            return np.array([forward, backward, best.target])

        def value(plan: Plan) -> float:
            best.offer(plan, "servers")
            by_device = device_loads(best.instance, plan.device)
            loads[:] = by_device.by_direction(self.options.communication).max(axis=1)
            return float(loads[1])

        while best.plan is not None and self.run.stopped() is None:
            high = best.target - servers.floor_ms(0)
            if not self._narrow(limits, value, servers.floor_ms(1), high):
                break
            forward = min(loads[0], best.value - loads[1]) * (1 - EXACT)

    def _narrow(
        self,
        limits: Callable[[float], FloatArray],
        value: Callable[[Plan], float],
        low: float,
        high: float,
    ) -> bool:
        """Find the least target with a plan, above a lower bound and below a known value; whether one is."""
        found, step = False, FIRST_STEP
        growing = high > FAR * low
        closing = not growing
        while self.run.stopped() is None and low < high * (1 - 2 * EXACT):
            below = min(high * (1 - EXACT), self.servers.enough_ms)
            if growing:  # tests are the faster the lower the target
                target = min(low * (1 + step), below) if low > 0 else below
                step *= 4
            else:
                target = below if closing else (low + high) / 2
            plan = self.servers.plan(limits(target), self.run)
            if plan is not None:
                high = min(value(plan), target)
                found, closing, growing = True, growing or not closing, False
            elif self.run.stopped() is not None or target >= below:
                break
            else:
                low = target
        return found
