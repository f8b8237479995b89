"""A language model as a chain to serve: costs of its blocks from their dimensions, for any batch and context.

A block is one kernel here: it computes and moves data at the same time.  Every attention keeps the keys and
values of all sequences.  Devices that split a block have a share of its heads, inner width or vocabulary,
norms, routers and latents whole, and sum up what it returns over their link (Megatron-LM, Shoeybi et al.,
2019).  The last node returns one token per sequence, of `TOKEN` bytes.
"""

from __future__ import annotations

from collections.abc import Sequence
from functools import cached_property

import numpy as np

from placer.arrays import BoolArray, FloatArray
from placer.errors import UsageError
from placer.imports.catalogue import Cluster
from placer.imports.language_work import CACHE_BYTES
from placer.imports.precision import PRECISIONS
from placer.imports.roofline import effective_precision, time_ms
from placer.instance.cluster import Link
from placer.language.language_model import TABLES, Block, BlockKind, LanguageModel, Parameter
from placer.serving.serving_model import Costs, Option, Pool, Setting, layers_counted

__all__ = ["TOKEN", "ServedLanguageModel"]

TOKEN = 4.0
"""Bytes of a token's number."""
MOST_CONTEXT = 2**24
"""Longest context of models that do not say theirs."""
WHOLE = ("attn_q_a", "attn_kv_a_mqa", "ffn_gate_inp", "exp_probs_b", "position_embd")
"""Roles that every one of several devices has whole; and so norms."""
SUMMED = (BlockKind.EMBEDDING, BlockKind.ATTENTION, BlockKind.MLP, BlockKind.EXPERTS)
"""Blocks whose results several devices sum up; what shared experts return is summed with their experts'."""


