"""The stages that all entries share: an imported model becomes a plan for four accelerators."""

from __future__ import annotations

import tempfile
import time
from collections.abc import Mapping
from pathlib import Path
from types import MappingProxyType
from typing import Any

import placer
from placer.imports.api import to_instance
from placer.imports.model import Model
from tests.zoo.entries import Entry, Record

__all__ = ["DisagreementError", "Stages"]

DEVICES = "t4:4"
PLAN_SECONDS = 10


class DisagreementError(Exception):
    """Two routes came to different numbers."""


class Stages:
    """What is done with an entry, stage by stage; each fills in its part of the record."""

    options: Mapping[str, Any] = MappingProxyType({})
    """Further options of the import."""
    names = ("obtain", "import_", "count", "plan", "export", "run")

    def __init__(self, entry: Entry, record: Record, scratch: Path) -> None:
        self.entry = entry
        self.record = record
        self.scratch = scratch
        self.model: Model | None = None
        self.instance: Any = None
        self.result: Any = None

    def obtain(self) -> None:
        """Have the model at hand, before the clock runs."""
        raise NotImplementedError

    def read(self) -> Model:
        """Import it."""
        raise NotImplementedError

    def count(self) -> None:
        """Count again, without the importer."""
        raise NotImplementedError

    def export(self) -> None:
        """Write the plan for the tool that runs it."""
        raise NotImplementedError

    def run(self) -> None:
        """Run what was exported."""
        raise NotImplementedError

    def import_(self) -> None:
        """Import it, and time that."""
        start = time.process_time()
        model = self.model = self.read()
        self.instance = to_instance(model, DEVICES, by=self.entry.by, **self.options)
        self.record.import_s = time.process_time() - start
        self.record.operators = len(model.operators)
        self.record.parameters = model.parameters
        self.record.flops = model.flops()

    def plan(self) -> None:
        """Plan it for four accelerators, and time that; the plan is checked against the instance."""
        start = time.process_time()
        self.result = placer.solve(self.instance, time_limit=PLAN_SECONDS, threads=1)
        seconds = time.process_time() - start
        if self.result.assignment is None:
            raise DisagreementError(f"no plan: {self.result.status}")
        self.record.plan_s, self.record.gap = seconds, self.result.gap
        self.record.devices = sum(bool(device.nodes) for device in self.result.devices)


def temporary() -> tempfile.TemporaryDirectory[str]:
    """Folder for what an entry needs on the way."""
    return tempfile.TemporaryDirectory(prefix="placer-zoo-")
