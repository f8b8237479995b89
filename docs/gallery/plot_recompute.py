"""
What recomputation buys
=======================

Three answers for the same model on the same four T4: keep all activations, recompute everywhere, or let the
planner decide stage by stage.
"""

import matplotlib.pyplot as plt

import placer

instance = placer.load("../../data/gpt_pipeline.json")
choices = ("none", "all", "auto")
results = [placer.solve(instance, recompute=choice) for choice in choices]

figure, axes = plt.subplots(figsize=(6, 2.6), layout="constrained")
bars = axes.barh(choices, [result.objective for result in results], color=("0.65", "0.65", "#3d6fb4"))
axes.bar_label(bars, fmt="%.0f ms", padding=4)
axes.set_xlabel("time per microbatch, ms")
axes.set_ylabel("recompute")
axes.margins(x=0.15)
