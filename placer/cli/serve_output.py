"""What layouts of ``placer serve`` do with an answer: tell of it while it gets better, write it, print it."""

from __future__ import annotations

import sys
from collections.abc import Callable
from typing import Protocol, TypeVar

from rich.console import Console

from placer.cli.exit_codes import ExitCode
from placer.cli.solve import CODES
from placer.cli.tables import print_json, stdout
from placer.formats.text import write_text
from placer.plans.status import Stop
from placer.serving.disaggregated_result import DisaggregatedResult
from placer.serving.serving_plan import ServingResult
from placer.serving.setting_search import Answer

__all__ = ["deliver", "progress_line"]

Result = TypeVar("Result", ServingResult, DisaggregatedResult)


class Arguments(Protocol):
    """Where the answer goes."""

    out: str | None
    json: bool


def progress_line(seconds: float, what: str, unit: str, best: Answer) -> str:
    """Say how far a search is."""
    parts = [f"{seconds:7.1f} s", what]
    if best.value is not None:
        parts.append(f"best {best.value:.6g} {unit}")
    if best.bound is not None:
        parts.append(f"bound {best.bound:.6g}")
    return "  ".join(parts)


def deliver(args: Arguments, result: Result, show: Callable[[Result, Console], None]) -> ExitCode:
    """Write the answer where it was asked for, and show it; an interrupted search without one writes none."""
    interrupted = result.stop is Stop.INTERRUPTED
    if args.out and not (interrupted and result.value is None):
        write_text(args.out, result.to_json())
    if args.json:
        print_json(result.to_json())
    else:
        show(result, stdout())
    if result.value is None:
        print(f"placer: {result.status}: {result.message}", file=sys.stderr)
    return ExitCode.INTERRUPTED if interrupted else CODES[result.status]
