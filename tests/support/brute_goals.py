"""Least memory share and least price within a time, by trying everything; shares no code with placer."""

import itertools
from dataclasses import dataclass

import numpy as np

from placer.instance.instance import Instance
from tests.support.brute_memory import Brute, assignments


@dataclass(frozen=True)
class Found:
    """One plan with its order and what recomputes: time, largest share of memory, and price."""

    time_ms: float
    share: float
    price: float


def plans(
    instance: Instance,
    *,
    contiguous: bool = True,
    schedule: str = "1f1b",
    communication: str = "sequential",
    recompute: str = "none",
    microbatches: int = 1,
) -> list[Found]:
    """Everything that holds, whatever it takes."""
    brute = Brute(instance)
    prices = [getattr(c, "price_per_hour", None) or 0.0 for c in instance.classes for _ in range(c.count)]
    found = set()
    for plan in assignments(instance):
        loads = brute.loads(plan, communication)
        orders = brute.orders(plan) if contiguous else [tuple(sorted(set(plan)))]
        price = sum(prices[d] for d in set(plan))
        for order in orders:
            choices = []
            for s, d in enumerate(reversed(order), start=1):
                some = {"none": (False,), "auto": (False, True), "all": (True,)}[recompute]
                stage = s if contiguous else microbatches
                flights = brute.in_flight(stage, schedule if contiguous else "gpipe", microbatches)
                held = [
                    (d, x, brute.bytes(plan, d, flights, x))
                    for x in ((False,) if brute.costs.host[d] else some)
                ]
                choices.append([h for h in held if h[2] <= brute.room[d] * (1 + 1e-9)])
            for again in itertools.product(*choices):
                load = np.array([loads[d, int(x)] for d, x, _ in again])
                time = load.sum(axis=1).max() if schedule == "1f1b" else load.max(axis=0).sum()
                shares = [b / brute.room[d] for d, _, b in again if np.isfinite(brute.room[d]) and b > 0]
                found.add(Found(float(time), max(shares, default=0.0), price))
    return sorted(found, key=lambda f: (f.time_ms, f.share, f.price))


def best(found: list[Found], goal: str, max_ms: float | None) -> float:
    """Least value of a goal among what is fast enough; inf where nothing is."""
    limit = np.inf if max_ms is None else max_ms * (1 + 1e-9)
    return min((getattr(f, goal) for f in found if f.time_ms <= limit), default=np.inf)
