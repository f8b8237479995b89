"""Options of the test run."""

from collections.abc import Iterator

import pytest

from placer.instance.instance import Instance
from placer.options import Options
from placer.plans.result import Result
from placer.search.run import Outcome, Run
from placer.solving.to_result import to_result
from tests.support.level import LEVEL, QUICK
from tests.support.simulation import simulated


def pytest_addoption(parser: pytest.Parser) -> None:
    parser.addoption(
        "--simulate-plans",
        action="store_true",
        help="run every plan that a test solves for event by event, and compare with its objective",
    )


def pytest_configure(config: pytest.Config) -> None:
    """Leave out what is slow on the quick level, unless ``-m`` says what to run."""
    if LEVEL == QUICK and not config.option.markexpr:
        config.option.markexpr = "not slow"


@pytest.fixture(autouse=True)
def _simulate_plans(request: pytest.FixtureRequest, monkeypatch: pytest.MonkeyPatch) -> Iterator[None]:
    """Under ``--simulate-plans`` no result leaves ``placer.solve`` without a simulation."""
    if not request.config.getoption("--simulate-plans"):
        yield
        return
    count = 0

    def checked(
        instance: Instance, original: Instance, options: Options, outcome: Outcome, run: Run
    ) -> Result:
        nonlocal count
        result = to_result(instance, original, options, outcome, run)
        if result.assignment is not None:
            simulated(original, result)
            count += 1
        return result

    monkeypatch.setattr("placer.solving.solve.to_result", checked)
    yield
    request.node.user_properties.append(("simulated plans", count))
