"""Command line of the search: ``python -m tests.fuzz --count 1000 --first 0 --jobs 2``."""

import argparse
import sys
import time
from pathlib import Path

from tests.fuzz.case import Case
from tests.fuzz.generate import generate
from tests.fuzz.judge import judge
from tests.fuzz.many import Tally, verdicts
from tests.fuzz.shrink import shrink


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
