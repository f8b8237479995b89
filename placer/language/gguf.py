"""GGUF files as language models: blocks by the names of their tensors, dimensions from the metadata."""

from __future__ import annotations

import re
from collections import Counter
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from placer.choices import close_to
from placer.errors import InputError
from placer.language.gguf_header import Header, read_header
from placer.language.language_model import Attention, Block, BlockKind, Experts, LanguageModel, Parameter
from placer.language.values import MOST_EXPERTS, Values

__all__ = ["ARCHITECTURES", "read_gguf"]


@dataclass(frozen=True)
class Traits:
    """What the names of tensors do not say.

    Parameters
    ----------
    parallel
        Whether attention and MLP read the same input.
    full_every
        Each layer of so many sees all tokens, the others a window; None: no windows.
    """

    parallel: bool = False
    full_every: int | None = None


PLAIN = (
    "llama",
    "qwen2",
    "qwen2moe",
    "qwen3",
    "qwen3moe",
    "gemma",
    "phi3",
    "phimoe",
    "gpt2",
    "gptneox",
    "deepseek",
    "deepseek2",
    "starcoder",
    "starcoder2",
    "olmo",
    "olmo2",
    "olmoe",
    "granite",
    "granitemoe",
    "stablelm",
    "glm4",
    "glm4moe",
    "smollm3",
    "seed_oss",
    "nemotron",
    "internlm2",
    "minicpm",
    "ernie4_5",
    "ernie4_5-moe",
    "exaone",
    "baichuan",
    "mistral3",
    "arcee",
    "dots1",
    "hunyuan-dense",
    "hunyuan-moe",
)
ARCHITECTURES = {
    **dict.fromkeys(PLAIN, Traits()),
    "gemma2": Traits(full_every=2),
    "gemma3": Traits(full_every=6),
    "gpt-oss": Traits(full_every=2),
    "exaone4": Traits(full_every=4),
    "phi2": Traits(parallel=True),
    "falcon": Traits(parallel=True),
    "command-r": Traits(parallel=True),
    "cohere2": Traits(parallel=True, full_every=4),
}
"""Architectures whose tensors have the names and whose layers the windows that llama.cpp gives them."""

IN_LAYER = re.compile(r"blk\.(?P<layer>\d{1,5})\.(?P<role>.+)")
AROUND = {
    **dict.fromkeys(
        (
            "token_embd",
            "token_embd_norm",
            "token_types",
            "position_embd",
            "rope_freqs",
            "rope_factors_long",
            "rope_factors_short",
        ),
        BlockKind.EMBEDDING,
    ),
    **dict.fromkeys(("output_norm", "output"), BlockKind.HEAD),
}
"""Roles outside the layers."""


def read_gguf(path: str | Path) -> LanguageModel:
    """Read a language model from the header of a GGUF file.

    Parameters
    ----------
    path
        The file; of a split file any part.

    Raises
    ------
    InputError
        One line that names the file and what is wrong with it.
    """
    header = read_header(path)
    try:
        return _Model(header, Path(path).stem).model()
    except InputError as error:
        raise error.within(str(path)) from None


