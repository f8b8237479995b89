"""From the form of a decoder to its blocks: which weights a layer has, under which names, of which shapes."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass, field

from placer.errors import InputError
from placer.language.language_model import Attention, Block, BlockKind, Experts, Parameter
from placer.language.module_names import LLAMA
from placer.language.quantisation import PLAIN, Quantisation
from placer.language.values import MOST_EXPERTS, Values

__all__ = ["Form", "Mixture", "blocks"]


BARE = ("attn_sinks", "exp_probs_b", "ffn_gate_up_exps", "ffn_down_exps")
"""Roles whose tensors belong to a larger module: nothing follows their name."""
Tensors = list[tuple[str, tuple[int, ...]]]
"""Roles and shapes."""
QK_NORMS = ("attn_q_norm", "attn_k_norm")


@dataclass(frozen=True)
class Mixture:
    """Experts of some layers.

    Parameters
    ----------
    experts
        How many, and how many of them a token passes.
    inner, shared
        Width inside one expert, and inside the shared ones together (0: none).
    layers
        Whether a layer has experts.
    gate
        Whether the shared expert has a gate.
    score_bias
        Whether the router has a bias that is no weight of a product.
    """

    experts: Experts
    inner: int
    shared: int = 0
    layers: Callable[[int], bool] = lambda _: True
    gate: bool = False
    score_bias: bool = False


@dataclass(frozen=True)
class Form:
    """Form of a decoder; the defaults are Llama's.

    Parameters
    ----------
    names
        Names of modules that differ from Llama's, by role.
    norms
        Roles of the norms of a layer; none of them where norms have no weights.
    norm_bias
        Whether norms have a bias.
    bias
        Roles of the matrices that have one.
    inner
        Width inside the MLP; None for what the configuration says.
    head_size
        Numbers per head; None for an even share of the width.
    kv_heads
        Heads of keys and values; None for what the configuration says.
    qk_norm
        Norms of queries and keys: over one ``head``, over the ``width`` of all, with one set of weights for
        each of the ``heads``, or none.
    gated
        Whether the MLP has a gate.
    fused
        Roles of matrices that stand for several.
    slides
        Whether a layer's attention has a window, where the configuration does not list it.
    window
        Key of the window.
    mixture
        Experts; None without.
    latent
        Whether attention is latent (MLA).
    sinks
        Whether each head has a sink.
    parallel
        Whether attention and MLP read the same input.
    positions
        Rows of a table of positions; 0 without.
    final_norm
        Whether the last norm has weights.
    embedding_norm
        Whether a norm follows the table of tokens.
    """

    names: Mapping[str, str] = field(default_factory=dict)
    norms: tuple[str, ...] = ("attn_norm", "ffn_norm")
    norm_bias: bool = False
    bias: frozenset[str] = frozenset()
    inner: int | None = None
    head_size: int | None = None
    kv_heads: int | None = None
    qk_norm: str | None = None
    gated: bool = True
    fused: frozenset[str] = frozenset()
    slides: Callable[[int], bool] = lambda _: False
    window: str = "sliding_window"
    mixture: Mixture | None = None
    latent: bool = False
    sinks: bool = False
    parallel: bool = False
    positions: int = 0
    final_norm: bool = True
    embedding_norm: bool = False


def blocks(values: Values, form: Form, quantisation: Quantisation | None, plain: str) -> tuple[Block, ...]:
    """Make the blocks of a decoder.

    Parameters
    ----------
    values
        The configuration.
    form
        The form of its architecture.
    quantisation
        Format of the matrices in layers; None for the plain one.
    plain
        Format of everything else.
    """
    return tuple(_Builder(values, form, quantisation, plain).blocks())


class _Builder:
    def __init__(self, values: Values, form: Form, quantisation: Quantisation | None, plain: str) -> None:
        self.values, self.form, self.quantisation = values, form, quantisation
        self.itemsize = PLAIN[plain]
        self.names = LLAMA | dict(form.names)
        self.width = values.number("hidden_size")
        self.kinds = values.items("layer_types", str)
        if self.kinds is not None and len(self.kinds) < values.layers:
            raise InputError(f"{len(self.kinds)} names for {values.layers} layers", place="layer_types")
        self.heads = values.number("num_attention_heads")
        self.size = form.head_size
        if self.size is None and not form.latent:
            self.size = values.divided("hidden_size", "num_attention_heads")

    def blocks(self) -> Iterator[Block]:
        """All blocks in order."""
        vocabulary = self.values.number("vocab_size")
        tables: Tensors = [("token_embd", (vocabulary, self.width))]
        if self.form.positions:
            tables.append(("position_embd", (self.form.positions, self.width)))
        if self.form.embedding_norm:
            tables.append(("token_embd_norm", (self.width,)))
        yield self._block(BlockKind.EMBEDDING, self.names["token_embd"], None, tables)
        for layer in range(self.values.layers):
            yield self._attention(layer)
            mixture = self.form.mixture
            if mixture is not None and mixture.layers(layer):
                yield from self._experts(layer, mixture)
            else:
                yield self._mlp(layer)
        tied = self.values.flag("tie_word_embeddings")
        tables = [("output_norm", (self.width,))] if self.form.final_norm else []
        tables.append(("output", (vocabulary, self.width)))
        head = self._block(BlockKind.HEAD, self.names["output"], None, tables)
        if tied:  # the same matrix; a bias would be the head's own
            same = self.names["token_embd"] + ".weight"
            own = tuple(
                p if p.role != "output" else Parameter("output", same, p.shape, p.size_bytes)
                for p in head.parameters
            )
            head = Block(head.kind, head.module, None, own, self.width)
        yield head

    # -- tensors --------------------------------------------------------------------------------

    def _block(
        self,
        kind: BlockKind,
        module: str,
        layer: int | None,
        tensors: Tensors,
        attention: Attention | None = None,
        experts: Experts | None = None,
    ) -> Block:
        found = tuple(p for role, shape in tensors for p in self._tensors(role, shape, layer))
        return Block(kind, module, layer, found, self.width, attention, experts, self.form.parallel)

    def _tensors(self, role: str, shape: tuple[int, ...], layer: int | None) -> Iterator[Parameter]:
        """Weights of a role, and their bias."""
        module = self._path(role, layer)
        bare = role in BARE
        name = module if bare else f"{module}.weight"
        yield Parameter(role, name, shape, self._bytes(role, module, shape, layer), role != "exp_probs_b")
        is_norm = role.endswith("norm")
        if role in self.form.bias or (is_norm and self.form.norm_bias and role not in QK_NORMS):
            size = shape if is_norm else shape[:-1]
            end = "_bias" if bare else ".bias"
            yield Parameter(f"{role}.bias", module + end, size, self._plain(size))

    def _path(self, role: str, layer: int | None) -> str:
        return self.names[role] if layer is None else f"{self.names['layer']}{layer}.{self.names[role]}"

    def _plain(self, shape: tuple[int, ...]) -> float:
        size = self.itemsize
        for n in shape:
            size *= n
        return size

    def _bytes(self, role: str, module: str, shape: tuple[int, ...], layer: int | None) -> float:
        quantised = self.quantisation is not None and layer is not None and len(shape) > 1
        if not quantised or role.startswith("ffn_gate_inp") or role in QK_NORMS:
            return self._plain(shape)
        assert self.quantisation is not None
        if not self.quantisation.converts(module):
            return self._plain(shape)
        return self.quantisation.format.size_bytes(shape)

    def _norms(self, *roles: str) -> Tensors:
        return [(role, (self.width,)) for role in roles if role in self.form.norms]

    # -- attention ------------------------------------------------------------------------------

    def _attention(self, layer: int) -> Block:
        made = self._latent_attention() if self.form.latent else self._plain_attention(layer)
        facts, tensors = made
        tensors = [*self._norms("attn_norm"), *tensors, *self._norms("post_attention_norm")]
        # Layers without a module for their attention, as in OPT, are named by its output matrix.
        module = self._path("attn_output", layer).rpartition(".")[0]
        return self._block(BlockKind.ATTENTION, module, layer, tensors, facts)

    def _plain_attention(self, layer: int) -> tuple[Attention, Tensors]:
        size, heads, width = self.size, self.heads, self.width
        assert size is not None
        kv = self.form.kv_heads or self.values.optional("num_key_value_heads") or heads
        if heads % kv:
            raise InputError(f"{heads} heads are no multiple of {kv} heads of keys and values")
        facts = Attention(heads, kv, size, size, self._window(layer))
        tensors: Tensors
        if "attn_qkv" in self.form.fused:
            tensors = [("attn_qkv", ((heads + 2 * kv) * size, width))]
        else:
            tensors = [("attn_q", (heads * size, width))]
            tensors += [("attn_k", (kv * size, width)), ("attn_v", (kv * size, width))]
        if self.form.qk_norm is not None:
            shapes = {
                "head": ((size,), (size,)),
                "width": ((heads * size,), (kv * size,)),
                "heads": ((heads, size), (kv, size)),
            }
            tensors += zip(QK_NORMS, shapes[self.form.qk_norm], strict=True)
        tensors += [("attn_sinks", (heads,))] if self.form.sinks else []
        return facts, [*tensors, ("attn_output", (width, heads * size))]

    def _latent_attention(self) -> tuple[Attention, Tensors]:
        number, heads, width = self.values.number, self.heads, self.width
        latent, rotary = number("kv_lora_rank"), number("qk_rope_head_dim")
        plain, value, rank = (
            number("qk_nope_head_dim"),
            number("v_head_dim"),
            self.values.optional("q_lora_rank"),
        )
        facts = Attention(heads, heads, plain + rotary, value, None, latent, rotary)
        tensors: Tensors = [("attn_q", (heads * facts.key_size, width))]
        if rank is not None:
            tensors = [("attn_q_a", (rank, width)), ("attn_q_a_norm", (rank,))]
            tensors.append(("attn_q_b", (heads * facts.key_size, rank)))
        tensors += [("attn_kv_a_mqa", (latent + rotary, width)), ("attn_kv_a_norm", (latent,))]
        tensors.append(("attn_kv_b", (heads * (plain + value), latent)))
        return facts, [*tensors, ("attn_output", (width, heads * value))]

    def _window(self, layer: int) -> int | None:
        if self.kinds is None:
            slides = self.form.slides(layer)
        else:
            kind = self.kinds[layer]
            if kind not in ("full_attention", "sliding_attention", "chunked_attention"):
                raise InputError(f"layers of type {kind!r} are not known", place="layer_types")
            slides = kind != "full_attention"
        return self.values.optional(self.form.window, least=0) or None if slides else None

    # -- what follows attention -----------------------------------------------------------------

    def _mlp(self, layer: int) -> Block:
        inner = self.form.inner or self.values.number("intermediate_size")
        tensors = [*self._norms("ffn_norm"), *self._gated("", inner)]
        tensors += self._norms("post_ffw_norm")
        module = self._path("ffn_down", layer).rpartition(".")[0]
        return self._block(BlockKind.MLP, module, layer, tensors)

    def _gated(self, suffix: str, inner: int) -> Tensors:
        up: Tensors = [(f"ffn_up{suffix}", (inner, self.width))]
        if "ffn_gate_up" in self.form.fused and not suffix:
            up = [("ffn_gate_up", (2 * inner, self.width))]
        elif self.form.gated:
            up.insert(0, (f"ffn_gate{suffix}", (inner, self.width)))
        return [*up, (f"ffn_down{suffix}", (self.width, inner))]

    def _experts(self, layer: int, mixture: Mixture) -> Iterator[Block]:
        count = mixture.experts.count
        if not 0 < mixture.experts.active <= count <= MOST_EXPERTS:
            raise InputError(f"a token cannot pass {mixture.experts.active} of {count} experts")
        router: Tensors = [*self._norms("ffn_norm")]
        router.append(("ffn_gate_inp", (count, self.width)))
        router += [("exp_probs_b", (count,))] if mixture.score_bias else []
        yield self._block(
            BlockKind.ROUTER, self._path("ffn_gate_inp", layer), layer, router, None, mixture.experts
        )
        if mixture.shared:
            shared = self._gated("_shexp", mixture.shared)
            shared += [("ffn_gate_inp_shexp", (1, self.width))] if mixture.gate else []
            module = self._path("ffn_down_shexp", layer).rpartition(".")[0]
            yield self._block(BlockKind.SHARED_EXPERTS, module, layer, shared)
        rows = 2 * mixture.inner
        stacks: Tensors = [("ffn_gate_up_exps", (count, rows, self.width))]
        stacks.append(("ffn_down_exps", (count, self.width, mixture.inner)))
        module = self._path("ffn_down_exps", layer).rpartition(".")[0]
        yield self._block(BlockKind.EXPERTS, module, layer, stacks, None, mixture.experts)
