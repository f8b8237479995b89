import pytest

from tests.support.chromium import chromium


@pytest.fixture(scope="session")
def browser():
    with chromium() as started:
        yield started
