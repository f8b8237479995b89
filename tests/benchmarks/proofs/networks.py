"""Networks by formulas: operators with the costs that their shapes have on one accelerator."""

from __future__ import annotations

from collections.abc import Callable, Iterable
from dataclasses import dataclass, field
from typing import Any

from tests.benchmarks.proofs.graph import Graph

__all__ = ["NETWORKS"]

FLOPS, BYTES_PER_S, LAUNCH_MS = 60e12, 900e9, 0.004
"""What kernels reach of an accelerator's peaks (about a V100 in 16 bit), and what starting one costs."""
HALF = 2
"""Bytes of a number."""


@dataclass
class Network:
    """Operators under the roofline; ``batch`` samples at a time."""

    batch: int
    graph: Graph = field(default_factory=Graph)

    def add(
        self,
        name: str,
        reads: Iterable[int],
        flops: float,
        weights: float,
        numbers: float,
        other: float = 1.0,
    ) -> int:
        """Add an operator: FLOPs per sample, weights, and the numbers that it sends per sample."""
        sources = list(reads)
        sent = HALF * numbers * self.batch
        moved = sent + HALF * weights + sum(self.graph.operators[u].output_bytes for u in sources)
        time = LAUNCH_MS + 1e3 * max(self.batch * flops / FLOPS, moved / BYTES_PER_S)
        return self.graph.add(name, sources, time, weights=HALF * weights, output=sent, other=other)

    def light(self, name: str, reads: Iterable[int], numbers: float) -> int:
        """Add an operator that moves data and little else: slower elsewhere than what computes."""
        return self.add(name, reads, 5.0 * numbers, 0.0, numbers, 1.4)


@dataclass
class Text(Network):
    """Sequences of ``tokens`` vectors of ``width`` numbers."""

    width: int = 1024
    tokens: int = 512

    @property
    def stream(self) -> float:
        """Numbers of one sequence."""
        return float(self.width * self.tokens)

    def linear(self, name: str, read: int, into: int, out: int) -> int:
        """Add a linear layer."""
        return self.add(name, [read], 2.0 * self.tokens * into * out, into * out, self.tokens * out)

    def attention(self, name: str, x: int, memory: int, heads: int, mask: int | None) -> int:
        """Add an attention whose heads are operators; keys and values come from ``memory``."""
        part, contexts = self.width // heads, []
        scores = float(self.tokens**2)
        for h in range(heads):
            query, key, value = (
                self.linear(f"{name}/head{h}/{what}", source, self.width, part)
                for what, source in (("query", x), ("key", memory), ("value", memory))
            )
            masked = [query, key] if mask is None else [query, key, mask]
            weighed = self.add(f"{name}/head{h}/scores", masked, 2.0 * scores * part, 0.0, scores)
            soft = self.light(f"{name}/head{h}/softmax", [weighed], scores)
            contexts.append(
                self.add(
                    f"{name}/head{h}/context", [soft, value], 2.0 * scores * part, 0.0, self.tokens * part
                )
            )
        return self.linear(
            f"{name}/out", self.light(f"{name}/concat", contexts, self.stream), self.width, self.width
        )

    def perceptron(self, name: str, x: int) -> int:
        """Add the two wide layers of a block."""
        wide = self.linear(f"{name}/expand", x, self.width, 4 * self.width)
        return self.linear(
            f"{name}/reduce", self.light(f"{name}/gelu", [wide], 4 * self.stream), 4 * self.width, self.width
        )

    def residual(self, name: str, x: int, part: Callable[[str, int], int]) -> int:
        """Add a norm, a part of a block, and the sum of the part and its input."""
        normed = self.light(f"{name}/norm", [x], self.stream)
        return self.light(f"{name}/sum", [x, part(name, normed)], self.stream)

    def embedding(self, name: str) -> int:
        """Add the look-up of vectors."""
        return self.add(name, [], 0.0, 32_000 * self.width, self.stream)

    def block(self, name: str, x: int, heads: int, mask: int | None, memory: int | None = None) -> int:
        """Add a block of a transformer; with ``memory`` one that also attends to an encoder."""
        x = self.residual(f"{name}/attention", x, lambda at, y: self.attention(at, y, y, heads, mask))
        if memory is not None:
            x = self.residual(f"{name}/cross", x, lambda at, y: self.attention(at, y, memory, heads, None))
        return self.residual(f"{name}/mlp", x, self.perceptron)


