"""A tree of programs with more and more anchors (`formulations.anchored`): its leaves hold all plans."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np

from formulations.anchored import Hubs, anchored
from formulations.program import Program
from placer.arrays import BoolArray, IntArray
from placer.options import Options
from placer.reductions.problem import Problem
from placer.search.run import Run
from placer.solvers import highs
from placer.solvers.linear_program import solve_linear
from placer.solvers.solution import Settings, Status
from placer.tolerances import BOUND_MARGIN, EQUAL

__all__ = ["Tree", "linear_bound"]

ROOTS = 3
"""Hubs whose linear programs are compared to choose the first anchor."""
DEPTH = 3
"""Anchors at most."""
WORK_SHARE = 0.7
"""Share of the work left that one program may take where there is a limit."""
SPREAD = 1e6
"""Coefficients that far apart are left to the linear programs, whose bounds do not depend on tolerances."""


@dataclass
class _Leaf:
    """All plans with anchors on devices of some kinds, and a bound on them."""

    anchors: tuple[int, ...]
    kinds: tuple[int, ...]
    program: Program
    bound: float
    beside: BoolArray | None = None
    """Items that lie beside anchors in the best point known, ``(N,)``; None before it is looked for."""


class Tree:
    """Leaves that together hold all plans; bounds are in units of the programs.

    Parameters
    ----------
    problem, hubs
        The problem; loads above 1 are of no interest.
    candidates
        Items that may be anchors, the most expensive first.
    options, run
        As for a method.
    known
        A bound that is known.
    """

    def __init__(
        self,
        problem: Problem,
        hubs: Hubs,
        candidates: IntArray,
        options: Options,
        run: Run,
        known: float,
    ) -> None:
        self.problem, self.hubs, self.candidates = problem, hubs, candidates
        self.options, self.run, self.known = options, run, known
        self.leaves: list[_Leaf] = []
        self._pairs: dict[int, IntArray] = {}
        for anchor in candidates[:ROOTS].tolist():
            leaves = self._divided((), (), 0.0, anchor)
            if not self.leaves or _least(leaves) > _least(self.leaves):
                self.leaves = leaves

    def bound(self) -> float:
        """Return the best bound within the limits of the run."""
        if _least(self.leaves) <= self.known:
            return _least(self.leaves)
        while self.leaves and self.run.stopped() is None:
            leaf = min(self.leaves, key=lambda other: other.bound)
            if leaf.bound >= 1 - self.options.gap:
                break
            if leaf.beside is None:
                if not self._solve(leaf):
                    break
                continue
            next_anchor = self._next_anchor(leaf)
            if next_anchor is None:
                break
            self.leaves.remove(leaf)
            self.leaves += self._divided(leaf.anchors, leaf.kinds, leaf.bound, next_anchor)
        return _least(self.leaves)

    def _divided(
        self, anchors: tuple[int, ...], kinds: tuple[int, ...], bound: float, anchor: int
    ) -> list[_Leaf]:
        """Return the leaves with one more anchor, on a device of every kind that has one left."""
        anchors = (*anchors, anchor)
        inward = self._inward(anchors[0])
        leaves = []
        for kind in np.flatnonzero(self._left(kinds)).tolist():
            if len(anchors) == 1 and np.isinf(self.hubs.time[:, anchor, kind]).any():
                continue
            leaf = _Leaf(anchors, (*kinds, kind), anchored(self.hubs, anchors, (*kinds, kind), inward), bound)
            leaf.bound = max(bound, linear_bound(leaf.program, self.run))
            leaves.append(leaf)
        return leaves

    def _inward(self, anchor: int) -> IntArray:
        """Pairs of `_inward` for a first anchor; none where plans need not be contiguous."""
        if anchor not in self._pairs:
            none = np.zeros((0, 2), dtype=np.int64)
            self._pairs[anchor] = _inward(self.problem, anchor) if self.options.contiguous else none
        return self._pairs[anchor]

    def _left(self, kinds: tuple[int, ...]) -> IntArray:
        """Devices of every kind that hold no anchor, ``(K,)``."""
        return self.hubs.devices - np.bincount(kinds, minlength=len(self.hubs.devices)).astype(np.int64)

    def _solve(self, leaf: _Leaf) -> bool:
        """Solve the program over whole items; tell whether to the end."""
        leaf.beside = np.zeros(self.problem.size, dtype=np.bool_)
        if leaf.program.largest > SPREAD:
            return True
        planned = self.run.planned
        part = self.run.part(work=None if planned is None else WORK_SHARE * planned)
        gap, threads, seed = self.options.gap / 2, self.options.threads, self.options.seed
        found = highs.solve(leaf.program, part, Settings(gap=gap, threads=threads, seed=seed, cutoff=1.0))
        if found.status is Status.FAILED or found.bound is None:
            return False
        leaf.bound = max(leaf.bound, found.bound - BOUND_MARGIN)
        if found.values is not None:
            groups = len(leaf.kinds) + int((self._left(leaf.kinds) > 0).sum())
            lies = found.values[: self.problem.size * groups].reshape(-1, groups)
            leaf.beside = np.asarray((lies[:, : len(leaf.kinds)] > 0.5).any(axis=1))
        return found.status in (Status.OPTIMAL, Status.NOTHING_BETTER)

    def _next_anchor(self, leaf: _Leaf) -> int | None:
        """Return the most expensive hub that lies elsewhere; None where nothing is to be gained."""
        full = len(leaf.anchors) == DEPTH or not self._left(leaf.kinds).any()
        if full or leaf.beside is None or leaf.bound <= self.known:
            return None
        return next(
            (v for v in self.candidates.tolist() if not leaf.beside[v] and v not in leaf.anchors), None
        )


def linear_bound(program: Program, run: Run) -> float:
    """Return what the values of rows of the linear program prove, at most 1; 0 where the solver fails."""
    dual = solve_linear(program, run).row_dual
    return 0.0 if dual is None else min(1.0, max(0.0, program.dual_bound(dual) * (1 - EQUAL)))


def _least(leaves: list[_Leaf]) -> float:
    """Return the bound that leaves prove together; 1 when there are none."""
    return min((leaf.bound for leaf in leaves), default=1.0)


def _inward(problem: Problem, anchor: int) -> IntArray:
    """Pairs (u, w), ``(·, 2)``: w lies on some path between u and the anchor, next to u."""
    pairs = []
    for edges in (problem.edges, problem.edges[:, ::-1]):
        ahead: list[list[int]] = [[] for _ in range(problem.size)]
        for u, w in edges.tolist():
            ahead[w].append(u)
        found, stack = {anchor}, [anchor]
        while stack:
            w = stack.pop()
            for u in ahead[w]:
                pairs += [(u, w)] if w != anchor else []
                if u not in found:
                    found.add(u)
                    stack.append(u)
    return np.array(pairs, dtype=np.int64).reshape(-1, 2)
