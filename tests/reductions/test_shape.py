"""Width, number of downsets and topological order, against their definitions."""

import itertools

import numpy as np
import pytest

from placer.instance.order import topological_position
from placer.reductions.problem import contract
from placer.reductions.shape import count_downsets, width
from tests.support.random_instances import random_instance


def downsets_by_definition(size: int, edges: list[tuple[int, int]]) -> list[set[int]]:
    subsets = (set(s) for k in range(size + 1) for s in itertools.combinations(range(size), k))
    return [s for s in subsets if all(u in s for u, w in edges if w in s)]


@pytest.mark.parametrize("training", [False, True])
@pytest.mark.parametrize("seed", range(20))
def test_downsets_and_width_by_definition(seed, training):
    problem = contract(random_instance(seed, nodes=7, training=training), contiguous=True)
    edges = [tuple(e) for e in problem.edges.tolist()]
    downsets = downsets_by_definition(problem.size, edges)
    assert count_downsets(problem) == len(downsets)
    assert count_downsets(problem, len(downsets)) == len(downsets)
    assert count_downsets(problem, len(downsets) - 1) is None
    # The maximal elements of a downset are an antichain, and every antichain spans a downset.
    antichains = [{v for v in s if not any(u == v and w in s for u, w in edges)} for s in downsets]
    assert width(problem) == (max(map(len, antichains)), True)


@pytest.mark.parametrize("seed", range(10))
def test_topological_position(seed):
    instance = random_instance(seed, nodes=7, training=seed % 2 == 0)
    position = topological_position(instance)
    assert sorted(position.tolist()) == list(range(instance.n))
    assert np.all(position[instance.edges[:, 0]] < position[instance.edges[:, 1]])
