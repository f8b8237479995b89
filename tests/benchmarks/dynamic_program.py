"""How long the dynamic programs take to prove an optimum, in a process that has loaded everything.

    python -m tests.benchmarks.dynamic_program FOLDER

FOLDER has the folders ``throughput`` and ``latency`` with instances in the paper's format, as
``tests.benchmarks.paper`` describes them.  Prints the table of ``docs/benchmarks.md``: CPU milliseconds of a
solve until objective and bound agree to 1e-9, the best of five.
"""

from __future__ import annotations

import argparse
import math
import resource
import time
from pathlib import Path

import placer

__all__ = ["main"]

GAP = 1e-9
RUNS = 5


def main() -> None:
    """Solve all graphs, and print the table."""
    parser = argparse.ArgumentParser(prog="python -m tests.benchmarks.dynamic_program")
    parser.add_argument("folder", type=Path)
    folder = parser.parse_args().folder
    print("| graph | nodes | contiguous, ms of CPU | optimum, ms | latency, ms of CPU | optimum, ms |")
    print("|---|--:|--:|--:|--:|--:|")
    for path in sorted((folder / "throughput").glob("*.json")):
        cells = [path.stem, str(len(placer.load(path).ids)), *_measured(path, "throughput")]
        latency = folder / "latency" / path.name
        cells += _measured(latency, "latency") if latency.exists() else ["", ""]
        print(f"| {' | '.join(cells)} |", flush=True)
    print(f"\npeak memory: {resource.getrusage(resource.RUSAGE_SELF).ru_maxrss / 1024:.0f} MiB")


def _measured(path: Path, objective: str) -> list[str]:
    """CPU milliseconds, and the optimum."""
    instance, least = placer.load(path), math.inf
    for _ in range(RUNS):
        began = time.process_time()
        result = placer.solve(instance, method="dp", objective=objective, gap=GAP)
        least = min(least, time.process_time() - began)
    assert result.status == "optimal", path
    return [f"{1000 * least:.3g}", f"{result.objective:.4f}"]


if __name__ == "__main__":
    main()
