"""PipeDream's optimizer without replication: a chain of layers, branches contracted into single ones.

Source: Narayanan et al., "PipeDream: Generalized Pipeline Parallelism for DNN Training", SOSP 2019; as a
baseline: Tarnawski et al., NeurIPS 2020, Section 6.
"""

from __future__ import annotations

from dataclasses import replace

import numpy as np

from placer.errors import InputError
from placer.instance import Instance, IntArray
from placer.methods import load_method
from placer.options import Objective, Options
from placer.problem import Problem, contract
from placer.run import Outcome, Run, Stop

__all__ = ["chain_instance", "solve"]


def solve(instance: Instance, options: Options, run: Run) -> Outcome:
    """Cut the chain of contracted layers optimally; the plan is contiguous whatever the options ask for."""
    try:
        chain = chain_instance(instance)
    except InputError as error:
        return Outcome(Stop.NOT_APPLICABLE, message=f"branches cannot be contracted: {error}")
    layers = len(set(contract(chain, contiguous=True).item.tolist()))
    found = load_method("dpl", Objective.THROUGHPUT)(
        chain, options.model_copy(update={"contiguous": True}), run.part(bounds=False)
    )
    stats = {"chain_layers": layers}
    if found.plan is None:
        stop = Stop.FINISHED if found.stop is Stop.INFEASIBLE else found.stop
        return Outcome(stop, message="the chain of contracted branches has no plan", stats=stats)
    # What is proven about the chain says nothing about the graph.
    return replace(found, bound_ms=None, message=f"a chain of {layers} layers", stats=stats)


def chain_instance(instance: Instance) -> Instance:
    """Return the instance with everything between two nodes of the spine colocated.

    Raises
    ------
    InputError
        When no device type runs all that would be contracted.
    """
    problem = contract(instance, contiguous=True)
    layer = _layers(problem)
    labels = [f"layer {layer[i]}" if layer[i] >= 0 else None for i in problem.item]
    both = zip(labels, instance.colocate, strict=True)
    return instance.replace(colocate=tuple(group if label is None else label for label, group in both))


def _layers(problem: Problem) -> IntArray:
    """Layer of each item along the spine, -1 for items of backward nodes only, ``(N,)``.

    The spine holds the items that are comparable with all others.  In a topological order these are the
    ones that every earlier item leads to and that lead to every later item: each earlier item has a
    successor no later than it, each later item a predecessor no earlier.
    """
    forward = np.zeros(problem.size, dtype=bool)
    np.logical_or.at(forward, problem.item, ~problem.instance.backward)
    chain = np.flatnonzero(forward)
    count = len(chain)
    place = np.full(problem.size, -1)
    place[chain] = np.arange(count)
    nearest_after, nearest_before = np.full(count, count), np.full(count, -1)
    u, w = place[problem.edges[:, 0]], place[problem.edges[:, 1]]
    np.minimum.at(nearest_after, u, w)
    np.maximum.at(nearest_before, w, u)
    at = np.arange(count)
    reached = np.concatenate([[0], np.maximum.accumulate(nearest_after)[:-1]]) <= at
    reaches = np.concatenate([np.minimum.accumulate(nearest_before[::-1])[::-1][1:], [count]]) >= at
    spine = reached & reaches
    opens = spine | np.concatenate([[True], spine[:-1]])
    layer = np.full(problem.size, -1)
    layer[chain] = np.cumsum(opens) - 1
    return layer
