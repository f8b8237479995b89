"""Plans by annealing: from a plan, lower the target load a little and wander until all devices keep it."""

from __future__ import annotations

from collections.abc import Callable

import numpy as np

from placer.arrays import IntArray
from placer.methods.local_search.kernels import moves as kernel
from placer.methods.local_search.kernels.annealing import Course, anneal
from placer.methods.local_search.kernels.twister import Twister
from placer.methods.local_search.kernels.views import StateView, StaticView
from placer.methods.local_search.local_search import make_state, make_static, state_ms
from placer.methods.starts.pipelines import positions, resample_order
from placer.options import Options, Schedule
from placer.reductions.problem import Problem
from placer.search.run import Run
from placer.search.work import MOVE_S, VISIT_S

__all__ = ["SCHEDULES", "Polish"]

SCHEDULES = ((0.02, 0.1), (0.005, 0.4), (0.02, 0.4), (0.005, 0.02), (0.05, 0.1))
"""First temperature in targets, and target as a share of the gap, of annealings in turn."""
SLICE = 200_000
"""Moves between two looks at the clock."""
ORDERED_SLICE = 50_000
"""The same where moves respect an order of the devices, which is drawn anew for each slice."""


class Polish:
    """Improves assignments of items.

    Parameters
    ----------
    problem
        The items; its edges are the order that moves have to respect.
    options
        The model and the seed.
    objective_ms
        Of an assignment ``(N,)``; inf where it breaks a rule.
    """

    def __init__(self, problem: Problem, options: Options, objective_ms: Callable[[IntArray], float]) -> None:
        self.problem, self.options, self.objective_ms = problem, options, objective_ms
        self.static = make_static(problem, options)
        self.state = make_state(self.static)
        self.views = StaticView(self.static), StateView(self.state)
        self.gpipe = options.schedule is Schedule.GPIPE
        self.rng = np.random.default_rng(options.seed)
        self.forward_share: float | None = None
        """For gpipe: share of the forward load in the objective that the bound leaves possible."""
        self._by_bound = False
        self.best: IntArray | None = None
        self.best_ms = np.inf

    def offer(self, device: IntArray) -> bool:
        """Take an assignment ``(N,)`` if it is valid and the best so far."""
        value = self.objective_ms(device)
        if value < self.best_ms:
            self.best, self.best_ms = device.copy(), value
            return True
        return False

    def load_ms(self, device: IntArray) -> float:
        """Objective of an assignment, ``(N,)``, by its loads; inf where it exceeds a memory limit."""
        held = self.state.device.copy()
        self.state.device[:] = device
        value = state_ms(self.static, self.state, self.views)
        self.state.device[:] = held
        return value

    def descend(self, device: IntArray, run: Run) -> IntArray:
        """Descend to a local optimum of the moves of single items; returns it, ``(N,)``."""
        self.state.device[:] = device
        self._draw_order()
        done = False
        while not done and run.stopped() is None:
            work, done = kernel.improve(*self.views, 10_000_000)
            run.spend(VISIT_S * work)
        found: IntArray = self.state.device.copy()
        self.offer(found)
        return found

    def anneal(
        self, device: IntArray, lower_ms: float, run: Run, *, moves: int, reach: float, heat: float
    ) -> bool:
        """Anneal from an assignment towards a target between the bound and the best plan.

        Parameters
        ----------
        device
            Where to start, ``(N,)``.
        lower_ms
            Proven lower bound.
        moves
            Moves tried.
        reach
            Target: the best value less this share of the gap.
        heat
            First temperature, in targets; the last is a thousandth of it.

        Returns
        -------
        bool
            Whether the best plan improved.
        """
        target = self.best_ms - reach * (self.best_ms - lower_ms)
        forward, backward = self._targets(target)
        found = np.empty_like(device)
        twister = Twister(int(self.rng.integers(2**31)))
        self.state.device[:] = device
        improved = False
        largest = max(2, min(24, len(device) // 8))
        course = Course(twister, forward, backward, target, largest, found)
        slices = -(-moves // (ORDERED_SLICE if len(self.problem.edges) else SLICE))
        length = moves // slices
        hot, cold = heat * target, 1e-3 * heat * target
        for part in range(slices):
            if run.stopped() is not None:
                break
            self._draw_order()
            top = hot * (cold / hot) ** (part / slices)
            low = hot * (cold / hot) ** ((part + 1) / slices)
            kernel.fill(*self.views)
            energy = anneal(*self.views, course, length, top, low)
            run.spend(MOVE_S * length)
            improved = self.offer(found) or improved
            if energy <= 0.0:
                break
        return self.offer(self.descend(self.best if self.best is not None else found, run)) or improved

    def _draw_order(self) -> None:
        """Draw an order of the devices that the state agrees with, where moves have to respect one."""
        if len(self.problem.edges):
            self.state.position[:] = positions(resample_order(self.problem, self.state.device, self.rng))

    def _targets(self, target: float) -> tuple[float, float]:
        """Split a target between the directions: by turns as the best plan does, and as the bound allows."""
        if not self.gpipe or self.best is None:
            return target, target
        self._by_bound = not self._by_bound and self.forward_share is not None
        if self._by_bound and self.forward_share is not None:
            return self.forward_share * target, (1 - self.forward_share) * target
        self.state.device[:] = self.best
        kernel.fill(*self.views)
        forward = float(self.state.load[0].max())
        share = forward / max(1e-300, forward + float(self.state.load[1].max()))
        return share * target, (1 - share) * target
