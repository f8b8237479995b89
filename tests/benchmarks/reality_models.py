"""ONNX models with random weights, for plans that are run: two networks of convolutions, a transformer."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path

import numpy as np

__all__ = ["MODELS"]


def resnet50(path: Path) -> None:
    """Write the ResNet-50 graph of the onnx package with random weights where it has constants."""
    import onnx
    from onnx import numpy_helper

    from placer.imports.onnx_file import light_model

    model = onnx.load(light_model("light:resnet50"))
    graph = model.graph
    sizes = {tensor.name: numpy_helper.to_array(tensor) for tensor in graph.initializer}
    rng = np.random.default_rng(0)
    made = [node for node in graph.node if node.op_type == "ConstantOfShape"]
    for node in made:
        shape = sizes[node.input[0]]
        spread = np.sqrt(2 / max(1, np.prod(shape[1:])))
        values = rng.normal(scale=spread, size=shape) if len(shape) > 1 else rng.uniform(0.5, 1.5, size=shape)
        graph.initializer.append(numpy_helper.from_array(values.astype(np.float32), node.output[0]))
        graph.node.remove(node)
    shapes = {node.input[0] for node in made}
    for kept in (graph.initializer, graph.input):
        for item in [item for item in kept if item.name in shapes]:
            kept.remove(item)
    model.ir_version = 8
    onnx.save(model, path)


class _Graph:
    """Nodes and weights, drawn as they are needed."""

    def __init__(self) -> None:
        self.nodes: list[object] = []
        self.weights: list[object] = []
        self.rng = np.random.default_rng(0)

    def weight(self, *shape: int) -> str:
        """Draw a weight, scaled by what is summed over: all axes but the first."""
        spread = np.sqrt(2 / max(1, np.prod(shape[1:]))) if len(shape) > 1 else 0.01
        return self.constant((self.rng.normal(size=shape) * spread).astype(np.float32))

    def constant(self, values: np.ndarray) -> str:
        """Add a tensor."""
        from onnx import numpy_helper

        name = f"w{len(self.weights)}"
        self.weights.append(numpy_helper.from_array(values, name))
        return name

    def add(self, op: str, *inputs: str, **attributes: object) -> str:
        """Add an operator; its only output."""
        from onnx import helper

        out = f"{op.lower()}{len(self.nodes)}"
        self.nodes.append(helper.make_node(op, list(inputs), [out], **attributes))
        return out

    def save(self, path: Path, shape: list[int], out: str, out_shape: list[int]) -> None:
        """Write the model; its input is called x."""
        import onnx
        from onnx import TensorProto, helper

        ends = [
            helper.make_tensor_value_info(name, TensorProto.FLOAT, size)
            for name, size in (("x", shape), (out, out_shape))
        ]
        graph = helper.make_graph(self.nodes, path.stem, ends[:1], ends[1:], self.weights)
        onnx.save(helper.make_model(graph, opset_imports=[helper.make_opsetid("", 17)], ir_version=8), path)


MOBILENET = (
    (1, 16, 1, 1),
    (6, 24, 2, 2),
    (6, 32, 3, 2),
    (6, 64, 4, 2),
    (6, 96, 3, 1),
    (6, 160, 3, 2),
    (6, 320, 1, 1),
)
"""MobileNetV2 (Sandler et al., 2018, table 2): expansion, channels, repetitions, first stride."""


def mobilenet_v2(path: Path) -> None:
    """Write MobileNetV2 for 224 x 224 pixels."""
    g = _Graph()

    def conv(
        x: str, into: int, out: int, size: int, stride: int = 1, group: int = 1, relu: bool = True
    ) -> str:
        pads = [size // 2] * 4
        y = g.add(
            "Conv", x, g.weight(out, into // group, size, size), g.weight(out),
            strides=[stride, stride], pads=pads, group=group,
        )  # fmt: skip
        return g.add("Clip", y, low, high) if relu else y

    low, high = g.constant(np.float32(0)), g.constant(np.float32(6))
    x, channels = conv("x", 3, 32, 3, 2), 32
    for expansion, out, count, first in MOBILENET:
        for i in range(count):
            wide, stride = expansion * channels, first if i == 0 else 1
            y = conv(x, channels, wide, 1) if expansion > 1 else x
            y = conv(conv(y, wide, wide, 3, stride, wide), wide, out, 1, relu=False)
            x = g.add("Add", x, y) if stride == 1 and out == channels else y
            channels = out
    x = g.add("Flatten", g.add("GlobalAveragePool", conv(x, channels, 1280, 1)))
    g.save(
        path, [1, 3, 224, 224], g.add("Gemm", x, g.weight(1000, 1280), g.weight(1000), transB=1), [1, 1000]
    )


def transformer(path: Path, layers: int = 8, width: int = 512, heads: int = 8, tokens: int = 256) -> None:
    """Write an encoder with layer norms first and a wide part of four times the width."""
    g = _Graph()
    shape = g.constant(np.array([1, tokens, heads, width // heads]))
    whole = g.constant(np.array([1, tokens, width]))
    scale = g.constant(np.float32((width / heads) ** -0.5))
    one = g.constant(np.ones(width, np.float32))

    def linear(x: str, into: int, out: int) -> str:
        weight = g.constant((g.rng.normal(size=(into, out)) * into**-0.5).astype(np.float32))
        return g.add("Add", g.add("MatMul", x, weight), g.weight(out))

    def split(x: str, *axes: int) -> str:
        return g.add("Transpose", g.add("Reshape", linear(x, width, width), shape), perm=list(axes))

    x = "x"
    for _ in range(layers):
        y = g.add("LayerNormalization", x, one, g.weight(width), axis=-1)
        scores = g.add("Mul", g.add("MatMul", split(y, 0, 2, 1, 3), split(y, 0, 2, 3, 1)), scale)
        mixed = g.add("MatMul", g.add("Softmax", scores, axis=-1), split(y, 0, 2, 1, 3))
        joined = g.add("Reshape", g.add("Transpose", mixed, perm=[0, 2, 1, 3]), whole)
        x = g.add("Add", x, linear(joined, width, width))
        y = g.add("LayerNormalization", x, one, g.weight(width), axis=-1)
        x = g.add("Add", x, linear(g.add("Relu", linear(y, width, 4 * width)), 4 * width, width))
    g.save(path, [1, tokens, width], x, [1, tokens, width])


MODELS: dict[str, Callable[[Path], None]] = {
    "resnet50": resnet50,
    "mobilenet_v2": mobilenet_v2,
    "transformer": transformer,
}
"""By name, what writes them."""
