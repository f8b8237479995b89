"""Command line of the benchmark of proofs; see the package.

    python -m tests.benchmarks.proofs --half tuning --kind contiguous --method auto,dp --limit 10

Each answer is a line of ``OUT/results.jsonl``; what stands there already is not run again.  The instances lie
in ``OUT/instances``, for the command line.  ``OUT/table.md``, ``OUT/table.csv`` and ``OUT/profiles.svg`` are
made anew each time.
"""

from __future__ import annotations

import argparse
import json
import sys
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from importlib import import_module
from pathlib import Path
from threading import Lock
from typing import Any

import placer
from placer.instance.fingerprint import fingerprint
from placer.studies.attempt import OVERHEAD_MB
from placer.studies.isolation import Nurseries
from placer.studies.nursery import Call
from tests.benchmarks.proofs.cases import HALVES, KINDS, LARGE, QUICK, Case, cases
from tests.benchmarks.proofs.measure import Question, measure, warm
from tests.benchmarks.proofs.methods import METHODS
from tests.benchmarks.proofs.read import left_out
from tests.benchmarks.proofs.report import write_report

__all__ = ["ask", "main"]

MAKING = Lock()
"""Held while a graph is made: PyTorch exports one model at a time in a process."""
WALL = 40.0
"""Wall-clock seconds that a CPU second may take at most, where others use the machine too."""


@dataclass(frozen=True)
class Job:
    """One case for one method."""

    case: Case
    method: str
    label: str
    limit_s: float

    @property
    def key(self) -> tuple[str, str, float]:
        """What must not be run twice."""
        return self.case.name, self.label, self.limit_s


def main(arguments: list[str] | None = None) -> int:
    """Run what is missing, and write the report."""
    args = _parser().parse_args(arguments)
    chosen = cases(args.half, args.kind, args.only, QUICK if args.quick else None)
    if args.list:
        for case in chosen:
            print(f"{case.subject.half:10} {case.name}")
        return 0
    for what in left_out():
        print(f"left out: {what}", file=sys.stderr)
    args.out.mkdir(parents=True, exist_ok=True)
    log = args.out / "results.jsonl"
    known = {(row["case"], row["method"], row["limit_s"]) for row in read(log)}
    jobs = [
        job
        for case in chosen
        for method in args.method
        if case.kind in METHODS[method].kinds
        for job in [Job(case, method, f"{method} {args.label}".strip(), args.limit)]
        if job.key not in known
    ]
    with Nurseries() as nurseries, ThreadPoolExecutor(args.jobs) as pool, log.open("a") as file:

        def run(job: Job) -> dict[str, Any]:
            return _answer(job, args.out / "instances", dict(args.constant), args.memory, nurseries)

        if log.read_bytes()[-1:] not in (b"", b"\n"):  # the last line was cut off
            file.write("\n")
        for count, row in enumerate(pool.map(run, jobs), 1):
            file.write(json.dumps(row) + "\n")
            file.flush()
            print(f"{count}/{len(jobs)} {_line(row)}", file=sys.stderr, flush=True)
    wanted = {case.name for case in chosen}
    rows = [row for row in read(log) if row["case"] in wanted and row["limit_s"] == args.limit]
    print(write_report(rows, args.out), end="")
    return 0


def _answer(
    job: Job, folder: Path, constants: dict[str, float], memory_mb: int, nurseries: Nurseries
) -> dict[str, Any]:
    """Make the graph where that has not been done, and ask."""
    path = folder / f"{job.case.subject.name.replace(' ', '_')}.json.gz"
    with MAKING:
        if not path.is_file():
            folder.mkdir(exist_ok=True)
            placer.save(job.case.subject.instance(), path)
    instance = placer.load(path)
    options = job.case.options(instance) | METHODS[job.method].options
    question = Question(str(path), job.method, options, job.limit_s, memory_mb, constants)
    head = {
        "case": job.case.name, "half": job.case.subject.half, "kind": job.case.kind, "nodes": instance.n,
        "devices": len(instance.devices), "sha256": fingerprint(instance), "method": job.label,
        "limit_s": job.limit_s, "options": options,
    }  # fmt: skip
    return {**head, **ask(question, nurseries)}


def ask(question: Question, nurseries: Nurseries) -> dict[str, Any]:
    """Measure in a process of its own; one that dies found nothing beyond what it had told."""
    most_mb = question.memory_mb + OVERHEAD_MB
    call = Call(measure, (question,), WALL * question.limit_s + WALL, most_mb, warm)
    told: dict[str, Any] = {"status": "ended"}
    answer = nurseries.run(call, tell=told.update)
    return answer.value or {**told, "message": f"{answer.ended.how.value}: {answer.ended.reason}"}


def _line(row: dict[str, Any]) -> str:
    gap = "" if row.get("gap") is None else f"{100 * row['gap']:.3f} %"
    return f"{row['case']} | {row['method']} | {row['status']} {gap} {row.get('cpu_s') or 0:.2f} s"


def read(log: Path) -> Iterator[dict[str, Any]]:
    """Read the rows that are there; a line that was cut off is none."""
    for line in log.read_text().splitlines() if log.is_file() else ():
        try:
            yield json.loads(line)
        except json.JSONDecodeError:
            continue


def _listed(known: Any) -> Any:
    def split(text: str) -> tuple[str, ...]:
        names = tuple(text.split(","))
        for name in names:
            if name not in known:
                raise argparse.ArgumentTypeError(f"there is no {name!r}; choose from {', '.join(known)}")
        return names

    return split


def _constant(text: str) -> tuple[str, float]:
    place, _, value = text.rpartition("=")
    module, _, name = place.partition(":")
    if not hasattr(import_module(module), name):
        raise argparse.ArgumentTypeError(f"there is no {name!r} in {module}")
    return place, float(value)


def _parser() -> argparse.ArgumentParser:
    parser = argparse.ArgumentParser(
        prog="python -m tests.benchmarks.proofs",
        description=__doc__,
        formatter_class=argparse.RawTextHelpFormatter,
    )
    parser.add_argument("--half", choices=(*HALVES, LARGE), help="default: all")
    parser.add_argument("--kind", type=_listed(KINDS), default=KINDS, help=", ".join(KINDS))
    parser.add_argument("--only", default="", metavar="TEXT", help="cases whose names hold this")
    parser.add_argument("--method", type=_listed(METHODS), default=("auto",), help=", ".join(METHODS))
    parser.add_argument("--limit", type=float, default=60.0, metavar="S", help="CPU seconds (default 60)")
    parser.add_argument("--memory", type=int, default=4096, metavar="MIB", help="of a search (default 4096)")
    parser.add_argument(
        "--constant", action="append", type=_constant, default=[], metavar="MODULE:NAME=VALUE",
        help="replace a number that a module holds; give the setting a --label",
    )  # fmt: skip
    parser.add_argument("--label", default="", help="added to the names of the methods in the results")
    parser.add_argument("--quick", action="store_true", help="few small cases")
    parser.add_argument("--jobs", type=int, default=1, help="cases at the same time (default 1)")
    parser.add_argument("--out", type=Path, default=Path("results/proofs"), metavar="FOLDER")
    parser.add_argument("--list", action="store_true", help="name the cases and run nothing")
    return parser


if __name__ == "__main__":
    sys.exit(main())
