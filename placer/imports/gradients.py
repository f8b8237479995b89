"""The backward pass that training adds: which operators have one, what it costs and what it needs kept.

The rules, per operator:

- it has a backward pass if it reads a trainable weight or a value that needs a gradient, and computes in
  floating point; a value needs a gradient if such an operator produced it;
- a matrix product, convolution or recurrence costs its forward FLOPs and bytes once for each operand that
  needs a gradient: twice in the middle of a network, once in a first layer, whose input needs none;
- views cost nothing, everything else as much as forward;
- it keeps its inputs, its output or nothing until then, by operator type; of factors those by which one that
  needs a gradient is multiplied; a tensor that several operators
  keep, or keep through views, counts once, with its producer.
"""

from __future__ import annotations

from dataclasses import dataclass

from placer.imports.model import Kind, Model, Operator, Stash

__all__ = ["Backward", "backward_pass"]


@dataclass(frozen=True)
class Backward:
    """The backward pass of a model.

    Parameters
    ----------
    values
        Keys of the values that need a gradient.
    factor
        Cost of each operator's backward pass in forward passes; None where it has none.
    stash_bytes
        What each operator's device keeps per sample in flight.
    """

    values: frozenset[str]
    factor: tuple[float | None, ...]
    stash_bytes: tuple[float, ...]


def backward_pass(model: Model) -> Backward:
    """Derive the backward pass.

    Parameters
    ----------
    model
        The forward pass.
    """
    values: set[str] = set()
    factor: list[float | None] = []
    for o in model.operators:
        trained = any(model.weights[w].trainable for w in o.weights)
        flowing = [key for key in o.inputs if key in values]
        outputs = [key for key in o.outputs if model.values[key].differentiable]
        if not outputs or not (trained or flowing or o.backward_ms):
            factor.append(None)
            continue
        values.update(outputs)
        factor.append(_factor(o, trained + len(flowing)))
    return Backward(frozenset(values), tuple(factor), _stash(model, factor, values))


def _factor(o: Operator, operands: int) -> float:
    if o.kind is Kind.VIEW:
        return 0.0
    return float(operands) if o.kind is Kind.PRODUCT else 1.0


def _needed(model: Model, o: Operator, values: set[str]) -> tuple[str, ...]:
    """Values that the backward pass of an operator reads."""
    if o.stash is not Stash.FACTORS:
        return o.inputs if o.stash is Stash.INPUTS else o.outputs[:1]
    flowing = [key for key in o.inputs if key in values]
    trained = any(model.weights[w].trainable for w in o.weights)
    if len(o.inputs) == 1 and not o.weights:  # by itself
        return o.inputs
    return tuple(key for key in o.inputs if trained or any(other != key for other in flowing))


def _stash(model: Model, factor: list[float | None], values: set[str]) -> tuple[float, ...]:
    kept = [0.0] * len(model.operators)
    root: dict[str, str] = {}  # value -> the value whose bytes it shows
    owner: dict[str, int] = {}
    done: set[str] = set()
    for i, o in enumerate(model.operators):
        for key in o.outputs:
            owner[key] = i
            root[key] = root.get(o.inputs[0], o.inputs[0]) if o.kind is Kind.VIEW and o.inputs else key
        if factor[i] is None or o.stash is Stash.NOTHING:
            continue
        for key in _needed(model, o, values):
            whole = root.get(key, key)
            if whole not in done:
                done.add(whole)
                kept[owner.get(whole, i)] += model.values[whole].size_bytes
    return tuple(kept)
