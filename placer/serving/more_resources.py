"""Models with more of one resource: memory, bandwidth, speed, or one device more of a class."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import replace
from math import inf

import numpy as np

from placer.imports.catalogue import Cluster
from placer.instance.cluster import DeviceClass, Link, Server
from placer.instance.instance import Instance
from placer.serving.served_instance import ServedInstance
from placer.serving.served_language_model import ServedLanguageModel
from placer.serving.serving_model import ServingModel
from placer.serving.serving_plan import Resource
from placer.serving.serving_request import ServingRequest

__all__ = ["with_more"]

GIB = 2.0**30
UPLINKS = "uplinks of servers"
"""What these are called where classes have their names."""
More = tuple[Resource, str, str, ServingModel]
"""Resource, of what, how much more, and the model then."""
Change = tuple[Resource, str, str, tuple[DeviceClass, ...], tuple[Server, ...]]
"""Resource, of what, how much more, and the classes and servers then."""


def with_more(model: ServingModel, request: ServingRequest) -> Iterator[More]:
    """Yield the resource, the class that has more of it, how much in words, and the model then.

    Parameters
    ----------
    model
        A language model on its cluster, or an instance; of other models nothing is known.
    request
        What was asked of it.
    """
    if isinstance(model, ServedLanguageModel):
        for resource, name, more, cluster in _clusters(model.cluster):
            yield (
                resource,
                name,
                more,
                ServedLanguageModel(
                    model.model,
                    cluster,
                    cache=request.cache,
                    shards=request.shards,
                    replicas=request.replicas,
                ),
            )
    elif isinstance(model, ServedInstance):
        for resource, name, more, instance in _instances(model.instance):
            yield (
                resource,
                name,
                more,
                ServedInstance(instance, shards=request.shards, replicas=request.replicas),
            )


def _clusters(cluster: Cluster) -> Iterator[tuple[Resource, str, str, Cluster]]:
    for resource, name, more, classes, servers in _changes(cluster.classes, cluster.servers):
        yield resource, name, more, cluster.model_copy(update={"classes": classes, "servers": servers})
    for name, entry in cluster.types.items():
        peaks = {precision: 2 * peak for precision, peak in entry.peak_tflops.items()}
        fast = entry.model_copy(
            update={"peak_tflops": peaks, "bandwidth_gb_per_s": 2 * entry.bandwidth_gb_per_s}
        )
        types = cluster.types | {name: fast}
        yield (
            Resource.TIME,
            _of_type(cluster.classes, name),
            "twice the speed",
            cluster.model_copy(update={"types": types}),
        )


def _instances(instance: Instance) -> Iterator[tuple[Resource, str, str, Instance]]:
    for resource, name, more, classes, servers in _changes(instance.classes, instance.servers):
        yield resource, name, more, instance.replace(classes=classes, servers=servers)
    for t, name in enumerate(instance.types):
        if not _of_type(instance.classes, name):
            continue
        half = np.where(np.arange(len(instance.types)) == t, 0.5, 1.0)
        fast = instance.replace(
            time_ms=half * instance.time_ms,
            shards=tuple(some.replace(time_ms=half * some.time_ms) for some in instance.shards),
        )
        yield Resource.TIME, _of_type(instance.classes, name), "twice the speed", fast


def _of_type(classes: tuple[DeviceClass, ...], name: str) -> str:
    return ", ".join(cls.name for cls in classes if cls.type == name)


def _changes(classes: tuple[DeviceClass, ...], servers: tuple[Server, ...]) -> Iterator[Change]:
    """Yield what does not concern the times of nodes."""
    names = {cls.member(i) for cls in classes for i in range(cls.count)}
    for c, cls in enumerate(classes):
        if cls.memory_limit_bytes < inf:
            limit = cls.memory_limit_bytes + GIB / (1 - cls.memory_reserve_share)
            larger = replace(cls, memory_limit_bytes=limit)
            yield Resource.MEMORY, cls.name, "1 GiB more", _put(classes, c, larger), servers
        if not cls.is_host and cls.link != _twice(cls.link):
            faster = replace(cls, link=_twice(cls.link))
            yield Resource.LINK, cls.name, "twice the bandwidth", _put(classes, c, faster), servers
        if cls.member(cls.count) not in names:
            more = _put(classes, c, _longer(cls))
            yield Resource.DEVICE, cls.name, "one more", more, _beside(servers, cls)
    wide = tuple(replace(server, uplink=_twice(server.uplink)) for server in servers)
    if wide != servers:
        yield Resource.LINK, UPLINKS, "twice the bandwidth", classes, wide


def _put(classes: tuple[DeviceClass, ...], c: int, cls: DeviceClass) -> tuple[DeviceClass, ...]:
    return (*classes[:c], cls, *classes[c + 1 :])


def _twice(link: Link) -> Link:
    """Return a link on which transfers take half as long but for latency."""
    rate = link.bandwidth_bytes_per_s
    return replace(
        link,
        transfer_scale=link.transfer_scale / 2,
        bandwidth_bytes_per_s=None if rate is None else 2 * rate,
    )


def _longer(cls: DeviceClass) -> DeviceClass:
    """Return a class with one member more, like its last."""
    reserve = cls.memory_reserve_bytes
    more = (*reserve, reserve[-1]) if isinstance(reserve, tuple) else reserve
    return replace(cls, count=cls.count + 1, memory_reserve_bytes=more)


def _beside(servers: tuple[Server, ...], cls: DeviceClass) -> tuple[Server, ...]:
    """Put the new member into the server of the last one."""
    last, new = cls.member(cls.count - 1), cls.member(cls.count)
    return tuple(
        replace(server, devices=(*server.devices, new)) if last in server.devices else server
        for server in servers
    )
