"""Arrays as the kernels see them.

Kernels are Python that Cython compiles when the package is built; what the compiler needs to know stands in
the ``.pxd`` file beside each.  Where there is no C compiler the same source runs as it is, correct but slow.
"""

from __future__ import annotations

from typing import Any

import numpy as np
import numpy.typing as npt

__all__ = ["fixed", "view"]


def view(array: npt.NDArray[Any]) -> Any:
    """Return an array for a kernel that changes it; it must be C-contiguous, since a copy would not change.

    Its elements are plain numbers to Python too, and truth values bytes.
    """
    return (array.view(np.uint8) if array.dtype == np.bool_ else array).data


def fixed(array: npt.NDArray[Any]) -> Any:
    """Return an array for a kernel that only reads it."""
    return view(np.require(array, requirements=("C", "W")))
