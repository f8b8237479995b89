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

from placer.instance.instance import Instance
from placer.methods.latency.atoms import Infeasible, LatencyModel, build_model, slots_by_device, slots_by_kind
from placer.methods.latency.decode import decode, unload_leaves
from placer.methods.latency.kernels.arrays import (
    BEST,
    DROPPED,
    ROUNDING,
    UPPER,
    Bounded,
    Lattice,
    Slots,
)
from placer.methods.latency.kernels.label_setting import expand_all
from placer.methods.latency.kernels.views import Search
from placer.methods.latency.lattice_tables import bound_tables, build_lattice, call, empty_labels, label_bytes
from placer.methods.latency.paths import paths
from placer.methods.latency.restrict import (
    by_branches,
    by_time,
    thinned,
    windowed,
    work_bound_ms,
)
from placer.options import Options
from placer.plans.plan import Plan
from placer.plans.status import Stop
from placer.reductions import free_nodes
from placer.search.incumbent import Incumbent
from placer.search.run import Outcome, Run

__all__ = ["solve"]

BEAMS = (2, 16, 128, 1024, 8192, 65536, 2**40)
"""Labels kept per downset and number of pieces left, in one pass after another."""
PATIENT_BEAM = 8192
"""Passes up to this beam go on to the exact optimum; wider ones stop at the gap asked for."""
WIDTHS = (2, 4, 8, 16)
"""Windows tried in linear orders where the full lattice is too large."""
SHARPER = 0.001
"""Improvement of the plan, as a share, after which the bounds are made again for what may still beat it."""
SLICE_WORK_S = 30.0
"""Work for one of the attempts on a lattice that is too large, at most, in nominal seconds."""
MB = 1e6
NO_PLAN = "no plan keeps to the memory limits, the pins and the colocation"


