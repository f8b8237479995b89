"""A limit on the number of devices, for methods that know none: every choice of devices by itself."""

from __future__ import annotations

from math import inf

from placer import infeasible
from placer.instance import Instance
from placer.methods import Method
from placer.options import Options
from placer.overrides import choices
from placer.plan import Plan
from placer.report import objective_ms
from placer.result import EQUAL
from placer.run import Outcome, Run, Stop

__all__ = ["solve"]


def solve(method: Method, instance: Instance, options: Options, run: Run) -> Outcome:
    """Solve with a method for each choice of devices; the best plan, and the bound that holds for all.

    Parameters
    ----------
    method
        The method.
    instance, options, run
        See ``placer.methods``; the instance limits the number of devices.
    """
    instances = choices(instance)
    plan: Plan | None = None
    best, bound, stop = inf, inf, Stop.INFEASIBLE
    told: list[str] = []
    for k, restricted in enumerate(instances):
        left, planned = len(instances) - k, run.planned
        part = run.part(
            work=None if planned is None or left == 1 else planned / left,
            bounds=len(instances) == 1,
        )
        part.start = part.start if part.start is not None and _holds(restricted, part.start) else None
        cause = infeasible.simple_cause(restricted)
        if cause is not None:
            outcome = Outcome(Stop.INFEASIBLE, message=cause)
        else:
            outcome = method(restricted, options, part)
        if outcome.stop is Stop.INFEASIBLE:
            told.append(outcome.message)
            continue
        bound = min(bound, outcome.bound_ms or 0.0)
        if stop is not Stop.FINISHED or outcome.stop is not Stop.FINISHED:
            stop = outcome.stop if stop in (Stop.INFEASIBLE, Stop.FINISHED) else stop
        if outcome.plan is not None:
            objective = objective_ms(restricted, outcome.plan, options)
            if objective < best:
                plan, best = outcome.plan, objective
                told.insert(0, outcome.message)
                continue
        told.append(outcome.message)
    message = next((text for text in told if text), "")
    if stop is Stop.INFEASIBLE:
        if len(instances) > 1:
            message = f"none of the {len(instances)} ways to choose the devices has a plan; one: {message}"
        return Outcome(stop, message=message)
    if plan is not None and bound >= best * (1 - max(options.gap, EQUAL)):
        stop = Stop.FINISHED
    stats = {"choices_of_devices": len(instances)}
    return Outcome(stop, plan, min(bound, best), message, stats)


def _holds(instance: Instance, plan: Plan) -> bool:
    return bool(instance.allowed[range(instance.n), plan.device].all())
