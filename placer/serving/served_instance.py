"""An instance as a model to serve: a chain, each of whose microbatches is one sample."""

from __future__ import annotations

from collections.abc import Sequence
from functools import cached_property

import numpy as np

from placer.arrays import BoolArray, FloatArray
from placer.errors import UsageError
from placer.instance.constraints import Constraints
from placer.instance.instance import Instance
from placer.instance.modes import Mode
from placer.language.module_names import layer_number
from placer.serving.serving_model import Costs, Option, Pool, Setting, layers_counted

__all__ = ["ServedInstance"]


class ServedInstance:
    """A chain with times per sample: one sequence is a microbatch, and its context is that of the times.

    Parameters
    ----------
    instance
        What each node keeps per microbatch in flight (``activation_bytes``) is its cache.
    shards, replicas
        Which numbers of devices may split a stage or take turns at it.

    Raises
    ------
    UsageError
        When it is no chain, or has rules that serving does not know.
    """

    max_context: int | None = None
    batches = False
    tied_bytes = 0.0

    def __init__(
        self, instance: Instance, *, shards: Sequence[int] = (1,), replicas: Sequence[int] = (1,)
    ) -> None:
        order = _chain(instance)
        self.instance, self.order = instance, order
        self.name = instance.name
        self.ids = tuple(instance.ids[v] for v in order)
        names = [instance.names[v] if o is None else o.module or "" for v, o in enumerate(instance.origin)]
        self.layer_of = tuple(layer_number(names[v]) for v in order)
        self.cuts: BoolArray = np.ones(len(order), dtype=np.bool_)
        self.counted = layers_counted(self.layer_of, instance.activation_bytes[order] > 0)
        self.notes = ("one sample of the instance is a microbatch",)
        self.pools, self.members = _pools(instance)
        self.options = tuple(
            Option(p, t, r)
            for p, pool in enumerate(self.pools)
            for t in (shards if not pool.host else (1,))
            for r in (replicas if not pool.host else (1,))
            if t * r <= len(pool.names) and (t == 1 or instance.split(t) is not None)
        )
        if not self.options:
            raise UsageError(f"{instance.name}: no class has as many devices as a stage needs")

    @cached_property
    def _arrays(self) -> tuple[FloatArray, ...]:
        """Times, resident and kept bytes, transfers within and across servers, ``(O, n)`` each."""
        instance, order = self.instance, self.order
        rows: list[list[FloatArray]] = [[], [], [], [], []]
        for option in self.options:
            pool = self.pools[option.pool]
            mode, device = Mode(shards=option.shards), self.members[option.pool]
            time = instance.compute_ms(pool.cls, mode)
            allowed = instance.allowed[:, device]
            resident, kept = instance.kept_bytes(mode)
            move = np.zeros(instance.n) if pool.host else instance.moving_ms(pool.cls.link, mode)
            across = move
            if instance.servers and not pool.host and instance.devices[device].server is not None:
                uplink = instance.servers[pool.server].uplink
                across = np.maximum(move, instance.moving_ms(uplink, mode))
            made = (np.where(allowed, time, np.inf), resident, kept, move, across)
            for row, values in zip(rows, made, strict=True):
                row.append(np.asarray(values)[order])
        return tuple(np.array(row) for row in rows)

    def costs(self, setting: Setting) -> Costs:
        """Return the costs; what is kept is multiplied by the microbatches."""
        time, resident, kept, move, across = self._arrays
        own = np.array([[-(-setting.microbatches // option.replicas)] for option in self.options])
        return Costs(time, resident, own * kept, move, across)


def _chain(instance: Instance) -> list[int]:
    """Order the nodes of a chain."""
    refused = (
        (instance.is_training, "it trains"),
        (any(len(nodes) > 1 for nodes in instance.groups.values()), "it has colocated nodes"),
        (bool(instance.order), "its cluster has an order"),
        (instance.constraints != Constraints(), "it has rules on the plan as a whole"),
    )
    for wrong, why in refused:
        if wrong:
            raise UsageError(
                f"{instance.name}: placer serve does not take this instance: {why} (placer solve does)"
            )
    order = [v for v in range(instance.n) if not len(instance.predecessors[v])][:1]
    while order and len(instance.successors[order[-1]]) == 1:
        order.append(int(instance.successors[order[-1]][0]))
    if len(order) != instance.n or len(instance.edges) != instance.n - 1:
        raise UsageError(f"{instance.name}: placer serve takes chains, and this graph is none (placer solve)")
    return order


def _pools(instance: Instance) -> tuple[tuple[Pool, ...], tuple[int, ...]]:
    """Gather devices that are alike; and one member of each pool."""
    found: dict[tuple[object, ...], list[int]] = {}
    for d in instance.devices:
        allowed = instance.allowed[:, d.index]
        if allowed.any():
            key = (
                d.class_index,
                d.memory_limit_bytes,
                int(instance.server_of[d.index]) if instance.servers else 0,
            )
            found.setdefault((*key, allowed.tobytes()), []).append(d.index)
    pools = tuple(
        Pool(
            names=tuple(instance.devices[d].name for d in members),
            device_class=instance.devices[members[0]].class_index,
            cls=instance.classes[instance.devices[members[0]].class_index],
            room_bytes=instance.devices[members[0]].memory_limit_bytes,
            server=int(instance.server_of[members[0]]) if instance.servers else 0,
        )
        for members in found.values()
    )
    return pools, tuple(members[0] for members in found.values())
