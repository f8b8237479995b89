"""Downsets, pieces, bounds and labels of the latency program against sets enumerated one by one."""

import itertools
from functools import cache

import numpy as np
import pytest

from placer.methods.latency.atoms import Infeasible, LatencyModel, build_model, slots_by_device, slots_by_kind
from placer.methods.latency.kernels import label_setting, walk
from placer.methods.latency.kernels.arrays import BEST, UPPER, new_control, new_walk
from placer.methods.latency.kernels.views import AtomsView, LatticeView, Search, SlotsView, WalkView
from placer.methods.latency.lattice_tables import bound_tables, build_lattice, empty_labels
from placer.search.run import Run
from tests.methods.test_dp_latency import latency_instance
from tests.support.brute import latency_optimum
from tests.support.level import count, first

SEEDS = range(count(40, least=15))


def model_of(seed: int, pieces: int) -> LatencyModel:
    def make(seed: int) -> LatencyModel | None:
        try:
            model = build_model(latency_instance(seed), pieces, relaxed=False)
        except Infeasible:
            return None
        return model if model.size > 1 else None

    return first(make, seed)


def lattice_of(model: LatencyModel):
    lattice = build_lattice(model.atoms, Run(), np.inf)
    assert lattice is not None
    return lattice


def slots_of(model: LatencyModel, pieces: int, serial: bool):
    return slots_by_device(model, pieces) if serial else slots_by_kind(model, pieces, 1)


def pieces_after(model, lattice, slots, state: int) -> dict[frozenset[int], dict[str, object]]:
    """What the walk says of each piece that it visits after a downset."""
    tables, out = new_walk(model.atoms), {}
    view, atoms = WalkView(tables), AtomsView(model.atoms)
    walk.begin(view, atoms, LatticeView(lattice), state)
    while (d := walk.following(view, atoms, LatticeView(lattice), SlotsView(slots))) > 0:
        piece = frozenset(np.flatnonzero(tables.piece).tolist())
        assert piece not in out
        out[piece] = {
            "state": int(tables.state[d]),
            "compute": tables.compute[d].copy(),
            "receive": tables.receive[d].copy(),
            "send": tables.send[d].copy(),
            "held": float(tables.held[d]),
            "fresh": float(tables.fresh[d]),
            "partial": int(tables.partial[0]),
            "fits": [bool(walk.fits(view, atoms, d, k)) for k in range(tables.compute.shape[1])],
        }
    return out


def best_makespan(model, lattice, slots, h, h0) -> float:
    """Makespan of the best label when none is given up; inf if there is none."""
    labels = empty_labels(lattice, slots, 20_000, np.inf)
    label_setting.expand_all(Search(model.atoms, lattice, slots, h, h0, labels, 2**40), new_control())
    return float(labels.values[UPPER]) if labels.counters[BEST] >= 0 else np.inf


