"""Methods with known behaviour, so that the command line is tested apart from any solver."""

import contextlib
import time
from collections.abc import Iterator
from itertools import count

import numpy as np

from placer.instance.instance import Instance
from placer.methods.registry import METHODS, MethodInfo
from placer.options import Communication, Options, Schedule
from placer.plans.evaluate import device_loads
from placer.plans.plan import Plan
from placer.plans.status import Stop
from placer.search.run import Outcome, Run

HERE = "tests.support.methods"


def first(instance: Instance) -> Plan:
    """Everything on the first accelerator, the last node on the host."""
    device = np.zeros(instance.n, dtype=np.int64)
    device[-1] = len(instance.devices) - 1
    return Plan(device)


def value(instance: Instance, plan: Plan) -> float:
    loads = device_loads(instance, plan.device)
    return loads.objective_ms(Communication.SEQUENTIAL, Schedule.ONE_F_ONE_B)


def proves(instance: Instance, options: Options, run: Run) -> Outcome:
    plan = first(instance)
    run.report(incumbent_ms=value(instance, plan), bound_ms=1.0, phase="proving")
    return Outcome(Stop.FINISHED, plan, value(instance, plan))


def finds(instance: Instance, options: Options, run: Run) -> Outcome:
    return Outcome(Stop.FINISHED, first(instance), value(instance, first(instance)) / 2)


def refutes(instance: Instance, options: Options, run: Run) -> Outcome:
    return Outcome(Stop.INFEASIBLE, message="node 'a' is larger than every device")


def gives_up(instance: Instance, options: Options, run: Run) -> Outcome:
    return Outcome(Stop.TIME_LIMIT, bound_ms=3.0)


def lies(instance: Instance, options: Options, run: Run) -> Outcome:
    return Outcome(Stop.FINISHED, Plan(np.full(instance.n, 99)), 1.0)


def breaks(instance: Instance, options: Options, run: Run) -> Outcome:
    raise RuntimeError("something\nunforeseen")


def waits(instance: Instance, options: Options, run: Run) -> Outcome:
    """Finds a plan at once and then works until it is stopped."""
    plan = first(instance)
    run.report(incumbent_ms=value(instance, plan), phase="waiting")
    return _until_stopped(run, plan)


def waits_empty(instance: Instance, options: Options, run: Run) -> Outcome:
    run.report(bound_ms=1.0, phase="waiting")
    return _until_stopped(run, None)


def _until_stopped(run: Run, plan: Plan | None) -> Outcome:
    for _ in count():
        stop = run.stopped()
        if stop is not None:
            return Outcome(stop, plan, 1.0)
        time.sleep(0.01)
    raise AssertionError


@contextlib.contextmanager
def registered() -> Iterator[None]:
    """Register these methods for a while."""
    names = ("proves", "finds", "refutes", "gives_up", "lies", "breaks", "waits", "waits_empty")
    METHODS.update({name: MethodInfo(name, "for tests", throughput=f"{HERE}:{name}") for name in names})
    try:
        yield
    finally:
        for name in names:
            del METHODS[name]
