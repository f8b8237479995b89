"""Annealing: what it says of an assignment against the energy by the definition, on small instances."""

import itertools

import numpy as np
import pytest

from placer.methods.local_search.kernels import annealing, moves
from placer.methods.local_search.kernels.twister import Twister
from placer.methods.local_search.kernels.views import StateView, StaticView
from placer.methods.local_search.local_search import make_state, make_static
from placer.options import Communication, Schedule
from tests.methods.local_search.kernels.test_moves import by_definition, problem_of, some_device

MEMORY_PENALTY = 10.0
CASES = [
    (2 * seed, communication, schedule)
    for seed in range(4)
    for communication in Communication
    for schedule in Schedule
]


def annealed(problem, options, device, targets, count, seed=0):
    """Energy and assignment of the best that annealing sees, and the state that it ends in."""
    static = make_static(problem, options)
    state = make_state(static)
    state.device[:] = device
    views = StaticView(static), StateView(state)
    moves.fill(*views)
    best, hot = np.empty_like(state.device), 0.3 * targets[2]
    course = annealing.Course(Twister(seed), *targets, 3, best)
    least = annealing.anneal(*views, course, count, hot, hot / 1000)
    return least, best, state


def energy(problem, options, device, targets) -> float:
    """What the devices exceed: targets in ms, and memory limits in shares of the limit."""
    load, used, _ = by_definition(problem, options, device)
    limit = np.array([d.memory_limit_bytes for d in problem.instance.devices])
    over = np.maximum(0.0, used - limit)
    share = np.where(np.isinf(limit), 0.0, np.where(limit > 0, over / np.where(limit > 0, limit, 1.0), over))
    if options.schedule is Schedule.GPIPE:
        loads = np.maximum(0.0, load[0] - targets[0]) + np.maximum(0.0, load[1] - targets[1])
    else:
        loads = np.maximum(0.0, load[2] - targets[2])
    return float((loads + MEMORY_PENALTY * targets[2] * share).sum())


def least_energy(problem, options, targets) -> float:
    """The least energy of all assignments."""
    choices = [np.flatnonzero(row) for row in problem.allowed]
    return min(energy(problem, options, np.array(d), targets) for d in itertools.product(*choices))


@pytest.mark.parametrize("case", CASES, ids=str)
def test_energy_of_the_best_and_tables_at_the_end(case):
    problem, options = problem_of(*case)
    device = some_device(problem, np.random.default_rng(case[0]))
    _, _, objective = by_definition(problem, options, device)
    if objective == 0.0:
        objective = 1.0
    targets = (0.3 * objective, 0.3 * objective, 0.5 * objective)
    least, best, state = annealed(problem, options, device, targets, 3000)
    assert problem.allowed[np.arange(problem.size), best].all()
    assert least == pytest.approx(energy(problem, options, best, targets), abs=1e-9)
    assert least <= energy(problem, options, device, targets) + 1e-9
    now = state.device.copy()
    static = make_static(problem, options)
    fresh = make_state(static)
    fresh.device[:] = now
    moves.fill(StaticView(static), StateView(fresh))
    for kept, summed in (
        (state.compute, fresh.compute),
        (state.receive, fresh.receive),
        (state.send, fresh.send),
    ):
        assert kept == pytest.approx(summed, abs=1e-9)
    assert (state.held == fresh.held).all()
    assert state.used == pytest.approx(fresh.used, abs=1e-9)


def test_reaches_the_least_energy_of_all_assignments():
    """Not always: moves are of connected items, and the temperature falls."""
    reached = 0
    for seed in range(0, 16, 2):
        problem, options = problem_of(seed, Communication.SEQUENTIAL, Schedule.ONE_F_ONE_B)
        if len(problem.instance.devices) ** problem.size > 5000:
            continue
        device = some_device(problem, np.random.default_rng(seed))
        objective = by_definition(problem, options, device)[2] or 1.0
        targets = (objective / 2,) * 3
        least, _, _ = annealed(problem, options, device, targets, 20_000)
        bound = least_energy(problem, options, targets)
        assert least >= bound - 1e-9
        reached += least <= bound + 1e-9
    assert reached >= 4


def test_the_seed_decides():
    problem, options = problem_of(4, Communication.SEQUENTIAL, Schedule.ONE_F_ONE_B)
    device = some_device(problem, np.random.default_rng(4))
    ends = [
        annealed(problem, options, device, (1e-3,) * 3, 40, seed)[2].device.tolist() for seed in (1, 1, 2, 3)
    ]
    assert ends[0] == ends[1]
    assert ends[0] != ends[2] or ends[0] != ends[3]


def test_keeps_the_order_of_the_devices():
    """From all on one device, where one may hold all: items go elsewhere, and no edge goes back."""
    spread = 0
    for seed in range(1, 60, 2):
        problem, options = problem_of(seed, Communication.SEQUENTIAL, Schedule.ONE_F_ONE_B)
        device = some_device(problem, np.random.default_rng(seed))
        if not len(problem.edges) or len(set(device.tolist())) > 1:
            continue
        objective = by_definition(problem, options, device)[2] or 1.0
        _, best, state = annealed(problem, options, device, (objective / 4,) * 3, 3000, seed)
        for found in (best, state.device):
            place = state.position[found][problem.edges]
            assert (place[:, 0] <= place[:, 1]).all()
        spread += len(set(best.tolist())) > 1
    assert spread >= 5
