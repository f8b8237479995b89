"""Element types of ONNX: how many bytes they take, and which of our formats they are."""

from __future__ import annotations

__all__ = ["format_name", "is_float", "item_bytes"]

BYTES: dict[int, float] = {
    1: 4, 2: 1, 3: 1, 4: 2, 5: 2, 6: 4, 7: 8, 8: 8, 9: 1, 10: 2, 11: 8, 12: 4, 13: 8, 14: 8, 15: 16, 16: 2,
    17: 1, 18: 1, 19: 1, 20: 1, 21: 0.5, 22: 0.5, 23: 0.5, 24: 1, 25: 0.25, 26: 0.25,
    27: 0.75, 28: 0.75,
}  # fmt: skip
"""By ``TensorProto.DataType``; of text (8) a pointer."""
FLOATS = {1: "fp32", 10: "fp16", 11: "fp32", 16: "bf16"}


def item_bytes(kind: int) -> float | None:
    """Bytes of an element; None for a type that is not known."""
    return BYTES.get(kind)


def is_float(kind: int) -> bool:
    """Whether it is a floating-point type that weights are trained in."""
    return kind in FLOATS


def format_name(kind: int) -> str:
    """Name of the format that is computed in: int8 for eight bits or fewer, whole numbers or not."""
    return FLOATS.get(kind) or ("int8" if BYTES.get(kind, 4) <= 1 and kind != 9 else "fp32")
