"""Several methods in a row, cheap ones first; each starts from the best plan and bound so far.

No plan and no bound is lost: the result carries the best of each, and its message says what every phase
brought.  A plan that holds refutes whatever contradicts it: a bound above it, and a claim that there is none.
"""

from __future__ import annotations

import logging
from collections.abc import Callable
from dataclasses import dataclass, field
from math import inf
from typing import Protocol, cast

from placer.instance.constraints import Constraints
from placer.instance.instance import Instance
from placer.methods.milp.device_sequences import are_few
from placer.methods.registry import METHODS, load_entry, load_method
from placer.objectives import OBJECTIVES
from placer.options import Communication, Formulation, Objective, Options, Recompute
from placer.plans.plan import Plan
from placer.plans.status import Stop
from placer.reductions.inverse import Inverse
from placer.search.incumbent import Incumbent
from placer.search.run import Outcome, Run, Stopped
from placer.tolerances import EQUAL

__all__ = ["Phase", "phases", "solve"]

log = logging.getLogger(__name__)

DP_WORK_S = 300.0
"""For the dynamic programs when the options set no limit: on wide graphs they may never end."""
MILP_WORK_S = 300.0
MILP_SIZE = 300_000
"""Nodes x devices beyond which an integer program is not built."""
KEPT_MEMORY = 0.5
"""Share of the memory limit up to which a search is kept that may go on: other phases need some, too."""
GETS_ON = 0.05
"""Share of the gap that an annealing must close to have another turn."""
LARGE = 2000
"""Nodes from which on the dynamic program over downsets finds its plans faster than other methods."""


PARTS = {
    "anchors": "placer.methods.anchors.anchor_bound:solve",
    "annealing": "placer.methods.local_search.contiguous_annealing:solve",
    "blocks": "placer.methods.downsets.stage_blocks:solve",
    "capacity": "placer.methods.capacity_bound:solve",
    "gates": "placer.methods.latency.gate_bound:solve",
    "pieces": "placer.methods.latency.latency_annealing:solve",
    "wider": "placer.methods.colgen.colgen:bound_contiguous",
}
"""Phases that are no methods by themselves: the module and function of each."""
SEARCHES = {
    "dp": "placer.methods.downsets.dp:DynamicProgram",
    "sequences": "placer.methods.milp.sequence_search:SequenceSearch",
}
"""Phases for throughput that may go on where they were stopped: the module and class of each."""


class Search(Protocol):
    """A search that goes on where the last run ended."""

    def go_on(self, run: Run) -> Outcome:
        """Search within a run, whose start and bound count; say what is known then."""


@dataclass(frozen=True)
class Phase:
    """One method in the row.

    Parameters
    ----------
    method
        Its name.
    share
        Part of what the time limit allows that it may use, in counted work (`Run.planned`).
    work_s
        Its work limit in nominal seconds when there is no time limit.
    narrower
        Whether it looks for contiguous plans though others are asked for, or for stages that recompute as a
        whole though layers may: such a plan is one of them, but a bound on it, or a proof that there is
        none, says nothing.
    kept
        Whether a later phase goes on with its search.
    """

    method: str
    share: float
    work_s: float
    narrower: bool = False
    kept: bool = False


CONTIGUOUS = (
    Phase("dpl", 0.25, 60.0),
    Phase("dp", 0.2, 10.0, kept=True),
    Phase("anchors", 0.6, 20.0),
    Phase("local-search", 0.05, 10.0),
    Phase("blocks", 0.05, 10.0),
    Phase("annealing", 0.1, 10.0),
    Phase("sequences", 0.25, 20.0, kept=True),
    Phase("dp", 0.35, 30.0, kept=True),
    Phase("annealing", 0.1, 20.0),
    Phase("wider", 0.2, 30.0),
    Phase("sequences", 0.5, 60.0),
    Phase("dp", 0.4, DP_WORK_S, kept=True),
    Phase("milp", 0.6, MILP_WORK_S),
    Phase("dp", 1.0, DP_WORK_S),
)
"""For contiguous plans of graphs that are not large.  The best plan cuts off sequences, so that a little work
goes into a better one before them.  The searches that prove take turns, for which of them is the right one
depends on the graph.  Of four rows of shares that were tried on the tuning half of the benchmark of proofs
each proved 66 of 81 graphs in 10 s; these left the smallest gaps."""


LATENCY = (
    Phase("greedy", 0.1, 30.0),
    Phase("dp", 0.03, 1.0),
    Phase("pieces", 0.1, 20.0),
    Phase("gates", 0.2, 20.0),
    Phase("dp", 0.95, DP_WORK_S),
    Phase("capacity", 0.3, 30.0),
)
"""For a single sample.  The dynamic program proves most graphs at once; for the others nothing finds as good
a plan as annealing, and the better the plan, the more it proves."""


