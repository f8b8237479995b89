"""How many of a model's repeated layers each device takes, as inference servers want to know it.

``VLLM_PP_LAYER_PARTITION`` and ``SGLANG_PP_LAYER_PARTITION`` list the layers of each pipeline rank and add
up to the number of layers; embeddings go to the first rank and the head to the last.  llama.cpp's
``--tensor-split`` shares the layers *and the output* in proportion, so its last count is one larger.  Source:
vLLM and SGLang, ``get_pp_indices``; llama.cpp, ``load_tensors``.
"""

from __future__ import annotations

from pathlib import Path

from placer.errors import UsageError
from placer.exports.layer_stack import layer_stack, outside
from placer.exports.placement import Placement

__all__ = ["layer_counts", "write"]


def write(placement: Placement, path: Path) -> list[str]:
    """Write environment variables, one a line, that a shell can source."""
    counts, remarks = layer_counts(placement)
    lines = [
        f"# vLLM, SGLang: {sum(counts)} layers on {len(counts)} pipeline ranks",
        f"VLLM_PP_LAYER_PARTITION={','.join(map(str, counts))}",
        f"SGLANG_PP_LAYER_PARTITION={','.join(map(str, counts))}",
        "# llama.cpp, -ts and -ngl: the layers, and the output, which counts as one more",
        f"LLAMA_ARG_TENSOR_SPLIT={','.join(map(str, [*counts[:-1], counts[-1] + 1]))}",
        f"LLAMA_ARG_N_GPU_LAYERS={sum(counts) + 1}",
    ]
    path.write_text("\n".join(lines) + "\n", encoding="utf-8")
    return remarks


def layer_counts(placement: Placement) -> tuple[list[int], list[str]]:
    """Count the layers of each stage.

    Returns
    -------
    (list of int, list of str)
        Layers per stage, and remarks.

    Raises
    ------
    UsageError
        When the plan is no chain of accelerators, the model has no repeated layers, one is split, or there
        is no memory for what a server puts on the first and the last device.
    """
    parts = placement.chain("layer-counts")
    devices = [placement.part_device(part) for part in parts]
    for device in devices:
        if device.is_host:
            raise UsageError(f"layer-counts cannot express this plan: {device.name} is no accelerator")
    names = [device.name for device in devices]
    stack = layer_stack(placement, [part.nodes for part in parts], names, "layer-counts")
    before, after = outside(placement, stack)
    remarks = placement.run_elsewhere(
        dict.fromkeys(before, devices[0].index) | dict.fromkeys(after, devices[-1].index),
        "layer-counts",
        "servers keep what is before the layers on the first device, what is after on the last",
    )
    remarks = [f"layers of {stack.name!r}; ranks in order are {', '.join(names)}", *remarks]
    for name, count in zip(names, stack.counts, strict=True):
        if not count:
            remarks.append(
                f"the rank on {name} holds no layers, which servers may refuse; plan without it "
                f"(--forbid '*={name}')"
            )
    return stack.counts, remarks
