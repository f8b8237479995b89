"""Loads kept up to date by moves against loads summed up from the definition."""

import numpy as np
import pytest

from placer.instance.cluster import DeviceClass, Link
from placer.instance.instance import Instance
from placer.methods.local_search.kernels import moves
from placer.methods.local_search.kernels.views import StateView, StaticView
from placer.methods.local_search.local_search import items_to_move, make_state, make_static
from placer.options import Communication, Options, Schedule
from tests.support.level import count
from tests.support.random_instances import random_instance

CASES = [
    (seed, communication, schedule)
    for seed in range(count(48, least=12))
    for communication in Communication
    for schedule in Schedule
]


def problem_of(seed: int, communication: Communication, schedule: Schedule):
    """Items of a random training instance; odd seeds ask for an order of the devices."""
    instance = random_instance(seed, nodes=8, training=True, heterogeneous=seed % 3 == 0)
    options = Options(communication=communication, schedule=schedule, contiguous=seed % 2 == 1)
    return items_to_move(instance, options), options


def tables(problem, options, device):
    """The kernel's arrays, filled for an assignment ``(N,)``."""
    static = make_static(problem, options)
    state = make_state(static)
    state.device[:] = device
    moves.fill(StaticView(static), StateView(state))
    return static, state


def descend(static, state, only_mend=False):
    views = StaticView(static), StateView(state)
    _, done = moves.improve(*views, 10**7, only_mend)
    assert done
    return moves.memory_excess(*views)


def some_device(problem, rng) -> np.ndarray:
    """A device that may run each item; a single one where precedence has to be kept."""
    if len(problem.edges):
        everywhere = np.flatnonzero(problem.allowed.all(axis=0))
        if len(everywhere):
            return np.full(problem.size, rng.choice(everywhere))
    return np.array([rng.choice(np.flatnonzero(row)) for row in problem.allowed])


def by_definition(problem, options, device) -> tuple[np.ndarray, np.ndarray, float]:
    """Loads ``(3, D)``, bytes ``(D,)`` and objective of an assignment."""
    instance = problem.instance
    D = len(instance.devices)
    load, used = np.zeros((3, D)), np.zeros(D)
    for d in range(D):
        mine, c = device == d, instance.device_class[d]
        used[d] = problem.worst_bytes[mine].sum()
        for way in (0, 1):
            compute, receive, send = problem.time_ms[way, mine, c].sum(), 0.0, 0.0
            for e in range(problem.nets):
                producer, *_ = items = problem.net(e)
                cut = 0 < mine[items].sum() < len(items)
                if cut and int(problem.net_backward[e]) == way:
                    send += problem.net_cost_ms[e, c] if mine[producer] else 0.0
                    receive += problem.net_cost_ms[e, c] if not mine[producer] else 0.0
            load[way, d] = {
                Communication.SEQUENTIAL: compute + receive + send,
                Communication.OVERLAP: max(compute, receive + send),
                Communication.DUPLEX: max(compute, receive, send),
            }[options.communication]
    load[2] = load[0] + load[1]
    gpipe = options.schedule is Schedule.GPIPE
    return load, used, float(load[0].max() + load[1].max() if gpipe else load[2].max())


def excess(problem, used) -> float:
    limit = np.array([d.memory_limit_bytes for d in problem.instance.devices])
    return float(np.maximum(0.0, used - limit * (1 + 1e-12)).sum())


@pytest.mark.parametrize("case", CASES, ids=str)
def test_filled_tables(case):
    problem, options = problem_of(*case)
    device = some_device(problem, np.random.default_rng(case[0]))
    static, state = tables(problem, options, device)
    load, used, _ = by_definition(problem, options, device)
    assert state.load == pytest.approx(load, abs=1e-12)
    assert state.used == pytest.approx(used)
    assert moves.memory_excess(StaticView(static), StateView(state)) == pytest.approx(excess(problem, used))
    for row, top in zip(load, state.top, strict=True):
        held = [d for d in top if d >= 0]
        assert len(held) == min(3, len(row))
        assert row[held] == pytest.approx(np.sort(row)[::-1][: len(held)], abs=1e-12)


