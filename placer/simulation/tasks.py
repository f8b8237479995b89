"""Tasks: what occupies one resource of a device without interruption, once per sample.

How the work of a stage is spread over resources is the communication model: ``sequential`` has one
resource per device that receives, computes and sends in turn; ``overlap`` has one for computing and one for
both transfers; ``duplex`` has three.  Hosts only compute.
"""

from __future__ import annotations

from dataclasses import dataclass, replace
from enum import StrEnum

from placer.options import Communication
from placer.simulation.plan_costs import Placement
from placer.simulation.stages import Stage

__all__ = ["Lane", "Part", "Resource", "Task", "make_tasks"]


class Lane(StrEnum):
    """What a device does."""

    COMPUTE = "compute"
    RECEIVE = "receive"
    SEND = "send"


Resource = tuple[int, str]
"""A device and the name of one of its resources; a resource does one thing at a time."""


@dataclass(frozen=True)
class Part:
    """Nodes computed, received or sent one after the other: ``nodes[i]`` takes ``times_ms[i]``.

    Replicas synchronise their weights for ``synchronisation_ms`` after that.
    """

    lane: Lane
    nodes: tuple[int, ...]
    times_ms: tuple[float, ...]
    synchronisation_ms: float = 0.0

    @property
    def duration_ms(self) -> float:
        """Time of all nodes together."""
        return sum(self.times_ms) + self.synchronisation_ms


@dataclass(frozen=True)
class Task:
    """What a resource does once per sample, without interruption.

    Parameters
    ----------
    resource, backward
        Where and in which direction.
    parts
        What it does, in this order.
    after
        Tasks of the same sample that it waits for.
    chunk
        Which virtual stage of its device it is of.
    """

    resource: Resource
    backward: bool
    parts: tuple[Part, ...]
    after: tuple[int, ...]
    chunk: int = 0

    @property
    def device(self) -> int:
        """The device of the resource."""
        return self.resource[0]

    def without_sync(self) -> Task:
        """Return the task where replicas sum their gradients after all microbatches, not with each."""
        return replace(self, parts=tuple(replace(part, synchronisation_ms=0.0) for part in self.parts))

    @property
    def duration_ms(self) -> float:
        """Time of all parts together."""
        return sum(part.duration_ms for part in self.parts)

    @property
    def computed(self) -> tuple[int, ...]:
        """Nodes that it computes."""
        return next((part.nodes for part in self.parts if part.lane is Lane.COMPUTE), ())


RESOURCES = {
    Communication.SEQUENTIAL: dict.fromkeys(Lane, "device"),
    Communication.OVERLAP: {Lane.COMPUTE: "compute", Lane.RECEIVE: "link", Lane.SEND: "link"},
    Communication.DUPLEX: {lane: lane.value for lane in Lane},
}


def make_tasks(placement: Placement, stages: list[Stage], communication: Communication) -> list[Task]:
    """Spread stages over the resources of their devices.

    Parameters
    ----------
    placement, stages
        The plan, cut.
    communication
        Which resources a device has.

    Returns
    -------
    list of Task
        In an order in which a stage's own tasks follow each other.
    """
    resource = RESOURCES[communication]

    def same_way(a: Stage, b: Stage) -> bool:
        return (a.device, a.backward) == (b.device, b.backward)

    found: list[tuple[int, str, list[Part]]] = []  # stage, name of the resource, parts
    at: dict[tuple[int, Lane], int] = {}  # task by stage and lane
    for k, stage in enumerate(stages):
        first_backward = stage.backward and (k == 0 or not same_way(stages[k - 1], stage))
        synchronisation = placement.synchronisation_ms(stage.device) if first_backward else 0.0
        for part in _parts(placement, stage, synchronisation):
            name = resource[part.lane]
            if communication is Communication.SEQUENTIAL and found and found[-1][0] == k:
                found[-1][2].append(part)
            else:
                found.append((k, name, [part]))
            at[k, part.lane] = len(found) - 1
    after = _dependencies(placement, stages, at, len(found))
    return [
        Task(
            (stages[k].device, name),
            stages[k].backward,
            tuple(parts),
            tuple(sorted(after[t])),
            stages[k].chunk,
        )
        for t, (k, name, parts) in enumerate(found)
    ]


def _parts(placement: Placement, stage: Stage, synchronisation: float) -> list[Part]:
    d = stage.device

    def times(nodes: tuple[int, ...]) -> tuple[float, ...]:
        return tuple(placement.time_ms[v] for v in nodes)

    parts = [
        Part(Lane.RECEIVE, stage.received, tuple(placement.transfer_ms(u, d) for u in stage.received)),
        Part(Lane.COMPUTE, stage.again + stage.nodes, times(stage.again + stage.nodes), synchronisation),
        Part(Lane.SEND, stage.sent, tuple(placement.transfer_ms(u, d) for u in stage.sent)),
    ]
    return [part for part in parts if part.nodes]


def _dependencies(
    placement: Placement, stages: list[Stage], at: dict[tuple[int, Lane], int], count: int
) -> list[set[int]]:
    """Tasks that each task waits for: its own stage, its data, and earlier stages of its device."""
    home = {v: k for k, stage in enumerate(stages) for v in stage.nodes}
    fetched = {(u, stage.device): k for k, stage in enumerate(stages) for u in stage.received}
    written = {u for stage in stages for u in stage.sent}
    after: list[set[int]] = [set() for _ in range(count)]

    def available(u: int) -> int:
        """Task after which the output of ``u`` is in host memory."""
        return at[home[u], Lane.SEND if u in written else Lane.COMPUTE]

    previous: dict[int, int] = {}  # the last task of each device that computes
    for k, stage in enumerate(stages):
        if stage.received:
            after[at[k, Lane.RECEIVE]].update(available(u) for u in stage.received)
        if stage.nodes or stage.again:
            compute = at[k, Lane.COMPUTE]
            if stage.device in previous:
                after[compute].add(previous[stage.device])
            previous[stage.device] = compute
            for u in {u for v in stage.nodes for u in placement.producers[v]}:
                if placement.device[u] == stage.device:
                    after[compute].add(at[home[u], Lane.COMPUTE])
                elif (u, stage.device) in fetched:
                    after[compute].add(at[fetched[u, stage.device], Lane.RECEIVE])
                else:
                    after[compute].add(available(u))
        if stage.sent:
            after[at[k, Lane.SEND]].add(at[k, Lane.COMPUTE])
    for t in range(count):
        after[t].discard(t)
    return after
