"""Make instances of clusters that people have (``python data/scenarios.py``); see README.md."""

from __future__ import annotations

from dataclasses import dataclass

from make import (
    A100,
    GIB,
    HALF,
    PCIE3_X16,
    PCIE4_X16,
    T4,
    Device,
    Gpt,
    Graph,
    Node,
    accelerators,
    gpt,
    write_document,
)

V100 = Device("v100", 125e12, 900e9, 0.45)
NANO = Device("nano", 0.472e12, 25.6e9, 0.5)
NVSWITCH = 300e9
INFINIBAND = 12.5e9 / 2  # a 100 Gbit/s adapter that two GPUs share
WAN = 1.25e9  # 10 Gbit/s
MBIT = 1e6 / 8


def write(name: str, graph: Graph, classes: list[Node], servers: list[Node], microbatches: int = 0) -> None:
    """Write one instance, with servers and for training with mixed-precision Adam."""
    cluster: Node = {"classes": classes} | ({"servers": servers} if servers else {})
    body: Node = {"nodes": graph.nodes, "edges": graph.edges, "cluster": cluster}
    if microbatches:
        body["training"] = {"optimizer": "mixed-adam", "microbatches": microbatches}
    write_document(name, body)


def server(name: str, devices: list[str], bytes_per_s: float, latency_ms: float) -> Node:
    """Describe a server by its devices and the uplink of each."""
    return {
        "name": name,
        "devices": devices,
        "uplink": {"bandwidth_bytes_per_s": bytes_per_s, "latency_ms": latency_ms},
    }


def mixed_server() -> None:
    """Train GPT-2 large on one server with two generations of GPUs, some of whose memory is taken."""
    graph = gpt(Gpt(layers=36, width=1280, batch=4), (V100, T4), training=True, microbatches=True)
    small = accelerators("t4", 4, 16 * GIB, PCIE3_X16, "small")
    small["memory_reserve_bytes"] = [0, 0, 4 * GIB, 8 * GIB]
    write("mixed_server", graph, [accelerators("v100", 2, 32 * GIB, PCIE3_X16, "large"), small], [], 8)


def geo() -> None:
    """Train GPT-2 XL over three sites: fast links within each, 10 Gbit/s and 1 ms between them."""
    graph = gpt(Gpt(layers=48, width=1600, batch=4), (A100, V100, T4), training=True, microbatches=True)
    classes = [
        accelerators("a100", 2, 40 * GIB, PCIE4_X16, "zurich"),
        accelerators("v100", 2, 32 * GIB, PCIE3_X16, "oslo"),
        accelerators("t4", 4, 16 * GIB, PCIE3_X16, "porto"),
    ]
    sites = [server(f"site-{c['name']}", [c["name"]], WAN, 1.0) for c in classes]
    write("geo", graph, classes, sites, 8)


# The layers of AlexNet (Krizhevsky, 2014, one tower): output size, channels out, kernel; then widths.
ALEXNET = (
    ("conv1", 55, 64, 11),
    ("pool1", 27, 64, 0),
    ("conv2", 27, 192, 5),
    ("pool2", 13, 192, 0),
    ("conv3", 13, 384, 3),
    ("conv4", 13, 256, 3),
    ("conv5", 13, 256, 3),
    ("pool5", 6, 256, 0),
)
WIDTHS = (("fc6", 4096), ("fc7", 4096), ("fc8", 1000))


def edge_cloud() -> None:
    """Run AlexNet on the images of a camera: a small device at its side, an A100 behind an uplink."""
    graph = Graph((NANO, A100))
    size = 224 * 224 * 3.0  # 8 bit per colour
    last = graph.add("camera", [], flops=0.0, moved=size, output=size, memory=size, pin=["edge"])
    channels = 3
    for name, side, out, kernel in ALEXNET:
        weights = kernel * kernel * channels * out
        output = HALF * side * side * float(out)
        last = graph.add(
            name,
            [last],
            flops=2.0 * side * side * weights,
            moved=HALF * weights + size + output,
            output=output,
            memory=HALF * weights + output,
        )
        size, channels = output, out
    inputs = 6 * 6 * 256
    for name, width in WIDTHS:
        weights = HALF * float(inputs * width)
        last = graph.add(
            name,
            [last],
            flops=2.0 * inputs * width,
            moved=weights + HALF * (inputs + width),
            output=HALF * float(width),
            memory=weights,
        )
        inputs = width
    edge = accelerators("nano", 1, 2 * GIB, 100 * MBIT, "edge")
    write("edge_cloud", graph, [edge, accelerators("a100", 1, 40 * GIB, 10e9 / 8, "cloud")], [])


