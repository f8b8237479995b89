"""The experiments of the paper on the inputs that its authors published, with free solvers.

    python -m tests.benchmarks.paper FOLDER [--limit 60] [--only gnmt,bert24] [--authors DIR] [--out DIR]

FOLDER is a clone of the authors' repository (github.com/msr-fiddle/dnn-partitioning) with the folders
``throughput-inputs``, ``latency-inputs`` and ``human-experts``; ``throughput``, ``latency`` and ``experts``
do as well.  Each solve runs alone in a process of its own.  ``DIR/results.jsonl`` grows line by line, and
what it holds already is not run again; ``DIR/paper.md`` has the tables.  Seconds, and limits, are CPU seconds
of one thread, libraries loaded.

With ``--authors DIR`` the authors' programs ``dp`` and ``greedy``, which you compiled there, run on the same
machine, and their figures stand beside ours.
"""

from __future__ import annotations

import argparse
import json
import re
import resource
import subprocess
import sys
import time
from collections.abc import Iterator, Mapping, Sequence
from concurrent.futures import ProcessPoolExecutor
from concurrent.futures.process import BrokenProcessPool
from dataclasses import dataclass, field
from functools import partial
from multiprocessing import get_context
from pathlib import Path
from typing import Any

import placer
from placer.plans.result import gap_of
from tests.benchmarks.measure import Watch

__all__ = ["main"]

Row = dict[str, Any]

GAP = 0.01
"""Where the paper's integer programs stop, and those of ours that may take long."""
AUTHORS_S, AUTHORS_BYTES = 300, 6 * 2**30
"""CPU seconds and memory that a program of the authors may take."""
FIGURE = re.compile(
    r'(?:"maxLoad":|"totalLatency":|objective =|max-load of the split:|computed load:|maxLoad =)'
    r"\s*([\d.e+]+)"
)


@dataclass(frozen=True)
class Run:
    """A column of a table: how a plan is found, by us or by a program of the authors."""

    title: str
    options: Mapping[str, Any] = field(default_factory=dict)
    authors: tuple[str, ...] = ()
    """Program and arguments, where it is one of theirs."""
    split: bool = False
    """Whether it evaluates what human experts chose."""
    limited: bool = False
    """Whether it may need all the time that there is."""

    def but(self, more: str, **options: Any) -> Run:
        """Return the same with other options."""
        return Run(f"{self.title}, {more}", {**self.options, **options}, limited=True)


PAPER = Run("paper's program", {"method": "milp", "formulation": "paper"}, limited=True)
DP = Run("dp", {"method": "dp", "gap": 0.0})
THROUGHPUT = (
    DP,
    PAPER,
    PAPER.but("non-contiguous", contiguous=False),
    Run("ours, non-contiguous", {"contiguous": False}, limited=True),
)
BASELINES = (
    Run("dpl", {"method": "dpl"}),
    Run("expert", {"method": "expert"}, split=True),
    Run("local search", {"method": "local-search"}),
    Run("PipeDream", {"method": "pipedream"}),
    Run("METIS", {"method": "partition"}),
    Run("one device", {"method": "single"}),
)
TRAINING = tuple(run.but("two maxima", schedule="gpipe") for run in THROUGHPUT)
LATENCY = (
    DP,
    PAPER,
    DP.but("two pieces", pieces=2, gap=GAP),
    PAPER.but("two pieces", pieces=2),
    Run("greedy", {"method": "greedy"}),
    Run("max-load", {"method": "max-load"}),
    Run("expert", {"method": "expert"}, split=True),
)
AUTHORS = {
    "throughput": (
        Run("authors: dp", authors=("dp",)),
        Run("authors: dpl", authors=("dp", "-linearize")),
        Run("authors: expert", authors=("dp", "-expert"), split=True),
        Run("authors: local search", authors=("dp", "-localSearch", "10")),
        Run("authors: PipeDream", authors=("dp", "-pipeDream")),
        Run("authors: one device", authors=("dp", "-oneFpga")),
    ),
    "latency": (Run("authors: greedy", authors=("greedy",)),),
}


