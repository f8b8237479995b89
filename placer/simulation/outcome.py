"""What a simulation reports."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass, field
from functools import cached_property
from typing import Any

from placer.options import Communication, Objective, Schedule
from placer.simulation.slices import Slice, Slicer

__all__ = ["DeviceUse", "Simulation"]

ROUNDING = 1e-9
"""Relative excess over a memory limit that is rounding."""


@dataclass(frozen=True)
class DeviceUse:
    """What one device did during the whole timeline.

    Parameters
    ----------
    name
        Name of the device.
    compute_ms, receive_ms, send_ms
        Time spent in each lane.
    busy_ms, idle_ms
        Time with at least one lane at work, and without.
    load_ms
        Work of its busiest resource per sample, which limits the steady state; forward and backward
        work take turns and add up.
    steady_utilisation
        ``load_ms`` over the steady-state time per sample; None for latency.
    in_flight
        Largest number of samples between the start of the first and the end of the last task that computes:
        those that hold activations.
    memory
        Steps ``(time_ms, bytes)`` of the memory in use: what is resident, and the activations of the
        microbatches in flight.
    memory_limit_bytes
        What a plan may use; None without a limit.
    """

    name: str
    compute_ms: float
    receive_ms: float
    send_ms: float
    busy_ms: float
    idle_ms: float
    load_ms: float
    steady_utilisation: float | None
    in_flight: int
    memory: tuple[tuple[float, float], ...]
    memory_limit_bytes: float | None

    @property
    def peak_bytes(self) -> float:
        """Largest memory in use at any time."""
        return max((used for _, used in self.memory), default=0.0)

    @property
    def exceeds_limit(self) -> bool:
        """Whether the device ever holds more than it has, beyond rounding."""
        limit = self.memory_limit_bytes
        return limit is not None and self.peak_bytes > limit * (1 + ROUNDING)

    def to_dict(self) -> dict[str, Any]:
        """Return the figures as plain data."""
        return {
            "name": self.name,
            "compute_ms": self.compute_ms,
            "receive_ms": self.receive_ms,
            "send_ms": self.send_ms,
            "busy_ms": self.busy_ms,
            "idle_ms": self.idle_ms,
            "load_ms": self.load_ms,
            "steady_utilisation": self.steady_utilisation,
            "in_flight": self.in_flight,
            "peak_memory_bytes": self.peak_bytes,
            "memory_limit_bytes": self.memory_limit_bytes,
            "memory": [list(step) for step in self.memory],
        }


@dataclass(frozen=True, eq=False)
class Simulation:
    """A simulated plan.

    Parameters
    ----------
    objective, communication, schedule
        What was simulated; the schedule is None where there is no backward pass.
    samples
        Number of samples (in training: microbatches) in the timeline.
    steady_ms
        Time per sample in steady state, from a stream that is long enough; None for latency.
    periodic
        Whether the events of that stream repeat, so that ``steady_ms`` is exact; True for latency.
    makespan_ms
        When the last sample was done.
    fill_ms
        Until the last device that has any work began.
    drain_ms
        Since some device that has any work had no more of it.
    latency_ms
        Time from the start of the first to the end of the last task of each sample, length ``samples``.
    devices
        One entry per device.
    critical_path
        Slices that follow each other without a gap from 0 to ``makespan_ms``, each waiting for the last.
    sync_ms
        How long replicas sum their gradients after that, for the objective step.
    """

    objective: Objective
    communication: Communication
    schedule: Schedule | None
    samples: int
    steady_ms: float | None
    periodic: bool
    makespan_ms: float
    fill_ms: float
    drain_ms: float
    latency_ms: tuple[float, ...]
    devices: tuple[DeviceUse, ...]
    critical_path: tuple[Slice, ...]
    slicer: Slicer = field(repr=False)
    sync_ms: float = 0.0

    @property
    def objective_ms(self) -> float:
        """What the plan's objective should be: the steady state; for latency and a step, all of its time."""
        alone = self.steady_ms is None or self.objective is Objective.STEP
        return self.makespan_ms + self.sync_ms if alone else float(self.steady_ms or 0.0)

    @cached_property
    def slices(self) -> tuple[Slice, ...]:
        """All slices, in the order of their start; each is all that a stage receives, computes or sends."""
        slicer = self.slicer
        found = [s for t, k in self._runs(self.samples) for s in slicer.on_replicas(t, slicer.stages(t, k))]
        return tuple(sorted(found, key=lambda s: (s.start_ms, s.end_ms)))

    def node_slices(self, samples: int) -> Iterator[Slice]:
        """Slices of single nodes and single transfers for the first ``samples`` samples."""
        for t, k in self._runs(samples):
            yield from self.slicer.on_replicas(t, self.slicer.nodes(t, k))

    def critical_shares(self) -> dict[tuple[str, str], float]:
        """Time on the critical path by device and lane, the longest first, ms."""
        total: dict[tuple[str, str], float] = {}
        for s in self.critical_path:
            key = (s.device, s.lane.value)
            total[key] = total.get(key, 0.0) + s.end_ms - s.start_ms
        return dict(sorted(total.items(), key=lambda item: -item[1]))

    def to_dict(self) -> dict[str, Any]:
        """Return the figures as plain data, without the slices."""
        return {
            "objective": self.objective.value,
            "communication": self.communication.value,
            "schedule": None if self.schedule is None else self.schedule.value,
            "samples": self.samples,
            "steady_ms": self.steady_ms,
            "periodic": self.periodic,
            "makespan_ms": self.makespan_ms,
            "fill_ms": self.fill_ms,
            "drain_ms": self.drain_ms,
            "latency_ms": list(self.latency_ms),
            "devices": [device.to_dict() for device in self.devices],
            "critical_path": [
                {"device": device, "lane": lane, "ms": ms}
                for (device, lane), ms in self.critical_shares().items()
            ],
        }

    def _runs(self, samples: int) -> Iterator[tuple[int, int]]:
        for task in range(len(self.slicer.timeline.program.tasks)):
            for sample in range(min(samples, self.samples)):
                yield task, sample
