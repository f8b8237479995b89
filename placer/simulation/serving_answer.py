"""The simulation of a plan to serve: at saturation, where formulas hold, and with requests that arrive."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

from placer.errors import UsageError
from placer.serving.serving_plan import ServingPlan
from placer.simulation.serving_figures import ServingFigures, figures
from placer.simulation.serving_requests import Request
from placer.simulation.serving_rounds import SteadyTimes, rounds, saturated

__all__ = ["saturation_ms", "traffic"]

EVENTS = 200_000
"""About so many events show the steady state."""


@dataclass(frozen=True)
class _PlanTimes(SteadyTimes):
    """A step takes what it takes a full microbatch at the plan's context; prompts in proportion to theirs."""

    prefill: tuple[float, ...] = ()
    """Time of a token of a prompt, by visit."""

    def prefill_ms(self, visit: int, tokens: int) -> float:
        """Time to read a prompt of so many tokens."""
        return self.prefill[visit] * tokens


def _times(plan: ServingPlan) -> _PlanTimes:
    prompt = plan.prompt or 1
    return _PlanTimes(
        tuple(v.receive_ms + v.compute_ms + v.send_ms for v in plan.visits),
        tuple(v.stage for v in plan.visits),
        tuple(stage.replicas for stage in plan.stages),
        tuple((v.prefill_ms or 0.0) / prompt for v in plan.visits),
    )


def saturation_ms(plan: ServingPlan) -> float:
    """Measure the time per output token of full microbatches that go round, ms."""
    passes = max(60, min(400, EVENTS // (plan.microbatches * len(plan.visits))))
    _, tpot_ms = saturated(
        _times(plan), microbatches=plan.microbatches, batch=1, return_ms=plan.return_ms, passes=passes
    )
    return tpot_ms


def traffic(plan: ServingPlan, requests: Sequence[Request]) -> ServingFigures:
    """Serve requests with a plan.

    Steps of microbatches that are not full are taken to last as long as full ones: less traffic than the
    plan is for is rather served faster than this says.

    Parameters
    ----------
    plan
        The plan.
    requests
        At least one.

    Raises
    ------
    UsageError
        When a request is longer than the context of the plan.
    """
    longest = max(r.tokens for r in requests)
    if plan.context is not None and longest > plan.context:
        raise UsageError(
            f"a request of {longest} tokens is longer than the plan's context, {plan.context} tokens"
        )
    times = _times(plan)
    served = rounds(
        requests,
        times,
        microbatches=plan.microbatches,
        batch=plan.batch,
        return_ms=plan.return_ms,
        cache_tokens=None if plan.context is None else plan.context * plan.concurrency,
        concurrency=plan.concurrency,
    )
    return figures(served, times.replicas)
