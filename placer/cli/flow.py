"""``placer flow``."""

from __future__ import annotations

import json
import sys
import time
from typing import Protocol

from rich.console import Console
from rich.table import Table
from rich.text import Text

from placer.cli.exit_codes import ExitCode
from placer.cli.progress import Live
from placer.cli.solve import CODES
from placer.cli.tables import ending, print_json, stdout
from placer.formats.text import check_writable, write_text
from placer.layered_flow.flow import flow
from placer.layered_flow.flow_check import violations
from placer.layered_flow.flow_file import load_flow, load_flow_result
from placer.layered_flow.flow_problem import FlowProblem
from placer.layered_flow.flow_result import FlowResult
from placer.plans.status import Stop
from placer.signals import stop_on_signals

__all__ = ["Output", "finish", "progress", "run"]


class Output(Protocol):
    """Where what was found goes."""

    out: str | None
    json: bool


class Arguments(Protocol):
    """What the command is given."""

    file: str
    time_limit: float
    gap: float
    threads: int
    seed: int
    check: str | None
    out: str | None
    json: bool
    quiet: bool


def run(args: Arguments) -> ExitCode:
    """Plan a layered flow, or verify a plan of one."""
    began = time.perf_counter()  # reading counts
    problem = load_flow(args.file)
    if args.check is not None:
        return _check(args, problem)
    if args.out:
        check_writable(args.out, args.file)
    with stop_on_signals() as interrupt, Live(quiet=args.quiet) as live:
        result = flow(
            problem,
            time_limit=args.time_limit,
            gap=args.gap,
            threads=args.threads,
            seed=args.seed,
            on_progress=lambda *news: live.show(news[0], progress(*news)),
            interrupt=interrupt,
            began=began,
        )
    return finish(args, problem, result, interrupted=interrupt.is_set())


def finish(args: Output, problem: FlowProblem, result: FlowResult, *, interrupted: bool) -> ExitCode:
    """Print what a search found and write it where it was asked for; return the exit code."""
    interrupted = interrupted or result.stop is Stop.INTERRUPTED
    # An interrupted search with nothing to show must not replace an earlier result.
    if args.out and not (interrupted and not result.ranges):
        write_text(args.out, result.to_json())
    if args.json:
        print_json(result.to_json())
    else:
        show(problem, result, stdout())
    if not result.ranges:
        print(f"placer: {result.status}: {result.message}", file=sys.stderr)
    return ExitCode.INTERRUPTED if interrupted else CODES[result.status]


def _check(args: Arguments, problem: FlowProblem) -> ExitCode:
    """Verify a plan; exit code 1 when something does not hold."""
    assert args.check is not None
    result = load_flow_result(args.check)
    found = violations(problem, result)
    if args.json:
        sys.stdout.write(json.dumps({"holds": not found, "found": found}, indent=1) + "\n")
    elif not found:
        show(problem, result, stdout())
        what = "ranges, flows and tokens per second hold; the bound is the search's" if result.ranges else ""
        print(f"verified: {what or 'there is no plan to verify; that there is none is the search’s claim'}")
    for line in found:
        print(f"placer: {args.check}: {line}", file=sys.stderr)
    return ExitCode.DOES_NOT_HOLD if found else ExitCode.DONE


def show(problem: FlowProblem, result: FlowResult, console: Console) -> None:
    """Print a result."""
    if result.ranges:
        console.print(_table(problem, result))
    parts = [f"status {result.status}"]
    if result.tokens_per_s is not None:
        parts.append(f"{result.tokens_per_s:.10g} tokens/s")
    if result.bound is not None:
        parts.append(f"bound {result.bound:.10g}")
    if result.gap is not None:
        parts.append(f"gap {100 * result.gap:.4f} %")
    parts += ending(result.status, result.seconds, result.stop)
    console.print(Text("  ".join(parts), style="bold"), soft_wrap=True)
    idle = [name for name in problem.names if name not in result.ranges]
    if result.ranges and idle:
        console.print(Text(f"without layers: {', '.join(idle)}"), soft_wrap=True)


def _table(problem: FlowProblem, result: FlowResult) -> Table:
    """Tabulate the devices in the order of their layers."""
    table = Table(header_style="bold")
    table.add_column("device")
    table.add_column("layers", justify="right")
    table.add_column("holds", justify="right")
    for name in ("passes\ntokens/s", "could pass\ntokens/s"):
        table.add_column(name, justify="right")
    table.add_column("hands on to", overflow="fold")
    place = {name: i for i, name in enumerate(problem.names)}
    for name, (first, end) in sorted(result.ranges.items(), key=lambda item: (item[1], place[item[0]])):
        passed = sum(f.tokens_per_s for f in result.flows if f.target == name)
        rate = float(problem.rates[place[name]][end - first - 1])
        onward = [f"{f.target} {f.tokens_per_s:.1f}" for f in result.flows if f.source == name]
        table.add_row(
            Text(name),
            f"{first}–{end - 1}" if end - first > 1 else f"{first}",
            str(end - first),
            f"{passed:.3f}",
            f"{rate:.3f}",
            Text(", ".join(onward)),
            style="bold" if passed >= rate * (1 - 1e-6) else "",
        )
    return table


def progress(seconds: float, best: float | None, bound: float | None, phase: str) -> str:
    """One line about the progress at one moment."""
    parts = [f"{seconds:7.1f} s", phase or "planning"]
    if best is not None:
        parts.append(f"best {best:.6g} tokens/s")
    if bound is not None:
        parts.append(f"bound {bound:.6g}")
    if best and bound is not None:
        parts.append(f"gap {100 * (bound - best) / best:.3g} %")
    return "  ".join(parts)
