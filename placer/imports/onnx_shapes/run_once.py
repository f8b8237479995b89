"""The script of a process that runs a model once and writes down the shapes of some tensors.

It is run by its path and imports nothing of this package, so that it needs no more than ONNX Runtime.
"""

from __future__ import annotations

import json
import sys
from pathlib import Path
from typing import Any

__all__: list[str] = []


def _limit(seconds: int, memory_bytes: int) -> None:
    try:
        import resource
    except ImportError:  # not on Windows
        return
    for what, limit in (
        (resource.RLIMIT_AS, memory_bytes),
        (resource.RLIMIT_CPU, seconds),
        (resource.RLIMIT_CORE, 0),
    ):
        _, most = resource.getrlimit(what)  # nobody may go beyond it
        limit = limit if most == resource.RLIM_INFINITY else min(limit, most)
        resource.setrlimit(what, (limit, limit))


def _shapes(folder: str) -> dict[str, Any]:
    import numpy as np
    import onnxruntime

    request = json.loads(Path(folder, "request.json").read_text())
    options = onnxruntime.SessionOptions()
    options.intra_op_num_threads = options.inter_op_num_threads = 1
    options.log_severity_level = 4
    options.graph_optimization_level = onnxruntime.GraphOptimizationLevel.ORT_DISABLE_ALL
    session = onnxruntime.InferenceSession(
        str(Path(folder, "model.onnx")), options, providers=["CPUExecutionProvider"]
    )
    rng = np.random.default_rng(0)
    feed = {}
    for info in session.get_inputs():
        element = info.type.removeprefix("tensor(").removesuffix(")")
        kind = {"float": "float32", "double": "float64", "string": "str"}.get(element, element)
        if info.name in request["values"]:
            feed[info.name] = np.array(request["values"][info.name]).astype(kind).reshape(info.shape)
        elif kind.startswith("float"):
            feed[info.name] = rng.standard_normal(info.shape).astype(kind)
        else:  # indices and masks
            feed[info.name] = np.ones(info.shape).astype(kind)
    found = zip(request["names"], session.run(request["names"], feed), strict=True)
    return {"shapes": {name: list(array.shape) for name, array in found if hasattr(array, "shape")}}


def _main(folder: str, seconds: str, memory_bytes: str) -> None:
    _limit(int(seconds), int(memory_bytes))
    try:
        answer = _shapes(folder)
    except Exception as error:  # the runtime's own exception types are not public
        answer = {"error": " ".join(str(error).split())[:200]}
    Path(folder, "answer.json").write_text(json.dumps(answer))


if __name__ == "__main__":
    _main(*sys.argv[1:])
