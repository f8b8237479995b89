"""Number formats: how many bytes a floating-point tensor takes, and which peak of a device applies."""

from __future__ import annotations

from placer.choices import none_of
from placer.errors import UsageError

__all__ = ["PRECISIONS", "WIDER", "check_precision", "float_bytes"]

PRECISIONS: dict[str, float] = {"fp32": 4, "tf32": 4, "fp16": 2, "bf16": 2, "int8": 1}
"""Bytes per number."""

WIDER: dict[str, tuple[str, ...]] = {
    "int8": ("int8", "fp16", "bf16", "fp32"),
    "fp16": ("fp16", "fp32"),
    "bf16": ("bf16", "fp32"),
    "tf32": ("tf32", "fp32"),
    "fp32": ("fp32",),
}
"""Where a device lacks a format, it computes in the next of these that it has."""


def check_precision(precision: str | None) -> None:
    """Refuse formats that are not known.

    Raises
    ------
    UsageError
        Naming those that are.
    """
    if precision is not None and precision not in PRECISIONS:
        raise UsageError(none_of("precision", precision, PRECISIONS))


def float_bytes(precision: str | None, itemsize: float) -> float:
    """Bytes of one floating-point number: of the chosen format, or as the model has it."""
    return itemsize if precision is None else PRECISIONS[precision]
