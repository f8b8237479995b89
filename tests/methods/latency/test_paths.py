"""Longest paths of the latency program: by hand, and against optimal plans."""

import numpy as np
import pytest

from placer.instance.cluster import DeviceClass, Kind
from placer.instance.instance import Instance
from placer.methods.latency.atoms import Infeasible, build_model
from placer.methods.latency.paths import paths
from tests.methods.test_dp_latency import latency_instance
from tests.support.brute import latency_optimum
from tests.support.level import count


def chain(limit: float, host_ms: float = 100.0) -> Instance:
    """Four nodes in a row of 1 byte each; 1, 2, 3, 4 ms, and 0.5 ms to move what they send."""
    return Instance.build(
        ids=list("abcd"),
        types=["acc", "cpu"],
        time_ms=[[1.0, host_ms], [2.0, host_ms], [3.0, host_ms], [4.0, host_ms]],
        memory_bytes=[1.0] * 4,
        transfer_ms=[0.5] * 4,
        edges=[(0, 1), (1, 2), (2, 3)],
        classes=[
            DeviceClass("acc", "acc", 4, Kind.ACCELERATOR, limit),
            DeviceClass("cpu", "cpu", 1, Kind.HOST),
        ],
    )


@pytest.mark.parametrize(
    ("limit", "longest", "ready"),
    [
        (4.0, 10.0, [1.5, 3.5, 6.5, 10.0]),  # one piece, which sends what is looked at last
        (2.0, 11.0, [1.5, 3.5, 7.5, 11.0]),  # two pieces: a and b, sent and received, c and d
        (1.0, 13.0, [1.5, 4.5, 8.5, 13.0]),  # four pieces
    ],
)
def test_a_chain_that_memory_cuts(limit, longest, ready):
    found = paths(build_model(chain(limit), 1, relaxed=False))
    assert found.longest_ms == pytest.approx(longest)
    assert found.ready == pytest.approx(ready)


def test_what_follows_depends_on_the_memory_in_use():
    """After b, c and d take 7 ms; where they do not fit beside it, 1 ms more, and as much between them."""
    found = paths(build_model(chain(2.0), 1, relaxed=False))
    assert found.after[1, 0] == pytest.approx(7.0)
    assert found.after[1, -1] == pytest.approx(8.0)
    assert (np.diff(found.after, axis=1) >= 0).all()
    assert found.after[3].max() == 0.0


def test_hosts_pay_no_transfers():
    found = paths(build_model(chain(1.0, host_ms=2.5), 1, relaxed=False))
    assert found.longest_ms == pytest.approx(1.0 + 0.5 + 3 * 2.5)


def test_no_path_is_longer_than_the_best_plan():
    met = 0
    for seed in range(count(300, least=60)):
        try:
            model = build_model(latency_instance(seed), 1, relaxed=False)
        except Infeasible:
            continue
        longest, optimum = paths(model).longest_ms, latency_optimum(model.instance, 1)
        assert longest <= optimum + 1e-9
        met += 0 < longest == pytest.approx(optimum)
    assert met