LEVELS = {"operator": 99, "layer": 2, "module": 1}
"""So many parts of a name tell nodes apart."""


def transformer(rng: Any, level: str, blocks: int, heads: int, width: int) -> Graph:
    """Build a decoder (or, with a mask that all blocks read, an encoder) with a head."""
    net = Text(batch=4, width=width)
    mask = net.light("mask/mask", [], net.tokens**2) if rng.random() < 0.5 else None
    x = net.embedding("embed/tokens")
    for b in range(blocks):
        x = net.block(f"block{b}", x, heads, mask)
    net.linear("head/logits", net.light("head/norm", [x], net.stream), width, 32_000)
    return net.graph.coarsened(LEVELS[level])


def encoder_decoder(rng: Any, level: str, blocks: int, heads: int, width: int) -> Graph:
    """Build two stacks; every decoder block reads the end of the encoder."""
    del rng
    net = Text(batch=4, width=width)
    x = net.embedding("encoder-embed/tokens")
    for b in range(blocks):
        x = net.block(f"encoder{b}", x, heads, None)
    memory, y = x, net.embedding("decoder-embed/tokens")
    for b in range(blocks):
        y = net.block(f"decoder{b}", y, heads, None, memory)
    net.linear("head/logits", y, width, 32_000)
    return net.graph.coarsened(LEVELS[level])


