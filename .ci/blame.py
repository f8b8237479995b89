"""Say which package breaks the tests that have just failed with other versions than the pinned ones.

usage: blame.py TRIAL-PYTHON PINNED-PYTHON

The failed tests (pytest's memory of the last run) run with the pinned versions; then with the versions of the
trial, one package at a time in an environment on top of the pinned one, the library's own requirements first.
"""

import json
import re
import subprocess
import sys
import tempfile
import time
from pathlib import Path

from pins import versions

ROOT = Path(__file__).resolve().parents[1]
FAILED = ROOT / ".pytest_cache" / "v" / "cache" / "lastfailed"
SECONDS = 900
"""Time for the search, after which no further package is tried."""
MOST = 30
"""Failed tests that are looked at."""


def failures(python: str, tests: list[str]) -> list[str]:
    """Run tests, and list those that fail; all where the run itself breaks."""
    ended = subprocess.run(
        [python, "-m", "pytest", "-q", "-rfE", "--tb=no", "-p", "no:cacheprovider", *tests],
        cwd=ROOT, capture_output=True, text=True,
    )  # fmt: skip
    if ended.returncode == 0:
        return []
    said = [line.split(" ", 1)[1] for line in ended.stdout.splitlines() if re.match("(FAILED|ERROR) ", line)]
    found = [test for test in tests if any(line == test or line.startswith(f"{test} - ") for line in said)]
    return found or tests


def suspicion(name: str) -> int:
    """Sort packages: first what the library needs, then what its extras need, then what those bring along."""
    place = (ROOT / "pyproject.toml").read_text(encoding="utf-8").find(f'"{name}>=')
    return place if place >= 0 else sys.maxsize


def alone(python: str, name: str, version: str, tests: list[str]) -> list[str]:
    """Run tests with one package of another version than the pinned one, and list those that fail."""
    with tempfile.TemporaryDirectory(prefix="overlay-") as folder:
        subprocess.run([ROOT / ".ci" / "overlay", folder, python], check=True)
        pip = [python, "-m", "pip", "--python", f"{folder}/bin/python"]
        installed = subprocess.run([*pip, "install", f"{name}=={version}"], capture_output=True)
        if installed.returncode:
            print(f"  {name} {version} cannot be installed beside the pinned versions")
            return []
        return failures(f"{folder}/bin/python", tests)


def main(trial: str, pinned: str) -> None:
    """Try one package after the other."""
    tests = list(json.loads(FAILED.read_text(encoding="utf-8")))[:MOST] if FAILED.is_file() else []
    if not tests:
        print("no test failed: the run itself broke, see above")
        return
    anyway = failures(pinned, tests)
    if anyway:
        print("these fail with the pinned versions too:", *anyway, sep="\n  ")
    tests = [test for test in tests if test not in anyway]
    ours, theirs, until = versions(pinned), versions(trial), time.monotonic() + SECONDS
    other = sorted((n for n in ours if theirs.get(n, ours[n]) != ours[n]), key=suspicion)
    guilty = False
    for name in other if tests else ():
        if time.monotonic() > until:
            print(f"out of time; not tried: {', '.join(other[other.index(name) :])}")
            return
        broken = alone(pinned, name, theirs[name], tests)
        if broken:
            guilty = True
            print(f"{name} {theirs[name]} (pinned: {ours[name]}) breaks:", *broken, sep="\n  ", flush=True)
    if tests and not guilty:
        print("no package alone breaks them, only several together:", *tests, sep="\n  ")
        print("  ".join(f"{name} {ours[name]} -> {theirs[name]}" for name in other))


if __name__ == "__main__":
    main(*sys.argv[1:])
