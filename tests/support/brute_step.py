"""Shortest steps by trying everything: every plan of `brute_features`, every order of its stages."""

import itertools

import numpy as np

from placer.instance.instance import Instance
from tests.support.brute_features import Modes, _Grouped, groupings
from tests.support.machines import machines

ROUNDING = 1e-9
SINGLE = Modes()


def tasks(stage_from_end: int, microbatches: int, schedule: str) -> list[tuple[str, int]]:
    """What a stage does, in order: forward ("F") and backward ("B") passes of the microbatches."""
    if schedule == "gpipe":
        return [(way, k) for way in "FB" for k in range(microbatches)]
    ahead = min(stage_from_end, microbatches)
    out = [("F", k) for k in range(ahead)]
    for k in range(microbatches):
        out.append(("B", k))
        if ahead + k < microbatches:
            out.append(("F", ahead + k))
    return out


def makespan(forward: list[float], backward: list[float], microbatches: int, schedule: str) -> float:
    """Run the tasks of all stages, each when the stage is free and its data have come."""
    stages = len(forward)
    todo = [tasks(stages - s, microbatches, schedule) for s in range(stages)]
    ended: dict[tuple[str, int, int], float] = {}
    free = [0.0] * stages
    while any(todo):
        before = len(ended)
        for s in range(stages):
            while todo[s]:
                way, k = todo[s][0]
                if way == "F":
                    needs = ("F", s - 1, k) if s else None
                else:
                    needs = ("B", s + 1, k) if s + 1 < stages else ("F", s, k)
                if needs is not None and needs not in ended:
                    break
                begin = max(free[s], ended.get(needs, 0.0) if needs else 0.0)
                free[s] = begin + (forward if way == "F" else backward)[s]
                ended[way, s, k] = free[s]
                todo[s].pop(0)
        assert len(ended) > before, "the stages wait for each other"
    return max(free)


def shortest_step(
    instance: Instance,
    schedule: str,
    communication: str,
    microbatches: int,
    recompute: str = "none",
    modes: Modes = SINGLE,
) -> float:
    """Return the least time of a step over all contiguous plans, inf where there is none."""
    devices = machines(instance)
    kind = ("ordered", schedule, communication)
    known: dict[tuple[tuple[float, ...], tuple[float, ...]], float] = {}
    best = np.inf
    for groups in groupings(list(range(len(devices))), devices, modes, bool(instance.servers)):
        plans = _Grouped(instance, devices, groups, kind, modes)
        if len(plans.plans):
            best = min(best, _shortest(plans, microbatches, recompute, known, best))
    return best


def _shortest(
    plans: _Grouped,
    microbatches: int,
    recompute: str,
    known: dict[tuple[tuple[float, ...], tuple[float, ...]], float],
    best: float,
) -> float:
    _, schedule, communication = plans.kind
    compute, receive, send = plans._parts()
    once = (plans._sync() * plans.used).max(axis=1) * plans.instance.training.microbatches
    choices = [(plans.memory(a), plans.busy(compute, a)) for a in plans.choices(recompute)]
    for order, (ok, flights) in zip(itertools.permutations(range(plans.G)), plans._orders(), strict=True):
        for memory, busy in choices:
            load = {
                "sequential": busy + receive + send,
                "overlap": np.maximum(busy, receive + send),
                "duplex": np.maximum(busy, np.maximum(receive, send)),
            }[communication]
            for p in np.flatnonzero(ok & plans.fits(memory, flights)).tolist():
                used = [g for g in order if plans.used[p, g]]
                forward, backward = load[p, :, used].T.tolist()
                if microbatches * (max(forward) + (max(backward) if schedule == "gpipe" else 0.0)) >= best:
                    continue
                key = tuple(forward), tuple(backward)
                if key not in known:
                    known[key] = makespan(forward, backward, microbatches, schedule)
                best = min(best, known[key] + float(once[p]))
    return best
