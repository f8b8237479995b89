"""Settings of torchtitan: modules of each model part, degrees and batches, as TOML.

Its decoders consist of ``tok_embeddings``, ``layers.0`` and so on, ``norm`` and ``lm_head``.  Part s of the
list is on pipeline rank s mod P.  Source: torchtitan, ``ParallelismConfig``, ``TrainingConfig`` and
``pipeline_llm``.
"""

from __future__ import annotations

import json
from pathlib import Path

from placer.errors import UsageError
from placer.exports.placement import Placement
from placer.exports.training_pipeline import TrainingPipeline, training_pipeline
from placer.options import Schedule

__all__ = ["module_parts", "settings", "write"]

TARGET = "torchtitan"
Table = dict[str, object]


def write(placement: Placement, path: Path) -> list[str]:
    """Write two tables that hold fields of torchtitan's configuration."""
    pipeline, remarks = training_pipeline(placement, TARGET)
    tables, more = settings(pipeline)
    lines = [f"# {line}" for line in pipeline.head]
    for name, table in tables.items():
        lines += ["", f"[{name}]"]
        for key, value in table.items():
            lines.append(f"{key} = {_shown(value)}")
    path.write_text("\n".join(lines) + "\n", encoding="utf-8")
    return remarks + more


def _shown(value: object) -> str:
    """Write a value down: strings, numbers, flags and lists of them are alike in JSON and TOML."""
    if isinstance(value, list) and value and isinstance(value[0], list):
        return "[\n" + "".join(f"  {json.dumps(own)},\n" for own in value) + "]"
    return json.dumps(value)


def settings(pipeline: TrainingPipeline) -> tuple[dict[str, Table], list[str]]:
    """Return the tables ``parallelism`` and ``training``, and remarks.

    Raises
    ------
    UsageError
        When torchtitan cannot run the plan.
    """
    mode, group, remarks = pipeline.mode, pipeline.group, pipeline.unknown_samples("the batch sizes")
    shared = mode.zero > 0 and mode.replicas > 1
    parallelism: Table = {
        "data_parallel_replicate_degree": 1 if shared else mode.replicas,
        "data_parallel_shard_degree": mode.replicas if shared else 1,
        "tensor_parallel_degree": mode.shards,
        "enable_sequence_parallel": group.sequence_parallel,
        "pipeline_parallel_degree": pipeline.ranks,
    }
    training: Table = {}
    if pipeline.ranks > 1:
        parallelism["pipeline_parallel_schedule"] = _schedule(pipeline)
        parallelism["module_fqns_per_model_part"] = module_parts(pipeline)
    if pipeline.samples is not None:
        local = pipeline.samples
        if pipeline.ranks > 1:
            parallelism["pipeline_parallel_microbatch_size"] = local
            local *= pipeline.microbatches
        training = {"local_batch_size": local, "global_batch_size": pipeline.global_batch}
    if shared:
        what = "optimizer state" + " and gradients" * (mode.zero > 1)
        remarks.append(f"the plan shares out {what} over replicas, torchtitan (FSDP) weights as well")
    if group.apart and mode.replicas > 1:
        remarks.append(
            "the plan has the replicas of a stage in different servers, torchtitan near each other: "
            "a step may take longer"
        )
    if pipeline.recomputes():
        remarks.append("the plan recomputes activations on all stages: choose full activation checkpointing")
    return {"parallelism": parallelism, "training": training}, remarks


def module_parts(pipeline: TrainingPipeline) -> list[list[str]]:
    """Return the modules of each (virtual) stage, in pipeline order, by torchtitan's names.

    Raises
    ------
    UsageError
        When a stage would be empty, or weights are shared by both ends of the pipeline.
    """
    instance = pipeline.placement.instance
    before, after = pipeline.ends()
    weights = [
        {name for v in ends if (o := instance.origin[v]) is not None for name in o.parameters}
        for ends in (before, after)
    ]
    if tied := weights[0] & weights[1]:
        raise UsageError(
            f"{TARGET} cannot express this plan: {min(tied)} is used before the layers and after them, "
            "and it runs no pipeline with tied weights"
        )
    stage = {v: s for s, nodes in enumerate(pipeline.stages) for v in nodes}
    first = [("tok_embeddings", v) for v in before]
    last = [("norm", v) for v in after[:-1]] + [("lm_head", v) for v in after[-1:]]
    where: dict[str, int] = {}
    for name, v in first + last:
        if where.setdefault(name, stage[v]) != stage[v]:
            both = " and ".join(pipeline.names[s] for s in (where[name], stage[v]))
            raise UsageError(f"{TARGET} cannot express this plan: {name} would be split over {both}")
    if len(after) == 1:
        where = {"norm": stage[after[0]], **where}
    parts = [[f"layers.{number}" for number in own] for own in pipeline.stack.layers]
    if "tok_embeddings" in where:
        parts[where["tok_embeddings"]].insert(0, "tok_embeddings")
    for name in ("norm", "lm_head"):
        if name in where:
            parts[where[name]].append(name)
    for s, part in enumerate(parts):
        if not part:
            raise UsageError(
                f"{TARGET} cannot express this plan: {pipeline.names[s]} would have nothing to train"
            )
    return parts


def _schedule(pipeline: TrainingPipeline) -> str:
    if pipeline.schedule is Schedule.GPIPE:
        return "GPipe"
    return "1F1B" if pipeline.chunks == 1 else "Interleaved1F1B"
