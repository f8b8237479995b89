"""
Virtual stages shorten the bubble
=================================

With V virtual stages each device serves V short pieces of the pipeline in turn. The pipeline fills faster,
and pays for it with more transfers: here 24 equal layers, trained on four GPUs with 8 microbatches a step.
"""

import matplotlib.pyplot as plt

import placer

link = {"bandwidth_bytes_per_s": 25e9, "latency_ms": 0.01}
layers = [
    {"id": f"layer{k}", "time_ms": {"gpu": 2.0}, "memory_bytes": 1e9, "output_bytes": 5e6} for k in range(24)
]
backward = [
    {
        "id": f"grad{k}",
        "time_ms": {"gpu": 4.0},
        "output_bytes": 5e6,
        "backward": True,
        "colocate": f"layer{k}",
    }
    for k in range(24)
]
instance = placer.load(
    {
        "format": "placer-instance",
        "version": 1,
        "name": "equal layers",
        "nodes": [layer | {"colocate": layer["id"]} for layer in layers] + backward,
        "edges": [[f"layer{k}", f"layer{k + 1}"] for k in range(23)]
        + [[f"grad{k + 1}", f"grad{k}"] for k in range(23)]
        + [["layer23", "grad23"]],
        "cluster": {
            "classes": [{"name": "gpu", "type": "gpu", "count": 4, "memory_limit_bytes": 40e9, "link": link}]
        },
    }
)
counts = (1, 2, 3, 6)
results = [placer.solve(instance, objective="step", microbatches=8, virtual_stages=v) for v in counts]

figure, axes = plt.subplots(figsize=(6, 2.8), layout="constrained")
places = [str(v) for v in counts]
axes.bar(places, [result.objective for result in results], color="#3d6fb4", label="best plan found")
axes.scatter(places, [result.bound for result in results], marker="_", s=900, color="black", label="bound")
axes.set_xlabel("virtual stages per device")
axes.set_ylabel("step, ms")
axes.legend(loc="lower right")
