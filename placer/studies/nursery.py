"""The process that starts jobs: what they need is loaded once, each job is a fork with limits.

It knows nothing of what they do: that comes with the call.  It holds a single thread, obeys whoever started
it, and ends with it: jobs die with their nursery, and the nursery ends when the other end of its connection
is gone, however that came about.
"""

from __future__ import annotations

import contextlib
import functools
import os
import re
import signal
import tempfile
import threading
import time
from collections.abc import Callable
from dataclasses import dataclass, field
from enum import StrEnum
from multiprocessing.connection import Connection, wait
from typing import Any

from placer.processes import allocated_mb, resident_mb
from placer.search.fork import Exit, Fork

__all__ = ["PATIENCE", "STOP", "Call", "Ended", "How", "Life", "Returned", "Told", "main"]

PATIENCE = 3.0
"""Seconds that a job gets after it was told to stop, by default."""
BEAT = 0.05
"""Seconds between two looks at the memory of a job."""
STOP = "stop"
"""What is sent to a nursery to stop the current job."""
OUT_OF_MEMORY = re.compile(r"bad_alloc|allocate memory|out of memory|memory allocation", re.IGNORECASE)
"""What libraries write to standard error when an allocation fails (C++, Python and NumPy, LLVM, Rust)."""
LAST_LINES = 8
"""So many lines may stand after that: notes, the line of the signal."""
OUTSIDE = {"SIGKILL", "SIGTERM", "SIGINT", "SIGHUP", "SIGQUIT"}
"""Signals that no crash raises: somebody, or the kernel short of memory, ended the job."""


class How(StrEnum):
    """How a job ended."""

    RETURNED = "returned"
    CRASHED = "crashed"
    KILLED = "killed from outside"
    TIME = "time limit exceeded"
    MEMORY = "memory limit exceeded"
    STOPPED = "stopped"


@dataclass(frozen=True)
class Call:
    """A function to be called in a process of its own, as ``function(life, *args)``.

    Parameters
    ----------
    function, args
        What to call; both can be pickled.
    seconds
        After so many seconds the job is told to stop.
    memory_mb
        Resident and allocated memory above which the job is ended, MiB.
    warm
        A function of no arguments that the nursery calls itself, once, before the fork: what it loads,
        all later jobs have.  It must start no threads.
    patience
        Seconds that it gets to hand over what it has after it was told to stop.
    """

    function: Callable[..., Any]
    args: tuple[Any, ...] = ()
    seconds: float | None = None
    memory_mb: int | None = None
    warm: Callable[[], None] | None = None
    patience: float = PATIENCE


@dataclass(frozen=True)
class Told:
    """Something that a job says while it works."""

    value: Any


@dataclass(frozen=True)
class Returned:
    """What a job handed back."""

    value: Any


@dataclass(frozen=True)
class Ended:
    """The end of a job: how, why in one line, seconds, and its largest resident memory."""

    how: How
    reason: str = ""
    seconds: float = 0.0
    peak_memory_mb: float | None = None


@dataclass(frozen=True)
class Life:
    """What a job may use: ``tell`` speaks to the other end, ``interrupt`` is set when it is to stop."""

    tell: Callable[[Any], None]
    interrupt: threading.Event = field(default_factory=threading.Event)


def main(descriptor: int) -> None:
    """Serve calls from a connection until it is closed."""
    signal.signal(signal.SIGINT, signal.SIG_IGN)
    connection = Connection(descriptor)
    warmed: set[Callable[[], None]] = set()
    with contextlib.suppress(EOFError, OSError):
        while True:
            call = connection.recv()
            if call == STOP:  # it crossed the end of the job that it was meant for
                continue
            if call.warm is not None and call.warm not in warmed:
                warmed.add(call.warm)
                with contextlib.suppress(Exception):  # what is wrong, the job will say
                    call.warm()
            connection.send(_Job(call, connection).supervise())


