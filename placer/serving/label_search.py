"""A plan with hosts within a target, node by node: labels that no other dominates, cut by bounds.

A label says where the nodes so far lie: the accelerator whose interval is open, where the last node is,
which devices were used, and what that costs.  The next node goes to the open accelerator, to a host, or opens
another accelerator; scattered, it goes to any device.  Of labels that differ in cost alone, those are kept
that no other beats in time, loads and memory; and of these, those from which a plan within the target is
still in reach (`placer.serving.label_bounds`).

With a width the search is a beam: of more labels than that, those with the least bounds are kept.  What it
finds is a plan; that it finds none proves nothing then, unless there never were more.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass, field
from math import inf

import numpy as np

from placer.arrays import BoolArray, FloatArray, IntArray
from placer.serving.label_bounds import Completion, Kinds
from placer.serving.label_dominance import undominated
from placer.serving.serving_layout import Place
from placer.serving.serving_model import Costs, ServingModel
from placer.tolerances import MEMORY_TOLERANCE

__all__ = ["Target", "UndecidedError", "least_of_all", "shortest_labels"]

SLACK = 1 + 1e-12
FIRST, USED, OPEN, LAST = range(4)
"""Columns of what labels have to agree in: where the first node is; accelerators used, or free devices; the
option whose interval is open (-1: none); where the last node is."""
SUM, PREFILL, MEMORY, LOAD, OWN = range(5)
"""Columns of costs: of a token and of a prompt; memory and load of the open accelerator; then memory and load
of every free device."""


@dataclass(frozen=True)
class Target:
    """What a plan has to keep: time per token and to the first one, microbatches, room per layer."""

    tpot_ms: float
    microbatches: int = 1
    ttft_ms: float = inf
    room_per_layer: float = 0.0
    scattered: bool = False


class UndecidedError(Exception):
    """A beam found no plan, and left labels out."""


@dataclass(eq=False)
class _Labels:
    """Labels of a step: what they must agree in ``(m, 4)``, costs ``(m, d)``, from which label, to where."""

    key: IntArray
    cost: FloatArray
    parent: IntArray
    place: IntArray

    def only(self, rows: BoolArray | IntArray) -> _Labels:
        """Keep some."""
        return _Labels(self.key[rows], self.cost[rows], self.parent[rows], self.place[rows])


def shortest_labels(
    model: ServingModel,
    costs: Costs,
    target: Target,
    check: Callable[[], None] = lambda: None,
    width: int | None = None,
) -> tuple[Place, ...] | None:
    """Find a plan that keeps a target; without a width, that with the least sum of loads and way back.

    Parameters
    ----------
    model, costs
        Nodes and devices.
    target
        What the plan keeps.
    check
        Called now and then; may raise.
    width
        Labels to keep at each node at most.

    Returns
    -------
    tuple of Place or None
        None where no plan keeps it.

    Raises
    ------
    UndecidedError
        When labels were left out, and the others led to no plan.
    """
    search = _Search(model, costs, target)
    found = search.run(check, width)
    if found is None and search.cut:
        raise UndecidedError
    return found


def least_of_all(model: ServingModel, costs: Costs, target: Target) -> float:
    """Bound the time per token of every plan, in ms: that of the label with nothing placed yet."""
    search = _Search(model, costs, target)
    left = search.kinds.room_left(np.zeros(1, dtype=np.int64))
    for o in search.kinds.free:
        if not model.pools[model.options[o].pool].host:
            left = left + search.room[o]
    least = float(search.completion.token(0, left)[0])
    if search.kinds.hosts:
        hosts = float(search.completion.hosts(0, left)[0])
        least = max(least, target.microbatches * hosts / search.kinds.hosts)
    return max(0.0, least * (1 - 1e-12))


@dataclass(eq=False)
class _Search:
    """One search; locations are options with an interval, then free devices."""

    model: ServingModel
    costs: Costs
    target: Target
    kinds: Kinds = field(init=False)
    cut: bool = False
    """Whether labels were left out that may lead to a plan."""

    def __post_init__(self) -> None:
        model, target = self.model, self.target
        self.kinds = Kinds(model, scattered=target.scattered)
        self.cap = target.tpot_ms / target.microbatches
        self.held = (
            self.costs.weight_bytes + self.costs.cache_bytes + target.room_per_layer * model.counted[None, :]
        )
        self.room = np.array([model.pools[o.pool].room_bytes * (1 + MEMORY_TOLERANCE) for o in model.options])
        self.server = [model.pools[o.pool].server for o in model.options]
        self.turns = np.array([o.replicas for o in model.options])
        self.free = len(self.kinds.free)
        self.prefilled = target.ttft_ms < inf and self.costs.prefill_ms is not None
        self.completion = Completion(model, self.costs, self.held, self.kinds, self.prefilled)

    def run(self, check: Callable[[], None], width: int | None) -> tuple[Place, ...] | None:
        """Extend labels node by node; follow the best one back."""
        n, d = len(self.model.ids), OWN + 2 * self.free
        labels = _Labels(np.array([[-1, 0, -1, -1]]), np.zeros((1, d)), np.array([-1]), np.array([-1]))
        history = []
        for k in range(n):
            check()
            parts = [*self._stay(labels, k), *self._opened(labels, k), *self._freed(labels, k)]
            parts = [part for part in parts if len(part.key)]
            if not parts:
                return None
            labels = _Labels(*(np.concatenate([getattr(p, f) for p in parts]) for f in _FIELDS))
            share = self._share(labels, k + 1)
            reach = share <= SLACK
            labels, share = labels.only(reach), share[reach]
            rows = undominated(labels.key, self._compared(labels.cost), check)
            if width is not None and len(rows) > width:
                rows = rows[np.argpartition(share[rows], width)[:width]]
                self.cut = True
            labels = labels.only(rows)
            history.append((labels.parent, labels.place))
            if not len(labels.key):
                return None
        total = labels.cost[:, SUM] + self._back(labels)
        best = int(total.argmin())
        return self._trace(history, best) if total[best] <= self.target.tpot_ms * SLACK else None

    # -- steps ----------------------------------------------------------------------------------

    def _stay(self, labels: _Labels, k: int) -> list[_Labels]:
        """Put the node on the open accelerator."""
        out = []
        for o in self.kinds.intervals:
            rows = np.flatnonzero(labels.key[:, OPEN] == o)
            made = self._copy(labels, rows, 2 * o)
            self._move(made, k, o)
            self._run(made, k, o, MEMORY, LOAD)
            if k == len(self.model.ids) - 1 and self.model.tied_bytes:
                self._untie(made, (made.key[:, FIRST] == o) & self.kinds.alone(made.key[:, USED], o), o)
            made.key[:, LAST] = o
            out.append(self._fitting(made))
        return out

    def _opened(self, labels: _Labels, k: int) -> list[_Labels]:
        """Open another accelerator with the node."""
        if not self.model.cuts[k]:
            return []
        out = []
        for o in self.kinds.intervals:
            rows = np.flatnonzero(self.kinds.has_left(labels.key[:, USED], o))
            made = self._copy(labels, rows, 2 * o + 1)
            self._move(made, k, o, opening=True)
            made = self._fitting(made)  # what is closed has all of its load now
            made.cost[:, LOAD] = 0.0
            made.cost[:, MEMORY] = 0.0
            if k > 0:
                self._receive(made, k, o)
            self._run(made, k, o, MEMORY, LOAD)
            made.key[:, USED] += self.kinds.step[o]
            made.key[:, OPEN] = made.key[:, LAST] = o
            if k == 0:
                made.key[:, FIRST] = o
            out.append(self._fitting(made))
        return out

    def _freed(self, labels: _Labels, k: int) -> list[_Labels]:
        """Put the node on a free device."""
        out = []
        for f, o in enumerate(self.kinds.free):
            here = len(self.model.options) + f
            rows = np.flatnonzero(self.kinds.may_use(labels.key[:, USED], f))
            made = self._copy(labels, rows, 2 * len(self.model.options) + f)
            self._move(made, k, here)
            self._run(made, k, o, OWN + 2 * f, OWN + 2 * f + 1)
            if k == len(self.model.ids) - 1 and k > 0 and self.model.tied_bytes:
                made.cost[made.key[:, FIRST] == here, OWN + 2 * f] -= self.model.tied_bytes
            made.key[:, USED] = self.kinds.with_free(made.key[:, USED], f)
            made.key[:, LAST] = here
            if k == 0:
                made.key[:, FIRST] = here
            out.append(self._fitting(made))
        return out

    def _copy(self, labels: _Labels, rows: IntArray, place: int) -> _Labels:
        return _Labels(labels.key[rows].copy(), labels.cost[rows].copy(), rows, np.full(len(rows), place))

    def _run(self, made: _Labels, k: int, o: int, memory: int, load: int) -> None:
        """Charge a node to its device."""
        time = self.costs.time_ms[o, k]
        made.cost[:, SUM] += time
        made.cost[:, load] += time
        made.cost[:, memory] += self.held[o, k]
        if self.costs.prefill_ms is not None:
            made.cost[:, PREFILL] += self.costs.prefill_ms[o, k]

    def _untie(self, made: _Labels, rows: BoolArray, o: int) -> None:
        made.cost[rows, MEMORY] -= self.model.tied_bytes / self.model.options[o].shards

    def _move(self, made: _Labels, k: int, to: int, *, opening: bool = False) -> None:
        """Charge the transfer before a node to the sender, and unless it opens one, to the receiver."""
        if k == 0:
            return
        for last in set(made.key[:, LAST].tolist()):
            if last == to and not opening:
                continue
            rows = np.flatnonzero(made.key[:, LAST] == last)
            self._pay(made, rows, k, last, self._option(to))
            if not opening:
                self._pay(made, rows, k, to, self._option(last))

    def _receive(self, made: _Labels, k: int, o: int) -> None:
        """Charge the transfer before a node to the accelerator that it opens."""
        for last in set(made.key[:, LAST].tolist()):
            self._pay(made, np.flatnonzero(made.key[:, LAST] == last), k, o, self._option(last))

    def _pay(self, made: _Labels, rows: IntArray, k: int, location: int, other: int) -> None:
        """Charge the transfer before a node to one of its ends."""
        o = self._option(location)
        far = self.server[o] != self.server[other]
        time = (self.costs.across_ms if far else self.costs.move_ms)[o, k - 1]
        f = location - len(self.model.options)
        made.cost[rows, SUM] += time
        made.cost[rows, LOAD if f < 0 else OWN + 2 * f + 1] += time
        slow = self.costs.prefill_across_ms if far else self.costs.prefill_move_ms
        if slow is not None:
            made.cost[rows, PREFILL] += slow[o, k - 1]

    def _option(self, location: int) -> int:
        """Return the option of a location."""
        count = len(self.model.options)
        return location if location < count else self.kinds.free[location - count]

    # -- what is kept ---------------------------------------------------------------------------

    def _fitting(self, made: _Labels) -> _Labels:
        """Keep labels within memory, loads and times."""
        cost, opened = made.cost, made.key[:, OPEN]
        good = cost[:, SUM] <= self.target.tpot_ms * SLACK
        if self.prefilled:
            good &= cost[:, PREFILL] <= self.target.ttft_ms * SLACK
        good &= (opened < 0) | (
            (cost[:, MEMORY] <= self.room[opened]) & (cost[:, LOAD] <= self.cap * SLACK * self.turns[opened])
        )
        for f, o in enumerate(self.kinds.free):
            good &= (cost[:, OWN + 2 * f] <= self.room[o]) & (cost[:, OWN + 2 * f + 1] <= self.cap * SLACK)
        return made.only(good)

    def _compared(self, cost: FloatArray) -> FloatArray:
        """Leave out costs that cannot break a limit any more."""
        columns = [SUM, *([PREFILL] if self.prefilled else [])]
        if any(self.room[o] < inf for o in self.kinds.intervals):
            columns.append(MEMORY)
        loads = self.target.microbatches > 1 and self.cap < inf
        if self.kinds.intervals and loads:
            columns.append(LOAD)
        for f, o in enumerate(self.kinds.free):
            columns += [OWN + 2 * f] if self.room[o] < inf else []
            columns += [OWN + 2 * f + 1] if loads else []
        return cost[:, columns]

    def _share(self, labels: _Labels, k: int) -> FloatArray:
        """Bound what a plan needs of what the target allows, as a share: more than 1 is out of reach."""
        cost, key = labels.cost, labels.key
        left = self.kinds.room_left(key[:, USED])
        opened = key[:, OPEN]
        if self.kinds.intervals:
            devices = np.array([o.devices for o in self.model.options])
            own = np.where(opened < 0, 0.0, (self.room[opened] - cost[:, MEMORY]) * devices[opened])
            left = left + own
        hosts = np.zeros(len(cost))
        for f, o in enumerate(self.kinds.free):
            if self.model.pools[self.model.options[o].pool].host:
                hosts += cost[:, OWN + 2 * f + 1]
            else:
                left = left + self.room[o] - cost[:, OWN + 2 * f]
        token = cost[:, SUM] + self.completion.token(k, left)
        share = token / self.target.tpot_ms if self.target.tpot_ms < inf else token / (token.max() + 1e-300)
        if self.prefilled:
            share = np.maximum(share, (cost[:, PREFILL] + self.completion.prompt(k)) / self.target.ttft_ms)
        if self.target.microbatches > 1 and self.kinds.hosts and self.cap < inf:
            capacity = self.cap * self.kinds.hosts
            share = np.maximum(share, (hosts + self.completion.hosts(k, left)) / capacity)
        return np.asarray(share)

    def _back(self, labels: _Labels) -> FloatArray:
        """Time in which a token comes back to the first device."""
        out = np.zeros(len(labels.key))
        count = len(self.model.options)
        for row, (first, _, _, last) in enumerate(labels.key.tolist()):
            alone = first >= count or self.kinds.alone(labels.key[row : row + 1, USED], first)[0]
            if first == last and alone:
                continue
            a, b = self._option(last), self._option(first)
            move = self.costs.across_ms if self.server[a] != self.server[b] else self.costs.move_ms
            out[row] = move[a, -1] + move[b, -1]
        return out

    def _trace(self, history: list[tuple[IntArray, IntArray]], row: int) -> tuple[Place, ...]:
        """Follow a label back."""
        way: list[int] = []
        for parent, place in reversed(history):
            way.append(int(place[row]))
            row = int(parent[row])
        count, stages, current = len(self.model.options), [], -1
        nodes: dict[int, list[int]] = {}
        for k, code in enumerate(reversed(way)):
            if code >= 2 * count:
                stage = -1 - (code - 2 * count)
            else:
                if code % 2:
                    stages.append(code // 2)
                    current = len(stages) - 1
                stage = current
            nodes.setdefault(stage, []).append(k)
        return tuple(
            Place(stages[s] if s >= 0 else self.kinds.free[-1 - s], tuple(some)) for s, some in nodes.items()
        )


_FIELDS = ("key", "cost", "parent", "place")
