"""PyTorch models as operators with costs: ``torch.export`` on the meta device needs no weights."""

from __future__ import annotations

import dataclasses
import importlib
import importlib.util
import sys
import warnings
from collections import Counter
from collections.abc import Callable
from math import prod
from pathlib import Path
from typing import Any

from placer.errors import InputError, UsageError
from placer.imports import torch_flops
from placer.imports.model import Model, Operator, Value, Weight
from placer.imports.precision import check_precision, float_bytes
from placer.origin import Source

__all__ = ["read_torch"]


def read_torch(factory: str | Callable[[], Any], *, precision: str | None = None) -> Model:
    """Read a PyTorch model.

    Parameters
    ----------
    factory
        ``MODULE:FACTORY``, ``FILE.py:FACTORY`` or a function; called with the meta device as default, returns
        the module and its example inputs: ``(module, args)`` or ``(module, args, kwargs)``.
    precision
        Number format of floating-point tensors; that of the model by default.

    Returns
    -------
    Model
        One operator per call in the exported, functional graph (``torch.export.export(...)`` with
        ``run_decompositions({})``); what depends on no input is folded.

    Raises
    ------
    InputError
        When the factory fails, or the model cannot be exported.
    UsageError
        When torch is not installed, or the factory is not found.
    """
    check_precision(precision)
    try:
        import torch
    except ImportError:
        raise UsageError("PyTorch models need torch: pip install 'dnn-placer[torch]'") from None
    name = factory if isinstance(factory, str) else f"{factory.__module__}:{factory.__qualname__}"
    call = _find(factory) if isinstance(factory, str) else factory
    try:
        with torch.device("meta"):
            made = call()
    except Exception as error:  # whatever the user's code raises
        raise InputError(f"the factory raised {type(error).__name__}: {error}", source=name) from None
    if not isinstance(made, tuple) or len(made) not in (2, 3) or not isinstance(made[0], torch.nn.Module):
        raise InputError("the factory must return (module, args) or (module, args, kwargs)", source=name)
    module, args = made[0].eval(), made[1] if isinstance(made[1], tuple) else (made[1],)
    try:
        with warnings.catch_warnings():
            warnings.simplefilter("ignore")
            with torch.device("meta"):  # for tensors that the model makes on its way
                exported = torch.export.export(module, args, made[2] if len(made) == 3 else {}, strict=False)
            exported = exported.run_decompositions({})
    except Exception as error:  # torch.export has no exception type of its own
        raise InputError(f"torch.export failed: {error}", source=name) from None
    try:
        return _Reader(module, exported, precision).model(name)
    except InputError as error:
        raise error.within(name) from None


def _find(text: str) -> Callable[[], Any]:
    """Import the user's factory; this runs the user's own code, as asked for."""
    place, colon, name = text.rpartition(":")
    if not colon or not place or not name:
        raise UsageError(f"expected MODULE:FACTORY, got {text!r}")
    try:
        if place.endswith(".py"):
            spec = importlib.util.spec_from_file_location(Path(place).stem, place)
            if spec is None or spec.loader is None:
                raise ImportError(f"{place} cannot be imported")
            module = importlib.util.module_from_spec(spec)
            spec.loader.exec_module(module)
        else:
            if "" not in sys.path and str(Path.cwd()) not in sys.path:
                sys.path.insert(0, str(Path.cwd()))
            module = importlib.import_module(place)
    except Exception as error:  # whatever the user's code raises
        raise UsageError(f"{place} cannot be imported: {type(error).__name__}: {error}") from None
    found = getattr(module, name, None)
    if not callable(found):
        raise UsageError(f"{place} has no function {name!r}")
    return found  # type: ignore[no-any-return]


