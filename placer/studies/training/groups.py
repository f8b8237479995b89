"""Devices as the stages of a pipeline: groups of equal devices, and the links that they have."""

from __future__ import annotations

import dataclasses
from dataclasses import dataclass
from itertools import pairwise

from placer.imports.catalogue import Cluster
from placer.instance.cluster import DeviceClass, Link, Server
from placer.studies.training.training_choices import Choice

__all__ = ["Groups", "degrees_within", "grouped"]


@dataclass(frozen=True)
class Groups:
    """Groups of ``replicas x shards`` devices, each of which runs a stage.

    Parameters
    ----------
    classes
        A class of groups for each class of devices that has some.
    source
        Index of the class of devices that each consists of.
    servers
        Groups between which a transfer crosses no server.
    sums
        Link over which the replicas of a stage sum their gradients, by class.
    left_over
        Devices that belong to no group.
    """

    classes: tuple[DeviceClass, ...]
    source: tuple[int, ...]
    servers: tuple[Server, ...]
    sums: tuple[Link, ...]
    left_over: int

    @property
    def count(self) -> int:
        """How many groups there are."""
        return sum(cls.count for cls in self.classes)


def degrees_within(cluster: Cluster) -> list[int]:
    """Return the degrees that leave no device of any server alone: common divisors of their numbers."""
    sizes = [len(own) for c in range(len(cluster.classes)) for own in _by_server(cluster, c) if own]
    return [t for t in range(1, max(sizes, default=0) + 1) if all(size % t == 0 for size in sizes)]


def grouped(cluster: Cluster, choice: Choice) -> Groups | str:
    """Make groups of devices; says why it cannot where replicas cannot be apart.

    Devices that split nodes are in one server.  With replicas apart, each pipeline takes devices that
    follow each other, as many pipelines as there are replicas; else each stage does.
    """
    t, d = choice.shards, choice.replicas
    classes, source, sums, places, left = [], [], [], [], 0
    for c, cls in enumerate(cluster.classes):
        if cls.is_host:
            continue
        blocks = [s for s, own in enumerate(_by_server(cluster, c)) for _ in range(len(own) // t)]
        count = len(blocks) // d
        left += cls.count - count * d * t
        if not count:
            continue
        where = _apart(blocks, count, d) if choice.apart else _near(blocks, count, d)
        if where is None:
            return "replicas apart need servers that hold whole pipelines, or pipelines that fill servers"
        uplink = cluster.servers[0].uplink if cluster.servers else Link()
        wide = _wide(cls.link, t)
        name = cls.name if choice.width == 1 else f"{choice.width}x{cls.name}"
        name = name if not name[-1].isdigit() else f"{name}-"
        price = None if cls.price_per_hour is None else cls.price_per_hour * choice.width
        classes.append(dataclasses.replace(cls, name=name, count=count, link=wide, price_per_hour=price))
        source.append(c)
        spread = any(len(set(servers)) > 1 for servers in where)
        sums.append(_slower(cls.link, uplink) if spread else cls.link)
        places.append([servers[0] if choice.apart or len(set(servers)) == 1 else -1 for servers in where])
    if not classes:
        return f"no {choice.width} equal devices"
    return Groups(tuple(classes), tuple(source), _servers(cluster, classes, places, t), tuple(sums), left)


def _by_server(cluster: Cluster, c: int) -> list[list[str]]:
    """Members of a class by server; those of a cluster without servers are all in one."""
    cls = cluster.classes[c]
    members = [cls.member(i) for i in range(cls.count)]
    if not cluster.servers:
        return [[] if cls.is_host else members]
    home = {name: s for s, server in enumerate(cluster.servers) for name in server.devices}
    out: list[list[str]] = [[] for _ in cluster.servers]
    for name in [] if cls.is_host else members:
        out[home.get(name, home.get(cls.name, 0))].append(name)
    return out


def _near(blocks: list[int], count: int, d: int) -> list[list[int]] | None:
    """Servers of the replicas of each stage: blocks that follow each other."""
    return [blocks[k * d : (k + 1) * d] for k in range(count)]


def _apart(blocks: list[int], count: int, d: int) -> list[list[int]] | None:
    """Servers of the replicas of each stage; None unless all pipelines change servers at the same stages."""
    out = [[blocks[r * count + k] for r in range(d)] for k in range(count)]
    for r in range(d):
        first, own = ([a[x] == b[x] for a, b in pairwise(out)] for x in (0, r))
        if first != own:
            return None
    return out


def _servers(
    cluster: Cluster, classes: list[DeviceClass], places: list[list[int]], t: int
) -> tuple[Server, ...]:
    """Put groups into servers; one that is spread over servers is apart from all others."""
    if not cluster.servers:
        return ()
    members: dict[object, list[str]] = {}
    for cls, where in zip(classes, places, strict=True):
        for k, server in enumerate(where):
            members.setdefault(server if server >= 0 else cls.member(k), []).append(cls.member(k))
    if len(members) == 1:
        return ()
    uplink = _wide(cluster.servers[0].uplink, t)
    return tuple(Server(f"server{s}", tuple(own), uplink) for s, own in enumerate(members.values()))


def _wide(link: Link, t: int) -> Link:
    """Link of t devices, each of which moves its share."""
    if link.bandwidth_bytes_per_s is None:
        return dataclasses.replace(link, transfer_scale=link.transfer_scale / t)
    return dataclasses.replace(link, bandwidth_bytes_per_s=t * link.bandwidth_bytes_per_s)


def _slower(a: Link, b: Link) -> Link:
    return min((a, b), key=lambda link: link.bandwidth_bytes_per_s or float("inf"))
