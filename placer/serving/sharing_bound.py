"""Tokens per second at most, from what devices can do and hold together (`formulations.serving.sharing`).

A node's time per sequence falls with the batch B (weights are read once for all of it), what it keeps grows
with B and the microbatches M: so the times of a box's largest batch and the memory of its smallest corner
bound all its settings.
"""

from __future__ import annotations

import numpy as np

from formulations.serving import sharing
from formulations.serving.sharing import Sharing
from placer.search.run import Run
from placer.serving.serving_model import ServingModel, Setting
from placer.solvers.linear_program import solve_linear
from placer.tolerances import EQUAL, MEMORY_TOLERANCE

__all__ = ["most_tokens"]


def most_tokens(model: ServingModel, least: Setting, most: Setting) -> float:
    """Bound the tokens per second of all settings between two; inf where nothing is known.

    Parameters
    ----------
    model
        What is served.
    least, most
        With the fewest and the most microbatches and sequences in each.
    """
    costs, taken = model.costs(most), model.costs(least)
    pool = np.array([option.pool for option in model.options])
    splits = np.array([option.shards for option in model.options])
    devices = np.array([len(p.names) for p in model.pools])
    room = np.array([p.room_bytes for p in model.pools]) * (1 + 2 * MEMORY_TOLERANCE)
    held = taken.weight_bytes + taken.cache_bytes
    held[:, -1] = np.maximum(0.0, held[:, -1] - model.tied_bytes / splits)
    both = [option.devices for option in model.options]
    memory = held * np.array(both)[:, None] / (room * devices)[pool][:, None]
    time = np.where(held <= room[pool][:, None], costs.time_ms, np.inf) / most.batch
    rows, group = np.unique(np.concatenate([time, memory]).T, axis=0, return_inverse=True)
    nodes = np.bincount(group.ravel())
    each, share = rows[:, : len(pool)], rows[:, len(pool) :]
    unit = float(each.min(axis=1) @ nodes) / len(costs.time_ms[0])
    if not 0 < unit < np.inf:
        return np.inf
    program = sharing.build(Sharing(nodes, each / unit, share, pool, splits, devices, most.microbatches))
    dual = solve_linear(program, Run()).row_dual
    per_token = 0.0 if dual is None else program.dual_bound(dual) * unit * (1 - EQUAL)
    return 1e3 / per_token if per_token > 0 else np.inf
