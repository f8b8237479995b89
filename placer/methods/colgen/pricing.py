"""Pricing: the most valuable set of items that one device of a type can serve within a load.

Everything is relaxed in one direction, so that the best value found is never too small: several facets
and the memory limit are folded into one weight by a convex mix, transition weights are rounded down to
whole units, and nets that make the diagram too wide end early.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass

import numpy as np

from placer.arrays import BoolArray, FloatArray, IntArray
from placer.methods.colgen.frontier import WEIGHTS, Diagram, build_diagram, walk_order
from placer.methods.colgen.kernels.knapsack import best_values, follow
from placer.methods.colgen.linear_loads import Loads
from placer.methods.colgen.room import in_room, room_units
from placer.search.work import PRICING_CELL_S

__all__ = ["Grid", "Pricer", "diagram_along", "find_diagram", "make_pricers"]

ROUNDING = 1e-12
"""Relative slack given to every weight and capacity, against rounding errors of the sums."""
FEW = 12
"""States per item with which an order is good enough."""
MANY = 1000
"""Items beyond which only one order is made: the others and their diagrams take ten seconds on 5,000."""
OTHERS = 0.6
"""Weight at first of what is spread over all facets; compute, which mostly binds, has the rest."""
LEAST_MIX = 1e-3
"""Weight from which on a facet without any can grow again."""
MOST_MEMORY = 1 - 1e-6
"""Weight of memory at most: where it has all, loads say nothing, and no shift leads back."""
MOST_PRICE = 2**29
"""Of a transition: no set is worth as much."""
SLOWER = 20.0
"""Shifts of a mix after which they are half as large as the first one."""
MEMORY_SLACK = 2e-9
"""Relative excess over a memory limit that verification may still accept."""


@dataclass(frozen=True)
class Grid:
    """Loads are counted in units: ``units`` of them make ``top_ms``, the largest load of interest."""

    units: int
    top_ms: float

    @property
    def unit_ms(self) -> float:
        """Size of one unit."""
        return self.top_ms / self.units


class Pricer:
    """Prices sets for one type of device.

    Parameters
    ----------
    loads
        The loads.
    t
        Index of the device type.
    diagram
        The sets to choose from.
    """

    def __init__(self, loads: Loads, t: int, diagram: Diagram) -> None:
        self.loads, self.t, self.diagram = loads, t, diagram
        self.kind = loads.types[t]
        self.mix = _first_mix(loads, diagram)
        self.memory_mix = 0.0
        self.adapted = 0
        """How often the mix was shifted since the last grid: shifts become smaller and smaller."""
        memory = loads.problem.memory_bytes
        limit = self.kind.memory_limit_bytes * (1 + MEMORY_SLACK)
        self.allowed: BoolArray = self.kind.allowed & (memory <= limit)
        self.limits_memory = bool(0 < limit < memory[self.allowed].sum())
        self.limit = limit
        self._grid: Grid | None = None
        self.weight: IntArray = np.zeros((0, 2), dtype=np.int64)
        self._taken = np.zeros((0, 0), dtype=np.uint8)

    def set_grid(self, grid: Grid) -> None:
        """Count in other units."""
        self._grid, self.adapted = grid, 0
        self._count()
        loads, none = self.loads, np.zeros(self.loads.nets.count)
        parts = [
            (loads.item_weight(self.t, only), *loads.net_weight(self.t, only))
            for only in np.eye(len(loads.facets)) / grid.top_ms
        ]
        memory = (
            loads.problem.memory_bytes / self.limit
            if self.limits_memory
            else 0.0 * loads.problem.memory_bytes
        )
        parts.append((memory, none, none))
        need = np.stack([self.diagram.transition_weight(*part) for part in parts], axis=2)
        self.need = np.where(np.isfinite(need), need, 0.0)

    def coarsen(self, units: int) -> None:
        """Count in at most so many units."""
        assert self._grid is not None
        if self._grid.units > units:
            self.set_grid(Grid(units, self._grid.top_ms))

    def use(self, inside: BoolArray) -> FloatArray:
        """Return what sets take of facets (top load: 1) and of memory (limit: 1), ``(S, F + 1)``."""
        state, total = np.zeros(len(inside), dtype=np.int64), np.zeros((len(inside), self.need.shape[2]))
        for item in self.diagram.order.tolist():
            choice = inside[:, item].astype(np.int64)
            total += self.need[state, choice]
            state = self.diagram.target[state, choice]
        return total

    def credit(self, load_ms: float) -> int:
        """Return what a device has to spend within a load at the prices of the last `values`."""
        assert self._grid is not None
        most = np.append(np.full(len(self.slope) - 1, load_ms / self._grid.top_ms), 1.0)
        return int(np.ceil(self.slope @ most * (1 + ROUNDING)))

    def _count(self) -> None:
        """Count the weight of each transition in units."""
        assert self._grid is not None
        grid, loads, t = self._grid, self.loads, self.t
        item = loads.item_weight(t, self.mix)
        receive, send = loads.net_weight(t, self.mix)
        share = 1.0 - self.memory_mix
        item, receive, send = share * item, share * receive, share * send
        if self.memory_mix:
            item = item + self.memory_mix * grid.top_ms * loads.problem.memory_bytes / self.limit
        weight = self.diagram.transition_weight(item, receive, send)
        step_item = np.repeat(self.diagram.order, np.diff(self.diagram.offset)[:-1])
        weight[~self.allowed[step_item], 1] = np.inf
        with np.errstate(divide="ignore", invalid="ignore"):  # a load of 0 has units of 0
            units = np.minimum(weight * (1 - ROUNDING) / grid.unit_ms, grid.units + 1.0)
        self.weight = np.floor(np.nan_to_num(units)).astype(np.int64)

    def set_mix(self, mix: FloatArray, memory_mix: float) -> None:
        """Weigh facets and memory in another way."""
        memory_mix = min(max(0.0, memory_mix), MOST_MEMORY)
        if not np.array_equal(mix, self.mix) or memory_mix != self.memory_mix:
            self.mix, self.memory_mix = mix, memory_mix
            if self._grid is not None:
                self._count()

    def capacity(self, load_ms: float) -> int:
        """Units that a load of at most ``load_ms`` can have; -1 for none."""
        assert self._grid is not None
        mixed = (1.0 - self.memory_mix) * load_ms + self.memory_mix * self._grid.top_ms
        return min(self._grid.units, int(np.floor(mixed * (1 + ROUNDING) / self._grid.unit_ms)))

    @property
    def work_s(self) -> float:
        """Work of one pricing, in nominal seconds."""
        assert self._grid is not None
        return PRICING_CELL_S * self.diagram.states * (self._grid.units + 1)

    def values(self, dual: IntArray, slope: FloatArray | None = None) -> IntArray:
        """Best value for every capacity in units, ``(units + 1,)``, with integer values of items.

        Resources ``(F + 1,)`` may have a price each, see `use`; `credit` gives back what a device has.
        """
        assert self._grid is not None
        self.slope = np.zeros(self.need.shape[2]) if slope is None else slope
        price = np.minimum(self.need @ self.slope * (1 - ROUNDING), float(MOST_PRICE)).astype(np.int32)
        shape = (self.diagram.states, self._grid.units + 1)
        if self._taken.shape != shape:
            self._taken = np.zeros(shape, dtype=np.uint8)
        layers = np.empty((2, int(np.diff(self.diagram.offset).max()), shape[1]), dtype=np.int32)
        return np.asarray(
            best_values(
                self.diagram.offset,
                self.diagram.target,
                self.weight,
                price,
                dual[self.diagram.order].astype(np.int32),
                self._taken,
                layers,
            )
        )

    def best_set(self, load_ms: float) -> BoolArray:
        """Return the set that attained the last `values` within ``load_ms``, ``(N,)``."""
        chosen = follow(
            self.diagram.offset, self.diagram.target, self.weight, self._taken, self.capacity(load_ms)
        )
        out = np.zeros(len(chosen), dtype=bool)
        out[self.diagram.order[chosen]] = True
        return out

    def take_mix(self, other: Pricer) -> None:
        """Weigh as a pricer does that knows fewer transfers."""
        self.set_mix(other.mix if other._mixes_facets else self.mix, other.memory_mix)

    def adapt(self, inside: BoolArray, load_ms: float) -> None:
        """Shift the mix towards the limits that the sets ``(S, N)`` break, less each time."""
        excess = self._facet_loads(inside) / load_ms - 1.0
        rate = 1.0 / (1.0 + self.adapted / SLOWER)
        self.adapted += 1
        mix, memory_mix = self.mix, self.memory_mix
        if self._mixes_facets:
            step = np.maximum(mix, LEAST_MIX) * np.exp(rate * np.clip(excess.mean(axis=1), -1.0, 1.0))
            mix = step / step.sum()
        if self.limits_memory:
            used = float(self.loads.memory_bytes(inside).mean()) / self.limit - 1.0
            load = float(excess.max(axis=0).mean())
            odds = max(memory_mix, 0.02) / (1 - max(memory_mix, 0.02))
            odds *= np.exp(rate * np.clip(used - max(load, -0.5), -1.0, 1.0))
            memory_mix = odds / (1 + odds) if odds > 0.021 else 0.0
        self.set_mix(mix, memory_mix)

    @property
    def mixes(self) -> bool:
        """Whether there is anything to mix."""
        return self._mixes_facets or self.limits_memory

    @property
    def _mixes_facets(self) -> bool:
        """Whether the diagram tells facets apart: without transfers, compute alone counts."""
        return len(self.mix) > 1 and len(self.diagram.paid_net) > 0

    def _facet_loads(self, inside: BoolArray) -> FloatArray:
        loads = self.loads
        out = np.empty((len(loads.facets), len(inside)))
        count = np.add.reduceat(inside[:, loads.nets.items], loads.nets.start[:-1], axis=1, dtype=np.int64)
        split = (count > 0) & (count < np.diff(loads.nets.start))
        sends = inside[:, loads.nets.items[loads.nets.start[:-1]]]
        for f in range(len(loads.facets)):
            only = np.zeros(len(loads.facets))
            only[f] = 1.0
            receive, send = loads.net_weight(self.t, only)
            out[f] = inside @ loads.item_weight(self.t, only)
            out[f] += (split & ~sends) @ receive + (split & sends) @ send
        return out


def _first_mix(loads: Loads, diagram: Diagram) -> FloatArray:
    """Weigh compute most, and nothing else where a diagram knows no transfers, ``(F,)``."""
    even = np.full(len(loads.facets), 1.0 / len(loads.facets))
    compute = ~np.asarray(loads.facets[:, :, 1:].any(axis=(1, 2)))
    if not compute.any():
        return even
    share = OTHERS if len(diagram.paid_net) else 0.0
    return np.asarray((1 - share) * compute / compute.sum() + share * even)


def find_diagram(loads: Loads, *, max_states: int = 4096, check: Callable[[], None] | None = None) -> Diagram:
    """Build the diagram along an order in which few nets end early, and few states are enough."""
    found: list[tuple[float, int, Diagram]] = []
    for weights in WEIGHTS:
        order = walk_order(loads.problem.size, loads.nets, weights=weights, check=check)
        diagram = diagram_along(order, loads, max_states=max_states, check=check)
        cut = float(loads.nets.cost_ms[:, diagram.cut].sum())
        found.append((cut, diagram.states, diagram))
        if diagram.states <= FEW * len(order) or len(order) > MANY:
            break
    return min(found, key=lambda one: one[:2])[2]


def diagram_along(
    order: IntArray, loads: Loads, *, max_states: int, check: Callable[[], None] | None = None
) -> Diagram:
    """Build the diagram along an order ``(N,)``; with one state per step it knows no transfers."""
    if max_states == 1:
        return _without_nets(order, loads.nets.count)
    return build_diagram(order, loads.nets, sides=_sides(loads), max_states=max_states, check=check)


def _sides(loads: Loads) -> bool:
    """Whether sending and receiving have different weights."""
    return any(
        not np.array_equal(*loads.net_weight(t, np.eye(len(loads.facets))[f]))
        for t in range(len(loads.types))
        for f in range(len(loads.facets))
    )


def make_pricers(loads: Loads, accelerator: Diagram | None = None) -> list[Pricer]:
    """Make one for each type of device.

    Parameters
    ----------
    loads
        The loads.
    accelerator
        The diagram of all accelerators, looked for when None; that of hosts has no nets.
    """
    if accelerator is None:
        accelerator = find_diagram(loads)
    host = _without_nets(accelerator.order, loads.nets.count)
    diagrams = [
        host if kind.is_host else _in_room(accelerator, loads, t) for t, kind in enumerate(loads.types)
    ]
    return [Pricer(loads, t, diagram) for t, diagram in enumerate(diagrams)]


def _in_room(diagram: Diagram, loads: Loads, t: int) -> Diagram:
    """Return the sets of a diagram that fit into the memory of a device in whole units."""
    kind, memory = loads.types[t], loads.problem.memory_bytes
    limit = kind.memory_limit_bytes * (1 + MEMORY_SLACK)
    if not 0 < limit < np.inf:
        return diagram
    found = room_units(np.where(kind.allowed & (memory <= limit), memory / limit, 0.0))
    return diagram if found is None else in_room(diagram, *found)


def _without_nets(order: IntArray, nets: int) -> Diagram:
    """One state per step: what hosts need, which pay no transfers, and the coarsest look at accelerators."""
    size = len(order)
    return Diagram(
        order=order,
        offset=np.arange(size + 2, dtype=np.int64),
        target=np.repeat(np.arange(1, size + 1, dtype=np.int64)[:, None], 2, axis=1),
        paid_start=np.zeros(2 * size + 1, dtype=np.int64),
        paid_net=np.zeros(0, dtype=np.int64),
        paid_sends=np.zeros(0, dtype=bool),
        cut=np.ones(nets, dtype=bool),
    )
