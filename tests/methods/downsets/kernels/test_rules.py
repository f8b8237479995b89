"""Loads of a growing piece, and the rules that prune it, against every set of items of small instances."""

import itertools
from dataclasses import dataclass, field

import numpy as np
import pytest

from placer.options import Communication, Options, Schedule
from tests.support.interpreted import interpreted
from tests.support.level import count, first
from tests.support.random_instances import random_instance

with interpreted():  # compiled, they can only be called from each other
    from placer.methods.downsets import search
    from placer.methods.downsets.kernels import exchange, pieces
    from placer.methods.downsets.kernels.arrays import Measures
    from placer.methods.downsets.kernels.views import Control, GraphView, MeasuresView, SpaceView
    from placer.methods.downsets.lattice import Lattice
    from placer.methods.downsets.measures import measures

STATE = 1
"""The state whose downset is loaded; no device is used yet."""
MODELS = [(c, s) for c in Communication for s in Schedule]


@dataclass
class Scene:
    """The arrays of the kernels, with a downset loaded and a piece of some items on top of it."""

    lattice: Lattice
    m: Measures
    inside: frozenset[int]
    type: int
    target: float
    piece: list[int] = field(default_factory=list)
    left_out: set[int] = field(default_factory=set)

    def __post_init__(self) -> None:
        self.g = self.lattice.graph
        self.space = search._space(self.g, len(self.m.kind), None)
        self.ctl = Control()
        search._start(self.g, self.m, self.space, self.ctl)
        self.items, self.work, self.states = GraphView(self.g), MeasuresView(self.m), SpaceView(self.space)
        space, n = self.space, self.lattice.size
        bits = np.zeros(64 * len(space.words), dtype=bool)
        bits[list(self.inside)] = True
        space.pool[: len(space.words)] = np.packbits(bits, bitorder="little").view(np.uint64)
        space.length[STATE] = len(space.words)
        self.rest = [v for v in range(n) if v not in self.inside]
        space.left[STATE] = self.m.weight[:, self.rest].sum(axis=1)
        pieces.load_state(self.items, self.states, self.ctl, STATE)
        pieces.set_flights(self.items, self.states, STATE)
        space.row[:] = 0.0
        exchange.mark_zone(self.items, self.work, self.states, self.ctl, self.type, self.target)
        space.need[:] = -np.inf

    def reached(self) -> set[int]:
        return {int(v) for v in np.flatnonzero(self.space.zone == self.ctl.stamp)}

    def offered(self) -> list[int]:
        """Items that the piece may take now."""
        listed = self.space.listed[: self.ctl.listed]
        return [int(v) for v in listed if v not in self.piece and v not in self.left_out]

    def take(self, v: int) -> None:
        pieces.take(self.items, self.work, self.states, self.ctl, self.type, v)
        self.piece.append(v)

    def untake(self, row: np.ndarray, listed: int) -> None:
        pieces.untake(self.items, self.states, self.type, self.piece.pop())
        self.space.row[:] = row
        self.ctl.listed = listed

    def leave_out(self, v: int) -> None:
        before = self.ctl.trail
        assert pieces.exclude(self.items, self.work, self.states, self.ctl, self.type, v)
        self.left_out |= {int(x) for x in self.space.trail[before : self.ctl.trail]}

    def loads(self, *, with_open: bool) -> list[float]:
        return [pieces.load(self.items, self.states, way, with_open) for way in (0, 1)]

    def finishes(self) -> bool:
        return exchange.finishes(self.items, self.work, self.states, STATE, self.type, self.target)

    def fits(self, v: int) -> bool:
        return exchange.fits(self.items, self.states, self.ctl, STATE, self.type, v, self.target)

    def harmless(self, v: int) -> bool:
        return exchange.harmless(self.items, self.states, STATE, self.type, v)

    def costs_nothing(self, v: int) -> bool:
        return exchange.costs_nothing(self.items, self.states, STATE, self.type, v)

    def holdable(self, v: int) -> bool:
        return exchange.holdable(self.items, self.states, STATE, self.type, v, self.target)


