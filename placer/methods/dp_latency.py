"""Latency of one sample by label setting over downsets: exact, or the best plan with a proven bound.

Every plan is a chain of downsets, because its pieces and host nodes wait for each other without a cycle:
a step adds one host atom or one piece.  The search keeps the best few labels per downset and widens this
beam until nothing was given up that could still win; what it gave up limits the bound otherwise.
Source: the latency model of Tarnawski et al., NeurIPS 2020, Section 4; the program is this project's own.
"""

from __future__ import annotations

from dataclasses import dataclass, field
from math import inf

import numpy as np

from placer.evaluate import latency_schedule
from placer.instance import Instance
from placer.kernels.latency_labels import BEST, DROPPED, ROUNDING, UPPER
from placer.kernels.latency_pieces import new_walk
from placer.kernels.latency_search import new_step, search
from placer.kernels.latency_types import Floats, Lattice, Slots
from placer.methods.latency_model import Infeasible, LatencyModel, build_model, slots_by_device, slots_by_kind
from placer.methods.latency_plans import decode, unload_leaves
from placer.methods.latency_tables import bound_tables, build_lattice, call, empty_labels, label_bytes
from placer.options import Options
from placer.plan import Plan
from placer.run import Outcome, Run, Stop
from placer.verify import violations

__all__ = ["solve"]

BEAMS = (2, 16, 128, 1024, 8192, 65536, 2**40)
"""Labels kept per downset, in one pass after another."""
PATIENT_BEAM = 1024
"""Passes up to this beam go on to the exact optimum; wider ones stop at the gap asked for."""
MB = 1e6


def solve(instance: Instance, options: Options, run: Run) -> Outcome:
    """Minimise the latency of one sample.

    Parameters
    ----------
    instance
        The instance, with one pool per host class (`placer.plan.with_host_pools`).
    options
        ``pieces`` per accelerator, ``gap``, ``memory_limit_mb``.
    run
        Clock, stop button, progress; its start plan and bound are used.

    Returns
    -------
    Outcome
        ``FINISHED`` with a bound within the gap, or the reason for stopping with the best plan and a
        proven bound.
    """
    work = _Work(instance, options, run)
    try:
        work.search()
    except Infeasible as reason:
        return Outcome(Stop.INFEASIBLE, message=str(reason), stats=work.stats)
    return work.outcome()


@dataclass(frozen=True, eq=False)
class _Tables:
    """A model with its lattice and its bound."""

    model: LatencyModel
    lattice: Lattice
    h: Floats
    h0: Floats


