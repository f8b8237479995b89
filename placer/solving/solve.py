"""From an instance to a verified result: the only place that composes the steps."""

from __future__ import annotations

import threading
from collections.abc import Callable
from dataclasses import replace
from enum import StrEnum
from typing import Unpack

from pydantic import ValidationError

from placer.choices import none_of, offer
from placer.errors import UsageError
from placer.instance import overrides
from placer.instance.instance import Instance
from placer.instance.rules import check_runnable
from placer.methods import variants
from placer.methods.registry import METHODS, load_method
from placer.methods.starts.cheap import drafts
from placer.objectives import OBJECTIVES
from placer.options import Formulation, OptionChanges, Options, Recompute
from placer.plans import infeasible
from placer.plans.in_flight import settled
from placer.plans.plan import Plan
from placer.plans.result import Result
from placer.plans.status import Point, Stop
from placer.plans.verify import violations
from placer.processes import Allowance
from placer.reductions import replication
from placer.search.guard import Kept, searched
from placer.search.run import Outcome, Run
from placer.solving import advice
from placer.solving.to_result import to_result

__all__ = ["make_options", "solve"]

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
    guard
        Search in a fork of this process, which is ended when it does not keep its limits or does not stop;
        the best plan that it told of is kept.  Without it, and where no fork is possible (off Linux, beside
        threads, or after HiGHS ran here), limits hold as often as the search looks at them: solvers and
        compilers take their time now and then.
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
    options = make_options(options, **changes)
    original = instance
    instance = overrides.apply(instance, options)
    for refusal in (overrides.refused(instance, options), replication.refused(instance, options)):
        if refusal is not None:
            raise UsageError(refusal)
    check_runnable(instance)
    _check_applicable(original, options)
    if start is not None and (broken := violations(instance, start, options)):
        raise UsageError(f"the plan to start from does not hold here: {broken[0]}")
    memory = settled(instance, options)
    limit = options.time_limit or METHODS[options.method].default_time_limit
    if limit is not None:  # the result takes its time as well
        limit -= min(RESULT_SHARE * limit, RESULT_S * instance.n)
    kept: Kept
    run = Run(
        time_limit=limit,
        start=start,
        on_progress=on_progress,
        on_plan=lambda plan: kept.take(plan),
        interrupt=interrupt,
        began=began,
        memory=Allowance(options.memory_limit_mb),
    )
    kept = Kept(instance, options, run)

    def search(run: Run) -> Outcome:
        return _advised(instance, options, _search(memory, options, run))

    outcome = searched(search, run, kept, guard=guard)
    return to_result(instance, original, options, outcome, run)


def _search(instance: Instance, options: Options, run: Run) -> Outcome:
    """Find out whether there may be a plan, look for the best one, and explain it if there is none."""
    anytime = METHODS[options.method].anytime
    if anytime and run.start is None:
        for plan in drafts(instance, options):
            run.keep(plan)
    cause = infeasible.simple_cause(instance)
    if cause is not None:
        return Outcome(Stop.INFEASIBLE, message=cause)
    if anytime:
        run.check()
    method = load_method(options.method, options.objective)
    outcome = variants.solve(method, instance, options, run)
    if outcome.stop is Stop.INFEASIBLE and not outcome.message:
        outcome = _explained(instance, options, run)
    if (options.balance or options.near) and outcome.plan is not None:
        from placer.methods import secondary  # brings the formulations, which import this package

        run.keep(outcome.plan)
        outcome = secondary.improve(instance, options, run, outcome)
    return outcome


def _advised(instance: Instance, options: Options, outcome: Outcome) -> Outcome:
    """Say what binds and what would help, unless a limit struck."""
    if outcome.stop not in (Stop.FINISHED, Stop.WORK_LIMIT, Stop.INFEASIBLE):
        return outcome
    if outcome.plan is not None:
        found = advice.hints(instance, options, outcome.plan, outcome.bound_ms)
    else:
        found = advice.remedies(instance, options) if outcome.stop is Stop.INFEASIBLE else []
    said = [*found, outcome.message] if outcome.plan is not None else [outcome.message, *found]
    return replace(outcome, message="; ".join(filter(None, said)), hints=tuple(found))


