"""The event simulation of serving: microbatches go round the stages, and requests join and leave them.

A stage serves one microbatch at a time, in the order in which they reach it; of a stage with replicas, each
keeps the caches of its own microbatches and serves these.  A microbatch that has made all its visits comes
back after the return hop; sequences that are complete leave it, requests that wait join it while it has room
and the cache has room for all their tokens, and it goes round again: a pass computes the prompts of those
that joined, and one more token of everyone else.  Nothing is taken from the formulas for throughput and time
per token, which this is to confirm.
"""

from __future__ import annotations

import heapq
from collections import deque
from collections.abc import Sequence
from dataclasses import dataclass, field
from typing import Protocol

import numpy as np

from placer.arrays import FloatArray
from placer.errors import UsageError
from placer.simulation.serving_requests import Request

__all__ = ["Rounds", "StageTimes", "SteadyTimes", "rounds", "saturated"]


class StageTimes(Protocol):
    """How long the visits of a microbatch to the stages take, transfers included."""

    @property
    def visits(self) -> tuple[int, ...]:
        """Stage of each visit, in their order; stages are numbered from 0."""

    @property
    def replicas(self) -> tuple[int, ...]:
        """Devices that take turns at each stage, length ``stages``."""

    def decode_ms(self, visit: int, sequences: int, tokens: int) -> float:
        """Time for one more token of so many sequences with so many tokens in the cache together."""

    def prefill_ms(self, visit: int, tokens: int) -> float:
        """Time to read a prompt of so many tokens."""


@dataclass(frozen=True)
class SteadyTimes:
    """Visits that always take as long, as those of full microbatches of one context do.

    Parameters
    ----------
    visit_ms
        Time of each visit.
    visits
        Stage of each visit; one visit to each stage by default.
    replicas
        Devices that take turns at each stage; one by default.
    """

    visit_ms: tuple[float, ...]
    visits: tuple[int, ...] = ()
    replicas: tuple[int, ...] = ()

    def __post_init__(self) -> None:
        if not self.visits:
            object.__setattr__(self, "visits", tuple(range(len(self.visit_ms))))
        if not self.replicas:
            object.__setattr__(self, "replicas", (1,) * (1 + max(self.visits)))

    def decode_ms(self, visit: int, sequences: int, tokens: int) -> float:
        """Time of a visit, whoever is in the microbatch."""
        return self.visit_ms[visit] if sequences else 0.0

    def prefill_ms(self, visit: int, tokens: int) -> float:
        """Prompts take nothing: saturation is about what follows them."""
        return 0.0


@dataclass(frozen=True, eq=False)
class Rounds:
    """When what happened to each request.

    Parameters
    ----------
    requests
        The requests, in the order of their arrival.
    start_ms, first_ms, finish_ms
        When each began to be computed, had its first token, and its last; length ``requests``.
    busy_ms
        How long each stage was busy, all replicas together, length ``stages``.
    peak_tokens
        Most tokens that the cache was kept for.
    most_running
        Most sequences that were being served at a time.
    """

    requests: tuple[Request, ...]
    start_ms: FloatArray
    first_ms: FloatArray
    finish_ms: FloatArray
    busy_ms: FloatArray
    peak_tokens: int
    most_running: int


@dataclass
class _Sequence:
    request: int
    tokens: int
    """Of prompt and answer, so far."""
    left: int
    """Of the answer."""


@dataclass
class _Microbatch:
    sequences: list[_Sequence] = field(default_factory=list)
    times_ms: list[float] = field(default_factory=list)
    """Of the pass that it is on, by visit."""
    visit: int = 0
    idle: bool = True


ARRIVE, SERVED, BACK = range(3)
"""A request comes; a stage is done with a microbatch; a microbatch is back."""


