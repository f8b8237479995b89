"""The paper's programs against ours on the same HiGHS.

    python -m tests.benchmarks.formulations [PATH ...] [--limit 120] [--variants contiguous,...] [--out DIR]

Every solve runs alone in a fresh process, after one for each variant that compiles what is missing.
``DIR/formulations.csv`` grows line by line; what it holds already for the same instance, variant, program
and limit is not run again.  ``DIR/formulations.md`` is the table.
"""

from __future__ import annotations

import argparse
import csv
import json
import math
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path

import placer
from placer.instance.fingerprint import fingerprint
from tests.benchmarks.measure import PROGRAMS, VARIANTS
from tests.support import workloads

__all__ = ["applicable", "main", "speed_up", "table"]

Row = dict[str, str]

DATA = Path(__file__).resolve().parents[2] / "data"
FIELDS = (
    "instance", "sha256", "variant", "program", "limit_s", "threads", "seconds_1pct", "seconds_001pct",
    "cpu_s", "objective", "bound", "gap",
)  # fmt: skip
KEY = ("instance", "sha256", "variant", "program", "limit_s", "threads")
SMALLEST = ("textbook.json", "gpt_training.json")
"""Instances of a fraction of a second: inference, and training."""
COMPILE_S = 300.0
LEAST_S = 0.01
"""Times below this count as this, so that no ratio rests on the clock's resolution."""


def main() -> None:
    """Run what is missing, and write the table."""
    args = _arguments()
    args.out.mkdir(parents=True, exist_ok=True)
    log = args.out / "formulations.csv"
    warm: set[str] = set()
    for path, name, sha, variant in _pairs(args.paths, args.variants):
        for program in PROGRAMS:
            key = dict(
                zip(KEY, (name, sha, variant, program, f"{args.limit:g}", str(args.threads)), strict=True)
            )
            if any(all(row[k] == key[k] for k in KEY) for row in read(log)):
                continue
            if variant not in warm:
                _solve(DATA / SMALLEST[variant.endswith("gpipe")], variant, "ours", COMPILE_S, args.threads)
                warm.add(variant)
            print(f"{name}, {variant}, {program} ...", end=" ", file=sys.stderr, flush=True)
            found = _solve(path, variant, program, args.limit, args.threads)
            _append(log, {**key, **{k: "" if v is None else f"{v:.10g}" for k, v in found.items()}})
            print(found, file=sys.stderr, flush=True)
    rows = [row for row in read(log) if row["limit_s"] == f"{args.limit:g}"]
    text = table(rows)
    (args.out / "formulations.md").write_text(text)
    print(text, end="")


def _arguments() -> argparse.Namespace:
    parser = argparse.ArgumentParser(prog="python -m tests.benchmarks.formulations", description=__doc__)
    parser.add_argument(
        "paths",
        nargs="*",
        type=Path,
        metavar="PATH",
        help="instances; default: data/, and the shared workloads where present",
    )
    parser.add_argument("--limit", type=float, default=120.0, help="CPU seconds per solve (default 120)")
    parser.add_argument(
        "--variants", type=lambda text: text.split(","), default=list(VARIANTS), help=", ".join(VARIANTS)
    )
    parser.add_argument("--threads", type=int, default=1, help="threads of HiGHS (default 1)")
    parser.add_argument("--out", type=Path, default=Path("results"))
    args = parser.parse_args()
    unknown = [v for v in args.variants if v not in VARIANTS]
    if unknown:
        parser.error(f"there is no variant {unknown[0]!r}; choose from {', '.join(VARIANTS)}")
    args.paths = args.paths or _default_paths()
    return args


def _default_paths() -> list[Path]:
    known = json.loads((DATA / "known.json").read_text())["known"]
    names = dict.fromkeys(entry["instance"] for entry in known)
    paths = [DATA / f"{name}.json" for name in names]
    for kind, listed in (("throughput", workloads.THROUGHPUT), ("latency", workloads.LATENCY)):
        paths += [p for p in (workloads.path(kind, name) for name in listed) if p.is_file()]
    return paths


