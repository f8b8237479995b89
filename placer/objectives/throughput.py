"""Throughput: the steady-state time per sample of a pipeline."""

from __future__ import annotations

from placer.objectives.objective import ObjectiveInfo
from placer.options import Options

__all__ = ["THROUGHPUT"]

LIMITED = "max_ms is for the objectives memory and cost: throughput is the time per sample itself"


def _refused(options: Options) -> str | None:
    return LIMITED if options.max_ms is not None else None


THROUGHPUT = ObjectiveInfo(
    summary="time per sample of a pipeline",
    value=lambda _, plan: plan.time_ms,
    label="Time per sample",
    better="faster",
    refused=_refused,
)
