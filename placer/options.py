"""The options of a solve, with the same names in Python, on the command line and in results."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from enum import StrEnum
from typing import Annotated, Any, Literal, TypedDict

from pydantic import BaseModel, ConfigDict, Field

from placer.units import MAX_COUNT

__all__ = [
    "Communication",
    "Formulation",
    "Group",
    "Objective",
    "OptionChanges",
    "Options",
    "Recompute",
    "Schedule",
]


class Objective(StrEnum):
    """What is minimised; see `placer.objectives`."""

    THROUGHPUT = "throughput"
    LATENCY = "latency"
    MEMORY = "memory"
    COST = "cost"
    STEP = "step"


class Schedule(StrEnum):
    """Pipelined training: one-forward-one-backward (PipeDream), or all forwards first (GPipe)."""

    ONE_F_ONE_B = "1f1b"
    GPIPE = "gpipe"


class Communication(StrEnum):
    """How transfers and computation of one device share its time."""

    SEQUENTIAL = "sequential"
    OVERLAP = "overlap"
    DUPLEX = "duplex"


class Formulation(StrEnum):
    """Which mathematical program the method ``milp`` solves."""

    ORDERED = "ordered"
    PAPER = "paper"


class Recompute(StrEnum):
    """Which stages of a training pipeline drop their activations and compute them again, or which nodes."""

    NONE = "none"
    AUTO = "auto"
    ALL = "all"
    LAYERS = "layers"


class Group(StrEnum):
    """What an option is about; titles and order of the command line's help."""

    PLAN = "the plan"
    GOALS = "among plans that are as good"
    OVERRIDES = "overrides"
    SEARCH = "the search"


def _option(
    default: object, help_: str, group: Group | None = None, metavar: str = "", unset: str = ""
) -> Any:
    """Declare an option.

    Parameters
    ----------
    default
        Its default.
    help_
        What it means; help texts, schema and docstring are made from it.
    group
        Where the command line's help lists it; None where commands have a flag of their own, or none.
    metavar
        What stands for its value there.
    unset
        What holds by default, in words, where the default is None.
    """
    shown = {"group": group, "metavar": metavar, "unset": unset}
    return Field(default, description=help_, json_schema_extra={k: v for k, v in shown.items() if v})


