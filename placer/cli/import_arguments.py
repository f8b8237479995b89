"""What ``placer import`` and ``devices`` accept."""

from __future__ import annotations

import argparse

from placer.cli.output import Command, unless_standard_output, whole_numbers
from placer.imports.attention import Attention
from placer.imports.granularity import Granularity
from placer.imports.language_work import CACHE_BYTES, Phase
from placer.imports.precision import PRECISIONS
from placer.instance.training import STATE_FACTOR, Optimizer
from placer.language.quantisation import FORMATS

__all__ = ["add_devices", "add_dim", "add_import"]

IMPORT_EXAMPLES = """\
sources:
  onnx       MODEL.onnx, or light:NAME for a model that comes with the onnx package (light:resnet50)
  torch      MODULE:FACTORY or FILE.py:FACTORY: a function that returns (module, example arguments); it is
             your code and runs, on the meta device, so that no weights are needed
  pipedream  graph.txt: a measured layer profile, a training graph unless --no-training
  hf         config.json of a language model of Hugging Face, or its folder: no weights, no torch
  gguf       MODEL.gguf of llama.cpp, of which the header alone is read; of a split file any part

examples:
  placer import onnx light:resnet50 --devices 4xt4 --out resnet.json
  placer import onnx model.onnx --dim batch=8 --devices a100:4,t4:2 --precision fp16 --out model.json
  placer import torch models.py:bert --devices 4xa100-nvlink --by module --training --out bert.json
  placer import hf Llama-3-70B/config.json --devices 4xa100-nvlink --phase decode --batch 16 --sequence 8192
                   --out model.json
  placer profile onnx model.onnx --dim batch=8 --type cpu-core --out times.csv
  placer import onnx model.onnx --dim batch=8 --devices 4xcpu-core --profile times.csv --out model.json

Times are modelled, max(FLOPs / (peak x efficiency), bytes / (bandwidth x efficiency)) + launch, a
multiply-add counting as two, unless --profile has measured ones. What the model could not say stands on
standard error and in the instance.
"""


def add_import(command: Command) -> None:
    """Add ``placer import``."""
    made = command(epilog=IMPORT_EXAMPLES)
    made.add_argument("kind", choices=("onnx", "torch", "pipedream", "hf", "gguf"), help="what kind of model")
    made.add_argument("source", metavar="SOURCE", help="the model (see below)")
    made.add_argument(
        "--devices",
        required=True,
        metavar="CLUSTER",
        help="a cluster of the catalogue (placer devices), DEVICE:COUNT,..., or FILE.toml[:NAME]",
    )
    made.add_argument(
        "--out",
        type=unless_standard_output,
        metavar="INSTANCE.json",
        help="write the instance to this file (default, or -: to standard output)",
    )
    made.add_argument("--name", help="name of the instance (default: that of the model)")
    made.add_argument(
        "--by",
        choices=[str(by) for by in Granularity],
        help="what becomes a node: an operator, a layer with what trails it, or a repeated block (default: "
        "operator); of language models attention, MLP, router, shared and routed experts of each layer "
        "(sublayer, the default), or these with each expert by itself (expert)",
    )
    made.add_argument(
        "--precision", choices=list(PRECISIONS), help="number format (default: that of the model's weights)"
    )
    made.add_argument(
        "--profile",
        action="append",
        default=[],
        metavar="[TYPE=]FILE",
        help="measured times: CSV with the columns node,type,ms, or a profile of ONNX Runtime (repeatable)",
    )
    made.add_argument(
        "--tied",
        choices=("copy", "colocate"),
        default="copy",
        help="operators that share a weight keep a copy each, or stay together (default: copy)",
    )
    made.add_argument(
        "--reserve",
        type=float,
        metavar="SHARE",
        help="share of each device's memory to keep free for what no plan counts (default: that of the "
        "cluster, 0.1)",
    )
    made.add_argument("--quiet", action="store_true", help="no notes on standard error")
    _add_costs(made)
    _add_onnx(made)
    _add_language(made)
    _add_split(made)
    _add_training(made)


