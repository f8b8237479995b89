"""What is minimised, one file per objective: value, words, the options that fit; no plan is made here."""

from __future__ import annotations

from placer.objectives.cost import COST
from placer.objectives.latency import LATENCY
from placer.objectives.memory import MEMORY
from placer.objectives.objective import Measured, ObjectiveInfo
from placer.objectives.step import STEP
from placer.objectives.throughput import THROUGHPUT
from placer.options import Objective

__all__ = ["OBJECTIVES", "Measured", "ObjectiveInfo"]

OBJECTIVES: dict[Objective, ObjectiveInfo] = {
    Objective.THROUGHPUT: THROUGHPUT,
    Objective.LATENCY: LATENCY,
    Objective.MEMORY: MEMORY,
    Objective.COST: COST,
    Objective.STEP: STEP,
}
