"""Results as text for people."""

from __future__ import annotations

import json
import sys
from typing import Protocol

from rich.console import Console
from rich.table import Table
from rich.text import Text

from placer.formats.text import write_text
from placer.instance.instance import Instance
from placer.instance.order import topological_position
from placer.instance.short_names import short_names
from placer.objectives import OBJECTIVES
from placer.plans.result import DeviceReport, Result
from placer.units import memory, size

__all__ = ["ending", "memory", "print_json", "print_result", "save_table", "size", "stdout"]

PLAIN_WIDTH = 120
"""Columns when the output is no terminal, so that nothing is cut in a file."""


class _Console(Console):
    def on_broken_pipe(self) -> None:
        """Leave it to the command line, which ends quietly when nobody reads on."""
        raise BrokenPipeError


def stdout() -> Console:
    """Return the console for results."""
    console = _Console(highlight=False, emoji=False)
    return console if console.is_terminal else _Console(highlight=False, emoji=False, width=PLAIN_WIDTH)


def print_json(text: str) -> None:
    """Print a JSON document; its characters are escaped where the output's encoding lacks them."""
    try:
        text.encode(sys.stdout.encoding or "utf-8")
    except UnicodeEncodeError:
        text = json.dumps(json.loads(text), indent=1) + "\n"
    sys.stdout.write(text)


class SavedTable(Protocol):
    """A table that many solves made."""

    def to_json(self) -> str:
        """Return the table as a JSON document."""

    def to_csv(self) -> str:
        """Return its rows as CSV."""


def save_table(table: SavedTable, path: str | None) -> None:
    """Write a table to a file, if there is to be one: as CSV where its name says so, else as JSON."""
    if path:
        write_text(path, table.to_csv() if path.endswith(".csv") else table.to_json())


def print_result(instance: Instance, result: Result, console: Console) -> None:
    """Print the devices, what is on them, and how good the plan is."""
    if result.assignment is not None:
        console.print(_devices(instance, result))
        if result.pieces is not None:
            console.print(_pieces(instance, result))
        if result.virtual_stages is not None:
            console.print(_virtual_stages(instance, result))
        if any(d.in_flight > 1 for d in result.devices):
            console.print(_memory_parts(result))
    console.print(_headline(result), soft_wrap=True)
    more = OBJECTIVES[result.options.objective].more(result.stats, result.objective or 0.0)
    if more:
        console.print(Text(more), soft_wrap=True)
    for hint in result.hints if result.assignment is not None else ():
        console.print(Text(hint), soft_wrap=True)
    # Why there is no plan stands on standard error.
    remark = result.message.removeprefix("; ".join(result.hints)).removeprefix("; ")
    if result.assignment is not None and remark:
        console.print(Text(remark), soft_wrap=True)


def _devices(instance: Instance, result: Result) -> Table:
    table = Table(title=None, header_style="bold")
    table.add_column("device")
    for name in ("load", "compute", "receive", "send"):
        table.add_column(f"{name}\nms", justify="right")
    table.add_column("memory", justify="right")
    table.add_column("nodes", justify="right")
    table.add_column("what is on it", overflow="fold")
    heaviest = max(d.load_ms for d in result.devices)
    together = {name: group for group in result.replicas for name in group}
    for d in result.devices:
        contents = _contents(instance, d.nodes)
        if d.name in together:
            shards = result.shards.get(together[d.name][0], 1)
            split = f", {shards} shards" if shards > 1 else ""
            contents = f"{contents} (on {', '.join(together[d.name])} together{split})"
        table.add_row(
            Text(d.name),
            *(f"{x:.4f}" for x in (d.load_ms, d.compute_ms, d.receive_ms, d.send_ms)),
            memory(d.memory_bytes, d.memory_limit_bytes),
            str(len(d.nodes)),
            Text(contents),
            style="bold" if d.load_ms == heaviest else "",
        )
    return table


