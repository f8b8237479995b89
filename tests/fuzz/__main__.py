"""Command line of the search: ``python -m tests.fuzz --count 1000 --first 0 --jobs 2``."""

import argparse
import sys
import time
from collections import Counter
from collections.abc import Iterator, Set
from concurrent.futures import ProcessPoolExecutor, as_completed
from concurrent.futures.process import BrokenProcessPool
from dataclasses import dataclass, field
from multiprocessing import get_context
from pathlib import Path

from tests.fuzz.case import Case
from tests.fuzz.features import PAIRS
from tests.fuzz.generate import generate
from tests.fuzz.judge import Verdict, judge
from tests.fuzz.shrink import shrink

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


def main() -> int:
    parser = argparse.ArgumentParser(prog="python -m tests.fuzz", description=__doc__)
    parser.add_argument("--count", type=int, default=1000, help="how many seeds (default 1000)")
    parser.add_argument("--first", type=int, default=0, help="the first seed (default 0)")
    parser.add_argument("--jobs", type=int, default=1, help="processes (default 1)")
    parser.add_argument("--seconds", type=float, help="begin nothing more after so long")
    parser.add_argument("--having", nargs="+", default=[], help="only cases with these features")
    parser.add_argument("--keep", type=Path, help="folder to write failing cases to, a file each")
    parser.add_argument("--words", action="store_true", help="print every refusal")
    parser.add_argument("--show", type=int, metavar="SEED", help="print a case and judge it")
    parser.add_argument("--shrink", type=int, metavar="SEED", help="make a failing case smaller, print it")
    parser.add_argument("--case", type=Path, help="judge a case from a file that --keep wrote")
    arguments = parser.parse_args()
    if arguments.case is not None:
        return show(Case.from_json(arguments.case.read_text()))
    if arguments.show is not None:
        return show(generate(arguments.show))
    if arguments.shrink is not None:
        return show(smallest(generate(arguments.shrink)))
    tally, began, said = Tally(), time.monotonic(), time.monotonic()
    for verdict in verdicts(arguments.first, arguments.count, arguments.jobs, set(arguments.having)):
        tally.add(verdict)
        for problem in verdict.problems:
            print(f"seed {verdict.seed}: {problem}", flush=True)
        if verdict.problems and arguments.keep is not None:
            arguments.keep.mkdir(exist_ok=True, parents=True)
            (arguments.keep / f"{verdict.seed}.json").write_text(generate(verdict.seed).to_json())
        if time.monotonic() - said > 20:
            said = time.monotonic()
            print(
                f"... {tally.cases} cases, {tally.failures} failures, {said - began:.0f} s", file=sys.stderr
            )
        if arguments.seconds is not None and time.monotonic() - began > arguments.seconds:
            break
    tally.print(arguments.words)
    return 1 if tally.failures else 0


def show(case: Case) -> int:
    """Print a case and what is wrong with it."""
    print(case.to_json())
    verdict = judge(case)
    for text in (*map(str, verdict.outcomes), *verdict.weak, *verdict.refusals, *verdict.problems):
        print(text)
    return 1 if verdict.problems else 0


def smallest(case: Case) -> Case:
    """Shrink a case to the kind of its first failure."""
    problems = judge(case).problems
    if not problems:
        print("nothing fails", file=sys.stderr)
        return case
    kind, _, rest = problems[0].partition(": [")
    method = rest.partition("]")[0]

    def failing(smaller: Case) -> bool:
        return any(text.startswith(f"{kind}:") for text in judge(smaller, [method]).problems)

    return shrink(case, failing)


if __name__ == "__main__":
    sys.exit(main())
