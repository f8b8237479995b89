"""From a model and what a user says of its inputs to what runs, with all shapes."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from typing import Any

from placer.errors import PlacerError
from placer.imports.onnx_shapes.dims import missing, set_dims
from placer.imports.onnx_shapes.observe import observed_shapes
from placer.imports.onnx_shapes.tensors import Dims
from placer.imports.onnx_shapes.traced import Trace
from placer.imports.onnx_shapes.tracer import Tracer

__all__ = ["follow"]

RUNS = 3
"""Runs of the model at most: shapes that one shows may decide what others depend on."""
TRIED_OPERATORS = 20_000
"""Operators up to which a suggested size is tried out."""


def follow(
    model: Any,
    dims: Mapping[str, int],
    values: Mapping[str, Sequence[float]],
    passes: Mapping[str, int],
    *,
    run: bool,
    cost: Callable[[Trace], float],
) -> tuple[Trace, list[str]]:
    """Find the operators that run and the shapes of all tensors.

    Parameters
    ----------
    model
        The model; sizes of its inputs are set in place.
    dims, values, passes
        Sizes by symbol or ``input:axis``, numbers of inputs, passes of loops.
    run
        Whether ONNX Runtime, if it is there, may run the model to see shapes that do not follow otherwise.
    cost
        Cost of a branch; the costlier counts where a condition is not known.

    Returns
    -------
    tuple[Trace, list of str]
        What runs, and what the user should know.

    Raises
    ------
    InputError, UsageError
        When sizes are missing, all of which are named, or settings do not fit.
    """
    open_dims, changed = set_dims(model, dims, values)

    def tracer(observed: Mapping[str, Dims]) -> Tracer:
        return Tracer(
            model, dims=dims, values=values, passes=passes, observed=observed, stated=not changed, cost=cost
        )

    if open_dims:
        raise missing(open_dims, dims, lambda: _runs(model, tracer))
    observed: dict[str, Dims] = {}
    remark = ""
    for _ in range(RUNS):
        following = tracer(observed)
        trace = following.run()
        open_names = _unknown(trace)
        if open_names and (beside := _beside(model)):
            remark = f"; sizes may be stored beside the model, such as {beside!r}: --external-data reads them"
            break
        if not open_names or not run:
            break
        seen, remark = observed_shapes(model, trace, open_names)
        if not seen.keys() - observed.keys():
            break
        observed |= seen
    trace.remark = remark
    return trace, [*_settings(dims, values), *dict.fromkeys(following.notes), *_seen(observed)]


def _settings(dims: Mapping[str, int], values: Mapping[str, Sequence[float]]) -> list[str]:
    notes = [f"dimension {name} = {size}" for name, size in dims.items()]
    return notes + [f"input {name} = {', '.join(f'{n:g}' for n in held)}" for name, held in values.items()]


def _seen(observed: Mapping[str, Dims]) -> list[str]:
    if not observed:
        return []
    return [
        f"shapes of {len(observed)} tensors do not follow from the sizes of the inputs; they were seen in a "
        "run on random numbers"
    ]


def _runs(model: Any, tracer: Callable[[Mapping[str, Dims]], Tracer]) -> bool:
    """Whether the sizes that are set fit the model, as far as can be said cheaply."""
    if len(model.graph.node) > TRIED_OPERATORS:
        return True
    following = tracer({})
    try:
        following.run()
    except PlacerError as error:
        return "do not fit" not in str(error)
    return not following.unfit


def _beside(model: Any) -> str | None:
    """Name of a tensor of sizes that lies in a file of its own."""
    from onnx import TensorProto

    tensors = [*model.graph.initializer]
    tensors += [a.t for node in model.graph.node if node.op_type == "Constant" for a in node.attribute]
    for tensor in tensors:
        if tensor.data_location == TensorProto.EXTERNAL and tensor.data_type == TensorProto.INT64:
            return next((entry.value for entry in tensor.external_data if entry.key == "location"), "")
    return None


def _unknown(trace: Trace) -> list[str]:
    """Names of tensors of the graph whose shape is not known."""
    made = (name for step in trace.steps for name in step.node.output if name)
    return [name for name in made if trace.tensors[name].shape is None]
