"""Devices of a pipeline that is built from its end: which are left, and which share a server."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from functools import cached_property

import numpy as np

from placer.arrays import BoolArray, IntArray
from placer.instance.instance import Instance
from placer.methods.step.possible_stages import Stages, Way

__all__ = ["Devices"]


@dataclass(frozen=True, eq=False)
class Devices:
    """Devices by kind, T kinds; sets of them as numbers with a digit for each kind.

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
        """How many devices may hold nodes."""
        most = self.instance.constraints.max_devices
        return int(self.counts.sum()) if most is None else min(most, int(self.counts.sum()))

    @cached_property
    def counts(self) -> IntArray:
        """Devices of each kind, ``(T,)``."""
        return np.array([len(devices) for devices in self.kinds], dtype=np.int64)

    @cached_property
    def unit(self) -> IntArray:
        """One device of each kind as a number, ``(T,)``."""
        return np.concatenate([[1], np.cumprod(self.counts[:-1] + 1)]).astype(np.int64)

    @cached_property
    def _rank(self) -> IntArray:
        ranks = [self.instance.devices[devices[0]].rank for devices in self.kinds]
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
        for held in {tuple(sorted(self.kind_of[d] for d in devices)) for devices in self.servers}:
            some = {0}
            for kind in held:
                some |= {number + int(self.unit[kind]) for number in some}
            found |= some
        return np.array(sorted(found), dtype=np.int64)

    def used(self, number: IntArray, kind: int | IntArray) -> IntArray:
        """Return how many devices of a kind are in sets."""
        return np.asarray((number // self.unit[kind]) % (self.counts[kind] + 1))

    def suffice(self, used: IntArray) -> BoolArray:
        """Whether all devices that must be used are."""
        needed = set(self.instance.constraints.use_devices)
        out = np.ones(len(used), dtype=np.bool_)
        for kind, devices in enumerate(self.kinds):
            number = sum(self.instance.devices[d].name in needed for d in devices)
            out &= self.used(used, kind) >= number
        return out

    def taken(self, used: IntArray, run: IntArray, way: IntArray) -> tuple[BoolArray, IntArray, IntArray]:
        """Take one device more for a stage in front of each label.

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
        fits = self.used(used, kind) < self.counts[kind]
        for k in np.flatnonzero(self._rank >= 0).tolist():  # none that must come before is behind it
            fits &= (self.used(used, k) == 0) | (self._rank[kind] <= self._rank[k])
        used = used + self.unit[kind]
        if not self.instance.servers:
            return fits, used, run
        front = np.array([w.front for w in ways])[way]
        back = np.array([w.back for w in ways])[way]
        fits &= back == (run == 0)
        run = run + self.unit[kind]
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
        left = [
            {k: [d for d in held if self.kind_of[d] == k] for k in range(len(self.kinds))}
            for held in self.servers
        ]
        out = [-1] * len(ways)
        for run in sorted(runs, key=len, reverse=True):
            need = np.bincount([ways[s].kind for s in run], minlength=len(self.kinds)).tolist()
            holding = [free for free in left if all(len(free[k]) >= n for k, n in enumerate(need))]
            if not holding:
                return None
            tightest = min(holding, key=lambda free: sum(map(len, free.values())))
            for s in run:
                out[s] = tightest[ways[s].kind].pop(0)
        return out

    def in_order(self, ways: Sequence[Way]) -> list[int]:
        """Return a device for each stage, server by server as they come."""
        free = [iter(devices) for devices in self.kinds]
        return [next(free[way.kind]) for way in ways]
