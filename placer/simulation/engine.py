"""The event simulation: resources serve their tasks in order, on the clock of SimPy."""

from __future__ import annotations

from collections.abc import Generator, Iterator
from dataclasses import dataclass
from functools import cached_property
from itertools import pairwise
from typing import TYPE_CHECKING

import numpy as np

from placer.arrays import FloatArray
from placer.simulation.service_order import Buffer, Phase, Program

if TYPE_CHECKING:
    import simpy

__all__ = ["Stuck", "Timeline", "execute"]


class Stuck(Exception):  # noqa: N818  (a property of the plan, not a failure)
    """Tasks that wait for each other."""

    def __init__(self, tasks: list[int]) -> None:
        self.tasks = tasks
        super().__init__(f"{len(tasks)} tasks wait for each other")


@dataclass(frozen=True, eq=False)
class Timeline:
    """When each task of each sample ran.

    Parameters
    ----------
    program
        What was run.
    samples
        Number of samples.
    start_ms, finish_ms
        ``(tasks, samples)``.
    """

    program: Program
    samples: int
    start_ms: FloatArray
    finish_ms: FloatArray

    @property
    def makespan_ms(self) -> float:
        """When the last task finished."""
        return float(self.finish_ms.max())

    @cached_property
    def predecessor(self) -> dict[tuple[int, int], tuple[int, int]]:
        """What each resource did before, by task and sample."""
        found: dict[tuple[int, int], tuple[int, int]] = {}
        for phase in self.program.phases:
            for resource in phase.turns:
                sequence = phase.sequence(resource, self.samples)
                found.update(zip(sequence[1:], sequence[:-1], strict=True))
        return found

    @cached_property
    def block_before(self) -> dict[tuple[int, int], list[tuple[int, int]]]:
        """What a device served together just before, by task and sample."""
        return {
            member: before
            for phase in self.program.phases
            for blocks in phase.blocks(self.samples)
            for before, block in pairwise(blocks)
            for member in block
        }

    def waited_for(self, task: int, sample: int) -> Iterator[tuple[int, int]]:
        """All that had to finish before a task could start: its inputs, its turn, free buffers."""
        at = next(i for i, phase in enumerate(self.program.phases) if task in phase.offset)
        phase = self.program.phases[at]
        for p in self.program.tasks[task].after:
            yield p, sample
        if (task, sample) in self.predecessor:
            yield self.predecessor[task, sample]
        yield from self.block_before.get((task, sample), ())
        for buffer in phase.buffers:
            if buffer.producer == task and sample >= buffer.samples:
                yield buffer.consumer, sample - buffer.samples
        if at:
            earlier = list(self.program.phases[at - 1].offset)
            k, s = np.unravel_index(int(self.finish_ms[earlier].argmax()), (len(earlier), self.samples))
            yield earlier[int(k)], int(s)


def execute(program: Program, samples: int) -> Timeline:
    """Run a stream of samples through a program.

    Parameters
    ----------
    program
        Tasks and the order in which resources serve them; a phase starts when the one before has ended.
    samples
        Number of samples, at least 1; all exist from the beginning.

    Returns
    -------
    Timeline

    Raises
    ------
    Stuck
        When tasks wait for each other.
    """
    import simpy  # loaded by those who simulate

    clock = simpy.Environment()
    run = _Run(clock, program, samples)
    for phase in program.phases:
        run.begin(phase)
        clock.run()
        stuck = [t for t in phase.offset if np.isnan(run.finish_ms[t]).any()]
        if stuck:
            raise Stuck(stuck)
    return Timeline(program, samples, run.start_ms, run.finish_ms)


class _Run:
    """The state of a running simulation."""

    def __init__(self, clock: simpy.Environment, program: Program, samples: int) -> None:
        self.clock = clock
        self.program = program
        self.samples = samples
        self.start_ms = np.full((len(program.tasks), samples), np.nan)
        self.finish_ms = np.full((len(program.tasks), samples), np.nan)
        self._duration = [task.duration_ms for task in program.tasks]
        self._done = [[clock.event() for _ in range(samples)] for _ in program.tasks]

    def begin(self, phase: Phase) -> None:
        """Set all resources of a phase to work."""
        limits: dict[int, list[Buffer]] = {}
        for buffer in phase.buffers:
            limits.setdefault(buffer.producer, []).append(buffer)
        gates: dict[tuple[int, int], simpy.Event] = {}
        for blocks in phase.blocks(self.samples):
            for before, block in pairwise(blocks):
                ended = self.clock.all_of([self._done[t][s] for t, s in before])
                gates.update(dict.fromkeys(block, ended))
        for resource in phase.turns:
            self.clock.process(self._serve(phase.sequence(resource, self.samples), limits, gates))

    def _serve(
        self,
        sequence: list[tuple[int, int]],
        limits: dict[int, list[Buffer]],
        gates: dict[tuple[int, int], simpy.Event],
    ) -> Generator[simpy.Event, object, None]:
        """Serve tasks one after another: wait until each may start, then work."""
        for t, s in sequence:
            waits = [self._done[p][s] for p in self.program.tasks[t].after]
            waits += [self._done[b.consumer][s - b.samples] for b in limits.get(t, ()) if s >= b.samples]
            if (t, s) in gates:
                waits.append(gates[t, s])
            for event in waits:
                if not event.processed:
                    yield event
            self.start_ms[t, s] = self.clock.now
            yield self.clock.timeout(self._duration[t])
            self.finish_ms[t, s] = self.clock.now
            self._done[t][s].succeed()