class Sets:
    """The graph of a model as sets."""

    def __init__(self, model: LatencyModel) -> None:
        a = self.atoms = model.atoms
        self.n, self.nodes = len(a.needs), range(len(a.atom_of))
        self.later = [set(a.next[a.next_start[i] : a.next_start[i + 1]].tolist()) for i in range(self.n)]
        self.reads = [set(a.outer[a.outer_start[v] : a.outer_start[v + 1]].tolist()) for v in self.nodes]
        self.inner = [set(a.inner[a.inner_start[v] : a.inner_start[v + 1]].tolist()) for v in self.nodes]
        self.of = a.atom_of.tolist()

    def is_downset(self, held: frozenset[int]) -> bool:
        return not any(b in held for i in range(self.n) if i not in held for b in self.later[i])

    @cache  # noqa: B019 - lives as long as its test
    def downsets(self) -> list[frozenset[int]]:
        every = itertools.chain.from_iterable(
            itertools.combinations(range(self.n), size) for size in range(self.n + 1)
        )
        return [s for s in map(frozenset, every) if self.is_downset(s)]

    def live(self, held: frozenset[int]) -> list[int]:
        """Nodes of a set that something outside reads."""
        return [
            u
            for u in self.nodes
            if self.of[u] in held and any(u in self.reads[v] for v in self.nodes if self.of[v] not in held)
        ]

    def open(self, held: frozenset[int]) -> list[int]:
        """Groups with some of their atoms in a set and some outside."""
        members = [np.flatnonzero(self.atoms.group == g).tolist() for g in range(len(self.atoms.group_size))]
        return [g for g, inside in enumerate(members) if 0 < len(held & set(inside)) < len(inside)]

    def read(self, piece: frozenset[int]) -> list[int]:
        """Nodes outside a piece that it reads."""
        needed = {u for v in self.nodes if self.of[v] in piece for u in self.reads[v]}
        return sorted(u for u in needed if self.of[u] not in piece)

    def held(self, piece: frozenset[int], begun: list[int] = ()) -> float:
        """Memory of a piece, each touched group counted whole unless it has begun."""
        groups = {int(self.atoms.group[i]) for i in piece} - {-1, *begun}
        return float(self.atoms.memory[sorted(piece)].sum() + self.atoms.group_memory[sorted(groups)].sum())

    def compute(self, piece: frozenset[int]) -> np.ndarray:
        return self.atoms.time[sorted(piece)].sum(axis=0)

    def fits(self, piece: frozenset[int]) -> np.ndarray:
        """Kinds of accelerators that can hold a piece."""
        return np.isfinite(self.compute(piece)) & (self.held(piece) <= self.atoms.limit * (1 + 1e-9))

    def transfer(self, nodes: list[int]) -> np.ndarray:
        return self.atoms.transfer[nodes].sum(axis=0)


def members(lattice, state: int) -> frozenset[int]:
    bits = np.unpackbits(lattice.words[state].view(np.uint8), bitorder="little")
    return frozenset(np.flatnonzero(bits).tolist())


@pytest.mark.parametrize("pieces", [1, 2])
@pytest.mark.parametrize("seed", SEEDS)
def test_lattice(seed, pieces):
    model = model_of(seed, pieces)
    lattice, sets = lattice_of(model), Sets(model)
    listed = [members(lattice, state) for state in range(len(lattice.words))]
    assert sorted(listed, key=sorted) == sorted(sets.downsets(), key=sorted)
    assert [len(s) for s in listed] == sorted(len(s) for s in listed)
    sources = {i for i in range(sets.n) if not any(sets.reads[v] for v in sets.nodes if sets.of[v] == i)}
    for state, held in enumerate(listed):
        children = slice(lattice.child_start[state], lattice.child_start[state + 1])
        found = dict(
            zip(lattice.child_atom[children].tolist(), lattice.child[children].tolist(), strict=True)
        )
        assert list(found) == [a for a in range(sets.n) if a not in held and sets.is_downset(held | {a})]
        assert all(listed[child] == held | {a} for a, child in found.items())
        assert lattice.live[lattice.live_start[state] : lattice.live_start[state + 1]].tolist() == sets.live(
            held
        )
        assert lattice.open[lattice.open_start[state] : lattice.open_start[state + 1]].tolist() == sets.open(
            held
        )
        assert lattice.started[state] == (sources <= held)


@pytest.mark.parametrize("pieces", [1, 2])
@pytest.mark.parametrize("seed", SEEDS)
def test_walk_over_the_pieces(seed, pieces):
    model = model_of(seed, pieces)
    lattice, slots, sets = lattice_of(model), slots_of(model, pieces, serial=False), Sets(model)
    for state in range(len(lattice.words)):
        before = members(lattice, state)
        begun = sets.open(before)
        expected = {
            after - before
            for after in sets.downsets()
            if before < after
            and sets.fits(after - before).any()
            and not (slots.whole_groups and {int(model.atoms.group[i]) for i in after - before} & set(begun))
        }
        found = pieces_after(model, lattice, slots, state)
        assert set(found) == expected
        for piece, says in found.items():
            assert members(lattice, says["state"]) == before | piece
            assert says["compute"] == pytest.approx(sets.compute(piece))
            assert says["receive"] == pytest.approx(sets.transfer(sets.read(piece)))
            sent = [u for u in sets.live(before | piece) if sets.of[u] in piece]
            assert says["send"] == pytest.approx(sets.transfer(sent), abs=1e-12)
            assert says["held"] == pytest.approx(sets.held(piece))
            assert says["fresh"] == pytest.approx(sets.held(piece, begun))
            inside = [
                len(piece & set(np.flatnonzero(model.atoms.group == g)))
                for g in range(len(model.atoms.group_size))
            ]
            assert says["partial"] == sum(
                0 < x < size for x, size in zip(inside, model.atoms.group_size, strict=True)
            )
            assert says["fits"] == sets.fits(piece).tolist()


