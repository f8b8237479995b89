"""
Layers shared by unequal devices
================================

Tokens flow through twelve layers of a model. Fast devices hold many layers, slow ones share what a fast one
does alone, and the planner chooses the ranges so that most tokens pass per second.
"""

import matplotlib.pyplot as plt

import placer

fast = [9000 / k for k in range(1, 7)]
slow = [3000 / k for k in range(1, 4)]
names = ["fast0", "fast1", "slow0", "slow1", "slow2", "slow3", "slow4"]
ends = ["source", *names, "sink"]
problem = {
    "format": "placer-flow",
    "version": 1,
    "layers": 12,
    "devices": [{"name": name, "tokens_per_s": fast if name.startswith("fast") else slow} for name in names],
    "links": [
        {"from": a, "to": b, "tokens_per_s": 20000}
        for a in ends[:-1]
        for b in ends[1:]
        if a != b and (a, b) != ("source", "sink")
    ],
}
result = placer.flow(problem)
print(f"{result.tokens_per_s:.0f} tokens/s, at most {result.bound:.0f} are possible")

figure, axes = plt.subplots(figsize=(6, 3), layout="constrained")
for name, (first, after) in sorted(result.ranges.items(), reverse=True):
    axes.barh(name, after - first, left=first, color="#3d6fb4" if name.startswith("fast") else "#d98324")
axes.set_xticks(range(13))
axes.set_xlabel("layers")
