"""The identity of an instance: a hash of its content, whatever file format it came from."""

from __future__ import annotations

import hashlib
import json

import numpy as np

from placer.instance import Instance

__all__ = ["fingerprint"]


def fingerprint(instance: Instance) -> str:
    """SHA-256 of the content of an instance: everything but its name and the order of its edges."""
    digest = hashlib.sha256(b"placer-instance-1\n")
    text = {
        "ids": instance.ids,
        "names": instance.names,
        "types": instance.types,
        "colocate": instance.colocate,
        "layer": instance.layer,
        "pin": instance.pin,
        "forbid": instance.forbid,
        "classes": [
            (
                cls.name,
                cls.type,
                cls.count,
                cls.kind.value,
                repr(float(cls.memory_limit_bytes)),
                repr(float(cls.link.transfer_scale)),
                None
                if cls.link.bandwidth_bytes_per_s is None
                else repr(float(cls.link.bandwidth_bytes_per_s)),
                repr(float(cls.link.latency_ms)),
            )
            for cls in instance.classes
        ],
    }
    digest.update(json.dumps(text, ensure_ascii=True, separators=(",", ":")).encode())
    order = np.lexsort((instance.edges[:, 1], instance.edges[:, 0]))
    digest.update(instance.edges[order].astype("<i8").tobytes())
    for numbers in (instance.time_ms, instance.memory_bytes, instance.transfer_ms, instance.output_bytes):
        # Adding 0.0 turns -0.0 into 0.0; nan gets one bit pattern.
        clean = np.where(np.isnan(numbers), np.nan, numbers + 0.0)
        digest.update(clean.astype("<f8").tobytes())
    digest.update(instance.backward.astype("u1").tobytes())
    return digest.hexdigest()
