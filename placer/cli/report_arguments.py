"""What ``placer report`` accepts."""

from __future__ import annotations

from placer.cli.output import Command, file_name

__all__ = ["add_report"]

EXAMPLES = """\
examples:
  placer solve graph.json --out plan.json
  placer report plan.json --instance graph.json --out plan.html    verified, with graph and timeline
  placer report plan.json --out plan.html                          what the document says, not verified
  placer report served.json --out served.html                      the answer of placer serve
  placer report night/ --out night.html                            the folder of placer batch

exit codes: 0 written; 1 written, but the result does not hold (the page says why); 2 bad usage or bad input
"""


def add_report(command: Command) -> None:
    """Add the command."""
    report = command(epilog=EXAMPLES)
    report.add_argument(
        "source",
        metavar="RESULT|BATCH_DIR",
        help="result of placer solve or serve, or a batch's folder",
    )
    report.add_argument(
        "--instance",
        metavar="INSTANCE",
        help="the instance of the result: verifies the plan, and adds the graph and the timeline",
    )
    report.add_argument("--out", type=file_name, metavar="FILE.html", required=True, help="the page")
