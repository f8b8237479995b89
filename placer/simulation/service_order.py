"""In which order each resource serves the tasks of a stream of samples.

*Rounds.*  A task has an offset o(t), one more than that of any task it waits for; in round r its resource
serves it for sample r - o(t), older samples first.  So a device serves all its stages once per round, each
for another sample.  A producer p runs at most o(q) - o(p) samples ahead of what its consumer q has finished
(two buffers between neighbours).  The resources of a device work side by side, but in training forward and
backward work take turns: first all backward tasks of the round, then all forward tasks.  Every dependency
between devices leads to a later round, hence a cycle of the event graph that spans k rounds carries at most k
times the load of a device.  In steady state a sample takes exactly as long as the busiest device, or the
busiest of its resources, works for it, whatever the plan.

*Warm-up (1F1B).*  The rounds of training keep more microbatches in flight than necessary.  With sequential
communication, and S devices in an order that forward data follow and backward data follow in reverse, the
s-th device from the end runs s forwards ahead and then one backward and one forward in turn.  A cycle of
that event graph visits the forward and the backward task of a device equally often, and spans as many
samples as it has such pairs: a sample takes exactly max(FW + BW), with s microbatches in flight (PipeDream's
schedule).

*Virtual stages.*  Megatron's interleaved order (Narayanan et al., 2021): a ring of P devices, V tasks of each
in either direction; the r-th device runs 2 (P - r - 1) + (V - 1) P forwards ahead.

*GPipe.*  All forward tasks of all microbatches, then all backward tasks, in rounds of their own.

The argument about cycles is the standard one for timed event graphs: Baccelli, Cohen, Olsder, Quadrat,
"Synchronization and Linearity", 1992, Chapter 2.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from itertools import pairwise

import networkx as nx

from placer.options import Communication, Schedule
from placer.simulation.tasks import Lane, Part, Resource, Task

__all__ = ["Buffer", "Phase", "Program", "in_line", "make_program"]


@dataclass(frozen=True)
class Buffer:
    """Task ``producer`` of sample s waits for task ``consumer`` of sample s - ``samples``."""

    producer: int
    consumer: int
    samples: int


@dataclass(frozen=True)
class Phase:
    """Tasks that are served together, once for each sample.

    Parameters
    ----------
    offset
        Round in which each task serves sample 0; no entry for tasks of other phases.
    turns
        Tasks of each resource in the order in which a round serves them.
    buffers
        Limits on running ahead.
    groups
        By device: tasks that it serves in turn within a round, one group after the other has ended.
    """

    offset: dict[int, int]
    turns: dict[Resource, tuple[int, ...]]
    buffers: tuple[Buffer, ...] = ()
    groups: tuple[tuple[tuple[int, ...], ...], ...] = ()

    @property
    def depth(self) -> int:
        """Rounds that one sample takes."""
        return max(self.offset.values(), default=-1) + 1

    def sequence(self, resource: Resource, samples: int) -> list[tuple[int, int]]:
        """Pairs of task and sample that a resource serves, in order."""
        turns = [(t, self.offset[t]) for t in self.turns[resource]]
        return [
            (t, r - offset)
            for r in range(samples + self.depth)
            for t, offset in turns
            if 0 <= r - offset < samples
        ]

    def blocks(self, samples: int) -> Iterator[list[list[tuple[int, int]]]]:
        """Pairs of task and sample that a device serves together, block after block, for each device."""
        for groups in self.groups:
            members = (
                [(t, r - self.offset[t]) for t in group if 0 <= r - self.offset[t] < samples]
                for r in range(samples + self.depth)
                for group in groups
            )
            yield [block for block in members if block]


@dataclass(frozen=True)
class Program:
    """Tasks, and the phases one after another in which they are served."""

    tasks: tuple[Task, ...]
    phases: tuple[Phase, ...]
    group: int = 1
    """Samples that are served together; there are whole groups of them."""

    @property
    def depth(self) -> int:
        """Rounds that one sample takes, all phases together."""
        return sum(phase.depth for phase in self.phases)


def make_program(
    tasks: Sequence[Task],
    communication: Communication,
    schedule: Schedule,
    stages: Sequence[int] | None = None,
    chunks: int = 1,
) -> Program:
    """Choose the order that the schedule stands for.

    Parameters
    ----------
    tasks
        The tasks of one sample.
    communication
        The communication model; the short warm-up needs the sequential one.
    schedule
        Matters where there are backward tasks.
    stages
        The order of the devices in the pipeline, where the plan says it.
    chunks
        Virtual stages of each device.
    """
    if chunks > 1 and communication is Communication.SEQUENTIAL:
        return _interleaved(tasks, stages or (), chunks)
    everything = range(len(tasks))
    if not any(task.backward for task in tasks):
        return Program(tuple(tasks), (_rounds(tasks, everything),))
    if schedule is Schedule.GPIPE:
        ways = [[t for t in everything if tasks[t].backward == way] for way in (False, True)]
        return Program(tuple(tasks), tuple(_rounds(tasks, way) for way in ways if way))
    order = _device_order(tasks, stages or ()) if communication is Communication.SEQUENTIAL else None
    if order is None:
        return Program(tuple(tasks), (_rounds(tasks, everything),))
    return _one_forward_one_backward(tasks, order)


def in_line(tasks: Sequence[Task], stages: Sequence[int], chunks: int = 1) -> list[Task]:
    """Make one task of all that a stage does in a direction; a microbatch passes them one after another.

    So runs an optimizer step or a request (`placer.plans.step_time`): forward from (virtual) stage to stage
    whether or not one needs what another sends, then backward through all of them.  What a stage receives
    counts for its producer's direction, also where only the other one reads it.

    Parameters
    ----------
    tasks
        The tasks of one sample, with sequential communication.
    stages
        The devices in pipeline order.
    chunks
        How many times the pipeline goes around them.
    """
    ways = [(d, False, chunk) for chunk in range(chunks) for d in stages]
    if any(task.backward for task in tasks):
        ways += [(d, True, chunk) for d, _, chunk in reversed(ways)]
    work: dict[tuple[int, bool, int], list[Part]] = {way: [] for way in ways}
    for task in sorted(tasks, key=lambda t: not _only_receives(t)):
        work[task.device, task.backward, task.chunk] += task.parts
    resource = tasks[0].resource[1]
    idle = Part(Lane.COMPUTE, (), ())  # makes a stage that only receives one that takes its turn
    return [
        Task((d, resource), way, (*work[d, way, chunk], idle), (k - 1,) if k else (), chunk)
        for k, (d, way, chunk) in enumerate(ways)
    ]


@dataclass(frozen=True)
class _Interleaved(Phase):
    """A ring of devices that serve their virtual stages in Megatron's interleaved order.

    Samples come in groups of as many as there are devices; a device serves a group chunk by chunk.
    """

    tasks: tuple[Task, ...] = ()
    devices: tuple[int, ...] = ()

    def sequence(self, resource: Resource, samples: int) -> list[tuple[int, int]]:
        """Pairs of task and sample that a resource serves, in order."""
        ranks, mine = len(self.devices), self.turns[resource]
        ways = [[t for t in mine if self.tasks[t].backward == way] for way in (False, True)]
        ways[0].sort(key=lambda t: self.tasks[t].chunk)
        ways[1].sort(key=lambda t: -self.tasks[t].chunk)
        forward, backward = (
            [(t, first + i) for first in range(0, samples, ranks) for t in way for i in range(ranks)]
            for way in ways
        )
        behind = ranks - 1 - self.devices.index(resource[0])
        ahead = min(len(forward), 2 * behind + (len(ways[0]) - 1) * ranks)
        out = forward[:ahead]
        for pair in zip(forward[ahead:], backward, strict=False):
            out += pair
        return out + backward[len(forward) - ahead :]


def _interleaved(tasks: Sequence[Task], devices: Sequence[int], chunks: int) -> Program:
    turns: dict[Resource, tuple[int, ...]] = {}
    for t, task in enumerate(tasks):
        turns[task.resource] = (*turns.get(task.resource, ()), t)
    offset = dict.fromkeys(range(len(tasks)), chunks * len(devices) - 1)
    phase = _Interleaved(offset, turns, tasks=tuple(tasks), devices=tuple(devices))
    return Program(tuple(tasks), (phase,), group=len(devices))


def _rounds(tasks: Sequence[Task], members: Sequence[int]) -> Phase:
    """Offsets by the longest chain of tasks within the phase."""
    inside = set(members)
    graph = nx.DiGraph()
    graph.add_nodes_from(members)
    graph.add_edges_from((p, t) for t in members for p in tasks[t].after if p in inside)
    offset: dict[int, int] = {}
    for t in nx.lexicographical_topological_sort(graph):
        offset[t] = max((offset[p] + 1 for p in graph.predecessors(t)), default=0)
    turns: dict[Resource, list[int]] = {}
    for t in sorted(members, key=lambda t: (not tasks[t].backward, -offset[t], t)):
        turns.setdefault(tasks[t].resource, []).append(t)
    buffers = [
        Buffer(p, t, offset[t] - offset[p] + 1)
        for p, t in sorted(graph.edges)
        if tasks[p].resource != tasks[t].resource
    ]
    groups = [
        tuple(tuple(t for r in mine for t in turns[r] if tasks[t].backward == way) for way in (True, False))
        for d in sorted({d for d, _ in turns})
        if len(mine := [r for r in turns if r[0] == d]) > 1
    ]
    return Phase(
        offset=offset,
        turns={r: tuple(ts) for r, ts in turns.items()},
        buffers=tuple(buffers),
        groups=tuple(pair for pair in groups if all(pair)),
    )


def _device_order(tasks: Sequence[Task], stages: Sequence[int]) -> list[int] | None:
    """Order of the devices that forward data follow and backward data follow in reverse, if there is one.

    It contains ``stages``.
    """
    graph = nx.DiGraph()
    graph.add_edges_from(pairwise(d for d in stages if any(task.device == d for task in tasks)))
    computing: set[tuple[int, bool]] = set()
    for task in tasks:
        if not _only_receives(task):
            if (task.device, task.backward) in computing:
                return None  # several stages
            computing.add((task.device, task.backward))
        graph.add_node(task.device)
        for p in task.after:
            before = tasks[p]
            if before.device != task.device and before.backward == task.backward:
                if _only_receives(task):
                    continue  # needed by the backward pass only, and that comes later anyhow
                ends = (before.device, task.device)
                graph.add_edge(*(reversed(ends) if task.backward else ends))
    if not nx.is_directed_acyclic_graph(graph):
        return None
    return list(nx.lexicographical_topological_sort(graph))


def _only_receives(task: Task) -> bool:
    return len(task.parts) == 1 and task.parts[0].lane == "receive"


def _one_forward_one_backward(tasks: Sequence[Task], order: list[int]) -> Program:
    """Device i of S (from 0) serves forward r - i and backward r - (S - 1) in round r."""
    made = list(tasks)
    position = {d: i for i, d in enumerate(order)}
    backward = {task.device: t for t, task in enumerate(tasks) if task.backward}
    for i in reversed(range(len(order))):
        # A device without backward work still lets each microbatch come back before it goes on.
        if order[i] not in backward:
            after = (backward[order[i + 1]],) if i + 1 < len(order) else ()
            backward[order[i]] = len(made)
            made.append(Task((order[i], tasks[0].resource[1]), True, (), after))
    offset: dict[int, int] = {}
    turns: dict[Resource, list[int]] = {}
    for t, task in enumerate(made):
        late = task.backward or _only_receives(task)
        offset[t] = len(order) - 1 if late else position[task.device]
        turns.setdefault(task.resource, []).append(t)
    rank = {t: (task.backward, _only_receives(task)) for t, task in enumerate(made)}
    return Program(
        tuple(made),
        (Phase(offset, {r: tuple(sorted(ts, key=rank.__getitem__)) for r, ts in turns.items()}),),
    )
