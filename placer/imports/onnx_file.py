"""ONNX files at the border: data, never code."""

from __future__ import annotations

import hashlib
from collections.abc import Iterator
from math import prod
from pathlib import Path, PurePosixPath, PureWindowsPath
from typing import Any

from placer.choices import offer
from placer.errors import InputError, UsageError
from placer.imports.onnx_shapes.tensors import MAX_VALUE

__all__ = ["MAX_FILE_BYTES", "light_model", "load_onnx", "onnx_module", "read_external"]

MAX_FILE_BYTES = 2**31
"""Protocol buffers end there; larger weights lie in external files, which are not read."""
MAX_NODES = 200_000
LIGHT = "light:"


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
        raise UsageError("ONNX models need onnx: pip install onnx") from None
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


def load_onnx(path: str | Path, *, external: bool = False) -> tuple[Any, str]:
    """Read a model.

    Parameters
    ----------
    path
        The file.
    external
        Whether to read small tensors from files of their own, which shapes may depend on; of large ones only
        the shapes matter.

    Returns
    -------
    tuple[ModelProto, str]
        The model, local functions inlined; and the SHA-256 of the file.

    Raises
    ------
    InputError
        When it is no ONNX model, or holds what cannot be planned.
    UsageError
        When onnx is not installed.
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
        if model.functions:
            model = _inlined(model)
        _check_external(model)
        if len(model.graph.node) > MAX_NODES:
            raise InputError(f"{len(model.graph.node)} operators; at most {MAX_NODES} are read")
        if external:
            _load_small(model, Path(path).parent)
        return model, digest
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


def _load_small(model: Any, folder: Path) -> None:
    """Read the numbers of small tensors that lie beside the model."""
    from onnx import TensorProto

    for tensor in tensors(model.graph):
        if tensor.data_location != TensorProto.EXTERNAL or prod(tensor.dims) > MAX_VALUE:
            continue
        _limit_length(tensor)
        read_external(tensor, folder)


def read_external(tensor: Any, folder: Path) -> None:
    """Read the numbers of a tensor that lie in another file, and keep them in it.

    Raises
    ------
    InputError
        When they cannot be read.
    """
    from onnx import TensorProto, external_data_helper

    try:
        external_data_helper.load_external_data_for_tensor(tensor, str(folder))
    except Exception as error:  # the library's own checks, and the system's
        raise InputError(
            f"its external data cannot be read: {error}", place=f"initializer {tensor.name!r}"
        ) from None
    tensor.data_location = TensorProto.DEFAULT
    del tensor.external_data[:]


def _limit_length(tensor: Any) -> None:
    """Read no more of a file than the tensor has."""
    from onnx import helper

    kept = [(entry.key, entry.value) for entry in tensor.external_data if entry.key in ("location", "offset")]
    del tensor.external_data[:]
    for key, value in (*kept, ("length", str(prod(tensor.dims) * _width(helper, tensor)))):
        tensor.external_data.add(key=key, value=value)


def _width(helper: Any, tensor: Any) -> int:
    try:
        return int(helper.tensor_dtype_to_np_dtype(tensor.data_type).itemsize)
    except (KeyError, TypeError, ValueError):
        return 0
