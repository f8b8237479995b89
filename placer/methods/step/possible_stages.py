r"""All stages that a contiguous plan may have: pairs of downsets and a device, with loads and memory.

A pipeline is a chain of downsets ∅ = I_0 ⊂ ... ⊂ I_S = all items; stage s holds I_s \ I_{s−1}.

*Servers.*  Consecutive stages in one server are a run.  What a stage sends and receives costs more across
servers; whether it does depends on where all the other stages are.  A stage is charged for it only where that
is sure: its neighbour is in another server and, whatever it is, holds the item at the other end (the only one
that can come next).  On chains that is exact; elsewhere it may be too little, and a bound stays a bound.
"""

from __future__ import annotations

from collections.abc import Hashable
from dataclasses import dataclass
from functools import cached_property
from itertools import product

import numpy as np

from placer.arrays import BoolArray, FloatArray, IntArray
from placer.instance.cluster import Device
from placer.instance.interchangeable import interchangeable
from placer.methods.step.all_downsets import next_item, previous_item
from placer.methods.step.layer_choices import LayerChoices
from placer.options import Communication, Options, Recompute
from placer.reductions.problem import Problem
from placer.search.run import Run
from placer.tolerances import EQUAL, MEMORY_TOLERANCE

__all__ = ["Stages", "Way", "kinds_of_devices", "ways_of"]

CHUNK = 4_000_000
"""Entries of a table of stages and nets that is made at once."""
CELL_S = 2e-9
"""Nominal seconds for each of them."""


@dataclass(frozen=True)
class Way:
    """How a stage may run.

    Parameters
    ----------
    kind
        Kind of its device.
    recompute
        Whether it computes its activations again.
    front, back
        Whether the stage before it, and the one after it, are in other servers.
    """

    kind: int
    recompute: bool
    front: bool
    back: bool


def kinds_of_devices(problem: Problem) -> list[list[int]]:
    """Group devices that differ in nothing but their servers."""
    across = problem.net_across_ms

    def key(device: Device) -> Hashable:
        c, cls = device.class_index, problem.instance.classes[device.class_index]
        costs = b"" if across is None else across[:, device.index].tobytes()
        if cls.pool is None:
            return c, device.memory_limit_bytes, device.rank, costs
        figures = (
            problem.time_ms[:, :, c],
            problem.net_cost_ms[:, c],
            *(x[:, c] for x in problem.class_bytes),
        )
        own = -1 if problem.instance.servers else cls.pool  # no team is made of devices of two pools
        same = own, cls.mode, device.is_host, *(x.tobytes() for x in figures)
        return same, device.memory_limit_bytes, device.rank, costs

    return interchangeable(problem.instance.devices, problem.allowed, key)


def ways_of(problem: Problem, kinds: list[list[int]], options: Options) -> list[Way]:
    """Return the ways that the options allow; hosts never recompute."""
    out: list[Way] = []
    sides = (False, True) if problem.instance.servers else (False,)
    for kind, devices in enumerate(kinds):
        is_host = problem.instance.devices[devices[0]].is_host
        again = {Recompute.ALL: (True,), Recompute.AUTO: (False, True)}
        choices = (False,) if is_host else again.get(options.recompute, (False,))
        out += [Way(kind, *flags) for flags in product(choices, sides, sides)]
    return out


