"""``placer sweep``."""

from __future__ import annotations

import sys
from pathlib import Path
from typing import Protocol

from rich.table import Table
from rich.text import Text

from placer.cli.exit_codes import ExitCode
from placer.cli.option_arguments import options_from
from placer.cli.progress import Display
from placer.cli.tables import print_json, save_table, size, stdout
from placer.formats.files import load, save, save_result
from placer.formats.text import check_writable
from placer.objectives import OBJECTIVES
from placer.signals import stop_on_signals
from placer.studies.axes import parse_axis
from placer.studies.sweep import Sweep, SweepPoint, common_options, sweep

__all__ = ["exit_code", "run"]

INSTANCES, RESULTS = "point-{:03d}.instance.json", "point-{:03d}.result.json"
BAR = 18
"""Width of the bar of the slowest point."""


class Arguments(Protocol):
    """What the command is given."""

    instance: str
    vary: list[str]
    split: str | None
    results: str | None
    out: str | None
    json: bool
    quiet: bool


def run(args: Arguments) -> ExitCode:
    """Solve every point, print the table with a bar per point, write what was asked for."""
    instance = load(args.instance)
    axes = [parse_axis(text) for text in args.vary]
    options = common_options(axes, **options_from(args))
    if args.out:
        check_writable(args.out, args.instance, args.split)
    if args.results:
        folder = Path(args.results)
        folder.mkdir(parents=True, exist_ok=True)
        for earlier in folder.glob("point-*.json"):  # what may be replaced
            check_writable(earlier, args.instance, args.split)

    info = OBJECTIVES[options.objective]

    def tell(point: SweepPoint) -> None:
        if not args.quiet:
            settings = ", ".join(f"{name} {value:g}" for name, value in point.settings.items())
            value = "" if point.objective is None else f" {info.shown(point.objective, 8)}"
            print(f"{settings}: {point.status}{value}, {point.seconds:.2f} s", file=sys.stderr)

    with stop_on_signals() as interrupt, Display(quiet=True) as display:
        table = sweep(
            instance, axes, options, on_point=tell, on_progress=display, interrupt=interrupt, guard=True
        )
    save_table(table, args.out)
    if args.results:
        _save(table, Path(args.results))
    if args.json:
        print_json(table.to_json())
    else:
        _print(table)
    return exit_code(table)


def exit_code(table: Sweep) -> ExitCode:
    """Exit code of a sweep: 0 when some point has a plan."""
    if table.interrupted:
        return ExitCode.INTERRUPTED
    if any(point.objective is not None for point in table.points):
        return ExitCode.DONE
    return (
        ExitCode.INFEASIBLE
        if any(point.status == "infeasible" for point in table.points)
        else ExitCode.NO_PLAN
    )


def _save(table: Sweep, folder: Path) -> None:
    """Write the instance and the result of each point, so that ``placer check`` can verify them."""
    for k, kept in enumerate(table.results):
        if kept is not None:
            save(kept[0], folder / INSTANCES.format(k))
            save_result(kept[1], folder / RESULTS.format(k))


def _print(table: Sweep) -> None:
    unit = OBJECTIVES[table.options.objective].unit
    shown = Table(
        header_style="bold", title=Text(f"{table.instance.name}, {table.options.objective}, {unit}")
    )
    for name in table.axes:
        shown.add_column(Text(name), justify="right")
    for name in ("objective", "bound", "gap", "devices", "moved", "seconds"):
        shown.add_column(name, justify="right")
    shown.add_column("status")
    shown.add_column("")
    worst = max((p.objective for p in table.points if p.objective is not None), default=0.0)
    for p in table.points:
        shown.add_row(
            *(_setting(name, p.settings[name]) for name in table.axes),
            "" if p.objective is None else f"{p.objective:.8g}",
            "" if p.bound is None else f"{p.bound:.8g}",
            "" if p.gap is None else f"{100 * p.gap:.4f} %",
            "" if p.devices_used is None else str(p.devices_used),
            "" if p.moved is None else str(p.moved),
            f"{p.seconds:.2f}",
            p.status.value,
            "━" * round(BAR * p.objective / worst) if p.objective is not None and worst > 0 else "",
        )
    console = stdout()
    console.print(shown)
    for p in table.points:
        if p.message:
            settings = ", ".join(f"{name} {value:g}" for name, value in p.settings.items())
            console.print(Text(f"{settings}: {p.message}"), soft_wrap=True)
    for text in table.findings:
        console.print(Text(text, style="bold"), soft_wrap=True)


def _setting(name: str, value: float) -> str:
    if name == "max-ms":
        return f"{value:g} ms"
    if name.startswith("devices"):
        return f"{value:.0f}"
    return f"x{value:g}" if value < 1e3 else size(value) if name.startswith("memory") else f"{value:.4g} B/s"
