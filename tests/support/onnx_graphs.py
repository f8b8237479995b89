"""Small ONNX graphs, piece by piece, and a session of ONNX Runtime for them; for tests that have both."""

import numpy as np
import pytest
from onnx import TensorProto, helper, numpy_helper

FLOAT, INT, BOOL = TensorProto.FLOAT, TensorProto.INT64, TensorProto.BOOL


def value(name, shape, kind=FLOAT):
    return helper.make_tensor_value_info(name, kind, shape)


def ints(name, numbers):
    return numpy_helper.from_array(np.array(numbers, np.int64), name)


def floats(name, *shape):
    return numpy_helper.from_array(np.full(shape, 0.5, np.float32), name)


def node(op, reads, makes, **attributes):
    return helper.make_node(op, reads.split(","), makes.split(","), **attributes)


def body(nodes, inputs, outputs, tensors=()):
    return helper.make_graph(nodes, "body", inputs, outputs, list(tensors))


def save(folder, nodes, inputs, outputs, tensors=(), opset=17, domains=()):
    graph = helper.make_graph(nodes, "g", inputs, outputs, list(tensors))
    imports = [helper.make_opsetid("", opset), *(helper.make_opsetid(d, 1) for d in domains)]
    path = folder / "model.onnx"
    path.write_bytes(helper.make_model(graph, opset_imports=imports, ir_version=8).SerializeToString())
    return path


def sizes(model):
    return {key: v.size_bytes for key, v in model.values.items()}


def session(path):
    ort = pytest.importorskip("onnxruntime", reason="onnxruntime is not installed")
    options = ort.SessionOptions()
    options.intra_op_num_threads = 1
    options.log_severity_level = 4
    return ort.InferenceSession(str(path), options, providers=["CPUExecutionProvider"])
