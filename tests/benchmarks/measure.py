"""One solve in a process of its own: CPU seconds until the gap is closed, and what is left at the limit.

CPU seconds rather than wall-clock seconds, so that other work on the machine does not distort a comparison.
"""

from __future__ import annotations

import argparse
import json
import threading
import time
from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

import numpy as np

import placer
from placer.instance.instance import Instance
from placer.plans.plan import Plan
from placer.plans.result import gap_of
from placer.plans.status import Point

__all__ = ["GAPS", "PROGRAMS", "VARIANTS", "Watch", "measure"]

VARIANTS: dict[str, dict[str, Any]] = {
    "contiguous": {},
    "contiguous gpipe": {"schedule": "gpipe"},
    "non-contiguous": {"contiguous": False},
    "non-contiguous gpipe": {"contiguous": False, "schedule": "gpipe"},
    "latency": {"objective": "latency"},
}
"""Options of each variant."""
PROGRAMS = ("paper", "ours")
GAPS = (1e-2, 1e-4)
"""Gaps whose first time is taken; the last one ends a solve."""
TICK_S = 0.02


@dataclass
class Watch:
    """Times the gaps and stops the solve when it has used up its CPU seconds."""

    limit_s: float
    clock: Callable[[], float] = time.process_time

    def __post_init__(self) -> None:
        self.began = self.clock()
        self.interrupt = threading.Event()
        self.seconds: dict[float, float] = {}
        self.done = threading.Event()
        threading.Thread(target=self._wait, daemon=True).start()

    def _wait(self) -> None:
        while not self.done.wait(TICK_S):
            if self.clock() - self.began >= self.limit_s:
                self.interrupt.set()

    def on_progress(self, point: Point, phase: str) -> None:
        """Note the time at which a gap is reached first."""
        self.note(gap_of(point.incumbent_ms, point.bound_ms))

    def note(self, gap: float | None) -> None:
        """Note the time of a gap."""
        used = self.clock() - self.began
        for wanted in GAPS:
            if gap is not None and gap <= wanted * (1 + 1e-6):
                self.seconds.setdefault(wanted, used)


def measure(instance: Instance, variant: str, program: str, limit_s: float, threads: int) -> dict[str, Any]:
    """Solve with the paper's program or with ours.

    Parameters
    ----------
    instance
        The instance.
    variant
        One of `VARIANTS`.
    program
        One of `PROGRAMS`.  Ours is the ordered program for contiguous plans and for latency; the former
        starts from the linearised program, whose time counts.  For non-contiguous plans it is ``auto``:
        column generation, then the compact program.
    limit_s
        CPU seconds for the solve.
    threads
        Threads of HiGHS.

    Returns
    -------
    dict
        ``seconds_1pct``, ``seconds_001pct`` (None: not within the limit), ``cpu_s``, ``objective``, ``bound``
        and ``gap``.
    """
    options = {**VARIANTS[variant], "gap": GAPS[-1], "threads": threads, "time_limit": 100 * limit_s}
    watch = Watch(limit_s)
    start: Plan | None = None
    if program == "paper":
        options |= {"method": "milp", "formulation": "paper"}
    elif variant.startswith("non-contiguous"):
        options |= {"method": "auto"}
    else:
        if variant.startswith("contiguous"):
            start = _linear_plan(instance, options, watch)
        options |= {"method": "milp"}
    result = placer.solve(
        instance, start=start, on_progress=watch.on_progress, interrupt=watch.interrupt, **options
    )
    watch.note(result.gap)
    watch.done.set()
    return {
        "seconds_1pct": watch.seconds.get(GAPS[0]),
        "seconds_001pct": watch.seconds.get(GAPS[1]),
        "cpu_s": time.process_time() - watch.began,
        "objective": result.objective,
        "bound": result.bound,
        "gap": result.gap,
    }


def _linear_plan(instance: Instance, options: dict[str, Any], watch: Watch) -> Plan | None:
    """Plan along linear orders: the start and the cutoff of the ordered program."""
    found = placer.solve(instance, interrupt=watch.interrupt, **{**options, "method": "dpl"})
    if found.assignment is None:
        return None
    return Plan(np.array([instance.device_index[found.assignment[v]] for v in instance.ids]))


def main() -> None:
    """Measure one solve and print what came out as JSON."""
    parser = argparse.ArgumentParser(description=main.__doc__)
    parser.add_argument("path")
    parser.add_argument("variant", choices=VARIANTS)
    parser.add_argument("program", choices=PROGRAMS)
    parser.add_argument("limit", type=float)
    parser.add_argument("threads", type=int)
    args = parser.parse_args()
    found = measure(placer.load(args.path), args.variant, args.program, args.limit, args.threads)
    print(json.dumps(found))


if __name__ == "__main__":
    main()
