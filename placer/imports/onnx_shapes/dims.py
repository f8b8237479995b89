"""The sizes and values that a user gives to the inputs of a model."""

from __future__ import annotations

import ast
import operator
import re
import shlex
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from enum import StrEnum
from typing import Any

from placer.choices import offer
from placer.errors import InputError, UsageError

__all__ = [
    "InputDim",
    "Role",
    "evaluated",
    "missing",
    "parse_dims",
    "parse_passes",
    "parse_values",
    "real_inputs",
    "set_dims",
]


class Role(StrEnum):
    """What a dimension of an input may be, judged by its place."""

    BATCH = "batch"
    PICTURE = "picture"
    OTHER = "other"
    FOLLOWS = "follows"
    """From others: nobody needs to set it."""


UNNAMED = re.compile(r"\W*|none|-?\d+", re.IGNORECASE)
"""Symbols that name nothing: they may stand for a different size each time."""
TRIED = ((224, 128), (640, 128), (48, 128), (32, 128), (64, 128), (512, 512), (256, 16), (320, 1))
"""Sizes that are suggested for pictures and for anything else, the first that the model takes."""


@dataclass(frozen=True)
class InputDim:
    """An open dimension of the inputs.

    Parameters
    ----------
    name
        What a user sets: its symbol, or ``INPUT.AXIS``.
    where
        The input and the axis, in words.
    role
        What it may be.
    sizes
        Where the size is written in the model.
    """

    name: str
    where: str
    role: Role
    sizes: tuple[Any, ...]


def parse_dims(settings: list[str] | tuple[str, ...]) -> dict[str, int]:
    """Read ``NAME=N`` settings, several of them between commas; NAME is a symbol, or ``INPUT:AXIS``.

    Raises
    ------
    UsageError
        Naming the setting that is wrong.
    """
    dims: dict[str, int] = {}
    for setting in settings:
        for one in _split(setting):
            name, equals, text = one.rpartition("=")
            if not equals or not name or not text.isdecimal() or not 0 < int(text) <= 10**9:
                raise UsageError(f"--dim expects NAME=N or INPUT:AXIS=N with N in 1..10^9, got {one!r}")
            dims[name] = int(text)
    return dims


def parse_values(settings: list[str] | tuple[str, ...]) -> dict[str, tuple[float, ...]]:
    """Read ``INPUT=NUMBER`` or ``INPUT=NUMBER,NUMBER,...``.

    Raises
    ------
    UsageError
        Naming the setting that is wrong.
    """
    values: dict[str, tuple[float, ...]] = {}
    for setting in settings:
        name, equals, text = setting.rpartition("=")
        try:
            numbers = tuple(float(one) for one in text.split(","))
        except ValueError:
            numbers = ()
        if not equals or not name or not numbers:
            raise UsageError(f"--value expects INPUT=NUMBER,..., got {setting!r}")
        values[name] = numbers
    return values


def parse_passes(settings: list[str] | tuple[str, ...]) -> dict[str, int]:
    """Read ``N`` or ``LOOP=N``: how often loops run.

    Raises
    ------
    UsageError
        Naming the setting that is wrong.
    """
    passes: dict[str, int] = {}
    for setting in settings:
        name, _, text = setting.rpartition("=")
        if not text.isdecimal() or int(text) > 10**9:
            raise UsageError(f"--passes expects N or LOOP=N with N in 0..10^9, got {setting!r}")
        passes[name] = int(text)
    return passes


def _split(setting: str) -> list[str]:
    """Parts between commas, unless a comma belongs to a name."""
    parts = setting.split(",")
    return parts if all("=" in part for part in parts) else [setting]


def real_inputs(graph: Any) -> list[Any]:
    """List the inputs that a user feeds: older files list weights among them."""
    weights = {tensor.name for tensor in graph.initializer}
    weights |= {tensor.values.name for tensor in graph.sparse_initializer}
    return [info for info in graph.input if info.name not in weights]


