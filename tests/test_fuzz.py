"""The random search in small: a quick part in every run, a longer one among the slow tests."""

import random
from collections import Counter
from collections.abc import Iterable

import numpy as np
import pytest

from tests.fuzz.case import Case
from tests.fuzz.features import FEATURES, PAIRS
from tests.fuzz.generate import generate
from tests.fuzz.judge import judge, methods_for
from tests.fuzz.many import Tally, verdicts
from tests.fuzz.oracle import Model, all_plans, judge_plan
from tests.fuzz.oracle.plan import Placed
from tests.fuzz.shrink import shrink
from tests.support.level import FIRST_SEED, count

COUNT = count(1000)


@pytest.mark.parametrize("first", range(0, 150, 15))
def test_quick(first: int) -> None:
    """Seeds spread over all pairs of features."""
    assert _problems(range(first * 7, first * 7 + 15)) == []


@pytest.mark.slow
@pytest.mark.parametrize("first", range(FIRST_SEED, FIRST_SEED + COUNT, 100))
def test_many(first: int) -> None:
    assert _problems(range(first, min(first + 100, FIRST_SEED + COUNT))) == []


def _problems(seeds: Iterable[int]) -> list[str]:
    return [f"seed {v.seed}: {text}" for v in map(judge, map(generate, seeds)) for text in v.problems]


def test_a_seed_names_a_case_for_ever():
    for seed in (0, 17, 400):
        assert generate(seed) == generate(seed)
        assert Case.from_json(generate(seed).to_json()) == generate(seed)


def test_all_pairs_and_methods_are_drawn():
    cases = [generate(seed) for seed in range(len(PAIRS))]
    seen = Counter(pair for case in cases for pair in PAIRS if set(pair) <= case.features)
    assert min(seen[pair] for pair in PAIRS) >= 1
    assert {f for case in cases for f in case.features} == set(FEATURES)
    assert len({m for case in cases for m in methods_for(case, random.Random(case.seed))}) == 12


@pytest.mark.parametrize("seed", range(40))
def test_oracle_agrees_with_itself(seed: int) -> None:
    """The enumeration and the rule-by-rule judgement were written apart."""
    case = generate(seed * 31)
    model = Model(case.document, case.options)
    if model.latency or model.options.get("replicas", 1) > 1 or model.options.get("recompute"):
        return
    plans = all_plans(model)
    best: dict[tuple[int, ...], float] = {}
    for device, objective in zip(plans.device.tolist(), plans.objective.tolist(), strict=True):
        best[tuple(device)] = objective
    rng = np.random.default_rng(seed)
    for _ in range(30):
        device = tuple(rng.integers(0, model.D, model.n).tolist())
        broken, value = judge_plan(model, Placed(device))
        assert bool(broken) == (device not in best), broken
        if not broken:
            assert value == pytest.approx(best[device], rel=1e-12)


@pytest.mark.slow
def test_several_processes_see_what_one_sees():
    tallies = []
    for jobs in (1, 2):
        tally = Tally()
        for verdict in verdicts(5000, 60, jobs, set()):
            tally.add(verdict)
        tallies.append(tally)
    assert tallies[0] == tallies[1]
    assert tallies[0].cases == 60


def test_a_lie_is_noticed_and_made_small(monkeypatch: pytest.MonkeyPatch) -> None:
    """A method whose bound is too high is caught, and the case shrinks to a node or two."""
    import placer.methods.downsets.dp as dp
    from placer.search.run import Outcome

    honest = dp.solve

    def lies(instance, options, run):
        outcome = honest(instance, options, run)
        bound = None if outcome.bound_ms is None else outcome.bound_ms * 1.01
        return Outcome(outcome.stop, None, bound)

    monkeypatch.setattr(dp, "solve", lies)
    case = next(
        case
        for case in map(generate, range(2000))
        if not {"latency", "free", "replicas", "max devices"} & case.features and judge(case, ["dp"]).problems
    )
    small = shrink(case, lambda c: any(p.startswith("bound") for p in judge(c, ["dp"]).problems))
    assert any("above the optimum" in text for text in judge(small, ["dp"]).problems)
    assert len(small.document["nodes"]) == 1
