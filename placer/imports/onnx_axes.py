"""What the operators of an ONNX graph say of the dimensions of their tensors."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

from placer.imports.axis_rules import AxisRules
from placer.imports.onnx_flops import ELEMENTWISE, words
from placer.imports.onnx_shapes.traced import Trace, reads
from placer.imports.tensor_axes import Axes

__all__ = ["onnx_axes"]

POINTWISE = ELEMENTWISE | words(
    "Identity Dropout Expand Gelu FastGelu BiasGelu QuickGelu Elu Selu Celu HardSwish HardSigmoid Mish Swish",
    "Softplus Softsign Sum Mean Max Min CastLike",
)
SHOWN = words("Reshape Flatten Squeeze Unsqueeze")
SOFTMAX = words("Softmax LogSoftmax Hardmax")
NORMS = words("LayerNormalization RMSNormalization SimplifiedLayerNormalization")
REDUCED = words("ReduceMean ReduceSum ReduceMax ReduceMin ReduceL2 ReduceProd ReduceSumSquare")
POOLS = words("MaxPool AveragePool GlobalAveragePool GlobalMaxPool")
TAKEN = words("Slice Pad Resize Upsample")


def onnx_axes(trace: Trace) -> Axes:
    """Find which dimensions can be divided; of tensors inside loops and branches none.

    Parameters
    ----------
    trace
        The graph.
    """
    found = _OnnxAxes(trace)
    for step in trace.steps:
        found.see(step.node)
    return found


class _OnnxAxes(AxisRules):
    """Applies the rule of each operator; of operators without one everything stays whole."""

    def __init__(self, trace: Trace) -> None:
        super().__init__()
        self.trace = trace
        self.constants |= set(trace.weights)
        made = {name for step in trace.steps for name in step.node.output}
        for name in trace.tensors:
            self._register(name)
            if name not in made and name not in self.constants:
                self.keep_tensors([name])  # every device is given the model's inputs

    def _register(self, name: str) -> None:
        held = self.trace.tensors[name]
        if held.shape is not None and held.elements is None and all(n > 0 for n in held.shape):
            self.add(name, held.shape)

    def see(self, node: Any) -> None:
        """Note what an operator says."""
        every = list(dict.fromkeys(reads(node)))
        results = [name for name in node.output if name in self.dims]
        if all(name in self.constants or self._number(name) for name in every):
            self.constants.update(results)
        known = [name for name in every if name in self.dims]
        if not results or all(self._number(name) for name in every):
            return  # nothing that anybody divides, or a weight in the making
        if not self._ruled(node, results):
            self.keep_tensors([*known, *results])

    def _number(self, name: str) -> bool:
        return self.trace.find(name).value is not None

    def _ruled(self, node: Any, results: list[str]) -> bool:
        """Apply the rule of an operator; False where it has none that fits."""
        from onnx import helper

        attributes = {a.name: helper.get_attribute_value(a) for a in node.attribute}
        given = [name for name in node.input if name]
        rule = self._rule(node.op_type)
        try:
            return rule is not None and rule(given, results, attributes)
        except (IndexError, KeyError, TypeError, ValueError):
            return False  # not the operands that such an operator has

    def _rule(self, op: str) -> Any:
        for names, rule in (
            (POINTWISE, self._pointwise),
            (SHOWN, self._shown),
            (SOFTMAX, self._softmax),
            (NORMS, self._norm),
            (REDUCED, self._reduced),
            (POOLS, self._pooled),
            (TAKEN, self._taken),
        ):
            if op in names:
                return rule
        return {
            "BatchNormalization": self._channels,
            "Transpose": self._permuted,
            "Split": self._cut,
            "Concat": self._put_together,
            "MatMul": self._product,
            "Gemm": self._gemm,
            "Gather": self._gathered,
            "Conv": self._convolved,
        }.get(op)

    def _pointwise(self, given: list[str], results: list[str], attributes: dict[str, Any]) -> bool:
        for result in results:
            self.alike([name for name in given if name in self.dims], result)
        return True

    def _shown(self, given: list[str], results: list[str], attributes: dict[str, Any]) -> bool:
        self.reshaped(given[0], results[0])
        return True

    def _softmax(self, given: list[str], results: list[str], attributes: dict[str, Any]) -> bool:
        self.over(given[:1], results[0], [attributes.get("axis", -1)])
        return True

    def _norm(self, given: list[str], results: list[str], attributes: dict[str, Any]) -> bool:
        axis, rank = attributes.get("axis", -1), len(self.dims[results[0]])
        self.over(given, results[0], range(axis % rank, rank))
        self.keep_tensors(results[1:])
        return True

    def _reduced(self, given: list[str], results: list[str], attributes: dict[str, Any]) -> bool:
        axes: Sequence[int] | None = attributes.get("axes")
        if axes is None and len(given) > 1:
            value = self.trace.find(given[1]).value
            axes = None if value is None else [int(n) for n in value.reshape(-1)]
        rank = len(self.dims[given[0]])
        kept = len(self.dims[results[0]]) == rank
        self.reduced(given[0], results[0], list(range(rank)) if axes is None else axes, kept=kept)
        return True

    def _pooled(self, given: list[str], results: list[str], attributes: dict[str, Any]) -> bool:
        for result in results:
            self.taken(given[0], result)
            self.keep([f for dim in self.dims[result][2:] for f in dim])
        return True

    def _taken(self, given: list[str], results: list[str], attributes: dict[str, Any]) -> bool:
        if len(self.dims[given[0]]) == len(self.dims[results[0]]):
            self.taken(given[0], results[0])
        else:
            self.alike(given[:1], results[0])
        return True

    def _channels(self, given: list[str], results: list[str], attributes: dict[str, Any]) -> bool:
        self.alike(given[:1], results[0])
        for vector in given[1:]:
            self.same(self.dims[vector][0], self.dims[results[0]][1])
        return len(results) == 1

    def _permuted(self, given: list[str], results: list[str], attributes: dict[str, Any]) -> bool:
        order = attributes.get("perm") or range(len(self.dims[given[0]]))[::-1]
        self.permuted(given[0], results[0], order)
        return True

    def _cut(self, given: list[str], results: list[str], attributes: dict[str, Any]) -> bool:
        axis = attributes.get("axis", 0)
        sizes = [self.shape(name)[axis] for name in results]
        if sum(sizes) != self.shape(given[0])[axis]:
            return False  # a part of it is read by nobody
        self.cut(given[0], results, axis)
        return True

    def _put_together(self, given: list[str], results: list[str], attributes: dict[str, Any]) -> bool:
        for name in given:
            self.taken(name, results[0])
        return True

    def _product(self, given: list[str], results: list[str], attributes: dict[str, Any]) -> bool:
        self.product(given[0], given[1], results[0])
        return True

    def _gemm(self, given: list[str], results: list[str], attributes: dict[str, Any]) -> bool:
        labels = ["km" if attributes.get("transA") else "mk", "nk" if attributes.get("transB") else "kn"]
        self.labelled(list(zip(given, labels, strict=False)), "mn", results[0])
        self.alike(given[2:], results[0])
        return True

    def _gathered(self, given: list[str], results: list[str], attributes: dict[str, Any]) -> bool:
        table, rows = given[:2]
        axis = attributes.get("axis", 0)
        if table in self.constants and axis == 0:
            self.looked_up(table, rows, results[0])
        elif not self.dims.get(rows, [0]):  # a single index
            self.picked(table, results[0], axis)
        else:
            return False
        return True

    def _convolved(self, given: list[str], results: list[str], attributes: dict[str, Any]) -> bool:
        self.convolved(given[0], given[1], results[0])
        for bias in given[2:]:
            self.same(self.dims[bias][0], self.dims[results[0]][1])
        return True
