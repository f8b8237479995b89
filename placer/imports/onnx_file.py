"""ONNX files at the border: data, never code; dimensions set, shapes inferred, the rest refused."""

from __future__ import annotations

import hashlib
from collections.abc import Iterator, Mapping
from pathlib import Path, PurePosixPath, PureWindowsPath
from typing import Any

from placer.choices import offer
from placer.errors import InputError, UsageError

__all__ = ["MAX_FILE_BYTES", "light_model", "load_onnx", "parse_dims"]

MAX_FILE_BYTES = 2**31
"""Protocol buffers end there; larger weights lie in external files, which are not read."""
MAX_NODES = 200_000
LIGHT = "light:"
CONTROL_FLOW = ("If", "Loop", "Scan", "SequenceMap")


def onnx_module() -> Any:
    """Import onnx.

    Raises
    ------
    UsageError
        When it is not installed.
    """
    try:
        import onnx
    except ImportError:
        raise UsageError("ONNX models need onnx: pip install 'dnn-placer[onnx]'") from None
    return onnx


def light_model(source: str) -> Path:
    """Path of a model that comes with the onnx package (``light:resnet50``), or of any other source.

    Raises
    ------
    UsageError
        When the package has no such model.
    """
    if not source.startswith(LIGHT):
        return Path(source)
    folder = Path(onnx_module().__file__).parent / "backend" / "test" / "data" / "light"
    known = sorted(path.stem.removeprefix("light_") for path in folder.glob("light_*.onnx"))
    name = source.removeprefix(LIGHT)
    if name not in known:
        raise UsageError(f"the onnx package has no model {name!r}{offer(name, known)}")
    return folder / f"light_{name}.onnx"


def parse_dims(settings: list[str] | tuple[str, ...]) -> dict[str, int]:
    """Read ``NAME=N`` settings; NAME is a symbolic dimension, or ``TENSOR:AXIS``.

    Raises
    ------
    UsageError
        Naming the setting that is wrong.
    """
    dims: dict[str, int] = {}
    for setting in settings:
        name, equals, text = setting.rpartition("=")
        if not equals or not name or not text.isdecimal() or not 0 < int(text) <= 10**9:
            raise UsageError(f"--dim expects NAME=N or TENSOR:AXIS=N with N in 1..10^9, got {setting!r}")
        dims[name] = int(text)
    return dims


def load_onnx(path: str | Path, dims: Mapping[str, int]) -> tuple[Any, str]:
    """Read a model and infer its shapes.

    Parameters
    ----------
    path
        The file.  External weights are not read: only their shapes matter.
    dims
        Values of symbolic dimensions by name, or of ``tensor:axis``.

    Returns
    -------
    tuple[ModelProto, str]
        The model with inferred shapes, local functions inlined; and the SHA-256 of the file.

    Raises
    ------
    InputError
        When it is no ONNX model, or holds what cannot be planned.
    UsageError
        When a dimension that is set does not exist, or onnx is not installed.
    """
    onnx = onnx_module()
    source = str(path)
    data = _read(path)
    try:
        model = onnx.load_model_from_string(data)
    except Exception as error:  # the parser's own exception types are not public
        raise InputError(f"not an ONNX model: {error}", source=source) from None
    digest = hashlib.sha256(data).hexdigest()
    del data
    try:
        if not model.graph.node:
            raise InputError("not an ONNX model: there is no graph with operators in it")
        _check_external(model)
        if model.functions:
            model = _inlined(model)
        _check_nodes(model)
        _set_dims(onnx, model, dims)
        return _inferred(onnx, model), digest
    except InputError as error:
        raise error.within(source) from None


def _read(path: str | Path) -> bytes:
    try:
        if not Path(path).is_file():
            raise InputError("no such file", source=str(path))
        size = Path(path).stat().st_size
        if size >= MAX_FILE_BYTES:
            raise InputError(f"{size} bytes; an ONNX file has less than 2 GiB", source=str(path))
        return Path(path).read_bytes()
    except OSError as error:
        raise InputError(error.strerror or "cannot be read", source=str(path)) from None
    except ValueError as error:  # a NUL character in the path
        raise InputError(f"not a path: {error}", source=str(path)) from None


