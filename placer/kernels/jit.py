"""Compilation of kernels: cached on disk where some cache folder is writable, in memory elsewhere."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any, TypeVar

import numba

__all__ = ["jit"]

F = TypeVar("F", bound=Callable[..., Any])


def jit(function: F) -> F:
    """Compile ``function`` without the interpreter lock, cached on disk if that is possible.

    Numba tries the folder of the source and then the user's cache folder; where neither is writable it
    refuses to cache, and the kernel is compiled afresh in each process.
    """
    try:
        compiled = numba.njit(cache=True, nogil=True)(function)
    except RuntimeError:
        compiled = numba.njit(nogil=True)(function)
    return compiled  # type: ignore[no-any-return]
