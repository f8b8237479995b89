r"""The nested dynamic program of the paper's hierarchies, along one topological order.

A plan whose stages are intervals of the order, and in which every server is entered once (its stages come one
after another), is a partition of the order into servers' intervals and of each of those into stages. For a
target T the outer program finds the positions that are reachable from the end of the pipeline with some
servers, the inner one (``kernels.server_cuts``) the stages of one server. What a stage sends and receives
across servers depends on where its server begins and ends, so both are fixed before the stages are chosen;
the test is exact among these plans. Microbatches in flight depend on the stages towards the end: fewer
stages there are never worse, so a position keeps the fewest.

Entering a server once is a restriction: with unequal transfers a plan that comes back to a server can be
better. Where the precedence orders all items (twins aside, see ``downsets.twins``), a second program
bounds all contiguous plans: a server may be entered as often as there are devices like its own left anywhere,
and of what lies outside its interval only the items next to it are known to be in another server (else the
interval would not end there), so only they take the uplink. Every contiguous plan is one of these, with loads
that are not larger.

Source: Tarnawski et al., NeurIPS 2020, appendix (hierarchies), there for servers and devices that are alike.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterable, Iterator
from dataclasses import dataclass, replace
from functools import cached_property
from itertools import pairwise, product
from math import inf, prod

import numpy as np

from placer.arrays import BoolArray, FloatArray, IntArray
from placer.methods.downsets.kernels.arrays import Chain, Scratch
from placer.methods.downsets.kernels.server_cuts import open_server, pack
from placer.methods.downsets.kernels.views import ChainView, ScratchView, Server
from placer.methods.downsets.lattice import MODES, in_groups
from placer.methods.downsets.measures import prices
from placer.methods.downsets.twins import are_twins
from placer.options import Options
from placer.plans.in_flight import in_flight
from placer.plans.plan import Plan
from placer.reductions.problem import Problem
from placer.search.run import Run
from placer.tolerances import EQUAL, MEMORY_TOLERANCE

__all__ = ["ServerKind", "Servers", "nested_size", "server_kinds"]


@dataclass(frozen=True)
class ServerKind:
    """Servers that are alike; ``slots`` lists, for each of them, its devices by what they can do."""

    slots: tuple[tuple[tuple[int, ...], ...], ...]

    @property
    def mixes(self) -> int:
        """Number of choices how many devices of each slot are used."""
        return prod(len(slot) + 1 for slot in self.slots[0])


def server_kinds(problem: Problem) -> tuple[ServerKind, ...]:
    """Group the servers; a device that is in none is a server by itself."""
    instance, across = problem.instance, problem.net_across_ms
    by_server: dict[int, dict[tuple[object, ...], list[int]]] = {}
    for d in instance.devices:
        key = (
            d.is_host,
            d.memory_limit_bytes,
            problem.time_ms[:, :, d.class_index].tobytes(),
            problem.net_cost_ms[:, d.class_index].tobytes(),
            *(kept[:, d.class_index].tobytes() for kept in problem.class_bytes),
            b"" if across is None or d.is_host else across[:, d.index].tobytes(),
            problem.allowed[:, d.index].tobytes(),
        )
        by_server.setdefault(int(instance.server_of[d.index]), {}).setdefault(key, []).append(d.index)
    alike: dict[tuple[object, ...], list[tuple[tuple[int, ...], ...]]] = {}
    for slots in by_server.values():
        keys = sorted(slots, key=repr)
        name = tuple((key, len(slots[key])) for key in keys)
        alike.setdefault(name, []).append(tuple(tuple(slots[key]) for key in keys))
    return tuple(ServerKind(tuple(members)) for members in alike.values())


def nested_size(kinds: tuple[ServerKind, ...]) -> int:
    """Count the states per position: sets of servers, and mixes of the devices of one."""
    return prod(len(kind.slots) + 1 for kind in kinds) + max(kind.mixes for kind in kinds)


class Servers:
    """Threshold tests along one order.

    Parameters
    ----------
    problem
        Items and nets, with costs across servers.
    kinds
        The servers.
    positions
        Item at each place of the topological order, ``(N,)``.
    options
        Communication model and microbatches.
    """

    def __init__(
        self, problem: Problem, kinds: tuple[ServerKind, ...], positions: IntArray, options: Options
    ) -> None:
        self.problem, self.kinds = problem, kinds
        self.items = positions[::-1]
        self._devices = _devices(kinds)
        self.chain = _chain(problem, kinds, self.items, options)
        self._price, _ = _prices(self.chain.ok, self.chain.time.sum(axis=1), self._devices)
        _, _, mixes_by_kind = _mixes(kinds)
        self._mixes = [
            np.pad(m, ((0, 0), (a, len(self._price) - b)))
            for m, a, b in zip(mixes_by_kind, self.chain.slot_start, self.chain.slot_start[1:], strict=False)
        ]
        n, mixes = problem.size, max(kind.mixes for kind in kinds)
        self.scratch = Scratch(
            inside=np.zeros(problem.nets, dtype=np.int32),
            holds=np.zeros(problem.nets, dtype=np.bool_),
            moved=np.zeros((2, 2)),
            compute=np.zeros(2),
            reach=np.zeros((n + 1, mixes), dtype=np.uint8),
            before=np.zeros((n + 1, mixes), dtype=np.int64),
            slot=np.zeros((n + 1, mixes), dtype=np.int64),
            far=np.zeros(n, dtype=np.int64),
            free=np.zeros((n + 1, mixes), dtype=np.uint8),
            stop=np.zeros(1, dtype=np.int64),
            full=np.zeros((n + 1, mixes), dtype=np.uint8),
            limits=np.zeros(3),
            bytes=np.zeros(2),
        )
        self._views = ChainView(self.chain), ScratchView(self.scratch)
        self._worth = [float(self.chain.mix_worth[end - 1]) for end in self.chain.mix_start[1:]]

    def floor_ms(self, direction: int) -> float:
        """Load in ms that work alone makes inevitable: forward (0), backward (1), or both together (2)."""
        time = self.chain.time.sum(axis=1) if direction == 2 else self.chain.time[:, direction]
        price, least = _prices(self.chain.ok, time, self._devices)
        return float(least.sum() / (price @ self._devices))

    @cached_property
    def enough_ms(self) -> float:
        """An objective in ms that no plan exceeds."""
        c = self.chain
        work = c.time.sum(axis=1).max(axis=0, initial=0).sum()
        return 1.0 + 4.0 * float(work + (c.own + c.extra).max(axis=0, initial=0).sum())

    def plan(self, limits: FloatArray, run: Run) -> Plan | None:
        """Find a plan that enters each server once, within the limits; None also when time is up.

        Parameters
        ----------
        limits
            Largest forward load, backward load, and sum of both on a device, ``(3,)`` in ms.
        run
            The clock.
        """
        n = self.problem.size
        fewest: dict[tuple[int, ...], IntArray] = {}
        parents: dict[tuple[tuple[int, ...], int], tuple[tuple[int, ...], int, int]] = {}
        none = (0,) * len(self.kinds)
        fewest[none] = np.full(n + 1, n + 1)
        fewest[none][0] = 0
        sets = product(*(range(len(kind.slots) + 1) for kind in self.kinds))
        with run.raising(self.scratch.stop):
            reached = self._walk(sets, fewest, parents, limits, run)
        self.scratch.stop[0] = 0
        return None if reached is None else self._found(reached, fewest, parents, limits)

    def _walk(
        self,
        sets: Iterable[tuple[int, ...]],
        fewest: dict[tuple[int, ...], IntArray],
        parents: dict[tuple[tuple[int, ...], int], tuple[tuple[int, ...], int, int]],
        limits: FloatArray,
        run: Run,
    ) -> tuple[int, ...] | None:
        """Extend each set of servers by one more, from all positions that it reaches, until one has all."""
        n = self.problem.size
        for used in sorted(sets, key=sum):
            left = [len(kind.slots) - u for kind, u in zip(self.kinds, used, strict=True)]
            room = sum(k * worth for k, worth in zip(left, self._worth, strict=True))
            reached = np.flatnonzero(fewest[used][:n] <= n).tolist() if used in fewest else []
            for s, kind in product(reached, np.flatnonzero(left).tolist()):
                if run.stopped() is not None:
                    return None
                more = (*used[:kind], used[kind] + 1, *used[kind + 1 :])
                best = fewest.setdefault(more, np.full(n + 1, n + 1))
                for e, stages in self._fewest_stages(kind, s, int(fewest[used][s]), room, limits):
                    if stages < best[e]:
                        best[e], parents[more, e] = stages, (used, s, kind)
                if best[n] <= n:
                    return more
        return None

    def _fewest_stages(
        self, kind: int, s: int, earlier: int, room: float, limits: FloatArray
    ) -> list[tuple[int, int]]:
        """List the ends of servers that begin at s, each with the fewest stages up to there."""
        ends = self._ends(kind, s, earlier, room, limits, near=False)
        return [(e, earlier + int(self._mixes[kind][mixes].sum(axis=1).min())) for e, mixes in ends]

    @cached_property
    def one_order(self) -> bool:
        """Whether the precedence orders all items, but for twins that may swap their places."""
        steps = set(map(tuple, self.problem.edges.tolist()))
        order = self.items[::-1].tolist()
        return all(pair in steps or are_twins(self.problem, *pair) for pair in pairwise(order))

    def excluded(self, limits: FloatArray, run: Run) -> bool:
        """Whether no contiguous plan at all is within the limits (precondition: `one_order`).

        False also when time is up.  A position keeps the choices of devices that reach it, without those that
        contain another.
        """
        most = self._devices.astype(np.int64)
        with run.raising(self.scratch.stop):
            return self._none_reaches(most, limits, run)

    def _none_reaches(self, most: IntArray, limits: FloatArray, run: Run) -> bool:
        """Whether no choice of devices covers all positions."""
        n = self.problem.size
        reached: list[list[IntArray]] = [[] for _ in range(n + 1)]
        reached[0] = [np.zeros_like(most)]
        for s in range(n):
            for used in reached[s]:
                if run.stopped() is not None:
                    return False
                for e, more in self._choices(s, used, most, limits):
                    _add(reached[e], more)
            if reached[n]:
                return False
        return run.stopped() is None

    def _choices(
        self, s: int, used: IntArray, most: IntArray, limits: FloatArray
    ) -> Iterator[tuple[int, IntArray]]:
        """Extend a choice of devices by a server that begins at s: its ends, each with all that is used."""
        room = float(self._price @ (most - used))
        for kind in range(len(self.kinds)):
            for e, mixes in self._ends(kind, s, int(used.sum()), room, limits, near=True):
                choices = used + self._mixes[kind][mixes]
                yield from ((e, more) for more in choices[(choices <= most).all(axis=1)])

    def _ends(
        self, kind: int, s: int, earlier: int, room: float, limits: FloatArray, *, near: bool
    ) -> list[tuple[int, IntArray]]:
        """List the ends of servers that begin at s, each with the mixes that fill it."""
        room *= float(limits[2]) * (1 + EQUAL)
        self.scratch.limits[:] = limits
        open_server(*self._views, Server(kind, self.kinds[kind].mixes, s, s, near, earlier, room))
        ends = np.flatnonzero(self.scratch.full.any(axis=1)).tolist()
        return [(e, np.flatnonzero(self.scratch.full[e])) for e in ends]

    def _found(
        self,
        used: tuple[int, ...],
        fewest: dict[tuple[int, ...], IntArray],
        parents: dict[tuple[tuple[int, ...], int], tuple[tuple[int, ...], int, int]],
        limits: FloatArray,
    ) -> Plan:
        """Build the plan that reaches the front of the pipeline with these servers."""
        e = self.problem.size
        device = np.empty(e, dtype=np.int64)
        stages: list[int] = []
        taken: Counter[int] = Counter()
        while e > 0:
            used, s, kind = parents[used, e]
            slots = self.kinds[kind].slots[taken[kind]]
            taken[kind] += 1
            for slot, i, end in self._stages(kind, s, e, int(fewest[used][s]), limits):
                names = slots[slot]
                d = names[sum(d in stages for d in names)]
                device[self.items[i:end]] = d
                stages.append(d)
            e = s
        return replace(self.problem.plan(device), stages=tuple(stages))

    def _stages(
        self, kind: int, s: int, e: int, earlier: int, limits: FloatArray
    ) -> list[tuple[int, int, int]]:
        """Stages (slot, begin, end) of a server on [s, e), in pipeline order."""
        c, scratch = self.chain, self.scratch
        scratch.limits[:] = limits
        pack(*self._views, Server(kind, self.kinds[kind].mixes, s, e, False, earlier, inf))
        first = int(c.mix_start[kind])
        mixes = np.flatnonzero(scratch.reach[e, : c.mix_start[kind + 1] - first])
        m = int(mixes[np.argmin(c.mix_stages[first + mixes])])
        out = []
        while e > s:
            k, i = int(scratch.slot[e, m]), int(scratch.before[e, m])
            out.append((k - int(c.slot_start[kind]), i, e))
            m, e = m - int(c.stride[k]), i
        return out


def _add(choices: list[IntArray], more: IntArray) -> None:
    """Keep a choice of devices unless another is contained in it, and drop those that contain it."""
    if not any((some <= more).all() for some in choices):
        choices[:] = [some for some in choices if not (more <= some).all()] + [more]


def _back(net_items: IntArray, net_start: IntArray, n: int) -> IntArray:
    """First position of the nets that items before a position share with items from it on, ``(n + 1,)``."""
    out = np.arange(n + 1)
    for a, b in pairwise(net_start.tolist()):
        low, high = int(net_items[a:b].min()), int(net_items[a:b].max())
        np.minimum(out[low + 1 : high + 1], low, out=out[low + 1 : high + 1])
    return out


def _chain(problem: Problem, kinds: tuple[ServerKind, ...], items: IntArray, options: Options) -> Chain:
    """Costs along an order of the items, by slot."""
    instance = problem.instance
    first = [slot[0] for kind in kinds for slot in kind.slots[0]]
    classes = instance.device_class[first]
    count = np.array([len(slot) for kind in kinds for slot in kind.slots[0]])
    ok = problem.allowed[:, first].T[:, items] & np.isfinite(problem.time_ms[0][:, classes].T[:, items])
    time = np.moveaxis(problem.time_ms[:, :, classes], 2, 0)[:, :, items]
    time = np.where(ok[:, None, :], time, 0.0)
    price, least = _prices(ok, time.sum(axis=1), _devices(kinds))
    place = np.empty(problem.size, dtype=np.int64)
    place[items] = np.arange(problem.size)
    net_items = place[problem.net_items]
    sizes = np.diff(problem.net_start)
    item_start, item_nets = in_groups(net_items, np.repeat(np.arange(len(sizes)), sizes), problem.size)
    own = problem.net_cost_ms[:, classes].T
    extra = np.zeros_like(own)
    if problem.net_across_ms is not None:
        extra = np.maximum(0.0, problem.net_across_ms[:, first].T - own)
    hosts = np.array([instance.devices[d].is_host for d in first])
    extra[hosts] = 0.0
    limit = np.array([instance.devices[d].memory_limit_bytes for d in first])
    readers = [net_items[a + 1 : b] for a, b in zip(problem.net_start, problem.net_start[1:], strict=False)]
    flights, (held, more) = in_flight(instance, options), problem.class_bytes
    slot_start, stride, mixes = _mixes(kinds)
    return Chain(
        ok=np.ascontiguousarray(ok),
        time=np.ascontiguousarray(time),
        memory=np.ascontiguousarray(held[:, classes].T[:, items]),
        activation=np.ascontiguousarray(more[:, classes].T[:, items]),
        flights=flights.most,
        by_stage=flights.by_stage and bool(more.any()),
        limit=limit * (1 + MEMORY_TOLERANCE),
        own=np.ascontiguousarray(own),
        extra=np.ascontiguousarray(extra),
        net_start=problem.net_start,
        net_items=net_items,
        first=np.array([r.min() for r in readers], dtype=np.int64),
        last=np.array([r.max() for r in readers], dtype=np.int64),
        direction=problem.net_backward.astype(np.int64),
        item_start=item_start,
        item_nets=item_nets,
        back=_back(net_items, problem.net_start, problem.size),
        work=np.concatenate([np.cumsum(least[::-1])[::-1], [0.0]]),
        slot_start=slot_start,
        devices=count,
        stride=stride,
        mix_start=np.cumsum([0, *(len(m) for m in mixes)]),
        mix_stages=np.concatenate([m.sum(axis=1) for m in mixes]).astype(np.int64),
        mix_worth=np.concatenate(
            [m @ price[a:b] for m, a, b in zip(mixes, slot_start, slot_start[1:], strict=False)]
        ),
        mode=MODES[options.communication],
    )


def _devices(kinds: tuple[ServerKind, ...]) -> FloatArray:
    """Devices of each slot in all servers of its kind."""
    return np.array([float(len(slot) * len(kind.slots)) for kind in kinds for slot in kind.slots[0]])


def _prices(ok: BoolArray, time: FloatArray, devices: FloatArray) -> tuple[FloatArray, FloatArray]:
    """Price of a ms on each slot, and what each item costs at least (see ``methods.downsets.measures``)."""
    price = prices(np.where(ok, time, inf), devices)
    return price, np.where(ok, price[:, None] * time, inf).min(axis=0)


def _mixes(kinds: tuple[ServerKind, ...]) -> tuple[IntArray, IntArray, list[IntArray]]:
    """First slot of each kind, stride of each slot, and devices used by each mix ``(M, slots)``."""
    start, stride, mixes = [0], [], []
    for kind in kinds:
        counts = [len(slot) for slot in kind.slots[0]]
        start.append(start[-1] + len(counts))
        stride += [prod(c + 1 for c in counts[:i]) for i in range(len(counts))]
        every = product(*(range(c + 1) for c in reversed(counts)))
        mixes.append(np.array([m[::-1] for m in every], dtype=np.int64).reshape(-1, len(counts)))
    return np.array(start), np.array(stride), mixes
