"""What a plan costs node by node, read from the raw fields of the instance.

Nothing here is shared with the evaluation of plans, so that a simulation can contradict it.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import networkx as nx
import numpy as np

from placer.errors import InputError
from placer.instance.cluster import DeviceClass, Link
from placer.instance.instance import Instance
from placer.instance.shards import Shards
from placer.plans.plan import Team

__all__ = ["Placement", "place"]


@dataclass(frozen=True, eq=False)
class Placement:
    """A plan as the simulation sees it; nodes are ``0..n-1``, devices ``0..D-1``.

    Parameters
    ----------
    instance
        Where names and sizes come from.
    device
        Device of each node, length n.
    is_host
        Whether a device is a host, length D.
    time_ms
        Processing time of each node on its device, length n.
    teams
        By device: how it shares its work with others; each replica takes its part of every sample.
    order
        All nodes in a topological order.
    producers, consumers
        The nodes that each node reads, and that read it, length n.
    chunk, chunks
        Which of the virtual stages of its device each node is in, length n, and how many there are of each.
    """

    instance: Instance
    device: list[int]
    is_host: list[bool]
    classes: list[DeviceClass]
    time_ms: list[float]
    teams: dict[int, Team]
    order: list[int]
    producers: list[list[int]]
    consumers: list[list[int]]
    chunk: list[int]
    chunks: int = 1

    def transfer_ms(self, u: int, device: int) -> float:
        """Time to move the output of ``u`` between ``device`` and host memory, in one direction."""
        own = self._link_ms(u, device, self.classes[device].link)
        server = self.instance.devices[device].server
        if server is not None and self._leaves_server(u, device):
            own = max(own, self._link_ms(u, device, self.instance.servers[server].uplink))
        return own / self.team(device).mode.replicas

    def members(self, device: int) -> tuple[int, ...]:
        """Devices that share the work of ``device``, itself first."""
        return self.team(device).devices

    def team(self, device: int) -> Team:
        """How ``device`` runs its stage."""
        return self.teams.get(device) or Team((device,))

    def bytes(self, name: str, v: int) -> float:
        """Return a size of a node on each of its devices, by the name of its field."""
        split = _split(self.instance, self.team(self.device[v]).shards)
        return float(getattr(self.instance if split is None else split, name)[v])

    def synchronisation_ms(self, device: int) -> float:
        """Time per sample to sum up the gradients of replicas, in a ring, once per optimizer step.

        Nodes have gradients when they are backward nodes or colocated with one.
        """
        instance, count = self.instance, self.team(device).mode.replicas
        bandwidth = self.classes[device].peers.bandwidth_bytes_per_s
        if count == 1 or bandwidth is None:
            return 0.0
        backward = [v for v in range(instance.n) if instance.backward[v]]
        trained = {instance.colocate[v] for v in backward if instance.colocate[v] is not None}
        size = sum(
            self.bytes("weight_bytes", v)
            for v in range(instance.n)
            if self.device[v] == device and (instance.backward[v] or instance.colocate[v] in trained)
        )
        # Each replica sends and receives all but its own part of the weights twice.
        step_ms = 2 * (count - 1) * (size / count) / bandwidth * 1000.0
        return step_ms / instance.training.microbatches

    def _leaves_server(self, u: int, device: int) -> bool:
        """Whether ``device`` fetches ``u`` from another server, or writes it for a reader in another one."""
        places = [self.device[u]]
        if device == self.device[u]:
            places = [self.device[w] for w in self.consumers[u]]
        servers = self.instance.devices
        return any(servers[d].server != servers[device].server for d in places)

    def _link_ms(self, u: int, device: int, link: Link) -> float:
        """Time of the transfer between one device and host memory over a link."""
        if self.is_host[device]:
            return 0.0
        size = float(self.instance.output_bytes[u])
        shards = self.team(device).shards
        if np.isnan(size):
            return float(self.instance.transfer_ms[u]) * link.transfer_scale / shards
        size /= shards
        if size == 0 or link.bandwidth_bytes_per_s is None:
            return 0.0
        return link.latency_ms + 1000.0 * size / link.bandwidth_bytes_per_s

    def name(self, device: int) -> str:
        """Name of a device."""
        return self.instance.devices[device].name


def _split(instance: Instance, shards: int) -> Shards | None:
    """Figures of nodes that are split so often; None where there are none."""
    return next((some for some in instance.shards if some.degree == shards), None)


def _time_ms(instance: Instance, v: int, cls: DeviceClass, team: Team) -> float:
    """Time of a node for its share of a sample, with what shards sum up in a ring."""
    split, column = _split(instance, team.shards), instance.types.index(cls.type)
    if split is None:
        return float(instance.time_ms[v, column]) / team.mode.replicas
    time, size = float(split.time_ms[v, column]), float(split.collective_bytes[v])
    peers = cls.link if cls.peer_link is None else cls.peer_link
    if size > 0 and peers.bandwidth_bytes_per_s is not None:
        for _ in range(2 * (team.shards - 1)):  # each message is one shard's part
            time += peers.latency_ms + 1000.0 * size / team.shards / peers.bandwidth_bytes_per_s
    return time / team.mode.replicas


def place(
    instance: Instance,
    device: Sequence[int],
    teams: Sequence[Team] = (),
    chunk: Sequence[int] | None = None,
    chunks: int = 1,
) -> Placement:
    """Read the costs of an assignment.

    Parameters
    ----------
    instance
        The instance.
    device
        Device index of each node, length n.
    teams
        Devices that share what ``device`` gives to the first of them.
    chunk, chunks
        Which of the virtual stages of its device each node is in, length n, and how many each device has.

    Raises
    ------
    InputError
        When a node is on no device, or on one that it cannot run on.
    """
    classes = [cls for cls in instance.classes for _ in range(cls.count)]
    if len(device) != instance.n or not all(0 <= d < len(classes) for d in device):
        raise InputError("not every node of the instance is assigned to one of its devices", place="plan")
    sharing = {team.devices[0]: team for team in teams}
    time_ms = []
    for v, d in enumerate(device):
        kind = classes[d].type
        if kind not in instance.types or np.isinf(instance.time_ms[v, instance.types.index(kind)]):
            raise InputError(f"{instance.ids[v]!r} cannot run on a device of type {kind!r}", place="plan")
        time_ms.append(_time_ms(instance, v, classes[d], sharing.get(d) or Team((d,))))
    producers: list[list[int]] = [[] for _ in range(instance.n)]
    consumers: list[list[int]] = [[] for _ in range(instance.n)]
    for u, w in instance.edges.tolist():
        producers[w].append(u)
        consumers[u].append(w)
    graph = nx.DiGraph()
    graph.add_nodes_from(range(instance.n))
    graph.add_edges_from(instance.edges.tolist())
    return Placement(
        instance=instance,
        device=[int(d) for d in device],
        is_host=[cls.is_host for cls in classes],
        classes=classes,
        time_ms=time_ms,
        teams=sharing,
        order=list(nx.lexicographical_topological_sort(graph)),
        producers=producers,
        consumers=consumers,
        chunk=[0] * instance.n if chunk is None else [int(c) for c in chunk],
        chunks=chunks,
    )
