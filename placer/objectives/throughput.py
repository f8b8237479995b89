"""Throughput: the steady-state time per sample of a pipeline."""

from __future__ import annotations

from placer.objectives.objective import ObjectiveInfo
from placer.options import Options

__all__ = ["THROUGHPUT", "no_pieces"]


def no_pieces(options: Options) -> str | None:
    """Refuse what has a meaning for plans in pieces only."""
    return "pieces apply to the latency objective only" if options.pieces != 1 else None


THROUGHPUT = ObjectiveInfo(
    summary="time per sample of a pipeline",
    value=lambda _, plan: plan.time_ms,
    label="Time per sample",
    better="faster",
    refused=no_pieces,
)