@dataclass(frozen=True, eq=False)
class Stages:
    """K stages between M downsets, each in one way, sorted by the downset they end with.

    Parameters
    ----------
    problem
        The items.
    kinds
        Devices of each kind.
    ways
        The ways.
    downsets
        ``(M, N)``, each after its subsets; the first is empty, the last holds all items.
    lower, upper
        Downsets before and after each stage, ``(K,)``.
    way
        Index of its way, ``(K,)``.
    load_ms
        Forward and backward load per microbatch, ``(2, K)``.
    flights
        Most microbatches that may be in flight on the stage, ``(K,)``.
    sync_ms
        Time after all microbatches to sum the gradients of replicas, ``(K,)``.
    is_exact
        Whether no stage takes less than that where its layers choose what recomputes.
    """

    problem: Problem
    kinds: list[list[int]]
    ways: list[Way]
    downsets: BoolArray
    lower: IntArray
    upper: IntArray
    way: IntArray
    load_ms: FloatArray
    flights: FloatArray
    sync_ms: FloatArray
    is_exact: bool = True

    @cached_property
    def begin(self) -> IntArray:
        """Stages that end with downset J are ``begin[J]`` to ``begin[J + 1]``, ``(M + 1,)``."""
        return np.asarray(np.searchsorted(self.upper, np.arange(len(self.downsets) + 1)))

    @cached_property
    def least_ms(self) -> FloatArray:
        """Least load of stages that lead from the empty downset to each, ``(M,)``; inf if none do."""
        total = self.load_ms.sum(axis=0)
        out = np.full(len(self.downsets), np.inf)
        out[0] = 0.0
        for j in range(1, len(out)):
            of = slice(self.begin[j], self.begin[j + 1])
            out[j] = (out[self.lower[of]] + total[of]).min(initial=np.inf)
        return out

    def items(self, stage: int) -> IntArray:
        """Items of a stage."""
        return np.flatnonzero(self.downsets[self.upper[stage]] & ~self.downsets[self.lower[stage]])

    @classmethod
    def between(
        cls, problem: Problem, downsets: BoolArray, options: Options, longest_ms: float, most: int, run: Run
    ) -> Stages | None:
        """Make all stages whose load is at most ``longest_ms``; None if they are more than ``most``.

        Raises
        ------
        Stopped
            When the run is over.
        """
        kinds = kinds_of_devices(problem)
        ways = ways_of(problem, kinds, options)
        table = _Table(problem, downsets, kinds, options, longest_ms)
        by_layer = options.recompute is Recompute.LAYERS
        layers = LayerChoices(problem, options, longest_ms, run) if by_layer else None
        numbers: list[IntArray] = []
        figures: list[FloatArray] = []
        count = 0
        for upper in range(1, len(downsets)):
            run.check()
            lower = table.below(upper, longest_ms)
            run.spend(CELL_S * len(lower) * max(1, problem.nets))
            for w, way in enumerate(ways):
                load, flights = table.stages(lower, upper, way)
                of = lower
                if layers is not None:
                    of, load, flights = table.with_choices(layers, lower, upper, way, load, flights)
                kept = np.isfinite(load).all(axis=0) & (flights >= 1)
                kept &= load.sum(axis=0) <= longest_ms * (1 + EQUAL)
                kept &= ~(way.front & (of == 0))
                of = of[kept]
                numbers.append(np.stack([of, np.full_like(of, upper), np.full_like(of, w)]))
                figures.append(np.concatenate([load[:, kept], flights[None, kept]]))
                count += len(of)
            if count > most or not (layers is None or layers.has_room):
                return None
        low, up, chosen = np.concatenate(numbers, axis=1)
        forward, backward, flights = np.concatenate(figures, axis=1)
        sync = table.sync_ms(low, up, np.array([way.kind for way in ways])[chosen])
        loads = np.stack([forward, backward])
        exact = layers is None or layers.is_exact
        return cls(problem, kinds, ways, downsets, low, up, chosen, loads, flights, sync, exact)


