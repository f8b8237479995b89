"""What an instance holds and what follows from it, unchecked: see `placer.instance.instance`.

Everything is dense NumPy arrays over nodes ``0..n-1`` and device classes ``0..C-1``; ids and names matter
only at the borders.  Times are milliseconds, sizes are bytes.
"""

from __future__ import annotations

from dataclasses import dataclass
from functools import cached_property

import numpy as np

from placer.arrays import BoolArray, FloatArray, IntArray
from placer.instance.cluster import Device, DeviceClass, Link, Server
from placer.instance.constraints import Constraints
from placer.instance.modes import Mode
from placer.instance.origin import Origin, Source
from placer.instance.shards import Shards
from placer.instance.training import STATE_FACTOR, Training, kept_per_weight

__all__ = ["InstanceData"]


@dataclass(frozen=True, eq=False, kw_only=True)
class InstanceData:
    """The fields, which `Instance` explains, and all that follows from them."""

    name: str
    ids: tuple[str, ...]
    types: tuple[str, ...]
    time_ms: FloatArray
    memory_bytes: FloatArray
    transfer_ms: FloatArray
    output_bytes: FloatArray
    edges: IntArray
    classes: tuple[DeviceClass, ...]
    backward: BoolArray
    colocate: tuple[str | None, ...]
    layer: tuple[str | None, ...]
    pin: tuple[tuple[str, ...], ...]
    forbid: tuple[tuple[str, ...], ...]
    names: tuple[str, ...]
    weight_bytes: FloatArray
    activation_bytes: FloatArray
    training: Training
    origin: tuple[Origin | None, ...]
    source: Source | None
    constraints: Constraints
    order: tuple[str | tuple[str, ...], ...] = ()
    servers: tuple[Server, ...] = ()
    shards: tuple[Shards, ...] = ()
    pools: tuple[int, ...] = ()

    # -- sizes and look-ups ---------------------------------------------------------------------

    @property
    def n(self) -> int:
        """Number of nodes."""
        return len(self.ids)

    @cached_property
    def index(self) -> dict[str, int]:
        """Node index by id."""
        return {v: i for i, v in enumerate(self.ids)}

    @cached_property
    def is_training(self) -> bool:
        """Whether there are backward nodes."""
        return bool(self.backward.any())

    @cached_property
    def devices(self) -> tuple[Device, ...]:
        """All devices, class by class, length D."""
        members = [(c, i) for c, cls in enumerate(self.classes) for i in range(cls.count)]
        rank = {name: place for place, names in enumerate(self.places) for name in names}
        server = {name: i for i, some in enumerate(self.servers) for name in some.devices}
        return tuple(
            Device(
                name=self.classes[c].member(i),
                index=d,
                class_index=c,
                is_host=self.classes[c].is_host,
                memory_limit_bytes=self.classes[c].room_bytes(i),
                rank=rank.get(self.classes[c].member(i), rank.get(self.classes[c].name)),
                server=server.get(self.classes[c].member(i), server.get(self.classes[c].name)),
            )
            for d, (c, i) in enumerate(members)
        )

    @cached_property
    def device_index(self) -> dict[str, int]:
        """Device index by name."""
        return {d.name: d.index for d in self.devices}

    @cached_property
    def device_class(self) -> IntArray:
        """Class of each device, ``(D,)``."""
        return np.array([d.class_index for d in self.devices], dtype=np.int64)

    # -- costs by device class ------------------------------------------------------------------

    @cached_property
    def resident_bytes(self) -> FloatArray:
        """What each node keeps on its device whatever is in flight, ``(n,)``."""
        return self.memory_bytes + self.weight_bytes * STATE_FACTOR[self.training.optimizer]

    @cached_property
    def has_activations(self) -> bool:
        """Whether anything is kept per microbatch in flight."""
        return bool(self.activation_bytes.any()) or any(s.activation_bytes.any() for s in self.shards)

    @cached_property
    def held_bytes(self) -> FloatArray:
        """What each node keeps with one microbatch in flight, ``(n,)``; the least over the classes."""
        resident, activation = self.class_kept_bytes
        return np.asarray((resident + activation).min(axis=1))

    @property
    def places(self) -> tuple[tuple[str, ...], ...]:
        """Names of classes or devices at each place of the wanted order."""
        return tuple((entry,) if isinstance(entry, str) else entry for entry in self.order)

    @cached_property
    def rank_edges(self) -> IntArray:
        """Pairs of devices (earlier, later) that the wanted order contains, ``(·, 2)``."""
        ranked = [(d.rank, d.index) for d in self.devices if d.rank is not None]
        pairs = [(a, b) for p, a in ranked for q, b in ranked if p < q]
        return np.array(pairs, dtype=np.int64).reshape(-1, 2)

    @cached_property
    def class_time_ms(self) -> FloatArray:
        """Processing time of each node on each device class, ``(n, C)``; inf = cannot run."""
        column = {t: i for i, t in enumerate(self.types)}
        out = np.full((self.n, len(self.classes)), np.inf)
        for c, cls in enumerate(self.classes):
            if cls.type in column:
                out[:, c] = self.compute_ms(cls, cls.mode) + self.class_sync_ms[:, c]
        return out

    @cached_property
    def class_sync_ms(self) -> FloatArray:
        """The part of `class_time_ms` that sums the gradients of replicas, ``(n, C)``."""
        return np.stack([self.sync_ms(cls, cls.mode) for cls in self.classes], axis=1)

    @cached_property
    def class_transfer_ms(self) -> FloatArray:
        """Transfer time of each node's output over the link of each class, ``(n, C)``; hosts pay 0."""
        out = np.zeros((self.n, len(self.classes)))
        for c, cls in enumerate(self.classes):
            if not cls.is_host:
                out[:, c] = self.moving_ms(cls.link, cls.mode)
        return out

    @cached_property
    def across_ms(self) -> FloatArray:
        """Transfer time of each node's output between each device and another server, ``(n, D)``."""
        out = self.class_transfer_ms[:, self.device_class]
        for d in self.devices:
            if d.server is not None and not d.is_host:
                uplink = self.moving_ms(self.servers[d.server].uplink, self.classes[d.class_index].mode)
                np.maximum(out[:, d.index], uplink, out=out[:, d.index])
        return out

    @cached_property
    def server_of(self) -> IntArray:
        """Server of each device, ``(D,)``; devices that are in none have numbers of their own."""
        count = len(self.servers)
        return np.array([count + d.index if d.server is None else d.server for d in self.devices])

    def moving_ms(self, link: Link, mode: Mode) -> FloatArray:
        """Transfer time per sample of each node's output over the link of each device of a mode, ``(n,)``."""
        sized = ~np.isnan(self.output_bytes)
        out = np.where(sized, 0.0, self.transfer_ms * link.transfer_scale / mode.shards)
        if link.bandwidth_bytes_per_s is not None:
            size = self.output_bytes[sized] / mode.shards
            time = link.latency_ms + 1e3 * size / link.bandwidth_bytes_per_s
            out[sized] = np.where(size > 0, time, 0.0)
        return np.asarray(out / mode.replicas)

    # -- costs by mode --------------------------------------------------------------------------

    def split(self, degree: int) -> Shards | None:
        """Return the figures of nodes in so many shards; None where each device has those of whole nodes."""
        return next((some for some in self.shards if some.degree == degree), None)

    def compute_ms(self, cls: DeviceClass, mode: Mode) -> FloatArray:
        """Return times per sample on each device of a mode, with what shards exchange, ``(n,)``."""
        split, column = self.split(mode.shards), self.types.index(cls.type)
        if split is None:
            return np.asarray(self.time_ms[:, column] / mode.replicas)
        size, peers, t = split.collective_bytes, cls.peers, mode.shards
        time = split.time_ms[:, column] + peers.ring_ms(size, t)
        if peers.bandwidth_bytes_per_s is not None:
            time += np.where(size > 0, 2 * (t - 1) * peers.latency_ms, 0.0)
        return np.asarray(time / mode.replicas)

    def sync_ms(self, cls: DeviceClass, mode: Mode) -> FloatArray:
        """Time per microbatch to sum the gradients of replicas, ``(n,)``, on a backward node of each group.

        They are summed after each optimizer step.
        """
        degree = 1 if self.split(mode.shards) is None else mode.shards
        return cls.peers.ring_ms(self.gradient_bytes[degree], mode.replicas) / self.training.microbatches

    @cached_property
    def gradient_bytes(self) -> dict[int, FloatArray]:
        """Gradients by degree of sharding, those of each group on its first backward node, ``(n,)``."""
        weights = {1: self.weight_bytes} | {some.degree: some.weight_bytes for some in self.shards}
        out = {degree: np.where(self.backward, size, 0.0) for degree, size in weights.items()}
        for nodes in self.groups.values():
            backward = nodes[self.backward[nodes]]
            for degree, size in weights.items() if len(backward) else ():
                out[degree][backward] = 0.0
                out[degree][backward[0]] = size[nodes].sum()
        return out

    def kept_bytes(self, mode: Mode) -> tuple[FloatArray, FloatArray]:
        """Return what a device of a mode keeps: whatever is in flight, and per microbatch, ``(n,)`` each."""
        split = self.split(mode.shards)
        memory, weights, activations = (
            (self.memory_bytes, self.weight_bytes, self.activation_bytes)
            if split is None
            else (split.memory_bytes, split.weight_bytes, split.activation_bytes)
        )
        return memory + weights * kept_per_weight(self.training.optimizer, mode), activations

    @cached_property
    def class_kept_bytes(self) -> tuple[FloatArray, FloatArray]:
        """What nodes keep on each class: whatever is in flight, and per microbatch, ``(n, C)``."""
        kept = {mode: self.kept_bytes(mode) for mode in {cls.mode for cls in self.classes}}
        resident, activation = zip(*(kept[cls.mode] for cls in self.classes), strict=True)
        return np.stack(resident, axis=1), np.stack(activation, axis=1)

    @cached_property
    def allowed(self) -> BoolArray:
        """Whether each node may go to each device by type, pins, forbids and devices in use, ``(n, D)``."""
        out = np.isfinite(self.class_time_ms)[:, self.device_class]
        if self.constraints.use_devices:
            out &= self._named(self.constraints.use_devices)
        for v in range(self.n):
            if self.pin[v]:
                out[v] &= self._named(self.pin[v])
            if self.forbid[v]:
                out[v] &= ~self._named(self.forbid[v])
        return out

    def _named(self, names: tuple[str, ...]) -> BoolArray:
        """Devices that some of ``names`` (classes or devices) mean, ``(D,)``."""
        return np.array(
            [d.name in names or self.classes[d.class_index].name in names for d in self.devices],
            dtype=np.bool_,
        )

    # -- graph ----------------------------------------------------------------------------------

    @cached_property
    def successors(self) -> tuple[IntArray, ...]:
        """Consumers of each node, length n."""
        return _neighbours(self.n, self.edges[:, 0], self.edges[:, 1])

    @cached_property
    def predecessors(self) -> tuple[IntArray, ...]:
        """Producers that each node reads, length n."""
        return _neighbours(self.n, self.edges[:, 1], self.edges[:, 0])

    @cached_property
    def forward_edges(self) -> IntArray:
        """Edges between forward nodes, ``(m_f, 2)``."""
        return self.edges[~self.backward[self.edges].any(axis=1)]

    @cached_property
    def order_edges(self) -> IntArray:
        """Pairs (earlier, later) that the device order of a contiguous plan respects, ``(m_o, 2)``.

        The forward edges; and, because the backward pass mirrors the forward pass, the backward edges
        of nodes that have no forward node in their group, turned around (the paper gives such a node an
        artificial forward partner with mirrored edges).
        """
        has_forward = ~self.backward
        for nodes in self.groups.values():
            has_forward[nodes] = bool((~self.backward[nodes]).any())
        mirrored = self.backward[self.edges].all(axis=1) & ~has_forward[self.edges].all(axis=1)
        return np.concatenate([self.forward_edges, self.edges[mirrored][:, ::-1]])

    @cached_property
    def groups(self) -> dict[str, IntArray]:
        """Members of each colocation group."""
        members: dict[str, list[int]] = {}
        for v, group in enumerate(self.colocate):
            if group is not None:
                members.setdefault(group, []).append(v)
        return {group: np.array(nodes, dtype=np.int64) for group, nodes in members.items()}


def _neighbours(n: int, source: IntArray, target: IntArray) -> tuple[IntArray, ...]:
    order = np.argsort(source, kind="stable")
    bounds = np.searchsorted(source[order], np.arange(1, n))
    return tuple(np.split(target[order], bounds)) if n else ()
