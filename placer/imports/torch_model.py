"""PyTorch models as operators with costs: ``torch.export`` on the meta device needs no weights."""

from __future__ import annotations

import dataclasses
from collections import Counter
from collections.abc import Callable, Sequence
from math import prod
from typing import Any

from placer.errors import InputError
from placer.imports import torch_flops
from placer.imports.attention import Attention, check_attention
from placer.imports.model import Kind, Model, Operator, Value, Weight
from placer.imports.precision import check_precision, float_bytes
from placer.imports.tensor_axes import Axes
from placer.imports.torch_attention import KERNEL, Fused, fused_attentions, without_readers, written_out
from placer.imports.torch_axes import torch_axes
from placer.imports.torch_costs import Cost, Coster, is_part, name_of, tensors_in
from placer.imports.torch_export import Exported, Watch, exported
from placer.imports.torch_lines import said_of_line
from placer.instance.origin import Source

__all__ = ["model_of", "read_torch"]


def read_torch(
    factory: str | Callable[[], Any] | tuple[Any, ...],
    *,
    precision: str | None = None,
    attention: str | None = None,
    axes: bool = False,
    watch: Watch | None = None,
) -> Model:
    """Read a PyTorch model.

    Parameters
    ----------
    factory
        ``MODULE:FACTORY``, ``FILE.py:FACTORY`` or a function; called with the meta device as default, returns
        the module and its example inputs: ``(module, args)``, ``(module, args, kwargs)`` or
        ``(module, args, kwargs, dynamic_shapes)``.  Or such a tuple.  Where sizes are dynamic, those of the
        example inputs count.
    precision
        Number format of floating-point tensors; that of the model by default.
    attention
        ``fused``: one kernel, which keeps no scores and reads no mask and no repeated keys and values;
        ``eager``: products and a softmax; by default as the model has it.
    axes
        Whether to find out which dimensions can be divided.
    watch
        Told what is being done, whenever that changes.

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
        When an option is not known, torch is not installed, or the factory is not found.
    """
    check_precision(precision)
    check_attention(attention)
    return model_of(exported(factory, watch=watch), precision, attention, axes=axes, watch=watch)


def model_of(
    found: Exported,
    precision: str | None = None,
    attention: str | None = None,
    *,
    axes: bool = False,
    watch: Watch | None = None,
) -> Model:
    """Turn what is exported into a model, as `read_torch`."""
    try:
        reader = _Reader(found, precision, attention, watch or (lambda phase: None))
        model = reader.model()
        return dataclasses.replace(model, axes=reader.axes()) if axes else model
    except InputError as error:
        raise error.within(found.name) from None


