"""What ``placer serve`` accepts."""

from __future__ import annotations

import argparse

from placer.cli.common_arguments import add_gap, add_quiet, add_reserve
from placer.cli.exit_codes import EXIT_CODES
from placer.cli.output import Command, file_name, whole_numbers
from placer.imports.language_work import CACHE_BYTES
from placer.imports.precision import PRECISIONS
from placer.serving.serving_request import Goal, ServingRequest

__all__ = ["add_serve"]

EXAMPLES = (
    """\
examples:
  placer serve Llama-3-70B --devices 8xl4 --weights fp8 --context 8192 --objective concurrency
  placer serve config.json --devices rtx3090:2,rtx4090:1 --weights int4 --concurrency 4 --objective context
  placer serve model.gguf --devices rtx3090:1,epyc-7763:1 --objective tpot
  placer serve Llama-3-8B --devices a100:1,t4:3 --layout flow --problem flow.json
  placer serve Llama-3-8B --devices a100:1,l4:2 --layout disaggregated --prompt 1024 --context 1280
  placer serve Llama-3-8B --devices 2xl4 --context 4096 --max-tpot 50 --objective throughput --json

MODEL is the config.json of a language model of Hugging Face, its folder, a GGUF file, or an instance: a chain
whose devices are its own, and whose microbatches are one sample each. Accelerators hold one interval of the
layers each; hosts (an accelerator may have none beside it) hold any nodes, and compute them.

objectives: throughput: most tokens per second; tpot: least time per output token; concurrency: most sequences
at once; context: longest context. Of plans for as many sequences or as long a context, the one with the most
free room per layer is chosen.

"""
    + EXIT_CODES
)


def add_serve(command: Command) -> None:
    """Add the command."""
    serve = command(epilog=EXAMPLES)
    serve.add_argument("model", metavar="MODEL", help="the model (see below)")
    serve.add_argument(
        "--devices",
        metavar="CLUSTER",
        help="a cluster of the catalogue (placer devices), DEVICE:COUNT,..., SERVERSxCLUSTER@UPLINK, or "
        "FILE.toml[:NAME]",
    )
    serve.add_argument(
        "--objective",
        choices=[str(goal) for goal in Goal],
        default=str(_default("objective")),
        help="what is optimised (default: throughput)",
    )
    asked = serve.add_argument_group("what is served")
    asked.add_argument(
        "--context", type=int, metavar="N", help="tokens of a sequence (default: 4096, or fewer)"
    )
    asked.add_argument("--prompt", type=int, metavar="N", help="tokens of a prompt (default: the context)")
    asked.add_argument(
        "--concurrency",
        type=int,
        metavar="N",
        help="sequences served at once (tpot, context: by default 1; throughput: at most so many)",
    )
    asked.add_argument("--max-tpot", type=float, metavar="MS", help="limit on the time per output token")
    asked.add_argument("--max-ttft", type=float, metavar="MS", help="limit on the time to the first token")
    allowed = serve.add_argument_group("what is allowed")
    for name, what in (
        ("shards", "devices that split each layer of a stage, tensor parallel"),
        ("replicas", "devices, or groups of shards, that take turns at a stage"),
    ):
        allowed.add_argument(f"--{name}", type=whole_numbers, metavar="N,...", help=f"{what} (default: 1)")
    allowed.add_argument(
        "--scattered", action="store_true", help="any node on any device, in any order (default: intervals)"
    )
    allowed.add_argument(
        "--layout",
        choices=["pipeline", "flow", "disaggregated"],
        default="pipeline",
        help="for throughput, flow: several devices may share layers (placer flow); disaggregated: prefill "
        "and decode on devices of their own (default: pipeline)",
    )
    _add_costs(serve)
    _add_output(serve)


def _add_output(serve: argparse.ArgumentParser) -> None:
    search = serve.add_argument_group("search and output")
    search.add_argument(
        "--time-limit",
        type=float,
        default=_default("time_limit"),
        metavar="SECONDS",
        help=f"seconds to search (default: {_default('time_limit'):g})",
    )
    add_gap(search, _default("gap"))
    search.add_argument(
        "--limits",
        action="store_true",
        help="solve again with more memory, bandwidth or speed of each class or one device more, and say "
        "what that brings",
    )
    search.add_argument("--out", type=file_name, metavar="ANSWER.json", help="write the answer to this file")
    search.add_argument(
        "--problem",
        type=file_name,
        metavar="FLOW.json",
        help="write the problem of --layout flow",
    )
    search.add_argument("--json", action="store_true", help="print the answer as JSON alone")
    add_quiet(search)


def _add_costs(serve: argparse.ArgumentParser) -> None:
    costs = serve.add_argument_group("costs")
    costs.add_argument(
        "--weights", metavar="FORMAT", help="format of matrices in layers, as of placer import"
    )
    costs.add_argument("--precision", choices=list(PRECISIONS), help="number format (default: the model's)")
    costs.add_argument(
        "--cache", choices=list(CACHE_BYTES), help="format of keys and values (default: the precision)"
    )
    add_reserve(costs)


def _default(name: str) -> object:
    return ServingRequest.model_fields[name].default
