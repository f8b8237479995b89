"""Writing the plan of ``placer serve`` for an instance, whose nodes are operators of a model."""

from __future__ import annotations

from pathlib import Path

from placer.errors import InputError, UsageError
from placer.exports.onnx_runtime import annotate
from placer.formats.files import load
from placer.formats.replace import replaced_file
from placer.formats.text import check_writable
from placer.instance.instance import Instance
from placer.serving.serve import served
from placer.serving.serving_check import violations
from placer.serving.serving_plan import ServingResult

__all__ = ["INSTANCE_FORMATS", "export_served_instance"]

INSTANCE_FORMATS = ("onnx-runtime",)
"""Formats that need the instance, since answers name its nodes."""


def export_served_instance(
    result: ServingResult,
    to: str,
    out: str | Path,
    *,
    source: str,
    model: str | Path | None,
    instance: Instance | str | Path | None,
) -> list[str]:
    """Write the plan of an answer, verified against its instance.

    Parameters
    ----------
    result, to, out, source
        As of `placer.exports.server_export.export_serving`; ``to`` is one of `INSTANCE_FORMATS`.
    model, instance
        The model, and the instance that was imported from it.

    Returns
    -------
    list of str
        Remarks.

    Raises
    ------
    InputError
        When there is no plan, it does not hold, or a file cannot be read.
    UsageError
        When something is missing, or the format cannot express the plan.
    """
    if instance is None:
        raise UsageError(
            f"export to {to} needs the instance of an ONNX model (--instance): the nodes of a configuration "
            "or a GGUF file are blocks, no operators"
        )
    if model is None:
        raise UsageError(f"export to {to} needs the model: --model MODEL.onnx")
    if result.plan is None:
        raise InputError(f"there is no plan to export: {result.message or result.status}", source=source)
    graph = instance if isinstance(instance, Instance) else load(str(instance))
    if graph.source is None or graph.source.kind != "onnx":
        raise UsageError(f"{to} is for onnx models, and {graph.name} was not imported from one")
    made, _ = served(graph, None, result.request)
    if broken := violations(made, result):
        raise InputError(f"not exported, the answer does not hold: {broken[0]}", source=source)
    stages = result.plan.stages
    if any(len(stage.devices) > 1 for stage in stages):
        raise UsageError(f"{to} cannot express this plan: a stage has shards or replicas")
    device = {device.name: device for device in graph.devices}
    number = {name: v for v, name in enumerate(graph.ids)}
    where = {number[name]: device[stage.devices[0]] for stage in stages for name in stage.nodes}
    check_writable(out, source, str(model))
    with replaced_file(out) as path:
        return annotate(graph, where, str(model), path)
