"""Large graphs of random layers, for limits."""

import numpy as np

from placer.instance.cluster import DeviceClass, Kind, Link, Server
from placer.instance.instance import Instance


def layered(
    n: int, *, width: int = 20, servers: bool = False, training: bool = False, seed: int = 0
) -> Instance:
    """Build layers of ``width`` nodes that read one to three of the layer before; 8 accelerators, a host.

    For training the second half mirrors the first one.  With servers, there are two of four accelerators.
    """
    rng = np.random.default_rng(seed)
    size = n // 2 if training else n
    edges = [
        ((v // width - 1) * width + int(u), v)
        for v in range(width, size)
        for u in rng.choice(width, size=rng.integers(1, 4), replace=False)
    ]
    gpu = rng.uniform(0.1, 1.0, size)
    times = np.stack([gpu, 8 * gpu], axis=1)
    output = rng.uniform(1e4, 1e6, size)
    if training:
        edges += [(v, size + v) for v in range(size)] + [(size + w, size + v) for v, w in edges]
        times, output = np.concatenate([times, 2 * times]), np.concatenate([output, output])
    count = len(times)
    backward = np.arange(count) >= size
    return Instance.build(
        name=f"layers{n}",
        ids=[f"n{v}" for v in range(count)],
        types=("gpu", "cpu"),
        time_ms=times,
        memory_bytes=np.full(count, 1e6),
        output_bytes=output,
        edges=edges,
        backward=backward,
        servers=[
            Server(f"node{k}", tuple(f"gpu{4 * k + i}" for i in range(4)), Link(bandwidth_bytes_per_s=2e9))
            for k in range(2)
        ]
        if servers
        else (),
        colocate=[f"g{v % size}" for v in range(count)] if training else (None,) * count,
        classes=(
            DeviceClass(
                "gpu", "gpu", 8, Kind.ACCELERATOR, 1e6 * count / 5, link=Link(bandwidth_bytes_per_s=16e9)
            ),
            DeviceClass("cpu", "cpu", 1, Kind.HOST),
        ),
    )
