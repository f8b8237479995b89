"""Links: what is fitted, and this machine's own."""

import pytest

from placer.errors import UsageError
from placer.measuring.copies import SIZES, fit_link, measure_links


def test_a_link_is_found_from_the_times_of_its_copies():
    link = fit_link(SIZES, [0.02 + size / 12e9 * 1e3 for size in SIZES])
    assert link.gb_per_s == pytest.approx(12)
    assert link.latency_ms == pytest.approx(0.02)


def test_noise_makes_no_impossible_links():
    link = fit_link([1000, 2000, 4000], [2.0, 1.5, 1.0])
    assert link.gb_per_s == pytest.approx(4000 / 1e-3 / 1e9)
    assert link.latency_ms == 0


def test_shared_memory_of_this_machine():
    (link,) = measure_links(repeats=3).values()
    assert 0.05 < link.gb_per_s < 1000
    assert link.latency_ms < 10


@pytest.mark.parametrize(("device", "repeats", "rule"), [("tpu", 1, "cpu or cuda"), ("cpu", 0, "at least 1")])
def test_refused(device, repeats, rule):
    with pytest.raises(UsageError, match=rule):
        measure_links(device, repeats=repeats)
