"""Where an instance comes from: the model it was made of, and what each node stands for in it."""

from __future__ import annotations

from dataclasses import dataclass

__all__ = ["Origin", "Source"]


@dataclass(frozen=True)
class Origin:
    """What a node stands for in the model; no plan depends on it, exports do.

    Parameters
    ----------
    op
        Operator type, such as ``Conv``; None where several are merged.
    module
        Dotted path of the module, such as ``encoder.layer.3``.
    operators
        Names of the operators in the source model: for ONNX the first output tensor of each (unique in a
        graph, while names may be empty), for torch the names in the exported graph.
    parameters
        Names of the parameters and buffers that the node reads.
    flops
        Floating-point operations (a multiply-add counts as two); None when unknown.
    """

    op: str | None = None
    module: str | None = None
    operators: tuple[str, ...] = ()
    parameters: tuple[str, ...] = ()
    flops: float | None = None


@dataclass(frozen=True)
class Source:
    """The model file or factory that an instance was imported from.

    Parameters
    ----------
    kind
        ``onnx``, ``torch``, ``pipedream``, ``hf`` or ``gguf``.
    name
        File name (without its folder) or ``module:factory``.
    sha256
        Hash of the file; None for models that are built.
    notes
        How it was imported, one line each: precision, dimensions, operators without a FLOP rule.
    """

    kind: str
    name: str
    sha256: str | None = None
    notes: tuple[str, ...] = ()
