"""From an outcome to the result document: verify the plan, recompute its figures, judge the bound."""

from __future__ import annotations

import platform
from functools import cache
from importlib.metadata import PackageNotFoundError, version

from placer.errors import VerificationError
from placer.instance.fingerprint import fingerprint
from placer.instance.instance import Instance
from placer.methods.registry import METHODS
from placer.options import Objective, Options
from placer.plans.evaluate import plan_loads
from placer.plans.figures import (
    device_reports,
    objective_of,
    piece_reports,
    stages_of,
    virtual_stage_reports,
)
from placer.plans.plan import Plan
from placer.plans.result import InstanceReference, Progress, Result, gap_of, status_of
from placer.plans.step_time import microbatches_of
from placer.plans.verify import violations
from placer.search.run import Outcome, Run
from placer.tolerances import BOUND_TOLERANCE, EQUAL

__all__ = ["to_result"]


def to_result(instance: Instance, original: Instance, options: Options, outcome: Outcome, run: Run) -> Result:
    """Verify an outcome and write it down.

    Parameters
    ----------
    instance
        The instance with the overrides of the options (see `placer.instance.overrides`).
    original
        The instance as given; its identity is recorded, and its memory reported.
    options, outcome, run
        What was asked, what was found, and the clock.

    Raises
    ------
    VerificationError
        When the plan breaks a rule, or the bound lies above the plan's objective.
    """
    plan = outcome.plan
    objective = stages = None
    if plan is not None:
        broken = violations(instance, plan, options)
        if broken:
            raise VerificationError(f"the plan of method {options.method} does not hold: {broken[0]}")
        objective = objective_of(instance, plan, options)
        stages = stages_of(instance, plan, options)
    bound = _bound(outcome, objective, options)
    gap = gap_of(objective, bound)
    return Result(
        status=status_of(objective, gap, outcome.stop, options.gap),
        stop=outcome.stop,
        objective=objective,
        bound=bound,
        gap=gap,
        method=options.method,
        formulation=options.formulation.value if METHODS[options.method].formulation else None,
        options=options,
        runtime_s=run.seconds,
        instance=InstanceReference(name=original.name, sha256=fingerprint(original)),
        versions=dict(_versions()),
        assignment=None if plan is None else _assignment(instance, plan),
        pieces=piece_reports(instance, plan) if plan is not None and plan.piece is not None else None,
        virtual_stages=None
        if plan is None or plan.chunk is None
        else virtual_stage_reports(instance, plan, options),
        stages=None if stages is None else [instance.devices[d].name for d in stages],
        replicas=[]
        if plan is None
        else sorted([instance.devices[d].name for d in team.devices] for team in plan.teams),
        shards={} if plan is None else _shards(instance, plan),
        recompute=[] if plan is None else [instance.devices[d].name for d in sorted(plan.recompute)],
        recomputed_nodes=[] if plan is None else [instance.ids[v] for v in sorted(plan.again)],
        devices=[] if plan is None else device_reports(instance, plan, options),
        message=outcome.message,
        hints=list(outcome.hints),
        stats=dict(outcome.stats) | _step(instance, plan, options, objective),
        progress=[
            Progress(seconds=p.seconds, incumbent=p.incumbent_ms, bound=p.bound_ms) for p in run.history
        ],
    ).sealed()


def _assignment(instance: Instance, plan: Plan) -> dict[str, str]:
    return {v: instance.devices[d].name for v, d in zip(instance.ids, plan.device.tolist(), strict=True)}


def _shards(instance: Instance, plan: Plan) -> dict[str, int]:
    """Over how many devices replicas split their nodes, by the first device of a team."""
    return {instance.devices[team.devices[0]].name: team.shards for team in plan.teams if team.shards > 1}


def _step(
    instance: Instance, plan: Plan | None, options: Options, objective: float | None
) -> dict[str, float | int]:
    """Figures of a step that people compare: the bubble, and microbatches per second."""
    if options.objective is not Objective.STEP or plan is None or not objective:
        return {}
    count = microbatches_of(instance, options)
    loads = plan_loads(instance, plan)
    each = loads.load_ms(options.communication) - loads.sync_ms
    mean = float(each[list(plan.used)].mean())
    what = "microbatches" if instance.is_training else "samples"
    bubble = max(0.0, 1.0 - count * mean / objective)
    return {what: count, "bubble": bubble, f"{what}_per_s": 1e3 * count / objective}


def _bound(outcome: Outcome, objective: float | None, options: Options) -> float | None:
    """Judge the bound of an outcome against the objective of its plan."""
    if outcome.bound_ms is None:
        return None
    bound = max(0.0, float(outcome.bound_ms))
    if objective is None:
        return bound
    if bound > objective * (1 + BOUND_TOLERANCE):
        raise VerificationError(
            f"method {options.method} claims the bound {bound}, above its plan's objective {objective}"
        )
    return objective if bound >= objective * (1 - EQUAL) else bound


@cache
def _versions() -> dict[str, str]:
    out = {"python": platform.python_version()}
    for package in ("dnn-placer", "highspy", "pulp", "numpy"):
        try:
            out[package] = version(package)
        except PackageNotFoundError:  # running from a source tree
            continue
    return out
