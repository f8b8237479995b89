"""A model as read: operators, values between them and weights, before any device is known."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, field
from enum import StrEnum

from placer.imports.tensor_axes import Axes
from placer.instance.origin import Source

__all__ = ["Kind", "Model", "Operator", "Stash", "Value", "Weight", "consumers", "producers"]


class Kind(StrEnum):
    """What an operator does, as far as its backward pass and its time are concerned."""

    PRODUCT = "product"
    """A matrix product, convolution or recurrence: one gradient product per operand."""
    LOOKUP = "lookup"
    """Rows of a table: an embedding."""
    SUM = "sum"
    """A sum: the gradient passes to every operand unchanged."""
    VIEW = "view"
    """Another view of the same bytes: no kernel runs, no time passes."""
    OTHER = "other"


class Stash(StrEnum):
    """What an operator keeps from its forward pass for its backward pass."""

    INPUTS = "inputs"
    FACTORS = "factors"
    """Of its inputs those by which another one that needs a gradient is multiplied."""
    OUTPUT = "output"
    NOTHING = "nothing"


@dataclass(frozen=True)
class Value:
    """A tensor that one operator produces, or an input of the model.

    Parameters
    ----------
    size_bytes
        Its size at the chosen precision.
    differentiable
        Whether it is of a floating-point type.
    """

    size_bytes: float
    differentiable: bool


@dataclass(frozen=True)
class Weight:
    """A tensor that the model brings along.

    Parameters
    ----------
    names
        Its names: several when modules share it.
    size_bytes
        Its size at the chosen precision.
    elements
        How many numbers it has.
    trainable
        Whether an optimizer would update it.
    tied
        Whether it is one parameter, however many read it; otherwise a constant, or equal by chance.
    state
        Whether the model writes it: then all its readers stay together.
    """

    names: tuple[str, ...]
    size_bytes: float
    elements: int
    trainable: bool
    tied: bool
    state: bool = False


@dataclass(frozen=True)
class Operator:
    """One operator.

    Parameters
    ----------
    id
        Unique in the model.
    name
        Readable name.
    op
        Operator type.
    members
        Names in the source model (see `placer.instance.origin.Origin`).
    inputs, outputs
        Keys of values read and produced.
    weights
        Keys of weights read.
    flops
        Floating-point operations, a multiply-add counting as two; None without a rule.
    moved_bytes
        Bytes read and written.
    module
        Dotted path, if known.
    kind, stash
        How its backward pass works.
    alias
        Its own name in the source, where that is not the id: profiles may use it.
    forward_ms, backward_ms
        Measured times, where the source has them.
    kernels
        How many kernels run one after the other: a loop counts each of its passes.
    sublayer
        Of language models: the part of a layer it belongs to, such as ``model.layers.3.self_attn``.
    collective_bytes, backward_collective_bytes
        What devices that split it sum up (all-reduce) in its forward pass, and in its backward pass.
    """

    id: str
    name: str
    op: str
    members: tuple[str, ...]
    inputs: tuple[str, ...]
    outputs: tuple[str, ...]
    weights: tuple[str, ...]
    flops: float | None
    moved_bytes: float
    module: str | None = None
    kind: Kind = Kind.OTHER
    stash: Stash = Stash.INPUTS
    alias: str | None = None
    forward_ms: float | None = None
    backward_ms: float | None = None
    kernels: int = 1
    sublayer: str | None = None
    collective_bytes: float = 0.0
    backward_collective_bytes: float = 0.0


@dataclass(frozen=True)
class Model:
    """A model in topological order.

    Parameters
    ----------
    name
        What the instance will be called.
    source
        Where it comes from.
    operators
        In an order in which they can run.
    values, weights
        By key.
    outputs
        Keys of the values that leave the model.
    precision
        Number format of the floating-point tensors; None where it is of no account.
    notes
        What the user should know, one line each.
    axes
        What is known of the dimensions of values and weights; None unless asked for.
    """

    name: str
    source: Source
    operators: tuple[Operator, ...]
    values: dict[str, Value]
    weights: dict[str, Weight]
    outputs: tuple[str, ...] = ()
    precision: str | None = None
    notes: tuple[str, ...] = field(default=())
    axes: Axes | None = field(default=None, compare=False)

    @property
    def parameters(self) -> int:
        """Number of trainable parameters."""
        return sum(w.elements for w in self.weights.values() if w.trainable)

    def flops(self, *kinds: Kind) -> float:
        """Floating-point operations of one forward pass, of the given kinds only if there are any."""
        return sum(o.flops or 0.0 for o in self.operators if not kinds or o.kind in kinds)


def producers(operators: Sequence[Operator]) -> dict[str, int]:
    """Index of the operator that produces each value."""
    return {value: i for i, o in enumerate(operators) for value in o.outputs}


def consumers(operators: Sequence[Operator]) -> dict[str, list[int]]:
    """Find the operators that read each value: indices in order."""
    readers: dict[str, list[int]] = {}
    for i, o in enumerate(operators):
        for value in dict.fromkeys(o.inputs):
            readers.setdefault(value, []).append(i)
    return readers