def set_dims(
    model: Any, dims: Mapping[str, int], values: Mapping[str, Sequence[float]]
) -> tuple[list[InputDim], bool]:
    """Set the sizes of the inputs, in place.

    Returns
    -------
    list of InputDim
        Those without a size.
    bool
        Whether a size that the file fixes was changed, so that other sizes it states no longer hold.

    Raises
    ------
    InputError
        When an input is no tensor.
    UsageError
        When a setting fits no dimension or input.
    """
    graph = model.graph
    used: set[str] = set()
    changed = False
    for info in real_inputs(graph):
        for axis, dim in _axes(info, dims):
            own = next((key for key in (f"{info.name}:{axis}", f"{info.name}.{axis}") if key in dims), None)
            symbol = dim.dim_param
            if symbol and symbol in dims:
                used.add(symbol)
                dim.dim_value = dims[symbol]
            elif own is not None:
                used.add(own)
                changed = changed or dim.dim_value > 0
                if axis == 0 and dim.dim_value > 0:
                    _refit_reshapes(model, dim.dim_value, dims[own])
                dim.dim_value = dims[own]
            elif symbol and not UNNAMED.fullmatch(symbol):
                size = evaluated(symbol, dims)
                if size is not None and size >= 0:
                    used |= set(re.findall(r"\w+", symbol)) & dims.keys()
                    dim.dim_value = size
    open_dims = list(_open_dims(graph, dims))
    _check_settings(graph, dims, values, used, open_dims)
    return open_dims, changed


def _axes(info: Any, dims: Mapping[str, int]) -> list[tuple[int, Any]]:
    """Dimensions of an input; one without any number of them gets those that are set."""
    if not info.type.HasField("tensor_type"):
        raise InputError("it is no tensor, and its size cannot be set", place=f"input {info.name!r}")
    tensor = info.type.tensor_type
    if not tensor.HasField("shape"):
        axis = 0
        while f"{info.name}.{axis}" in dims:
            tensor.shape.dim.add()
            axis += 1
    return list(enumerate(tensor.shape.dim))


def _open(dim: Any) -> bool:
    return not dim.HasField("dim_value") or dim.dim_value <= 0


def _open_dims(graph: Any, dims: Mapping[str, int]) -> Iterator[InputDim]:
    """Find the dimensions of inputs that have no size yet, each once."""
    found: dict[str, list[tuple[str, Role, Any]]] = {}
    for info in real_inputs(graph):
        tensor = info.type.tensor_type
        if not tensor.HasField("shape"):
            yield InputDim(
                f"{info.name}.0", f"first of {info.name!r}, whose rank is not known", Role.BATCH, ()
            )
            continue
        shape = tensor.shape.dim
        for axis, dim in enumerate(shape):
            if _open(dim):
                symbol = dim.dim_param
                name = f"{info.name}.{axis}" if not symbol or UNNAMED.fullmatch(symbol) else symbol
                found.setdefault(name, []).append((f"axis {axis} of {info.name!r}", _role(shape, axis), dim))
    for name, places in found.items():
        where, role, _ = places[0]
        if name not in dims and evaluated(name, {other: 1 for other in (*found, *dims) if other != name}):
            role = Role.FOLLOWS
        more = f" and {len(places) - 1} more" if len(places) > 1 else ""
        yield InputDim(name, where + more, role, tuple(dim for _, _, dim in places))


def _role(shape: Any, axis: int) -> Role:
    """Judge by the place: a state of a recurrence is (layers, batch, width)."""
    if axis == 0 or (axis == 1 and len(shape) == 3 and not _open(shape[0]) and not _open(shape[2])):
        return Role.BATCH
    return Role.PICTURE if len(shape) == 4 and axis > 1 else Role.OTHER


