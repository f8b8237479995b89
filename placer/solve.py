"""From an instance to a verified result: the only place that composes the steps."""

from __future__ import annotations

import threading
from collections.abc import Callable
from typing import Any

from pydantic import ValidationError

from placer import infeasible
from placer.errors import UsageError
from placer.instance import Instance
from placer.methods import METHODS, load_method
from placer.options import Communication, Objective, Options
from placer.plan import Plan, with_host_pools
from placer.report import to_result
from placer.result import Result
from placer.rules import check_runnable
from placer.run import Outcome, Point, Run, Stop

__all__ = ["make_options", "solve"]

EXPLAIN_WORK_S = 5.0
"""Work for each relaxation when an infeasible instance is explained, in nominal seconds."""


def solve(
    instance: Instance,
    options: Options | None = None,
    *,
    start: Plan | None = None,
    on_progress: Callable[[Point, str], None] | None = None,
    interrupt: threading.Event | None = None,
    **changes: Any,
) -> Result:
    """Find a placement and prove how good it is.

    Parameters
    ----------
    instance
        The graph and the cluster.
    options
        Options; the defaults when None.
    start
        A valid plan to start from.
    on_progress
        Called with the best objective and bound so far, and the name of the phase.
    interrupt
        Set it from another thread or a signal handler to stop and keep the best plan.
    **changes
        Single options by name, as on the command line (``objective="latency"``, ``gap=0.01``).

    Returns
    -------
    Result
        Verified; infeasibility and time-outs are results, not exceptions.

    Raises
    ------
    UsageError
        When options are unknown or do not fit together.
    InputError
        When a node has no device to run on under this objective.
    VerificationError
        When a method returned a plan that does not hold (a defect of this software).
    """
    options = make_options(options, **changes)
    original = instance
    if options.objective is Objective.LATENCY:
        instance = with_host_pools(instance)
    check_runnable(instance)
    limit = options.time_limit or METHODS[options.method].default_time_limit
    run = Run(time_limit=limit, start=start, on_progress=on_progress, interrupt=interrupt)
    cause = infeasible.simple_cause(instance)
    if cause is not None:
        outcome = Outcome(Stop.INFEASIBLE, message=cause)
    else:
        outcome = load_method(options.method, options.objective)(instance, options, run)
        if outcome.stop is Stop.INFEASIBLE and not outcome.message:
            outcome = _explained(instance, options, run)
    return to_result(instance, original, options, outcome, run)


def make_options(options: Options | None = None, **changes: Any) -> Options:
    """Validate options and what they mean together.

    Raises
    ------
    UsageError
        Naming the option and what is wrong with it.
    """
    try:
        base = options.model_dump() if options is not None else {}
        made = Options(**{**base, **changes})
    except ValidationError as error:
        first = error.errors(include_url=False)[0]
        name = ".".join(str(part) for part in first["loc"])
        raise UsageError(f"option {name}: {first['msg']}, got {first['input']!r}") from None
    if made.method not in METHODS:
        raise UsageError(f"there is no method {made.method!r}; choose from {', '.join(METHODS)}")
    if made.objective not in METHODS[made.method].objectives:
        raise UsageError(f"method {made.method} does not plan for {made.objective}")
    if made.objective is Objective.LATENCY:
        if made.communication is not Communication.SEQUENTIAL:
            raise UsageError("latency knows only sequential communication")
        if not made.contiguous:
            raise UsageError("latency plans consist of contiguous pieces; allow more of them with --pieces")
    elif made.pieces != 1:
        raise UsageError("pieces apply to the latency objective only")
    return made


def _explained(instance: Instance, options: Options, run: Run) -> Outcome:
    """Explain an infeasibility that no simple count shows, by relaxing rules under short limits."""

    def is_infeasible(relaxed: Instance, loose: Options) -> bool:
        if run.stopped():
            return False
        if infeasible.simple_cause(relaxed) is not None:
            return True
        loose = loose.model_copy(update={"method": "milp", "gap": 0.999})
        outcome = load_method("milp", loose.objective)(relaxed, loose, run.part(work=EXPLAIN_WORK_S))
        return outcome.stop is Stop.INFEASIBLE

    return Outcome(Stop.INFEASIBLE, message=infeasible.smallest_conflict(instance, options, is_infeasible))
