"""Ctrl-C and SIGTERM on the command line: a supervisor that nothing keeps busy, and the stop button.

The supervisor is the process that was started; it does nothing but wait for the one that works.  That one
acknowledges a signal as soon as its interpreter gets to see it and is then trusted to come to its end; when a
library keeps it too busy for that, it is ended.  Only light modules are imported here, so that nothing comes
before the supervisor.
"""

from __future__ import annotations

import contextlib
import os
import signal
import sys
import threading
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from types import FrameType

__all__ = ["INTERRUPTED", "raise_on_signals", "stop_on_signals", "supervised"]

INTERRUPTED = 130
"""Exit code of what was interrupted."""
SAID = b"placer: interrupted\n"
STOPPING = (signal.SIGINT, signal.SIGTERM)
PATIENCE_S = 1.5
"""Seconds that a signal may wait for the interpreter."""
SAVING_S = 60.0
"""Seconds from then on to save what there is."""
AGAIN_S = 0.5
"""What comes so soon after a signal is the same one: terminals and ``timeout`` send it to every process."""

_acknowledgement: list[int] = []
"""Where this process tells its supervisor that it saw a signal; empty without one."""


def supervised(work: Callable[[], int]) -> int:
    """Do work in a process whose signals a supervisor keeps; return its exit code.

    Parameters
    ----------
    work
        Returns an exit code.  It is called in a fork of this process where the system can tell who ended
        first (Linux), else in this one.
    """
    if not sys.platform.startswith("linux") or threading.active_count() > 1:
        return work()
    waited = {*STOPPING, signal.SIGCHLD}
    before = signal.pthread_sigmask(signal.SIG_BLOCK, waited)
    seen, told = os.pipe()
    supervisor = os.getpid()
    pid = os.fork()
    if pid == 0:
        os.close(seen)
        _acknowledgement.append(told)
        with raise_on_signals():
            return _work(work, supervisor, before)
    os.close(told)
    os.set_blocking(seen, False)
    os._exit(_supervise(pid, seen, waited))


def _work(work: Callable[[], int], supervisor: int, mask: set[int]) -> int:
    """Work with a mask of signals; one that came before it is set interrupts the work as well."""
    try:
        signal.pthread_sigmask(signal.SIG_SETMASK, mask)
        from placer.processes import die_with

        die_with(supervisor)
        return work()
    except KeyboardInterrupt:
        print("placer: interrupted", file=sys.stderr)
        return INTERRUPTED


def _supervise(pid: int, seen: int, waited: set[signal.Signals]) -> int:
    """Pass signals on until the process ends, or has to be ended; return the exit code."""
    deadline: float | None = None
    saving = False
    while True:
        left = 5.0 if deadline is None else max(0.0, deadline - time.monotonic())
        info = signal.sigtimedwait(waited, left)
        ended, status = os.waitpid(pid, os.WNOHANG)
        if ended:
            code = os.waitstatus_to_exitcode(status)
            return code if code >= 0 else 128 - code
        if info is not None and info.si_signo in STOPPING:
            os.kill(pid, info.si_signo)
            deadline = deadline or time.monotonic() + PATIENCE_S
        if deadline is not None and time.monotonic() >= deadline:
            with contextlib.suppress(BlockingIOError):
                if not saving and os.read(seen, 1):
                    saving = True
                    deadline = time.monotonic() + SAVING_S
                    continue
            os.kill(pid, signal.SIGKILL)
            os.waitpid(pid, 0)
            os.write(2, SAID)
            return INTERRUPTED


def _acknowledge() -> None:
    for descriptor in _acknowledgement:
        with contextlib.suppress(OSError):
            os.write(descriptor, b".")


@contextmanager
def raise_on_signals() -> Iterator[None]:
    """Turn the first Ctrl-C or SIGTERM into a KeyboardInterrupt; a later one ends the process.

    So does the first one while a module is imported: libraries would take it for a broken installation.
    """
    first: list[float] = []

    def handle(number: int, frame: FrameType | None) -> None:
        _acknowledge()
        if not first and not _importing(frame):
            first.append(time.monotonic())
            raise KeyboardInterrupt
        if not first:
            os.write(2, SAID)
            os._exit(INTERRUPTED)
        if time.monotonic() > first[0] + AGAIN_S:
            os._exit(INTERRUPTED)

    with _handling(handle):
        yield


@contextmanager
def stop_on_signals() -> Iterator[threading.Event]:
    """Give an event that Ctrl-C and SIGTERM set; a second Ctrl-C ends the program at once."""
    event = threading.Event()
    first: list[float] = []

    def handle(number: int, frame: FrameType | None) -> None:
        _acknowledge()
        now = time.monotonic()
        if first and now > first[0] + AGAIN_S:
            raise KeyboardInterrupt
        first.append(now)
        event.set()

    with _handling(handle):
        yield event


def _importing(frame: FrameType | None) -> bool:
    """Whether a module is being imported."""
    while frame is not None:
        if frame.f_code.co_filename == "<frozen importlib._bootstrap>":
            return True
        frame = frame.f_back
    return False


@contextmanager
def _handling(handle: Callable[[int, FrameType | None], None]) -> Iterator[None]:
    old = {number: signal.signal(number, handle) for number in STOPPING}
    try:
        yield
    finally:
        for number, handler in old.items():
            signal.signal(number, handler)
