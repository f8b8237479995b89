"""``placer serve``."""

from __future__ import annotations

from typing import Protocol

from rich.console import Console
from rich.table import Table
from rich.text import Text

from placer.cli.exit_codes import ExitCode
from placer.cli.progress import Live
from placer.cli.serve_disaggregated import run_disaggregated
from placer.cli.serve_flow import run_flow
from placer.cli.serve_output import deliver, progress_line
from placer.cli.tables import ending
from placer.errors import UsageError
from placer.formats.text import check_writable
from placer.serving.serve import read_served, serve, served
from placer.serving.serving_plan import ServedStage, ServingPlan, ServingResult
from placer.serving.serving_questions import Answer
from placer.serving.serving_request import Goal, ServingRequest
from placer.signals import stop_on_signals
from placer.units import gap, memory, milliseconds, size

__all__ = ["run"]

UNITS = {
    Goal.THROUGHPUT: "tokens/s",
    Goal.TPOT: "ms per token",
    Goal.CONCURRENCY: "sequences",
    Goal.CONTEXT: "tokens of context",
}


class Arguments(Protocol):
    """What the command is given."""

    model: str
    devices: str | None
    objective: str
    context: int | None
    prompt: int | None
    concurrency: int | None
    shards: tuple[int, ...] | None
    replicas: tuple[int, ...] | None
    scattered: bool
    max_tpot: float | None
    max_ttft: float | None
    weights: str | None
    precision: str | None
    cache: str | None
    reserve: float | None
    layout: str
    problem: str | None
    time_limit: float
    gap: float
    out: str | None
    json: bool
    quiet: bool
    limits: bool


def run(args: Arguments) -> ExitCode:
    """Answer a question about serving, print it, write what was asked for."""
    asked = _request(args)
    if args.out:
        check_writable(args.out, args.model)
    found = read_served(args.model, precision=args.precision, weights=args.weights)
    model, request = served(found, args.devices, asked, cache=args.cache, reserve=args.reserve)
    if args.layout == "flow":
        return run_flow(args, model, request)
    if args.problem:
        raise UsageError("--problem writes the layered flow: it needs --layout flow")
    if args.layout == "disaggregated":
        return run_disaggregated(args, model, request)
    with stop_on_signals() as interrupt, Live(quiet=args.quiet) as live:
        result = serve(
            model,
            request,
            devices=args.devices or "",
            watch=lambda seconds, best: live.show(seconds, _progress(request, seconds, best)),
            interrupted=interrupt.is_set,
        )
    return deliver(args, result, _print)


def _request(args: Arguments) -> ServingRequest:
    """Validate what was asked for.

    Raises
    ------
    UsageError
        Naming the option.
    """
    from pydantic import ValidationError

    given = {name: getattr(args, name.removesuffix("_ms")) for name in ServingRequest.model_fields}
    try:
        return ServingRequest.model_validate({k: v for k, v in given.items() if v is not None})
    except ValidationError as error:
        first = error.errors(include_url=False)[0]
        name = str(first["loc"][0]).removesuffix("_ms").replace("_", "-")
        what = first["msg"].replace("Input should be", "must be")
        raise UsageError(f"--{name} {what}, got {first['input']!r}") from None


def _progress(request: ServingRequest, seconds: float, best: Answer) -> str:
    return progress_line(seconds, str(request.objective), UNITS[request.objective], best)


def _print(result: ServingResult, console: Console) -> None:
    if result.plan is not None:
        console.print(_table(result.plan))
    parts = [f"status {result.status}"]
    unit = UNITS[result.request.objective]
    if result.value is not None:
        parts.append(f"{result.value:.10g} {unit}")
    if result.bound is not None:
        parts.append(f"bound {result.bound:.10g}")
    if result.gap is not None:
        parts.append(f"gap {gap(result.gap)}")
    parts += ending(result.status, result.seconds, result.stop)
    console.print(Text("  ".join(parts), style="bold"), soft_wrap=True)
    if result.plan is not None:
        if len(result.front) > 1:
            console.print(_front(result))
        for line in (_figures(result.plan), *(f"limited by {text}" for text in result.limited_by)):
            console.print(Text(line), soft_wrap=True)
    for limit in result.limits:
        brings = f"{limit.value:.6g} {unit}" if limit.binding else "nothing"
        line = f"{limit.device_class}, {limit.resource}: {limit.more} brings {brings}"
        console.print(Text(line), soft_wrap=True)
    for note in result.notes:
        console.print(Text(note), soft_wrap=True)


def _figures(plan: ServingPlan) -> str:
    parts = [
        f"{plan.concurrency} sequence{'s' * (plan.concurrency > 1)}: {plan.microbatches} x {plan.batch}",
        f"{milliseconds(plan.tpot_ms)} per token",
        f"{plan.tokens_per_s:.4g} tokens/s",
    ]
    if plan.ttft_ms is not None:
        parts.append(f"first token after {milliseconds(plan.ttft_ms)} ({plan.prompt} tokens)")
    if plan.room_per_layer_bytes is not None:
        parts.append(f"{size(plan.room_per_layer_bytes)} free per layer at least")
    if plan.unused:
        parts.append(f"left out: {', '.join(plan.unused)}")
    return ", ".join(parts)


def _front(result: ServingResult) -> Table:
    """Tabulate what can be had instead."""
    table = Table(title="time per token against tokens per second", header_style="bold")
    for name in ("ms per token", "tokens/s", "sequences", "batch", "microbatches"):
        table.add_column(name, justify="right")
    for point in result.front:
        figures = f"{point.tpot_ms:.4g}", f"{point.tokens_per_s:.4g}"
        table.add_row(*figures, *map(str, (point.concurrency, point.batch, point.microbatches)))
    return table


def _table(plan: ServingPlan) -> Table:
    """Tabulate the stages."""
    table = Table(header_style="bold")
    table.add_column("devices", overflow="fold")
    for name in ("layers", "nodes", "load ms", "weights", "cache", "memory"):
        table.add_column(name, justify="right")
    for stage in plan.stages:
        table.add_row(
            Text(_named(stage)),
            "" if stage.layers is None else f"{stage.layers[0]}–{stage.layers[1] - 1}",
            str(len(stage.nodes)),
            f"{stage.load_ms:.4g}",
            size(stage.weight_bytes),
            size(stage.cache_bytes),
            memory(stage.weight_bytes + stage.cache_bytes, stage.room_bytes),
        )
    return table


def _named(stage: ServedStage) -> str:
    text = " ".join(stage.devices)
    if stage.shards > 1 or stage.replicas > 1:
        text += f" ({stage.shards} shards, {stage.replicas} replicas)"
    return text
