"""Every method with microbatches in flight, reserves, orders and recomputation, against brute force.

PLACER_RANDOM_MEMORY sets how many random instances are tried.
"""

import itertools
import os

import numpy as np
import pytest

from placer.instance import Instance
from placer.options import Options
from placer.result import Status
from placer.solve import solve
from tests.support.brute_memory import Brute
from tests.support.random_instances import random_cluster_memory

COUNT = int(os.environ.get("PLACER_RANDOM_MEMORY", "40"))
FIRST_SEED = int(os.environ.get("PLACER_RANDOM_SEED", "0"))
SCHEDULES, COMMUNICATIONS = ("1f1b", "gpipe"), ("sequential", "overlap", "duplex")
RECOMPUTES = ("none", "auto", "all")


def check_exact(instance: Instance, options: Options, optimum: float) -> None:
    """An exact method: the optimum with its proof, or a proof that there is no plan."""
    result = solve(instance, options)
    if optimum == np.inf:
        assert result.status is Status.INFEASIBLE
        return
    assert result.status is Status.OPTIMAL
    assert result.objective == pytest.approx(optimum, rel=1e-6, abs=1e-9)
    assert result.bound <= optimum * (1 + 1e-9)


@pytest.mark.parametrize("seed", range(FIRST_SEED, FIRST_SEED + COUNT))
def test_milp_is_optimal(seed: int) -> None:
    instance = random_cluster_memory(seed, nodes=5)
    m = instance.training.microbatches
    recomputes = RECOMPUTES if instance.is_training else RECOMPUTES[:1]
    choices = [(*c, m) for c in itertools.product(SCHEDULES, COMMUNICATIONS, recomputes)]
    optima = Brute(instance).optima(choices)
    for (schedule, communication, recompute, _), optimum in optima.items():
        options = Options(
            method="milp", gap=1e-6, schedule=schedule, communication=communication, recompute=recompute
        )
        check_exact(instance, options, optimum)