def tensors(graph: Any) -> Iterator[Any]:
    """Yield every tensor of a graph: initialisers, attributes, and those of graphs inside."""
    yield from graph.initializer
    for sparse in graph.sparse_initializer:
        yield sparse.values
        yield sparse.indices
    for node in graph.node:
        for attribute in node.attribute:
            yield attribute.t
            yield from attribute.tensors
            for inner in (attribute.g, *attribute.graphs):
                if inner.node or inner.initializer:
                    yield from tensors(inner)


def _check_external(model: Any) -> None:
    """Refuse weights outside the model's folder: a file must not name others at will."""
    for tensor in tensors(model.graph):
        for entry in tensor.external_data:
            if entry.key != "location":
                continue
            for flavour in (PurePosixPath(entry.value), PureWindowsPath(entry.value)):
                if flavour.is_absolute() or flavour.drive or ".." in flavour.parts:
                    raise InputError(
                        f"external data {entry.value!r} lies outside the model's folder",
                        place=f"initializer {tensor.name!r}",
                    )


def _inlined(model: Any) -> Any:
    from onnx import inliner

    try:
        return inliner.inline_local_functions(model)
    except Exception as error:
        raise InputError(f"local functions cannot be inlined: {error}") from None


def _check_nodes(model: Any) -> None:
    nodes = model.graph.node
    if len(nodes) > MAX_NODES:
        raise InputError(f"{len(nodes)} operators; at most {MAX_NODES} are read")
    for node in nodes:
        if node.op_type in CONTROL_FLOW:
            raise InputError(
                f"control flow ({node.op_type}) has no fixed cost; export the model without it",
                place=f"operator {node.name or next(iter(node.output), '')!r}",
            )


def _set_dims(onnx: Any, model: Any, dims: Mapping[str, int]) -> None:
    """Set symbolic dimensions wherever they stand, and single axes of inputs and other tensors."""
    graph = model.graph
    used: set[str] = set()
    stated = [*graph.input, *graph.output, *graph.value_info]
    by_name = {info.name: info for info in stated}
    axes = {key: size for key, size in dims.items() if _axis(key) is not None}
    if axes:  # sizes that were stated for the old ones no longer hold
        del graph.value_info[:]
        for info in graph.output:
            if info.type.HasField("tensor_type"):
                info.type.tensor_type.ClearField("shape")
    for info in stated:
        if not info.type.HasField("tensor_type"):
            continue
        for dim in info.type.tensor_type.shape.dim:
            if dim.dim_param in dims:
                used.add(dim.dim_param)
                dim.dim_value = dims[dim.dim_param]
    for key, size in axes.items():
        name, axis = _axis(key) or ("", 0)
        info = by_name.get(name)
        if info is None or name not in {i.name for i in graph.input}:
            continue
        shape = info.type.tensor_type.shape.dim
        if axis < len(shape):
            if axis == 0 and shape[0].dim_value:
                _refit_reshapes(onnx, model, shape[0].dim_value, size)
            shape[axis].dim_value = size
            used.add(key)
    for key in dims.keys() - used:
        symbols = sorted(
            {d.dim_param for i in graph.input for d in i.type.tensor_type.shape.dim if d.dim_param}
        )
        hint = "" if symbols else "; use INPUT:AXIS=N for a fixed one"
        raise UsageError(f"--dim: the model has no dimension {key!r}{offer(key, symbols)}{hint}")


def _refit_reshapes(onnx: Any, model: Any, old: int, new: int) -> None:
    """Let reshapes to a fixed batch follow the batch: their first number is the old one."""
    graph = model.graph
    targets = {node.input[1] for node in graph.node if node.op_type == "Reshape" and len(node.input) > 1}
    for tensor in graph.initializer:
        if tensor.name in targets and len(tensor.dims) == 1:
            shape = onnx.numpy_helper.to_array(tensor).copy()
            if len(shape) and shape[0] == old:
                shape[0] = new
                tensor.CopyFrom(onnx.numpy_helper.from_array(shape, tensor.name))


def _axis(key: str) -> tuple[str, int] | None:
    name, colon, axis = key.rpartition(":")
    return (name, int(axis)) if colon and axis.isdecimal() else None


def _inferred(onnx: Any, model: Any) -> Any:
    for tensor in model.graph.initializer:
        if len(tensor.raw_data) > 1024:  # inference reads small tensors only, such as shapes
            tensor.ClearField("raw_data")
    try:
        return onnx.shape_inference.infer_shapes(model, strict_mode=True, data_prop=True)
    except Exception as error:
        raise InputError(f"shapes do not fit: {error}") from None
