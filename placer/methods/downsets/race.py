"""The same test on a graph and on its reverse, by turns: one of them is often a thousand times cheaper."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass, field

from placer.methods.downsets.lattice import Lattice
from placer.methods.downsets.search import NO_LIMIT, Attempt, Search
from placer.plans.status import Stop
from placer.search.run import Run

__all__ = ["Race", "ways"]

FIRST_TURN = 10_000
"""Steps of the first turn of each side; the turns double, so that no side waits longer than it worked."""


def ways(lattice: Lattice) -> tuple[Lattice, ...]:
    """Return the reverse of a lattice, and the lattice itself where that tells as much."""
    return (lattice.reversed(),) if lattice.one_way else (lattice.reversed(), lattice)


@dataclass
class Race:
    """A test that is over when one of its sides is.

    Parameters
    ----------
    sides
        Lattices of the same items, the most promising first.
    target
        The objective in ms that is tested.
    begin
        Makes the search of a side.
    """

    sides: tuple[Lattice, ...]
    target: float
    begin: Callable[[Lattice], Search]
    steps: int = 0
    states: int = 0
    _searches: list[Search] = field(default_factory=list, repr=False)
    _turn: int = FIRST_TURN
    _next: int = 0

    @property
    def work_s(self) -> float:
        """Work so far in nominal seconds."""
        return sum(search.work_s for search in self._searches)

    @property
    def full(self) -> bool:
        """Whether the memory suffices for no side."""
        return len(self._searches) == len(self.sides) and all(search.full for search in self._searches)

    def go_on(self, run: Run, steps: int = NO_LIMIT) -> tuple[int, Attempt]:
        """Go on until a side is done, all are full, or the run is over; tell which side was last.

        A side that ended, without a plan or with one, answers for all.
        """
        end = self.steps + steps
        while True:
            at = self._next
            if at == len(self._searches):
                self._searches.append(self.begin(self.sides[at]))
            found = self._searches[at].go_on(run, min(self._turn, end - self.steps))
            self.steps += found.steps
            self.states += found.states
            done = found.pieces is not None or found.exhausted
            over = run.stopped()
            if done or over is not None or self.steps >= end or self.full:
                stop = over or (Stop.MEMORY_LIMIT if self.full else None)
                return at, Attempt(found.pieces, found.exhausted, None if done else stop, 0, 0)
            self._next = (at + 1) % len(self.sides)
            if self._next == 0:
                self._turn *= 2
