"""Every way to serve a small model, with all that `placer serve` decides; costs of nodes are the check's."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass, replace
from functools import cached_property
from itertools import product
from math import inf

import numpy as np

from placer.serving.recomputed_costs import Device, Recomputed, recomputed
from placer.tolerances import MEMORY_TOLERANCE

__all__ = ["Layouts", "Tried"]

Team = tuple[tuple[str, ...], int]
"""Devices that act as one, and how many of them split each node; the rest take turns."""


@dataclass(frozen=True, eq=False)
class Tried:
    """What layouts give; inf for the time per token of those without room, ``(layouts,)`` each."""

    tpot_ms: np.ndarray
    ttft_ms: np.ndarray
    room_per_layer: np.ndarray

    def best(self, tpot_ms: float = inf, ttft_ms: float = inf) -> float:
        """Least time per token under limits."""
        return float(self.tpot_ms[self.keep(tpot_ms, ttft_ms)].min(initial=inf))

    def room(self, tpot_ms: float = inf, ttft_ms: float = inf) -> float:
        """Most room per layer under limits."""
        return float(self.room_per_layer[self.keep(tpot_ms, ttft_ms)].max(initial=-inf))

    def keep(self, tpot_ms: float, ttft_ms: float) -> np.ndarray:
        slack = 1 + 1e-9
        good = (self.tpot_ms < inf) & (self.tpot_ms <= tpot_ms * slack)
        return good & (ttft_ms == inf or self.ttft_ms <= ttft_ms * slack)


class Layouts:
    """All layouts of a model: which team of devices holds which nodes."""

    def __init__(
        self,
        model,
        *,
        shards: Sequence[int] = (1,),
        replicas: Sequence[int] = (1,),
        scattered: bool = False,
    ) -> None:
        self.model, self.n = model, len(model.ids)
        self.ways = [(t, r) for t in shards for r in replicas if self._splits(t)]
        costs = recomputed(model, 1, 1, 1)
        self.devices = costs.devices
        self.alike = {name: self._sort(device, costs) for name, device in self.devices.items()}
        self.teams: dict[Team, int] = {}
        made = self._scattered() if scattered else self._extended([], None)
        self.where = np.array([[self._number(team) for team in layout] for layout in made], dtype=np.int64)
        self.where = self.where.reshape(-1, self.n)

    def _splits(self, shards: int) -> bool:
        instance = getattr(self.model, "instance", None)
        return shards == 1 or instance is None or instance.split(shards) is not None

    def _sort(self, device: Device, costs: Recomputed) -> tuple[object, ...]:
        may = tuple(costs.time_ms(v, device, 1) < inf for v in range(self.n))
        return device.cls, device.room_bytes, device.server, may

    def _number(self, team: Team) -> int:
        return self.teams.setdefault(team, len(self.teams))

    def _scattered(self) -> Iterator[list[Team]]:
        yield from (list(way) for way in product([((name,), 1) for name in self.devices], repeat=self.n))

    def _extended(self, made: list[Team], current: Team | None) -> Iterator[list[Team]]:
        """Yield what a layout of the first nodes becomes."""
        k = len(made)
        if k == self.n:
            yield made
            return
        if current is not None:
            yield from self._extended([*made, current], current)
        for name, device in self.devices.items():
            if device.cls.is_host:
                yield from self._extended([*made, ((name,), 1)], current)
        if self.model.cuts[k]:
            for team in self._free({name for names, _ in made for name in names}):
                yield from self._extended([*made, team], team)

    def _free(self, used: set[str]) -> Iterator[Team]:
        """Yield teams of accelerators that are not used; of those that are alike, the first."""
        left: dict[object, list[str]] = {}
        for name, device in self.devices.items():
            if name not in used and not device.cls.is_host:
                left.setdefault(self.alike[name], []).append(name)
        for names in left.values():
            for t, r in self.ways:
                if t * r <= len(names):
                    yield tuple(names[: t * r]), t

    def tried(self, batch: int, microbatches: int, context: int | None, prompt: int | None) -> Tried:
        """Compute what all layouts give in a setting."""
        table = _Table(self, recomputed(self.model, batch, context, prompt))
        return table.tried(microbatches)


@dataclass(frozen=True, eq=False)
class _Table:
    """Costs of nodes by team, ``(teams, n)``."""

    layouts: Layouts
    costs: Recomputed

    def _all(self, cost) -> np.ndarray:
        teams = self.layouts.teams
        devices = [self.layouts.devices[names[0]] for names, _ in teams]
        splits = [shards for _, shards in teams]
        pairs = list(zip(devices, splits, strict=True))
        rows = [[cost(v, d, t) for v in range(self.layouts.n)] for d, t in pairs]
        return np.array(rows, dtype=np.float64).reshape(-1, self.layouts.n)

    def _moves(self, *, prompt: bool) -> np.ndarray:
        """Time of a transfer within a server, and to another, ``(2, teams, n)``."""

        def move(v: int, device: Device, shards: int, *, far: bool) -> float:
            other = replace(device, server="another one") if far else device
            return self.costs.move_ms(v, device, other, shards, prompt=prompt)

        return np.array([self._all(lambda v, d, t, f=far: move(v, d, t, far=f)) for far in (False, True)])

    @cached_property
    def _server(self) -> np.ndarray:
        names = [self.layouts.devices[names[0]].server or "" for names, _ in self.layouts.teams]
        return np.unique(names, return_inverse=True)[1]

    def tried(self, microbatches: int) -> Tried:
        layouts, n = self.layouts, self.layouts.n
        where, costs = layouts.where, self.costs
        turns = np.array([len(names) // t for names, t in layouts.teams])
        shards = np.array([t for _, t in layouts.teams])
        compute, first = self._all(costs.time_ms), costs.prompt_ms(0, next(iter(layouts.devices.values())), 1)
        loads, held, count = (np.zeros((len(where), len(turns))) for _ in range(3))
        kept = self._all(lambda v, d, t: costs.weight_bytes(v, t)) + -(-microbatches // turns)[:, None] * (
            self._all(lambda v, d, t: costs.cache_bytes(v, t))
        )
        rows = np.arange(len(where))
        for v in range(n):
            loads[rows, where[:, v]] += compute[where[:, v], v]
            held[rows, where[:, v]] += kept[where[:, v], v]
            count[rows, where[:, v]] += layouts.model.counted[v]
        moves = self._moves(prompt=False)
        for v in range(n - 1):
            for a, b in ((where[:, v], where[:, v + 1]), (where[:, v + 1], where[:, v])):
                loads[rows, a] += self._pay(moves, v, a, b)
        tied = costs.tied_bytes() if n > 1 else 0.0
        ends = where[:, 0], where[:, -1]
        held[rows, ends[0]] -= np.where(ends[0] == ends[1], tied / shards[ends[0]], 0.0)
        back = self._pay(moves, n - 1, *ends) + self._pay(moves, n - 1, *ends[::-1])
        tpot = np.maximum(loads.sum(axis=1) + back, microbatches * (loads / turns).max(axis=1))
        room = np.array([layouts.devices[names[0]].room_bytes for names, _ in layouts.teams])
        tpot[(held > room * (1 + MEMORY_TOLERANCE)).any(axis=1)] = inf
        with np.errstate(divide="ignore", invalid="ignore"):
            rooms = np.where(count > 0, (room - held) / count, inf).min(axis=1)
        return Tried(tpot, self._ttft() if first is not None else np.zeros(len(where)), rooms)

    def _ttft(self) -> np.ndarray:
        where, out = self.layouts.where, np.zeros(len(self.layouts.where))
        prompt, moves = self._all(self.costs.prompt_ms), self._moves(prompt=True)
        for v in range(self.layouts.n):
            out += prompt[where[:, v], v]
            if v:
                ends = where[:, v - 1], where[:, v]
                out += self._pay(moves, v - 1, *ends) + self._pay(moves, v - 1, *ends[::-1])
        return out

    def _pay(self, moves: np.ndarray, v: int, a: np.ndarray, b: np.ndarray) -> np.ndarray:
        """What the first of two teams pays for the output of a node that goes from one to the other."""
        far = (self._server[a] != self._server[b]).astype(np.int64)
        return np.where(a == b, 0.0, moves[far, a, v])
