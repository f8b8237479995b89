"""What searches for the shortest step have in common: the best plan with its bound, and how they end."""

from __future__ import annotations

from dataclasses import dataclass, field

from placer.instance.instance import Instance
from placer.options import Options
from placer.plans.status import Stop
from placer.search.incumbent import Incumbent
from placer.search.run import Outcome, Run, Stopped
from placer.tolerances import EQUAL

__all__ = ["StepSearch"]


@dataclass(eq=False)
class StepSearch:
    """The best plan and bound of one solve, and its figures."""

    instance: Instance
    options: Options
    run: Run
    is_infeasible: bool = False
    message: str = ""
    """Why it is infeasible."""
    stats: dict[str, float | int | str] = field(default_factory=dict)

    def __post_init__(self) -> None:
        self.best = Incumbent(self.instance, self.options, self.run)

    @property
    def is_closed(self) -> bool:
        """Whether the gap asked for is proven."""
        return self.best.is_within(max(self.options.gap, EQUAL))

    def search(self) -> None:
        """Look for plans and bounds; `Stopped` may end it."""
        raise NotImplementedError

    def outcome(self) -> Outcome:
        """Search, and say what was found and why the search stopped."""
        stop = Stop.FINISHED
        try:
            self.search()
        except Stopped as over:
            stop = over.stop
        if self.is_infeasible and self.best.plan is None:
            return self.best.outcome(Stop.INFEASIBLE, self.message, self.stats)
        if self.is_closed:
            return self.best.outcome(Stop.FINISHED, "", self.stats)
        message = "no plan found" if self.best.plan is None else "stopped before the optimum was proven"
        return self.best.outcome(stop, message, self.stats)
