"""A first plan within moments: fill the devices one after another up to a threshold.

It needs no solver and no search, so that there is a plan whatever happens to those that come after it.
"""

from __future__ import annotations

from itertools import product

import networkx as nx
import numpy as np

from placer.arrays import FloatArray, IntArray
from placer.instance.instance import Instance
from placer.methods.starts.cheap import drafts
from placer.options import Communication, Options, Schedule
from placer.plans.figures import objective_ms as plan_objective_ms
from placer.plans.plan import Plan
from placer.plans.recompute import with_recompute
from placer.plans.status import Stop
from placer.plans.verify import violations
from placer.reductions.problem import Problem, contract
from placer.search.run import Outcome, Run

__all__ = ["first_fit", "objective_ms", "solve"]

THRESHOLDS = 24
"""How many thresholds are tried, from a perfect balance to four times that."""
LARGE, LARGE_THRESHOLDS = 5000, 6
"""Items from which on fewer thresholds have to do, and how many."""
FILL_S = 1.5e-6
"""Work to fill in and to evaluate an item, in nominal seconds."""


def solve(instance: Instance, options: Options, run: Run) -> Outcome:
    """Return the best plan of those that hold; without one nothing is proven.

    Parameters
    ----------
    instance, options, run
        See ``placer.methods``.
    """
    problem = contract(instance, contiguous=options.contiguous)
    filled = first_fit(problem, options.schedule, options.communication, run)
    plans = [with_recompute(instance, Plan(problem.lift(devices)), options) for devices in filled]
    plans += [p for p in drafts(instance, options) if instance.allowed[range(instance.n), p.device].all()]
    for plan in sorted(plans, key=lambda plan: plan_objective_ms(instance, plan, options)):
        if not violations(instance, plan, options):
            return Outcome(Stop.FINISHED, plan)
    stop = run.stopped() or Stop.FINISHED
    return Outcome(stop, message="devices filled one after another do not hold the graph")


def objective_ms(
    problem: Problem, item_device: IntArray, schedule: Schedule, communication: Communication
) -> float:
    """Evaluate an assignment of items on the original instance."""
    from placer.plans.evaluate import device_loads

    return device_loads(problem.instance, problem.lift(item_device)).objective_ms(communication, schedule)


def first_fit(
    problem: Problem, schedule: Schedule, communication: Communication, run: Run | None = None
) -> list[IntArray]:
    """Fill devices in order with items in topological order; return what comes of it, the best first.

    Contiguous, because both orders agree.  Transfers are ignored while filling and counted in the choice;
    activations in flight count for one microbatch, and for all of them.
    """
    devices = problem.instance.devices
    accelerators = [d.index for d in devices if not d.is_host]
    hosts = [d.index for d in devices if d.is_host]
    time = problem.time_ms.sum(axis=0)[:, problem.instance.device_class]
    time = np.where(problem.allowed, time, np.inf)
    fastest = time.min(axis=1)
    if not np.isfinite(fastest).all():
        return []
    balance = float(fastest.sum()) / max(1, len(accelerators) or len(hosts))
    order = _order(problem)
    count = THRESHOLDS if problem.size < LARGE else LARGE_THRESHOLDS
    found: dict[bytes, tuple[float, IntArray]] = {}
    needs = [problem.memory_bytes, problem.worst_bytes][: 1 + bool(problem.activation_bytes.any())]
    for sequence in ([*accelerators, *hosts], [*hosts, *accelerators]):
        ranked = sorted(sequence, key=lambda d: -1 if (rank := devices[d].rank) is None else rank)
        for need, threshold in product(needs, balance * np.geomspace(1.0, 4.0, count)):
            if run is not None:
                run.spend(FILL_S * problem.size)
                if run.stopped() is not None and (found or run.interrupt.is_set()):
                    break
            filled = _fill(problem, time, need, order, ranked, float(threshold))
            if filled is not None and filled.tobytes() not in found:
                value = objective_ms(problem, filled, schedule, communication)
                found[filled.tobytes()] = value, filled
    return [filled for _, filled in sorted(found.values(), key=lambda pair: pair[0])]


def _order(problem: Problem) -> list[int]:
    """Items in topological order, a depth-first one: chains stay together; any order if there is a cycle."""
    graph = nx.DiGraph()
    graph.add_nodes_from(range(problem.size))
    graph.add_edges_from(problem.edges.tolist())
    if not nx.is_directed_acyclic_graph(graph):
        return list(range(problem.size))
    return list(reversed(list(nx.dfs_postorder_nodes(_with_root(graph), -1))))[1:]


def _with_root(graph: nx.DiGraph) -> nx.DiGraph:
    graph.add_edges_from([(-1, v) for v in list(graph.nodes) if graph.in_degree(v) == 0])
    return graph


def _fill(
    problem: Problem,
    time: FloatArray,
    need: FloatArray,
    order: list[int],
    sequence: list[int],
    threshold: float,
) -> IntArray | None:
    """Fill one device after another; each takes what fits its memory and its share of the threshold."""
    limit = np.array([d.memory_limit_bytes for d in problem.instance.devices])
    out = np.empty(problem.size, dtype=np.int64)
    times, needs = time.T.tolist(), need.tolist()  # single entries of lists are read ten times faster
    at, load, memory = 0, 0.0, 0.0
    for c in order:
        while True:
            d = sequence[at]
            fits = memory + needs[c] <= limit[d]
            last = at == len(sequence) - 1
            if times[d][c] < np.inf and fits and (load + times[d][c] <= threshold or last):
                break
            if last:
                return None
            at, load, memory = at + 1, 0.0, 0.0
        out[c] = d
        load += times[d][c]
        memory += needs[c]
    return out