@dataclass
class _Held:
    """The best plan and bound so far, and what each phase brought."""

    best: Incumbent
    story: list[str] = field(default_factory=list)
    stats: dict[str, float | int | str] = field(default_factory=dict)
    last_stop: Stop = Stop.FINISHED
    narrower: Plan | None = None
    """The best plan of phases that are narrower; nothing else is a start for others."""
    narrower_value: float = inf
    searches: dict[str, Search] = field(default_factory=dict)
    """What later phases of the same method go on with."""
    got_on: bool = False
    """Whether the last phase closed much of the gap."""


def solve(instance: Instance, options: Options, run: Run) -> Outcome:
    """Run the phases until the gap asked for is proven or none is left."""
    best, gap = Incumbent(instance, options, run), max(options.gap, EQUAL)
    held = _Held(best)
    if run.bound_ms is not None:
        best.bounds = {"capacity": run.bound_ms}
        held.story.append(f"capacity: bound {OBJECTIVES[options.objective].shown(run.bound_ms, 6)}")
    if run.start is not None:
        best.offer(run.start, "start")
    for phase in phases(instance, options):
        if run.stopped() or best.is_within(gap):
            break
        outcome = _run_phase(phase, instance, options, run, held)
        while phase.method == "annealing" and held.got_on and not (run.stopped() or best.is_within(gap)):
            outcome = _run_phase(phase, instance, options, run, held)
        if outcome.stop is Stop.INFEASIBLE and not phase.narrower:
            if best.plan is not None:
                log.info("method %s claims that there is no plan, and there is one", phase.method)
                held.last_stop = Stop.FINISHED
                continue
            return Outcome(Stop.INFEASIBLE, message=outcome.message, stats=held.stats)
    stop = Stop.FINISHED if best.is_within(gap) else run.stopped() or held.last_stop
    return best.outcome(stop, "; ".join(held.story), held.stats)


def phases(instance: Instance, options: Options) -> list[Phase]:
    """Choose the methods by the kind of problem and its size."""
    small = instance.n * len(instance.devices) <= MILP_SIZE
    program = [Phase("milp", 1.0, MILP_WORK_S)] if small else []
    large = instance.n > LARGE
    first = Phase("first-fit", 0.05, 10.0)
    if not options.pipelined:
        # With one piece per accelerator the dynamic program mostly ends; with more it sees little of memory.
        exact = LATENCY if options.pieces == 1 else (*LATENCY[:4], *reversed(LATENCY[4:]))
        chosen = [*exact, *program]
    elif instance.servers and instance.constraints == Constraints():
        # dpl knows servers; dp does not, and gives a bound (and a plan, with its true costs) without uplinks.
        search = [Phase("local-search", 0.15, 30.0)] if large else []
        flat = [first, Phase("dpl", 0.1, 60.0), *search, Phase("dp", 0.3, 60.0)]
        free = [first, Phase("dpl", 0.1, 30.0, narrower=True), *search, Phase("colgen", 0.4, 120.0)]
        chosen = [*(flat if options.contiguous else free), *program]
    elif instance.constraints != Constraints():
        chosen = [Phase("milp", 1.0, MILP_WORK_S)]  # the only method that knows them
    elif options.contiguous and large:
        # Which of the two finds the better plan depends on memory limits and kinds of devices.
        chosen = [
            first,
            Phase("dp", 0.15, 20.0, kept=True),
            Phase("local-search", 0.1, 30.0),
            Phase("annealing", 0.1, 30.0),
            Phase("dp", 0.5, DP_WORK_S, kept=True),
            Phase("annealing", 0.3, 60.0),
            Phase("dp", 1.0, DP_WORK_S),
            *program,
        ]
    elif options.contiguous:
        chosen = [first, *(phase for phase in CONTIGUOUS if phase.method != "milp" or small)]
    else:
        # A good contiguous plan is often the better start; where memory decides, a few descents are enough.
        near = [
            Phase("local-search", 0.02, 5.0),
            Phase("dp", 0.1, 10.0, narrower=True),
            Phase("blocks", 0.05, 5.0, narrower=True),
            Phase("annealing", 0.05, 5.0, narrower=True),
        ]
        chosen = [
            first,
            Phase("dp" if large else "dpl", 0.15, 30.0, narrower=True),
            *([] if large else near),
            Phase("local-search", 0.05, 10.0),
            Phase("anchors", 0.6, 20.0),
            Phase("colgen", 0.6, 300.0),
            *program,
        ]
    if options.recompute is Recompute.LAYERS and instance.constraints == Constraints():
        # A plan of stages that recompute as a whole is one of layers that all do.
        whole = Phase("dpl" if instance.servers else "dp", 0.2, 20.0, narrower=True)
        chosen = [first, whole, *program]
    return [phase for phase in chosen if _is_able(phase, instance, options)]


