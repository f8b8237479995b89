"""One solve of a study: its result or why there is none, in this process or in one of its own."""

from __future__ import annotations

import errno
import os
from collections.abc import Callable
from dataclasses import dataclass
from enum import StrEnum
from typing import Any

from placer.errors import InputError, PlacerError, UsageError
from placer.options import Options
from placer.plans.result import Result
from placer.plans.status import Stop
from placer.studies.isolation import Nurseries
from placer.studies.nursery import Call, How

__all__ = ["ATTEMPTS", "FailureKind", "Outcome", "attempt", "in_a_process", "memory_mb"]

ATTEMPTS = 2
"""How often a job is started that is killed from outside."""
OVERHEAD_MB = 1024
"""What a process may hold beyond the memory of its search: libraries, the instance, the result."""
SHORT_OF_MEMORY = ("can't start new thread", os.strerror(errno.EAGAIN), "without setting an exception")
"""What Python and C++ say when a thread's stack does not fit into the memory of the process, and Python when
an extension could not allocate and forgot to say so."""


class FailureKind(StrEnum):
    """Why there is no result."""

    BAD_INSTANCE = "bad instance"
    REFUSED = "not applicable"
    DEFECT = "failed"
    CRASHED = "crashed"
    KILLED = "killed from outside"
    TIME = "time limit exceeded"
    MEMORY = "memory limit exceeded"


@dataclass(frozen=True)
class Outcome:
    """What came of a solve.

    Parameters
    ----------
    result
        The result document, or None.
    kind, reason
        Why there is none.  Without a kind the solve was interrupted.
    attempts, seconds, peak_memory_mb
        How often it was started, and what the last one took.
    interrupted
        Whether it was stopped; the result is what it had until then.
    """

    result: Result | None
    kind: FailureKind | None = None
    reason: str = ""
    attempts: int = 1
    seconds: float = 0.0
    peak_memory_mb: float | None = None
    interrupted: bool = False


def memory_mb(options: Options) -> int:
    """Memory at which the process of a solve is ended, MiB."""
    return options.memory_limit_mb + OVERHEAD_MB


def attempt(solve: Callable[[], Outcome], memory_mb: int | None = None) -> Outcome:
    """Solve in this process, which may hold so much memory, and turn every failure into an outcome."""
    short = "out of memory" if memory_mb is None else f"it asked for more than {memory_mb} MiB"
    try:
        return solve()
    except (InputError, UsageError) as error:
        kind, reason = FailureKind.REFUSED, str(error)
    except PlacerError as error:
        kind, reason = FailureKind.DEFECT, str(error)
    except MemoryError:
        kind, reason = FailureKind.MEMORY, short
    except Exception as error:
        kind, reason = FailureKind.DEFECT, " ".join(f"{type(error).__name__}: {error}".split())
        if any(part in str(error) for part in SHORT_OF_MEMORY):
            kind, reason = FailureKind.MEMORY, short
    return Outcome(None, kind, reason)


def in_a_process(
    call: Call,
    nurseries: Nurseries,
    *,
    tell: Callable[[Any], None] | None = None,
    stopped: Callable[[], bool] | None = None,
    late: bool = False,
) -> Outcome:
    """Make a call that returns an outcome, in a process of its own; once more if it is killed from outside.

    Parameters
    ----------
    call, nurseries, tell, stopped
        As for `Nurseries.run`.
    late
        Whether a result counts that came after the process was told that its time is over.
    """
    attempts = 0
    while True:
        attempts += 1
        answer = nurseries.run(call, tell=tell, stopped=stopped)
        ended = answer.ended
        outcome = answer.value if isinstance(answer.value, Outcome) else Outcome(None)
        cut_short = outcome.result is not None and outcome.result.stop is Stop.INTERRUPTED
        figures = (attempts, ended.seconds, ended.peak_memory_mb)
        if ended.how in (How.TIME, How.MEMORY) and not (late and outcome.result is not None):
            return Outcome(None, FailureKind(ended.how.value), ended.reason, *figures)
        if (outcome.result is not None and not cut_short) or outcome.kind is not None:
            return Outcome(outcome.result, outcome.kind, outcome.reason, *figures)
        if ended.how in (How.STOPPED, How.TIME, How.MEMORY):
            return Outcome(outcome.result, None, ended.reason, *figures, interrupted=True)
        if ended.how is How.CRASHED:
            return Outcome(None, FailureKind.CRASHED, ended.reason, *figures)
        if attempts == ATTEMPTS:
            reason = f"{ended.reason or 'it was interrupted from outside'}, {attempts} times"
            return Outcome(None, FailureKind.KILLED, reason, *figures)
