"""What a call in an exported graph costs: by rule, by torch's own formulas, or by what it consists of.

In this order: whether the result is a view, by the operator's own schema; the rules of `torch_flops`;
formulas registered with ``torch.utils.flop_counter``, the user's own included; the operators that a composite
one consists of; for loops and branches, the graphs inside.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass
from typing import Any

from placer.errors import InputError
from placer.imports import torch_flops, torch_products
from placer.imports.torch_call import Call

__all__ = ["Cost", "Coster", "is_part", "name_of", "tensors_in"]

UNKNOWN_LOOPS = ("while_loop", "while_loop_stack_output")


@dataclass(frozen=True)
class Cost:
    """What a call costs.

    Parameters
    ----------
    flops
        Floating-point operations; None without a rule.
    moved_bytes
        Bytes read and written.
    kernels
        Kernels that run one after the other; 0 for a view.
    product
        Whether a matrix product, convolution or recurrence is in it.
    """

    flops: float | None
    moved_bytes: float
    kernels: int = 1
    product: bool = False

    @property
    def is_view(self) -> bool:
        """Whether nothing runs: the result shows bytes that are there."""
        return self.kernels == 0

    def times(self, count: int) -> Cost:
        """Cost of so many of them."""
        flops = None if self.flops is None else count * self.flops
        return Cost(flops, count * self.moved_bytes, count * self.kernels, self.product)


FREE = Cost(0.0, 0.0, kernels=0)


def together(costs: Sequence[Cost]) -> Cost:
    """Cost of some calls, one after the other; no known operations if there are some without a rule."""
    known = [c.flops for c in costs if c.flops is not None]
    return Cost(
        sum(known) if len(known) == len(costs) else None,
        sum(c.moved_bytes for c in costs),
        sum(c.kernels for c in costs),
        any(c.product for c in costs),
    )


class Coster:
    """Costs calls.

    Parameters
    ----------
    size
        Bytes of a tensor, at the precision that is planned for.
    """

    def __init__(self, size: Callable[[Any], float]) -> None:
        self.size = size

    def call(self, target: Any, args: Sequence[Any], kwargs: dict[str, Any], result: Any) -> Cost:
        """Cost of an operator called with tensors.

        Parameters
        ----------
        target
            The operator: an overload of torch's, a custom one, or one of higher order.
        args, kwargs
            Arguments, tensors of any device among them; graphs, for an operator of higher order.
        result
            What it returns.
        """
        if not hasattr(target, "_schema"):
            return self._higher_order(target, args, kwargs, result)
        if _shows_argument(target, result):
            return FREE
        call = _described(target, args, kwargs, result)
        product = torch_products.flops(call)
        if product is None and _is_composite(target) and torch_flops.flops(call) is None:
            return self._inside(target, args, kwargs, call, result)
        flops = product if product is not None else self._flops(target, args, kwargs, call, result)
        return Cost(
            flops,
            self._moved(call, tensors_in((args, kwargs)), tensors_in(result)),
            product=product is not None,
        )

    def _flops(
        self, target: Any, args: Sequence[Any], kwargs: dict[str, Any], call: Call, result: Any
    ) -> float | None:
        found = torch_flops.flops(call)
        if found is None:
            found = _registered(target, args, kwargs, result)
        if found is None and _is_pointwise(target):
            found = float(call.out)
        return found

    def _moved(self, call: Call, read: Sequence[Any], written: Sequence[Any]) -> float:
        """Bytes read and written: of look-ups the rows, of writes in place the part, of experts those met."""
        out = sum(self.size(t) for t in written)
        if call.name in torch_flops.ALLOCATIONS:
            return 0.0
        if call.name in torch_flops.CREATIONS:
            return out
        if call.name in torch_flops.LOOKUPS:
            return 2 * out
        if call.name in torch_flops.SCATTERS:
            return 2 * self.stored(read[-1]) if len(read) > 1 else out
        if call.name in torch_products.GROUPED and len(read) > 1:
            experts = self.stored(read[1]) * torch_products.rows_share(call)
            return out + experts + sum(self.stored(t) for i, t in enumerate(read) if i != 1)
        seen = {id(t): t for t in read}
        return out + sum(self.stored(t) for t in seen.values())

    def stored(self, tensor: Any) -> float:
        """Bytes behind a tensor: what is repeated along a dimension lies there once.

        Parameters
        ----------
        tensor
            A tensor with strides.
        """
        strides = _strides(tensor)
        repeated = 1
        for extent, stride in zip(tensor.shape, strides, strict=False):
            repeated *= max(int(extent), 1) if stride == 0 else 1
        return self.size(tensor) / repeated

    def _inside(
        self, target: Any, args: Sequence[Any], kwargs: dict[str, Any], call: Call, result: Any
    ) -> Cost:
        """Cost of what a composite operator consists of: run on tensors without data, and watched."""
        from torch.utils._python_dispatch import TorchDispatchMode

        seen: list[Cost] = []
        coster = self

        class Watch(TorchDispatchMode):  # type: ignore[misc]
            def __torch_dispatch__(self, func: Any, types: Any, args: Any = (), kwargs: Any = None) -> Any:
                made = func(*args, **(kwargs or {}))
                if func is not target:
                    seen.append(coster.call(func, args, kwargs or {}, made))
                return made

        try:
            bare, named = _without_data(list(args)), _without_data(kwargs)
            with Watch():
                target(*bare, **named)
        except Exception:  # needs data, or what this device has not: as without a rule
            seen = [Cost(None, 0.0)]
        whole = together(seen)
        if whole.is_view:
            return FREE
        if whole.flops is None and _is_pointwise(target):
            whole = Cost(float(call.out), 0.0, product=whole.product)
        moved = self._moved(call, tensors_in((args, kwargs)), tensors_in(result))
        return Cost(whole.flops, moved, product=whole.product)

    # -- loops and branches ---------------------------------------------------------------------

    def _higher_order(self, target: Any, args: Sequence[Any], kwargs: dict[str, Any], result: Any) -> Cost:
        name = name_of(target)
        flat = list(_flat((args, kwargs)))
        inner = next((a for a in flat if hasattr(a, "_schema")), None)
        graphs = [g for g in flat if hasattr(g, "graph")]
        if name in ("flex_attention", "flex_attention_hop"):
            return self._flex(args, graphs, result)
        if not graphs and inner is not None:  # a custom operator that writes to its arguments
            return self.call(inner, [a for a in args if a is not inner], kwargs, result)
        moved = sum(self.size(t) for t in (*tensors_in((args, kwargs)), *tensors_in(result)))
        if not graphs:
            return Cost(None, moved)
        bodies = [self.graph(g) for g in graphs]
        if name == "cond":  # one of two: the dearer
            return max(bodies, key=lambda c: (c.flops is None, c.flops or 0.0, c.moved_bytes))
        whole = together(bodies)
        if name in UNKNOWN_LOOPS:
            return Cost(None, whole.moved_bytes, whole.kernels, whole.product)
        return whole.times(_passes(name, args))

    def _flex(self, args: Sequence[Any], graphs: Sequence[Any], result: Any) -> Cost:
        """Attention over all pairs, whatever the mask leaves out, and what is done to each score."""
        q, k, v = ([int(n) for n in t.shape] for t in args[:3])
        pairs = q[0] * q[1] * q[2] * k[2]
        scores = sum((self.graph(g).flops or 0.0) * pairs for g in graphs)
        moved = sum(self.size(t) for t in (*args[:3], *tensors_in(result)))
        return Cost(2.0 * pairs * (q[3] + v[3]) + scores, moved, product=True)

    def graph(self, module: Any) -> Cost:
        """Cost of one pass through a graph."""
        return together([self.node(n, module) for n in module.graph.nodes if n.op == "call_function"])

    def node(self, node: Any, owner: Any) -> Cost:
        """Cost of a call in a graph.

        Parameters
        ----------
        node
            The call.
        owner
            The module that the graph belongs to: it holds the graphs inside.
        """
        if is_part(node) or not tensors_in(node.meta.get("val")):
            return FREE
        if _changes_nothing(node):
            return FREE

        def value(arg: Any) -> Any:
            if arg.op == "get_attr" and "val" not in arg.meta:
                found = owner
                for piece in str(arg.target).split("."):
                    found = getattr(found, piece)
                return found
            return arg.meta.get("val")

        args, kwargs = _mapped(node.args, value), _mapped(node.kwargs, value)
        return self.call(node.target, args, kwargs, node.meta["val"])


def name_of(target: Any) -> str:
    """Name of an operator without namespace and overload."""
    if hasattr(target, "_schema"):
        return str(target._schema.name.rpartition("::")[2])
    found = getattr(target, "_name", None) or getattr(target, "__name__", None)
    return str(found or target)


def is_part(node: Any) -> bool:
    """Whether a node only picks one result of another."""
    return getattr(node.target, "__name__", "") == "getitem" and not hasattr(node.target, "_schema")


def tensors_in(value: Any) -> list[Any]:
    """Tensors in nested tuples, lists and dictionaries, in order."""
    return [t for t in _flat(value) if hasattr(t, "element_size")]


def _flat(value: Any) -> Iterator[Any]:
    if isinstance(value, dict):
        value = list(value.values())
    if isinstance(value, list | tuple):
        for item in value:
            yield from _flat(item)
    elif value is not None:
        yield value


def _mapped(value: Any, change: Callable[[Any], Any]) -> Any:
    """Replace the nodes in nested arguments."""
    if isinstance(value, list | tuple):
        return [_mapped(item, change) for item in value]
    if isinstance(value, dict):
        return {key: _mapped(item, change) for key, item in value.items()}
    return change(value) if hasattr(value, "all_input_nodes") else value


def _shape(tensor: Any) -> tuple[int, ...]:
    try:
        return tuple(int(n) for n in tensor.shape)
    except Exception:  # a symbolic size refuses in a type of its own
        raise InputError(f"a shape depends on data: {list(tensor.shape)}") from None


def _strides(tensor: Any) -> Sequence[int]:
    try:
        return tuple(int(n) for n in tensor.stride())
    except Exception:  # a sparse or symbolic one
        return ()


def _described(target: Any, args: Sequence[Any], kwargs: dict[str, Any], result: Any) -> Call:
    schema = target._schema
    given = dict(zip((a.name for a in schema.arguments), args, strict=False)) | kwargs
    named: dict[str, Any] = {}
    values: dict[str, Any] = {}
    for key, value in given.items():
        found = tensors_in(value)
        if found:
            named[key] = [_shape(t) for t in found] if isinstance(value, list | tuple) else _shape(found[0])
        elif value is not None:
            values[key] = value
    return Call(
        name=name_of(target),
        tensors=tuple(_shape(t) for t in tensors_in(list(given.values()))),
        named=named,
        values=values,
        outputs=tuple(_shape(t) for t in tensors_in(result)),
        foreign=not schema.name.startswith(("aten::", "prims::")),
    )


def _shows_argument(target: Any, result: Any) -> bool:
    """Whether the schema says that the result shows bytes of an argument, or is the twin of one that does.

    Composite operators such as ``reshape`` show them only where they can: those are looked into.
    """
    if _is_composite(target):
        return False
    if any(r.alias_info is not None and not r.alias_info.is_write for r in target._schema.returns):
        return bool(tensors_in(result))
    name = str(target._schema.name)
    space, _, own = name.rpartition("::")
    twin = (
        own.removesuffix("_copy") if own.endswith("_copy") else own.removeprefix("_").removeprefix("unsafe_")
    )
    if space != "aten" or twin == own or ("unsafe" not in own and not own.endswith("_copy")):
        return False
    import torch

    packet = getattr(torch.ops.aten, twin, None)
    if packet is None:
        return False
    schemas = [getattr(packet, overload)._schema for overload in packet.overloads()]
    return any(r.alias_info is not None and not r.alias_info.is_write for s in schemas for r in s.returns)


def _is_composite(target: Any) -> bool:
    """Whether an operator consists of others, which autograd sees instead."""
    import torch

    key = torch.DispatchKey.CompositeImplicitAutograd
    return bool(target.has_kernel_for_dispatch_key(key))


def _is_pointwise(target: Any) -> bool:
    import torch

    return torch.Tag.pointwise in getattr(target, "tags", ())


def _registered(target: Any, args: Sequence[Any], kwargs: dict[str, Any], result: Any) -> float | None:
    """Torch's formula for an operator, or one that the user registered."""
    from torch.utils.flop_counter import flop_registry

    formula = flop_registry.get(getattr(target, "_overloadpacket", target))
    return None if formula is None else float(formula(*args, **kwargs, out_val=result))


def _passes(name: str, args: Sequence[Any]) -> int:
    """How often the body of an operator of higher order runs."""
    if name in ("scan", "associative_scan", "map_impl", "map"):
        over = tensors_in(args[2] if name == "scan" else args[1])
        return int(over[0].shape[0]) if over else 1
    return 1


def _without_data(value: Any) -> Any:
    """Replace the tensors in nested arguments by such that have a shape and no data."""
    import torch

    if hasattr(value, "element_size"):
        return torch.empty_strided(_shape(value), value.stride(), dtype=value.dtype, device="meta")
    if isinstance(value, list | tuple):
        return [_without_data(item) for item in value]
    if isinstance(value, dict):
        return {key: _without_data(item) for key, item in value.items()}
    return value


def _changes_nothing(node: Any) -> bool:
    """Whether a copy is what an operator leaves behind that does nothing at inference, such as dropout."""
    if name_of(node.target) != "clone":
        return False
    before, after = node.args[0].meta.get("val"), node.meta["val"]
    asked_for = (node.meta.get("torch_fn") or ("clone",))[0].startswith(
        ("clone", "contiguous", "copy", "to_")
    )
    return not asked_for and _strides(before) == _strides(after)