def _add_costs(made: argparse.ArgumentParser) -> None:
    made.add_argument(
        "--allow-uncosted",
        action="append",
        default=[],
        metavar="OP,...",
        help="operators without a FLOP rule that may count as bytes alone, though they may be products",
    )
    made.add_argument(
        "--attention",
        choices=[str(way) for way in Attention],
        help="one kernel that keeps no scores and reads no mask and no repeated keys and values, or products "
        "and a softmax (default: fused; onnx, and torch with --profile: as the model has it)",
    )


def _add_language(made: argparse.ArgumentParser) -> None:
    language = made.add_argument_group("language models (hf, gguf)")
    language.add_argument(
        "--phase",
        choices=[str(phase) for phase in Phase],
        help="all tokens of the sequences at once, or one token more of each (default: prefill)",
    )
    for name, what in (
        ("batch", "sequences that pass together (default: 1)"),
        ("sequence", "tokens of each sequence (default: 2048, or as many as the model was made for)"),
        ("concurrency", "sequences whose keys and values are kept in memory (default: the batch)"),
    ):
        language.add_argument(f"--{name}", type=int, metavar="N", help=what)
    language.add_argument(
        "--cache",
        choices=list(CACHE_BYTES),
        help="format of keys and values (default: as activations)",
    )
    language.add_argument(
        "--logits",
        choices=("all", "last"),
        help="whether the head computes all tokens of a prefill, or the last alone (default: all)",
    )
    language.add_argument(
        "--weights",
        choices=list(FORMATS),
        help="hf: number format of the matrices in layers (default: quantization_config, or as activations)",
    )


def _add_split(made: argparse.ArgumentParser) -> None:
    split = made.add_argument_group("tensor parallelism (onnx, torch, hf, gguf)")
    split.add_argument(
        "--shards",
        type=whole_numbers,
        metavar="T,...",
        help="into how many shards nodes may be split: figures of each in the instance. Of ONNX and PyTorch "
        "models pairs of products are found from the graph; what has none is whole on each device, and said",
    )
    split.add_argument(
        "--sequence-parallel",
        action=argparse.BooleanOptionalAction,
        help="shards divide norms and sums by tokens, too (default: no)",
    )


def _add_onnx(made: argparse.ArgumentParser) -> None:
    onnx = made.add_argument_group("ONNX models")
    add_dim(onnx)
    onnx.add_argument(
        "--value",
        action="append",
        default=[],
        metavar="INPUT=N,...",
        help="numbers of an input that sizes or conditions depend on (repeatable)",
    )
    onnx.add_argument(
        "--passes",
        action="append",
        default=[],
        metavar="[LOOP=]N",
        help="how often a loop runs that no number in it ends (repeatable)",
    )
    onnx.add_argument(
        "--external-data",
        action="store_true",
        help="read the files beside the model for shapes that are stored there (never the large weights)",
    )
    onnx.add_argument(
        "--run",
        action=argparse.BooleanOptionalAction,
        default=True,
        help="run the model once, in a process with limits and on random inputs, where its shapes do not "
        "follow otherwise and ONNX Runtime is installed (default: yes)",
    )


def _add_training(made: argparse.ArgumentParser) -> None:
    training = made.add_argument_group("training")
    training.add_argument(
        "--training",
        action=argparse.BooleanOptionalAction,
        help="add the backward pass, mirrored and colocated (default: no; pipedream: yes)",
    )
    factors = ", ".join(f"{o} {STATE_FACTOR[o]:g}" for o in Optimizer)
    training.add_argument(
        "--optimizer",
        choices=[str(o) for o in Optimizer],
        help=f"bytes kept per byte of weights: {factors} (default: adam)",
    )
    training.add_argument(
        "--microbatches", type=int, default=1, metavar="N", help="per optimizer step (default: 1)"
    )


def add_devices(command: Command) -> None:
    """Add ``placer devices``."""
    devices = command()
    devices.add_argument("--json", action="store_true", help="print as JSON, with the sources of the figures")


def add_dim(made: argparse._ActionsContainer) -> None:
    """Add ``--dim``."""
    made.add_argument(
        "--dim",
        action="append",
        default=[],
        metavar="NAME=N,...",
        help="sizes of an ONNX model's inputs, by symbol or INPUT:AXIS (repeatable; the missing are listed)",
    )
