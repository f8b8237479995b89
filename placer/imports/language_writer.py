"""Writing the operators of a language model one after the other."""

from __future__ import annotations

from collections.abc import Sequence

from placer.imports.language_work import Workload
from placer.imports.model import Kind, Operator, Stash, Value, Weight
from placer.imports.precision import PRECISIONS
from placer.language.language_model import LanguageModel, Parameter

__all__ = ["NORM", "Writer"]

NORM = 8.0
"""Operations per number."""
OPS = {
    "linear": (Kind.PRODUCT, Stash.INPUTS, 1),
    "attention": (Kind.PRODUCT, Stash.INPUTS, 1),
    "grouped_mm": (Kind.PRODUCT, Stash.INPUTS, 1),
    "expert": (Kind.PRODUCT, Stash.INPUTS, 3),
    "embedding": (Kind.LOOKUP, Stash.INPUTS, 1),
    "add": (Kind.SUM, Stash.NOTHING, 1),
    "view": (Kind.VIEW, Stash.NOTHING, 1),
    "rotary": (Kind.OTHER, Stash.NOTHING, 1),
    "index_select": (Kind.OTHER, Stash.NOTHING, 1),
}
"""What operators do, what they keep for their backward pass, and how many kernels they are."""


class Writer:
    """Operators in the making, with the values that they pass.

    Parameters
    ----------
    model
        The language model.
    work
        What it does.
    """

    def __init__(self, model: LanguageModel, work: Workload) -> None:
        self.language, self.work = model, work
        self.itemsize = PRECISIONS[model.precision]
        self.operators: list[Operator] = []
        self.values: dict[str, Value] = {}
        self.weights: dict[str, Weight] = {}
        self.rows = float(work.tokens)
        self.block = model.blocks[0]

    def add(
        self,
        step: str,
        reads: Sequence[str],
        widths: Sequence[float],
        *,
        op: str,
        flops: float = 0.0,
        weights: Sequence[Parameter] = (),
        states: tuple[str, ...] = (),
        read_bytes: float | None = None,
        sublayer: str | None = None,
    ) -> list[str]:
        """Add an operator; return the keys of its outputs, of so many numbers per row."""
        kind, stash, kernels = OPS.get(op, (Kind.OTHER, Stash.INPUTS, 1))
        name = f"{self.block.module}/{step}"
        keys = [name if len(widths) == 1 else f"{name}.{k}" for k in range(len(widths))]
        for key, width in zip(keys, widths, strict=True):
            self.values[key] = Value(self.rows * width * self.itemsize, True)
        for p in weights:
            self.weights[p.name] = Weight((p.name,), p.size_bytes, p.elements, p.trainable, tied=True)
        if read_bytes is None:
            read_bytes = sum(self.values[key].size_bytes for key in reads) + sum(
                p.size_bytes for p in weights
            )
        written = sum(self.values[key].size_bytes for key in keys)
        self.operators.append(
            Operator(
                id=name,
                name=name,
                op=op,
                members=(name,),
                inputs=tuple(dict.fromkeys(reads)),
                outputs=tuple(keys),
                weights=(*(p.name for p in weights), *states),
                flops=flops * self.rows,
                moved_bytes=0.0 if kind is Kind.VIEW else read_bytes + written,
                module=_module(weights) or self.block.module,
                kind=kind,
                stash=stash,
                kernels=kernels,
                sublayer=sublayer or self.block.module,
            )
        )
        return keys

    def product(self, role: str, read: str, width: float | None = None) -> str:
        """Multiply with a matrix of the block, and add its bias."""
        matrix, bias = self.block.role(role), self.block.role(f"{role}.bias")
        assert matrix is not None
        both = [p for p in (matrix, bias) if p is not None]
        flops = 2.0 * matrix.elements + (bias.elements if bias else 0)
        out = matrix.elements / matrix.shape[-1] if width is None else width
        return self.add(role, [read], [out], op="linear", flops=flops, weights=both)[0]

    def norm(self, role: str, read: str, width: float) -> str:
        """Normalise, where the block has such a norm."""
        both = [p for p in (self.block.role(role), self.block.role(f"{role}.bias")) if p is not None]
        if not both:
            return read
        return self.add(role, [read], [width], op="norm", flops=NORM * width, weights=both)[0]

    def total(self, step: str, reads: Sequence[str], sublayer: str | None = None) -> str:
        """Sum up."""
        width = self.language.width
        flops = width * (len(reads) - 1)
        made = self.add(step, reads, [width], op="add", flops=flops, sublayer=sublayer)
        return made[0]

    def width(self, key: str) -> float:
        """Numbers per row of a value."""
        return self.values[key].size_bytes / self.itemsize / self.rows


def _module(weights: Sequence[Parameter]) -> str | None:
    """Path of the module that holds a weight."""
    return weights[0].name.rpartition(".")[0] if weights else None
