"""Everything that ``placer serve`` decides, against trying everything.

``python -m tests.benchmarks.small_answers --count 1000`` asks many more.
"""

import pytest

from tests.support.level import seeds
from tests.support.small_serving import outcomes


@pytest.mark.parametrize("seed", seeds(16))
def test_answers_of_small_questions(seed):
    assert [outcome for outcome in outcomes(seed) if outcome.wrong] == []
