"""What an entry of the zoo is, and what is known of one that was examined."""

from __future__ import annotations

import dataclasses
from collections.abc import Callable
from typing import Any

__all__ = ["Entry", "Light", "Record", "Torch", "UnobtainableError", "Wheel"]


class UnobtainableError(Exception):
    """The model cannot be had here: no network, or a package that is not installed."""


@dataclasses.dataclass(frozen=True)
class Wheel:
    """A file in a wheel of the package index."""

    package: str
    version: str
    member: str

    def __str__(self) -> str:
        return f"{self.package} {self.version}, {self.member.rpartition('/')[2]}"


@dataclasses.dataclass(frozen=True)
class Light:
    """A model that comes with the onnx package: ``light:NAME``."""

    name: str

    def __str__(self) -> str:
        return f"onnx, light:{self.name}"


@dataclasses.dataclass(frozen=True)
class Torch:
    """A module and its inputs, made from a configuration of a library."""

    library: str
    make: Callable[[], Any]
    dynamic: dict[str, dict[int, str]] | None = None
    """Of an entry that goes through a file of ONNX, written by torch: symbols of its inputs' axes."""

    def __str__(self) -> str:
        return f"{self.library}, exported to ONNX" if self.dynamic is not None else self.library


@dataclasses.dataclass(frozen=True)
class Entry:
    """One model.

    Parameters
    ----------
    name
        Unique.
    source
        Where it comes from.
    dims, values, passes
        As of ``--dim``, ``--value`` and ``--passes``.
    by
        Granularity of the plan.
    quick
        Whether the tests examine it at every level.
    full
        Whether they examine it at the full level.
    """

    name: str
    source: Wheel | Light | Torch
    dims: str = ""
    values: str = ""
    passes: str = ""
    by: str = "operator"
    quick: bool = False
    full: bool = False


@dataclasses.dataclass
class Record:
    """What came of an entry; a stage that was not reached leaves its fields empty.

    Parameters
    ----------
    name, source
        Those of the entry.
    operators, parameters, flops
        As imported.
    import_s, plan_s
        Processor seconds.
    gap
        Of the plan; relative.
    devices
        How many of four the plan uses.
    counted
        What was counted independently and agrees, or why it was not.
    parts
        ``equal`` when the parts computed what the whole computes; of a module, what the plan was written as.
    stage
        The one that failed, if any: ``obtain`` where it is not to be had here, ``build`` where it cannot be
        made, ``import``, ``count``, ``plan``, ``export`` or ``run``.
    failure
        Its message.
    """

    name: str
    source: str
    operators: int | None = None
    parameters: int | None = None
    flops: float | None = None
    import_s: float | None = None
    plan_s: float | None = None
    gap: float | None = None
    devices: int | None = None
    counted: str = ""
    parts: str = ""
    stage: str = ""
    failure: str = ""

    @property
    def planned(self) -> bool:
        """Whether it came from import to plan."""
        return self.plan_s is not None
