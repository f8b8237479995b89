"""Measuring links: what copies between devices take, fitted as bandwidth and latency."""

from __future__ import annotations

import multiprocessing
import os
import time
from collections.abc import Callable, Sequence
from functools import partial
from itertools import permutations
from multiprocessing import shared_memory
from statistics import median
from typing import Any

import numpy as np

from placer.errors import UsageError
from placer.imports.catalogue import LinkEntry
from placer.imports.torch_export import torch_for
from placer.measuring.settings import check_counts

__all__ = ["fit_link", "measure_links"]

SIZES = tuple(2**k for k in range(14, 25, 2))
"""Bytes of the copies."""
SHARED_MEMORY = "shared-memory"


def measure_links(device: str = "cpu", *, repeats: int = 20) -> dict[str, LinkEntry]:
    """Measure the links of this machine.

    Parameters
    ----------
    device
        ``cpu``: processes that hand tensors over through shared memory, measured on two cores at once, as in
        a pipeline.  ``cuda``: between the host's pinned memory and each GPU in either direction,
        and between each two GPUs.
    repeats
        Copies of each size, of which the median counts.

    Returns
    -------
    dict[str, LinkEntry]
        By name: ``shared-memory``, ``host-cuda0``, ``cuda0-host``, ``cuda0-cuda1``.

    Raises
    ------
    UsageError
        When there is no such device.
    """
    check_counts(repeats=repeats)
    if device == "cpu":
        return {SHARED_MEMORY: _shared_memory(repeats)}
    if device == "cuda":
        return _cuda(repeats)
    raise UsageError(f"--device {device}: links of cpu or cuda are measured")


def fit_link(sizes: Sequence[int], ms: Sequence[float], description: str = "") -> LinkEntry:
    """Fit latency and bandwidth to copies, every size counting the same.

    Parameters
    ----------
    sizes, ms
        Bytes and milliseconds.
    description
        What was measured.
    """
    x, y = np.array(sizes, dtype=float), np.array(ms)
    slope, latency = np.polyfit(x, y, 1, w=1 / y)
    if slope <= 0 or latency < 0:  # noise: the largest copy says most about bandwidth
        slope, latency = y[-1] / x[-1], 0.0
    return LinkEntry(
        description=description, gb_per_s=float(1e-6 / slope), latency_ms=float(latency), source="measured"
    )


# -- through the host's memory ---------------------------------------------------------------------


def _shared_memory(repeats: int) -> LinkEntry:
    """Copy into shared memory on two cores at once, where there are two."""
    cores = sorted(os.sched_getaffinity(0))[:2] if hasattr(os, "sched_getaffinity") else [None, None]
    context = multiprocessing.get_context("spawn")
    start, answers = context.Barrier(len(cores)), context.SimpleQueue()
    processes = [context.Process(target=_copy, args=(core, start, repeats, answers)) for core in cores]
    for process in processes:
        process.start()
    try:
        both = [answers.get() for _ in processes]
    finally:
        for process in processes:
            process.join()
    return fit_link(
        SIZES, [median(times) for times in zip(*both, strict=True)], "copies through shared memory"
    )


def _copy(core: int | None, start: Any, repeats: int, answers: Any) -> None:
    if core is not None:
        os.sched_setaffinity(0, {core})
    memory = shared_memory.SharedMemory(create=True, size=max(SIZES))
    try:
        start.wait()
        out = []
        for size in SIZES:
            target: Any = np.frombuffer(memory.buf, np.uint8, size)  # type: ignore[arg-type]  # open until closed
            out.append(_median_ms(partial(np.copyto, target, np.ones(size, np.uint8)), repeats))
            del target
        answers.put(out)
    finally:
        memory.close()
        memory.unlink()


def _median_ms(copy: Callable[[], Any], repeats: int) -> float:
    times = []
    for _ in range(repeats + 1):
        begin = time.perf_counter()
        copy()
        times.append(1e3 * (time.perf_counter() - begin))
    return median(times[1:])


# -- between GPUs and the host ---------------------------------------------------------------------


def _cuda(repeats: int) -> dict[str, LinkEntry]:
    torch = torch_for("links of GPUs")
    count = torch.cuda.device_count() if torch.cuda.is_available() else 0
    if not count:
        raise UsageError("--device cuda: this machine has no CUDA device")
    places = {"host": torch.device("cpu")} | {f"cuda{i}": torch.device("cuda", i) for i in range(count)}
    out = {}
    for (source, here), (target, there) in permutations(places.items(), 2):
        ms = [_median_ms(_copier(size, here, there), repeats) for size in SIZES]
        out[f"{source}-{target}"] = fit_link(SIZES, ms, f"copies from {source} to {target}")
    return out


def _copier(size: int, here: Any, there: Any) -> Callable[[], Any]:
    """Make what copies so many bytes from one place to another, and waits."""
    import torch

    a, b = (torch.zeros(size, dtype=torch.uint8, device=place) for place in (here, there))
    a, b = (t.pin_memory() if t.device.type == "cpu" else t for t in (a, b))

    def copy() -> None:
        b.copy_(a, non_blocking=True)
        for place in (here, there):
            if place.type == "cuda":
                torch.cuda.synchronize(place)

    return copy