def make_options(options: Options | None = None, **changes: Unpack[OptionChanges]) -> Options:
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
        raise UsageError(_wrong_option(error)) from None
    if made.method not in METHODS:
        raise UsageError(none_of("method", made.method, METHODS))
    if made.objective not in METHODS[made.method].objectives:
        raise UsageError(f"method {made.method} does not plan for {made.objective}")
    if made.recompute is not Recompute.NONE:
        if not made.pipelined or not made.strictly_ordered:
            raise UsageError("only contiguous throughput plans recompute")
        if not METHODS[made.method].recompute:
            able = ", ".join(name for name, info in METHODS.items() if info.recompute)
            raise UsageError(f"method {made.method} cannot plan what recomputes; choose from {able}")
    if made.pipelined and made.pieces != 1:
        raise UsageError("pieces apply to the latency objective only")
    if refusal := OBJECTIVES[made.objective].refused(made):
        raise UsageError(refusal)
    if made.per_device_contiguity and (made.balance or made.near):
        raise UsageError("secondary goals need --formulation ordered")
    return made


def _wrong_option(error: ValidationError) -> str:
    """Say what is wrong with the first option that is."""
    first = error.errors(include_url=False)[0]
    option = str(first["loc"][0])
    if first["type"] == "extra_forbidden":
        return none_of("option", option, Options.model_fields)
    kind = Options.model_fields[option].annotation
    if isinstance(kind, type) and issubclass(kind, StrEnum):
        return f"option {option}: invalid value {first['input']!r}{offer(first['input'], kind)}"
    name = ".".join(str(part) for part in first["loc"])
    what = first["msg"].replace("Input should be", "must be")
    return f"option {name}: {what}, got {first['input']!r}"


def _check_applicable(instance: Instance, options: Options) -> None:
    """Check that the options have a meaning for this instance, and that nothing of it would be ignored."""
    if options.recompute is not Recompute.NONE and not instance.is_training:
        raise UsageError("recompute applies to training graphs, and this one has no backward nodes")
    if options.method == "auto" and options.formulation is Formulation.PAPER:
        raise UsageError("auto uses the default formulation; the paper's program is there for --method milp")
    if reason := OBJECTIVES[options.objective].unsuited(instance):
        raise UsageError(reason)
    if instance.servers:
        if options.papers_program:
            raise UsageError(
                "the paper's program does not know that transfers across servers cost more; use the default "
                "formulation"
            )
        if not METHODS[options.method].servers:
            able = ", ".join(name for name, info in METHODS.items() if info.servers)
            raise UsageError(
                f"method {options.method} does not know that transfers across servers cost more; choose from "
                f"{able}"
            )
    if instance.order and options.per_device_contiguity and options.pipelined:
        raise UsageError(
            "the paper's program knows no order of the devices, and the cluster has one; use the default "
            "formulation"
        )


def _explained(instance: Instance, options: Options, run: Run) -> Outcome:
    """Explain an infeasibility that no simple count shows, by relaxing rules under short limits."""
    if instance.n * len(instance.devices) > EXPLAIN_SIZE:
        return Outcome(
            Stop.INFEASIBLE, message="proven infeasible; too large to look for the rules behind it"
        )

    def is_infeasible(relaxed: Instance, loose: Options) -> bool:
        if run.stopped():
            return False
        if infeasible.simple_cause(relaxed) is not None:
            return True
        loose = loose.model_copy(update={"method": "milp", "gap": 0.999})
        method = load_method("milp", loose.objective)
        outcome = variants.solve(method, relaxed, loose, run.part(work=EXPLAIN_WORK_S))
        return outcome.stop is Stop.INFEASIBLE

    return Outcome(Stop.INFEASIBLE, message=infeasible.smallest_conflict(instance, options, is_infeasible))
