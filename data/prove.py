"""Prove the optima in ``known.json`` (``python data/prove.py``); needs placer installed and some minutes."""

from __future__ import annotations

import json
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import placer

HERE = Path(__file__).parent
GAP = 1e-6
"""Relative gap that counts as proven here: the costs are rounded to about as many digits."""
SECONDS = 120.0


def questions() -> Iterator[tuple[str, dict[str, Any]]]:
    """Yield instances and the kinds of plan asked for; what is left out is the default."""
    for name in ("textbook", "gpt_inference", "gpt_training", "inception", "heterogeneous"):
        for schedule in ("1f1b", "gpipe") if name == "gpt_training" else ("1f1b",):
            for contiguous in (True, False):
                for communication in ("sequential", "overlap", "duplex"):
                    options = {"contiguous": contiguous, "schedule": schedule, "communication": communication}
                    yield name, options
    for schedule in ("1f1b", "gpipe"):
        for recompute in ("none", "auto", "all"):
            yield "gpt_pipeline", {"schedule": schedule, "recompute": recompute}
    for name in ("resnet50", "densenet_training", "bert_training", "gpt2"):
        for schedule in ("1f1b", "gpipe") if name.endswith("training") else ("1f1b",):
            yield name, {"contiguous": True, "schedule": schedule, "communication": "sequential"}
    for name in ("textbook", "latency"):
        for pieces in (1, 2):
            yield name, {"objective": "latency", "pieces": pieces}


def main() -> None:
    """Solve everything and write what was proven."""
    records = []
    for name, options in questions():
        instance = placer.load(HERE / f"{name}.json")
        method = "dp" if options.get("contiguous", True) else "milp"
        result = placer.solve(instance, method=method, gap=GAP, time_limit=SECONDS, **options)
        proven = result.status is placer.Status.OPTIMAL
        print(f"{name} {options}: {result.objective} {'proven' if proven else f'not below {result.bound}'}")
        if proven and result.objective is not None:
            optimum = float(f"{result.objective:.12g}")
            records.append({"instance": name, "options": options, "optimum": optimum})
    lines = ",\n".join("  " + json.dumps(record) for record in records)
    note = f"optimal objectives in ms, each proven by `python data/prove.py` to a relative gap of {GAP:g}"
    text = f'{{\n "note": {json.dumps(note)},\n "known": [\n{lines}\n ]\n}}\n'
    (HERE / "known.json").write_text(text, encoding="utf-8")


if __name__ == "__main__":
    main()
