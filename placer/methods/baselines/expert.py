"""A split made by hand, read from a file in the paper's result format."""

from __future__ import annotations

from placer.errors import UsageError
from placer.formats.files import load_split
from placer.instance.instance import Instance
from placer.options import Objective, Options
from placer.plans.figures import objective_of
from placer.plans.status import Stop
from placer.plans.verify import violations
from placer.search.run import Outcome, Run

__all__ = ["solve"]


def solve(instance: Instance, options: Options, run: Run) -> Outcome:
    """Take the split of ``options.split`` as it is; one that breaks a rule is no plan.

    Raises
    ------
    UsageError
        When there is no ``split`` option.
    InputError
        When the file does not hold a split of this instance.
    """
    if options.split is None:
        raise UsageError("method expert needs the file of a split (option split)")
    latency = options.objective is Objective.LATENCY
    plan = load_split(options.split, instance, pieces=latency)
    broken = violations(instance, plan, options)
    if broken:
        return Outcome(Stop.NOT_APPLICABLE, message=f"the split breaks a rule: {'; '.join(broken[:3])}")
    run.report(objective_of(instance, plan, options), phase="expert")
    return Outcome(Stop.FINISHED, plan)
