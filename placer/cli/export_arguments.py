"""What ``placer export`` accepts."""

from __future__ import annotations

from placer.cli.output import Command, file_name
from placer.exports import FORMATS
from placer.exports.server_export import SERVER_FORMATS

__all__ = ["add_export"]

EXAMPLES = """\
examples:
  placer export plan.json --to device-map --out device_map.json   for from_pretrained(..., device_map=...)
  placer export plan.json --to torch-split --out split.json       torch.distributed.pipelining
  placer export plan.json --to layer-counts --out layers.env      source it, then start vLLM or llama.cpp
  placer export plan.json --to megatron --out args.sh             source it, then start Megatron-core
  placer export plan.json --to torchtitan --out plan.toml         fields of its configuration
  placer export plan.json --to deepspeed --out plan.json          for a PipelineModule
  placer export plan.json --to onnx-parts --model model.onnx --out parts/
  placer export plan.json --to onnx-runtime --model model.onnx --out annotated.onnx
  placer export served.json --to vllm --out start.sh              of placer serve: vllm, sglang, llama.cpp
  placer export plan.json --to dot --out plan.dot                 dot -Tsvg plan.dot

The result is verified against its instance first. A plan that a format cannot express is refused with the
reason (exit code 2); what the other tool will do differently is said on standard error.
"""


def add_export(command: Command) -> None:
    """Add the command."""
    summaries = {name: f"{text}, of placer serve" for name, text in SERVER_FORMATS.items()}
    summaries |= {info.name: info.summary for info in FORMATS.values()}
    formats = "; ".join(f"{name}: {text}" for name, text in summaries.items())
    export = command(epilog=EXAMPLES)
    export.add_argument("result", metavar="RESULT", help="result of placer solve or placer serve")
    export.add_argument("--to", choices=list(summaries), required=True, metavar="FORMAT", help=formats)
    export.add_argument(
        "--out",
        type=file_name,
        required=True,
        metavar="FILE|FOLDER",
        help="file to write; onnx-parts: a new or empty folder",
    )
    export.add_argument(
        "--instance", metavar="INSTANCE", help="instance file (default: where it was solved from)"
    )
    export.add_argument(
        "--model",
        metavar="MODEL",
        help="the model of the instance, for onnx and onnx-parts; what a server loads, for its command",
    )
