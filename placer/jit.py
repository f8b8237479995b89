"""Compilation of the kernels: cached on disk where that is possible."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any, TypeVar, cast

import numba

__all__ = ["compiled", "jit", "jit_inline"]

F = TypeVar("F", bound=Callable[..., Any])

_njit: Any = numba.njit  # "_nrt" is missing from its type hints


def compiled(function: F) -> F:
    """Compile ``function`` without the interpreter lock, cached on disk if that is possible.

    Numba tries the folder of the source and then the user's cache folder; where neither is writable it
    refuses to cache, and the kernel is compiled afresh in each process.
    """
    return _cached(function)


def jit(function: F) -> F:
    """Compile a kernel that allocates nothing, as `compiled`, without reference counts.

    Those are atomic instructions at each access to an array in a tuple: without them such kernels run
    many times faster.
    """
    return _cached(function, _nrt=False)


def jit_inline(function: F) -> F:
    """Compile a helper into whatever kernel calls it.

    Named tuples of arrays are passed by value, some hundred words each: too much for a call in an inner
    loop.
    """
    return cast(F, _njit(nogil=True, forceinline=True, _nrt=False)(function))


def _cached(function: F, **options: bool) -> F:
    try:
        return cast(F, _njit(cache=True, nogil=True, **options)(function))
    except RuntimeError:
        return cast(F, _njit(nogil=True, **options)(function))
