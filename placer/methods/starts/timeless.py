"""The instance without times: it has the same plans, and numbers of memory only."""

from __future__ import annotations

from dataclasses import replace

import numpy as np

from placer.instance.cluster import Link
from placer.instance.instance import Instance

__all__ = ["timeless"]

FREE = Link(transfer_scale=0.0, bandwidth_bytes_per_s=1e300, latency_ms=0.0)
"""A link over which nothing takes time; sizes of outputs stay, because stages that recompute keep them."""


def timeless(instance: Instance) -> Instance:
    """Return the instance with all times 0, so that every plan is optimal."""
    return instance.replace(
        time_ms=np.where(np.isfinite(instance.time_ms), 0.0, np.inf),
        classes=tuple(replace(cls, link=FREE, peer_link=None) for cls in instance.classes),
        servers=(),
        shards=tuple(
            s.replace(time_ms=np.where(np.isfinite(s.time_ms), 0.0, np.inf)) for s in instance.shards
        ),
    )