def rounds(
    requests: Sequence[Request],
    times: StageTimes,
    *,
    microbatches: int,
    batch: int,
    return_ms: float = 0.0,
    cache_tokens: int | None = None,
    concurrency: int | None = None,
) -> Rounds:
    """Serve requests until all are answered.

    Parameters
    ----------
    requests
        In any order.
    times
        Where microbatches go, and how long that takes.
    microbatches, batch
        Most microbatches under way, and most sequences in each.
    return_ms
        Time from the last visit to the first.
    cache_tokens
        Tokens that the cache has room for; None for any number.  A request takes its room before it starts.
    concurrency
        Most sequences at once; as many as all microbatches hold by default.

    Raises
    ------
    UsageError
        When a number is out of range, or a request does not fit the cache on its own.
    """
    if microbatches < 1 or batch < 1:
        raise UsageError(f"microbatches and their sequences are at least 1, got {microbatches} and {batch}")
    ordered = tuple(sorted(requests, key=lambda r: r.arrival_ms))
    longest = max((r.tokens for r in ordered), default=0)
    if cache_tokens is not None and longest > cache_tokens:
        raise UsageError(
            f"a request of {longest} tokens does not fit the cache, which has room for {cache_tokens}"
        )
    room = _Room(batch, concurrency or microbatches * batch, cache_tokens)
    return _Server(ordered, times, microbatches, return_ms, room).run()


@dataclass(frozen=True)
class _Room:
    batch: int
    concurrency: int
    tokens: int | None


