"""The rules that every instance keeps; each function checks one and names the offender."""

from __future__ import annotations

import math
import re
from collections import Counter

import numpy as np

from placer.arrays import BoolArray, FloatArray
from placer.choices import offer
from placer.errors import InputError
from placer.instance.cluster import DeviceClass, Link
from placer.instance.data import InstanceData
from placer.units import MAX_BYTES, MAX_COUNT, MAX_PRICE, MAX_TIME_MS

__all__ = ["check", "check_runnable"]

UNPRINTABLE = re.compile(
    r"[\x00-\x1f\x7f-\x9f\xad\u061c\u180e\u200b-\u200f\u2028-\u202e\u2060-\u206f\ud800-\udfff\ufeff"
    r"\ufff9-\ufffb\U000e0000-\U000e007f]"
)
"""Characters that would break one-line messages and tables, that nobody sees or that turn the direction of
text (a name would not read as what it is), or that cannot be written as UTF-8."""


def check(instance: InstanceData) -> None:
    """Check all rules.

    Raises
    ------
    InputError
        Naming the first rule broken and the place.
    """
    _check_nodes(instance)
    _check_cluster(instance)
    _check_numbers(instance)
    _check_transfers(instance)
    _check_edges(instance)
    _check_acyclic(instance)
    _check_names_used(instance)
    _check_supported(instance)
    _check_constraints(instance)
    _check_servers(instance)


def _check_nodes(instance: InstanceData) -> None:
    if instance.n == 0:
        raise InputError("the graph is empty; it needs at least one node", place="nodes")
    for node, count in Counter(instance.ids).items():
        if count > 1:
            raise InputError(f"duplicate id: {count} nodes are called {node!r}", place="nodes")
    for what, texts in (
        ("id", instance.ids),
        ("name", instance.names),
        ("colocate", instance.colocate),
        ("layer", instance.layer),
    ):
        for v, text in enumerate(texts):
            if text is not None and UNPRINTABLE.search(text):
                raise InputError(f"{what} {text!r} {_held(text)}", place=f"node {instance.ids[v]!r}")


def _held(text: str) -> str:
    """Name the first character of a text that no name may hold."""
    found = UNPRINTABLE.search(text)
    code = "" if found is None else f" (U+{ord(found[0]):04X})"
    return f"holds a control character{code}, which would be invisible or turn the direction of text"


def _check_cluster(instance: InstanceData) -> None:
    classes = instance.classes
    for cls in classes:
        place = f"class {cls.name!r}"
        for what, text in (("name", cls.name), ("type", cls.type)):
            if not text or UNPRINTABLE.search(text):
                raise InputError(f"{what} {text!r} {_held(text) if text else 'is empty'}", place=place)
        if not 0 <= cls.count <= MAX_COUNT:
            raise InputError(f"count must be in 0..{MAX_COUNT}, got {cls.count}", place=place)
        if cls.price_per_hour is not None and not 0 <= cls.price_per_hour <= MAX_PRICE:
            raise InputError(
                f"price per hour must be in 0..{MAX_PRICE:g}, got {cls.price_per_hour}", place=place
            )
        if not cls.memory_limit_bytes >= 0:
            raise InputError(f"memory limit must be >= 0, got {cls.memory_limit_bytes}", place=place)
        _check_reserve(cls, place)
        _check_link(cls.link, place)
        if cls.peer_link is not None:
            _check_link(cls.peer_link, place)
    if not any(cls.count for cls in classes):
        raise InputError("there are no devices", place="cluster")
    for name, count in Counter(cls.name for cls in classes).items():
        if count > 1:
            raise InputError(f"duplicate class name {name!r}", place="cluster")
    for name, count in Counter(d.name for d in instance.devices).items():
        if count > 1:
            raise InputError(f"two devices would be called {name!r}; rename a class", place="cluster")


