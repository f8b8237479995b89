"""The identity of an instance: a hash of its content, whatever file format it came from."""

from __future__ import annotations

import hashlib
import json

import numpy as np

from placer.arrays import BoolArray, FloatArray
from placer.instance.cluster import Link
from placer.instance.constraints import Constraints
from placer.instance.instance import Instance
from placer.instance.training import Optimizer

__all__ = ["fingerprint"]


def fingerprint(instance: Instance) -> str:
    """SHA-256 of the content of an instance.

    Everything but its name, where it comes from, what devices and microbatches stand for, the order of its
    edges, of the names in a pin or a forbid and of the device types, and types that no node runs on.
    """
    used = [t for t in range(len(instance.types)) if np.isfinite(instance.time_ms[:, t]).any()]
    types = sorted(used, key=lambda t: instance.types[t])
    digest = hashlib.sha256(b"placer-instance-1\n")
    text: dict[str, object] = {
        "ids": instance.ids,
        "names": instance.names,
        "types": [instance.types[t] for t in types],
        "colocate": instance.colocate,
        "layer": instance.layer,
        "pin": [sorted(set(names)) for names in instance.pin],
        "forbid": [sorted(set(names)) for names in instance.forbid],
        "classes": [
            (
                cls.name,
                cls.type,
                cls.count,
                cls.kind.value,
                repr(float(cls.memory_limit_bytes)),
                repr(link.transfer_scale),
                None if link.bandwidth_bytes_per_s is None else repr(link.bandwidth_bytes_per_s),
                repr(link.latency_ms),
            )
            for cls, link in ((cls, _in_floats(cls.link)) for cls in instance.classes)
        ],
    }
    text |= _said_of_devices(instance)
    if instance.servers:
        text["servers"] = [(s.name, sorted(s.devices), repr(_in_floats(s.uplink))) for s in instance.servers]
    if instance.order:
        text["order"] = [names[0] if len(names) == 1 else sorted(names) for names in instance.places]
    memory: tuple[FloatArray | BoolArray, ...] = (instance.memory_bytes,)
    sizes = instance.weight_bytes.any() or instance.activation_bytes.any() or instance.shards
    training = instance.training
    if sizes or training.optimizer is not Optimizer.NONE or training.microbatches > 1:
        text["training"] = [training.optimizer.value, training.microbatches]
        memory += (instance.weight_bytes, instance.activation_bytes)
    if instance.constraints != Constraints():
        rules = instance.constraints
        apart = sorted(sorted(group) for group in rules.apart)
        text["constraints"] = [apart, rules.max_devices, sorted(rules.use_devices)]
    digest.update(json.dumps(text, ensure_ascii=True, separators=(",", ":")).encode())
    order = np.lexsort((instance.edges[:, 1], instance.edges[:, 0]))
    digest.update(instance.edges[order].astype("<i8").tobytes())
    for some in instance.shards:
        memory += (some.known, some.time_ms[:, types], some.memory_bytes, some.weight_bytes)
        memory += (some.activation_bytes, some.collective_bytes)
    times = instance.time_ms[:, types]
    for numbers in (times, *memory, instance.transfer_ms, instance.output_bytes):
        # Adding 0.0 turns -0.0 into 0.0; nan gets one bit pattern.
        clean = np.where(np.isnan(numbers), np.nan, numbers + 0.0)
        digest.update(clean.astype("<f8").tobytes())
    digest.update(instance.backward.astype("u1").tobytes())
    return digest.hexdigest()


def _said_of_devices(instance: Instance) -> dict[str, object]:
    """Return what classes of devices say beside what each has, and the degrees of sharding."""
    text: dict[str, object] = {}
    reserves = [[float(cls.reserve_bytes(i)) for i in range(cls.count)] for cls in instance.classes]
    if any(any(reserve) for reserve in reserves):
        # Only where they say something, here and below: other instances keep the hash that they always had.
        text["reserve"] = [[repr(size) for size in reserve] for reserve in reserves]
    prices = {cls.name: repr(float(p)) for cls in instance.classes if (p := cls.price_per_hour) is not None}
    if prices:
        text["price"] = sorted(prices.items())
    peers = {
        cls.name: repr(_in_floats(cls.peer_link)) for cls in instance.classes if cls.peer_link is not None
    }
    if peers:
        text["peers"] = sorted(peers.items())
    if instance.shards:
        text["shards"] = [some.degree for some in instance.shards]
    return text


def _in_floats(link: Link) -> Link:
    """Return a link whose numbers are all of one type: an integer is written in another way."""
    bandwidth = link.bandwidth_bytes_per_s
    return Link(
        float(link.transfer_scale), None if bandwidth is None else float(bandwidth), float(link.latency_ms)
    )
