"""Memory of devices, and which of them compute activations again, for the throughput programs.

Data
    m_c memory of item c (on kind κ) with one microbatch in flight, a_c for each further of the f in flight;
    o_u bytes of the forward output u, which items b read; M_κ memory limit of kind κ.
Memory of one device with a limit, scaled so that the limit is `MEMORY_UNIT`
    Σ_c (m_c + (f − 1) a_c) x_c ≤ M, or ≤ z ≤ M where the largest share z is minimised
Recomputation of one device (ρ ∈ {0, 1}: its activations are dropped and computed again)
    r_c = ρ x_c                     by  r_c ≤ x_c,  r_c ≤ ρ,  r_c ≥ x_c + ρ − 1
    in_u ≥ x_b − x_{c(u)} + ρ − 1   for the forward outputs u that it receives
    memory                          (f − 1) a_c r_c less and f Σ_u o_u in_u more
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace

import numpy as np

from formulations.expressions import ONE, ZERO, Expression, Model, dot, total
from formulations.throughput.place import Place
from placer.options import Recompute
from placer.reductions.kinds import Kinds
from placer.reductions.problem import Problem

__all__ = ["MEMORY_MOST", "MEMORY_UNIT", "limit_memory", "memory_share", "recomputing", "rho_name"]

MEMORY_UNIT = 1000.0
"""Memory rows read Σ ≤ 1000, so that an absolute tolerance of 1e-6 is 1e-9 of the limit."""

MEMORY_MOST = MEMORY_UNIT + 1e-6
"""The right side of these rows: verification takes as much more for rounding."""


def memory_share(need_bytes: float, limit_bytes: float) -> float:
    """Memory in units of the program; anything is too much where the limit is 0."""
    if limit_bytes > 0:
        return MEMORY_UNIT * (need_bytes / limit_bytes)
    return 2 * MEMORY_UNIT * (need_bytes > 0)


def rho_name(label: str) -> str:
    """Name of ρ of a device."""
    return f"rho_{label}"


def recomputing(model: Model, kinds: Kinds, place: Place, recompute: Recompute) -> Place:
    """Add ρ and r_c = ρ x_c of one device; return it with them."""
    if recompute is Recompute.NONE:
        return place
    rho = ONE if recompute is Recompute.ALL else model.binary(rho_name(place.label))
    again: dict[int, list[Expression]] = {}
    for kind, items in place.x.items():
        if kinds.is_host[kind]:
            continue
        again[kind] = list(items)
        for c, x in enumerate(items):
            if rho.is_constant or (x.is_constant and x.constant == 0):
                continue
            again[kind][c] = r = model.real(f"r_{c:05d}_{place.label}_{kind}", 0.0, 1.0)
            model.add(r <= x)
            model.add(r <= rho)
            model.add(x - r + rho <= 1)
    return replace(place, r=again, rho=rho)


def limit_memory(model: Model, problem: Problem, kinds: Kinds, place: Place, most: Expression) -> None:
    """Σ_c (m_c + (f − 1) a_c) x_c − (f − 1) a_c r_c + f Σ_u o_u in_u ≤ most for one device."""
    used = []
    for kind, items in place.x.items():
        limit = float(kinds.limit_bytes[kind])
        if not np.isfinite(limit):
            continue
        again = place.r.get(kind)
        shares: list[float] = []
        saved: list[float] = []
        for c, x in enumerate(items):
            held = float(kinds.held_bytes[c, kind])
            more = (place.in_flight - 1) * float(kinds.more_bytes[c, kind])
            kept = memory_share(held + more, limit) <= MEMORY_MOST
            if not kept and again is not None and memory_share(held, limit) <= MEMORY_MOST:
                model.add(x <= again[c])  # it only fits where it is computed again
                more = 0.0
            elif not kept:
                model.add(x <= 0)
                held = more = 0.0
            shares.append(memory_share(held + more, limit))
            saved.append(-memory_share(more, limit))
        used.append(dot(shares, items))
        if again is not None:
            unit = place.in_flight / limit if limit else np.inf
            label = f"{place.label}_{kind}"
            used += [dot(saved, again), _received(model, problem, label, items, place.rho, unit)]
    model.add(total(used) <= most)


def _received(
    model: Model, problem: Problem, label: str, x: Sequence[Expression], rho: Expression, unit: float
) -> Expression:
    """Return f Σ_u o_u in_u: the forward outputs that a recomputing device receives and keeps."""
    parts = []
    for i, (size, producer, readers) in enumerate(problem.stashes):
        gaps = [x[b] - x[producer] + rho for b in readers if b != producer]
        gaps = [gap for gap in gaps if not (gap.is_constant and gap.constant <= 1)]
        received = ZERO
        if gaps and size * unit <= 1 + 1e-9:
            received = model.real(f"stash_{i}_{label}", 0.0, 1.0)
            parts.append(MEMORY_UNIT * size * unit * received)
        for gap in gaps:
            model.add(gap - received <= 1)
    return total(parts)
