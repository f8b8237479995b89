"""The methods that find plans, by name.

Each is a function ``(instance, options, run) -> Outcome``; modules are imported when they are used.
"""

from __future__ import annotations

from dataclasses import dataclass
from importlib import import_module
from typing import Protocol, cast

from placer.instance import Instance
from placer.options import Objective, Options
from placer.run import Outcome, Run

__all__ = ["METHODS", "Method", "MethodInfo", "load_method"]


class Method(Protocol):
    """A method: takes an instance, options and a run, hands back what it found."""

    def __call__(self, instance: Instance, options: Options, run: Run) -> Outcome:
        """Find a plan, a bound, or the reason why there is none."""


@dataclass(frozen=True)
class MethodInfo:
    """A method in the registry."""

    name: str
    where: str
    """``"module:function"``."""
    objectives: frozenset[Objective]
    summary: str


BOTH = frozenset(Objective)
THROUGHPUT = frozenset({Objective.THROUGHPUT})
LATENCY = frozenset({Objective.LATENCY})

METHODS: dict[str, MethodInfo] = {
    info.name: info
    for info in (MethodInfo("milp", "placer.methods.milp:solve", BOTH, "integer program on HiGHS"),)
}


def load_method(name: str) -> Method:
    """Import the method called ``name``."""
    module, function = METHODS[name].where.split(":")
    return cast(Method, getattr(import_module(module), function))