class ServedLanguageModel:
    """A language model on a cluster.

    Parameters
    ----------
    model, cluster
        What is served, and where.
    cache
        Number format of keys and values; that of the activations by default.
    shards, replicas
        Which numbers of devices may split a stage or take turns at it.
    whole_layers
        Whether accelerators take turns between layers alone, not between the blocks of one.

    Raises
    ------
    UsageError
        When a number format is not known, or the model cannot be split so.
    """

    batches = True

    def __init__(
        self,
        model: LanguageModel,
        cluster: Cluster,
        *,
        cache: str | None = None,
        shards: Sequence[int] = (1,),
        replicas: Sequence[int] = (1,),
        whole_layers: bool = True,
    ) -> None:
        self.model, self.cluster, self.name = model, cluster, model.name
        self.ids = tuple(block.module for block in model.blocks)
        self.itemsize = PRECISIONS[model.precision]
        self.cache_bytes = self.itemsize if cache is None else CACHE_BYTES[cache]
        self.layer_of = tuple(block.layer for block in model.blocks)
        self.cuts: BoolArray = np.array(
            [
                not whole_layers or block.layer is None or k == 0 or model.blocks[k - 1].layer != block.layer
                for k, block in enumerate(model.blocks)
            ]
        )
        self.counted = layers_counted(
            self.layer_of, np.array([b.attention is not None for b in model.blocks])
        )
        first = {p.name for p in model.blocks[0].parameters}
        self.tied_bytes = sum(p.size_bytes for p in model.blocks[-1].parameters if p.name in first)
        self.max_context: int | None = model.max_tokens or MOST_CONTEXT
        self._alike = _alike(model)
        self.pools = _pools(cluster)
        for t in shards:
            if not model.can_split(t):
                raise UsageError(f"{model.name} cannot be split into {t} shards (--shards)")
        self.options = tuple(
            Option(p, t, r)
            for p, pool in enumerate(self.pools)
            for t in (shards if not pool.host else (1,))
            for r in (replicas if not pool.host else (1,))
            if t * r <= len(pool.names)
        )
        if not self.options:
            raise UsageError("--devices: no class has as many devices as --shards and --replicas ask for")
        self.notes = (*model.notes, f"keys and values: {self._per_token:,.0f} bytes per token of context")

    @property
    def _per_token(self) -> float:
        return self.cache_bytes * self.model.cached_numbers(1)

    def costs(self, setting: Setting) -> Costs:
        """Compute the costs in a setting."""
        context = setting.context or 1
        rows = [self._decode(option, setting, context) for option in self.options]
        time, cache = (np.array(part) for part in zip(*rows, strict=True))
        moved = self._moved(setting.batch)
        prefill = move = across = None
        if setting.prompt is not None:
            tokens = setting.prompt
            prefill = np.array([self._prefill(option, tokens) for option in self.options])
            move, across = self._moves(self._moved(tokens))
        return Costs(time, self._weights, cache, *self._moves(moved), prefill, move, across)

    def hand_over_ms(self, tokens: int) -> FloatArray:
        """Compute the time in which keys and values of a prompt leave or reach a stage, by node, ``(O, n)``.

        Of several servers they are taken to pass the uplinks: the other stage may be anywhere.
        """
        rows = []
        for option, sizes in zip(self.options, self.costs(Setting(context=tokens)).cache_bytes, strict=True):
            pool = self.pools[option.pool]
            links = [pool.cls.link, *(self.cluster.servers[s].uplink for s in self._server(pool))]
            rows.append(np.max([_link_ms(link, sizes) for link in links], axis=0) * (sizes > 0))
        return np.array(rows)

    def _server(self, pool: Pool) -> tuple[int, ...]:
        """Return the number of a pool's server, if there are any."""
        return (pool.server,) if self.cluster.servers else ()

    @cached_property
    def _weights(self) -> FloatArray:
        return np.array(
            [[b.weight_bytes * _kept(b, o.shards) for b in self.model.blocks] for o in self.options]
        )

    def _moved(self, tokens: int) -> FloatArray:
        """Bytes of each node's output."""
        out = np.full(len(self.ids), tokens * self.model.width * self.itemsize)
        out[-1] = TOKEN * tokens
        return out

    def _moves(self, moved: FloatArray) -> tuple[FloatArray, FloatArray]:
        """Compute times of transfers within and across servers, ``(O, n)`` each."""
        within, across = [], []
        for option in self.options:
            pool = self.pools[option.pool]
            own = np.zeros(len(moved)) if pool.host else _link_ms(pool.cls.link, moved / option.shards)
            within.append(own)
            far = own
            if self.cluster.servers and not pool.host:
                far = np.maximum(
                    own, _link_ms(self.cluster.servers[pool.server].uplink, moved / option.shards)
                )
            across.append(far)
        return np.array(within), np.array(across)

    def _decode(self, option: Option, setting: Setting, context: int) -> tuple[list[float], list[float]]:
        """Time of a microbatch, and the cache of all on each device, by node."""
        batch, shards = setting.batch, option.shards
        each = -(-setting.microbatches // option.replicas)
        times, caches = {}, {}
        for k in sorted(set(self._alike)):
            block = self.model.blocks[k]
            cache = self.cache_bytes * block.cached_numbers(context) * _cache_share(block, shards) * batch
            flops = _shared_flops(block, batch, context, shards, cached=True)
            read = block.read_bytes(batch) * _kept(block, shards)
            times[k] = self._time(option, block, flops, read + cache, batch)
            caches[k] = each * cache
        return [times[k] for k in self._alike], [caches[k] for k in self._alike]

    def _prefill(self, option: Option, tokens: int) -> list[float]:
        """Time of a prompt by node; the head reads its last token alone."""
        shards, times = option.shards, {}
        for k in sorted(set(self._alike)):
            block = self.model.blocks[k]
            passed = 1 if block.kind is BlockKind.HEAD else tokens
            cache = self.cache_bytes * block.cached_numbers(tokens) * _cache_share(block, shards)
            flops = _shared_flops(block, passed, tokens, shards, cached=False)
            read = block.read_bytes(passed) * _kept(block, shards)
            times[k] = self._time(option, block, flops, read + cache, passed)
        return [times[k] for k in self._alike]

    def _time(self, option: Option, block: Block, flops: float, moved: float, tokens: int) -> float:
        cls = self.pools[option.pool].cls
        entry = self.cluster.types[cls.type]
        time = time_ms(entry, effective_precision(cls.type, entry, self.model.precision), flops, moved)
        if option.shards > 1 and block.kind in SUMMED:
            size = np.array(tokens * self.model.width * self.itemsize)
            time += (
                float(cls.peers.ring_ms(size, option.shards)) + 2 * (option.shards - 1) * cls.peers.latency_ms
            )
        return time


def _alike(model: LanguageModel) -> list[int]:
    """Return the first block that costs what each does."""
    first: dict[object, int] = {}
    return [
        first.setdefault(
            (b.kind, b.attention, b.experts, tuple((p.role, p.shape, p.size_bytes) for p in b.parameters)), k
        )
        for k, b in enumerate(model.blocks)
    ]


def _pools(cluster: Cluster) -> tuple[Pool, ...]:
    """Gather devices that are alike: of one class, with as much room, in one server."""
    server = {name: s for s, some in enumerate(cluster.servers) for name in some.devices}
    found: dict[tuple[int, float, int], list[str]] = {}
    for c, cls in enumerate(cluster.classes):
        for i in range(cls.count):
            key = c, cls.room_bytes(i), server.get(cls.member(i), 0)
            found.setdefault(key, []).append(cls.member(i))
    return tuple(
        Pool(tuple(names), c, cluster.classes[c], room, number) for (c, room, number), names in found.items()
    )


def _link_ms(link: Link, size: FloatArray) -> FloatArray:
    if link.bandwidth_bytes_per_s is None:
        return 0.0 * size
    return link.latency_ms + 1e3 * size / link.bandwidth_bytes_per_s


def _part(block: Block, p: Parameter, shards: int) -> float:
    """Share of a tensor that each of several devices has."""
    role = p.role.removesuffix(".bias")
    facts = block.attention
    if shards == 1 or role in WHOLE or "norm" in role:
        return 1.0
    if facts is not None and role in ("attn_k", "attn_v"):
        return 1.0 / min(shards, facts.kv_heads)
    if facts is not None and role == "attn_qkv":
        each = facts.heads / shards + 2 * facts.kv_heads / min(shards, facts.kv_heads)
        return each / (facts.heads + 2 * facts.kv_heads)
    return 1.0 / shards


def _kept(block: Block, shards: int) -> float:
    """Share of a block's weights that each of several devices has."""
    return sum(p.size_bytes * _part(block, p, shards) for p in block.parameters) / block.weight_bytes


def _cache_share(block: Block, shards: int) -> float:
    """Share of a cache that each has: latents are whole, and so is at least one head."""
    facts = block.attention
    return 1.0 if facts is None or facts.latent_size else 1.0 / min(shards, facts.kv_heads)


def _shared_flops(block: Block, tokens: int, context: int, shards: int, *, cached: bool) -> float:
    """Operations of each of several devices."""
    whole = block.flops(tokens, context, cached=cached)
    if shards == 1:
        return whole
    facts = block.attention
    pairs = 0.0 if facts is None else tokens * facts.seen(context) * facts.pair_flops(cached=cached)
    matrices = [p for p in block.parameters if p.is_matrix and p.role not in TABLES]
    elements = sum(p.elements for p in matrices)
    share = sum(p.elements * _part(block, p, shards) for p in matrices) / elements if elements else 1.0
    return (whole - pairs) * share + pairs / shards
