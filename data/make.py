"""Make the instances of this folder (``python data/make.py`` from the top); README.md says what they are."""

from __future__ import annotations

import json
from dataclasses import dataclass, field
from importlib.util import find_spec
from pathlib import Path
from typing import Any

HERE = Path(__file__).parent
HALF = 2  # bytes of a 16-bit number
ADAM = (
    16  # bytes per parameter in mixed-precision training: weight 2, gradient 2, fp32 copy and two moments 12
)

ACTIVATIONS = (
    17  # residual streams that a block keeps, attention scores computed again (Korthikanti et al., 2022)
)

Node = dict[str, Any]


@dataclass(frozen=True)
class Device:
    """A device type: peak and memory bandwidth from its data sheet, efficiency assumed."""

    name: str
    flops: float  # FLOP/s, 16 bit (32 bit on the host)
    bytes_per_s: float
    efficiency: float

    def time_ms(self, flops: float, moved_bytes: float) -> float:
        """Roofline: the slower of computing at the assumed efficiency and of moving the data."""
        return round(1e3 * max(flops / (self.flops * self.efficiency), moved_bytes / self.bytes_per_s), 6)


A100 = Device("a100", 312e12, 1555e9, 0.5)
T4 = Device("t4", 65e12, 320e9, 0.4)
CPU = Device("cpu", 3e12, 200e9, 0.5)
GIB = 2**30
PCIE4_X16 = 32e9
PCIE3_X16 = 16e9


@dataclass
class Graph:
    """Nodes and edges in the making."""

    devices: tuple[Device, ...]
    nodes: list[Node] = field(default_factory=list)
    edges: list[list[str]] = field(default_factory=list)

    def add(
        self,
        name: str,
        reads: list[str],
        *,
        flops: float,
        moved: float,
        output: float,
        memory: float,
        **more: Any,
    ) -> str:
        """Add an operator that reads the outputs of earlier ones."""
        times = {d.name: d.time_ms(flops, moved) for d in self.devices}
        self.nodes.append(
            {"id": name, "time_ms": times, "memory_bytes": memory, "output_bytes": output, **more}
        )
        self.edges += [[u, name] for u in reads]
        return name


def accelerators(device: str, count: int, memory: float, link: float, name: str = "gpu") -> Node:
    """Describe a class of accelerators on a PCIe link."""
    return {
        "name": name,
        "type": device,
        "kind": "accelerator",
        "count": count,
        "memory_limit_bytes": memory,
        "link": {"bandwidth_bytes_per_s": link, "latency_ms": 0.01},
    }


HOST: Node = {"name": "cpu", "type": "cpu", "kind": "host", "count": 1}


def write(name: str, graph: Graph, classes: list[Node], **more: Any) -> None:
    """Write one instance."""
    write_document(name, {"nodes": graph.nodes, "edges": graph.edges, "cluster": {"classes": classes}} | more)


def write_document(name: str, body: Node) -> None:
    """Write a document with its head, one node and one edge a line."""
    head = {"format": "placer-instance", "version": 1, "name": name}
    head |= {key: body[key] for key in ("training",) if key in body}
    lines = [f' "{key}": {json.dumps(value)}' for key, value in head.items()]
    for key in ("nodes", "edges"):
        rows = ",\n".join(f"  {json.dumps(row)}" for row in body[key])
        lines.append(f' "{key}": [\n{rows}\n ]')
    lines.append(f' "cluster": {json.dumps(body["cluster"])}')
    (HERE / f"{name}.json").write_text("{\n" + ",\n".join(lines) + "\n}\n", encoding="utf-8")


def textbook() -> None:
    """Six operators, two branches: small enough to check by hand."""
    times = {"load": 1, "left1": 4, "left2": 3, "right1": 2, "right2": 5, "join": 2}
    transfers = {"load": 1, "left1": 2, "left2": 1, "right1": 3, "right2": 1, "join": 0}
    nodes = [
        {
            "id": v,
            "time_ms": {"gpu": t, "cpu": 4 * t},
            "memory_bytes": 10,
            "transfer_ms": transfers[v],
        }
        for v, t in times.items()
    ]
    edges = [
        ["load", "left1"],
        ["left1", "left2"],
        ["load", "right1"],
        ["right1", "right2"],
        ["left2", "join"],
        ["right2", "join"],
    ]
    gpu = {"name": "gpu", "type": "gpu", "kind": "accelerator", "count": 2, "memory_limit_bytes": 40}
    write_document("textbook", {"nodes": nodes, "edges": edges, "cluster": {"classes": [gpu, HOST]}})


