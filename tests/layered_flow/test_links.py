"""The bound that sees links: no flow is excluded that a plan has, and where links bind it is close."""

import pytest

from placer.layered_flow.flow_file import load_flow
from placer.layered_flow.links import is_excluded
from placer.search.run import Run
from tests.support.flows import document, largest, random_flow


@pytest.mark.parametrize("block", [0, *(pytest.param(b, marks=pytest.mark.slow) for b in range(1, 6))])
def test_no_flow_of_a_plan_is_excluded(block):
    excluded = above = 0
    for seed in range(50 * block, 50 * block + 50):
        flow = random_flow(seed)
        best, problem = largest(flow), load_flow(flow)
        if best > 0:
            assert not is_excluded(problem, best * (1 - 1e-9), Run()), seed
            assert not is_excluded(problem, best * 0.7, Run()), seed
            above += 1
            excluded += is_excluded(problem, best * 1.02, Run())
    assert excluded > 0.5 * above


def test_devices_beyond_weak_links_help_little():
    """Two pairs of devices, a layer each, and a link of 10 between the pairs: no plan passes more than 10."""
    rates = {name: [100.0] for name in "abcd"}
    strong = [("source", "a"), ("a", "b"), ("b", "a"), ("c", "d"), ("d", "c"), ("d", "sink")]
    problem = load_flow(document(4, rates, dict.fromkeys(strong, 1e3) | {("b", "c"): 10.0}))
    assert is_excluded(problem, 10.01, Run())
    assert not is_excluded(problem, 10.0, Run())