def _check_reserve(cls: DeviceClass, place: str) -> None:
    reserve = cls.memory_reserve_bytes
    if not 0 <= cls.memory_reserve_share < 1:
        raise InputError(
            f"memory reserve must be a share in 0..1, got {cls.memory_reserve_share}", place=place
        )
    if isinstance(reserve, tuple) and len(reserve) != cls.count:
        raise InputError(
            f"memory reserve: {len(reserve)} sizes for {cls.count} devices; give one, or one for each",
            place=place,
        )
    for size in reserve if isinstance(reserve, tuple) else (reserve,):
        if not 0 <= size <= MAX_BYTES:
            raise InputError(f"memory reserve must be in 0..{MAX_BYTES:g} bytes, got {size}", place=place)
        size += cls.shared_reserve_bytes
        if size > cls.memory_limit_bytes:
            raise InputError(
                f"memory reserve {size:.0f} exceeds the limit of {cls.memory_limit_bytes:.0f} bytes",
                place=place,
            )


def _check_link(link: Link, place: str) -> None:
    if not (0 <= link.transfer_scale < math.inf):
        raise InputError(f"transfer scale must be finite and >= 0, got {link.transfer_scale}", place=place)
    if not (0 <= link.latency_ms <= MAX_TIME_MS):
        raise InputError(f"latency must be in 0..{MAX_TIME_MS:g} ms, got {link.latency_ms}", place=place)
    bandwidth = link.bandwidth_bytes_per_s
    if bandwidth is not None and not (0 < bandwidth < math.inf):
        raise InputError(f"bandwidth must be finite and > 0, got {bandwidth}", place=place)


def _check_numbers(instance: InstanceData) -> None:
    time = instance.time_ms
    wrong = ~((time >= 0) & ((time <= MAX_TIME_MS) | np.isposinf(time)))
    for v, t in np.argwhere(wrong):
        raise InputError(
            f"processing time on {instance.types[t]!r} must be in 0..{MAX_TIME_MS:g} ms, got {time[v, t]}",
            place=f"node {instance.ids[v]!r}",
        )
    everywhere = np.ones(instance.n, dtype=bool)
    _check_range(instance, instance.memory_bytes, everywhere, MAX_BYTES, "memory", "bytes")
    _check_range(instance, instance.weight_bytes, everywhere, MAX_BYTES, "weights", "bytes")
    _check_range(instance, instance.activation_bytes, everywhere, MAX_BYTES, "activations", "bytes")
    _check_shards(instance)
    if not 1 <= instance.training.microbatches <= MAX_COUNT:
        raise InputError(
            f"microbatches must be in 1..{MAX_COUNT}, got {instance.training.microbatches}", place="training"
        )


def _check_range(
    instance: InstanceData, values: FloatArray, given: BoolArray, limit: float, what: str, unit: str
) -> None:
    """Check that the given values lie in 0..limit; nan never does."""
    for v in np.flatnonzero(given & ~((values >= 0) & (values <= limit))):
        raise InputError(
            f"{what} must be in 0..{limit:g} {unit}, got {values[v]}", place=f"node {instance.ids[v]!r}"
        )


def _check_shards(instance: InstanceData) -> None:
    """Degrees ascend; nodes run on the same types as a whole, in accepted times and sizes."""
    degrees = [some.degree for some in instance.shards]
    if degrees != sorted(set(degrees)) or any(degree < 2 for degree in degrees):
        raise InputError(f"degrees must ascend from 2 on, got {degrees}", place="shards")
    for some in instance.shards:
        if some.time_ms.shape != instance.time_ms.shape:
            raise InputError("there is not one row per node and one column per type", place="shards")
        wrong = (np.isfinite(some.time_ms) != np.isfinite(instance.time_ms)) | ~(some.time_ms >= 0)
        wrong |= np.isfinite(some.time_ms) & (some.time_ms > MAX_TIME_MS)
        for v, t in np.argwhere(wrong):
            raise InputError(
                f"time of a shard of {some.degree} on {instance.types[t]!r} must be in 0..{MAX_TIME_MS:g} ms "
                f"where the whole node runs, and only there; got {some.time_ms[v, t]}",
                place=f"node {instance.ids[v]!r}",
            )
        everywhere = np.ones(instance.n, dtype=bool)
        for key in ("memory_bytes", "weight_bytes", "activation_bytes", "collective_bytes"):
            what = f"{key.removesuffix('_bytes')} of a shard of {some.degree}"
            _check_range(instance, getattr(some, key), everywhere, MAX_BYTES, what, "bytes")


