"""What a choice takes at least, from its work alone: before its step is solved."""

from __future__ import annotations

import numpy as np

from placer.methods.step.suffix_labels import Rules
from placer.methods.step.virtual_bound import largest_load
from placer.studies.training.choice_costs import StepCosts
from placer.studies.training.training_choices import TrainingRequest
from placer.tolerances import CERTAIN, EQUAL

__all__ = ["least_step_ms"]


def least_step_ms(made: StepCosts, request: TrainingRequest) -> float:
    """Bound the time of a step of a choice by its work and its longest node; inf where memory is short."""
    instance = made.instance
    m = made.choice.microbatches(request.global_batch)
    devices = min(len(instance.devices), instance.n)
    room = sum(max(0.0, d.memory_limit_bytes) for d in instance.devices)
    if instance.resident_bytes.sum() > room * (1 + EQUAL):
        return float("inf")
    least = instance.class_time_ms.min(axis=1)
    groups = list(instance.groups.values())
    if (
        made.choice.virtual_stages > 1
    ):  # how the pipeline fills is not known: some device has the largest load
        alone = np.setdiff1d(np.arange(instance.n), np.concatenate([*groups, []]).astype(np.int64))
        items = np.array([*least[alone], *(least[g].sum() for g in groups)])
        return m * largest_load(items, devices) + made.least_once_ms * CERTAIN
    longest = max([float(least[g].sum()) for g in groups], default=float(least.max()))
    figures, work, stages = np.zeros((1, 2)), np.array([least.sum()]), np.array([devices])
    shared = float(Rules(m, flow=False).at_least(figures, work, stages)[0])
    return max(shared, m * longest) * CERTAIN + made.least_once_ms * CERTAIN
