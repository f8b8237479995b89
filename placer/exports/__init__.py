"""The formats that plans are exported to, by name.

Each is a function ``(placement, path) -> remarks`` that writes one file or one folder; modules are imported
when they are used, because some need optional packages.
"""

from __future__ import annotations

from dataclasses import dataclass
from importlib import import_module
from pathlib import Path
from typing import TYPE_CHECKING, Protocol, cast

if TYPE_CHECKING:
    from placer.exports.placement import Placement

__all__ = ["FORMATS", "Export", "ExportInfo", "load_export"]


class Export(Protocol):
    """An export: takes a placement and a path that does not exist yet, and writes there."""

    def __call__(self, placement: Placement, path: Path) -> list[str]:
        """Write, and return what the user should know about the file.

        Raises
        ------
        UsageError
            When the format cannot express the plan, or something it needs is missing.
        """


@dataclass(frozen=True)
class ExportInfo:
    """A format in the registry."""

    name: str
    summary: str
    where: str
    """``"module:function"``."""
    sources: tuple[str, ...] = ()
    """Kinds of models that it is for; none for any."""
    is_folder: bool = False
    needs_model: bool = False
    knows_replicas: bool = False
    """Whether it can say that several devices share a stage."""
    knows_shards: bool = False
    """Whether it can say that they split its nodes."""
    knows_recompute: bool = False
    """Whether it says which stages recompute their activations."""


FORMATS: dict[str, ExportInfo] = {
    info.name: info
    for info in (
        ExportInfo(
            "device-map",
            "Hugging Face device_map (accelerate, transformers)",
            "placer.exports.device_map:write",
            sources=("torch", "hf"),
        ),
        ExportInfo(
            "torch-split",
            "split points for torch.distributed.pipelining",
            "placer.exports.torch_split:write",
            sources=("torch",),
            knows_recompute=True,
        ),
        ExportInfo(
            "megatron",
            "flags of Megatron-core for training: layout of the pipeline, degrees, microbatches",
            "placer.exports.megatron:write",
            knows_replicas=True,
            knows_shards=True,
            knows_recompute=True,
        ),
        ExportInfo(
            "torchtitan",
            "settings of torchtitan: modules of each model part, degrees, batches",
            "placer.exports.torchtitan:write",
            knows_replicas=True,
            knows_shards=True,
            knows_recompute=True,
        ),
        ExportInfo(
            "deepspeed",
            "stages of a PipelineModule, topology and configuration of DeepSpeed",
            "placer.exports.deepspeed:write",
            knows_replicas=True,
            knows_shards=True,
            knows_recompute=True,
        ),
        ExportInfo(
            "layer-counts",
            "layers per device, for vLLM, SGLang and llama.cpp",
            "placer.exports.layer_counts:write",
        ),
        ExportInfo(
            "onnx",
            "the model with device and pipeline stage on every node (needs --model)",
            "placer.exports.onnx_annotated:write",
            sources=("onnx",),
            needs_model=True,
        ),
        ExportInfo(
            "onnx-runtime",
            "the model annotated with accelerator or host, for ONNX Runtime (needs --model)",
            "placer.exports.onnx_runtime:write",
            sources=("onnx",),
            needs_model=True,
        ),
        ExportInfo(
            "onnx-parts",
            "a folder with one sub-model per part and a manifest (needs --model)",
            "placer.exports.onnx_parts:write",
            sources=("onnx",),
            is_folder=True,
            knows_replicas=True,
            needs_model=True,
        ),
        ExportInfo(
            "dot",
            "Graphviz, one box per device",
            "placer.exports.dot:write",
            knows_replicas=True,
            knows_shards=True,
            knows_recompute=True,
        ),
        ExportInfo(
            "graphml",
            "GraphML, for graph tools",
            "placer.exports.graphml:write",
            knows_replicas=True,
            knows_shards=True,
            knows_recompute=True,
        ),
        ExportInfo(
            "csv",
            "one row per node, for spreadsheets",
            "placer.exports.table:write",
            knows_replicas=True,
            knows_shards=True,
            knows_recompute=True,
        ),
        ExportInfo("paper-json", "the paper's result format", "placer.exports.paper_json:write"),
    )
}


def load_export(name: str) -> Export:
    """Import the export called ``name``."""
    module, function = FORMATS[name].where.split(":")
    return cast(Export, getattr(import_module(module), function))
