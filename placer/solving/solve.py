"""From an instance to a verified result: the only place that composes the steps."""

from __future__ import annotations

import threading
from collections.abc import Callable
from dataclasses import replace
from functools import partial
from typing import Unpack

from placer.instance import overrides
from placer.instance.instance import Instance, expect_instance
from placer.kernels import INTERPRETED, are_compiled
from placer.methods import variants
from placer.methods.registry import METHODS, load_method, time_limit
from placer.methods.starts.first_fit import quick_plans
from placer.methods.step import shorter_pipeline
from placer.options import Objective, OptionChanges, Options
from placer.plans import infeasible
from placer.plans.in_flight import settled
from placer.plans.plan import Plan
from placer.plans.result import Result
from placer.plans.status import Point, Stop
from placer.processes import Allowance
from placer.search.guard import Kept, searched
from placer.search.run import Outcome, Run
from placer.solving import advice
from placer.solving.request import check_request, make_options
from placer.solving.to_result import to_result

__all__ = ["solve"]

EXPLAIN_WORK_S = 5.0
"""Work for each relaxation when an infeasible instance is explained, in nominal seconds."""
RESULT_S, RESULT_SHARE = 1.5e-5, 0.05
"""What is left of a time limit for verifying a plan and writing the result: seconds per node, and at most a
share of the limit."""
EXPLAIN_SIZE = 300_000
"""Nodes x devices beyond which no relaxation is tried."""


def solve(
    instance: Instance,
    options: Options | None = None,
    *,
    start: Plan | None = None,
    on_progress: Callable[[Point, str], None] | None = None,
    interrupt: threading.Event | None = None,
    guard: bool = False,
    began: float | None = None,
    **changes: Unpack[OptionChanges],
) -> Result:
    """Find a placement and prove how good it is.

    Parameters
    ----------
    instance, options
        The graph and the cluster; options, the defaults when None.
    start
        A valid plan to start from.
    on_progress
        Called with the best objective and bound so far, and the name of the phase.
    interrupt
        Set it from another thread or a signal handler to stop and keep the best plan.
    guard
        Search in a fork of this process where that is possible (see `placer.search.guard`); it is ended
        when it does not keep its limits or does not stop, and the best plan that it told of is kept.
        Else limits hold as often as solvers let the search look at them.
    began
        When the time limit began to run (`time.perf_counter`); now when None.
    **changes
        Single options by name, as on the command line (``objective="latency"``, ``gap=0.01``).

    Returns
    -------
    Result
        Verified; infeasibility and time-outs are results, not exceptions.

    Raises
    ------
    UsageError
        When options are unknown, do not fit together or the instance, or the start does not hold.
    InputError
        When a node has no device to run on under this objective.
    VerificationError
        When a method returned a plan that does not hold (a defect of this software).
    """
    expect_instance(instance)
    options = make_options(options, **changes)
    ruled = overrides.apply(instance, options)
    check_request(instance, ruled, options, start)
    run = Run(
        time_limit=_search_time(instance, options),
        start=start,
        on_progress=on_progress,
        interrupt=interrupt,
        began=began,
        memory=Allowance(options.memory_limit_mb),
    )
    outcome = searched(partial(_advised, ruled, options), run, Kept(ruled, options, run), guard=guard)
    return to_result(ruled, instance, options, outcome, run)


def _search_time(instance: Instance, options: Options) -> float | None:
    """Seconds that a search may take: the result takes its time as well."""
    limit = time_limit(options)
    return None if limit is None else limit - min(RESULT_SHARE * limit, RESULT_S * instance.n)


def _search(instance: Instance, options: Options, run: Run) -> Outcome:
    """Find out whether there may be a plan, look for the best one, and explain it if there is none."""
    anytime = METHODS[options.method].anytime
    if anytime and run.start is None:
        for plan in quick_plans(instance, options):
            run.keep(plan)
    cause = infeasible.simple_cause(instance, options)
    if cause is not None:
        return Outcome(Stop.INFEASIBLE, message=cause)
    if anytime:
        run.check()
    method = load_method(options.method, options.objective)
    outcome = variants.solve(method, instance, options, run)
    if outcome.stop is Stop.INFEASIBLE and not outcome.message:
        outcome = _explained(instance, options, run)
    if shorter_pipeline.is_asked(options):
        outcome = shorter_pipeline.improve(instance, options, run, outcome)
    if (options.balance or options.near) and outcome.plan is not None:
        from placer.methods import secondary  # brings the formulations, which import this package

        run.keep(outcome.plan)
        outcome = secondary.improve(instance, options, run, outcome)
    return outcome


def _advised(instance: Instance, options: Options, run: Run) -> Outcome:
    """Search, and say what binds and what would help, unless a limit struck."""
    outcome = _search(settled(instance, options), options, run)
    if outcome.stop not in (Stop.FINISHED, Stop.WORK_LIMIT, Stop.INFEASIBLE):
        return outcome
    if outcome.plan is not None:
        found = advice.hints(instance, options, outcome.plan, outcome.bound_ms)
    else:
        found = advice.remedies(instance, options) if outcome.stop is Stop.INFEASIBLE else []
    if not are_compiled():
        found = [*found, INTERPRETED]
    said = [*found, outcome.message] if outcome.plan is not None else [outcome.message, *found]
    return replace(outcome, message="; ".join(filter(None, said)), hints=tuple(found))


def _explained(instance: Instance, options: Options, run: Run) -> Outcome:
    """Explain an infeasibility that no simple count shows, by relaxing rules under short limits."""
    if options.max_ms is not None:  # any rule may cost time: to relax one after the other tells little, late
        limit = f"the limit on the time per sample ({options.max_ms:g} ms)"
        message = f"proven infeasible: {limit} and the other rules cannot hold together"
        return Outcome(Stop.INFEASIBLE, message=message)
    if options.virtual_stages > 1:
        held = f"{options.virtual_stages} virtual stages on each device"
        message = f"proven infeasible: {held} and the other rules cannot hold together"
        return Outcome(Stop.INFEASIBLE, message=message)
    if instance.n * len(instance.devices) > EXPLAIN_SIZE:
        return Outcome(
            Stop.INFEASIBLE, message="proven infeasible; too large to look for the rules behind it"
        )

    def is_infeasible(relaxed: Instance, loose: Options) -> bool:
        if run.stopped():
            return False
        if infeasible.simple_cause(relaxed, loose) is not None:
            return True
        # Whether there is a plan is the same question for all objectives of pipelines.
        objective = Objective.THROUGHPUT if loose.pipelined else loose.objective
        loose = loose.model_copy(
            update={"method": "milp", "gap": 0.999, "objective": objective, "samples": None}
        )
        method = load_method("milp", loose.objective)
        outcome = variants.solve(method, relaxed, loose, run.part(work=EXPLAIN_WORK_S))
        return outcome.stop is Stop.INFEASIBLE

    return Outcome(Stop.INFEASIBLE, message=infeasible.smallest_conflict(instance, options, is_infeasible))
