"""How many of a model's repeated layers each device takes, as inference servers want to know it.

``VLLM_PP_LAYER_PARTITION`` and ``SGLANG_PP_LAYER_PARTITION`` list the layers of each pipeline rank and add
up to the number of layers; embeddings go to the first rank and the head to the last.  llama.cpp's
``--tensor-split`` shares the layers *and the output* in proportion, so its last count is one larger.  Source:
vLLM and SGLang, ``get_pp_indices``; llama.cpp, ``load_tensors``.
"""

from __future__ import annotations

import re
from collections import Counter
from pathlib import Path

import networkx as nx
import numpy as np

from placer.errors import UsageError
from placer.exports.placement import Placement

__all__ = ["layer_counts", "write"]

LAYER = re.compile(r"^(?P<stack>(?:.*\.)?(?:layers?|h|blocks?|blk|decoder_layers))\.(?P<number>\d+)(?:\.|$)")
"""Module path inside a repeated layer, such as ``model.layers.17.mlp`` or ``transformer.h.3``."""


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
    stage = {v: s for s, part in enumerate(parts) for v in part.nodes}
    found = {
        v: (match["stack"], int(match["number"]))
        for v, origin in placement.origins()
        if origin.module is not None and (match := LAYER.match(origin.module))
    }
    if not found:
        raise UsageError(
            "layer-counts needs repeated layers, and no node's module is like 'layers.0', 'h.0' or 'layer.0'"
        )
    numbers = Counter(stack for stack, _ in set(found.values()))
    stack, _ = numbers.most_common(1)[0]
    where: dict[int, int] = {}
    for v, (its, number) in found.items():
        if its == stack and where.setdefault(number, stage[v]) != stage[v]:
            both = " and ".join(devices[s].name for s in sorted({where[number], stage[v]}))
            raise UsageError(
                f"layer-counts cannot express this plan: {stack}.{number} is split over {both} "
                "(import the model with --by module)"
            )
    in_order = [where[number] for number in sorted(where)]
    if in_order != sorted(in_order):
        raise UsageError(
            "layer-counts cannot express this plan: the layers are not in the order of the devices"
        )
    ends = _ends(placement, {v for v, (its, _) in found.items() if its == stack})
    remarks = placement.run_elsewhere(
        ends,
        "layer-counts",
        "servers keep what is before the layers on the first device, what is after on the last",
    )
    counts = np.bincount(in_order, minlength=len(parts)).tolist()
    names = [device.name for device in devices]
    remarks = [f"layers of {stack!r}; ranks in order are {', '.join(names)}", *remarks]
    for name, count in zip(names, counts, strict=True):
        if not count:
            remarks.append(
                f"the rank on {name} holds no layers, which servers may refuse; plan without it "
                f"(--forbid '*={name}')"
            )
    return counts, remarks


def _ends(placement: Placement, layers: set[int]) -> dict[int, int]:
    """Device that a server gives the weights outside the layers: the first before them, the last after."""
    graph = nx.DiGraph(placement.instance.forward_edges.tolist())
    after = set().union(*(nx.descendants(graph, v) for v in layers if v in graph)) - layers
    first, last = (placement.part_device(placement.parts[s]).index for s in (0, -1))
    ends = {v: last if v in after else first for v, origin in placement.origins() if origin.parameters}
    return {v: device for v, device in ends.items() if v not in layers}
