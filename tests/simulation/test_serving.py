"""Microbatches going round: equal to the formulas at saturation, and queueing below it."""

from dataclasses import dataclass, replace
from pathlib import Path

import numpy as np
import pytest

from placer.errors import InputError, UsageError
from placer.simulation.serving_figures import figures
from placer.simulation.serving_requests import Request, poisson, read_requests
from placer.simulation.serving_rounds import SteadyTimes, rounds, saturated
from tests.support.level import seeds


@pytest.mark.parametrize("seed", seeds(240))
def test_saturation_equals_the_formulas(seed: int):
    """Time per token is the longer of a sequence's way round and all microbatches' turns at a stage."""
    rng = np.random.default_rng(seed)
    loads = rng.gamma(rng.uniform(0.3, 5), 1.0, rng.integers(1, 9))
    back = float(rng.choice([0.0, rng.uniform(0, 4)]))
    m, b = int(rng.integers(1, 14)), int(rng.integers(1, 4))
    tokens_per_s, tpot = saturated(
        SteadyTimes(tuple(loads)), microbatches=m, batch=b, return_ms=back, passes=240
    )
    expected = max(loads.sum() + back, m * loads.max())
    assert tpot == pytest.approx(expected, rel=1e-3)
    assert tokens_per_s == pytest.approx(1e3 * m * b / expected, rel=1e-3)


@pytest.mark.parametrize("seed", seeds(60))
def test_replicas_take_turns(seed: int):
    """Where the microbatches share out evenly, a stage's turns come as much faster as it has replicas."""
    rng = np.random.default_rng(seed)
    loads = rng.gamma(1.0, 1.0, rng.integers(1, 6))
    replicas = rng.choice([1, 2, 3], len(loads))
    m = 6 * int(rng.integers(1, 3))
    times = SteadyTimes(tuple(loads), replicas=tuple(replicas.tolist()))
    expected = max(loads.sum() + 0.5, m * (loads / replicas).max())
    _, tpot = saturated(times, microbatches=m, batch=1, return_ms=0.5, passes=240)
    assert tpot == pytest.approx(expected, rel=1e-3)


def test_visits_that_come_back():
    """One microbatch makes its visits one after the other; two can meet, which formulas leave out."""
    times = SteadyTimes((1.0, 3.0, 3.0, 1.0), visits=(0, 1, 0, 1))
    assert saturated(times, microbatches=1, batch=2) == pytest.approx((250.0, 8.0))
    _, tpot = saturated(times, microbatches=2, batch=2)
    assert tpot > 8 * 1.001  # what both stages' work alone would take
    even = SteadyTimes((2.0, 2.0, 2.0, 2.0), visits=(0, 1, 0, 1))
    assert saturated(even, microbatches=2, batch=1) == pytest.approx((250.0, 8.0))


@dataclass(frozen=True)
class Measured(SteadyTimes):
    """Stages whose time depends on what passes them."""

    per_sequence: float = 0.5
    per_token: float = 0.01
    per_prompt_token: float = 0.1

    def decode_ms(self, visit: int, sequences: int, tokens: int) -> float:
        return (self.visit_ms[visit] + self.per_sequence * sequences + self.per_token * tokens) * (
            sequences > 0
        )

    def prefill_ms(self, visit: int, tokens: int) -> float:
        return self.per_prompt_token * tokens


def test_one_request_by_hand():
    """Two stages of 1 and 2 ms: a prompt of 10 tokens, then two tokens with 11 and 12 in the cache."""
    served = rounds([Request(5.0, 10, 3)], Measured((1.0, 2.0)), microbatches=3, batch=4, return_ms=0.25)
    first = 5.0 + 2 * 1.0  # 0.1 ms per token and stage
    second = first + 0.25 + (1.5 + 0.11) + (2.5 + 0.11)
    third = second + 0.25 + (1.5 + 0.12) + (2.5 + 0.12)
    assert served.first_ms.tolist() == pytest.approx([first])
    assert served.finish_ms.tolist() == pytest.approx([third])
    assert (served.peak_tokens, served.most_running) == (13, 1)
    assert served.busy_ms.tolist() == pytest.approx([1 + 1.61 + 1.62, 1 + 2.61 + 2.62])


def test_the_cache_lets_one_wait_for_another():
    """Room for 25 tokens: of three requests of 10 the third starts when the first is back."""
    asked = [Request(0.0, 8, 2), Request(0.0, 7, 3), Request(0.0, 9, 1)]
    times = Measured((1.0,), per_sequence=0.0, per_token=0.0)
    served = rounds(asked, times, microbatches=1, batch=8, return_ms=1.0, cache_tokens=25)
    # The pass of two prompts ends at 1.5; a token more at 3.5; back at 4.5, then the third's prompt.
    assert served.finish_ms[0] == pytest.approx(3.5)
    assert served.start_ms.tolist() == pytest.approx([0.0, 0.0, 4.5])
    assert served.first_ms[2] == pytest.approx(4.5 + 1.0 + 0.9)
    assert served.peak_tokens == 20
    apart = rounds(asked, times, microbatches=1, batch=8, return_ms=1.0, cache_tokens=30)
    assert apart.start_ms.tolist() == [0.0, 0.0, 0.0]


