"""What the calls of an exported PyTorch graph say of the dimensions of their tensors."""

from __future__ import annotations

from collections.abc import Callable, Collection
from functools import partial
from typing import Any

from placer.imports.axis_rules import AxisRules
from placer.imports.onnx_flops import words
from placer.imports.tensor_axes import Axes
from placer.imports.torch_costs import is_part, name_of, tensors_in

__all__ = ["torch_axes"]

SAME = words(
    "expand clone contiguous _to_copy to detach alias dropout native_dropout lift_fresh_copy type_as where",
    "masked_fill",
)
SHOWN = words("view reshape _unsafe_view flatten unflatten squeeze unsqueeze view_copy")
SOFTMAX = words("softmax _softmax _safe_softmax log_softmax _log_softmax cumsum")
NORMS = words("layer_norm native_layer_norm rms_norm _fused_rms_norm")
CHANNELS = words("batch_norm _native_batch_norm_legit_no_training native_batch_norm")
REDUCED = words("mean sum amax amin var std any all prod logsumexp linalg_vector_norm argmax argmin")
POOLS = words("max_pool2d max_pool2d_with_indices avg_pool2d adaptive_avg_pool2d _adaptive_avg_pool2d")
GROUPED = words("_grouped_mm grouped_mm grouped_mm_fallback")
TAKEN = words("pad constant_pad_nd narrow")


def torch_axes(graph: Any, weights: Collection[str]) -> Axes:
    """Find which dimensions can be divided.

    Parameters
    ----------
    graph
        The exported graph.
    weights
        Names of the nodes that stand for weights and buffers.
    """
    found = _TorchAxes(weights)
    for node in graph.nodes:
        found.see(node)
    return found


