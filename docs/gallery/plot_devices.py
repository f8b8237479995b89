"""
How many devices are worth it?
==============================

A sweep over the number of GPUs. Plans and bounds are passed on from point to point, so that more devices
never look worse.
"""

import matplotlib.pyplot as plt

import placer

instance = placer.load("../../data/gpt_training.json")
sweep = placer.sweep(instance, ["devices=1..8"])
print("\n".join(sweep.findings))

counts = [point.settings["devices"] for point in sweep.points]
times = [point.objective for point in sweep.points]
figure, axes = plt.subplots(figsize=(6, 3.2), layout="constrained")
axes.plot(counts, times, "o-", color="#3d6fb4", label="best plan")
axes.plot(
    counts,
    [times[0] / n for n in counts],
    color="0.4",
    linestyle="--",
    label="one device's time shared evenly",
)
axes.set_xlabel("A100 in the cluster")
axes.set_ylabel("ms per sample")
axes.set_ylim(bottom=0)
axes.legend()
