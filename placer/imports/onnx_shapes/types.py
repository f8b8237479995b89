"""Element types of all tensors of a model, whatever the sizes of its inputs."""

from __future__ import annotations

from typing import Any

from placer.imports.onnx_shapes.tracer import Tracer

__all__ = ["element_types"]


def element_types(model: Any) -> dict[str, int]:
    """Find the element types (``TensorProto.DataType``) that can be inferred, by tensor."""
    tensors = Tracer(model, lenient=True).run().tensors
    return {name: t.kind for name, t in tensors.items() if t.kind and t.elements is None}
