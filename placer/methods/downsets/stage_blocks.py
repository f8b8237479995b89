"""Better plans near the best one: its stages as blocks of items, and the best plan over whole blocks.

Items of one stage are put together at random until a search over the blocks ends within few steps.  The best
plan is one of those over the blocks, and so are all that move any of them across any cuts at once: many more
than a search that moves one item after the other looks at.  Which items stay alone changes from round to
round: those of stages beside each other, or those of all.  How many, follows from what the searches took.
"""

from __future__ import annotations

from dataclasses import dataclass, field

import numpy as np

from placer.arrays import FloatArray, IntArray, distinct
from placer.instance.graphs import strong_components, topological_order
from placer.instance.instance import Instance
from placer.methods.downsets.dpl import prepare
from placer.methods.downsets.lattice import Lattice, close_types
from placer.methods.downsets.measures import KnownPrices, measures
from placer.methods.downsets.race import Race, ways
from placer.methods.downsets.search import Limits, Search
from placer.options import Options
from placer.plans.status import Stop
from placer.reductions.throughput_merges import merge_items
from placer.search.incumbent import Incumbent
from placer.search.run import Outcome, Run

__all__ = ["StageBlocks", "solve"]

FIRST_SIZE = 32.0
"""Blocks of the first round."""
GROWS, SHRINKS = 1.05, 0.9
"""Factors of the number of blocks after a search that ended, and after one that was cut off."""
STEPS = 2_000_000
"""Steps of a search over blocks (50 ms), about as long as it takes to make them."""
FEWEST = 1.5
"""Blocks for each stage at least."""
PATIENCE = 200
"""Rounds without a better plan after which no further one begins."""
SPREAD = 2.0
"""Stages by which the order of joins near a cut is blurred."""


def solve(instance: Instance, options: Options, run: Run) -> Outcome:
    """Improve a plan; it proves nothing.

    Parameters
    ----------
    instance, options, run
        See ``placer.methods``.  Without a start in the run there is nothing to improve.
    """
    best = Incumbent(instance, options, run)
    best.follow(run)
    if best.plan is None:
        return best.outcome(Stop.FINISHED, "needs a plan")
    lattice = prepare(instance, options, "blocks are made of the stages of contiguous plans")
    if isinstance(lattice, Outcome):
        return lattice
    blocks = StageBlocks(lattice, best, options.memory_limit_mb / 2, np.random.default_rng(options.seed))
    idle = 0
    while idle < PATIENCE and not best.is_within(options.gap) and run.stopped() is None:
        idle = 0 if blocks.look(run) else idle + 1
    return best.outcome(run.stopped() or Stop.FINISHED, "", {"steps": blocks.steps, "states": blocks.states})


@dataclass
class StageBlocks:
    """Rounds of searches over blocks.

    Parameters
    ----------
    lattice
        The items.
    best
        Takes plans; there is one.
    memory_mb
        Memory for the states of one search.
    rng
        Draws the blocks.
    """

    lattice: Lattice
    best: Incumbent
    memory_mb: float
    rng: np.random.Generator
    steps: int = 0
    states: int = 0
    _size: float = FIRST_SIZE
    _stages: int = 1
    _pairs: IntArray | None = field(default=None, repr=False)

    def look(self, run: Run) -> bool:
        """Draw blocks and look for a better plan over them, again while there is one; whether there was."""
        plan, problem = self.best.plan, self.lattice.problem
        assert plan is not None
        device = problem.start(plan)
        self._stages = len(distinct(device))
        self._size = max(self._size, FEWEST * self._stages)
        label = self._label(device)
        run.spend(2 * self.lattice.merging_s)
        smaller = merge_items(problem, label, self.lattice.options.communication, contiguous=True)
        lattice = self.lattice.rebuilt(smaller)
        found = False
        while run.stopped() is None and not self.best.proven:
            if not self._is_improved(lattice, run):
                break
            found = True
        return found

    def _is_improved(self, lattice: Lattice, run: Run) -> bool:
        """Search below the best plan; whether that found a better one."""
        target, before = self.best.target, self.best.value
        known: KnownPrices = {}
        limits = Limits(memory_mb=self.memory_mb)
        sides = tuple(close_types(side, target) for side in ways(lattice))
        race = Race(sides, target, lambda side: Search(side, measures(side.graph, known), target, limits))
        at, attempt = race.go_on(run, STEPS)
        self.steps += race.steps
        self.states += race.states
        if attempt.pieces is None:
            size = self._size * (GROWS if attempt.exhausted else SHRINKS)
            self._size = min(max(FEWEST * self._stages, size), float(self.lattice.size))
            return False
        self.best.offer(race.sides[at].plan(attempt.pieces), "blocks")
        return self.best.value < before

    def _label(self, device: IntArray) -> IntArray:
        """Draw blocks of the items, ``(N,)``, that lie on one device each."""
        problem = self.lattice.problem
        pairs = self._neighbours()
        pairs = pairs[device[pairs[:, 0]] == device[pairs[:, 1]]]
        pairs = pairs[np.argsort(self._keys(device)[pairs[:, 0]] + SPREAD * self.rng.random(len(pairs)))]
        label = list(range(problem.size))

        def first(v: int) -> int:
            while label[v] != v:
                label[v] = label[label[v]]
                v = label[v]
            return v

        too_many = problem.size - int(self._size * self.rng.uniform(0.5, 1.25))
        for u, w in pairs.tolist():
            if too_many <= 0:
                break
            a, b = first(u), first(w)
            if a != b:
                label[max(a, b)] = min(a, b)
                too_many -= 1
        block = np.array([first(v) for v in range(problem.size)])
        # What lies between two items of a block is of the same stage, and goes along.
        return np.asarray(strong_components(problem.size, block[problem.edges])[block])

    def _keys(self, device: IntArray) -> FloatArray:
        """Return what is joined first, by rising keys: items far from a cut drawn at random, or any."""
        if self.rng.random() < 0.5:
            return np.zeros(len(device))
        stages = topological_order(distinct(device), device[self.lattice.problem.edges])
        place = {d: i for i, d in enumerate(distinct(device) if stages is None else stages)}
        cut = self.rng.uniform(-0.5, len(place) - 0.5)
        return np.array([-abs(place[d] - cut) for d in device.tolist()])

    def _neighbours(self) -> IntArray:
        """Pairs of items that an edge or a net joins, ``(m, 2)``."""
        if self._pairs is None:
            problem = self.lattice.problem
            size = np.diff(problem.net_start)
            producer = np.repeat(problem.net_items[problem.net_start[:-1]], size)
            nets = np.stack([producer, problem.net_items], axis=1)
            self._pairs = np.concatenate([problem.edges, nets[nets[:, 0] != nets[:, 1]]])
        return self._pairs
