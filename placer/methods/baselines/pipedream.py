"""PipeDream's optimizer without replication: a chain of layers, branches contracted into single ones.

Source: Narayanan et al., "PipeDream: Generalized Pipeline Parallelism for DNN Training", SOSP 2019; as a
baseline: Tarnawski et al., NeurIPS 2020, Section 6.
"""

from __future__ import annotations

from dataclasses import replace

import numpy as np

from placer.arrays import IntArray
from placer.errors import InputError
from placer.instance.instance import Instance
from placer.methods.registry import load_method
from placer.methods.starts.pipelines import work_ms
from placer.options import Objective, Options
from placer.plans.status import Stop
from placer.reductions.inverse import Inverse, Reduction
from placer.reductions.problem import Problem, contract
from placer.search.run import Outcome, Run

__all__ = ["chain_instance", "solve"]

NEGLIGIBLE = 1e-3
"""Data whose transfer takes less than this part of the mean layer's time make no branch."""


def solve(instance: Instance, options: Options, run: Run) -> Outcome:
    """Cut the chain of contracted layers optimally; the plan is contiguous whatever the options ask for."""
    try:
        chain, inverse = chain_instance(instance)
    except InputError as error:
        return Outcome(Stop.NOT_APPLICABLE, message=f"branches cannot be contracted: {error}")
    layers = len(set(contract(chain, contiguous=True).item.tolist()))
    found = load_method("dpl", Objective.THROUGHPUT)(
        chain, options.model_copy(update={"contiguous": True}), run.part(inverse=inverse)
    )
    stats = {"chain_layers": layers}
    if found.plan is None:
        stop = Stop.FINISHED if found.stop is Stop.INFEASIBLE else found.stop
        return Outcome(stop, message="the chain of contracted branches has no plan", stats=stats)
    return replace(found.inverted(inverse), message=f"a chain of {layers} layers", stats=stats)


def chain_instance(instance: Instance) -> Reduction:
    """Return the instance with the items of each layer colocated.

    Raises
    ------
    InputError
        When no device type runs all that would be contracted.
    """
    problem = contract(instance, contiguous=True)
    layer = _layers(problem)
    labels = [f"layer {layer[i]}" if layer[i] >= 0 else None for i in problem.item]
    both = zip(labels, instance.colocate, strict=True)
    chain = instance.replace(colocate=tuple(group if label is None else label for label, group in both))
    return chain, Inverse(chain, narrower=True)


def _layers(problem: Problem) -> IntArray:
    """Layer of each item along the chain, -1 for items of backward nodes only, ``(N,)``.

    The items are taken in their order.  A layer begins where all data from before go to its first item:
    a fork is contracted with its branches, their join opens the next layer.
    """
    forward = np.zeros(problem.size, dtype=bool)
    np.logical_or.at(forward, problem.item, ~problem.instance.backward)
    chain = np.flatnonzero(forward)
    count = len(chain)
    place = np.full(problem.size, -1)
    place[chain] = np.arange(count)
    sent = np.zeros(problem.size)
    producer = problem.net_items[problem.net_start[:-1]]
    np.maximum.at(sent, producer, problem.net_cost_ms.max(axis=1, initial=0.0))
    branch = sent[problem.edges[:, 0]] > NEGLIGIBLE * work_ms(problem)[chain].mean()
    u, w = place[problem.edges[branch]].T
    earliest = np.arange(count)
    np.minimum.at(earliest, w, u)
    read_later = np.concatenate([np.minimum.accumulate(earliest[::-1])[::-1][1:], [count]])
    layer = np.full(problem.size, -1)
    layer[chain] = np.cumsum(read_later >= np.arange(count))
    return layer
