"""A layered diagram of all item sets along an order with few open nets.

Walk the items in an order; a net is *open* between its first and its last item.  What later costs need
to know of the items walked so far is, for each open net, whether all of its items were left out, all were
taken, or both occurred (then the net is split).  The combinations that can occur are the *states* of a
step; leaving an item out or taking it leads to a state of the next step, and pays for nets that became
split.  Where sends and receives have different weights, a split net waits for its producer's side.

Where a step would have too many states, nets end early: what they would pay for their later items is left
out.  Loads are then too low, never too high.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass

import numpy as np

from placer.arrays import BoolArray, FloatArray, IntArray
from placer.methods.colgen.linear_loads import Hypernets

__all__ = ["Diagram", "build_diagram", "walk_order"]

OUT, IN, SPLIT, SPLIT_UNKNOWN = 0, 1, 2, 3
OFTEN = 64
"""Items between two looks at the clock."""
SLOTS = 31
"""Open nets that fit into one packed code, 2 bits each."""
WEIGHTS = ((1.0, 1.58), (1.0, 1.0), None)
"""What open nets count in walks: those of which the same items were walked once together, by whether it is
one item (out or in) or several (or split, log 3); or each by itself.  None of them is best on all graphs."""


@dataclass(frozen=True, eq=False)
class Diagram:
    """States and transitions; step i decides item ``order[i]``.

    Parameters
    ----------
    order
        The items in the order of the walk, ``(N,)``.
    offset
        States of step i are ``offset[i] .. offset[i + 1] - 1``; the last step has one state, ``(N + 2,)``.
    target
        Next state after leaving out (column 0) or taking (column 1) the item, ``(states, 2)``.
    paid_start, paid_net, paid_sends
        Transition ``2 * state + choice`` pays the nets ``paid_net[paid_start[.] : paid_start[. + 1]]``,
        as a sender where ``paid_sends``.
    cut
        Nets that end early to keep the number of states low, ``(H,)``: loads are lower without their last
        items, so that bounds stay valid.
    barred
        States in which the item may not be taken, ``(states,)``; None where it always may.
    """

    order: IntArray
    offset: IntArray
    target: IntArray
    paid_start: IntArray
    paid_net: IntArray
    paid_sends: BoolArray
    cut: BoolArray
    barred: BoolArray | None = None

    @property
    def states(self) -> int:
        """Number of states over all steps but the last."""
        return len(self.target)

    def transition_weight(self, item: FloatArray, receive: FloatArray, send: FloatArray) -> FloatArray:
        """Weight of each transition, ``(states, 2)``, from weights of items and nets; inf where barred."""
        of_net = np.where(self.paid_sends, send[self.paid_net], receive[self.paid_net])
        total = np.concatenate([[0.0], np.cumsum(of_net)])
        weight = (total[self.paid_start[1:]] - total[self.paid_start[:-1]]).reshape(-1, 2)
        # Differences of running sums must not turn an exact zero into a tiny negative weight.
        weight = np.maximum(weight, 0.0)
        step_item = np.repeat(self.order, np.diff(self.offset)[: len(self.order)])
        weight[:, 1] += item[step_item]
        if self.barred is not None:
            weight[self.barred, 1] = np.inf
        return np.asarray(weight)


def walk_order(
    items: int,
    nets: Hypernets,
    *,
    weights: tuple[float, float] | None = WEIGHTS[0],
    starts: int = 12,
    check: Callable[[], None] | None = None,
) -> IntArray:
    """Find an order of the items with few states: greedily, from several starts, hubs first.

    Open nets count as ``weights`` say, see `WEIGHTS`.  ``check`` is called now and then and may raise.
    """
    members = [nets.members(h).tolist() for h in range(nets.count)]
    of_item: list[list[int]] = [[] for _ in range(items)]
    for h, net in enumerate(members):
        for i in net:
            of_item[i].append(h)
    best: tuple[float, list[int]] | None = None
    starts = max(1, min(starts, 20_000 // max(1, items)))
    hubs = sorted(range(items), key=lambda i: (-len(of_item[i]), i))[: max(1, starts // 4)]
    for start in [*hubs, *range(0, items, max(1, -(-items // starts)))] if items else []:
        found = _Walk(members, of_item, weights).walk(start, check or (lambda: None))
        if best is None or found[0] < best[0]:
            best = found
    return np.array(best[1] if best else [], dtype=np.int64)


class _Walk:
    """A greedy walk: next is the item that leaves the fewest states, the oldest candidate on ties."""

    def __init__(
        self, members: list[list[int]], of_item: list[list[int]], weights: tuple[float, float] | None
    ) -> None:
        self.members, self.of_item, self.weights = members, of_item, weights
        self.left = [len(net) for net in members]
        self.walked: list[int] = [0] * len(members)
        """Name of the set of items walked of each net; 0 for none."""
        self.nets_of: dict[int, int] = {}
        """How many open nets each such set has: the states are told apart by these sets."""
        rng = np.random.default_rng(0)
        self.name: list[int] = rng.integers(1, 2**62, len(of_item)).tolist()
        self.single = set(self.name)

    def walk(self, start: int, check: Callable[[], None]) -> tuple[float, list[int]]:
        """Walk all items; returns an estimate of the states of all steps, and the order."""
        size = len(self.of_item)
        placed = [False] * size
        seen, candidates = {start: 0}, {start}
        order: list[int] = []
        cost, scan = 0.0, 0
        while len(order) < size:
            if len(order) % OFTEN == 0:
                check()
            if not candidates:
                while placed[scan]:
                    scan += 1
                candidates, seen[scan] = {scan}, len(order)
            item = min(candidates, key=lambda i: (self._more(i), seen[i], i))
            candidates.discard(item)
            placed[item] = True
            order.append(item)
            self._place(item)
            cost += 2.0 ** min(self._bits(), 200)
            for h in self.of_item[item]:
                for j in self.members[h]:
                    if not placed[j] and j not in candidates:
                        candidates.add(j)
                        seen.setdefault(j, len(order))
        return cost, order

    def _bits(self) -> float:
        """Estimate the logarithm of the states now."""
        if self.weights is None:
            return sum(self.nets_of.values())
        return sum(self.weights[walked not in self.single] for walked in self.nets_of)

    def _more(self, item: int) -> float:
        """By how much that grows with an item."""
        if self.weights is None:
            return sum((not self.walked[h]) - (self.left[h] == 1) for h in self.of_item[item])
        one, several = self.weights
        gone: dict[int, int] = {}
        new = set()
        for h in self.of_item[item]:
            walked = self.walked[h]
            if walked:
                gone[walked] = gone.get(walked, 0) + 1
            if self.left[h] > 1:
                new.add(walked)
        less = [walked in self.single for walked, count in gone.items() if self.nets_of[walked] == count]
        return sum(several if walked else one for walked in new) - sum(one if x else several for x in less)

    def _place(self, item: int) -> None:
        for h in self.of_item[item]:
            walked = self.walked[h]
            if walked:
                self.nets_of[walked] -= 1
                if not self.nets_of[walked]:
                    del self.nets_of[walked]
            self.left[h] -= 1
            if self.left[h]:
                self.walked[h] = walked ^ self.name[item]
                self.nets_of[self.walked[h]] = self.nets_of.get(self.walked[h], 0) + 1


def build_diagram(
    order: IntArray,
    nets: Hypernets,
    *,
    sides: bool,
    max_states: int = 4096,
    check: Callable[[], None] | None = None,
) -> Diagram:
    """Build the diagram of all sets along ``order``.

    Parameters
    ----------
    order
        Items in the order of the walk, ``(N,)``.
    nets
        The nets; where a step would have more than ``max_states`` states, its cheapest open nets end there.
    sides
        Whether sending and receiving have different weights.
    check
        Called now and then; it may raise.
    """
    return _Builder(order, nets, sides, max_states).build(check or (lambda: None))


class _Builder:
    """One pass over the order."""

    def __init__(self, order: IntArray, nets: Hypernets, sides: bool, max_states: int) -> None:
        self.order, self.nets, self.sides, self.max_states = order, nets, sides, max_states
        self.cut = np.zeros(nets.count, dtype=bool)
        self.position = np.empty(len(order), dtype=np.int64)
        self.position[order] = np.arange(len(order))
        self.of_item: list[list[int]] = [[] for _ in range(len(order))]
        self.last = np.zeros(nets.count, dtype=np.int64)
        self.first = np.zeros(nets.count, dtype=np.int64)
        for h in range(nets.count):
            at = self.position[nets.members(h)]
            self.first[h], self.last[h] = at.min(), at.max()
            for i in nets.members(h).tolist():
                self.of_item[i].append(h)
        self.price = nets.cost_ms.sum(axis=(0, 2))

    def build(self, check: Callable[[], None]) -> Diagram:
        """Return the diagram."""
        state = np.zeros((1, 0), dtype=np.int8)
        open_nets: list[int] = []
        targets: list[IntArray] = []
        paid: list[tuple[IntArray, IntArray, BoolArray]] = []
        offset = [0, 1]
        for step, item in enumerate(self.order.tolist()):
            check()
            new = [h for h in self.of_item[item] if self.first[h] == step]
            state = np.concatenate([state, np.full((len(state), len(new)), OUT, dtype=np.int8)], axis=1)
            open_nets = open_nets + new
            sides = [self._choose(state, open_nets, item, step, take) for take in (False, True)]
            keep = [s for s, h in enumerate(open_nets) if self.last[h] > step]
            both = np.stack([after[:, keep] for after, _ in sides], axis=1).reshape(2 * len(state), len(keep))
            open_nets, representative, target = self._merge(both, [open_nets[s] for s in keep])
            targets.append(offset[-1] + target.reshape(-1, 2))
            base = 2 * offset[-2]
            paid += [
                (base + 2 * rows + take, np.full(len(rows), h), np.full(len(rows), sends))
                for take, (_, events) in enumerate(sides)
                for rows, h, sends in events
            ]
            state = representative
            offset.append(offset[-1] + len(state))
        return self._diagram(targets, paid, offset)

    def _merge(self, both: np.ndarray, open_nets: list[int]) -> tuple[list[int], np.ndarray, IntArray]:
        """Merge equal states; where too many differ, the cheapest open nets end.

        Returns the nets that stay open, the states that differ, and which of them each row is.
        """
        while True:
            _, representative, target = np.unique(_codes(both), return_index=True, return_inverse=True)
            if len(representative) <= self.max_states:
                return open_nets, both[representative], target
            slot = min(range(len(open_nets)), key=lambda s: (self.price[open_nets[s]], open_nets[s]))
            self._end(open_nets[slot])
            both = np.delete(both, slot, axis=1)
            open_nets = open_nets[:slot] + open_nets[slot + 1 :]

    def _end(self, h: int) -> None:
        """Let a net end before its last item."""
        self.cut[h] = True
        for i in self.nets.members(h).tolist():
            self.of_item[i].remove(h)

    def _choose(
        self, state: np.ndarray, open_nets: list[int], item: int, step: int, take: bool
    ) -> tuple[np.ndarray, list[tuple[IntArray, int, bool]]]:
        """States after one choice, and the nets paid: (states, net, as a sender)."""
        after = state.copy()
        events: list[tuple[IntArray, int, bool]] = []
        mine = set(self.of_item[item])
        for slot, h in enumerate(open_nets):
            if h not in mine:
                continue
            producer = int(self.nets.items[self.nets.start[h]])
            if self.first[h] == step:
                after[:, slot] = IN if take else OUT
                continue
            now = state[:, slot]
            splits = now == (OUT if take else IN)
            pending = now == SPLIT_UNKNOWN
            if not self.sides:
                after[splits, slot] = SPLIT
                events.append((np.flatnonzero(splits), h, False))
            elif item == producer:
                after[splits | pending, slot] = SPLIT
                events.append((np.flatnonzero(splits | pending), h, take))
            elif self.position[producer] < step:
                # The producer was walked: all items so far share its side.
                after[splits, slot] = SPLIT
                events.append((np.flatnonzero(splits), h, not take))
            else:
                after[splits, slot] = SPLIT_UNKNOWN
        return after, [event for event in events if len(event[0])]

    def _diagram(
        self, targets: list[IntArray], paid: list[tuple[IntArray, IntArray, BoolArray]], offset: list[int]
    ) -> Diagram:
        empty = np.zeros(0, dtype=np.int64)
        where = np.concatenate([empty, *(p[0] for p in paid)])
        net = np.concatenate([empty, *(p[1] for p in paid)])
        sends = np.concatenate([empty.astype(bool), *(p[2] for p in paid)])
        by_place = np.argsort(where, kind="stable")
        target = np.concatenate([np.zeros((0, 2), dtype=np.int64), *targets])
        return Diagram(
            order=self.order,
            offset=np.array(offset, dtype=np.int64),
            target=target,
            paid_start=np.searchsorted(where[by_place], np.arange(2 * len(target) + 1)),
            paid_net=net[by_place],
            paid_sends=sends[by_place],
            cut=self.cut,
        )


def _codes(states: np.ndarray) -> IntArray:
    """Return a number for each row, equal for equal rows only."""
    code = np.zeros(len(states), dtype=np.int64)
    for first in range(0, states.shape[1], SLOTS):
        part = states[:, first : first + SLOTS].astype(np.int64)
        packed = part @ (np.int64(4) ** np.arange(part.shape[1], dtype=np.int64))
        packed = np.unique(packed, return_inverse=True)[1]
        code = np.unique(code * (packed.max(initial=0) + 1) + packed, return_inverse=True)[1]
    return code
