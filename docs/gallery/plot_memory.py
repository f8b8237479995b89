"""
Memory against its limit
========================

Training a GPT-2 large on two V100 and four T4, some of them partly used by others. The plan obeys every
device's own limit: weights, optimizer state, and the activations of the microbatches that are in flight
there.
"""

import placer
import placer.plot

instance = placer.load("../../data/mixed_server.json")
result = placer.solve(instance, recompute="auto")
print(result.status.value, result.objective, "ms per microbatch")

figure = placer.plot.memory(result)
