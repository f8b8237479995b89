"""The methods that find plans, by name.

Each is a function ``(instance, options, run) -> Outcome``; modules are imported when they are used.
"""

from __future__ import annotations

from dataclasses import dataclass
from importlib import import_module
from typing import TYPE_CHECKING, Protocol, cast

from placer.objectives import OBJECTIVES
from placer.options import Objective, Options

if TYPE_CHECKING:
    from placer.instance.instance import Instance
    from placer.search.run import Outcome, Run

__all__ = ["METHODS", "Method", "MethodInfo", "load_entry", "load_method", "time_limit"]


class Method(Protocol):
    """A method: takes an instance, options and a run, hands back what it found."""

    def __call__(self, instance: Instance, options: Options, run: Run) -> Outcome:
        """Find a plan, a bound, or the reason why there is none."""


@dataclass(frozen=True)
class MethodInfo:
    """A method in the registry."""

    name: str
    summary: str
    throughput: str | None = None
    """``"module:function"`` for throughput, or None."""
    latency: str | None = None
    """``"module:function"`` for latency, or None."""
    recompute: bool = False
    """Whether it decides which stages recompute their activations."""
    layers: bool = False
    """Whether it decides which nodes recompute theirs."""
    servers: bool = False
    """Whether it knows that transfers across servers cost more."""
    constraints: bool = False
    """Whether it keeps nodes apart, and devices in use that must be."""
    device_limit: bool = False
    """Whether its program of ordered stages limits the number of devices by itself."""
    pools: bool = False
    """Whether it plans for teams of devices that are drawn from pools as it goes."""
    formulation: bool = False
    """Whether the option ``formulation`` says which program it solves."""
    split: bool = False
    """Whether a file says where each node goes (option ``split``)."""
    anytime: bool = False
    """Whether it searches on and on, so that a limit may strike before it holds a plan."""
    default_time_limit: float | None = None
    """Seconds, when the options set no limit."""

    @property
    def objectives(self) -> frozenset[Objective]:
        """The objectives it plans for."""
        return frozenset(objective for objective in Objective if self.entry(objective) is not None)

    def entry(self, objective: Objective) -> str | None:
        """Return ``"module:function"`` for an objective, or None."""
        own = {Objective.THROUGHPUT: self.throughput, Objective.LATENCY: self.latency}
        return own.get(objective) or OBJECTIVES[objective].methods.get(self.name)


METHODS: dict[str, MethodInfo] = {
    info.name: info
    for info in (
        MethodInfo(
            "auto",
            "cheap methods first, then exact ones, plan and bound handed on",
            throughput="placer.methods.auto:solve",
            latency="placer.methods.auto:solve",
            pools=True,
            recompute=True,
            layers=True,
            servers=True,
            anytime=True,
            constraints=True,
            formulation=True,
        ),
        MethodInfo(
            "milp",
            "mixed-integer program on HiGHS",
            throughput="placer.methods.milp.milp:solve",
            latency="placer.methods.milp.milp_latency:solve",
            pools=True,
            recompute=True,
            layers=True,
            default_time_limit=300.0,
            servers=True,
            anytime=True,
            constraints=True,
            device_limit=True,
            formulation=True,
        ),
        MethodInfo(
            "dp",
            "exact dynamic program over downsets",
            throughput="placer.methods.downsets.dp:solve",
            latency="placer.methods.latency.dp_latency:solve",
            pools=True,
            recompute=True,
            anytime=True,
        ),
        MethodInfo(
            "colgen",
            "column generation and annealing, plans that need not be contiguous",
            throughput="placer.methods.colgen.colgen:solve",
            default_time_limit=300.0,
            anytime=True,
        ),
        MethodInfo(
            "dpl",
            "dynamic program on linear orders",
            throughput="placer.methods.downsets.dpl:solve",
            pools=True,
            recompute=True,
            servers=True,
            anytime=True,
        ),
        MethodInfo(
            "first-fit",
            "devices filled one after another",
            throughput="placer.methods.starts.first_fit:solve",
            pools=True,
            recompute=True,
            layers=True,
            servers=True,
        ),
        MethodInfo(
            "local-search",
            "moves of single items, many starts",
            throughput="placer.methods.local_search.local_search:solve",
            anytime=True,
        ),
        MethodInfo(
            "greedy",
            "accelerators filled in topological order",
            latency="placer.methods.baselines.greedy:solve",
        ),
        MethodInfo(
            "max-load",
            "the throughput plan, run for one sample",
            latency="placer.methods.baselines.max_load:solve",
        ),
        MethodInfo(
            "pipedream",
            "chain of contracted branches, cut optimally",
            throughput="placer.methods.baselines.pipedream:solve",
        ),
        MethodInfo(
            "partition",
            "graph partition by METIS (needs pymetis)",
            throughput="placer.methods.baselines.partition:solve",
        ),
        MethodInfo(
            "expert",
            "a given split (option split)",
            throughput="placer.methods.baselines.expert:solve",
            latency="placer.methods.baselines.expert:solve",
            servers=True,
            split=True,
        ),
        MethodInfo(
            "single",
            "everything on one device",
            throughput="placer.methods.baselines.single:solve",
            latency="placer.methods.baselines.single:solve",
            servers=True,
        ),
    )
}


def load_method(name: str, objective: Objective) -> Method:
    """Import the method called ``name`` for an objective that it plans for."""
    where = METHODS[name].entry(objective)
    if where is None:
        raise ValueError(f"method {name} does not plan for {objective}")
    return load_entry(where)


def load_entry(where: str) -> Method:
    """Import what ``module:function`` names."""
    module, function = where.split(":")
    return cast(Method, getattr(import_module(module), function))


def time_limit(options: Options) -> float | None:
    """Seconds that a solve may take: what the options say, or what its method takes by default."""
    return options.time_limit or METHODS[options.method].default_time_limit
