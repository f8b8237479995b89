"""The instance: an immutable graph with costs, and the cluster it is to be placed on; always checked."""

from __future__ import annotations

import dataclasses
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any, Self

import numpy as np
import numpy.typing as npt

from placer.arrays import IntArray, freeze
from placer.errors import UsageError
from placer.instance import rules
from placer.instance.cluster import DeviceClass, Server
from placer.instance.constraints import Constraints
from placer.instance.data import InstanceData
from placer.instance.origin import Origin, Source
from placer.instance.shards import Shards
from placer.instance.training import Training
from placer.notebook import Shown

__all__ = ["Instance", "expect_instance"]


@dataclass(frozen=True, eq=False, kw_only=True)
class Instance(InstanceData, Shown):
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
    shards
        What nodes cost on each device of a stage that splits them, by increasing degree.
    pools
        Devices of each pool that classes share (see `DeviceClass`); files know nothing of them.

    Raises
    ------
    InputError
        When the data break a rule of the model (see ``placer.instance.rules``).
    """

    def __post_init__(self) -> None:
        freeze(self)
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
        shards: Sequence[Shards] = (),
    ) -> Self:
        """Build an instance from plain sequences; what is left out is zero, absent or free."""
        n = len(ids)
        no_group: tuple[str | None, ...] = (None,) * n
        output = np.full(n, np.nan) if output_bytes is None else np.array(output_bytes, dtype=np.float64)
        unsized = np.where(np.isnan(output), 0.0, np.nan)
        return cls(
            name=name,
            ids=tuple(ids),
            types=tuple(types),
            time_ms=np.array(time_ms, dtype=np.float64).reshape(n, len(types)),
            memory_bytes=_array(memory_bytes, n, np.float64),
            transfer_ms=unsized if transfer_ms is None else np.array(transfer_ms, dtype=np.float64),
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
            shards=tuple(shards),
        )

    def replace(self, **changes: Any) -> Self:
        """Return a copy with some fields changed, checked like any other instance."""
        return dataclasses.replace(self, **changes)


def expect_instance(given: object) -> None:
    """Refuse what is no instance where one is needed, such as the path of its file.

    Raises
    ------
    UsageError
        Naming the type of what was given.
    """
    if not isinstance(given, Instance):
        raise UsageError(f"expected an instance, got {type(given).__name__} (placer.load reads one)")


def _array(values: npt.ArrayLike | None, n: int, dtype: type) -> Any:
    return np.zeros(n, dtype=dtype) if values is None else np.array(values, dtype=dtype).reshape(n)