class _Reader:
    """Turns the nodes of an exported graph into operators."""

    def __init__(self, module: Any, exported: Any, precision: str | None) -> None:
        self.exported, self.precision = exported, precision
        self.weights: dict[str, Weight] = {}
        self.values: dict[str, Value] = {}
        self.roots: dict[str, tuple[str, ...]] = {}  # constant -> weights behind it
        self.dtypes: Counter[str] = Counter()
        self.modules: dict[str, str] = {}  # operator -> module
        self._collect_weights(module)

    # -- weights --------------------------------------------------------------------------------

    def _collect_weights(self, module: Any) -> None:
        """Register weights by storage: names that share one are tied."""
        persistent = set(module.state_dict(keep_vars=True))
        shared: dict[int, list[str]] = {}
        tensors: dict[int, Any] = {}
        for name, tensor in (
            *module.named_parameters(remove_duplicate=False),
            *module.named_buffers(remove_duplicate=False),
        ):
            shared.setdefault(id(tensor), []).append(name)
            tensors[id(tensor)] = tensor
        self.key_of: dict[str, str] = {}
        for identity, names in shared.items():
            tensor = tensors[identity]
            self.key_of |= dict.fromkeys(names, names[0])
            if tensor.is_floating_point() and tensor.requires_grad:
                self.dtypes[str(tensor.dtype)] += tensor.numel()
            self.weights[names[0]] = Weight(
                names=tuple(name for name in names if name in persistent),
                size_bytes=self._size(tensor),
                elements=tensor.numel(),
                trainable=tensor.requires_grad,
                tied=bool(tensor.requires_grad or any(name in persistent for name in names)),
            )

    def _size(self, tensor: Any) -> float:
        try:
            elements = prod(int(n) for n in tensor.shape)
        except Exception:  # a symbolic size refuses in a type of its own
            raise InputError(f"a shape depends on data: {list(tensor.shape)}") from None
        size = float(tensor.element_size())
        return elements * (float_bytes(self.precision, size) if tensor.is_floating_point() else size)

    def _constant(self, key: str, tensors: list[Any]) -> None:
        """Register a value that depends on nothing: every device that reads it keeps it."""
        size = sum(self._size(t) for t in tensors)
        self.weights[key] = Weight((), size, sum(t.numel() for t in tensors), trainable=False, tied=False)
        self.roots[key] = (key,)

    # -- operators ------------------------------------------------------------------------------

    def model(self, name: str) -> Model:
        """Walk the graph once."""
        signature = self.exported.graph_signature
        targets = {spec.arg.name: spec.target for spec in signature.input_specs if spec.target is not None}
        operators: list[Operator] = []
        outputs: tuple[str, ...] = ()
        for node in self.exported.graph.nodes:
            if node.op == "placeholder":
                self._placeholder(node, targets.get(node.name))
            elif node.op == "output":
                outputs = tuple(n.name for n in node.all_input_nodes if n.name in self.values)
            elif node.op == "get_attr":
                raise InputError(
                    f"control flow ({node.target}) has no fixed cost; export the model without it"
                )
            elif not _is_part(node) and _tensors(node):
                operator = self._operator(node)
                if operator is not None:
                    operators.append(operator)
        if not operators:
            raise InputError("nothing is left to place: no operator depends on an input")
        operators = self._with_unread(operators)
        used = {key for o in operators for key in o.weights}
        names = {"torch.float16": "fp16", "torch.bfloat16": "bf16"}
        most = self.dtypes.most_common(1)
        return Model(
            name=name.rpartition(":")[2],
            source=Source("torch", name),
            operators=tuple(operators),
            values=self.values,
            weights={key: w for key, w in self.weights.items() if key in used},
            outputs=outputs,
            precision=self.precision or (names.get(most[0][0], "fp32") if most else "fp32"),
        )

    def _placeholder(self, node: Any, target: str | None) -> None:
        key = self.key_of.get(target) if target is not None else None
        if key is not None:
            self.roots[node.name] = (key,)
        elif target is not None:
            self._constant(node.name, _tensors(node))
        elif _tensors(node):
            self._value(node.name, _tensors(node)[0])

    def _value(self, key: str, tensor: Any) -> None:
        self.values[key] = Value(self._size(tensor), bool(tensor.is_floating_point()))

    def _operator(self, node: Any) -> Operator | None:
        """Turn a call into an operator; None when it depends on constants alone."""
        if not hasattr(node.target, "_schema"):
            raise InputError(f"{node.target} has no fixed cost; export the model without it")
        parts = [user for user in node.users if _is_part(user)]
        several = isinstance(node.meta["val"], list | tuple)
        outputs = parts if several else [node]
        read = [n for n in node.all_input_nodes if n.name in self.roots or n.name in self.values]
        weights = tuple(dict.fromkeys(root for n in read for root in self.roots.get(n.name, ())))
        if all(n.name in self.roots for n in read):
            self._fold(node, outputs, weights)
            return None
        for out in outputs:
            if _tensors(out):
                self._value(out.name, _tensors(out)[0])
        name = node.target._schema.name.rpartition("::")[2]
        view = _is_view(node.target)
        module = _module(node)
        written = [t for out in outputs for t in _tensors(out)]
        shapes = [_shape(t) for n in read for t in _tensors(n)]
        moved = sum(self._size(t) for t in written)
        if name in ("embedding", "index", "index_select", "gather"):
            moved *= 2  # of the table, only the rows asked for are read
        else:
            moved += sum(self._size(t) for n in read for t in _tensors(n))
        return Operator(
            id=node.name,
            name=f"{module or ''}/{node.name}".lstrip("/"),
            op=name,
            members=(node.name, *(n.name for n in parts)),
            inputs=tuple(dict.fromkeys(n.name for n in read if n.name not in self.roots)),
            outputs=tuple(out.name for out in outputs if out.name in self.values),
            weights=weights,
            flops=0.0 if view else self._flops(node, name, shapes, [_shape(t) for t in written]),
            moved_bytes=0.0 if view else moved,
            module=module,
            kind=torch_flops.kind(name, view=view),
            stash=torch_flops.stash(name, view=view),
        )

    def _fold(self, node: Any, outputs: list[Any], weights: tuple[str, ...]) -> None:
        for out in (node, *outputs):
            if weights and not all(w not in self.key_of for w in weights):
                self.roots[out.name] = tuple(w for w in weights if w in self.key_of)
            else:
                self._constant(out.name, _tensors(out))

    def _flops(
        self, node: Any, name: str, inputs: list[tuple[int, ...]], outputs: list[tuple[int, ...]]
    ) -> float | None:
        import torch

        kernel = node.args[1] if name in torch_flops.POOLS and len(node.args) > 1 else ()
        return torch_flops.flops(
            name,
            inputs,
            outputs,
            pointwise=torch.Tag.pointwise in node.target.tags,
            kernel=tuple(kernel) if isinstance(kernel, list | tuple) else (kernel,),
            equation=node.args[0] if name == "einsum" else "",
        )

    def _with_unread(self, operators: list[Operator]) -> list[Operator]:
        """Give weights that no operator reads to the operator that is nearest by module path."""
        read = {key for o in operators for key in o.weights}
        out = list(operators)
        for key, weight in self.weights.items():
            if key in read or not weight.names:
                continue
            path = key.split(".")[:-1]
            near = [_shared(path, (o.module or "").split(".")) for o in operators]
            i = near.index(max(near))
            out[i] = dataclasses.replace(out[i], weights=(*out[i].weights, key))
        return out


def _shared(a: list[str], b: list[str]) -> int:
    """Length of the common beginning."""
    return next((k for k, (x, y) in enumerate(zip(a, b, strict=False)) if x != y), min(len(a), len(b)))


def _is_part(node: Any) -> bool:
    """Whether a node only picks one result of another."""
    return getattr(node.target, "__name__", "") == "getitem" and not hasattr(node.target, "_schema")


def _tensors(node: Any) -> list[Any]:
    """Tensors that a node stands for."""
    value = node.meta.get("val")
    found = value if isinstance(value, list | tuple) else [value]
    return [t for t in found if hasattr(t, "element_size")]


def _shape(tensor: Any) -> tuple[int, ...]:
    return tuple(int(n) for n in tensor.shape)


def _is_view(target: Any) -> bool:
    """Whether the result shows the bytes of an argument."""
    schema = target._schema
    return any(
        r.alias_info is not None and not r.alias_info.is_write for r in schema.returns
    ) or schema.name in (
        "aten::reshape",
        "aten::contiguous",
        "aten::flatten",
        "aten::dropout",
    )


def _module(node: Any) -> str | None:
    stack = node.meta.get("nn_module_stack") or {}
    path = next(reversed(stack.values()))[0] if stack else ""
    return path or None
