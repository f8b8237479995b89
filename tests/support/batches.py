"""Small instances for batches, and what must be the same whenever a batch has run."""

import json
import os
import signal
import subprocess
import sys
import time
from pathlib import Path
from typing import Any

from placer.formats import native
from placer.formats.files import load, load_result
from placer.instance.instance import Instance
from placer.plans.check import check
from placer.studies.batch.store import Store
from tests.support.random_instances import random_instance

ROOT = Path(__file__).resolve().parents[2]
METHODS = ("dp", "dpl", "single", "pipedream")


def write_instances(folder: Path, count: int) -> Path:
    """Write small training instances; some are infeasible."""
    folder.mkdir(exist_ok=True)
    for seed in range(count):
        instance = random_instance(seed, nodes=6, training=True)
        (folder / f"{seed:03}.json").write_text(native.to_json(instance))
    return folder


def chain() -> Instance:
    """The textbook example of `data/`: optimum 10 ms."""
    return load(ROOT / "data" / "textbook.json")


def command(*arguments: Any, **more: Any) -> subprocess.Popen[str]:
    """Start ``placer`` in a session of its own."""
    return subprocess.Popen(
        [sys.executable, "-m", "placer", *map(str, arguments)],
        cwd=ROOT,
        env={**os.environ, "PYTHONPATH": str(ROOT), **more.pop("env", {})},
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        text=True,
        start_new_session=True,
        **more,
    )


def outcomes(folder: Path) -> dict[str, Any]:
    """What came of every job, without what depends on the clock; every document is verified on the way.

    Asserts that each job has exactly one document, and that the folder holds nothing else.
    """
    store = Store(folder)
    jobs = {job.id: job for job in store.manifest().jobs}
    found = {}
    for path in sorted((folder / "results").iterdir()):
        result = load_result(path)
        job = jobs[path.stem]
        assert path.suffix == ".json"
        assert (result.options, result.instance.sha256) == (job.options, job.sha256)
        assert check(load(folder / "instances" / f"{job.sha256}.json"), result) == []
        kept = result.model_dump(mode="json", exclude={"runtime_s", "stats", "progress", "digest", "message"})
        found[path.stem] = kept
    for path in (folder / "failures").iterdir():
        assert path.stem not in found
        document = json.loads(path.read_text())
        found[path.stem] = {"kind": document["kind"], "reason": document["reason"]}
    assert found.keys() == jobs.keys()
    assert list((folder / "interrupted").iterdir()) == []
    assert not [p for p in folder.rglob("*") if p.name.endswith(".tmp")]
    return found


def descendants(pid: int) -> list[int]:
    """List the processes below a process, parents first (Linux)."""
    found = []
    for task in Path(f"/proc/{pid}/task").glob("*/children"):
        try:
            children = [int(child) for child in task.read_text().split()]
        except OSError:
            continue
        for child in children:
            found += [child, *descendants(child)]
    return found


def gone(pids: list[int], seconds: float = 10.0) -> bool:
    """Wait until none of the processes is there any more, dead ones that nobody buries aside."""
    until = time.monotonic() + seconds
    while any(map(_alive, pids)):
        if time.monotonic() > until:
            return False
        time.sleep(0.02)
    return True


def _alive(pid: int) -> bool:
    try:
        return Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()[0] not in "ZX"
    except OSError:
        return False


def kill(pid: int) -> None:
    try:
        os.kill(pid, signal.SIGKILL)
    except ProcessLookupError:
        return
