"""The best plan and the best bound of one search, whichever method it is."""

from __future__ import annotations

import logging
from collections.abc import Mapping
from math import inf

from placer.instance.instance import Instance
from placer.options import Options, Recompute
from placer.plans.figures import objective_of
from placer.plans.plan import Plan
from placer.plans.recompute import with_recompute
from placer.plans.status import Stop
from placer.plans.verify import violations
from placer.search.run import Outcome, Run
from placer.tolerances import EQUAL, EXACT

__all__ = ["Incumbent"]

logger = logging.getLogger(__name__)


class Incumbent:
    """The best plan so far, verified, with its objective recomputed, and the best bound that it leaves.

    A plan that holds is certain, a bound is as good as the numerics behind it.  So bounds are kept by where
    they come from: a plan refutes those that lie above it, and the best of the others remains, never above
    the plan.

    Parameters
    ----------
    instance, options, run
        As for a method.  The bound of the run is one of the bounds; its start is for the method to offer.
    """

    def __init__(self, instance: Instance, options: Options, run: Run) -> None:
        self.instance, self.options, self.run = instance, options, run
        self.plan: Plan | None = None
        self.value = inf
        """Objective of the plan in its unit."""
        self.bounds: dict[str, float] = {"given": run.bound_ms} if run.bound_ms else {}
        """The best bound of each source."""
        self.broken = ""
        """The first rule that the last plan offered breaks; empty where it holds."""

    def follow(self, run: Run) -> None:
        """Tell a run from now on, and take the bound and the plan that it begins with."""
        self.run = run
        self.raise_bound(run.bound_ms or 0.0, "given")
        if run.start is not None:
            self.offer(run.start, "start")

    def offer(self, plan: Plan, source: str) -> float:
        """Take a plan if it holds and is better; return its objective, inf where it breaks a rule.

        Where nothing is said about what recomputes, that does which must.
        """
        if not plan.recompute or self.options.recompute is Recompute.LAYERS:
            plan = with_recompute(self.instance, plan, self.options)
        self.broken = next(iter(violations(self.instance, plan, self.options)), "")
        if self.broken:
            logger.info("%s: plan dropped: %s", source, self.broken)
            return inf
        value = objective_of(self.instance, plan, self.options)
        if value < self.value:
            before = self.bound
            self.plan, self.value = plan, value
            if before > value * (1 + EQUAL):
                logger.info("%s: the bound %g is refuted by a plan of %g", source, before, value)
            self.run.keep(plan)
            self._report(source)
        return value

    def raise_bound(self, bound: float, source: str) -> None:
        """Take a bound if it is better and the plan does not refute it."""
        if max(0.0, self.bounds.get(source, 0.0)) < bound <= self.value * (1 + EQUAL):
            before = self.bound
            self.bounds[source] = float(bound)
            if self.bound > before:
                self._report(source)

    def _report(self, source: str) -> None:
        self.run.report(None if self.plan is None else self.value, self.bound or None, source)

    @property
    def bound_from(self) -> str | None:
        """Where the best bound comes from, of those that the plan does not refute."""
        sure = [source for source, bound in self.bounds.items() if bound <= self.value * (1 + EQUAL)]
        return max(sure, key=lambda source: self.bounds[source], default=None)

    @property
    def bound(self) -> float:
        """The best bound; no objective lies below 0."""
        return 0.0 if self.bound_from is None else min(self.bounds[self.bound_from], self.value)

    def is_within(self, gap: float) -> bool:
        """Whether the bound proves the plan up to a relative gap."""
        return self.plan is not None and self.bound >= self.value * (1 - gap)

    @property
    def proven(self) -> bool:
        """Whether nothing better is left to find for a search over downsets, or asked for."""
        return self.is_within(2 * EXACT) or self.given_suffices

    @property
    def given_suffices(self) -> bool:
        """Whether the bound that was given proves the gap asked for."""
        return self.is_within(self.options.gap) and self.bound_from == "given"

    @property
    def target(self) -> float:
        """The value that a better plan has at most, for a search over downsets."""
        return self.value * (1 - EXACT)

    def outcome(
        self, stop: Stop, message: str = "", stats: Mapping[str, float | int | str] | None = None
    ) -> Outcome:
        """Say what is held; there is no bound where none is known, or no plan."""
        known = stop is not Stop.INFEASIBLE and (self.bound_from is not None or self.value == 0)
        return Outcome(stop, self.plan, self.bound if known else None, message, stats or {})
