"""Latency: the time of a single sample, whose plans consist of pieces."""

from __future__ import annotations

from placer.instance.instance import Instance
from placer.objectives.objective import ObjectiveInfo
from placer.options import Communication, Options

__all__ = ["LATENCY"]


def _refused(options: Options) -> str | None:
    if options.max_ms is not None:
        return "max_ms limits the time per sample of a pipeline, where the objective is another one"
    if options.communication is not Communication.SEQUENTIAL:
        return "latency knows only sequential communication"
    if not options.contiguous:
        return "latency plans consist of contiguous pieces; allow more of them with --pieces"
    if options.balance or options.near:
        return "secondary goals (balance, near) apply to throughput only"
    return None


def _unsuited(instance: Instance) -> str | None:
    if not instance.servers:
        return None
    return "servers have a meaning for throughput only, and this cluster has them"


LATENCY = ObjectiveInfo(
    summary="time of a single sample",
    value=lambda _, plan: plan.makespan_ms,
    label="Time of a sample",
    better="faster",
    refused=_refused,
    unsuited=_unsuited,
)