def _check_transfers(instance: InstanceData) -> None:
    direct, sized = ~np.isnan(instance.transfer_ms), ~np.isnan(instance.output_bytes)
    for v in np.flatnonzero(direct == sized):
        raise InputError(
            "two transfer times: give transfer_ms or output_bytes, not both"
            if direct[v]
            else "no transfer time: neither transfer_ms nor output_bytes",
            place=f"node {instance.ids[v]!r}",
        )
    _check_range(instance, instance.transfer_ms, direct, MAX_TIME_MS, "transfer time", "ms")
    _check_range(instance, instance.output_bytes, sized, MAX_BYTES, "output", "bytes")
    without = [c for c in instance.classes if not c.is_host and c.link.bandwidth_bytes_per_s is None]
    for v in np.flatnonzero(sized & (instance.output_bytes > 0)) if without else ():
        raise InputError(
            f"output_bytes needs a link with a bandwidth, and class {without[0].name!r} has none",
            place=f"node {instance.ids[v]!r}",
        )


def _check_edges(instance: InstanceData) -> None:
    edges, ids = instance.edges, instance.ids
    for u, w in edges[((edges < 0) | (edges >= instance.n)).any(axis=1)]:
        raise InputError(f"edge ({u}, {w}) names a node that does not exist", place="edges")
    source, target = edges[:, 0], edges[:, 1]
    _, first = np.unique(source * instance.n + target, return_index=True)
    repeated = np.ones(len(edges), dtype=bool)
    repeated[first] = False
    for wrong, rule in (
        (source == target, "self-loop: a node cannot read its own output"),
        (repeated, "the edge is listed twice"),
        (
            instance.backward[source] & ~instance.backward[target],
            "an edge leads from a backward node to a forward node",
        ),
    ):
        for e in np.flatnonzero(wrong):
            raise InputError(rule, place=f"edge {ids[source[e]]!r} -> {ids[target[e]]!r}")


def _check_acyclic(instance: InstanceData) -> None:
    waiting = np.bincount(instance.edges[:, 1], minlength=instance.n).tolist()
    after: list[list[int]] = [[] for _ in range(instance.n)]
    for u, w in instance.edges.tolist():
        after[u].append(w)
    ready = [v for v in range(instance.n) if not waiting[v]]
    while ready:
        for w in after[ready.pop()]:
            waiting[w] -= 1
            if not waiting[w]:
                ready.append(w)
    stuck = {v for v in range(instance.n) if waiting[v]}
    if not stuck:
        return
    before = {w: u for u in sorted(stuck) for w in after[u]}
    walk: dict[int, None] = {}
    v = min(stuck)
    while v not in walk:  # every stuck node waits for another one: going back must close a cycle
        walk[v] = None
        v = before[v]
    path = list(walk)
    cycle = [instance.ids[u] for u in reversed(path[path.index(v) :])]
    shown = [repr(node) for node in cycle[:8]] + ["..."] * (len(cycle) > 8) + [repr(cycle[0])]
    raise InputError(f"the graph has a cycle: {' -> '.join(shown)}", place="edges")


def _check_names_used(instance: InstanceData) -> None:
    names = [*(cls.name for cls in instance.classes), *instance.device_index]
    known = set(names)
    for what, lists in (("pin", instance.pin), ("forbid", instance.forbid)):
        for v, some in enumerate(lists):
            for name in some:
                if name not in known:
                    raise InputError(
                        f"{what} names {name!r}, which is no class and no device{offer(name, names)}",
                        place=f"node {instance.ids[v]!r}",
                    )
    ordered = [name for names in instance.places for name in names]
    named = Counter(ordered)
    named.update(cls.name for cls in instance.classes for i in range(cls.count) if cls.member(i) in named)
    for name in ordered:
        if name not in known:
            raise InputError(
                f"order names {name!r}, which is no class and no device{offer(name, names)}", place="cluster"
            )
        if named[name] > 1:
            raise InputError(
                f"order names {name!r} twice, or a class together with one of its devices", place="cluster"
            )


