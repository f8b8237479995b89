"""Of throughput plans that are equally fast, one whose pipeline is shorter: fill and drain take less.

The largest load λ of a plan says how fast it is; what else it does is free to choose.  Among contiguous plans
of load at most λ this looks for the one whose step takes least (`placer.plans.step_time`): in training the
step of its microbatches, of `SHOWN` at most; in inference the way of a sample through the pipeline, Σ L.
Stages of load at most λ between downsets are few, and pipelines of them are searched as for the objective
step, a bounded number of labels wide: the plan gets no slower and its pipeline no longer, and nothing is
proven.
"""

from __future__ import annotations

from contextlib import suppress
from dataclasses import replace

import numpy as np

from placer.arrays import BoolArray
from placer.instance.instance import Instance
from placer.methods.step.all_downsets import all_downsets, prefixes
from placer.methods.step.device_sets import Devices, pipeline_plan
from placer.methods.step.pipeline_search import Pipelines
from placer.methods.step.possible_stages import Stages
from placer.methods.step.suffix_labels import Rules
from placer.options import Communication, Objective, Options, Recompute, Schedule
from placer.plans.figures import objective_of
from placer.plans.in_flight import left_in_flight
from placer.plans.plan import Plan
from placer.plans.recompute import with_recompute
from placer.plans.status import Stop
from placer.plans.step_time import microbatches_of
from placer.plans.verify import violations
from placer.reductions.problem import Problem, contract
from placer.search.run import Outcome, Run, Stopped

__all__ = ["improve", "is_asked"]

SHOWN = 64
"""Microbatches that are timed at most: with more of them the same pipelines are shorter."""
EXACT = ("auto", "dp", "milp")
"""Methods that prove what they find; the plans of others are theirs."""
DOWNSETS, PREFIXES, STAGES, WIDTH = 400, 150, 20_000, 300
"""Downsets, those along the plan where there are more, stages between them, and labels of one length that are
looked at: hundredths of a second."""
CELLS = 1_000_000
"""Items times nets beyond which the tables of stages alone would take far longer than that."""
WORK_S, PLAN_S = 0.05, 2e-6
"""Nominal seconds for all of it, and for each node of a plan that is looked at."""
ROUNDING = 1e-12
"""What the order of a sum may add to the largest load, relatively."""


def is_asked(options: Options) -> bool:
    """Whether plans may be as fast as each other, and nothing else says which is better."""
    plain = options.objective is Objective.THROUGHPUT and options.strictly_ordered
    special = options.near or options.balance or options.teams
    units = options.recompute is Recompute.LAYERS  # which the table of stages does not know
    return plain and not special and not units and options.method in EXACT


def improve(instance: Instance, options: Options, run: Run, outcome: Outcome) -> Outcome:
    """Return the outcome with a plan that is as fast and whose pipeline is shorter, if one is found.

    Parameters
    ----------
    instance
        As the method got it.
    options, run
        What is asked, and the clock.
    outcome
        Of the method.
    """
    if outcome.plan is None or outcome.stop is not Stop.FINISHED:
        return outcome
    search = _Shorter(instance, options, run.part(work=WORK_S, quiet=True), outcome.plan)
    with suppress(Stopped):
        search.search()
    return replace(outcome, plan=search.plan)


class _Shorter:
    """The plan with the shortest pipeline so far."""

    def __init__(self, instance: Instance, options: Options, run: Run, plan: Plan) -> None:
        self.instance, self.options, self.run, self.plan = instance, options, run, plan
        count = min(SHOWN, microbatches_of(instance, options))
        self.step = options.model_copy(update={"objective": Objective.STEP, "microbatches": None})
        self.timed = instance.replace(training=replace(instance.training, microbatches=count))
        self.count = count if instance.is_training else 1
        self.limit_ms = objective_of(instance, plan, options)
        self.step_ms = self._step_ms(plan)

    def _step_ms(self, plan: Plan) -> float:
        return objective_of(self.timed, plan, self.step)

    def search(self) -> None:
        """Search the pipelines of stages that are no slower."""
        duplex = self.options.communication is Communication.DUPLEX
        problem = contract(self.instance, contiguous=True, keep_producers=duplex)
        if problem.size * problem.nets > CELLS:
            return
        downsets = all_downsets(problem, DOWNSETS, self.run)
        if downsets is None:
            downsets = self._along(problem)
        stages = Stages.between(problem, downsets, self.options, self.limit_ms, STAGES, self.run)
        if stages is None:
            return
        devices = Devices.of(stages)
        flow = self.options.schedule is Schedule.GPIPE or not self.instance.is_training
        rules = Rules(self.count, flow, bool(self.instance.class_sync_ms.any()))
        flights = left_in_flight(self.instance, self.options)

        def offer(chain: list[int]) -> float:
            return self._offer(pipeline_plan(stages, devices, chain))

        Pipelines(stages, devices, rules, flights, ROUNDING, offer, self.run, self.step_ms).search(WIDTH)

    def _along(self, problem: Problem) -> BoolArray:
        """Prefixes of the order in which the plan runs the items, ``(M, N)``."""
        place = {d: s for s, d in enumerate(self.plan.stages or sorted(self.plan.used))}
        stage = np.array([place[d] for d in problem.start(self.plan).tolist()])
        return prefixes([np.lexsort((np.arange(problem.size), stage))], PREFIXES)

    def _offer(self, plan: Plan) -> float:
        """Keep a plan that holds, is no slower and has a shorter pipeline; return the time of its step."""
        self.run.spend(PLAN_S * self.instance.n)
        self.run.check()
        plan = with_recompute(self.instance, plan, self.options)
        if violations(self.instance, plan, self.options):
            return np.inf
        if objective_of(self.instance, plan, self.options) > self.limit_ms * (1 + ROUNDING):
            return np.inf
        step_ms = self._step_ms(plan)
        if step_ms < self.step_ms * (1 - ROUNDING):
            self.plan, self.step_ms = plan, step_ms
            self.run.keep(plan)
        return step_ms
