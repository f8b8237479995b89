"""Small ONNX models, and instances made from them without the importer."""

import hashlib
from pathlib import Path

import numpy as np
import onnx
from onnx import TensorProto, helper, numpy_helper

from placer.instance.instance import Instance
from placer.instance.origin import Origin, Source
from tests.support.plans import gpus

SIZE = 4


def branched() -> onnx.ModelProto:
    """Return a model with two branches, a weight used twice, constants of every kind, and two outputs.

    Operators by first output: a, b (branch), c, d (branch), e (reads b and d), shape -> f (reads the shape
    of an early tensor), g; ``zeros`` is a ConstantOfShape that c and e read.
    """
    rng = np.random.default_rng(7)

    def weight(name):
        return numpy_helper.from_array(rng.normal(size=(SIZE, SIZE)).astype(np.float32), name)

    nodes = [
        helper.make_node("Constant", [], ["dims"], value_ints=[1, SIZE]),
        helper.make_node("ConstantOfShape", ["dims"], ["zeros"]),
        helper.make_node("MatMul", ["x", "w0"], ["a"], name="a/../../etc"),
        helper.make_node("Relu", ["a"], ["b"]),
        helper.make_node("MatMul", ["a", "w1"], ["c0"]),
        helper.make_node("Add", ["c0", "zeros"], ["c"]),
        helper.make_node("MatMul", ["c", "w0"], ["d"]),
        helper.make_node("Sum", ["b", "d", "zeros"], ["e"]),
        helper.make_node("Shape", ["a"], ["shape"]),
        helper.make_node("Reshape", ["e", "shape"], ["f"]),
        helper.make_node("Softmax", ["f"], ["g"]),
        helper.make_node("Tanh", ["b"], ["h"]),
    ]
    value = helper.make_tensor_value_info
    graph = helper.make_graph(
        nodes,
        "branched",
        [value("x", TensorProto.FLOAT, [1, SIZE])],
        [value("g", TensorProto.FLOAT, [1, SIZE]), value("h", TensorProto.FLOAT, [1, SIZE])],
        [weight("w0"), weight("w1")],
    )
    model = helper.make_model(graph, opset_imports=[helper.make_opsetid("", 17)], ir_version=8)
    onnx.checker.check_model(model)
    return model


def conditional() -> onnx.ModelProto:
    """Return a model whose If reads a tensor and a weight from outside."""
    value = helper.make_tensor_value_info
    weight = numpy_helper.from_array(np.full((1, SIZE), 3, np.float32), "w")
    then = helper.make_graph(
        [helper.make_node("Add", ["a", "w"], ["inner"])],
        "then",
        [],
        [value("inner", TensorProto.FLOAT, None)],
    )
    other = helper.make_graph(
        [helper.make_node("Neg", ["a"], ["inner2"])], "else", [], [value("inner2", TensorProto.FLOAT, None)]
    )
    nodes = [
        helper.make_node("Relu", ["x"], ["a"]),
        helper.make_node("ReduceSum", ["x"], ["s"], keepdims=0),
        helper.make_node("Cast", ["s"], ["yes"], to=TensorProto.BOOL),
        helper.make_node("If", ["yes"], ["y"], then_branch=then, else_branch=other),
    ]
    graph = helper.make_graph(
        nodes,
        "conditional",
        [value("x", TensorProto.FLOAT, [1, SIZE])],
        [value("y", TensorProto.FLOAT, [1, SIZE])],
        [weight],
    )
    return helper.make_model(graph, opset_imports=[helper.make_opsetid("", 17)], ir_version=8)


def instance_of(path: Path, devices: int = 3, folded: tuple[str, ...] = ()) -> Instance:
    """Return an instance with a node for each operator but constants and those called ``folded``."""
    model = onnx.load(path, load_external_data=False)
    weights = {tensor.name for tensor in model.graph.initializer}
    constant = set(weights)
    producer: dict[str, int] = {}
    ids, origins, edges = [], [], set()
    for node in model.graph.node:
        if all(name in constant for name in node.input) or node.output[0] in folded:
            constant.update(node.output)
            continue
        edges |= {(producer[name], len(ids)) for name in node.input if name in producer}
        producer |= dict.fromkeys(node.output, len(ids))
        ids.append(f"n{len(ids)}")
        parameters = tuple(name for name in node.input if name in weights)
        origins.append(Origin(op=node.op_type, operators=(node.output[0],), parameters=parameters))
    return Instance.build(
        name=path.stem,
        ids=ids,
        types=("gpu", "cpu"),
        time_ms=[[1.0, 5.0]] * len(ids),
        transfer_ms=[0.1] * len(ids),
        edges=sorted(edges),
        classes=gpus(devices),
        origin=origins,
        source=Source("onnx", path.name, hashlib.sha256(path.read_bytes()).hexdigest()),
    )