class _Job:
    """A fork, watched until it ends."""

    def __init__(self, call: Call, connection: Connection) -> None:
        self._call, self._connection = call, connection
        self._log = tempfile.TemporaryFile()  # noqa: SIM115 - closed by supervise
        self._began = time.monotonic()
        self._told: float | None = None
        self._verdict: tuple[How, str] | None = None
        self._fork = Fork(functools.partial(_be_the_job, call, self._log.fileno()))

    def supervise(self) -> Ended:
        """Relay what the job says, keep its limits, and say how it ended."""
        said = self._fork.said
        sources = [self._connection, said]
        try:
            while True:
                ready = wait(sources, BEAT)
                if self._connection in ready and self._connection.recv() == STOP and self._verdict is None:
                    self._ask(How.STOPPED, "it was stopped")
                if said in ready and not self._relay():
                    sources.remove(said)
                end = self._fork.ended()
                if end is not None:
                    while said in sources and said.poll() and self._relay():
                        pass
                    return self._ended(end)
                self._limit()
        finally:  # the other end may be gone
            self._fork.close()
            self._log.close()

    def _relay(self) -> bool:
        """Pass on what the job says, unread; return whether it may say more."""
        try:
            message = self._fork.said.recv_bytes()
        except (EOFError, OSError):
            return False
        self._connection.send_bytes(message)
        return True

    def _limit(self) -> None:
        """End the job when it is beyond a limit."""
        now, call = time.monotonic(), self._call
        if self._told is not None and now > self._told + call.patience:
            self._fork.kill()
        if call.seconds is not None and now > self._began + call.seconds and self._verdict is None:
            self._ask(How.TIME, f"it ran for more than {call.seconds:g} s")
        if call.memory_mb is not None and resident_mb(self._fork.pid) > call.memory_mb:
            self._verdict = (How.MEMORY, f"it held more than {call.memory_mb} MiB")
            self._fork.kill()

    def _ask(self, how: How, reason: str) -> None:
        self._verdict, self._told = (how, reason), time.monotonic()
        self._fork.interrupt()

    def _ended(self, end: Exit) -> Ended:
        seconds = time.monotonic() - self._began
        return Ended(*(self._verdict or self._judged(end.how)), seconds, end.peak_memory_mb)

    def _judged(self, how: str) -> tuple[How, str]:
        """Say how a job ended that nobody here ended, and why."""
        if not how:
            return How.RETURNED, ""
        if how in OUTSIDE:
            return How.KILLED, f"it was ended from outside by {how}"
        said = self._last_lines()
        if self._call.memory_mb is not None and any(OUT_OF_MEMORY.search(line) for line in said):
            # Libraries end the process in their own ways when an allocation fails.
            return How.MEMORY, f"it asked for more than {self._call.memory_mb} MiB"
        return How.CRASHED, ": ".join([f"it crashed ({how})", *said[-1:]])

    def _last_lines(self) -> list[str]:
        """Last lines that the job wrote to standard error, if any."""
        size = self._log.seek(0, os.SEEK_END)
        self._log.seek(max(0, size - 4096))
        return self._log.read().decode(errors="replace").strip().splitlines()[-LAST_LINES:]


def _be_the_job(call: Call, log: int, tell: Callable[[object], None]) -> None:
    """Run the call in the fork that this process is."""
    try:
        os.setpgid(0, 0)
        _limit_memory(call.memory_mb)
        null = os.open(os.devnull, os.O_RDONLY)
        for target, source in ((0, null), (1, log), (2, log)):
            os.dup2(source, target)
        life = Life(lambda value: tell(Told(value)))
        signal.signal(signal.SIGINT, lambda *_: life.interrupt.set())
        tell(Returned(call.function(life, *call.args)))
    except BaseException as error:
        with contextlib.suppress(Exception):
            os.write(2, f"{type(error).__name__}: {error}".encode(errors="replace")[:4000])
        raise


def _limit_memory(memory_mb: int | None) -> None:
    """Let an allocation fail that would go far beyond the limit before the watch can see it.

    What the nursery had allocated counts for nothing: most of it is never touched.
    """
    import resource  # not on all systems, as forks are not

    if memory_mb is not None:
        most = int((memory_mb + allocated_mb()) * 2**20)
        _, hard = resource.getrlimit(resource.RLIMIT_DATA)
        if hard != resource.RLIM_INFINITY:
            most = min(most, hard)
        resource.setrlimit(resource.RLIMIT_DATA, (most, hard))
