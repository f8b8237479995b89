"""Writing down what a search found, with every figure computed again from the assignment."""

from __future__ import annotations

from contextlib import suppress
from math import inf
from typing import Any

from placer.errors import VerificationError
from placer.plans.result import Status
from placer.serving.serving_check import violations
from placer.serving.serving_layout import to_plan
from placer.serving.serving_model import ServingModel, Setting
from placer.serving.serving_plan import ServingPlan, ServingResult
from placer.serving.serving_questions import Answer
from placer.serving.serving_request import Goal, ServingRequest
from placer.serving.token_time import WIDTHS, Asked, Clock, OutOfTimeError, TokenTime, UndecidedError
from placer.units import size

__all__ = ["asked_of", "by_intervals", "written"]

SCATTERED_SECONDS = 1.0
"""Seconds to look for a plan without intervals that is better."""
WORTH = 0.01
"""Share of the time per token that such a plan has to save to be named."""


def written(
    model: ServingModel, request: ServingRequest, found: Answer, *, devices: str = "", **given: Any
) -> ServingResult:
    """Write down an answer.

    Parameters
    ----------
    model, request, found
        What is served, what was asked, and what the search found.
    devices
        What the devices are called.
    **given
        Further fields of the result.

    Raises
    ------
    VerificationError
        When the answer does not hold, computed again from the model: a defect of this software.
    """
    plan = None
    if found.setting is not None:
        costs = model.costs(found.setting)
        plan = to_plan(model, costs, found.setting, found.layout, request.concurrency)
    status, gap = _status(request, found)
    said = found.limited_by or (() if plan is None else tuple(_limiting(model, request, plan)))
    result = ServingResult(
        model=model.name,
        devices=devices or ", ".join(f"{len(p.names)} {p.cls.name}" for p in model.pools),
        request=request,
        status=status,
        value=found.value,
        bound=found.bound if plan is not None or not found.finished else None,
        gap=gap,
        plan=plan,
        limited_by=said,
        notes=model.notes,
        **given,
    )
    if broken := violations(model, result):
        raise VerificationError(f"the plan does not hold: {broken[0]}")
    return result


def asked_of(request: ServingRequest) -> Asked:
    """Return the limits of a request."""
    return Asked(
        tpot_ms=request.max_tpot_ms or inf, ttft_ms=request.max_ttft_ms or inf, scattered=request.scattered
    )


def by_intervals(model: ServingModel, request: ServingRequest, plan: ServingPlan) -> tuple[str, ...]:
    """Say what ``--scattered`` brings to a plan with hosts and intervals, if that is found at once."""
    alone = max(request.shards) == max(request.replicas) == 1 and not request.scattered
    timed = request.objective in (Goal.TPOT, Goal.THROUGHPUT)
    if not (alone and timed and any(stage.host for stage in plan.stages)):
        return ()
    setting = Setting(plan.batch, plan.microbatches, plan.context, plan.prompt or plan.context)
    asked = asked_of(request.model_copy(update={"scattered": True}))
    with suppress(UndecidedError, OutOfTimeError):
        search = TokenTime(model, setting, asked, Clock(SCATTERED_SECONDS))
        found = search.within(plan.tpot_ms * (1 - WORTH), WIDTHS[1:2])
        if found is not None:
            return (f"intervals of the accelerators: --scattered takes {found[0]:.4g} ms per token or less",)
    return ()


def _status(request: ServingRequest, found: Answer) -> tuple[Status, float | None]:
    """Say what is held, and how far the bound is away."""
    if found.value is None:
        return (Status.INFEASIBLE if found.finished else Status.UNKNOWN), None
    if found.bound is None:
        return Status.FEASIBLE, None
    gap = abs(found.bound - found.value) / max(found.value, 1e-300)
    return (Status.OPTIMAL if gap <= request.gap * (1 + 1e-9) + 1e-12 else Status.FEASIBLE), gap


def _limiting(model: ServingModel, request: ServingRequest, plan: ServingPlan) -> list[str]:
    """Say which device is the slowest, and which have no room for another node; if none, which limits."""
    out = []
    slowest = max(plan.stages, key=lambda stage: stage.load_ms / stage.replicas)
    if plan.microbatches > 1 and plan.microbatches * slowest.load_ms / slowest.replicas >= plan.tpot_ms * (
        1 - 1e-9
    ):
        link = slowest.receive_ms + slowest.send_ms
        what = "bandwidth of its link" if link > slowest.compute_ms else "time of its stage"
        out.append(f"{slowest.devices[0]}: {what}, {slowest.load_ms:.4g} ms per microbatch")
    costs = model.costs(Setting(plan.batch, plan.microbatches, plan.context, plan.prompt))
    least = float((costs.weight_bytes + costs.cache_bytes).max())
    out += [
        f"{stage.devices[0]}: memory, {size(max(stage.free_bytes, 0.0))} free"
        for stage in plan.stages
        if stage.free_bytes is not None and stage.free_bytes < least
    ]
    if not out and request.objective is not Goal.TPOT:
        times = (
            ("--max-tpot", plan.tpot_ms, request.max_tpot_ms),
            ("--max-ttft", plan.ttft_ms, request.max_ttft_ms),
        )
        out += [f"{name}: {took:.4g} of {most:g} ms" for name, took, most in times if most and took]
    return out
