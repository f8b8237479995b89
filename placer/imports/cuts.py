"""Which factors of dimensions devices divide that split a model: pairs of products, found in its graph.

A factor of a product's columns that ends in another product's rows makes a pair (Megatron-LM, Shoeybi et al.,
2019): the first product is cut by its columns, what lies between is divided with it, the second is cut by its
rows, and its results are summed.  Heads of attention and the width inside an MLP, an expert or a block of
convolutions are such factors.  One that ends in results of the model, or begins in a table, is a vocabulary.

No operator is cut in two ways, so that neighbouring factors exclude each other: those that divide more work
per byte that is summed come first.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from dataclasses import dataclass, field
from math import inf

from placer.imports.gradients import Backward
from placer.imports.model import Kind, Model, Operator
from placer.imports.tensor_axes import Axes

__all__ = ["Cut", "cut_into", "sums_of"]


@dataclass(frozen=True)
class Cut:
    """How a model is split.

    Parameters
    ----------
    degree
        Among how many devices.
    ways
        Into how many parts each factor is divided that is.
    undivided
        Names of the operators that could be cut, but not in so many parts.
    """

    degree: int
    ways: Mapping[int, int] = field(default_factory=dict)
    undivided: tuple[str, ...] = ()


def tensors(o: Operator) -> Iterator[str]:
    """Names of all that an operator reads and makes."""
    yield from o.inputs
    yield from o.weights
    yield from o.outputs


def sums_of(
    model: Model, axes: Axes, o: Operator, ways: Mapping[int, int], backward: Backward
) -> tuple[float, list[str]]:
    """Find what devices sum in an operator: bytes of its results, and operands whose gradients are.

    Each device has a summand of what is summed over a factor that is divided; and of the gradient of what is
    whole, where the operator is cut.
    """
    shares = {name: axes.share(name, ways) for name in tensors(o)}
    forward = 0.0
    for key in o.outputs:
        if any(factor in ways for factor in axes.resolved(axes.summed.get(key, ()))):
            forward += model.values[key].size_bytes * shares[key]
    if forward or min(shares.values(), default=1.0) == 1.0:
        return forward, []
    return 0.0, [key for key in o.inputs if shares[key] == 1.0 and key in backward.values]


def cut_into(model: Model, axes: Axes, degree: int, backward: Backward) -> Cut:
    """Choose the factors that so many devices divide.

    Parameters
    ----------
    model
        The whole model.
    axes
        What is known of its tensors' dimensions.
    degree
        How many devices there are.
    backward
        Its backward pass.
    """
    users: dict[int, list[int]] = {}
    for i, o in enumerate(model.operators):
        for factor in dict.fromkeys(f for name in tensors(o) for f in axes.of(name)):
            users.setdefault(factor, []).append(i)
    choices = []
    undivided: list[str] = []
    for factor in dict.fromkeys(f for name in axes.operands for f in axes.of(name)):
        if axes.is_whole(factor) or factor not in users:
            continue
        ways = _ways(model, axes, factor, degree, users[factor])
        if ways is None:
            undivided += [
                o.name for i in users[factor] if (o := model.operators[i]).kind is Kind.PRODUCT and o.weights
            ]
            continue
        choices.append((-_worth(model, axes, users[factor], ways, backward), users[factor][0], factor, ways))
    taken: set[int] = set()
    chosen: dict[int, int] = {}
    for _, _, factor, ways in sorted(choices, key=lambda choice: choice[:3]):
        if taken.isdisjoint(users[factor]):
            taken.update(*(users[f] for f in ways))
            chosen |= ways
    left = [name for name in dict.fromkeys(undivided) if name not in {model.operators[i].name for i in taken}]
    return Cut(degree, chosen, tuple(left))


def _ways(model: Model, axes: Axes, factor: int, degree: int, users: list[int]) -> dict[int, int] | None:
    """Divide a factor, with those that repeat it where devices are more than it has elements."""
    size = axes.size(factor)
    if size % degree == 0 or not _ends_in_product(model, axes, factor, users):
        return {factor: degree}  # what ends in no product is padded, as vocabularies are
    more = degree // size
    if degree % size == 0:
        for inner in axes.inner(factor):
            if axes.size(inner) % more == 0 and not axes.is_whole(inner):
                return {factor: size, inner: more}
    return None


def _ends_in_product(model: Model, axes: Axes, factor: int, users: list[int]) -> bool:
    return any(
        factor in axes.resolved(axes.summed.get(key, ()))
        for i in users
        if model.operators[i].kind is not Kind.LOOKUP
        for key in model.operators[i].outputs
    )


def _worth(model: Model, axes: Axes, users: list[int], ways: Mapping[int, int], backward: Backward) -> float:
    """Operations that are spared per byte that is summed."""
    spared, summed = 0.0, 0.0
    gradients: set[str] = set()
    for i in users:
        o = model.operators[i]
        spared += (o.flops or 0.0) * (1.0 - min(axes.share(name, ways) for name in tensors(o)))
        forward, operands = sums_of(model, axes, o, ways, backward)
        summed += forward
        gradients.update(operands)
    summed += sum(model.values[key].size_bytes for key in gradients)
    return spared / summed if summed else inf
