"""Training graphs of deep transformers, operator by operator, of any size.

Shapes are those of a GPT with 7 billion parameters per 32 blocks: width 4096, 2048 tokens, one sample per
step, 16-bit numbers, four groups of attention heads that are operators of their own.  Times follow the
roofline of an A100 (half of 312 TFLOP/s, 1555 GB/s), outputs travel over PCIe 4.0 x16 (32 GB/s each way).
A backward operator takes twice the time of its forward operator, shares its device, sends the gradient
of its inputs, and the edges are mirrored.
"""

from __future__ import annotations

from dataclasses import dataclass, field

import numpy as np

from placer.instance.cluster import DeviceClass, Kind, Link
from placer.instance.instance import Instance

__all__ = ["BLOCK", "transformer_training"]

WIDTH, TOKENS, HEADS, GROUPS = 4096, 2048, 32, 4
HALF, ADAM = 2, 16  # bytes per number, and per parameter with gradients and optimizer
FLOPS, BANDWIDTH, LAUNCH_MS = 0.5 * 312e12, 1555e9, 0.005
LINK_BYTES_PER_S = 32e9
STREAM = HALF * TOKENS * WIDTH
"""Bytes of the residual stream."""
SCORES = HALF * TOKENS * TOKENS * HEADS // GROUPS
"""Bytes of the attention scores of one group of heads."""
BLOCK = 66
"""Operators per block, both directions."""


@dataclass
class _Forward:
    """The forward pass in the making; sizes in bytes."""

    names: list[str] = field(default_factory=list)
    reads: list[list[int]] = field(default_factory=list)
    time_ms: list[float] = field(default_factory=list)
    memory: list[float] = field(default_factory=list)
    output: list[float] = field(default_factory=list)
    gradient: list[float] = field(default_factory=list)

    def add(
        self,
        name: str,
        reads: list[int],
        *,
        flops: float = 0.0,
        parameters: float = 0.0,
        read: float = STREAM,
        output: float = STREAM,
        gradient: float | None = None,
    ) -> int:
        """Add an operator that reads ``read`` bytes and sends back as many, or ``gradient``, as gradients."""
        moved = read + output + HALF * parameters
        self.names.append(name)
        self.reads.append(reads)
        self.time_ms.append(LAUNCH_MS + 1e3 * max(flops / FLOPS, moved / BANDWIDTH))
        self.memory.append(ADAM * parameters + output)
        self.output.append(output)
        self.gradient.append(read if gradient is None else gradient)
        return len(self.names) - 1

    def matmul(self, name: str, read: int, width_in: int, width_out: int) -> int:
        """Add a linear layer."""
        return self.add(
            name,
            [read],
            flops=2.0 * TOKENS * width_in * width_out,
            parameters=width_in * width_out,
            read=HALF * TOKENS * width_in,
            output=HALF * TOKENS * width_out,
        )

    def head_group(self, name: str, read: int) -> int:
        """Add the attention of one group of heads."""
        part = WIDTH // GROUPS
        q, k, v = (self.matmul(f"{name}/{x}", read, WIDTH, part) for x in "qkv")
        small = STREAM / GROUPS
        flops = 2.0 * TOKENS * TOKENS * part
        scores = self.add(f"{name}/scores", [q, k], flops=flops, read=2 * small, output=SCORES)
        softmax = self.add(f"{name}/softmax", [scores], read=SCORES, output=SCORES)
        return self.add(f"{name}/out", [softmax, v], flops=flops, read=SCORES + small, output=small)

    def block(self, name: str, x: int) -> int:
        """Add a block that reads the residual stream ``x``; returns the new one."""
        norm = self.add(f"{name}/norm1", [x])
        heads = [self.head_group(f"{name}/head{g}", norm) for g in range(GROUPS)]
        joined = self.add(f"{name}/concat", heads)
        projected = self.matmul(f"{name}/proj", joined, WIDTH, WIDTH)
        x = self.add(f"{name}/residual1", [x, projected], read=2 * STREAM, gradient=STREAM)
        norm = self.add(f"{name}/norm2", [x])
        wide = self.matmul(f"{name}/expand", norm, WIDTH, 4 * WIDTH)
        wide = self.add(f"{name}/gelu", [wide], read=4 * STREAM, output=4 * STREAM)
        narrow = self.matmul(f"{name}/reduce", wide, 4 * WIDTH, WIDTH)
        return self.add(f"{name}/residual2", [x, narrow], read=2 * STREAM, gradient=STREAM)


def transformer_training(
    operators: int = 10_000, accelerators: int = 64, *, transfers: float = 1.0, jitter: float = 0.0
) -> Instance:
    """Build the training graph of a transformer.

    Parameters
    ----------
    operators
        Least number of nodes; whole blocks of `BLOCK` between an embedding and a loss.
    accelerators
        Devices, each with 1.5 times the memory that an even spread would need (or a little more than the
        largest operator needs).
    transfers
        Transfers take this many times as long.
    jitter
        Relative standard deviation of a factor on every processing time, as profiles have it (seed 0).
    """
    forward = _Forward()
    x = forward.add("embed", [], parameters=32_000 * WIDTH, read=0.0)
    for i in range(max(1, -(-(operators - 6) // BLOCK))):
        x = forward.block(f"block{i}", x)
    x = forward.add("norm", [x])
    forward.add("loss", [x], output=0.0)
    n = len(forward.names)
    both = np.array(forward.memory)
    memory_limit = max(1.5 * both.sum() / accelerators, 1.1 * both.max())
    time = np.array(forward.time_ms)
    time = np.concatenate([time, 2 * time])
    time *= np.maximum(0.2, 1 + jitter * np.random.default_rng(0).standard_normal(2 * n))
    reads = [(u, w) for w, sources in enumerate(forward.reads) for u in sources]
    mirrored = [(n + w, n + u) for u, w in reads]
    # The gradient of a source node leaves the graph: it has nobody to go to.
    link = Link(bandwidth_bytes_per_s=LINK_BYTES_PER_S / transfers, latency_ms=0.01 * transfers)
    return Instance.build(
        name=f"transformer_{2 * n}_on_{accelerators}",
        ids=[*forward.names, *(f"{name}/backward" for name in forward.names)],
        types=("gpu",),
        time_ms=time,
        memory_bytes=np.concatenate([both, np.zeros(n)]),
        output_bytes=np.concatenate([forward.output, forward.gradient]),
        edges=reads + [(v, n + v) for v in range(n)] + mirrored,
        classes=(DeviceClass("gpu", "gpu", accelerators, Kind.ACCELERATOR, memory_limit, link),),
        backward=[False] * n + [True] * n,
        colocate=[*forward.names, *forward.names],
    )
