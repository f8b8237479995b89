"""
Plan and bound come together
============================

What a search knows at each moment: the best plan so far and the bound that no plan can beat. It stops where
they meet.
"""

import placer
import placer.plot

instance = placer.load("../../data/bert_training.json")
result = placer.solve(instance, contiguous=False, gap=0.005, time_limit=60)
print(result.status.value, f"within {result.gap:.2%}, by {result.method}")

figure = placer.plot.convergence(result)