class _Table:
    """Sums over downsets, from which those over stages are differences."""

    def __init__(
        self,
        problem: Problem,
        downsets: BoolArray,
        kinds: list[list[int]],
        options: Options,
        longest_ms: float,
    ) -> None:
        self.problem, self.options, self.downsets = problem, options, downsets
        self.devices = [problem.instance.devices[devices[0]] for devices in kinds]
        inside = downsets.astype(np.float64)
        # What is too long for any stage would drown the sums.
        loads = problem.load_ms
        possible = loads.sum(axis=0) <= longest_ms * (1 + EQUAL)
        possible &= np.isfinite(loads).all(axis=0)
        times = np.where(possible, loads, 0.0)
        self.time = np.stack([inside @ times[r] for r in (0, 1)])  # (2, M, C)
        self.again = inside @ np.where(possible, problem.forward_ms, 0.0)
        first = [d.index for d in self.devices]
        runs = problem.allowed[:, first] & possible[:, [d.class_index for d in self.devices]]
        self.closed = inside @ (~runs).astype(np.float64)  # items that may not go there, by kind
        self.memory, self.activation = (inside @ held for held in problem.class_bytes)  # (M, C)
        self.sync = inside @ problem.sync_ms
        least = np.where(possible, loads.sum(axis=0), np.inf).min(axis=1)
        self.work = inside @ np.where(np.isfinite(least), least, 0.0)
        self._count_nets(longest_ms, first)
        self._count_outputs()
        rules = problem.instance.constraints.apart
        self.apart = (
            np.stack([inside[:, problem.item[list(g)]].sum(axis=1) for g in rules]) if rules else None
        )

    def _count_nets(self, longest_ms: float, first: list[int]) -> None:
        problem, downsets = self.problem, self.downsets
        owner = np.repeat(np.arange(problem.nets), np.diff(problem.net_start))
        self.member = np.zeros((problem.size, problem.nets), dtype=np.int32)
        self.member[problem.net_items, owner] = 1
        self.in_net = downsets.astype(np.int32) @ self.member  # (M, E)
        self.net_size = np.diff(problem.net_start)
        self.producer = problem.net_items[problem.net_start[:-1]]
        self.holds = downsets[:, self.producer]  # (M, E)
        own = np.minimum(problem.net_cost_ms, 2 * longest_ms)
        self.cost = [self._by_direction(own[:, d.class_index]) for d in self.devices]
        if problem.net_across_ms is not None:
            across = np.minimum(problem.net_across_ms[:, first], 2 * longest_ms)
            hosts = np.array([d.is_host for d in self.devices])
            extra = np.where(hosts, 0.0, across - own[:, [d.class_index for d in self.devices]])
            self.extra = [self._by_direction(np.maximum(0.0, extra[:, k])) for k in range(len(first))]
            self.next = next_item(problem, downsets)
            self.previous = previous_item(problem, downsets)

    def _by_direction(self, cost: FloatArray) -> FloatArray:
        """Costs of the nets, ``(E,)``, in columns for both directions, ``(E, 2)``."""
        out = np.zeros((self.problem.nets, 2))
        out[np.arange(self.problem.nets), self.problem.net_backward.astype(np.int64)] = cost
        return out

    def _count_outputs(self) -> None:
        outputs = self.problem.stashes if self.options.recompute is not Recompute.NONE else []
        self.output_bytes = np.array([size for size, _, _ in outputs])
        reads = np.zeros((self.problem.size, len(outputs)), dtype=np.int32)
        for o, (_, _, readers) in enumerate(outputs):
            reads[readers, o] = 1
        self.reads = self.downsets.astype(np.int32) @ reads
        self.produces = self.downsets[:, [producer for _, producer, _ in outputs]]

    def below(self, upper: int, longest_ms: float) -> IntArray:
        """Return the downsets within one, of which a stage of that load may be left."""
        short = self.work[upper] - self.work[:upper] <= longest_ms * (1 + EQUAL) + EQUAL * self.work[upper]
        near = np.flatnonzero(short)
        return np.asarray(near[~(self.downsets[near] & ~self.downsets[upper]).any(axis=1)])

    def stages(
        self, lower: IntArray, upper: int, way: Way, again_ms: FloatArray | float = 0.0
    ) -> tuple[FloatArray, FloatArray]:
        """Return loads, ``(2, k)``, and most microbatches in flight, ``(k,)``, of stages with one end.

        The loads are those of stages that compute ``again_ms`` more in the backward pass.
        """
        c = self.devices[way.kind].class_index
        load = np.maximum(0.0, self.time[:, upper, c, None] - self.time[:, lower, c])
        load[1] += again_ms
        if way.recompute:
            load[1] += np.maximum(0.0, self.again[upper, c] - self.again[lower, c])
        step = max(1, CHUNK // max(1, self.problem.nets))
        for at in range(0, len(lower), step):
            part = slice(at, at + step)
            load[:, part] = self._with_transfers(lower[part], upper, way, load[:, part])
        load[:, self.closed[upper, way.kind] - self.closed[lower, way.kind] > 0] = np.inf
        if self.apart is not None:
            load[:, (self.apart[:, upper, None] - self.apart[:, lower] > 1).any(axis=0)] = np.inf
        return load, self._most_in_flight(lower, upper, way)

    def with_choices(
        self,
        layers: LayerChoices,
        lower: IntArray,
        upper: int,
        way: Way,
        load_ms: FloatArray,
        flights: FloatArray,
    ) -> tuple[IntArray, FloatArray, FloatArray]:
        """Add to stages what they are when some of their layers recompute: lower downset, load, flights."""
        device = self.devices[way.kind]
        c = device.class_index
        compute = (self.time[:, upper, c, None] - self.time[:, lower, c]).sum(axis=0)
        possible = np.isfinite(load_ms).all(axis=0) & (not device.is_host)
        found: list[tuple[int, float, int]] = []
        for k in np.flatnonzero(possible).tolist():
            inside = self.downsets[upper] & ~self.downsets[lower[k]]
            entries = layers.entries(inside, device, float(compute[k]), float(flights[k]))
            found += [(k, time, f) for time, f in entries]
        if not found:
            return lower, load_ms, flights
        stage, again_ms, most = (np.array(column) for column in zip(*found, strict=True))
        more, _ = self.stages(lower[stage], upper, way, again_ms)
        return (
            np.concatenate([lower, lower[stage]]),
            np.concatenate([load_ms, more], axis=1),
            np.concatenate([flights, most.astype(np.float64)]),
        )

    def sync_ms(self, lower: IntArray, upper: IntArray, kind: IntArray) -> FloatArray:
        """Return the time per step in which stages sum their gradients, ``(K,)``."""
        c = np.array([d.class_index for d in self.devices])[kind]
        per_microbatch = np.maximum(0.0, self.sync[upper, c] - self.sync[lower, c])
        return np.asarray(per_microbatch * self.problem.instance.training.microbatches)

    def _most_in_flight(self, lower: IntArray, upper: int, way: Way) -> FloatArray:
        device = self.devices[way.kind]
        limit, c = device.memory_limit_bytes * (1 + MEMORY_TOLERANCE), device.class_index
        room = limit - (self.memory[upper, c] - self.memory[lower, c])  # beside the first microbatch
        if way.recompute:
            more = self._received(lower, upper)
        else:
            more = self.activation[upper, c] - self.activation[lower, c]
        with np.errstate(divide="ignore", invalid="ignore"):
            flights = np.where(more > 0, np.floor(room / more), np.inf) + (not way.recompute)
        flights[room < 0] = 0.0
        return flights

    def _with_transfers(self, lower: IntArray, upper: int, way: Way, compute: FloatArray) -> FloatArray:
        """Return loads with transfers, ``(2, k)``, from compute times."""
        inside = self.in_net[upper] - self.in_net[lower]
        cut = (inside > 0) & (inside < self.net_size)
        sends = self.holds[upper] & ~self.holds[lower]
        far = cut & self._across(lower, upper, way, sends) if way.front or way.back else None

        def moved(some: BoolArray | bool) -> FloatArray:
            total = ((cut & some) @ self.cost[way.kind]).T
            return np.asarray(total if far is None else total + ((far & some) @ self.extra[way.kind]).T)

        communication = self.options.communication
        if communication is Communication.DUPLEX:
            return np.maximum(compute, np.maximum(moved(sends), moved(~sends)))
        if communication is Communication.OVERLAP:
            return np.maximum(compute, moved(True))
        return np.asarray(compute + moved(True))

    def _across(self, lower: IntArray, upper: int, way: Way, sends: BoolArray) -> BoolArray:
        """Whether a net surely crosses to another server, ``(k, E)``."""
        out = np.zeros(sends.shape, dtype=np.bool_)
        if way.back and (item := int(self.next[upper])) >= 0:
            out |= np.where(sends, self.member[item] > 0, self.producer == item)
        if way.front:
            items = self.previous[lower]
            found = np.where(sends, self.member[items] > 0, self.producer == items[:, None])
            out |= found & (items >= 0)[:, None]
        return out

    def _received(self, lower: IntArray, upper: int) -> FloatArray:
        """Return bytes that a stage that recomputes receives for each microbatch in flight, ``(k,)``."""
        if not len(self.output_bytes):
            return np.zeros(len(lower))
        reads = self.reads[upper] - self.reads[lower] > 0
        own = self.produces[upper] & ~self.produces[lower]
        return np.asarray((reads & ~own) @ self.output_bytes)
