"""Speed and memory of the kernels against another checkout, on the workloads of the paper.

    python -m tests.benchmarks.kernels OTHER-CHECKOUT [--python INTERPRETER] [--kinds dp,colgen]

Each solve runs in a process of its own, in both checkouts in turn, single-threaded; it is repeated after one
that does not count, which leaves out what is compiled, imported or cached first.  All work is fixed (a gap
to reach, a number of descents), so that both do the same; what is not done within a limit is left out of
the means.  Times are CPU seconds of ``placer.solve`` with all its processes.
"""

from __future__ import annotations

import argparse
import json
import math
import os
import resource
import subprocess
import sys
import threading
from pathlib import Path
from typing import Any

ROOT = Path(__file__).resolve().parents[2]
WORKLOADS = ROOT.parent / "shared" / "workloads"
KINDS: dict[str, tuple[str, dict[str, Any]]] = {
    "dp": ("throughput", {"method": "dp"}),
    "dp latency": ("latency", {"method": "dp", "objective": "latency"}),
    "latency": ("latency", {"method": "dp", "objective": "latency", "pieces": 2, "gap": 0.01}),
    "colgen": ("throughput", {"method": "colgen", "contiguous": False, "gap": 0.02}),
    "local-search": ("throughput", {"method": "local-search"}),
}
"""Folder of the workloads and options of each kind."""
REPEATS, ENOUGH_S = 5, 3.0
"""Repetitions of a solve, of which the fastest counts; after so many CPU seconds there is no further one."""
COMPILING_S = 120.0
"""CPU seconds that the solve that does not count may take longer than the others."""
PATIENCE_S = 7200.0
"""Wall-clock seconds that a process may take."""
TICK_S = 0.05


def main() -> None:
    """Print a table, one row per workload and kind, then the geometric means of each kind."""
    args = _parser().parse_args()
    if args.child:
        print(json.dumps(measure(args.other, KINDS[args.child][1], args.seconds)))
        return
    print("| kind | workload | other, s | here, s | ratio | other, MB | here, MB | result |")
    print("|---|---|---|---|---|---|---|---|")
    ratios: dict[str, list[tuple[float, float]]] = {}
    for kind in args.kinds.split(","):
        for path in sorted((WORKLOADS / KINDS[kind][0]).glob("*.json")):
            there = _child(args.other, args.python, kind, path, args.seconds)
            here = _child(ROOT, sys.executable, kind, path, args.seconds)
            done = there["seconds"] is not None and here["seconds"] is not None
            ratio = here["seconds"] / there["seconds"] if done else math.nan
            if done:
                ratios.setdefault(kind, []).append((ratio, here["mb"] / there["mb"]))
            said = "not done" if not done else "same" if here["result"] == there["result"] else "differs"
            cells = [kind, path.stem, _text(there), _text(here), f"{ratio:.2f}"]
            print("|", " | ".join([*cells, f"{there['mb']:.0f}", f"{here['mb']:.0f}", said]), "|", flush=True)
    ratios["all"] = [pair for pairs in ratios.values() for pair in pairs]
    for kind, pairs in ratios.items():
        means = [math.exp(sum(map(math.log, r)) / len(r)) for r in zip(*pairs, strict=True)]
        print(
            f"{kind}: {means[0]:.3f} of the other's time, {means[1]:.3f} of its memory, {len(pairs)} solves"
        )


def measure(path: str, options: dict[str, Any], limit_s: float) -> dict[str, Any]:
    """Solve a workload again and again: CPU seconds (None at the limit), peak memory and result."""
    import placer  # of either checkout: nothing but its public names are used here

    instance = placer.load(path)
    seconds: list[float] = []
    for run in range(REPEATS + 1):
        began, interrupt, over = _cpu(), threading.Event(), threading.Event()
        limit = began + limit_s + (0.0 if run else COMPILING_S)
        threading.Thread(target=_interrupt_at, args=(limit, interrupt, over), daemon=True).start()
        result = placer.solve(instance, interrupt=interrupt, time_limit=PATIENCE_S, **options)
        over.set()
        seconds.append(_cpu() - began)
        if interrupt.is_set() or sum(seconds[1:]) > ENOUGH_S:
            break
    usage = max(resource.getrusage(who).ru_maxrss for who in (resource.RUSAGE_SELF, resource.RUSAGE_CHILDREN))
    found = (result.objective, result.bound, result.assignment, {k: str(v) for k, v in result.stats.items()})
    return {"seconds": None if interrupt.is_set() else min(seconds[1:]), "mb": usage / 1024, "result": found}


def _interrupt_at(limit: float, interrupt: threading.Event, over: threading.Event) -> None:
    while not over.wait(TICK_S):
        if _cpu() >= limit:
            interrupt.set()


def _cpu() -> float:
    usage = [resource.getrusage(who) for who in (resource.RUSAGE_SELF, resource.RUSAGE_CHILDREN)]
    return sum(u.ru_utime + u.ru_stime for u in usage)


def _child(checkout: Path, python: str, kind: str, path: Path, limit_s: float) -> dict[str, Any]:
    environment = {**os.environ, "PYTHONPATH": str(checkout), "OMP_NUM_THREADS": "1"}
    ended = subprocess.run(
        [python, "-P", __file__, str(path), "--child", kind, "--seconds", str(limit_s)],
        cwd=checkout, env=environment, capture_output=True, text=True, timeout=PATIENCE_S,
    )  # fmt: skip
    if ended.returncode:
        sys.exit(f"{checkout}, {kind}, {path.stem}: {ended.stderr}")
    out: dict[str, Any] = json.loads(ended.stdout)
    return out


def _text(measured: dict[str, Any]) -> str:
    return "" if measured["seconds"] is None else f"{measured['seconds']:.3f}"


def _parser() -> argparse.ArgumentParser:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0] if __doc__ else "")
    parser.add_argument("other", help="the other checkout, its kernels built")
    parser.add_argument("--python", default=sys.executable, help="its interpreter")
    parser.add_argument("--kinds", default=",".join(KINDS), help="all by default")
    parser.add_argument("--seconds", type=float, default=20.0, help="CPU seconds for a solve")
    parser.add_argument("--child", choices=KINDS, help=argparse.SUPPRESS)
    return parser


if __name__ == "__main__":
    main()
