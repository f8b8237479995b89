"""Brute force against every exact method on thousands of small instances: ``python -m tests.pairs``.

Instance i has the i-th pair of features, over and over with the next seed: modes of stages, schedules,
communication, servers, memory and rules, each with each.  Prints what came of it by method; exit code 1 if
anything differs.
"""

import argparse
import sys
import time
from collections import Counter

from tests.support.feature_pairs import METHODS, PAIRS, verdicts


def main() -> int:
    """Run the instances that the command line asks for."""
    parser = argparse.ArgumentParser(prog="python -m tests.pairs", description=__doc__.splitlines()[0])
    parser.add_argument(
        "--instances", type=int, default=20 * len(PAIRS), help="how many (default: %(default)s)"
    )
    parser.add_argument("--first", type=int, default=0, metavar="SEED", help="first seed (default: 0)")
    asked = parser.parse_args()
    counts: Counter[tuple[str, str]] = Counter()
    differences: list[str] = []
    began = time.process_time()
    for i in range(asked.instances):
        turn, place = divmod(i, len(PAIRS))
        for verdict in verdicts(PAIRS[place], asked.first + turn):
            counts[verdict.method, verdict.outcome] += 1
            if verdict.difference:
                where = f"{'+'.join(PAIRS[place])} seed {asked.first + turn} {verdict.method}"
                differences.append(f"{where}: {verdict.difference}")
                print(differences[-1], flush=True)
        if (i + 1) % len(PAIRS) == 0:
            print(f"{i + 1} instances, {len(differences)} differences", file=sys.stderr, flush=True)
    print(f"{asked.instances} instances, {sum(counts.values())} solves, {time.process_time() - began:.0f} s")
    outcomes = sorted({outcome for _, outcome in counts})
    for method in METHODS:
        told = (f"{counts[method, o]} {o}" for o in outcomes if counts[method, o])
        print(f"{method}: {', '.join(told)}")
    print(f"{len(differences)} differences")
    return bool(differences)


if __name__ == "__main__":
    sys.exit(main())
