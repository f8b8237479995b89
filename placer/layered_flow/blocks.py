"""Plans of blocks: devices that together pass a flow through some whole layers, one block after the other.

For a target F a block is a device, blocks in series (layers add, the flow is the same) or blocks in parallel
(the flows add, the layers are the same); links are taken to carry everything.  Which blocks are worth having
is told by a packing program, whose duals say what a device of each kind is worth: for these prices a dynamic
program finds the cheapest block of every length and flow,

    W(ℓ, f) = min( v_t of a kind with τ_t(ℓ) >= f,  W(a, f) + W(ℓ − a, f),  W(ℓ, g) + W(ℓ, f − g) ),

with flows in steps of F / `STEPS`, rates rounded down.  Blocks are added until none is cheaper than its
layers; then the program is solved in whole numbers.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np

from formulations.serving import packing
from placer.arrays import FloatArray, IntArray
from placer.layered_flow.flow_problem import FlowProblem, Ranges
from placer.layered_flow.worths import Packing
from placer.search.run import Run
from placer.solvers.highs import solve
from placer.solvers.solution import Settings
from placer.tolerances import EQUAL

__all__ = ["plan_of_blocks"]

STEPS = 120
"""Flows that are told apart."""
LONGEST = 20
"""Layers of the longest block that is looked for; what one device holds is always looked at."""
ROUNDS = 40
PACKING_WORK_S = 5.0
"""Work for a program in whole numbers, in nominal seconds."""

Held = tuple[int, int, int]
"""Kind, first layer within the block, layers."""


@dataclass(frozen=True, eq=False)
class Block:
    """Layers, devices of each kind ``(T,)``, and what each holds."""

    length: int
    uses: FloatArray
    held: tuple[Held, ...]


def plan_of_blocks(problem: FlowProblem, flow: float, run: Run) -> Ranges | None:
    """Return ranges that pass a flow if links carry everything, or None where no such plan was found."""
    counts = np.array([float(len(kind)) for kind in problem.kinds])
    rates = [problem.useful[kind[0]] for kind in problem.kinds]
    blocks = _equal_groups(rates, counts, flow)
    master = Packing(counts)
    for block in blocks:
        master.add(float(block.length), block.uses)
    known = {(block.length, block.uses.tobytes()) for block in blocks}
    for _ in range(ROUNDS):
        point = master.solve(run)
        if point is None or run.stopped() is not None:
            return None
        made = [
            block
            for block in _cheap_blocks(rates, point[1], flow)
            if (block.uses <= counts).all() and (block.length, block.uses.tobytes()) not in known
        ]
        if not made:
            break
        for block in made:
            known.add((block.length, block.uses.tobytes()))
            master.add(float(block.length), block.uses)
        blocks += made
    if point is None or point[0] < problem.layers * (1 - EQUAL):
        return None
    return _laid_out(problem, _chosen(problem, blocks, counts, run))


def _chosen(problem: FlowProblem, blocks: list[Block], counts: FloatArray, run: Run) -> list[Block]:
    """Take as many blocks as all layers need, or none if they do not reach."""
    program = packing.build(counts, [float(b.length) for b in blocks], [b.uses for b in blocks], integer=True)
    settings = Settings(gap=0.0, target=-problem.layers + 0.5)
    solution = solve(program, run.part(work=PACKING_WORK_S, quiet=True), settings)
    if solution.values is None or solution.objective is None or solution.objective > -problem.layers + 0.5:
        return []
    return [block for block, x in zip(blocks, solution.values, strict=True) for _ in range(round(x))]


def _laid_out(problem: FlowProblem, blocks: list[Block]) -> Ranges | None:
    """Put blocks one after the other, the last one cut where the layers end."""
    free = [list(kind) for kind in problem.kinds]
    ranges: Ranges = {}
    first = 0
    for block in sorted(blocks, key=lambda b: b.held):
        for t, start, length in block.held:
            s, e = first + start, min(first + start + length, problem.layers)
            if s < e:
                ranges[free[t].pop(0)] = (s, e)
        first += block.length
    return ranges if first >= problem.layers else None


def _equal_groups(rates: Sequence[FloatArray], counts: FloatArray, flow: float) -> list[Block]:
    """Return for each kind and length as few devices, all with these layers, as pass the flow."""
    sizes = [
        (t, k, int(np.ceil(flow / rate[k - 1] * (1 - EQUAL))))
        for t, rate in enumerate(rates)
        for k in range(len(rate), 0, -1)
        if rate[k - 1] * counts[t] >= flow * (1 - EQUAL)
    ]
    return [Block(k, _uses(len(rates), [t] * size), ((t, 0, k),) * size) for t, k, size in sizes]


def _uses(kinds: int, devices: Sequence[int]) -> FloatArray:
    return np.bincount(devices, minlength=kinds).astype(np.float64)


def _cheap_blocks(rates: Sequence[FloatArray], value: FloatArray, flow: float) -> list[Block]:
    """Return for each length the cheapest block that passes the flow, if it is worth less than its layers."""
    longest = max(LONGEST, max(len(rate) for rate in rates))
    steps = [
        np.minimum(STEPS, np.floor(rate / flow * STEPS * (1 + EQUAL))).astype(np.int64) for rate in rates
    ]
    price = np.full((longest + 1, STEPS + 1), np.inf)
    price[:, 0] = 0.0
    how = np.zeros((longest + 1, STEPS + 1, 2), dtype=np.int64)
    for length in range(1, longest + 1):
        _price_length(price, how, length, steps, value)
    return [
        _block(how, length, len(rates))
        for length in range(1, longest + 1)
        if price[length, STEPS] < length * (1 - EQUAL) - EQUAL
    ]


DEVICE, SERIES, PARALLEL = 0, 1, 2


def _price_length(
    price: FloatArray, how: IntArray, length: int, steps: Sequence[IntArray], value: FloatArray
) -> None:
    """Fill in W(ℓ, ·) and how it comes about, given those of fewer layers."""
    best, made = price[length], how[length]
    for t, step in enumerate(steps):
        if length <= len(step):
            flows = np.arange(1, step[length - 1] + 1)
            flows = flows[value[t] < best[flows]]
            best[flows], made[flows] = value[t], (DEVICE, t)
    for part in range(1, length // 2 + 1):
        both = price[part] + price[length - part]
        (flows,) = np.nonzero(both < best - EQUAL)
        best[flows], made[flows] = both[flows], (SERIES, part)
    for f in range(2, STEPS + 1):
        both = best[1 : f // 2 + 1] + best[f - 1 : f - f // 2 - 1 : -1]
        least = int(np.argmin(both))
        if both[least] < best[f] - EQUAL:
            best[f], made[f] = both[least], (PARALLEL, least + 1)


def _block(how: IntArray, length: int, kinds: int) -> Block:
    """Follow how the cheapest block of a length comes about."""
    held: list[Held] = []
    todo = [(0, length, STEPS)]
    while todo:
        first, layers, flow = todo.pop()
        kind, part = how[layers, flow].tolist()
        if kind == DEVICE:
            held.append((part, first, layers))
        elif kind == SERIES:
            todo += [(first, part, flow), (first + part, layers - part, flow)]
        else:
            todo += [(first, layers, part), (first, layers, flow - part)]
    return Block(length, _uses(kinds, [t for t, _, _ in held]), tuple(sorted(held, key=lambda h: h[1:])))
