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
from placer.instance.origin import Origin, Source
from placer.instance.shards import Shards
from placer.instance.training import STATE_FACTOR, Training

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
        """What each node keeps with one microbatch in flight, ``(n,)``."""
        return self.resident_bytes + self.activation_bytes

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
                out[:, c] = self.time_ms[:, column[cls.type]]
        return out

    @cached_property
    def class_transfer_ms(self) -> FloatArray:
        """Transfer time of each node's output over the link of each class, ``(n, C)``; hosts pay 0."""
        out = np.zeros((self.n, len(self.classes)))
        for c, cls in enumerate(self.classes):
            if not cls.is_host:
                out[:, c] = self._link_ms(cls.link) / cls.width
        return out

    @cached_property
    def across_ms(self) -> FloatArray:
        """Transfer time of each node's output between each device and another server, ``(n, D)``."""
        out = self.class_transfer_ms[:, self.device_class]
        for d in self.devices:
            if d.server is not None and not d.is_host:
                uplink = self._link_ms(self.servers[d.server].uplink) / self.classes[d.class_index].width
                np.maximum(out[:, d.index], uplink, out=out[:, d.index])
        return out

    @cached_property
    def server_of(self) -> IntArray:
        """Server of each device, ``(D,)``; devices that are in none have numbers of their own."""
        count = len(self.servers)
        return np.array([count + d.index if d.server is None else d.server for d in self.devices])

    def _link_ms(self, link: Link) -> FloatArray:
        """Transfer time of each node's output over a link, ``(n,)``."""
        sized = ~np.isnan(self.output_bytes)
        out = np.where(sized, 0.0, self.transfer_ms * link.transfer_scale)
        if link.bandwidth_bytes_per_s is not None:
            size = self.output_bytes[sized]
            time = link.latency_ms + 1e3 * size / link.bandwidth_bytes_per_s
            out[sized] = np.where(size > 0, time, 0.0)
        return np.asarray(out)

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
