"""Types of NumPy arrays, whose shapes stand in the docstrings of what uses them; and what NumPy lacks."""

from __future__ import annotations

import dataclasses

import numpy as np
import numpy.typing as npt

__all__ = ["BoolArray", "FloatArray", "IntArray", "distinct", "freeze"]

FloatArray = npt.NDArray[np.float64]
IntArray = npt.NDArray[np.int64]
BoolArray = npt.NDArray[np.bool_]


def distinct(numbers: IntArray) -> IntArray:
    """Different numbers, ``(m,)``, or rows, ``(m, k)``, ascending (``np.unique`` imports masked arrays)."""
    rows = np.atleast_2d(numbers.T).T
    rows = rows[np.lexsort(rows.T[::-1])]
    new = np.ones(len(rows), dtype=np.bool_)
    new[1:] = (rows[1:] != rows[:-1]).any(axis=1)
    return rows[new].reshape(-1, *numbers.shape[1:])


def freeze(record: object) -> None:
    """Make the arrays of a frozen dataclass its own, and read-only; the caller's stay the caller's."""
    for field in dataclasses.fields(record):  # type: ignore[arg-type]
        value = getattr(record, field.name)
        if isinstance(value, np.ndarray) and (value.flags.writeable or value.base is not None):
            value = np.array(value)
            value.setflags(write=False)
            object.__setattr__(record, field.name, value)
