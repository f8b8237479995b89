"""Secondary goals of a throughput program: what to prefer among plans that are good enough.

Sets
    d ∈ devices or slots, c ∈ items, κ ∈ kinds.
Data
    n_{cκ}  nodes of item c that an earlier plan has elsewhere than on kind κ (each device its own kind).
Variables
    L_d      load of device d, both directions (an expression, see `formulations.throughput.shared`);
    t, e_d ≥ 0  with  e_d ≥ L_d − t;   u_d ≥ x_{cd}.
Goals, each minimised in turn while the earlier ones keep their values
    balance k   k t + Σ_d e_d = sum of the k largest loads (Ogryczak & Tamir, 2003): for k = 1, 2, ... in
                turn it makes the falling sequence of loads lexicographically smallest
    transfers   Σ_d time that d spends on receiving and sending
    devices     Σ_d u_d, the devices that hold items
    memory      z,  with  Σ_c m_c x_{cd} ≤ z M_d on every device with a limit M_d
    changes     Σ_{cdκ} n_{cκ} x_{cdκ}, the nodes that move
"""

from __future__ import annotations

from dataclasses import dataclass
from enum import StrEnum
from typing import Any

from formulations.rows import Expression, Inside, Model, difference, total
from placer.arrays import FloatArray

__all__ = ["Cap", "Goal", "GoalName", "Secondary"]


class GoalName(StrEnum):
    """What is preferred."""

    BALANCE = "balance"
    TRANSFERS = "transfers"
    DEVICES = "devices"
    CHANGES = "changes"
    MEMORY = "memory"


@dataclass(frozen=True, eq=False)
class Goal:
    """A goal; ``largest`` is k of balance, ``moved`` is n_{cκ} of changes, ``(N, K)``."""

    name: GoalName
    largest: int = 1
    moved: FloatArray | None = None


@dataclass(frozen=True, eq=False)
class Cap:
    """What an earlier goal may be at most, ms or a count."""

    goal: Goal
    value: float


class Secondary:
    """Adds caps on earlier goals and minimises one, device by device, then `finish`.

    Parameters
    ----------
    model
        The model under construction; its objective is replaced.
    goal
        The goal to minimise.
    caps
        The earlier ones.
    scale
        What times in ms are multiplied with.
    most
        The most that a device may use of its memory, in the unit of the program.
    """

    def __init__(self, model: Model, goal: Goal, caps: tuple[Cap, ...], scale: float, most: float) -> None:
        self.model, self.scale = model, scale
        self.goals = [*(cap.goal for cap in caps), goal]
        self.caps = [cap.value for cap in caps]
        self.sums = [Expression() for _ in self.goals]
        self.levels = {
            i: model.real(f"level_{i}") for i, g in enumerate(self.goals) if g.name is GoalName.BALANCE
        }
        for i, level in self.levels.items():
            self.sums[i].add(level, float(self.goals[i].largest))
        self.share: Any = None
        """Bounds the memory of every device in place of the limits where it is the goal."""
        if goal.name is GoalName.MEMORY:
            self.share = model.real("z", 0.0, most)
            self.sums[-1].add(self.share)

    def add_device(self, label: str, inside: Inside, load: Expression, transfers: Expression) -> None:
        """Add one device or slot: what it holds by kind, its load and its transfer time, both scaled."""
        columns = [total(column) for column in zip(*inside.values(), strict=True)]
        for i, goal in enumerate(self.goals):
            if goal.name is GoalName.BALANCE:
                excess = self.model.real(f"e_{i}_{label}")
                self.model.at_most(difference(load, self.levels[i]).add(excess, -1.0))
                self.sums[i].add(excess)
            elif goal.name is GoalName.TRANSFERS:
                self.sums[i].add(transfers)
            elif goal.name is GoalName.DEVICES:
                used = self.model.real(f"used_{i}_{label}", 0.0, 1.0)
                self.sums[i].add(used)
                for x in columns:
                    self.model.at_most(difference(x, used))
            elif goal.moved is not None:
                for kind, items in inside.items():
                    for c, x in enumerate(items):
                        self.sums[i].add(x, float(goal.moved[c, kind]))

    def finish(self) -> None:
        """Cap the earlier goals and minimise the last one."""
        for goal, value, expression in zip(self.goals, self.caps, self.sums, strict=False):
            timed = goal.name in (GoalName.BALANCE, GoalName.TRANSFERS)
            self.model.at_most(expression, value * (self.scale if timed else 1.0))
        self.model.minimise(self.sums[-1])