@dataclass(frozen=True)
class Gpt:
    """Shapes of a GPT-2 model; defaults are the published "medium" one."""

    layers: int = 24
    width: int = 1024
    vocabulary: int = 50257
    tokens: int = 1024
    batch: int = 8

    @property
    def activation(self) -> float:
        """Bytes of the residual stream of a batch."""
        return HALF * self.batch * self.tokens * self.width


def gpt(
    model: Gpt, devices: tuple[Device, ...], *, training: bool = False, microbatches: bool = False
) -> Graph:
    """Build a GPT with one node per layer; training mirrors it, with backward nodes colocated.

    With ``microbatches`` the batch is one microbatch, and memory is told apart by what it is for.
    """
    graph = Graph(devices)
    d, rows, stream = model.width, model.batch * model.tokens, model.activation
    per_parameter = ADAM if training else HALF
    block = 12 * d * d + 13 * d
    embedding = (model.vocabulary + model.tokens) * d
    scores = 4 * rows * model.tokens * d  # FLOPs of attention besides the projections
    kept = 16 * stream if training else stream  # activations that stay resident
    shapes: list[tuple[str, float, float, float]] = [("embed", 0.0, embedding, stream)]
    shapes += [
        (f"block{i}", 2 * rows * (block - 13 * d) + scores, block, stream) for i in range(model.layers)
    ]
    logits = HALF * rows * model.vocabulary
    shapes += [("head", 2 * rows * model.vocabulary * d, model.vocabulary * d, logits)]
    if training:
        shapes += [("loss", 5 * rows * model.vocabulary, 0, 4.0)]
    last: list[str] = []
    for name, flops, parameters, output in shapes:
        moved = HALF * parameters * (name != "embed") + stream + output
        memory = per_parameter * parameters + (output if name in ("head", "loss") else kept)
        more: dict[str, Any] = {"layer": name, **({"colocate": name} if training else {})}
        if microbatches:
            kept = ACTIVATIONS * stream if name.startswith("block") else output
            more |= {"weight_bytes": HALF * parameters, "activation_bytes": kept}
            memory = 0.0
        last = [graph.add(name, last, flops=flops, moved=moved, output=output, memory=memory, **more)]
    if training:
        for i, (name, flops, parameters, output) in enumerate(reversed(shapes)):
            below = shapes[len(shapes) - 2 - i] if i + 1 < len(shapes) else None
            reads = [*last, *([below[0]] if below else [])]
            graph.add(
                f"{name}/backward",
                list(dict.fromkeys([*reads, name])),
                flops=2 * flops,
                moved=2 * (HALF * parameters * (name != "embed") + stream + output),
                output=below[3] if below else 0.0,
                memory=0.0,
                backward=True,
                colocate=name,
                layer=name,
            )
            last = [f"{name}/backward"]
    return graph


# The modules of GoogLeNet: spatial size of the input, channels in, then channels out of 1x1, 3x3 reduce,
# 3x3, 5x5 reduce, 5x5 and pool projection.
INCEPTION = (
    ("3a", 28, 192, 64, 96, 128, 16, 32, 32),
    ("3b", 28, 256, 128, 128, 192, 32, 96, 64),
    ("4a", 14, 480, 192, 96, 208, 16, 48, 64),
    ("4b", 14, 512, 160, 112, 224, 24, 64, 64),
    ("4c", 14, 512, 128, 128, 256, 24, 64, 64),
    ("4d", 14, 512, 112, 144, 288, 32, 64, 64),
    ("4e", 14, 528, 256, 160, 320, 32, 128, 128),
    ("5a", 7, 832, 256, 160, 320, 32, 128, 128),
    ("5b", 7, 832, 384, 192, 384, 48, 128, 128),
)


