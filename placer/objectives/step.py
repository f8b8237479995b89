"""Step: the time of one optimizer step of several microbatches, or of a request of several samples."""

from __future__ import annotations

from collections.abc import Mapping

from placer.instance.instance import Instance
from placer.objectives.objective import ObjectiveInfo, no_secondary
from placer.options import Options, Schedule
from placer.units import milliseconds, percent

__all__ = ["LONGEST", "STEP"]

LONGEST = 100_000
"""Microbatches beyond which a step is not timed: its evaluation goes through all of them."""


def _refused(options: Options) -> str | None:
    if options.max_ms is not None:
        return "max_ms limits the time per sample of a pipeline, where the objective is another one"
    if not options.strictly_ordered:
        return "a step runs through a pipeline: its plans are contiguous"
    if options.teams and options.virtual_stages > 1:
        return "virtual stages are planned on single devices; replicas and shards apply to plain pipelines"
    if options.virtual_stages > 1 and options.schedule is not Schedule.ONE_F_ONE_B:
        return "virtual stages are served in the interleaved order of 1f1b; use --schedule 1f1b"
    if options.virtual_stages > 1 and options.method != "auto":
        return f"method {options.method} knows no virtual stages; auto does"
    return no_secondary(options)


def _unsuited(instance: Instance) -> str | None:
    if instance.training.microbatches > LONGEST:
        return f"a step of more than {LONGEST} microbatches is not timed; use the objective throughput"
    return None


def _more(stats: Mapping[str, float | int | str], objective: float) -> str:
    """Say how many go through, how fast, and how much of the time the pipeline is empty."""
    what = "microbatches" if "microbatches" in stats else "samples"
    if what not in stats:
        return ""
    rate, bubble = float(stats[f"{what}_per_s"]), percent(float(stats["bubble"]))
    return f"{stats[what]} {what} in {milliseconds(objective)}: {rate:.4g} per second, {bubble} bubble"


STEP = ObjectiveInfo(
    summary="time of a step of --microbatches, or of a request of --samples, fill and drain included",
    value=lambda _, plan: plan.step_ms,
    label="Time of a step",
    more=_more,
    better="faster",
    refused=_refused,
    unsuited=_unsuited,
    servers=frozenset({"dp"}),
    layers=frozenset({"dp"}),
    methods={
        "auto": "placer.methods.step.shortest_step:solve",
        "dp": "placer.methods.step.shortest_step:solve",
        "milp": "placer.methods.milp.milp_step:solve",
        "expert": "placer.methods.baselines.expert:solve",
        "single": "placer.methods.baselines.single:solve",
    },
)
