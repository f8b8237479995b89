"""The slots of the program of ordered slots, and the names of its variables."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np

from formulations.throughput.shared import ThroughputParams, fits
from placer.arrays import BoolArray
from placer.reductions.kinds import Kinds, kinds_of
from placer.reductions.problem import Problem

__all__ = ["Layout", "Slot", "fixings", "kind_name", "lay_out", "position_name"]


@dataclass(frozen=True)
class Slot:
    """A slot.

    Parameters
    ----------
    name
        Unique.
    is_host
        Whether it is in a gap between accelerators.
    kinds
        The kinds it may have.
    accelerators
        Slots that are not in a gap, up to and including it.
    in_flight
        Microbatches in flight.
    has_choice
        Whether what it is has to be decided: its kind, or whether a device is there at all.
    may_be_empty
        Whether it may have no kind.
    """

    name: str
    is_host: bool
    kinds: tuple[int, ...]
    accelerators: int
    in_flight: int
    has_choice: bool
    may_be_empty: bool


@dataclass(frozen=True, eq=False)
class Layout:
    """The slots, and which items may go to which kind, ``(N, K)``."""

    kinds: Kinds
    may: BoolArray
    slots: tuple[Slot, ...]
    mixed: bool

    @property
    def between(self) -> int:
        """Slots that are not in a gap."""
        return self.slots[-1].accelerators

    @property
    def on_host(self) -> BoolArray:
        """Items that may go to some host, ``(N,)``."""
        return np.asarray(self.may[:, self.kinds.hosts].any(axis=1))


def lay_out(problem: Problem, params: ThroughputParams) -> Layout:
    """Lay out the slots; there are none for hosts when no item can go to a host."""
    kinds = kinds_of(problem)
    may = fits(problem, kinds, params)
    accelerators, hosts = tuple(kinds.accelerators), tuple(kinds.hosts)
    k = kinds.slots
    hosts_used = sum(kinds.count(h) for h in hosts) if may[:, list(hosts)].any() else 0
    flights, ranked = params.flights, bool((kinds.rank >= 0).any())
    free = params.by_place or ranked or kinds.shared
    mixed = params.by_place and hosts_used > 0
    slots = []
    if mixed:
        k, hosts_used, accelerators = k + hosts_used, 0, (*accelerators, *hosts)
    choice = len(accelerators) > 1 or ranked
    for gap in range(k + 1):
        if gap:
            slot = Slot(f"A{gap:03d}", False, accelerators, gap, flights.at(k - gap + 1), choice, free)
            slots.append(slot)
        slots += [
            Slot(f"H{gap:03d}_{i}", True, hosts, gap, flights.most, True, True) for i in range(hosts_used)
        ]
    return Layout(kinds, may, tuple(slots), mixed)


def position_name(c: int, slot: Slot) -> str:
    """Name of Y_{cs}."""
    return f"Y_{c:05d}_{slot.name}"


def kind_name(slot: Slot, kind: int) -> str:
    """Name of t_{sκ}."""
    return f"t_{slot.name}_{kind}"


def fixings(c: int, layout: Layout, params: ThroughputParams) -> list[int | None]:
    """Return Y_{cs} for each slot: 0 or 1 where it is fixed, -1 where it equals the one before, else None."""
    k = layout.between
    on_host = bool(layout.on_host[c])
    first, last = (0, k + 1) if params.windows is None else params.windows[c].tolist()
    if layout.mixed and params.windows is not None:  # windows leave out the slots that hosts may take
        last += sum(layout.kinds.count(h) for h in layout.kinds.hosts)
    if not on_host:
        first, last = max(first, 1), min(last, k)
    out: list[int | None] = []
    for s, slot in enumerate(layout.slots):
        if slot.accelerators >= last or s == len(layout.slots) - 1:
            out.append(1)
        elif slot.accelerators < first:
            out.append(0)
        else:
            out.append(-1 if slot.is_host and not on_host else None)
    return out
