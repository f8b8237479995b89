"""A solve in a process of its own: its memory can be measured, and its crash is a result."""

from __future__ import annotations

import contextlib
import os
import pickle
import signal
import subprocess
import sys
import tempfile
import threading
import time
from dataclasses import dataclass
from pathlib import Path

from placer.errors import InputError, PlacerError, UsageError
from placer.instance.instance import Instance
from placer.options import Options
from placer.plans.result import Result
from placer.processes import peak_memory_mb
from placer.solving.solve import solve

__all__ = ["Report", "main", "report_on", "solve_isolated"]

CHILD = (
    "import signal, sys; told = []; signal.signal(signal.SIGINT, lambda *_: told.append(1)); "
    "from placer.studies.isolated import main; main(*sys.argv[1:], told)"
)
"""What the process runs: a signal while it still imports is remembered."""
PATIENCE = 10.0
"""Seconds that a process gets to hand over its best plan after it was told to stop."""


@dataclass(frozen=True)
class Report:
    """What came out of a solve.

    Parameters
    ----------
    result
        The result, or None when there is none.
    error
        Why there is none, in one line.
    peak_memory_mb
        Largest resident memory of the process, libraries included; None where it is not known.
    refused
        Whether the method turned the options or the instance down, in contrast to a failure.
    """

    result: Result | None
    error: str = ""
    peak_memory_mb: float | None = None
    refused: bool = False


def solve_isolated(
    instance: Instance,
    options: Options,
    *,
    interrupt: threading.Event | None = None,
    kill_after: float | None = None,
) -> Report:
    """Solve in a fresh process.

    Parameters
    ----------
    instance, options
        What to solve and how.
    interrupt
        Set it to stop and get the best plan so far.
    kill_after
        Seconds after which the process is ended by force, whatever it does.
    """
    with tempfile.TemporaryDirectory(prefix="placer-") as folder:
        task, answer, errors = (Path(folder) / name for name in ("task", "answer", "errors"))
        task.write_bytes(pickle.dumps((instance, options)))
        path = os.pathsep.join(entry for entry in sys.path if entry)
        with errors.open("wb") as log:
            process = subprocess.Popen(
                [sys.executable, "-c", CHILD, str(task), str(answer)],
                stdin=subprocess.DEVNULL,
                stdout=log,
                stderr=log,
                env={**os.environ, "PYTHONPATH": path},
            )
            killed = _wait(process, interrupt or threading.Event(), kill_after)
        if answer.is_file():
            report = pickle.loads(answer.read_bytes())
            if isinstance(report, Report):
                return report
        last = errors.read_text(errors="replace").strip().splitlines()[-1:]
    if killed:
        return Report(None, killed)
    code = process.returncode
    how = f"was ended by signal {-code}" if code < 0 else f"ended with code {code}"
    return Report(None, ": ".join([f"the process {how} without an answer", *last]))


def _wait(process: subprocess.Popen[bytes], interrupt: threading.Event, kill_after: float | None) -> str:
    """Wait for the process, stop it when asked to; return why it was ended by force, if it was."""
    began, told = time.monotonic(), None
    while process.poll() is None:
        now = time.monotonic()
        try:
            with contextlib.suppress(subprocess.TimeoutExpired):
                process.wait(0.1)
        except KeyboardInterrupt:
            interrupt.set()
        if interrupt.is_set() and told is None:
            told = now
            process.send_signal(signal.SIGINT)
        if told is not None and now > told + PATIENCE:
            process.kill()
            return "it did not stop when it was interrupted, and was ended"
        if kill_after is not None and now > began + kill_after:
            process.kill()
            return f"it did not keep its time limit, and was ended after {kill_after:.0f} s"
    return ""


def report_on(
    instance: Instance, options: Options, interrupt: threading.Event | None = None, *, guard: bool = False
) -> Report:
    """Solve in this process and turn every failure into a report."""
    try:
        result = solve(instance, options, interrupt=interrupt, guard=guard)
    except PlacerError as error:
        return Report(None, str(error), peak_memory_mb(), refused=isinstance(error, InputError | UsageError))
    except MemoryError:
        return Report(None, "out of memory", peak_memory_mb())
    except Exception as error:
        return Report(None, " ".join(f"{type(error).__name__}: {error}".split()), peak_memory_mb())
    return Report(result, "", peak_memory_mb())


def main(task: str, answer: str, told: list[int]) -> None:
    """Solve the task in the file ``task`` and write the report to the file ``answer``.

    ``told`` is not empty where a signal came already.
    """
    interrupt = threading.Event()
    signal.signal(signal.SIGINT, lambda *_: interrupt.set())
    if told:
        interrupt.set()
    instance, options = pickle.loads(Path(task).read_bytes())
    report = report_on(instance, options, interrupt, guard=True)
    partial = Path(answer + ".partial")
    partial.write_bytes(pickle.dumps(report))
    partial.replace(answer)
