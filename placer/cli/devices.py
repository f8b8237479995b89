"""``placer devices``."""

from __future__ import annotations

import sys
from typing import Protocol

from rich.table import Table
from rich.text import Text

from placer.cli.exit_codes import ExitCode
from placer.cli.tables import stdout
from placer.imports.catalogue import Catalogue, catalogue
from placer.imports.precision import PRECISIONS

__all__ = ["run"]


class Arguments(Protocol):
    """What the command is given."""

    json: bool


def run(args: Arguments) -> ExitCode:
    """List the catalogue."""
    known = catalogue()
    if args.json:
        sys.stdout.write(known.model_dump_json(indent=1) + "\n")
        return ExitCode.DONE
    console = stdout()
    for table in (_clusters(known), _devices(known), _links(known)):
        console.print(table)
    return ExitCode.DONE


def _clusters(known: Catalogue) -> Table:
    table = Table(title="clusters", header_style="bold")
    table.add_column("name", no_wrap=True)
    table.add_column("devices")
    table.add_column("what it is")
    for name, entry in known.clusters.items():
        devices = ", ".join(f"{c.count} {c.device}" for c in entry.classes)
        table.add_row(Text(name), Text(devices), Text(entry.description))
    return table


def _devices(known: Catalogue) -> Table:
    table = Table(title="devices (peaks in TFLOP/s or TOP/s, dense)", header_style="bold")
    table.add_column("name", no_wrap=True)
    for heading in (*PRECISIONS, "GB/s", "GiB"):
        table.add_column(heading, justify="right")
    table.add_column("link")
    table.add_column("what it is")
    for name, d in known.devices.items():
        peaks = (f"{d.peak_tflops[p]:g}" if p in d.peak_tflops else "" for p in PRECISIONS)
        memory = f"{d.memory_gib:g}" if d.memory_gib else ""
        cells = (name, *peaks, f"{d.bandwidth_gb_per_s:g}", memory, d.link or "", d.description)
        table.add_row(*(Text(cell) for cell in cells))
    return table


def _links(known: Catalogue) -> Table:
    table = Table(title="links (one direction)", header_style="bold")
    table.add_column("name", no_wrap=True)
    table.add_column("GB/s", justify="right")
    table.add_column("latency ms", justify="right")
    table.add_column("what it is")
    for name, link in known.links.items():
        table.add_row(Text(name), f"{link.gb_per_s:g}", f"{link.latency_ms:g}", Text(link.description))
    return table
