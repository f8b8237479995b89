"""Writing the operators of a language model one after the other, as one of several devices has them.

Devices that split a layer (Megatron-LM, Shoeybi et al., 2019) have each

- a share of the heads in attention and of the width inside the MLP and inside each expert: first matrices
  are cut by output, last ones by input, and the results of the last ones are summed (an all-reduce forward);
  so are the gradients of what first matrices read (an all-reduce backward, once for all that read it);
- a share of the vocabulary: what the embedding finds is summed forward, the gradient of what the head reads
  backward;
- fewer heads of keys and values, or one that others have too, where devices are more than these heads;
- everything else whole: norms, sums, routers, latents.  With sequence parallelism (Korthikanti et al., 2022)
  each has its share of the tokens there, and all-reduces become a gather and a scatter of as many bytes.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

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
    "softmax": (Kind.OTHER, Stash.OUTPUT, 1),
    "dropout": (Kind.OTHER, Stash.OUTPUT, 1),
}
"""What operators do, what they keep for their backward pass, and how many kernels they are."""


CUT = ("attn_q_b", "attn_kv_b", "attn_k_b", "attn_v_b", "ffn_gate_up", "ffn_gate", "ffn_up", "output")
"""Roles of matrices that are cut by output."""


@dataclass(frozen=True)
class Split:
    """What one of several devices does of an operator.

    Parameters
    ----------
    work
        Its share of operations.
    weights
        Its share of the weights.
    outputs
        Its share of each output's width; None for outputs that are whole, or divided by tokens.
    """

    work: float
    weights: float = 1.0
    outputs: tuple[float, ...] | None = None


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
        self._share: dict[str, float] = {}
        """Of values of which each device has some numbers of every token: which part."""
        self._summed: set[str] = set()
        """Values whose gradients are summed."""

    @property
    def along(self) -> float:
        """Share of what is not split by heads or width that a device has."""
        return 1.0 / self.work.shards if self.work.sequence_parallel else 1.0

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
        split: Split | None = None,
    ) -> list[str]:
        """Add an operator; return the keys of its outputs, of so many numbers per row.

        Widths and operations are those of all devices together, ``read_bytes`` those of one of them; without
        a ``split``, the operator is not split by width.
        """
        kind, stash, kernels = OPS.get(op, (Kind.OTHER, Stash.INPUTS, 1))
        name = f"{self.block.module}/{step}"
        keys = [name if len(widths) == 1 else f"{name}.{k}" for k in range(len(widths))]
        split = split or Split(self.along)
        shares = split.outputs or (None,) * len(keys)
        for key, width, share in zip(keys, widths, shares, strict=True):
            size = self.rows * width * self.itemsize
            self.values[key] = Value(size * (self.along if share is None else share), True)
            if share is not None:
                self._share[key] = share
        cut = split.outputs is not None or any(key in self._share for key in reads) or split.weights < 1
        own = sum(self._keep(p, split) for p in weights)
        if read_bytes is None:
            # Where tokens are divided, a split product gathers them first, and scatters what it made.
            read_bytes = own + sum(self._met(key, cut=cut) for key in reads)
        written = sum(self._met(key, cut=cut) for key in keys)
        forward, backward = self._sums(reads, keys) if cut else (0.0, 0.0)
        self.operators.append(
            Operator(
                id=name,
                name=name,
                op=op,
                members=(name,),
                inputs=tuple(dict.fromkeys(reads)),
                outputs=tuple(keys),
                weights=(*(p.name for p in weights), *states),
                flops=flops * self.rows * split.work,
                moved_bytes=0.0 if kind is Kind.VIEW else read_bytes + written,
                module=_module(weights) or self.block.module,
                kind=kind,
                stash=stash,
                kernels=kernels,
                sublayer=sublayer or self.block.module,
                collective_bytes=forward,
                backward_collective_bytes=backward,
            )
        )
        return keys

    def _keep(self, p: Parameter, split: Split) -> float:
        """Note a tensor of weights; returns its size on each device."""
        whole = split.outputs is None and p.role.endswith(".bias")  # added once the results are summed
        size = p.size_bytes * (1.0 if whole else split.weights)
        self.weights[p.name] = Weight((p.name,), size, p.elements, p.trainable, tied=True)
        return size

    def _met(self, key: str, *, cut: bool) -> float:
        """Bytes of a value that an operator reads or writes: of all tokens where it is cut by width."""
        size = self.values[key].size_bytes
        return size / self.along if cut and key not in self._share else size

    def _sums(self, reads: Sequence[str], keys: Sequence[str]) -> tuple[float, float]:
        """Bytes that the devices sum up in an operator that is cut, forward and backward."""
        if self.work.shards == 1:
            return 0.0, 0.0
        forward = sum(self._met(key, cut=True) for key in keys if key not in self._share)
        first = [key for key in reads if key not in self._share and key not in self._summed]
        first = [key for key in first if self.values[key].differentiable]
        self._summed.update(first)
        return forward, sum(self._met(key, cut=True) for key in first)

    def product(self, role: str, read: str, width: float | None = None) -> str:
        """Multiply with a matrix of the block, and add its bias."""
        matrix, bias = self.block.role(role), self.block.role(f"{role}.bias")
        assert matrix is not None
        both = [p for p in (matrix, bias) if p is not None]
        flops = 2.0 * matrix.elements + (bias.elements if bias else 0)
        out = matrix.elements / matrix.shape[-1] if width is None else width
        split = self._split_product(role, read)
        return self.add(role, [read], [out], op="linear", flops=flops, weights=both, split=split)[0]

    def _split_product(self, role: str, read: str) -> Split | None:
        """Say how a product is split: by output, by input, or not."""
        if read in self._share:
            return Split(self._share[read], self._share[read])
        share = self.share(role)
        return None if share is None else Split(share, share, (share,))

    def share(self, role: str) -> float | None:
        """Share of a matrix that is cut by output which each device has; None where it is whole."""
        base = role.removesuffix("_shexp").removesuffix("_exps")
        facts = self.block.attention
        t = self.work.shards
        if facts is not None and base in ("attn_k", "attn_v"):
            return 1.0 / min(t, facts.kv_heads)
        if facts is not None and base == "attn_qkv":
            each = facts.heads / t + 2 * facts.kv_heads / min(t, facts.kv_heads)
            return each / (facts.heads + 2 * facts.kv_heads)
        if base == "attn_q" or base in CUT:
            return 1.0 / t
        return None

    def norm(self, role: str, read: str, width: float) -> str:
        """Normalise, where the block has such a norm."""
        both = [p for p in (self.block.role(role), self.block.role(f"{role}.bias")) if p is not None]
        if not both:
            return read
        share = self._share.get(read)
        split = None if share is None else Split(share, 1.0, (share,))
        return self.add(role, [read], [width], op="norm", flops=NORM * width, weights=both, split=split)[0]

    def dropped(self, step: str, read: str, width: float) -> str:
        """Drop some numbers in training, where the model does; the mask keeps a byte for each."""
        if not (self.work.training and self.language.dropout):
            return read
        share = self._share.get(read)
        split = None if share is None else Split(share, 1.0, (share, share))
        widths = [width / self.itemsize, width]
        return self.add(step, [read], widths, op="dropout", flops=2 * width, split=split)[1]

    def total(self, step: str, reads: Sequence[str], sublayer: str | None = None) -> str:
        """Sum up."""
        width = self.language.width
        flops = width * (len(reads) - 1)
        made = self.add(step, reads, [width], op="add", flops=flops, sublayer=sublayer)
        return made[0]

    def width(self, key: str) -> float:
        """Numbers per row of a value."""
        share = self._share.get(key, self.along)
        return self.values[key].size_bytes / self.itemsize / self.rows / share


def _module(weights: Sequence[Parameter]) -> str | None:
    """Path of the module that holds a weight."""
    return weights[0].name.rpartition(".")[0] if weights else None
