"""What differs between objectives."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Protocol

if TYPE_CHECKING:
    from placer.arrays import BoolArray, FloatArray
    from placer.instance.instance import Instance
    from placer.options import Options

__all__ = ["Measured", "ObjectiveInfo", "no_secondary", "number"]


class Measured(Protocol):
    """What a plan does, recomputed from the instance (`placer.plans.figures`)."""

    @property
    def time_ms(self) -> float:
        """Time per sample of a pipeline."""

    @property
    def makespan_ms(self) -> float:
        """Time of a single sample; for plans in pieces."""

    @property
    def step_ms(self) -> float:
        """Time of an optimizer step or a request, fill and drain included."""

    @property
    def memory_bytes(self) -> FloatArray:
        """Peak memory of each device, ``(D,)``."""

    @property
    def used(self) -> BoolArray:
        """Whether a device holds nodes, ``(D,)``."""


def number(value: float, digits: int) -> str:
    """Write a figure without a unit."""
    return f"{value:.{digits}g}"


def no_secondary(options: Options) -> str | None:
    """Refuse what is known for plans that are as fast as possible only."""
    if options.balance or options.near:
        return "secondary goals (balance, near) apply to throughput only"
    if options.papers_program:
        return "the paper's program minimises times only; use --formulation ordered"
    return None


@dataclass(frozen=True, kw_only=True)
class ObjectiveInfo:
    """An objective.

    Parameters
    ----------
    summary
        What is minimised, for help texts.
    value
        The objective of a plan in its unit, from the instance and what the plan does.
    label
        The objective as the name of a figure.
    better
        What a plan with a smaller value is.
    unit
        Unit of objective and bound, for headings.
    shown
        Writes a value with so many significant digits in words for people, with its unit.
    more
        What else a result says in words, from its ``stats`` and objective; empty for nothing.
    refused
        Says why options do not fit, or None.
    unsuited
        Says why an instance does not fit, or None.
    tightened
        The instance without plans whose objective exceeds a value; others may stay.
    servers
        Methods that know servers for this objective though they do not for throughput.
    layers
        Methods that plan which nodes recompute for this objective though they do not for throughput.
    methods
        Where methods serve this objective (``"module:function"``), other than by a function of their own.
    """

    summary: str
    value: Callable[[Instance, Measured], float]
    label: str
    better: str
    unit: str = "ms"
    shown: Callable[[float, int], str] = field(default=lambda value, digits: f"{number(value, digits)} ms")
    more: Callable[[Mapping[str, float | int | str], float], str] = field(default=lambda stats, value: "")
    refused: Callable[[Options], str | None] = field(default=lambda options: None)
    unsuited: Callable[[Instance], str | None] = field(default=lambda instance: None)
    tightened: Callable[[Instance, float], Instance] = field(default=lambda instance, value: instance)
    servers: frozenset[str] = frozenset()
    layers: frozenset[str] = frozenset()
    methods: Mapping[str, str] = field(default_factory=dict)

    @property
    def is_time(self) -> bool:
        """Whether a time is minimised, so that what is said about times is about the objective."""
        return self.unit == "ms"
