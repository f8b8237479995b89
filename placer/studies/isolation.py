"""Calls in processes of their own, from any thread: `run` takes an idle nursery or starts one."""

from __future__ import annotations

import contextlib
import functools
import os
import signal
import subprocess
import sys
import threading
from collections.abc import Callable
from dataclasses import dataclass
from multiprocessing.connection import Connection, Pipe
from typing import Any, Self

from placer.studies.nursery import PATIENCE, STOP, Call, Ended, How, Returned, Told

__all__ = ["Answer", "Nurseries", "nurseries_of"]

START = "import sys; from placer.studies.nursery import main; main(int(sys.argv[1]))"
BEAT = 0.1
"""Seconds between two looks at the stop button."""
THREADS = ("OMP_NUM_THREADS", "OPENBLAS_NUM_THREADS", "MKL_NUM_THREADS", "VECLIB_MAXIMUM_THREADS")
"""Libraries that would otherwise start a thread per core in every job."""


@dataclass(frozen=True)
class Answer:
    """What a call returned (None when it did not), and how it ended."""

    value: Any
    ended: Ended


class Nurseries:
    """The nurseries of one process: as many as there were calls at the same time."""

    def __init__(self) -> None:
        self._lock = threading.Lock()
        self._idle: list[_Nursery] = []
        self._all: set[_Nursery] = set()
        self._closed = False

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *_: object) -> None:
        self.close()

    def run(
        self,
        call: Call,
        *,
        tell: Callable[[Any], None] | None = None,
        stopped: Callable[[], bool] | None = None,
    ) -> Answer:
        """Make a call in a process of its own and wait for its end.

        Parameters
        ----------
        call
            What to call, and its limits.
        tell
            Called with all that the job says.
        stopped
            Asked ten times a second whether to stop the job; it may still return something.
        """
        with self._lock:
            if self._closed:
                return Answer(None, Ended(How.STOPPED, "it was stopped"))
            nursery = self._idle.pop() if self._idle else _Nursery()
            self._all.add(nursery)
        answer = nursery.run(call, tell or (lambda _: None), stopped or (lambda: False))
        with self._lock:
            if nursery.alive and not self._closed:
                self._idle.append(nursery)
            else:
                self._all.discard(nursery)
                nursery.close()
        return answer

    def close(self) -> None:
        """End all nurseries and their jobs now."""
        with self._lock:
            self._closed = True
            for nursery in self._all:
                nursery.end()
            for nursery in self._idle:
                nursery.close()
            self._idle.clear()


class _Nursery:
    """One nursery and the connection to it."""

    def __init__(self) -> None:
        self._connection, theirs = Pipe(duplex=True)
        path = os.pathsep.join(entry or os.getcwd() for entry in sys.path)
        with theirs:
            self._process = subprocess.Popen(
                [sys.executable, "-P", "-c", START, str(theirs.fileno())],
                pass_fds=[theirs.fileno()],
                stdin=subprocess.DEVNULL,
                stdout=subprocess.DEVNULL,
                stderr=subprocess.DEVNULL,
                start_new_session=True,  # Ctrl-C is ours to handle
                env={**dict.fromkeys(THREADS, "1"), **os.environ, "PYTHONPATH": path},
            )
        self.alive = True

    def run(self, call: Call, tell: Callable[[Any], None], stopped: Callable[[], bool]) -> Answer:
        """Make a call; a nursery that is lost meanwhile is the same as a job killed from outside."""
        value, told_to_stop = None, False
        try:
            self._connection.send(call)
            while True:
                if not told_to_stop and stopped():
                    told_to_stop = True
                    self._connection.send(STOP)
                if not self._connection.poll(BEAT):
                    continue
                message = self._connection.recv()
                if isinstance(message, Told):
                    tell(message.value)
                elif isinstance(message, Returned):
                    value = message.value
                else:
                    return Answer(value, message)
        except (EOFError, OSError):
            self.alive = False
            how = How.STOPPED if told_to_stop else How.KILLED
            return Answer(value, Ended(how, "the process that supervised it was ended"))

    def end(self) -> None:
        """End the process and its job, from any thread."""
        with contextlib.suppress(ProcessLookupError, PermissionError):
            os.killpg(self._process.pid, signal.SIGKILL)

    def close(self) -> None:
        """End the process and forget it."""
        self.end()
        self.alive = False
        connection: Connection = self._connection
        connection.close()
        with contextlib.suppress(subprocess.TimeoutExpired):
            self._process.wait(PATIENCE)


@functools.cache
def nurseries_of(process: int) -> Nurseries:
    """Return the nurseries of the process with this id, which must be the current one.

    The workers of executors of other libraries call a function per job and keep nothing between two
    calls: what may be kept has to live in the module.
    """
    return Nurseries()
