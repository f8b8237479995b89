"""What ``placer flow`` accepts."""

from __future__ import annotations

from placer.cli.common_arguments import add_quiet
from placer.cli.exit_codes import EXIT_CODES
from placer.cli.output import Command, file_name

__all__ = ["add_flow"]

EXAMPLES = (
    """\
examples:
  placer flow cluster.json                              which layers on which device, and how good that is
  placer flow cluster.json --time-limit 30 --gap 0.05   30 seconds, or until 5 % are proven
  placer flow cluster.json --out plan.json
  placer flow cluster.json --check plan.json            verify a plan by a maximum flow

The input lists layers, devices with the tokens per second that they pass with 1, 2, ... layers, and links:
  {"format": "placer-flow", "version": 1, "layers": 3,
   "devices": [{"name": "a", "tokens_per_s": [900, 500]}, {"name": "b", "tokens_per_s": [400]}],
   "links": [{"from": "source", "to": "a", "tokens_per_s": 5000},
             {"from": "a", "to": "b", "tokens_per_s": 250},
             {"from": "b", "to": "sink", "tokens_per_s": 5000}]}

"""
    + EXIT_CODES
)


def add_flow(command: Command) -> None:
    """Add the command."""
    flow = command(epilog=EXAMPLES)
    flow.add_argument("file", metavar="FILE", help="layered flow: layers, devices and links")
    flow.add_argument(
        "--time-limit", type=float, default=120.0, metavar="SECONDS", help="seconds to search (default: 120)"
    )
    flow.add_argument(
        "--gap",
        type=float,
        default=1e-4,
        metavar="REL",
        help="stop when (bound - tokens/s) / tokens/s is at most this (default: 0.0001)",
    )
    flow.add_argument(
        "--threads", type=int, default=1, metavar="N", help="threads of the solver (default: 1)"
    )
    flow.add_argument("--seed", type=int, default=0, metavar="N", help="for random choices (default: 0)")
    flow.add_argument(
        "--check", type=file_name, metavar="PLAN", help="verify this result instead; exit code 1 if it fails"
    )
    output = flow.add_argument_group("output")
    output.add_argument("--out", type=file_name, metavar="PLAN.json", help="write the result to this file")
    output.add_argument("--json", action="store_true", help="print the result document alone")
    add_quiet(output)
