"""What virtual stages cost, for many plans at once: loads, and what keeps a plan from being one.

The same as `placer.plans.virtual_stages` and `placer.plans.evaluate` say of one plan, over items.
"""

from __future__ import annotations

from dataclasses import dataclass
from functools import cached_property

import numpy as np

from placer.arrays import BoolArray, FloatArray, IntArray, distinct
from placer.options import Communication, Options, Recompute
from placer.plans.interleaved import states_in_flight
from placer.reductions.problem import Problem
from placer.tolerances import MEMORY_TOLERANCE

__all__ = ["Costs", "Figures"]


@dataclass(frozen=True, eq=False)
class Figures:
    """Figures of C plans.

    Parameters
    ----------
    load_ms
        Forward and backward load of each virtual stage, ``(2, V, P, C)``.
    excess
        0 where all rules hold; else how many do not, and by which share memory limits are exceeded, ``(C,)``.
    recompute
        Which ranks compute their activations again, ``(P, C)``.
    """

    load_ms: FloatArray
    excess: FloatArray
    recompute: BoolArray


@dataclass(frozen=True, eq=False)
class Costs:
    """Costs of items in virtual stages.

    Parameters
    ----------
    problem
        The items, contracted for contiguity; N items.
    options
        What is asked for.
    microbatches
        How many there are in a step.
    """

    problem: Problem
    options: Options
    microbatches: int

    def figures(self, at: IntArray, devices: IntArray) -> Figures:
        """Evaluate plans.

        Parameters
        ----------
        at
            Virtual stage of each item in pipeline order, ``(C, N)``.
        devices
            Device of each rank, ``(P,)``.
        """
        ranks, count = len(devices), len(at)
        device = devices[at % ranks]
        every = np.arange(self.problem.size)
        excess = (~self.problem.allowed[every, device]).sum(axis=1) + self._broken_rules(device)
        classes = self.problem.instance.device_class[device]
        slot = at * count + np.arange(count)[:, None]  # stage by stage, all plans together

        def summed(values: FloatArray) -> FloatArray:
            size = self.options.virtual_stages * ranks * count
            total = np.bincount(slot.ravel(), values.ravel(), size)
            return np.asarray(total, dtype=np.float64).reshape(-1, ranks, count)

        compute = np.stack([summed(time[every, classes]) for time in self._time_ms])
        held, resident = (summed(np.broadcast_to(x, at.shape)) for x in self._memory)
        over, recompute = self._memory_excess(at, devices, held, resident.sum(axis=0))
        compute[1] += np.where(recompute, compute[0], 0.0)
        moved = self._transfers(at, devices) if self._nets else None
        return Figures(self._loads(compute, moved), excess + over, recompute)

    def _loads(self, compute: FloatArray, moved: FloatArray | None) -> FloatArray:
        """Return loads from compute times, ``(2, V, P, C)``, and what is received and sent."""
        if moved is None:
            return compute
        if self.options.communication is Communication.SEQUENTIAL:
            return np.asarray(compute + moved.sum(axis=0))
        together = self.options.communication is Communication.OVERLAP
        return np.asarray(np.maximum(compute, moved.sum(axis=0) if together else moved.max(axis=0)))

    @cached_property
    def _time_ms(self) -> FloatArray:
        """Times of items by class, ``(2, N, C)``, 0 where they cannot run."""
        return np.where(np.isfinite(self.problem.time_ms), self.problem.time_ms, 0.0)

    @cached_property
    def _memory(self) -> tuple[FloatArray, FloatArray]:
        """Activations per microbatch, and what stays, of each item, ``(N,)`` bytes."""
        held = self.problem.activation_bytes
        return held, self.problem.memory_bytes - held

    def _broken_rules(self, device: IntArray) -> FloatArray:
        """How many nodes that must be apart are not, and how many devices that must be used are not."""
        rules, instance = self.problem.instance.constraints, self.problem.instance
        out = np.zeros(len(device))
        for group in rules.apart:
            places = np.sort(device[:, self.problem.item[list(group)]], axis=1)
            out += (places[:, 1:] == places[:, :-1]).sum(axis=1)
        for name in rules.use_devices:
            out += ~(device == instance.device_index[name]).any(axis=1)
        return out

    # -- memory -----------------------------------------------------------------------------------

    def _memory_excess(
        self, at: IntArray, devices: IntArray, held: FloatArray, resident: FloatArray
    ) -> tuple[FloatArray, BoolArray]:
        """Share by which limits are exceeded, ``(C,)``, and which ranks recompute, ``(P, C)``."""
        ranks, count = resident.shape
        again = np.full((ranks, count), self.options.recompute is Recompute.ALL)
        out = np.zeros(count)
        received: FloatArray | None = None
        for rank, d in enumerate(devices.tolist()):
            limit = self.problem.instance.devices[d].memory_limit_bytes * (1 + MEMORY_TOLERANCE)
            if limit == np.inf:
                continue
            states = states_in_flight(rank, ranks, self.options.virtual_stages, self.microbatches)
            kept = held[:, rank].T
            over = resident[rank] + states.peak(kept) - limit
            if self.options.recompute is not Recompute.NONE:
                received = self._received(at, ranks) if received is None else received
                again[rank] |= over > 0
                less = resident[rank] + states.peak(received[:, rank].T, kept) - limit
                over = np.where(again[rank], less, over)
            out += np.maximum(over, 0.0) / max(limit, 1.0)
        return out, again

    def _received(self, at: IntArray, ranks: int) -> FloatArray:
        """Forward outputs that each virtual stage reads from others, ``(V, P, C)`` bytes per microbatch."""
        out = np.zeros((self.options.virtual_stages * ranks, len(at)))
        plans = np.arange(len(at))
        for size, producer, readers in self.problem.stashes:
            reads = np.zeros(out.shape, dtype=np.bool_)
            for reader in readers:
                reads[at[:, reader], plans] = True
            reads[at[:, producer], plans] = False
            out += size * reads
        return out.reshape(-1, ranks, len(at))

    # -- transfers --------------------------------------------------------------------------------

    @cached_property
    def _nets(self) -> list[tuple[int, int, IntArray, BoolArray, FloatArray, FloatArray]]:
        """Outputs that other items read and that cost something to move, alike ones together.

        Each is a direction, the producer, the readers and whether they read it in that direction, costs by
        class, and by device between servers.
        """
        instance, item = self.problem.instance, self.problem.item
        across = instance.across_ms if instance.servers else np.zeros((instance.n, 1))
        readers: dict[int, set[tuple[int, bool]]] = {}
        for u, w in distinct(instance.edges).tolist():
            if item[u] != item[w] and instance.class_transfer_ms[u].any() | across[u].any():
                same = bool(instance.backward[u] == instance.backward[w])
                readers.setdefault(u, set()).add((int(item[w]), same))
        alike: dict[tuple[object, ...], list[int]] = {}
        for u, pairs in readers.items():
            key = bool(instance.backward[u]), int(item[u]), tuple(sorted(pairs))
            alike.setdefault(key, []).append(u)
        return [
            (
                int(key[0]),  # type: ignore[call-overload]
                int(key[1]),  # type: ignore[call-overload]
                np.array([reader for reader, _ in key[2]]),  # type: ignore[attr-defined]
                np.array([same for _, same in key[2]]),  # type: ignore[attr-defined]
                instance.class_transfer_ms[nodes].sum(axis=0),
                across[nodes].sum(axis=0),
            )
            for key, nodes in alike.items()
        ]

    def _transfers(self, at: IntArray, devices: IntArray) -> FloatArray:
        """Return what is received and sent, forward and backward, ``(2, 2, V, P, C)`` in ms."""
        ranks, count, chunks = len(devices), len(at), self.options.virtual_stages
        out = np.zeros((2, 2, chunks * ranks, count))
        plans, instance = np.arange(count), self.problem.instance
        classes, servers = instance.device_class[devices], instance.server_of[devices]
        for way, producer, readers, same, cost, across in self._nets:
            home = at[:, producer] % ranks
            place = at[:, readers] % ranks
            chunk = at[:, readers] // ranks
            turn = np.where(same, chunks - 1 - chunk if way else chunk, chunks - 1)
            far = servers[place] != servers[home][:, None]
            for i in range(len(readers)):
                # Received once: with the first of all readers on that device, which of equal ones counts.
                mine = place == place[:, [i]]
                first = (turn[:, [i]] < turn) | (turn[:, [i]] == turn) & (np.arange(len(readers)) >= i)
                counts = (place[:, i] != home) & (first | ~mine).all(axis=1)
                when = chunks - 1 - turn[:, i] if way else turn[:, i]
                price = cost[classes[place[:, i]]]
                if instance.servers:
                    price = np.where(far[:, i], across[devices[place[:, i]]], price)
                out[0, way, when * ranks + place[:, i], plans] += np.where(counts, price, 0.0)
            price = cost[classes[home]]
            if instance.servers:
                price = np.where(far.any(axis=1), across[devices[home]], price)
            leaves = (place != home[:, None]).any(axis=1)
            out[1, way, at[:, producer], plans] += np.where(leaves, price, 0.0)
        return out.reshape(2, 2, chunks, ranks, count)
