"""Which dimensions of a model's tensors can be divided among devices together: factors of dimensions.

Every dimension is a product of factors, outermost first.  Operators say which factors are the same (a product
hands its rows on, an activation all dimensions), and which must stay whole on every device (what a softmax or
a norm goes over).  A factor that is met whole nowhere can be divided: all tensors and operators with it then
are.  Where views cut a dimension into others, its factors are refined: 768 columns become 12 heads of 64.

The idea is that of propagating shardings through a graph (GSPMD, Xu et al., 2021), with factors instead of
dimensions so that views, heads, and repeated heads of keys and values need no rules of their own.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Mapping, Sequence
from itertools import pairwise

__all__ = ["Axes", "Factors"]

Factors = list[int]
"""Ids of the factors of a dimension, outermost first; of a dimension of one element none."""


class Axes:
    """Factors of all dimensions of a model's tensors, in the making and as found."""

    def __init__(self) -> None:
        self.dims: dict[str, list[Factors]] = {}
        """Of each tensor, by name."""
        self.summed: dict[str, Factors] = {}
        """Of results of products with weights and of look-ups: what was summed over."""
        self.operands: list[str] = []
        """Weights that are multiplied with, and tables."""
        self._above: list[int] = []
        self._size: list[int] = []
        self._pieces: dict[int, tuple[int, ...]] = {}  # a factor that is a product of others
        self._joined: dict[int, tuple[Factors, ...]] = {}  # a factor that is several dimensions side by side
        self._whole: set[int] = set()

    # -- tensors and factors --------------------------------------------------------------------

    def add(self, name: str, shape: Sequence[int]) -> None:
        """Register a tensor, each dimension a factor of its own."""
        self.dims[name] = [[self._new(size)] if size != 1 else [] for size in shape]

    def _new(self, size: int) -> int:
        self._above.append(len(self._above))
        self._size.append(size)
        return len(self._above) - 1

    def _find(self, factor: int) -> int:
        while self._above[factor] != factor:
            self._above[factor] = factor = self._above[self._above[factor]]
        return factor

    def resolved(self, factors: Iterable[int]) -> Factors:
        """Return the finest factors that are known of some."""
        out: Factors = []
        for factor in factors:
            root = self._find(factor)
            out += self.resolved(self._pieces[root]) if root in self._pieces else [root]
        return out

    def of(self, name: str) -> Iterator[int]:
        """Yield the finest factors of a tensor, those of dimensions side by side included."""
        for dim in self.dims.get(name, ()):
            yield from self._deep(dim)

    def _deep(self, factors: Iterable[int]) -> Iterator[int]:
        for factor in self.resolved(factors):
            if factor in self._joined:
                for part in self._joined[factor]:
                    yield from self._deep(part)
            else:
                yield factor

    def size(self, factor: int) -> int:
        """Return how many elements a factor has."""
        return self._size[self._find(factor)]

    def is_whole(self, factor: int) -> bool:
        """Whether it cannot be divided."""
        return self._find(factor) in self._whole

    def inner(self, factor: int) -> set[int]:
        """Find the factors that come next inside, in a dimension of some weight."""
        dims = [part for name in self.operands for dim in self.dims[name] for part in self._parts(dim)]
        return {b for dim in dims for a, b in pairwise(dim) if a == factor}

    def _parts(self, factors: Factors) -> Iterator[Factors]:
        """Yield a dimension, or those that lie side by side in it."""
        found = self.resolved(factors)
        for part in self._joined.get(found[0], ()) if len(found) == 1 else ():
            yield from self._parts(part)
        yield found

    def share(self, name: str, ways: Mapping[int, int]) -> float:
        """Share of a tensor that each device has, where factors are divided so many ways."""
        share = 1.0
        for dim in self.dims.get(name, ()):
            share *= self._share(dim, ways)
        return share

    def _share(self, factors: Factors, ways: Mapping[int, int]) -> float:
        share = 1.0
        for factor in self.resolved(factors):
            parts = self._joined.get(factor)
            if parts is None:
                share /= ways.get(factor, 1)
            else:
                sizes = [self._elements(part) for part in parts]
                cut = sum(size * self._share(part, ways) for size, part in zip(sizes, parts, strict=True))
                share *= cut / sum(sizes)
        return share

    def _elements(self, factors: Factors) -> int:
        elements = 1
        for factor in self.resolved(factors):
            elements *= self._size[factor]
        return elements

    # -- what operators say ---------------------------------------------------------------------

    def keep(self, factors: Iterable[int]) -> None:
        """Say that factors must not be divided."""
        for factor in self.resolved(factors):
            self._whole.add(factor)
            for part in self._joined.get(factor, ()):
                self.keep(part)

    def keep_tensors(self, names: Iterable[str]) -> None:
        """Say that nothing of some tensors can be divided."""
        for name in names:
            for dim in self.dims.get(name, ()):
                self.keep(dim)

    def same(self, a: Iterable[int], b: Iterable[int]) -> None:
        """Say that two dimensions are the same, whatever the factors that are known of each."""
        left, right = [*a][::-1], [*b][::-1]
        while left and right:
            x, y = self._outermost(left), self._outermost(right)
            if self._size[x] == self._size[y]:
                self._unite(x, y)
                continue
            large, small, rest = (x, y, left) if self._size[x] > self._size[y] else (y, x, right)
            if large in self._joined or self._size[large] % self._size[small]:
                self.keep([x, y, *left, *right])
                return
            outer, inner = self._refined(large, self._size[small])
            self._unite(outer, small)
            rest.append(inner)
        self.keep([*left, *right])

    def _outermost(self, stack: Factors) -> int:
        """Take the first factor of a dimension whose factors lie on a stack."""
        first, *rest = self.resolved([stack.pop()])
        stack += rest[::-1]
        return first

    def _refined(self, factor: int, outer: int) -> tuple[int, int]:
        """Divide a factor into one of so many elements and what lies inside it."""
        pieces = self._new(outer), self._new(self._size[factor] // outer)
        if factor in self._whole:
            self._whole.update(pieces)
        self._pieces[factor] = pieces
        return pieces

    def _unite(self, x: int, y: int) -> None:
        """Make two factors of as many elements one."""
        if x == y:
            return
        one, other = self._joined.get(x), self._joined.get(y)
        if one is None and other is not None:
            x, y = y, x
        elif one is not None and other is not None:
            if [self._elements(part) for part in one] == [self._elements(part) for part in other]:
                for part, twin in zip(one, other, strict=True):
                    self.same(part, twin)
            else:
                self.keep([x, y])
        self._above[y] = x
        if {x, y} & self._whole:
            self.keep([x])

    def split(self, whole: Factors, parts: Sequence[Factors]) -> None:
        """Say that a dimension consists of others side by side, as queries, keys and values of one product.

        Equal ones are a factor of their number, of which each result is one; others are noted as they are.
        """
        sizes = [self._elements(part) for part in parts]
        if len(parts) == 1:
            self.same(whole, parts[0])
            return
        if len(set(sizes)) == 1:
            number, each = self._new(len(parts)), self._new(sizes[0])
            self.same(whole, [number, each])
            self.keep([number])
            for part in parts:
                self.same([each], part)
            return
        joined = self._new(sum(sizes))
        self._joined[joined] = tuple(list(part) for part in parts)
        self.same(whole, [joined])
