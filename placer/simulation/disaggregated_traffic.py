"""The simulation of prefill and decode groups that always have requests to serve, event by event."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from math import ceil

import numpy as np

from placer.arrays import FloatArray
from placer.serving.serving_plan import ServingPlan
from placer.simulation.serving_requests import Request
from placer.simulation.serving_rounds import SteadyTimes, rounds

__all__ = ["PromptStage", "saturated_groups"]

ROUNDS = 3
"""How often all places in the decode group are taken anew before it is measured, and while it is."""
LEAST_STEPS = 2000
"""Steps that are measured at least: when within a step a request ends is of no weight then."""


@dataclass(frozen=True)
class PromptStage:
    """A prefill stage: devices that take turns, time of a prompt, and of handing over its keys and values."""

    replicas: int
    load_ms: float
    hand_over_ms: float


class _Steps(SteadyTimes):
    """Steps of a decode group: as long as full ones, also for requests that have just come."""

    def decode_ms(self, visit: int, sequences: int, tokens: int) -> float:
        """Time of a visit, whoever is in the microbatch."""
        return self.visit_ms[visit]


def saturated_groups(
    prefill: Sequence[PromptStage], decode: ServingPlan, arrive_ms: Sequence[float], steps: int
) -> float:
    """Measure requests per second while prompts are always waiting.

    Parameters
    ----------
    prefill
        Its stages in turn.
    decode
        The plan of the decode group.
    arrive_ms
        Time in which keys and values of a request reach each stage of that, per replica.
    steps
        Tokens that it decodes of each request.
    """
    slots = decode.batch * decode.microbatches
    half = slots * max(ROUNDS, ceil(LEAST_STEPS / steps))
    arrivals = _prompts(prefill, arrive_ms, [stage.replicas for stage in decode.stages], 2 * half)
    served = rounds(
        [Request(float(at), 1, steps) for at in arrivals],
        _Steps(
            tuple(v.receive_ms + v.compute_ms + v.send_ms for v in decode.visits),
            tuple(v.stage for v in decode.visits),
            tuple(stage.replicas for stage in decode.stages),
        ),
        microbatches=decode.microbatches,
        batch=decode.batch,
        return_ms=decode.return_ms,
    )
    finish = np.sort(served.finish_ms)
    return 1e3 * half / float(finish[-1] - finish[half - 1])


def _prompts(
    prefill: Sequence[PromptStage], arrive_ms: Sequence[float], turns: Sequence[int], count: int
) -> FloatArray:
    """Compute when keys and values of each of so many prompts have reached the decode group.

    A device computes one prompt and hands another one over; it has no room for a third.
    """
    done, handed = np.zeros((2, len(prefill), count))
    reached = np.zeros((len(turns), count))

    def before(times: FloatArray, k: int) -> float:
        return float(times[k]) if k >= 0 else 0.0

    for k in range(count):
        ready = 0.0
        for s, stage in enumerate(prefill):
            r = stage.replicas
            start = max(ready, before(done[s], k - r), before(handed[s], k - 2 * r))
            ready = done[s, k] = start + stage.load_ms
            handed[s, k] = max(ready, before(handed[s], k - r)) + stage.hand_over_ms
        for s, r in enumerate(turns):
            reached[s, k] = max(ready, before(reached[s], k - r)) + arrive_ms[s]
    together: FloatArray = np.concatenate([handed, reached]).max(axis=0)
    return together
