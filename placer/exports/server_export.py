"""Writing the plan of ``placer serve`` for the server that is to run it."""

from __future__ import annotations

import json
from pathlib import Path

from placer.choices import none_of
from placer.errors import InputError, UsageError
from placer.exports.device_map import Target, cover
from placer.exports.server_commands import RUNTIMES
from placer.formats.replace import replaced_file
from placer.formats.text import check_writable
from placer.language.configuration import read_configuration
from placer.language.language_model import LanguageModel
from placer.serving.serving_plan import ServingPlan, ServingResult

__all__ = ["SERVER_FORMATS", "export_serving", "serving_device_map"]

SERVER_FORMATS = {
    "vllm": "the command that starts vLLM",
    "sglang": "the command that starts SGLang",
    "llama.cpp": "the command that starts llama-server",
    "device-map": "Hugging Face device_map (needs --model)",
    "onnx-runtime": "the ONNX model of an instance, annotated (needs --instance, --model)",
}
"""What results of ``placer serve`` are written as."""


def export_serving(
    result: ServingResult, to: str, out: str | Path, *, source: str, model: str | Path | None = None
) -> list[str]:
    """Write the plan of an answer.

    Parameters
    ----------
    result
        The answer.
    to
        Name of the format (`SERVER_FORMATS`).
    out
        File to write, whole or not at all.
    source
        What errors call the answer; the file that is not overwritten.
    model
        What the server loads, the name in the answer by default; for a device map the configuration.

    Returns
    -------
    list of str
        Remarks: what the server does differently from the plan.

    Raises
    ------
    InputError
        When there is no plan, or a file cannot be read or written.
    UsageError
        When the server cannot express the plan, or something is missing.
    """
    if to not in SERVER_FORMATS:
        raise UsageError(none_of("serving format", to, SERVER_FORMATS))
    if result.plan is None:
        raise InputError(f"there is no plan to export: {result.message or result.status}", source=source)
    if to in RUNTIMES:
        text, remarks = RUNTIMES[to](result.plan, str(model or result.model))
    else:
        if model is None:
            raise UsageError(f"export to {to} needs the model's configuration: --model config.json")
        mapping = serving_device_map(result.plan, read_configuration(model))
        text = json.dumps(mapping, indent=1, ensure_ascii=False) + "\n"
        remarks = [
            "accelerate runs one device at a time; accelerators are numbered in the order of the stages"
        ]
    check_writable(out, source, model if to not in RUNTIMES else None)
    with replaced_file(out) as path:
        path.write_text(text, encoding="utf-8")
    return remarks


def serving_device_map(plan: ServingPlan, model: LanguageModel) -> dict[str, Target]:
    """Make a map of modules and parameters to accelerators, numbered as the stages are, and ``"cpu"``.

    Raises
    ------
    UsageError
        When stages have shards or replicas, nodes are not the model's blocks, or tied weights are apart.
    """
    if any(stage.shards > 1 or stage.replicas > 1 for stage in plan.stages):
        raise UsageError("device-map cannot express this plan: a stage has shards or replicas")
    numbers = iter(range(len(plan.stages)))
    where: dict[str, Target] = {}
    for stage in plan.stages:
        target: Target = "cpu" if stage.host else next(numbers)
        where.update(dict.fromkeys(stage.nodes, target))
    missing = next((b.module for b in model.blocks if b.module not in where), None)
    if missing is not None or len(where) != len(model.blocks):
        what = f"{missing!r} is not among its nodes" if missing else "it has nodes that the model has not"
        raise UsageError(f"device-map: the plan is not one of {model.name}: {what}")
    tensors: dict[str, set[Target]] = {}
    for block in model.blocks:
        for parameter in block.parameters:
            tensors.setdefault(parameter.name, set()).add(where[block.module])
    apart = next((name for name, at in tensors.items() if len(at) > 1), None)
    if apart is not None:
        raise UsageError(
            f"device-map cannot express this plan: the tied weight {apart!r} lies on two devices"
        )
    keys: dict[str, Target] = {}
    cover("", tensors, keys)
    return keys
