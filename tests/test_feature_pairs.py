"""Every feature, and every pair of features, against brute force, by every exact method that supports it.

The quick run tries every feature with itself and with the next one in the list.  ``python -m tests.pairs``
tries thousands of instances and counts.
"""

import pytest

from tests.support.feature_instances import FEATURES
from tests.support.feature_pairs import PAIRS, UNPROVEN, verdicts
from tests.support.level import seeds

NEXT = {*zip(FEATURES, [*FEATURES][1:], strict=False)}
MARKED = [p if p in NEXT else pytest.param(p, marks=pytest.mark.slow) for p in PAIRS]
"""The quick run tries a feature with the one after it, and what is left is marked slow."""


@pytest.mark.parametrize("seed", seeds(2))
@pytest.mark.parametrize("pair", MARKED, ids="+".join)
def test_pair(pair: tuple[str, str], seed: int, caplog: pytest.LogCaptureFixture) -> None:
    found = list(verdicts(pair, seed))
    assert found
    assert [v for v in found if v.difference or v.outcome == UNPROVEN] == []
    assert "start not used" not in caplog.text
