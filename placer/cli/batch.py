"""``placer batch``."""

from __future__ import annotations

import contextlib
import sys
from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any, Protocol

from rich.box import SIMPLE_HEAD
from rich.console import Console
from rich.table import Table
from rich.text import Text

from placer.cli.batch_display import BatchDisplay
from placer.cli.exit_codes import ExitCode
from placer.cli.option_arguments import options_from
from placer.cli.tables import print_json, stdout
from placer.signals import stop_on_signals
from placer.studies.batch.batch import Batch, solve_batch
from placer.studies.batch.dask import dask_engine
from placer.studies.batch.executors import Engine, workers
from placer.studies.batch.grid import expand, read_grid
from placer.studies.batch.names import shown
from placer.studies.batch.records import State
from placer.studies.batch.summary import SHIFT_S, MethodSummary

__all__ = ["exit_code", "run"]

METHOD_WIDTH = 24
REASONS = 10
"""Failed jobs that are told one by one."""

HEADINGS = (
    "jobs",
    "solved",
    "proven",
    "infeas-\nible",
    "stop-\nped",
    "n/a",
    "failed",
    "time\ns",
    "mean\ngap",
    "with /\nnone",
    "wins",
    "ratio\nto best",
)
NOTE = (
    f"time: geometric mean with a shift of {SHIFT_S:g} s; mean gap: of the jobs with a gap, and beside it "
    "how many have one and how many could, but do not"
)


class Arguments(Protocol):
    """What the command is given."""

    instances: list[str]
    out: str
    methods: list[str] | None
    grid: str | None
    jobs: int | None
    oversubscribe: bool
    kill_after: float | None
    job_memory_mb: int | None
    retry_failed: bool
    scheduler: str | None
    json: bool
    quiet: bool


def run(args: Arguments) -> ExitCode:
    """Run the jobs that are not finished, then print the table."""
    options: dict[str, Any] = {"methods": args.methods or ["auto"]} | options_from(args)
    grids = [options] if args.grid is None else [options | grid for grid in _grids(args.grid)]
    with (
        stop_on_signals() as stop,
        _engine(args, grids) as engine,
        BatchDisplay(quiet=args.quiet) as display,
    ):
        batch = solve_batch(
            args.instances,
            args.out,
            grids=grids,
            jobs=args.jobs,
            executor=engine,
            kill_after=args.kill_after,
            job_memory_mb=args.job_memory_mb,
            oversubscribe=args.oversubscribe,
            retry_failed=args.retry_failed,
            interrupt=stop,
            watch=display,
        )
    if args.json:
        print_json(batch.summary.to_json())
    else:
        _print(batch, stdout())
        print(display.counts())
    _complain(batch)
    return exit_code(batch)


def exit_code(batch: Batch) -> ExitCode:
    """Exit code of a batch."""
    if batch.interrupted:
        return ExitCode.INTERRUPTED
    return ExitCode.DOES_NOT_HOLD if batch.failed or batch.summary.contradictions else ExitCode.DONE


def _grids(path: str) -> list[dict[str, Any]]:
    """Read the grid file; its ``methods`` stand for those of the command line."""
    return [
        {("methods" if name == "method" else name): value for name, value in grid.items()}
        for grid in read_grid(path)
    ]


@contextmanager
def _engine(args: Arguments, grids: list[dict[str, Any]]) -> Iterator[Engine | None]:
    """Connect to Dask when it is asked for; jobs of a local cluster share the cores of this machine."""
    if args.scheduler is None:
        yield None
        return
    jobs = args.jobs
    if args.scheduler == "local":
        jobs = workers(expand(grids)[0], jobs, oversubscribe=args.oversubscribe)
    with dask_engine(args.scheduler, jobs) as engine:
        yield engine


def _complain(batch: Batch) -> None:
    """Say what failed, what was left out, and what cannot be true."""

    def say(line: str) -> None:
        with contextlib.suppress(BrokenPipeError):
            print(f"placer: {line}", file=sys.stderr)

    for line in batch.left_out[:REASONS]:
        say(f"left out: {line}")
    _more(say, len(batch.left_out) - REASONS, "left out")
    for record in batch.failed[:REASONS]:
        say(f"{shown(record.source or record.instance, 200)}, {record.method}: {shown(record.reason, 300)}")
    _more(say, len(batch.failed) - REASONS, "failed (jobs.csv has the reasons)")
    for contradiction in batch.summary.contradictions:
        say(f"DISAGREEMENT, please report it: {contradiction}")
    waiting = sum(record.state is State.WAITING for record in batch.records)
    if batch.interrupted:
        say(f"interrupted with {waiting} jobs to do; the same command goes on")


def _more(say: Any, count: int, what: str) -> None:
    if count > 0:
        say(f"{count} more {what}")


def _print(batch: Batch, console: Console) -> None:
    table = Table(header_style="bold", box=SIMPLE_HEAD, pad_edge=False, show_edge=False, padding=(0, 1, 0, 0))
    longest = max((len(row.method) for row in batch.summary.methods), default=0)
    table.add_column("method", overflow="fold", min_width=min(longest, METHOD_WIDTH))
    for name in HEADINGS:
        table.add_column(name, justify="right", no_wrap=True)
    waiting = any(row.waiting for row in batch.summary.methods)
    if waiting:
        table.add_column("to do", justify="right")
    for row in batch.summary.methods:
        cells = _cells(row)
        table.add_row(Text(row.method), *cells, *([str(row.waiting)] if waiting else []))
    console.print(table)
    console.print(NOTE, soft_wrap=True, markup=False)


def _cells(row: MethodSummary) -> list[str]:
    counts = (row.jobs, row.solved, row.proven, row.infeasible, row.stopped, row.not_applicable, row.failed)
    return [
        *map(str, counts),
        "" if row.time_s is None else f"{row.time_s:.3g}",
        "" if row.mean_gap is None else f"{100 * row.mean_gap:.2f} %",
        f"{row.with_gap} / {row.without_gap}",
        str(row.wins),
        "" if row.ratio_to_best is None else f"{row.ratio_to_best:.4f}",
    ]
