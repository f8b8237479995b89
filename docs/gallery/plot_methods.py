"""
Heuristics against the optimum
==============================

Heuristics that one finds in published code, and the exact dynamic program, on unequal devices: one A100,
three T4 and a host.
"""

import matplotlib.pyplot as plt

import placer

instance = placer.load("../../data/heterogeneous.json")
comparison = placer.compare(instance, ["max-load", "first-fit", "pipedream", "greedy", "dp"])
rows = sorted((row for row in comparison.rows if row.objective), key=lambda row: -row.objective)

figure, axes = plt.subplots(figsize=(6, 2.8), layout="constrained")
bars = axes.barh([row.method for row in rows], [row.objective for row in rows], color="#3d6fb4")
axes.bar_label(bars, fmt="%.2f ms", padding=4)
axes.set_xlabel("time per sample, ms")
axes.margins(x=0.15)