@dataclass(eq=False)
class _Work:
    """The best plan and the best bound so far, and what is done to improve them."""

    instance: Instance
    options: Options
    run: Run
    plan: Plan | None = None
    objective: float = inf
    bound: float = 0.0
    stop: Stop | None = None
    notes: list[str] = field(default_factory=list)
    stats: dict[str, float | int | str] = field(default_factory=dict)

    def search(self) -> None:
        """Do everything."""
        self.bound = self.run.bound_ms or 0.0
        if self.run.start is not None:
            self.offer(self.run.start)
        for relaxed in (True, False):
            if relaxed is False and (self.closed or self.run.stopped()):
                return
            model = build_model(self.instance, self.options.pieces, relaxed=relaxed)
            tables = self._tables(model)
            if tables is not None:
                self._one_piece(tables) if self.options.pieces == 1 else self._several_pieces(tables)
            if not len(model.leaves):
                return

    def offer(self, plan: Plan) -> float:
        """Take a plan if it is valid and better; return its latency (inf = not valid)."""
        if violations(self.instance, plan, self.options):
            return inf
        value = latency_schedule(self.instance, plan).makespan_ms
        if value < self.objective:
            self.plan, self.objective = plan, value
            self.run.report(incumbent_ms=value)
        return value

    def raise_bound(self, bound: float) -> None:
        """Take a proven bound if it is better."""
        bound *= 1 - ROUNDING
        if bound > self.bound:
            self.bound = bound
            self.run.report(bound_ms=bound)

    @property
    def closed(self) -> bool:
        """Whether the plan is optimal up to rounding."""
        return self.bound >= self.objective * (1 - 2 * ROUNDING)

    @property
    def close_enough(self) -> bool:
        """Whether the gap asked for is reached."""
        return self.bound >= self.objective * (1 - self.options.gap)

    def outcome(self) -> Outcome:
        """Sum up."""
        stop = Stop.FINISHED if self.plan is not None and (self.closed or self.close_enough) else None
        stop = stop or self.run.stopped() or self.stop or Stop.FINISHED
        bound = min(self.bound, self.objective)
        return Outcome(stop, self.plan, bound, "; ".join(dict.fromkeys(self.notes)), self.stats)

    # -- passes -----------------------------------------------------------------------------------

    def _tables(self, model: LatencyModel) -> _Tables | None:
        room = self.options.memory_limit_mb * MB
        if model.size == 0:
            self.offer(Plan(model.parked.copy(), np.full(self.instance.n, -1)))
            return None
        lattice = build_lattice(model.atoms, self.run, room / 4)
        if lattice is None:
            if not self.run.stopped():
                self.stop = Stop.MEMORY_LIMIT
                self.notes.append("the graph has too many downsets for the memory limit")
            return None
        slots = slots_by_kind(model, self.options.pieces)
        h, h0, complete = bound_tables(model.atoms, lattice, slots, self.run)
        self.stats |= {"atoms": model.size, "downsets": len(h0), "backward_bound_ms": float(h0[0])}
        if h0[0] == inf:
            raise Infeasible("no plan keeps to the memory limits, the pins and the colocation")
        if complete:
            self.raise_bound(float(h0[0]))
        return _Tables(model, lattice, h, h0)

    def _one_piece(self, tables: _Tables) -> None:
        slots = slots_by_kind(tables.model, 1)
        self._widen(tables, slots, BEAMS)

    def _several_pieces(self, tables: _Tables) -> None:
        self._start_from_one_piece()
        self._widen(tables, slots_by_kind(tables.model, self.options.pieces), BEAMS)
        if not self.closed:
            self._widen(tables, slots_by_device(tables.model, self.options.pieces), BEAMS)

    def _start_from_one_piece(self) -> None:
        """A plan with one piece per accelerator is a plan."""
        if self.closed:
            return
        options = self.options.model_copy(update={"pieces": 1})
        limit = None if self.run.remaining is None else self.run.remaining / 4
        outcome = solve(self.instance, options, Run(time_limit=limit, interrupt=self.run.interrupt))
        if outcome.plan is not None:
            self.offer(outcome.plan)

    def _widen(self, tables: _Tables, slots: Slots, beams: tuple[int, ...]) -> None:
        """Search with one beam after another, until the search is exhaustive or a limit is met."""
        model, lattice = tables.model, tables.lattice
        exact = not len(model.leaves) and (slots.serial or self.options.pieces == 1)
        most = max(1000, int(self.options.memory_limit_mb * MB / 2 / label_bytes(lattice, slots)))
        scratch = new_step(model.atoms), new_walk(model.atoms)
        best = self.objective
        for beam in beams:
            if self.run.stopped() or self.closed or (beam > PATIENT_BEAM and self.close_enough):
                return
            rows = min(most, (beam + 1) * len(tables.h0) + 8)
            labels = empty_labels(lattice, slots, rows, min(best, self.objective))
            args = (model.atoms, lattice, slots, tables.h, tables.h0, labels, beam, *scratch)
            self.stats["steps"] = self.stats.get("steps", 0) + call(self.run, search, *args)
            self.stats["labels"] = int(labels.counters[1])
            if labels.counters[BEST] >= 0:
                plan = decode(model, lattice, slots, labels)
                self.offer(plan if exact else unload_leaves(model, plan))
            best, dropped = float(labels.values[UPPER]), float(labels.values[DROPPED])
            if min(best, dropped) == inf:
                raise Infeasible("no plan keeps to the memory limits, the pins and the colocation")
            self.raise_bound(min(best, dropped))
            if dropped >= best:
                return
        self.stop = Stop.MEMORY_LIMIT
        self.notes.append("the labels did not fit into the memory limit")
