"""Attention in exported graphs: what one kernel can do of product, softmax and product, and what it reads.

A fused kernel (flash attention, or a kernel of ``scaled_dot_product_attention``) reads queries, keys and
values and writes its result; scores never leave it, a mask is computed inside, several heads of queries share
a head of keys and values without a copy, and the result is written in the layout that is read next.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator
from dataclasses import dataclass
from math import prod
from typing import Any

from placer.imports import attention
from placer.imports.model import Operator, Value
from placer.imports.onnx_flops import words
from placer.imports.torch_costs import name_of

__all__ = [
    "KERNEL",
    "Fused",
    "fused_attentions",
    "without_readers",
    "written_out",
]

KERNEL = "scaled_dot_product_attention"
PRODUCTS = words("matmul bmm baddbmm")
SOFTMAX = words("softmax _softmax _safe_softmax")
VIEWS = words(
    "view _unsafe_view reshape expand unsqueeze squeeze transpose permute t flatten unflatten alias detach"
)
COPIES = words("clone contiguous _to_copy to dropout")
REPEATS = words("repeat repeat_interleave")
ON_SCORES = VIEWS | COPIES | words("mul div add sub where masked_fill maximum tanh cat neg")
ON_SHARES = VIEWS | COPIES | words("where masked_fill mul slice nan_to_num")
WEIGHTS, INPUTS = 1, 2


@dataclass(frozen=True)
class Fused:
    """Calls that one kernel replaces.

    Parameters
    ----------
    products
        The calls that do its work.
    reads
        Queries, keys and values, and a bias that is trained, before they are repeated; a cache that is an
        input of the model, and what it grows by.
    grown
        Calls that make a cache grow, by name, each with what it adds: nothing else moves.
    inner
        Names of all calls replaced.
    output
        The call whose result it writes.
    """

    products: tuple[Any, ...]
    reads: tuple[Any, ...]
    grown: dict[str, Any]
    inner: frozenset[str]
    output: Any


def fused_attentions(program: Any) -> list[Fused]:
    """Find the attentions of a graph that one kernel can do.

    Scores that something else reads, such as an output of the model, and such as depend on more than one
    product, are left as they are.

    Parameters
    ----------
    program
        What ``torch.export`` made.
    """
    return list(_Finder(program).found())


def without_readers(graph: Any, attentions: list[Fused]) -> set[str]:
    """Names of the calls that nothing reads any more: those replaced, masks, repeated keys and values."""
    inside = {name: a for a in attentions for name in a.inner}
    read = {n for a in attentions for n in a.reads}
    gone = set(inside) - {a.output.name for a in attentions}
    for node in reversed(graph.nodes):
        if node.op != "call_function" or node in read or node.name in inside:
            continue
        users = [user.name for user in _readers(node)]
        if users and all(user in gone or user in inside for user in users):
            gone.add(node.name)
    return gone


def written_out(
    node: Any, whole: Operator, stored: Callable[[Any], float], result_bytes: float
) -> tuple[list[Operator], dict[str, Value]]:
    """Write an attention that is one call as products and a softmax (`placer.imports.attention`).

    Parameters
    ----------
    node
        The call.
    whole
        It as one operator.
    stored
        Bytes behind a tensor.
    result_bytes
        Bytes of the result.

    Returns
    -------
    operators, values
        The operators, and the values that they pass on.
    """
    given = _given(node)
    query, key, value = (given[name] for name in ("query", "key", "value"))
    rows, width = prod(_shape(query)[:-1]), _shape(query)[-1]
    pairs = float(rows * _shape(key)[-2])
    result = rows * _shape(value)[-1]
    mask = given.get("attn_mask")
    masked = mask is not None or given.get("is_causal")

    def read(*nodes: Any) -> list[tuple[str, float]]:
        return [(n.name, stored(n.meta["val"])) for n in nodes]

    return attention.written_out(
        whole,
        attention.Scores(pairs, width, _shape(value)[-1], result_bytes / result),
        keys=read(query, key),
        mask=(read(mask) if mask is not None else []) if masked else None,
        values=read(value),
        result_bytes=result_bytes,
    )


class _Finder:
    def __init__(self, program: Any) -> None:
        self.graph = program.graph
        signature = program.graph_signature
        first = dict.fromkeys(signature.inputs_to_parameters, WEIGHTS)
        first |= dict.fromkeys(signature.user_inputs, INPUTS)
        self.behind: dict[Any, int] = {}  # call -> whether weights and inputs are behind it
        for node in self.graph.nodes:
            found = first.get(node.name, 0) if node.op == "placeholder" else 0
            for before in node.all_input_nodes:
                found |= self.behind[before]
            self.behind[node] = found

    def found(self) -> Iterator[Fused]:
        for node in self.graph.nodes:
            if node.op != "call_function":
                continue
            name = name_of(node.target)
            made = self._kernel(node) if name == KERNEL else self._around(node) if name in SOFTMAX else None
            if made is not None:
                yield made

    def _kernel(self, node: Any) -> Fused | None:
        """Attention that is a call of its own."""
        given = _given(node)
        if given.get("dropout_p"):
            return None
        query, key, value, mask = (given.get(name) for name in ("query", "key", "value", "attn_mask"))
        return self._attention([node], query, key, value, [] if mask is None else [mask], [node])

    def _around(self, softmax: Any) -> Fused | None:
        """Attention around a softmax."""
        shape = softmax.meta["val"].shape
        dim = softmax.args[1] if len(softmax.args) > 1 else softmax.kwargs.get("dim")
        if len(shape) < 3 or dim not in (-1, len(shape) - 1):
            return None
        before = self._scores(softmax.args[0])
        after = _shares_times_values(softmax)
        if before is None or after is None:
            return None
        scores, between, masks = before
        *passed, product = after
        query, key = scores.args[-2:] if name_of(scores.target) == "baddbmm" else scores.args[:2]
        if name_of(scores.target) == "baddbmm":
            masks = [*masks, scores.args[0]]
        inner = [scores, *between, softmax, *passed, product]
        if any(len(_readers(n)) != 1 for n in inner[:-1]):
            return None
        return self._attention([scores, product], query, key, product.args[1], masks, inner)

    def _scores(self, node: Any) -> tuple[Any, list[Any], list[Any]] | None:
        """Product that makes the scores, what is done to them in reverse order, and what they meet."""
        if node.op != "call_function":
            return None
        name = name_of(node.target)
        if name in PRODUCTS:
            return node, [], []
        if name not in ON_SCORES:
            return None
        ways = [(before, found) for before in node.all_input_nodes if (found := self._scores(before))]
        if len(ways) != 1:
            return None
        before, (product, between, met) = ways[0]
        return product, [node, *between], [*met, *(n for n in node.all_input_nodes if n is not before)]

    def _attention(
        self, products: list[Any], query: Any, key: Any, value: Any, met: list[Any], inner: list[Any]
    ) -> Fused | None:
        both = WEIGHTS | INPUTS
        if not all(self.behind[n] & INPUTS for n in (key, value)) or any(self.behind[n] == both for n in met):
            return None  # a product with weights; or what scores meet is computed as they are
        biases = [n for n in met if self.behind[n] == WEIGHTS]
        output, passed = _laid_out(inner[-1])
        stored = [_before_repeats(n) for n in (key, value)]
        grown = {n: pieces for n in stored if (pieces := _cache(n))}
        return Fused(
            products=tuple(products),
            reads=(query, *(piece for n in stored for piece in grown.get(n, [n])), *biases),
            grown={n.name: pieces[1] for n, pieces in grown.items()},
            inner=frozenset(n.name for n in (*inner, *passed)),
            output=output,
        )


def _shares_times_values(softmax: Any) -> list[Any] | None:
    """Return the calls from a softmax to its product with the values."""
    node = softmax
    out: list[Any] = []
    while True:
        readers = _readers(node)
        if len(readers) != 1 or readers[0].op != "call_function":
            return None
        (reader,) = readers
        name = name_of(reader.target)
        if name in PRODUCTS - {"baddbmm"}:
            return [*out, reader] if reader.args[0] is node and reader.args[1] is not node else None
        if name not in ON_SHARES or (reader.args[0] is not node and name != "where"):
            return None
        out.append(reader)
        node = reader


def _before_repeats(node: Any) -> Any:
    """Call whose result is repeated for a product; the one itself where it is not."""
    found = node
    while node.op == "call_function":
        name = name_of(node.target)
        if name in REPEATS or (name == "clone" and _is_repeated(node.args[0])):
            found = node.args[0]
        elif name not in VIEWS:
            return node if _cache(node) else found
        node = node.args[0]
    return found


def _cache(node: Any) -> list[Any]:
    """Return the input of the model that a call appends to, and what it appends; nothing for others."""
    if node.op != "call_function" or name_of(node.target) != "cat" or len(node.args[0]) != 2:
        return []
    return list(node.args[0]) if node.args[0][0].op == "placeholder" else []


def _is_repeated(node: Any) -> bool:
    tensor = node.meta["val"]
    return any(s == 0 and n != 1 for n, s in zip(tensor.shape, tensor.stride(), strict=True))


def _laid_out(node: Any) -> tuple[Any, list[Any]]:
    """Last of the views and of the copy that bring a result to the layout in which it is read."""
    passed: list[Any] = []
    at = node
    while True:
        readers = _readers(at)
        if len(readers) != 1 or readers[0].op != "call_function":
            return node, []
        (at,) = readers
        passed.append(at)
        name = name_of(at.target)
        if name == "clone":
            return at, passed
        if name not in VIEWS:
            return node, []


def _shape(node: Any) -> list[int]:
    return [int(n) for n in node.meta["val"].shape]


def _given(node: Any) -> dict[str, Any]:
    """Arguments of a call by name."""
    names = (a.name for a in node.target._schema.arguments)
    return {**dict(zip(names, node.args, strict=False)), **node.kwargs}


def _readers(node: Any) -> list[Any]:
    return [user for user in node.users if not _is_check(user)]


def _is_check(node: Any) -> bool:
    """Whether a call only checks what its argument is."""
    return node.op == "call_function" and name_of(node.target) == "_assert_tensor_metadata"
