"""How servers read what they are told of layers."""

import numpy as np

__all__ = ["llama_devices", "vllm_ranges"]


def vllm_ranges(listed, layers, ranks):
    """First and last layer of each rank by vLLM's rule: one count per rank, adding up to all layers."""
    counts = [int(part) for part in listed.split(",")]
    assert len(counts) == ranks
    assert sum(counts) == layers
    ends = np.cumsum(counts).tolist()
    return list(zip([0, *ends[:-1]], ends, strict=True))


def llama_devices(shares, offloaded, layers):
    """Device of every layer on some, and of the output, by llama.cpp's rule, in single precision as there."""
    splits = np.cumsum([float(share) for share in shares.split(",")], dtype=np.float32)
    splits /= splits[-1]
    start = max(layers + 1 - offloaded, 0)
    active = min(offloaded, layers + 1)
    position = [np.float32(i - start) / np.float32(active) for i in range(start, layers + 1)]
    return [int(np.searchsorted(splits, p, side="right")) for p in position]
