"""What ``placer traffic`` accepts."""

from __future__ import annotations

from placer.cli.output import Command

__all__ = ["add_traffic"]

EXAMPLES = """\
examples:
  placer traffic served.json --rate 2 --prompt 512 --output 128      requests at random times, 2 a second
  placer traffic served.json --requests-file trace.csv --json

Requests join microbatches that go round the stages while there is room for their keys and values, and leave
when they are answered. A table of requests has the columns arrival_s, prompt_tokens and output_tokens (or
those of the traces of Azure: TIMESTAMP, ContextTokens, GeneratedTokens). Microbatches that are not full take
as long as full ones here.

exit codes: 0 done; 1 the plan's time per token does not hold at saturation; 2 bad usage or bad input
"""


def add_traffic(command: Command) -> None:
    """Add the command."""
    traffic = command(epilog=EXAMPLES)
    traffic.add_argument("answer", metavar="ANSWER", help="result of placer serve")
    asked = traffic.add_argument_group("requests")
    asked.add_argument(
        "--rate", type=float, metavar="PER_S", help="requests per second on average (default: what saturates)"
    )
    asked.add_argument("--requests", type=int, metavar="N", help="how many (default: 200)")
    asked.add_argument("--prompt", type=int, metavar="N", help="tokens of each prompt (default: 512)")
    asked.add_argument("--output", type=int, metavar="N", help="tokens of each answer (default: 128)")
    asked.add_argument("--seed", type=int, default=0, metavar="N", help="for random times (default: 0)")
    asked.add_argument("--requests-file", metavar="FILE.csv", help="these requests instead")
    traffic.add_argument("--json", action="store_true", help="print the figures as JSON alone")