def _check_supported(instance: InstanceData) -> None:
    """Every node has a class that can run it, every group a common one; pins are judged by the solver."""
    present = np.array([cls.count > 0 or cls.is_host for cls in instance.classes])
    runs = np.isfinite(instance.class_time_ms)[:, present]
    for v in np.flatnonzero(~runs.any(axis=1)):
        types = ", ".join(sorted({repr(instance.classes[k].type) for k in np.flatnonzero(present)}))
        raise InputError(
            f"no device of the cluster can run it: it has no processing time for their types ({types})",
            place=f"node {instance.ids[v]!r}",
        )
    for group, members in instance.groups.items():
        if not runs[members].all(axis=0).any():
            shown = ", ".join(repr(instance.ids[v]) for v in members[:6]) + (
                ", ..." if len(members) > 6 else ""
            )
            raise InputError(
                f"colocation cannot hold: no device type runs all of its nodes ({shown})",
                place=f"group {group!r}",
            )


def _check_servers(instance: InstanceData) -> None:
    """Servers have names of their own and share no device."""
    names = [*(cls.name for cls in instance.classes), *instance.device_index]
    known = set(names)
    named: list[str] = []
    for name, count in Counter(server.name for server in instance.servers).items():
        if count > 1 or not name or UNPRINTABLE.search(name):
            wrong = "is used twice" if count > 1 else _held(name) if name else "is empty"
            raise InputError(f"server name {name!r} {wrong}", place="cluster")
    for server in instance.servers:
        place = f"server {server.name!r}"
        for name in server.devices:
            if name not in known:
                raise InputError(f"{name!r} is no class and no device{offer(name, names)}", place=place)
        for cls in instance.classes:
            members = [cls.member(i) for i in range(cls.count)]
            named += members if cls.name in server.devices else []
            named += [name for name in members if name in server.devices]
        _check_link(server.uplink, place)
        if server.uplink.bandwidth_bytes_per_s is None and (np.nan_to_num(instance.output_bytes) > 0).any():
            raise InputError("output_bytes needs an uplink with a bandwidth", place=place)
    for name, count in Counter(named).items():
        if count > 1:
            raise InputError(f"device {name!r} is named by two servers, or twice", place="cluster")


def _check_constraints(instance: InstanceData) -> None:
    """Constraints name nodes and devices that exist, and none twice."""
    rules = instance.constraints
    for group in rules.apart:
        if len(group) < 2 or len(set(group)) < len(group):
            raise InputError("a group needs at least two nodes, each once", place="constraints.apart")
        if min(group) < 0 or max(group) >= instance.n:
            raise InputError(f"group {group} names a node that does not exist", place="constraints.apart")
    if rules.max_devices is not None and rules.max_devices < 1:
        raise InputError(f"must be at least 1, got {rules.max_devices}", place="constraints.max_devices")
    for name, count in Counter(rules.use_devices).items():
        if name not in instance.device_index:
            raise InputError(
                f"{name!r} is no device{offer(name, instance.device_index)}", place="constraints.use_devices"
            )
        if count > 1:
            raise InputError(f"{name!r} is listed twice", place="constraints.use_devices")


def check_runnable(instance: InstanceData) -> None:
    """Check that each node has a *present* device type to run on (a host class may have none).

    Raises
    ------
    InputError
        Naming the node.
    """
    runs = np.isfinite(instance.class_time_ms)[:, instance.device_class]
    for v in np.flatnonzero(~runs.any(axis=1)):
        raise InputError(
            "no device of the cluster can run it (only a host could, and there is none)",
            place=f"node {instance.ids[v]!r}",
        )