def _pairs(paths: list[Path], variants: list[str]) -> Iterator[tuple[Path, str, str, str]]:
    for path in paths:
        instance = placer.load(path)
        for variant in variants:
            if applicable(instance, path.parent.name, variant):
                yield path, instance.name, fingerprint(instance), variant


def applicable(instance: placer.Instance, folder: str, variant: str) -> bool:
    """Whether a variant makes sense: gpipe for training, latency for inference.

    Folders called "throughput" and "latency" hold instances for that objective only.
    """
    latency = variant == "latency"
    if folder in ("throughput", "latency") and latency != (folder == "latency"):
        return False
    if latency and instance.is_training:
        return False
    return instance.is_training or not variant.endswith("gpipe")


def _solve(path: Path, variant: str, program: str, limit: float, threads: int) -> dict[str, float | None]:
    """Measure in a fresh process; one that dies counts as one that found nothing."""
    command = [sys.executable, "-m", "tests.benchmarks.measure"]
    command += [str(path), variant, program, str(limit), str(threads)]
    done = subprocess.run(command, stdout=subprocess.PIPE, text=True, check=False)
    if done.returncode:
        return {}
    found: dict[str, float | None] = json.loads(done.stdout)
    return found


def read(log: Path) -> list[Row]:
    """Read the rows that are there."""
    if not log.is_file():
        return []
    with log.open(newline="") as file:
        return list(csv.DictReader(file))


def _append(log: Path, row: Row) -> None:
    fresh = not log.is_file()
    with log.open("a", newline="") as file:
        writer = csv.DictWriter(file, FIELDS, restval="")
        if fresh:
            writer.writeheader()
        writer.writerow(row)


def _seconds(row: Row, field: str) -> float:
    """Seconds until a gap; the limit where it was not reached."""
    limit = float(row["limit_s"])
    return min(limit, max(LEAST_S, float(row[field]))) if row[field] else limit


def speed_up(pairs: list[tuple[Row, Row]], field: str) -> float:
    """Geometric mean of the paper's time over ours; capped times count as the limit."""
    logs = [math.log(_seconds(paper, field) / _seconds(ours, field)) for paper, ours in pairs]
    return math.exp(sum(logs) / len(logs))


def table(rows: list[Row]) -> str:
    """Return the comparison as a Markdown table, with the mean speed-up of each variant below."""
    pairs: dict[tuple[str, str], dict[str, Row]] = {}
    for row in rows:
        pairs.setdefault((row["variant"], row["instance"]), {})[row["program"]] = row
    whole = {key: (both["paper"], both["ours"]) for key, both in pairs.items() if len(both) == len(PROGRAMS)}
    if not whole:
        return "nothing measured\n"
    lines = [
        "| variant | instance | paper: 1 %, s | 0.01 %, s | gap left | ours: 1 %, s | 0.01 %, s | gap left |",
        "|---|---|---|---|---|---|---|---|",
    ]
    for (variant, instance), both in whole.items():
        cells = [cell for row in both for cell in _cells(row)]
        lines.append(f"| {variant} | {instance} | {' | '.join(cells)} |")
    lines.append("")
    for variant in dict.fromkeys(variant for variant, _ in whole):
        chosen = [both for (v, _), both in whole.items() if v == variant]
        to_1pct, to_001pct = (speed_up(chosen, f) for f in ("seconds_1pct", "seconds_001pct"))
        lines.append(
            f"{variant}: {len(chosen)} instances, geometric mean of the speed-up {to_1pct:.1f} to 1 %, "
            f"{to_001pct:.1f} to 0.01 % (limit {chosen[0][0]['limit_s']} CPU s)  "
        )
    return "\n".join(lines) + "\n"


def _cells(row: Row) -> list[str]:
    limit = f"> {float(row['limit_s']):g}"
    times = [f"{float(row[f]):.2f}" if row[f] else limit for f in ("seconds_1pct", "seconds_001pct")]
    gap = f"{100 * max(0.0, float(row['gap'])):.2f} %" if row["gap"] else "no plan or bound"
    return [*times, gap]


if __name__ == "__main__":
    main()
