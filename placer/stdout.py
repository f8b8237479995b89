"""Standard output belongs to results: what libraries write natively to it goes to standard error.

Native code writes to file descriptor 1 past ``sys.stdout``, and a banner among the lines of a document makes
it none.  So for a while descriptor 1 is pointed at standard error.
"""

from __future__ import annotations

import contextlib
import ctypes
import os
import threading
from collections.abc import Iterator

__all__ = ["OUT", "flush_native", "native_output_dropped", "native_output_to_stderr"]

OUT, ERR = 1, 2


class _Detour:
    """Descriptor 1 of this process, away as long as anybody needs it away."""

    def __init__(self) -> None:
        self.lock = threading.Lock()
        self._users = 0
        self._kept: int | None = None

    def enter(self) -> None:
        """Point it at standard error, unless it is there already."""
        with self.lock:
            self._users += 1
            if self._users > 1:
                return
            flush_native()
            with contextlib.suppress(OSError):  # it may be closed
                self._kept = os.dup(OUT)
            try:
                os.dup2(ERR, OUT)
            except OSError:  # standard error is closed
                null = os.open(os.devnull, os.O_WRONLY)
                if null != OUT:
                    os.dup2(null, OUT)
                    os.close(null)

    def leave(self) -> None:
        """Point it back when nobody needs it away any more."""
        with self.lock:
            self._users -= 1
            if self._users:
                return
            flush_native()
            if self._kept is None:
                os.close(OUT)
                return
            os.dup2(self._kept, OUT)
            os.close(self._kept)
            self._kept = None


_detour = _Detour()  # one for the process, as the descriptor is


@contextlib.contextmanager
def native_output_to_stderr() -> Iterator[None]:
    """Point file descriptor 1 at standard error meanwhile.

    Calls may be nested and overlap in several threads; the last one to leave points the descriptor back.  It
    is the whole process' descriptor: what other threads write to it meanwhile goes to standard error too, so
    a library keeps this short.  A ``sys.stdout`` on another descriptor is not concerned.
    """
    _detour.enter()
    try:
        yield
    finally:
        _detour.leave()


@contextlib.contextmanager
def native_output_dropped() -> Iterator[None]:
    """Point file descriptor 1 at nothing meanwhile: for a few lines that are known and of no use to anybody.

    No other thread can begin or end a detour meanwhile.
    """
    with _detour.lock:
        flush_native()
        kept = None
        with contextlib.suppress(OSError):  # it may be closed
            kept = os.dup(OUT)
        null = os.open(os.devnull, os.O_WRONLY)
        if null != OUT:
            os.dup2(null, OUT)
            os.close(null)
        try:
            yield
        finally:
            flush_native()
            if kept is None:
                os.close(OUT)
            else:
                os.dup2(kept, OUT)
                os.close(kept)


def flush_native() -> None:
    """Have the C library write what it holds back, to where its writer meant it to go."""
    with contextlib.suppress(OSError, TypeError, AttributeError):  # no C library is found by that name
        ctypes.CDLL(None).fflush(None)
