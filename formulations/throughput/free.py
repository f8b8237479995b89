"""Non-contiguous throughput: any item on any device, without the symmetry of interchangeable devices.

Sets
    c ∈ items, heaviest first; d ∈ devices; κ ∈ kinds, each with its devices in order.
Variables
    x_{cd} ∈ {0, 1}  item c is on device d;  s_e, L, T: loads, objective: `formulations.throughput.shared`.
Constraints
    Σ_d x_{cd} = 1,  x_{cd} = 0 where c may not go to d
    x_{cd} ≤ Σ_{c' < c} x_{c',d−1}   for consecutive devices d − 1, d of one kind and the heaviest items c
    loads ≤ T, memory ≤ limit on every device;  rules on the whole plan: `formulations.throughput.plan_rules`

The third line numbers the devices of a kind by their heaviest item.  Any plan obeys it after renaming devices
of one kind, which changes nothing else, because no pin tells them apart.  It is stated for the heaviest
`ORDERED_ITEMS` items only: its rows grow with the square of the items, and the light ones decide little.

Source: Tarnawski et al., NeurIPS 2020, Section 4 (non-contiguous program), on items and nets.
"""

from __future__ import annotations

from collections.abc import Mapping
from itertools import pairwise
from typing import Any

import numpy as np
import pulp

from formulations.rows import Model, difference, total
from formulations.throughput.plan_rules import PlanRules
from formulations.throughput.shared import Loads, ThroughputParams, fits
from placer.arrays import IntArray
from placer.reductions.kinds import Kinds, kinds_of
from placer.reductions.problem import Problem

__all__ = ["ORDERED_ITEMS", "build", "decode", "encode"]

ORDERED_ITEMS = 24
"""How many of the heaviest items number the devices."""


def build(problem: Problem, params: ThroughputParams) -> pulp.LpProblem:
    """Build the program.

    Parameters
    ----------
    problem
        Items and nets; precedence is ignored.
    params
        Schedule, communication model, unit, upper bound.

    Returns
    -------
    pulp.LpProblem
    """
    model = Model("throughput_free")
    kinds = kinds_of(problem)
    may = fits(problem, kinds, params)
    x: dict[int, list[Any]] = {}
    for kind, devices in enumerate(kinds.devices):
        for d in devices.tolist():
            x[d] = [model.binary(_name(c, d)) if may[c, kind] else 0 for c in range(problem.size)]
    for c in range(problem.size):
        model.equal(total(column[c] for column in x.values()), 1.0)
    order = _heaviest_first(kinds)[:ORDERED_ITEMS]
    for devices in kinds.devices:
        for before, d in pairwise(devices.tolist()):
            for i, c in enumerate(order):
                model.at_most(difference(x[d][c], total(x[before][a] for a in order[:i])))
    loads = Loads(model, problem, kinds, params)
    loads.place({kind: x[d]} for kind, devices in enumerate(kinds.devices) for d in devices.tolist())
    rules = PlanRules(model, problem, kinds)
    for kind, devices in enumerate(kinds.devices):
        for d in devices.tolist():
            loads.add_device(f"{d}", {kind: x[d]})
            rules.add_device(f"{d}", {kind: x[d]})
            loads.add_memory({kind: x[d]})
    rules.finish()
    loads.finish()
    return model.problem


def decode(values: Mapping[str, float], problem: Problem, params: ThroughputParams) -> IntArray:
    """Return the device of each item, ``(N,)``, from the values of the variables."""
    devices = len(problem.instance.devices)
    x = np.array([[values.get(_name(c, d), 0.0) for d in range(devices)] for c in range(problem.size)])
    return np.asarray(x.argmax(axis=1))


def encode(item_device: IntArray, problem: Problem, params: ThroughputParams) -> dict[str, float]:
    """Return values of x for an assignment of items, devices renamed within their kinds."""
    kinds = kinds_of(problem)
    rank = np.empty(problem.size, dtype=np.int64)
    rank[_heaviest_first(kinds)] = np.arange(problem.size)
    first = {d: int(rank[item_device == d].min(initial=problem.size)) for d in set(item_device.tolist())}
    renamed: dict[int, int] = {}
    for devices in kinds.devices:
        old = sorted(devices.tolist(), key=lambda d: (first.get(d, problem.size), d))
        renamed.update(zip(old, devices.tolist(), strict=True))
    may = fits(problem, kinds, params)
    return {
        _name(c, d): float(renamed[int(item_device[c])] == d)
        for kind, devices in enumerate(kinds.devices)
        for d in devices.tolist()
        for c in np.flatnonzero(may[:, kind]).tolist()
    }


def _name(c: int, d: int) -> str:
    return f"x_{c:05d}_{d:03d}"


def _heaviest_first(kinds: Kinds) -> list[int]:
    """Items by falling least time over the kinds."""
    least = kinds.time_ms.sum(axis=0).min(axis=1)
    return [int(c) for c in np.argsort(-least, kind="stable")]