@dataclass
class Images(Network):
    """Feature maps: what has gone by, with its side and channels."""

    maps: dict[int, tuple[int, int]] = field(default_factory=dict)
    """Side (pixels) and channels of each operator's output."""

    def conv(
        self, name: str, x: int | None, channels: int, kernel: int, stride: int = 1, side: int = 224
    ) -> int:
        """Add a convolution; without ``x`` of the image."""
        before, into = (side, 3) if x is None else self.maps[x]
        size = max(1, before // stride)
        weights = float(kernel**2 * into * channels)
        pixels = float(size**2)
        v = self.add(name, [] if x is None else [x], 2 * pixels * weights, weights, pixels * channels)
        self.maps[v] = size, channels
        return v

    def join(self, name: str, parts: list[int], *, summed: bool = False, stride: int = 1) -> int:
        """Add a sum, a concatenation or a pooling of maps of one size."""
        side, channels = self.maps[parts[0]]
        if not summed:
            channels = sum(self.maps[part][1] for part in parts)
        side = max(1, side // stride)
        v = self.light(name, parts, float(side**2 * channels))
        self.maps[v] = side, channels
        return v

    def classifier(self, x: int) -> Graph:
        """End with a pooling and a linear layer."""
        side, channels = self.maps[x]
        pooled = self.join("head/pool", [x], stride=side)
        self.add("head/classifier", [pooled], 2e3 * channels, 1e3 * channels, 1e3)
        return self.graph


def residual_network(rng: Any, level: str, *stages: int) -> Graph:
    """Build a ResNet with bottlenecks: so many blocks in each stage."""
    del rng
    net = Images(batch=16)
    x = net.join("stem/pool", [net.conv("stem/conv", None, 64, 7, 2)], stride=2)
    for s, count in enumerate(stages):
        for b in range(count):
            name, channels, stride = f"stage{s}-block{b}", 64 * 2**s, 2 if s and not b else 1
            y = net.conv(f"{name}/main/reduce", x, channels, 1)
            y = net.conv(f"{name}/main/conv", net.join(f"{name}/main/relu1", [y]), channels, 3, stride)
            y = net.conv(f"{name}/main/expand", net.join(f"{name}/main/relu2", [y]), 4 * channels, 1)
            short = x if b else net.conv(f"{name}/shortcut/conv", x, 4 * channels, 1, stride)
            x = net.join(f"{name}/out/sum", [y, short], summed=True)
    return net.classifier(x).coarsened(LEVELS[level])


def dense_network(rng: Any, growth: int, *blocks: int) -> Graph:
    """Build a DenseNet: each layer reads the concatenation of all before it in its block."""
    del rng
    net = Images(batch=16)
    x = net.join("stem/pool", [net.conv("stem/conv", None, 2 * growth, 7, 2)], stride=2)
    for b, count in enumerate(blocks):
        known = [x]
        for i in range(count):
            name = f"dense{b}-{i}"
            joined = net.join(f"{name}/concat", known) if len(known) > 1 else known[0]
            narrow = net.conv(f"{name}/reduce", joined, 4 * growth, 1)
            known.append(net.conv(f"{name}/conv", narrow, growth, 3))
        x = net.join(f"dense{b}-end/concat", known)
        if b + 1 < len(blocks):
            narrow = net.conv(f"dense{b}-end/reduce", x, net.maps[x][1] // 2, 1)
            x = net.join(f"dense{b}-end/pool", [narrow], stride=2)
    return net.classifier(x)


def inception(rng: Any, modules: int, width: int) -> Graph:
    """Build modules of ``width`` branches of one to four convolutions, concatenated."""
    net = Images(batch=16)
    x = net.join("stem/pool", [net.conv("stem/conv", None, 64, 7, 2)], stride=2)
    for m in range(modules):
        ends = []
        for b in range(width):
            y = net.join(f"mixed{m}/branch{b}/pool", [x]) if b == width - 1 else x
            for i in range(1 + b % 4 if b < width - 1 else 1):
                y = net.conv(f"mixed{m}/branch{b}/conv{i}", y, int(rng.choice([32, 64, 96])), 3 if i else 1)
            ends.append(y)
        x = net.join(f"mixed{m}/concat", ends, stride=2 if m % 4 == 3 else 1)
    return net.classifier(x)


def searched_cells(rng: Any, cells: int, filters: int) -> Graph:
    """Build cells like NASNet's: five sums of two operations on the two cells before or on earlier sums."""
    net = Images(batch=16)
    stem = net.conv("stem/conv", None, filters, 3, 4)
    before, x = stem, net.conv("stem/next", stem, filters, 1)
    for c in range(cells):
        known = [net.conv(f"cell{c}/adjust{i}", y, filters, 1) for i, y in enumerate((before, x))]
        used: set[int] = set()
        for s in range(5):
            sides = []
            for i, pick in enumerate(rng.choice(len(known), 2)):
                used.add(int(pick))
                name, source = f"cell{c}/sum{s}/side{i}", known[int(pick)]
                pooled = rng.random() < 0.3
                sides.append(
                    net.join(name, [source])
                    if pooled
                    else net.conv(name, source, filters, int(rng.choice([3, 5])))
                )
            known.append(net.join(f"cell{c}/sum{s}/add", sides, summed=True))
        free = [y for i, y in enumerate(known) if i > 1 and i not in used]
        before, x = x, net.join(f"cell{c}/concat", free)
    return net.classifier(x)


def u_net(rng: Any, depth: int, convolutions: int) -> Graph:
    """Build a path down and a path up, with a skip at each resolution."""
    del rng
    net = Images(batch=4)
    x: int | None = None
    skips = []
    for level in range(depth):
        for i in range(convolutions):
            x = net.conv(f"down{level}/conv{i}", x, 32 * 2**level, 3, side=256)
        assert x is not None
        skips.append(x)
        x = net.join(f"down{level}/pool", [x], stride=2)
    for i in range(convolutions):
        x = net.conv(f"middle/conv{i}", x, 32 * 2**depth, 3)
    assert x is not None
    for level in reversed(range(depth)):
        side, channels = net.maps[skips[level]]
        up = net.conv(f"up{level}/upsample", x, channels, 2)
        net.maps[up] = side, channels  # a convolution that is the transpose of one with stride 2
        x = net.join(f"up{level}/concat", [up, skips[level]])
        for i in range(convolutions):
            x = net.conv(f"up{level}/conv{i}", x, channels, 3)
    net.conv("out/conv", x, 2, 1)
    return net.graph


NETWORKS: dict[str, Callable[..., Graph]] = {
    "transformer": transformer,
    "encoder-decoder": encoder_decoder,
    "resnet": residual_network,
    "densenet": dense_network,
    "inception": inception,
    "nasnet": searched_cells,
    "u-net": u_net,
}
"""From a network's name to a function of a random generator and sizes."""
