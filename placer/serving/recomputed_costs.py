"""Costs of one node on one device, written down from the definition: for checks, apart from all searches."""

from __future__ import annotations

from dataclasses import dataclass
from math import inf
from typing import Protocol

import numpy as np

from placer.imports.precision import WIDER
from placer.instance.cluster import DeviceClass, Link
from placer.instance.modes import Mode
from placer.language.language_model import TABLES, Block, BlockKind, Parameter
from placer.serving.served_instance import ServedInstance
from placer.serving.served_language_model import ServedLanguageModel
from placer.serving.serving_model import ServingModel

__all__ = ["Device", "Recomputed", "recomputed"]

TOKEN_BYTES = 4
"""Of the number of a token, which goes back to the first stage."""


@dataclass(frozen=True)
class Device:
    """A device: its class, what a plan may use of its memory, and the link out of its server, if any."""

    name: str
    cls: DeviceClass
    room_bytes: float
    server: str | None = None
    uplink: Link | None = None

    def link_ms(self, other: Device, size: float) -> float:
        """Time in which so many bytes pass this end of a way to another device."""
        if self.cls.is_host:
            return 0.0
        links = [self.cls.link]
        if self.uplink is not None and self.server != other.server:
            links.append(self.uplink)
        return max(
            0.0 if b is None else link.latency_ms + 1e3 * size / b
            for link in links
            for b in (link.bandwidth_bytes_per_s,)
        )


class Recomputed(Protocol):
    """Costs of nodes, by their place in the model, and devices, by name."""

    devices: dict[str, Device]

    def time_ms(self, v: int, device: Device, shards: int) -> float:
        """Time of a microbatch; inf where the node may not run."""

    def prompt_ms(self, v: int, device: Device, shards: int) -> float | None:
        """Time of a prompt; None when the model does not say."""

    def weight_bytes(self, v: int, shards: int) -> float:
        """Weights on each device."""

    def cache_bytes(self, v: int, shards: int) -> float:
        """Bytes that a microbatch keeps on each device."""

    def move_ms(self, v: int, device: Device, other: Device, shards: int, *, prompt: bool = False) -> float:
        """Time in which the node's output passes the device's end of a way to another one."""

    def tied_bytes(self) -> float:
        """Weights that first and last node share."""


def recomputed(model: ServingModel, batch: int, context: int | None, prompt: int | None) -> Recomputed:
    """Prepare the costs of a model in a setting.

    Raises
    ------
    TypeError
        For a model that is neither a language model nor an instance.
    """
    if isinstance(model, ServedLanguageModel):
        return _Language(model, batch, context or 1, prompt)
    if isinstance(model, ServedInstance):
        return _Chain(model)
    raise TypeError(f"costs of {type(model).__name__} are not known")


class _Chain:
    """An instance: one sample is a microbatch."""

    def __init__(self, model: ServedInstance) -> None:
        self.instance, self.order = model.instance, model.order
        instance = model.instance
        self.devices = {
            d.name: Device(
                d.name,
                instance.classes[d.class_index],
                d.memory_limit_bytes,
                None if d.server is None else instance.servers[d.server].name,
                None if d.server is None else instance.servers[d.server].uplink,
            )
            for d in instance.devices
            if instance.allowed[:, d.index].any()
        }
        self._index = {d.name: d.index for d in instance.devices}

    def time_ms(self, v: int, device: Device, shards: int) -> float:
        node = self.order[v]
        if not self.instance.allowed[node, self._index[device.name]]:
            return inf
        if shards > 1:
            return float(self.instance.compute_ms(device.cls, Mode(shards=shards))[node])
        return float(self.instance.time_ms[node, self.instance.types.index(device.cls.type)])

    def prompt_ms(self, v: int, device: Device, shards: int) -> float | None:
        del v, device, shards
        return None

    def weight_bytes(self, v: int, shards: int) -> float:
        return float(self.instance.kept_bytes(Mode(shards=shards))[0][self.order[v]])

    def cache_bytes(self, v: int, shards: int) -> float:
        if shards > 1:
            return float(self.instance.kept_bytes(Mode(shards=shards))[1][self.order[v]])
        return float(self.instance.activation_bytes[self.order[v]])

    def move_ms(self, v: int, device: Device, other: Device, shards: int, *, prompt: bool = False) -> float:
        del prompt
        node, size = self.order[v], float(self.instance.output_bytes[self.order[v]])
        if np.isnan(size):
            scale = [device.cls.link.transfer_scale]
            if device.uplink is not None and device.server != other.server:
                scale.append(device.uplink.transfer_scale)
            took = float(self.instance.transfer_ms[node]) * max(scale) / shards
            return 0.0 if device.cls.is_host else took
        return device.link_ms(other, size / shards) if size > 0 else 0.0

    def tied_bytes(self) -> float:
        return 0.0


