"""Attention in ONNX graphs: what one kernel can do of product, softmax and product, and what it reads.

What a kernel does, and what not, is said in `placer.imports.torch_attention`. Here it is found in graphs that
write transposes as copies, scales of queries and keys as operators, and guards around the softmax.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass, replace
from typing import Any

from placer.imports.model import Kind, Operator, Weight
from placer.imports.onnx_attention_calls import as_kernel, slots
from placer.imports.onnx_flops import words

__all__ = ["KERNEL", "Call", "Tensors", "as_kernels"]

KERNEL = "FusedAttention"
PRODUCTS = words("MatMul Einsum FusedMatMul")
VIEWS = words("Reshape Squeeze Unsqueeze Flatten Identity Transpose")
REPEATS = words("Expand Tile")
SCALES = words("Mul Div")
ON_SCORES = VIEWS | words("Mul Div Add Sub Where Cast Max Tanh Neg Concat Dropout")
ON_SHARES = VIEWS | words("Mul Where Cast Slice Dropout")
LONGEST = 40
"""Operators between a product and its softmax at most."""
OUTSIDE = -1
"""Stands for what is no operator among the readers of a tensor: the model's caller."""
FEATURES, INPUTS = 1, 2
"""What may be behind a tensor: products with weights or rows of a table; inputs of the model."""


@dataclass(frozen=True)
class Call:
    """An operator with what is written in the file of it."""

    operator: Operator
    node: Any


@dataclass(frozen=True)
class Tensors:
    """What is known of tensors.

    Parameters
    ----------
    rank, size
        Number of axes; bytes.
    roots
        Weights behind a constant.
    weights
        By key.
    filled
        Weights that are one number in a shape: parts of masks.
    outputs
        Those that leave the graph.
    """

    rank: Callable[[str], int]
    size: Callable[[str], float]
    roots: Mapping[str, tuple[str, ...]]
    weights: Mapping[str, Weight]
    filled: frozenset[str]
    outputs: frozenset[str]

    def trained(self, keys: Sequence[str]) -> list[str]:
        """Those of some weights that may be trained."""
        return [key for key in keys if key not in self.filled and self.weights[key].trainable]

    def is_number(self, name: str) -> bool:
        """Whether a tensor is a constant with one element."""
        return name in self.roots and sum(self.weights[key].elements for key in self.roots[name]) == 1


def as_kernels(calls: Sequence[Call], tensors: Tensors) -> list[Operator]:
    """Replace attentions by one operator each, and leave out what nothing reads any more.

    Scores that something else reads, such as an output of the model, and such as meet what is computed with
    weights from the inputs, are left as they are.

    Parameters
    ----------
    calls
        The operators of a graph, in order.
    tensors
        What is known of its tensors.
    """
    return _Finder(calls, tensors).operators()


@dataclass(frozen=True)
class _Found:
    """An attention: indices of calls."""

    products: tuple[int, int]
    inner: frozenset[int]
    last: int
    reads: tuple[str, ...]
    biases: tuple[str, ...]


