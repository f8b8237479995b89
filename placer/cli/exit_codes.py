"""What the exit code of a command says."""

from __future__ import annotations

from enum import IntEnum

__all__ = ["EXIT_CODES", "ExitCode"]


class ExitCode(IntEnum):
    """Exit codes of all commands."""

    DONE = 0
    DOES_NOT_HOLD = 1
    BAD_INPUT = 2
    INFEASIBLE = 3
    NO_PLAN = 4
    INTERNAL = 70  # EX_SOFTWARE of sysexits.h
    INTERRUPTED = 130


EXIT_CODES = """\
exit codes: 0 a verified placement is there; 1 (check, compare, simulate) something does not hold; 2 bad
usage or bad input; 3 proven infeasible; 4 stopped with no placement; 130 interrupted (the best placement so
far is kept)
"""
"""For help texts."""