class _TorchAxes(AxisRules):
    """Applies the rule of each call; of calls without one everything stays whole."""

    def __init__(self, weights: Collection[str]) -> None:
        super().__init__()
        self.constants |= set(weights)

    def see(self, node: Any) -> None:
        """Register what a call returns, and what it says."""
        tensors = tensors_in(node.meta.get("val"))
        if node.op == "output" or not tensors:
            return
        several = isinstance(node.meta["val"], list | tuple)
        results = [user for user in node.users if is_part(user)] if several else [node]
        if not is_part(node):
            for result in results:
                for tensor in tensors_in(result.meta.get("val"))[:1]:
                    self.add(result.name, [int(n) for n in tensor.shape])
        if node.op != "call_function" or is_part(node):
            if node.op == "placeholder" and node.name not in self.constants:
                self.keep_tensors([node.name])  # every device is given the model's inputs
            return
        reads = [n.name for n in node.all_input_nodes if n.name in self.dims]
        if self.constants.issuperset(reads):
            self.constants.update(result.name for result in results)
        names = [result.name for result in results if result.name in self.dims]
        if not names or not reads:
            return
        rule = self._rule(node)
        try:
            rule(node, reads, names)
        except (AttributeError, IndexError, KeyError, TypeError, ValueError):
            self.keep_tensors([*reads, *names])  # not the arguments that such a call has

    def _rule(self, node: Any) -> Callable[[Any, list[str], list[str]], None]:
        name = name_of(node.target)
        if name in RULES:
            return partial(RULES[name], self)
        import torch

        if torch.Tag.pointwise in getattr(node.target, "tags", ()):
            return self._alike
        return self._without_rule

    def _without_rule(self, node: Any, reads: list[str], results: list[str]) -> None:
        self.keep_tensors([*reads, *results])

    def _alike(self, node: Any, reads: list[str], results: list[str]) -> None:
        for result in results:
            self.alike(reads, result)

    def _shown(self, node: Any, reads: list[str], results: list[str]) -> None:
        self.reshaped(reads[0], results[0])

    def _softmax(self, node: Any, reads: list[str], results: list[str]) -> None:
        self.over(reads, results[0], [node.args[1]])

    def _norm(self, node: Any, reads: list[str], results: list[str]) -> None:
        first = next(result for result in results if self.shape(result) == self.shape(reads[0]))
        self.over(reads, first, range(-len(node.args[1]), 0))
        self.keep_tensors(result for result in results if result != first)

    def _channels(self, node: Any, reads: list[str], results: list[str]) -> None:
        self.alike(reads[:1], results[0])
        for vector in reads[1:]:
            self.same(self.dims[vector][0], self.dims[results[0]][1])

    def _reduced(self, node: Any, reads: list[str], results: list[str]) -> None:
        dims = node.args[1] if len(node.args) > 1 else node.kwargs.get("dim")
        rank = len(self.dims[reads[0]])
        dims = list(range(rank)) if dims in (None, []) else [dims] if isinstance(dims, int) else dims
        self.reduced(reads[0], results[0], dims, kept=len(self.dims[results[0]]) == rank)

    def _permuted(self, node: Any, reads: list[str], results: list[str]) -> None:
        self.permuted(reads[0], results[0], node.args[1])

    def _transposed(self, node: Any, reads: list[str], results: list[str]) -> None:
        rank = len(self.dims[reads[0]])
        order = list(range(rank))
        a, b = (0, 1) if name_of(node.target) == "t" else node.args[1:3]
        order[a], order[b] = order[b], order[a]
        self.permuted(reads[0], results[0], order)

    def _taken(self, node: Any, reads: list[str], results: list[str]) -> None:
        if len(self.dims[reads[0]]) == len(self.dims[results[0]]):
            self.taken(reads[0], results[0])
        else:
            self.alike(reads, results[0])

    def _picked(self, node: Any, reads: list[str], results: list[str]) -> None:
        self.picked(reads[0], results[0], node.args[1] if len(node.args) > 1 else 0)

    def _unbound(self, node: Any, reads: list[str], results: list[str]) -> None:
        for result in results:
            self.picked(reads[0], result, node.args[1] if len(node.args) > 1 else 0)

    def _cut(self, node: Any, reads: list[str], results: list[str]) -> None:
        parts = sorted((user for user in node.users if is_part(user)), key=lambda user: user.args[1])
        if len(parts) < len(node.meta["val"]):
            self.keep_tensors([*reads, *results])  # one of them is read by nobody
            return
        dim = node.args[2] if len(node.args) > 2 else node.kwargs.get("dim", 0)
        self.cut(reads[0], [part.name for part in parts], dim)

    def _sliced(self, node: Any, reads: list[str], results: list[str]) -> None:
        """Take a part of a dimension; where all parts of it are taken, it is cut."""
        ways = [user for user in node.args[0].users if user.target is node.target]
        parts = sorted((user for user in ways if _span(user)[0] == _span(node)[0]), key=_span)
        dim, start, end = zip(*map(_span, parts), strict=True)
        size = self.shape(reads[0])[dim[0]]
        if start[0] == 0 and start[1:] == end[:-1] and end[-1] == size and end[0] < size:
            if node is parts[-1]:  # the results of all are registered
                self.cut(reads[0], [part.name for part in parts], dim[0])
        else:
            self.taken(reads[0], results[0])

    def _put_together(self, node: Any, reads: list[str], results: list[str]) -> None:
        for read in reads:
            self.taken(read, results[0])

    def _linear(self, node: Any, reads: list[str], results: list[str]) -> None:
        x, weight, *bias = (arg.name for arg in node.args if hasattr(arg, "name"))
        self.product(x, weight, results[0], transposed=True)
        self.alike(bias, results[0])

    def _product(self, node: Any, reads: list[str], results: list[str]) -> None:
        *added, a, b = (arg.name for arg in node.args if hasattr(arg, "name"))
        self.product(a, b, results[0])
        self.alike(added, results[0])

    def _grouped(self, node: Any, reads: list[str], results: list[str]) -> None:
        a, b = (arg.name for arg in node.args[:2])
        if [len(self.dims[name]) for name in (a, b)] != [2, 3]:
            self.keep_tensors([*reads, *results])
            return
        self.labelled([(a, "mk"), (b, "gkn")], "mn", results[0])
        self.keep(self.dims[b][0])

    def _einsum(self, node: Any, reads: list[str], results: list[str]) -> None:
        left, _, result = str(node.args[0]).replace(" ", "").partition("->")
        operands = [(arg.name, labels) for arg, labels in zip(node.args[1], left.split(","), strict=True)]
        self.labelled(operands, result, results[0])

    def _looked_up(self, node: Any, reads: list[str], results: list[str]) -> None:
        table, rows = (arg.name for arg in node.args[:2])
        self.looked_up(table, rows, results[0])

    def _attention(self, node: Any, reads: list[str], results: list[str]) -> None:
        query, key, value, *masks = (arg.name for arg in node.args[:4] if hasattr(arg, "name"))
        masks += [arg.name for arg in node.kwargs.values() if hasattr(arg, "name")]
        self.attention(query, key, value, results[0])
        for mask in masks:
            *_, heads, queries, keys = [[], *self.dims[mask]]
            if heads and self.shape(mask)[-3] == self.shape(query)[-3]:
                self.same(heads, self.dims[query][-3])
            self.keep([*queries, *keys])

    def _convolved(self, node: Any, reads: list[str], results: list[str]) -> None:
        self.convolved(reads[0], reads[1], results[0])
        for bias in reads[2:]:
            self.same(self.dims[bias][0], self.dims[results[0]][1])

    def _pooled(self, node: Any, reads: list[str], results: list[str]) -> None:
        for result in results:
            self.taken(reads[0], result)
            self.keep([f for dim in self.dims[result][2:] for f in dim])


