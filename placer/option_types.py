"""The options of a solve as keywords with types, so that editors complete them; `Options` decides."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Literal, TypedDict

from placer.options import Communication, Formulation, Objective, Recompute, Schedule

__all__ = ["OptionChanges"]


class OptionChanges(TypedDict, total=False):
    """Single options by name; what each means and its default: `placer.options.Options`."""

    objective: Objective | Literal["throughput", "latency", "memory", "cost"]
    contiguous: bool
    schedule: Schedule | Literal["1f1b", "gpipe"]
    microbatches: int | None
    recompute: Recompute | Literal["none", "auto", "all"]
    max_ms: float | None
    pieces: int
    method: str
    formulation: Formulation | Literal["ordered", "paper"]
    communication: Communication | Literal["sequential", "overlap", "duplex"]
    time_limit: float | None
    gap: float
    threads: int
    seed: int
    memory_limit_mb: int
    split: str | None
    pin: Mapping[str, Sequence[str]]
    forbid: Mapping[str, Sequence[str]]
    together: Sequence[Sequence[str]]
    apart: Sequence[Sequence[str]]
    max_devices: int | None
    use_devices: Sequence[str]
    replicas: int
    balance: bool
    near: Mapping[str, str]
    slack: float
