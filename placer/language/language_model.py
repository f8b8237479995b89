"""A language model in blocks: which weights each has, what it computes per token and what it caches."""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass
from enum import StrEnum
from math import prod

__all__ = ["Attention", "Block", "BlockKind", "Experts", "LanguageModel", "Parameter"]

TABLES = ("token_embd", "position_embd")
"""Roles of which a token reads a row."""


class BlockKind(StrEnum):
    """What a block does."""

    EMBEDDING = "embedding"
    ATTENTION = "attention"
    MLP = "mlp"
    ROUTER = "router"
    """Of a layer with experts: the norm before it, and the choice of experts."""
    SHARED_EXPERTS = "shared experts"
    """What every token passes beside the experts that are chosen for it."""
    EXPERTS = "experts"
    """Routed experts."""
    HEAD = "head"
    """Last norm and output matrix."""


@dataclass(frozen=True)
class Parameter:
    """A tensor of weights.

    Parameters
    ----------
    role
        What it does, as llama.cpp names it (``attn_q``, ``ffn_down_exps``); a bias ends with ``.bias``.
    name
        Its name in the model; a tied weight has one name for both its roles.
    shape
        ``(outputs, inputs)`` for a matrix, with the number of experts before for a stack of them; ``(n,)``
        for a vector.
    size_bytes
        Size in its format, scales included.
    trainable
        Whether an optimizer would update it.
    """

    role: str
    name: str
    shape: tuple[int, ...]
    size_bytes: float
    trainable: bool = True

    @property
    def elements(self) -> int:
        """How many numbers it has."""
        return prod(self.shape)

    @property
    def is_matrix(self) -> bool:
        """Whether tokens are multiplied with it."""
        return len(self.shape) > 1 and self.role not in TABLES and not self.role.endswith(".bias")


@dataclass(frozen=True)
class Attention:
    """Dimensions of an attention.

    Parameters
    ----------
    heads, kv_heads
        Number of query heads, and of heads of keys and values.
    key_size, value_size
        Numbers in a key (and query) and in a value of one head.
    window
        Tokens that a query sees at most; None for all.
    latent_size, rotary_size
        Of latent attention (MLA): numbers of the compressed keys and values per token, and of the one key
        with positions that is cached beside them; 0 where there is none.
    """

    heads: int
    kv_heads: int
    key_size: int
    value_size: int
    window: int | None = None
    latent_size: int = 0
    rotary_size: int = 0

    @property
    def cached_numbers(self) -> int:
        """Numbers that the cache keeps per token."""
        if self.latent_size:
            return self.latent_size + self.rotary_size
        return self.kv_heads * (self.key_size + self.value_size)

    def seen(self, tokens: int) -> int:
        """Tokens that a query sees, of so many."""
        return tokens if self.window is None else min(tokens, self.window)

    def pair_flops(self, *, cached: bool) -> float:
        """Operations per query token and key token: scores, and their product with the values.

        Parameters
        ----------
        cached
            Whether keys and values come from a cache; latent ones are then not expanded, but the query is
            brought to their form (DeepSeek-V2, section 2.1.2).
        """
        if cached and self.latent_size:
            return 2.0 * self.heads * (2 * self.latent_size + self.rotary_size)
        return 2.0 * self.heads * (self.key_size + self.value_size)


@dataclass(frozen=True)
class Experts:
    """Routed experts of a layer.

    Parameters
    ----------
    count
        How many there are.
    active
        How many of them each token passes.
    """

    count: int
    active: int

    def read_share(self, tokens: float) -> float:
        """Share of the experts that so many tokens reach, each choosing evenly and on its own."""
        return float(1.0 - (1.0 - self.active / self.count) ** tokens)