class _Finder:
    def __init__(self, calls: Sequence[Call], tensors: Tensors) -> None:
        self.calls, self.tensors = calls, tensors
        self.maker = {name: i for i, call in enumerate(calls) for name in call.node.output if name}
        self.readers: dict[str, set[int]] = {name: {OUTSIDE} for name in tensors.outputs}
        self.behind: dict[str, int] = {}
        for i, call in enumerate(calls):
            o = call.operator
            for name in {*o.inputs, *(n for n in call.node.input if n)}:
                self.readers.setdefault(name, set()).add(i)
            found = FEATURES if o.kind in (Kind.PRODUCT, Kind.LOOKUP) and tensors.trained(o.weights) else 0
            for name in o.inputs:
                found |= self.behind.get(name, INPUTS)
            self.behind |= dict.fromkeys(o.outputs, found)

    # -- what the graph becomes -----------------------------------------------------------------

    def operators(self) -> list[Operator]:
        found = list(self._attentions())
        kernels = {a.last: self._kernel(a) for a in found} | dict(self._own())
        gone = set().union(*(a.inner for a in found)) - kernels.keys()
        grown = {i for a in found for name in a.reads if (i := self._cache(name)) is not None}
        needed = {name for kernel in kernels.values() for name in kernel.inputs}
        for i in reversed(range(len(self.calls))):
            outputs = [name for name in self.calls[i].node.output if name]
            readers = set().union(*(self.readers.get(name, set()) for name in outputs))
            unread = readers and readers <= gone | kernels.keys() and not needed.intersection(outputs)
            if unread and i not in kernels:
                gone.add(i)
        out = []
        for i, call in enumerate(self.calls):
            if i in kernels:
                out.append(kernels[i])
            elif i not in gone:
                out.append(self._grown(call) if i in grown else call.operator)
        return out

    def _kernel(self, a: _Found) -> Operator:
        first, core = (self.calls[i].operator for i in a.products)
        tensors, reads = self.tensors, list(dict.fromkeys(self._pieces(a.reads)))
        weights = [key for name in reads for key in tensors.roots.get(name, ())] + list(a.biases)
        result = next(name for name in self.calls[a.last].node.output if name)
        moved = sum(tensors.size(name) for name in reads)
        moved += sum(tensors.weights[key].size_bytes for key in a.biases)
        return replace(
            core,
            op=KERNEL,
            members=tuple(m for i in sorted(a.inner) for m in self.calls[i].operator.members),
            inputs=tuple(name for name in reads if name not in tensors.roots),
            outputs=(result,),
            weights=tuple(dict.fromkeys(weights)),
            flops=(first.flops or 0.0) + (core.flops or 0.0),
            moved_bytes=tensors.size(result) + moved,
        )

    def _own(self) -> Iterator[tuple[int, Operator]]:
        """Attentions that are operators of their own."""
        for i, call in enumerate(self.calls):
            own = slots(call.node)
            if own is not None:
                met = [name for k in own.masks for name in call.node.input[k : k + 1] if name]
                masks = [name for name in met if self._is_mask(name) and not self._constants(name)]
                yield i, as_kernel(call.operator, call.node, own, self.tensors.size, masks)

    def _pieces(self, reads: Sequence[str]) -> Iterator[str]:
        """Read a cache, and what it grows by, instead of both together."""
        for name in reads:
            grown = self._cache(name)
            yield from [name] if grown is None else self.calls[grown].node.input

    def _cache(self, name: str) -> int | None:
        """Find the call that appends to an input of the model."""
        i = self.maker.get(name)
        if i is None or self.calls[i].node.op_type != "Concat" or len(self.calls[i].node.input) != 2:
            return None
        first = self.calls[i].node.input[0]
        return i if first not in self.maker and first not in self.tensors.roots else None

    def _grown(self, call: Call) -> Operator:
        return replace(call.operator, moved_bytes=2 * self.tensors.size(call.node.input[1]))

    # -- where attentions are -------------------------------------------------------------------

    def _attentions(self) -> Iterator[_Found]:
        for i, call in enumerate(self.calls):
            if call.node.op_type == "Softmax":
                made = self._around(i)
                if made is not None:
                    yield made

    def _around(self, softmax: int) -> _Found | None:
        """Attention around a softmax."""
        node = self.calls[softmax].node
        rank = self.tensors.rank(node.input[0])
        axis = next((a.i for a in node.attribute if a.name == "axis"), -1)
        if rank < 3 or axis not in (-1, rank - 1):
            return None
        before = self._scores(node.input[0], LONGEST)
        after = self._shares(softmax)
        if before is None or after is None:
            return None
        first, between, met = before
        *passed, last = after
        inner = {first, *between, softmax, *passed, last}
        if any(not self._read_by(i) <= inner for i in inner - {last}):
            return None
        (query, key), value = self.calls[first].node.input[:2], self.calls[last].node.input[1]
        if any(name in self.tensors.roots for name in (query, key, value)):
            return None  # a product with weights
        if not all(map(self._is_mask, met)):
            return None  # what scores meet is computed as they are
        sources = []
        for name in (query, key, value):
            source, more = self._source(name, inner)
            sources.append(source)
            inner |= more
        end, more = self._laid_out(last)
        biases = dict.fromkeys(key for name in met for key in self._constants(name))
        return _Found((first, last), frozenset(inner | more), end, tuple(sources), tuple(biases))

    def _read_by(self, i: int) -> set[int]:
        return set().union(*(self.readers.get(name, set()) for name in self.calls[i].node.output if name))

    def _scores(self, name: str, longest: int) -> tuple[int, list[int], list[str]] | None:
        """Product that makes the scores, what is done to them, and what they meet."""
        i = self.maker.get(name)
        if i is None or not longest:
            return None
        node = self.calls[i].node
        if node.op_type in PRODUCTS:
            return (i, [], []) if len(node.input) == 2 else None
        if node.op_type not in ON_SCORES:
            return None
        ways = [(n, found) for n in node.input if n and (found := self._scores(n, longest - 1))]
        if len(ways) != 1:
            return None
        before, (product, between, met) = ways[0]
        return product, [i, *between], [*met, *(n for n in node.input if n and n != before)]

    def _shares(self, softmax: int) -> list[int] | None:
        """Return the calls from a softmax to its product with the values."""
        out: list[int] = []
        at = softmax
        while True:
            name = self.calls[at].node.output[0]
            readers = self._read_by(at)
            guards = {i for i in readers - {OUTSIDE} if self.calls[i].node.op_type == "IsNaN"}
            others = readers - guards
            if len(others) != 1 or OUTSIDE in others or any(not self._read_by(i) <= others for i in guards):
                return None
            (at,) = others
            node = self.calls[at].node
            if node.op_type in PRODUCTS:
                fits = len(node.input) == 2 and node.input[0] == name != node.input[1]
                return [*out, *guards, at] if fits else None
            if node.op_type not in ON_SHARES:
                return None
            out += [*guards, at]

    def _source(self, name: str, inner: set[int]) -> tuple[str, set[int]]:
        """Tensor of which a copy in another layout, scaled or repeated, goes into a product."""
        passed: set[int] = set()
        while self._cache(name) is None and (i := self.maker.get(name)) is not None:
            node = self.calls[i].node
            before = node.input[0] if node.input else ""
            if node.op_type in SCALES:
                numbers = [n for n in node.input if self.tensors.is_number(n)]
                before = next((n for n in node.input if n not in numbers), "") if numbers else ""
            elif node.op_type not in VIEWS | REPEATS:
                break
            if not before or before in self.tensors.roots or not self._read_by(i) <= inner | passed:
                break
            passed.add(i)
            name = before
        return name, passed

    def _laid_out(self, last: int) -> tuple[int, set[int]]:
        """Find the copy that brings a result to the layout in which it is read."""
        at, end = last, last
        passed: list[int] = []
        kept = 0
        while True:
            readers = self._read_by(at)
            if len(readers) != 1 or OUTSIDE in readers:
                break
            (reader,) = readers
            node = self.calls[reader].node
            if node.op_type not in VIEWS or node.input[0] not in self.calls[at].node.output:
                break
            at = reader
            passed.append(reader)
            if node.op_type == "Transpose":
                end, kept = reader, len(passed)
        return end, set(passed[:kept])

    def _is_mask(self, name: str) -> bool:
        return not self.behind.get(name, 0) & FEATURES

    def _constants(self, name: str) -> list[str]:
        """Weights that may be trained behind what scores meet, such as a bias by position."""
        seen, open_names, out = {name}, [name], []
        while open_names:
            one = open_names.pop()
            if one in self.tensors.roots:
                out += self.tensors.trained(self.tensors.roots[one])
            elif one in self.maker:
                new = {n for n in self.calls[self.maker[one]].node.input if n} - seen
                seen |= new
                open_names += sorted(new)
        return out
