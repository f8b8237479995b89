"""CP-SAT in the place of HiGHS: the same programs, started from the same points."""

from __future__ import annotations

import itertools
import json
import os
import queue
import subprocess
import sys
import threading
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np

from formulations.program import Program
from placer.arrays import FloatArray
from placer.errors import UsageError
from placer.search.run import Run
from placer.solvers.held import Held
from placer.solvers.highs import LinearMaster
from placer.solvers.solution import Settings, Solution, Status

__all__ = ["PYTHON", "solve"]

PYTHON = "PLACER_CP_SAT_PYTHON"
"""Environment variable: the interpreter that has ortools, where it is not this one.

Current releases of ortools need another protobuf than the rest of the tests does.
"""
ENDS = {
    "OPTIMAL": Status.OPTIMAL,
    "INFEASIBLE": Status.INFEASIBLE,
    "FEASIBLE": Status.LIMIT,
    "UNKNOWN": Status.LIMIT,
}
BEAT_S = 0.05
"""Seconds between two looks at the limits."""


def solve(
    program: Program,
    run: Run,
    settings: Settings | None = None,
    *,
    start: FloatArray | None = None,
    on_incumbent: Callable[[FloatArray], None] | None = None,
    on_progress: Callable[[float | None, float | None, int], None] | None = None,
) -> Solution:
    """Solve as `placer.solvers.highs.solve` does.

    Raises
    ------
    UsageError
        When ortools is not installed.
    """
    settings = settings or Settings()
    began = time.perf_counter()
    held = Held(program, settings)
    start = None if start is None else _completed(program, start, run)
    held.take_start(start)
    status, news = Status.LIMIT, _started(program, settings, start)
    stop = None
    with news.process:
        while True:
            stop = run.stopped()
            if stop is not None:
                break
            message = news.next()
            if message is None:
                continue
            if "missing" in message:
                raise UsageError(
                    f"CP-SAT needs ortools, in an environment of its own, whose Python {PYTHON} names"
                )
            changed = held.take_bound(message["bound"], 0) if "bound" in message else False
            if "values" in message:
                whole = np.where(program.integer, np.round(message["values"]), np.nan)
                point = _completed(program, whole, run)
                if held.take(point):
                    changed = True
                    if on_incumbent is not None:
                        on_incumbent(held.point())
            if changed and on_progress is not None:
                on_progress(held.objective, held.bound, 0)
            if "end" in message:
                status = ENDS.get(message["end"], Status.FAILED)
                break
            if (
                settings.target is not None
                and held.objective is not None
                and held.objective <= settings.target
            ):
                status = Status.TARGET
                break
        news.process.kill()
    return held.solution(
        Status(stop.value) if stop is not None else status, time.perf_counter() - began, None
    )


def _completed(program: Program, values: FloatArray, run: Run) -> FloatArray:
    """Fill in the columns of a point that are nan by a linear program."""
    if not np.isnan(values).any():
        return values
    found = LinearMaster(program.fixed(values)).solve(run).values
    return np.nan_to_num(values) if found is None else np.where(np.isnan(values), found, values)


class _News:
    """What a process tells, read in a thread."""

    def __init__(self, process: subprocess.Popen[str]) -> None:
        self.process = process
        self._lines: queue.SimpleQueue[str] = queue.SimpleQueue()
        threading.Thread(target=self._read, daemon=True).start()

    def _read(self) -> None:
        assert self.process.stdout is not None
        for line in self.process.stdout:
            self._lines.put(line)
        self._lines.put('{"end": "FAILED"}')

    def next(self) -> dict[str, Any] | None:
        """Return the next message, or None after a short while without any."""
        try:
            message: dict[str, Any] = json.loads(self._lines.get(timeout=BEAT_S))
        except queue.Empty:
            return None
        return message


def _started(program: Program, settings: Settings, start: FloatArray | None) -> _News:
    """Start the process and hand it the program."""
    pairs = list(zip(program.row_index.tolist(), program.row_value.tolist(), strict=True))
    task = {
        "lower": program.lower.tolist(),
        "upper": program.upper.tolist(),
        "integer": program.integer.tolist(),
        "cost": program.cost.tolist(),
        "rows": [pairs[a:b] for a, b in itertools.pairwise(program.row_start)],
        "row_lower": program.row_lower.tolist(),
        "row_upper": program.row_upper.tolist(),
        "start": None if start is None else start.tolist(),
        "threads": settings.threads,
        "seed": settings.seed,
        "gap": settings.gap,
        "memory_mb": settings.memory_limit_mb or 4096,
    }
    python = os.environ.get(PYTHON, sys.executable)
    process = subprocess.Popen(
        [python, str(Path(__file__).with_name("cp_sat_process.py"))],
        stdin=subprocess.PIPE,
        stdout=subprocess.PIPE,
        text=True,
    )
    assert process.stdin is not None
    process.stdin.write(json.dumps(task) + "\n")
    process.stdin.flush()
    return _News(process)