@dataclass(frozen=True)
class Block:
    """A part of a model that is placed as a whole.

    Parameters
    ----------
    kind
        What it does.
    module
        Its path in the model, such as ``model.layers.3.self_attn``.
    layer
        Number of its layer; None outside the layers.
    parameters
        Its weights, norms before and after it included.
    width
        Numbers per token that pass between the blocks.
    attention, experts
        Of blocks of these kinds (experts: of the router too).
    parallel
        Whether attention and MLP of the layer read the same input.
    """

    kind: BlockKind
    module: str
    layer: int | None
    parameters: tuple[Parameter, ...]
    width: int
    attention: Attention | None = None
    experts: Experts | None = None
    parallel: bool = False

    def role(self, role: str) -> Parameter | None:
        """Weights of one role, if it has such."""
        return next((p for p in self.parameters if p.role == role), None)

    @property
    def elements(self) -> int:
        """Number of its weights."""
        return sum(p.elements for p in self.parameters)

    @property
    def weight_bytes(self) -> float:
        """Size of its weights."""
        return sum(p.size_bytes for p in self.parameters)

    @property
    def active_elements(self) -> float:
        """Weights that one token meets, of a table a row."""
        tables = sum(p.shape[-1] for p in self.parameters if p.role in TABLES)
        rest = sum(p.elements for p in self.parameters if p.role not in TABLES)
        return tables + rest * self._share

    def read_bytes(self, tokens: float) -> float:
        """Size of the weights that so many tokens read: rows of tables, and the experts that they reach."""
        tables = [p for p in self.parameters if p.role in TABLES]
        rows = sum(tokens * p.size_bytes / p.shape[0] for p in tables)
        rest = self.weight_bytes - sum(p.size_bytes for p in tables)
        share = self.experts.read_share(tokens) if self.kind is BlockKind.EXPERTS and self.experts else 1.0
        return rows + rest * share

    @property
    def _share(self) -> float:
        if self.kind is BlockKind.EXPERTS and self.experts is not None:
            return self.experts.active / self.experts.count
        return 1.0

    def flops(self, tokens: float, context: int, *, cached: bool = False) -> float:
        """Operations of products, a multiply-add counting as two, biases as one.

        Parameters
        ----------
        tokens
            Tokens that pass.
        context
            Tokens in the sequence of each: every pair of query and key counts, whatever the mask.
        cached
            Whether the keys and values of the context come from the cache.
        """
        products = sum(2.0 * p.elements for p in self.parameters if p.is_matrix)
        biases = sum(p.elements for p in self.parameters if p.role.endswith(".bias") and "norm" not in p.role)
        out = tokens * (products + biases) * self._share
        if self.attention is not None:
            out += tokens * self.attention.seen(context) * self.attention.pair_flops(cached=cached)
        return out

    def cached_numbers(self, context: int) -> int:
        """Numbers that are cached for a sequence of so many tokens."""
        return 0 if self.attention is None else self.attention.cached_numbers * self.attention.seen(context)


@dataclass(frozen=True)
class LanguageModel:
    """A language model, its blocks in the order in which they run.

    Parameters
    ----------
    name
        What it is called.
    architecture
        Its type, as its source names it.
    blocks
        What it consists of.
    width
        Numbers per token between the blocks.
    vocabulary
        Number of different tokens.
    precision
        Number format of activations (see `placer.imports.precision`).
    max_tokens
        Longest sequence that it was made for; None when unknown.
    notes
        What the user should know, one line each.
    dropout
        Whether training drops numbers of what attention and MLP return.
    """

    name: str
    architecture: str
    blocks: tuple[Block, ...]
    width: int
    vocabulary: int
    precision: str
    max_tokens: int | None = None
    notes: tuple[str, ...] = ()
    dropout: bool = False

    def can_split(self, shards: int) -> bool:
        """Whether so many devices can split its layers: heads, and the width inside MLPs and experts.

        Heads of keys and values are divided or repeated evenly; a vocabulary is filled up.
        """
        for block in self.blocks:
            facts = block.attention
            if facts is not None and (
                facts.heads % shards or (facts.kv_heads % shards and shards % facts.kv_heads)
            ):
                return False
            inner = [p.shape[-1] for p in block.parameters if p.role.startswith("ffn_down") and p.is_matrix]
            if any(width % shards for width in inner):
                return False
        return True

    @property
    def layers(self) -> int:
        """Number of layers."""
        return len({b.layer for b in self.blocks if b.layer is not None})

    @property
    def parameters(self) -> int:
        """Number of weights; tied ones count once."""
        return sum(p.elements for p in self._distinct())

    @property
    def active_parameters(self) -> float:
        """Weights that one token meets; of a table a row."""
        return sum(b.active_elements for b in self.blocks)

    @property
    def weight_bytes(self) -> float:
        """Size of the weights; tied ones count once."""
        return sum(p.size_bytes for p in self._distinct())

    def flops(self, tokens: float, context: int, *, cached: bool = False) -> float:
        """Operations of products (see `Block.flops`)."""
        return sum(b.flops(tokens, context, cached=cached) for b in self.blocks)

    def cached_numbers(self, context: int) -> int:
        """Numbers that are cached for a sequence of so many tokens."""
        return sum(b.cached_numbers(context) for b in self.blocks)

    def _distinct(self) -> Iterable[Parameter]:
        return {p.name: p for b in self.blocks for p in b.parameters}.values()