def _memory_parts(result: Result) -> Table:
    """Tabulate what the peak consists of, the stages of a pipeline in their order."""
    table = Table(title=None, header_style="bold")
    table.add_column("stage")
    flying = "microbatches" if result.virtual_stages is None else "virtual stages"
    for name in ("resident", "activations", f"{flying}\nin flight", "peak", "limit"):
        table.add_column(name, justify="right")
    table.add_column("activations are")
    devices = {d.name: d for d in result.devices if d.nodes}
    for name in result.stages or devices:
        if name not in devices:
            continue
        d = devices[name]
        limit = float("inf") if d.memory_limit_bytes is None else d.memory_limit_bytes
        table.add_row(
            Text(name),
            *(size(x) for x in (d.resident_bytes, d.activation_bytes)),
            str(d.in_flight),
            *(size(x) for x in (d.memory_bytes, limit)),
            _activations_are(result, d),
        )
    return table


def _activations_are(result: Result, device: DeviceReport) -> str:
    """Say whether a device computes its activations again, or of how many of its nodes it does."""
    again = len({*result.recomputed_nodes}.intersection(device.nodes))
    if again:
        return f"computed again of {again} of {len(device.nodes)} nodes"
    return "computed again" if device.name in result.recompute else "kept"


def _virtual_stages(instance: Instance, result: Result) -> Table:
    """Tabulate what each device holds, a column for each time that the pipeline comes around."""
    table = Table(title=None, header_style="bold")
    table.add_column("device")
    stages, devices = result.virtual_stages or [], result.stages or []
    for chunk in range(result.options.virtual_stages):
        table.add_column(f"virtual stage {chunk + 1}", overflow="fold")
    for rank, name in enumerate(devices):
        held = (_contents(instance, stage.nodes) for stage in stages[rank :: len(devices)])
        table.add_row(Text(name), *map(Text, held))
    return table


def _pieces(instance: Instance, result: Result) -> Table:
    table = Table(title=None, header_style="bold")
    for name, justify in (
        ("piece", "left"),
        ("start\nms", "right"),
        ("finish\nms", "right"),
        ("nodes", "right"),
    ):
        table.add_column(name, justify=justify)  # type: ignore[arg-type]
    table.add_column("what is in it", overflow="fold")
    for p in sorted(result.pieces or [], key=lambda p: (p.start_ms, p.finish_ms, p.device)):
        table.add_row(
            Text(f"{p.device}.{p.order}"),
            f"{p.start_ms:.4f}",
            f"{p.finish_ms:.4f}",
            str(len(p.nodes)),
            Text(_contents(instance, p.nodes)),
        )
    return table


def ending(status: str, seconds: float, stop: str) -> list[str]:
    """Return how long a search took and why it ended, which ``infeasible`` says by itself."""
    return [f"{seconds:.2f} s", *([] if status == "infeasible" else [f"stopped: {stop}"])]


def _headline(result: Result) -> Text:
    shown = OBJECTIVES[result.options.objective].shown
    parts = [f"status {result.status}"]
    if result.objective is not None:
        parts.append(f"objective {shown(result.objective, 10)}")
    if result.bound is not None:
        parts.append(f"bound {shown(result.bound, 10)}")
    if result.gap is not None:
        parts.append(f"gap {100 * result.gap:.4f} %")
    parts += [f"method {result.method}", f"{result.runtime_s:.2f} s", f"stopped: {result.stop}"]
    return Text("  ".join(parts), style="bold")


def _contents(instance: Instance, ids: list[str]) -> str:
    """First and last nodes in data-flow order; backward nodes follow their forward ones unnamed."""
    nodes = [instance.index[v] for v in ids]
    forward = [v for v in nodes if not instance.backward[v]] or nodes
    position = topological_position(instance)
    short = short_names(instance.names)
    names = [short[instance.names[v]] for v in sorted(forward, key=lambda v: position[v])]
    return ", ".join(names) if len(names) <= 3 else f"{names[0]}, {names[1]} … {names[-1]}"
