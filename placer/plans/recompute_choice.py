r"""Which units of one device recompute, where each chooses by itself: a knapsack, solved exactly.

Units g are colocation groups and single nodes, in an order in which outputs mostly come before their readers.
With p_g the time of computing g again, s_g the bytes that this frees, and o_u the bytes of output u for all
microbatches in flight, which units that recompute have to keep unless its producer recomputes as well:

    min Σ p_g r_g   such that   Σ s_g r_g − Σ_u o_u h_u ≥ need,   h_u ≥ r_w − r_{g(u)} for readers w of u

Without outputs that is the knapsack problem.  The dynamic program goes through the units; its states are
the outputs that are settled (kept, or computed again), and for each the pairs of (time, bytes freed) that no
other one beats.  A pair that frees enough is an answer; those that cannot, or take longer, are dropped.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

__all__ = ["Choices", "Output", "fewest_recomputed"]

MOST_PAIRS = 20_000
"""Pairs that are kept after a unit; beyond, those that free most for their time, and the answer may not be
the best one."""

Pair = tuple[float, float, tuple[int, ...]]
"""Time, bytes freed, and the units that recompute."""
State = tuple[frozenset[int], frozenset[int]]
"""Outputs that cost nothing more, and those paid for whose producer comes later; of those still read."""
States = dict[State, list[Pair]]


@dataclass(frozen=True)
class Output:
    """An output that units of the device read: bytes, its producer (-1: elsewhere), its readers."""

    size: float
    producer: int
    readers: tuple[int, ...]


@dataclass(frozen=True)
class Choices:
    """The units of one device.

    Parameters
    ----------
    time_ms, freed_bytes
        Of each unit.
    outputs
        Those that are read by units other than their producers.
    """

    time_ms: Sequence[float]
    freed_bytes: Sequence[float]
    outputs: Sequence[Output]

    def freed(self, units: Sequence[int]) -> float:
        """Bytes that are freed when just these units recompute."""
        chosen = set(units)
        kept = sum(o.size for o in self.outputs if o.producer not in chosen and chosen & {*o.readers})
        return sum(self.freed_bytes[g] for g in chosen) - kept


def fewest_recomputed(
    choices: Choices, need_bytes: float, start: Sequence[int] = ()
) -> tuple[tuple[int, ...] | None, bool]:
    """Return the units that free the bytes in the least time, and whether no others are better.

    Parameters
    ----------
    choices
        The units.
    need_bytes
        What has to be freed.
    start
        Units to start from: an answer if they free enough.

    Returns
    -------
    tuple of int or None
        Units; None if all of them do not suffice.
    bool
        Whether that is proven.
    """
    if need_bytes <= 0:
        return (), True
    search = _Search(choices, need_bytes)
    if choices.freed(start) >= need_bytes:
        search.best, search.best_ms = tuple(start), sum(choices.time_ms[g] for g in start)
    for g in range(len(choices.time_ms)):
        search.decide(g)
    return search.best, search.is_exact


class _Search:
    """States after some of the units."""

    def __init__(self, choices: Choices, need: float) -> None:
        self.choices, self.need = choices, need
        size = len(choices.time_ms)
        self.best: tuple[int, ...] | None = None
        self.best_ms = float("inf")
        self.is_exact = True
        self.states: States = {(frozenset(), frozenset()): [(0.0, 0.0, ())]}
        self.made: list[list[int]] = [[] for _ in range(size)]
        self.read: list[list[int]] = [[] for _ in range(size)]
        self.closed: list[list[int]] = [[] for _ in range(size)]
        refund = [0.0] * size
        for u, output in enumerate(choices.outputs):
            for g in output.readers:
                self.read[g].append(u)
            if output.producer >= 0:
                self.made[output.producer].append(u)
                if min(output.readers) < output.producer:
                    refund[output.producer] += output.size
            self.closed[max(output.producer, *output.readers)].append(u)
        self.rest = [0.0] * (size + 1)  # what units from here on may free at most
        for g in reversed(range(size)):
            self.rest[g] = self.rest[g + 1] + max(0.0, choices.freed_bytes[g]) + refund[g]

    def decide(self, g: int) -> None:
        """Let one more unit keep or recompute."""
        found: States = {}
        closed = frozenset(self.closed[g])
        for (settled, paid), pairs in self.states.items():
            key = settled - closed, paid - closed
            found.setdefault(key, []).extend(pairs)
            freed, key = self._recomputed(g, settled, paid, closed)
            time = self.choices.time_ms[g]
            for t, f, units in pairs:
                self._offer(found, key, (t + time, f + freed, (*units, g)))
        least = self.need - self.rest[g + 1]
        self.states = {}
        for key, pairs in found.items():
            kept = self._undominated(pairs, least)
            if kept:
                self.states[key] = kept
        self._limit()

    def _recomputed(
        self, g: int, settled: frozenset[int], paid: frozenset[int], closed: frozenset[int]
    ) -> tuple[float, State]:
        """Bytes that are freed when a unit recomputes, and the state after that."""
        freed, outputs = self.choices.freed_bytes[g], self.choices.outputs
        for u in self.made[g]:
            freed += outputs[u].size if u in paid else 0.0
        kept = [u for u in self.read[g] if u not in settled and outputs[u].producer != g]
        freed -= sum(outputs[u].size for u in kept)
        late = {u for u in kept if outputs[u].producer > g}
        return freed, ((settled | {*self.made[g], *kept}) - closed, (paid | late) - closed)

    def _offer(self, found: States, key: State, pair: Pair) -> None:
        """Take a pair as the answer if it frees enough, else go on with it."""
        if pair[0] >= self.best_ms:
            return
        if pair[1] >= self.need:
            self.best_ms, self.best = pair[0], pair[2]
        else:
            found.setdefault(key, []).append(pair)

    def _undominated(self, pairs: list[Pair], least: float) -> list[Pair]:
        """Pairs that may still free enough in less time, and that no other one beats."""
        out: list[Pair] = []
        for pair in sorted(pairs, key=lambda pair: (pair[0], -pair[1])):
            if pair[0] < self.best_ms and pair[1] >= least and (not out or pair[1] > out[-1][1]):
                out.append(pair)
        return out

    def _limit(self) -> None:
        """Keep no more pairs than there is room for."""
        count = sum(map(len, self.states.values()))
        if count <= MOST_PAIRS:
            return
        self.is_exact = False
        share = MOST_PAIRS / count
        for key, pairs in self.states.items():
            room = max(1, int(share * len(pairs)))
            step = len(pairs) / room
            self.states[key] = [pairs[int((i + 1) * step) - 1] for i in range(room)]
