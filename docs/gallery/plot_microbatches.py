"""
How many microbatches?
======================

The time of an optimizer step with fill and drain, for the same batch of 32 samples cut into more and more
microbatches. A pipeline of many stages idles while it fills and drains, and the planner shortens it where
that is faster.
"""

import matplotlib.pyplot as plt

import placer

instance = placer.load("../../data/gpt_training.json")
counts = (1, 2, 4, 8, 16, 32)
results = [placer.solve(instance, objective="step", microbatches=m) for m in counts]
per_microbatch = [result.objective / m for result, m in zip(results, counts, strict=True)]
best = placer.solve(instance).objective

figure, axes = plt.subplots(figsize=(6, 3.2), layout="constrained")
axes.plot(counts, per_microbatch, "o-", color="#3d6fb4", label="best step, divided by its microbatches")
axes.axhline(best, color="0.4", linestyle="--", label="steady state of the best pipeline")
axes.set_xscale("log", base=2)
axes.set_xticks(counts, [str(m) for m in counts])
axes.set_xlabel("microbatches in a step")
axes.set_ylabel("ms per microbatch")
axes.set_ylim(bottom=0)
axes.legend()
