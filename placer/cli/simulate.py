"""``placer simulate``."""

from __future__ import annotations

import json
import math
import sys
from typing import Protocol

from rich.console import Console
from rich.table import Table
from rich.text import Text

from placer.cli.exit_codes import ExitCode
from placer.cli.tables import memory, print_json, size, stdout
from placer.errors import UsageError
from placer.formats import paper_json
from placer.formats.files import load, load_result, load_split
from placer.formats.text import check_writable, parse_json, read_text, write_text
from placer.instance.instance import Instance
from placer.instance.overrides import apply
from placer.objectives import OBJECTIVES
from placer.options import Communication, Objective
from placer.plans.check import plan_of
from placer.plans.figures import objective_ms
from placer.plans.plan import Plan
from placer.plans.result import Result
from placer.simulation import Simulation, simulate
from placer.simulation.trace import trace_json
from placer.tolerances import EQUAL

__all__ = ["run"]

SHOWN = 4
"""Entries of the critical path that are shown."""


class Arguments(Protocol):
    """What the command is given."""

    instance: str
    result: str
    samples: int | None
    microbatches: int | None
    trace: str | None
    trace_samples: int
    json: bool


def run(args: Arguments) -> ExitCode:
    """Simulate a plan; exit code 1 when the simulation contradicts the objective of the result."""
    if args.trace_samples < 1:
        raise UsageError(f"--trace-samples must be at least 1, got {args.trace_samples}")
    instance = load(args.instance)
    plan: Plan | Result
    if paper_json.is_paper_split(parse_json(read_text(args.result), args.result)):
        plan = load_split(args.result, instance)
    else:
        plan = load_result(args.result)
    if args.trace:
        check_writable(args.trace, args.instance, args.result)
    simulation = simulate(instance, plan, samples=args.samples, microbatches=args.microbatches)
    if args.trace:
        write_text(args.trace, trace_json(simulation, args.trace_samples))
    predicted = _time_ms(instance, plan, args) if isinstance(plan, Result) else None
    if args.json:
        print_json(json.dumps({"predicted_ms": predicted, **simulation.to_dict()}, indent=1) + "\n")
    else:
        _print(simulation, predicted, stdout())
    simulated = simulation.objective_ms
    if predicted is not None and not math.isclose(simulated, predicted, rel_tol=EQUAL):
        print(
            f"placer: {args.result}: the objective is {predicted!r} ms, but the simulation takes "
            f"{simulated!r} ms",
            file=sys.stderr,
        )
        return ExitCode.DOES_NOT_HOLD
    return ExitCode.DONE


def _time_ms(instance: Instance, result: Result, args: Arguments) -> float | None:
    """Time that a result claims, as its objective or by the plan that it holds; None if not simulated."""
    if result.options.objective is Objective.STEP:
        another = args.samples is not None or args.microbatches is not None
        if another or result.options.communication is not Communication.SEQUENTIAL:
            return (
                None  # a step of another length, or transfers that run beside the work of other microbatches
            )
    if OBJECTIVES[result.options.objective].is_time:
        return result.objective
    instance = apply(instance, result.options)
    return objective_ms(instance, plan_of(instance, result), result.options)


def _print(simulation: Simulation, predicted: float | None, console: Console) -> None:
    table = Table(header_style="bold")
    table.add_column("device")
    table.add_column("busy", justify="right")
    for name in ("compute", "receive", "send", "idle"):
        table.add_column(f"{name}\nms", justify="right")
    if simulation.steady_ms is not None:
        table.add_column("steady\nuse", justify="right")
        table.add_column("in\nflight", justify="right")
    table.add_column("peak memory", justify="right")
    for use in simulation.devices:
        steady = use.steady_utilisation
        table.add_row(
            Text(use.name),
            _share(use.busy_ms, simulation.makespan_ms),
            *(f"{x:.4f}" for x in (use.compute_ms, use.receive_ms, use.send_ms, use.idle_ms)),
            *(() if steady is None else (f"{100 * steady:.1f} %", str(use.in_flight))),
            memory(use.peak_bytes, use.memory_limit_bytes),
            style="bold" if steady is not None and steady > 1 - EQUAL else "",
        )
    console.print(table)
    for line in _lines(simulation, predicted):
        console.print(Text(line), soft_wrap=True)


def _lines(simulation: Simulation, predicted: float | None) -> list[str]:
    objective = "" if predicted is None else f"  objective {predicted:.10g} ms"
    path = [
        f"{device} {lane} {_share(ms, simulation.makespan_ms)}"
        for (device, lane), ms in list(simulation.critical_shares().items())[:SHOWN]
    ]
    critical = "critical path: " + ", ".join(path)
    if simulation.steady_ms is None:
        return [f"one sample takes {simulation.makespan_ms:.10g} ms{objective}", critical]
    what = "sample" if simulation.schedule is None else "microbatch"
    what += "" if simulation.samples == 1 else "s" if simulation.schedule is None else "es"
    average = "" if simulation.periodic else " on average"
    latency, whole = simulation.latency_ms, simulation.objective is Objective.STEP
    return [
        f"steady state {simulation.steady_ms:.10g} ms per sample{average}{'' if whole else objective}",
        f"{simulation.samples} {what} in {simulation.makespan_ms:.6f} ms  fill {simulation.fill_ms:.6f} ms"
        f"  drain {simulation.drain_ms:.6f} ms{objective if whole else ''}",
        f"latency {latency[0]:.6f} ms for the first, {max(latency):.6f} ms at most",
        critical,
        *_hints(simulation),
        *(
            f"{use.name} needs {size(use.peak_bytes)} at its peak, more than its limit"
            for use in simulation.devices
            if use.exceeds_limit
        ),
    ]


def _hints(simulation: Simulation) -> list[str]:
    """Say how to see more than a pipeline that is empty most of the time."""
    if simulation.schedule is None or simulation.samples > 1:
        return []
    return ["an optimizer step of the instance is 1 microbatch; --microbatches M shows a longer one"]


def _share(part: float, whole: float) -> str:
    return f"{100 * part / whole if whole else 0.0:.1f} %"
