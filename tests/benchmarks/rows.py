"""Cases that proofs failed on once, then and now: ``python -m tests.benchmarks.rows`` prints a table.

Each is solved in a process of its own by the method that it is about; limits and times are CPU seconds of a
single thread.  Graphs are made here, or lie beside the checkout (`tests.support.workloads`); what is not
there is left out.
"""

from __future__ import annotations

import argparse
import sys
import tempfile
from collections.abc import Callable
from dataclasses import dataclass, field
from functools import partial
from pathlib import Path
from typing import Any

import numpy as np

import placer
from placer.instance.cluster import DeviceClass, Kind, Link
from placer.instance.instance import Instance
from placer.studies.isolation import Nurseries
from tests.benchmarks.proofs.__main__ import ask
from tests.benchmarks.proofs.cases import subjects
from tests.benchmarks.proofs.measure import Question
from tests.support import workloads
from tests.support.transformer import transformer_training

__all__ = ["ROWS", "Row", "main"]

LATENCY = {"objective": "latency"}
FREE = {"contiguous": False}


@dataclass(frozen=True)
class Row:
    """A case, what it was, and how it is asked.

    Parameters
    ----------
    case, then
        In words.
    make
        Makes the instance, or None where it is not there.
    method, options, limit_s
        Of the solve; CPU seconds.
    """

    case: str
    then: str
    make: Callable[[], Instance | None]
    method: str = "auto"
    options: dict[str, Any] = field(default_factory=dict)
    limit_s: float = 60.0


def subject(name: str) -> Instance | None:
    """Return a graph of the benchmark of proofs."""
    return next((s.instance() for s in subjects() if s.name == name), None)


def workload(kind: str, name: str) -> Instance | None:
    """Return one of the authors' workloads."""
    return workloads.workload(kind, name) if workloads.path(kind, name).is_file() else None


def case(name: str) -> Instance | None:
    """Return one of the inputs that lie beside the workloads."""
    path = workloads.ROOT.parent / "cases" / name
    return placer.load(path) if path.is_file() else None


def star(consumers: int, accelerators: int) -> Instance:
    """Make a source that all others read, with times and sizes of all magnitudes."""
    rng, n = np.random.default_rng(0), consumers + 1
    time = rng.lognormal(0.0, 1.0, n)
    return Instance.build(
        name=f"star {consumers}",
        ids=[f"v{v}" for v in range(n)],
        types=("gpu", "cpu"),
        time_ms=np.column_stack([time, 10 * time]),
        output_bytes=1e6 * rng.lognormal(0.0, 0.8, n),
        weight_bytes=1e7 * rng.lognormal(0.0, 1.0, n),
        edges=[(0, v) for v in range(1, n)],
        classes=(
            DeviceClass("gpu", "gpu", accelerators, Kind.ACCELERATOR, 1e9, Link(bandwidth_bytes_per_s=4e9)),
            DeviceClass("cpu", "cpu", 1, Kind.HOST),
        ),
    )


def equal_chain(nodes: int, accelerators: int) -> Instance:
    """Make a chain of nodes that are alike, on as many accelerators that are alike."""
    return Instance.build(
        name=f"equal {nodes}",
        ids=[f"v{v}" for v in range(nodes)],
        types=("gpu",),
        time_ms=np.full((nodes, 1), 2.0),
        output_bytes=np.full(nodes, 1e6),
        edges=[(v, v + 1) for v in range(nodes - 1)],
        classes=(
            DeviceClass("gpu", "gpu", accelerators, Kind.ACCELERATOR, 1e10, Link(bandwidth_bytes_per_s=1e10)),
        ),
    )


BERT, RESNET, INCEPTION = "transformer operator 12x4x1024", "resnet operator 3x4x6x3", "inception 11x6"

