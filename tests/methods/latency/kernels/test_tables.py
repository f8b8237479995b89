"""Downsets, pieces, bounds and labels of the latency program against sets enumerated one by one."""

import itertools
from functools import cache

import numpy as np
import pytest

from placer.methods.latency import lattice_tables
from placer.methods.latency.atoms import Infeasible, LatencyModel, build_model, slots_by_device, slots_by_kind
from placer.methods.latency.kernels import label_setting, walk
from placer.methods.latency.kernels.arrays import BEST, UPPER, new_control, new_walk
from placer.methods.latency.kernels.views import AtomsView, LatticeView, Search, SlotsView, WalkView
from placer.methods.latency.lattice_tables import bound_tables, build_lattice, count_levels, empty_labels
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


def bounds_of(model: LatencyModel, slots, upper_ms=np.inf, limit_bytes=np.inf):
    bounded = bound_tables(model, lattice_of(model), slots, Run(), upper_ms, limit_bytes)
    assert bounded is not None
    return bounded


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


def best_makespan(model, bounded, slots) -> float:
    """Makespan of the best label when none is given up; inf if there is none."""
    labels = empty_labels(bounded, slots, 20_000, np.inf)
    label_setting.expand_all(Search(model.atoms, bounded, slots, labels, 2**40), new_control())
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
    sources = {sets.of[v] for v in sets.nodes if not sets.reads[v] and not sets.inner[v]}
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


def bounds_by_definition(model, sets: Sets, whole_groups: bool, pieces):
    """h0 by downset and pieces left, and h by live node as well, by the recursion over all steps.

    ``pieces`` is how many there are of each kind.
    """
    a, everything = model.atoms, frozenset(range(sets.n))
    every_left = list(itertools.product(*(range(p + 1) for p in pieces)))
    h0 = {(everything, left): 0.0 for left in every_left}
    h = {(everything, left): {} for left in every_left}

    def steps(before, left):
        """Each step with what is left, what it takes after each node that it reads, in all, what it makes."""
        for i in range(sets.n):
            if i not in before and sets.is_downset(before | {i}):
                after = before | {i}
                for o in a.pool[a.pool_start[i] : a.pool_start[i + 1]].tolist():
                    tail, through, total = {}, {}, 0.0
                    for v in reversed([v for v in sets.nodes if sets.of[v] == i]):
                        inner = [tail[w] for w in tail if v in sets.inner[w]]
                        tail[v] = max([h[after, left].get(v, 0.0), *inner]) + a.host_time[v, o]
                        total = max(total, tail[v])
                        for u in sets.reads[v]:
                            through[u] = max(through.get(u, 0.0), tail[v])
                    yield (after, left), through, total
        for after in sets.downsets():
            piece = after - before
            kinds = sets.fits(piece) if before < after else np.zeros(1, dtype=bool)
            groups = [len(piece & set(np.flatnonzero(a.group == g))) for g in range(len(a.group_size))]
            split = any(0 < x < size for x, size in zip(groups, a.group_size, strict=True))
            if kinds.any() and not (whole_groups and split):
                made = [u for u in sets.live(after) if sets.of[u] in piece]
                times = sets.compute(piece) + sets.transfer(made) + sets.transfer(sets.read(piece))
                for k in np.flatnonzero(kinds & (np.array(left, dtype=int) > 0)):
                    then = after, tuple(x - (i == k) for i, x in enumerate(left))
                    total = times[k] + max([0.0, *(h[then][u] for u in made)])
                    yield then, dict.fromkeys(sets.read(piece), total), total

    for before in sorted(sets.downsets(), key=len, reverse=True)[1:]:
        live = sets.live(before)
        for left in every_left:
            now = before, left
            h0[now], h[now] = np.inf, dict.fromkeys(live, np.inf)
            for then, through, total in steps(before, left):
                h0[now] = min(h0[now], max(total, h0[then]))
                for u in live:
                    value = max(through.get(u, 0.0), h[then].get(u, 0.0))
                    h[now][u] = min(h[now][u], value)
            if np.inf in (h0[now], *h[now].values()):  # there is no way to the end, whatever is looked at
                h0[now], h[now] = np.inf, dict.fromkeys(live, np.inf)
    return h0, h


