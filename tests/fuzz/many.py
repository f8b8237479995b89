"""Judging many seeds in several processes, and counting."""

from collections import Counter
from collections.abc import Iterator, Set
from concurrent.futures import ProcessPoolExecutor, as_completed
from concurrent.futures.process import BrokenProcessPool
from dataclasses import dataclass, field
from multiprocessing import get_context

from tests.fuzz.features import PAIRS
from tests.fuzz.generate import generate
from tests.fuzz.judge import Verdict, judge

__all__ = ["Tally", "verdicts"]

CHUNK = 25
"""Seeds that a process takes at a time."""


@dataclass
class Tally:
    """What was seen so far."""

    cases: int = 0
    failures: int = 0
    outcomes: Counter[tuple[str, str]] = field(default_factory=Counter)
    pairs: Counter[tuple[str, str]] = field(default_factory=Counter)
    kinds: Counter[str] = field(default_factory=Counter)
    refusals: Counter[str] = field(default_factory=Counter)
    weak: Counter[str] = field(default_factory=Counter)

    def add(self, verdict: Verdict) -> None:
        self.cases += 1
        self.failures += bool(verdict.problems)
        self.outcomes.update(verdict.outcomes)
        self.pairs.update(pair for pair in PAIRS if set(pair) <= verdict.features)
        self.kinds.update({problem.partition(":")[0] for problem in verdict.problems})
        self.refusals.update(verdict.refusals)
        self.weak.update(verdict.weak)

    def print(self, words: bool) -> None:
        methods = sorted({m for m, _ in self.outcomes})
        statuses = ("optimal", "feasible", "infeasible", "unknown", "refused", "error")
        print(f"\n{'method':14}" + "".join(f"{s:>12}" for s in statuses))
        for m in methods:
            print(f"{m:14}" + "".join(f"{self.outcomes[m, s]:12}" for s in statuses))
        counts = [self.pairs[pair] for pair in PAIRS]
        rarest = sorted(PAIRS, key=lambda pair: self.pairs[pair])[:3]
        print(
            f"\n{len(PAIRS)} pairs of features: each in {min(counts)} to {max(counts)} cases; the rarest "
            + ", ".join(f"{' + '.join(pair)} ({self.pairs[pair]})" for pair in rarest)
        )
        for title, counter in (("less than hoped for", self.weak), ("refusals", self.refusals)):
            print(f"\n{title}: {sum(counter.values())}")
            for text, count in counter.most_common(200 if words else 12):
                print(f"{count:7}  {text}")
        print(f"\n{self.cases} cases, {self.failures} with failures {dict(self.kinds)}")


def work(first: int, count: int, having: Set[str]) -> list[Verdict]:
    """Judge a range of seeds, as far as their cases have the features wanted."""
    cases = map(generate, range(first, first + count))
    return [judge(case) for case in cases if having <= case.features]


def verdicts(first: int, count: int, jobs: int, having: Set[str]) -> Iterator[Verdict]:
    """Judge seeds, in this process or in several."""
    ranges = [(k, min(CHUNK, first + count - k)) for k in range(first, first + count, CHUNK)]
    if jobs == 1:
        for begin, some in ranges:
            yield from work(begin, some, having)
        return
    with ProcessPoolExecutor(jobs, mp_context=get_context("spawn")) as pool:
        waiting = {pool.submit(work, begin, some, having): begin for begin, some in ranges}
        for done in as_completed(waiting):
            try:
                yield from done.result()
            except BrokenProcessPool:
                verdict = Verdict(waiting[done], frozenset())
                verdict.problems.append(f"crash: a process died within {CHUNK} seeds from here")
                yield verdict
                return
