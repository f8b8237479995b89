"""Arrays as the kernels see them.

Kernels are Python that Cython compiles when the package is built; what the compiler needs to know stands in
the ``.pxd`` file beside each.  Where there is no C compiler the same source runs as it is, correct but slow.
"""

from __future__ import annotations

from collections.abc import Callable
from functools import cache
from importlib.util import find_spec
from typing import Any

import numpy as np
import numpy.typing as npt

__all__ = ["INTERPRETED", "are_compiled", "bind", "fixed", "view"]

INTERPRETED = "kernels run interpreted, many times slower: pip install compiles them, with a C compiler"
A_KERNEL = "placer.methods.downsets.kernels.threshold"


@cache
def are_compiled() -> bool:
    """Whether the kernels were compiled when the package was built."""
    spec = find_spec(A_KERNEL)
    return spec is None or not str(spec.origin).endswith(".py")


def view(array: npt.NDArray[Any]) -> Any:
    """Return an array for a kernel that changes it; it must be C-contiguous, since a copy would not change.

    Its elements are plain numbers to Python too, and truth values bytes.
    """
    return (array.view(np.uint8) if array.dtype == np.bool_ else array).data


def fixed(array: npt.NDArray[Any]) -> Any:
    """Return an array for a kernel that only reads it."""
    return view(np.require(array, requirements=("C", "W")))


def bind(kernel_view: Any, arrays: Any, convert: Callable[[npt.NDArray[Any]], Any]) -> None:
    """Give a view of a kernel all fields of a named tuple: arrays by `view` or `fixed`, the rest as it is."""
    for name, value in arrays._asdict().items():
        setattr(kernel_view, name, convert(value) if isinstance(value, np.ndarray) else value)
