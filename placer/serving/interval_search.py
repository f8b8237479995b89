"""Least time of a token over chains of accelerators: a dynamic program over layers and devices used.

Let f(k, u, b) be the least sum of loads of stages that hold the nodes before cut k, with u devices of each
pool used and a transfer of kind b at k: inside server b, or leaving server b - S of S.  A stage from i to k
on an option leads from f(i, u, b) to f(k, u + devices, b') if its load per replica is at most ``cap_ms`` and
its memory fits.  The way of a token back to the first stage is paid at both ends, once for each pair of
servers where these can be; a plan of one stage has no way back and is looked at apart.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from math import inf

import numpy as np

from placer.arrays import BoolArray, FloatArray, IntArray
from placer.serving.serving_layout import Place
from placer.serving.serving_model import Costs, ServingModel
from placer.tolerances import MEMORY_TOLERANCE

__all__ = ["SLACK", "Beside", "ChainsByUse", "chains_by_use", "shortest_chain"]

SLACK = 1 + 1e-12
"""Of comparisons of sums that were added in another order."""
Chain = tuple[float, tuple[Place, ...]]
"""Sum of loads and way back, and the stages."""


@dataclass(frozen=True, eq=False)
class Beside:
    """What devices do beside the work that loads count: times by node, ``(O, n)``, and the most of a stage.

    The most is per replica, as it is of loads.
    """

    time_ms: FloatArray
    cap_ms: float


@dataclass(frozen=True, eq=False)
class ChainsByUse:
    """The least sum of loads and way back, by the devices of each pool of accelerators that are used.

    Parameters
    ----------
    value
        The sums, with as many axes as there are pools, each of length devices + 1; inf where none fits.
    chains
        Stages for a place in ``value``.
    """

    value: FloatArray
    chains: Callable[[tuple[int, ...]], tuple[Place, ...]]


def chains_by_use(
    model: ServingModel, costs: Costs, cap_ms: float, beside: Beside | None = None
) -> ChainsByUse:
    """Find the chains with the least sum of loads and way back, for all numbers of devices at once.

    Parameters
    ----------
    model, costs, cap_ms
        As of `shortest_chain`.
    beside
        What stages keep besides, if anything.
    """
    return _Chains(model, costs, cap_ms, 0.0, beside).by_use()


def shortest_chain(
    model: ServingModel, costs: Costs, cap_ms: float, room_per_layer: float = 0.0
) -> Chain | None:
    """Find the chain with the least sum of loads and way back.

    Parameters
    ----------
    model, costs
        Nodes and devices; hosts are left out.
    cap_ms
        Largest load of a stage, per replica.
    room_per_layer
        Bytes to leave free for each layer that a device holds.

    Returns
    -------
    (float, tuple of Place) or None
        The sum, and the stages; None where no chain fits.
    """
    search = _Chains(model, costs, cap_ms, room_per_layer)
    best = search.alone()
    for first in search.servers:
        for last in search.servers:
            found = search.several(first, last, inf if best is None else best[0])
            best = best if found is None else found
    return best


@dataclass(frozen=True, eq=False)
class _Move:
    """A kind of stage: its option and server, the kinds of transfer around it, and loads, ``(K, K)``."""

    option: int
    server: int
    before: int | None
    after: int | None
    loads: FloatArray


class _Chains:
    """The tables of one search."""

    def __init__(
        self,
        model: ServingModel,
        costs: Costs,
        cap_ms: float,
        room_per_layer: float,
        beside: Beside | None = None,
    ) -> None:
        self.model, self.costs, self.cap, self.room_per_layer = model, costs, cap_ms, room_per_layer
        self.beside = beside
        n = len(model.ids)
        self.cuts: IntArray = np.append(np.flatnonzero(model.cuts), n)
        self.options = [o for o, option in enumerate(model.options) if not model.pools[option.pool].host]
        pools = sorted({model.options[o].pool for o in self.options})
        self.axis = {p: a for a, p in enumerate(pools)}
        self.shape = tuple(len(model.pools[p].names) + 1 for p in pools)
        self._strides = np.cumprod((1, *self.shape[:0:-1]))[::-1]
        self.servers = sorted({model.pools[p].server for p in pools})
        self._held = {o: self._stages(o) for o in self.options}
        self.moves = self._moves()

    def _stages(self, o: int) -> tuple[FloatArray, BoolArray]:
        """Compute times of an option's stages without transfers, and which have room, ``(K, K)`` each."""
        costs, cuts = self.costs, self.cuts
        held = costs.weight_bytes[o] + costs.cache_bytes[o] + self.room_per_layer * self.model.counted
        memory = _sums(held, cuts)
        memory[0, -1] -= self.model.tied_bytes / self.model.options[o].shards
        room = self.model.pools[self.model.options[o].pool].room_bytes
        fits = memory <= room * (1 + MEMORY_TOLERANCE)
        if self.beside is not None:
            most = self.beside.cap_ms * SLACK * self.model.options[o].replicas
            fits &= _sums(self.beside.time_ms[o], cuts) <= most
        return _sums(costs.time_ms[o], cuts), fits & np.triu(np.ones(fits.shape, dtype=np.bool_), 1)

    def _loads(self, o: int, before: int | None, after: int | None) -> FloatArray:
        """Compute loads of an option's stages between transfers of two kinds; inf where they do not fit."""
        (time, fits), costs, cuts = self._held[o], self.costs, self.cuts
        load = time.copy()
        if before is not None:
            move = costs.move_ms if before < len(self.servers) else costs.across_ms
            load[1:] += move[o][cuts[1:] - 1][:, None]
        if after is not None:
            move = costs.move_ms if after < len(self.servers) else costs.across_ms
            load[:, 1:] += move[o][cuts[1:] - 1]
        within = load <= self.cap * SLACK * self.model.options[o].replicas
        return np.where(fits & within, load, inf)

    def _moves(self) -> list[_Move]:
        kinds, out = len(self.servers), []
        for o in self.options:
            s = self.servers.index(self.model.pools[self.model.options[o].pool].server)
            befores = (None, s, *(kinds + t for t in range(kinds) if t != s))
            afters = (None, s, kinds + s) if kinds > 1 else (None, s)
            out += [_Move(o, s, b, a, self._loads(o, b, a)) for b in befores for a in afters]
        return out

    def alone(self) -> Chain | None:
        """Find the best stage that holds everything."""
        found = [(float(self._loads(o, None, None)[0, -1]), o) for o in self.options]
        value, o = min(found, default=(inf, 0))
        return None if value == inf else (value, (Place(o, tuple(range(len(self.model.ids)))),))

    def several(self, first: int, last: int, limit: float) -> Chain | None:
        """Find the best chain from a stage in one server to a stage in another, if it is below a limit."""
        value, parent = self._ends(first, last)
        u = int(value.argmin())
        return (float(value[u]), self._trace(parent, u)) if value[u] < limit else None

    def by_use(self) -> ChainsByUse:
        """Find the best chains by the devices that they use."""
        total = int(np.prod(self.shape))
        value, kind, parents = np.full(total, inf), np.full(total, -1), list[IntArray]()
        for o in self.options:
            axis, taken = self._taken(o)
            load, u = float(self._loads(o, None, None)[0, -1]), taken * int(self._strides[axis])
            if load < value[u]:
                value[u], kind[u] = load, -1 - o
        for first in self.servers:
            for last in self.servers:
                found, parent = self._ends(first, last)
                better = found < value
                value[better], kind[better] = found[better], len(parents)
                parents.append(parent)
        everything = tuple(range(len(self.model.ids)))

        def chains(use: tuple[int, ...]) -> tuple[Place, ...]:
            u = int(np.dot(use, self._strides))
            k = int(kind[u])
            return (Place(-1 - k, everything),) if k < 0 else self._trace(parents[k], u)

        return ChainsByUse(value.reshape(self.shape), chains)

    def _ends(self, first: int, last: int) -> tuple[FloatArray, IntArray]:
        """Compute the best chains from one server to another by devices used, and where each comes from."""
        kinds, cuts, total = 2 * len(self.servers), len(self.cuts), int(np.prod(self.shape))
        value = np.full((kinds, cuts, total), inf)
        parent = np.full((kinds, cuts, total), -1, dtype=np.int64)
        back = (self.costs.across_ms if first != last else self.costs.move_ms)[:, -1]
        for k in range(1, cuts):
            for m, move in enumerate(self.moves):
                end = k == cuts - 1
                if (move.after is None) != end or (end and self.servers[move.server] != last):
                    continue
                if move.before is None:
                    if end or self.servers[move.server] != first or move.loads[0, k] == inf:
                        continue
                    got, rows = np.full(total, inf), np.zeros(total, dtype=np.int64)
                    got[0] = move.loads[0, k] + back[move.option]
                else:
                    some = np.flatnonzero(move.loads[:k, k] < inf)
                    if not len(some):
                        continue
                    block = value[move.before, some] + move.loads[some, k, None]
                    best = block.argmin(axis=0)
                    got, rows = block[best, np.arange(total)], some[best]
                if end:
                    got = got + back[move.option]
                slot = 0 if move.after is None else move.after
                self._enter(value[slot, k], parent[slot, k], got, rows * len(self.moves) + m, move.option)
        return value[0, -1], parent

    def _enter(
        self, value: FloatArray, parent: IntArray, got: FloatArray, source: IntArray, option: int
    ) -> None:
        """Keep what is better, at the devices that are used then."""
        axis, taken = self._taken(option)
        if taken >= self.shape[axis]:
            return
        into: list[slice] = [slice(None)] * len(self.shape)
        out = into.copy()
        into[axis], out[axis] = slice(taken, None), slice(None, self.shape[axis] - taken)
        new, of = got.reshape(self.shape)[tuple(out)], source.reshape(self.shape)[tuple(out)]
        old, was = value.reshape(self.shape)[tuple(into)], parent.reshape(self.shape)[tuple(into)]
        better = new < old
        np.copyto(old, new, where=better)
        np.copyto(was, of, where=better)

    def _taken(self, option: int) -> tuple[int, int]:
        """Axis of the option's pool, and how many devices it takes."""
        return self.axis[self.model.options[option].pool], self.model.options[option].devices

    def _trace(self, parent: IntArray, u: int) -> tuple[Place, ...]:
        """Follow a chain back from its end."""
        places: list[Place] = []
        k, slot = len(self.cuts) - 1, 0
        while k > 0:
            i, m = divmod(int(parent[slot, k, u]), len(self.moves))
            move = self.moves[m]
            places.append(Place(move.option, tuple(range(int(self.cuts[i]), int(self.cuts[k])))))
            axis, taken = self._taken(move.option)
            u -= taken * int(self._strides[axis])
            k, slot = i, 0 if move.before is None else move.before
        return tuple(places[::-1])


def _sums(values: FloatArray, cuts: IntArray) -> FloatArray:
    """Add up the values between two cuts, ``(K, K)``; inf where one of them is."""
    bad = np.isinf(values)
    total = np.concatenate([[0.0], np.cumsum(np.where(bad, 0.0, values))])[cuts]
    blocked = np.concatenate([[0], np.cumsum(bad)])[cuts]
    out = np.asarray(total[None, :] - total[:, None])
    out[blocked[None, :] > blocked[:, None]] = inf
    return out
