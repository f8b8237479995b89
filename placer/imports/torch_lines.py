"""Which line of the user's code is behind what torch does."""

from __future__ import annotations

import linecache
import re
import sys
import traceback
from pathlib import Path
from types import TracebackType

__all__ = ["said_of_line"]

STACK_LINE = re.compile(r'File "(.+?)", line (\d+), in .*\n(.*)')


def said_of_line(trace: TracebackType | str | None) -> str:
    """Say which line of the user's code is behind something; of a library if there is none, empty if unknown.

    Parameters
    ----------
    trace
        The traceback of an error, or the trace that an exported graph has of an operator.
    """
    if isinstance(trace, str):
        found = STACK_LINE.findall(trace)
        lines = [(file, int(number), code.strip()) for file, number, code in found]
    else:
        lines = [
            (frame.f_code.co_filename, number, linecache.getline(frame.f_code.co_filename, number).strip())
            for frame, number in traceback.walk_tb(trace)
        ]
    lines = [line for line in lines if not _is_inside(line[0])]
    if not lines:
        return ""
    file, number, code = lines[-1]
    return f"{_shortened(file)}:{number}: {code}"


def _is_inside(file: str) -> bool:
    """Whether a file belongs to torch or to this package, or is none."""
    import torch

    own = (str(Path(torch.__file__).parent), str(Path(__file__).parents[1]))
    return file.startswith((*own, "<")) or "importlib" in file


def _shortened(file: str) -> str:
    """Path of a file without the folder that its package lies in."""
    for folder in sorted((str(Path(f).resolve()) for f in sys.path if f), key=len, reverse=True):
        if file.startswith(f"{folder}/"):
            return file.removeprefix(f"{folder}/")
    return file
