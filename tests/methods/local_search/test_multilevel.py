"""Merged items have the loads of what they hold, and annealing on several levels does no harm."""

from dataclasses import replace

import numpy as np
import pytest

from placer.methods.colgen.linear_loads import build_loads
from placer.methods.local_search.multilevel import anneal_levels, matching
from placer.methods.local_search.polish import Polish
from placer.options import Communication, Options, Schedule
from placer.reductions.problem import contract
from placer.reductions.throughput_merges import merge_items
from placer.search.run import Run
from tests.support.random_instances import random_instance


@pytest.mark.parametrize("communication", list(Communication))
@pytest.mark.parametrize("schedule", list(Schedule))
def test_merged_items_have_the_loads_of_their_members(communication, schedule):
    options = Options(communication=communication, schedule=schedule, contiguous=False)
    for seed in range(12):
        problem = contract(random_instance(seed, nodes=14, heterogeneous=seed % 2 == 0), contiguous=False)
        rng = np.random.default_rng(seed)
        device = rng.integers(0, problem.allowed.shape[1], problem.size)
        leader = matching(problem, device, rng, Run())
        assert (np.bincount(leader) <= 2).all()
        assert (device[leader] == device).all()  # pairs lie on one device
        coarse = device[np.unique(leader)]
        fine = Polish(problem, options, lambda _: np.inf).load_ms(device)
        merged = merge_items(problem, leader, communication, contiguous=False)
        level = Polish(merged, options, lambda _: np.inf)
        assert level.load_ms(coarse) == pytest.approx(fine)


def test_annealing_on_levels_keeps_what_is_best():
    improved = 0
    for seed in range(6):
        instance = random_instance(seed, nodes=120)
        problem = contract(instance, contiguous=False)
        options = Options(contiguous=False, seed=seed)
        objective = build_loads(problem, options.communication, options.schedule).objective_ms
        polish = Polish(replace(problem, edges=problem.edges[:0]), options, objective)
        rng = np.random.default_rng(seed)
        start = np.array([rng.choice(np.flatnonzero(row)) for row in problem.allowed])
        if not polish.offer(start):
            continue  # memory does not hold it
        before = polish.best_ms
        assert anneal_levels(polish, 0.5 * before, Run(), reach=0.4, heat=0.02) == (polish.best_ms < before)
        assert objective(polish.best) == polish.best_ms <= before
        improved += polish.best_ms < before
    assert improved