@pytest.mark.parametrize("case", CASES, ids=str)
def test_descent_keeps_the_tables_and_ends_where_no_move_helps(case):
    problem, options = problem_of(*case)
    device = some_device(problem, np.random.default_rng(case[0]))
    _, used, objective = by_definition(problem, options, device)
    at_first = (excess(problem, used), objective)
    static, state = tables(problem, options, device)
    over = descend(static, state)
    load, used, objective = by_definition(problem, options, state.device)
    assert state.load == pytest.approx(load, abs=1e-9)
    assert state.used == pytest.approx(used, abs=1e-9)
    assert over == pytest.approx(excess(problem, used), abs=1e-9)
    if len({*device[problem.edges.ravel()]}) <= 1:  # all in order at first
        assert (state.device[problem.edges[:, 0]] <= state.device[problem.edges[:, 1]]).all()
    assert (over, objective) <= (at_first[0] + 1e-9, at_first[1] + 1e-9 if over >= at_first[0] else np.inf)
    neighbours = 0
    for i in range(problem.size):
        for b in np.flatnonzero(problem.allowed[i]):
            other = state.device.copy()
            other[i] = b
            # The devices stand in the order of their numbers, which precedence has to follow.
            if b == state.device[i] or (other[problem.edges[:, 0]] > other[problem.edges[:, 1]]).any():
                continue
            neighbours += 1
            _, room, value = by_definition(problem, options, other)
            after = excess(problem, room)
            assert after >= over - 1e-6
            if abs(after - over) < 1e-9:
                assert value >= objective * (1 - 1e-8)
    assert neighbours or len(problem.edges) or problem.allowed.sum() == problem.size


def test_mending_ends_when_the_limits_hold():
    mended = 0
    for seed in range(0, 60, 2):
        problem, options = problem_of(seed, Communication.SEQUENTIAL, Schedule.ONE_F_ONE_B)
        device = some_device(problem, np.random.default_rng(seed))
        static, state = tables(problem, options, device)
        before = excess(problem, by_definition(problem, options, device)[1])
        over = descend(static, state, only_mend=True)
        if before == 0.0:
            assert (state.device == device).all()
        mended += before > 0.0 and over == 0.0
    assert mended


def test_a_move_may_lower_the_load_of_the_device_that_takes_the_item():
    """Fast `a` sends 8.8 to `c` and receives 10 from slow `b`; with `i` on `b`, it sends 9 more instead.

    The largest load falls from 10 (`b` sends) to 9 (`b` receives), though the sum of their squares grows.
    """
    speeds = {"a": 2.0, "b": 1.0, "c": 100.0}  # bytes per ms
    classes = tuple(
        DeviceClass(name, "gpu", 1, link=Link(bandwidth_bytes_per_s=1000 * speed))
        for name, speed in speeds.items()
    )
    instance = Instance.build(
        ids=("i", "u", "w", "v", "x"),
        types=("gpu",),
        time_ms=np.full((5, 1), 1e-3),
        output_bytes=(0.0, 10.0, 9.0, 8.8, 0.0),
        edges=((1, 0), (2, 0), (3, 4)),
        classes=classes,
        pin=(("a", "b"), ("b",), ("a",), ("a",), ("c",)),
    )
    options = Options(communication=Communication.DUPLEX, contiguous=False)
    problem = items_to_move(instance, options)
    device = np.array([0, 1, 0, 0, 2])[[nodes[0] for nodes in problem.members]]
    assert by_definition(problem, options, device)[2] == pytest.approx(10.0)
    static, state = tables(problem, options, device)
    descend(static, state)
    assert by_definition(problem, options, state.device)[2] == pytest.approx(9.0)
