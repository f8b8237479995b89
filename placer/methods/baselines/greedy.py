"""The greedy baseline for latency: fill accelerators in topological order, the rest on hosts.

Source: Tarnawski et al., NeurIPS 2020, Section 6 ("greedy topological").
"""

from __future__ import annotations

from collections.abc import Iterator

import numpy as np

from placer.arrays import BoolArray, IntArray
from placer.instance.instance import Instance
from placer.methods.starts.pipelines import adjacency
from placer.options import Options
from placer.plans.plan import Plan
from placer.plans.status import Stop
from placer.reductions.problem import Problem, contract
from placer.search.incumbent import Incumbent
from placer.search.run import Outcome, Run

__all__ = ["solve"]


def solve(instance: Instance, options: Options, run: Run) -> Outcome:
    """Fill one accelerator after the other in two topological orders and keep the better plan.

    Colocation groups are placed as wholes, together with whatever lies between their members.  Where that
    strands a node, the next passes loosen it: node by node, then with the accelerators reserved for what
    no host can run.
    """
    best = Incumbent(instance, options, run)
    stranded = ""
    for problem, group, candidates in _passes(instance):
        for order in _orders(problem):
            filling = _Filling(problem, group, candidates, order)
            missing = filling.run(options.pieces)
            if missing is not None:
                stranded = stranded or instance.ids[problem.members[missing][0]]
                continue
            best.offer(Plan(filling.device[problem.item], filling.piece[problem.item]), "greedy")
        if best.plan is not None or run.stopped():
            break
    stop = run.stopped() or Stop.FINISHED
    if best.plan is None:
        return Outcome(stop, message=f"filling in topological order finds no place for node {stranded!r}")
    return Outcome(stop, best.plan)


def _passes(instance: Instance) -> Iterator[tuple[Problem, IntArray, BoolArray]]:
    """Yield (items, colocation group of each item, items that may go to accelerators)."""
    hosts = [d.index for d in instance.devices if d.is_host]
    # Latency knows no backward pass: contract as if all nodes were forward ones.
    plain = instance.replace(backward=np.zeros(instance.n, dtype=bool))
    whole = contract(plain, contiguous=True)
    everything = np.ones(whole.size, dtype=bool)
    yield whole, np.arange(whole.size), everything
    needs = np.logical_not(whole.allowed[:, hosts].any(axis=1))
    yield whole, np.arange(whole.size), needs
    single = contract(plain.replace(colocate=(None,) * instance.n), contiguous=True)
    labels = {None: -1} | {group: k for k, group in enumerate(instance.groups)}
    group = np.zeros(instance.n, dtype=np.int64)
    group[single.item] = [labels[g] for g in instance.colocate]
    group = np.where(group < 0, len(labels) + np.arange(instance.n), group)
    needs = np.zeros(instance.n, dtype=bool)
    for nodes in np.split(np.argsort(group), np.flatnonzero(np.diff(np.sort(group))) + 1):
        needs[nodes] = not single.allowed[nodes][:, hosts].all(axis=0).any()
    yield single, group, np.ones(instance.n, dtype=bool)
    yield single, group, needs


def _orders(problem: Problem) -> Iterator[IntArray]:
    """Yield topological orders of the items: by number, and level by level."""
    yield np.arange(problem.size)
    level = np.zeros(problem.size, dtype=np.int64)
    for u, w in problem.edges[np.argsort(problem.edges[:, 0], kind="stable")].tolist():
        level[w] = max(level[w], level[u] + 1)
    yield np.argsort(level, kind="stable")


class _Filling:
    """One pass over the pieces in turn: each takes what it can of the items that are left.

    An item joins the piece if everything it reads is placed before the piece or lies in it, and if it fits
    into memory.  What only hosts can run goes to them on the way; what it feeds may not come back into
    the piece that fed it.  A group goes where its first item goes.
    """

    def __init__(self, problem: Problem, group: IntArray, candidates: BoolArray, order: IntArray) -> None:
        devices = problem.instance.devices
        self.order = order
        self.before_start, self.before = adjacency(problem.size, problem.edges[:, 1], problem.edges[:, 0])
        self.device = np.full(problem.size, -1)  # decided for a whole group at once
        self.piece = np.full(problem.size, -1)
        self.placed = np.zeros(problem.size, dtype=bool)
        self.is_host = np.array([d.is_host for d in devices])
        self.room = np.array([d.memory_limit_bytes for d in devices])
        # What an item stands for while its group is undecided: the whole group.
        _, label = np.unique(group, return_inverse=True)
        self.member_start, self.members = adjacency(int(label.max()) + 1, label, np.arange(problem.size))
        self.label = label
        self.open_to = np.logical_and.reduceat(problem.allowed[self.members], self.member_start[:-1])[label]
        self.size = np.add.reduceat(problem.memory_bytes[self.members], self.member_start[:-1])[label]
        times = problem.time_ms.sum(axis=0)[:, problem.instance.device_class]
        self.time = np.add.reduceat(times[self.members], self.member_start[:-1])[label]
        fits = self.open_to & (self.size[:, None] <= self.room) & ~self.is_host
        self.accelerated = candidates & fits.any(axis=1)

    def run(self, pieces: int) -> int | None:
        """Place everything; return the first item that found no place, if any."""
        for d in np.flatnonzero(~self.is_host).tolist():
            for piece in range(pieces):
                self._fill(d, piece)
        for i in np.flatnonzero(~self.placed).tolist():
            if not self._join_host(i):
                return int(i)
        return None

    def _fill(self, d: int, piece: int) -> None:
        """Fill one piece of accelerator d."""
        inside = np.zeros(len(self.order), dtype=bool)
        after = np.zeros(len(self.order), dtype=bool)  # on a host, and fed by this piece
        for i in self.order[~self.placed[self.order]].tolist():
            before = self.before[self.before_start[i] : self.before_start[i + 1]]
            if not self.placed[before].all():
                continue
            if not self.accelerated[i] and self._join_host(i):
                after[i] = inside[before].any() or after[before].any()
            elif not after[before].any() and self._join(i, d):
                inside[i], self.piece[i] = True, piece

    def _join_host(self, i: int) -> bool:
        """Put an item on the fastest host with room, or on the one that its group is on."""
        if self.device[i] >= 0:
            return bool(self.is_host[self.device[i]]) and self._join(i, int(self.device[i]))
        hosts = np.flatnonzero(self.open_to[i] & self.is_host & (self.size[i] <= self.room))
        return len(hosts) > 0 and self._join(i, int(hosts[np.argmin(self.time[i, hosts])]))

    def _join(self, i: int, d: int) -> bool:
        """Put an item on device d, and decide so for its group, if it may go there and fits."""
        if self.device[i] < 0:
            if not self.open_to[i, d] or self.size[i] > self.room[d]:
                return False
            group = self.label[i]
            self.device[self.members[self.member_start[group] : self.member_start[group + 1]]] = d
            self.room[d] -= self.size[i]
        self.placed[i] = self.device[i] == d
        return bool(self.placed[i])
