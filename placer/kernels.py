"""Arrays as the kernels see them.

Kernels are Python that Cython compiles when the package is built (what the compiler needs to know stands in the
``.pxd`` file beside each); where there is no C compiler the same source runs as it is, correct but slow.
"""

from __future__ import annotations

from typing import Any

import cython
import numpy as np
import numpy.typing as npt

__all__ = ["fixed", "view"]


def view(array: npt.NDArray[Any]) -> Any:
    """Return an array for a kernel that changes it: itself, or plain numbers where nothing is compiled.

    Truth values become bytes; the array must be C-contiguous, since a copy would not be changed.
    """
    if array.dtype == np.bool_:
        array = array.view(np.uint8)
    return array if cython.compiled else memoryview(array)


def fixed(array: npt.NDArray[Any]) -> Any:
    """Return an array for a kernel that only reads it."""
    return view(np.ascontiguousarray(array))
