"""Small random questions to ``placer serve``, each answer compared with trying everything.

    python -m tests.benchmarks.small_answers [--count N] [--first SEED]

Prints what is wrong as it is found, then a table; exit code 1 where something is.
"""

from __future__ import annotations

import argparse
import sys
import time
from collections import Counter

from placer.plans.result import Status
from placer.serving.serving_request import Goal
from tests.support.small_serving import Outcome, outcomes

__all__ = ["main"]


def main(arguments: list[str] | None = None) -> int:
    """Ask, compare and count."""
    parser = argparse.ArgumentParser(description=__doc__.partition("\n")[0])
    parser.add_argument("--count", type=int, default=1000, help="questions (default: 1000)")
    parser.add_argument("--first", type=int, default=0, help="first seed (default: 0)")
    args = parser.parse_args(arguments)
    began, found = time.process_time(), list[Outcome]()
    for seed in range(args.first, args.first + args.count):
        for outcome in outcomes(seed):
            found.append(outcome)
            if outcome.wrong:
                print(f"{seed} {outcome.goal}: {outcome.wrong}", flush=True)
    _print(found, args.count, time.process_time() - began)
    return int(any(outcome.wrong for outcome in found))


def _print(found: list[Outcome], count: int, seconds: float) -> None:
    statuses = (Status.OPTIMAL, Status.INFEASIBLE)
    tally = Counter((outcome.goal, outcome.status) for outcome in found)
    wrong = Counter(outcome.goal for outcome in found if outcome.wrong)
    print("objective", *statuses, "wrong", sep="\t")
    for goal in Goal:
        print(goal, *(tally[goal, status] for status in statuses), wrong[goal], sep="\t")
    print(f"{count} questions, {len(found)} answers, {sum(wrong.values())} wrong, {seconds:.0f} s CPU")


if __name__ == "__main__":
    sys.exit(main())
