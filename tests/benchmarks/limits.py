"""Whether limits hold: ``python -m tests.benchmarks.limits`` prints two tables.

The first solves generated graphs of 100 to 100,000 nodes under time and memory limits, by the command line,
and tells what it took; a run is late beyond 10 % and one second.  The second sends Ctrl-C and SIGTERM at
random moments and tells how long the process lived on, and what was kept.  Run it on a quiet machine.
"""

from __future__ import annotations

import argparse
import json
import random
import signal
import subprocess
import sys
import tempfile
import threading
import time
from dataclasses import dataclass, field
from pathlib import Path

from placer.formats.files import save
from placer.processes import LIBRARIES_MB, resident_mb
from tests.support.batches import descendants
from tests.support.large import layered

GRACE_S, GRACE_SHARE = 1.0, 0.1
SIGNAL_S = 2.0


@dataclass(frozen=True)
class Row:
    """One run: the graph, by kind and nodes, the seconds it may take, and further arguments."""

    kind: str
    nodes: int
    seconds: float
    options: tuple[str, ...] = ()
    memory_mb: int = 4096


ALL = ("auto", "dp", "dpl", "milp", "local-search")
FREE = ("auto", "colgen", "milp", "local-search")
ROWS = [
    *(Row("plain", 100, 4, ("--method", m)) for m in ALL),
    *(Row("plain", 100, 4, ("--no-contiguous", "--method", m)) for m in FREE),
    *(Row("plain", 100, 4, ("--objective", "latency", "--method", m)) for m in ("auto", "dp", "milp")),
    *(Row("plain", 3_000, 8, ("--method", m)) for m in ALL),
    *(Row("plain", 3_000, 8, ("--no-contiguous", "--method", m)) for m in FREE),
    *(Row("plain", 3_000, 8, ("--objective", "latency", "--method", m)) for m in ("auto", "dp", "milp")),
    Row("servers", 3_000, 8),
    Row("training", 3_000, 8),
    Row("plain", 3_000, 8, ("--balance",)),
    *(Row("plain", 20_000, 10, ("--method", m)) for m in ALL),
    Row("plain", 20_000, 10, ("--no-contiguous", "--method", "colgen")),
    *(Row("plain", 20_000, 10, ("--objective", "latency", "--method", m)) for m in ("auto", "dp", "milp")),
    Row("servers", 20_000, 10),
    Row("training", 20_000, 10),
    Row("plain", 100_000, 30),
    Row("plain", 100_000, 30, ("--no-contiguous",)),
    Row("plain", 100_000, 30, ("--objective", "latency")),
    Row("servers", 100_000, 30),
    Row("plain", 3_000, 60, ("--method", "milp"), 300),
    Row("plain", 20_000, 60, ("--method", "dp"), 300),
    Row("plain", 3_000, 60, ("--no-contiguous", "--method", "colgen"), 300),
]


@dataclass
class Watched:
    """A process and the largest resident memory of what it runs, MiB."""

    process: subprocess.Popen[str]
    peak_mb: float = 0.0
    began: float = field(default_factory=time.monotonic)

    def watch(self) -> None:
        """Look at all descendants until the process ends."""
        while self.process.poll() is None:
            self.peak_mb = max([self.peak_mb, *(resident_mb(pid) for pid in descendants(self.process.pid))])
            time.sleep(0.05)


def main() -> None:
    """Print the tables; exit code 1 if a limit did not hold."""
    args = _parser().parse_args()
    with tempfile.TemporaryDirectory(prefix="placer-") as folder:
        files = _instances(Path(folder), args.most)
        late = _limits(files, args.only) + _signals(files, args.signals, args.seed)
    print(f"\n{late} beyond their limit" if late else "\nall limits held")
    sys.exit(late > 0)


def _instances(folder: Path, most: int) -> dict[tuple[str, int], Path]:
    files = {}
    for kind, nodes in sorted({(row.kind, row.nodes) for row in ROWS if row.nodes <= most}):
        files[kind, nodes] = folder / f"{kind}{nodes}.json"
        save(layered(nodes, servers=kind == "servers", training=kind == "training"), files[kind, nodes])
    return files


