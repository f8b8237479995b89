"""The options of a solve, with the same names in Python, on the command line and in results."""

from __future__ import annotations

from enum import StrEnum
from typing import Annotated

from pydantic import BaseModel, ConfigDict, Field

from placer.units import MAX_COUNT

__all__ = ["Communication", "Formulation", "Objective", "Options", "Recompute", "Schedule"]


class Objective(StrEnum):
    """What is minimised; see `placer.objectives`."""

    THROUGHPUT = "throughput"
    LATENCY = "latency"
    MEMORY = "memory"
    COST = "cost"


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
    """Which stages of a training pipeline drop their activations and compute them again."""

    NONE = "none"
    AUTO = "auto"
    ALL = "all"


class Options(BaseModel):
    """Options of ``placer.solve``; see ``placer solve --help`` for what each means."""

    model_config = ConfigDict(frozen=True, extra="forbid")

    objective: Objective = Objective.THROUGHPUT
    contiguous: bool = True
    schedule: Schedule = Schedule.ONE_F_ONE_B
    microbatches: Annotated[int, Field(ge=1, le=MAX_COUNT)] | None = None
    """Microbatches per optimizer step; None for what the instance says."""
    recompute: Recompute = Recompute.NONE
    max_ms: Annotated[float, Field(gt=0, allow_inf_nan=False)] | None = None
    """Most time per sample, for objectives other than time."""
    pieces: Annotated[int, Field(ge=1, le=64)] = 1
    method: str = "auto"
    formulation: Formulation = Formulation.ORDERED
    communication: Communication = Communication.SEQUENTIAL
    time_limit: Annotated[float, Field(gt=0, allow_inf_nan=False)] | None = None
    gap: Annotated[float, Field(ge=0, lt=1)] = 1e-4
    threads: Annotated[int, Field(ge=1, le=1024)] = 1
    seed: Annotated[int, Field(ge=0, le=2**31 - 1)] = 0
    memory_limit_mb: Annotated[int, Field(ge=64)] = 4096
    split: str | None = None
    """File of a split in the paper's result format, for the method ``expert``."""
    pin: dict[str, tuple[str, ...]] = {}
    """By node (id, name or pattern): the devices or classes that it must go to one of."""
    forbid: dict[str, tuple[str, ...]] = {}
    """By node (id, name or pattern): devices or classes that it must not go to."""
    together: tuple[tuple[str, ...], ...] = ()
    """Groups of nodes (ids, names or patterns) that go to one device."""
    apart: tuple[tuple[str, ...], ...] = ()
    """Groups of nodes (ids, names or patterns) that go to pairwise different devices."""
    max_devices: Annotated[int, Field(ge=1)] | None = None
    """At most so many devices hold nodes, hosts included."""
    use_devices: tuple[str, ...] = ()
    """Exactly these devices hold nodes, each at least one; a class stands for all of its devices."""
    replicas: Annotated[int, Field(ge=1, le=1024)] = 1
    """A stage may run on up to so many identical devices."""
    balance: bool = False
    """Among plans that are as good, prefer balanced loads, then fewest transfers, then fewest devices."""
    near: dict[str, str] = {}
    """An earlier assignment (node id to device name): among plans that are as good, move fewest nodes."""
    slack: Annotated[float, Field(ge=0, le=1)] = 0.0
    """What counts as good enough for the secondary goals, relative to the best objective found."""

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