class Definition:
    """Loads of sets of items by the definition."""

    def __init__(self, lattice: Lattice) -> None:
        self.g, self.n = lattice.graph, lattice.size
        self.edges = lattice.edges.tolist()
        self._known: dict[tuple[int, frozenset[int]], np.ndarray] = {}
        owner = np.repeat(np.arange(self.n), np.diff(self.g.item_start))
        self.nets = [set(owner[self.g.item_nets == e].tolist()) for e in range(len(self.g.net_size))]

    def parts(self, t: int, held: set[int]) -> np.ndarray:
        """Compute, sent and received time of each direction, ``(2, 3)``; hosts pay for no transfers."""
        known = self._known.get((t, frozenset(held)))
        if known is not None:
            return known
        out = self._known[t, frozenset(held)] = np.zeros((2, 3))
        out[:, 0] = self.g.time[t][:, sorted(held)].sum(axis=1)
        for e, net in enumerate(self.nets):
            if 0 < len(net & held) < len(net):
                out[self.g.net_direction[e], 1 if self.g.net_producer[e] in held else 2] += self.g.net_cost[
                    t, e
                ]
        return out

    def loads(self, parts: np.ndarray) -> np.ndarray:
        """Load of each direction, ``(2,)``."""
        if self.g.mode == 0:
            return parts.sum(axis=1)
        return np.maximum(parts[:, 0], parts[:, 1:].sum(axis=1)) if self.g.mode == 1 else parts.max(axis=1)

    def runs(self, t: int, held: set[int]) -> bool:
        return bool(self.g.ok[t, sorted(held)].all())

    def memory(self, t: int, held: set[int]) -> float:
        """Bytes of a first piece."""
        more = 0 if self.g.by_stage else self.g.flights - 1
        return float((self.g.memory + more * self.g.activation)[t, sorted(held)].sum())

    def is_downset(self, held: set[int]) -> bool:
        return all(a in held for a, b in self.edges if b in held)

    def left(self, t: int) -> list[int]:
        """Types of which a device is left when one of type t is used."""
        return [i for i in range(len(self.g.devices)) if self.g.devices[i] - (i == t) > 0]

    def subsets(self, items) -> list[set[int]]:
        items = sorted(items)
        return [set(s) for size in range(len(items) + 1) for s in itertools.combinations(items, size)]

    def not_larger(self, after: np.ndarray, before: np.ndarray) -> bool:
        """Whether loads, each as the schedule counts them, do not grow."""
        after, before = self.loads(after), self.loads(before)
        if self.g.gpipe:
            return bool((after <= before + 1e-9).all())
        return bool(after.sum() <= before.sum() + 1e-9)


def lattice_of(seed: int, options: Options) -> Lattice | None:
    """A lattice of a random instance if it has some items, nets and a type that pays for them."""
    instance = random_instance(seed, nodes=10, training=True, heterogeneous=seed % 3 == 0)
    lattice = Lattice.of(instance, options)
    enough = 4 <= lattice.size <= 8 and len(lattice.graph.net_size) > 2 and lattice.graph.paying.any()
    return lattice if enough else None


def scenes(communication: Communication, schedule: Schedule, least: int = 12):
    """Random instances, downsets, types and targets."""
    options = Options(communication=communication, schedule=schedule)
    for seed in range(count(2 * least, least=least)):
        lattice = first(lambda seed: lattice_of(seed, options), seed)
        if seed % 2:
            lattice = lattice.reversed()
        m, definition, rng = measures(lattice.graph), Definition(lattice), np.random.default_rng(seed)
        downsets = [s for s in definition.subsets(range(lattice.size)) if definition.is_downset(s)]
        total = float(lattice.graph.time.max(axis=0).sum() + lattice.graph.net_cost.max(axis=0).sum())
        for t in np.flatnonzero(lattice.graph.devices > 0).tolist():
            for inside in rng.choice(np.array(downsets[:-1], dtype=object), size=3):
                target = rng.uniform(0.1, 1.2) * total + 1e-3
                yield Scene(lattice, m, frozenset(inside), t, target), definition, rng


def grow(scene: Scene, rng: np.random.Generator, *, leave: float = 0.0) -> None:
    """Take some of the items that are offered, and leave some out."""
    for _ in range(int(rng.integers(0, len(scene.rest) + 1))):
        offered = scene.offered()
        if not offered:
            break
        v = int(rng.choice(offered))
        if rng.random() < leave:
            scene.leave_out(v)
        else:
            scene.take(v)


@pytest.mark.parametrize("model", MODELS, ids=str)
def test_loads_of_a_growing_piece(model):
    checked = 0
    for scene, definition, rng in scenes(*model):
        grow(scene, rng, leave=0.3)
        held = set(scene.piece)
        assert scene.loads(with_open=True) == pytest.approx(
            definition.loads(definition.parts(scene.type, held)), abs=1e-9
        )
        # Without open nets: the least that any piece has which takes these and leaves those.
        undecided = set(scene.rest) - held - scene.left_out
        least = [definition.parts(scene.type, held | more) for more in definition.subsets(undecided)]
        bound = np.min([definition.loads(parts) for parts in least], axis=0)
        assert (np.array(scene.loads(with_open=False)) <= bound + 1e-9).all()
        checked += bool(held)
    assert checked