@dataclass(frozen=True)
class Workload:
    """An instance of the paper's."""

    kind: str
    """``throughput`` or ``latency``."""
    name: str
    path: Path
    training: bool
    split: Path | None
    """What human experts chose; of inference where there is none for training."""


def workloads(folder: Path) -> list[Workload]:
    """Find the instances of a clone, by kind, granularity and name."""
    found = []
    for kind in ("throughput", "latency"):
        for path in sorted({*folder.glob(f"{kind}-inputs/*/*.json"), *folder.glob(f"{kind}/*.json")}):
            granularity = {"LayerGraphs": "layer_", "OperatorGraphs": "operator_"}.get(path.parent.name, "")
            name = f"{granularity}{path.stem}".replace("_", " ")
            training = path.stem.endswith("training")
            found.append(Workload(kind, name, path, training, _expert(folder, name)))
    return found


def _expert(folder: Path, name: str) -> Path | None:
    if not name.startswith("layer "):
        return None
    stem = name.removeprefix("layer ").replace(" ", "_")
    tried = (stem, stem.replace("training", "inference"))
    paths = (folder / where / f"{s}_expert.json" for s in tried for where in ("human-experts", "experts"))
    return next((path for path in paths if path.is_file()), None)


def columns(workload: Workload, *, authors: bool) -> Iterator[Run]:
    """Say which runs a workload takes part in."""
    wanted = LATENCY if workload.kind == "latency" else (*THROUGHPUT, *BASELINES)
    wanted += TRAINING if workload.training else ()
    wanted += AUTHORS[workload.kind] if authors else ()
    yield from (run for run in wanted if workload.split or not run.split)


def solve(workload: Workload, run: Run, limit: float) -> Row:
    """Solve in a process of its own; one that dies found nothing."""
    options = {"objective": workload.kind, **run.options}
    options |= {"split": str(workload.split)} if run.split else {}
    options |= {"gap": options.get("gap", GAP), "time_limit": 100 * limit} if run.limited else {}
    with ProcessPoolExecutor(1, mp_context=get_context("spawn")) as pool:
        try:
            return pool.submit(_solve, workload.path, options, limit).result()
        except BrokenProcessPool:
            return {"objective": None, "bound": None, "seconds": None}


def _solve(path: Path, options: Mapping[str, Any], limit: float) -> Row:
    instance = placer.load(path)
    placer.solve(instance, objective=options["objective"], method="single")  # loads libraries
    watch, began = Watch(limit), time.process_time()
    try:
        result = placer.solve(instance, interrupt=watch.interrupt, **options)
    except placer.PlacerError:
        return {"objective": None, "bound": None, "seconds": 0.0}
    finally:
        watch.done.set()
    seconds = time.process_time() - began
    return {"objective": result.objective, "bound": result.bound, "seconds": round(seconds, 4)}


def ask_authors(workload: Workload, run: Run, programs: Path) -> Row:
    """Run a program of the authors."""
    program, *arguments = run.authors
    arguments += [str(workload.split)] if run.split else []
    before = resource.getrusage(resource.RUSAGE_CHILDREN).ru_utime
    with workload.path.open() as file:
        done = subprocess.run(
            [programs / program, *arguments],
            stdin=file,
            stdout=subprocess.PIPE,
            stderr=subprocess.STDOUT,
            text=True,
            check=False,
            preexec_fn=_limit,
        )
    found = FIGURE.findall(done.stdout) if done.returncode == 0 else []
    seconds = resource.getrusage(resource.RUSAGE_CHILDREN).ru_utime - before
    return {"objective": float(found[-1]) if found else None, "seconds": round(seconds, 4)}


def _limit() -> None:
    resource.setrlimit(resource.RLIMIT_CPU, (AUTHORS_S, AUTHORS_S))
    resource.setrlimit(resource.RLIMIT_AS, (AUTHORS_BYTES, AUTHORS_BYTES))