RULES: dict[str, Any] = {
    **dict.fromkeys(SAME, _TorchAxes._alike),
    **dict.fromkeys(SHOWN, _TorchAxes._shown),
    **dict.fromkeys(SOFTMAX, _TorchAxes._softmax),
    **dict.fromkeys(NORMS, _TorchAxes._norm),
    **dict.fromkeys(CHANNELS, _TorchAxes._channels),
    **dict.fromkeys(REDUCED, _TorchAxes._reduced),
    **dict.fromkeys(POOLS, _TorchAxes._pooled),
    **dict.fromkeys(GROUPED, _TorchAxes._grouped),
    **dict.fromkeys(TAKEN, _TorchAxes._taken),
    **dict.fromkeys(words("addmm baddbmm mm bmm matmul"), _TorchAxes._product),
    **dict.fromkeys(words("split split_with_sizes chunk unsafe_split tensor_split"), _TorchAxes._cut),
    **dict.fromkeys(words("conv1d conv2d conv3d"), _TorchAxes._convolved),
    **dict.fromkeys(words("t transpose swapaxes"), _TorchAxes._transposed),
    "slice": _TorchAxes._sliced,
    "permute": _TorchAxes._permuted,
    "select": _TorchAxes._picked,
    "unbind": _TorchAxes._unbound,
    "cat": _TorchAxes._put_together,
    "linear": _TorchAxes._linear,
    "einsum": _TorchAxes._einsum,
    "embedding": _TorchAxes._looked_up,
    "scaled_dot_product_attention": _TorchAxes._attention,
}
"""Rules by operator, of those that are not pointwise."""


def _span(node: Any) -> tuple[int, int, int]:
    """Dimension that a slice cuts, its first element and its end, both from the beginning."""
    shape = [int(n) for n in node.args[0].meta["val"].shape]
    dim = (node.args[1] if len(node.args) > 1 else 0) % len(shape)
    start, end, _ = slice(*node.args[2:5]).indices(shape[dim])
    return dim, start, end