def inception(batch: int = 64) -> Graph:
    """Build a GoogLeNet: nine modules of four parallel branches, one node per convolution or pooling."""
    graph = Graph((T4, CPU))

    def conv(name: str, read: str, size: int, c_in: int, c_out: int, k: int, stride: int = 1) -> str:
        weights = k * k * c_in * c_out
        pixels = batch * (size // stride) ** 2
        output = HALF * pixels * c_out
        moved = HALF * weights + HALF * batch * size * size * c_in + output
        return graph.add(
            name,
            [read] if read else [],
            flops=2 * pixels * weights,
            moved=moved,
            output=output,
            memory=HALF * weights + output,
            layer=name.split("/")[0],
        )

    def pool(name: str, reads: list[str], size: int, channels: int, stride: int = 1) -> str:
        output = HALF * batch * (size // stride) ** 2 * channels
        moved = HALF * batch * size * size * channels + output
        return graph.add(
            name, reads, flops=0.0, moved=moved, output=output, memory=output, layer=name.split("/")[0]
        )

    last = conv("conv1", "", 224, 3, 64, 7, 2)
    last = pool("pool1", [last], 112, 64, 2)
    last = conv("conv2/reduce", last, 56, 64, 64, 1)
    last = conv("conv2/3x3", last, 56, 64, 192, 3)
    last = pool("pool2", [last], 56, 192, 2)
    for name, size, c_in, c1, r3, c3, r5, c5, pp in INCEPTION:
        m = f"inception{name}"
        branches = [
            conv(f"{m}/1x1", last, size, c_in, c1, 1),
            conv(f"{m}/3x3", conv(f"{m}/3x3reduce", last, size, c_in, r3, 1), size, r3, c3, 3),
            conv(f"{m}/5x5", conv(f"{m}/5x5reduce", last, size, c_in, r5, 1), size, r5, c5, 5),
            conv(f"{m}/poolproj", pool(f"{m}/pool", [last], size, c_in), size, c_in, pp, 1),
        ]
        halve = 2 if name in ("3b", "4e") else 1
        last = pool(f"{m}/concat", branches, size, c1 + c3 + c5 + pp, halve)
    last = pool("pool5", [last], 7, 1024, 7)
    graph.add(
        "classifier",
        [last],
        flops=2 * batch * 1024 * 1000,
        moved=HALF * (1024 * 1000 + batch * 2024),
        output=HALF * batch * 1000,
        memory=HALF * 1024 * 1000,
        layer="classifier",
    )
    return graph


IMPORTED = {
    "resnet50": "onnx light:resnet50 --dim gpu_0/data_0:0=16 --precision fp16 --devices 4xt4",
    "densenet_training": "onnx light:densenet121 --dim data_0:0=32 --by module --training "
    "--optimizer momentum --microbatches 8 --devices 4xv100-nvlink",
    "bert_training": "torch data/models.py:bert --precision bf16 --by layer --training "
    "--optimizer mixed-adam --microbatches 8 --devices 4xa100-nvlink",
    "gpt2": "torch data/models.py:gpt2 --precision fp16 --by layer --devices a100-3xt4",
}
"""Instances of real models: arguments of ``placer import``, run from the top of the project."""


def imported() -> None:
    """Import the real models whose packages are installed."""
    from placer.cli import main as placer

    for name, command in IMPORTED.items():
        package = "torch" if command.startswith("torch") else "onnx"
        if find_spec(package) is None or (package == "torch" and find_spec("transformers") is None):
            print(f"{name}: left as it is, {package} is not installed")
            continue
        code = placer(
            ["import", *command.split(), "--name", name, "--quiet", "--out", str(HERE / f"{name}.json")]
        )
        if code:
            raise SystemExit(code)


def main() -> None:
    """Write all instances."""
    imported()
    textbook()
    medium, xl = Gpt(), Gpt(layers=48, width=1600, batch=1)
    write("gpt_inference", gpt(medium, (A100, CPU)), [accelerators("a100", 4, 40 * GIB, PCIE4_X16), HOST])
    write(
        "gpt_training",
        gpt(medium, (A100, CPU), training=True),
        [accelerators("a100", 4, 40 * GIB, PCIE4_X16), HOST],
    )
    write("inception", inception(), [accelerators("t4", 4, 16 * GIB, PCIE3_X16), HOST])
    write(
        "heterogeneous",
        gpt(medium, (A100, T4, CPU)),
        [
            accelerators("a100", 1, 40 * GIB, PCIE4_X16, "large"),
            accelerators("t4", 3, 16 * GIB, PCIE3_X16, "small"),
            HOST,
        ],
    )
    write(
        "gpt_pipeline",
        gpt(Gpt(layers=48, width=1600, batch=6), (T4,), training=True, microbatches=True),
        [accelerators("t4", 4, 16 * GIB, PCIE3_X16) | {"memory_reserve_bytes": 1 * GIB}],
        training={"optimizer": "mixed-adam", "microbatches": 8},
    )
    too_large = Gpt(layers=48, width=1600)
    write("infeasible", gpt(too_large, (T4,), training=True), [accelerators("t4", 2, 16 * GIB, PCIE3_X16)])
    write("latency", gpt(xl, (T4, CPU)), [accelerators("t4", 3, 1 * GIB, PCIE3_X16), HOST])


if __name__ == "__main__":
    main()
