"""Devices of a pipeline that is built from its end: which are left, and which share a server."""

from __future__ import annotations

from collections import Counter
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from functools import cached_property

import numpy as np

from placer.arrays import BoolArray, IntArray
from placer.instance.cluster import DeviceClass
from placer.instance.instance import Instance
from placer.methods.step.possible_stages import Stages, Way
from placer.plans.plan import Plan

__all__ = ["Devices", "packed", "pipeline_plan"]

TRIES = 20_000
"""Ways to give runs to servers that are looked at."""


@dataclass(frozen=True, eq=False)
class Devices:
    """Devices by kind, T kinds; sets of them as numbers with a digit for each stock.

    Kinds are stocks by themselves, but for teams, which draw on a stock of devices in pools of the instance.

    Parameters
    ----------
    instance
        The cluster.
    kinds
        Devices of each kind.
    ways
        How stages may run.
    """

    instance: Instance
    kinds: list[list[int]]
    ways: list[Way]

    @classmethod
    def of(cls, stages: Stages) -> Devices:
        """Return the devices that stages are for."""
        return cls(stages.problem.instance, stages.kinds, stages.ways)

    @cached_property
    def total(self) -> int:
        """How many stages there may be."""
        most, stocks = self.instance.constraints.max_devices, range(len(self.counts))
        stages = sum(int(self.counts[s] // self.width[self.stock == s].min()) for s in stocks)
        return stages if most is None else min(most, stages)

    def _class(self, device: int) -> DeviceClass:
        return self.instance.classes[self.instance.devices[device].class_index]

    @cached_property
    def width(self) -> IntArray:
        """Devices of its stock that a stage of each kind takes, ``(T,)``."""
        classes = [self._class(devices[0]) for devices in self.kinds]
        return np.array([1 if cls.pool is None else cls.mode.width for cls in classes], dtype=np.int64)

    @cached_property
    def stock(self) -> IntArray:
        """Stock that each kind draws on, ``(T,)``: of pools with equal narrowest teams all draw on one."""
        narrowest: dict[int, int] = {}
        order = sorted(range(len(self.kinds)), key=lambda k: (self.width[k], k))
        for k in order:
            for pool in (self._class(d).pool for d in self.kinds[k]):
                if pool is not None:
                    narrowest.setdefault(pool, k)
        pools = [self._class(devices[0]).pool for devices in self.kinds]
        first = [k if pool is None else narrowest[pool] for k, pool in enumerate(pools)]
        return np.unique(first, return_inverse=True)[1].reshape(-1).astype(np.int64)

    @cached_property
    def counts(self) -> IntArray:
        """Devices of each stock."""
        held = self._stocks([d for devices in self.kinds for d in devices])
        return np.array([held[s] for s in range(len(held))], dtype=np.int64)

    def _stocks(self, devices: Sequence[int]) -> dict[int, int]:
        """Count how many of each stock some devices come to, with the pools of teams as a whole."""
        found: dict[int, int] = {}
        pools: set[int] = set()
        for d in devices:
            pool, stock = self._class(d).pool, int(self.stock[self.kind_of[d]])
            if pool is None or pool not in pools:
                found[stock] = found.get(stock, 0) + (1 if pool is None else self.instance.pools[pool])
            pools |= set() if pool is None else {pool}
        return found

    @cached_property
    def unit(self) -> IntArray:
        """One device of each stock as a number."""
        return np.concatenate([[1], np.cumprod(self.counts[:-1] + 1)]).astype(np.int64)

    @cached_property
    def _rank(self) -> IntArray:
        """Place of each stock in the wanted order, -1 for none."""
        first = [int(np.flatnonzero(self.stock == s)[0]) for s in range(len(self.counts))]
        ranks = [self.instance.devices[self.kinds[k][0]].rank for k in first]
        return np.array([-1 if r is None else r for r in ranks], dtype=np.int64)

    @cached_property
    def servers(self) -> list[list[int]]:
        """Devices that are together in a server; one that is in none is alone."""
        out: dict[int, list[int]] = {}
        for d in (d for devices in self.kinds for d in devices):
            out.setdefault(int(self.instance.server_of[d]), []).append(d)
        return list(out.values())

    @cached_property
    def kind_of(self) -> dict[int, int]:
        """Kind of each device."""
        return {d: k for k, devices in enumerate(self.kinds) for d in devices}

    @cached_property
    def _within_server(self) -> IntArray:
        """Sets of devices that some server has, sorted, as numbers."""
        found: set[int] = set()
        for held in {tuple(sorted(self._stocks(devices).items())) for devices in self.servers}:
            some = {0}
            for stock, count in held:
                some = {number + k * int(self.unit[stock]) for number in some for k in range(count + 1)}
            found |= some
        return np.array(sorted(found), dtype=np.int64)

    def used(self, number: IntArray, stock: int | IntArray) -> IntArray:
        """Return how many devices of a stock are in sets."""
        return np.asarray((number // self.unit[stock]) % (self.counts[stock] + 1))

    def suffice(self, used: IntArray) -> BoolArray:
        """Whether all devices that must be used are."""
        needed = set(self.instance.constraints.use_devices)
        out = np.ones(len(used), dtype=np.bool_)
        for kind, devices in enumerate(self.kinds):
            number = sum(self.instance.devices[d].name in needed for d in devices)
            out &= self.used(used, int(self.stock[kind])) >= number
        return out

    def taken(self, used: IntArray, run: IntArray, way: IntArray) -> tuple[BoolArray, IntArray, IntArray]:
        """Take the devices of a stage in front of each label.

        Parameters
        ----------
        used, run
            Devices used, and those of the server of the first stage (0: the next one is in another server).
        way
            How the stage in front runs, ``(C,)``.

        Returns
        -------
        fits, used, run : (C,) arrays
            Whether there is such a device, and the sets with it.
        """
        ways = self.ways
        kind = np.array([w.kind for w in ways], dtype=np.int64)[way]
        stock, width = self.stock[kind], self.width[kind]
        fits = self.used(used, stock) + width <= self.counts[stock]
        for k in np.flatnonzero(self._rank >= 0).tolist():  # none that must come before is behind it
            fits &= (self.used(used, k) == 0) | (self._rank[stock] <= self._rank[k])
        taken = width * self.unit[stock]
        used = used + taken
        if not self.instance.servers:
            return fits, used, run
        front = np.array([w.front for w in ways])[way]
        back = np.array([w.back for w in ways])[way]
        fits &= back == (run == 0)
        run = run + taken
        at = np.minimum(np.searchsorted(self._within_server, run), len(self._within_server) - 1)
        fits &= self._within_server[at] == run
        return fits, used, np.where(front, 0, run)

    def named(self, ways: Sequence[Way]) -> list[int] | None:
        """Return a device for each stage of a pipeline, each run within a server; None if none is found."""
        if not self.instance.servers:
            return self.in_order(ways)
        runs: list[list[int]] = []
        for s in range(len(ways)):
            if not s or ways[s - 1].back:
                runs.append([])
            runs[-1].append(s)
        needs = [Counter({int(self.stock[ways[s].kind]): 0 for s in run}) for run in runs]
        for need, run in zip(needs, runs, strict=True):
            for s in run:
                need[int(self.stock[ways[s].kind])] += int(self.width[ways[s].kind])
        home = packed(needs, [self._stocks(held) for held in self.servers])
        if home is None:
            return None
        free = [list(held) for held in self.servers]
        out = [-1] * len(ways)
        for run, at in zip(runs, home, strict=True):
            for s in run:
                out[s] = next((d for d in free[at] if self.kind_of[d] == ways[s].kind), -1)
                if out[s] < 0:
                    return None
                free[at].remove(out[s])
        return out

    def in_order(self, ways: Sequence[Way]) -> list[int]:
        """Return a device for each stage, server by server as they come."""
        free = [iter(devices) for devices in self.kinds]
        return [next(free[way.kind]) for way in ways]


def packed(needs: Sequence[Mapping[int, int]], rooms: Sequence[Mapping[int, int]]) -> list[int] | None:
    """Return a server for each run so that all have room, large runs first; None if none is found.

    Parameters
    ----------
    needs
        Devices of each stock that a run takes.
    rooms
        Those that each server has.
    """
    order = sorted(range(len(needs)), key=lambda r: -sum(needs[r].values()))
    left = [dict(room) for room in rooms]
    home = [-1] * len(needs)
    tries = 0

    def place(k: int) -> bool:
        nonlocal tries
        if k == len(order):
            return True
        need, seen = needs[order[k]], set()
        for at in sorted(range(len(left)), key=lambda at: sum(left[at].values())):
            state = tuple(sorted(left[at].items()))
            tries += 1
            if state in seen or tries > TRIES or any(left[at].get(s, 0) < n for s, n in need.items()):
                continue
            seen.add(state)
            left[at] = {s: n - need.get(s, 0) for s, n in left[at].items()}
            home[order[k]] = at
            if place(k + 1):
                return True
            left[at] = dict(state)
        return False

    return home if place(0) else None


def pipeline_plan(stages: Stages, devices: Devices, chain: Sequence[int]) -> Plan:
    """Return the plan of a pipeline, given as stages in its order."""
    ways = [stages.ways[stages.way[k]] for k in chain]
    order = devices.named(ways) or devices.in_order(ways)
    device = np.empty(stages.problem.size, dtype=np.int64)
    for k, d in zip(chain, order, strict=True):
        device[stages.items(k)] = d
    return replace(stages.problem.plan(device), stages=tuple(order))