class _Model:
    def __init__(self, header: Header, name: str) -> None:
        self.metadata, self.tensors = header.metadata, header.tensors
        architecture = self.metadata.get("general.architecture")
        traits = ARCHITECTURES.get(architecture) if isinstance(architecture, str) else None
        if not isinstance(architecture, str) or traits is None:
            close = close_to(str(architecture), ARCHITECTURES)
            meant = "" if close is None else f" (did you mean {close!r}?)"
            listed = ", ".join(sorted(ARCHITECTURES))
            raise InputError(f"the architecture {architecture!r:.60} is not known{meant}; known are {listed}")
        self.architecture, self.traits = architecture, traits
        given = self.metadata.get("general.name")
        self.name = given if isinstance(given, str) and given.strip() and given.isprintable() else name
        prefix = f"{architecture}."
        own = {key.removeprefix(prefix): v for key, v in self.metadata.items() if key.startswith(prefix)}
        self.values = Values(own)
        self.values.need(("block_count", "embedding_length", "attention.head_count"))
        self.width = self.values.number("embedding_length")
        self.parallel = traits.parallel or (
            architecture == "gptneox" and self.values.flag("use_parallel_residual")
        )

    def model(self) -> LanguageModel:
        """Sort the tensors into blocks."""
        around: dict[BlockKind, list[Parameter]] = {BlockKind.EMBEDDING: [], BlockKind.HEAD: []}
        layers: dict[int, list[Parameter]] = {}
        for tensor in self.tensors:
            match = IN_LAYER.fullmatch(tensor.name)
            role = _role(match["role"] if match else tensor.name)
            made = Parameter(role, tensor.name, tensor.shape, tensor.size_bytes)
            if match is not None:
                layers.setdefault(int(match["layer"]), []).append(made)
                continue
            kind = AROUND.get(role.removesuffix(".bias"))
            if kind is None:
                raise InputError("the tensor is not known", place=f"tensor {tensor.name!r}")
            around[kind].append(made)
        notes = [f"weights in {self._types()}"]
        further = [n for n, found in layers.items() if any(p.role.startswith("nextn.") for p in found)]
        for n in further:
            del layers[n]
        if further:
            notes.append(f"{len(further)} layers for predicting further tokens (MTP) left out")
        count = self.values.number("block_count", most=10_000) - len(further)
        if set(layers) != set(range(count)):
            raise InputError(
                f"the file has tensors of {len(layers)} layers, not of {count} (a part of a model?)"
            )
        embedding, head = self._around(around)
        blocks = [embedding]
        for n in range(count):
            blocks += self._layer(n, layers[n])
        vocabulary = next(p.shape[0] for p in embedding.parameters if p.role == "token_embd")
        return LanguageModel(
            name=self.name,
            architecture=self.architecture,
            blocks=(*blocks, head),
            width=self.width,
            vocabulary=vocabulary,
            precision="fp16",
            max_tokens=self.values.optional("context_length"),
            notes=tuple(notes),
        )

    def _types(self) -> str:
        """Types of the tensors, the largest share first."""
        size: Counter[str] = Counter()
        for tensor in self.tensors:
            size[tensor.type] += int(tensor.size_bytes)
        return ", ".join(kind for kind, _ in size.most_common())

    def _around(self, around: dict[BlockKind, list[Parameter]]) -> tuple[Block, Block]:
        """Embedding and head; without a matrix of its own the head has that of the embedding."""
        table = next((p for p in around[BlockKind.EMBEDDING] if p.role == "token_embd"), None)
        if table is None or len(table.shape) != 2 or table.shape[1] != self.width:
            raise InputError("no table of tokens of the model's width", place="tensor 'token_embd.weight'")
        head = around[BlockKind.HEAD]
        if not any(p.role == "output" for p in head):
            head = [*head, Parameter("output", table.name, table.shape, table.size_bytes)]
        return (
            Block(BlockKind.EMBEDDING, "token_embd", None, tuple(around[BlockKind.EMBEDDING]), self.width),
            Block(BlockKind.HEAD, "output", None, tuple(head), self.width),
        )

    # -- layers ---------------------------------------------------------------------------------

    def _layer(self, n: int, found: list[Parameter]) -> Iterator[Block]:
        sorted_in: dict[BlockKind, list[Parameter]] = {}
        routed = any(p.role == "ffn_gate_inp" for p in found)
        for p in found:
            sorted_in.setdefault(_kind(p, routed=routed), []).append(p)
        attention = sorted_in.get(BlockKind.ATTENTION, [])
        yield self._block(BlockKind.ATTENTION, n, "attn", attention, self._attention(n, attention))
        if not routed:
            yield self._block(BlockKind.MLP, n, "ffn", _unfused(sorted_in.get(BlockKind.MLP, []), n))
            return
        experts = Experts(
            self.values.number("expert_count", most=MOST_EXPERTS),
            self.values.number("expert_used_count", most=MOST_EXPERTS),
        )
        stacks = sorted_in.get(BlockKind.EXPERTS, [])
        _need({p.role for p in stacks}, ("ffn_up_exps", "ffn_down_exps"), n)
        if experts.active > experts.count or any(p.shape[0] != experts.count for p in stacks):
            raise InputError(f"not the weights of {experts.count} experts", place=f"blk.{n}")
        yield self._block(BlockKind.ROUTER, n, "ffn_gate_inp", sorted_in[BlockKind.ROUTER], experts=experts)
        shared = sorted_in.get(BlockKind.SHARED_EXPERTS, [])
        if shared:
            _need({p.role for p in shared}, ("ffn_up_shexp", "ffn_down_shexp"), n)
            yield self._block(BlockKind.SHARED_EXPERTS, n, "ffn_shexp", shared)
        yield self._block(BlockKind.EXPERTS, n, "ffn_exps", stacks, experts=experts)

    def _block(
        self,
        kind: BlockKind,
        n: int,
        name: str,
        found: list[Parameter],
        attention: Attention | None = None,
        experts: Experts | None = None,
    ) -> Block:
        return Block(kind, f"blk.{n}.{name}", n, tuple(found), self.width, attention, experts, self.parallel)

    def _attention(self, n: int, found: list[Parameter]) -> Attention:
        """Dimensions of a layer's attention, as far as they agree with its weights."""
        heads = self._of_layer("attention.head_count", n)
        kv = self._of_layer("attention.head_count_kv", n, heads)
        even = self.width // heads
        key = self.values.optional("attention.key_length_mla") or self.values.optional("attention.key_length")
        value = self.values.optional("attention.value_length_mla")
        value = value or self.values.optional("attention.value_length") or even
        every, window = self.traits.full_every, self.values.optional("attention.sliding_window", least=0)
        slides = every is not None and (n + 1) % every != 0
        latent = self.values.optional("attention.kv_lora_rank")
        shapes = {p.role: p.shape for p in found}
        _need(shapes.keys(), ("attn_output",), n)
        expanded = latent is None or "attn_kv_b" in shapes  # such files cache expanded keys and values
        facts = Attention(
            heads,
            heads if latent is not None else kv,
            key or even,
            value,
            window or None if slides else None,
            0 if expanded else latent or 0,
            0 if expanded else self.values.number("rope.dimension_count"),
        )
        expected = {
            "attn_q": heads * facts.key_size,
            "attn_q_b": heads * facts.key_size,
            "attn_k": facts.kv_heads * facts.key_size,
            "attn_v": facts.kv_heads * facts.value_size,
            "attn_qkv": heads * facts.key_size + facts.kv_heads * (facts.key_size + facts.value_size),
        }
        got = {role: shape[0] for role, shape in shapes.items() if role in expected}
        got["attn_output"], expected["attn_output"] = shapes["attn_output"][-1], heads * facts.value_size
        for role, size in got.items():
            if size != expected[role]:
                raise InputError(
                    f"{size} numbers, but the heads have {expected[role]}", place=f"tensor 'blk.{n}.{role}'"
                )
        if not {"attn_q", "attn_q_a", "attn_qkv"} & shapes.keys():
            raise InputError("no queries: the layer's attention is not known", place=f"blk.{n}")
        return facts

    def _of_layer(self, key: str, n: int, default: int | None = None) -> int:
        """Return a number that each layer may have its own of."""
        value = self.values.get(key)
        if value is None and default is not None:
            return default
        if isinstance(value, list):
            listed: Any = value[n] if n < len(value) else None
            return Values({key: listed}).number(key)
        return self.values.number(key)


