"""Where every node lies, and what follows from the costs: loads, memory, time per token."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from itertools import pairwise
from math import inf

import numpy as np

from placer.arrays import FloatArray
from placer.serving.serving_model import Costs, Pool, ServingModel, Setting
from placer.serving.serving_plan import ServedStage, ServingPlan, Visit

__all__ = ["Figures", "Place", "figures", "tied", "to_plan"]


@dataclass(frozen=True)
class Place:
    """A stage: its option, the nodes that it holds, and whether it computes prompts alone."""

    option: int
    nodes: tuple[int, ...]
    prefill: bool = False


@dataclass(frozen=True, eq=False)
class Figures:
    """What a layout gives; arrays by place, times in ms.

    Parameters
    ----------
    compute_ms, receive_ms, send_ms, prefill_ms
        By place; prefill with its transfers.
    visits
        Place, first node and node after the last of each stretch.
    return_ms, tpot_ms, ttft_ms
        Of a token; inf for a prefill that the model does not know.
    """

    compute_ms: FloatArray
    receive_ms: FloatArray
    send_ms: FloatArray
    prefill_ms: FloatArray
    visits: tuple[tuple[int, int, int], ...]
    return_ms: float
    tpot_ms: float
    ttft_ms: float

    @property
    def by_place(self) -> tuple[FloatArray, ...]:
        """Times to compute, receive and send, and of a prompt."""
        return self.compute_ms, self.receive_ms, self.send_ms, self.prefill_ms

    @property
    def load_ms(self) -> FloatArray:
        """Time per microbatch."""
        return self.compute_ms + self.receive_ms + self.send_ms


def figures(model: ServingModel, costs: Costs, setting: Setting, layout: Sequence[Place]) -> Figures:
    """Compute what a layout gives."""
    n = len(model.ids)
    where = np.empty(n, dtype=np.int64)
    for p, place in enumerate(layout):
        where[list(place.nodes)] = p
    starts = [0, *(k for k in range(1, n) if where[k] != where[k - 1]), n]
    visits = tuple((int(where[i]), i, j) for i, j in pairwise(starts))
    compute, receive, send, prefill = np.zeros((4, len(layout)))
    options = [place.option for place in layout]
    known = costs.prefill_ms is not None
    for k in range(n):
        compute[where[k]] += costs.time_ms[options[where[k]], k]
        if costs.prefill_ms is not None:
            prefill[where[k]] += costs.prefill_ms[options[where[k]], k]
    for a, b, k in [(where[k - 1], where[k], k - 1) for k in starts[1:-1]]:
        far = _far(model, options[a], options[b])
        move, slow = (
            (costs.across_ms, costs.prefill_across_ms) if far else (costs.move_ms, costs.prefill_move_ms)
        )
        send[a] += move[options[a], k]
        receive[b] += move[options[b], k]
        if slow is not None:
            prefill[a] += slow[options[a], k]
            prefill[b] += slow[options[b], k]
    a, b = options[where[-1]], options[where[0]]
    move = costs.across_ms if _far(model, a, b) else costs.move_ms
    back = float(move[a, -1] + move[b, -1]) if where[-1] != where[0] else 0.0
    loads = compute + receive + send
    turns = np.array([model.options[o].replicas for o in options])
    tpot = max(float(loads.sum()) + back, setting.microbatches * float((loads / turns).max()))
    ttft = float(prefill.sum()) if known else inf
    return Figures(compute, receive, send, prefill, visits, back, tpot, ttft)


def _far(model: ServingModel, a: int, b: int) -> bool:
    """Whether two options are in different servers."""
    return model.pools[model.options[a].pool].server != model.pools[model.options[b].pool].server


def to_plan(
    model: ServingModel,
    costs: Costs,
    setting: Setting,
    layout: Sequence[Place],
    concurrency: int | None = None,
) -> ServingPlan:
    """Write down a layout with its figures, devices by name.

    Parameters
    ----------
    model, costs, setting, layout
        What lies where.
    concurrency
        Sequences, where they are fewer than there is room for.
    """
    found = figures(model, costs, setting, layout)
    left = [list(pool.names) for pool in model.pools]
    known = costs.prefill_ms is not None
    order = sorted(
        range(len(layout)),
        key=lambda p: (model.pools[model.options[layout[p].option].pool].host, layout[p].nodes[0]),
    )
    stages = []
    for p in order:
        option = model.options[layout[p].option]
        names = tuple(left[option.pool].pop(0) for _ in range(option.devices))
        stages.append(_stage(model, costs, layout[p], names, [figure[p] for figure in found.by_place]))
    rooms = [
        stage.free_bytes / count
        for p, stage in zip(order, stages, strict=True)
        if (count := float(model.counted[list(layout[p].nodes)].sum())) > 0 and stage.free_bytes is not None
    ]
    slots = setting.batch * setting.microbatches
    return ServingPlan(
        batch=setting.batch,
        microbatches=setting.microbatches,
        concurrency=slots if concurrency is None else min(slots, concurrency),
        context=setting.context,
        prompt=setting.prompt if known else None,
        stages=tuple(stages),
        visits=_visits(model, costs, layout, found, order),
        return_ms=found.return_ms,
        tpot_ms=found.tpot_ms,
        tokens_per_s=1e3 * slots / found.tpot_ms,
        ttft_ms=found.ttft_ms if known else None,
        room_per_layer_bytes=min(rooms, default=None),
        unused=tuple(name for names in left for name in names),
    )


def _stage(
    model: ServingModel, costs: Costs, place: Place, names: tuple[str, ...], figures: Sequence[float]
) -> ServedStage:
    """Write down a place: its devices, and times to compute, receive, send, and of a prompt."""
    option = model.options[place.option]
    pool, nodes = model.pools[option.pool], list(place.nodes)
    compute, receive, send, prefill = map(float, figures)
    weights = float(costs.weight_bytes[place.option, nodes].sum()) - tied(model, place)
    cache = float(costs.cache_bytes[place.option, nodes].sum())
    limited = pool.room_bytes < inf
    numbers = [number for v in nodes if (number := model.layer_of[v]) is not None]
    return ServedStage(
        devices=names,
        device_class=pool.cls.name,
        host=pool.host,
        shards=option.shards,
        replicas=option.replicas,
        layers=(min(numbers), max(numbers) + 1) if numbers else None,
        nodes=tuple(model.ids[v] for v in nodes),
        load_ms=compute + receive + send,
        compute_ms=compute,
        receive_ms=receive,
        send_ms=send,
        prefill_ms=None if costs.prefill_ms is None else prefill,
        weight_bytes=weights,
        cache_bytes=cache,
        room_bytes=pool.room_bytes if limited else None,
        free_bytes=pool.room_bytes - weights - cache if limited else None,
        reserve_bytes=_reserve(pool) if limited else None,
    )


def _reserve(pool: Pool) -> float:
    """Memory of a device beyond its room; classes of instances may state their room alone."""
    return max(pool.cls.memory_limit_bytes - pool.room_bytes, 0.0)


def tied(model: ServingModel, place: Place) -> float:
    """Weights of the last node that a place has already, with the first."""
    both = place.nodes[0] == 0 and place.nodes[-1] == len(model.ids) - 1 and len(model.ids) > 1
    return model.tied_bytes / model.options[place.option].shards if both else 0.0


def _visits(
    model: ServingModel, costs: Costs, layout: Sequence[Place], found: Figures, order: Sequence[int]
) -> tuple[Visit, ...]:
    """List the stretches that a token passes."""
    rank = {p: s for s, p in enumerate(order)}
    out = []
    for v, (p, i, j) in enumerate(found.visits):
        o = layout[p].option
        receive = send = before = after = 0.0
        if v > 0:
            far = _far(model, layout[found.visits[v - 1][0]].option, o)
            receive, before = _moves(costs, o, i - 1, far)
        if v + 1 < len(found.visits):
            far = _far(model, o, layout[found.visits[v + 1][0]].option)
            send, after = _moves(costs, o, j - 1, far)
        compute = float(costs.time_ms[o, i:j].sum())
        prefill = None if costs.prefill_ms is None else float(costs.prefill_ms[o, i:j].sum()) + before + after
        out.append(
            Visit(
                stage=rank[p],
                nodes=(i, j),
                receive_ms=receive,
                compute_ms=compute,
                send_ms=send,
                prefill_ms=prefill,
            )
        )
    return tuple(out)


def _moves(costs: Costs, o: int, k: int, far: bool) -> tuple[float, float]:
    """Return the time of a transfer of a step, and of a prompt."""
    move, slow = (costs.across_ms, costs.prefill_across_ms) if far else (costs.move_ms, costs.prefill_move_ms)
    return float(move[o, k]), 0.0 if slow is None else float(slow[o, k])
