"""What is loaded before jobs start leaves the process that starts them without threads."""

import os
import sys

import pytest

from placer.methods.registry import METHODS
from placer.studies.batch.worker import _Warm
from placer.studies.isolation import Nurseries
from placer.studies.nursery import Call


def threads(life):
    return len(os.listdir(f"/proc/{os.getppid()}/task"))


@pytest.mark.skipif(sys.platform != "linux", reason="looks for threads in /proc")
def test_methods_are_loaded_without_threads():
    with Nurseries() as nurseries:
        for method, info in METHODS.items():
            for objective in sorted(info.objectives):
                answer = nurseries.run(Call(threads, warm=_Warm(method, objective)))
                assert (method, answer.value) == (method, 1), answer.ended
