"""The secondary goals: fewest moves from an earlier plan, balanced loads, fewest transfers and devices."""

from collections.abc import Iterator

import numpy as np

from placer.plans.result import Result, Status
from tests.fuzz.oracle.model import Model
from tests.fuzz.oracle.throughput import Plans

ROUNDING = 1 + 1e-9
CLOSE = 1e-6


def goals_missed(model: Model, plans: Plans, result: Result) -> Iterator[str]:
    """Compare what a result reaches, goal by goal, with the best; what is called unproven may be worse."""
    near, balance = model.options.get("near", {}), model.options.get("balance", False)
    if not (near or balance) or "not proven" in result.message:
        return
    if result.status is not Status.OPTIMAL and not model.options.get("slack"):
        return
    assert result.assignment is not None
    got: list[float] = []
    if near:
        got.append(float(sum(near.get(v) != d for v, d in result.assignment.items())))
    if balance:
        falling = sorted((d.load_ms for d in result.devices), reverse=True)
        got += np.cumsum(falling).tolist()
        got.append(sum(d.receive_ms + d.send_ms for d in result.devices))
        got.append(float(sum(bool(d.nodes) for d in result.devices)))
    slack = model.options.get("slack", 0.0) if balance else 0.0
    if slack:  # later goals may use up what is allowed to earlier ones
        got = got[:1]
    for k, (mine, best) in enumerate(zip(got, _best(model, plans), strict=False)):
        best *= 1 + slack
        if mine > best + CLOSE * abs(best):
            yield f"goal {k} reaches {mine!r}, best {best!r}"
        if abs(mine - best) > CLOSE * abs(best):
            return


def _best(model: Model, plans: Plans) -> list[float]:
    near, balance = model.options.get("near", {}), model.options.get("balance", False)
    slack = 1 + model.options.get("slack", 0.0)
    goals = []
    if near:
        earlier = [model.names.index(near[v]) if near.get(v) in model.names else -1 for v in model.ids]
        goals.append((plans.device != np.array(earlier)).sum(axis=1).astype(float))
    if balance:
        falling = -np.sort(-plans.load, axis=1)
        goals += [falling[:, : k + 1].sum(axis=1) for k in range(model.D)]
        goals += [plans.moved.sum(axis=1), plans.used.astype(float)]
    left = plans.objective <= plans.optimum * slack * ROUNDING
    out = []
    for goal in goals:
        best = float(goal[left].min())
        left &= goal <= best * slack * ROUNDING
        out.append(best)
    return out