@pytest.mark.parametrize("model", MODELS, ids=str)
def test_taking_back_undoes_taking(model):
    for scene, _, rng in scenes(*model, least=6):
        grow(scene, rng)
        before = {name: np.copy(getattr(scene.space, name)) for name in ("row", "where", "missing", "taken")}
        listed = scene.ctl.listed
        if offered := scene.offered():
            scene.take(int(rng.choice(offered)))
            scene.untake(before["row"], listed)
        trail = scene.ctl.trail
        row = scene.space.row.copy()
        for v in scene.offered():
            if v not in scene.left_out:
                scene.leave_out(v)
        pieces.unexclude(scene.items, scene.states, scene.ctl, trail)
        scene.space.row[:] = row
        for name, value in before.items():
            assert (getattr(scene.space, name) == value).all(), name
        assert not scene.space.excluded.any()


@pytest.mark.parametrize("model", MODELS, ids=str)
def test_reached_items_are_all_that_a_piece_within_the_target_can_hold(model):
    useful = 0
    for scene, definition, _ in scenes(*model):
        reached = scene.reached()
        for held in definition.subsets(scene.rest):
            if not definition.is_downset(held | scene.inside) or not definition.runs(scene.type, held):
                continue
            if definition.memory(scene.type, held) > scene.g.limit[scene.type]:
                continue
            if definition.loads(definition.parts(scene.type, held)).sum() <= scene.target:
                assert held <= reached
        useful += reached < set(scene.rest)
    assert useful


@pytest.mark.parametrize("model", MODELS, ids=str)
def test_one_device_takes_the_rest(model):
    answers = set()
    for scene, definition, _ in scenes(*model):
        rest, t, g = set(scene.rest), scene.type, scene.g
        parts = definition.parts(t, rest)
        possible = definition.runs(t, rest) and definition.memory(t, rest) <= g.limit[t]
        expected = possible and definition.loads(parts).sum() <= scene.target
        assert scene.finishes() == expected
        answers.add(expected)
    assert answers == {True, False}


@pytest.mark.parametrize("model", MODELS, ids=str)
def test_an_item_more_fits(model):
    answers = set()
    for scene, definition, rng in scenes(*model):
        grow(scene, rng)
        held, t, g = set(scene.piece), scene.type, scene.g
        for v in scene.offered():
            after, before = definition.parts(t, held | {v}), definition.parts(t, held)
            load = definition.loads(after)
            expected = definition.runs(t, {v}) and definition.memory(t, held | {v}) <= g.limit[t]
            expected = expected and load.sum() <= scene.target
            if g.gpipe:
                expected = expected and bool((load <= definition.loads(before)).all())
                if np.abs(load - definition.loads(before)).max() < 1e-9:
                    continue
            assert scene.fits(v) == expected
            answers.add(expected)
    assert answers == {True, False}


@pytest.mark.parametrize("model", MODELS, ids=str)
def test_a_harmless_move_makes_no_later_load_larger(model):
    moved = 0
    for scene, definition, rng in scenes(*model, least=48):
        grow(scene, rng)
        later = set(scene.rest) - set(scene.piece)
        for v in scene.offered():
            if not scene.harmless(v):
                continue
            moved += 1
            for i in definition.left(scene.type):
                for others in definition.subsets(later - {v}):
                    if definition.runs(i, others | {v}):
                        after, before = definition.parts(i, others), definition.parts(i, others | {v})
                        assert definition.not_larger(after, before)
    assert moved


@pytest.mark.parametrize("model", MODELS, ids=str)
def test_an_item_that_costs_nothing_makes_no_piece_larger(model):
    free = 0
    for scene, definition, rng in scenes(*model, least=48):
        grow(scene, rng)
        held, t = set(scene.piece), scene.type
        for v in scene.offered():
            if not scene.costs_nothing(v):
                continue
            free += 1
            assert scene.harmless(v)
            for more in definition.subsets(set(scene.rest) - held - {v}):
                if definition.runs(t, held | more):
                    after, before = definition.parts(t, held | more | {v}), definition.parts(t, held | more)
                    assert definition.not_larger(after, before)
                    if definition.memory(t, held | more) <= scene.g.limit[t]:
                        assert definition.memory(t, held | more | {v}) <= scene.g.limit[t]
    assert free


@pytest.mark.parametrize("model", MODELS, ids=str)
def test_what_no_device_left_can_hold(model):
    refused = 0
    for scene, definition, rng in scenes(*model, least=48):
        grow(scene, rng)
        later = set(scene.rest) - set(scene.piece)
        scene.target *= 0.4
        for v in scene.offered():
            if scene.holdable(v):
                continue
            refused += 1
            for i in definition.left(scene.type):
                for others in definition.subsets(later - {v}):
                    if definition.runs(i, others | {v}):
                        parts = definition.parts(i, others | {v})
                        assert definition.loads(parts).sum() > scene.target
    assert refused
