"""Values to begin with: a single look at the best sets proves what the program of shared work does."""

import numpy as np
import pytest

from placer.methods.colgen.bound import Generation
from placer.methods.colgen.first_values import first_values
from placer.methods.colgen.linear_loads import build_loads
from placer.methods.colgen.pricing import Grid, make_pricers
from placer.options import Communication, Schedule
from placer.reductions.problem import contract
from placer.search.run import Run
from tests.support.brute import throughput_optima
from tests.support.random_instances import random_instance


@pytest.mark.parametrize("communication", list(Communication))
def test_one_look_proves_a_bound(communication):
    proven = 0.0
    for seed in range(24):
        instance = random_instance(seed, nodes=6, training=seed % 2 == 0, heterogeneous=seed % 3 == 0)
        optimum = throughput_optima(instance)["free", "1f1b", communication.value]
        if not 0 < optimum < np.inf:
            continue
        loads = build_loads(contract(instance, contiguous=False), communication, Schedule.ONE_F_ONE_B)
        pricers = make_pricers(loads)
        values = first_values(loads, pricers, Run())
        assert values is not None
        assert (values > 0).all()
        generation = Generation(loads, pricers, 2 * optimum, values)
        for pricer in pricers:
            pricer.set_grid(Grid(4096, 2 * optimum))
        generation.price(values, generation.no_use, Run())
        assert generation.lower_ms <= optimum * (1 + 1e-9)
        proven += generation.lower_ms / optimum / 24
    assert proven > 0.5