class _Reader:
    """Turns the nodes of an exported graph into operators."""

    def __init__(self, found: Exported, precision: str | None, attention: str | None, watch: Watch) -> None:
        self.watch, self.attention = watch, attention
        kernels = fused_attentions(found.program) if attention == Attention.FUSED else []
        self.kernels = {kernel.output.name: kernel for kernel in kernels}
        self.grown = {name: added for kernel in kernels for name, added in kernel.grown.items()}
        self.gone = without_readers(found.program.graph, kernels)
        self.found, self.exported, self.precision = found, found.program, precision
        self.coster = Coster(self._size)
        self.weights: dict[str, Weight] = {}
        self.values: dict[str, Value] = {}
        self.roots: dict[str, tuple[str, ...]] = {}  # constant -> weights behind it
        self.dtypes: Counter[str] = Counter()
        self.modules: dict[str, str] = {}  # operator -> module
        self.scores: dict[str, tuple[str, ...]] = {}  # -> queries and keys that they are of
        self._collect_weights(found.module)

    # -- weights --------------------------------------------------------------------------------

    def _collect_weights(self, module: Any) -> None:
        """Register weights by storage: names that share one are tied."""
        persistent = set(module.state_dict(keep_vars=True))
        parameters = {name for name, _ in module.named_parameters(remove_duplicate=False)}
        written = set(self.exported.graph_signature.buffers_to_mutate.values())
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
                tied=any(name in parameters for name in names),
                state=any(name in written for name in names),
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

    def model(self) -> Model:
        """Walk the graph once."""
        name = self.found.name
        signature = self.exported.graph_signature
        targets = {spec.arg.name: spec.target for spec in signature.input_specs if spec.target is not None}
        operators: list[Operator] = []
        outputs: tuple[str, ...] = ()
        nodes = self.exported.graph.nodes
        for i, node in enumerate(nodes):
            self.watch(f"operator {i} of {len(nodes)}")
            if node.op == "placeholder":
                self._placeholder(node, targets.get(node.name))
            elif node.op == "output":
                outputs = tuple(n.name for n in node.all_input_nodes if n.name in self.values)
            elif node.op == "call_function" and node.name not in self.gone:
                operators += self._operators(node)
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
            notes=self.found.notes,
        )

    def axes(self) -> Axes:
        """Find which dimensions can be divided; weights go by their keys, too."""
        self.watch("finding what can be split")
        specs = self.exported.graph_signature.input_specs
        targets = {spec.arg.name: spec.target for spec in specs if spec.target is not None}
        found = torch_axes(self.exported.graph, targets)
        calls = set(found.dims)
        for name, target in targets.items():
            key = self.key_of.get(target)
            if key is None or name not in calls:
                continue
            if key in calls:  # a weight that is called like the result of a call
                found.keep_tensors([key, name])
            elif key in found.dims:  # tied
                for a, b in zip(found.dims[key], found.dims[name], strict=True):
                    found.same(a, b)
            else:
                found.dims[key] = found.dims[name]
        for name, (query, key) in self.scores.items():
            found.dims[name] = [*found.dims[query][:-1], found.dims[key][-2]]
        return found

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

    def _operators(self, node: Any) -> list[Operator]:
        if is_part(node) or not _tensors(node):
            return []
        if node.name in self.kernels:
            return [self._kernel(node, self.kernels[node.name])]
        operator = self._operator(node)
        if operator is None:
            return []
        if node.name in self.grown:
            added = self._size(_tensors(self.grown[node.name])[0])
            operator = dataclasses.replace(operator, moved_bytes=2 * added)
        if self.attention == Attention.EAGER and operator.op == KERNEL:
            result = self._size(_tensors(node)[0])
            steps, values = written_out(node, operator, self.coster.stored, result)
            self.values |= values
            self.scores |= dict.fromkeys(values, steps[0].inputs)
            return steps
        return [operator]

    def _kernel(self, node: Any, kernel: Fused) -> Operator:
        """Turn an attention into one operator."""
        self._value(node.name, _tensors(node)[0])
        core, reads = kernel.products[-1], list(dict.fromkeys(kernel.reads))
        flops = [self._cost(product).flops for product in kernel.products]
        moved = sum(self.coster.stored(_tensors(n)[0]) for n in reads)
        module = _module(core)
        return Operator(
            id=core.name,
            name=f"{module or ''}/{core.name}".lstrip("/"),
            op=KERNEL,
            members=tuple(sorted(kernel.inner)),
            inputs=tuple(n.name for n in reads if n.name not in self.roots),
            outputs=(node.name,),
            weights=self._weights(reads),
            flops=sum(f or 0.0 for f in flops),
            moved_bytes=self._size(_tensors(node)[0]) + moved,
            module=module,
            kind=Kind.PRODUCT,
        )

    def _weights(self, read: Sequence[Any]) -> tuple[str, ...]:
        return tuple(dict.fromkeys(root for n in read for root in self.roots.get(n.name, ())))

    def _operator(self, node: Any) -> Operator | None:
        """Turn a call into an operator; None when it depends on constants alone."""
        parts = [user for user in node.users if is_part(user)]
        several = isinstance(node.meta["val"], list | tuple)
        outputs = parts if several else [node]
        read = [n for n in node.all_input_nodes if n.name in self.roots or n.name in self.values]
        weights = self._weights(read)
        cost = self._cost(node)
        if all(n.name in self.roots for n in read):
            self._fold(node, outputs, weights, view=cost.is_view)
            return None
        for out in outputs:
            if _tensors(out):
                self._value(out.name, _tensors(out)[0])
        name = name_of(node.target)
        module = _module(node)
        return Operator(
            id=node.name,
            name=f"{module or ''}/{node.name}".lstrip("/"),
            op=name,
            members=(node.name, *(n.name for n in parts)),
            inputs=tuple(dict.fromkeys(n.name for n in read if n.name not in self.roots)),
            outputs=tuple(out.name for out in outputs if out.name in self.values),
            weights=weights,
            flops=cost.flops,
            moved_bytes=cost.moved_bytes,
            module=module,
            kind=torch_flops.kind(name, view=cost.is_view, product=cost.product),
            stash=torch_flops.stash(name, view=cost.is_view, operands=len(_operands(node))),
            kernels=cost.kernels,
        )

    def _cost(self, node: Any) -> Cost:
        try:
            return self.coster.node(node, self.exported.graph_module)
        except InputError as error:
            where = said_of_line(node.meta.get("stack_trace"))
            raise InputError(f"{error}{f', at {where}' if where else ''}") from None

    def _fold(self, node: Any, outputs: list[Any], weights: tuple[str, ...], *, view: bool) -> None:
        """Fold a call that depends on no input: what reads it reads its weights, or it is a constant."""
        own = tuple(w for w in weights if w in self.key_of)
        for out in (node, *outputs):
            if own:
                self.roots[out.name] = own
            elif view and weights:
                self.roots[out.name] = weights  # shows a constant that is there
            else:
                self._constant(out.name, _tensors(out))

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


def _tensors(node: Any) -> list[Any]:
    """Tensors that a node stands for."""
    return tensors_in(node.meta.get("val"))


def _operands(node: Any) -> list[Any]:
    """Tensors among the first two arguments: one where a value meets a number."""
    return [arg for arg in node.args[:2] if hasattr(arg, "all_input_nodes") and _tensors(arg)]


def _module(node: Any) -> str | None:
    stack = node.meta.get("nn_module_stack") or {}
    path = next(reversed(stack.values()))[0] if stack else ""
    return path or None
