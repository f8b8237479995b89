"""Limits on devices and stages on several of them, for every method: each choice of devices by itself.

A choice is an instance in which some devices are forbidden or go together as one; all choices together
allow the plans of the original instance, so that the best plan is the best of theirs, and the least of
their bounds is a bound.
"""

from __future__ import annotations

from dataclasses import replace
from math import inf

from placer.errors import VerificationError
from placer.instance.instance import Instance
from placer.methods import capacity_bound
from placer.methods.registry import METHODS, Method, MethodInfo
from placer.options import Formulation, Objective, Options
from placer.plans import infeasible
from placer.plans.status import Stop
from placer.reductions import device_limit, hosts, teams
from placer.reductions.inverse import Inverse, Reduction
from placer.search.incumbent import Incumbent
from placer.search.run import Outcome, Run
from placer.tolerances import EQUAL

__all__ = ["solve", "variants"]

MANY = 16
"""Accelerators in servers from which on a step is planned with uniform stages first."""
FIRST, UNIFORM = (1e-6, 1e-6), (0.5, 30.0)
"""Work for a first bound and for uniform stages: shares of what limits allow, nominal seconds without."""


def variants(instance: Instance, options: Options) -> list[Reduction]:
    """Return what to solve in place of an instance; the instance itself where it asks for nothing special.

    Raises
    ------
    UsageError
        When there are too many choices.
    """
    method = METHODS[options.method]
    known = method.device_limit and options.pipelined
    known = known and options.formulation is Formulation.ORDERED and not options.teams
    known = known or options.virtual_stages > 1
    if method.split:  # a split says itself which devices it uses
        return [(instance, Inverse(instance))]
    limited = [(instance, Inverse(instance))] if known else device_limit.apply(instance)
    out: list[Reduction] = []
    for some, inverse in limited:
        hopeless = infeasible.simple_cause(some, options) is not None
        if not options.teams or hopeless:  # no plan: nothing to put together
            out.append((some, inverse))
        else:  # the devices are those of the limited one
            out += teams.apply(some, options, pooled=_knows_pools(method, some, options))
    return out


def _knows_pools(method: MethodInfo, instance: Instance, options: Options) -> bool:
    """Whether a method keeps within pools of devices for what is asked."""
    plain = options.objective in (Objective.THROUGHPUT, Objective.STEP) and options.strictly_ordered
    nested = method.name == "dpl" and bool(instance.servers)  # whose servers have slots instead
    return plain and method.pools and not nested and not instance.constraints.use_devices


def solve(method: Method, instance: Instance, options: Options, run: Run) -> Outcome:
    """Solve an instance with a method, choice by choice.

    Parameters
    ----------
    method
        The method.
    instance, options, run
        See ``placer.methods``.
    """
    if _uniform_first(instance, options):
        return _in_turn(method, instance, options, run)
    if options.pipelined or options.split is not None:  # a split names real hosts
        return _each(method, instance, options, run)
    smaller, inverse = hosts.apply(instance)
    return _each(method, smaller, options, run.part(inverse=inverse)).inverted(inverse)


def _in_turn(method: Method, instance: Instance, options: Options, run: Run) -> Outcome:
    """Look for a bound first, then for plans whose stages are all alike, then for any."""
    best, stop = Incumbent(instance, options, run), Stop.FINISHED
    if run.start is not None:
        best.offer(run.start, "start")
    alike = options.model_copy(update={"uniform": True})
    for asked, (share, seconds) in ((options, FIRST), (alike, UNIFORM), (options, (1.0, 0.0))):
        if best.is_within(max(options.gap, EQUAL)) or run.stopped():
            break
        planned = seconds or None if run.planned is None else share * run.planned
        part = run.part(work=planned if seconds else None, inverse=Inverse(instance, narrower=asked is alike))
        part.start = best.plan
        outcome = _each(method, instance, asked, part)
        if outcome.stop is Stop.INFEASIBLE and asked is options and best.plan is None:
            return outcome
        stop = outcome.stop
        if outcome.plan is not None:
            best.offer(outcome.plan, "uniform" if asked is alike else options.method)
        if asked is options:
            best.raise_bound(outcome.bound_ms or 0.0, options.method)
    if best.is_within(max(options.gap, EQUAL)):
        stop = Stop.FINISHED
    return best.outcome(run.stopped() or stop, "" if best.plan is not None else "no plan found")


def _each(method: Method, instance: Instance, options: Options, run: Run) -> Outcome:
    """Solve one choice of devices after the other."""
    todo = variants(instance, options)
    if len(todo) == 1 and todo[0][0] is instance:
        _bound(instance, options, run)
        return method(instance, options, run)
    best = Incumbent(instance, options, run)
    if run.start is not None:
        best.offer(run.start, "start")
    bound, stop = inf, Stop.INFEASIBLE
    told: list[str] = []
    for k, (smaller, inverse) in enumerate(todo):
        left, planned = len(todo) - k, run.planned
        work = None if planned is None or left == 1 else planned / left
        part = run.part(work=work, inverse=replace(inverse, narrower=len(todo) > 1))
        outcome = _one(method, smaller, options, part)
        if outcome.stop is Stop.INFEASIBLE:
            continue
        bound = min(bound, outcome.bound_ms or 0.0)
        if stop in (Stop.INFEASIBLE, Stop.FINISHED):
            stop = outcome.stop
        before = best.plan
        if outcome.plan is not None:
            best.offer(inverse.plan(outcome.plan), options.method)
            if best.broken:
                raise VerificationError(f"the plan of method {options.method} does not hold: {best.broken}")
        told.insert(len(told) if best.plan is before else 0, outcome.message)
    if stop is Stop.INFEASIBLE:
        if best.plan is None:
            return Outcome(stop)  # causes in single choices name devices and rules that the user never wrote
        stop, bound = Stop.FINISHED, 0.0  # the start refutes that there is none
    best.raise_bound(min(bound, best.value), options.method)
    if best.is_within(max(options.gap, EQUAL)):
        stop = Stop.FINISHED
    return best.outcome(stop, next(filter(None, told), ""), {"choices_of_devices": len(todo)})


def _uniform_first(instance: Instance, options: Options) -> bool:
    """Whether plans whose stages are all alike come first: among many free modes a search may see none."""
    free = options.objective is Objective.STEP and options.teams and not options.uniform
    many = sum(not d.is_host for d in instance.devices) > MANY
    return free and many and bool(instance.servers) and METHODS[options.method].anytime


def _one(method: Method, instance: Instance, options: Options, run: Run) -> Outcome:
    cause = infeasible.simple_cause(instance, options)
    if cause is not None:
        return Outcome(Stop.INFEASIBLE, message=cause)
    _bound(instance, options, run)
    return method(instance, options, run)


def _bound(instance: Instance, options: Options, run: Run) -> None:
    """Give a method that proves bounds the one that memory sets."""
    if METHODS[options.method].anytime:
        bound = capacity_bound.bound_ms(instance, options, run.part(work=capacity_bound.FIRST_WORK_S))
        run.bound_ms = max((x for x in (bound, run.bound_ms) if x is not None), default=None)
