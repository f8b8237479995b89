"""The document of a training plan: the best choice, what none can beat, and the others that were tried."""

from __future__ import annotations

from typing import Literal

from pydantic import ConfigDict, Field

from placer.formats.csv_table import to_csv
from placer.instance.instance import Instance
from placer.plans.result import Result
from placer.studies.saved import Document
from placer.studies.training.training_choices import TrainingRequest

__all__ = ["TrainingPlan", "Tried", "is_training_plan"]


class Tried(Document):
    """A choice, as far as it was looked into; times in ms.

    Parameters
    ----------
    microbatch, replicas, shards, apart, zero, virtual_stages
        See `placer.studies.training.training_choices.Choice`.
    microbatches
        Microbatches that pass each replica in a step.
    stages
        Stages of the pipeline: of the plan, or as many as there are groups of devices.
    step_ms, bound_ms
        Time of a step of the best plan, and what none of this choice is faster than.
    once_ms
        The part of the time that comes once per step: gradients of replicas, optimizer.
    samples_per_s, bubble, peak_memory_bytes
        Of the plan; the bubble is the share of the time in which a mean stage has nothing to do.
    recompute
        Stages that compute their activations again, or those of some of their nodes.
    nodes
        Nodes of the forward pass on each stage, or virtual stage, in pipeline order.
    note
        Why there is no plan.
    """

    microbatch: int
    replicas: int
    shards: int
    apart: bool
    zero: int
    virtual_stages: int = 1
    microbatches: int
    stages: int
    bound_ms: float | None
    step_ms: float | None = None
    once_ms: float | None = None
    samples_per_s: float | None = None
    bubble: float | None = None
    peak_memory_bytes: float | None = None
    recompute: int = 0
    nodes: tuple[int, ...] = ()
    note: str = ""


class TrainingPlan(Document):
    """How to train a model on a cluster.

    Parameters
    ----------
    model, devices
        What is trained, and where.
    request
        What was asked for.
    step_ms, bound_ms
        Time of a step of the best plan, and the proven bound over all that was allowed.
    gap
        ``(step_ms - bound_ms) / step_ms``.
    simulated_ms
        Time of the step by the event simulation.
    tried
        Choices that were solved, the best first, then those that were not.
    considered
        How many choices there are.
    excluded
        In words: what was not allowed.
    notes
        What the figures stand for.
    stopped
        Why the search ended: ``finished``, ``time limit`` or ``interrupted``.
    best
        Instance and result of the best plan; not part of the JSON document.
    """

    model_config = ConfigDict(arbitrary_types_allowed=True)

    format: Literal["placer-training-plan"] = "placer-training-plan"
    version: Literal[1] = 1
    model: str
    devices: str
    request: TrainingRequest
    step_ms: float | None
    bound_ms: float | None
    gap: float | None
    simulated_ms: float | None
    tried: tuple[Tried, ...]
    considered: int
    excluded: tuple[str, ...]
    notes: tuple[str, ...]
    stopped: str
    seconds: float
    best: tuple[Instance, Result] | None = Field(default=None, exclude=True, repr=False)

    def to_csv(self) -> str:
        """Return the choices as CSV with a header line."""
        fields = list(Tried.model_fields)
        rows = (row.model_dump(mode="json") for row in self.tried)
        return to_csv(fields, (row | {"nodes": " ".join(map(str, row["nodes"]))} for row in rows))


def is_training_plan(document: object) -> bool:
    """Whether a JSON document is the plan of a training run."""
    return isinstance(document, dict) and document.get("format") == "placer-training-plan"
