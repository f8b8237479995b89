"""Shapes that only a run shows: ONNX Runtime, once, in a process with limits, on random inputs.

The process gets a model without anything outside the file: weights in files of their own are zeros there, and
operators that are not the runtime's own are not loaded.
"""

from __future__ import annotations

import importlib.util
import json
import subprocess
import sys
import tempfile
from collections.abc import Sequence
from pathlib import Path
from typing import Any

from placer.imports.onnx_shapes.dims import real_inputs
from placer.imports.onnx_shapes.tensors import Dims
from placer.imports.onnx_shapes.traced import Trace

__all__ = ["observed_shapes"]

SECONDS = 120
MEMORY_BYTES = 12 * 2**30
"""Address space of the process."""
LARGEST_MODEL = 2_000_000_000


def observed_shapes(model: Any, trace: Trace, names: Sequence[str]) -> tuple[dict[str, Dims], str]:
    """Run a model and look at some tensors.

    Parameters
    ----------
    model
        The model, its inputs' sizes set.
    trace
        What is known of it.
    names
        Tensors whose shapes are wanted.

    Returns
    -------
    dict
        Shapes by name, of those that could be seen.
    str
        Why there are none.
    """
    if importlib.util.find_spec("onnxruntime") is None:
        return {}, "; onnxruntime, if it were installed, could run the model to see it"
    flat = _flat(model, trace, names)
    if flat.ByteSize() > LARGEST_MODEL:
        return {}, "; the model is too large to be run for it"
    values = {info.name: trace.tensors[info.name].value for info in real_inputs(model.graph)}
    given = {name: v.tolist() for name, v in values.items() if v is not None}
    with tempfile.TemporaryDirectory() as folder:
        Path(folder, "model.onnx").write_bytes(flat.SerializeToString())
        Path(folder, "request.json").write_text(json.dumps({"names": list(names), "values": given}))
        try:
            limits = [str(SECONDS), str(MEMORY_BYTES)]
            done = subprocess.run(
                [sys.executable, "-P", str(Path(__file__).with_name("run_once.py")), folder, *limits],
                capture_output=True,
                timeout=SECONDS,
                check=False,
                cwd=folder,
            )
        except (OSError, subprocess.SubprocessError):
            return {}, f"; a run of the model to see it took more than {SECONDS} s"
        try:
            answer = json.loads(Path(folder, "answer.json").read_text())
        except (OSError, ValueError):
            return {}, f"; a run of the model to see it failed (exit code {done.returncode})"
    if "error" in answer:
        return {}, f"; a run of the model to see it failed: {answer['error']}"
    return {name: tuple(shape) for name, shape in answer["shapes"].items()}, ""


def _flat(model: Any, trace: Trace, names: Sequence[str]) -> Any:
    """Build the model that runs, with the wanted tensors as its outputs."""
    import onnx
    from onnx import helper

    made = onnx.ModelProto()
    made.ir_version = max(model.ir_version, 4)  # weights need not be inputs from there on
    made.opset_import.extend({o.domain: o for o in model.opset_import}.values())
    graph = made.graph
    graph.name = "shapes"
    graph.input.extend(real_inputs(model.graph))
    graph.sparse_initializer.extend(model.graph.sparse_initializer)
    for tensor in (*model.graph.initializer, *trace.branch_weights):
        if tensor.data_location != onnx.TensorProto.EXTERNAL:
            graph.initializer.append(tensor)
            continue
        sizes = helper.make_tensor(
            f"{tensor.name}/sizes", onnx.TensorProto.INT64, [len(tensor.dims)], list(tensor.dims)
        )
        graph.initializer.append(sizes)
        zero = helper.make_tensor("zero", tensor.data_type, [1], [0])
        graph.node.append(helper.make_node("ConstantOfShape", [sizes.name], [tensor.name], value=zero))
    graph.node.extend(step.node for step in trace.steps)
    for name in names:
        info = graph.output.add(name=name)
        if trace.tensors[name].kind:
            info.type.tensor_type.elem_type = trace.tensors[name].kind
    return made
