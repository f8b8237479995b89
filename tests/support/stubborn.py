"""Methods that do not look at the clock, run under guard: ``python -m tests.support.stubborn HOW SECONDS``.

Prints the result as JSON.  Alone in its process, since the guard needs one without threads.
"""

from __future__ import annotations

import ctypes
import sys
import threading
import time

import numpy as np

import placer
from placer.instance.cluster import DeviceClass, Kind
from placer.instance.instance import Instance
from placer.methods.registry import METHODS, MethodInfo
from placer.options import Options
from placer.plans.plan import Plan
from placer.search.run import Outcome, Run

BOUND_MS = 1.0


def chain() -> Instance:
    """Four nodes on two accelerators that may hold them all; 6 ms on one, 3.5 ms on both."""
    return Instance.build(
        name="chain",
        ids=["a", "b", "c", "d"],
        types=("gpu",),
        time_ms=[[1.5]] * 4,
        memory_bytes=[1.0] * 4,
        transfer_ms=[0.5] * 4,
        edges=[(0, 1), (1, 2), (2, 3)],
        classes=(DeviceClass("gpu", "gpu", 2, Kind.ACCELERATOR, 4.0),),
    )


def sleeps(instance: Instance, options: Options, run: Run) -> Outcome:
    """Tell of a plan and of a bound, then hold the interpreter in native code."""
    run.keep(Plan(np.zeros(instance.n, dtype=np.int64)))
    run.report(bound_ms=BOUND_MS, phase="sleep")
    began = time.monotonic()
    while time.monotonic() < began + 60:  # a signal ends a sleep
        ctypes.PyDLL(None).sleep(60)
    raise AssertionError("nobody ended the sleep")


def eats(instance: Instance, options: Options, run: Run) -> Outcome:
    """Tell of a plan, then take memory without end."""
    run.keep(Plan(np.zeros(instance.n, dtype=np.int64)))
    run.report(bound_ms=BOUND_MS, phase="eat")
    held = []
    while len(held) < 1000:
        held.append(np.ones(2**20))
        time.sleep(0.01)
    raise AssertionError("nobody ended the meal")


def fails(instance: Instance, options: Options, run: Run) -> Outcome:
    """Fail in the fork."""
    raise ZeroDivisionError("in the fork")


def dies(instance: Instance, options: Options, run: Run) -> Outcome:
    """Crash in native code."""
    ctypes.string_at(0)
    raise AssertionError("still alive")


def register() -> None:
    """Make the methods known."""
    for name in ("sleeps", "eats", "fails", "dies"):
        METHODS[name] = MethodInfo(name, "", throughput=f"tests.support.stubborn:{name}")


def main(method: str, seconds: float) -> None:
    """Solve with a method under guard; interrupt it after that many seconds if it has no time limit."""
    register()
    interrupt = threading.Event()
    limit = seconds
    if method == "interrupted":
        method, limit = "sleeps", 60.0
        import signal

        signal.signal(signal.SIGALRM, lambda *_: interrupt.set())
        signal.setitimer(signal.ITIMER_REAL, seconds)
    result = placer.solve(
        chain(), method=method, time_limit=limit, memory_limit_mb=64, interrupt=interrupt, guard=True
    )
    print(result.to_json())


if __name__ == "__main__":
    main(sys.argv[1], float(sys.argv[2]))
