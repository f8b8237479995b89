"""One threshold test: is there a contiguous plan with an objective of at most T.

The kernel walks over downsets, one more device per level, and grows pieces item by item. Why each rule is
valid (S the piece, I the downset before it, J = I ∪ S; "later" devices take pieces after S), and which
function of ``kernels`` relies on it:

*Growth.* Compute time and memory of S only grow. A net with an item in S and one in I or excluded from S
stays cut. What S costs by these alone must be within T. An item is left out together with all that comes
after it. (``pieces.take``, ``pieces.exclude``, ``pieces.load``)

*Room.* The devices left must hold what S leaves: see ``measures``. While S grows, it must still be able
to reach enough work; what it can reach lies on paths from I of length at most T in time (a piece holds,
with an item, all of its ancestors outside I). (``threshold._needs``, ``exchange.mark_zone``)

*Holdable.* An excluded item v ends up on a later device, which pays for v and for v's nets that have
items in J. Some type left must be able to carry that. (``exchange.holdable``)

*Dominance.* Let v be available after S and left out, let S ∪ v be within the target (and no larger in its
peaks, for ``gpipe``). Take any plan that goes on from J, with v on a later device, and move v to S. Only
S and that device see a difference: a net is cut for a device by what the device holds itself. The later
device loses p_v; a net of v with no item in J may newly be cut for it, since v has left; a net whose only
item outside J is v no longer concerns it. So if Σ(first) - Σ(second) ≤ p_v on every type left (hosts pay
nothing, always true), no load grows, and J need not be kept: J ∪ v is found as well. Moves go to earlier
devices only, so that repeating them ends. Under overlap and duplex transfers must not grow by themselves
(in each lane, and a producer that leaves makes a sender a receiver); for ``gpipe`` each direction counts
by itself. (``exchange.fits`` and ``exchange.harmless``)

*Forced.* If moreover taking v adds nothing to S, whatever else S takes (its nets that lie in S but for v
become uncut, nets without an item in S are paid anew), then S is never looked at without v. Both sums
only improve as S grows, so the rule may be applied as soon as v is available; memory must not bind for
all that S can reach. (``exchange.costs_nothing``)

*States.* Among states of one downset, one that has used no more devices of any type, with no larger
peaks, makes the other superfluous. (``threshold._insert``)

Reversing all edges turns chains of downsets round and changes no load, so the same test runs on the
reverse (``Lattice.reversed``).

*Twins.* Exchanging twin branches (``twin_branches``) maps plans onto plans of equal loads. Downsets that
twins alone tell apart have the same completions: they count as one downset in the rule above. Of branches of
which I holds the same items, the first has of the first item that only one of them gets. Take, of all pieces
from I with which a plan goes on and their images, one with most items that keeps this: dominance, which
would add an item, does not drop it. (``downset_keys.write`` and ``downset_keys.barred``)

*Microbatches in flight.* Where the stage that is s-th from the end keeps those of s microbatches, pieces must
come from the end, so that the reverse alone is searched. The rules above stay valid: a later piece is a
stage further from the end, which keeps more; and a plan that loses a stage, because v was all that it held,
or a state that has used fewer devices, asks for less memory of what follows. (``pieces.set_flights``)

*Pools.* Types may draw on the same devices, of which a piece takes one or several: stages on replicas or
shards.  A later device is then one of any type that the devices left allow, and all of the above holds.

*Recomputation.* A type may stand twice, once recomputing, with the same devices: more time, and other
memory. What its piece receives is known when it ends; v, moved to a piece nearer to the end, takes nothing
into the piece that it leaves. (``pieces.received``)

*Wanted order of devices.* A piece goes to no type that must come before one that is used already. Moves
between pieces keep the order of devices, and fewer devices used leave more open. (``exchange.in_order``)
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np

from placer.arrays import IntArray
from placer.methods.downsets.kernels import arrays, threshold
from placer.methods.downsets.kernels.arrays import Graph, Measures, Space
from placer.methods.downsets.kernels.views import Control, GraphView, MeasuresView, SpaceView
from placer.methods.downsets.lattice import Lattice
from placer.methods.downsets.measures import ROUNDING, direction_bounds
from placer.plans.status import Stop
from placer.search.run import Run

__all__ = ["Attempt", "Limits", "Search", "attempt"]

CALL_STEPS = 2_000_000
"""Steps of the kernel between two looks at the clock (some 0.05 s)."""
FIRST_STATES = 2048
"""Room for states at first; it doubles whenever they are more."""
NO_LIMIT = 2**62
"""More steps, or states, than any search takes."""


@dataclass(frozen=True)
class Limits:
    """What a test may use; with ``width`` or ``piece_steps`` it is a beam search that proves nothing.

    Parameters
    ----------
    steps
        Steps of the kernel in all.
    memory_mb
        Memory for states.
    width
        States kept per level.
    piece_steps
        Steps for the pieces of one state on one type.
    """

    steps: int = NO_LIMIT
    memory_mb: float = 1024.0
    width: int = NO_LIMIT
    piece_steps: int = NO_LIMIT


@dataclass(frozen=True)
class Attempt:
    """What a test found.

    Parameters
    ----------
    pieces
        A plan within the target as (type, positions) in order of the lattice, or None.
    exhausted
        Whether the search saw all: then without a plan there is none within the target.
    stop
        Set when the clock, the memory limit or the user ended it.
    steps, states
        Effort, since the search was last taken further.
    """

    pieces: list[tuple[int, IntArray]] | None
    exhausted: bool
    stop: Stop | None
    steps: int
    states: int


class Search:
    """A test that stops when told to, and may be taken further.

    Parameters
    ----------
    lattice, measures
        The items, and tests of the work left.
    target
        Largest load in ms (gpipe: largest sum of both maxima).
    limits
        The effort allowed, but for the steps.
    order
        Branching priority of positions, ``(N,)``; the smallest is tried first.
    peaks
        For gpipe: a forward and a backward load that count as reached; with both of them in the target,
        they are the limits of every piece.
    most
        For gpipe: largest sum of both loads of a piece.
    """

    def __init__(
        self,
        lattice: Lattice,
        measures: Measures,
        target: float,
        limits: Limits,
        order: IntArray | None = None,
        *,
        peaks: tuple[float, float] = (0.0, 0.0),
        most: float = np.inf,
    ) -> None:
        g = lattice.graph
        self.lattice, self.target, self.limits = lattice, target, limits
        self.step_s, self.state_s = lattice.step_s, lattice.state_s
        self.closed = not g.ok.any(axis=0).all()
        """Whether at this target some item exceeds every device by itself."""
        self.full = False
        """Whether the memory for states did not suffice."""
        self._space = _space(g, len(measures.kind), order)
        self._ctl = Control()
        _start(g, measures, self._space, self._ctl)
        if g.gpipe:
            self._space.peak[0] = np.maximum(self._space.peak[0], peaks)
            self._space.reach[2] = most * (1 + ROUNDING)
        self._items, self._work = GraphView(g), MeasuresView(measures)
        self._states = SpaceView(self._space)
        self._capacity = max(
            FIRST_STATES, int(limits.memory_mb * 2**20 / _state_bytes(g, measures, self._space))
        )

    @property
    def work_s(self) -> float:
        """Work so far in nominal seconds."""
        return self.step_s * self._ctl.count + self.state_s * self._ctl.states

    def go_on(self, run: Run, steps: int) -> Attempt:
        """Take so many steps more at most, while the run goes on."""
        if self.closed:
            return Attempt(None, True, None, 0, 0)
        ctl, limits = self._ctl, self.limits
        count, states = ctl.count, ctl.states
        found, ended, stop = False, False, None
        while (left := self._steps(run, count + steps - ctl.count)) > 0:
            before_s = self.work_s
            why = threshold.expand(
                self._items, self._work, self._states, ctl, self.target, left, limits.piece_steps
            )
            run.spend(self.work_s - before_s)
            found = why == arrays.FOUND
            ended = why == arrays.LEVEL and not _next_level(self._space, ctl, limits.width)
            if found or ended:
                break
            if why == arrays.FULL:
                if len(self._space.low) >= self._capacity:
                    self.full, stop = True, Stop.MEMORY_LIMIT
                    break
                self._space = _grown(self._space, ctl.states, self._capacity)
                self._states = SpaceView(self._space)
            stop = run.stopped()
            if stop is not None:
                break
        return Attempt(
            pieces=_pieces(self._space, ctl, self.lattice.size) if found else None,
            exhausted=ended and not ctl.truncated,
            stop=stop,
            steps=ctl.count - count,
            states=ctl.states - states,
        )

    def _steps(self, run: Run, left: int) -> int:
        """Return the steps until the next look at the clock: no more than the run may still count."""
        work = run.work_left
        if work is not None:
            left = min(left, 1 + int(work * (1 + self._ctl.count) / (self.step_s + self.work_s)))
        return min(CALL_STEPS, left)


def attempt(
    lattice: Lattice,
    measures: Measures,
    target: float,
    run: Run,
    limits: Limits,
    *,
    order: IntArray | None = None,
) -> Attempt:
    """Search at once for a plan whose objective is at most ``target``; see `Search`."""
    return Search(lattice, measures, target, limits, order).go_on(run, limits.steps)


def _next_level(space: Space, ctl: Control, width: int) -> bool:
    """Go on to the states made last, the best ``width`` of them; whether there are any."""
    begin, end = ctl.level_end, ctl.states
    if begin == end:
        return False
    if _thin(space, begin, end, width):
        ctl.truncated = 1
    ctl.level_end = end
    return True


def _space(g: Graph, K: int, order: IntArray | None) -> Space:
    T, n = g.ok.shape
    E, S, W = len(g.net_size), FIRST_STATES, (n + 63) // 64
    ints = np.int64

    def per_item() -> IntArray:
        return np.zeros(n, dtype=ints)

    missing = np.bincount(g.succ, minlength=n).astype(ints)
    sources = np.flatnonzero((missing == 0) & ~g.optional)
    available, position = per_item(), np.full(n, -1, dtype=ints)
    available[: len(sources)] = sources
    position[sources] = np.arange(len(sources))
    row = arrays.BLOCKS + 3 * K
    return Space(
        low=np.zeros(S, ints), length=np.zeros(S, ints), offset=np.zeros(S, ints),
        key_low=np.zeros(S, ints), key_length=np.zeros(S, ints), key=np.zeros(S, ints),
        pool=np.zeros(S * 4 + 2 * W, np.uint64), used=np.zeros((S, T + 1), np.int32),
        peak=np.zeros((S, 2)), left=np.zeros((S, K)), crossing=np.zeros((S, K)), rank=np.zeros(S),
        parent=np.zeros(S, ints), kind=np.zeros(S, ints), chain=np.zeros(S, ints), alive=np.zeros(S, bool),
        heads=np.full(2 * S, -1, ints), words=np.zeros(W, np.uint64), whole=np.zeros(W, np.uint64),
        mask=np.zeros(len(g.has_twin_before), ints), where=np.zeros(n, np.int8),
        missing=missing, before=np.zeros(E, ints), taken=np.zeros(E, ints), excluded=np.zeros(E, ints),
        available=available, position=position, listed=per_item(), trail=np.zeros(n + 1, ints),
        stack=per_item(), zone=per_item(), zone_missing=per_item(), distance=np.zeros(n),
        order=np.arange(n) if order is None else order, scratch=np.zeros(4),
        seen=np.zeros(len(g.output_bytes), ints), last=np.zeros(arrays.OPEN), need=np.zeros(K),
        row=np.zeros(row), reach=np.array([0.0, 0.0, np.inf]), rows=np.zeros((n + 1, row)),
        frame=np.zeros((n + 1, 4), ints),
    )  # fmt: skip


def _start(g: Graph, m: Measures, space: Space, ctl: Control) -> None:
    """Put in the empty downset as the only state."""
    space.left[0] = m.weight.sum(axis=1)
    space.parent[0], space.kind[0], space.alive[0] = -1, -1, True
    if g.gpipe:
        space.peak[0] = direction_bounds(m, g)
    space.chain[0] = -1
    threshold.rehash(SpaceView(space), 1)
    ctl.state = -1
    ctl.states = ctl.level_end = 1
    ctl.available = int((space.position >= 0).sum())


def _state_bytes(g: Graph, m: Measures, space: Space) -> float:
    """Bytes of one state, with room for the copy made when the arrays grow."""
    words = min(len(space.words), 8)
    return 1.5 * (8 * 10 + 1 + 4 * len(g.devices) + 20 + 16 * len(m.kind) + 8 * words + 16)


STATE_FIELDS = (
    "low", "length", "offset", "key_low", "key_length", "key", "used", "peak", "left", "crossing", "rank",
    "parent", "kind", "chain", "alive",
)  # fmt: skip


def _grown(space: Space, states: int, capacity: int) -> Space:
    """Return the space with room for twice as many states, at most ``capacity``."""
    size = min(2 * len(space.low), capacity)
    changes = {}
    for name in STATE_FIELDS:
        old = getattr(space, name)
        new = np.zeros((size, *old.shape[1:]), old.dtype)
        new[: len(old)] = old
        changes[name] = new
    pool = np.zeros(2 * len(space.pool), np.uint64)
    pool[: len(space.pool)] = space.pool
    heads = np.full(1 << (2 * size - 1).bit_length(), -1, np.int64)
    grown = space._replace(**changes, pool=pool, heads=heads)
    threshold.rehash(SpaceView(grown), states)
    return grown


def _thin(space: Space, begin: int, end: int, width: int) -> bool:
    """Keep only the best states of a level; whether some were dropped."""
    living = begin + np.flatnonzero(space.alive[begin:end])
    if len(living) <= width:
        return False
    worst = np.argpartition(space.rank[living], width)[width:]
    space.alive[living[worst]] = False
    return True


def _downset(space: Space, s: int, n: int) -> np.ndarray:
    """Membership of each position in the downset of state s, ``(n,)``."""
    low, length, offset = int(space.low[s]), int(space.length[s]), int(space.offset[s])
    words = np.zeros(len(space.words), dtype=np.uint64)
    words[:low] = ~np.uint64(0)
    words[low : low + length] = space.pool[offset : offset + length]
    return np.unpackbits(words.view(np.uint8), bitorder="little")[:n].astype(bool)


def _pieces(space: Space, ctl: Control, n: int) -> list[tuple[int, IntArray]]:
    inside = np.ones(n, dtype=bool)
    s, t = ctl.goal_state, ctl.goal_type
    pieces = []
    while s >= 0:
        before = _downset(space, s, n)
        pieces.append((t, np.flatnonzero(inside & ~before)))
        inside, t, s = before, int(space.kind[s]), int(space.parent[s])
    return pieces[::-1]
