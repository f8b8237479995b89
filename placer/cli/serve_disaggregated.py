"""``placer serve --layout disaggregated``: prefill and decode on devices of their own."""

from __future__ import annotations

from typing import Protocol

from rich.console import Console
from rich.table import Table
from rich.text import Text

from placer.cli.exit_codes import ExitCode
from placer.cli.progress import Live
from placer.cli.serve_output import deliver, progress_line
from placer.serving.disaggregated import serve_disaggregated
from placer.serving.disaggregated_result import DisaggregatedResult, GroupStage
from placer.serving.serving_model import ServingModel
from placer.serving.serving_plan import ServedStage
from placer.serving.serving_request import ServingRequest
from placer.signals import stop_on_signals
from placer.units import gap, memory, milliseconds, size

__all__ = ["Arguments", "run_disaggregated"]


class Arguments(Protocol):
    """What of the command's arguments counts here."""

    devices: str | None
    out: str | None
    json: bool
    quiet: bool


def run_disaggregated(args: Arguments, model: ServingModel, request: ServingRequest) -> ExitCode:
    """Look for two groups, print them, write what was asked for."""
    with stop_on_signals() as interrupt, Live(quiet=args.quiet) as live:
        result = serve_disaggregated(
            model,
            request,
            devices=args.devices or "",
            watch=lambda seconds, best: live.show(
                seconds, progress_line(seconds, "throughput, two groups", "tokens/s", best)
            ),
            interrupted=interrupt.is_set,
        )
    return deliver(args, result, _print)


def _print(result: DisaggregatedResult, console: Console) -> None:
    if result.prefill is not None and result.decode is not None:
        console.print(_table(result))
    parts = [f"status {result.status}"]
    if result.value is not None:
        parts.append(f"{result.value:.10g} requests/s of {result.prompt} + {result.output} tokens")
    if result.bound is not None:
        parts.append(f"bound {result.bound:.10g}")
    if result.gap is not None:
        parts.append(f"gap {gap(result.gap)}")
    console.print(Text("  ".join([*parts, f"{result.seconds:.2f} s"]), style="bold"), soft_wrap=True)
    lines = [*_figures(result), *(f"limited by {text}" for text in result.limited_by), _together(result)]
    for line in (*lines, *result.notes):
        console.print(Text(line), soft_wrap=True)


def _figures(result: DisaggregatedResult) -> list[str]:
    """Say what each group and the links between them can do."""
    if result.prefill is None or result.decode is None:
        return []
    prefill, decode = result.prefill, result.decode
    links = "" if result.handed_over_per_s is None else f", links {result.handed_over_per_s:.4g}"
    out = [
        f"requests/s: prefill {prefill.prompts_per_s:.4g}, decode {result.decoded_per_s:.4g}{links}; "
        f"first token after {milliseconds(prefill.ttft_ms)}",
        f"decode: {decode.concurrency} sequences ({decode.microbatches} x {decode.batch}), "
        f"{milliseconds(decode.tpot_ms)} per token, {decode.tokens_per_s:.4g} tokens/s at most",
    ]
    return out + ([f"left out: {', '.join(decode.unused)}"] if decode.unused else [])


def _together(result: DisaggregatedResult) -> str:
    """Compare with the same devices doing both."""
    together = result.together
    if together is None or together.requests_per_s is None:
        return "the same devices doing both: no plan found"
    own = f"the same devices doing both: {together.requests_per_s:.6g} requests/s"
    if result.value is None:
        return own
    ratio = result.value / together.requests_per_s
    if ratio > 1:
        return f"{own}; two groups serve {ratio:.3g} times as many"
    return f"{own}, {1 / ratio:.3g} times as many as two groups"


def _table(result: DisaggregatedResult) -> Table:
    """Tabulate the stages of both groups."""
    table = Table(header_style="bold")
    table.add_column("group")
    table.add_column("devices", overflow="fold")
    for name in ("layers", "nodes", "load ms", "weights", "cache", "memory"):
        table.add_column(name, justify="right")
    assert result.prefill is not None
    assert result.decode is not None
    for stage in result.prefill.stages:
        _row(table, "prefill", stage)
    for other in result.decode.stages:
        _row(table, "decode", other)
    return table


def _row(table: Table, group: str, stage: GroupStage | ServedStage) -> None:
    table.add_row(
        group,
        Text(" ".join(stage.devices)),
        "" if stage.layers is None else f"{stage.layers[0]}–{stage.layers[1] - 1}",
        str(len(stage.nodes)),
        f"{stage.load_ms:.4g}",
        size(stage.weight_bytes),
        size(stage.cache_bytes),
        memory(stage.weight_bytes + stage.cache_bytes, stage.room_bytes),
    )
