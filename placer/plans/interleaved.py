"""Virtual stages: pipelines that go around the devices several times, in Megatron's interleaved order.

P devices (ranks r = 0 .. P − 1) hold V virtual stages each.  The pipeline passes chunk 0 of all ranks, then
chunk 1 of all ranks, and so on: chunk v of rank r is its stage v P + r.  Microbatches come in groups of P,
and a rank serves a group chunk by chunk, forward 0, 1, ..., V − 1 and backward V − 1, ..., 0; so the n-th
forward pass is one of chunk ⌊n / P⌋ mod V, on every rank.  Rank r does W_r = 2 (P − r − 1) + (V − 1) P
forward passes (at most m V), then one forward and one backward pass in turn, then the backward passes left.

*Time.*  Let forward pass n of rank r belong to round n + r, and backward pass k to round k + W_r + r.  In a
round a rank does its forward pass first, then its backward pass, and whatever a pass waits for, from the rank
before or (backward) after it and on a ring from the last to the first, is of the round before.  So one round
after the other gives the makespan, in O(m V P).  The passes repeat every P V rounds; once all times rise by
the same amount from one period to the next, they do so to the last full one.

*Memory.*  A rank keeps the activations of a chunk and a microbatch from the beginning of its forward pass to
the end of its backward pass.  With n forward passes begun and k backward passes ended it keeps those of
f_v(n) − f_{V−1−v}(k) microbatches for chunk v, where f_v(n) = P ⌊n / P V⌋ + min(max(n mod P V − v P, 0), P)
of the first n passes are of chunk v; n = min(W_r + 1 + k, m V) when the most are in flight.

Source: Narayanan et al., 2021, "Efficient large-scale language model training on GPU clusters using
Megatron-LM", Section 2.2.
"""

from __future__ import annotations

from functools import lru_cache

import numpy as np

from placer.arrays import FloatArray, IntArray
from placer.instance.instance import Instance

__all__ = ["InFlightStates", "interleaved_ms", "passes_end_ms", "ranks_of", "states_in_flight", "warm_up"]

STEADY = 1e-13
"""Differences of times below this part of them are rounding: the rounds repeat."""


def ranks_of(instance: Instance) -> int:
    """Return P: how many accelerators may hold nodes."""
    usable = instance.allowed.any(axis=0) & ~np.array([d.is_host for d in instance.devices])
    most = instance.constraints.max_devices
    return int(usable.sum()) if most is None else min(most, int(usable.sum()))


def warm_up(rank: int, ranks: int, chunks: int, microbatches: int) -> int:
    """Return how many forward passes of chunks a rank does before its first backward pass, less one."""
    return min(2 * (ranks - rank - 1) + (chunks - 1) * ranks, microbatches * chunks)


def interleaved_ms(load_ms: FloatArray, microbatches: int) -> FloatArray:
    """Return the makespans of C pipelines at once, ``(C,)`` in ms.

    Parameters
    ----------
    load_ms
        Forward and backward work of each chunk of each rank per microbatch, ``(2, V, P, C)``.
    microbatches
        How many go through, a multiple of P.
    """
    _, chunks, ranks, count = load_ms.shape
    state = _Times(ranks, count)
    passes, period = microbatches * chunks, ranks * chunks
    behind = 2 * ranks - 2 + (chunks - 1) * ranks  # rounds from the first forward to the first backward pass
    t, before = 0, np.zeros(0)
    while t < passes + behind:
        if t % period == 0 and t >= behind + ranks:
            now = state.all
            left = (passes - t - period) // period  # periods that are the same and still to come
            if left > 0 and len(before):
                step = now - before
                if (np.ptp(step, axis=0) <= STEADY * now.max(axis=0)).all():
                    state.all += left * step.max(axis=0)
                    t += left * period
            before = state.all.copy()
        _forward(state, load_ms[0], t, passes)
        _backward(state, load_ms[1], t - behind, passes)
        t += 1
    return np.asarray(state.free.max(axis=0))


def passes_end_ms(load_ms: FloatArray, microbatches: int) -> tuple[FloatArray, FloatArray]:
    """Return when each rank ends each of its forward and backward passes, ``(P, m V)`` in ms.

    Parameters
    ----------
    load_ms
        Forward and backward work of each chunk of each rank per microbatch, ``(2, V, P)``.
    microbatches
        How many go through, a multiple of P.
    """
    _, chunks, ranks = load_ms.shape
    state, passes = _Times(ranks, 1), microbatches * chunks
    behind = 2 * ranks - 2 + (chunks - 1) * ranks
    forward, backward = np.zeros((ranks, passes)), np.zeros((ranks, passes))
    for t in range(passes + behind):
        _forward(state, load_ms[0, ..., None], t, passes)
        rank = np.arange(max(0, t - passes + 1), min(ranks, t + 1))
        forward[rank, t - rank] = state.forward[rank + 1, 0]
        _backward(state, load_ms[1, ..., None], t - behind, passes)
        rank = np.arange(max(0, behind - t), min(ranks, passes + behind - t))
        backward[rank, t - behind + rank] = state.backward[rank, 0]
    return forward, backward


