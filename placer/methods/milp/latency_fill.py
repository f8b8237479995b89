"""Plans to start the latency programs from: filled greedily, or read off the network of downsets."""

from __future__ import annotations

from collections.abc import Iterator

import networkx as nx
import numpy as np

from formulations.latency.latency_problem import LatencyProblem
from formulations.latency.network import Network
from placer.arrays import IntArray
from placer.plans.plan import Plan
from placer.tolerances import MEMORY_TOLERANCE

__all__ = ["fill", "from_network"]


def fill(problem: LatencyProblem) -> Iterator[Plan]:
    """Yield plans that may or may not be valid, good ones among them.

    Accelerators are filled in topological order up to their memory, what fits nowhere goes to a host; once
    with all accelerators, once with the fast ones among the hosts' choices, once with hosts alone.
    """
    items = _items(problem)
    for patient in (True, False):
        plan = _filled(problem, items, patient=patient)
        if plan is not None:
            yield plan
    device = np.full(problem.n, -1, dtype=np.int64)
    hosts = _Hosts(problem)
    if all(hosts.take(item, device) for item in items):
        yield Plan(device, np.full(problem.n, -1, dtype=np.int64))


def _items(problem: LatencyProblem) -> list[IntArray]:
    """Return groups, merged where they wait for each other, in topological order."""
    quotient = nx.DiGraph()
    quotient.add_nodes_from(range(int(problem.group.max()) + 1))
    edges = problem.group[problem.instance.edges]
    quotient.add_edges_from(edges[edges[:, 0] != edges[:, 1]].tolist())
    condensed = nx.condensation(quotient)
    return [
        np.flatnonzero(np.isin(problem.group, sorted(condensed.nodes[c]["members"])))
        for c in nx.lexicographical_topological_sort(condensed)
    ]


class _Hosts:
    """The hosts, and the memory that they have left."""

    def __init__(self, problem: LatencyProblem) -> None:
        self.problem = problem
        self.room = problem.host_limit_bytes * (1 + MEMORY_TOLERANCE)

    def fastest(self, item: IntArray) -> int:
        """Return the fastest host that the whole item may go to and that has room for it; -1 for none."""
        total = self.problem.host_ms[item].sum(axis=0)
        total = np.where(self.problem.instance.memory_bytes[item].sum() <= self.room, total, np.inf)
        return int(np.argmin(total)) if np.isfinite(total).any() else -1

    def take(self, item: IntArray, device: IntArray) -> bool:
        """Put an item on the fastest host; whether there is one."""
        host = self.fastest(item)
        if host < 0:
            return False
        device[item] = self.problem.hosts[host]
        self.room[host] -= self.problem.instance.memory_bytes[item].sum()
        return True


def _filled(problem: LatencyProblem, items: list[IntArray], *, patient: bool) -> Plan | None:
    """Fill the accelerators one after the other; ``patient``: hosts take what does not fit the open one."""
    device = np.full(problem.n, -1, dtype=np.int64)
    piece = np.full(problem.n, -1, dtype=np.int64)
    open_devices = [(d, k) for k, members in enumerate(problem.kinds) for d in members]
    inside = np.zeros(problem.n, dtype=np.bool_)
    after = np.zeros(problem.n, dtype=np.bool_)  # outside the open piece and after a part of it
    used, hosts = 0.0, _Hosts(problem)
    for item in items:
        behind = problem.reach[:, item].any(axis=1)
        while True:
            if not open_devices:
                fits = False
                break
            d, k = open_devices[0]
            need = used + problem.instance.memory_bytes[item].sum()
            fits = bool(np.isfinite(problem.time_ms[item, k]).all()) and need <= problem.limit_bytes[k]
            fits = fits and not (behind & after).any()
            if fits or (patient and hosts.fastest(item) >= 0):
                break
            open_devices.pop(0)
            inside[:], after[:], used = False, False, 0.0
        if fits:
            device[item], piece[item] = d, 0
            inside[item] = True
            used = need
            continue
        if not hosts.take(item, device):
            return None
        after[item] |= bool((behind & (inside | after)).any())
    return Plan(device, piece)


def from_network(network: Network) -> Plan | None:
    """Read a plan off a shortest path; nodes outside the core and the pieces go to hosts.

    Returns
    -------
    Plan or None
        It may break a rule that the network does not know; None when there are not enough accelerators.
    """
    problem = network.problem
    device = np.full(problem.n, -1, dtype=np.int64)
    piece = np.full(problem.n, -1, dtype=np.int64)
    steps = network.steps
    path = [a for a in network.shortest_path() if network.kind[a] >= 0]
    nodes = [np.flatnonzero(steps[a] | network.closure[a]) for a in path]
    for k in range(len(problem.kinds)):
        mine = [i for i, a in enumerate(path) if network.kind[a] == k]
        if not _pack(problem, k, [(i, nodes[i]) for i in mine], device, piece):
            return None
    hosts = _Hosts(problem)
    if not all(hosts.take(np.array([v]), device) for v in np.flatnonzero(device < 0)):
        return None
    return Plan(device, piece)


def _pack(
    problem: LatencyProblem, k: int, pieces: list[tuple[int, IntArray]], device: IntArray, piece: IntArray
) -> bool:
    """Give the pieces of one kind to its members: first fit, the largest first; mates stay together."""
    members = problem.kinds[k]
    memory = problem.instance.memory_bytes
    graph = nx.Graph()
    graph.add_nodes_from(range(len(pieces)))
    seen: dict[int, int] = {}
    for i, (_, nodes) in enumerate(pieces):
        for label in problem.group[nodes].tolist():
            graph.add_edge(i, seen.setdefault(label, i))
    bundles = [sorted(c) for c in nx.connected_components(graph)]
    weight = [sum(float(memory[pieces[i][1]].sum()) for i in bundle) for bundle in bundles]
    room = [float(problem.limit_bytes[k])] * len(members)
    left = [problem.pieces] * len(members)
    for b in sorted(range(len(bundles)), key=lambda b: (-weight[b], b)):
        fitting = [m for m in range(len(members)) if room[m] >= weight[b] and left[m] >= len(bundles[b])]
        if not fitting:
            return False
        m = max(fitting, key=lambda m: (left[m], -m))
        room[m] -= weight[b]
        left[m] -= len(bundles[b])
        for i in bundles[b]:
            device[pieces[i][1]] = members[m]
            piece[pieces[i][1]] = pieces[i][0]
    return True
