"""
Loads of the best plan
======================

Training a GPT-2 medium on four A100: what each device computes, receives and sends per sample. The slowest
device sets the time per sample, and no contiguous plan has a faster slowest device.
"""

import placer
import placer.plot

instance = placer.load("../../data/gpt_training.json")
result = placer.solve(instance)
print(result.status.value, result.objective, "ms, bound", result.bound, "ms")

figure = placer.plot.loads(result)