def solve(instance: Instance, options: Options, run: Run) -> Outcome:
    """Minimise the latency of one sample.

    Parameters
    ----------
    instance
        The instance.
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
    smaller, inverse = free_nodes.apply(instance)
    work = _Work(smaller, options, run.part(inverse=inverse))
    try:
        work.search()
    except Infeasible as reason:
        return Outcome(Stop.INFEASIBLE, message=str(reason), stats=work.stats)
    return work.outcome().inverted(inverse)


@dataclass(frozen=True, eq=False)
class _Tables:
    """A model with its lattice and its bounds.

    ``valid`` says whether what is found out about the model bounds the instance (it does not where an order
    was imposed).
    """

    model: LatencyModel
    bounded: Bounded
    valid: bool


@dataclass(eq=False)
class _Work:
    """What is done to improve plan and bound."""

    instance: Instance
    options: Options
    run: Run
    stop: Stop | None = None
    notes: list[str] = field(default_factory=list)
    stats: dict[str, float | int | str] = field(default_factory=dict)

    def __post_init__(self) -> None:
        self.best = Incumbent(self.instance, self.options, self.run)

    def search(self) -> None:
        """Do everything."""
        if self.run.start is not None:
            self.best.offer(self.run.start, "start")
        for relaxed in (True, False):
            model = build_model(self.instance, self.options.pieces, relaxed=relaxed)
            if model.size == 0:
                self.best.offer(Plan(model.parked.copy(), np.full(self.instance.n, -1)), "hosts")
                return
            self._raise_bound(max(paths(model).longest_ms, work_bound_ms(model)))
            self._linear_plans(model)
            self._whole_lattice(model)
            if not len(model.leaves) or self.closed or self.stop or self.run.stopped():
                return

    def _raise_bound(self, bound: float) -> None:
        self.best.raise_bound(bound * (1 - ROUNDING), "downsets")

    @property
    def closed(self) -> bool:
        """Whether the plan is optimal up to rounding, or good enough by the bound that was given."""
        return self.best.is_within(2 * ROUNDING) or self.best.given_suffices

    @property
    def close_enough(self) -> bool:
        """Whether the gap asked for is reached."""
        return self.best.is_within(self.options.gap)

    def outcome(self) -> Outcome:
        """Sum up."""
        best = self.best
        if self.close_enough:
            return best.outcome(Stop.FINISHED, stats=self.stats)
        stop = self.run.stopped() or self.stop or Stop.FINISHED
        what = "" if best.plan is None else f"not proven optimal: gap {1 - best.bound / best.value:.2%}"
        message = "; ".join(dict.fromkeys(filter(None, [what, *self.notes])))
        return best.outcome(stop, message, self.stats)

    # -- stages -----------------------------------------------------------------------------------

    def _linear_plans(self, model: LatencyModel) -> None:
        """Find the best plans along two linear orders: something to hold."""
        for order in (by_branches(model), by_time(model)):
            if not (self.closed or self.run.stopped()):
                self._windowed_plan(windowed(model, order, 1))

    def _windowed_plan(self, model: LatencyModel) -> bool:
        """Search a model with an order imposed; return whether there was room and time for it."""
        part = self._slice()
        tables = self._tables(model, part, valid=False)
        if tables is not None:
            serial = self.options.pieces > 1
            slots = slots_by_device(model, self.options.pieces) if serial else slots_by_kind(model, 1, 0)
            self._widen(tables, slots, BEAMS[:2], part)
        return tables is not None and not part.stopped()

    def _whole_lattice(self, model: LatencyModel) -> None:
        if self.closed or self.run.stopped():
            return
        tables = self._tables(model, self._slice(whole=True), valid=True)
        if tables is None:
            self._approach(model)
        elif self.options.pieces == 1:
            self._widen(tables, slots_by_kind(model, 1, 0), BEAMS, self.run)
        else:
            self._start_from_one_piece()
            most_open = int(np.diff(tables.bounded.lattice.open_start).max())
            self._widen(tables, slots_by_kind(model, self.options.pieces, most_open), BEAMS, self.run)
            if not self.close_enough:
                self._widen(tables, slots_by_device(model, self.options.pieces), BEAMS, self.run)

    def _approach(self, model: LatencyModel) -> None:
        """Where the lattice is too large: wider windows for plans, more atoms for bounds."""
        self.stop = Stop.MEMORY_LIMIT
        self.notes.append(
            "too many downsets for an exact answer: plans within linear orders, bounds from subgraphs"
        )
        attempts = [(w, order) for w in WIDTHS for order in (by_branches(model), by_time(model))]
        bounds = thinned(model)
        more_bounds = True
        while (more_bounds or attempts) and not (self.close_enough or self.run.stopped()):
            if more_bounds:
                smaller = next(bounds, None)
                more_bounds = (
                    smaller is not None and self._tables(smaller, self._slice(), valid=True) is not None
                )
            elif attempts:
                width, order = attempts.pop(0)
                if not self._windowed_plan(windowed(model, order, width)):
                    attempts = [(w, o) for w, o in attempts if o is not order and o != order]

    def _start_from_one_piece(self) -> None:
        """Find a good plan with one piece per accelerator: it is a plan with more as well."""
        if self.closed:
            return
        options = self.options.model_copy(update={"pieces": 1})
        planned = self.run.planned
        part = self.run.part(work=None if planned is None else planned / 4, quiet=True)
        outcome = solve(self.instance, options, part)
        if outcome.plan is not None:
            self.best.offer(outcome.plan, "one piece")

    # -- steps ------------------------------------------------------------------------------------

    def _slice(self, *, whole: bool = False) -> Run:
        """Return a part of the work: half of what is left for the whole lattice, else a short attempt."""
        left = self.run.planned
        if whole:
            return self.run.part(work=None if left is None else left / 2)
        return self.run.part(work=SLICE_WORK_S if left is None else min(SLICE_WORK_S, left / 4))

    def _tables(self, model: LatencyModel, part: Run, *, valid: bool) -> _Tables | None:
        """Enumerate and bound a model; None where room or time does not suffice."""
        lattice = build_lattice(model.atoms, part, self.options.memory_limit_mb * MB / 4)
        if lattice is None:
            return None
        bounded = self._bounded(model, lattice, part, valid=valid)
        return None if bounded is None else _Tables(model, bounded, valid)

    def _bounded(self, model: LatencyModel, lattice: Lattice, part: Run, *, valid: bool) -> Bounded | None:
        """Bound what follows each downset in plans that beat the best one; None if time does not suffice."""
        slots = slots_by_kind(model, self.options.pieces, 0)
        upper_ms = self.best.value
        room = self.options.memory_limit_mb * MB / 4
        bounded = bound_tables(model, lattice, slots, part, upper_ms, room)
        if valid and bounded is not None:
            least = min(float(bounded.h0[0, -1]), upper_ms)
            self.stats |= {"atoms": model.size, "downsets": len(bounded.h0)}
            if least == inf:
                raise Infeasible(NO_PLAN)
            self.stats["backward_bound_ms"] = least
            self._raise_bound(least)
        return bounded

    def _widen(self, tables: _Tables, slots: Slots, beams: tuple[int, ...], run: Run) -> None:
        """Search with one beam after another, until the search is exhaustive or a limit is met."""
        model, bounded = tables.model, tables.bounded
        exact = not len(model.leaves) and (slots.serial or self.options.pieces == 1)
        most = max(1000, int(self.options.memory_limit_mb * MB / 2 / label_bytes(bounded.lattice, slots)))
        best = self.best.value
        for beam in beams:
            if tables.valid and self.best.value < bounded.upper_ms * (1 - SHARPER):
                # The better the plan to beat, the less can follow.
                bounded = (
                    self._bounded(model, bounded.lattice, self._slice(whole=True), valid=True) or bounded
                )
            if run.stopped() or self.closed or (beam > PATIENT_BEAM and self.close_enough):
                return
            ranks = int(slots.pieces.sum()) + 1
            rows = min(most, (beam + 1) * ranks * len(bounded.h0) + 8)
            labels = empty_labels(bounded, slots, rows, min(best, self.best.value))
            search = Search(model.atoms, bounded, slots, labels, beam)
            self.stats["steps"] = int(self.stats.get("steps", 0)) + int(call(run, expand_all, search))
            self.stats["labels"] = int(labels.counters[1])
            if labels.counters[BEST] >= 0:
                plan = decode(model, bounded.lattice, slots, labels)
                self.best.offer(plan if exact else unload_leaves(model, plan), "labels")
            best, dropped = float(labels.values[UPPER]), float(labels.values[DROPPED])
            if tables.valid and min(best, dropped) == inf:
                raise Infeasible(NO_PLAN)
            if tables.valid:
                self._raise_bound(min(best, dropped))
            if dropped >= best:
                return
        if tables.valid:
            self.stop = Stop.MEMORY_LIMIT
            self.notes.append("the labels did not fit into the memory limit")
