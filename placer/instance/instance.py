"""The instance: an immutable graph with costs, and the cluster it is to be placed on.

Inside, everything is dense NumPy arrays over nodes ``0..n-1`` and device classes ``0..C-1``; ids and
names matter only at the borders.  Times are milliseconds, sizes are bytes.
"""

from __future__ import annotations

import dataclasses
from collections.abc import Sequence
from dataclasses import dataclass
from functools import cached_property
from typing import Any, Self

import numpy as np
import numpy.typing as npt

from placer.arrays import BoolArray, FloatArray, IntArray
from placer.instance import rules
from placer.instance.cluster import Device, DeviceClass, Link, Server
from placer.instance.constraints import Constraints
from placer.instance.origin import Origin, Source
from placer.instance.training import STATE_FACTOR, Training
from placer.notebook import Shown

__all__ = ["Instance"]


@dataclass(frozen=True, eq=False, kw_only=True)
class Instance(Shown):
    """A graph of operators or layers with costs, and a cluster of devices.

    Parameters
    ----------
    name
        What the instance is called in results.
    ids
        Unique node ids, length n.
    types
        Device types for which processing times are known, length T.
    time_ms
        Processing times, ``(n, T)``; ``inf`` where a node cannot run on a type.
    memory_bytes
        What each node keeps resident on its device, ``(n,)``.
    transfer_ms
        Direct transfer time of each node's output between an accelerator and host memory, in one
        direction, ``(n,)``; ``nan`` where it follows from ``output_bytes`` and the link.
    output_bytes
        Size of each node's output, ``(n,)``; ``nan`` where the transfer time is direct.
    edges
        Data dependencies (producer, consumer), ``(m, 2)``, without duplicates.
    classes
        The device classes, length C.
    backward
        Whether a node belongs to the backward pass, ``(n,)``.
    colocate, layer
        Group label per node, or None; colocated nodes go to one device, layers are no constraint.
    pin, forbid
        Names of classes or devices per node: it must go to one of ``pin`` (when there are any), and
        to none of ``forbid``.
    names
        Readable node names; the ids by default.
    weight_bytes
        Trainable weights of each node, ``(n,)``; resident together with what ``training`` keeps per weight.
    activation_bytes
        What each node keeps per microbatch in flight between its forward and its backward pass, ``(n,)``.
    training
        Optimizer and number of microbatches.
    origin
        What each node stands for in the model that it comes from, or None.
    source
        The model that the instance was imported from, or None.
    constraints
        Rules on the plan as a whole.
    order
        Names of classes or devices in the order in which a contiguous pipeline must use them; devices that
        are not named may come anywhere, members of a named class in any order among themselves, and so may
        several names that share a place (a tuple).
    servers
        Groups of devices behind an uplink; without any, all links are the devices' own.

    Raises
    ------
    InputError
        When the data break a rule of the model (see ``placer.instance.rules``).
    """

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

    def __post_init__(self) -> None:
        for field in dataclasses.fields(self):
            value = getattr(self, field.name)
            if isinstance(value, np.ndarray):
                value.setflags(write=False)
        rules.check(self)

    @classmethod
    def build(
        cls,
        *,
        ids: Sequence[str],
        types: Sequence[str],
        time_ms: npt.ArrayLike,
        edges: Sequence[tuple[int, int]] | IntArray,
        classes: Sequence[DeviceClass],
        name: str = "instance",
        memory_bytes: npt.ArrayLike | None = None,
        transfer_ms: npt.ArrayLike | None = None,
        output_bytes: npt.ArrayLike | None = None,
        backward: npt.ArrayLike | None = None,
        colocate: Sequence[str | None] | None = None,
        layer: Sequence[str | None] | None = None,
        pin: Sequence[Sequence[str]] | None = None,
        forbid: Sequence[Sequence[str]] | None = None,
        names: Sequence[str] | None = None,
        weight_bytes: npt.ArrayLike | None = None,
        activation_bytes: npt.ArrayLike | None = None,
        training: Training | None = None,
        origin: Sequence[Origin | None] | None = None,
        source: Source | None = None,
        constraints: Constraints | None = None,
        order: Sequence[str | Sequence[str]] = (),
        servers: Sequence[Server] = (),
    ) -> Self:
        """Build an instance from plain sequences; what is left out is zero, absent or free."""
        n = len(ids)
        no_group: tuple[str | None, ...] = (None,) * n
        output = np.full(n, np.nan) if output_bytes is None else np.array(output_bytes, dtype=np.float64)
        direct = (
            np.where(np.isnan(output), 0.0, np.nan)
            if transfer_ms is None
            else np.array(transfer_ms, dtype=np.float64)
        )
        return cls(
            name=name,
            ids=tuple(ids),
            types=tuple(types),
            time_ms=np.array(time_ms, dtype=np.float64).reshape(n, len(types)),
            memory_bytes=_array(memory_bytes, n, np.float64),
            transfer_ms=direct,
            output_bytes=output,
            edges=np.array(edges, dtype=np.int64).reshape(-1, 2),
            classes=tuple(classes),
            backward=_array(backward, n, np.bool_),
            colocate=no_group if colocate is None else tuple(colocate),
            layer=no_group if layer is None else tuple(layer),
            pin=((),) * n if pin is None else tuple(tuple(p) for p in pin),
            forbid=((),) * n if forbid is None else tuple(tuple(f) for f in forbid),
            names=tuple(ids) if names is None else tuple(names),
            weight_bytes=_array(weight_bytes, n, np.float64),
            activation_bytes=_array(activation_bytes, n, np.float64),
            training=Training() if training is None else training,
            origin=(None,) * n if origin is None else tuple(origin),
            source=source,
            constraints=Constraints() if constraints is None else constraints,
            order=tuple(entry if isinstance(entry, str) else tuple(entry) for entry in order),
            servers=tuple(servers),
        )

    def replace(self, **changes: Any) -> Self:
        """Return a copy with some fields changed, checked like any other instance."""
        return dataclasses.replace(self, **changes)

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


def _array(values: npt.ArrayLike | None, n: int, dtype: type) -> Any:
    return np.zeros(n, dtype=dtype) if values is None else np.array(values, dtype=dtype).reshape(n)


def _neighbours(n: int, source: IntArray, target: IntArray) -> tuple[IntArray, ...]:
    order = np.argsort(source, kind="stable")
    bounds = np.searchsorted(source[order], np.arange(1, n))
    return tuple(np.split(target[order], bounds)) if n else ()
