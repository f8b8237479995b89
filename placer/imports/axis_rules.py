"""What kinds of operators say of the dimensions of their operands, whatever the source calls them."""

from __future__ import annotations

from collections.abc import Sequence

from placer.imports.tensor_axes import Axes

__all__ = ["AxisRules"]


class AxisRules(Axes):
    """Factors of dimensions, with a method per kind of operator; tensors are given by their names."""

    def __init__(self) -> None:
        super().__init__()
        self.constants: set[str] = set()
        """Tensors that depend on weights alone."""

    def shape(self, name: str) -> list[int]:
        """Return the sizes of a tensor's dimensions."""
        return [self._elements(dim) for dim in self.dims[name]]

    def alike(self, reads: Sequence[str], result: str) -> None:
        """Each element follows from those at the same place, of what is smaller repeated ones."""
        out = self.dims[result]
        for name in reads:
            read = self.dims[name]
            for a, b in zip(read[::-1], out[::-1], strict=False):
                if a and self._elements(a) == self._elements(b):
                    self.same(a, b)
                else:
                    self.keep(a)

    def over(self, reads: Sequence[str], result: str, dims: Sequence[int]) -> None:
        """As `alike`, but along some dimensions of the result all elements count: a softmax, a norm."""
        self.alike(reads, result)
        for dim in dims:
            self.keep(self.dims[result][dim])

    def reduced(self, read: str, result: str, dims: Sequence[int], *, kept: bool) -> None:
        """Reduce some dimensions to one element each, which are left out unless they are kept."""
        rank = len(self.dims[read])
        gone = {dim % rank for dim in dims} if rank else set()
        ahead = [d for d in range(rank) if kept or d not in gone]
        for dim, factors in zip(ahead, self.dims[result], strict=True):
            if dim not in gone:
                self.same(self.dims[read][dim], factors)
        for dim in gone:
            self.keep(self.dims[read][dim])

    def labelled(
        self, operands: Sequence[tuple[str, Sequence[object]]], result: Sequence[object], out: str
    ) -> None:
        """Multiply tensors whose dimensions have labels: what the result lacks is summed over.

        A sum over a factor of a weight may be divided, each device having a summand of the results; others
        may not.
        """
        found: dict[object, list[int]] = dict(zip(result, self.dims[out], strict=True))
        summed: list[int] = []
        weighted = {label for name, labels in operands if name in self.constants for label in labels}
        for name, labels in operands:
            if name in self.constants:
                self.operands.append(name)
            for label, dim in zip(labels, self.dims[name], strict=True):
                if label not in found:
                    found[label] = dim
                    summed += dim if label in weighted else []
                elif self._elements(dim) == self._elements(found[label]):
                    self.same(dim, found[label])
                if label not in result and label not in weighted:
                    self.keep(dim)
        self.summed[out] = summed

    def product(self, left: str, right: str, out: str, *, transposed: bool = False) -> None:
        """Multiply matrices, or stacks of them: ``(..., m, k) (..., k, n) -> (..., m, n)``."""
        stacks = [max(len(self.dims[name]) - 2, 0) for name in (left, right)]
        most = max(stacks)
        ahead = [list(range(most - stack, most)) for stack in stacks]
        is_matrix = [len(self.dims[name]) > 1 for name in (left, right)]
        rows, columns = ["m"] * is_matrix[0], ["n"] * is_matrix[1]
        ends = [*columns, "k"] if transposed else ["k", *columns]
        operands = [(left, [*ahead[0], *rows, "k"]), (right, [*ahead[1], *ends])]
        self.labelled(operands, [*range(most), *rows, *columns], out)

    def reshaped(self, read: str, result: str) -> None:
        """Show the same elements in another shape."""
        flat = [[f for dim in self.dims[name] for f in dim] for name in (read, result)]
        self.same(*flat)

    def permuted(self, read: str, result: str, order: Sequence[int]) -> None:
        """Exchange dimensions: the result's first is the one of the operand that comes first in the order."""
        rank = len(order)
        for dim, factors in zip(order, self.dims[result], strict=True):
            self.same(self.dims[read][dim % rank], factors)

    def taken(self, read: str, result: str) -> None:
        """Take a part of some dimensions: those that become smaller stay whole, others are as they were."""
        for a, b in zip(self.dims[read], self.dims[result], strict=True):
            if self._elements(a) == self._elements(b):
                self.same(a, b)
            else:
                self.keep([*a, *b])

    def picked(self, read: str, result: str, dim: int) -> None:
        """Take one element along a dimension, which is left out."""
        self.reduced(read, result, [dim], kept=False)

    def cut(self, read: str, results: Sequence[str], dim: int) -> None:
        """Cut a dimension into several results."""
        dim %= len(self.dims[read])
        for result in results:
            for d, (a, b) in enumerate(zip(self.dims[read], self.dims[result], strict=True)):
                if d != dim:
                    self.same(a, b)
        self.split(self.dims[read][dim], [self.dims[result][dim] for result in results])

    def looked_up(self, table: str, rows: str, result: str) -> None:
        """Take rows of a table; each device may have some of the rows, and the results are summed.

        A table of fewer rows than columns, such as one of kinds of tokens, is not worth it, nor is one of
        which the model always takes the same rows.
        """
        first, *rest = self.dims[table]
        for a, b in zip([*self.dims[rows], *rest], self.dims[result], strict=True):
            self.same(a, b)
        if len(rest) == 1 and self._elements(first) > self._elements(rest[0]) and rows not in self.constants:
            self.operands.append(table)
            self.summed[result] = first
        else:
            self.keep(first)

    def attention(self, query: str, key: str, value: str, result: str) -> None:
        """Attend ``(..., heads, tokens, numbers)``: heads may be divided, those that share keys too."""
        for name in (key, value):
            *rest, heads, _, numbers = self.dims[name]
            for a, b in zip(rest, self.dims[query], strict=False):
                self.same(a, b)
            own, all_heads = self._elements(heads), self._elements(self.dims[query][-3])
            if all_heads % own:
                self.keep([*heads, *self.dims[query][-3]])
            else:
                shared = [self._new(all_heads // own)] if all_heads > own else []
                self.same(self.dims[query][-3], [*heads, *shared])
            self.keep([*self.dims[name][-2], *numbers])
        for a, b in zip(self.dims[query][:-1], self.dims[result], strict=False):
            self.same(a, b)
        self.keep([*self.dims[query][-1], *self.dims[result][-1]])

    def convolved(self, image: str, kernel: str, out: str) -> None:
        """Convolve: all channels with all, or each by itself; other groups stay whole."""
        batch, channels, *sizes = self.dims[image]
        outputs, inputs, *window = self.dims[kernel]
        self.same(batch, self.dims[out][0])
        for dim in (*sizes, *window, *self.dims[out][2:]):
            self.keep(dim)
        self.same(outputs, self.dims[out][1])
        if self._elements(inputs) == self._elements(channels):
            self.same(inputs, channels)
            self.summed[out] = channels
        elif self._elements(inputs) == 1 and self._elements(outputs) == self._elements(channels):
            self.same(channels, outputs)
        else:
            self.keep([*channels, *outputs])
        self.operands.append(kernel)