def _start(file: Path, *options: str) -> Watched:
    command = [sys.executable, "-m", "placer", "solve", str(file), "--json", "--quiet", *options]
    process = subprocess.Popen(command, stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True)
    return Watched(process)


def _limits(files: dict[tuple[str, int], Path], only: str) -> int:
    columns = ("graph", "nodes", "options", "limit, s", "took, s", "limit, MiB", "peak, MiB")
    print("| " + " | ".join((*columns, "stop", "objective, ms", "bound, ms", "")) + " |")
    print("|" + "---|" * (len(columns) + 4))
    late = 0
    for row in ROWS:
        if (row.kind, row.nodes) not in files or only not in " ".join(row.options):
            continue
        limits = "--time-limit", f"{row.seconds:g}", "--memory-limit-mb", str(row.memory_mb)
        run = _start(files[row.kind, row.nodes], *limits, *row.options)
        threading.Thread(target=run.watch, daemon=True).start()
        out, err = run.process.communicate()
        took = time.monotonic() - run.began
        result = json.loads(out) if out else {}
        reads_mb = 0.01 * row.nodes + 150.0  # the program and the instance, by far
        verdict = ""
        if took > row.seconds * (1 + GRACE_SHARE) + GRACE_S:
            verdict = "LATE"
        if run.peak_mb > 1.1 * row.memory_mb + LIBRARIES_MB + reads_mb:
            verdict = "TOO LARGE"
        if run.process.returncode not in (0, 3, 4):
            verdict = f"exit code {run.process.returncode}: {err.strip()[-80:]}"
        late += bool(verdict)
        figures = (f"{row.seconds:g}", f"{took:.2f}", str(row.memory_mb), f"{run.peak_mb:.0f}")
        found = (result.get("stop", ""), _number(result.get("objective")), _number(result.get("bound")))
        cells = row.kind, f"{row.nodes:,}", " ".join(row.options), *figures, *found, verdict
        print("| " + " | ".join(cells) + " |", flush=True)
    return late


def _number(value: float | None) -> str:
    return "" if value is None else f"{value:.6g}"


def _signals(files: dict[tuple[str, int], Path], count: int, seed: int) -> int:
    columns = (
        "graph",
        "nodes",
        "options",
        "signal",
        "after, s",
        "lived on, s",
        "exit code",
        "objective, ms",
        "",
    )
    print("\n| " + " | ".join(columns) + " |")
    print("|" + "---|" * len(columns))
    rng, late = random.Random(seed), 0
    rows = [row for row in ROWS if (row.kind, row.nodes) in files]
    for _ in range(count):
        row = rng.choice(rows)
        number = rng.choice([signal.SIGINT, signal.SIGTERM])
        moment = rng.uniform(0.1, 1.0) if rng.random() < 0.3 else rng.uniform(0.1, 15.0)
        run = _start(files[row.kind, row.nodes], *row.options)
        threading.Timer(moment, run.process.send_signal, [number]).start()
        out, err = run.process.communicate()
        lived = time.monotonic() - run.began - moment
        code = run.process.returncode
        verdict = "LATE" if lived > SIGNAL_S else ""
        if "Traceback" in err or code not in ((130,) if lived > 0 else (0, 3, 4)):
            verdict = err.strip().splitlines()[-1] if err.strip() else "WRONG EXIT CODE"
        late += bool(verdict)
        objective = json.loads(out).get("objective") if out else None
        cells = (
            row.kind,
            f"{row.nodes:,}",
            " ".join(row.options),
            number.name,
            f"{moment:.2f}",
            f"{lived:.2f}",
        )
        print("| " + " | ".join((*cells, str(code), _number(objective), verdict)) + " |", flush=True)
    return late


def _parser() -> argparse.ArgumentParser:
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("--most", type=int, default=100_000, help="nodes of the largest graph")
    parser.add_argument("--only", default="", help="only rows whose options contain this")
    parser.add_argument("--signals", type=int, default=20, help="how many signals to send")
    parser.add_argument("--seed", type=int, default=0)
    return parser


if __name__ == "__main__":
    main()