def _role(name: str) -> str:
    """Role of a tensor: its name without ``.weight``."""
    return name.removesuffix(".weight")


def _kind(p: Parameter, *, routed: bool) -> BlockKind:
    """Block that a tensor of a layer belongs to."""
    role = p.role.removesuffix(".bias")
    if role.startswith("attn_") or role == "post_attention_norm":
        return BlockKind.ATTENTION
    if role.endswith("_exps"):
        return BlockKind.EXPERTS
    if role.endswith("_shexp"):
        return BlockKind.SHARED_EXPERTS
    if role in ("ffn_norm", "post_ffw_norm", "ffn_gate_inp", "exp_probs_b"):
        return BlockKind.ROUTER if routed else BlockKind.MLP
    if role in ("ffn_gate", "ffn_up", "ffn_down"):
        return BlockKind.MLP
    raise InputError("the tensor is not known", place=f"tensor {p.name!r}")


def _need(roles: Any, needed: tuple[str, ...], n: int) -> None:
    missing = [role for role in needed if role not in roles]
    if missing:
        raise InputError(f"missing: {', '.join(missing)}", place=f"blk.{n}")


def _unfused(found: list[Parameter], n: int) -> list[Parameter]:
    """Tell a matrix that holds gate and up together by its height."""
    by_role = {p.role: p for p in found}
    _need(by_role.keys(), ("ffn_up", "ffn_down"), n)
    up, down = by_role["ffn_up"], by_role["ffn_down"]
    if "ffn_gate" in by_role or up.shape[0] != 2 * down.shape[-1]:
        return found
    return [Parameter("ffn_gate_up", p.name, p.shape, p.size_bytes) if p is up else p for p in found]
