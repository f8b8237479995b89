"""Ends of one server along a chain of items against every way to cut its stages, tried one by one."""

import itertools

import numpy as np
import pytest

from placer.methods.downsets.servers import Servers, server_kinds
from placer.options import Communication, Options, Schedule
from placer.plans.in_flight import settled
from placer.reductions.problem import contract
from tests.methods.downsets.test_servers import random_pipeline
from tests.support.level import count

COMMUNICATIONS = list(Communication)


def servers_of(seed: int) -> Servers:
    """A random pipeline with servers of some kinds, along its only order."""
    options = Options(schedule=list(Schedule)[seed // 4 % 2], communication=COMMUNICATIONS[seed % 3])
    instance = settled(random_pipeline(seed), options)
    duplex = options.communication is Communication.DUPLEX
    problem = contract(instance, contiguous=True, keep_producers=duplex)
    return Servers(problem, server_kinds(problem), np.arange(problem.size), options)


def ends(servers: Servers, kind: int, s: int, earlier: int, limits, near: bool) -> set[tuple[int, int]]:
    """Ends of a server that begins at s, with the mixes that fill it, by the kernel."""
    found = servers._ends(kind, s, earlier, np.inf, limits, near=near)
    return {(e, int(m)) for e, mixes in found for m in mixes}


def stage_load(c, k: int, stage: range, server: range, near: bool) -> tuple[np.ndarray, bool]:
    """Load of each direction of a stage on slot k, ``(2,)``, and whether the slot may run it."""
    compute, moved = c.time[k][:, stage].sum(axis=1), np.zeros((2, 2))
    for x in range(len(c.direction)):
        producer, *readers = items = c.net_items[c.net_start[x] : c.net_start[x + 1]].tolist()
        held = [v in stage for v in items]
        if not any(held) or all(held):
            continue
        others = items if near and held[0] else readers if held[0] else [producer]
        away = any(v in (server.start - 1, server.stop) if near else v not in server for v in others)
        cost = c.own[k, x] + (c.extra[k, x] if away else 0.0)
        moved[c.direction[x], 1 if held[0] else 0] += cost
    if c.mode == 0:
        load = compute + moved.sum(axis=1)
    else:
        load = np.maximum(compute, moved.sum(axis=1) if c.mode == 1 else moved.max(axis=1))
    return load, bool(c.ok[k][stage].all())


def ends_by_trial(servers: Servers, kind: int, s: int, earlier: int, limits, near: bool):
    """The same by all cuts into stages and all slots for them."""
    c, n = servers.chain, servers.problem.size
    slots = range(c.slot_start[kind], c.slot_start[kind + 1])
    most, out = int(sum(c.devices[k] for k in slots)), set()
    for e in range(s + 1, n + 1):
        good = {
            (a, b, k): load
            for a in range(s, e)
            for b in range(a + 1, e + 1)
            for k in slots
            for load, runs in [stage_load(c, k, range(a, b), range(s, e), near)]
            if runs and (load <= limits[:2]).all() and load.sum() <= limits[2]
        }
        for stages in range(1, most + 1):
            for cuts in itertools.combinations(range(s + 1, e), stages - 1):
                bounds = list(itertools.pairwise((s, *cuts, e)))
                for used in itertools.product(slots, repeat=stages):
                    if any(used.count(k) > c.devices[k] for k in slots):
                        continue
                    if all(
                        (a, b, k) in good and _bytes(c, k, a, b, earlier + i + 1) <= c.limit[k]
                        for i, ((a, b), k) in enumerate(zip(bounds, used, strict=True))
                    ):
                        out.add((e, int(sum(c.stride[k] for k in used))))
    return out


def _bytes(c, k: int, begin: int, end: int, place: int) -> float:
    """Memory of a stage that is ``place``-th from the end."""
    flights = min(c.flights, place) if c.by_stage else c.flights
    return float(c.memory[k, begin:end].sum() + (flights - 1) * c.activation[k, begin:end].sum())


@pytest.mark.parametrize("near", [False, True])
@pytest.mark.parametrize("seed", range(count(24, least=9)))
def test_ends_and_mixes(seed, near):
    servers, rng, sizes = servers_of(seed), np.random.default_rng(seed), set()
    for kind, s in itertools.product(range(len(servers.kinds)), range(servers.problem.size)):
        for share in (0.3, 0.6, 1.0):
            limits = share * servers.enough_ms / 4 * np.array([rng.uniform(0.4, 1), rng.uniform(0.4, 1), 1])
            earlier = int(rng.integers(0, 3))
            expected = ends_by_trial(servers, kind, s, earlier, limits, near)
            assert ends(servers, kind, s, earlier, limits, near) == expected
            sizes.add(len(expected))
    assert len(sizes) > 1