def main(argv: Sequence[str] | None = None) -> None:
    """Run what is missing, and write the tables."""
    parser = argparse.ArgumentParser(prog="python -m tests.benchmarks.paper", description=main.__doc__)
    parser.add_argument("folder", type=Path, help="a clone of the authors' repository")
    parser.add_argument("--limit", type=float, default=60.0, help="CPU seconds of a solve (default 60)")
    parser.add_argument("--only", default="", help="workloads whose name has one of these in it")
    parser.add_argument("--authors", type=Path, help="folder with the authors' programs dp and greedy")
    parser.add_argument("--out", type=Path, default=Path("results/paper"))
    args = parser.parse_args(argv)
    wanted = [w for w in workloads(args.folder) if any(part in w.name for part in args.only.split(","))]
    if not wanted:
        parser.error(f"{args.folder}: neither throughput-inputs/*/*.json nor throughput/*.json")
    args.out.mkdir(parents=True, exist_ok=True)
    log = args.out / "results.jsonl"
    rows = [json.loads(line) for line in log.read_text().splitlines()] if log.is_file() else []
    for workload in wanted:
        for run in columns(workload, authors=args.authors is not None):
            limit = args.limit if run.limited else None
            key = {"kind": workload.kind, "name": workload.name, "run": run.title, "limit": limit}
            if any(all(row[k] == value for k, value in key.items()) for row in rows):
                continue
            ask = (
                partial(ask_authors, programs=args.authors)
                if run.authors
                else partial(solve, limit=args.limit)
            )
            rows.append({**key, **ask(workload, run)})
            print(rows[-1], file=sys.stderr, flush=True)
            with log.open("a") as file:
                file.write(json.dumps(rows[-1]) + "\n")
    text = tables(wanted, [row for row in rows if row["limit"] in (None, args.limit)])
    (args.out / "paper.md").write_text(text, encoding="utf-8")
    print(text, end="")


def tables(wanted: Sequence[Workload], rows: Sequence[Row]) -> str:
    """Write all tables: throughput, baselines, training by separate maxima, latency."""
    found = {(row["kind"], row["name"], row["run"]): row for row in rows}
    throughput = [w for w in wanted if w.kind == "throughput"]
    training = [w for w in throughput if w.training]
    latency = [w for w in wanted if w.kind == "latency"]
    baselines = sorted((*BASELINES, *AUTHORS["throughput"][1:]), key=lambda run: run.title.split(": ")[-1])
    made = (
        _table(found, "Throughput", throughput, (*THROUGHPUT, AUTHORS["throughput"][0])),
        _table(found, "Baselines of throughput", throughput, baselines),
        _table(found, "Training, two maxima", training, TRAINING),
        _table(found, "Latency", latency, (*LATENCY, *AUTHORS["latency"])),
    )
    return "\n".join(filter(None, made))


def _table(
    found: Mapping[tuple[str, str, str], Row], title: str, wanted: Sequence[Workload], runs: Sequence[Run]
) -> str:
    shown = [run for run in runs if any((w.kind, w.name, run.title) in found for w in wanted)]
    if not shown:
        return ""
    heads = [run.title.removesuffix(", two maxima") for run in shown]
    lines = [f"## {title}\n", f"| workload | {' | '.join(heads)} |", "|---" * (len(shown) + 1) + "|"]
    for w in wanted:
        optimum = found.get((w.kind, w.name, "dp"), {}).get("objective")
        cells = [_cell(found.get((w.kind, w.name, run.title)), run, optimum) for run in shown]
        lines.append(f"| {w.name} | {' | '.join(cells)} |")
    return "\n".join(lines) + "\n"


def _cell(row: Row | None, run: Run, optimum: float | None) -> str:
    """Write milliseconds, the gap or the distance from the optimum where there is one, and CPU seconds."""
    if row is None:
        return ""
    objective = row["objective"]
    took = "" if row["seconds"] is None else f"; {row['seconds']:.3g} s"
    if objective is None:
        return f"no plan{took}"
    more = ""
    if run.limited:
        gap = gap_of(objective, row["bound"])
        more = "" if gap is None else f", gap {100 * max(gap, 0):.2f} %"
    elif optimum is not None and abs(objective - optimum) > 1e-5 * optimum:
        more = f", {100 * (objective / optimum - 1):+.1f} %"
    return f"{objective:.6g}{more}{took}"


if __name__ == "__main__":
    main()