def _is_able(phase: Phase, instance: Instance, options: Options) -> bool:
    """Whether a phase plans for the options; what only bounds leaves that to others."""
    if phase.method == "wider":
        # Under other models it sees a mix of compute and transfers, which proves less than `dp` has proven.
        return options.communication is Communication.SEQUENTIAL
    if phase.method == "sequences":
        return are_few(instance, options)
    if phase.method in PARTS:
        return True
    method = METHODS.get(phase.method)
    if method is None or options.objective not in method.objectives:
        return False
    if instance.pools and not method.pools:
        return False
    if options.recompute is Recompute.LAYERS and not phase.narrower:
        return method.layers
    return method.recompute or options.recompute is Recompute.NONE


def _run_phase(phase: Phase, instance: Instance, options: Options, run: Run, held: _Held) -> Outcome:
    """Run one phase and keep what it brings."""
    changes: dict[str, object] = {"method": phase.method, "formulation": Formulation.ORDERED}
    if phase.narrower:
        changes["contiguous"] = True
        if options.recompute is Recompute.LAYERS:
            changes["recompute"] = Recompute.AUTO
    # Without the uplinks, objectives and bounds are those of another problem.
    flat = bool(instance.servers) and phase.method in METHODS and not METHODS[phase.method].servers
    easier = instance.replace(servers=()) if flat else instance
    inverse = Inverse(easier, narrower=phase.narrower)
    part = run.part(work=_work_limit(phase, run), inverse=inverse, quiet=flat)
    # A plan that need not be contiguous is no start for a phase that looks for contiguous ones.
    part.start = held.narrower if phase.narrower else held.best.plan
    part.bound_ms = None if flat else held.best.bound or None
    try:
        outcome = _outcome(phase, easier, options.model_copy(update=changes), part, held)
    except Stopped as over:
        outcome = Outcome(over.stop)
    except MemoryError:
        outcome = Outcome(Stop.MEMORY_LIMIT, message="out of memory")
    _keep(phase, options, held, outcome)
    held.stats[f"{phase.method}_seconds"] = part.seconds + float(held.stats.get(f"{phase.method}_seconds", 0))
    held.last_stop = outcome.stop
    return outcome


def _outcome(phase: Phase, instance: Instance, options: Options, run: Run, held: _Held) -> Outcome:
    """Let the method of a phase work; it goes on where it was stopped if it can."""
    if phase.method in PARTS:
        return load_entry(PARTS[phase.method])(instance, options, run)
    if phase.method not in SEARCHES or options.objective is not Objective.THROUGHPUT:
        return load_method(phase.method, options.objective)(instance, options, run)
    begin = cast("Callable[[Instance, Options], Search]", load_entry(SEARCHES[phase.method]))
    search = held.searches.pop(phase.method, None) or begin(instance, options)
    outcome = search.go_on(run)
    small = run.memory is None or run.memory.taken_mb() < KEPT_MEMORY * run.memory.limit_mb
    if phase.kept and small:
        held.searches[phase.method] = search
    return outcome


def _work_limit(phase: Phase, run: Run) -> float | None:
    """Return the work of a phase in nominal seconds; None for as long as the clock allows."""
    if run.planned is None:
        return phase.work_s
    return run.planned * phase.share if phase.share < 1.0 else None


def _keep(phase: Phase, options: Options, held: _Held, outcome: Outcome) -> None:
    """Take the plan and the bound of an outcome where they are better, and tell the story."""
    told, shown, best = [], OBJECTIVES[options.objective].shown, held.best
    gap_ms = best.value - best.bound
    if outcome.plan is not None:
        before, value = best.plan, best.offer(outcome.plan, phase.method)
        if best.broken:
            # A defect, but no reason to lose what the other phases found.
            log.error("the plan of method %s does not hold: %s", phase.method, best.broken)
            told.append(f"a plan that does not hold ({best.broken})")
        else:
            told.append(shown(value, 6))
            if phase.narrower and value < held.narrower_value:
                held.narrower, held.narrower_value = outcome.plan, value
        if best.plan is not before:
            held.stats["plan_from"] = phase.method
    if outcome.bound_ms is not None and not phase.narrower:
        told.append(f"bound {shown(outcome.bound_ms, 6)}")
        best.raise_bound(outcome.bound_ms, phase.method)
    held.got_on = best.value - best.bound < (1 - GETS_ON) * gap_ms
    if best.bound_from is not None:
        held.stats["bound_from"] = best.bound_from
    if outcome.plan is None and phase.method in METHODS:
        told.append(f"no plan ({outcome.message or outcome.stop})")
    if told:
        held.story.append(f"{phase.method}: {', '.join(told)}")
