"""What users of a server see of its rounds: time to the first token, time per token, tokens per second."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import asdict, dataclass
from typing import Any

import numpy as np

from placer.arrays import FloatArray
from placer.simulation.serving_rounds import Rounds

__all__ = ["ServingFigures", "Spread", "figures"]


@dataclass(frozen=True)
class Spread:
    """How a time is spread over the requests, ms."""

    mean: float
    median: float
    p90: float
    p99: float
    largest: float


@dataclass(frozen=True)
class ServingFigures:
    """Figures of a simulated server.

    Parameters
    ----------
    requests
        How many were answered.
    seconds
        From the first arrival to the last token.
    tokens_per_s
        Tokens of answers per second of that.
    queue_ms
        From a request's arrival until its prompt is begun.
    ttft_ms
        Time to first token: from a request's arrival until its first token.
    tpot_ms
        Time per output token after the first, of answers longer than that; None where there are none.
    utilisation
        Share of the time that each stage was busy, on average of its replicas, length ``stages``.
    most_running
        Most sequences that were being served at a time.
    peak_tokens
        Most tokens that the cache was kept for.
    """

    requests: int
    seconds: float
    tokens_per_s: float
    queue_ms: Spread
    ttft_ms: Spread
    tpot_ms: Spread | None
    utilisation: tuple[float, ...]
    most_running: int
    peak_tokens: int

    def to_dict(self) -> dict[str, Any]:
        """Return the figures as plain data."""
        return {**asdict(self), "utilisation": list(self.utilisation)}


def figures(served: Rounds, replicas: Sequence[int]) -> ServingFigures:
    """Sum up the rounds of a server that answered at least one request, with so many replicas of stages."""
    arrival = np.array([r.arrival_ms for r in served.requests])
    output = np.array([r.output for r in served.requests])
    makespan = float(served.finish_ms.max() - arrival.min())
    longer = output > 1
    gaps = (served.finish_ms - served.first_ms)[longer] / (output[longer] - 1)
    return ServingFigures(
        requests=len(served.requests),
        seconds=makespan / 1e3,
        tokens_per_s=float(output.sum()) / makespan * 1e3,
        queue_ms=_spread(served.start_ms - arrival),
        ttft_ms=_spread(served.first_ms - arrival),
        tpot_ms=_spread(gaps) if longer.any() else None,
        utilisation=tuple((served.busy_ms / makespan / np.array(replicas)).tolist()),
        most_running=served.most_running,
        peak_tokens=served.peak_tokens,
    )


def _spread(times: FloatArray) -> Spread:
    median, p90, p99 = np.quantile(times, (0.5, 0.9, 0.99)).tolist()
    return Spread(float(times.mean()), median, p90, p99, float(times.max()))
