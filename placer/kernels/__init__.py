"""Compiled inner loops: functions on plain arrays, no objects of the library.

Importing this package imports numba (about half a second); only methods that need a kernel do.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Any, TypeVar

import numba

__all__ = ["compiled"]

F = TypeVar("F", bound=Callable[..., Any])


def compiled(function: F) -> F:
    """Compile a function at its first call and keep the machine code on disk where that is possible.

    numba looks for a writable folder: ``NUMBA_CACHE_DIR``, the folder of the source file, then the user's
    cache folder.  Where none is writable it refuses at decoration; then the function is compiled in memory.
    """
    try:
        cached: F = numba.njit(cache=True, nogil=True)(function)
    except RuntimeError:
        return numba.njit(nogil=True)(function)  # type: ignore[no-any-return]
    return cached
