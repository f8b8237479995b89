"""``placer plan``."""

from __future__ import annotations

import sys
from typing import Protocol

from rich.console import Console
from rich.table import Table
from rich.text import Text

from placer.cli.exit_codes import ExitCode
from placer.cli.progress import Live
from placer.cli.tables import print_json, stdout
from placer.errors import UsageError
from placer.imports.catalogue import find_cluster
from placer.signals import stop_on_signals
from placer.studies.training.explore import Progress, plan_training
from placer.studies.training.journal import Journal
from placer.studies.training.trained_models import LanguageSource, read_model
from placer.studies.training.training_choices import TrainingRequest
from placer.studies.training.training_plan import TrainingPlan, Tried
from placer.units import gap, milliseconds, percent, size

__all__ = ["run"]

SHOWN = 25
"""Rows of the table; the file has all."""


class Arguments(Protocol):
    """What the command is given."""

    what: str
    model: str
    devices: str
    precision: str | None
    time_limit: float | None
    out: str | None
    json: bool
    quiet: bool


def run(args: Arguments) -> ExitCode:
    """Search all choices, print the table, write what was asked for."""
    given = {name: getattr(args, name) for name in TrainingRequest.model_fields}
    request = _request(given)
    if args.time_limit is not None and not args.time_limit > 0:
        raise UsageError(f"--time-limit must be more than 0 seconds, got {args.time_limit:g}")
    cluster = find_cluster(args.devices)
    source = LanguageSource(read_model(args.model, args.precision), cluster, request)
    journal = None if args.out is None else Journal(args.out, source, cluster, request)
    with stop_on_signals() as interrupt, Live(quiet=args.quiet) as live:
        plan = plan_training(
            source,
            cluster,
            request,
            time_limit=args.time_limit,
            known=() if journal is None else journal.known,
            best=None if journal is None else journal.best,
            on_tried=None if journal is None else journal.add,
            on_progress=lambda news: live.show(news.seconds, _progress(news)),
            interrupt=interrupt,
        )
    if journal is not None:
        journal.finish(plan)
    if args.json:
        print_json(plan.to_json())
    else:
        _print(plan, stdout())
    if plan.step_ms is None:
        print(f"placer: no plan: {_reason(plan)}", file=sys.stderr)
    if plan.stopped == "interrupted":
        return ExitCode.INTERRUPTED
    if plan.step_ms is not None:
        return ExitCode.DONE
    return ExitCode.INFEASIBLE if plan.stopped == "finished" else ExitCode.NO_PLAN


def _request(given: dict[str, object]) -> TrainingRequest:
    """Validate what was asked for.

    Raises
    ------
    UsageError
        Naming the option.
    """
    from pydantic import ValidationError

    try:
        return TrainingRequest.model_validate(given)
    except ValidationError as error:
        first = error.errors(include_url=False)[0]
        name = str(first["loc"][0]).replace("_", "-")
        what = first["msg"].replace("Input should be", "must be")
        raise UsageError(f"--{name} {what}, got {first['input']!r}") from None


def _progress(news: Progress) -> str:
    parts = [f"{news.seconds:7.1f} s", f"{news.solved} tried, {news.left} left", news.choice]
    if news.step_ms is not None:
        parts.append(f"best {milliseconds(news.step_ms)}")
    if news.bound_ms is not None:
        parts.append(f"bound {milliseconds(news.bound_ms)}")
    return "  ".join(parts)


def _reason(plan: TrainingPlan) -> str:
    notes = [row.note for row in plan.tried if row.note]
    return notes[0] if notes else plan.stopped


def _print(plan: TrainingPlan, console: Console) -> None:
    table = Table(header_style="bold", title=Text(f"{plan.model} on {plan.devices}"))
    for name in COLUMNS:
        table.add_column(name, justify="right", no_wrap=True)
    table.add_column("layers", overflow="fold", max_width=18)
    for row in plan.tried[:SHOWN]:
        if row.step_ms is not None:
            table.add_row(*_cells(row))
    if table.row_count:
        console.print(table)
    for line in _said(plan):
        console.print(Text(line), soft_wrap=True)


COLUMNS = (
    "b",
    "data",
    "tensor",
    "stages",
    "V",
    "ZeRO",
    "m",
    "step s",
    "samples/s",
    "bubble",
    "memory",
    "again",
)
"""Microbatch size, degrees, stages, microbatches, figures; V: virtual stages of each device; again: how many
stages compute activations again."""


def _cells(row: Tried) -> list[str]:
    assert row.step_ms is not None
    assert row.samples_per_s is not None
    assert row.bubble is not None
    return [
        str(row.microbatch),
        f"{row.replicas}{'*' if row.apart else ''}",
        str(row.shards),
        str(row.stages),
        str(row.virtual_stages),
        str(row.zero),
        str(row.microbatches),
        f"{row.step_ms / 1e3:.5g}",
        f"{row.samples_per_s:.4g}",
        percent(row.bubble),
        size(row.peak_memory_bytes or 0.0),
        str(row.recompute),
        layers(row.nodes),
    ]


def layers(nodes: tuple[int, ...]) -> str:
    """Nodes per stage, equal neighbours together: ``11 6x10 11``."""
    runs: list[list[int]] = []
    for count in nodes:
        if runs and runs[-1][1] == count:
            runs[-1][0] += 1
        else:
            runs.append([1, count])
    return " ".join(str(count) if times == 1 else f"{times}x{count}" for times, count in runs)


def _said(plan: TrainingPlan) -> list[str]:
    out = []
    if plan.step_ms is not None and plan.bound_ms is not None:
        tokens = plan.tried[0].samples_per_s
        out.append(
            f"best {milliseconds(plan.step_ms)} per step ({tokens:.4g} samples per s); no choice is faster "
            f"than {milliseconds(plan.bound_ms)}: gap {gap(plan.gap or 0.0)}"
        )
    if plan.simulated_ms is not None:
        out.append(f"simulated: {milliseconds(plan.simulated_ms)}")
    solved = sum(row.step_ms is not None for row in plan.tried)
    impossible = sum(row.bound_ms is None for row in plan.tried)
    rest = plan.considered - solved - impossible
    out.append(
        f"{plan.considered} choices: {solved} planned, {impossible} impossible, {rest} left out by their "
        f"bounds; {plan.seconds:.1f} s, {plan.stopped}"
    )
    if any(row.apart for row in plan.tried[:SHOWN]):
        out.append("* replicas of a stage in different servers, stages of a replica near each other")
    out += [f"left out: {text}" for text in plan.excluded]
    return out
