"""Stages and configuration for DeepSpeed: where each stage of a ``PipelineModule`` begins, and its topology.

A ``PipelineModule`` is a list of modules; stage s has those from ``parts[s]`` to ``parts[s + 1]``.  Source:
DeepSpeed, ``PipelineModule``, ``ProcessTopology`` and the documentation of its configuration.
"""

from __future__ import annotations

import json
from itertools import accumulate
from pathlib import Path

from placer.errors import UsageError
from placer.exports.placement import Placement
from placer.exports.training_pipeline import TrainingPipeline, training_pipeline

__all__ = ["plan_document", "write"]

TARGET = "deepspeed"


def write(placement: Placement, path: Path) -> list[str]:
    """Write modules, bounds of stages, topology and configuration as JSON."""
    pipeline, remarks = training_pipeline(placement, TARGET)
    document = plan_document(pipeline)
    path.write_text(json.dumps(document, indent=1, ensure_ascii=False) + "\n", encoding="utf-8")
    return remarks + pipeline.unknown_samples("the batch sizes to config")


def plan_document(pipeline: TrainingPipeline) -> dict[str, object]:
    """Return what the file says.

    Raises
    ------
    UsageError
        When DeepSpeed cannot run the plan.
    """
    mode = pipeline.mode
    pipeline.check_one_f_one_b()
    if pipeline.chunks > 1:
        raise UsageError(
            f"{TARGET} cannot express this plan: it knows no virtual stages (plan with --virtual-stages 1)"
        )
    if mode.zero > 1 and mode.replicas > 1 and pipeline.ranks > 1:
        raise UsageError(
            f"{TARGET} cannot express this plan: its pipelines share out the state of the optimizer, but not "
            "gradients (plan with --zero 0,1)"
        )
    stages = _modules(pipeline)
    axes = {"pipe": pipeline.ranks, "data": mode.replicas, "model": mode.shards}
    order = ["data", "pipe", "model"] if pipeline.group.apart else ["pipe", "data", "model"]
    config: dict[str, object] = {"gradient_accumulation_steps": pipeline.microbatches}
    if pipeline.samples is not None:
        config["train_micro_batch_size_per_gpu"] = pipeline.samples
        config["train_batch_size"] = pipeline.global_batch
    config["zero_optimization"] = {"stage": mode.zero if mode.replicas > 1 else 0}
    return {
        "format": "placer-deepspeed",
        "version": 1,
        "about": pipeline.head,
        "modules": [name for own in stages for name in own],
        "parts": [0, *accumulate(len(own) for own in stages)],
        "axes": order,
        "dims": [axes[axis] for axis in order],
        "activation_checkpoint_interval": max(map(len, stages)) if pipeline.recomputes() else 0,
        "config": config,
    }


def _modules(pipeline: TrainingPipeline) -> list[list[str]]:
    """Modules of each stage: those before the layers, the layers, those after."""
    instance = pipeline.placement.instance
    stage = {v: s for s, nodes in enumerate(pipeline.stages) for v in nodes}
    before, after = (
        [((o.module or "") if (o := instance.origin[v]) is not None else "", stage[v]) for v in ends]
        for ends in pipeline.ends()
    )
    layers = [
        (f"{pipeline.stack.name}.{number}", s)
        for s, own in enumerate(pipeline.stack.layers)
        for number in own
    ]
    where: dict[str, int] = {}
    last, latest = "", 0
    for name, s in before + layers + after:
        if where.setdefault(name, s) != s or s < latest:
            there = pipeline.names[latest]
            raise UsageError(
                f"{TARGET} cannot express this plan: {name} is on {pipeline.names[s]}, {last} before it on "
                f"{there}, and a stage is a range of modules"
            )
        last, latest = name, s
    return [[name for name, at in where.items() if at == s] for s in range(len(pipeline.stages))]
