"""The operators of each kind of block of a language model."""

from __future__ import annotations

from placer.imports.attention import Attention
from placer.imports.language_work import CACHE_BYTES, Phase, Workload
from placer.imports.language_writer import NORM, Split, Writer
from placer.imports.model import Model, Value, Weight
from placer.instance.origin import Source
from placer.language.language_model import Block, BlockKind, LanguageModel, Parameter

__all__ = ["Blocks"]

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


class Blocks(Writer):
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
                share = 1.0 / self.work.shards if role == "token_embd" else self.along
                found += self.add(
                    role,
                    [ids],
                    [self.language.width],
                    op="embedding",
                    weights=[table],
                    read_bytes=self.rows * row * share,
                    split=Split(share, share) if role == "token_embd" else None,
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
        if self.work.attention == Attention.FUSED:
            out = self._fused(block, queries, keys, values)
        else:
            out = self._unfused(block, queries, keys, values)
        out = self.product("attn_output", out)
        out = self.dropped("attn_dropout", self.norm("post_attention_norm", out, block.width), block.width)
        self.stream = self.total("add", [self.stream, out])

    def _fused(self, block: Block, queries: str, keys: str, values: str) -> str:
        """Attention as one kernel."""
        facts = block.attention
        assert facts is not None
        cached = self.work.phase is Phase.DECODE
        read = None
        if cached:
            numbers = block.cached_numbers(self.work.sequence) * self._cache_share(block)
            read = self.values[queries].size_bytes + self.work.batch * numbers * self.cache
        share = 1.0 / self.work.shards
        return self.add(
            "attention",
            [queries, keys, values],
            [facts.heads * facts.value_size],
            op="attention",
            flops=facts.seen(self.work.sequence) * facts.pair_flops(cached=cached),
            read_bytes=read,
            states=self._cache(block),
            split=Split(share, 1.0, (share,)),
        )[0]

    def _unfused(self, block: Block, queries: str, keys: str, values: str) -> str:
        """Attention whose scores are written, and kept for the backward pass."""
        facts = block.attention
        assert facts is not None
        pairs = facts.heads * facts.seen(self.work.sequence)
        share = 1.0 / self.work.shards
        split = Split(share, 1.0, (share,))
        flops = 2.0 * pairs * facts.key_size
        out = self.add("scores", [queries, keys], [pairs], op="linear", flops=flops, split=split)[0]
        out = self.add("softmax", [out], [pairs], op="softmax", flops=NORM * pairs, split=split)[0]
        out = self.dropped("scores_dropout", out, pairs)
        width, flops = facts.heads * facts.value_size, 2.0 * pairs * facts.value_size
        return self.add("attention", [out, values], [width], op="linear", flops=flops, split=split)[0]

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
        queries_share, keys_share = 1.0 / self.work.shards, 1.0 / min(self.work.shards, facts.kv_heads)
        work = (query * queries_share + key * keys_share) / (query + key)
        turned = self.add(
            "view" if table else "rotary",
            reads,
            widths,
            op="view" if table else "rotary",
            flops=0.0 if table else ROTARY * (query + key),
            read_bytes=(query + key) * work * self.rows * self.itemsize,
            split=Split(work, 1.0, (queries_share, keys_share, keys_share)[: len(widths)]),
        )
        queries, keys, *rest = turned
        return queries, keys, rest[0] if rest else made["attn_v"]

    def _cache(self, block: Block) -> tuple[str, ...]:
        """Keys and values of all sequences that are served: they lie where the attention is."""
        if self.work.training:
            return ()
        name = f"{block.module}/cache"
        numbers = block.cached_numbers(self.work.sequence) * (self.work.concurrency or self.work.batch)
        size = numbers * self.cache * self._cache_share(block)
        self.weights[name] = Weight((), size, 0, trainable=False, tied=False, state=True)
        return (name,)

    def _cache_share(self, block: Block) -> float:
        """Share of a cache that each device has: latents are whole, and so is at least one head."""
        assert block.attention is not None
        return 1.0 if block.attention.latent_size else 1.0 / min(self.work.shards, block.attention.kv_heads)

    def _mlp(self, block: Block) -> None:
        read = self.stream
        if block.parallel:
            read = self.before if block.role("ffn_norm") is not None else self.normed
        read = self.norm("ffn_norm", read, block.width)
        out = self._gated("", read)
        out = self.dropped("ffn_dropout", self.norm("post_ffw_norm", out, block.width), block.width)
        self.stream = self.total("add", [self.stream, out])

    def _gated(self, suffix: str, read: str) -> str:
        """Products up, activation, product down."""
        ups = [f"ffn_{part}{suffix}" for part in ("gate_up", "gate", "up")]
        found = [self.product(role, read) for role in ups if self.block.role(role) is not None]
        down = self.block.role(f"ffn_down{suffix}")
        assert down is not None
        width, share = down.shape[-1], 1.0 / self.work.shards
        inner = self.add(
            f"act{suffix}",
            found,
            [width],
            op="activation",
            flops=(ACTIVATION + len(found) - 1) * width,
            split=Split(share, 1.0, (share,)),
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
        whole, part = Split(1.0, 1.0, (1.0,)), 1.0 / self.work.shards
        out = self.add("sorted", [sent], [block.width], op="index_select", read_bytes=row, split=whole)[0]
        for step, stack, width in (
            ("up", up, sum(p.shape[1] for p in up if p.is_matrix)),
            ("down", down, block.width),
        ):
            flops = sum((2.0 if p.is_matrix else 1.0) * p.elements for p in stack) / experts.count
            read = self.values[out].size_bytes + share * part * sum(p.size_bytes for p in stack)
            out = self.add(
                step,
                [out],
                [width],
                op="grouped_mm",
                flops=flops,
                weights=stack,
                read_bytes=read,
                split=Split(part, part, (part if step == "up" else 1.0,)),
            )[0]
            if step == "up":
                flops = (ACTIVATION + 1) * inner
                half = Split(part, 1.0, (part,))
                out = self.add("act", [out], [inner], op="activation", flops=flops, split=half)[0]
        read = self.values[out].size_bytes
        self.rows = tokens
        return self.add(
            "sum",
            [out],
            [block.width],
            op="sum",
            flops=2.0 * experts.active * block.width,
            read_bytes=read,
            split=Split(1.0),
        )[0]

    def _single(self, block: Block, sent: str) -> list[str]:
        """Each expert by itself, with its share of the tokens."""
        experts, tokens = block.experts, self.rows
        assert experts is not None
        share, part = experts.read_share(tokens), 1.0 / self.work.shards
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
                read_bytes=rows + share * part * sum(p.size_bytes for p in own),
                sublayer=path,
                split=Split(part, part),
            )
        self.rows = tokens
        return out

    def _head(self, block: Block) -> None:
        read = self.stream
        if not self.work.logits and self.work.phase is Phase.PREFILL:
            self.rows = float(self.work.batch)
            row = self.rows * block.width * self.itemsize * self.along
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
