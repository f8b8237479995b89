"""A model as each of several devices has it that split it: shares of operators, weights and values.

- An operator with a divided tensor is cut: each device does its share of the operations, and reads and writes
  its share of what is divided and all of the rest.
- Results of a product over a divided factor are summed forward (an all-reduce), and so are gradients of what
  cut operators read whole, once for all that read it.
- Everything else is whole on every device; with sequence parallelism (Korthikanti et al., 2022) each has its
  share of the rows there, and all-reduces become a gather and a scatter of as many bytes.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Sequence
from dataclasses import dataclass, replace

from placer.errors import UsageError
from placer.imports.cuts import Cut, cut_into, sums_of, tensors
from placer.imports.gradients import Backward, backward_pass
from placer.imports.model import Kind, Model, Operator
from placer.imports.tensor_axes import Axes

__all__ = ["Split", "as_each_device_has_it", "split_degrees", "split_models"]

MOST = 2**16
"""More devices than any server has."""


def as_each_device_has_it(
    model: Model, cut: Cut, backward: Backward, *, sequence_parallel: bool = False
) -> Model:
    """Return what one of the devices has of a model.

    Parameters
    ----------
    model
        The whole model.
    cut
        What is divided.
    backward
        The backward pass of the whole model.
    sequence_parallel
        Whether rows are divided where nothing else is.
    """
    return _Splitting(model, cut, backward, sequence_parallel).model()


class _Splitting:
    def __init__(self, model: Model, cut: Cut, backward: Backward, sequence_parallel: bool) -> None:
        self.whole, self.cut, self.backward = model, cut, backward
        self.axes = model.axes or Axes()
        self.rows = self._rows() if sequence_parallel else set()
        self.by_rows = self._divided_by_rows()
        self.shown: dict[str, str] = {}  # a view's value -> the value whose bytes it shows
        self.summed: set[str] = set()  # values whose gradients are summed

    def _rows(self) -> set[int]:
        """Find the factors of rows: the dimensions before the last of what is summed forward."""
        found: set[int] = set()
        for name, factors in self.axes.summed.items():
            if any(factor in self.cut.ways for factor in self.axes.resolved(factors)):
                found |= {f for dim in self.axes.dims[name][:-1] for f in self.axes.resolved(dim)}
        return found

    def model(self) -> Model:
        """Take the share of everything."""
        model = self.whole
        return replace(
            model,
            operators=tuple(self._operator(o) for o in model.operators),
            values={
                key: replace(v, size_bytes=v.size_bytes * self._share(key) * self._along(key))
                for key, v in model.values.items()
            },
            weights={
                key: replace(w, size_bytes=w.size_bytes * self._share(key))
                for key, w in model.weights.items()
            },
        )

    def _share(self, name: str) -> float:
        return self.axes.share(name, self.cut.ways)

    def _divided_by_rows(self) -> set[str]:
        """Find the values of which each device has its share of the rows.

        Those are what comes into the model, what products with weights make, cut or not, and what follows
        from such values alone, unless their rows meet each other: in a product without weights.
        """
        if not self.rows:
            return set()
        found = {key for key in self.whole.values if self._has_rows(key)}
        for o in self.whole.operators:
            is_product = o.kind is Kind.PRODUCT
            mixed = any(key not in found and self._has_rows(key) for key in o.inputs)
            if (is_product and not o.weights) or (mixed and not is_product):
                found.difference_update(o.outputs)
        return found

    def _has_rows(self, name: str) -> bool:
        """Whether a value has rows and is not divided otherwise."""
        return self._share(name) == 1.0 and not self.rows.isdisjoint(self.axes.of(name))

    def _along(self, name: str) -> float:
        """Share of the rows of a value that a device has."""
        return 1.0 / self.cut.degree if name in self.by_rows else 1.0

    def _operator(self, o: Operator) -> Operator:
        if o.kind is Kind.VIEW and o.inputs:
            self.shown |= dict.fromkeys(o.outputs, self.shown.get(o.inputs[0], o.inputs[0]))
        names = list(tensors(o))
        shares = {name: self._share(name) for name in names}
        work = min(shares.values(), default=1.0)
        if work == 1.0:
            work = max((self._along(key) for key in o.outputs), default=1.0)
            shares = {name: self._along(name) if name in self.whole.values else 1.0 for name in names}
        flops = None if o.flops is None else o.flops * work
        forward, operands = sums_of(self.whole, self.axes, o, self.cut.ways, self.backward)
        first = {self.shown.get(key, key): key for key in operands}
        behind = [key for root, key in first.items() if root not in self.summed]
        self.summed.update(first)
        return replace(
            o,
            flops=flops,
            moved_bytes=o.moved_bytes * self._moved(o, shares),
            collective_bytes=forward,
            backward_collective_bytes=sum(self.whole.values[key].size_bytes for key in behind),
        )

    def _moved(self, o: Operator, shares: dict[str, float]) -> float:
        """Share of the bytes that an operator still moves: of look-ups, rows are half of them."""
        if o.kind is Kind.LOOKUP:
            table = min((shares[name] for name in o.weights), default=1.0)
            return (table + max(shares[name] for name in o.outputs)) / 2
        sizes = {
            name: (self.whole.values.get(name) or self.whole.weights[name]).size_bytes for name in shares
        }
        total = sum(sizes.values())
        return sum(size * shares[name] for name, size in sizes.items()) / total if total else 1.0


def split_degrees(
    shards: Sequence[int], profiles: Sequence[str], *, sequence_parallel: bool
) -> tuple[int, ...]:
    """Check and sort the numbers of devices that may split a model; one does not split it.

    Raises
    ------
    UsageError
        When they are none, or other options do not fit.
    """
    if any(not 1 <= t <= MOST for t in shards):
        raise UsageError(f"shards are at least 1 and at most {MOST}, got {min(shards)} to {max(shards)}")
    degrees = tuple(sorted({*shards} - {1}))
    if degrees and profiles:
        raise UsageError("measured times are those of whole nodes: --profile and --shards exclude each other")
    if sequence_parallel and not degrees:
        raise UsageError("--sequence-parallel applies to --shards")
    return degrees


@dataclass(frozen=True)
class Split:
    """What one of several devices has of a model.

    Parameters
    ----------
    degree
        How many devices there are.
    model
        Its share.
    note
        What is split, and what is not.
    """

    degree: int
    model: Model
    note: str


def split_models(model: Model, degrees: Sequence[int], *, sequence_parallel: bool) -> list[Split]:
    """Split a model as each number of devices would.

    Raises
    ------
    UsageError
        When nothing of it can be split in so many parts.
    """
    if not degrees:
        return []
    assert model.axes is not None, "a model that is split is read with its axes"
    backward = backward_pass(model)
    found = []
    for t in degrees:
        cut = cut_into(model, model.axes, t, backward)
        if not cut.ways:
            why = f"{t} does not divide {cut.undivided[0]}" if cut.undivided else "no products form pairs"
            raise UsageError(f"{model.name} cannot be split into {t} shards: {why}")
        each = as_each_device_has_it(model, cut, backward, sequence_parallel=sequence_parallel)
        found.append(Split(t, each, _note(model, cut)))
    return found


def _note(model: Model, cut: Cut) -> str:
    """Say in a line what devices split of a model, and what each has as a whole."""
    axes = model.axes or Axes()
    products = [o for o in model.operators if o.kind is Kind.PRODUCT]
    whole = [o for o in products if all(axes.share(name, cut.ways) == 1.0 for name in tensors(o))]
    text = f"{cut.degree} shards: {len(products) - len(whole)} of {len(products)} products are split"
    if whole:
        kinds = ", ".join(f"{op} ({count})" for op, count in Counter(o.op for o in whole).most_common(3))
        text += f"; whole on each device: {kinds}, such as {whole[0].name}"
    if cut.undivided:
        text += f"; {len(cut.undivided)} could be, but not in {cut.degree} parts, such as {cut.undivided[0]}"
    return text
