"""A fork of this process that works beside it, tells it things, and does not outlive it."""

from __future__ import annotations

import contextlib
import os
import signal
import sys
from collections.abc import Callable
from dataclasses import dataclass
from multiprocessing.connection import Pipe

from placer.processes import die_with
from placer.stdout import flush_native

__all__ = ["Exit", "Fork"]


@dataclass(frozen=True)
class Exit:
    """How a fork ended: a signal or an exit code in words, empty when all went well; and its peak memory."""

    how: str
    peak_memory_mb: float


class Fork:
    """A fork that does some work, and ends without any clean-up of its parent's.

    Parameters
    ----------
    work
        Called in the fork with a function that tells the parent something; what it raises is the end of
        the fork, and nobody hears of it.

    Attributes
    ----------
    pid
        Its process id.
    said
        Where the parent hears what it tells.
    """

    def __init__(self, work: Callable[[Callable[[object], None]], None]) -> None:
        sys.stdout.flush()
        sys.stderr.flush()
        flush_native()  # else the fork may write it again
        self.said, into = Pipe(duplex=False)
        parent = os.getpid()
        self._exit: Exit | None = None
        self.pid = os.fork()
        if self.pid == 0:
            code = 1
            try:
                die_with(parent)
                work(into.send)
                code = 0
            finally:
                sys.stderr.flush()
                os._exit(code)
        into.close()

    def interrupt(self) -> None:
        """Ask it to stop."""
        with contextlib.suppress(ProcessLookupError):
            os.kill(self.pid, signal.SIGINT)

    def kill(self) -> None:
        """End it now, and what it started where it leads a group of its own."""
        for end in (os.kill, os.killpg):
            with contextlib.suppress(ProcessLookupError, PermissionError):
                end(self.pid, signal.SIGKILL)

    def ended(self, *, wait: bool = False) -> Exit | None:
        """Return how it ended; None while it works."""
        if self._exit is None:
            pid, status, usage = os.wait4(self.pid, 0 if wait else os.WNOHANG)
            if pid:
                with contextlib.suppress(ProcessLookupError, PermissionError):
                    os.killpg(pid, signal.SIGKILL)
                code = os.waitstatus_to_exitcode(status)
                how = signal.Signals(-code).name if code < 0 else f"exit code {code}" if code else ""
                self._exit = Exit(how, usage.ru_maxrss / (2**20 if sys.platform == "darwin" else 2**10))
        return self._exit

    def close(self) -> None:
        """Leave no process behind."""
        if self._exit is None:
            self.kill()
            self.ended(wait=True)
        self.said.close()
