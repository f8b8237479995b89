"""One question: whether there is a plan whose samples take no longer than a limit.

Any method for throughput can answer it: by a plan that is fast enough, or by a bound above the limit.
"""

from __future__ import annotations

from dataclasses import dataclass, replace

from placer.instance.instance import Instance
from placer.methods.registry import load_method
from placer.methods.starts.timeless import timeless
from placer.options import Objective, Options
from placer.plans import infeasible
from placer.plans.figures import stages_of
from placer.plans.plan import Plan
from placer.plans.status import Stop
from placer.plans.verify import violations
from placer.search.run import Run
from placer.tolerances import EQUAL

__all__ = ["Answer", "within"]

ANY_MS = 1.0
"""More than any plan takes once all times are 0, but for what the links of `timeless` leave."""
ALLOWED = 1 + 2 * EQUAL
"""What a proof must exceed, as a share of the limit: more than what a plan may exceed it by."""


@dataclass(frozen=True)
class Answer:
    """A plan, or that there is none, or neither, and why it stopped then."""

    plan: Plan | None = None
    none: bool = False
    stop: Stop = Stop.FINISHED
    message: str = ""


def within(instance: Instance, options: Options, run: Run) -> Answer:
    """Ask the method of the options for a plan whose samples take at most ``options.max_ms``.

    Parameters
    ----------
    instance
        The instance with the limits in question.
    options
        Any objective for pipelines; without ``max_ms`` every plan is fast enough.
    run
        Its limits hold.
    """
    if cause := infeasible.simple_cause(instance):
        return Answer(none=True, message=cause)
    limit_ms = options.max_ms
    changes = {"objective": Objective.THROUGHPUT, "max_ms": None, "gap": 0.0}
    plain = options.model_copy(update=changes)
    part = run.part(quiet=True, enough_ms=ANY_MS if limit_ms is None else limit_ms * ALLOWED)
    asked = timeless(instance) if limit_ms is None else instance
    outcome = load_method(options.method, Objective.THROUGHPUT)(asked, plain, part)
    plan = outcome.plan
    if plan is not None and not violations(instance, plan, options):
        return Answer(replace(plan, stages=stages_of(instance, plan, options)))
    bound = outcome.bound_ms
    none = outcome.stop is Stop.INFEASIBLE or (
        limit_ms is not None and bound is not None and bound > limit_ms * (1 + EQUAL)
    )
    return Answer(none=none, stop=outcome.stop, message="" if none else outcome.message)
