"""Damaged instance files end in a clear error or a verified plan, within their limits."""

import json
from pathlib import Path

from placer.errors import InputError, UsageError
from placer.formats.files import loads
from placer.formats.text import decode
from placer.plans.check import check
from placer.solving.solve import solve
from placer.studies.isolation import Nurseries
from placer.studies.nursery import Call, How, Life
from tests.formats.test_bad_input import NATIVE, PAPER, changed
from tests.support.level import count
from tests.support.mutations import mutants

COUNT = count(140, least=60)
LIMIT_S = 20.0
LIMIT_MB = 1024
DATA = Path(__file__).resolve().parents[1] / "data"


def judge(life: Life, data: bytes) -> str:
    """Read and plan a file; say what came of it.  Any other exception ends the process that this runs in."""
    try:
        instance = loads(decode(data, "file"), source="file", name="file")
        result = solve(instance, method="dp", time_limit=2.0)
    except (InputError, UsageError) as error:
        message = str(error)
        assert message.isprintable(), message
        assert len(message) < 1500, len(message)
        return "error"
    assert check(instance, result) == []
    return str(result.status)


def test_damaged_files():
    bases = [
        changed(NATIVE, ("nodes/2/backward", False), ("nodes/2/colocate", None)),
        NATIVE,
        PAPER,
        json.loads((DATA / "textbook.json").read_text()),
    ]
    ends: dict[str, int] = {}
    bad = []
    with Nurseries() as nurseries:
        for name, data in mutants(bases, COUNT):
            answer = nurseries.run(Call(judge, (data,), LIMIT_S, LIMIT_MB, _warm))
            if answer.ended.how is not How.RETURNED or answer.ended.peak_memory_mb > LIMIT_MB:
                bad.append((name, answer.ended, data[:200]))
            ends[str(answer.value)] = ends.get(str(answer.value), 0) + 1
    assert bad == []
    assert sum(ends.values()) == COUNT
    # The damage is neither always fatal nor always harmless.
    assert ends["error"] > 0.5 * COUNT
    assert ends["optimal"] > 0.02 * COUNT


def _warm() -> None:
    instance = loads(json.dumps(PAPER), source="", name="paper")
    assert solve(instance, method="dp").objective is not None
