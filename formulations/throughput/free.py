"""Non-contiguous throughput: any item on any device, without the symmetry of interchangeable devices.

Sets
    c ∈ items, heaviest first; d ∈ devices; κ ∈ kinds, each with its devices in order.
Variables
    x_{cd} ∈ {0, 1}  item c is on device d;  s_e, L, T: loads, objective: `formulations.throughput.loads`.
Constraints
    Σ_d x_{cd} = 1,  x_{cd} = 0 where c may not go to d
    x_{cd} ≤ Σ_{c' < c} x_{c',d−1}   for consecutive devices d − 1, d of one kind and the heaviest items c
    loads ≤ T: `formulations.throughput.loads`;  memory ≤ limit: `formulations.throughput.stage_memory`;
    rules on the whole plan: `formulations.throughput.plan_rules`

The second line numbers the devices of a kind by their heaviest item.  Any plan obeys it after renaming
devices of one kind, which changes nothing else, because no pin tells them apart.  It is stated for the
heaviest `ORDERED_ITEMS` items only: its rows grow with the square of the items, and the light ones decide
little.

Source: Tarnawski et al., NeurIPS 2020, Section 4 (non-contiguous program), on items and nets.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from itertools import pairwise

import numpy as np

from formulations.expressions import ZERO, Expression, Model, total
from formulations.program import Program
from formulations.throughput.loads import Loads
from formulations.throughput.place import Place
from formulations.throughput.plan_rules import PlanRules
from formulations.throughput.shared import ThroughputParams, fits
from formulations.throughput.stage_memory import limit_memory
from placer.arrays import IntArray
from placer.reductions.kinds import Kinds, kinds_of
from placer.reductions.problem import Problem

__all__ = ["ORDERED_ITEMS", "build", "decode", "encode"]

ORDERED_ITEMS = 24
"""How many of the heaviest items number the devices."""


def build(problem: Problem, params: ThroughputParams) -> Program:
    """Build the program.

    Parameters
    ----------
    problem
        Items and nets; precedence is ignored.
    params
        Schedule, communication model, unit, upper bound.

    Returns
    -------
    Program
    """
    model = Model()
    kinds = kinds_of(problem)
    may = fits(problem, kinds, params)
    places = {
        d: Place(f"{d}", {kind: [_x(model, c, d) if may[c, kind] else ZERO for c in range(problem.size)]})
        for kind, devices in enumerate(kinds.devices)
        for d in devices.tolist()
    }
    x = {d: items for d, place in places.items() for items in place.x.values()}
    _assignment(model, x)
    _numbering(model, kinds, x)
    loads = Loads(model, problem, kinds, params, (place.x for place in places.values()))
    rules = PlanRules(model, problem, kinds)
    for place in places.values():
        loads.add(place)
        rules.add(place)
        limit_memory(model, problem, kinds, place, loads.memory_most)
    rules.finish()
    loads.finish()
    return model.program()


def _x(model: Model, c: int, d: int) -> Expression:
    return model.binary(_name(c, d))


def _assignment(model: Model, x: dict[int, Sequence[Expression]]) -> None:
    """Σ_d x_{cd} = 1."""
    for column in zip(*x.values(), strict=True):
        model.add(total(column) == 1)


def _numbering(model: Model, kinds: Kinds, x: dict[int, Sequence[Expression]]) -> None:
    """x_{cd} ≤ Σ_{c' < c} x_{c',d−1} for the heaviest items."""
    order = _heaviest_first(kinds)[:ORDERED_ITEMS]
    for devices in kinds.devices:
        for before, d in pairwise(devices.tolist()):
            for i, c in enumerate(order):
                model.add(x[d][c] <= total(x[before][a] for a in order[:i]))


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
