"""What ``placer plan`` accepts."""

from __future__ import annotations

import argparse

from placer.cli.common_arguments import add_gap, add_quiet, add_reserve
from placer.cli.exit_codes import EXIT_CODES
from placer.cli.output import Command, file_name, whole_numbers
from placer.imports.granularity import Granularity
from placer.imports.precision import PRECISIONS
from placer.instance.training import Optimizer
from placer.options import Communication, Recompute, Schedule
from placer.studies.training.training_choices import VIRTUAL, TrainingRequest

__all__ = ["add_plan"]

EXAMPLES = (
    """\
examples:
  placer plan train Llama-3-70B --devices 8x8xa100-nvlink@infiniband-hdr --global-batch 1024 --sequence 4096
  placer plan train config.json --devices 8xh100-nvlink --global-batch 256 --max-microbatch 4 --out plan/
  placer check plan/instance.json plan/plan.json

The model is the config.json of a language model of Hugging Face, its folder, or a GGUF file. All stages have
the same degrees. What is tried goes to the folder that --out names; the same command again goes on there.

"""
    + EXIT_CODES
)


def add_plan(command: Command) -> None:
    """Add ``placer plan``."""
    made = command(epilog=EXAMPLES)
    made.add_argument("what", choices=("train",), help="what is planned")
    made.add_argument("model", metavar="MODEL", help="the model (see below)")
    made.add_argument(
        "--devices",
        required=True,
        metavar="CLUSTER",
        help="a cluster of the catalogue (placer devices), DEVICE:COUNT,..., SERVERSxCLUSTER@UPLINK, or "
        "FILE.toml[:NAME]",
    )
    made.add_argument(
        "--global-batch", type=int, required=True, metavar="G", help="sequences of one optimizer step"
    )
    made.add_argument("--sequence", type=int, metavar="N", help="tokens of each (default: 2048, or fewer)")
    _add_allowed(made)
    _add_costs(made)
    search = made.add_argument_group("search and output")
    search.add_argument(
        "--time-limit", type=float, metavar="SECONDS", help="stop after so long (default: no limit)"
    )
    add_gap(search, _default("gap"))
    search.add_argument(
        "--runners-up",
        type=int,
        default=_default("runners_up"),
        metavar="N",
        help=f"other choices to solve when the gap is proven (default: {_default('runners_up')})",
    )
    search.add_argument(
        "--out", type=file_name, metavar="DIR", help="write the best plan, its instance and the table there"
    )
    search.add_argument("--json", action="store_true", help="print the plan of the training as JSON")
    add_quiet(search)


def _add_allowed(made: argparse.ArgumentParser) -> None:
    allowed = made.add_argument_group("what is allowed")
    allowed.add_argument(
        "--max-microbatch",
        type=int,
        default=_default("max_microbatch"),
        metavar="B",
        help=f"sequences of a microbatch at most (default: {_default('max_microbatch')})",
    )
    for name, what in (
        ("replicas", "copies of the pipeline, data parallel"),
        ("shards", "devices that split each layer, tensor parallel"),
        ("zero", "what replicas divide: 0 nothing, 1 optimizer state, 2 gradients too"),
        ("virtual-stages", "virtual stages of each device, 1 for plain pipelines"),
    ):
        usual = ",".join(map(str, VIRTUAL)) if name == "virtual-stages" else "all that fit"
        allowed.add_argument(
            f"--{name}", type=whole_numbers, metavar="N,...", help=f"{what} (default: {usual})"
        )
    for name, values in (("recompute", Recompute), ("schedule", Schedule), ("communication", Communication)):
        allowed.add_argument(
            f"--{name}",
            choices=[str(v) for v in values],
            default=str(_default(name)),
            help=f"as of placer solve (default: {_default(name)})",
        )


def _add_costs(made: argparse.ArgumentParser) -> None:
    costs = made.add_argument_group("costs")
    costs.add_argument(
        "--optimizer",
        choices=[str(o) for o in Optimizer],
        default=str(_default("optimizer")),
        help=f"what is kept per weight (default: {_default('optimizer')})",
    )
    costs.add_argument(
        "--sequence-parallel",
        action=argparse.BooleanOptionalAction,
        default=True,
        help="shards divide norms and sums along the sequence, too (default: yes)",
    )
    costs.add_argument("--precision", choices=list(PRECISIONS), help="number format (default: the model's)")
    costs.add_argument(
        "--by",
        choices=[str(by) for by in Granularity],
        default=_default("by"),
        help=f"what a stage consists of (default: {_default('by')}, whole layers)",
    )
    add_reserve(costs)


def _default(name: str) -> object:
    return TrainingRequest.model_fields[name].default
