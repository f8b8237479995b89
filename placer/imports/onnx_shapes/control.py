"""Operators with graphs inside: which of them run, how often, and what comes out.

- ``If``: the branch of a condition that is known; of an unknown one the costlier.
- ``Loop``: followed pass by pass on what is known, so that a counter in the model ends it; otherwise as often
  as its limit says, or as the user does.
- ``Scan``, ``SequenceMap``: once per slice or element.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from typing import Any, Protocol

from placer.errors import InputError
from placer.imports.onnx_shapes.branches import BRANCHES, branch
from placer.imports.onnx_shapes.tensors import Dims, Tensor
from placer.imports.onnx_shapes.traced import Step, Trace, first_output, undecided

__all__ = ["CONTROL", "Tracing"]

ENDLESS = 2**31
"""Limits from here on are none: exporters write the largest number for ``while``."""
SIMULATED = 200_000
"""Operators up to which the passes of a loop are followed one by one."""


class Tracing(Protocol):
    """What follows a graph (`placer.imports.onnx_shapes.tracer.Tracer`)."""

    notes: list[str]
    unfit: list[InputError]
    passes: Mapping[str, int]
    cost: Callable[[Trace], float]

    def trace(
        self,
        graph: Any,
        inputs: dict[str, Tensor],
        outer: Trace | None,
        memo: dict[Any, Any] | None = None,
    ) -> Trace:
        """Follow a graph."""


def _attributes(node: Any) -> dict[str, Any]:
    from onnx import helper

    return {a.name: helper.get_attribute_value(a) for a in node.attribute}


def _either(
    tracing: Tracing, outer: Trace, node: Any, read: Sequence[Tensor | None]
) -> tuple[Step, list[Tensor]]:
    """Follow both branches; the costlier one counts."""
    traces: list[Trace | None] = []
    for which in BRANCHES:
        try:
            traces.append(tracing.trace(branch(node, which), {}, outer))
        except InputError as error:  # it may not be meant for these sizes
            traces.append(None)
            tracing.unfit.append(error)
    costs = [-1.0 if trace is None else tracing.cost(trace) for trace in traces]
    best = costs.index(max(costs))
    if (taken := traces[best]) is None:
        raise tracing.unfit[-1]
    deciding = undecided(outer, node.input[0])
    rest = f"; --value {deciding[0]}=N decides it" if deciding else ""
    name, other = BRANCHES[best].removesuffix("_branch"), max(costs[1 - best], 0.0)
    tracing.notes.append(
        f"If {first_output(node)!r}: its condition is known only when the model runs, so it counts as one "
        f"operator with its costlier branch ({name}: {costs[best]:.3g} FLOPs, against {other:.3g}){rest}"
    )
    return Step(node, [(taken, 1)]), taken.results()


def _loop(
    tracing: Tracing, outer: Trace, node: Any, read: Sequence[Tensor | None]
) -> tuple[Step, list[Tensor]]:
    import numpy as np

    body = _attributes(node)["body"]
    names = [info.name for info in body.input]
    limit = read[0].integer() if read and read[0] is not None else None
    stated = tracing.passes.get(first_output(node), tracing.passes.get("", -1))
    limit = limit if stated < 0 and limit is not None and limit < ENDLESS else stated if stated >= 0 else None
    begin = read[1] if len(read) > 1 else None
    state = [t or Tensor() for t in read[2:]]
    counted = node.input[0] != "" if node.input else False
    if (limit == 0) or (begin is not None and begin.value is not None and not begin.value.all()):
        return _none_of(tracing, outer, node, body, state)
    bodies: list[tuple[Trace, int]] = []
    done = work = 0
    memo: dict[Any, Any] = {}
    while True:
        now = [Tensor(7, (), np.array(done, np.int64)), Tensor(9, (), np.array(True)), *state]
        inner = tracing.trace(body, dict(zip(names, now, strict=False)), outer, memo)
        results = inner.results()
        cond, after = results[0], results[1 : 1 + len(state)]
        if bodies and bodies[-1][0].alike(inner):
            bodies[-1] = (bodies[-1][0], bodies[-1][1] + 1)
        else:
            bodies.append((inner, 1))
        done, work = done + 1, work + len(inner.steps)
        goes_on = None if cond.value is None or stated >= 0 else bool(cond.value.all())
        if goes_on is False or done == limit:
            break
        if goes_on and limit is None and _always_decides_alike(body):
            raise _endless(outer, node)
        steady = not counted and all(a.same(b) for a, b in zip(state, after, strict=True))
        state = after
        if goes_on and not steady and work <= SIMULATED:
            continue
        if limit is None:
            raise _endless(outer, node)
        if goes_on is None and stated < 0:
            tracing.notes.append(
                f"Loop {first_output(node)!r} may end before its limit of {limit} passes, which count"
            )
        if steady or work > SIMULATED:
            bodies[-1] = (bodies[-1][0], bodies[-1][1] + limit - done)
            done = limit
            break
    scanned = [_stacked(t, done) for t in results[1 + len(state) :]]
    return Step(node, bodies), [*after, *scanned]


def _always_decides_alike(body: Any) -> bool:
    """Whether no pass of a loop decides anything: its condition is passed through, or is a constant."""
    made = {name: inner for inner in body.node for name in inner.output}
    name = body.output[0].name
    while name in made and made[name].op_type == "Identity":
        name = made[name].input[0]
    constant = name in made and made[name].op_type == "Constant"
    return constant or name == body.input[1].name or any(name == given.name for given in body.initializer)


def _none_of(
    tracing: Tracing, outer: Trace, node: Any, body: Any, state: list[Tensor]
) -> tuple[Step, list[Tensor]]:
    """No pass at all: what comes out is what went in, and nothing is stacked."""
    names = [info.name for info in body.input]
    inner = tracing.trace(body, dict(zip(names, [Tensor(7, ()), Tensor(9, ()), *state], strict=False)), outer)
    return Step(node), [*state, *(_stacked(t, 0) for t in inner.results()[1 + len(state) :])]


def _endless(outer: Trace, node: Any) -> InputError:
    name = first_output(node)
    deciding = [source for key in node.input[:2] if key for source in undecided(outer, key)]
    values = f"--value {deciding[0]}=N, or " if deciding else ""
    return InputError(
        f"how often this Loop runs is known only when the model does; give {values}--passes {name}=N",
        place=f"operator {name!r}",
    )


def _stacked(tensor: Tensor, count: int) -> Tensor:
    return Tensor(tensor.kind, None if tensor.dims is None else (count, *tensor.dims))


def _scan(
    tracing: Tracing, outer: Trace, node: Any, read: Sequence[Tensor | None]
) -> tuple[Step, list[Tensor]]:
    attributes = _attributes(node)
    body, sliced = attributes["body"], int(attributes["num_scan_inputs"])
    old = len(node.input) == len(body.input) + 1  # operator set 8: lengths first, then batches of sequences
    given = [t or Tensor() for t in (read[1:] if old else read)]
    state, scanned = given[: len(given) - sliced], given[len(given) - sliced :]
    axes = attributes.get("scan_input_axes", [0] * sliced)
    outputs = len(body.output) - len(state)
    places = attributes.get("scan_output_axes", [0] * outputs)
    batch: Dims = ()
    if old:
        dims = scanned[0].dims
        batch = (None,) if dims is None else dims[:1]
        drop = [Tensor(t.kind, None if t.dims is None else t.dims[1:]) for t in (*state, *scanned)]
        state, scanned = drop[: len(state)], drop[len(state) :]
    slices = [_without(t, int(axis)) for t, axis in zip(scanned, axes, strict=True)]
    first = scanned[0].dims
    count = None if first is None else first[int(axes[0]) % len(first)]
    if count is None or batch == (None,):
        raise InputError("how often this Scan runs is not known", place=f"operator {first_output(node)!r}")
    inner = tracing.trace(
        body, dict(zip((i.name for i in body.input), [*state, *slices], strict=False)), outer
    )
    results = inner.results()
    out = [Tensor(t.kind, None if t.dims is None else (*batch, *t.dims)) for t in results[: len(state)]]
    for tensor, place in zip(results[len(state) :], places, strict=True):
        stacked = tensor.dims
        if stacked is not None:
            at = int(place) % (len(stacked) + 1)
            stacked = (*batch, *stacked[:at], count, *stacked[at:])
        out.append(Tensor(tensor.kind, stacked))
    times = count * (batch[0] or 0) if batch else count
    return Step(node, [(inner, times)] if times else []), out


def _without(tensor: Tensor, axis: int) -> Tensor:
    dims = tensor.dims
    if dims is None or not dims:
        return Tensor(tensor.kind)
    axis %= len(dims)
    return Tensor(tensor.kind, (*dims[:axis], *dims[axis + 1 :]))


def _map(
    tracing: Tracing, outer: Trace, node: Any, read: Sequence[Tensor | None]
) -> tuple[Step, list[Tensor]]:
    body = _attributes(node)["body"]
    first = read[0]
    if first is None or first.elements is None:
        raise InputError("how long its sequence is, is not known", place=f"operator {first_output(node)!r}")
    bodies, results = [], []
    for k in range(len(first.elements)):
        now = [t if t is None or t.elements is None else t.elements[k] for t in read]
        inner = tracing.trace(
            body, {i.name: t or Tensor() for i, t in zip(body.input, now, strict=False)}, outer
        )
        bodies.append((inner, 1))
        results.append(inner.results())
    return Step(node, bodies), [
        Tensor(elements=tuple(r[i] for r in results)) for i in range(len(body.output))
    ]


CONTROL: dict[str, Callable[[Tracing, Trace, Any, Sequence[Tensor | None]], tuple[Step, list[Tensor]]]] = {
    "If": _either,
    "Loop": _loop,
    "Scan": _scan,
    "SequenceMap": _map,
}
