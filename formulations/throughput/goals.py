"""Secondary goals of a throughput program: what to prefer among plans that are good enough.

Sets
    d ∈ devices or slots, c ∈ items, κ ∈ kinds.
Data
    p_κ     price of a device of kind κ; T the limit on loads
    n_{cκ}  nodes of item c that an earlier plan has elsewhere than on kind κ (each device its own kind).
Variables
    L_d      load of device d, both directions (an expression, see `formulations.throughput.loads`);
    t, e_d ≥ 0  with  e_d ≥ L_d − t;   u_d ≥ x_{cd}.
Goals, each minimised in turn while the earlier ones keep their values
    balance k   k t + Σ_d e_d = sum of the k largest loads (Ogryczak & Tamir, 2003): for k = 1, 2, ... in
                turn it makes the falling sequence of loads lexicographically smallest
    transfers   Σ_d time that d spends on receiving and sending
    devices     Σ_d u_d, the devices that hold items
    memory      z,  with  (memory of d as a share of its limit) ≤ z: `formulations.throughput.stage_memory`
    cost        Σ_{dκ} p_κ u_{dκ},  u_{dκ} ≥ x_{cdκ};  L_d ≤ T Σ_κ u_{dκ} where every kind of d has a price:
                who works is paid, so that the work alone needs a part of some devices
    changes     Σ_{cdκ} n_{cκ} x_{cdκ}, the nodes that move
"""

from __future__ import annotations

from dataclasses import dataclass
from enum import StrEnum
from math import inf

from formulations.expressions import Expression, Model, dot, total
from formulations.throughput.place import Place
from placer.arrays import FloatArray

__all__ = ["Cap", "Goal", "GoalName", "Secondary"]


class GoalName(StrEnum):
    """What is preferred."""

    BALANCE = "balance"
    TRANSFERS = "transfers"
    DEVICES = "devices"
    CHANGES = "changes"
    MEMORY = "memory"
    COST = "cost"


@dataclass(frozen=True, eq=False)
class Goal:
    """A goal; ``largest`` is k of balance, ``moved`` n_{cκ} of changes, ``(N, K)``.

    ``price`` is p_κ of cost, ``(K,)``, and ``high`` its T, scaled.
    """

    name: GoalName
    largest: int = 1
    moved: FloatArray | None = None
    price: FloatArray | None = None
    high: float = inf


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
    """

    def __init__(self, model: Model, goal: Goal, caps: tuple[Cap, ...], scale: float) -> None:
        self.model, self.scale = model, scale
        self.goals = [*(cap.goal for cap in caps), goal]
        self.caps = [cap.value for cap in caps]
        self.parts: list[list[Expression]] = [[] for _ in self.goals]
        self.levels = {
            i: model.real(f"level_{i}") for i, g in enumerate(self.goals) if g.name is GoalName.BALANCE
        }
        for i, t in self.levels.items():
            self.parts[i].append(float(self.goals[i].largest) * t)
        self.z = model.real("z") if goal.name is GoalName.MEMORY else None
        """The largest memory of a device, where that is the goal."""
        if self.z is not None:
            self.parts[-1].append(self.z)

    def add(self, place: Place, load: Expression, transfers: Expression) -> None:
        """Add one device or slot, with its load and its transfer time, both scaled."""
        for i, (goal, parts) in enumerate(zip(self.goals, self.parts, strict=True)):
            if goal.name is GoalName.BALANCE:
                parts.append(self._excess(f"e_{i}_{place.label}", load, self.levels[i]))
            elif goal.name is GoalName.TRANSFERS:
                parts.append(transfers)
            elif goal.name is GoalName.DEVICES:
                parts.append(self._used(f"used_{i}_{place.label}", place))
            elif goal.price is not None:
                parts.append(self._price(f"u_{i}_{place.label}", place, goal, load))
            elif goal.moved is not None:
                parts += [dot(goal.moved[:, kind].tolist(), items) for kind, items in place.x.items()]

    def finish(self) -> None:
        """Cap the earlier goals and minimise the last one."""
        *earlier, last = [total(parts) for parts in self.parts]
        for goal, value, reached in zip(self.goals, self.caps, earlier, strict=False):
            timed = goal.name in (GoalName.BALANCE, GoalName.TRANSFERS)
            self.model.add(reached <= value * (self.scale if timed else 1.0))
        self.model.minimise(last)

    def _excess(self, name: str, load: Expression, t: Expression) -> Expression:
        """e_d ≥ L_d − t."""
        e = self.model.real(name)
        self.model.add(e >= load - t)
        return e

    def _price(self, name: str, place: Place, goal: Goal, load: Expression) -> Expression:
        """Σ_κ p_κ u_κ, u_κ ≥ x_{cκ}, L ≤ T Σ_κ u_κ."""
        price = {kind: float(goal.price[kind]) for kind in place.x} if goal.price is not None else {}
        u = {kind: self.model.real(f"{name}_{kind}", 0.0, 1.0) for kind in price if price[kind] > 0}
        for kind, used in u.items():
            for x in place.x[kind]:
                self.model.add(used >= x)
        if len(u) == len(place.x):
            self.model.add(load <= goal.high * total(u.values()))
        return dot([price[kind] for kind in u], u.values())

    def _used(self, name: str, place: Place) -> Expression:
        """u_d ≥ x_{cd}."""
        u = self.model.real(name, 0.0, 1.0)
        for x in place.items:
            self.model.add(u >= x)
        return u
