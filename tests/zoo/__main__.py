"""Examine the zoo and write its table: ``python -m tests.zoo --out docs/zoo.md``.

Each entry is examined in a process of its own, with limits on time and memory; what was examined before is
kept in a file and not examined again, unless ``--again`` says so.
"""

from __future__ import annotations

import argparse
import dataclasses
import json
import os
import sys
from pathlib import Path

from tests.zoo.entries import Record
from tests.zoo.every import ENTRIES
from tests.zoo.page import page
from tests.zoo.processes import examined

ROOT = Path(__file__).resolve().parents[2]
STATE = ROOT / "build" / "zoo.json"


def main() -> None:
    """Read the arguments, examine, write."""
    parser = argparse.ArgumentParser(prog="python -m tests.zoo", description=__doc__)
    parser.add_argument("--out", type=Path, help="the page to write (default: none)")
    parser.add_argument("--state", type=Path, default=STATE, help=f"what is known so far (default: {STATE})")
    parser.add_argument("--only", nargs="+", default=[], metavar="NAME", help="entries whose names hold this")
    parser.add_argument("--again", action="store_true", help="examine again what is known")
    parser.add_argument("--failed", action="store_true", help="examine again what failed")
    parser.add_argument(
        "--seconds", type=int, default=600, help="limit on an entry's processor time (default: 600)"
    )
    given = parser.parse_args()
    known = json.loads(given.state.read_text()) if given.state.exists() else {}
    chosen = [e for e in ENTRIES if not given.only or any(part in e.name for part in given.only)]
    for number, entry in enumerate(chosen, 1):
        old = known.get(entry.name)
        if old and not given.again and not (given.failed and (old["stage"])) and old["stage"] != "obtain":
            continue
        record = examined(entry, given.seconds)
        known[entry.name] = dataclasses.asdict(record)
        print(f"[{number}/{len(chosen)}] {entry.name}: {record.failure or 'ok'}", file=sys.stderr, flush=True)
        given.state.parent.mkdir(parents=True, exist_ok=True)
        fresh = given.state.with_suffix(".new")
        fresh.write_text(json.dumps(known, indent=1))
        os.replace(fresh, given.state)
    if given.out:
        given.out.write_text(page([Record(**known[e.name]) for e in ENTRIES if e.name in known], ENTRIES))


if __name__ == "__main__":
    main()