def missing(open_dims: Sequence[InputDim], dims: Mapping[str, int], takes: Callable[[], bool]) -> InputError:
    """Name all dimensions without a size, with a setting to start from.

    Parameters
    ----------
    open_dims, dims
        Those of `set_dims`, and what is set.
    takes
        Whether the model takes the sizes that are written into it.
    """
    asked = [dim for dim in open_dims if dim.role is not Role.FOLLOWS]
    example: dict[str, int] = {}
    for picture, other in TRIED:
        size = {Role.BATCH: 1, Role.PICTURE: picture, Role.OTHER: other}
        tried = {dim.name: size[dim.role] for dim in asked}
        for dim in open_dims:
            for place in dim.sizes:
                place.dim_value = evaluated(dim.name, {**dims, **tried}) or 1
        example = example or tried
        if takes():
            example = tried
            break
    names = ", ".join(f"{dim.name!r} ({dim.where})" for dim in asked)
    setting = ",".join(f"{name}={size}" for name, size in example.items())
    if not re.fullmatch(r"[\w.,:=/+-]+", setting):
        setting = shlex.quote(setting)
    several = len(asked) > 1
    return InputError(
        f"dimension{'s' if several else ''} {names} {'have' if several else 'has'} no value; "
        f"set {'them' if several else 'it'}, for example --dim {setting}"
    )


def _check_settings(
    graph: Any,
    dims: Mapping[str, int],
    values: Mapping[str, Sequence[float]],
    used: set[str],
    open_dims: list[InputDim],
) -> None:
    inside = {
        dim.dim_param
        for info in (*graph.output, *graph.value_info)
        for dim in info.type.tensor_type.shape.dim
        if dim.dim_param
    }
    for key in dims.keys() - used - inside:
        known = sorted(used | {dim.name for dim in open_dims})
        hint = "" if known else "; use INPUT:AXIS=N for a fixed one"
        raise UsageError(f"--dim: the model has no dimension {key!r}{offer(key, known)}{hint}")
    inputs = [info.name for info in real_inputs(graph)]
    for key in values.keys() - set(inputs):
        raise UsageError(f"--value: the model has no input {key!r}{offer(key, inputs)}")


def _refit_reshapes(model: Any, old: int, new: int) -> None:
    """Let reshapes to a fixed batch follow the batch: their first number is the old one."""
    from onnx import numpy_helper

    graph = model.graph
    targets = {node.input[1] for node in graph.node if node.op_type == "Reshape" and len(node.input) > 1}
    for tensor in graph.initializer:
        if tensor.name in targets and len(tensor.dims) == 1 and not tensor.external_data:
            shape = numpy_helper.to_array(tensor).copy()
            if len(shape) and shape[0] == old:
                shape[0] = new
                tensor.CopyFrom(numpy_helper.from_array(shape, tensor.name))


ARITHMETIC: dict[type[ast.operator], Callable[[int, int], int]] = {
    ast.Add: operator.add,
    ast.Sub: operator.sub,
    ast.Mult: operator.mul,
    ast.FloorDiv: operator.floordiv,
}


def evaluated(symbol: str, dims: Mapping[str, int]) -> int | None:
    """Compute a size such as ``past_length + sequence_length`` from others; None where it cannot be."""
    if symbol in dims:
        return dims[symbol]
    if len(symbol) > 200:
        return None
    try:
        return _sum(ast.parse(symbol, mode="eval").body, dims)
    except (SyntaxError, ValueError, KeyError, ZeroDivisionError, RecursionError, MemoryError):
        return None


def _sum(tree: ast.expr, dims: Mapping[str, int]) -> int:
    if isinstance(tree, ast.Constant) and isinstance(tree.value, int):
        return tree.value
    if isinstance(tree, ast.Name):
        return dims[tree.id]
    if isinstance(tree, ast.BinOp) and type(tree.op) in ARITHMETIC:
        return ARITHMETIC[type(tree.op)](_sum(tree.left, dims), _sum(tree.right, dims))
    raise ValueError(tree)