class _Times:
    """When each rank ends its last pass of any kind, forward and backward, ``(P, C)`` each, on rings.

    The rings have one row more, in front and at the end, for what comes around.
    """

    def __init__(self, ranks: int, count: int) -> None:
        ring = np.zeros((3 * ranks + 2, count))
        self.forward, self.free, self.backward = np.split(ring, [ranks + 1, 2 * ranks + 1])
        self.all = ring[1:-1]


def _forward(state: _Times, work_ms: FloatArray, t: int, passes: int) -> None:
    """Let the ranks do the forward passes of a round, pass t − r of rank r."""
    chunks, ranks, _ = work_ms.shape
    low, high = max(0, t - passes + 1), min(ranks, t + 1)
    if low < high:
        state.forward[0] = state.forward[ranks] if t // ranks % chunks else 0.0
        rank = np.arange(low, high)
        ended = np.maximum(state.free[low:high], state.forward[low:high])
        ended += work_ms[(t - rank) // ranks % chunks, rank]
        state.free[low:high] = state.forward[low + 1 : high + 1] = ended


def _backward(state: _Times, work_ms: FloatArray, first: int, passes: int) -> None:
    """Let the ranks do the backward passes of a round, pass ``first + r`` of rank r."""
    chunks, ranks, _ = work_ms.shape
    low, high = max(0, -first), min(ranks, passes - first)
    if low < high:
        last = first + ranks - 1
        state.backward[ranks] = state.backward[0] if last // ranks % chunks else 0.0
        rank = np.arange(low, high)
        ended = np.maximum(state.free[low:high], state.backward[low + 1 : high + 1])
        ended += work_ms[chunks - 1 - (first + rank) // ranks % chunks, rank]
        state.free[low:high] = state.backward[low:high] = ended


class InFlightStates:
    """What a rank keeps at the moments at which it may keep most.

    Parameters
    ----------
    counts
        Microbatches in flight of each chunk, ``(K, V)``.
    running
        The chunk whose pass is running, ``(K,)``.
    """

    def __init__(self, counts: IntArray, running: IntArray) -> None:
        self.counts, self.running = counts, running

    def peak(self, kept: FloatArray, working: FloatArray | float = 0.0) -> FloatArray:
        """Return the largest sum, ``(...)``.

        Parameters
        ----------
        kept
            What a microbatch in flight keeps of each chunk, ``(..., V)``.
        working
            What a running pass keeps besides, of each chunk, ``(..., V)``.
        """
        total = kept @ self.counts.T
        if isinstance(working, np.ndarray):
            total = total + working[..., self.running]
        return np.asarray(total.max(axis=-1))

    @property
    def most(self) -> int:
        """Most activations of chunks that are in flight at a time."""
        return int(self.counts.sum(axis=1).max())

    @property
    def least(self) -> float:
        """Microbatches that each chunk keeps at least, on average over the fullest moments.

        The peak is at least what all chunks keep with so many.
        """
        fullest = self.counts[self.counts.sum(axis=1) == self.most]
        return float(fullest.mean(axis=0).min())


@lru_cache(maxsize=512)
def states_in_flight(rank: int, ranks: int, chunks: int, microbatches: int) -> InFlightStates:
    """List the moments at which a rank may keep most: at the beginning of a forward or a backward pass."""
    warm, passes, period = (
        warm_up(rank, ranks, chunks, microbatches),
        microbatches * chunks,
        ranks * chunks,
    )
    n = np.arange(1, passes + 1) if warm + 2 * period >= passes else np.arange(1, warm + period + 1)
    # Forward pass n - 1 begins when so many backward passes have ended; the last ones come when all are done.
    forward = n, np.maximum(n - warm - 1, 0), (n - 1) // ranks % chunks
    k = np.arange(passes)
    near = (k < period) | (k >= passes - warm - period)
    k = k[near]
    backward = np.minimum(warm + 1 + k, passes), k, chunks - 1 - k // ranks % chunks
    begun, ended, running = (np.concatenate(pair) for pair in zip(forward, backward, strict=True))
    counts = _of_chunks(begun, ranks, chunks) - _of_chunks(ended, ranks, chunks)[:, ::-1]
    rows = np.unique(np.column_stack([counts, running]), axis=0)
    return InFlightStates(rows[:, :-1], rows[:, -1])


def _of_chunks(passes: IntArray, ranks: int, chunks: int) -> IntArray:
    """How many of the first passes are of each chunk in the order of its service, ``(K, V)``."""
    rest = passes[:, None] % (ranks * chunks) - ranks * np.arange(chunks)
    return np.asarray(ranks * (passes[:, None] // (ranks * chunks)) + np.clip(rest, 0, ranks))
