"""Memory of devices where each unit of nodes keeps or recomputes its activations by itself.

Sets
    g ∈ units (colocation groups and single nodes), each within one item c(g).
Data
    m_c memory of item c (on kind κ) with one microbatch in flight, a_g of unit g for each further of the f in
    flight; o_u bytes of the forward output u, made by unit g(u) and read by others; M_κ limit of kind κ.
Variables of one device
    r_g ∈ {0, 1}   unit g is computed again:  r_g ≤ x_{c(g)}
    h_u ∈ [0, 1]   output u is kept for that:  h_u ≥ r_w − r_{g(u)}  for the units w that read it
Memory of one device with a limit
    Σ_c m_c x_c + Σ_g (f − 1) a_g (x_{c(g)} − r_g) + f Σ_u o_u h_u ≤ M

With the items of a device given, that is a knapsack (`placer.plans.recompute_choice`).
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace

import numpy as np

from formulations.expressions import ZERO, Expression, Model, dot, total
from formulations.throughput.place import Place
from formulations.throughput.stage_memory import MEMORY_MOST, memory_share
from placer.instance.recompute_units import Units, units_of
from placer.reductions.kinds import Kinds
from placer.reductions.problem import Problem

__all__ = ["UnitMemory"]


class UnitMemory:
    """Adds what units of each device recompute, and its memory, to a model."""

    def __init__(self, model: Model, problem: Problem, kinds: Kinds) -> None:
        self.model, self.kinds = model, kinds
        self.units: Units = units_of(problem.instance)
        self.item = [int(problem.item[nodes[0]]) for nodes in self.units.members]
        self.held = kinds.held_bytes
        self.more = self.units.summed(problem.instance.class_kept_bytes[1])[:, kinds.class_index]

    @property
    def count(self) -> int:
        """How many units there are."""
        return len(self.units)

    def choosing(self, place: Place) -> Place:
        """Add r_g ≤ x_{c(g)} of one accelerator with limited memory; return it with them."""
        again: dict[int, list[Expression]] = {}
        for kind, items in place.x.items():
            if self.kinds.is_host[kind] or place.in_flight < 2:
                continue
            if not np.isfinite(self.kinds.limit_bytes[kind]):
                continue
            again[kind] = [ZERO] * self.count
            for g, c in enumerate(self.item):
                if not (items[c].is_constant and items[c].constant == 0):
                    again[kind][g] = r = self.model.binary(unit_name(g, place.label, kind))
                    self.model.add(r <= items[c])
        return replace(place, r=again)

    def limit(self, place: Place, most: Expression) -> None:
        """Keep the memory of one device below its limit."""
        used = []
        for kind, items in place.x.items():
            if np.isfinite(self.kinds.limit_bytes[kind]):
                used += self._used(place, kind, items)
        self.model.add(total(used) <= most)

    def _used(self, place: Place, kind: int, items: Sequence[Expression]) -> list[Expression]:
        """Σ_c m_c x_c + Σ_g (f − 1) a_g (x_{c(g)} − r_g) + f Σ_u o_u h_u on one kind of device."""
        limit, again = float(self.kinds.limit_bytes[kind]), place.r.get(kind, [ZERO] * self.count)
        shares = [memory_share(float(held), limit) for held in self.held[:, kind]]
        for x, share in zip(items, shares, strict=True):
            if share > MEMORY_MOST:
                self.model.add(x <= 0)
        parts = [dot([share if share <= MEMORY_MOST else 0.0 for share in shares], items)]
        for g, c in enumerate(self.item):
            share = memory_share((place.in_flight - 1) * float(self.more[g, kind]), limit)
            kept = items[c] - again[g]
            if share > MEMORY_MOST:
                self.model.add(kept <= 0)
            elif share > 0:
                parts.append(share * kept)
        return [*parts, self._outputs(place, kind, again, limit)]

    def _outputs(self, place: Place, kind: int, again: Sequence[Expression], limit: float) -> Expression:
        """F Σ_u o_u h_u."""
        parts = []
        for u, (size, producer, readers) in enumerate(self.units.outputs):
            gaps = [again[w] - again[producer] for w in readers]
            gaps = [gap for gap in gaps if not (gap.is_constant and gap.constant <= 0)]
            share = memory_share(place.in_flight * size, limit)
            kept = ZERO
            if gaps and share <= MEMORY_MOST:
                kept = self.model.real(f"stash_{u}_{place.label}_{kind}", 0.0, 1.0)
                parts.append(share * kept)
            for gap in gaps:
                self.model.add(gap <= kept)
        return total(parts)


def unit_name(g: int, label: str, kind: int) -> str:
    """Name of r_g of a device of one kind."""
    return f"r_{g:05d}_{label}_{kind}"