@dataclass(frozen=True)
class Operator:
    """One operator of a transformer block: what it reads, its work and sizes (activations in streams)."""

    name: str
    reads: tuple[str, ...]
    flops: float
    parameters: float
    output: float


def operators(model: Gpt) -> list[Operator]:
    """List the operators of a GPT; outputs are relative to the size of the residual stream."""
    d, rows = model.width, model.batch * model.tokens
    out = [Operator("embed", (), 0.0, (model.vocabulary + model.tokens) * d, 1.0)]
    x = "embed"
    for i in range(model.layers):

        def block(name: str, reads: list[str], wide: int = 0, output: float = 1.0, flops: float = 0.0) -> str:
            parameters = wide * d * d
            full = f"{name}{i}"  # noqa: B023  (called within the loop only)
            out.append(Operator(full, tuple(reads), 2.0 * rows * parameters + flops, parameters, output))
            return full

        norm = block("norm", [x], flops=8.0 * rows * d)
        parts = [block(name, [norm], 1) for name in ("q", "k", "v")]
        attention = block("attend", parts, flops=4.0 * rows * model.tokens * d)
        middle = block("add", [x, block("proj", [attention], 1)], flops=rows * d)
        up = block("up", [block("mlpnorm", [middle], flops=8.0 * rows * d)], 4, 4.0)
        down = block("down", [block("gelu", [up], output=4.0, flops=32.0 * rows * d)], 4)
        x = block("out", [middle, down], flops=rows * d)
    out.append(
        Operator("head", (x,), 2.0 * rows * model.vocabulary * d, model.vocabulary * d, model.vocabulary / d)
    )
    return out


def gpt_operators(model: Gpt, devices: tuple[Device, ...]) -> Graph:
    """Build a GPT for training with one node per operator; each keeps its output for the backward pass."""
    graph = Graph(devices)
    shapes = operators(model)
    size = {op.name: model.activation * op.output for op in shapes}
    for op in shapes:
        moved = sum(size[u] for u in op.reads) + size[op.name] + HALF * op.parameters * (op.name != "embed")
        graph.add(
            op.name, list(op.reads), flops=op.flops, moved=moved, output=size[op.name], memory=0.0,
            colocate=op.name, weight_bytes=HALF * op.parameters, activation_bytes=size[op.name],
        )  # fmt: skip
    readers: dict[str, list[str]] = {op.name: [] for op in shapes}
    for op in shapes:
        for u in op.reads:
            readers[u].append(op.name)
    for op in reversed(shapes):
        sent = sum(size[u] for u in op.reads) if len(op.reads) != 2 else size[op.reads[0]]  # sums pass one on
        moved = sum(size[u] for u in op.reads) + size[op.name] + HALF * op.parameters * (op.name != "embed")
        graph.add(
            f"{op.name}'", [op.name, *(f"{w}'" for w in readers[op.name])], flops=2 * op.flops,
            moved=2 * moved, output=sent, memory=0.0, backward=True, colocate=op.name,
        )  # fmt: skip
    return graph


def four_servers() -> None:
    """Train a GPT of 13 billion parameters on four servers of eight A100, one node per operator."""
    model = Gpt(layers=40, width=5120, tokens=2048, batch=2)
    servers = [
        server(f"node{k}", [f"gpu{i}" for i in range(8 * k, 8 * k + 8)], INFINIBAND, 0.02) for k in range(4)
    ]
    write(
        "four_servers",
        gpt_operators(model, (A100,)),
        [accelerators("a100", 32, 40 * GIB, NVSWITCH)],
        servers,
        64,
    )


def main() -> None:
    """Write all instances."""
    mixed_server()
    geo()
    edge_cloud()
    four_servers()


if __name__ == "__main__":
    main()