ROWS = (
    Row("12 transformer blocks by operator, training", "4.3 s", partial(subject, f"{BERT} training"), "dp"),
    Row("12 transformer blocks by operator", "3.7 s", partial(subject, BERT), "dp"),
    Row("11 inception modules, training", "2.0 to 3.8 s", partial(subject, f"{INCEPTION} training"), "dp"),
    Row(
        "Inception-v3 by layer, latency", "not proven in 120 s",
        partial(workload, "throughput", "layer_inceptionv3_inference"), "dp", LATENCY, 120.0,
    ),
    Row(
        "ResNet-50 by operator, training, the program alone", "7.65 % after 120 s",
        partial(subject, f"{RESNET} training"), "milp", {}, 120.0,
    ),
    Row(
        "12 transformer blocks by operator, non-contiguous", "0.21 % after 39 s",
        partial(subject, BERT), "auto", FREE,
    ),
    Row(
        "12 transformer blocks by operator, training, non-contiguous", "4.9 % after 60 s",
        partial(subject, f"{BERT} training"), "auto", FREE,
    ),
    Row(
        "3,000 nodes, tight memory, unequal devices", "787 ms, 85 % after 30 s",
        partial(case, "large_3000.json.gz"), "auto", {}, 30.0,
    ),
    Row("star of 200 on 4 devices", "3.4 % after 20 s", partial(star, 200, 4), "auto", {}, 20.0),
    Row(
        "star of 200 on 4 devices, non-contiguous", "1 % after 20 s",
        partial(star, 200, 4), "auto", FREE, 20.0,
    ),
    Row(
        "BERT-24 by layer, non-contiguous, the program alone", "more than 1 % after 300 s",
        partial(workload, "throughput", "layer_bert24_inference"), "milp", FREE, 300.0,
    ),
    Row(
        "48 experts with a host, non-contiguous", "20.78 ms, bound 4.69 after 60 s",
        partial(case, "experts_48.json"), "auto", FREE,
    ),
    Row(
        "48 experts with a host, latency, 49 pieces", "28.4 ms, bound 9.4 after 120 s",
        partial(case, "experts_48.json"), "auto", LATENCY | {"pieces": 49}, 120.0,
    ),
    Row("1,062 operators, 64 devices, tight memory", "5.5 %", partial(transformer_training, 1_000), "dp"),
    Row(
        "10,038 operators, 64 devices, gpipe", "13.2 %", partial(transformer_training, 10_000),
        "auto", {"schedule": "gpipe"},
    ),
    Row(
        "10,038 operators, 64 devices, overlap", "4.8 %", partial(transformer_training, 10_000),
        "auto", {"communication": "overlap"},
    ),
    Row("10 branches of 20, latency", "54 % after 31 s", partial(subject, "branches 10x20"), "auto", LATENCY),
    Row(
        "BERT-6 by operator, latency, 2 pieces, the program alone", "1.28 %",
        partial(workload, "latency", "operator_bert_l6_inference"), "milp", LATENCY | {"pieces": 2},
    ),
    Row(
        "5 equal nodes on 4 devices, balanced", "uneven",
        partial(equal_chain, 5, 4), "auto", {"balance": True},
    ),
    Row(
        "38 equal nodes on 8 devices, balanced", "uneven",
        partial(equal_chain, 38, 8), "auto", {"balance": True},
    ),
    Row(
        "42 equal nodes on 16 devices, balanced", "19 s, uneven, not proven",
        partial(equal_chain, 42, 16), "auto", {"balance": True},
    ),
)  # fmt: skip


def main() -> int:
    """Print the table, a line per row."""
    parser = argparse.ArgumentParser(prog="python -m tests.benchmarks.rows", description=__doc__)
    parser.add_argument("--only", default="", metavar="TEXT", help="rows whose case holds this")
    args = parser.parse_args()
    print("| case | method | then | now | CPU s |\n|---|---|---|---|---|")
    with Nurseries() as nurseries, tempfile.TemporaryDirectory() as folder:
        for row in ROWS:
            instance = row.make() if args.only in row.case else None
            if instance is None:
                continue
            path = Path(folder, "instance.json.gz")
            placer.save(instance, path)
            options = row.options | {"method": row.method}
            found = ask(Question(str(path), row.method, options, row.limit_s, 4096, {}), nurseries)
            cells = (row.case, f"`{row.method}`", row.then, *_now(found))
            print("| " + " | ".join(cells) + " |", flush=True)
    return 0


def _now(found: dict[str, Any]) -> tuple[str, str]:
    """What was found, and CPU seconds."""
    if found.get("objective") is None:
        return f"{found['status']}: {found.get('message', '')}", f"{found.get('cpu_s') or 0.0:.2f}"
    gap = found["gap"]
    told = "no bound" if gap is None else "proven" if found["status"] == "optimal" else f"{100 * gap:.2f} %"
    late = f" ({found['message']})" if found["status"] == "late" else ""
    return f"{found['objective']:.6g} ms, {told}{late}", f"{found['cpu_s']:.2f}"


if __name__ == "__main__":
    sys.exit(main())
