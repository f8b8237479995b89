"""``placer compare``."""

from __future__ import annotations

import sys
from typing import Protocol

from rich.table import Table
from rich.text import Text

from placer.cli.exit_codes import ExitCode
from placer.cli.option_arguments import options_from
from placer.cli.tables import print_json, save_table, stdout
from placer.errors import UsageError
from placer.formats.files import load
from placer.formats.text import check_writable
from placer.objectives import OBJECTIVES
from placer.options import Objective
from placer.signals import stop_on_signals
from placer.studies.batch.names import shown
from placer.studies.compare import Comparison, Row, RowStatus, compare

__all__ = ["exit_code", "run"]


class Arguments(Protocol):
    """What the command is given."""

    instance: str
    other: str | None
    methods: str | None
    split: str | None
    noise: float
    out: str | None
    json: bool
    quiet: bool


def run(args: Arguments) -> ExitCode:
    """Run the methods, print and write the table; contradictions go to standard error."""
    if args.other is not None:
        return _batches(args, args.other)
    instance = load(args.instance)
    methods = None if args.methods is None else [m.strip() for m in args.methods.split(",") if m.strip()]
    if methods == []:
        raise UsageError("--methods names no method")
    if args.out:
        check_writable(args.out, args.instance, args.split)

    given = options_from(args)
    value_text = OBJECTIVES[given.get("objective", Objective.THROUGHPUT)].shown

    def tell(row: Row) -> None:
        if not args.quiet:
            value = "" if row.objective is None else f" {value_text(row.objective, 8)}"
            print(f"{row.method}: {row.status}{value}, {row.seconds:.2f} s", file=sys.stderr)

    with stop_on_signals() as interrupt:
        table = compare(instance, methods, on_row=tell, interrupt=interrupt, **given)
    save_table(table, args.out)
    if args.json:
        print_json(table.to_json())
    else:
        _print(table)
    for problem in table.disagreements:
        print(f"placer: DISAGREEMENT, please report it: {problem}", file=sys.stderr)
    return exit_code(table)


def _batches(args: Arguments, other: str) -> ExitCode:
    """Compare two batches; a result that got worse is told by the exit code."""
    # The parts of a batch need a system that can lock files; a comparison of methods does not.
    from placer.studies.batch.difference import compare_batches, describe

    if not args.noise >= 0:
        raise UsageError(f"--noise must be at least 0, got {args.noise}")
    if args.out:
        check_writable(args.out, args.instance, other)
    difference = compare_batches(args.instance, other, noise=args.noise)
    save_table(difference, args.out)
    if args.json:
        print_json(difference.to_json())
        return ExitCode.DOES_NOT_HOLD if difference.worse else ExitCode.DONE
    table = Table(header_style="bold")
    for name in ("instance", "method", "what", "", "A", "B"):
        table.add_column(name, overflow="fold")
    for c in difference.changes:
        values = (f"{x:.10g}" if isinstance(x, float) else str(x or "") for x in (c.a, c.b))
        table.add_row(
            Text(shown(c.instance)), Text(c.method), c.what, c.turn.value, *(Text(value) for value in values)
        )
    if difference.changes:
        stdout().print(table)
    for line in describe(difference):
        print(line)
    return ExitCode.DOES_NOT_HOLD if difference.worse else ExitCode.DONE


def exit_code(table: Comparison) -> ExitCode:
    """Exit code of a comparison: contradictions and failures of methods first, then what was found."""
    statuses = {row.status for row in table.rows}
    if table.disagreements or RowStatus.FAILED in statuses:
        return ExitCode.DOES_NOT_HOLD
    if table.interrupted:
        return ExitCode.INTERRUPTED
    if statuses & {RowStatus.OPTIMAL, RowStatus.FEASIBLE}:
        return ExitCode.DONE
    return ExitCode.INFEASIBLE if RowStatus.INFEASIBLE in statuses else ExitCode.NO_PLAN


def _print(table: Comparison) -> None:
    unit = OBJECTIVES[table.options.objective].unit
    shown = Table(header_style="bold", title=f"{table.instance.name}, {table.options.objective}, {unit}")
    shown.add_column("method")
    for name in ("objective", "ratio", "bound", "gap", "seconds", "peak MiB"):
        shown.add_column(name, justify="right")
    shown.add_column("status")
    for row in table.rows:
        shown.add_row(
            row.method,
            _number(row.objective, ".8g"),
            _number(row.ratio, ".4f"),
            _number(row.bound, ".8g"),
            "" if row.gap is None else f"{100 * row.gap:.4f} %",
            f"{row.seconds:.2f}",
            _number(row.peak_memory_mb, ".0f"),
            row.status.value,
        )
    console = stdout()
    console.print(shown)
    for row in table.rows:
        if row.message:
            console.print(Text(f"{row.method}: {row.message}"), soft_wrap=True)


def _number(value: float | None, form: str) -> str:
    return "" if value is None else format(value, form)
