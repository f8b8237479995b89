"""What is loaded before jobs start leaves the process that starts them without threads and solvers."""

import os
import sys

import pytest

from placer.methods.registry import METHODS
from placer.studies.batch.work import _Warm
from placer.studies.isolation import Nurseries
from placer.studies.nursery import Call

COMPILED = [
    (name, objective)
    for name, info in METHODS.items()
    if info.compiled
    for objective in sorted(info.objectives)
    if objective in ("throughput", "latency")
]


def state(life):
    """Threads of the nursery, and whether a solver is loaded."""
    return len(os.listdir(f"/proc/{os.getppid()}/task")), "highspy" in sys.modules


@pytest.mark.skipif(sys.platform != "linux", reason="looks for threads in /proc")
def test_compiled_methods_are_tried_without_threads():
    assert len(COMPILED) >= 7
    with Nurseries() as nurseries:
        for method, objective in COMPILED:
            answer = nurseries.run(Call(state, warm=_Warm(method, objective)))
            assert answer.value is not None, answer.ended
            threads, solver = answer.value
            assert (method, threads, solver) == (method, 1, False)
