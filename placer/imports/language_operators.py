"""Language models as operators with costs: a step of their work, from their dimensions alone.

The rules, a multiply-add counting as two:

- a matrix product of n tokens does ``2 n`` operations per weight and reads its weights once; of E routed
  experts with k per token, rows are spread evenly, and ``1 - (1 - k / E) ** n`` of their weights are read;
- attention is one fused kernel: every pair of query and key counts, whatever the mask, up to the window; no
  score leaves the kernel, and a step of decoding reads the cache of its sequences once;
- what lies between products reads and writes its tensors once.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import replace
from typing import Any

from placer.choices import none_of
from placer.errors import UsageError
from placer.imports.language_work import CACHE_BYTES, SEQUENCE, Phase, Workload, said
from placer.imports.language_writer import NORM, Writer
from placer.imports.model import Model, Value, Weight
from placer.instance.origin import Source
from placer.language.language_model import Block, BlockKind, LanguageModel, Parameter

__all__ = ["operators", "work_on"]

MOST_EXPERTS = 100_000
"""Experts that may be nodes of their own."""
ROTARY, ACTIVATION = 4.0, 8.0
"""Operations per number."""
FOLLOWS = {
    "attn_q": ("attn_q_norm",),
    "attn_k": ("attn_k_norm",),
    "attn_q_a": ("attn_q_a_norm", "attn_q_b"),
    "attn_kv_a_mqa": ("attn_kv_a_norm", "attn_kv_b", "attn_k_b", "attn_v_b"),
}
"""What follows the first matrices of an attention, by role."""
FIRST = ("attn_qkv", "attn_q", "attn_q_a", "attn_k", "attn_v", "attn_kv_a_mqa")


def operators(model: LanguageModel, work: Workload, source: Source, *, single_experts: bool = False) -> Model:
    """Turn a language model into operators.

    Parameters
    ----------
    model
        The language model.
    work
        What it does.
    source
        Where it comes from.
    single_experts
        Whether each routed expert is an operator of its own, not all of a layer together.
    """
    return _Blocks(model, work, single_experts).model(source)


def work_on(
    model: LanguageModel,
    asked: Mapping[str, Any],
    source: Source,
    *,
    training: bool,
    single_experts: bool,
) -> Model:
    """Check what is asked of a language model, turn it into operators, and say what was assumed.

    Parameters
    ----------
    model
        The language model.
    asked
        Fields of `Workload`.
    source, single_experts
        As for `operators`.
    training
        Whether a backward pass is to follow.

    Raises
    ------
    UsageError
        When it does not fit.
    """
    if training and any(p.name for b in model.blocks for p in b.parameters if _quantised(p)):
        raise UsageError("quantised weights cannot be trained here (--weights bf16 counts them as they were)")
    experts = sum(b.experts.count for b in model.blocks if b.kind is BlockKind.EXPERTS and b.experts)
    if single_experts and experts > MOST_EXPERTS:
        raise UsageError(f"{experts} experts are too many nodes (at most {MOST_EXPERTS}); --by sublayer")
    phase = asked.get("phase", Phase.PREFILL)
    if phase not in list(Phase):
        raise UsageError(none_of("phase", phase, list(Phase)))
    longest = model.max_tokens
    fields = {"sequence": min(SEQUENCE, longest or SEQUENCE)} | dict(asked) | {"phase": Phase(phase)}
    work = Workload(**fields, training=training)
    notes = [*model.notes, said(model, work)]
    if longest is not None and work.sequence > longest:
        notes.append(f"{work.sequence} tokens are more than the {longest} that the model was made for")
    model = replace(model, notes=tuple(notes))
    return operators(model, work, source, single_experts=single_experts)


def _quantised(p: Parameter) -> bool:
    return p.size_bytes < 2 * p.elements


class _Blocks(Writer):
    """Operators of each kind of block."""

    def __init__(self, model: LanguageModel, work: Workload, single_experts: bool) -> None:
        super().__init__(model, work)
        self.single = single_experts
        self.cache = self.itemsize if work.cache is None else CACHE_BYTES[work.cache]
        self.stream = self.before = self.normed = ""
        self.routed: tuple[str, list[str]] = ("", [])

    def model(self, source: Source) -> Model:
        """Write all blocks."""
        write = {
            BlockKind.EMBEDDING: self._embedding,
            BlockKind.ATTENTION: self._attention,
            BlockKind.MLP: self._mlp,
            BlockKind.ROUTER: self._router,
            BlockKind.SHARED_EXPERTS: self._shared,
            BlockKind.EXPERTS: self._experts,
            BlockKind.HEAD: self._head,
        }
        for block in self.language.blocks:
            self.block = block
            write[block.kind](block)
        return Model(
            name=self.language.name,
            source=source,
            operators=tuple(self.operators),
            values=self.values,
            weights=self.weights,
            outputs=self.operators[-1].outputs,
            precision=self.language.precision,
            notes=self.language.notes,
        )

    # -- blocks ---------------------------------------------------------------------------------

    def _embedding(self, block: Block) -> None:
        ids = f"{block.module}/input_ids"
        self.values[ids] = Value(self.rows * 8.0, False)
        found = []
        for role in ("token_embd", "position_embd"):
            table = block.role(role)
            if table is not None:
                row = self.language.width * table.size_bytes / table.elements
                found += self.add(
                    role,
                    [ids],
                    [self.language.width],
                    op="embedding",
                    weights=[table],
                    read_bytes=self.rows * row,
                )
        self.stream = found[0] if len(found) == 1 else self.total("sum", found)
        rest = [p for p in block.parameters if p.role not in ("token_embd", "position_embd")]
        if rest:
            width = self.language.width
            self.stream = self.add(
                "norm", [self.stream], [width], op="norm", flops=NORM * width, weights=rest
            )[0]

    def _attention(self, block: Block) -> None:
        facts = block.attention
        assert facts is not None
        self.before = self.stream
        self.normed = self.norm("attn_norm", self.stream, block.width)
        made: dict[str, str] = {}
        for role in FIRST:
            if block.role(role) is not None:
                made[role] = self.product(role, self.normed)
                for follower in FOLLOWS.get(role, ()):
                    if block.role(follower) is None:
                        continue
                    if follower.endswith("norm"):
                        made[role] = self.norm(follower, made[role], self.width(made[role]))
                    else:
                        made[follower] = self.product(follower, made[role])
        queries, keys, values = self._split(block, made)
        seen = facts.seen(self.work.sequence)
        cached = self.work.phase is Phase.DECODE
        width = facts.heads * facts.value_size
        read = None
        if cached:
            numbers = block.cached_numbers(self.work.sequence)
            read = self.values[queries].size_bytes + self.work.batch * numbers * self.cache
        out = self.add(
            "attention",
            [queries, keys, values],
            [width],
            op="attention",
            flops=seen * facts.pair_flops(cached=cached),
            read_bytes=read,
            states=self._cache(block),
        )[0]
        out = self.product("attn_output", out)
        out = self.norm("post_attention_norm", out, block.width)
        self.stream = self.total("add", [self.stream, out])

    def _split(self, block: Block, made: dict[str, str]) -> tuple[str, str, str]:
        """Make queries, keys and values, with positions turned into them."""
        facts = block.attention
        assert facts is not None
        query, key = facts.heads * facts.key_size, facts.kv_heads * facts.key_size
        value = facts.kv_heads * facts.value_size
        plain = "attn_v" in made
        reads = [v for role, v in made.items() if role not in ("attn_v", "attn_q_a")]
        widths = [query, key] if plain else [query, key, value]
        table = self.language.blocks[0].role("position_embd") is not None
        turned = self.add(
            "view" if table else "rotary",
            reads,
            widths,
            op="view" if table else "rotary",
            flops=0.0 if table else ROTARY * (query + key),
            read_bytes=(query + key) * self.rows * self.itemsize,
        )
        queries, keys, *rest = turned
        return queries, keys, rest[0] if rest else made["attn_v"]

    def _cache(self, block: Block) -> tuple[str, ...]:
        """Keys and values of all sequences that are served: they lie where the attention is."""
        if self.work.training:
            return ()
        name = f"{block.module}/cache"
        numbers = block.cached_numbers(self.work.sequence) * (self.work.concurrency or self.work.batch)
        self.weights[name] = Weight((), numbers * self.cache, 0, trainable=False, tied=False, state=True)
        return (name,)

    def _mlp(self, block: Block) -> None:
        read = self.stream
        if block.parallel:
            read = self.before if block.role("ffn_norm") is not None else self.normed
        read = self.norm("ffn_norm", read, block.width)
        out = self._gated("", read)
        out = self.norm("post_ffw_norm", out, block.width)
        self.stream = self.total("add", [self.stream, out])

    def _gated(self, suffix: str, read: str) -> str:
        """Products up, activation, product down."""
        ups = [f"ffn_{part}{suffix}" for part in ("gate_up", "gate", "up")]
        found = [self.product(role, read) for role in ups if self.block.role(role) is not None]
        down = self.block.role(f"ffn_down{suffix}")
        assert down is not None
        width = down.shape[-1]
        inner = self.add(
            f"act{suffix}", found, [width], op="activation", flops=(ACTIVATION + len(found) - 1) * width
        )
        return self.product(f"ffn_down{suffix}", inner[0])

    def _router(self, block: Block) -> None:
        assert block.experts is not None
        normed = self.norm("ffn_norm", self.stream, block.width)
        scores = self.product("ffn_gate_inp", normed)
        bias = [p for p in block.parameters if p.role == "exp_probs_b"]
        choice = self.add(
            "choice",
            [scores],
            [2 * block.experts.active],
            op="topk",
            flops=8.0 * block.experts.count,
            weights=bias,
        )[0]
        # What goes to the experts is one value: a token's numbers and its choice.
        sent = self.add(
            "sent",
            [normed, choice],
            [block.width + 2 * block.experts.active],
            op="view",
        )
        self.routed = sent[0], []

    def _shared(self, block: Block) -> None:
        sent, parts = self.routed
        out = self._gated("_shexp", sent)
        if block.role("ffn_gate_inp_shexp") is not None:
            gate = self.product("ffn_gate_inp_shexp", sent)
            out = self.add("gated", [out, gate], [block.width], op="mul", flops=2.0 * block.width)[0]
        parts.append(out)

    def _experts(self, block: Block) -> None:
        experts = block.experts
        assert experts is not None
        sent, parts = self.routed
        if self.single and experts.count > 1:
            parts += self._single(block, sent)
        else:
            parts.append(self._together(block, sent))
        path = block.module.rpartition(".")[0] or block.module
        self.stream = self.total("add", [self.stream, *parts], sublayer=path)

    def _stacks(self, block: Block) -> tuple[list[Parameter], list[Parameter], int]:
        """Weights that lead into the experts and out of them, and the width inside one."""
        down = [p for p in block.parameters if p.role.startswith("ffn_down_exps")]
        up = [p for p in block.parameters if not p.role.startswith("ffn_down_exps")]
        return up, down, next(p.shape[-1] for p in down if p.is_matrix)

    def _together(self, block: Block, sent: str) -> str:
        """All experts of a layer: tokens sorted by expert, two grouped products, results summed."""
        experts, tokens = block.experts, self.rows
        assert experts is not None
        up, down, inner = self._stacks(block)
        share = experts.read_share(tokens)
        self.rows = tokens * experts.active
        row = block.width * self.rows * self.itemsize
        rows = self.add("sorted", [sent], [block.width], op="index_select", read_bytes=row)
        out = rows[0]
        for step, stack, width in (
            ("up", up, sum(p.shape[1] for p in up if p.is_matrix)),
            ("down", down, block.width),
        ):
            flops = sum((2.0 if p.is_matrix else 1.0) * p.elements for p in stack) / experts.count
            read = self.values[out].size_bytes + share * sum(p.size_bytes for p in stack)
            out = self.add(
                step,
                [out],
                [width],
                op="grouped_mm",
                flops=flops,
                weights=stack,
                read_bytes=read,
            )[0]
            if step == "up":
                out = self.add("act", [out], [inner], op="activation", flops=(ACTIVATION + 1) * inner)[0]
        read = self.values[out].size_bytes
        self.rows = tokens
        return self.add(
            "sum", [out], [block.width], op="sum", flops=2.0 * experts.active * block.width, read_bytes=read
        )[0]

    def _single(self, block: Block, sent: str) -> list[str]:
        """Each expert by itself, with its share of the tokens."""
        experts, tokens = block.experts, self.rows
        assert experts is not None
        share = experts.read_share(tokens)
        self.rows = tokens * experts.active / experts.count
        out = []
        for e in range(experts.count):
            path = f"{block.module}.{e}"
            own = [_slice(p, experts.count, block.module, e) for p in block.parameters]
            flops = sum((2.0 if p.is_matrix else 1.0) * p.elements for p in own)
            rows = block.width * self.rows * self.itemsize
            out += self.add(
                str(e),
                [sent],
                [block.width],
                op="expert",
                flops=flops,
                weights=own,
                read_bytes=rows + share * sum(p.size_bytes for p in own),
                sublayer=path,
            )
        self.rows = tokens
        return out

    def _head(self, block: Block) -> None:
        read = self.stream
        if not self.work.logits and self.work.phase is Phase.PREFILL:
            self.rows = float(self.work.batch)
            row = self.rows * block.width * self.itemsize
            (read,) = self.add(
                "last",
                [read],
                [block.width],
                op="index_select",
                read_bytes=row,
            )
        self.product("output", self.norm("output_norm", read, block.width))


def _slice(p: Parameter, count: int, module: str, expert: int) -> Parameter:
    """Weights of one expert."""
    end = p.name.removeprefix(module).lstrip(".")
    shape = p.shape[1:]
    return Parameter(p.role, f"{module}.{expert}.{end}", shape, p.size_bytes / count, p.trainable)
