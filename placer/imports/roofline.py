"""Modelled times: the slower of computing and moving data, plus the cost of starting a kernel."""

from __future__ import annotations

from placer.errors import UsageError
from placer.imports.catalogue import DeviceEntry
from placer.imports.precision import WIDER

__all__ = ["effective_precision", "time_ms"]


def effective_precision(device: str, entry: DeviceEntry, precision: str) -> str:
    """Format that a device computes in: the one asked for, or the next wider one that it has.

    Raises
    ------
    UsageError
        When it has none that is wide enough.
    """
    for candidate in WIDER[precision]:
        if candidate in entry.peak_tflops:
            return candidate
    raise UsageError(f"device {device!r} has no peak for {precision}; it has {', '.join(entry.peak_tflops)}")


def time_ms(entry: DeviceEntry, precision: str, flops: float, moved_bytes: float) -> float:
    """Time of one kernel.

    Parameters
    ----------
    entry
        The device.
    precision
        A format that it has a peak for.
    flops
        Floating-point operations, a multiply-add counting as two.
    moved_bytes
        Bytes read and written.

    Returns
    -------
    float
        Milliseconds: ``max(flops / (peak * efficiency), bytes / (bandwidth * efficiency)) + launch``.
    """
    compute = flops / (entry.peak_tflops[precision] * 1e12 * entry.compute_efficiency)
    move = moved_bytes / (entry.bandwidth_gb_per_s * 1e9 * entry.bandwidth_efficiency)
    return 1e3 * max(compute, move) + entry.launch_ms
