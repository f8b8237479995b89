"""What takes part: methods of placer under several settings, and other programs."""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import Any

__all__ = ["METHODS", "Entrant"]


@dataclass(frozen=True)
class Entrant:
    """A method under a setting, the kinds of cases that it takes, and what its programs are solved by."""

    options: dict[str, Any] = field(default_factory=dict)
    kinds: tuple[str, ...] = ("contiguous", "non-contiguous", "latency")
    solver: str = "highs"


METHODS: dict[str, Entrant] = {
    "auto": Entrant({"method": "auto"}),
    "dp": Entrant({"method": "dp"}, ("contiguous", "latency")),
    "milp": Entrant({"method": "milp"}),
    "colgen": Entrant({"method": "colgen"}, ("non-contiguous",)),
    "dpl": Entrant({"method": "dpl"}, ("contiguous",)),
    "local-search": Entrant({"method": "local-search"}, ("contiguous", "non-contiguous")),
    "paper": Entrant({"method": "milp", "formulation": "paper"}),
    "cp-sat": Entrant({"method": "milp"}, solver="cp_sat"),
    "metis": Entrant({"method": "partition"}, ("contiguous", "non-contiguous")),
    "pipedream": Entrant({"method": "pipedream"}, ("contiguous",)),
}
"""The paper's program asks for less than contiguous pipelines; METIS knows no order of devices at all."""