def bounds_by_definition(model, sets: Sets, whole_groups: bool):
    """h0 by downset, and h by downset and live node, by the recursion over all steps."""
    a, everything = model.atoms, frozenset(range(sets.n))
    h0, h = {everything: 0.0}, {everything: {}}

    def steps(before):
        """Each step with what it takes after each node that it reads, in all, and what it makes."""
        for i in range(sets.n):
            if i not in before and sets.is_downset(before | {i}):
                after = before | {i}
                for o in a.pool[a.pool_start[i] : a.pool_start[i + 1]].tolist():
                    tail, through, total = {}, {}, 0.0
                    for v in reversed([v for v in sets.nodes if sets.of[v] == i]):
                        own = max([h[after].get(v, 0.0), *(tail[w] for w in tail if v in sets.inner[w])])
                        tail[v] = own + a.host_time[v, o]
                        total = max(total, tail[v])
                        for u in sets.reads[v]:
                            through[u] = max(through.get(u, 0.0), tail[v])
                    yield after, through, total
        for after in sets.downsets():
            piece = after - before
            kinds = sets.fits(piece) if before < after else np.zeros(1, dtype=bool)
            groups = [len(piece & set(np.flatnonzero(a.group == g))) for g in range(len(a.group_size))]
            split = any(0 < x < size for x, size in zip(groups, a.group_size, strict=True))
            if kinds.any() and not (whole_groups and split):
                made = [u for u in sets.live(after) if sets.of[u] in piece]
                times = sets.compute(piece) + sets.transfer(made) + sets.transfer(sets.read(piece))
                total = times[kinds].min() + max([0.0, *(h[after][u] for u in made)])
                yield after, dict.fromkeys(sets.read(piece), total), total

    for before in sorted(sets.downsets(), key=len, reverse=True)[1:]:
        live = sets.live(before)
        h0[before], h[before] = np.inf, dict.fromkeys(live, np.inf)
        for after, through, total in steps(before):
            h0[before] = min(h0[before], max(total, h0[after]))
            for u in live:
                value = max(through.get(u, 0.0), h[after].get(u, 0.0))
                h[before][u] = min(h[before][u], value)
    return h0, h


@pytest.mark.parametrize("pieces", [1, 2])
@pytest.mark.parametrize("seed", SEEDS)
def test_backward_bound(seed, pieces):
    model = model_of(seed, pieces)
    lattice, slots, sets = lattice_of(model), slots_of(model, pieces, serial=False), Sets(model)
    h, h0, done = bound_tables(model.atoms, lattice, slots, Run())
    assert done
    least, after = bounds_by_definition(model, sets, slots.whole_groups)
    for state in range(len(lattice.words)):
        held = members(lattice, state)
        assert h0[state] == pytest.approx(least[held])
        live = slice(lattice.live_start[state], lattice.live_start[state + 1])
        assert h[live] == pytest.approx([after[held][u] for u in lattice.live[live].tolist()])


@pytest.mark.parametrize(("pieces", "serial"), [(1, False), (1, True), (2, True)])
def test_best_label(pieces, serial):
    """No beam: the best label has the optimal makespan, on slots by device and, for one piece, by kind."""
    planned = 0
    for seed in SEEDS:
        model = model_of(seed, pieces)
        lattice, slots = lattice_of(model), slots_of(model, pieces, serial)
        h, h0, _ = bound_tables(model.atoms, lattice, slots, Run())
        optimum = latency_optimum(model.instance, pieces)
        assert best_makespan(model, lattice, slots, h, h0) == pytest.approx(optimum, abs=1e-9)
        planned += 0 < optimum < np.inf
    assert planned