def test_queueing_shows_as_the_rate_grows():
    """Capacity is two requests per second: 16 tokens each at 32 tokens per second."""
    times = SteadyTimes((100.0, 125.0))
    seen = []
    for rate in (0.2, 1.0, 1.8, 4.0):
        asked = poisson(rate, 400, prompt=64, output=16, seed=1)
        seen.append(figures(rounds(asked, times, microbatches=2, batch=4, return_ms=25.0), (1, 1)))
    assert [f.queue_ms.mean for f in seen] == sorted(f.queue_ms.mean for f in seen)
    assert seen[0].queue_ms.median == 0
    assert seen[0].ttft_ms.median < 225
    assert seen[0].tpot_ms.median == pytest.approx(250.0)
    assert seen[0].tokens_per_s == pytest.approx(0.2 * 16, rel=0.1)
    assert seen[-1].tokens_per_s == pytest.approx(32, rel=0.1)
    assert seen[-1].queue_ms.largest > 50e3  # 400 requests come in 100 s and take 200
    assert max(f.most_running for f in seen) == 8
    assert all(f.seconds >= f.queue_ms.largest / 1e3 for f in seen)


@pytest.mark.parametrize("seed", seeds(40))
def test_what_holds_of_any_run(seed: int):
    """Limits are kept, work is conserved, nobody overtakes, and the same seed gives the same run."""
    rng = np.random.default_rng(seed)
    asked = [
        Request(float(t), int(rng.integers(1, 40)), int(rng.integers(1, 9)))
        for t in np.cumsum(rng.exponential(20.0, 60))
    ]
    m, b = int(rng.integers(1, 5)), int(rng.integers(1, 5))
    room = int(rng.integers(48, 200))
    times = Measured(tuple(rng.uniform(0.5, 9, rng.integers(1, 5)).tolist()))
    served = rounds(asked, times, microbatches=m, batch=b, return_ms=1.0, cache_tokens=room)
    assert not np.isnan(served.finish_ms).any()
    assert served.peak_tokens <= room
    assert served.most_running <= m * b
    assert (np.diff(served.start_ms) >= 0).all()
    least = [sum(times.prefill_ms(s, r.prompt) for s in range(len(times.visits))) for r in asked]
    assert (served.first_ms - served.start_ms >= np.array(least) - 1e-9).all()
    assert (served.busy_ms <= served.finish_ms.max() + 1e-9).all()
    edges = [(t, 1) for t in served.start_ms] + [(t, -1) for t in served.finish_ms]
    assert max(np.cumsum([step for _, step in sorted(edges)])) <= served.most_running
    again = rounds(asked[::-1], times, microbatches=m, batch=b, return_ms=1.0, cache_tokens=room)
    assert again.finish_ms.tolist() == served.finish_ms.tolist()


def test_poisson_is_seeded_and_keeps_its_rate():
    asked = poisson(5.0, 20_000, prompt=3, output=4, seed=7)
    assert asked == poisson(5.0, 20_000, prompt=3, output=4, seed=7)
    assert asked != poisson(5.0, 20_000, prompt=3, output=4, seed=8)
    gaps = np.diff([r.arrival_ms for r in asked])
    assert gaps.mean() == pytest.approx(200, rel=0.03)
    assert gaps.std() == pytest.approx(200, rel=0.03)


def test_tables_of_requests(tmp_path: Path):
    own = tmp_path / "own.csv"
    own.write_text("arrival_s,user,prompt_tokens,output_tokens\n3,a,20,5\n1.5,b,10,2\n")
    assert read_requests(own) == [Request(0.0, 10, 2), Request(1500.0, 20, 5)]
    azure = tmp_path / "azure.csv"
    azure.write_text(
        "TIMESTAMP,ContextTokens,GeneratedTokens\n"
        "2023-11-16 18:17:03.9799600,4808,10\n2023-11-16 18:17:04.2300000,110,27\n"
    )
    assert read_requests(azure)[1] == replace(Request(0, 110, 27), arrival_ms=pytest.approx(250.04))


@pytest.mark.parametrize(
    ("text", "says"),
    [
        ("a,b\n1,2\n", "first line must name the columns arrival_s, prompt_tokens, output_tokens"),
        ("arrival_s,prompt_tokens,output_tokens\n", "there are no requests"),
        ("arrival_s,prompt_tokens,output_tokens\n1,0,4\n", "line 2: prompt_tokens must be a whole number"),
        ("arrival_s,prompt_tokens,output_tokens\n1,3,4\n1,3\n", "line 3: output_tokens must be"),
        ("arrival_s,prompt_tokens,output_tokens\nsoon,3,4\n", "line 2: arrival_s must be seconds or a date"),
        ("arrival_s,prompt_tokens,output_tokens\nnan,3,4\n", "arrival_s must be finite"),
    ],
)
def test_tables_that_are_wrong(tmp_path: Path, text: str, says: str):
    path = tmp_path / "requests.csv"
    path.write_text(text)
    with pytest.raises(InputError, match=says):
        read_requests(path)


def test_numbers_that_are_wrong():
    with pytest.raises(UsageError, match="the rate must be a positive number"):
        poisson(0.0, 5, prompt=1, output=1)
    with pytest.raises(UsageError, match="output must be in"):
        poisson(1.0, 5, prompt=1, output=0)
    with pytest.raises(UsageError, match="a request of 12 tokens does not fit the cache"):
        rounds([Request(0, 8, 4)], SteadyTimes((1.0,)), microbatches=1, batch=1, cache_tokens=11)