class _Language:
    """A language model: a microbatch is one token of each of ``batch`` sequences."""

    def __init__(self, model: ServedLanguageModel, batch: int, context: int, prompt: int | None) -> None:
        self.model, self.cluster = model.model, model.cluster
        self.batch, self.context, self.prompt = batch, context, prompt
        self.itemsize, self.number_bytes = model.itemsize, model.cache_bytes
        servers = {name: server for server in self.cluster.servers for name in server.devices}
        self.devices = {}
        for cls in self.cluster.classes:
            for i in range(cls.count):
                name = cls.member(i)
                server = servers.get(name)
                self.devices[name] = Device(
                    name,
                    cls,
                    cls.room_bytes(i),
                    None if server is None else server.name,
                    None if server is None else server.uplink,
                )

    def time_ms(self, v: int, device: Device, shards: int) -> float:
        block = self.model.blocks[v]
        pairs = 0.0
        if (facts := block.attention) is not None:
            # Latent keys and values stay as they are cached, and the query is brought to their form.
            each = (
                2 * facts.latent_size + facts.rotary_size
                if facts.latent_size
                else facts.key_size + facts.value_size
            )
            pairs = 2.0 * facts.heads * each * self.batch * self._seen(block, self.context)
        moved = self._read(block, self.batch, shards) + self.cache_bytes(v, shards)
        return self._slower(device, block, self.batch, shards, (pairs, moved))

    def prompt_ms(self, v: int, device: Device, shards: int) -> float | None:
        if self.prompt is None:
            return None
        block = self.model.blocks[v]
        passed = 1 if block.kind is BlockKind.HEAD else self.prompt
        pairs = 0.0
        if (facts := block.attention) is not None:
            each = facts.key_size + facts.value_size
            pairs = 2.0 * facts.heads * each * passed * self._seen(block, self.prompt)
        moved = self._read(block, passed, shards) + self._cached(block, self.prompt, shards)
        return self._slower(device, block, passed, shards, (pairs, moved))

    def weight_bytes(self, v: int, shards: int) -> float:
        block = self.model.blocks[v]
        return sum(p.size_bytes * _share(block, p, shards) for p in block.parameters)

    def cache_bytes(self, v: int, shards: int) -> float:
        return self.batch * self._cached(self.model.blocks[v], self.context, shards)

    def move_ms(self, v: int, device: Device, other: Device, shards: int, *, prompt: bool = False) -> float:
        tokens = (self.prompt or 0) if prompt else self.batch
        last = v == len(self.model.blocks) - 1
        return device.link_ms(
            other, tokens * (TOKEN_BYTES if last else self.model.width * self.itemsize) / shards
        )

    def tied_bytes(self) -> float:
        first = {p.name for p in self.model.blocks[0].parameters}
        return sum(p.size_bytes for p in self.model.blocks[-1].parameters if p.name in first)

    def _seen(self, block: Block, tokens: int) -> int:
        window = None if block.attention is None else block.attention.window
        return tokens if window is None else min(window, tokens)

    def _cached(self, block: Block, tokens: int, shards: int) -> float:
        """Bytes of keys and values of one sequence on each device."""
        facts = block.attention
        if facts is None:
            return 0.0
        numbers: float = facts.latent_size + facts.rotary_size
        if not facts.latent_size:
            numbers = facts.kv_heads * (facts.key_size + facts.value_size) / min(shards, facts.kv_heads)
        return self.number_bytes * numbers * self._seen(block, tokens)

    def _read(self, block: Block, tokens: int, shards: int) -> float:
        """Bytes of weights that are read: rows of tables, and of experts those that a token chose."""
        reached = 1.0
        if block.kind is BlockKind.EXPERTS and block.experts is not None:
            reached -= (1.0 - block.experts.active / block.experts.count) ** tokens
        sizes = [
            tokens * p.size_bytes / p.shape[0] if p.role in TABLES else p.size_bytes * reached
            for p in block.parameters
        ]
        kept = sum(p.size_bytes * _share(block, p, shards) for p in block.parameters)
        return sum(sizes) * kept / sum(p.size_bytes for p in block.parameters)

    def _slower(
        self, device: Device, block: Block, tokens: int, shards: int, work: tuple[float, float]
    ) -> float:
        """Time of computing or moving, whichever is slower, launch, and the sum over shards.

        ``work`` is the operations of pairs of query and key, and the bytes moved; biases are split as the
        matrices are.
        """
        pairs, moved = work
        matrices = [p for p in block.parameters if p.is_matrix]
        biases = sum(
            p.elements for p in block.parameters if p.role.endswith(".bias") and "norm" not in p.role
        )
        elements = sum(p.elements for p in matrices)
        split = sum(p.elements * _share(block, p, shards) for p in matrices) / elements if elements else 1.0
        active = (
            block.experts.active / block.experts.count
            if block.kind is BlockKind.EXPERTS and block.experts is not None
            else 1.0
        )
        flops = tokens * (2.0 * elements + biases) * active * split + pairs / shards
        entry = self.cluster.types[device.cls.type]
        peak = next(
            entry.peak_tflops[name] for name in WIDER[self.model.precision] if name in entry.peak_tflops
        )
        time = entry.launch_ms + 1e3 * max(
            flops / (1e12 * peak * entry.compute_efficiency),
            moved / (1e9 * entry.bandwidth_gb_per_s * entry.bandwidth_efficiency),
        )
        if shards > 1 and block.kind in (
            BlockKind.EMBEDDING,
            BlockKind.ATTENTION,
            BlockKind.MLP,
            BlockKind.EXPERTS,
        ):
            peers = device.cls.peers
            time += 2 * (shards - 1) * peers.latency_ms
            if peers.bandwidth_bytes_per_s is not None:
                size = tokens * self.model.width * self.itemsize
                time += 2 * (shards - 1) / shards * 1e3 * size / peers.bandwidth_bytes_per_s
        return time


def _share(block: Block, p: Parameter, shards: int) -> float:
    """Share of a tensor on each of several devices: heads of keys and values at least one, some all of it."""
    role = p.role.removesuffix(".bias")
    whole = {"attn_q_a", "attn_kv_a_mqa", "ffn_gate_inp", "exp_probs_b", "position_embd"}
    if shards == 1 or role in whole or "norm" in role:
        return 1.0
    if (facts := block.attention) is not None:
        groups = min(shards, facts.kv_heads)
        if role in ("attn_k", "attn_v"):
            return 1 / groups
        if role == "attn_qkv":
            heads, pairs = facts.heads, 2 * facts.kv_heads
            return (heads / shards + pairs / groups) / (heads + pairs)
    return 1 / shards
