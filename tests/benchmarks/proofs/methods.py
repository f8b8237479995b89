"""What takes part: methods of placer under several settings, and other programs."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass, field
from typing import Any

from placer.instance.instance import Instance

__all__ = ["METHODS", "PROGRAMS", "Entrant"]


@dataclass(frozen=True)
class Entrant:
    """A method under a setting, and the kinds of cases that it takes."""

    options: dict[str, Any] = field(default_factory=dict)
    kinds: tuple[str, ...] = ("contiguous", "non-contiguous", "latency")


METHODS: dict[str, Entrant] = {
    "auto": Entrant({"method": "auto"}),
    "dp": Entrant({"method": "dp"}, ("contiguous", "latency")),
    "milp": Entrant({"method": "milp"}),
    "colgen": Entrant({"method": "colgen"}, ("non-contiguous",)),
    "dpl": Entrant({"method": "dpl"}, ("contiguous",)),
    "local-search": Entrant({"method": "local-search"}, ("contiguous", "non-contiguous")),
    "paper": Entrant({"method": "milp", "formulation": "paper"}),
    "metis": Entrant({"method": "partition"}, ("contiguous", "non-contiguous")),
    "pipedream": Entrant({"method": "pipedream"}, ("contiguous",)),
}
"""The paper's program asks for less than contiguous pipelines; METIS knows no order of devices at all."""

PROGRAMS: dict[str, Callable[[Instance, dict[str, Any], float, int], dict[str, Any]]] = {}
"""Other programs: called with the instance, options, CPU seconds and MiB; each answers as `measure` does."""