def levels_of(model, slots):
    """Pieces of each kind, and the level that stands for each number of them."""
    pieces = [int(slots.pieces[slots.kind == k].sum()) for k in range(len(model.kinds))]
    levels = count_levels(slots, len(pieces), 1000)
    level = {tuple(pieces): levels.down.shape[1] - 1}
    for left in sorted(itertools.product(*(range(p + 1) for p in pieces)), key=sum, reverse=True):
        for k in np.flatnonzero(left):
            fewer = tuple(x - (i == k) for i, x in enumerate(left))
            down = int(levels.down[levels.part[k], level[left]])
            assert level.setdefault(fewer, down) == down
        assert all((levels.down[levels.part[k], level[left]] < 0) == (x == 0) for k, x in enumerate(left))
    return pieces, level


@pytest.mark.parametrize("pieces", [1, 2])
@pytest.mark.parametrize("seed", SEEDS)
def test_backward_bound(seed, pieces):
    model = model_of(seed, pieces)
    slots, sets = slots_of(model, pieces, serial=False), Sets(model)
    bounded = bounds_of(model, slots)
    counts, level = levels_of(model, slots)
    least, after = bounds_by_definition(model, sets, slots.whole_groups, counts)
    for state in range(len(bounded.h0)):
        held = members(bounded.lattice, state)
        live = slice(bounded.lattice.live_start[state], bounded.lattice.live_start[state + 1])
        for left, r in level.items():
            assert bounded.h0[state, r] <= least[held, left] * (1 + 1e-9)
            expected = [after[held, left][u] for u in bounded.lattice.live[live].tolist()]
            assert bounded.h[live, r] == pytest.approx(expected)


@pytest.mark.parametrize("most", [1, 2, 3])
@pytest.mark.parametrize("seed", SEEDS)
def test_few_levels_bound_what_many_do(seed, most, monkeypatch):
    model = model_of(seed, 2)
    slots = slots_of(model, 2, serial=False)
    exact = bounds_of(model, slots)
    monkeypatch.setattr(lattice_tables, "MOST_LEVELS", most)
    coarse = bounds_of(model, slots)
    assert coarse.levels.down.shape[1] <= most
    _, level = levels_of(model, slots)
    for left, r in level.items():
        least = min(sum(left), coarse.levels.down.shape[1] - 1)
        assert (coarse.h0[:, least] <= exact.h0[:, r] + 1e-9).all()
        assert (coarse.h[:, least] <= exact.h[:, r] + 1e-9).all()


@pytest.mark.parametrize("seed", SEEDS)
def test_bounds_for_plans_that_end_in_time(seed):
    """Of plans that end before a time the best is found, and the bounds are no lower than without it."""
    model = model_of(seed, 1)
    slots = slots_of(model, 1, serial=False)
    optimum = latency_optimum(model.instance, 1)
    bounds = bounds_of(model, slots)
    assert bounds.h0[0, -1] <= optimum + 1e-9
    if optimum < np.inf:
        later = bounds_of(model, slots, upper_ms=optimum * 1.01 + 1e-6)
        assert (later.h0 >= bounds.h0 - 1e-9).all()
        assert (later.h >= bounds.h - 1e-9).all()
        assert later.h0[0, -1] <= optimum + 1e-9
        assert best_makespan(model, later, slots) == pytest.approx(optimum, abs=1e-9)
        early = bounds_of(model, slots, upper_ms=optimum * 0.9)
        assert min(early.h0[0, -1], optimum) >= bounds.h0[0, -1] - 1e-9


@pytest.mark.parametrize(("pieces", "serial"), [(1, False), (1, True), (2, True)])
def test_best_label(pieces, serial):
    """No beam: the best label has the optimal makespan, on slots by device and, for one piece, by kind."""
    planned = 0
    for seed in SEEDS:
        model = model_of(seed, pieces)
        bounded = bounds_of(model, slots_of(model, pieces, serial=False))
        optimum = latency_optimum(model.instance, pieces)
        found = best_makespan(model, bounded, slots_of(model, pieces, serial))
        assert found == pytest.approx(optimum, abs=1e-9)
        planned += 0 < optimum < np.inf
    assert planned