class _Server:
    """The state between two events."""

    def __init__(
        self,
        requests: tuple[Request, ...],
        times: StageTimes,
        microbatches: int,
        return_ms: float,
        room: _Room,
    ) -> None:
        self.requests, self.times = requests, times
        self.return_ms, self.room = return_ms, room
        self.microbatches = [_Microbatch() for _ in range(microbatches)]
        devices = [(stage, k) for stage, count in enumerate(times.replicas) for k in range(count)]
        self.queues: dict[tuple[int, int], deque[int]] = {device: deque() for device in devices}
        self.serving = dict.fromkeys(devices, False)
        self.waiting: deque[int] = deque()
        self.reserved = self.peak = self.running = self.most_running = 0
        self.start_ms, self.first_ms, self.finish_ms = np.full((3, len(requests)), np.nan)
        self.busy_ms = np.zeros(len(times.replicas))
        self.events: list[tuple[float, int, int, int]] = []
        self.posted = 0

    def run(self) -> Rounds:
        """Go from event to event."""
        for r, request in enumerate(self.requests):
            self._post(request.arrival_ms, ARRIVE, r)
        while self.events:
            now, _, kind, who = heapq.heappop(self.events)
            if kind == ARRIVE:
                self.waiting.append(who)
                if not (self.events and self.events[0][0] == now and self.events[0][2] == ARRIVE):
                    self._wake(now)  # those that come together can start together
            elif kind == SERVED:
                self._served(now, who)
            else:
                self._back(now, who)
        return Rounds(
            self.requests,
            self.start_ms,
            self.first_ms,
            self.finish_ms,
            self.busy_ms,
            self.peak,
            self.most_running,
        )

    def _post(self, at_ms: float, kind: int, who: int) -> None:
        """Note an event; of those at one time the first noted is the first to happen."""
        heapq.heappush(self.events, (at_ms, self.posted, kind, who))
        self.posted += 1

    def _wake(self, now: float) -> None:
        """Send off microbatches that stood still, as long as some request can join."""
        for m, microbatch in enumerate(self.microbatches):
            if not self.waiting:
                return
            if microbatch.idle:
                self._send(now, m)

    def _send(self, now: float, m: int) -> None:
        """Let requests join a microbatch, and send it to the first stage unless it is empty."""
        microbatch = self.microbatches[m]
        running = microbatch.sequences
        decoding, cached = len(running), sum(s.tokens for s in running)
        prompts = []
        while self.waiting and len(running) < self.room.batch and self._fits(self.waiting[0]):
            r = self.waiting.popleft()
            request = self.requests[r]
            self.reserved += request.tokens
            self.running += 1
            self.start_ms[r] = now
            running.append(_Sequence(r, request.prompt, request.output))
            prompts.append(request.prompt)
        self.peak = max(self.peak, self.reserved)
        self.most_running = max(self.most_running, self.running)
        microbatch.idle = not running
        if running:
            microbatch.times_ms = [
                self.times.decode_ms(visit, decoding, cached)
                + sum(self.times.prefill_ms(visit, tokens) for tokens in prompts)
                for visit in range(len(self.times.visits))
            ]
            microbatch.visit = 0
            self._reach(now, m)

    def _fits(self, r: int) -> bool:
        tokens = self.reserved + self.requests[r].tokens
        enough = self.room.tokens is None or tokens <= self.room.tokens
        return enough and self.running < self.room.concurrency

    def _device(self, m: int) -> tuple[int, int]:
        """Stage that a microbatch visits, and which of its replicas keeps the caches."""
        stage = self.times.visits[self.microbatches[m].visit]
        return stage, m % self.times.replicas[stage]

    def _reach(self, now: float, m: int) -> None:
        """Queue a microbatch where it goes next."""
        device = self._device(m)
        self.queues[device].append(m)
        if not self.serving[device]:
            self._serve(now, device)

    def _serve(self, now: float, device: tuple[int, int]) -> None:
        """Begin with the next microbatch of a queue."""
        self.serving[device] = bool(self.queues[device])
        if self.serving[device]:
            m = self.queues[device].popleft()
            microbatch = self.microbatches[m]
            time_ms = microbatch.times_ms[microbatch.visit]
            self.busy_ms[device[0]] += time_ms
            self._post(now + time_ms, SERVED, m)

    def _served(self, now: float, m: int) -> None:
        """Pass a microbatch on, or back to the start with a token for each of its sequences."""
        microbatch, device = self.microbatches[m], self._device(m)
        if microbatch.visit + 1 < len(self.times.visits):
            microbatch.visit += 1
            self._reach(now, m)
        else:
            for sequence in microbatch.sequences:
                if np.isnan(self.first_ms[sequence.request]):
                    self.first_ms[sequence.request] = now
                sequence.tokens += 1
                sequence.left -= 1
                if not sequence.left:
                    self.finish_ms[sequence.request] = now
            self._post(now + self.return_ms, BACK, m)
        self._serve(now, device)

    def _back(self, now: float, m: int) -> None:
        """Let complete sequences go and others join."""
        microbatch = self.microbatches[m]
        for sequence in microbatch.sequences:
            if not sequence.left:
                self.reserved -= self.requests[sequence.request].tokens
                self.running -= 1
        microbatch.sequences = [s for s in microbatch.sequences if s.left]
        self._send(now, m)
        self._wake(now)


def saturated(
    times: StageTimes,
    *,
    microbatches: int,
    batch: int,
    return_ms: float = 0.0,
    concurrency: int | None = None,
    passes: int = 400,
) -> tuple[float, float]:
    """Measure full microbatches of endless sequences that go round.

    Parameters
    ----------
    times
        Where they go, and how long that takes; prompts should take nothing (`SteadyTimes`).
    microbatches, batch
        Microbatches under way, and sequences in each.
    return_ms
        Time from the last visit to the first.
    concurrency
        Sequences of all microbatches together; as many as these hold by default.
    passes
        How often each goes round; the second half is measured.

    Returns
    -------
    (float, float)
        Tokens per second, and time per output token in ms.
    """
    # Two lengths: what the longer run takes more is free of what filling the pipeline takes.
    sequences = concurrency or microbatches * batch
    done = []
    for length in (passes // 2, passes):
        asked = [Request(0.0, 1, length)] * sequences
        served = rounds(asked, times, microbatches=microbatches, batch=batch, return_ms=return_ms)
        done.append(float(served.finish_ms.max()))
    tpot_ms = (done[1] - done[0]) / (passes - passes // 2)
    return sequences * 1e3 / tpot_ms, tpot_ms
