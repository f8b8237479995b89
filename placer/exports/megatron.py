"""Flags of Megatron-core: the layout of the pipeline, degrees, microbatches.

The layout has a letter for each layer: ``E`` embedding, ``t`` decoder layer, ``L`` loss, which stands for all
that follows the layers; ``|`` begins a stage, and ``t*4`` is ``tttt``.  Stage s is on rank s mod P, so that a
layout of V·P stages has V virtual ones on each rank.  Embedding and loss are always on the first and the last
stage.  Where all stages but the first and the last have equally many layers, older flags say the same.
Source: Megatron-LM, ``PipelineParallelLayerLayout`` and ``megatron/training/arguments.py``.
"""

from __future__ import annotations

import shlex
from collections.abc import Sequence
from pathlib import Path

from placer.errors import UsageError
from placer.exports.placement import Placement
from placer.exports.training_pipeline import TrainingPipeline, training_pipeline

__all__ = ["flags", "layout", "write"]

TARGET = "megatron"


def write(placement: Placement, path: Path) -> list[str]:
    """Write an array of arguments that a shell can source."""
    pipeline, remarks = training_pipeline(placement, TARGET)
    arguments, more = flags(pipeline)
    lines = [f"# {line}" for line in pipeline.head]
    lines += [
        '# source it, then: torchrun ... pretrain_gpt.py "${PLACER_ARGS[@]}" and the rest',
        "PLACER_ARGS=(",
    ]
    lines += [f"  {shlex.join(words)}" for words in arguments]
    path.write_text("\n".join([*lines, ")"]) + "\n", encoding="utf-8")
    return remarks + more


def flags(pipeline: TrainingPipeline) -> tuple[list[list[str]], list[str]]:
    """Return the flags, each with its value, and remarks.

    Raises
    ------
    UsageError
        When Megatron cannot run the plan.
    """
    pipeline.check_one_f_one_b()
    mode, group = pipeline.mode, pipeline.group
    if mode.zero > 1 and mode.replicas > 1:
        raise UsageError(
            f"{TARGET} cannot express this plan: its pipelines share out the state of the optimizer, but not "
            "gradients (plan with --zero 0,1)"
        )
    found: list[list[str]] = [
        ["--tensor-model-parallel-size", str(mode.shards)],
        ["--pipeline-model-parallel-size", str(pipeline.ranks)],
        *_stages(pipeline),
    ]
    if group.sequence_parallel and mode.shards > 1:
        found.append(["--sequence-parallel"])
    if pipeline.samples is not None:
        found.append(["--micro-batch-size", str(pipeline.samples)])
        found.append(["--global-batch-size", str(pipeline.global_batch)])
    if mode.zero and mode.replicas > 1:
        found.append(["--use-distributed-optimizer"])
    if group.apart and mode.replicas > 1:
        found.append(["--use-tp-pp-dp-mapping"])
    if pipeline.recomputes():
        largest = max(pipeline.stack.counts)
        found.append(["--recompute-granularity", "full"])
        found.append(["--recompute-method", "uniform"])
        found.append(["--recompute-num-layers", str(largest)])
    remarks = pipeline.at_the_ends()
    remarks += pipeline.unknown_samples("--micro-batch-size and --global-batch-size")
    return found, remarks


def layout(counts: Sequence[int]) -> str:
    """Write a layout down.

    Parameters
    ----------
    counts
        Layers of each (virtual) stage, in pipeline order.
    """
    letters = [f"t*{count}" if count > 1 else "t" * count for count in counts]
    letters[0] = f"E{letters[0]}"
    letters[-1] = f"{letters[-1]}L"
    return "|".join(letters)


def _stages(pipeline: TrainingPipeline) -> list[list[str]]:
    """Say how many layers each stage has, in the oldest words that can."""
    counts = pipeline.stack.counts
    if len(counts) == 1:
        return []
    first, *between, last = counts
    if pipeline.chunks > 1 or len(set(between)) > 1 or not all(counts):
        return [["--pipeline-model-parallel-layout", layout(counts)]]
    if len(set(counts)) == 1:
        return []
    return [
        ["--decoder-first-pipeline-num-layers", str(first)],
        ["--decoder-last-pipeline-num-layers", str(last)],
    ]
