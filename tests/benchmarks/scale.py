"""How time and memory grow with the graph: ``python -m tests.benchmarks.scale`` prints a table.

Each size is built and solved by ``placer.solve`` in a process of its own, single-threaded; the plan is
verified by the solve and once more here.  Kernels are compiled beforehand.  Limits and times are CPU
seconds, so that other work on the machine does not distort them.
"""

from __future__ import annotations

import argparse
import json
import resource
import subprocess
import sys
import threading
import time

import placer
from placer.plans.result import gap_of
from placer.plans.status import Point
from tests.support.transformer import transformer_training

SIZES = [1_000, 3_000, 10_000, 30_000, 100_000]
CERTIFIED = 0.02
"""Gap whose first time is taken."""
TICK_S = 0.05
PATIENCE = 20.0
"""Wall-clock seconds that a CPU second may take at most."""
COLUMNS = (
    "operators", "objective, ms", "bound, ms", "gap, %",
    "within 2 %, s", "solve, s", "all, s", "peak memory, MB",
)  # fmt: skip


def main() -> None:
    """Print a table, one row per size."""
    args = _parser().parse_args()
    if args.child:
        print(json.dumps(measure(args.operators[0], args)))
        return
    print(
        f"{args.devices} accelerators, transfers x {args.transfers:g}, jitter {args.jitter:g}, "
        f"method {args.method}, limit {args.seconds:g} CPU s, gap {args.gap:g}\n"
    )
    _child(100, args)  # compiles the kernels where that has not happened yet
    print("| " + " | ".join(COLUMNS) + " |")
    print("|" + "---|" * len(COLUMNS))
    for operators in args.operators:
        print("| " + " | ".join(_child(operators, args)) + " |", flush=True)


def measure(operators: int, args: argparse.Namespace) -> list[str]:
    """Build and solve one graph; the cells of its row."""
    instance = transformer_training(operators, args.devices, transfers=args.transfers, jitter=args.jitter)
    began, interrupt, reached = time.process_time(), threading.Event(), []

    def watch() -> None:
        while time.process_time() - began < args.seconds:
            time.sleep(TICK_S)
        interrupt.set()

    def note(point: Point, _: str) -> None:
        gap = gap_of(point.incumbent_ms, point.bound_ms)
        if gap is not None and gap <= CERTIFIED:
            reached.append(time.process_time() - began)

    threading.Thread(target=watch, daemon=True).start()
    result = placer.solve(
        instance,
        method=args.method,
        time_limit=PATIENCE * args.seconds,
        gap=args.gap,
        interrupt=interrupt,
        on_progress=note,
    )
    solved = time.process_time() - began
    broken = placer.check(instance, result)
    if broken:
        raise SystemExit(f"the plan does not hold: {broken[0]}")
    figures = (result.objective, result.bound, None if result.gap is None else 100 * result.gap)
    usage = resource.getrusage(resource.RUSAGE_SELF)
    return [
        str(instance.n),
        *("-" if x is None else f"{x:.3f}" for x in figures),
        f"{reached[0]:.1f}" if reached else "-",
        f"{solved:.1f}",
        f"{time.process_time():.1f}",
        f"{usage.ru_maxrss / 1024:.0f}",
    ]


def _child(operators: int, args: argparse.Namespace) -> list[str]:
    """Measure in a new process."""
    options = [f"--{key}={value}" for key, value in vars(args).items() if key in SHARED]
    command = [sys.executable, "-m", "tests.benchmarks.scale", "--child", "--operators", str(operators)]
    done = subprocess.run([*command, *options], stdout=subprocess.PIPE, text=True, check=True)
    row: list[str] = json.loads(done.stdout)
    return row


SHARED = ("devices", "transfers", "jitter", "method", "seconds", "gap")


def _parser() -> argparse.ArgumentParser:
    parser = argparse.ArgumentParser(prog="python -m tests.benchmarks.scale", description=__doc__)
    parser.add_argument("--operators", type=int, nargs="+", default=SIZES, help="sizes of the graphs")
    parser.add_argument("--devices", type=int, default=64, help="accelerators")
    parser.add_argument("--transfers", type=float, default=1.0, help="transfers take this many times as long")
    parser.add_argument("--jitter", type=float, default=0.0, help="relative noise on processing times")
    parser.add_argument("--method", default="auto")
    parser.add_argument("--seconds", type=float, default=60.0, help="CPU seconds for each size")
    parser.add_argument("--gap", type=float, default=1e-4)
    parser.add_argument("--child", action="store_true", help=argparse.SUPPRESS)
    return parser


if __name__ == "__main__":
    main()
