"""Processes: how much memory they hold, and how they end with the one that started them."""

from __future__ import annotations

import contextlib
import ctypes
import os
import signal
import sys
import time
from pathlib import Path

__all__ = ["LIBRARIES_MB", "Allowance", "allocated_mb", "die_with", "peak_memory_mb", "resident_mb"]

LIBRARIES_MB = 150.0
"""Solvers and kernels, loaded during a search: resident memory that no limit counts, MiB."""
LOOK_S = 0.05
"""Seconds between two looks at the memory."""


def resident_mb(pid: int | None = None) -> float:
    """Return the resident memory of a process (this one when None) in MiB; 0.0 where nobody tells."""
    return _statm_mb(pid, 1)


def allocated_mb() -> float:
    """Return what this process may write to, touched or not, in MiB; 0.0 where nobody tells."""
    return _statm_mb(None, 5)


def _statm_mb(pid: int | None, column: int) -> float:
    try:
        pages = int(Path(f"/proc/{pid or 'self'}/statm").read_text().split()[column])
    except (OSError, IndexError, ValueError):
        return 0.0
    return pages * os.sysconf("SC_PAGE_SIZE") / 2**20


def peak_memory_mb() -> float | None:
    """Largest resident memory so far, in MiB, of this process or of one that it started and that ended."""
    try:
        import resource
    except ImportError:
        return None
    unit = 2**20 if sys.platform == "darwin" else 2**10
    children = resource.getrusage(resource.RUSAGE_CHILDREN).ru_maxrss / unit
    status = Path("/proc/self/status")
    if status.is_file():
        # Not getrusage: what it reports survives an exec, so that a child starts with its parent's peak.
        for line in status.read_text().splitlines():
            if line.startswith("VmHWM:"):
                return max(children, int(line.split()[1]) / 1024)
    return max(children, resource.getrusage(resource.RUSAGE_SELF).ru_maxrss / unit)


class Allowance:
    """The memory that a search may take: resident memory beyond what the process holds now and libraries.

    Parameters
    ----------
    limit_mb
        MiB.
    """

    def __init__(self, limit_mb: float) -> None:
        self.limit_mb = limit_mb
        self._free = resident_mb() + LIBRARIES_MB
        self._next = 0.0
        self._exceeded = False

    def exceeded(self) -> bool:
        """Whether this process took more, now or earlier."""
        now = time.monotonic()
        if not self._exceeded and now >= self._next:
            self._next = now + LOOK_S
            self._exceeded = self.taken_mb() > self.limit_mb
        return self._exceeded

    def taken_mb(self, pid: int | None = None) -> float:
        """Return what a process, this one or its fork, took so far in MiB."""
        return resident_mb(pid) - self._free


def die_with(parent: int) -> None:
    """Have the kernel end this process when its parent ends, and prefer it when memory runs out."""
    if not sys.platform.startswith("linux"):
        return
    set_parent_death_signal = 1
    ctypes.CDLL(None).prctl(set_parent_death_signal, signal.SIGKILL)
    if os.getppid() != parent:  # it ended before the kernel knew
        os._exit(1)
    with contextlib.suppress(OSError):
        Path("/proc/self/oom_score_adj").write_text("500")