class Options(BaseModel):
    """Options of ``placer.solve``."""

    model_config = ConfigDict(frozen=True, extra="forbid")

    objective: Objective = _option(Objective.THROUGHPUT, "what is minimised", Group.PLAN)
    contiguous: bool = _option(True, "whether data may only flow forward from device to device", Group.PLAN)
    schedule: Schedule = _option(
        Schedule.ONE_F_ONE_B, "pipelined training: minimise max(FW + BW), or max FW + max BW", Group.PLAN
    )
    microbatches: Annotated[int, Field(ge=1, le=MAX_COUNT)] | None = _option(
        None,
        "training: microbatches per optimizer step; so many at most are in flight on a device",
        Group.PLAN,
        "M",
        unset="what the instance says",
    )
    samples: Annotated[int, Field(ge=1, le=MAX_COUNT)] | None = _option(
        None, "inference, objective step: samples of one request", Group.PLAN, "N", unset="one"
    )
    virtual_stages: Annotated[int, Field(ge=1, le=64)] = _option(
        1,
        "training, objective step: the pipeline goes so many times around the devices, which serve their "
        "virtual stages in Megatron's interleaved order; microbatches must be a multiple of the devices",
        Group.PLAN,
        "V",
    )
    recompute: Recompute = _option(
        Recompute.NONE,
        "training: stages that keep what they receive instead of their activations, and compute these again "
        "in the backward pass; with layers each node (with those it is colocated with) chooses by itself",
        Group.PLAN,
    )
    max_ms: Annotated[float, Field(gt=0, allow_inf_nan=False)] | None = _option(
        None, "most time per sample, where the objective is another one", Group.PLAN, "MS", unset="no limit"
    )
    pieces: Annotated[int, Field(ge=1, le=64)] = _option(
        1, "latency: contiguous pieces per accelerator", Group.PLAN, "Q"
    )
    method: str = _option("auto", "how plans are found")
    formulation: Formulation = _option(
        Formulation.ORDERED,
        "program of method milp; the paper's asks only that each device's part be contiguous by itself",
        Group.SEARCH,
    )
    communication: Communication = _option(
        Communication.SEQUENTIAL,
        "load of a device: compute + in + out, max(compute, in + out) or max(compute, in, out)",
        Group.PLAN,
    )
    time_limit: Annotated[float, Field(gt=0, allow_inf_nan=False)] | None = _option(
        None, "stop after so long, reading included, and keep the best plan", Group.SEARCH, "SECONDS"
    )
    gap: Annotated[float, Field(ge=0, lt=1)] = _option(1e-4, "proven gap to stop at", Group.SEARCH, "REL")
    threads: Annotated[int, Field(ge=1, le=1024)] = _option(1, "threads of the solver", Group.SEARCH, "N")
    seed: Annotated[int, Field(ge=0, le=2**31 - 1)] = _option(0, "of random choices", Group.SEARCH, "N")
    memory_limit_mb: Annotated[int, Field(ge=64)] = _option(
        4096,
        "resident memory that a search may take before it stops with what it has, apart from the instance "
        "and from 150 MiB for libraries",
        Group.SEARCH,
        "MB",
    )
    split: str | None = _option(
        None, "file of a split in the paper's result format, for method expert", Group.SEARCH, "FILE"
    )
    pin: dict[str, tuple[str, ...]] = _option(
        {},
        "these nodes go to one of these devices, whatever pins the instance has",
        Group.OVERRIDES,
        "NODE=DEVICE,...",
    )
    forbid: dict[str, tuple[str, ...]] = _option(
        {}, "these nodes must not go there", Group.OVERRIDES, "NODE=DEVICE,..."
    )
    together: tuple[tuple[str, ...], ...] = _option(
        (), "these nodes go to one device", Group.OVERRIDES, "NODE,NODE,..."
    )
    apart: tuple[tuple[str, ...], ...] = _option(
        (), "these nodes go to pairwise different devices", Group.OVERRIDES, "NODE,NODE,..."
    )
    max_devices: Annotated[int, Field(ge=1)] | None = _option(
        None, "at most so many devices hold nodes, hosts included", Group.OVERRIDES, "N"
    )
    use_devices: tuple[str, ...] = _option(
        (), "exactly these devices hold nodes, each at least one", Group.OVERRIDES, "DEVICE,..."
    )
    replicas: Annotated[int, Field(ge=1, le=1024)] = _option(
        1,
        "a stage may run on up to so many identical devices, each taking its share of the samples; in "
        "training they synchronise their weights",
        Group.PLAN,
        "R",
    )
    shards: Annotated[int, Field(ge=1, le=1024)] | tuple[Annotated[int, Field(ge=1, le=1024)], ...] = _option(
        1,
        "a replica may split its nodes over up to so many identical devices of one server, in the degrees "
        "that nodes give figures for; of several values (2,4 or 4,), over that many and no others",
        Group.PLAN,
        "T[,T...]",
    )
    zero: Literal[0, 1, 2] = _option(
        0,
        "training: replicas share out the state of the optimizer (1), and the gradients as well (2)",
        Group.PLAN,
        "Z",
    )
    uniform: bool = _option(
        False, "whether all stages on accelerators have as many replicas and shards", Group.PLAN
    )
    balance: bool = _option(
        False, "prefer balanced loads, then fewest transfers, then fewest devices", Group.GOALS
    )
    near: dict[str, str] = _option(
        {}, "an earlier assignment (node id to device name): among plans that are as good, move fewest nodes"
    )
    slack: Annotated[float, Field(ge=0, le=1)] = _option(
        0.0, "how much worse than the best objective found is as good", Group.GOALS, "REL"
    )

    @property
    def teams(self) -> bool:
        """Whether a stage may run on several devices, or must."""
        return self.replicas > 1 or self.shards not in (1, (1,))

    @property
    def saves_memory(self) -> bool:
        """Whether a device of several that run a stage together may hold less than one by itself."""
        return self.shards not in (1, (1,)) or (self.zero > 0 and self.replicas > 1)

    def degrees(self, known: Sequence[int]) -> tuple[int, ...]:
        """Return into how many shards stages may be split where nodes know some degrees."""
        if isinstance(self.shards, int):
            return (1, *(degree for degree in known if degree <= self.shards))
        return tuple(sorted(set(self.shards)))

    @property
    def pipelined(self) -> bool:
        """Whether plans run a stream of samples; else they run a single one, piece by piece."""
        return self.objective is not Objective.LATENCY

    @property
    def strictly_ordered(self) -> bool:
        """Whether a plan must be contiguous with an acyclic device graph.

        The paper's program asks only that each device's set be contiguous by itself.
        """
        return self.contiguous and not self.per_device_contiguity

    @property
    def papers_program(self) -> bool:
        """Whether the paper's program is asked for, which knows less than the others."""
        return self.method == "milp" and self.formulation is Formulation.PAPER

    @property
    def per_device_contiguity(self) -> bool:
        """Whether contiguity is the paper's weaker one: each set by itself."""
        return self.contiguous and self.papers_program


class OptionChanges(TypedDict, total=False):
    """Single options as keywords, so that editors complete them; `Options` decides."""

    objective: Objective | Literal["throughput", "latency", "memory", "cost", "step"]
    contiguous: bool
    schedule: Schedule | Literal["1f1b", "gpipe"]
    microbatches: int | None
    samples: int | None
    virtual_stages: int
    recompute: Recompute | Literal["none", "auto", "all", "layers"]
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
    shards: int | Sequence[int]
    zero: Literal[0, 1, 2]
    uniform: bool
    balance: bool
    near: Mapping[str, str]
    slack: float


Options.__doc__ = (
    "Options of ``placer.solve``.\n\nA node is an id, a name or a pattern; a device may be a whole class.\n\n"
    "Parameters\n----------\n"
) + "\n".join(
    f"{name} : {OptionChanges.__annotations__[name].__forward_arg__}, default {field.default}\n"
    f"    {field.description}"
    for name, field in Options.model_fields.items()
)
