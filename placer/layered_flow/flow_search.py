"""What a search for a layered flow holds: the best plan, checked by a maximum flow, and the best bound."""

from __future__ import annotations

from collections.abc import Callable

from placer.layered_flow.flow_check import largest_flow
from placer.layered_flow.flow_problem import FlowProblem, Ranges
from placer.layered_flow.flow_result import Flow
from placer.search.run import Run
from placer.tolerances import EQUAL

__all__ = ["OnProgress", "Search"]

OnProgress = Callable[[float, float | None, float | None, str], None]
"""Called with seconds, tokens per second of the best plan, the bound, and the name of the phase."""

BISECTED = 1e-6
"""Finest relative precision to which flows are bisected."""


class Search:
    """The best plan and the best bound so far.

    Parameters
    ----------
    problem
        The problem.
    run
        Limits and stop button.
    gap
        Relative gap that is enough.
    seed
        For choices that are made at random.
    on_progress
        Called when a plan or bound is better.
    """

    def __init__(
        self,
        problem: FlowProblem,
        run: Run,
        *,
        gap: float,
        seed: int = 0,
        on_progress: OnProgress | None = None,
    ) -> None:
        self.problem, self.run, self.gap, self.seed = problem, run, gap, seed
        self.ranges: Ranges = {}
        self.flows: list[Flow] = []
        self.value = 0.0
        self.bound: float | None = None
        self.phase = ""
        self._on_progress = on_progress

    @property
    def upper(self) -> float:
        """The bound, which must be there."""
        assert self.bound is not None
        return self.bound

    @property
    def precision(self) -> float:
        """Relative precision of bisections."""
        return max(self.gap / 4, BISECTED)

    @property
    def proven(self) -> bool:
        """Whether the gap is small enough."""
        return self.bound is not None and self.bound - self.value <= max(self.gap, EQUAL) * self.value

    @property
    def over(self) -> bool:
        """Whether there is nothing left to do, or the run is over."""
        return self.proven or self.run.stopped() is not None

    def offer(self, ranges: Ranges | None) -> float:
        """Keep a plan if it is the best one; return the tokens per second that it passes."""
        if not ranges:
            return 0.0
        value, flows = largest_flow(self.problem, ranges)
        if value > self.value:
            self.ranges, self.flows, self.value = dict(ranges), flows, value
            if self.bound is not None and self.bound < value:
                self.bound = value  # equal but for rounding: bounds are proven to that
            self._tell()
        return value

    def limit(self, bound: float) -> None:
        """Keep a proven bound if it is the best one."""
        bound = max(bound, self.value)
        if self.bound is None or bound < self.bound:
            self.bound = bound
            self._tell()

    def _tell(self) -> None:
        if self._on_progress is not None:
            best = self.value if self.ranges else None
            self._on_progress(self.run.seconds, best, self.bound, self.phase)
